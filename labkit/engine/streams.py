"""Our ends of a container's standard streams: input is fed to it, output collected from it."""

import contextlib
import os
import select
from collections.abc import Callable, Sequence

from labkit.engine.inner_pty import InnerPty
from labkit.linux.pty import END, Pty
from labkit.linux.refusal import Asked, explain, refusal
from labkit.text.words import Words

LIMIT = 32 << 20  # bytes that are kept of standard output, and as many of standard error
_CHUNK = 65536  # bytes: what a pipe holds


class Kept:
    """The head of what a program prints: at most `limit` bytes. What follows is counted only.

    The head and not the tail, because what somebody has read once stays as it was, and a program
    that prints without end says at its beginning what is wrong. To keep the end of much output, let
    the program itself choose it: tail(1).
    """

    def __init__(self, limit: int) -> None:
        self.data = bytearray()
        self.left_out = 0  # bytes
        self._limit = limit

    def add(self, data: bytes) -> bytes:
        """Take more of it; the part that was kept."""
        room = 0 if self.left_out else self._limit - len(self.data)
        kept = _head(data, room) if len(data) > room else data
        self.data += kept
        self.left_out += len(data) - len(kept)
        return kept


def _head(data: bytes, size: int) -> bytes:
    """At most the first `size` of more bytes; no character of UTF-8 is cut in two."""
    end = size
    while end > max(0, size - 3) and data[end] & 0xC0 == 0x80:  # it goes on with the byte before
        end -= 1
    return data[:end]


def check_limit(limit: object) -> int:
    """A number of bytes to keep. Raises TypeError or ValueError for anything else."""
    if isinstance(limit, bool) or not isinstance(limit, int):
        given = repr(limit)
        raise TypeError(
            Words(f"limit 应是字节数，而不是 {given}", f"limit is a number of bytes, not {given}")
        )
    if limit < 0:
        raise ValueError(
            Words(f"limit 不能是负数：{limit}", f"limit cannot be less than 0: {limit}")
        )
    return limit


