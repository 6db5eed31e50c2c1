"""Which of our containers' groups a process is in."""

import os

PREFIX = "labkit-box-"
"""What the names of our containers' groups begin with."""
LEAF = "labkit-processes"
"""Beside them in version 2: the group for processes, where the one above has handed controllers on.
"""


def groups_of(pid: int) -> list[str]:
    """The files by which one enters the groups of a container of ours that `pid` is in.

    Nothing where we are in the same groups, or where they are none of ours.
    """
    with open(f"/proc/{pid}/cgroup", errors="surrogateescape") as file:
        theirs = file.read()
    if PREFIX not in theirs or theirs == own():
        return []
    from labkit.cgroups.hierarchy import hierarchies  # seldom needed

    paths = dict.fromkeys(tree.path for tree in hierarchies(pid) if f"/{PREFIX}" in tree.path)
    return [f"{path}/cgroup.procs" for path in paths]


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
