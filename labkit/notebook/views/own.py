"""Our own processes among all: the notebook's process, its engine, its containers."""

import html
import os
from dataclasses import dataclass

from labkit.engine import connection
from labkit.linux.namespaces import KINDS, Kind
from labkit.linux.proc import number
from labkit.linux.relations import Snapshot
from labkit.text.words import Words

_FIRST = ("kernel", "engine", "container")  # those that the static form tells of, in this order


def kernel_pid() -> int:
    """This process, the notebook's process, as this /proc counts."""
    return int(os.readlink("/proc/self"))


def roles(shot: Snapshot) -> dict[int, str]:
    """Our own processes: kernel, engine, container (its first process), inside (one of its others).

    And keeper: the engine's. And child: what the kernel has started by itself, as ``!cmd`` does.
    """
    children: dict[int, list[int]] = {}
    for process in shot.processes.values():
        children.setdefault(process.ppid, []).append(process.pid)
    found = {kernel_pid(): "kernel"}
    engines = dict.fromkeys(map(number, connection.keeper_pids()), "keeper")
    engines |= dict.fromkeys(map(number, connection.engine_pids()), "engine")
    following = {"engine": "container", "container": "inside", "kernel": "child"}
    todo = [kernel_pid()]
    while todo:
        parent = todo.pop()
        role = following.get(found[parent], found[parent])
        for pid in children.get(parent, ()):
            found[pid] = engines.get(pid, role)
            todo.append(pid)
    return found


@dataclass(frozen=True)
class Shared:
    """Of one kind: who of ours is in the kernel's namespace, and who together in others."""

    kind: Kind
    here: tuple[Words, ...]
    elsewhere: tuple[tuple[Words, ...], ...]


@dataclass(frozen=True, repr=False)
class OwnNamespaces:
    """The notebook's process, its engine and its containers, and which namespaces they share.

    Without numbers: so it is the same wherever the notebook runs.
    """

    rows: tuple[Shared, ...]

    def __str__(self) -> str:
        lines = [str(Words("谁和谁同在一个命名空间里", "who shares a namespace with whom"))]
        for row in self.rows:
            groups = (", ".join(map(_plain, group)) for group in (row.here, *row.elsewhere))
            lines.append(f"{row.kind.name:<6}  {' | '.join(groups)}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        heads = (
            Words("种类", "kind"),
            Words("和笔记本进程同在", "with the notebook's process"),
            Words("另在别处", "elsewhere"),
        )
        columns = "".join(f'<th scope="col" {_LEFT}>{head.html()}</th>' for head in heads)
        caption = Words("谁和谁同在一个命名空间里", "Who shares a namespace with whom").html()
        return (
            f"<table><caption>{caption}</caption><thead><tr>{columns}</tr></thead>"
            f"<tbody>{''.join(map(_html_row, self.rows))}</tbody></table>"
        )


_LEFT = 'style="text-align:left"'


def _html_row(row: Shared) -> str:
    here, *elsewhere = (", ".join(map(_both, group)) for group in (row.here, *row.elsewhere))
    return (
        f'<tr><th scope="row" {_LEFT}><code>{row.kind.name}</code></th>'
        f"<td {_LEFT}>{here}</td><td {_LEFT}>{'; '.join(elsewhere) or '—'}</td></tr>"
    )


def _both(words: Words) -> str:
    """A container has one name in both languages."""
    return html.escape(words.zh) if words.zh == words.en else words.html()


def _plain(words: Words) -> str:
    return words.zh if words.zh == words.en else f"{words.zh} {words.en}"


def own_namespaces(shot: Snapshot) -> OwnNamespaces:
    """Who of the kernel, its engine and its containers shares which namespace."""
    ours = {pid: role for pid, role in roles(shot).items() if role in _FIRST}
    started = {pid: shot.processes[pid].started for pid in ours}
    order = sorted(ours, key=lambda pid: (_FIRST.index(ours[pid]), started[pid], pid))
    names = {pid: _name(ours[pid], shot.processes[pid].name) for pid in order}
    return OwnNamespaces(tuple(_shared(kind, shot, names) for kind in KINDS))


def _name(role: str, name: str) -> Words:
    known = {"kernel": Words("笔记本进程", "notebook's process"), "engine": Words("引擎", "engine")}
    return known.get(role, Words(name, name))


def _shared(kind: Kind, shot: Snapshot, names: dict[int, Words]) -> Shared:
    """The kernel comes first in `names`, and so does the namespace that it is in."""
    groups: dict[int, list[Words]] = {}
    for pid, name in names.items():
        inode = shot.processes[pid].inodes.get(kind.name)
        if inode:  # a process that has just ended is in none
            groups.setdefault(inode, []).append(name)
    here, *elsewhere = (tuple(group) for group in groups.values())
    return Shared(kind, here, tuple(elsewhere))
