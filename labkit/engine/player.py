"""The child's side of a score: a fresh clone of the engine makes its calls; the last is execve.

The clone shares its memory with the engine until one of them writes. Python counts references, so
it writes wherever it reads, and each page that it touches is copied first. So this does little.
"""

import errno
import os

from labkit.engine.layout import (
    CALL,
    COUNT,
    ENGINE_CALLS,
    HEAD,
    INODES,
    KINDS,
    MASK,
    MAY_BE_MISSING,
    NEXT,
    READY,
    RESULT,
)
from labkit.linux.door import NUMBERS, syscall
from labkit.linux.signals import exit_like

TYPE_CHECKING = False  # importing typing would be a third of the engine's start
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from labkit.linux.door import Longs

_EXECVE, _CLONE3, _UNSHARE = NUMBERS["execve"], NUMBERS["clone3"], NUMBERS["unshare"]
# Before these calls we must have waited at the gate. After execve the program may end before the
# engine has seen its namespaces, and a seccomp filter may forbid the wait.
_LAST = (NUMBERS["seccomp"], _EXECVE)
_TIME = INODES + [name for name, _ in KINDS].index("time")
_MISSING = (-errno.ENOENT, -errno.ENOTDIR)


def play(
    sheet: "Longs", stdio: "Sequence[int]", gate: int, report: int, observer: int, score: int
) -> "NoReturn":
    """Connect the streams and make the calls. Wait at the `gate`, a pipe, before execve.

    If the engine makes calls for us first (maps of user IDs), wait before the first call.

    report: a pipe's end; it closes when the program runs. observer: a socket; the process at its
    other end sees us before each call. Either may be -1.
    """
    try:
        for fd, copy in enumerate(stdio):
            os.dup2(copy, fd)
        _make_all(sheet, gate, report, observer)
    except BaseException as error:  # noqa: BLE001 - a defect must not return to the engine's loop
        os.write(score, repr(error).encode())
    finally:
        os._exit(125)


def _make_all(sheet: "Longs", gate: int, report: int, observer: int) -> None:
    """Make the calls one after another, up to a refused one. execve does not return."""
    seen = sheet[ENGINE_CALLS] and _wait_at_gate(gate)
    for at in range(HEAD, HEAD + CALL * sheet[COUNT], CALL):
        if sheet[at] in _LAST and not seen:
            seen = _wait_at_gate(gate)
        if sheet[at] == _EXECVE:
            sheet[READY] = 1
        if observer >= 0:
            _stop_for_observer(observer)
        result = make(sheet, at)
        if result > 0 and sheet[at] == _CLONE3:  # our child makes the other calls
            if report >= 0:
                os.close(report)  # else it would stay open as long as we
            exit_like(result)
        sheet[NEXT] = at + CALL
        if stops(sheet[at + MASK], result):
            break


def make(sheet: "Longs", at: int) -> int:
    """Make the call at the place `at`, with its registers looked up, and note its result.

    The only unshare in a score makes a time namespace. Its inode is noted: no process is in it
    before setns.
    """
    call, mask = sheet[at : at + RESULT], sheet[at + MASK]
    if mask:
        for argument in range(1, RESULT):
            if mask >> argument - 1 & 1:
                call[argument] = sheet[call[argument]]
    result = syscall(*call)
    if result:
        sheet[at + RESULT] = result
    if not result and sheet[at] == _UNSHARE:
        sheet[_TIME] = os.stat("/proc/self/ns/time_for_children").st_ino
    return result


def _wait_at_gate(gate: int) -> int:
    """Wait for the engine. End if it is dead, or was refused a call that it made for us."""
    if not os.read(gate, 1):
        os._exit(125)
    return 1


def stops(mask: int, result: int) -> bool:
    """Whether the child stops at `result` of a call with `mask`."""
    return result < 0 and not (mask & MAY_BE_MISSING and result in _MISSING)


def _stop_for_observer(observer: int) -> None:
    """Stand still until the observer has looked. The kernel tells the observer our PID."""
    os.write(observer, b"?")
    os.read(observer, 1)
