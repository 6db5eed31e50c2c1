"""One run of a container on a pseudo-terminal of ours, read and typed at by one thread."""

import contextlib
import os
import select
import threading
from collections.abc import Callable, Iterator

from labkit.container.container import Container, as_container
from labkit.engine.execution import Execution, executed
from labkit.engine.inner_pty import pty_for
from labkit.engine.running import Running
from labkit.engine.streams import Streams
from labkit.notebook.widgets.screen import Screen

_CHUNK = 64 * 1024  # bytes that are shown at once
_MOST = 1 << 20  # bytes typed ahead: more than that nobody pastes on purpose


class Session:
    """One run of `box`, whose output goes to `screen`. Raises what start() raises.

    size: rows and columns. ended: called on the session's own thread when all is over.
    """

    def __init__(
        self, box: Container, screen: Screen, size: tuple[int, int], ended: Callable[[], None]
    ) -> None:
        self._screen, self._ended = screen, ended
        self._typed = bytearray()
        self._lock = threading.Lock()
        self._size = size
        self.running = executed(lambda: self._begun(as_container(box)), self._started)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        screen.moved = self.wake
        threading.Thread(target=self._run, name="labkit-terminal", daemon=True).start()

    def _begun(self, box: Container) -> Execution:
        """Ask for the container, on a new pseudo-terminal."""
        self._pty = pty_for(box)
        with self._else_closed():
            self._pty.resize(*self._size)
            streams = Streams([self._pty.slave] * 3, b"", coming=self._pty)
            execution = Execution(box, streams, report_start=True)
            self._pty.give_away()
            return execution

    def _started(self, execution: Execution) -> Running:
        with self._else_closed():
            return Running(execution)

    @contextlib.contextmanager
    def _else_closed(self) -> Iterator[None]:
        """Close the pseudo-terminal if what is done in the block is refused."""
        try:
            yield
        except BaseException:
            self._pty.close()
            raise

    def wake(self) -> None:
        """Have the thread look again at what there is to do."""
        with self._lock:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def type(self, data: bytes) -> None:
        """Type `data`, now or when the program reads."""
        with self._lock:
            if len(self._typed) + len(data) <= _MOST:
                self._typed += data
        self.wake()

    def resize(self, rows: int, columns: int) -> None:
        """Tell the program of another size."""
        self._pty.resize(rows, columns)

    def kill(self) -> None:
        """End the container; what it has printed is still shown."""
        with contextlib.suppress(ProcessLookupError):
            self.running.kill()

    def _run(self) -> None:
        try:
            while self._step():
                pass
            with contextlib.suppress(Exception):  # whoever asks what came of it is told
                self.running.wait()
        finally:
            with self._lock:
                os.close(self._wake)
                self._wake = -1
            self._pty.close()
            self._ended()

    def _step(self) -> bool:
        """Do what can be done now; False when no program is left on the terminal."""
        room = self._screen.room()
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(self._pty.master, select.POLLIN * room | select.POLLOUT * bool(self._typed))
        ready = dict(poll.poll(1000 if room else 100))
        if self._wake in ready:
            os.eventfd_read(self._wake)
        happened = ready.get(self._pty.master, 0)
        if happened & select.POLLOUT:
            self._put()
        if happened & (select.POLLIN | select.POLLHUP):
            return self._take()
        return bool(ready) or not room or not self._over()

    def _put(self) -> None:
        with self._lock:
            try:
                del self._typed[: self._pty.put(self._typed)]
            except BrokenPipeError:
                self._typed.clear()

    def _take(self) -> bool:
        """Show what there is; False at the end."""
        data, more = b"", b"."
        with contextlib.suppress(BlockingIOError):
            while more and len(data) < _CHUNK:
                more = self._pty.read(_CHUNK)
                data += more
        if data:
            self._screen.add(data)
        return bool(more)

    def _over(self) -> bool:
        """Whether it has ended although somebody still holds its terminal."""
        try:
            self.running.wait(0)
        except TimeoutError:
            return False
        except Exception:  # noqa: BLE001 - it ended in another way
            return True
        return True
