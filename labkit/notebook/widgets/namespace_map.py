"""ns_map(): who shares which namespace, live; lsns(8) for people.

The page groups and draws (static/namespace_map.js): another kind needs no answer from the kernel.
From here come the facts: all of them to a view that is new, then only what has changed.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from labkit.cli.tree import holder
from labkit.linux.namespaces import KINDS
from labkit.linux.relations import Snapshot, snapshot
from labkit.notebook.views.own import OwnNamespaces, kernel_pid, own_namespaces, roles
from labkit.notebook.views.show import Comparison, compare
from labkit.notebook.widgets.watch import Watch
from labkit.notebook.widgets.widget import Widget
from labkit.text.words import Words

Facts = dict[int, list[Any]]
"""Rows for the page's script, by PID or by inode; what a row holds say the functions below."""


class NamespaceMap(Widget):
    """The widget. It looks only while it is on a page that is seen; `close` ends it for good."""

    files = "namespace_map"

    def __init__(self) -> None:
        super().__init__()
        self._shot: Snapshot | None = None
        self._sent: tuple[Facts, Facts] = ({}, {})
        self._new_view = True
        self._watch = Watch(self._look, self._pause)
        self.on_msg(self._hear)

    def static(self) -> "OwnNamespaces":
        """What a page without a kernel shows, and why only our own processes: they are the lesson.

        Whatever else the machine runs is different on each, and its owner's business: it has no
        place in a saved notebook.
        """
        return own_namespaces(snapshot())

    def close(self) -> None:
        """End it: no thread is left."""
        self._watch.close()
        super().close()

    def _hear(self, _: Widget, content: Mapping[str, Any], __: list[bytes]) -> None:
        """Take in what a view says: that it is watched, or no longer; or what to compare."""
        if "watch" in content:
            self._new_view = self._new_view or content["whole"]
            self._watch.hold(content["watch"])
        elif "leave" in content:
            self._watch.leave(content["leave"])
        elif "compare" in content:
            said = comparison(*content["compare"])
            self.send({"type": "comparison", "asked": content["asked"], **said})

    def _pause(self) -> None:
        """Tell the views, if there are any, that nobody looks; the next look tells them all."""
        self._new_view = True
        self.send({"type": "paused"})

    def _look(self) -> None:
        """Look once more, and tell the views what has changed; the watch's thread calls this."""
        whole, self._new_view = self._new_view, False
        shot = self._shot = snapshot(self._shot)
        before = ({}, {}) if whole else self._sent
        self._sent = after = (process_facts(shot), namespace_facts(shot))
        told = [changes(old, new) for old, new in zip(before, after, strict=True)]
        if whole or any(any(pair) for pair in told):
            self.send({"type": "state", "whole": whole, "told": told, **_heading(shot)})


def ns_map() -> NamespaceMap:
    """Show live which processes share which namespaces.

    It groups processes by each of the eight kinds, and shows the tree of the user namespaces with
    what each owns. It compares any two processes: choose one with a click or the Enter key.
    """
    return NamespaceMap()


def _heading(shot: Snapshot) -> dict[str, Any]:
    kinds = [[kind.name, str(kind.flag), kind.isolates.zh, kind.isolates.en] for kind in KINDS]
    return {"kinds": kinds, "kernel": kernel_pid(), "hidden": shot.hidden}


def process_facts(shot: Snapshot) -> Facts:
    """Of each process: name, role or "", and the inodes in the order of KINDS, 0 for none."""
    ours = roles(shot)
    return {
        pid: [one.name, ours.get(pid, ""), [one.inodes.get(kind.name, 0) for kind in KINDS]]
        for pid, one in shot.processes.items()
    }


def namespace_facts(shot: Snapshot) -> Facts:
    """Of each namespace: kind, owner, parent, uid of its maker, and what it hangs beneath."""
    return {
        inode: [one.kind.name, one.owner, one.parent, one.uid, holder(one, shot.namespaces)]
        for inode, one in shot.namespaces.items()
    }


def changes(old: Facts, new: Facts) -> tuple[Facts, list[int]]:
    """What is new or different in `new`, and what is no longer there."""
    return {key: row for key, row in new.items() if old.get(key) != row}, [*(old.keys() - new)]


def comparison(base: int, pid: int) -> dict[str, Any]:
    """Two processes compared, for the page: a table as HTML, and what it says in a sentence."""
    try:
        found = compare(base, pid)
        found = replace(found, names=(named(base), named(pid)))
    except (ProcessLookupError, FileNotFoundError):
        return _said(Words("其中一个进程已经结束", "one of the two processes has ended"))
    except PermissionError:
        return _said(
            Words("内核不让我们看其中一个", "the kernel does not let us look at one of them")
        )
    new = [row.kind.name for row in found.rows if row.new]
    if not new:
        return _said(Words("{}：八种全都相同", "{}: all the same").filled(found.names[1]), found)
    text = Words("{}：{} 种是新的：{}", "{}: new in {}: {}")
    return _said(text.filled(found.names[1], len(new), ", ".join(new)), found)


def _said(words: Words, found: Comparison | None = None) -> dict[str, Any]:
    return {"zh": words.zh, "en": words.en, "html": found._repr_html_() if found else ""}


def named(pid: int) -> str:
    """A process for people: ``sleep, PID 123``."""
    with open(f"/proc/{pid}/comm", errors="replace") as file:
        return f"{file.read().rstrip()}, PID {pid}"
