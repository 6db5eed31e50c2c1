"""``labkit ns --tree``: the user namespaces as a tree, and beneath each what it owns."""

import json
from collections.abc import Iterator, Mapping

from labkit.linux.fields import dataclass
from labkit.linux.namespaces import Kind
from labkit.linux.relations import OUTSIDE, Namespace, Snapshot, snapshot
from labkit.text.tables import BOLD, columns, paint
from labkit.text.words import Words


@dataclass(frozen=True)
class Node:
    """A namespace and what hangs beneath it."""

    space: Namespace
    below: tuple["Node", ...]


def holder(space: Namespace, spaces: Mapping[int, Namespace]) -> int:
    """The inode of what stands above a namespace: its owner, whose root may change it.

    But above a PID namespace stands its parent, if one user namespace owns both: in the parent one
    sees its processes.
    """
    parent = spaces.get(space.parent or OUTSIDE)
    if space.kind is Kind.pid and parent and parent.owner == space.owner:
        return parent.inode
    return space.owner


def trees(shot: Snapshot) -> tuple[Node, ...]:
    """The nodes with nothing above them that we may see: usually one user namespace has all others.

    In a container there may be more: what the container shares with the host, if the host owns it.
    """
    beneath: dict[int, list[Namespace]] = {}
    for space in shot.namespaces.values():
        beneath.setdefault(holder(space, shot.namespaces), []).append(space)

    def nodes(inode: int) -> tuple[Node, ...]:
        found = sorted(beneath.get(inode, ()), key=_order)
        return tuple(Node(space, nodes(space.inode)) for space in found)

    return nodes(OUTSIDE)


def _order(space: Namespace) -> tuple[bool, str, int]:
    """User namespaces last: the trees beneath them are long."""
    return space.kind is Kind.user, space.kind.name, space.inode


_HEADS = (
    Words("命名空间", "namespace"),
    Words("进程数", "processes"),
    Words("PID", "PID"),
    Words("名字", "name"),
    Words("", ""),
)
_HIDDEN = Words("内核不让我们看的进程：{} 个", "processes that the kernel hides from us: {}")
_OUTSIDE = Words("归外面所有", "owned outside")
_PARENT = Words("父", "parent")


def main(*, as_json: bool) -> int:
    """Print the tree; the exit status."""
    shot = snapshot()
    if as_json:
        found = {"tree": [_plain(node, shot) for node in trees(shot)], "hidden": shot.hidden}
        print(json.dumps(found, indent=2))
        return 0
    rows = [tuple(paint(head.joined(" "), BOLD) for head in _HEADS)]
    for node in trees(shot):
        rows += _rows(node, shot)
    print(columns(rows), end="")
    if shot.hidden:
        print(_HIDDEN.filled(shot.hidden))
    return 0


def _rows(node: Node, shot: Snapshot, first: str = "", rest: str = "") -> Iterator[tuple[str, ...]]:
    """The lines of a node and of all beneath it, drawn after `first`, and the others `rest`."""
    space, members = node.space, shot.members(node.space.inode)
    lowest = (str(members[0]), shot.processes[members[0]].name) if members else ("-", "-")
    name = f"{first}{space.kind.name} {space.inode}"
    yield (name, str(len(members)), *lowest, _about(space, shot))
    for child in node.below:
        last = child is node.below[-1]
        branch, line = ("└─", "  ") if last else ("├─", "│ ")
        yield from _rows(child, shot, rest + branch, rest + line)


def _about(space: Namespace, shot: Snapshot) -> str:
    """What the tree itself does not show: who made it, a parent elsewhere, an owner outside."""
    if space.kind is Kind.user:
        return f"uid {space.uid}"
    if space.owner == OUTSIDE:
        return _OUTSIDE.joined(" ")
    if space.parent and space.parent != holder(space, shot.namespaces):
        return f"{_PARENT.joined(' ')}: pid {space.parent}"
    return ""


def _plain(node: Node, shot: Snapshot) -> dict[str, object]:
    """A node as JSON, in lsns's words where it has them; what is outside has the inode 0."""
    space, members = node.space, shot.members(node.space.inode)
    return {
        "ns": space.inode,
        "type": space.kind.name,
        "nprocs": len(members),
        "pid": members[0] if members else None,
        "ons": space.owner,
        "pns": space.parent,
        "uid": space.uid,
        "below": [_plain(child, shot) for child in node.below],
    }
