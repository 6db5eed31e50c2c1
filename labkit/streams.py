"""Our ends of a container's standard streams: input is fed to it, output collected from it."""

import contextlib
import os
import select
from collections.abc import Callable, Sequence

_CHUNK = 65536  # bytes: what a pipe holds


class Streams:
    """Standard input, output and error of one container, and one more descriptor to watch.

    theirs: the container's ends, to be sent to the engine and closed with :meth:`sent`. A given
    descriptor is passed on as it is; without one, input comes from `data` (or /dev/null), and
    output and error are collected. `arrived` is called with the stream's number and what came.
    """

    def __init__(
        self,
        given: Sequence[int | None],
        data: bytes,
        arrived: Callable[[int, bytes], None] | None = None,
    ) -> None:
        self.collected = {1: bytearray(), 2: bytearray()}
        self.theirs: list[int] = []
        self._data = memoryview(data)
        self._arrived = arrived
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._mine: list[int] = []  # of theirs: those that we opened
        for number, fd in enumerate(given):
            self.theirs.append(self._open(number) if fd is None else fd)

    def _open(self, number: int) -> int:
        if number == 0 and not self._data:
            end = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        elif number == 0:
            end, ours = os.pipe()
            self._own(ours, select.POLLOUT, lambda: self._feed(ours))
        else:
            ours, end = os.pipe()
            self._own(ours, select.POLLIN, lambda: self._take(number, ours))
        self._mine.append(end)
        return end

    def _own(self, fd: int, events: int, handler: Callable[[], None]) -> None:
        os.set_blocking(fd, False)
        self._handlers[fd] = handler
        self._poll.register(fd, events)

    def watch(self, fd: int, handler: Callable[[], None]) -> None:
        """Call `handler` when `fd` becomes readable too."""
        self._handlers[fd] = handler
        self._poll.register(fd, select.POLLIN)

    def forget(self, fd: int) -> None:
        """Watch `fd` no longer."""
        if self._handlers.pop(fd, None):
            self._poll.unregister(fd)

    def sent(self) -> None:
        """Close the container's ends: it has its own copies now."""
        while self._mine:
            os.close(self._mine.pop())

    def step(self, timeout: float | None) -> bool:
        """Handle what is ready, waiting at most `timeout` seconds; False when nothing was."""
        events = self._poll.poll(None if timeout is None else max(0, timeout) * 1000)
        for fd, _ in events:
            if fd in self._handlers:
                self._handlers[fd]()
        return bool(events)

    def close(self) -> None:
        """Collect what is already in the pipes, then close everything."""
        self.sent()
        for fd in list(self._handlers):
            with contextlib.suppress(BlockingIOError):
                while fd in self._handlers:
                    self._handlers[fd]()
            self._close(fd)

    def _close(self, fd: int) -> None:
        if fd in self._handlers:
            self.forget(fd)
            os.close(fd)

    def _feed(self, fd: int) -> None:
        with contextlib.suppress(BrokenPipeError):  # it reads no more
            self._data = self._data[os.write(fd, self._data[:_CHUNK]) :]
            if self._data:
                return
        self._close(fd)

    def _take(self, number: int, fd: int) -> None:
        data = os.read(fd, _CHUNK)
        self.collected[number] += data
        if not data:
            self._close(fd)
        elif self._arrived:
            self._arrived(number, data)


def text(data: bytes | bytearray) -> str:
    r"""Output as text: UTF-8, and what is not UTF-8 as ``\xNN``."""
    return data.decode("utf-8", "backslashreplace")
