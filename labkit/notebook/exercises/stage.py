"""A child that calls a learner's function and looks around; what there is to look at.

This runs in the program of ``scenes.py``, which has one thread and may be cloned.
"""

import contextlib
import errno
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from labkit import syscalls
from labkit.linux import proc
from labkit.linux.processes import clone, clone3
from labkit.notebook.exercises.answers import FailedError, Failure

Function = Callable[..., object]
Facts = dict[str, Any]

_MOST_CALLS = 20  # of a function's trace that are told
_LATE = 2.0  # seconds that a process may come back after the child that was waited for


def inside(function: Function, look: Callable[[], Facts], flags: int = 0) -> Facts:
    """Have a child, born in new namespaces `flags`, call `function` and then `look` around.

    came: what each process saw that came back from the call, usually one. status: how the child
    ended. trace: the calls of the first that came back. Raises FailedError when the call failed,
    with what there was to be seen then.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    child = born(flags)
    if child == 0:
        _tell(writer, function, look)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    reports = [json.loads(line) for line in _read(reader).splitlines()]
    for report in reports:
        if "failure" in report:
            raise FailedError(Failure(**report["failure"]), report["seen"])
    came = [report["came"] for report in reports]
    trace = reports[0]["trace"] if reports else []
    return {"came": came, "trace": trace, "status": os.waitstatus_to_exitcode(status)}


def born(flags: int) -> int:
    """A child in new namespaces `flags`: its PID here, 0 there, as fork(2)."""
    try:
        return clone3(flags)
    except OSError as error:
        if error.errno != errno.ENOSYS:  # as Docker's seccomp profile answers
            raise
        return clone(flags)


def _tell(fd: int, function: Function, look: Callable[[], Facts]) -> None:
    """In the child, and whatever it forks: call, look, say what came of it, end."""
    report: Facts = {}
    try:
        syscalls.trace.clear()
        function()
        trace = syscalls.trace[:_MOST_CALLS]
        report = {"came": look(), "trace": trace}
    except SystemExit:  # a process that ends has not come back
        os._exit(0)
    except BaseException as error:  # noqa: BLE001 - the learner's, whatever it is
        report = {"failure": vars(Failure.of(error)), "seen": _glance(look)}
    finally:
        with contextlib.suppress(OSError):  # it may have closed every descriptor
            sys.stdout.flush()
            if report:
                os.write(fd, json.dumps(report).encode() + b"\n")
        os._exit(0)


def _glance(look: Callable[[], Facts]) -> Facts:
    """What there is to be seen, if the function that failed has left us anything to see by."""
    try:
        return look()
    except Exception:  # noqa: BLE001 - its failure is what matters
        return {}


def _read(fd: int) -> bytes:
    """What is in the pipe, when all who may write to it are gone or some time has passed."""
    os.set_blocking(fd, False)
    data, deadline = b"", time.monotonic() + _LATE
    while time.monotonic() < deadline:
        try:
            piece = os.read(fd, 1 << 16)
        except BlockingIOError:
            if data:
                break
            time.sleep(0.01)
            continue
        if not piece:
            break
        data += piece
    os.close(fd)
    return data


def namespace(kind: str) -> int:
    """The inode of our own namespace of `kind`."""
    return os.stat(f"/proc/self/ns/{kind}").st_ino


def mounted(place: str) -> list[str]:
    """The types of the file systems mounted at `place`, lowest first, as we see them."""
    return [mount.kind for mount in _mounts() if mount.point == place]


def shared() -> list[str]:
    """Our mount points that belong to a peer group: mount_namespaces(7)."""
    return [
        mount.point
        for mount in _mounts()
        if any(word.startswith("shared:") for word in mount.propagation)
    ]


def _mounts() -> list[proc.Mount]:
    """Our mounts; none where the function has left us no /proc to read them in."""
    try:
        return proc.mounts()
    except FileNotFoundError:
        return []
