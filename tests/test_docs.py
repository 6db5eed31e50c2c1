"""The documents are true: commands run, code prints what they show, names and files are there."""

import ast
import fnmatch
import inspect
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import ROOT
from test_layers import is_sign, layout
from test_notebooks import build

import labkit

README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
DOCS = [*sorted(ROOT.glob("*.md")), *PAGES, *sorted((ROOT / "notebooks/source").glob("*.md"))]
BIN = Path(sys.executable).parent
FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HOSTED = (
    "https://",
    "../../actions/",
    "../../deployments/",
)  # beside the files, where it is hosted
SHOWN = re.compile(r"(?:(?!\n```).)*\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(
    r"(?:^|(?<=\s))(?:(?:labkit|docs|tests|notebooks|scripts|benchmarks|\.ci)/[\w./*-]*"
    r"|[A-Z][\w-]*\.md|Makefile|LICENSE|pyproject\.toml|requirements\.lock)(?=$|[ :,)])"
)

each_document = pytest.mark.parametrize("path", DOCS, ids=lambda p: str(p.relative_to(ROOT)))


class Fence(NamedTuple):
    """A block of code in a document, and the next block if it is text: what this one prints."""

    language: str
    body: str
    shown: str | None


def fences(text: str) -> list[Fence]:
    found = []
    for block in FENCED.finditer(text):
        shown = SHOWN.match(text, block.end())
        found.append(Fence(block[1], block[2], shown[1] if shown else None))
    return found


def spans(path: Path) -> list[str]:
    """What stands between single backticks, and the lines of shell."""
    text = path.read_text()
    shell = [f.body for f in fences(text) if f.language in {"", "sh", "console"}]
    inline = re.findall(r"`([^`\n]+)`", FENCED.sub("", text))
    return inline + [line for block in shell for line in block.splitlines()]


def different(language: str, *paths: Path) -> list[Fence]:
    """The blocks of one language, each once: both halves of a page show the same ones."""
    found = [f for path in paths for f in fences(path.read_text()) if f.language == language]
    return list(dict.fromkeys(found))


def sanitized(text: str) -> str:
    """`text` without what may differ between two machines."""
    patterns = build.get_sanitize_patterns(build.SANITIZE.read_text())
    return str(build.sanitized(text, patterns)).strip()


# --- Commands and code -------------------------------------------------------------------------


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@each_document
def test_make_targets_exist(path: Path) -> None:
    named = {target for span in spans(path) for target in re.findall(r"\bmake ([a-z-]+)", span)}
    assert named <= targets()


def verbs() -> set[str]:
    """The verbs of the command `labkit` that documents name."""
    lines = [span for path in DOCS for span in spans(path)]
    return {
        v
        for line in lines
        for v in re.findall(r"(?:^|[/ ])labkit (?!labkit )([a-z][a-z\d.]*)", line)
    }


