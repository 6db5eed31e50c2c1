"""Which of our containers' groups a process is in."""

import os

PREFIX = "labkit-box-"
"""What the names of our containers' groups begin with."""
LEAF = "labkit-processes"
"""Beside them in version 2: the group for processes, where the one above has handed controllers on.
"""


def way_in(path: str, version: int) -> str:
    """The file of the group at `path` to which a process of one thread writes "0" to enter it.

    cgroup.procs moves all threads of a process, so the kernel holds up every fork and exit in the
    machine, and waits for a grace period of RCU (7 ms in the median, if nobody has just moved).
    Version 1 has the file tasks too, which moves one thread. "0" there waits for nobody: who writes
    does not end meanwhile (cgroup_procs_write_start in kernel/cgroup/cgroup.c). The number of
    somebody else does wait, in either file.
    """
    return f"{path}/tasks" if version == 1 else f"{path}/cgroup.procs"


def groups_of(pid: int) -> list[str]:
    """The files by which one enters the groups of a container of ours that `pid` is in.

    Nothing where we are in the same groups, or where they are none of ours.
    """
    with open(f"/proc/{pid}/cgroup", errors="surrogateescape") as file:
        theirs = file.read()
    if PREFIX not in theirs or theirs == own():
        return []
    from labkit.cgroups.hierarchy import hierarchies  # seldom needed

    trees = [tree for tree in hierarchies(pid) if f"/{PREFIX}" in tree.path]
    return [*dict.fromkeys(way_in(tree.path, tree.version) for tree in trees)]


def own() -> str:
    """What /proc/self/cgroup says. Each start with limits asks, so no file object is built."""
    fd = os.open("/proc/self/cgroup", os.O_RDONLY | os.O_CLOEXEC)
    try:
        said = b""
        while more := os.read(fd, 65536):
            said += more
        return os.fsdecode(said)
    finally:
        os.close(fd)
