"""The caller's terminal and streams, connected with those of a container.

The monitor has ends of pipes; between them and the caller's streams this process passes on what
comes. With a terminal it is raw meanwhile: each key goes to the container, but for those that
detach. It is put back in any case.
"""

import contextlib
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from labkit.cli.relay import waking
from labkit.linux.pty import asked
from labkit.linux.signals import JOB_SIGNALS
from labkit.monitor import acts
from labkit.monitor.address import Monitor
from labkit.monitor.record import Record, tell
from labkit.monitor.status import KILLED
from labkit.text.words import Words

DETACH_KEYS = "ctrl-p,ctrl-q"
_CHUNK = 65536  # bytes: what a pipe holds
_TRIES = 3  # of what the kernel refuses for a moment at most
_SPECIAL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


class Detached(Exception):  # noqa: N818 - it says what happened
    """Somebody has pressed the keys that detach."""


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

    def pass_on(self, data: bytes) -> bytes:
        """What of `data` is for the container. Detached: the keys were among it.

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
                raise Detached
        return bytes(out)


class Relay:
    """Between this process's streams and those of a container.

    ours: our ends, by the letters i, o, e. resize: sets the size of the container's terminal, if it
    has one. detach: the keys that detach, when we have a terminal too.
    """

    def __init__(
        self,
        ours: dict[str, int],
        resize: Callable[[int, int], object] | None = None,
        detach: str = "",
    ) -> None:
        self._ours, self._resize = ours, resize
        self._raw = resize is not None and "i" in ours and os.isatty(0)
        self._keys = Keys(keys(detach or DETACH_KEYS) if self._raw else b"")
        self._typed = b""
        self._end: tuple[int, Callable[[], bool]] = (-1, lambda: False)
        self._poll = select.poll()
        self._places = {ours[letter]: fd for letter, fd in (("o", 1), ("e", 2)) if letter in ours}
        if "i" in ours:
            os.set_blocking(ours["i"], False)

    def until(self, fd: int, ended: Callable[[], bool]) -> None:
        """Be at the end too when `ended`, called when `fd` is readable, says so.

        Somebody whom the program has left behind may still have its streams open.
        """
        self._end = fd, ended

    def follow(self, tell: Callable[[int], None] | None = None) -> None:
        """Pass on until the container's output is at its end. Detached: the keys were pressed.

        tell: called with what is sent to this process, to be sent to the container.
        """
        with contextlib.ExitStack() as stack:
            if self._raw:
                stack.enter_context(raw(0))
            woken = stack.enter_context(_woken(tell, terminal=self._resize is not None))
            self._fit()
            self._pass_on(woken)

    def _pass_on(self, woken: int) -> None:
        end, ended = self._end
        for fd in (*self._places, woken, *[0] * ("i" in self._ours), *[end] * (end >= 0)):
            self._poll.register(fd, select.POLLIN)
        while self._places:
            for fd, _ in self._poll.poll():
                if fd == end:
                    if ended():
                        self._show_rest()
                        return
                elif fd == woken:
                    self._wake(os.read(woken, 64))
                elif fd in self._places:
                    self._show(fd)
                elif fd == 0:
                    self._read()
                else:
                    self._type()

    def _wake(self, why: bytes) -> None:
        if self._resize and signal.SIGHUP in why:
            raise Detached
        if signal.SIGWINCH in why:
            self._fit()

    def _show_rest(self) -> None:
        """Pass on what is left, without waiting for more."""
        for fd in self._places:
            os.set_blocking(fd, False)
        while self._places:
            for fd in [*self._places]:
                self._show(fd)

    def _show(self, fd: int) -> None:
        """Pass on what the container has printed."""
        data = _taken(fd)
        with contextlib.suppress(BrokenPipeError):
            _write(self._places[fd], data)
            if data:
                return
        self._poll.unregister(fd)
        del self._places[fd]

    def _read(self) -> None:
        """Read what was typed here, if there is something, and pass it on."""
        data = _taken(0)
        self._poll.unregister(0)
        if not data:
            self._end_input()
            return
        self._typed = self._keys.pass_on(data)
        self._poll.register(self._ours["i"], select.POLLOUT)

    def _type(self) -> None:
        """Type in the container what is left to type; then read here again."""
        try:
            self._typed = self._typed[os.write(self._ours["i"], self._typed) :]
        except BrokenPipeError:  # it reads no more
            self._end_input()
            return
        except OSError:  # there is no room now, or what was refused is tried again
            return
        if not self._typed:
            self._poll.unregister(self._ours["i"])
            self._poll.register(0, select.POLLIN)

    def _end_input(self) -> None:
        with contextlib.suppress(KeyError):
            self._poll.unregister(self._ours["i"])
        os.close(self._ours.pop("i"))

    def _fit(self) -> None:
        """Give the container's terminal the size of ours."""
        if self._resize and (size := size_of(1) or size_of(0)):
            with contextlib.suppress(ConnectionError):
                self._resize(*size)


