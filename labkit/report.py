"""What became of the calls that a child was to make, as it says itself.

The engine makes them ready before the clone; the child makes them. All that has to be said is which
ones gave something else than 0, and that the last, an execve, is reached. Short, since every page
of memory that the child touches has to be copied for it; the caller, who has time, reads it.
"""

import errno
import os

from labkit.calls import answered

TYPE_CHECKING = False  # the engine reads this too, and importing typing is a third of its start
if TYPE_CHECKING:
    from collections.abc import Sequence

READY = "ready"


def ends(line: str, result: int) -> bool:
    """Whether `result` ends a child's way; a program may be in the next place of PATH."""
    return result < 0 and not (
        line.startswith("execve(") and result in (-errno.ENOENT, -errno.ENOTDIR)
    )


class Report:
    """The writer, in the child: `fd` is a pipe that execve closes."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def result(self, at: int, result: int) -> None:
        """Call number `at` gave `result`, which is not 0; minus an errno where it was refused."""
        os.write(self.fd, b"%d %d\n" % (at, result))

    def ready(self) -> None:
        """All is built; the next call is execve."""
        os.write(self.fd, b"ready\n")

    def defect(self, error: BaseException) -> None:
        """A defect of ours, not an answer of the kernel."""
        os.write(self.fd, f"defect {error!r}\n".encode())


class Account:
    """The reader. trace: the lines of the calls. refused: the line and errno that ended it.

    defect: what went wrong on our side, or None.
    """

    def __init__(self, lines: "Sequence[str]", said: str) -> None:
        """Take `lines`, those of the calls that were to be made, and what the child `said`."""
        words = [line.partition(" ")[::2] for line in said.splitlines()]
        results = {int(at): int(result) for at, result in words if at.isdigit()}
        self.defect = next((text for word, text in words if word == "defect"), None)
        self.refused: tuple[str, int] | None = None
        self.trace: list[str] = []
        if (READY, "") not in words and not any(result < 0 for result in results.values()):
            lines = lines[: max(results, default=-1) + 1]  # it was killed on its way
        result = 0
        for at, line in enumerate(lines):
            result = results.get(at, 0)
            self.trace.append(answered(line, result))
            if ends(line, result) or (result == 0 and line.startswith("execve(")):
                break
        if result < 0:
            self.refused = line, -result
