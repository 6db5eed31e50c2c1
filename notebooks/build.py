"""Build the notebooks: Markdown in notebooks/source -> executed notebooks/*.ipynb.

A source is Jupytext Markdown: a ``python`` fence is a code cell, two blank lines part Markdown
cells, and ``<!-- #region -->`` ... ``<!-- #endregion -->`` holds one cell together (needed around a
fence that is to be read, not run). ``name="..."`` on either is the cell's id; other ids are a hash
of the cell's text, so a cell that nobody touched keeps its id when cells are added around it. The
first use of a term is marked here, with its meaning: a source has prose alone.

``tags=["evidence"]`` is a cell that proves, ``tags=["guess"]`` one that asks what will happen: the
notebook shows what they say and folds their source. ``{minutes}`` in prose becomes the time that
the lesson takes, estimated by its words and cells.

A saved output is kept while the new one differs only in what tests/sanitize.cfg calls a detail of
the machine (a PID, an inode): a rebuild elsewhere changes no file.

    python notebooks/build.py [--check] [SOURCE.md ...]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbval.plugin import get_sanitize_patterns

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "book"))
from terms import Marker  # noqa: E402 - what the book uses too

SOURCES = ROOT / "notebooks" / "source"
SANITIZE = ROOT / "tests" / "sanitize.cfg"

# Nothing of the machine: JupyterLab fills in the version of its Python when it opens the notebook.
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
CELL_SECONDS = 60
# Nobody's own progress and docker, both languages.
NEUTRAL = {"LABKIT_PROGRESS": "", "LABKIT_MYDOCKER": "", "LABKIT_LANG": ""}
WIDGET = "application/vnd.jupyter.widget-view+json"

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r'^<div lang="(zh-Hans|en)">\n\n(.*?)\n\n</div>$', re.MULTILINE | re.DOTALL)
CHINESE = re.compile(r"[\u4e00-\u9fff]")
ENGLISH = re.compile(r"[A-Za-z]")
WORD = re.compile(r"[A-Za-z][\w'-]*")
TAG = re.compile(r"<[^>]*>")  # the meaning of a term stands in one
FULL_WIDTH_END = "，。；：！？、」』》）】”’…—"  # a line of Chinese may end here
CONFLICT = re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE)  # as git marks what it could not merge
ITEM = re.compile(r"\s*([-*+] |\d+\. |[>|#])")  # what begins a line of its own in Markdown

FOLDED = {"evidence": "# 证据 · evidence", "guess": "# 猜一猜 · guess"}  # tag -> its first line
# How quickly somebody reads who thinks about it. A cell is run, read and played with.
CHINESE_A_MINUTE, ENGLISH_A_MINUTE = 250, 130  # characters, words
MINUTES_A_CELL, MINUTES_AN_EXERCISE, MINUTES_A_STEP, ROUNDED_TO = 1, 5, 15, 5

COLOUR = r"(?:\x1b\[[\d;]*m)*+"
FOREIGN_FRAME = re.compile(rf"{COLOUR}File {COLOUR}(?!labkit/)")  # of a traceback, by IPython


class RefusedError(Exception):
    """A source that may not become a notebook; the text says which cell and why."""


def parse(source: Path) -> NotebookNode:
    """The notebook of `source`, without outputs. Raises RefusedError when a cell breaks a rule."""
    notebook: NotebookNode = jupytext.reads(source.read_text(encoding="utf-8"), fmt="md")
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: set[str] = set()
    problems = []
    marker = Marker()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            problems += [f"{first_line(cell)}: {text}" for text in prose_problems(cell.source)]
            cell.source = joined(cell.source)
        else:
            problems += fold(cell)
        cell.id = cell_id(cell, seen)
    if problems:
        raise RefusedError("\n".join(problems))
    told = str(minutes(notebook))
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = explained(cell.source.replace("{minutes}", told), marker)
    return notebook


def fold(cell: NotebookNode) -> list[str]:
    """Hide the source of a cell whose tag says so. What is wrong, if its first line does not."""
    label = next((FOLDED[tag] for tag in cell.metadata.get("tags", []) if tag in FOLDED), None)
    if label is None:
        return []
    cell.metadata.jupyter = {"source_hidden": True}
    first = first_line(cell)
    return [] if first.startswith(label) else [f"a folded cell begins with {label!r}: {first!r}"]


def minutes(notebook: NotebookNode) -> int:
    """How long a reader of one language needs for a lesson, about."""
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    read = {"zh-Hans": 0, "en": 0}
    for language, text in BLOCK.findall(FENCE.sub("", prose)):
        bare = TAG.sub("", text)
        read[language] += len((CHINESE if language != "en" else WORD).findall(bare))
    chinese, english = read.values()
    spent = max(chinese / CHINESE_A_MINUTE, english / ENGLISH_A_MINUTE)
    spent += sum(map(minutes_of, code_cells(notebook)))
    return math.ceil(spent / ROUNDED_TO) * ROUNDED_TO


def minutes_of(cell: NotebookNode) -> float:
    """How long a cell takes. A folded one is read with what stands above it."""
    if cell.id == "exercise-mydocker":
        return MINUTES_A_STEP
    if cell.id.startswith("exercise-"):
        return MINUTES_AN_EXERCISE
    return 0 if "jupyter" in cell.metadata else MINUTES_A_CELL


def cell_id(cell: NotebookNode, seen: set[str]) -> str:
    """The cell's own name, or a hash of its text and of how many such cells came before."""
    name = cell.metadata.get("name")
    if name in seen:
        raise RefusedError(f"two cells are called {name!r}")
    text = f"{cell.cell_type}\n{cell.source}"
    hashes = (hashlib.sha256(f"{text}\n{n}".encode()).hexdigest()[:12] for n in range(1000))
    chosen = name or next(h for h in hashes if h not in seen)
    seen.add(chosen)
    return str(chosen)


