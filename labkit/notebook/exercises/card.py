"""How an exercise speaks: a card in two languages, as text and as HTML that says the same.

A card shows nothing of the machine but what its words say, so that a saved one compares. Colours
are text on a tint of its own (contrast above 7:1), legible in a light theme and in a dark one; the
words say it as well.
"""

import enum
import html
from dataclasses import dataclass

from labkit.notebook.views.show import Source
from labkit.text.words import Words


class Tone(enum.Enum):
    """The colours of a card: its heading's text, the tint behind that, the line at its edge."""

    good = ("#0b3d14", "#c8e6c9", "#43a047")
    bad = ("#5c0a0a", "#ffcdd2", "#e53935")
    plain = ("#1a1a1a", "#e0e0e0", "#8a8a8a")
    warning = ("#4a2c00", "#ffe0b2", "#fb8c00")
    advice = ("#0d2a52", "#bbdefb", "#1e88e5")


@dataclass(frozen=True)
class Bar:
    """How many exercises of a lesson are solved."""

    done: int
    total: int

    @property
    def words(self) -> Words:
        """The same in words."""
        return Words(f"已完成 {self.done}/{self.total}", f"{self.done} of {self.total} done")

    @property
    def full(self) -> bool:
        """Whether all are solved."""
        return self.done == self.total

    def __str__(self) -> str:
        boxes = "■" * self.done + "□" * (self.total - self.done)
        return f"{self.words.joined(' · ')}  {boxes}"

    def html(self) -> str:
        """A bar whose label is its name for a screen reader too."""
        bar = f'<progress style="accent-color:#2e7d32" max="{self.total}" value="{self.done}">'
        return f"<p><label>{self.words.html(' · ')} {bar}</progress></label></p>"


@dataclass(frozen=True)
class Folded:
    """Words that a click opens: what the reader has seen before."""

    heading: Words
    words: Words

    def html(self) -> str:
        """As HTML's own element for it."""
        head = f"<summary>{self.heading.html(' · ')}</summary>"
        return f'<details style="margin:10px 0">{head}{_prose(self.words)}</details>'


@dataclass(frozen=True)
class Aside:
    """Few words that stand in one line."""

    words: Words

    def __str__(self) -> str:
        return self.words.joined(" · ")

    def html(self) -> str:
        """Both languages in one paragraph."""
        return f"<p>{self.words.html(' · ')}</p>"


@dataclass(frozen=True)
class Rows:
    """A list, each row with a mark before its words: ✓ for what is done, ✗, or ○."""

    rows: tuple[tuple[str, Words], ...]

    def __str__(self) -> str:
        return "\n".join(f"  {mark}  {words.joined(' · ')}" for mark, words in self.rows)

    def html(self) -> str:
        """The same, as a list."""
        rows = "".join(f"<li>{mark} {words.html(' · ')}</li>" for mark, words in self.rows)
        return f'<ul style="list-style:none;padding:0;margin:10px 0">{rows}</ul>'


Part = Words | Source | Bar | Folded | Aside | Rows | str
"""Of a card: prose, live code, a bar, something folded, an aside, a list, or lines as they are."""


@dataclass(frozen=True, repr=False)
class Card:
    """What an exercise answers. name: of the exercise, such as ``ex01.argv``, or nothing."""

    tone: Tone
    heading: Words
    name: str
    parts: tuple[Part, ...]

    def __str__(self) -> str:
        head = f"{self.heading.joined(' · ')}    {self.name}".rstrip()
        return "\n".join([head, *(_plain(part) for part in self.parts if _seen(part))])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        colour, tint, edge = self.tone.value
        badge = f"color:{colour};background-color:{tint};padding:2px 8px;border-radius:3px"
        head = f'<strong style="{badge}">{self.heading.html(" · ")}</strong>'
        name = f" <code>{html.escape(self.name)}</code>" if self.name else ""
        parts = "".join(_html(part) for part in self.parts if part)
        return (
            f'<div style="border-left:4px solid {edge};padding:1px 14px;margin:6px 0">'
            f"<p>{head}{name}</p>{parts}</div>"
        )


def _seen(part: Part) -> bool:
    return bool(part) and not isinstance(part, Folded)


def _plain(part: Part) -> str:
    if isinstance(part, Words):
        return part.joined("\n")
    if isinstance(part, Bar | Aside | Rows):
        return str(part)
    return "\n".join(f"    {line}".rstrip() for line in str(part).splitlines())


def _html(part: Part) -> str:
    if isinstance(part, Words):
        return _prose(part)
    if isinstance(part, Bar | Folded | Aside | Rows):
        return part.html()
    if isinstance(part, Source):
        code = part._repr_html_()
        return f'<div style="margin:10px 0">{code}</div>'
    return f'<pre style="margin:10px 0">{html.escape(part)}</pre>'


def _prose(words: Words) -> str:
    return words.html("", "p")
