"""In a fresh clone of the engine: make the calls of a score, the last of which is execve.

This runs on memory that is shared with the engine until somebody writes, and Python writes wherever
it reads, since it counts references: each page that it touches is copied first. So it does little.
"""

import _signal  # type: ignore[import-not-found]  # signal(7) without enum, which is not needed
import errno
import os

from labkit.engine.layout import AHEAD, CALL, COUNT, HEAD, INODES, KINDS, NEXT, READY, RESULT
from labkit.linux.door import NUMBERS, syscall

TYPE_CHECKING = False  # importing typing would be a third of the engine's start
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from labkit.linux.door import Words

_EXECVE, _CLONE3 = NUMBERS["execve"], NUMBERS["clone3"]
_OPENAT, _UNSHARE = NUMBERS["openat"], NUMBERS["unshare"]
# Before these we must have waited: of a program that is over nothing can be seen any more, and a
# filter may forbid to wait.
_LAST = (NUMBERS["seccomp"], _EXECVE)
_TIME = INODES + [name for name, _ in KINDS].index("time")
_NEXT_PLACE = (-errno.ENOENT, -errno.ENOTDIR)


def play(
    words: "Words", stdio: "Sequence[int]", gate: int, report: int, observer: int, score: int
) -> "NoReturn":
    """Wire the streams and make the calls. Before execve wait at the `gate`, a pipe.

    Where the engine has to make calls ahead of ours (maps of user IDs), we wait before the first.

    report: the pipe's end whose closing says that the program runs. observer: the socket of one who
    wants to see us before each call. Either may be -1.
    """
    try:
        for fd, copy in enumerate(stdio):
            os.dup2(copy, fd)
        _make_all(words, gate, report, observer)
    except BaseException as error:  # noqa: BLE001 - a defect must not return to the engine's loop
        os.write(score, repr(error).encode())
    finally:
        os._exit(125)


def _make_all(words: "Words", gate: int, report: int, observer: int) -> None:
    """Make the calls one after another, up to a refused one; execve does not come back."""
    seen = words[AHEAD] and _wait(gate)
    for at in range(HEAD, HEAD + CALL * words[COUNT], CALL):
        if words[at] in _LAST and not seen:
            seen = _wait(gate)
        if words[at] == _EXECVE:
            words[READY] = 1
        if observer >= 0:
            _be_seen(observer)
        result = make(words, at)
        if result > 0 and words[at] == _CLONE3:  # our child goes on, and notes how far it gets
            _mirror(result, report)
        words[NEXT] = at + CALL
        if ends(words[at] == _EXECVE, result):
            break


def make(words: "Words", at: int) -> int:
    """Make the call that stands at `at` and note its result, and what else is asked of it.

    The descriptor that an openat gives is for the two calls after it, write and close. The only
    unshare in a score is of the time namespace, where nobody is before execve.
    """
    result = syscall(*words[at : at + RESULT])
    if result:
        words[at + RESULT] = result
    if result > 0 and words[at] == _OPENAT:
        words[at + CALL + 1] = words[at + 2 * CALL + 1] = result
    if not result and words[at] == _UNSHARE:
        words[_TIME] = os.stat("/proc/self/ns/time_for_children").st_ino
    return result


def _wait(gate: int) -> int:
    """Wait for the engine, which may have lost us, or be refused what it is to do for us."""
    if not os.read(gate, 1):
        os._exit(125)
    return 1


def ends(is_execve: bool, result: int) -> bool:
    """Whether `result` ends a child's way; a program may be in the next place of PATH."""
    return result < 0 and not (is_execve and result in _NEXT_PLACE)


def _be_seen(observer: int) -> None:
    """Stand still until the observer has looked; the kernel tells him our PID."""
    os.write(observer, b"?")
    os.read(observer, 1)


def _mirror(pid: int, report: int) -> None:
    """Wait for child `pid`, then end as it did: with its exit status, or by its signal."""
    if report >= 0:
        os.close(report)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != _signal.SIGKILL:
            _signal.signal(number, _signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))
