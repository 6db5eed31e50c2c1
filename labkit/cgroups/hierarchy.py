"""Control groups: which hierarchies are mounted, and which directories are ours. cgroups(7)."""

import os

from labkit.linux.fields import dataclass
from labkit.linux.proc import Mount, mounts
from labkit.python.typing import Literal

Layout = Literal["v1", "v2", "hybrid", "none"]


@dataclass(frozen=True)
class Hierarchy:
    """One mounted tree of control groups.

    version: 1 or 2. controllers: those that our own group there can use. path: our own group's
    directory. writable: whether we may make groups below it, by the directory's permissions and the
    mount's options (nothing is tried).
    """

    version: int
    controllers: tuple[str, ...]
    path: str
    writable: bool


def hierarchies(pid: int | str = "self") -> tuple[Hierarchy, ...]:
    """The hierarchies this process sees, the one of version 2 last; none where none is mounted.

    pid: whose groups they are told of.
    """
    member = _memberships(pid)
    seen = mounts(kinds="cgroup")
    found = [_hierarchy(each, member) for each in seen if each.kind in ("cgroup", "cgroup2")]
    unique = {h.controllers or h.path: h for h in found if h is not None}
    return tuple(sorted(unique.values(), key=lambda h: (h.version, h.controllers)))


def layout(trees: tuple[Hierarchy, ...]) -> Layout:
    """Which versions are in use: ``v1``, ``v2``, ``hybrid`` (both) or ``none``."""
    versions = {tree.version for tree in trees}
    names: dict[frozenset[int], Layout] = {
        frozenset({1}): "v1",
        frozenset({2}): "v2",
        frozenset({1, 2}): "hybrid",
    }
    return names.get(frozenset(versions), "none")


def parent_for(controller: str) -> str | None:
    """A directory where we can make a group that `controller`, such as ``pids``, can limit.

    Version 1: our own group's. Version 2: the nearest one from there upwards that hands the
    controller on to its children (``cgroup.subtree_control``). None: there is none, or it is
    read-only.
    """
    for tree in hierarchies():
        if tree.version == 1:
            found = [tree.path] if controller in tree.controllers else []
        else:
            found = [path for path in _upwards(tree.path) if controller in _handed_on(path)]
        if found and os.access(found[0], os.W_OK, effective_ids=True):
            return found[0]
    return None


def _upwards(path: str) -> list[str]:
    """`path` and the directories above it."""
    above = os.path.dirname(path)
    return [path] if above == path else [path, *_upwards(above)]


def _handed_on(path: str) -> list[str]:
    """The controllers that the group at `path` hands on to its children."""
    return _words(f"{path}/cgroup.subtree_control")


def filesystem(path: str) -> str:
    """The type of the file system that `path` is on, such as ``ext4`` or ``overlay``."""
    path = os.path.realpath(path)
    over = [m for m in mounts() if os.path.commonpath((m.point, path)) == m.point]
    # The deepest mount point counts, and of several mounts there the last.
    return max(enumerate(over), key=lambda row: (len(row[1].point), row[0]))[1].kind if over else ""


def _hierarchy(mount: Mount, memberships: dict[str, str]) -> Hierarchy | None:
    options = mount.super_options.split(",")
    named = [word for word in options if word.startswith("name=")]
    controllers = [word for word in options if word in memberships]
    version = 2 if mount.kind == "cgroup2" else 1
    key = "" if version == 2 else (controllers + named + [""])[0]
    if key not in memberships:
        return None
    below = os.path.relpath(memberships[key], mount.root)
    path = os.path.normpath(os.path.join(mount.point, below))
    if below.startswith("..") or not os.path.isdir(path):
        # Our group is outside of what is mounted here, as in a container without a cgroup
        # namespace: the top must do.
        path = mount.point
    if version == 2:
        controllers = _words(f"{path}/cgroup.controllers")
    writable = os.access(path, os.W_OK, effective_ids=True)
    return Hierarchy(version, tuple(controllers), path, writable)


def _memberships(pid: int | str) -> dict[str, str]:
    """Controller (or ``name=...``, or "" for version 2) -> the group's path. cgroups(7)."""
    found: dict[str, str] = {}
    with open(f"/proc/{pid}/cgroup", errors="surrogateescape") as lines:
        for line in lines:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            found |= dict.fromkeys(controllers.split(","), path)
    return found


def _words(path: str) -> list[str]:
    try:
        with open(path) as file:
            return file.read().split()
    except OSError:
        return []
