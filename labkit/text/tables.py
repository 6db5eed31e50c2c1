"""Columns of text on a terminal, where Chinese characters are two cells wide, and colour."""

import os
import sys
import unicodedata
from collections.abc import Sequence

GREEN, RED, BOLD = "32", "31", "1"


def coloured() -> bool:
    """Whether standard output shows colour: a terminal, unless NO_COLOR is set (no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not plain


def paint(text: str, colour: str) -> str:
    """`text` in a colour (SGR code) where colour is shown; the words must say the same without."""
    return f"\x1b[{colour}m{text}\x1b[0m" if text and coloured() else text


def width(text: str) -> int:
    """How many cells of a terminal `text` takes, colours none."""
    cells, hidden = 0, False
    for character in text:
        hidden = hidden or character == "\x1b"
        if not hidden:
            cells += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        hidden = hidden and character != "m"
    return cells


def columns(rows: Sequence[Sequence[str]], gap: str = "  ") -> str:
    """`rows` as lines whose cells stand below each other."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    lines = (
        gap.join(cell + " " * (room - width(cell)) for cell, room in zip(row, widths, strict=True))
        for row in rows
    )
    return "".join(line.rstrip() + "\n" for line in lines)