@pytest.mark.parametrize("verb", sorted(verbs()))
def test_verbs_exist(verb: str) -> None:
    done = subprocess.run([BIN / "labkit", verb, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", different("python", README, *PAGES))
def test_python_prints_what_is_shown(block: Fence) -> None:
    command = [sys.executable, "-c", block.body]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    if block.shown is not None:
        assert sanitized(done.stdout) == sanitized(block.shown)


@pytest.mark.parametrize("block", different("console", README, *PAGES))
def test_shell_prints_what_is_shown(block: Fence) -> None:
    for part in block.body.removeprefix("$ ").split("\n$ "):
        line, _, shown = part.partition("\n")
        line = line.removeprefix("sudo ").replace(".venv/bin/", f"{BIN}/")
        done = subprocess.run(["sh", "-c", line], cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert sanitized(done.stdout) == sanitized(shown)


def test_readme_shows_pictures_that_are_there() -> None:
    pictures = re.findall(r'(?:src|srcset)="([^"]+)"', README.read_text())
    assert pictures
    assert [name for name in pictures if not (ROOT / name).is_file()] == []


# --- Two languages -----------------------------------------------------------------------------


def halves() -> list[str]:
    """README.md in Chinese and in English."""
    return README.read_text().partition("\n## 中文\n")[2].split("\n## English\n")


def test_readme_says_the_same_twice() -> None:
    chinese, english = halves()
    assert [f.body for f in fences(chinese)] == [f.body for f in fences(english)]
    outline = re.compile(r"^(?:#+ |\||- )", re.MULTILINE)
    assert outline.findall(FENCED.sub("", chinese)) == outline.findall(FENCED.sub("", english))
    assert set(re.findall(r"\]\((.*?)\)", chinese)) == set(re.findall(r"\]\((.*?)\)", english))


def test_readme_names_what_a_reader_needs() -> None:
    setup = (ROOT / "scripts" / "setup").read_text()
    packages = re.findall(r"\bneeds ([a-z][\w.-]+)", setup)
    assert packages
    commands = ["make lab", "make test", "make clean"]
    for half in halves():
        assert [p for p in (*packages, "python3.x-venv") if f"`{p}`" not in half] == []
        assert [command for command in commands if command not in half] == []


@each_document
def test_chinese_lines_end_in_punctuation(path: Path) -> None:
    """A line break elsewhere is shown as a space in the middle of a sentence."""
    prose = FENCED.sub("", path.read_text()).split("\n\n")
    chinese = [p for p in prose if len(re.findall(r"[\u4e00-\u9fff]", p)) > len(p) / 4]
    assert [line for paragraph in chinese for line in build.broken_lines(paragraph)] == []


def test_changelog_has_this_version_in_both_languages() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    _, unreleased, *released = (ROOT / "CHANGELOG.md").read_text().split("\n## ")
    assert unreleased.startswith("[Unreleased]")
    assert released[0].startswith(f"[{version}]")
    assert all(re.search(r"[\u4e00-\u9fff].*\n\n### ", part) for part in released)


def test_the_distribution_is_not_named_like_somebody_elses() -> None:
    """On the index labkit is another project's. Package and command are labkit all the same."""
    name = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"]
    assert name != "labkit"
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("labkit")
    done = subprocess.run([BIN / "labkit", "unshare", "-V"], capture_output=True, text=True)
    assert done.stdout == f"labkit unshare {metadata.version(name)}\n"
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.search(rf"^({name}|labkit)\b", lock, re.MULTILINE)


# --- Links, names, files -----------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_document
def test_relative_links_resolve(path: Path) -> None:
    # A source's links are followed from the notebook made of it.
    folder = path.parent.parent if path.parent.name == "source" else path.parent
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", path.read_text())):
        file, _, anchor = link.partition("#")
        if file.startswith(HOSTED):
            continue
        target = folder / file if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def names(node: ast.AST, prefix: str = "") -> Iterator[str]:
    """What a module defines: functions, classes, variables, and what stands in the classes."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield prefix + name
            case ast.ClassDef(name=name):
                yield prefix + name
                yield from names(child, f"{prefix}{name}.")
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield prefix + name


NAMED = re.compile(r"(labkit/[\w/]+\.py):([A-Za-z_][\w.]*\w)")


def assert_named_code_exists(text: str) -> None:
    for file, name in NAMED.findall(text):
        assert name in set(names(ast.parse((ROOT / file).read_text()))), f"{file}:{name}"


@each_document
def test_named_code_exists(path: Path) -> None:
    assert_named_code_exists(path.read_text())


def table(heading: str) -> list[list[str]]:
    """The rows of the table under a heading of docs/design.md, without its head."""
    part = (ROOT / "docs" / "design.md").read_text().partition(f"\n## {heading}\n")[2]
    part = part.partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in part.splitlines() if line.startswith("|")]
    return rows[2:]


def test_where_is_says_where_it_is() -> None:
    """A reader who looks for a fact of the kernel opens one file."""
    rows = table("Where is ...?")
    assert len(rows) >= 25
    assert [row for row in rows if len(row) != 2 or not NAMED.search(row[1])] == []
    questions = [row[0] for row in rows]
    assert len(questions) == len(set(questions))


def test_the_design_is_read_in_ten_minutes() -> None:
    """At 230 words a minute, without what is there to look things up; details are in the rooms."""
    text = (ROOT / "docs" / "design.md").read_text()
    assert "takes ten minutes" in text
    without = re.sub(r"(?ms)^```.*?^```$|^\|.*?$", "", text)
    read = re.findall(r"[A-Za-z][\w'’-]*|[一-龥]{2}", re.sub(r"`[^`\n]+`", "name", without))
    assert 1000 < len(read) < 10 * 230


ROOMS = sorted((ROOT / "labkit").rglob("__init__.py"))


@pytest.mark.parametrize("path", ROOMS, ids=lambda p: p.parent.name)
def test_a_room_names_files_that_are_there(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert_named_code_exists(text)
    named = re.findall(r"`([\w./-]+\.(?:py|txt))`", text)
    places = (path.parent, ROOT / "labkit", ROOT)
    assert [file for file in named if not any((place / file).is_file() for place in places)] == []


@each_document
def test_no_file_is_named_that_is_missing(path: Path) -> None:
    named = {file for span in spans(path) for file in FILE.findall(span)}
    assert [file for file in named if not list(ROOT.glob(file.rstrip("/.")))] == []


def listing(directory: str) -> set[str]:
    """What is in a directory of the project, but for what .gitignore leaves out."""
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    # A line that begins with a slash is about the project's own folder alone.
    lines = [
        line for line in ignored if line and line[0] != "#" and (line[0] != "/" or not directory)
    ]
    patterns = [".git", *(line.strip("/") for line in lines)]
    return {
        f"{directory}{entry.name}" + "/" * entry.is_dir()
        for entry in os.scandir(ROOT / directory)
        if not any(fnmatch.fnmatch(entry.name, pattern) for pattern in patterns)
    }


def test_the_layout_is_the_tree() -> None:
    """A directory of which anything is listed is listed in full, but for built notebooks.

    Nor is a room's own __init__.py listed, which only says what the room is about.
    """
    listed = {entry.path for entry in layout()}
    parents = {path.rstrip("/").rpartition("/")[0] for path in listed}
    there = set().union(*(listing(f"{parent}/" if parent else "") for parent in parents))
    assert {p for p in there if not p.endswith(".ipynb") and not is_sign(p)} == listed


@pytest.mark.parametrize("name", labkit.__all__)
def test_every_public_name_has_a_docstring(name: str) -> None:
    assert inspect.getdoc(getattr(labkit, name))
