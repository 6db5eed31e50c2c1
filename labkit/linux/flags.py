"""Flags and operations of the system calls, under the names of the kernel's headers.

A set of flags prints as strace(1) prints it.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from enum import IntEnum, IntFlag
else:
    from labkit.linux.named import IntEnum, IntFlag


class _Flag(IntFlag):
    """A set of bits that prints as the kernel's names joined by ``|``, and 0 when empty."""

    def __str__(self) -> str:
        # A root takes thirty mounts with the same few flags.
        key = type(self), int(self)
        if key not in _texts:
            known = type(self).__members__.items()
            names = [name for name, bit in known if int(bit) & int(self)]
            unknown = int(self) & ~sum(int(bit) for _, bit in known)
            _texts[key] = "|".join(names + [hex(unknown)] * bool(unknown)) or "0"
        return _texts[key]

    __repr__ = __str__


_texts: dict[tuple[type, int], str] = {}


class Clone(_Flag):
    """The namespaces to make: clone(2), unshare(2), setns(2), namespaces(7)."""

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
        flags = cls(0)
        for name in names.split("|"):
            if name != "0":
                flags |= cls[name]
        return flags


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
    MS_STRICTATIME = 1 << 24


class Umount(_Flag):
    """Flags of umount2(2)."""

    MNT_FORCE = 1
    MNT_DETACH = 2
    MNT_EXPIRE = 4
    UMOUNT_NOFOLLOW = 8


class Fsopen(_Flag):
    """Flags of fsopen(2)."""

    FSOPEN_CLOEXEC = 1


class Fsconfig(IntEnum):
    """Commands of fsconfig(2): what to do with the context of a file system."""

    FSCONFIG_SET_FLAG = 0
    FSCONFIG_SET_STRING = 1
    FSCONFIG_SET_FD = 5
    FSCONFIG_CMD_CREATE = 6


class Fsmount(_Flag):
    """Flags of fsmount(2)."""

    FSMOUNT_CLOEXEC = 1


class MountAttr(_Flag):
    """Attributes of a mount: fsmount(2)."""

    MOUNT_ATTR_RDONLY = 1
    MOUNT_ATTR_NOSUID = 2
    MOUNT_ATTR_NODEV = 4
    MOUNT_ATTR_NOEXEC = 8


class MoveMount(_Flag):
    """Flags of move_mount(2)."""

    MOVE_MOUNT_F_EMPTY_PATH = 4
    MOVE_MOUNT_T_EMPTY_PATH = 0x40


class OpenTree(_Flag):
    """Flags of open_tree(2)."""

    OPEN_TREE_CLONE = 1
    AT_EMPTY_PATH = 0x1000
    AT_RECURSIVE = 0x8000
    OPEN_TREE_CLOEXEC = os.O_CLOEXEC


class Resolve(_Flag):
    """How openat2(2) may walk a path."""

    RESOLVE_NO_XDEV = 1
    RESOLVE_NO_MAGICLINKS = 2
    RESOLVE_NO_SYMLINKS = 4
    RESOLVE_BENEATH = 8
    RESOLVE_IN_ROOT = 0x10


class Prctl(IntEnum):
    """Operations of prctl(2) that a container is built with."""

    PR_SET_PDEATHSIG = 1
    PR_SET_DUMPABLE = 4
    PR_SET_KEEPCAPS = 8
    PR_SET_CHILD_SUBREAPER = 36
    PR_SET_NO_NEW_PRIVS = 38
    PR_CAP_AMBIENT = 47


class Ambient(IntEnum):
    """What PR_CAP_AMBIENT of prctl(2) does."""

    PR_CAP_AMBIENT_IS_SET = 1
    PR_CAP_AMBIENT_RAISE = 2
    PR_CAP_AMBIENT_LOWER = 3
    PR_CAP_AMBIENT_CLEAR_ALL = 4


class Ioctl(IntEnum):
    """Requests of ioctl(2): of a namespace's file, a terminal, a network device."""

    NS_GET_USERNS = 0xB701
    NS_GET_PARENT = 0xB702
    NS_GET_NSTYPE = 0xB703
    NS_GET_OWNER_UID = 0xB704
    TIOCSCTTY = 0x540E
    TIOCSPTLCK = 0x40045431
    TIOCGPTPEER = 0x5441
    SIOCSIFFLAGS = 0x8914


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
MS_STRICTATIME = Mount.MS_STRICTATIME
MNT_FORCE = Umount.MNT_FORCE
MNT_DETACH = Umount.MNT_DETACH
MNT_EXPIRE = Umount.MNT_EXPIRE
UMOUNT_NOFOLLOW = Umount.UMOUNT_NOFOLLOW
FSOPEN_CLOEXEC = Fsopen.FSOPEN_CLOEXEC
FSCONFIG_SET_FLAG = Fsconfig.FSCONFIG_SET_FLAG
FSCONFIG_SET_STRING = Fsconfig.FSCONFIG_SET_STRING
FSCONFIG_SET_FD = Fsconfig.FSCONFIG_SET_FD
FSCONFIG_CMD_CREATE = Fsconfig.FSCONFIG_CMD_CREATE
FSMOUNT_CLOEXEC = Fsmount.FSMOUNT_CLOEXEC
MOUNT_ATTR_RDONLY = MountAttr.MOUNT_ATTR_RDONLY
MOUNT_ATTR_NOSUID = MountAttr.MOUNT_ATTR_NOSUID
MOUNT_ATTR_NODEV = MountAttr.MOUNT_ATTR_NODEV
MOUNT_ATTR_NOEXEC = MountAttr.MOUNT_ATTR_NOEXEC
MOVE_MOUNT_F_EMPTY_PATH = MoveMount.MOVE_MOUNT_F_EMPTY_PATH
MOVE_MOUNT_T_EMPTY_PATH = MoveMount.MOVE_MOUNT_T_EMPTY_PATH
OPEN_TREE_CLONE = OpenTree.OPEN_TREE_CLONE
AT_EMPTY_PATH = OpenTree.AT_EMPTY_PATH
AT_RECURSIVE = OpenTree.AT_RECURSIVE
OPEN_TREE_CLOEXEC = OpenTree.OPEN_TREE_CLOEXEC
RESOLVE_NO_XDEV = Resolve.RESOLVE_NO_XDEV
RESOLVE_NO_MAGICLINKS = Resolve.RESOLVE_NO_MAGICLINKS
RESOLVE_NO_SYMLINKS = Resolve.RESOLVE_NO_SYMLINKS
RESOLVE_BENEATH = Resolve.RESOLVE_BENEATH
RESOLVE_IN_ROOT = Resolve.RESOLVE_IN_ROOT
PR_SET_PDEATHSIG = Prctl.PR_SET_PDEATHSIG
PR_SET_DUMPABLE = Prctl.PR_SET_DUMPABLE
PR_SET_KEEPCAPS = Prctl.PR_SET_KEEPCAPS
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
TIOCSPTLCK = Ioctl.TIOCSPTLCK
TIOCGPTPEER = Ioctl.TIOCGPTPEER
SIOCSIFFLAGS = Ioctl.SIOCSIFFLAGS
CLONE_INTO_CGROUP = 0x200000000  # the child is born in another control group: linux/sched.h
CLONE_VM = 0x100  # the child runs on its maker's memory until execve: linux/sched.h
AT_FDCWD = -100  # "relative to the working directory": linux/fcntl.h