def attached(monitor: Monitor, letters: str, *, terminal: bool, detach: str = "") -> Relay:
    """A relay to the streams that a monitor has. letters: which of them, as "ioe"."""
    ours, theirs = {}, []
    for letter in letters:
        reading, writing = os.pipe()
        ours[letter], end = (writing, reading) if letter == "i" else (reading, writing)
        theirs.append(end)
    monitor.send(f"attach {letters}", theirs)
    for end in theirs:
        os.close(end)

    def resize(rows: int, columns: int) -> None:
        monitor.send(f"resize {rows} {columns}")

    return Relay(ours, resize if terminal else None, detach)


def size_of(fd: int) -> tuple[int, int] | None:
    """Rows and columns of a terminal; None if it is none."""
    with contextlib.suppress(OSError, termios.error):
        rows, columns = termios.tcgetwinsize(fd)
        return rows, columns
    return None


def _taken(fd: int) -> bytes:
    """What there is to read; nothing at the end, or where there is nothing now.

    EIO is how a terminal says that it has hung up, or that nobody has its other end open any more.
    """
    for _ in range(_TRIES):
        try:
            return os.read(fd, _CHUNK)
        except BlockingIOError:
            break
        except OSError:
            continue
    return b""


def _write(fd: int, data: bytes) -> None:
    """Write all of it. Our streams may be others' too, who may have made them never wait."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            select.select((), (fd,), ())


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


@contextlib.contextmanager
def _woken(tell: Callable[[int], None] | None, *, terminal: bool) -> Iterator[int]:
    """A descriptor that says when our terminal has another size, or has hung up.

    Within the block, all others that are sent to this process go to `tell`.
    """
    ours = {signal.SIGWINCH, signal.SIGHUP} if terminal else set()

    def handle(number: int, _: object) -> None:
        if number not in ours and tell:
            tell(number)

    numbers = {*ours, *(JOB_SIGNALS if tell else ())}
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        with waking() as woken:
            yield woken
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _end_of_attach() -> None:
    """What docker says of somebody who has detached."""
    sys.stderr.write("read escape sequence\n")


def follow(found: Record, monitor: Monitor, relay: Relay, *, proxy: bool = True) -> int:
    """Be attached until the container ends, or somebody detaches. The exit status.

    proxy: send the container what is sent to this process.
    """

    def tell(number: int) -> None:
        with contextlib.suppress(ConnectionError):
            monitor.send(f"signal {number}")

    try:
        relay.follow(tell if proxy else None)
    except Detached:
        _end_of_attach()
        return 0
    code = acts.finish(found, monitor)
    return KILLED if code is None else code


def start(found: Record) -> None:
    """Start a container in the background."""
    if monitor := acts.start(found):
        monitor.close()


def start_attached(found: Record, letters: str, *, detach: str = "", proxy: bool = True) -> int:
    """Start a container and be attached from its first byte on. The exit status.

    letters: which of its streams, as "ioe". proxy: send it what is sent to this process.
    """
    relays = []

    def attach(monitor: Monitor) -> None:
        tell(found, "attach")
        monitor.send("tidy")
        relays.append(attached(monitor, letters, terminal=found.box.tty, detach=detach))

    monitor = acts.start(found, attach, size_of(0) if found.box.tty else None)
    if monitor is None:
        return attach_to(found, letters, detach=detach, proxy=proxy)
    return follow(found, monitor, relays[0], proxy=proxy)


def attach_to(found: Record, letters: str, *, detach: str, proxy: bool) -> int:
    """Be attached to a container that runs. The exit status."""
    monitor = acts.monitor_of(found)
    if monitor is None:  # it has just ended
        return acts.wait(found)
    tell(found, "attach")
    monitor.send("wait")
    relay = attached(monitor, letters, terminal=found.box.tty, detach=detach)
    return follow(found, monitor, relay, proxy=proxy)
