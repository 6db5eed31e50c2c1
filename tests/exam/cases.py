"""The cases, read from `cases/*.txt`.

A case begins with its name. A line's first character says what it is::

    # name [mark]                    marks say how it is compared, or run: see Case
    = file text                      a file in the case's own folder, {tmp}
    + run -d --name one busybox ...  set-up
    $ stop one                       what is examined
    > ps -aq                         the effect: what another line says afterwards
    - rmi made                       clean-up; containers are removed by the examiner

Words are split as a shell does, but nothing else is a shell's: `<<< 'text'` is what the program
reads, with escapes as in Python, and `< file` is a file to read. A comment begins with `# ---`, or
stands in more than one word.
"""

import functools
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent / "cases"
MARCH_2013 = "march_2013"  # the family of Docker 0.1.0's own subjects
MARKS = {
    "tty": "it runs on a terminal, and what it reads is typed when it has said ready",
    "lines": "the order of the lines does not count",
    "head": "of standard output the first line counts",
    "numbers": "numbers do not count",
    "keys": "of JSON the keys count",
    "quiet": "only the exit status counts",
}
_NAME = re.compile(r"# ([\w-]+)(?: \[(\w+)\])?")


@dataclass(frozen=True)
class Line:
    """A command line: its words, and what it reads: text, or the path of a file."""

    words: tuple[str, ...]
    typed: str | None = None
    file: str | None = None


@dataclass
class Case:
    """Something that is examined. `mark` is one of MARKS, or empty."""

    family: str
    name: str
    mark: str = ""
    text: str = ""
    files: dict[str, str] = field(default_factory=dict)
    setup: list[Line] = field(default_factory=list)
    examined: Line = Line(())
    effects: list[Line] = field(default_factory=list)
    cleanup: list[Line] = field(default_factory=list)

    @property
    def key(self) -> str:
        """What the case is called in files."""
        return f"{self.family}/{self.name}"

    @property
    def verb(self) -> str:
        """The verb that is examined, two words for a verb of a group."""
        words = self.examined.words
        return " ".join(words[: 1 + (words[0] in GROUPS)])


GROUPS = ("container", "image", "network", "system", "volume")


@functools.cache
def cases() -> dict[str, Case]:
    """All of them, by key."""
    found = [case for path in sorted(FOLDER.glob("*.txt")) for case in _read(path)]
    assert len({case.key for case in found}) == len(found), "two cases of one name"
    return {case.key: case for case in found}


def _read(path: Path) -> list[Case]:
    found: list[Case] = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        if head := _NAME.fullmatch(text):
            found.append(Case(path.stem, head[1], head[2] or ""))
            assert found[-1].mark in ("", *MARKS), f"{path}:{number}: unknown mark"
        elif text and not text.startswith("# "):
            _add(found[-1], text[0], text[2:])
    assert all(case.examined.words for case in found), f"{path}: a case examines nothing"
    return found


def _add(case: Case, kind: str, text: str) -> None:
    if kind == "=":
        name, _, content = text.partition(" ")
        case.files[name] = _escaped(content)
    elif kind == "$":
        case.examined, case.text = _line(text), text
    else:
        {"+": case.setup, ">": case.effects, "-": case.cleanup}[kind].append(_line(text))


def _line(text: str) -> Line:
    words = shlex.split(text)
    if words[-2:-1] == ["<<<"]:
        return Line(tuple(words[:-2]), typed=_escaped(words[-1]))
    if words[-2:-1] == ["<"]:
        return Line(tuple(words[:-2]), file=words[-1])
    return Line(tuple(words))


def _escaped(text: str) -> str:
    return text.encode().decode("unicode_escape")
