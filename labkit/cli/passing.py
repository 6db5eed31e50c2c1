"""What is typed and printed, passed on between this process's streams and those of a container.

Whoever runs a program in a container imports this: so it takes the half of the module signal that
is written in C, and leaves the terminal to `raw.py`.
"""

import _signal  # type: ignore[import-not-found]
import gc
import os
import select

from labkit.linux.signals import JOB_SIGNALS
from labkit.linux.waking import Waking

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from _collections_abc import Callable

_CHUNK = 65536  # bytes: what a pipe holds
_TRIES = 3  # of what the kernel refuses for a moment at most


class Detached(Exception):  # noqa: N818 - it says what happened
    """Somebody has pressed the keys that detach."""


class Relay:
    """Between this process's streams and those of a container.

    ours: our ends, by the letters i, o, e. resize: sets the size of the container's terminal, if it
    has one. detach: the keys that detach, when we have a terminal too.
    """

    def __init__(
        self,
        ours: dict[str, int],
        resize: "Callable[[int, int], object] | None" = None,
        detach: str = "",
    ) -> None:
        self._ours, self._resize = ours, resize
        self._raw = resize is not None and "i" in ours and os.isatty(0)
        self._keys: Callable[[bytes], bytes | None] = _looking_for(detach) if self._raw else bytes
        self._typed = b""
        self._end: tuple[int, Callable[[], bool]] = (-1, lambda: False)
        self._poll = select.poll()
        self._places = {ours[letter]: fd for letter, fd in (("o", 1), ("e", 2)) if letter in ours}
        if "i" in ours:
            os.set_blocking(ours["i"], False)

    def until(self, fd: int, ended: "Callable[[], bool]") -> None:
        """Be at the end too when `ended`, called when `fd` is readable, says so.

        Somebody whom the program has left behind may still have its streams open.
        """
        self._end = fd, ended

    def follow(self, tell: "Callable[[int], None] | None" = None) -> None:
        """Pass on until the container's output is at its end. Detached: the keys were pressed.

        tell: called with what is sent to this process, to be sent to the container.
        """
        gc.freeze()
        gc.enable()  # a start does without (`__main__.py`), but this may last
        if self._raw:
            from labkit.cli.raw import raw  # only who has a terminal pays for its import

            with raw(0):
                self._follow(tell)
        else:
            self._follow(tell)

    def _follow(self, tell: "Callable[[int], None] | None") -> None:
        with _Woken(tell, terminal=self._resize is not None) as woken:
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
        if self._resize and _signal.SIGHUP in why:
            raise Detached
        if _signal.SIGWINCH in why:
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
        try:
            _write(self._places[fd], data)
            if data:
                return
        except BrokenPipeError:
            pass
        self._poll.unregister(fd)
        del self._places[fd]

    def _read(self) -> None:
        """Read what was typed here, if there is something, and pass it on."""
        data = _taken(0)
        self._poll.unregister(0)
        if not data:
            self._end_input()
            return
        typed = self._keys(data)
        if typed is None:
            raise Detached
        self._typed = typed
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
        try:
            self._poll.unregister(self._ours["i"])
        except KeyError:
            pass
        os.close(self._ours.pop("i"))

    def _fit(self) -> None:
        """Give the container's terminal the size of ours."""
        if not self._resize:
            return
        from labkit.cli.raw import size_of

        if size := size_of(1) or size_of(0):
            try:
                self._resize(*size)
            except ConnectionError:
                pass


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


class _Woken(Waking):
    """The same, as long as the signals that are sent to this process are handled here.

    Those of our terminal, that it has another size or has hung up, do no more than that. All
    others go to `tell`.
    """

    def __init__(self, tell: "Callable[[int], None] | None", *, terminal: bool) -> None:
        self._tell = tell
        self._ours = {_signal.SIGWINCH, _signal.SIGHUP} if terminal else set()

    def __enter__(self) -> int:
        numbers = {*self._ours, *(JOB_SIGNALS if self._tell else ())}
        self._handlers = {each: _signal.signal(each, self._handle) for each in numbers}
        # Whoever started this may have blocked some, as perf(1) does SIGWINCH.
        self._blocked = _signal.pthread_sigmask(_signal.SIG_UNBLOCK, numbers)
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self._blocked)
        for number, before in self._handlers.items():
            _signal.signal(number, before)

    def _handle(self, number: int, _: object) -> None:
        if number not in self._ours and self._tell:
            self._tell(number)


def _looking_for(detach: str) -> "Callable[[bytes], bytes | None]":
    """What keys are passed on: those that detach are not, and it gives None."""
    from labkit.cli.raw import DETACH_KEYS, Keys, keys

    return Keys(keys(detach or DETACH_KEYS)).pass_on
