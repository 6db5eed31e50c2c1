"""This Python, run again from a copy in memory that nobody can change.

Until it becomes a program of the container, a process of ours in there is the host's Python. Root
of the container may open its /proc/PID/exe, and write to the host's file once nobody runs it:
CVE-2019-5736 of runc. From a sealed copy there is nothing to be written to. memfd_create(2)
"""

import os
import sys

_NAME = "labkit-python"
_ENTERING = {"create", "run", "exec"}
_MFD_EXEC = 0x10  # since Linux 6.3 a kernel may want to be told: linux/memfd.h
_F_ADD_SEALS, _ALL_SEALS = 1033, 0xF  # linux/fcntl.h: nothing of it may change


def run_sealed() -> None:
    """Go on in a sealed copy, if a verb is to enter a container; it begins from the start."""
    exe = "/proc/self/exe"
    if os.geteuid() or not _ENTERING & {*sys.argv} or f":{_NAME}" in os.readlink(exe):
        return
    os.execve(_copied(exe), [sys.executable, *sys.orig_argv[1:]], os.environ)


def _copied(path: str) -> int:
    import fcntl

    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    copy = _memory(os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    left = os.fstat(source).st_size
    while left:
        left -= os.sendfile(copy, source, None, left)
    os.close(source)
    fcntl.fcntl(copy, _F_ADD_SEALS, _ALL_SEALS)
    return copy


def _memory(flags: int) -> int:
    try:
        return os.memfd_create(_NAME, flags | _MFD_EXEC)
    except OSError:  # EINVAL: a kernel that does not know the flag
        return os.memfd_create(_NAME, flags)
