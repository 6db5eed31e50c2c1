"""The system calls and their flags, for your own program, under the names of the man pages.

There is a function for each call, with its arguments in the order of the man page. Each use leaves
one line in :data:`trace`, as strace(1) writes it. A refused call raises the OSError of its errno.
"""

# fmt: off
from labkit.linux.credentials import (
    cap_ambient_raise,
    capbset_drop,
    capget,
    capset,
    seccomp,
    setgid,
    setgroups,
    setresgid,
    setresuid,
    setuid,
)
from labkit.linux.files import (
    chdir,
    close,
    ioctl,
    openat,
    write,
)
from labkit.linux.flags import (
    AT_FDCWD,
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MNT_DETACH,
    MNT_EXPIRE,
    MNT_FORCE,
    MS_BIND,
    MS_MOVE,
    MS_NOATIME,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    MS_SHARED,
    MS_SLAVE,
    NS_GET_NSTYPE,
    NS_GET_OWNER_UID,
    NS_GET_PARENT,
    NS_GET_USERNS,
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAP_AMBIENT_IS_SET,
    PR_CAP_AMBIENT_LOWER,
    PR_CAP_AMBIENT_RAISE,
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    TIOCSCTTY,
    UMOUNT_NOFOLLOW,
    Ambient,
    Clone,
    Ioctl,
    Mount,
    Prctl,
    Umount,
)
from labkit.linux.mounts import (
    chroot,
    mount,
    pivot_root,
    umount2,
)
from labkit.linux.processes import (
    clone,
    clone3,
    execve,
    pidfd_open,
    prctl,
    sethostname,
    setns,
    setsid,
    unshare,
)
from labkit.linux.trace import lines as trace

__all__ = [
    "AT_FDCWD", "CLONE_NEWCGROUP", "CLONE_NEWIPC", "CLONE_NEWNET", "CLONE_NEWNS",
    "CLONE_NEWPID", "CLONE_NEWTIME", "CLONE_NEWUSER", "CLONE_NEWUTS", "MNT_DETACH",
    "MNT_EXPIRE", "MNT_FORCE", "MS_BIND", "MS_MOVE", "MS_NOATIME", "MS_NODEV", "MS_NOEXEC",
    "MS_NOSUID", "MS_PRIVATE", "MS_RDONLY", "MS_REC", "MS_REMOUNT", "MS_SHARED", "MS_SLAVE",
    "NS_GET_NSTYPE", "NS_GET_OWNER_UID", "NS_GET_PARENT", "NS_GET_USERNS", "PR_CAP_AMBIENT",
    "PR_CAP_AMBIENT_CLEAR_ALL", "PR_CAP_AMBIENT_IS_SET", "PR_CAP_AMBIENT_LOWER",
    "PR_CAP_AMBIENT_RAISE", "PR_SET_CHILD_SUBREAPER", "PR_SET_DUMPABLE",
    "PR_SET_NO_NEW_PRIVS", "PR_SET_PDEATHSIG", "TIOCSCTTY", "UMOUNT_NOFOLLOW", "Ambient",
    "Clone", "Ioctl", "Mount", "Prctl", "Umount", "cap_ambient_raise", "capbset_drop",
    "capget", "capset", "chdir", "chroot", "clone", "clone3", "close", "execve", "ioctl",
    "mount", "openat", "pidfd_open", "pivot_root", "prctl", "seccomp", "setgid", "setgroups",
    "sethostname", "setns", "setresgid", "setresuid", "setsid", "setuid", "trace", "umount2",
    "unshare", "write",
]
# fmt: on
