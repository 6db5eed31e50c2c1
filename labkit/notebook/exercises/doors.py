"""The ways to a new user namespace, and what must go on working, tried under a learner's filter.

This is a program of its own, in the container that has the filter: each trial is a child's.
"""

import json
import os
import signal
import threading
from collections.abc import Callable

from labkit.linux.door import NUMBERS, map_shared, syscall
from labkit.linux.flags import CLONE_NEWUSER, CLONE_NEWUTS
from labkit.linux.processes import clone, unshare

FAILED = 255  # for a failure without an errno
_PAGE = 4096
_LOW = 1 << 36  # an address where nothing lies


def _clone(flags: int) -> None:
    if clone(flags) == 0:
        os._exit(0)


def _clone3() -> None:
    """Try it twice, with its arguments where their address has the flag's bit, and where not.

    A filter that takes the address for the flags would refuse it by luck.
    """
    results = [_clone3_at(place) for place in (_LOW, _LOW | CLONE_NEWUSER)]
    if max(results) < 0:
        raise OSError(-results[0], "clone3")


def _clone3_at(place: int) -> int:
    fd = os.memfd_create("clone_args")
    os.truncate(fd, _PAGE)
    words = map_shared(fd, _PAGE, place)
    words[0], words[4] = CLONE_NEWUSER, signal.SIGCHLD  # struct clone_args: flags, exit_signal
    result = syscall(NUMBERS["clone3"], place, 64)
    if result == 0:
        os._exit(0)
    return result


def _thread() -> None:
    thread = threading.Thread(target=bool)  # which libc makes by clone3 if it can
    thread.start()
    thread.join()


DOORS: dict[str, Callable[[], None]] = {
    "unshare(CLONE_NEWUSER)": lambda: unshare(CLONE_NEWUSER),
    "unshare(CLONE_NEWUSER|CLONE_NEWUTS)": lambda: unshare(CLONE_NEWUSER | CLONE_NEWUTS),
    "clone(CLONE_NEWUSER)": lambda: _clone(CLONE_NEWUSER),
    "clone3(CLONE_NEWUSER)": _clone3,
}
REST: dict[str, Callable[[], None]] = {
    "clone(0)": lambda: _clone(0),
    "unshare(CLONE_NEWUTS)": lambda: unshare(CLONE_NEWUTS),
    "thread": _thread,
}


def result_of(action: Callable[[], None]) -> int:
    """What comes of `action` in a child: 0, an errno, or the signal that ended it, negative.

    Where there can be no child, the errno of that.
    """
    try:
        child = os.fork()
    except OSError as error:
        return error.errno or FAILED
    if child == 0:
        try:
            action()
        except OSError as error:
            os._exit(error.errno or FAILED)
        except BaseException:  # noqa: BLE001 - RuntimeError: can't start new thread
            os._exit(FAILED)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Try all, and print what came of each."""
    print(json.dumps({name: result_of(action) for name, action in (DOORS | REST).items()}))
