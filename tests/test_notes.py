"""docs/notes.md: every item of the notes has a cell that covers it, and the cell is there."""

import html
import re
from typing import NamedTuple

import nbformat
import pytest
from conftest import ROOT
from nbformat import NotebookNode
from test_docs import FENCED

PAGE = ROOT / "docs" / "notes.md"
ROW = re.compile(
    r"^\| (?P<item>.+?) \| \[(?P<name>[\w.]+)\]\((?P<file>\S+)\) \| (.+?) \| (.+?) \|$"
)


class Item(NamedTuple):
    """A row: something in the notes, the cell that covers it, and what the cell has in it."""

    item: str
    notebook: str
    cell: str
    words: tuple[str, ...]


def rows() -> list[str]:
    """The lines of the page's tables, without their heads."""
    lines = FENCED.sub("", PAGE.read_text()).splitlines()
    return [
        line for line in lines if line.startswith("| ") and not line.startswith("| 笔记 Notes ")
    ]


def items() -> list[Item]:
    found = []
    for line in rows():
        row = ROW.fullmatch(line)
        assert row, f"not a row of the list: {line!r}"
        item, name, file, cell, words = row.groups()
        assert file == f"../notebooks/{name}.ipynb"
        found.append(Item(item, name, cell.strip("`"), tuple(re.findall(r"`([^`]+)`", words))))
    return found


def cells(notebook: str) -> list[NotebookNode]:
    path = ROOT / "notebooks" / f"{notebook}.ipynb"
    return list(nbformat.read(path, as_version=4).cells)


def headings(cell: NotebookNode) -> list[str]:
    found = re.findall(r"^#+ (.*)$", FENCED.sub("", cell.source), re.MULTILINE)
    return [heading.replace("`", "") for heading in found] if cell.cell_type == "markdown" else []


def covering(notebook: str, name: str) -> NotebookNode:
    """The one cell of that name or, if none has it, with a heading that begins so."""
    there = cells(notebook)
    found = [cell for cell in there if cell.id == name]
    found = found or [c for c in there if any(h.startswith(name) for h in headings(c))]
    assert len(found) == 1, f"{len(found)} cells of {notebook} are called {name!r}"
    return found[0]


def plain(text: str) -> str:
    """`text` with single spaces only."""
    return " ".join(text.split())


def content(cell: NotebookNode) -> str:
    """What a reader sees of a cell: its text and what it printed."""
    seen = [cell.source]
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        seen += [output.get("text", ""), output.get("evalue", ""), data.get("text/plain", "")]
        seen.append(html.unescape(re.sub(r"<[^>]+>", " ", data.get("text/html", ""))))
    return plain("\n".join(seen))


@pytest.mark.parametrize("item", items(), ids=lambda item: item.item)
def test_its_cell_has_it(item: Item) -> None:
    text = content(covering(item.notebook, item.cell))
    assert item.words
    assert [word for word in item.words if plain(word) not in text] == []


def test_a_cell_that_is_gone_is_seen() -> None:
    assert covering("v0.1_run", "V0.1 运行一个程序") is not None
    with pytest.raises(AssertionError, match=r"0 cells of .* are called 'V0.9'"):
        covering("v0.1_run", "V0.9")
