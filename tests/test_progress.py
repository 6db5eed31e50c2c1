"""What is solved is remembered and shown; cards say the same as text and as HTML."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from test_show import Page, luminance

from labkit import Container, source
from labkit.notebook.exercises import progress, v00, v01, v02, v02b, v03, v04, v05
from labkit.notebook.exercises.card import Bar, Card, Tone

LESSONS = (v00, v01, v02, v02b, v03, v04, v05)
KILLED = Container(("sh", "-c", "kill -TERM $$"))


@pytest.fixture(autouse=True)
def afresh() -> None:
    for lesson in LESSONS:
        lesson.restart()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "new folder" / "progress.json"
    monkeypatch.setenv("LABKIT_PROGRESS", str(path))
    return path


def python(code: str, **environ: str) -> str:
    """What another notebook, so to speak, prints."""
    done = subprocess.run(
        [sys.executable, "-c", f"from labkit.notebook.exercises import v01\n{code}"],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    return done.stdout


# --- The file ----------------------------------------------------------------------------------


def test_another_notebook_sees_what_is_solved(file: Path) -> None:
    assert "0 of 4 done" in python("print(v01)")
    assert not file.exists()
    v01.killed.check(KILLED)
    assert json.loads(file.read_text()) == {"solved": ["v01.killed"]}
    assert "1 of 4 done" in python("print(v01)")
    python("v01.argv.check(v01.argv.answer())")
    assert v01.bar() == Bar(2, 4)
    v01.restart()
    assert "0 of 4 done" in python("print(v01)")
    assert [path.name for path in file.parent.iterdir()] == ["progress.json"]


def test_a_wrong_answer_later_takes_nothing_away(file: Path) -> None:
    v01.killed.check(KILLED)
    before = file.read_text()
    v01.killed.check(Container(("true",)))
    v01.killed.check(...)
    assert v01.bar() == Bar(1, 4)
    assert file.read_text() == before


def test_beginning_afresh_touches_one_lesson_only(file: Path) -> None:
    v01.killed.check(KILLED)
    v00.kernels.check(1)
    v01.restart()
    assert json.loads(file.read_text()) == {"solved": ["v00.kernels"]}


def test_two_at_once_lose_nothing(file: Path) -> None:
    code = (
        "from labkit.notebook.exercises import progress\n"
        "import sys\n"
        "for n in range(50): progress.add(f'{sys.argv[1]}.{n}')"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, who], cwd=ROOT) for who in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(json.loads(file.read_text())["solved"]) == 100


@pytest.mark.parametrize("content", ["", "{", "[]", '{"solved": 3}', '{"solved": [1, null]}', "\0"])
def test_a_broken_file_counts_as_empty_and_is_mended(file: Path, content: str) -> None:
    file.parent.mkdir()
    file.write_text(content)
    assert v01.bar() == Bar(0, 4)
    v01.killed.check(KILLED)
    assert json.loads(file.read_text()) == {"solved": ["v01.killed"]}


def test_where_nothing_can_be_written_it_is_remembered_in_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for path in ("/proc/labkit/progress.json", "/dev/null/progress.json", ""):
        monkeypatch.setenv("LABKIT_PROGRESS", path)
        v01.restart()
        assert v01.bar() == Bar(0, 4)
        v01.killed.check(KILLED)
        assert v01.bar() == Bar(1, 4)


def test_it_lies_where_such_files_belong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABKIT_PROGRESS")
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert progress.path() == "/somewhere/labkit/progress.json"
    monkeypatch.setenv("XDG_DATA_HOME", "not/absolute")
    assert progress.path() == os.path.expanduser("~/.local/share/labkit/progress.json")


# --- What is shown -----------------------------------------------------------------------------


def test_a_lesson_shows_a_bar() -> None:
    v01.killed.check(KILLED)
    lines = str(v01).splitlines()
    assert lines[0] == "v0.1  已完成 1/4 · 1 of 4 done  ■□□□"
    assert [line[2] for line in lines[1:]] == ["○", "✓", "○", "○"]
    assert repr(v01) == str(v01)
    page = Page(v01._repr_html_())
    (bar,) = re.findall("<progress[^>]*>", v01._repr_html_())
    assert 'max="4" value="1"' in bar
    named = [each.text for each in page.found if "label" in each.tags]
    assert "".join(named).strip() == "已完成 1/4 · 1 of 4 done"
    done = [each.text for each in page.found if "strong" in each.tags]
    assert "".join(done) == "✓ 已完成 · done"


def test_a_right_answer_shows_the_bar_and_the_reason() -> None:
    verdict = v01.killed.check(KILLED)
    assert str(verdict).endswith("已完成 1/4 · 1 of 4 done  ■□□□")
    page = Page(verdict._repr_html_())
    folded = [each.text for each in page.found if "details" in each.tags]
    assert "".join(folded).startswith("为什么 · Why")
    assert v01.killed.why.zh.replace("`", "") in "".join(folded)


def test_an_unanswered_card_says_nothing_of_progress_or_machine() -> None:
    before = [str(each.check()) for each in v01.exercises()]
    v01.killed.check(KILLED)
    assert [str(each.check()) for each in v01.exercises()] == before
    assert "done" not in "".join(before)


def cards() -> list[Card]:
    found: list[Card] = []
    for lesson in LESSONS:
        for each in lesson.exercises():
            found += [each.check(), each.check(object()), each.hint(), each.hint(), each.solution()]
    return [*found, v01.killed.check(KILLED), v03.contain.check(v03.contain.answer())]


def test_cards_say_the_same_twice_and_in_both_languages() -> None:
    for card in cards():
        page = Page(card._repr_html_())
        shown = [e.text for e in page.found if "details" not in e.tags]
        words = re.sub(r"[\s`]+", "", str(card))
        # The text has its code between backticks, and a bar of boxes, and nothing else besides.
        assert re.sub(r"[\s`]+", "", "".join(shown)) == re.sub("[■□]{2,}", "", words)
        for each in page.found:
            if "pre" in each.tags or "code" in each.tags:
                continue
            lang = "zh-Hans" if re.search(r"[\u4e00-\u9fff]", each.text) else "en"
            assert not re.search(r"\w", each.text) or each.lang == lang, each.text


def test_what_a_learner_wrote_cannot_bring_html_in() -> None:
    def parent(_: int) -> None:
        raise ValueError("<img src=x>")

    shown = v00.parent.check(parent)._repr_html_()
    assert "<img" not in shown
    assert "&lt;img src=x&gt;" in shown


@pytest.mark.parametrize("tone", Tone)
def test_a_heading_is_legible(tone: Tone) -> None:
    colour, tint, _ = tone.value
    dark, light = sorted((luminance(colour), luminance(tint)))
    assert (light + 0.05) / (dark + 0.05) > 7


def test_one_language_is_spoken_if_asked() -> None:
    shown = python("print(v01.argv.check(), v01)", LABKIT_LANG="en")
    assert "Not attempted" in shown
    assert not re.search(r"[\u4e00-\u9fff]", shown)
    assert "Not attempted" not in python("print(v01.argv.check())", LABKIT_LANG="zh_CN.UTF-8")


# --- Hints and solutions -----------------------------------------------------------------------


def said(card: Card) -> object:
    return card.parts[0]


def test_hints_go_from_vague_to_plain() -> None:
    vague, plain = v01.killed.hints
    first, second = v01.killed.hint(), v01.killed.hint()
    assert (said(first), said(second)) == (vague, plain)
    assert "v01.killed.solution()" not in str(first)
    assert "v01.killed.solution()" in str(second)
    assert said(v01.killed.hint()) == plain


def test_a_hint_fits_what_the_check_found() -> None:
    exercise = v01.killed
    vague, plain = exercise.hints
    exercise.check(Container(("sh", "-c", "exit 143")))
    assert [said(exercise.hint()) for _ in range(3)] == [
        vague,
        exercise.STATUS_143[1],
        plain,
    ]
    exercise.check(Container(("sh", "-c", "kill -KILL $$")))
    assert "`-TERM`" in str(said(exercise.hint()))
    exercise.check(KILLED)
    assert said(exercise.hint()) == plain


def test_a_hint_looks_at_the_machine() -> None:
    v01.inode.hint()
    assert os.readlink("/proc/self/ns/uts") in str(v01.inode.hint())


def test_a_solution_is_live_code_and_its_reason() -> None:
    card = v03.contain.solution()
    assert card.parts[0] == source(v03.contain.model)
    assert "mount(None" in str(card)
    assert v03.contain.why.en in str(card)
    assert "answer" in str(v01.killed.solution())
