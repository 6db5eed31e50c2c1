"""A system call as a value: made ready, made, and written down as strace(1) does."""

import os
from _thread import _local  # threading.local without the rest of threading
from collections.abc import Callable

from labkit.linux import door
from labkit.text.words import Words


class Later(int):
    """A number that is not known yet: whoever makes the call puts it in its place."""


TARGET_PIDFD = Later(-1)
"""The pidfd of the process whose namespaces are entered, as the engine will have it."""


CHILD_PID = Later(-2)
"""The PID of the child that the engine will have made, in a path below /proc."""

OPENED_FD = Later(-3)
"""The descriptor that the openat before this call will have given."""


class Call:
    """One system call made ready: its line as strace prints it, without the result."""

    __slots__ = ("line", "name", "values")

    def __init__(self, line: str, name: str, values: "tuple[door.Value, ...]") -> None:
        self.line, self.name, self.values = line, name, values

    def __call__(self) -> int:
        """Make it: its result, or minus its errno, as the kernel itself answers."""
        return door.call(self.name, self.values)


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


def parted(line: str) -> tuple[str, str]:
    """The other way: a line of a trace as call and answer, "" where it has none."""
    call, sign, answer = line.rpartition(" = ")
    return (call, answer) if sign else (line, "")


def only_thread(name: str) -> None:
    """Refuse a call that would move a program of several threads, such as the notebook's kernel.

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
                f"{name}() 会移动这个有 {threads} 个线程的进程（笔记本的内核），"
                "而且再也移不回来：请写在 %%child 单元格里。",
                f"{name}() would move this process of {threads} threads (the notebook's kernel) "
                "and nothing could move it back: write it in a %%child cell.",
                "\n",
            )
        )
