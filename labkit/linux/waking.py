"""What wakes a process that waits: a signal that Python handles.

Python runs a handler between two of its instructions. A signal just before a call that waits would
be handled when that call ends. So such a call waits for a descriptor too, to which the interpreter
writes the number of each signal at once.
"""

import _signal  # type: ignore[import-not-found]
import os


class Waking:
    """A descriptor, for a block, that holds the numbers of signals that have come."""

    def __enter__(self) -> int:
        self._reading, self._writing = os.pipe()
        for fd in (self._reading, self._writing):
            os.set_blocking(fd, False)
        self._before = _signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        return self._reading

    def __exit__(self, *_: object) -> None:
        _signal.set_wakeup_fd(self._before)
        os.close(self._reading)
        os.close(self._writing)
