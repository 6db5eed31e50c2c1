"""The child's side of a score: a fresh clone of the engine makes its calls; the last is execve.

The clone shares its memory with the engine until one of them writes. Python counts references, so
it writes wherever it reads, and each page that it touches is copied first. So this does little. The
same in machine code, which touches nothing, is `machine.py`.
"""

import errno
import os

from labkit.engine.layout import (
    CALL,
    CHILD_ERRNO,
    HEAD,
    INODES,
    KINDS,
    MASK,
    NEEDS_INPUT,
    PASSED_OVER,
    REGISTERS,
    RESULT,
)
from labkit.linux.door import NUMBERS, syscall
from labkit.linux.signals import exit_like, look_after

TYPE_CHECKING = False  # importing typing would be a third of the engine's start
if TYPE_CHECKING:
    from typing import NoReturn

    from labkit.linux.door import Longs

_CLONE3, _UNSHARE = NUMBERS["clone3"], NUMBERS["unshare"]
_FILES = {"time": "time_for_children"}  # of a namespace that only our children will be in
_NOTED = [(flag, place, _FILES.get(name, name)) for place, (name, flag) in enumerate(KINDS, INODES)]
_PASSED_OVER = (-errno.ENOENT, -errno.ENOTDIR, -errno.EEXIST)


def play(sheet: "Longs") -> "NoReturn":
    """Make the calls one after another, up to one that stops us. execve does not return."""
    at = HEAD
    try:
        result = make(sheet, at)
        while not stops(sheet[at + MASK], result):
            if result and sheet[at] == _CLONE3:  # our child makes the other calls
                look_after(result) if os.getpid() == 1 else exit_like(result)
            at += CALL
            result = make(sheet, at)
    except OSError as error:
        sheet[CHILD_ERRNO] = error.errno or errno.EPROTO
    except BaseException:  # noqa: BLE001 - whatever it is, it must not return to the engine's loop
        sheet[CHILD_ERRNO] = errno.ENOMEM
    finally:
        os._exit(125)


def make(sheet: "Longs", at: int) -> int:
    """Make the call at the place `at`, with its registers looked up, and note its result.

    Of clone3 the parent notes it. Of a namespace that unshare makes we note the inode: the engine
    may have looked before. In a time namespace no process is before setns.
    """
    call = sheet[at : at + RESULT]
    if sheet[at + MASK] & REGISTERS:
        for argument in range(1, RESULT):
            if sheet[at + MASK] >> argument - 1 & 1:
                call[argument] = sheet[call[argument]]
    result = syscall(*call)
    if result or sheet[at] != _CLONE3:
        sheet[at + RESULT] = result
    if not result and sheet[at] == _UNSHARE:
        for flag, place, name in _NOTED:
            if sheet[at + 1] & flag:
                sheet[place] = os.stat(f"/proc/self/ns/{name}").st_ino
    return result


def stops(mask: int, result: int) -> bool:
    """Whether the child stops at `result` of a call with `mask`."""
    if result < 0:
        return not (mask & PASSED_OVER and result in _PASSED_OVER)
    return result == 0 and bool(mask & NEEDS_INPUT)
