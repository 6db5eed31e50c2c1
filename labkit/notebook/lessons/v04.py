"""What the cells of V0.4 have at hand: PID 1 as a function, processes waited for, docker stop."""

import inspect
import signal
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from labkit.engine.running import Running
from labkit.linux.proc import stat
from labkit.notebook.lessons import common
from labkit.notebook.lessons.common import *  # noqa: F403 - a lesson's cells have them at hand too
from labkit.notebook.lessons.common import Container, start
from labkit.notebook.lessons.v02 import child_of
from labkit.notebook.magics.docker import without_images
from labkit.notebook.widgets.stepper import steps

without_images()

__all__ = [
    "alive",
    "child_of",
    "docker_stop",
    "nspid",
    "orphan_of",
    "ready",
    "signal",
    "state",
    "steps",
    "under",
]
__all__ += common.__all__

_PATIENCE = 10.0  # seconds for what takes some milliseconds
_PID_1 = """
import os, signal, sys

{function}

main = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
code = os.waitstatus_to_exitcode({name}(main))
os._exit(code if code >= 0 else 128 - code)
"""


def under(pid_1: Callable[[int], int], *argv: str) -> tuple[str, ...]:
    """A command that starts the program `argv`, calls ``pid_1(main)``, and ends as that program.

    main: the program's PID. `pid_1` returns its wait status. The function goes as source, so it
    finds only os, signal and sys at hand.
    """
    function = textwrap.dedent(inspect.getsource(pid_1))
    program = _PID_1.format(function=function, name=pid_1.__name__)
    return sys.executable, "-I", "-c", program, *argv


def nspid(status: str) -> list[int]:
    """The numbers of a process in each PID namespace, from the text of /proc/PID/status."""
    line = next(line for line in status.splitlines() if line.startswith("NSpid:"))
    return [int(number) for number in line.split()[1:]]


def ready(box: Running) -> None:
    """Wait until the container's program has printed that it is ready."""
    while "ready" not in box.stdout:
        time.sleep(0.01)


def alive(box: Running) -> bool:
    """Whether a program can still enter the container, which means that its PID 1 lives."""
    return box.exec(("true",)).returncode == 0


def orphan_of(pid_1: int) -> int:
    """The second child of a process; the first is the one that it has made. It is waited for."""
    children = Path(f"/proc/{pid_1}/task/{pid_1}/children")
    while len(found := children.read_text().split()) < 2:
        time.sleep(0.01)
    return int(found[1])


def state(pid: int, awaited: str) -> str:
    """The state of a process: S sleeping, T stopped, Z zombie, - gone. proc_pid_stat(5).

    It is asked again until it is `awaited`, for ten seconds at most.
    """
    deadline = time.monotonic() + _PATIENCE
    while (found := _state(pid)) != awaited and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def _state(pid: int) -> str:
    try:
        return stat(pid).state
    except (FileNotFoundError, ProcessLookupError):  # before it was opened, or before it was read
        return "-"


def docker_stop(box: Container, patience: float = 2) -> int:
    """What docker stop does, with less patience: SIGTERM, a pause, SIGKILL. The exit status.

    A negative number is the signal that ended PID 1: -9 for SIGKILL.
    """
    with start(box) as running:
        ready(running)
        running.kill(signal.SIGTERM)
        try:
            return running.wait(patience).returncode
        except TimeoutError:
            running.kill(signal.SIGKILL)
            return running.wait(_PATIENCE).returncode
