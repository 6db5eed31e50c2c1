"""A thread that looks about each second, while somebody watches.

A view in the browser says that it is watched, again and again, and that it is no longer. Not all of
them come to say the latter: a page is closed, a connection breaks. So each word holds for a while
only. Without anybody left there is no thread.
"""

import atexit
import threading
import time
import weakref
from collections.abc import Callable

PERIOD = 1.0  # seconds between two looks
# Seconds that one word of a view holds. Views (static/namespace_map.js) repeat it four times as
# often; but while a cell runs the notebook's process hears nothing, and the map is to go on.
LEASE = 60.0


class Watch:
    """Calls `look` at once and then each PERIOD while anybody watches.

    And `lapsed` when the last watcher has fallen silent. Both are called on the watch's own thread,
    never twice at a time.
    """

    def __init__(self, look: Callable[[], None], lapsed: Callable[[], None]) -> None:
        self._look, self._lapsed = look, lapsed
        self._until: dict[str, float] = {}  # each watcher's word holds until then
        self._changed = threading.Condition()
        self._asked = False
        self._closed = False
        self._thread: threading.Thread | None = None
        _watches.add(self)

    def hold(self, watcher: str) -> None:
        """`watcher` watches, from now on or still."""
        with self._changed:
            self._asked = self._asked or watcher not in self._until
            self._until[watcher] = time.monotonic() + LEASE
            if not self._thread and not self._closed:
                self._thread = threading.Thread(target=self._run, name="labkit-watch", daemon=True)
                self._thread.start()
            self._changed.notify()

    def leave(self, watcher: str) -> None:
        """`watcher` watches no longer."""
        with self._changed:
            self._until.pop(watcher, None)
            self._changed.notify()

    def close(self) -> None:
        """End it for good, and wait until its thread has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        try:
            while self._wanted():
                self._look()
                with self._changed:
                    self._changed.wait_for(lambda: self._asked or self._idle(), PERIOD)
        except BaseException:  # the next word of a watcher starts another
            self._thread = None
            raise

    def _wanted(self) -> bool:
        """Whether to look once more; else the thread is given up under the lock that `hold` takes.

        Before that, `lapsed` is called if nobody has said that he is leaving.
        """
        with self._changed:
            self._asked = False
            silent = self._forget_the_silent()
            if not self._idle():
                return True
        if silent and not self._closed:
            self._lapsed()
        with self._changed:
            if self._idle():
                self._thread = None
            return self._thread is not None

    def _forget_the_silent(self) -> bool:
        now = time.monotonic()
        silent = [watcher for watcher, until in self._until.items() if until <= now]
        for watcher in silent:
            del self._until[watcher]
        return bool(silent)

    def _idle(self) -> bool:
        return self._closed or not self._until


_watches: "weakref.WeakSet[Watch]" = weakref.WeakSet()


@atexit.register
def close_all() -> None:
    """End all of them: none is to look, or to speak to a browser, while the process ends."""
    for watch in list(_watches):
        watch.close()
