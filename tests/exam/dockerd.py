"""A real dockerd to be examined, which leaves this machine as it was.

It has a mount, network and PID namespace of its own, so its mounts, its bridge, its rules and all
its processes end with it. What it keeps on disk and its control groups are removed afterwards. It
is this machine's own, or that of another root directory, such as one that debootstrap(8) has made.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 60  # seconds
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Docker:
    """A Docker that answers: the words that begin a command line, and what it says it is."""

    command: tuple[str, ...]
    version: dict[str, str]


@contextlib.contextmanager
def dockerd(tree: str = "") -> Iterator[Docker]:
    """Start a dockerd, and end it.

    tree: the root directory in which dockerd, containerd, runc and docker are; "" for our own.
    """
    with tempfile.TemporaryDirectory(prefix="labkit-exam-") as folder:
        group, socket = Path(folder).name, f"unix://{folder}/docker.sock"
        words = [
            *("dockerd", f"--host={socket}", f"--data-root={folder}/data"),
            *(f"--exec-root={folder}/exec", f"--pidfile={folder}/pid", f"--cgroup-parent=/{group}"),
        ]
        log = Path(folder, "log")
        try:
            with log.open("wb") as file, _started(words, tree, file.fileno()) as process:
                command = _client(process, socket)
                yield Docker(command, _version(command))
        except Exception as error:
            error.add_note(log.read_text()[-2000:])
            raise
        finally:
            _remove_groups(group)


@contextlib.contextmanager
def _started(words: list[str], tree: str, log: int) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon in namespaces of its own; asked to end, then ended with all that it started."""
    script = "\n".join(["set -e", *_preparation(tree), f"exec {shlex.join(words)}"])
    unshare = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
    process = subprocess.Popen(
        [*unshare, "--propagation=private", "sh", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    try:
        yield process
    finally:
        _end(process)


def _preparation(tree: str) -> Iterator[str]:
    """What is done in the new namespaces before the daemon starts."""
    yield "ip link set lo up"
    yield f"mount -t tmpfs run {shlex.quote(tree)}/run"  # for network namespaces and sockets
    # runc and crun take a machine with both for one of version 2, where it has no controllers.
    yield f"if mountpoint -q {CGROUPS}/unified; then umount {CGROUPS}/unified; fi"
    if tree:
        # What is mounted is a root. The two below it come along.
        yield f"mount --rbind {shlex.quote(tree)} {shlex.quote(tree)}"
        yield f"cd {shlex.quote(tree)}"
        yield from (f"mount --rbind /{name} {name}" for name in ("proc", "sys", "dev", "tmp"))
        # Not chroot(1): who enters a mount namespace, as docker exec does, gets its true root.
        yield "pivot_root . mnt"
        yield "umount --lazy /mnt"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the daemon to end, then end its PID namespace."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in _children(process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
            return


def _children(process: subprocess.Popen[bytes]) -> list[int]:
    """unshare(1)'s child is the daemon, PID 1 of the new namespace."""
    with contextlib.suppress(FileNotFoundError):
        text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        return [int(pid) for pid in text.split()]
    return []


def _client(process: subprocess.Popen[bytes], socket: str) -> tuple[str, ...]:
    """Docker's command line where the daemon is: same root directory, mounts and network."""
    _wait_for(lambda: os.path.exists(socket.removeprefix("unix://")), process)
    enter = ("nsenter", f"--target={_children(process)[0]}", "--mount", "--net")
    return (*enter, "docker", f"--host={socket}")


def _wait_for(condition: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    """Wait until it holds, while the daemon lives."""
    began = time.monotonic()
    while not condition():
        if process.poll() is not None or time.monotonic() > began + PATIENCE:
            raise RuntimeError("dockerd does not answer")
        time.sleep(0.05)


def _version(command: tuple[str, ...]) -> dict[str, str]:
    """Who is who, in numbers."""
    asked = [*command, "version", "--format", "{{json .}}"]
    found = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
    parts = {part["Name"]: part["Version"] for part in found["Server"]["Components"]}
    return {"docker": found["Client"]["Version"], **parts}


def _remove_groups(name: str) -> None:
    """Remove the control groups that the daemon has made, in each hierarchy, the lowest first.

    What it had started may still be ending: until then the kernel keeps its group (EBUSY).
    """
    end = time.monotonic() + PATIENCE
    for top in sorted(CGROUPS.glob(f"**/{name}")):
        while top.exists() and time.monotonic() < end:
            for folder, _, _ in sorted(os.walk(top), reverse=True):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
            time.sleep(0.01)


def is_here(tree: str = "") -> bool:
    """Whether there is a dockerd that could be started."""
    path = f"{tree}/usr/sbin:{tree}/usr/bin" if tree else None
    return bool(shutil.which("dockerd", path=path))
