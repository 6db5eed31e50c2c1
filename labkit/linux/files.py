"""The calls on files and descriptors that build a container: openat(2), ioctl(2)."""

import os
import stat
import struct
import sys

from labkit.linux import door, trace
from labkit.linux.flags import (
    AT_FDCWD,
    NS_GET_NSTYPE,
    NS_GET_OWNER_UID,
    SIOCSIFFLAGS,
    TIOCGPTPEER,
    TIOCSCTTY,
    TIOCSPTLCK,
    Clone,
    Ioctl,
    Resolve,
)
from labkit.linux.trace import STRING, answered, octal, quoted

_ACCESS = {os.O_RDONLY: "O_RDONLY", os.O_WRONLY: "O_WRONLY", os.O_RDWR: "O_RDWR"}
_KINDS = {
    stat.S_IFREG: "S_IFREG",
    stat.S_IFCHR: "S_IFCHR",
    stat.S_IFBLK: "S_IFBLK",
    stat.S_IFIFO: "S_IFIFO",
    stat.S_IFSOCK: "S_IFSOCK",
}
AT_REMOVEDIR = 0x200  # unlinkat removes a directory: linux/fcntl.h
IFF_UP, _IFF_RUNNING = 1, 0x40
_DEVICE_FLAGS = (("IFF_UP", IFF_UP), ("IFF_RUNNING", _IFF_RUNNING))
_AF_INET, _SOCK_DGRAM = 2, 2
_MSG_NOSIGNAL = 0x4000
_OPEN = [
    (name, getattr(os, name))
    for name in ("O_NOCTTY", "O_NOFOLLOW", "O_CLOEXEC", "O_PATH", "O_DIRECTORY")
]


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


def inet_socket() -> int:
    """Open a socket of IPv4 that no exec inherits: any will do to ask about devices. socket(2).

    A program of a learner's own has Python's module for that, whose name this function leaves free.
    """
    shown = "AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, IPPROTO_IP"
    return trace.make("socket", shown, _AF_INET, _SOCK_DGRAM | os.O_CLOEXEC, 0)


def close(fd: int) -> None:
    """Close a descriptor. close(2)."""
    trace.make("close", f"{fd}", fd)


def dup3(oldfd: int, newfd: int, flags: int = 0) -> int:
    """Have a descriptor under another number too; what had that number is closed. dup(2)."""
    return trace.make("dup3", f"{oldfd}, {newfd}, {_shown_closing(flags)}", oldfd, newfd, flags)


def _shown_closing(flags: int) -> str:
    return "O_CLOEXEC" if flags == os.O_CLOEXEC else f"{flags}"


def fchown(fd: int, uid: int, gid: int) -> None:
    """Give an open file another owner, another group; -1 leaves it as it is. chown(2)."""
    trace.make("fchown", f"{fd}, {uid}, {gid}", fd, uid, gid)


def sendmsg(sockfd: int, fd: int) -> int:
    """Send a descriptor over a Unix socket, with one byte: sendmsg(2), SCM_RIGHTS in unix(7).

    Whoever receives it has it under a number of its own. Of all that the call can send, no more.
    """
    message = door.Message(fd)
    byte = f"{{iov_base={quoted(message.BYTE)}, iov_len=1}}"
    rights = f"cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[{fd}]"
    described = (
        f"{{msg_name=NULL, msg_namelen=0, msg_iov=[{byte}], msg_iovlen=1, "
        f"msg_control=[{{cmsg_len=20, {rights}}}], msg_controllen=24, msg_flags=0}}"
    )
    shown = f"{sockfd}, {described}, MSG_NOSIGNAL"
    return trace.make("sendmsg", shown, sockfd, message, _MSG_NOSIGNAL)


