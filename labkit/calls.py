"""A system call as a value: made ready, made, and written down as strace(1) does."""

import errno
import os
from _thread import _local  # threading.local without the rest of threading
from collections.abc import Callable

from labkit import kernel


class Later(int):
    """A number that is not known yet: whoever makes the call puts it in its place."""


THERE = Later(-1)
"""The pidfd of the process whose namespaces are entered, as the engine will have it."""


CHILD = Later(-2)
"""The PID of the child that the engine will have made, in a path below /proc."""

OPENED = Later(-3)
"""The descriptor that the openat before this call will have given."""


class Call:
    """One system call made ready: its line as strace prints it, without the result."""

    __slots__ = ("line", "name", "values")

    def __init__(self, line: str, name: str, values: "tuple[kernel.Value, ...]") -> None:
        self.line, self.name, self.values = line, name, values

    def __call__(self) -> int:
        """Make it: its result, or minus its errno, as the kernel itself answers."""
        return kernel.call(self.name, self.values)


class _Rehearsal(_local):
    """The calls that this thread has made ready instead of making them; None: no rehearsal."""

    calls: list[Call] | None = None


_rehearsal = _Rehearsal()


def rehearse(steps: Callable[[], object]) -> list[Call]:
    """The calls that `steps` would make, made ready in order but not made: each seems to give 0."""
    _rehearsal.calls = []
    try:
        steps()
        return _rehearsal.calls
    finally:
        _rehearsal.calls = None


def rehearsed(call: Call) -> bool:
    """Whether a rehearsal is going on, which takes `call` in place of it being made."""
    if _rehearsal.calls is None:
        return False
    _rehearsal.calls.append(call)
    return True


def rehearsing() -> bool:
    """Whether a rehearsal is going on."""
    return _rehearsal.calls is not None


def answered(line: str, result: int) -> str:
    """The line of a call with its result, or with what minus an errno stands for."""
    if result >= 0:
        return f"{line} = {result}"
    number = -result
    name = "EOPNOTSUPP" if number == errno.EOPNOTSUPP else errno.errorcode.get(number, str(number))
    return f"{line} = -1 {name} ({os.strerror(number)})"
