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
from labkit.notebook.exercises import ex00, ex01, ex02, ex02b, ex03, ex04, ex05, progress
from labkit.notebook.exercises.card import Bar, Card, Tone

LESSONS = (ex00, ex01, ex02, ex02b, ex03, ex04, ex05)
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
        [sys.executable, "-c", f"from labkit.notebook.exercises import ex01\n{code}"],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    return done.stdout


# --- The file ----------------------------------------------------------------------------------


def test_another_notebook_sees_what_is_solved(file: Path) -> None:
    assert "0 of 4 done" in python("print(ex01)")
    assert not file.exists()
    ex01.killed.check(KILLED)
    assert json.loads(file.read_text()) == {"solved": ["ex01.killed"]}
    assert "1 of 4 done" in python("print(ex01)")
    python("ex01.argv.check(ex01.argv.answer())")
    assert ex01.bar() == Bar(2, 4)
    ex01.restart()
    assert "0 of 4 done" in python("print(ex01)")
    assert [path.name for path in file.parent.iterdir()] == ["progress.json"]


def test_a_wrong_answer_later_takes_nothing_away(file: Path) -> None:
    ex01.killed.check(KILLED)
    before = file.read_text()
    ex01.killed.check(Container(("true",)))
    ex01.killed.check(...)
    assert ex01.bar() == Bar(1, 4)
    assert file.read_text() == before


def test_beginning_afresh_touches_one_lesson_only(file: Path) -> None:
    ex01.killed.check(KILLED)
    ex00.kernels.check(1)
    ex01.restart()
    assert json.loads(file.read_text()) == {"solved": ["ex00.kernels"]}


def test_a_lesson_with_all_of_it_solved_is_celebrated() -> None:
    *most, last = ex01.exercises()
    for exercise in most:
        assert "every exercise" not in str(exercise.check(exercise.answer()))
    assert "every exercise" not in f"{ex01}{ex01._repr_html_()}"
    for told in (last.check(last.answer()), ex01):
        for text in (str(told), told._repr_html_()):
            assert "这一课的练习全部完成" in text
            assert "You have solved every exercise of this lesson" in text
    assert "every exercise" not in str(ex02)


def test_what_was_solved_under_an_older_name_counts(file: Path) -> None:
    file.parent.mkdir()
    file.write_text('{"solved": ["v01.killed", "v02b.options"]}')
    assert ex01.bar().done == ex02b.bar().done == 1
    ex01.argv.check(ex01.argv.answer())
    assert json.loads(file.read_text()) == {"solved": ["ex01.argv", "ex01.killed", "ex02b.options"]}


def test_the_first_guess_counts_and_stands_beside_what_is_solved(file: Path) -> None:
    assert progress.guessed() == {}
    progress.add_guess("v0.2/name", right=False)
    ex01.killed.check(KILLED)
    progress.add_guess("v0.2/name", right=True)
    progress.add_guess("v0.2/fork", right=True)
    ex01.restart()
    assert progress.guessed() == {"v0.2/name": False, "v0.2/fork": True}
    assert json.loads(file.read_text()) == {"solved": [], "guessed": progress.guessed()}
    assert python("from labkit.notebook.exercises import progress; print(progress.guessed())") == (
        f"{progress.guessed()}\n"
    )


def test_a_guess_is_remembered_where_nothing_can_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "_unsaved_guesses", {})
    monkeypatch.setenv("LABKIT_PROGRESS", "/proc/labkit/progress.json")
    progress.add_guess("v0.2/name", right=True)
    assert progress.guessed() == {"v0.2/name": True}


def test_two_at_once_lose_nothing(file: Path) -> None:
    code = (
        "from labkit.notebook.exercises import progress\n"
        "import sys\n"
        "for n in range(50): progress.add(f'{sys.argv[1]}.{n}')"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, who], cwd=ROOT) for who in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(json.loads(file.read_text())["solved"]) == 100


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"solved": 3}', '{"solved": [1, null]}', '{"solved": [], "guessed": 1}', "\0"],
)
def test_a_broken_file_counts_as_empty_and_is_mended(file: Path, content: str) -> None:
    file.parent.mkdir()
    file.write_text(content)
    assert ex01.bar() == Bar(0, 4)
    ex01.killed.check(KILLED)
    assert json.loads(file.read_text()) == {"solved": ["ex01.killed"]}


