"""Scenes of V1.0: a terminal of one's own, and a container that exits at once."""

import contextlib
import json
import os
import select
import signal
import time

from labkit.linux.flags import CLONE_NEWPID
from labkit.linux.processes import pidfd_open
from labkit.notebook.exercises.answers import FailedError, Failure
from labkit.notebook.exercises.stage import Facts, Function, born, inside

GRACE, PATIENCE = 1.0, 3.0  # seconds: docker stop -t 1; what anything else may take


def login(step: Function) -> Facts:
    """`step` gets the program's end of a terminal, which is to be the terminal of its process."""
    _, terminal = os.openpty()
    device = os.fstat(terminal).st_rdev

    def look() -> Facts:
        streams = [fd for fd in range(3) if _device(fd) == device]
        return {"streams": streams, "leads": os.getsid(0) == os.getpid(), "controls": _controls()}

    return inside(lambda: step(terminal), look)


def _device(fd: int) -> int:
    with contextlib.suppress(OSError):
        return os.fstat(fd).st_rdev
    return 0


def _controls() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True


def gone(step: Function) -> Facts:
    """PID 1 of a container calls `step` with a server; a request comes, then docker stop."""
    (asked, ask), (told, tell), (failed, fail) = os.pipe(), os.pipe(), os.pipe()

    def server() -> None:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        os.write(tell, b"r")
        while os.read(asked, 1):
            os.write(tell, b"a")

    child = born(CLONE_NEWPID)
    if child == 0:
        _first(lambda: step(server), fail)
    for fd in (asked, tell, fail):
        os.close(fd)
    with os.fdopen(pidfd_open(child)) as pidfd:
        seen = _watched(child, pidfd.fileno(), ask, told)
    os.waitpid(child, 0)
    if failure := os.read(failed, 1 << 16):
        raise FailedError(Failure(**json.loads(failure)), seen)
    return {"came": [seen], "trace": [], "status": 0}


def _first(step: Function, fail: int) -> None:
    """In PID 1: when `step` returns, it ends."""
    try:
        step()
    except SystemExit:
        pass
    except BaseException as error:  # noqa: BLE001 - the learner's, whatever it is
        os.write(fail, json.dumps(vars(Failure.of(error))).encode())
    finally:
        os._exit(0)


def _watched(child: int, pidfd: int, ask: int, told: int) -> Facts:
    """What one sees of it from outside. It is ended, whatever it does.

    Who is dead has closed its pipe, so a request is either answered or comes to the pipe's end.
    """
    answered = stopped = False
    began = _heard(told)
    if began == b"r" and _settled(child, pidfd):
        os.write(ask, b"?")
        answered = _heard(told) == b"a"
    lives = answered or not _ready(pidfd, 0 if began is None else PATIENCE)
    if lives:
        os.kill(child, signal.SIGTERM)
        stopped = _ready(pidfd, GRACE)
        os.kill(child, signal.SIGKILL)
    return {"lives": lives, "answered": answered, "stopped": stopped}


def _settled(child: int, pidfd: int) -> bool:
    """Whether PID 1 lives when it has come to rest: it waits for something now, or has ended."""
    late = time.monotonic() + PATIENCE
    while not _ready(pidfd, 0.01) and time.monotonic() < late:
        with open(f"/proc/{child}/stat", encoding="ascii") as file:
            if file.read().rpartition(")")[2].split()[0] == "S":
                return True
    return False


def _heard(fd: int) -> bytes | None:
    """What comes from a pipe, which is nothing at its end; None: nobody says anything."""
    return os.read(fd, 1) if _ready(fd, PATIENCE) else None


def _ready(fd: int, seconds: float) -> bool:
    return bool(select.select([fd], [], [], seconds)[0])
