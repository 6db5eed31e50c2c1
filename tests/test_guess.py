"""guess() and expect(): the kernel's answer decides, and what it says is said in both languages."""

import json
from pathlib import Path

import pytest

from labkit.notebook.exercises import progress
from labkit.notebook.exercises.guess import Guess, guess
from labkit.notebook.views.evidence import NotAsExpectedError, expect


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "progress.json"
    monkeypatch.setenv("LABKIT_PROGRESS", str(path))
    return path


@pytest.fixture
def asked() -> Guess:
    return guess(
        "v0.2/name",
        ("主机名会变吗？", "Does the `host` change?"),
        {
            False: ("不会", "No.", "各有一份", "There are two."),
            True: ("会", "Yes.", "那是 V0.1", "That is V0.1."),
        },
    )


def click(asked: Guess, number: object) -> None:
    """What the page sends."""
    asked._handle_custom_msg({"guess": number}, [])


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_the_kernels_answer_says_who_was_right(
    asked: Guess, capsys: pytest.CaptureFixture[str]
) -> None:
    click(asked, 0)
    asked.answer(1 + 1 == 3)
    shown = told(capsys)
    assert "你猜对了 · You guessed right" in shown
    assert "不会 · No." in shown
    assert "There are two." in shown
    assert progress.guessed() == {"v0.2/name": True}


def test_a_wrong_idea_is_explained_beside_the_right_one(
    asked: Guess, capsys: pytest.CaptureFixture[str]
) -> None:
    click(asked, 1)
    asked.answer(False)
    shown = told(capsys)
    assert "和你猜的不同 · Not as you guessed" in shown
    assert shown.index("That is V0.1.") < shown.index("There are two.")
    assert progress.guessed() == {"v0.2/name": False}
    assert (asked.chosen, asked.right, asked.over) == (1, 0, True)


def test_the_answer_is_not_stored(asked: Guess, capsys: pytest.CaptureFixture[str]) -> None:
    """A kernel that says otherwise makes the other guess right."""
    click(asked, 1)
    asked.answer(True)
    assert "You guessed right" in told(capsys)


def test_without_a_guess_nothing_waits_and_nothing_counts(
    asked: Guess, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked.answer(False)
    assert "内核的回答 · The kernel's answer" in told(capsys)
    assert not file.exists()


@pytest.mark.parametrize("number", [2, -1, "0", None, 0.5])
def test_what_is_no_option_is_no_guess(asked: Guess, number: object) -> None:
    click(asked, number)
    assert asked.chosen == -1


def test_a_guess_is_locked(asked: Guess, capsys: pytest.CaptureFixture[str]) -> None:
    click(asked, 1)
    click(asked, 0)
    assert asked.chosen == 1
    asked.answer(False)
    asked.answer(True)  # the cell is run again, changed
    assert progress.guessed() == {"v0.2/name": False}
    told(capsys)


def test_nobody_guesses_after_the_answer(asked: Guess, file: Path) -> None:
    asked.answer(False)
    click(asked, 0)
    asked.answer(False)
    assert asked.chosen == -1
    assert not file.exists()


@pytest.mark.parametrize("found", [7, [1], None])
def test_an_answer_that_no_option_has_is_told(
    asked: Guess, found: object, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    click(asked, 0)
    asked.answer(found)
    shown = told(capsys)
    assert f"`{found!r}`" in shown
    assert "If you have changed a cell" in shown
    assert "如果你改过单元格" in shown
    assert not file.exists()


def test_the_static_form_is_the_question_with_its_options(asked: Guess) -> None:
    still = asked.static()
    assert str(still).splitlines() == [
        "先猜一猜 · Guess first",
        "主机名会变吗？",
        "Does the `host` change?",
        "  ○  不会 · No.",
        "  ○  会 · Yes.",
    ]
    html = still._repr_html_()
    assert "<code>host</code>" in html
    assert "There are two." not in html  # that would give it away
    assert 'lang="zh-Hans"' in html


def test_the_other_options_are_explained_too_but_folded(
    asked: Guess, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[object] = []
    monkeypatch.setattr("labkit.notebook.exercises.guess.display", shown.append)
    asked.answer(False)
    (card,) = shown
    html = card._repr_html_()  # type: ignore[attr-defined]
    assert "That is V0.1." in html.partition("<details")[2]
    assert "That is V0.1." not in str(card)


def test_the_page_is_told_in_words_it_can_send(asked: Guess) -> None:
    json.dumps(asked.get_state(["question", "options", "chosen", "right", "over"]))


def test_expect_ticks_a_claim(capsys: pytest.CaptureFixture[str]) -> None:
    expect("名字变了", "the name has changed", "box", "box")
    expect("有两个", "there are two", len("ab") > 1)
    assert told(capsys) == "✓ 名字变了 · the name has changed\n✓ 有两个 · there are two\n"


def test_expect_says_what_differs_and_that_a_changed_cell_may_be_why() -> None:
    with pytest.raises(NotAsExpectedError) as caught:
        expect("名字变了", "the name has changed", "host{0}", "box")
    text = str(caught.value)
    assert "名字变了：应当是 'box'，实际是 'host{0}'。如果你改过前面的单元格" in text
    assert "the name has changed: expected 'box', found 'host{0}'. If you have changed" in text
    assert isinstance(caught.value, AssertionError)
