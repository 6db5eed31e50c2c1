"""What overlay makes of several directories, worked out without mounting: who provides each file.

A whiteout (a character device 0, 0, or an empty file with an attribute) hides a name of the layers
below. An opaque directory hides all that they have in it. Source: the kernel's
Documentation/filesystems/overlayfs.rst.
"""

import os
import stat
from _collections_abc import Iterator, Sequence

from labkit.images import whiteouts
from labkit.linux.fields import dataclass

_LINKS = 40  # the kernel's own limit: path_resolution(7)


@dataclass(frozen=True)
class Node:
    """A name in the merged directory. path: the file that provides it.

    directories: of a directory, all that are merged to it, the uppermost first.
    """

    path: str
    stat: os.stat_result
    directories: tuple[str, ...] = ()

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return bool(self.directories)


def children(directories: Sequence[str]) -> dict[str, Node]:
    """The names in the directory that these directories are merged to, the uppermost first."""
    found: dict[str, Node] = {}
    hidden: set[str] = set()
    for directory in directories:
        entries = _entries(directory)
        for name, path, about in entries:
            if name not in hidden:
                _add(found, name, path, about)
        hidden |= {name for name, path, about in entries if _hides(path, about)}
        if is_opaque(directory):
            break
    return dict(sorted(found.items()))


def find(layers: Sequence[str], path: str) -> Node | None:
    """What a path leads to in the merged root; None: there is nothing.

    Symbolic links are followed as a process inside follows them: none leads out of the root.
    """
    top = Node("", os.stat(layers[0]), tuple(layers))
    way, waiting, links = [top], _parts(path), 0
    while waiting:
        name = waiting.pop(0)
        if name == "..":
            way = way[:-1] or [top]
            continue
        found = _child(way[-1].directories, name)
        if found is None:
            return None
        if not stat.S_ISLNK(found.stat.st_mode):
            way.append(found)
            continue
        links += 1
        if links > _LINKS:
            return None
        target = os.readlink(found.path)
        way = [top] if target.startswith("/") else way
        waiting = _parts(target) + waiting
    return way[-1]


def _child(directories: Sequence[str], name: str) -> Node | None:
    """One of the children, without a look at the others."""
    found: dict[str, Node] = {}
    for directory in directories:
        path = os.path.join(directory, name)
        if os.path.lexists(path):  # a name may be too long to be anywhere
            about = os.lstat(path)
            _add(found, name, path, about)
            if _hides(path, about):
                break
        if is_opaque(directory):
            break
    return found.get(name)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def walk(layers: Sequence[str]) -> Iterator[tuple[str, Node]]:
    """All names below the merged root with their nodes, each directory before what is in it.

    layers: the uppermost first. The names have no slash at their beginning.
    """
    waiting = [("", tuple(layers))]
    while waiting:
        above, directories = waiting.pop()
        for name, node in children(directories).items():
            path = os.path.join(above, name)
            yield path, node
            if node.is_directory:
                waiting.append((path, node.directories))


def is_whiteout(path: str, about: os.stat_result) -> bool:
    """Whether a file of a layer says that the name is gone."""
    if whiteouts.is_whiteout(about):
        return True
    empty = stat.S_ISREG(about.st_mode) and about.st_size == 0
    return empty and _attribute(path, b"whiteout") is not None


def is_opaque(directory: str) -> bool:
    """Whether a directory of a layer hides all that the layers below have in it."""
    return _attribute(directory, b"opaque") == b"y"


def _hides(path: str, about: os.stat_result) -> bool:
    """Whether nothing is merged from below: only directories are."""
    return not stat.S_ISDIR(about.st_mode) or is_opaque(path)


def _entries(directory: str) -> list[tuple[str, str, os.stat_result]]:
    with os.scandir(directory) as entries:
        return [(each.name, each.path, each.stat(follow_symlinks=False)) for each in entries]


def _add(found: dict[str, Node], name: str, path: str, about: os.stat_result) -> None:
    """Add what one layer has under a name that no upper layer hides."""
    upper = found.get(name)
    if is_whiteout(path, about):
        return
    if not stat.S_ISDIR(about.st_mode):
        if upper is None:
            found[name] = Node(path, about)
    elif upper is None:
        found[name] = Node(path, about, (path,))
    else:
        found[name] = Node(upper.path, upper.stat, (*upper.directories, path))


def _attribute(path: str, name: bytes) -> bytes | None:
    for prefix in whiteouts.OVERLAY:
        try:
            return os.getxattr(path, prefix + name, follow_symlinks=False)
        except OSError:  # not there, or not for us to see
            continue
    return None