def prose_problems(text: str) -> list[str]:
    """What is wrong with a Markdown cell: prose in one language only, Chinese broken mid-sentence.

    Prose stands in a ``<div lang="zh-Hans">`` and after it, saying the same, a ``<div lang="en">``,
    with blank lines inside so that Markdown in them is rendered. A heading has both on its line.
    """
    text = re.sub(r"<!--.*?-->", "", FENCE.sub("", text), flags=re.DOTALL)
    blocks = BLOCK.findall(text)
    problems = [
        f"outside a language block: {line!r}"
        for line in BLOCK.sub("", text).splitlines()
        if line.strip() and not bilingual_heading(line)
    ]
    if [language for language, _ in blocks] != ["zh-Hans", "en"] * (len(blocks) // 2):
        problems.append("each Chinese block is followed by its English one, and the reverse")
    for language, prose in blocks:
        wanted = CHINESE if language == "zh-Hans" else ENGLISH
        if not wanted.search(prose):
            problems.append(f"no {language} in a {language} block: {prose!r}")
        if language == "zh-Hans":
            problems += [f"Chinese broken after {line!r}" for line in broken_lines(prose)]
    return problems


def bilingual_heading(line: str) -> bool:
    """Whether `line` is a heading in both languages."""
    return line.startswith("#") and bool(CHINESE.search(line) and ENGLISH.search(line))


def goes_on(line: str, following: str) -> bool:
    """Whether Markdown takes `following` for more of the same paragraph."""
    return bool(line.strip() and following.strip() and not ITEM.match(following))


def broken_lines(prose: str) -> list[str]:
    """The lines of Chinese that end inside a sentence."""
    return [
        line
        for line, following in pairwise(prose.splitlines())
        if goes_on(line, following) and line.rstrip("*_ ")[-1] not in FULL_WIDTH_END
    ]


def joined(text: str) -> str:
    """`text` with each Chinese paragraph on one line: a line break would be shown as a space."""
    return BLOCK.sub(lambda block: _joined(block[0]) if block[1] == "zh-Hans" else block[0], text)


def _joined(block: str) -> str:
    lines = [""]
    for line in block.splitlines():
        if goes_on(lines[-1], line) and not lines[-1].startswith("<"):
            lines[-1] += line.lstrip()
        else:
            lines.append(line)
    return "\n".join(lines[1:])


def explained(text: str, marker: Marker) -> str:
    """`text` with what each new term in it means, in each language."""
    return BLOCK.sub(lambda block: marker.mark(block[0], block[1][:2]), text)


def execute(notebook: NotebookNode, directory: Path) -> None:
    """Run every cell in a fresh python3 kernel. Raises RefusedError for an unexpected failure."""
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=CELL_SECONDS,
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],  # not that loopback TCP is in plain text
        resources={"metadata": {"path": str(directory)}},
    )
    try:
        client.execute(env=os.environ | NEUTRAL)
    except CellExecutionError as error:
        raise RefusedError(str(error)) from None
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in code_cells(notebook):
        cell.outputs = without_root(without_views(cell.outputs))
        failed = any(output.output_type == "error" for output in cell.outputs)
        if "raises-exception" in cell.metadata.get("tags", []) and not failed:
            raise RefusedError(f"should have failed and did not: {first_line(cell)!r}")


