"""The one door to the kernel: a short function for each system call, under its man-page name.

Arguments stand in the man page's order. Each call leaves one line in :data:`trace`, written as
strace(1) writes it, and a refused call raises the ``OSError`` of its errno (see ``hints.py``).
Everything else in labkit reaches the kernel's container calls through here, so the trace is whole.
"""

import _signal  # type: ignore[import-not-found]
import enum
import functools
import operator
import os
import struct
import sys
from collections.abc import Callable, Mapping, Sequence

from labkit import kernel
from labkit.calls import OPENED, Call, answered, rehearsed, rehearsing
from labkit.hints import refusal
from labkit.language import spoken

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from labkit.kernel import Value


class _Flag(enum.IntFlag):
    """A set of bits that prints as the kernel's names joined by ``|``, and 0 when empty."""

    @functools.lru_cache(512, typed=True)
    def __str__(self) -> str:
        known = self.__class__.__members__.items()
        names = [name for name, bit in known if int(bit) & int(self)]
        unknown = int(self) & ~sum(int(bit) for _, bit in known)
        return "|".join(names + [hex(unknown)] * bool(unknown)) or "0"

    __repr__ = __str__


class Clone(_Flag):
    """Which namespaces to make anew: clone(2), unshare(2), setns(2), namespaces(7)."""

    CLONE_NEWTIME = 0x00000080
    CLONE_NEWNS = 0x00020000
    CLONE_NEWCGROUP = 0x02000000
    CLONE_NEWUTS = 0x04000000
    CLONE_NEWIPC = 0x08000000
    CLONE_NEWUSER = 0x10000000
    CLONE_NEWPID = 0x20000000
    CLONE_NEWNET = 0x40000000

    @classmethod
    def parse(cls, names: str) -> "Clone":
        """The flags of a text such as ``CLONE_NEWUTS|CLONE_NEWPID``; KeyError: unknown name."""
        return functools.reduce(
            operator.or_, (cls[n] for n in names.split("|") if n != "0"), cls(0)
        )


class Mount(_Flag):
    """Flags of mount(2)."""

    MS_RDONLY = 1
    MS_NOSUID = 2
    MS_NODEV = 4
    MS_NOEXEC = 8
    MS_REMOUNT = 32
    MS_NOATIME = 1024
    MS_BIND = 4096
    MS_MOVE = 8192
    MS_REC = 16384
    MS_PRIVATE = 1 << 18
    MS_SLAVE = 1 << 19
    MS_SHARED = 1 << 20


class Umount(_Flag):
    """Flags of umount2(2)."""

    MNT_FORCE = 1
    MNT_DETACH = 2
    MNT_EXPIRE = 4
    UMOUNT_NOFOLLOW = 8


class Prctl(enum.IntEnum):
    """Operations of prctl(2) that a container is built with."""

    PR_SET_PDEATHSIG = 1
    PR_SET_DUMPABLE = 4
    PR_SET_CHILD_SUBREAPER = 36
    PR_SET_NO_NEW_PRIVS = 38
    PR_CAP_AMBIENT = 47


class Ambient(enum.IntEnum):
    """What PR_CAP_AMBIENT of prctl(2) does."""

    PR_CAP_AMBIENT_IS_SET = 1
    PR_CAP_AMBIENT_RAISE = 2
    PR_CAP_AMBIENT_LOWER = 3
    PR_CAP_AMBIENT_CLEAR_ALL = 4


class Ioctl(enum.IntEnum):
    """Requests of ioctl(2): of a namespace's file, ioctl_nsfs(2), or a terminal, ioctl_tty(2)."""

    NS_GET_USERNS = 0xB701
    NS_GET_PARENT = 0xB702
    NS_GET_NSTYPE = 0xB703
    NS_GET_OWNER_UID = 0xB704
    TIOCSCTTY = 0x540E


