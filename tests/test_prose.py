"""English prose is plain and modern: no words that a reader of manuals never meets."""

import re
from pathlib import Path

import pytest
from conftest import ROOT

# Each is wrong wherever it stands, in code's comments and docstrings too.
ARCHAIC = (
    "albeit",
    "elder",
    "goes without saying",
    "hither",
    "lest",
    "not to be had",
    "naught",
    "nought",
    "of old",
    "thence",
    "thereby",
    "therein",
    "thereof",
    "thither",
    "unto",
    "what else",
    "whence",
    "whereby",
    "wherein",
    "whither",
    "who wants to",
    "yonder",
)
# Riddles to a learner, who is told what happens and to whom.
RIDDLES = ("afresh", "anew", "hence", "is bound to", "till", "whatever", "whoever", "whomever")

LEARNERS = [
    *sorted((ROOT / "notebooks" / "source").glob("*.md")),
    *(path for path in sorted((ROOT / "docs").glob("*.md")) if path.name != "source-notes.md"),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "labkit" / "notebook" / "exercises").glob("v[0-9]*.py")),
    *sorted((ROOT / "labkit" / "notebook" / "mydocker").rglob("*.py")),
    ROOT / "labkit" / "linux" / "glossary.py",
]
OURS = [
    *LEARNERS,
    *sorted((ROOT / "labkit").rglob("*.py")),
    *sorted((ROOT / "labkit" / "notebook" / "static").glob("*.js")),
]


def found(text: str, words: tuple[str, ...]) -> list[str]:
    """The words among `words` that stand in `text`, wherever its lines break."""
    pattern = "|".join(re.escape(word).replace(r"\ ", r"\s+(?:# )?") for word in words)
    return re.findall(rf"(?<![\w-])(?:{pattern})(?![\w-])", text, re.IGNORECASE)


@pytest.mark.parametrize("path", dict.fromkeys(OURS), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_archaic_word(path: Path) -> None:
    assert found(path.read_text(encoding="utf-8"), ARCHAIC) == []


@pytest.mark.parametrize("path", LEARNERS, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_riddle_for_a_learner(path: Path) -> None:
    assert found(path.read_text(encoding="utf-8"), RIDDLES) == []


def test_words_are_found_across_lines_and_not_within_words() -> None:
    """The other tests can fail."""
    assert found("Who\n    wants to, and\n# what\n# else; the Elder", ARCHAIC) == [
        "Who\n    wants to",
        "what\n# else",
        "Elder",
    ]
    assert found("placeholder, whenever, threefold, still, at least", ARCHAIC + RIDDLES) == []
