"""One more process in a container that runs: exec."""

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Any

from labkit.linux.files import chdir
from labkit.linux.flags import Clone
from labkit.linux.processes import setsid
from labkit.oci import process, terminal
from labkit.oci.birth import Channel, bear
from labkit.oci.config import Config
from labkit.oci.init import become, become_root
from labkit.oci.lifecycle import Asked, keep_descriptors, set_oom_score, write_pid
from labkit.oci.namespaces import FILES, KINDS
from labkit.oci.state import Kept, load
from labkit.text.words import Words


def execute(
    root: str,
    name: str,
    given: Config,
    asked: Asked,
) -> int:
    """Start a process in a container; its PID. It is our child."""
    kept = load(root, name)
    if kept.status not in ("created", "running"):
        raise _not_running(kept)
    keep_descriptors(asked.preserve)
    filtered = process.filtering(given, kept.values["config"]["linux"])
    with contextlib.ExitStack() as stack:
        entered = _namespaces(kept.pid)
        for fd in entered.values():
            stack.callback(os.close, fd)
        flags = Clone(sum(entered))
        pid, channel = bear(
            Clone(0), entered, lambda end: _process(given, filtered, flags, asked.console, end)
        )
    _lead(kept, given, pid, channel)
    write_pid(asked.pid_file, pid)
    return pid


def _not_running(kept: Kept) -> ValueError:
    return ValueError(
        Words(
            f"容器 {kept.name} 没有在运行（{kept.status}）",
            f"cannot exec in container {kept.name}: container not running ({kept.status})",
        )
    )


def _namespaces(pid: int) -> dict[Clone, int]:
    """Descriptors of the namespaces of a process that are not our own.

    The mount namespace comes last: entering it exchanges our root.
    """
    found = {}
    order = sorted(KINDS.items(), key=lambda item: item[0] == "mount")
    for kind, flag in order:
        file = FILES.get(kind, kind)
        with contextlib.suppress(FileNotFoundError):  # a kernel without such namespaces
            if not os.path.samefile(f"/proc/{pid}/ns/{file}", f"/proc/self/ns/{file}"):
                path = f"/proc/{pid}/ns/{file}"
                found[flag] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return found


def _lead(kept: Kept, given: Config, pid: int, channel: Channel) -> None:
    """Do the runtime's part: groups and limits. Then wait until the program runs, or cannot."""
    kept.groups.enter(pid)
    if "oomScoreAdj" in given:
        set_oom_score(pid, given["oomScoreAdj"])
    process.set_rlimits(given, pid)
    channel.send(go=True)
    channel.receive()  # "starting"
    channel.wait_for_execve()


def _process(
    given: Config,
    filtered: process.Filtering,
    flags: Clone,
    console: socket.socket | None,
    channel: Channel,
) -> None:
    channel.receive()  # we are in the container's groups
    become_root(flags)
    setsid()
    if console:
        terminal.take(given, console, as_console=False)
    else:
        process.give_streams(given)
    chdir(given["cwd"])
    path = process.found_program(given)
    become(given, filtered, path, lambda: channel.send(at="starting"))


def changed(kept_process: Mapping[str, Any], changes: Mapping[str, Any]) -> Config:
    """The container's own process with another program: what the command line says of exec."""
    found = {key: value for key, value in kept_process.items() if key != "args"}
    return found | {key: value for key, value in changes.items() if value is not None}