CLONE_NEWTIME = Clone.CLONE_NEWTIME
CLONE_NEWNS = Clone.CLONE_NEWNS
CLONE_NEWCGROUP = Clone.CLONE_NEWCGROUP
CLONE_NEWUTS = Clone.CLONE_NEWUTS
CLONE_NEWIPC = Clone.CLONE_NEWIPC
CLONE_NEWUSER = Clone.CLONE_NEWUSER
CLONE_NEWPID = Clone.CLONE_NEWPID
CLONE_NEWNET = Clone.CLONE_NEWNET
MS_RDONLY = Mount.MS_RDONLY
MS_NOSUID = Mount.MS_NOSUID
MS_NODEV = Mount.MS_NODEV
MS_NOEXEC = Mount.MS_NOEXEC
MS_REMOUNT = Mount.MS_REMOUNT
MS_NOATIME = Mount.MS_NOATIME
MS_BIND = Mount.MS_BIND
MS_MOVE = Mount.MS_MOVE
MS_REC = Mount.MS_REC
MS_PRIVATE = Mount.MS_PRIVATE
MS_SLAVE = Mount.MS_SLAVE
MS_SHARED = Mount.MS_SHARED
MNT_FORCE = Umount.MNT_FORCE
MNT_DETACH = Umount.MNT_DETACH
MNT_EXPIRE = Umount.MNT_EXPIRE
UMOUNT_NOFOLLOW = Umount.UMOUNT_NOFOLLOW
PR_SET_PDEATHSIG = Prctl.PR_SET_PDEATHSIG
PR_SET_DUMPABLE = Prctl.PR_SET_DUMPABLE
PR_SET_CHILD_SUBREAPER = Prctl.PR_SET_CHILD_SUBREAPER
PR_SET_NO_NEW_PRIVS = Prctl.PR_SET_NO_NEW_PRIVS
PR_CAP_AMBIENT = Prctl.PR_CAP_AMBIENT
PR_CAP_AMBIENT_IS_SET = Ambient.PR_CAP_AMBIENT_IS_SET
PR_CAP_AMBIENT_RAISE = Ambient.PR_CAP_AMBIENT_RAISE
PR_CAP_AMBIENT_LOWER = Ambient.PR_CAP_AMBIENT_LOWER
PR_CAP_AMBIENT_CLEAR_ALL = Ambient.PR_CAP_AMBIENT_CLEAR_ALL
NS_GET_USERNS = Ioctl.NS_GET_USERNS
NS_GET_PARENT = Ioctl.NS_GET_PARENT
NS_GET_NSTYPE = Ioctl.NS_GET_NSTYPE
NS_GET_OWNER_UID = Ioctl.NS_GET_OWNER_UID
TIOCSCTTY = Ioctl.TIOCSCTTY

trace: list[str] = []
"""What this process asked of the kernel through this module, one line a call, oldest first."""

record: Callable[[str], object] = trace.append
"""Where a line goes. A program that wants each line at once (``%%child``) puts its own here."""


def _quoted(text: str | bytes | None, limit: int | None = None) -> str:
    """`text` as strace prints a string: C escapes, ``...`` after `limit` bytes, NULL for None."""
    if text is None:
        return "NULL"
    data = os.fsencode(text)
    shown = data if limit is None else data[:limit]
    if not shown.translate(None, _PLAIN):
        return f'"{shown.decode()}"' + "..." * (len(shown) < len(data))
    body = "".join(_escaped(byte, shown[at + 1 : at + 2]) for at, byte in enumerate(shown))
    return f'"{body}"' + "..." * (len(shown) < len(data))


def _escaped(byte: int, following: bytes) -> str:
    if chr(byte) in _ESCAPES:
        return _ESCAPES[chr(byte)]
    if 32 <= byte < 127:
        return chr(byte)
    return f"\\{byte:03o}" if following.isdigit() else f"\\{byte:o}"


_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\n": "\\n",
    "\t": "\\t",
    "\r": "\\r",
    "\v": "\\v",
    "\f": "\\f",
}
AT_FDCWD = -100  # "relative to the working directory": linux/fcntl.h
_ACCESS = {os.O_RDONLY: "O_RDONLY", os.O_WRONLY: "O_WRONLY", os.O_RDWR: "O_RDWR"}
_PLAIN = bytes({*range(32, 127)} - set(b'"\\'))
_STRING, _ARRAY = 32, 32  # strace shows this many bytes of a string, elements of an array


