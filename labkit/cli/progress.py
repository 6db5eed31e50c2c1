"""A line for each layer, as docker pull and docker push show it.

On a terminal each line is written over when its layer gets on. Elsewhere there is a new line for
each new state, and none while bytes come.
"""

import time
from _thread import allocate_lock
from types import TracebackType

from labkit.python.typing import Self, TextIO

_SHORT = 12  # digits of a digest that are shown
_MOVING = frozenset(("Downloading", "Extracting", "Pushing"))
_BAR = 50  # columns
_PAUSE = 0.1  # seconds until a line is written again while bytes come


class Lines:
    """What becomes of each layer; called from several threads. quiet: nothing is written."""

    def __init__(self, out: TextIO, *, quiet: bool = False) -> None:
        self._out, self._quiet, self._tty = out, quiet, out.isatty()
        self._rows: dict[str, int] = {}
        self._states: dict[str, str] = {}
        self._next: dict[str, float] = {}
        self._lock = allocate_lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._out.flush()

    def say(self, line: str) -> None:
        """A line that stays as it is."""
        with self._lock:
            if not self._quiet:
                self._out.write(f"{line}\n")
                self._rows = {name: row + 1 for name, row in self._rows.items()}

    def __call__(self, digest: str, state: str, done: int, whole: int) -> None:
        """Show that a layer is in this state, and how much of it is done."""
        name = digest.partition(":")[2][:_SHORT]
        with self._lock:
            new = self._states.get(name) != state
            self._states[name] = state
            if self._quiet or not (new or self._due(name)):
                return
            if self._tty:
                self._over(name, f"{name}: {state}{_bar(state, done, whole)}")
            elif state not in _MOVING:
                self._out.write(f"{name}: {state}\n")

    def _due(self, name: str) -> bool:
        """Whether it is time to write a line again that has the same state."""
        now = time.monotonic()
        if not self._tty or now < self._next.get(name, 0):
            return False
        self._next[name] = now + _PAUSE
        return True

    def _over(self, name: str, line: str) -> None:
        """Write over the line of a layer, which is so many rows above the last."""
        if name not in self._rows:
            self._rows = {other: row + 1 for other, row in self._rows.items()}
            self._rows[name] = 1
            self._out.write(f"{line}\n")
        else:
            row = self._rows[name]
            self._out.write(f"\x1b[{row}A\r\x1b[2K{line}\r\x1b[{row}B")
        self._out.flush()


def _bar(state: str, done: int, whole: int) -> str:
    """How much is done, as a bar and in bytes."""
    if state not in _MOVING or not whole:
        return ""
    full = min(done * _BAR // whole, _BAR)
    arrow = "=" * (full - 1) + ">" if full else ""
    from labkit.docker import units  # only who shows a bar

    return f" [{arrow:{_BAR}}]  {units.size(done)}/{units.size(whole)}"
