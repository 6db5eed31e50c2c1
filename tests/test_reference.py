"""docs/kernel.md and docs/terms.md: whole, and what the code and the lessons go by."""

import inspect
import re
from pathlib import Path

import pytest
from conftest import ROOT
from test_docs import DOCS

from labkit import syscalls
from labkit.linux.named import IntEnum, IntFlag

TERMS = ROOT / "docs" / "terms.md"
CHINESE = re.compile(r"[\u4e00-\u9fff]")
MAN = re.compile(r"\[(\w+\(\d\))\]\(https://man7\.org/linux/man-pages/man(\d)/(\w+)\.\d\.html\)")


def rows(path: Path) -> list[list[str]]:
    """The cells of all tables of a page, without their headings."""
    lines = [line for line in path.read_text().splitlines() if line.startswith("|")]
    rulers = {at for at, line in enumerate(lines) if line.startswith("|:")}
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for at, line in enumerate(lines)
        if not {at, at + 1} & rulers
    ]


# --- kernel.md: code, (value,) 中文 / English, (flags,) man page, symbol, version --------------

KERNEL = {cells[0].strip("`"): cells for cells in rows(ROOT / "docs" / "kernel.md")}
KINDS = [
    kind
    for name, kind in inspect.getmembers(syscalls, inspect.isclass)
    if issubclass(kind, IntFlag | IntEnum) and not name.startswith("_")
]
FLAGS = {str(flag.name): flag for kind in KINDS for flag in kind}
CALLS = {
    f"{name}({', '.join(inspect.signature(function).parameters)})": function
    for name, function in inspect.getmembers(syscalls, inspect.isfunction)
}


def test_kernel_lists_each_call_and_each_flag_and_nothing_else() -> None:
    assert CALLS
    assert FLAGS
    assert set(KERNEL) == {*CALLS, *FLAGS}
    assert len(KERNEL) == len(rows(ROOT / "docs" / "kernel.md"))


@pytest.mark.parametrize("cells", KERNEL.values(), ids=KERNEL)
def test_each_row_is_whole(cells: list[str]) -> None:
    chinese, _, english = cells[2 if cells[0].strip("`") in FLAGS else 1].partition(" / ")
    page, section, file = man(cells)
    assert CHINESE.search(chinese)
    assert english
    assert not CHINESE.search(english)
    assert page == f"{file}({section})"
    assert re.fullmatch(r"(`\w+(\(\w+)?`(, )?)+ in `[a-z0-9/_]+\.c`", cells[4])
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?|—", cells[5])


def man(cells: list[str]) -> tuple[str, str, str]:
    found = MAN.fullmatch(cells[3])
    assert found, cells[3]
    return found[1], found[2], found[3]


@pytest.mark.parametrize("call", CALLS)
def test_a_call_is_documented_where_its_docstring_says(call: str) -> None:
    assert man(KERNEL[call])[0] in (CALLS[call].__doc__ or "")
    symbol = call.partition("(")[0].replace("umount2", "umount")
    if symbol in {"capbset_drop", "cap_ambient_raise"}:  # two operations of prctl
        symbol = "prctl"
    assert re.match(rf"`SYSCALL_DEFINE\d\({symbol}`", KERNEL[call][4])


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_has_its_value(name: str) -> None:
    assert KERNEL[name][1] == f"`{FLAGS[name].value:#x}`"


# --- terms.md: 中文, English, 不写作, 意思, Meaning ----------------------------------------------


def written() -> list[Path]:
    """Everything that a reader may see Chinese in, but for the list of terms itself."""
    code = [*(ROOT / "labkit").rglob("*.py"), *(ROOT / "scripts").glob("*"), ROOT / "Makefile"]
    return [path for path in (*DOCS, *code) if path.is_file() and path != TERMS]


def avoided() -> dict[str, str]:
    """The words that are not used, each with the one that is."""
    return {word: cells[0] for cells in rows(TERMS) for word in cells[2].split("、")}


@pytest.mark.parametrize("path", written(), ids=lambda p: str(p.relative_to(ROOT)))
def test_one_word_for_one_thing(path: Path) -> None:
    text = path.read_text()
    assert {word: right for word, right in avoided().items() if word in text} == {}


def test_the_terms_are_whole_and_each_stands_once() -> None:
    table = rows(TERMS)
    assert all(len(cells) == 5 and all(cells) for cells in table)
    for column in 0, 1:
        words = [cells[column] for cells in table]
        assert len(set(words)) == len(words)
    for chinese, english, _, meaning, explained in table:
        assert CHINESE.search(chinese)
        assert CHINESE.search(meaning)
        assert not CHINESE.search(english + explained)
    right = [cells[0] for cells in table]
    assert [(word, term) for word in avoided() for term in right if word in term] == []
