"""What a terminal has shown lately, and how far each page has come: a bounded queue on both ends.

A program may print faster than a page can draw, and a page may be asleep, reloaded or closed. So
reading stops while a page is a window behind; and after a while goes on without it: when such a
page speaks again it is given the latest that is kept, again.
"""

import threading
import time
from collections.abc import Callable

KEPT = 256 * 1024  # bytes that a page gets when it appears: some thousand lines
WINDOW = 128 * 1024  # bytes that a page may be behind
PATIENCE = 1.0  # seconds to wait for one that says nothing


class Screen:
    """Takes what a program shows, and tells pages of it.

    show: called with what is new and the number of bytes that came before it, for all pages that
    keep up. replay: called with a page's name, what is kept, and the number before that.
    """

    def __init__(
        self, show: Callable[[bytes, int], None], replay: Callable[[str, bytes, int], None]
    ) -> None:
        self._show, self._replay = show, replay
        self._kept = bytearray()
        self._end = 0  # bytes that have ever come
        self._seen: dict[str, int] = {}  # of each page that keeps up
        self._unseen = 0  # without any page, as much as this has been waited for
        self._full_since: float | None = None
        self._lock = threading.RLock()
        self.moved: Callable[[], None] = lambda: None  # called when there may be room again

    def add(self, data: bytes) -> None:
        """Take what a program has printed."""
        with self._lock:
            began, self._end = self._end, self._end + len(data)
            self._kept += data
            if len(self._kept) > KEPT:
                self._trim()
            if self._seen:
                self._show(data, began)

    def _trim(self) -> None:
        """Forget the oldest, to the end of a line: not half a character or half a colour."""
        surplus = len(self._kept) - KEPT
        line = self._kept.find(b"\n", surplus)
        del self._kept[: line + 1 if line >= 0 else surplus]

    def clear(self) -> None:
        """Forget all, on every page too: another program begins."""
        with self._lock:
            self._kept.clear()
        self.add(b"\x1bc")  # RIS, the full reset

    def text(self) -> str:
        """What is kept, as text."""
        with self._lock:
            return self._kept.decode("utf-8", "backslashreplace")

    def attach(self, page: str) -> None:
        """A page has appeared, or noticed that it has missed something."""
        with self._lock:
            self._seen[page] = self._end
            self._replay(page, bytes(self._kept), self._end - len(self._kept))

    def seen(self, page: str, position: int) -> None:
        """A page has drawn everything before `position`."""
        with self._lock:
            if page not in self._seen:  # it has slept
                self.attach(page)
            elif position <= self._end:
                self._seen[page] = max(position, self._seen[page])
        self.moved()

    def detach(self, page: str) -> None:
        """A page is gone."""
        with self._lock:
            if self._seen.pop(page, None) is not None and not self._seen:
                self._unseen = self._end
        self.moved()

    def room(self) -> bool:
        """Whether to show more now. Pages that are slow for PATIENCE are left behind."""
        with self._lock:
            if self._end - min(self._seen.values(), default=self._unseen) < WINDOW:
                self._full_since = None
                return True
            now = time.monotonic()
            self._full_since = self._full_since or now
            if now - self._full_since < PATIENCE:
                return False
            self._full_since = None
            self._unseen = self._end
            self._seen = {p: at for p, at in self._seen.items() if self._end - at < WINDOW}
            return True