class Streams:
    """Standard input, output and error of one container, and one more descriptor to watch.

    theirs: the container's ends, to be sent to the engine and closed with :meth:`sent`. A given
    descriptor is passed on as it is; without one, input comes from `data` (or /dev/null), and
    output and error are collected: of each as many bytes as `limit` says; the rest is read too, or
    the container would stand still, but only counted. `arrived` is called with the stream's number
    and what came. pty: a pseudo-terminal instead, into which `data` is typed; all that it shows is
    output. coming: a pseudo-terminal that is still to come, `pty` or one that somebody else reads;
    None if there is none. at_end: whether a pipe of output has been read to its end.
    """

    at_end = False

    def __init__(
        self,
        given: Sequence[int | None],
        data: bytes,
        arrived: Callable[[int, bytes], None] | None = None,
        pty: Pty | None = None,
        limit: int = LIMIT,
        coming: Pty | None = None,
    ) -> None:
        expected = coming or pty
        self.coming = expected if isinstance(expected, InnerPty) else None
        self.collected = {1: Kept(limit), 2: Kept(limit)}
        self.theirs: list[int] = []
        self.pty = pty
        self._data = memoryview(data)
        self._arrived = arrived
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._mine: list[int] = []  # of theirs: those that we opened
        self._open_all(given)

    def _open_all(self, given: Sequence[int | None]) -> None:
        try:
            if self.coming:
                self.watch(self.coming.fileno(), self._arrive)
            elif self.pty:
                self._own_pty(self.pty)
            if self.pty:
                given = [self.pty.slave if fd is None else fd for fd in given]
            for number, fd in enumerate(given):
                self.theirs.append(self._open(number) if fd is None else fd)
        except OSError as error:
            self.close()
            explain(error)
            raise

    def _own_pty(self, pty: Pty) -> None:
        events = select.POLLIN | select.POLLOUT * bool(self._data)
        self._own(pty.master, events, self._talk)

    def _arrive(self) -> None:
        """Take the terminal that the container has made."""
        assert self.coming  # noqa: S101 - or it would not be watched
        self.unwatch(self.coming.fileno())
        if self.coming.arrive():
            if self.pty:
                self._own_pty(self.pty)
            self.coming.go_on()

    def _open(self, number: int) -> int:
        if number == 0 and not self._data:
            end = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            self._mine.append(end)
            return end
        try:
            reading, writing = os.pipe()
        except OSError as error:
            raise refusal("pipe2(O_CLOEXEC)", error.errno or 0) from None
        ours, end = (writing, reading) if number == 0 else (reading, writing)
        self._mine.append(end)
        if number == 0:
            self._own(ours, select.POLLOUT, lambda: self._feed(ours))
        else:  # nobody else reads there: what poll(2) has promised is still there
            self.watch(ours, lambda: self._take(number, ours))
        return end

    def _own(self, fd: int, events: int, handler: Callable[[], None]) -> None:
        self._handlers[fd] = handler
        self._poll.register(fd, events)
        _never_wait(fd)

    def watch(self, fd: int, handler: Callable[[], None]) -> None:
        """Call `handler` when `fd` becomes readable too."""
        self._handlers[fd] = handler
        self._poll.register(fd, select.POLLIN)

    def unwatch(self, fd: int) -> None:
        """Watch `fd` no longer."""
        if self._handlers.pop(fd, None):
            self._poll.unregister(fd)

    def sent(self) -> None:
        """Close the container's ends: it has its own copies now."""
        if self.pty:
            self.pty.give_away()
        while self._mine:
            os.close(self._mine.pop())

    def left_out(self, *numbers: int) -> int:
        """How many bytes of these streams were not kept."""
        return sum(self.collected[number].left_out for number in numbers)

    def step(self, timeout: float | None) -> bool:
        """Handle what is ready, waiting at most `timeout` seconds; False when nothing was."""
        try:
            events = self._poll.poll(None if timeout is None else max(0, timeout) * 1000)
        except OSError as error:
            raise refusal("poll()", error.errno or 0) from None
        for fd, _ in events:
            if fd in self._handlers:
                with contextlib.suppress(BlockingIOError):
                    self._handlers[fd]()
        return bool(events)

    def close(self) -> None:
        """Collect what is already in the pipes, then close everything.

        Raises what was refused, when all is closed.
        """
        self.sent()
        if self.coming:
            self.unwatch(self.coming.fileno())
            self.coming.expect_no_more()
        refused: OSError | None = None
        for fd in list(self._handlers):
            try:
                _never_wait(fd)
                while fd in self._handlers:
                    self._handlers[fd]()
            except BlockingIOError:
                pass
            except OSError as error:
                refused = error
            self._close(fd)
        if self.pty:
            self.pty.close()
        if refused:
            raise refused

    def _close(self, fd: int) -> None:
        if fd not in self._handlers:
            return
        self.unwatch(fd)
        # To close a terminal hangs it up. Who has closed its streams may be just about to end.
        if not self.pty or fd != self.pty.master:
            os.close(fd)

    def _feed(self, fd: int) -> None:
        with contextlib.suppress(BrokenPipeError), Asked(f"write({fd})"):  # it reads no more
            self._data = self._data[os.write(fd, self._data[:_CHUNK]) :]
            if self._data:
                return
        self._close(fd)

    def _take(self, number: int, fd: int) -> None:
        try:
            data = os.read(fd, _CHUNK)
        except OSError as error:
            raise refusal(f"read({fd})", error.errno or 0) from None
        if data:
            self.add(number, data)
        else:
            self.at_end = True
            self._close(fd)

    def add(self, number: int, data: bytes) -> None:
        """Take in output of stream `number`."""
        self.collected[number].add(data)
        if self._arrived:
            self._arrived(number, data)

    def _talk(self) -> None:
        """Type on the pseudo-terminal what is left to type, and take what it shows."""
        assert self.pty  # noqa: S101 - or it would not be watched
        if self._data:
            try:
                self._data = self._data[self.pty.put(self._data[:_CHUNK]) :]
            except BrokenPipeError:
                self._data = self._data[:0]
            if not self._data:
                self._poll.modify(self.pty.master, select.POLLIN)
        with Asked(f"read({self.pty.master})"):
            data = self.pty.read(_CHUNK)
        if data:
            self.add(1, data)
        else:  # its last end has been closed, but its program may not have ended: no SIGHUP yet
            self.unwatch(self.pty.master)


def _never_wait(fd: int) -> None:
    with Asked(f"ioctl({fd}, FIONBIO, [1])"):
        os.set_blocking(fd, False)


def text(data: bytes | bytearray) -> str:
    r"""Output as text: UTF-8, and what is not UTF-8 as ``\xNN``."""
    return data.decode("utf-8", "backslashreplace")


def as_bytes(data: str | bytes | None) -> bytes:
    """What is typed or piped in, as UTF-8. What Python decoded with surrogateescape is as it was.

    ValueError for a text that no bytes stand for.
    """
    if not isinstance(data, str):
        return data or b""
    try:
        return data.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        wrong = repr(data[error.start : error.end])
        told = Words(
            f"input 里的 {wrong} 写不成字节", f"input holds {wrong}, which no bytes stand for"
        )
        raise ValueError(told) from None


def captured(
    data: str | bytes | None, limit: int, make_pty: Callable[[], Pty] | None = None
) -> Streams:
    """Streams that feed `data`, or type it on a terminal, and collect the output up to `limit`."""
    typed, limit = as_bytes(data), check_limit(limit)
    if make_pty is None:
        return Streams((None, None, None), typed, limit=limit)
    # On a terminal the end of the input has to be typed too; in the middle of a line the first
    # only hands the line over.
    typed += END if typed[-1:] in (b"", b"\n", b"\r") else END * 2
    return Streams((None, None, None), typed, pty=make_pty(), limit=limit)
