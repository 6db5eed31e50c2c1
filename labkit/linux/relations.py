"""Who shares which namespace, who owns it, and where it comes from: lsns(8), ioctl_nsfs(2).

A snapshot is a value: what /proc and the namespaces' own files said while it was taken. Processes
end meanwhile, and some may not be looked into: neither is an error.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from labkit.linux.files import ioctl
from labkit.linux.flags import NS_GET_NSTYPE, NS_GET_OWNER_UID, NS_GET_PARENT, NS_GET_USERNS, Ioctl
from labkit.linux.namespaces import KINDS, Kind, inodes_of_zombie, own_proc
from labkit.linux.proc import stat

OUTSIDE = 0
"""In place of an inode: nothing is above, or nothing that we may see. lsns(8) says 0 as well."""

_BY_FLAG = {int(kind.flag): kind for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Process:
    """One process. started: in clock ticks after boot. inodes: its namespaces, kind -> inode."""

    pid: int
    ppid: int
    name: str
    started: int
    inodes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Namespace:
    """One namespace, and what its file says of it.

    owner: the user namespace whose capabilities count in it; of a user namespace, its parent.
    parent: of a user or PID namespace; None for the other kinds, which have no parents. uid: who
    made a user namespace, as a user ID here; None for the other kinds.
    """

    inode: int
    kind: Kind
    owner: int
    parent: int | None = None
    uid: int | None = None


@dataclass(frozen=True)
class Snapshot:
    """All processes that we may look into, by PID, and the namespaces they are in, by inode.

    Among the namespaces are the owners and parents of others, even if no process is in them any
    more. hidden: how many processes the kernel did not let us look into.
    """

    processes: Mapping[int, Process]
    namespaces: Mapping[int, Namespace]
    hidden: int = 0
    _members: dict[int, tuple[int, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        members: dict[int, list[int]] = {}
        for process in self.processes.values():
            for inode in process.inodes.values():
                members.setdefault(inode, []).append(process.pid)
        found = {inode: tuple(sorted(pids)) for inode, pids in members.items()}
        object.__setattr__(self, "_members", found)

    def members(self, inode: int) -> tuple[int, ...]:
        """The PIDs of the processes in a namespace, in order."""
        return self._members.get(inode, ())


def snapshot(known: Snapshot | None = None) -> Snapshot:
    """Look at every process of this /proc.

    known: an earlier snapshot. If one of its processes still has the same inode, that is the same
    namespace still, and nobody is asked again who owns it. The inode alone proves nothing: a new
    namespace may get the number of one that is gone.
    """
    own_proc()
    found, hidden = _processes()
    spaces = _unchanged(known, found) if known else {}
    for process in found.values():
        for kind, inode in process.inodes.items():
            if inode not in spaces:
                _ask(f"/proc/{process.pid}/ns/{kind}", spaces)
    # What could not be asked any more, because its last process had ended, is left out.
    for pid, process in found.items():
        if not spaces.keys() >= set(process.inodes.values()):
            found[pid] = _within(spaces, process)
    return Snapshot(found, spaces, hidden)


def _processes() -> tuple[dict[int, Process], int]:
    """The processes that we may look into, and how many others there are."""
    found, hidden = {}, 0
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            found[pid] = _process(pid)
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            continue
        except PermissionError:
            hidden += os.path.exists(f"/proc/{pid}")  # one that has just ended is refused too
    return found, hidden


def _process(pid: int) -> Process:
    own = stat(pid)
    return Process(pid, own.ppid, own.name, own.started, inodes_of_zombie(pid))


def _within(spaces: Mapping[int, Namespace], process: Process) -> Process:
    kept = {kind: inode for kind, inode in process.inodes.items() if inode in spaces}
    return Process(process.pid, process.ppid, process.name, process.started, kept)


def _unchanged(known: Snapshot, found: Mapping[int, Process]) -> dict[int, Namespace]:
    """The namespaces of `known` that are certainly the same ones still."""
    spaces: dict[int, Namespace] = {}
    for process in found.values():
        before = known.processes.get(process.pid)
        if before and before.started == process.started:
            for kind, inode in process.inodes.items():
                if inode not in spaces and before.inodes.get(kind) == inode:
                    _keep(inode, known.namespaces, spaces)
    return spaces


def _keep(inode: int, known: Mapping[int, Namespace], spaces: dict[int, Namespace]) -> None:
    """Take over a namespace, its owners and its parents: it keeps those alive."""
    if inode in spaces or inode not in known:
        return
    space = spaces[inode] = known[inode]
    _keep(space.owner, known, spaces)
    _keep(space.parent or OUTSIDE, known, spaces)


def _ask(path: str, spaces: dict[int, Namespace]) -> None:
    """Add the namespace at `path` to `spaces`, with what is above it, unless its file is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # the process has ended, or has become somebody whom we may not look into
        return
    try:
        learn(fd, spaces)
    finally:
        os.close(fd)


def learn(fd: int, spaces: dict[int, Namespace]) -> int:
    """Add the namespace whose file is `fd` to `spaces`, with all above it. Returns its inode."""
    inode = os.fstat(fd).st_ino
    if inode not in spaces:
        kind = _BY_FLAG[ioctl(fd, NS_GET_NSTYPE)]
        owner = _related(fd, NS_GET_USERNS, spaces)
        parent = uid = None
        if kind is Kind.user:  # of these the kernel calls the parent the owner, too
            parent, uid = owner, ioctl(fd, NS_GET_OWNER_UID)
        elif kind is Kind.pid:
            parent = _related(fd, NS_GET_PARENT, spaces)
        spaces[inode] = Namespace(inode, kind, owner, parent, uid)
    return inode


def _related(fd: int, question: Ioctl, spaces: dict[int, Namespace]) -> int:
    """The owner or parent of the namespace whose file is `fd`: its inode, or OUTSIDE."""
    try:
        other = ioctl(fd, question)
    except PermissionError:
        return OUTSIDE
    try:
        return learn(other, spaces)
    finally:
        os.close(other)
