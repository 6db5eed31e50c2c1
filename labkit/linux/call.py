"""A system call as a value: made ready, made, and written down as strace(1) does.

Registers: any argument of a call may be the result of an earlier one, so a step reads as Python:
``fd = openat(...)``, ``write(fd, ...)``. In a rehearsal such a result is the place of the call
(:class:`Result`). The score has one word for each call that says which arguments are places; the
player looks them up, and the trace is filled in afterwards. Memory that a call fills has one
address in the score. A pidfd of a target and the child's directory in /proc are results too.
"""

import os
from _collections_abc import Callable
from _thread import _local  # threading.local without the rest of threading

from labkit.linux import door
from labkit.text.words import Words

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")


class Result(int):
    """What an earlier call will give, while calls are only made ready: its place among them.

    It may be an argument of any later call. In a line it stands as a mark that no text of a trace
    can hold, because all text is quoted; :meth:`Call.told` puts the number there.
    """

    def __str__(self) -> str:
        return f"⟨{int(self)}⟩"

    def __format__(self, _: str) -> str:
        return str(self)


TARGET_PIDFD = Result(-1)
"""The pidfd of the process whose namespaces are entered, as the engine will have it."""

CHILD_DIRECTORY = Result(-2)
"""The directory in /proc of the child that the engine will have made, opened."""


class Call:
    """One system call made ready: its line as strace prints it, without the result.

    passed_over: whether the steps go on when a file is not there, or is there already.
    """

    __slots__ = ("line", "name", "passed_over", "values")

    def __init__(self, line: str, name: str, values: "tuple[door.Value, ...]") -> None:
        self.line, self.name, self.values = line, name, values
        self.passed_over = False

    def told(self, known: "Callable[[Result], int]") -> str:
        """Its line with the results of earlier calls, which are known by now."""
        line = self.line
        for value in self.values:
            if isinstance(value, Result):
                line = line.replace(str(value), str(known(value)))
        return line

    def __call__(self) -> int:
        """Make it: its result, or minus its errno, as the kernel itself answers."""
        return door.call(self.name, self.values)


class Rehearsed(list[Call]):
    """Calls made ready, in order. looks: functions, their arguments and what they have told."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: list[tuple[Callable[..., object], tuple[object, ...], object]] = []

    def holds(self) -> bool:
        """Whether another rehearsal would see the same, and so make the same calls ready."""
        return all(look(*arguments) == told for look, arguments, told in self.looks)


class _Rehearsal(_local):
    """The calls that this thread has made ready instead of making them; None: no rehearsal."""

    calls: Rehearsed | None = None


_rehearsal = _Rehearsal()


def rehearse(steps: Callable[[], object]) -> Rehearsed:
    """The calls that `steps` would make, made ready in order but not made.

    Each seems to give a :class:`Result`, which may be an argument of later calls.
    """
    _rehearsal.calls = Rehearsed()
    try:
        steps()
        return _rehearsal.calls
    finally:
        _rehearsal.calls = None


def rehearsed(call: Call) -> Result | None:
    """What `call` will give, if a rehearsal takes it in place of it being made; else None."""
    if _rehearsal.calls is None:
        return None
    _rehearsal.calls.append(call)
    return Result(len(_rehearsal.calls) - 1)


def looked(at: "Callable[..., T]", *arguments: object) -> "T":
    """What `at(*arguments)` tells of the machine, for a step that depends on it.

    Calls that have been made ready may be kept as long as all these looks tell the same.
    """
    told = at(*arguments)
    if _rehearsal.calls is not None:
        _rehearsal.calls.looks.append((at, arguments, told))
    return told


class _PassedOver:
    def __init__(self, *errors: type[OSError]) -> None:
        self._errors = errors

    def __enter__(self) -> None:
        self._before = len(_rehearsal.calls or ())

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        for call in (_rehearsal.calls or ())[self._before :]:
            call.passed_over = True
        return isinstance(error, self._errors)


def may_be_missing() -> _PassedOver:
    """With one call in its block: if its file is not there (ENOENT, ENOTDIR), the steps go on."""
    return _PassedOver(FileNotFoundError, NotADirectoryError)


def may_be_there() -> _PassedOver:
    """With one call in its block: if what it is to make is there (EEXIST), the steps go on."""
    return _PassedOver(FileExistsError)


def rehearsing() -> bool:
    """Whether a rehearsal is going on."""
    return _rehearsal.calls is not None


def parted(line: str) -> tuple[str, str]:
    """The other way: a line of a trace as call and answer, "" where it has none."""
    call, sign, answer = line.rpartition(" = ")
    return (call, answer) if sign else (line, "")


def only_thread(name: str) -> None:
    """Refuse a call that would move a program of several threads, such as the notebook's process.

    A namespace, root or mount belongs to a thread: the kernel would move one thread, or the mounts
    under all of them, and nothing could move them back.
    """
    if rehearsing():  # for a child, which will have one thread
        return
    try:
        threads = os.stat("/proc/self/task").st_nlink - 2
    except OSError:  # no /proc: a container built by hand, which no kernel of a notebook is
        return
    if threads > 1:
        raise RuntimeError(
            Words(
                f"{name}() 会移动这个有 {threads} 个线程的进程（笔记本进程），"
                "而且再也移不回来：请写在 %%child 单元格里。",
                f"{name}() would move this process of {threads} threads (the notebook's process) "
                "and nothing could move it back: write it in a %%child cell.",
                "\n",
            )
        )