def _call(name: str, arguments: str, *values: "Value") -> int:
    """Make one call; leave its line in the trace; return its result or raise its refusal."""
    call = Call(f"{name}({arguments})", name, values)
    if rehearsed(call):
        return 0
    result = call()
    if result < 0:
        raise _refused(call.line, -result)
    record(answered(call.line, result))
    return result


def _refused(line: str, number: int) -> OSError:
    record(answered(line, -number))
    return refusal(line, number)


def _only_thread(name: str) -> None:
    """Refuse a call that would move a program of several threads, such as the notebook's kernel.

    A namespace, root or mount belongs to a thread: the kernel would move one thread, or the mounts
    under all of them, and nothing could move them back.
    """
    if rehearsing():  # for a child, which will have one thread
        return
    try:
        threads = os.stat("/proc/self/task").st_nlink - 2
    except OSError:  # no /proc: a container built by hand, which no kernel of a notebook is
        return
    if threads > 1:
        raise RuntimeError(
            spoken(
                f"{name}() 会移动这个有 {threads} 个线程的进程（笔记本的内核），"
                "而且再也移不回来：请写在 %%child 单元格里。",
                f"{name}() would move this process of {threads} threads (the notebook's kernel) "
                "and nothing could move it back: write it in a %%child cell.",
                "\n",
            )
        )


def clone3(flags: int, *, exit_signal: int = _signal.SIGCHLD) -> int:
    """Make a child in new namespaces; 0 in the child, its PID in the parent. clone(2).

    Only for a process with one thread: in the child's copy of memory no other thread exists, but
    the locks they held stay locked.
    """
    _only_thread("clone3")
    # struct clone_args as first published (Linux 5.3): flags, pidfd, child_tid, parent_tid,
    # exit_signal, stack, stack_size, tls
    arguments = struct.pack("8Q", flags, 0, 0, 0, exit_signal, 0, 0, 0)
    names, sent = Clone(flags), _signal_name(exit_signal)
    shown = f"{{flags={names}, exit_signal={sent}, stack=NULL, stack_size=0}}, {len(arguments)}"
    return _clone("clone3", shown, arguments, len(arguments))


def clone(flags: int, *, exit_signal: int = _signal.SIGCHLD) -> int:
    """The elder of clone3. clone(2).

    For where seccomp answers clone3 with ENOSYS, as Docker's default profile does. It has no room
    for CLONE_NEWTIME: that bit is part of the exit signal here.
    """
    names = f"{Clone(flags)}|" * bool(flags) + _signal_name(exit_signal)
    _only_thread("clone")
    return _clone("clone", f"child_stack=NULL, flags={names}", flags | exit_signal)


def _clone(name: str, arguments: str, *values: "Value") -> int:
    """Make a child; its parent leaves the line."""
    call = Call(f"{name}({arguments})", name, values)
    if rehearsed(call):
        return 0
    child = call()
    if child < 0:
        raise _refused(call.line, -child)
    if child > 0:
        record(answered(call.line, child))
    return child


def _signal_name(number: int) -> str:
    return _SIGNALS.get(number, str(number))


# Of two names for one number the first, as signal.Signals has it, which takes 1 ms to import.
_SIGNALS: dict[int, str] = {
    number: name
    for name, number in sorted(vars(_signal).items(), reverse=True)
    if name.startswith("SIG") and name[3] != "_"
}


def unshare(flags: int) -> None:
    """Move this process to new namespaces: unshare(2).

    CLONE_NEWPID and CLONE_NEWTIME move only the children that it makes from then on.
    """
    _only_thread("unshare")
    _call("unshare", str(Clone(flags)), flags)


def setns(fd: int, flags: int = 0) -> None:
    """Enter a namespace by its file, or those in `flags` of a process by its pidfd. setns(2)."""
    _only_thread("setns")
    _call("setns", f"{fd}, {Clone(flags)}", fd, flags)


def pidfd_open(pid: int) -> int:
    """A descriptor of process `pid` that no reuse of its number can mislead. pidfd_open(2)."""
    return _call("pidfd_open", f"{pid}, 0", pid, 0)


