"""The eight kinds of namespace, and which ones a process is in: namespaces(7).

A namespace has no name; it has an inode number in the kernel's nsfs. Two processes are in the same
namespace exactly when ``/proc/PID/ns/KIND`` of both is the same inode.
"""

import errno
import os

from labkit.linux import proc
from labkit.linux.flags import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    Clone,
)
from labkit.linux.refusal import refusal
from labkit.text.words import Words


class Kind:
    """One kind, named as in /proc/PID/ns: its flag, which Linux completed it, what it isolates.

    Each is an attribute of the class too, as of one of the module enum, which is slow to import.
    """

    cgroup: "Kind"
    ipc: "Kind"
    mnt: "Kind"
    net: "Kind"
    pid: "Kind"
    time: "Kind"
    user: "Kind"
    uts: "Kind"

    def __init__(self, name: str, flag: Clone, since: str, isolates: Words) -> None:
        self.name, self.flag, self.since, self.isolates = name, flag, since, isolates
        setattr(Kind, name, self)

    def __repr__(self) -> str:
        return f"Kind.{self.name}"

    def __reduce__(self) -> tuple[object, ...]:
        return getattr, (Kind, self.name)


KINDS = (
    Kind("cgroup", CLONE_NEWCGROUP, "4.6", Words("控制组的根目录", "the root of the cgroup tree")),
    Kind("ipc", CLONE_NEWIPC, "2.6.19",
         Words("System V IPC 与 POSIX 消息队列", "System V IPC, POSIX queues")),
    Kind("mnt", CLONE_NEWNS, "2.4.19", Words("挂载点", "mount points")),
    Kind("net", CLONE_NEWNET, "2.6.29",
         Words("网络设备、地址、端口、路由", "network devices, addresses, ports")),
    Kind("pid", CLONE_NEWPID, "2.6.24", Words("进程号", "process IDs")),
    Kind("time", CLONE_NEWTIME, "5.6", Words("开机时钟与单调时钟", "boot and monotonic clocks")),
    Kind("user", CLONE_NEWUSER, "3.8",
         Words("用户号、组号与权能", "user and group IDs, capabilities")),
    Kind("uts", CLONE_NEWUTS, "2.6.19",
         Words("主机名与 NIS 域名", "host name and NIS domain name")),
)  # fmt: skip
"""The eight, in the order in which ``ls /proc/self/ns`` shows them."""

_NAMES = tuple(kind.name for kind in KINDS)
_FLAGS = {kind.name: int(kind.flag) for kind in KINDS}


def inodes(pid: int | str = "self") -> dict[str, int]:
    """The namespaces that process `pid` is in, as kind -> inode number.

    Kinds that the running kernel does not have are left out. Raises ProcessLookupError when there
    is no such process or it has exited, PermissionError for another user's.
    """
    own_proc()
    return inodes_of(pid, pid if pid == "self" else proc.number(int(pid)))


def inodes_of(pid: int | str, number: int | str) -> dict[str, int]:
    """The same of a process when it is known what this /proc calls it, its `number`."""
    found = inodes_of_zombie(number)
    if "mnt" not in found:
        raise _no_process(pid, "no such process, or it has exited")
    return found


def _no_process(pid: int | str, text: str) -> OSError:
    error = ProcessLookupError(errno.ESRCH, f"/proc/{pid}/ns: {text}")
    vars(error)["call"] = f'readlink("/proc/{pid}/ns/mnt")'
    return error


def own_proc() -> None:
    """Refuse to go on where /proc does not show this process: it is another's, or none."""
    try:
        os.readlink("/proc/self")
    except FileNotFoundError:
        raise refusal('readlink("/proc/self")', errno.ENOENT) from None


def inodes_of_zombie(pid: int | str) -> dict[str, int]:
    """The namespaces of a process that may have exited: a zombie keeps pid and user, no others.

    lsns(8) counts zombies too. pid: its number in this /proc. Raises ProcessLookupError when the
    process is gone altogether.
    """
    found = {}
    for name in _NAMES:
        try:
            # "uts:[4026531838]". stat(2) tells it too, in twice the time: it opens the namespace.
            found[name] = int(os.readlink(f"/proc/{pid}/ns/{name}")[len(name) + 2 : -1])
        except FileNotFoundError:
            continue
    if not found:
        raise _no_process(pid, "no such process")
    return found


def differing(ours: dict[str, int], theirs: dict[str, int]) -> Clone:
    """The flags of those kinds in which the two are in different namespaces."""
    return Clone(sum(_FLAGS[name] for name in _NAMES if ours.get(name) != theirs.get(name)))