def ioctl(fd: int, op: Ioctl, argument: int | tuple[str, int] = 0) -> int:
    """Ask something of what is behind a descriptor: ioctl(2), ioctl_nsfs(2), ioctl_tty(2).

    TIOCSCTTY makes a terminal the controlling terminal of our session; with `argument` 0 only if no
    other session has it. TIOCSPTLCK with 0 unlocks the terminal behind a master. TIOCGPTPEER opens
    it and returns the descriptor; `argument` is flags as of open. NS_GET_USERNS and NS_GET_PARENT
    return a new descriptor of the owner or the parent; PermissionError means that we may not see
    it. NS_GET_NSTYPE returns the flag of the
    kind. NS_GET_OWNER_UID returns the user who made a user namespace, by the ID that it has here.
    SIOCSIFFLAGS, asked of any socket, takes the name of a network device and its flags: ("lo", 1)
    brings lo up.
    """
    if op is SIOCSIFFLAGS:
        return _device_flags(fd, *(argument if isinstance(argument, tuple) else ("", 0)))
    if isinstance(argument, tuple):
        raise TypeError(f"{op.name} takes no device")
    if op is TIOCSCTTY:
        return trace.make("ioctl", f"{fd}, {op.name}, {argument}", fd, op, argument)
    if op is TIOCSPTLCK:
        locked = struct.pack("i", argument)
        return trace.make("ioctl", f"{fd}, {op.name}, [{argument}]", fd, op, locked)
    if op is TIOCGPTPEER:
        shown = f"{argument:#x}" if argument else "0"
        return trace.make("ioctl", f"{fd}, {op.name}, {shown}", fd, op, argument)
    return _told_of_namespace(fd, op)


def _told_of_namespace(fd: int, op: Ioctl) -> int:
    """What a namespace's file answers: ioctl_nsfs(2)."""
    asked = f"ioctl({fd}, {op.name}"
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


def _device_flags(fd: int, name: str, flags: int) -> int:
    """Set the flags of a network device: netdevice(7)."""
    described = "|".join(n for n, bit in _DEVICE_FLAGS if flags & bit) or "0"
    shown = f"{fd}, SIOCSIFFLAGS, {{ifr_name={quoted(name)}, ifr_flags={described}}}"
    body = struct.pack("16sH22x", os.fsencode(name), flags)  # struct ifreq
    return trace.make("ioctl", shown, fd, SIOCSIFFLAGS, body)


def chdir(path: str) -> None:
    """Change the working directory. chdir(2)."""
    trace.make("chdir", quoted(path), os.fsencode(path))


def fchdir(fd: int) -> None:
    """Change the working directory to one that is open. fchdir(2)."""
    trace.make("fchdir", f"{fd}", fd)


def mkdirat(dirfd: int, path: str, mode: int = 0o755) -> None:
    """Make a directory. `mode` is its permissions, less those of the umask. mkdirat(2)."""
    shown = f"{shown_directory(dirfd)}, {quoted(path)}, {octal(mode)}"
    trace.make("mkdirat", shown, dirfd, os.fsencode(path), mode)


def mknodat(dirfd: int, path: str, mode: int, dev: int = 0) -> None:
    """Make a device, an empty file, a pipe or a socket. mknodat(2).

    mode: its kind, such as S_IFCHR, and its permissions, less those of the umask. dev: of a device
    its two numbers, as os.makedev() puts them together: which driver, and which of its devices.
    """
    kind = _KINDS.get(stat.S_IFMT(mode), "0")
    shown = f"{shown_directory(dirfd)}, {quoted(path)}, {kind}|{octal(stat.S_IMODE(mode))}"
    if stat.S_IFMT(mode) in (stat.S_IFCHR, stat.S_IFBLK):
        numbers = (f"{n:#x}" if n else "0" for n in (os.major(dev), os.minor(dev)))
        shown += f", makedev({', '.join(numbers)})"
    trace.make("mknodat", shown, dirfd, os.fsencode(path), mode, dev)


def symlinkat(target: str, dirfd: int, path: str) -> None:
    """Make a symbolic link at `path`. What it says need not exist. symlinkat(2)."""
    shown = f"{quoted(target)}, {shown_directory(dirfd)}, {quoted(path)}"
    trace.make("symlinkat", shown, os.fsencode(target), dirfd, os.fsencode(path))


def unlinkat(dirfd: int, path: str, flags: int = 0) -> None:
    """Remove a name; with AT_REMOVEDIR (0x200) that of an empty directory. unlinkat(2)."""
    how = "AT_REMOVEDIR" if flags == AT_REMOVEDIR else f"{flags:#x}" if flags else "0"
    shown = f"{shown_directory(dirfd)}, {quoted(path)}, {how}"
    trace.make("unlinkat", shown, dirfd, os.fsencode(path), flags)


def umask(mask: int) -> int:
    """Say which permissions new files do not get; return what was said before. umask(2)."""
    return trace.make("umask", octal(mask), mask)


def write_file(path: str, text: str, dirfd: int = AT_FDCWD) -> None:
    """Write `text` to a file of /proc: in one call, as the kernel wants it. dirfd: see openat."""
    fd = openat(dirfd, path, os.O_WRONLY | os.O_CLOEXEC)
    write(fd, text)
    close(fd)
