"""The streams of a container that a monitor has: between it, its log and whoever is attached.

The monitor imports this. Nothing waits: what cannot be written yet stands in a buffer, and as long
as one does, no more is read of what fills it. So no byte is lost, and no buffer grows.
"""

import os
import select

from labkit.monitor.lines import Lines, LogFile

TYPE_CHECKING = False  # importing typing would be a third of the monitor's start
if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.engine.loop import Engine

_CHUNK = 65536  # bytes: what a pipe holds
_TRIES = 3  # of what the kernel refuses for a moment at most


class Writer:
    """An end to write to, with what it has no room for yet. drained: called when it has."""

    def __init__(self, engine: "Engine", fd: int, drained: "Callable[[], None]") -> None:
        self.engine, self.fd, self._drained = engine, fd, drained
        self.waiting: bytes | memoryview = b""
        os.set_blocking(fd, False)

    def put(self, data: bytes) -> None:
        """Write `data`, now as far as there is room. Nobody may put more while some waits."""
        self.waiting = memoryview(data)
        self._write()
        if self.waiting:
            self.engine.watch(self.fd, self._go_on, select.EPOLLOUT)

    def _write(self) -> None:
        tries = _TRIES
        while self.waiting:
            try:
                self.waiting = self.waiting[os.write(self.fd, self.waiting) :]
            except BlockingIOError:
                return
            except OSError:
                tries -= 1
                if not tries:  # nobody reads there any more
                    self.close()

    def _go_on(self) -> None:
        self._write()
        if not self.waiting:
            self.engine.unwatch(self.fd)
            self._drained()

    def close(self) -> None:
        """Close it; what waits is dropped."""
        self.waiting = b""
        if self.fd >= 0:
            self.engine.unwatch(self.fd)
            os.close(self.fd)
            self.fd = -1


class Output:
    """What a container prints on one stream: to the log, and to everybody attached."""

    def __init__(
        self, engine: "Engine", fd: int, name: str, log: LogFile, ended: "Callable[[], None]"
    ) -> None:
        """log: where entries are appended. ended: called when it is `done`."""
        self.engine, self.fd, self._ended = engine, fd, ended
        self._lines, self._log = Lines(name), log
        self.readers: list[Writer] = []
        self._last = self._watched = False
        os.set_blocking(fd, False)
        self.go_on()

    @property
    def done(self) -> bool:
        """Whether all has been read, and all of that been passed on."""
        return self.fd < 0 and not self._held_up()

    def attach(self, fd: int) -> Writer:
        """Pass on what comes from now on to one more reader."""
        reader = Writer(self.engine, fd, self.go_on)
        self.readers.append(reader)
        return reader

    def _held_up(self) -> bool:
        return any(reader.waiting for reader in self.readers)

    def go_on(self) -> None:
        """Watch it, or read its last, unless a reader is behind."""
        if self._last:
            while self.fd >= 0 and not self._held_up() and self._take():
                pass
        elif self.fd >= 0 and not self._watched and not self._held_up():
            self._watched = True
            self.engine.watch(self.fd, self._ready)
        if self.done:
            self._ended()

    def _ready(self) -> None:
        self._take()
        if self._held_up():
            self._unwatch()
        if self.done:
            self._ended()

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self.engine.unwatch(self.fd)

    def _take(self) -> bool:
        """Read once and pass it on. False: there is nothing now."""
        try:
            data = _read(self.fd)
        except BlockingIOError:
            if self._last:
                self.close()
            return False
        if not data:
            self.close()
            return False
        self._log.write(self._lines.add(data))
        self.readers = [reader for reader in self.readers if reader.fd >= 0]
        for reader in self.readers:
            reader.put(data)
        return True

    def finish(self) -> None:
        """The container has ended: read what it has left, and close."""
        self._last = True
        self._unwatch()
        self.go_on()

    def close(self) -> None:
        """Read no more."""
        if self.fd >= 0:
            self._unwatch()
            os.close(self.fd)
            self.fd = -1
            self._log.write(self._lines.finish())

    def drop(self) -> None:
        """Wait for nobody any longer."""
        self.close()
        for reader in self.readers:
            reader.close()


def _read(fd: int) -> bytes:
    """What there is to read; nothing at the end. A terminal that nobody has open says EIO for it.

    BlockingIOError: there is nothing now.
    """
    for _ in range(_TRIES):
        try:
            return os.read(fd, _CHUNK)
        except BlockingIOError:
            raise
        except OSError:
            continue
    return b""


class Source:
    """One who types: an end to read from, or -1 when that is over."""

    def __init__(self, fd: int) -> None:
        self.fd = fd


class Input:
    """What is typed or piped into a container, by everybody attached.

    once: whether its standard input ends with that of the first who is attached (docker run -i).
    """

    def __init__(self, engine: "Engine", fd: int, *, once: bool) -> None:
        self.engine, self._once, self._ending = engine, once, False
        self._sources: list[Source] = []
        self._target = Writer(engine, fd, self._go_on)

    def attach(self, fd: int) -> Source:
        """Take what comes from one more writer."""
        source = Source(fd)
        self._sources.append(source)
        self._go_on()
        return source

    def detach(self, source: Source) -> None:
        """Take no more from a writer."""
        if source in self._sources:
            self._sources.remove(source)
            self.engine.unwatch(source.fd)
            os.close(source.fd)

    def _go_on(self) -> None:
        """Read what is typed, unless the container has not taken what came before."""
        for source in self._sources:
            if self._target.waiting:
                self.engine.unwatch(source.fd)
            elif source.fd not in self.engine.handlers:
                self.engine.watch(source.fd, lambda source=source: self._take(source))  # type: ignore[misc]
        if self._ending and not self._target.waiting:
            self._target.close()

    def _take(self, source: Source) -> None:
        """Take what a writer has for the container; its end may be that of the input."""
        data = os.read(source.fd, _CHUNK)
        if data and self._target.fd >= 0:
            self._target.put(data)
        else:
            self.detach(source)
            self._ending = self._once
        self._go_on()

    def close(self) -> None:
        """The container has ended: nobody reads there any more."""
        for source in [*self._sources]:
            self.detach(source)
        self._target.close()
