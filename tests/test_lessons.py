"""The form of a lesson: its head and end, what it asks, how much of a cell there is to read."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import until
from nbformat import NotebookNode
from test_notebooks import SOURCES, build, saved, small, tags

from labkit import Container, start
from labkit.notebook.lessons import v00, v10

MOST_LINES = 15  # of a code cell, that a reader sees
# Longer, with the reason.
LONGER = {
    "v0.0_why/layers": "two containers' layers are made, changed and looked at in one process",
    "v0.9_network/exercise-silent": "somebody's script, which is to be mended line by line",
}
HEAD = {
    "zh-Hans": ("**目标**：", "**基础**：", "**时间**：约 "),
    "en": ("**Aims.**", "**Builds on.**", "**Time.** About "),
}
END = {
    "zh-Hans": ("**你现在会**：", "<details><summary>", "课"),
    "en": ("**You can now** ", "<details><summary>", "ext"),
}
SENTENCE = {"zh-Hans": r"。", "en": r"[.](?=\s|$)"}

each_lesson = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)


def code(source: Path) -> list[NotebookNode]:
    cells: list[NotebookNode] = build.code_cells(saved(source))
    return cells


def said(source: Path, cell: str) -> dict[str, str]:
    """What a cell of prose says in each language, without the marks of terms."""
    (found,) = (each.source for each in saved(source).cells if each.id == cell)
    return {
        language: re.sub(r"</?a\b[^>]*>", "", text) for language, text in build.BLOCK.findall(found)
    }


# --- Head and end ------------------------------------------------------------------------------


@each_lesson
def test_a_lesson_begins_with_aims_what_it_builds_on_and_minutes(source: Path) -> None:
    ids = [cell.id for cell in saved(source).cells]
    assert ids.index("begin") == ids.index("language") + 1
    minutes = build.minutes(build.parse(source))
    assert minutes % 5 == 0
    for language, text in said(source, "begin").items():
        assert [part for part in HEAD[language] if part not in text] == []
        assert re.search(rf"(约|About) {minutes} (分钟|minutes)", text)


@each_lesson
def test_a_lesson_ends_with_three_sentences_and_where_to_go(source: Path) -> None:
    cells = saved(source).cells
    assert cells[-1].id == "end"
    assert cells[-1].source.startswith("## 小结 · Recap\n")
    lessons = [each.stem for each in SOURCES]
    for language, text in said(source, "end").items():
        recap = text.split("\n\n")[0].replace("\n", " ")
        assert len(re.findall(SENTENCE[language], re.sub(r"V\d\.\d", "", recap))) == 3, recap
        assert [part for part in END[language] if part not in text] == []
        linked = set(re.findall(r"\]\((v\d[\w.]+)\.ipynb\)", text))
        at = lessons.index(source.stem)
        assert linked & set(lessons[:at]) or at == 0, "the one before"
        assert linked & set(lessons[at + 1 :]) or at == len(lessons) - 1, "the one after"


@each_lesson
def test_open_questions_have_answers_at_the_end(source: Path) -> None:
    """As many as there are in "Your turn"; V0.1 and V0.2 ask two in running text."""
    text = "\n".join(cell.source for cell in saved(source).cells)
    turn = text.partition("## 自己动手")[2].partition("```")[0].partition("### ")[0]
    turn = turn.partition("## 小结")[0]
    asked = len(re.findall(r"^\d\. ", turn.partition('<div lang="en">')[0], re.MULTILINE)) or 2
    for text in said(source, "end").values():
        answers = text.partition("<details>")[2].partition("</details>")[0]
        assert len(re.findall(r"^(?:\d\.|-) ", answers, re.MULTILINE)) == asked


@each_lesson
def test_a_lesson_links_to_its_passage_of_the_notes(source: Path) -> None:
    text = "\n".join(c.source for c in saved(source).cells if c.cell_type == "markdown")
    for language in ("zh-Hans", "en"):
        prose = "\n".join(block for kind, block in build.BLOCK.findall(text) if kind == language)
        assert "](../docs/source-notes.md#" in prose


# --- Cells -------------------------------------------------------------------------------------


def lines(cell: NotebookNode) -> int:
    return sum(bool(line.strip()) for line in cell.source.splitlines())


@each_lesson
def test_a_cell_shows_a_dozen_lines_or_says_why_not(source: Path) -> None:
    seen = [cell for cell in code(source) if "jupyter" not in cell.metadata]
    long = {f"{source.stem}/{cell.id}" for cell in seen if lines(cell) > MOST_LINES}
    assert long == {name for name in LONGER if name.startswith(f"{source.stem}/")}


@each_lesson
def test_no_cell_ends_in_a_bare_assertion(source: Path) -> None:
    """It would tell the learner nothing: expect() says what was expected, and what was found."""
    bare = re.compile(r"^\s*assert\b", re.MULTILINE)
    assert [cell.id for cell in code(source) if bare.search(cell.source)] == []


@each_lesson
def test_one_line_imports_what_a_lesson_uses(source: Path) -> None:
    """Exercises fetch their own; a program of %%child is a program of its own."""
    cells = [
        cell
        for cell in code(source)
        if cell.id != "language"
        and not cell.id.startswith("exercise")
        and not cell.source.startswith("%%child")
    ]
    text = "\n".join(cell.source for cell in cells)
    found = re.findall(r"^(?:import|from) .*$", text, re.MULTILINE)
    number = source.stem.split("_")[0].replace(".", "")
    assert found == [f"from labkit.notebook.lessons.{number} import *"]


@each_lesson
def test_two_guesses_at_least_and_each_is_answered_once(source: Path) -> None:
    asking = [cell for cell in code(source) if "guess" in tags(cell)]
    assert len(asking) >= 2
    names = []
    for cell in asking:
        variable = re.search(r"^(\w+) = guess\(\n    \"([\w./]+)\"", cell.source, re.MULTILINE)
        assert variable, cell.source
        names.append(variable[2])
        answers = [c.id for c in code(source) if f"{variable[1]}.answer(" in c.source]
        assert len(answers) == 1, variable[1]
    assert len(set(names)) == len(names)
    assert {name.split("/")[0] for name in names} == {source.stem.split("_")[0]}


@each_lesson
def test_a_saved_notebook_has_the_question_and_the_answer_of_the_kernel(source: Path) -> None:
    shown = [o.data.get("text/plain", "") for c in code(source) for o in c.outputs if "data" in o]
    asked = [text for text in shown if text.startswith("先猜一猜 · Guess first")]
    told = [text for text in shown if text.startswith("内核的回答 · The kernel's answer")]
    assert len(asked) == len(told) == sum("guess" in tags(cell) for cell in code(source))


# --- The builder -------------------------------------------------------------------------------


def test_a_folded_cell_says_what_it_is(tmp_path: Path) -> None:
    source = small(tmp_path, '```python tags=["evidence"]\n# 证据 · evidence\n1 + 1\n```\n')
    (cell,) = build.parse(source).cells
    assert cell.metadata.jupyter == {"source_hidden": True}
    source.write_text('```python tags=["evidence"]\n1 + 1\n```\n')
    with pytest.raises(build.RefusedError, match="a folded cell begins with"):
        build.parse(source)


def test_minutes_come_from_words_and_cells() -> None:
    prose = '<div lang="zh-Hans">\n\n{}\n\n</div>\n\n<div lang="en">\n\n{}\n\n</div>'

    def minutes(zh: int, en: int, *ids: str, folded: int = 0) -> int:
        text = nbformat.v4.new_markdown_cell(prose.format("字" * zh, "word " * en))
        cells = [nbformat.v4.new_code_cell("1", id=name) for name in ids]
        cells += [
            nbformat.v4.new_code_cell("1", metadata={"jupyter": {"source_hidden": True}})
            for _ in range(folded)
        ]
        return int(build.minutes(nbformat.v4.new_notebook(cells=[text, *cells])))

    assert minutes(2500, 0) == 10
    assert minutes(0, 1300) == 10
    assert minutes(2500, 1300) == 10  # a reader reads one of them
    assert minutes(1, 1, "a", "b", "c", "d", folded=9) == 5
    assert minutes(0, 0, "exercise-name", "exercise-mydocker") == 20


# --- What a lesson leaves ------------------------------------------------------------------------

FOLDER = """
import sys
from labkit.notebook.lessons import v06
print(v06.a_folder({"file": "text"}), flush=True)
if sys.argv[1] == "stay":
    sys.stdin.read()
