"""What a container has changed in its root: added (A), changed (C), deleted (D), as docker diff."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from labkit.images.merged import Node, children


class Change(NamedTuple):
    """One change. kind: A, C or D. path: in the container."""

    path: str
    kind: str

    def __str__(self) -> str:
        return f"{self.kind} {self.path}"


def changes(upper: str, lowers: Sequence[str]) -> list[Change]:
    """What the directory `upper` of an overlay changes in what `lowers` make, by path.

    A directory is changed when something in it is; of a deleted one nothing in it is named. A file
    that was copied up and is as before is not named.
    """
    return sorted(_compare("/", children((upper, *lowers)), children(lowers), (upper,)))


def _compare(
    at: str, new: Mapping[str, Node], old: Mapping[str, Node], touched: Sequence[str]
) -> Iterator[Change]:
    """The changes in one directory. touched: only what stands in these can have changed."""
    for name in old.keys() - new.keys():
        yield Change(os.path.join(at, name), "D")
    for name, node in new.items():
        if os.path.dirname(node.path) in touched:
            yield from _one(os.path.join(at, name), node, old.get(name))


def _one(path: str, node: Node, before: Node | None) -> Iterator[Change]:
    inside = list(_inside(path, node, before))
    if before is None:
        yield Change(path, "A")
    elif inside or _differs(node.stat, before.stat):
        yield Change(path, "C")
    yield from inside


def _inside(path: str, node: Node, before: Node | None) -> Iterator[Change]:
    """The changes in a directory; of one that has become a file nothing is told but that."""
    if not node.is_directory:
        return iter(())
    new, old = children(node.directories), children(before.directories) if before else {}
    return _compare(path, new, old, node.directories[:1])


def _differs(new: os.stat_result, old: os.stat_result) -> bool:
    """As moby's statDifferent(): size and time of a directory say nothing."""
    same = (new.st_mode, new.st_uid, new.st_gid) == (old.st_mode, old.st_uid, old.st_gid)
    if stat.S_ISCHR(new.st_mode) or stat.S_ISBLK(new.st_mode):
        same = same and new.st_rdev == old.st_rdev
    if not stat.S_ISDIR(new.st_mode):
        same = same and (new.st_mtime_ns, new.st_size) == (old.st_mtime_ns, old.st_size)
    return not same
