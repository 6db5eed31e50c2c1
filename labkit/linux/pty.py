"""A pseudo-terminal: the end that a keyboard and a screen have, and the end that a program has."""

import errno
import os
import termios
import time
from _thread import allocate_lock
from collections.abc import Callable

from labkit.python.typing import Any

_IUTF8 = 0o40000  # asm-generic/termbits.h; Python's termios does not name it
END = b"\4"  # Ctrl-D: at the beginning of a line, what a program reads as the end of its input


class Pty:
    """A new pseudo-terminal of 24 lines and 80 columns: pty(7).

    master: our end; what is written to it has been typed, what is read from it is to be shown.
    slave: the program's end, to be its standard streams. Each is -1 once it has been closed.
    """

    _size = 24, 80

    def __init__(self) -> None:
        self._lock = allocate_lock()  # no call may meet a number that has just been closed
        self.master, self.slave = asked("openpty()", os.openpty)
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self) -> None:
        asked(f"ioctl({self.master}, FIONBIO, [1])", os.set_blocking, self.master, False)
        # So that a backspace takes away a whole character of Chinese, not its last byte. At either
        # end the settings are those of the program's.
        settings = asked(f"ioctl({self.master}, TCGETS)", termios.tcgetattr, self.master)
        settings[0] |= _IUTF8
        change = f"ioctl({self.master}, TCSETS)"
        asked(change, termios.tcsetattr, self.master, termios.TCSANOW, settings)
        self.resize(*self._size)

    def resize(self, rows: int, columns: int) -> None:
        """Set its size; the kernel tells the job in the foreground by SIGWINCH."""
        with self._lock:
            if self.master >= 0:
                call = f"ioctl({self.master}, TIOCSWINSZ)"
                asked(call, termios.tcsetwinsize, self.master, (rows, columns))

    def put(self, data: bytes | bytearray | memoryview) -> int:
        """Type what there is room for: the number of bytes, 0 while the program reads none.

        Raises BrokenPipeError when no program has it open any longer.
        """
        try:
            with self._lock:
                if self.master >= 0:
                    return os.write(self.master, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            number = errno.EPIPE if error.errno == errno.EIO else error.errno or 0
            raise _refusal(f"write({self.master})", number) from None
        raise _refusal(f"write({self.master})", errno.EPIPE)

    def write(self, data: bytes) -> None:
        """Type all of `data`, waiting for room; see :meth:`put`."""
        while data := data[self.put(data) :]:
            time.sleep(0.01)

    def read(self, size: int) -> bytes:
        """What there is to show, up to `size` bytes; none at the end, when no program has it open.

        Raises BlockingIOError when there is nothing yet.
        """
        try:
            return os.read(self.master, size)
        except OSError as error:
            if error.errno != errno.EIO:  # how a master says that every slave has been closed
                raise
            return b""

    def give_away(self) -> None:
        """Close the program's end: it has a copy of its own by now."""
        if self.slave >= 0:
            os.close(self.slave)
        self.slave = -1

    def close(self) -> None:
        """Close both ends; a program that still has it open gets SIGHUP."""
        self.give_away()
        with self._lock:
            if self.master >= 0:
                os.close(self.master)
            self.master = -1


def asked(call: str, function: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401
    """What `function` returns, or OSError: termios has an error of its own."""
    try:
        return function(*arguments)
    except (OSError, termios.error) as error:
        raise _refusal(call, error.args[0]) from None


def _refusal(call: str, number: int) -> OSError:
    """As refusal() of `refusal.py`, which stands above us."""
    error = OSError(number, f"{call}: {os.strerror(number)}")
    vars(error)["call"] = call
    return error