def test_where_nothing_can_be_written_it_is_remembered_in_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for path in ("/proc/labkit/progress.json", "/dev/null/progress.json", ""):
        monkeypatch.setenv("LABKIT_PROGRESS", path)
        ex01.restart()
        assert ex01.bar() == Bar(0, 4)
        ex01.killed.check(KILLED)
        assert ex01.bar() == Bar(1, 4)


def test_it_lies_where_such_files_belong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABKIT_PROGRESS")
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert progress.path() == "/somewhere/labkit/progress.json"
    monkeypatch.setenv("XDG_DATA_HOME", "not/absolute")
    assert progress.path() == os.path.expanduser("~/.local/share/labkit/progress.json")


# --- What is shown -----------------------------------------------------------------------------


def test_a_lesson_shows_a_bar() -> None:
    ex01.killed.check(KILLED)
    lines = str(ex01).splitlines()
    assert lines[0] == "v0.1  已完成 1/4 · 1 of 4 done  ■□□□"
    assert [line[2] for line in lines[1:]] == ["○", "✓", "○", "○"]
    assert repr(ex01) == str(ex01)
    page = Page(ex01._repr_html_())
    (bar,) = re.findall("<progress[^>]*>", ex01._repr_html_())
    assert 'max="4" value="1"' in bar
    named = [each.text for each in page.found if "label" in each.tags]
    assert "".join(named).strip() == "已完成 1/4 · 1 of 4 done"
    done = [each.text for each in page.found if "strong" in each.tags]
    assert "".join(done) == "✓ 已完成 · done"


def test_a_right_answer_shows_the_bar_and_the_reason() -> None:
    verdict = ex01.killed.check(KILLED)
    assert str(verdict).endswith("已完成 1/4 · 1 of 4 done  ■□□□")
    page = Page(verdict._repr_html_())
    folded = [each.text for each in page.found if "details" in each.tags]
    assert "".join(folded).startswith("为什么 · Why")
    assert ex01.killed.why.zh.replace("`", "") in "".join(folded)


def test_an_unanswered_card_says_nothing_of_progress_or_machine() -> None:
    before = [str(each.check()) for each in ex01.exercises()]
    ex01.killed.check(KILLED)
    assert [str(each.check()) for each in ex01.exercises()] == before
    assert "done" not in "".join(before)


def cards() -> list[Card]:
    found: list[Card] = []
    for lesson in LESSONS:
        for each in lesson.exercises():
            found += [each.check(), each.check(object()), each.hint(), each.hint(), each.solution()]
    return [*found, ex01.killed.check(KILLED), ex03.contain.check(ex03.contain.answer())]


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

    shown = ex00.parent.check(parent)._repr_html_()
    assert "<img" not in shown
    assert "&lt;img src=x&gt;" in shown


@pytest.mark.parametrize("tone", Tone)
def test_a_heading_is_legible(tone: Tone) -> None:
    colour, tint, _ = tone.value
    dark, light = sorted((luminance(colour), luminance(tint)))
    assert (light + 0.05) / (dark + 0.05) > 7


def test_one_language_is_spoken_if_asked() -> None:
    shown = python("print(ex01.argv.check(), ex01)", LABKIT_LANG="en")
    assert "Not attempted" in shown
    assert not re.search(r"[\u4e00-\u9fff]", shown)
    assert "Not attempted" not in python("print(ex01.argv.check())", LABKIT_LANG="zh_CN.UTF-8")


# --- Hints and solutions -----------------------------------------------------------------------


def said(card: Card) -> object:
    return card.parts[0]


def test_hints_go_from_vague_to_plain() -> None:
    vague, plain = ex01.killed.hints
    first, second = ex01.killed.hint(), ex01.killed.hint()
    assert (said(first), said(second)) == (vague, plain)
    assert "ex01.killed.solution()" not in str(first)
    assert "ex01.killed.solution()" in str(second)
    assert said(ex01.killed.hint()) == plain


def test_a_hint_fits_what_the_check_found() -> None:
    exercise = ex01.killed
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
    ex01.inode.hint()
    assert os.readlink("/proc/self/ns/uts") in str(ex01.inode.hint())


def test_a_solution_is_live_code_and_its_reason() -> None:
    card = ex03.contain.solution()
    assert card.parts[0] == source(ex03.contain.model)
    assert "mount(None" in str(card)
    assert ex03.contain.why.en in str(card)
    assert "answer" in str(ex01.killed.solution())
