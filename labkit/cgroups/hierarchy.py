"""Control groups: which hierarchies are mounted, and which directories are ours. cgroups(7)."""

import os
import re
from dataclasses import dataclass
from typing import Literal

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


def hierarchies() -> tuple[Hierarchy, ...]:
    """The hierarchies this process sees, the one of version 2 last; none where none is mounted."""
    found = [_hierarchy(fields) for fields in _mounts() if fields[-1].startswith("cgroup")]
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
    """A directory where a group can be made that `controller`, such as ``pids``, limits.

    Version 1: our own group's. Version 2: the nearest from there upwards that hands the controller
    on to its children (``cgroup.subtree_control``). None where there is none, or it is read-only.
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
    return _words(f"{path}/cgroup.subtree_control")


def _mounts() -> list[tuple[str, str, str, str]]:
    """(root, mount point, options, type) of every mount: proc_pid_mountinfo(5)."""
    rows = []
    with open("/proc/self/mountinfo", errors="surrogateescape") as lines:
        for line in lines:
            left, right = line.rstrip("\n").split(" - ", 1)
            words, kind = left.split(), right.split()
            point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), words[4])
            rows.append((words[3], point, kind[-1], kind[0]))
    return rows


def filesystem(path: str) -> str:
    """The type of the file system that `path` is on, such as ``ext4`` or ``overlay``."""
    path = os.path.realpath(path)
    over = [m for m in _mounts() if os.path.commonpath((m[1], path)) == m[1]]
    return max(enumerate(over), key=lambda row: (len(row[1][1]), row[0]))[1][-1] if over else ""


def _hierarchy(mount: tuple[str, str, str, str]) -> Hierarchy | None:
    root, point, options, kind = mount
    named = [word for word in options.split(",") if word.startswith("name=")]
    memberships = _memberships()
    controllers = [word for word in options.split(",") if word in memberships]
    key = "" if kind == "cgroup2" else (controllers + named + [""])[0]
    if key not in memberships:
        return None
    below = os.path.relpath(memberships[key], root)
    # Outside of what is mounted here (a container without a cgroup namespace): the top must do.
    path = point if below.startswith("..") else os.path.normpath(os.path.join(point, below))
    path = path if os.path.isdir(path) else point
    if kind == "cgroup2":
        controllers = _words(f"{path}/cgroup.controllers")
    writable = os.access(path, os.W_OK, effective_ids=True)
    return Hierarchy(2 if kind == "cgroup2" else 1, tuple(controllers), path, writable)


def _memberships() -> dict[str, str]:
    """Controller (or ``name=...``, or "" for version 2) -> our group's path. cgroups(7)."""
    found: dict[str, str] = {}
    with open("/proc/self/cgroup", errors="surrogateescape") as lines:
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
