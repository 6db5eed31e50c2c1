"""The child's side of a score: a fresh clone of the engine makes its calls; the last is execve.

The clone shares its memory with the engine until one of them writes. Python counts references, so
it writes wherever it reads, and each page that it touches is copied first. So this does little.
"""

import errno
import os

from labkit.engine import layout
from labkit.engine.layout import CALL, COUNT, ENGINE_CALLS, HEAD, INODES, KINDS, NEXT, READY, RESULT
from labkit.linux.door import NUMBERS, syscall
from labkit.linux.signals import exit_like

TYPE_CHECKING = False  # importing typing would be a third of the engine's start
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from labkit.linux.door import Longs

_EXECVE, _CLONE3 = NUMBERS["execve"], NUMBERS["clone3"]
_OPENAT, _UNSHARE = NUMBERS["openat"], NUMBERS["unshare"]
# Before these calls we must have waited at the gate. After execve the program may end before the
# engine has seen its namespaces, and a seccomp filter may forbid the wait.
_LAST = (NUMBERS["seccomp"], _EXECVE)
_TIME = INODES + [name for name, _ in KINDS].index("time")
_NEXT_PLACE = (-errno.ENOENT, -errno.ENOTDIR)


def play(
    sheet: "Longs", stdio: "Sequence[int]", gate: "Sequence[int]", report: int, observer: int
) -> "NoReturn":
    """Connect the streams and make the calls. Wait at the `gate`, a pipe, before execve.

    If the engine makes calls for us first (maps of user IDs), wait before the first call. What is
    refused to us is noted in the score, and the caller reads it there.

    report: a pipe's end; it closes when the program runs. observer: a socket; the process at its
    other end sees us before each call. Either may be -1.
    """
    try:
        _note(sheet, layout.OWN_PIPE, gate[1])
        os.close(gate[1])  # so that reading from the gate ends if the engine dies
        for number, fd in enumerate(stdio):
            _note(sheet, number, fd)
            os.dup2(fd, number)
        _make_all(sheet, gate[0], report, observer)
    except OSError as error:
        sheet[layout.OWN_ERRNO] = error.errno or errno.EPROTO
    except BaseException:  # noqa: BLE001 - whatever it is, it must not return to the engine's loop
        _note(sheet, layout.OWN_MEMORY, -1)
        sheet[layout.OWN_ERRNO] = errno.ENOMEM
    finally:
        os._exit(125)


def _note(sheet: "Longs", call: int, fd: int) -> None:
    """Note which call of our own comes next."""
    sheet[layout.OWN_CALL], sheet[layout.OWN_FD] = call, fd


def _make_all(sheet: "Longs", gate: int, report: int, observer: int) -> None:
    """Make the calls one after another, up to a refused one. execve does not return."""
    seen = sheet[ENGINE_CALLS] and _wait_at_gate(sheet, gate)
    for at in range(HEAD, HEAD + CALL * sheet[COUNT], CALL):
        if sheet[at] in _LAST and not seen:
            seen = _wait_at_gate(sheet, gate)
        if sheet[at] == _EXECVE:
            sheet[READY] = 1
        if observer >= 0:
            _stop_for_observer(sheet, observer)
        result = make(sheet, at)
        if result > 0 and sheet[at] == _CLONE3:  # our child makes the other calls
            _wait_for(sheet, result, report)
        sheet[NEXT] = at + CALL
        if stops(sheet[at] == _EXECVE, result):
            break


def make(sheet: "Longs", at: int) -> int:
    """Make the call at the place `at` and note its result.

    The descriptor that openat returns is for the two calls after it, write and close. The only
    unshare in a score makes a time namespace. Its inode is noted: no process is in it before setns.
    """
    result = syscall(*sheet[at : at + RESULT])
    if result:
        sheet[at + RESULT] = result
    if result > 0 and sheet[at] == _OPENAT:
        sheet[at + CALL + 1] = sheet[at + 2 * CALL + 1] = result
    if not result and sheet[at] == _UNSHARE:
        _note(sheet, layout.OWN_STAT, -1)
        sheet[_TIME] = os.stat("/proc/self/ns/time_for_children").st_ino
    return result


def _wait_at_gate(sheet: "Longs", gate: int) -> int:
    """Wait for the engine. End if it is dead, or was refused a call that it made for us."""
    _note(sheet, layout.OWN_GATE, gate)
    if not os.read(gate, 1):
        os._exit(125)
    return 1


def _wait_for(sheet: "Longs", child: int, report: int) -> "NoReturn":
    """Wait for our child, and end as it ends."""
    if report >= 0:
        os.close(report)  # else it would stay open as long as we
    try:
        exit_like(child)
    except OSError:  # our child notes calls of its own meanwhile, so ours is noted afterwards
        _note(sheet, layout.OWN_WAIT, child)
        raise


def stops(is_execve: bool, result: int) -> bool:
    """Whether the child stops at `result`. A program may be in the next directory of PATH."""
    return result < 0 and not (is_execve and result in _NEXT_PLACE)


def _stop_for_observer(sheet: "Longs", observer: int) -> None:
    """Stand still until the observer has looked. The kernel tells the observer our PID."""
    _note(sheet, layout.OWN_ASKING, observer)
    os.write(observer, b"?")
    _note(sheet, layout.OWN_ANSWER, observer)
    os.read(observer, 1)
