"""docs/notes.md: every line of the notes has a cell that covers it, and the cell is there."""

import html
import re
from collections.abc import Iterator
from typing import NamedTuple

import nbformat
import pytest
from conftest import ROOT
from nbformat import NotebookNode
from test_docs import FENCED

PAGE = ROOT / "docs" / "notes.md"
NOTES = ROOT / "docs" / "source-notes.md"
PARTS = ("Docker V0.1", "Docker V0.2", "Docker V0.3")
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


def part(heading: str, before: str) -> str:
    """The part of the notes that a heading begins; all before V0.1 is one, without a name."""
    return next((name for name in PARTS if heading.startswith(name)), before)


def pieces(line: str) -> list[str]:
    """What a line of prose says: the cells of a table, a picture's name, a text and a link."""
    line = re.sub(r"^(#+|\+) ", "", line).strip("_ ")
    if line.startswith("|"):
        return line.strip("|").split("|")
    if picture := re.fullmatch(r"!\[(.*)\]\(.*\)", line):
        return [picture[1]]
    text, https, address = line.partition("https://")
    return [text.rstrip(": "), https + address]


def said(text: str) -> Iterator[tuple[str, str]]:
    """Everything in the notes that has a word in it: its part, and the text in single spaces."""
    where, fenced = "", False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
            continue
        if line.startswith("# ") and not fenced:
            where = part(line.removeprefix("# "), where)
        for piece in [line] if fenced else pieces(line.strip()):
            if re.search(r"\w", piece):
                yield where, plain(piece)


def quoted(text: str) -> Iterator[tuple[str, str]]:
    """What the first columns of the page quote, by the part under whose heading they stand."""
    where = ""
    for line in FENCED.sub("", text).splitlines():
        if line.startswith("## "):
            where = part(line.removeprefix("## "), where)
        elif row := ROW.fullmatch(line):
            for quote in re.findall(r"`([^`]+)`", row["item"]):
                yield where, plain(quote.replace("\\|", "|"))


def test_every_line_of_the_notes_has_a_row() -> None:
    notes, page = set(said(NOTES.read_text())), set(quoted(PAGE.read_text()))
    assert len(notes) > 100
    if not (ROOT / "notebooks" / "v0.0_why.ipynb").exists():  # the lesson of all before V0.1
        notes = {(where, text) for where, text in notes if where}
    assert notes - page == set(), "said in the notes, and in no row of docs/notes.md"
    assert page - notes == set(), "quoted in docs/notes.md, and not said in the notes"


def test_a_row_that_is_gone_is_seen() -> None:
    page = PAGE.read_text()
    whole = set(quoted(page))
    for row in rows():
        if "`" in row.partition(" | ")[0]:
            assert set(quoted(page.replace(row + "\n", ""))) < whole, row


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


@pytest.mark.parametrize("item", items(), ids=lambda item: item.item[:50])
def test_its_cell_has_it(item: Item) -> None:
    text = content(covering(item.notebook, item.cell))
    assert item.words
    assert [word for word in item.words if plain(word) not in text] == []


def test_a_cell_that_is_gone_is_seen() -> None:
    assert covering("v0.1_run", "V0.1 运行一个程序") is not None
    with pytest.raises(AssertionError, match=r"0 cells of .* are called 'V0.9'"):
        covering("v0.1_run", "V0.9")
