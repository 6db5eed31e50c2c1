"""The calls on files and descriptors that build a container: openat(2), ioctl(2)."""

import os
import sys

from labkit.linux import door, trace
from labkit.linux.call import OPENED_FD, rehearsing
from labkit.linux.flags import AT_FDCWD, NS_GET_NSTYPE, NS_GET_OWNER_UID, TIOCSCTTY, Clone, Ioctl
from labkit.linux.trace import STRING, answered, quoted

_ACCESS = {os.O_RDONLY: "O_RDONLY", os.O_WRONLY: "O_WRONLY", os.O_RDWR: "O_RDWR"}


def openat(dirfd: int, path: str, flags: int) -> int:
    """Open an existing file, with flags such as O_WRONLY | O_CLOEXEC. openat(2).

    Made ready for a container (`call.py:rehearse`), its descriptor is for the next two calls.
    """
    names = "|".join([_ACCESS[flags & os.O_ACCMODE]] + ["O_CLOEXEC"] * bool(flags & os.O_CLOEXEC))
    shown = f"AT_FDCWD, {quoted(path)}, {names}"
    opened = trace.make("openat", shown, dirfd, os.fsencode(path), flags)
    return OPENED_FD if rehearsing() else opened


def write(fd: int, data: str) -> int:
    """Write text to a descriptor in one call; return the number of bytes written. write(2)."""
    body = os.fsencode(data)
    return trace.make("write", f"{fd}, {quoted(body, STRING)}, {len(body)}", fd, body, len(body))


def close(fd: int) -> None:
    """Close a descriptor. close(2)."""
    trace.make("close", f"{fd}", fd)


def ioctl(fd: int, op: Ioctl, argument: int = 0) -> int:
    """Ask something of a namespace's file or of a terminal: ioctl(2), ioctl_nsfs(2), ioctl_tty(2).

    TIOCSCTTY makes a terminal the controlling terminal of our session; with `argument` 0 only if no
    other session has it. NS_GET_USERNS and NS_GET_PARENT return a new descriptor of the owner or
    the parent; PermissionError means that we may not see it. NS_GET_NSTYPE returns the flag of the
    kind. NS_GET_OWNER_UID returns the user who made a user namespace, by the ID that it has here.
    """
    asked = f"ioctl({fd}, {op.name}"
    if op is TIOCSCTTY:
        return trace.make("ioctl", f"{fd}, {op.name}, {argument}", fd, op, argument)
    if op is NS_GET_OWNER_UID:
        uid = bytearray(4)
        result = door.call("ioctl", (fd, op, uid))
        owner = int.from_bytes(uid, sys.byteorder)
        line = f"{asked}, {door.place(uid):#x})" if result < 0 else f"{asked}, [{owner}])"
    else:
        result = owner = door.call("ioctl", (fd, op))
        line = f"{asked})"
    if result < 0:
        raise trace.refused(line, -result)
    trace.record(answered(line, result) + f" ({Clone(result)})" * (op is NS_GET_NSTYPE))
    return owner


def chdir(path: str) -> None:
    """Change the working directory. chdir(2)."""
    trace.make("chdir", quoted(path), os.fsencode(path))


def write_file(path: str, text: str) -> None:
    """Write `text` to a file of /proc: in one call, as the kernel wants it."""
    fd = openat(AT_FDCWD, path, os.O_WRONLY | os.O_CLOEXEC)
    write(fd, text)
    close(fd)
