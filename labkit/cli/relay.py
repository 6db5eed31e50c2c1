"""The keyboard and the screen of a container's terminal, where an engine has not taken it."""

import contextlib
import os
import select
import signal
import termios
import tty
from typing import Any

from labkit.linux.waking import Waking

_CHUNK = 65536  # bytes


def wait(pid: int) -> None:
    """Wait until a child of ours ends, which is left to be waited for; handle signals meanwhile."""
    pidfd = os.pidfd_open(pid)
    with Waking() as woken:
        while pidfd not in select.select([pidfd, woken], [], [])[0]:
            os.read(woken, 64)
    os.close(pidfd)


def relay(pid: int, master: int) -> None:
    """Pass on what is typed and shown until a child of ours ends, which is left to be waited for.

    The caller's terminal is raw meanwhile: the container's own sees to lines and keys.
    """
    pidfd = os.pidfd_open(pid)
    before = _made_raw()
    resize(master)
    signal.signal(signal.SIGWINCH, lambda *_: resize(master))
    try:
        with Waking() as woken:
            _pass_on(pidfd, master, woken)
    finally:
        if before:
            termios.tcsetattr(0, termios.TCSADRAIN, before)
        for fd in (pidfd, master):
            os.close(fd)


def _made_raw() -> list[Any] | None:
    """Make the caller's terminal raw. Its settings before; None: there is none."""
    if not os.isatty(0):
        return None
    before: list[Any] = termios.tcgetattr(0)
    tty.setraw(0)
    return before


def size() -> dict[str, int] | None:
    """The size of the caller's terminal, as a configuration has it; None: there is none."""
    try:
        height, width = termios.tcgetwinsize(0)
    except (OSError, termios.error):
        return None
    return {"height": height, "width": width}


def resize(master: int) -> None:
    """Make a terminal as large as the caller's."""
    with contextlib.suppress(OSError, termios.error):  # standard input is no terminal
        termios.tcsetwinsize(master, termios.tcgetwinsize(0))


def _pass_on(pidfd: int, master: int, woken: int) -> None:
    """Copy both ways. What is still to be shown when the child has ended is shown too."""
    watched = [0, master, pidfd, woken]
    while True:
        found, _, _ = select.select(watched, [], [])
        if woken in found:
            os.read(woken, 64)
        elif master in found and not _copy(master, 1):
            watched.remove(master)
        elif 0 in found and not _copy(0, master):
            watched.remove(0)
        elif found == [pidfd] or master not in watched:
            return


def _copy(source: int, target: int) -> bool:
    """Copy what there is. False: there will be no more."""
    try:
        data = os.read(source, _CHUNK)
    except OSError:  # EIO: nobody has the terminal open any longer
        return False
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(target, rest) :]
    return bool(data)
