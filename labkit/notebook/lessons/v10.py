"""What the cells of V1.0 have at hand: a computer to type on, and what is to be seen of it."""

import errno
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from IPython.display import Markdown

from labkit import Finished, Limits, Root, Running
from labkit.container.contain import DEFAULT_PATH
from labkit.engine.boot import PROJECT
from labkit.engine.client import enter
from labkit.monitor.launch import REFUSED
from labkit.network.network import Network
from labkit.notebook.lessons import common
from labkit.notebook.lessons.common import *  # noqa: F403 - a lesson's cells have them at hand too
from labkit.notebook.lessons.common import Container, Path, start
from labkit.notebook.lessons.v06 import WALLS, a_folder
from labkit.notebook.magics.docker import ContainerFailed
from labkit.notebook.widgets.terminals import Terminal, terminal
from labkit.text.tables import columns
from labkit.text.words import Words, add_words

__all__ = [
    "bundle",
    "computer",
    "fields",
    "in_background",
    "kill_monitor",
    "lower",
    "on_terminal",
    "said",
    "tree",
    "typed",
]
__all__ += common.__all__

_STATE = "/mnt"  # a tmpfs there keeps images and containers
_BOOT = (
    f"mount -t tmpfs -o mode=755 tmpfs {_STATE} && ip link set lo up && echo ready; "
    "exec sleep infinity"
)
_SECONDS = 60
_ID = re.compile(r"\b[0-9a-f]{64}\b")


# --- A computer ----------------------------------------------------------------------------------