def ioctl(fd: int, op: Ioctl, argument: int = 0) -> int:
    """Ask a namespace's file, or a terminal: ioctl(2), ioctl_nsfs(2), ioctl_tty(2).

    TIOCSCTTY makes a terminal that of our session (`argument` 0: if no other has it). Else returns
    a new descriptor (of the owner or parent; PermissionError: outside of what we may see),
    the flag of its kind, or the user ID that made a user namespace, as seen from here.
    """
    asked = f"ioctl({fd}, {op.name}"
    if op is TIOCSCTTY:
        return _call("ioctl", f"{fd}, {op.name}, {argument}", fd, op, argument)
    if op is NS_GET_OWNER_UID:
        uid = bytearray(4)
        result = kernel.call("ioctl", (fd, op, uid))
        owner = int.from_bytes(uid, sys.byteorder)
        line = f"{asked}, {kernel.place(uid):#x})" if result < 0 else f"{asked}, [{owner}])"
    else:
        result = owner = kernel.call("ioctl", (fd, op))
        line = f"{asked})"
    if result < 0:
        raise _refused(line, -result)
    record(answered(line, result) + f" ({Clone(result)})" * (op is NS_GET_NSTYPE))
    return owner


def openat(dirfd: int, path: str, flags: int) -> int:
    """Open a file that is there, as O_WRONLY | O_CLOEXEC say; `dirfd` is AT_FDCWD. openat(2).

    Made ready for a container (`calls.py:rehearse`), its descriptor is for the next two calls.
    """
    names = "|".join([_ACCESS[flags & os.O_ACCMODE]] + ["O_CLOEXEC"] * bool(flags & os.O_CLOEXEC))
    shown = f"AT_FDCWD, {_quoted(path)}, {names}"
    opened = _call("openat", shown, dirfd, os.fsencode(path), flags)
    return OPENED if rehearsing() else opened


def write(fd: int, data: str) -> int:
    """Write text to a descriptor in one call; how many bytes were taken. write(2)."""
    body = os.fsencode(data)
    return _call("write", f"{fd}, {_quoted(body, _STRING)}, {len(body)}", fd, body, len(body))


def close(fd: int) -> None:
    """Close a descriptor. close(2)."""
    _call("close", f"{fd}", fd)


def sethostname(name: str) -> None:
    """Set the host name of this UTS namespace: at most 64 bytes. sethostname(2)."""
    _only_thread("sethostname")
    data = os.fsencode(name)
    _call("sethostname", f"{_quoted(data, _STRING)}, {len(data)}", data, len(data))


def mount(
    source: str | None,
    target: str,
    filesystemtype: str | None = None,
    mountflags: int = 0,
    data: str | None = None,
) -> None:
    """Attach a file system at `target`, or bind, move or change one that is there. mount(2)."""
    _only_thread("mount")
    texts = [None if t is None else os.fsencode(t) for t in (source, target, filesystemtype, data)]
    shown = (
        f"{_quoted(source)}, {_quoted(target)}, {_quoted(filesystemtype, _STRING)}, "
        f"{Mount(mountflags)}, {_quoted(data, _STRING)}"
    )
    _call("mount", shown, *texts[:3], mountflags, texts[3])


