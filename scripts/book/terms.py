"""Mark the first use of each term on a page: what it means is shown on hover and on focus.

The terms and their meanings are those of docs/terms.md. A mark is an element that every reader of a
notebook keeps, JupyterLab's sanitizer included: a link that leads nowhere, for it lets no other
element of a text be reached by keyboard::

    <a class="labkit-term" tabindex="0" title="what it means">namespace</a>
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "terms.md"
ROW = re.compile(r"^\| (?!中文|:--)(.+?) \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
MARK = re.compile(r'<a class="labkit-term" tabindex="0" title="([^"]*)">(.*?)</a>')
# What is no prose: fences, headings, tables, code, links, tags, addresses. And what stands in
# emphasis: beside a tag, its asterisks would not open or close it any more.
APART = re.compile(
    r"^```.*?^```$|^#+ [^\n]*$|^\|[^\n]*$|`[^`\n]+`|!?\[[^\]]*\]\([^)]*\)|<[^>]+>|https?://\S+"
    r"|\*\*(?:(?!\n\n).)+?\*\*",
    re.MULTILINE | re.DOTALL,
)
# Here the word is not the term.
OTHERS = {"zh": ("镜像源", "镜像站"), "en": ("namespace map", "from the map", "map at the end")}


@dataclass(frozen=True)
class Term:
    """A row of docs/terms.md. names: in each language, one or more; avoided: in Chinese."""

    names: dict[str, tuple[str, ...]]
    avoided: str
    meanings: dict[str, str]

    @property
    def anchor(self) -> str:
        """The end of its entry's address."""
        return "term-" + re.sub(r"[^a-z\d]+", "-", self.names["en"][0].lower())


def terms(text: str = "") -> list[Term]:
    """The terms of docs/terms.md, or of a part of it."""
    rows = ROW.findall(text or PAGE.read_text(encoding="utf-8"))
    return [
        Term({"zh": (zh,), "en": tuple(en.split(", "))}, avoided, {"zh": chinese, "en": english})
        for zh, en, avoided, chinese, english in rows
    ]


@dataclass
class Marker:
    """Marks a page, given piece by piece: what it has marked once it does not mark again."""

    known: list[Term] = field(default_factory=terms)
    seen: set[tuple[str, str]] = field(default_factory=set)

    def mark(self, text: str, language: str) -> str:
        """Markdown in one language, "zh" or "en", with marks where a term is new."""
        names = {name.lower(): term for term in self.known for name in term.names[language]}
        pattern = finder(names, language)

        def one(found: re.Match[str]) -> str:
            term = names.get((found["term"] or "").lower())
            if term is None or (language, term.anchor) in self.seen:
                return found[0]
            self.seen.add((language, term.anchor))
            meaning = html.escape(term.meanings[language].replace("`", ""))
            return f'<a class="labkit-term" tabindex="0" title="{meaning}">{found[0]}</a>'

        return "".join(pattern.sub(one, part) if prose else part for prose, part in parts(text))


def finder(names: dict[str, Term], language: str) -> re.Pattern[str]:
    """What finds a name, the longest at its place, or a word that only looks like one."""
    longest = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    others = "|".join(OTHERS[language])
    if language == "zh":
        return re.compile(f"{others}|(?P<term>{longest})", re.IGNORECASE)
    plural = "(?:e?s)?"
    return re.compile(
        rf"(?<![\w-])(?:{others}|(?P<term>{longest}){plural})(?![\w-])", re.IGNORECASE
    )


def parts(text: str) -> Iterator[tuple[bool, str]]:
    """`text` in pieces: whether a piece is prose, and the piece."""
    end = 0
    for apart in APART.finditer(text):
        yield True, text[end : apart.start()]
        yield False, apart[0]
        end = apart.end()
    yield True, text[end:]


def unmarked(text: str) -> str:
    """`text` without its marks."""
    return MARK.sub(r"\2", text)
