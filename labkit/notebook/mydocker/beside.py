"""Two texts side by side, line for line: as text and as HTML that says the same."""

import difflib
import html
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

from labkit.notebook.exercises.card import Tone
from labkit.text.words import Words

_SAME = Words("没有不同", "no difference")
_CELL = (
    "padding:0 6px;text-align:left;vertical-align:top;white-space:pre-wrap;font-family:monospace"
)


class Line(NamedTuple):
    """A line of each text; None where one has no such line."""

    left: str | None
    right: str | None

    @property
    def changed(self) -> bool:
        """Whether they differ."""
        return self.left != self.right


@dataclass(frozen=True, repr=False)
class Beside:
    """Two texts. names: what they are called, for people. lines: those that belong together."""

    names: tuple[Words, Words]
    lines: tuple[Line, ...]

    def __str__(self) -> str:
        if not any(line.changed for line in self.lines):
            return _SAME.joined(" ")
        head = [f"{sign} {name.joined(' ')}" for sign, name in zip("-+", self.names, strict=True)]
        return "\n".join([*head, "", *(text for line in self.lines for text in _signed(line))])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        if not any(line.changed for line in self.lines):
            return f"<p>{_SAME.html()}</p>"
        heads = "".join(
            f'<th scope="col" style="text-align:left">{name.html()}</th>' for name in self.names
        )
        rows = "".join(map(_row, self.lines))
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def beside(names: tuple[Words, Words], left: str, right: str) -> Beside:
    """Put `right` beside `left`: what is new in it, and what it has in another form or not."""
    ours, theirs = left.splitlines(), right.splitlines()
    matched = difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes()
    lines = (
        Line(a, b)
        for _, start, end, begin, until in matched
        for a, b in zip_longest(ours[start:end], theirs[begin:until])
    )
    return Beside(names, tuple(lines))


def _signed(line: Line) -> list[str]:
    if not line.changed:
        return [f"  {line.left}".rstrip()]
    pairs = zip("-+", line, strict=True)
    return [f"{sign} {text}".rstrip() for sign, text in pairs if text is not None]


def _row(line: Line) -> str:
    sides = zip(line, ("del", "ins"), (Tone.bad, Tone.good), strict=True)
    return f"<tr>{''.join(_cell(*side) if line.changed else _cell(side[0]) for side in sides)}</tr>"


def _cell(text: str | None, tag: str = "", tone: Tone = Tone.plain) -> str:
    shown = html.escape(text or "")
    if tag and text is not None:
        colour, tint, _ = tone.value
        style = f"color:{colour};background-color:{tint};text-decoration:none"
        shown = f'<{tag} style="{style}">{shown or " "}</{tag}>'
    return f'<td style="{_CELL}">{shown}</td>'
