"""One at a time: flock(2) on a file. The kernel drops the lock when its holder ends, however."""

import fcntl
import os
import time
from types import TracebackType

from labkit.python.typing import Self
from labkit.text.words import Words

_PAUSE = 0.02  # seconds between two looks while waiting


class Taken(TimeoutError):  # noqa: N818 - it says what happened
    """Somebody else has the lock. Its message says what is waited for, and who has it."""


class Lock:
    """A lock that this process holds until release(), the end of a with block, or its death.

    Its descriptor is closed on exec: a program that is started does not hold it.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """Its descriptor. A program that inherits it has the lock too, until both let go."""
        return self._fd

    def release(self) -> None:
        """Let go of it. Once is enough."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def hold(path: str, what: Words, *, shared: bool = False, timeout: float | None = None) -> Lock:
    """Wait for the lock on the file `path`, which is made if need be, and hold it.

    shared: beside others who share it, but beside nobody who has it alone. timeout: seconds to wait
    (None: for ever; 0: not at all), after which :class:`Taken` says that `what` is waited for.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        if timeout is None:
            fcntl.flock(fd, operation)
        else:
            _wait(fd, operation, timeout, what)
    except BaseException:
        os.close(fd)
        raise
    return Lock(fd)


def attempt(path: str) -> Lock | None:
    """The lock on the file `path`, made if need be; None: somebody has it. Nobody waits."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return Lock(fd)


def _wait(fd: int, operation: int, timeout: float, what: Words) -> None:
    """Look again and again: flock(2) knows no time-out, and a signal belongs to the main thread."""
    end = time.monotonic() + timeout
    while True:
        try:
            return fcntl.flock(fd, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise Taken(_who_waits_for_what(fd, what, timeout)) from None
        time.sleep(_PAUSE)


def _who_waits_for_what(fd: int, what: Words, timeout: float) -> Words:
    them = ", ".join(f"{pid} ({_program(pid)})" for pid in holders(fd))
    whom = (
        Words(f"进程 {them}", f"process {them}") if them else Words("别的进程", "another process")
    )
    return Words(
        "等{what}等了 {seconds:g} 秒：{whom}还占着它",
        "waited {seconds:g} seconds for {what}: {whom} still has it",
    ).filled(what=what, seconds=timeout, whom=whom)


def holders(fd: int) -> list[int]:
    """The processes that hold a lock on an open file, as far as we see them. /proc/locks, proc(5).

    A process of another PID namespace has no number here.
    """
    file = os.fstat(fd)
    place = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    found = []
    with open("/proc/locks") as lines:
        for line in lines:
            words = line.split()
            if words[1] == "FLOCK" and words[5] == place and int(words[4]) > 0:
                found.append(int(words[4]))
    return found


def _program(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", errors="surrogateescape") as file:
            return file.read().rstrip("\n")
    except OSError:  # it has just ended
        return "?"
