"""layers(): the layers of a root, side by side: who provides each file, live as it is written.

Here the directories are read, each time that the watch looks. The page draws the table and marks
what is new (static/layers_explorer.js).
"""

import html
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from labkit.container.container import Container
from labkit.container.root import Root
from labkit.images.merged import is_opaque, is_whiteout, walk
from labkit.notebook.widgets.watch import Watch
from labkit.notebook.widgets.widget import Widget
from labkit.text.tables import columns
from labkit.text.words import Words

MOST = 400
"""Names of one layer that are looked at: a page is no place for all files of a distribution."""

_MARKS: Mapping[str, Words] = {
    "file": Words("文件", "file"),
    "directory": Words("目录", "directory"),
    "opaque": Words("不透明目录", "opaque directory"),
    "whiteout": Words("遮盖", "whiteout"),
}
_NAME = Words("名字", "name")
_MERGED = Words("容器看到的", "the container sees")
_GONE = Words("没有", "nothing")
_UPPER = Words("上层", "upper")
_CAPTION = Words(
    "这几层叠在一起：哪个文件出自哪一层", "The layers of the union: who provides each file"
)


@dataclass(frozen=True)
class Row:
    """A name. marks: what each layer has there, the uppermost first. provider: its layer's number.

    The provider is -1 where the union has nothing of that name.
    """

    path: str
    marks: tuple[str, ...]
    provider: int


def rows(layers: Sequence[str]) -> list[Row]:
    """All names in any of the layers, by path; a layer with very many has its first only."""
    found = [dict(islice(_marks(layer), MOST)) for layer in layers]
    union = {path: node.path for path, node in islice(walk(layers), MOST * len(layers))}
    every = sorted({path for each in found for path in each})
    return [
        Row(path, tuple(each.get(path, "") for each in found), _provider(layers, union.get(path)))
        for path in every
    ]


def _marks(layer: str) -> Iterator[tuple[str, str]]:
    """What a layer has, by name: a directory before what is in it."""
    waiting = [""]
    while waiting:
        above = waiting.pop()
        with os.scandir(os.path.join(layer, above)) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                path = os.path.join(above, entry.name)
                yield path, _mark(entry)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)


def _mark(entry: os.DirEntry[str]) -> str:
    if entry.is_dir(follow_symlinks=False):
        return "opaque" if is_opaque(entry.path) else "directory"
    return "whiteout" if is_whiteout(entry.path, entry.stat(follow_symlinks=False)) else "file"


def _provider(layers: Sequence[str], path: str | None) -> int:
    inside = (n for n, layer in enumerate(layers) if path and path.startswith(f"{layer}/"))
    return next(inside, -1)


class LayersExplorer(Widget):
    """The widget. It looks only while it is on a page that is seen; `close` ends it for good."""

    files = "layers_explorer"

    def __init__(self, layers: Sequence[str], names: Sequence[Words]) -> None:
        super().__init__()
        self._layers, self._names = tuple(layers), tuple(names)
        self._sent: list[Row] | None = None
        self._watch = Watch(self._look, self._pause)
        self.on_msg(self._hear)

    def static(self) -> "Table":
        """What a page without a kernel shows: the layers as they are now."""
        return Table(self._names, tuple(rows(self._layers)))

    def close(self) -> None:
        """End it: no thread is left."""
        self._watch.close()
        super().close()

    def _hear(self, _: Widget, content: Mapping[str, Any], __: list[bytes]) -> None:
        """Take in what a view says: that it is watched, or no longer."""
        if "watch" in content:
            self._sent = None if content["whole"] else self._sent
            self._watch.hold(content["watch"])
        elif "leave" in content:
            self._watch.leave(content["leave"])

    def _pause(self) -> None:
        """Tell the views that nobody looks; the next look tells them all."""
        self._sent = None
        self.send({"type": "paused"})

    def _look(self) -> None:
        """Look once more, and tell the views if something has changed; the watch calls this."""
        try:
            now = rows(self._layers)
        except OSError:  # something went while we read: the next look finds it gone
            return
        if now != self._sent:
            self._sent = now
            names = [[words.zh, words.en] for words in self._names]
            told = [[row.path, row.marks, row.provider] for row in now]
            self.send({"type": "state", "layers": names, "rows": told})


def layers(root: Root | Container, *names: str) -> LayersExplorer:
    """Show live what each layer of a root has, and which of them the container sees.

    names: of the layers, the uppermost first; layers without a name are left out, unless none has
    one. The directory that takes the changes is called upper.
    """
    union = root.root if isinstance(root, Container) else root
    if union is None or not union.layers or not union.upper:
        raise ValueError(
            Words(
                "layers() 要一个有 layers 和 upper 的 Root：没有它们就没有几层可看",
                "layers() takes a Root with layers and upper: else there are no layers to be seen",
            )
        )
    numbers = range(1, len(union.layers) + 1)
    called = [Words(f"下层 {name}", f"lower: {name}") for name in names]
    called = called or [Words(f"下层 {number}", f"lower {number}") for number in numbers]
    shown = tuple(union.layers)[: len(called)]
    return LayersExplorer((union.upper, *shown), (_UPPER, *called[: len(shown)]))


@dataclass(frozen=True, repr=False)
class Table:
    """The layers as text, and as HTML that says the same."""

    names: tuple[Words, ...]
    rows: tuple[Row, ...]

    def __str__(self) -> str:
        heads = [_NAME, _MERGED, *self.names]
        table = [[str(head) for head in heads], *(self._line(row) for row in self.rows)]
        return columns(table).rstrip("\n")

    __repr__ = __str__

    def _line(self, row: Row) -> list[str]:
        return [
            f"/{row.path}",
            str(self._seen(row)),
            *(str(_MARKS[mark]) if mark else "" for mark in row.marks),
        ]

    def _seen(self, row: Row) -> Words:
        return self.names[row.provider] if row.provider >= 0 else _GONE

    def _repr_html_(self) -> str:
        heads = "".join(f'<th scope="col">{w.html()}</th>' for w in (_NAME, _MERGED, *self.names))
        return (
            f"<table><caption>{_CAPTION.html()}</caption><thead><tr>{heads}</tr></thead>"
            f"<tbody>{''.join(map(self._row, self.rows))}</tbody></table>"
        )

    def _row(self, row: Row) -> str:
        cells = "".join(
            f"<td>{'<b>' * (n == row.provider)}{_MARKS[mark].html() if mark else ''}"
            f"{'</b>' * (n == row.provider)}</td>"
            for n, mark in enumerate(row.marks)
        )
        name = f'<th scope="row"><code>/{html.escape(row.path)}</code></th>'
        return f"<tr>{name}<td>{self._seen(row).html()}</td>{cells}</tr>"