def without_views(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """`outputs` without living widgets: only the kernel that made one can show it."""
    return [output for output in outputs if WIDGET not in output.get("data", {})]


def without_root(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """`outputs` with paths into this repository made relative: they differ between machines."""
    home = os.path.expanduser("~") + "/"
    text = json.dumps(outputs, ensure_ascii=False).replace(f"{ROOT}/", "")
    if str(ROOT).startswith(home):
        text = text.replace(f"~/{str(ROOT).removeprefix(home)}/", "")  # as IPython shortens it
    return [nbformat.from_dict(output) for output in json.loads(text)]


def keep_outputs(new: NotebookNode, old: NotebookNode) -> None:
    """Give cells of `new` the outputs that `old` saved, where both say the same of any machine."""
    patterns = get_sanitize_patterns(SANITIZE.read_text(encoding="utf-8"))
    saved = {cell.id: cell for cell in code_cells(old)}
    for cell in code_cells(new):
        before = saved.get(cell.id)
        if before is None or before.source != cell.source:
            continue
        if sanitized(before.outputs, patterns) == sanitized(cell.outputs, patterns):
            cell.outputs = before.outputs
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = cell.execution_count


def sanitized(value: object, patterns: list[tuple[str, str]]) -> object:
    """`value` with every text in it rewritten by `patterns`, and without execution counts.

    A traceback's frames in other people's code go too: they change with the version of Python.
    """
    if isinstance(value, str):
        for regex, replacement in patterns:
            value = re.sub(regex, replacement, value)
        return value
    if isinstance(value, list):
        return [sanitized(item, patterns) for item in value]
    if isinstance(value, dict):
        kept = {k: sanitized(v, patterns) for k, v in value.items() if k != "execution_count"}
        if "traceback" in value:
            kept["traceback"] = [f for f in value["traceback"] if not FOREIGN_FRAME.match(f)]
        return kept
    return value


def build(source: Path) -> bool:
    """Make the notebook of `source`, executed; True when the file changed. Raises RefusedError."""
    target = notebook_of(source)
    notebook = parse(source)
    execute(notebook, target.parent)
    before = target.read_text(encoding="utf-8") if target.exists() else ""
    if before:
        keep_outputs(notebook, nbformat.reads(before, as_version=4))
    nbformat.validate(notebook)
    text = str(nbformat.writes(notebook)) + "\n"
    if text != before:
        target.write_text(text, encoding="utf-8")
    if recorded_of(source).parent.is_dir():  # a lesson's, that is
        recorded_of(source).write_text(recording(notebook), encoding="utf-8")
    return text != before


def recording(notebook: NotebookNode) -> str:
    """The cells of `notebook` for machines that refuse them: without those that ask the learner."""
    cells = [
        {"id": cell.id, "source": cell.source, "outputs": cell.outputs}
        for cell in code_cells(notebook)
        if not cell.id.startswith(("language", "exercise"))
    ]
    return json.dumps(cells, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def check(source: Path) -> list[str]:
    """How the saved notebook differs from `source`, without running anything: empty when built."""
    target = notebook_of(source)
    if not target.exists():
        return [f"{target.name} is not built"]
    wanted, saved = parse(source), nbformat.read(target, as_version=4)
    problems = []
    if saved.metadata != METADATA:
        problems.append(f"{target.name}: metadata is not the builder's")
    if [plain(cell) for cell in wanted.cells] != [plain(cell) for cell in saved.cells]:
        problems.append(f"{target.name}: cells differ from source/{source.name}")
    file = recorded_of(source)
    if not file.exists() or file.read_text(encoding="utf-8") != recording(saved):
        problems.append(f"{file.name}: not the recording of {target.name}")
    counts = [cell.execution_count for cell in code_cells(saved)]
    if counts != list(range(1, len(counts) + 1)):
        problems.append(f"{target.name}: not executed from top to bottom")
    return problems


def plain(cell: NotebookNode) -> tuple[str, str, str, dict[str, Any]]:
    """What of a cell comes from its source."""
    return cell.id, cell.cell_type, cell.source, dict(cell.metadata)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells that run."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def first_line(cell: NotebookNode) -> str:
    """Enough of a cell to find it by."""
    return str(cell.source).split("\n", 1)[0]


def notebook_of(source: Path) -> Path:
    """Where the notebook of `source` lies: in the directory above it."""
    return source.resolve().parent.parent / f"{source.stem}.ipynb"


def recorded_of(source: Path) -> Path:
    """Where the recording of a notebook lies: in the package, beside the notebooks' folder."""
    levels = source.resolve().parents[2] / "labkit" / "notebook" / "levels"
    return levels / "recorded" / f"{source.stem}.json"


def conflicts(sources: list[Path]) -> list[str]:
    """What to say of files in which git has left the marks of a conflict.

    All recordings count: a cell's process reads every one of them, and would fail far from here.
    """
    recorded = {file for source in sources for file in recorded_of(source).parent.glob("*.json")}
    notebooks = {notebook_of(source) for source in sources}
    return [
        f"{file.name}: has git conflict markers; take either side (git checkout --theirs FILE), "
        "then build its notebook again"
        for file in sorted(recorded | {file for file in notebooks if file.exists()})
        if CONFLICT.search(file.read_text(encoding="utf-8"))
    ]


def main(arguments: list[str] | None = None) -> int:
    """Build, or with --check compare, the given sources (by default all); 1 when one is refused."""
    parser = argparse.ArgumentParser(description="notebooks/source/*.md -> notebooks/*.ipynb")
    parser.add_argument("--check", action="store_true", help="compare only, run nothing")
    parser.add_argument("sources", nargs="*", type=Path, metavar="SOURCE.md")
    options = parser.parse_args(arguments)
    sources = options.sources or sorted(SOURCES.glob("*.md"))
    failed = False
    if refusals := conflicts(sources):
        print(*refusals, sep="\n")
        return 1
    for source in sources:
        try:
            problems = check(source) if options.check else []
            state = "" if options.check else ("built" if build(source) else "unchanged")
        except RefusedError as refused:
            problems, state = [str(refused)], ""
        failed = failed or bool(problems)
        for text in filter(None, [*problems, state]):
            print(f"{source.stem}: {text}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