def umount2(target: str, flags: int = 0) -> None:
    """Detach what is mounted at `target`. umount(2)."""
    _only_thread("umount2")
    shown = f"{_quoted(target)}, {Umount(flags)}"
    _call("umount2", shown, os.fsencode(target), flags)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make the mount at `new_root` the root and move the old root to `put_old`. pivot_root(2)."""
    _only_thread("pivot_root")
    shown = f"{_quoted(new_root)}, {_quoted(put_old)}"
    _call("pivot_root", shown, os.fsencode(new_root), os.fsencode(put_old))


def chroot(path: str) -> None:
    """Make `path` what ``/`` means to this process: no more than that. chroot(2)."""
    _only_thread("chroot")
    _call("chroot", _quoted(path), os.fsencode(path))


def chdir(path: str) -> None:
    """Change the working directory. chdir(2)."""
    _call("chdir", _quoted(path), os.fsencode(path))


def prctl(operation: Prctl, value: int, capability: int = 0) -> None:
    """Change a property of this process, such as PR_SET_PDEATHSIG to a signal. prctl(2).

    PR_CAP_AMBIENT does `value`, one of Ambient, with the capability of that number.
    """
    shown = _signal_name(value) if operation is PR_SET_PDEATHSIG else str(value)
    if operation is PR_CAP_AMBIENT:
        shown = f"{Ambient(value).name}, {_capabilities(1 << capability, '')}, 0, 0"
    if operation is PR_SET_NO_NEW_PRIVS:
        shown += ", 0, 0, 0"
    if operation is PR_SET_DUMPABLE:
        shown = ("SUID_DUMP_DISABLE", "SUID_DUMP_USER")[value]
    more = (capability,) if operation is PR_CAP_AMBIENT else ()
    _call("prctl", f"{operation.name}, {shown}", operation, value, *more)


def capget() -> tuple[int, int, int]:
    """The effective, permitted and inheritable capabilities of this process. capget(2)."""
    header, sets = struct.pack("Ii", _CAPABILITY_VERSION, 0), bytearray(24)
    result = kernel.call("capget", (header, sets))
    # Three sets of 64 bits, sent as two halves: first the lower ones of all three.
    low, high = struct.unpack("3I", sets[:12]), struct.unpack("3I", sets[12:])
    effective, permitted, inheritable = (a | b << 32 for a, b in zip(low, high, strict=True))
    line = f"capget({_CAPABILITY_HEADER}, {_capability_sets(effective, permitted, inheritable)})"
    if result < 0:
        raise _refused(line, -result)
    record(answered(line, result))
    return effective, permitted, inheritable


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set the three: none may be permitted that was not, nor effective but permitted. capset(2)."""
    three = effective, permitted, inheritable
    halves = struct.pack("6I", *(n & 0xFFFFFFFF for n in three), *(n >> 32 for n in three))
    header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
    _call("capset", f"{_CAPABILITY_HEADER}, {_capability_sets(*three)}", header, halves)


_CAPABILITY_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3, since Linux 2.6.26
_CAPABILITY_HEADER = "{version=_LINUX_CAPABILITY_VERSION_3, pid=0}"


def _capability_sets(effective: int, permitted: int, inheritable: int) -> str:
    """The three as strace prints them."""
    named = {"effective": effective, "permitted": permitted, "inheritable": inheritable}
    return "{" + ", ".join(f"{key}={_capabilities(bits)}" for key, bits in named.items()) + "}"


def _capabilities(bits: int, before: str = "1<<") -> str:
    from labkit.privileges import names  # which dataclasses makes slow: for these calls only

    return "|".join(before + name for name in names(bits)) or "0"


def setuid(uid: int) -> None:
    """Become this user, for good if we were root: real, effective and saved. setuid(2)."""
    _call("setuid", str(uid), uid)


def setgid(gid: int) -> None:
    """Become of this group, likewise. setgid(2)."""
    _call("setgid", str(gid), gid)


def setgroups(groups: Sequence[int]) -> None:
    """Set the supplementary groups. setgroups(2)."""
    shown = f"[{', '.join(map(str, groups))}]" if groups else "NULL"
    listed = struct.pack(f"{len(groups)}I", *groups) if groups else None
    _call("setgroups", f"{len(groups)}, {shown}", len(groups), listed)


def setsid() -> int:
    """Lead a new session, in which nobody has a terminal yet; its ID. setsid(2)."""
    return _call("setsid", "")


def execve(path: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
    """Become the program at `path`: returns only by raising. execve(2).

    Its line is left before the call, ending in ``= ?``: a program that was replaced cannot tell.
    A refusal leaves a second line, with the errno.
    """
    shown = ", ".join(_quoted(text, _STRING) for text in argv[:_ARRAY])
    shown += ", ..." * (len(argv) > _ARRAY)
    environment = f"/* {len(env)} var{'s' * (len(env) != 1)} */"
    line = f"execve({_quoted(path)}, [{shown}], {environment})"
    values = os.fsencode(path), [*map(os.fsencode, argv)], _variables(env)
    call = Call(line, "execve", values)
    if rehearsed(call):
        return
    record(f"{line} = ?")
    raise _refused(line, -call())


def _variables(env: Mapping[str, str]) -> list[bytes]:
    if env is os.environ:  # which keeps bytes, and would only decode them for us
        return [b"%b=%b" % pair for pair in os.environb.items()]
    return [os.fsencode(f"{name}={value}") for name, value in env.items()]