"""


def test_the_folder_of_a_killed_notebook_goes_with_the_next(tmp_path: Path) -> None:
    """That of a living one stays, and one that ends removes its own."""

    def begin(word: str) -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", FOLDER, word],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": str(tmp_path)},
        )
        assert process.stdout
        return process, Path(process.stdout.readline().strip())

    (killed, left), (living, kept) = begin("stay"), begin("stay")
    killed.kill()
    killed.communicate()
    for folder in (left, kept):
        assert (folder / "file").read_text() == "text"
        os.utime(folder, (0, 0))  # as if it had been made long ago
    ended, gone = begin("end")
    ended.communicate()
    assert sorted(tmp_path.iterdir()) == [kept]
    living.communicate("")
    assert list(tmp_path.iterdir()) == []
    assert not gone.exists()


def test_memory_is_that_of_the_program_named() -> None:
    """V0.0 asks what changes when it is Python that sleeps."""
    box, python = Container(("true",)), (sys.executable, "-c", "import time; time.sleep(1000)")
    until(lambda: v00.memory(box, argv=python).rss > 2 * v00.memory(box).rss)


def test_a_container_that_does_not_begin_is_the_cells_error_and_nobody_waits(
    tmp_path: Path,
) -> None:
    """What the machine refuses has a recording; to wait for the container took two minutes."""
    env = os.environ | {"LABKIT_STATE": str(tmp_path)}
    with (
        start(Container(("sleep", "infinity"), env=env)) as pc,
        pytest.raises(PermissionError, match="unknown flag: --nowhere"),
    ):
        v10.in_background(pc, "web", "--nowhere", "sleep 1000")


def test_a_computer_leaves_no_control_group_when_its_notebook_ends() -> None:
    typed = (
        "from labkit.notebook.lessons.v10 import computer, said",
        "pc = computer()",
        "said(pc, 'labkit run -d --name on --cgroupns host busybox sleep 1000')",
        "print(said(pc, 'labkit exec on cat /proc/self/cgroup'))",
    )
    words = [sys.executable, "-c", "\n".join(typed)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    groups = {*re.findall(r"labkit-box-\w+", done.stdout)}
    assert groups
    left = [path for path, _, _ in os.walk("/sys/fs/cgroup") if groups & {*path.split("/")}]
    assert not left


def test_two_bundles_of_the_same_name_share_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two notebooks at once: one would remove the group into which the other one goes."""
    made: list[str] = []
    monkeypatch.setattr(v10, "said", lambda _pc, _line, text: made.append(text))
    with start(Container(("sleep", "infinity"))) as pc:
        assert v10.bundle(pc, "ps") == v10.bundle(pc, "ps")
    first, second = (json.loads(text)["linux"]["cgroupsPath"] for text in made)
    assert first != second


ROOM = """
import os, sys
from labkit.notebook.lessons import v07
v07.takes_upper = lambda path: path in sys.argv[1:]
store = v07.a_store()
print(os.path.dirname(store.path), os.path.dirname(os.path.dirname(v07.a_space()[0])))
print(*(name.familiar for image in store.images() for name in image.names))
"""


@pytest.mark.parametrize("volume", [True, False])
def test_layers_are_kept_where_an_overlay_takes_them(tmp_path: Path, *, volume: bool) -> None:
    """The lab may be in a container, whose root is an overlay; perhaps a volume is in it."""
    state = tmp_path / "lib"
    state.mkdir()
    takes = [str(state)] * volume + ["/dev/shm"]
    command = [sys.executable, "-c", ROOM, *takes]
    env = os.environ | {"LABKIT_STATE": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [takes[0], takes[0], "busybox:latest"]
    assert not [*state.iterdir()]  # it goes when the notebook's process ends
