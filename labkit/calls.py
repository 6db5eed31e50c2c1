"""A system call as a value: made ready, made, and written down as strace(1) does."""

import errno
import os

TYPE_CHECKING = False  # the engine reads this too, and importing typing is a third of its start
if TYPE_CHECKING:
    from collections.abc import Callable


class Call:
    """One system call made ready: its line as strace prints it, without the result."""

    __slots__ = ("_function", "_values", "line")

    def __init__(self, line: str, function: "Callable[..., int]", *values: object) -> None:
        self.line, self._function, self._values = line, function, values

    def __call__(self) -> int:
        """Make it: its result, or minus its errno, as the kernel itself answers."""
        return self._function(*self._values)


class Observed(Call):
    """A call before which its maker lets itself be looked at from outside.

    `observer` is the container's end of a close-on-exec socket: a byte says that it stands still
    before the call, a byte in return lets it go on. The kernel tells the other end its PID.
    """

    __slots__ = ("_observer",)

    def __init__(self, call: Call, observer: int) -> None:
        super().__init__(call.line, call._function, *call._values)  # noqa: SLF001 - its own class
        self._observer = observer

    def __call__(self) -> int:
        """Wait until we have been looked at, then make the call."""
        os.write(self._observer, b"?")
        os.read(self._observer, 1)
        return super().__call__()


def rehearse(steps: "Callable[[], None]") -> list[Call]:
    """The calls that `steps` would make, made ready in order but not made: each seems to give 0.

    A fresh clone shares its memory with its maker until one of them writes, and Python writes
    wherever it reads (it counts references). What is made ready before the clone need not be
    copied after it: a container starts a third sooner.
    """
    _rehearsals.append([])
    try:
        steps()
    finally:
        calls = _rehearsals.pop()
    return calls


_rehearsals: list[list[Call]] = []


def rehearsed(call: Call) -> bool:
    """Whether a rehearsal is going on, which takes `call` in place of it being made."""
    if _rehearsals:
        _rehearsals[-1].append(call)
    return bool(_rehearsals)


def rehearsing() -> bool:
    """Whether a rehearsal is going on."""
    return bool(_rehearsals)


def answered(line: str, result: int) -> str:
    """The line of a call with its result, or with what minus an errno stands for."""
    if result >= 0:
        return f"{line} = {result}"
    number = -result
    name = "EOPNOTSUPP" if number == errno.EOPNOTSUPP else errno.errorcode.get(number, str(number))
    return f"{line} = -1 {name} ({os.strerror(number)})"
