"""The calls on files and descriptors that build a container: openat(2), ioctl(2)."""

import os
import struct
import sys

from labkit.linux import door, trace
from labkit.linux.flags import (
    AT_FDCWD,
    NS_GET_NSTYPE,
    NS_GET_OWNER_UID,
    TIOCSCTTY,
    Clone,
    Ioctl,
    Resolve,
)
from labkit.linux.trace import STRING, answered, quoted

_ACCESS = {os.O_RDONLY: "O_RDONLY", os.O_WRONLY: "O_WRONLY", os.O_RDWR: "O_RDWR"}
_OPEN = [(name, getattr(os, name)) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_PATH", "O_DIRECTORY")]


def openat(dirfd: int, path: str, flags: int) -> int:
    """Open an existing file, with flags such as O_WRONLY | O_CLOEXEC. openat(2).

    dirfd: the directory that a relative `path` starts from; AT_FDCWD is the working directory.
    """
    shown = f"{shown_directory(dirfd)}, {quoted(path)}, {_shown_flags(flags)}"
    return trace.make("openat", shown, dirfd, os.fsencode(path), flags)


def openat2(dirfd: int, path: str, flags: int, resolve: int = 0) -> int:
    """Open a file as openat does, but walk its path only as `resolve` allows. openat2(2).

    RESOLVE_IN_ROOT takes `dirfd` for the root directory, so no link in a container's root leads out
    of it. The kernel knows the call since Linux 5.6.
    """
    how = struct.pack("3Q", flags, 0, resolve)  # struct open_how: flags, mode, resolve
    described = f"{{flags={_shown_flags(flags)}, resolve={Resolve(resolve)}}}"
    shown = f"{shown_directory(dirfd)}, {quoted(path)}, {described}, {len(how)}"
    return trace.make("openat2", shown, dirfd, os.fsencode(path), how, len(how))


def shown_directory(dirfd: int) -> str:
    """The descriptor of a directory as strace prints it."""
    return "AT_FDCWD" if dirfd == AT_FDCWD else f"{dirfd}"


def _shown_flags(flags: int) -> str:
    """Flags of open(2) as strace prints them."""
    return "|".join([_ACCESS[flags & os.O_ACCMODE], *(n for n, bit in _OPEN if flags & bit)])


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


def write_file(path: str, text: str, dirfd: int = AT_FDCWD) -> None:
    """Write `text` to a file of /proc: in one call, as the kernel wants it. dirfd: see openat."""
    fd = openat(dirfd, path, os.O_WRONLY | os.O_CLOEXEC)
    write(fd, text)
    close(fd)
