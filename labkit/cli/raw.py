"""The caller's terminal, raw for a while: each key goes to a container, but for those that detach.

Only who has a terminal pays for the imports. It is put back in any case.
"""

import contextlib
import os
import signal
import termios
import tty
from collections.abc import Iterator
from typing import Any, NoReturn

from labkit.linux.pty import asked
from labkit.linux.signals import JOB_SIGNALS
from labkit.text.words import Words

DETACH_KEYS = "ctrl-p,ctrl-q"
_TRIES = 3  # of what the kernel refuses for a moment at most
_SPECIAL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def keys(text: str) -> bytes:
    """The keys that detach, as Docker writes them: ctrl-p,ctrl-q."""
    found = bytearray()
    for word in text.split(","):
        name = word.strip()
        letter = name.lower().removeprefix("ctrl-")
        if len(name) == 1:
            found += name.encode()
        elif len(letter) == 1 and name.lower() != letter and "a" <= letter <= "z":
            found.append(ord(letter) - ord("a") + 1)
        elif name.lower() != letter and letter in _SPECIAL:
            found.append(_SPECIAL[letter])
        else:
            raise ValueError(
                Words(f"--detach-keys 不认得 {text!r}", f"invalid detach keys ({text})")
            )
    return bytes(found)


class Keys:
    """Looks for the keys that detach in what is typed."""

    def __init__(self, wanted: bytes) -> None:
        self._wanted, self._seen = wanted, b""

    def pass_on(self, data: bytes) -> bytes | None:
        """What of `data` is for the container. None: the keys were among it.

        The first of the keys are held back until another key shows that they were none.
        """
        if not self._wanted:
            return data
        out = bytearray()
        for key in data:
            self._seen += bytes([key])
            while self._seen and not self._wanted.startswith(self._seen):
                out.append(self._seen[0])
                self._seen = self._seen[1:]
            if self._seen == self._wanted:
                return None
        return bytes(out)


def size_of(fd: int) -> tuple[int, int] | None:
    """Rows and columns of a terminal; None if it is none."""
    with contextlib.suppress(OSError, termios.error):
        rows, columns = termios.tcgetwinsize(fd)
        return rows, columns
    return None


@contextlib.contextmanager
def raw(fd: int) -> Iterator[None]:
    """A terminal in raw mode for the block: each key arrives as it is pressed.

    A fork of this process puts it back if this one is killed.
    """
    before = asked(f"ioctl({fd}, TCGETS)", termios.tcgetattr, fd)
    reading, writing = os.pipe()
    guard = os.fork()
    if guard == 0:
        _guard(fd, before, reading, writing)
    os.close(reading)
    try:
        asked(f"ioctl({fd}, TCSETSW)", tty.setraw, fd, termios.TCSADRAIN)
        yield
    finally:
        _put_back(fd, before)
        os.write(writing, b"!")
        os.close(writing)
        os.waitpid(guard, 0)


def _guard(fd: int, before: list[Any], reading: int, writing: int) -> NoReturn:
    """Wait until our parent has put its terminal back, or has been killed."""
    os.close(writing)
    os.setpgid(0, 0)  # what is sent to the job is not for us
    for number in (*JOB_SIGNALS, signal.SIGTTOU, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    if not os.read(reading, 1):
        _put_back(fd, before)
    os._exit(0)


def _put_back(fd: int, before: list[Any]) -> None:
    for _ in range(_TRIES):
        with contextlib.suppress(termios.error):  # it has hung up, if it is refused each time
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
            return