def computer() -> Running:
    """A machine that is thrown away, called pc: labkit is installed there, with a busybox image.

    What runs there ends with it. Its containers, images and networks are nobody else's.
    """
    env = os.environ | {
        "LABKIT_STATE": _STATE,
        "PYTHONPATH": PROJECT,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    walls = Container(
        ("sh", "-c", _BOOT), cloneflags=WALLS, proc=True, hostname="pc", env=env, init=True
    )
    made = start(walls)
    _until(lambda: made.stdout or made.stderr)
    _done(made, "labkit base")
    return made


def on_terminal(pc: Running, line: str) -> Terminal:
    """Type a line that begins with labkit on that computer's terminal, in a cell."""
    python = shlex.join([sys.executable, "-X", "utf8", "-m", "labkit"])
    there = f"exec nsenter --target={pc.pid} --mount --uts --ipc --net --pid"
    script = Path(a_folder({"labkit": f'#!/bin/sh\n{there} {python} "$@"\n'}), "labkit")
    script.chmod(0o755)
    env = {**(pc.box.env or {}), "PATH": f"{script.parent}:{DEFAULT_PATH}"}
    return terminal(Container(tuple(shlex.split(line)), env=env))


def _until(condition: Callable[[], object]) -> None:
    late = time.monotonic() + _SECONDS
    while not condition() and time.monotonic() < late:
        time.sleep(0.01)


def _shell(pc: Running, line: str, text: str | None = None) -> Finished:
    """Run a line of shell there, which knows the command labkit."""
    python = shlex.join([sys.executable, "-X", "utf8", "-m", "labkit"])
    words = ("sh", "-c", f'labkit() {{ {python} "$@"; }}\n{line}')
    return enter(pc.pid, words, env=pc.box.env, input=text, timeout=_SECONDS)


def _done(pc: Running, line: str) -> Finished:
    """The same, of a line that the cell needs: what the machine refuses is the cell's error."""
    done = _shell(pc, line)
    if done.returncode:
        raise _refused(pc, done)
    return done


def _refused(pc: Running, done: Finished) -> OSError:
    """The error of a line that did not do what it should, with what the line has said."""
    text = pc.stderr.strip() or done.stderr.strip()
    error = OSError(errno.EPERM, os.strerror(errno.EPERM))
    add_words(error, Words(text, text))
    return error


def typed(pc: Running, *lines: str, check: bool = False) -> None:
    """Type lines on a computer, and see what comes. Long IDs are shown as dots.

    After a line whose exit status is not 0 stands that status. check: it is an error instead.
    """
    for line in lines:
        done = _shell(pc, line)
        print(f"$ {line}\n{_shown(done)}", end="")
        if done.returncode and check:
            raise ContainerFailed(done.returncode)
        if done.returncode:
            print(f"[{done.returncode}]")


def in_background(pc: Running, name: str, options: str, program: str) -> str:
    """Type a `labkit run -d` of a shell, which says "up" and becomes `program`. Wait for it.

    The container's name.
    """
    line = f"labkit run -d --name {name} {options} busybox sh -c 'echo up; exec {program}'"
    print(f"$ {line}\n{_shown(_done(pc, line))}", end="")
    _until(lambda: any(each.line == program for each in _processes(pc).values()))
    _until(lambda: said(pc, f"labkit logs {name}"))
    return name


def said(pc: Running, line: str, text: str | None = None) -> str:
    """What a line prints, alone. No container where one was to be is the cell's error."""
    done = _shell(pc, line, text)
    if done.returncode == REFUSED:
        raise _refused(pc, done)
    return _shown(done).strip()


def _shown(done: Finished) -> str:
    text = (done.stdout + done.stderr).replace("\r\n", "\n")
    return _ID.sub("…", text)


# --- What is to be seen of it --------------------------------------------------------------------


def lower(pc: Running, options: str = "") -> str:
    """Where the root of a new container comes from: the directories of its overlay, a line each."""
    line = f"labkit run --rm {options} busybox cat /proc/self/mountinfo"
    [root] = [each for each in said(pc, line).splitlines() if each.split()[4] == "/"]
    words = dict(each.partition("=")[::2] for each in root.split()[-1].split(","))
    found = [("lowerdir", each) for each in words["lowerdir"].split(":")]
    found.append(("upperdir", words["upperdir"]))
    return columns([[name, path.replace(_STATE, "", 1)] for name, path in found])


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    line: str

    @property
    def is_monitor(self) -> bool:
        return "labkit.monitor.monitor" in self.line

    @property
    def shown(self) -> str:
        """What it is in the story: programs of ours have long command lines."""
        if self.is_monitor:
            return "monitor"
        return "network" if "labkit.network" in self.line else self.line


def _processes(pc: Running) -> dict[int, _Process]:
    """The processes of a computer, and not who asks. Two of them say nothing of containers."""
    lines = said(pc, "ps -ww -eo pid=,ppid=,stat=,args= --sort=pid").splitlines()
    rows = [line.split(None, 3) for line in lines]
    found = [
        _Process(int(pid), int(parent), line)
        for pid, parent, state, line in rows
        if "Z" not in state
    ]
    return {each.pid: each for each in found if not each.line.startswith(("ps ", "sh -c"))}


def tree(pc: Running) -> str:
    """The processes of a computer, each below its parent."""
    return "\n".join(["pc", *_below(_processes(pc), 1, "")])


def _below(found: Mapping[int, _Process], parent: int, indent: str) -> Iterator[str]:
    children = [e for e in found.values() if e.parent == parent and e.line != "sleep infinity"]
    for at, each in enumerate(children):
        last = at == len(children) - 1
        yield f"{indent}{'└─' if last else '├─'} {each.shown}"
        yield from _below(found, each.pid, indent + ("   " if last else "│  "))


def kill_monitor(pc: Running) -> None:
    """Kill the process that looks after a container: SIGKILL, which nobody can prepare for.

    What the dead have left is taken away by others, who then end too: that is waited for.
    """
    found = _processes(pc)
    [monitor] = [e.pid for e in found.values() if e.is_monitor and found[e.parent].is_monitor]
    said(pc, f"kill -KILL {monitor}")
    _until(lambda: tree(pc) == "pc")


_LESSONS = {
    "argv": "V0.1",
    "tty": "V0.1",
    "env": "V0.1",
    "cwd": "V0.1",
    "hostname": "V0.2",
    "cloneflags": "V0.2, V0.3, V0.4",
    "proc": "V0.4",
    "user": "V0.5",
    "capabilities": "V0.5",
    "seccomp": "V0.5",
    "root": "V0.6, V0.7",
    "limits": "V0.8",
    "network": "V0.9",
    "sysctls": "V1.0",
}


def fields(pc: Running, name: str) -> Markdown:
    """The fields of a container that are turned on, and the lesson that each comes from."""
    on = _container(pc, name).fields_on()
    heads = Words("字段", "field"), Words("值", "value"), Words("从哪一课来", "from")
    lines = [f"| {' | '.join(head.joined(' ') for head in heads)} |", "|:--|:--|:--|"]
    for field, lesson in _LESSONS.items():
        if field in on:
            lines.append(f"| `{field}` | `{_told(on.pop(field))}` | {lesson} |")
    assert not on, f"no lesson is about {[*on]}"  # noqa: S101 - it would be left out of the table
    return Markdown("\n".join(lines))


_READ = (
    "import sys; from labkit.monitor import record; print(record.find(sys.argv[1]).box.to_json())"
)


def _container(pc: Running, name: str) -> Container:
    """What `labkit create` has made, read back from that computer's disk."""
    done = _shell(pc, shlex.join([sys.executable, "-c", _READ, name]))
    return Container.from_json(done.stdout)


_SHORT_ID = re.compile(r"\b[0-9a-f]{12}\b")


def _told(value: object) -> str:
    """A value in a few words: Docker gives some of them many parts."""
    if isinstance(value, Root):
        return f"Root({len(value.layers)} layers, upper, work)"
    if isinstance(value, Limits):
        return f"Limits(memory={value.memory}, pids={value.pids})"
    if isinstance(value, Network):
        return value.name
    if isinstance(value, Mapping):
        return ", ".join(value)
    if isinstance(value, tuple):
        return (
            " ".join(map(str, value))
            if len(value) < 5
            else f"{len(value)}: {value[0]}, ..., {value[-1]}"
        )
    return _SHORT_ID.sub("…", str(value).replace("|", " "))


# --- A bundle ------------------------------------------------------------------------------------


def bundle(pc: Running, *argv: str) -> str:
    """A folder that an OCI runtime takes: a root directory, and config.json. Its path there."""
    path = "/mnt/bundle"
    config = {
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "hostname": "bundle",
        "process": {"args": argv, "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "mount", "uts", "ipc")],
            # By default it is the container's name, which somebody else's box may have too.
            "cgroupsPath": f"labkit-bundle-{os.urandom(6).hex()}",
        },
    }
    said(
        pc,
        f"mkdir -p {path}/rootfs && labkit create --name image busybox && "
        f"labkit export image | tar -x -C {path}/rootfs && labkit rm image && "
        f"cat > {path}/config.json",
        json.dumps(config),
    )
    return path
