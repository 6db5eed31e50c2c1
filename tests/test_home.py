"""The way in: the learner's own copies of the lessons, and what the home page says."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from labkit.notebook.exercises.card import Bar
from labkit.notebook.home.copies import Copies, lab_root, language, last, note_last
from labkit.notebook.home.page import Home, Lesson, Machine, page
from labkit.notebook.home.path import PATH, Measure, measured, minutes
from labkit.notebook.mydocker.own import Standing
from labkit.text.words import Words

NAME = "v0.3_mount_ipc_net.ipynb"
OLDER = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'


@pytest.fixture
def copies(tmp_path: Path) -> Copies:
    """Copies of lessons that may be changed as an update of the project would."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    made = Copies(tmp_path / "notebooks", tmp_path / "lessons")
    assert made.update() == []
    return made


def read(path: Path) -> Any:  # noqa: ANN401 - JSON
    return json.loads(path.read_text())


def edit(path: Path, text: str) -> None:
    """Change the first cell of a notebook."""
    notebook = read(path)
    notebook["cells"][0]["source"] = text
    path.write_text(json.dumps(notebook))


def first(path: Path) -> str:
    return "".join(read(path)["cells"][0]["source"])


# --- Copies --------------------------------------------------------------------------------------


def test_every_lesson_is_copied_with_what_its_kernel_says(copies: Copies) -> None:
    names = sorted(path.name for path in copies.folder.glob("*.ipynb"))
    assert names == copies.names() == sorted(p.name for p in (ROOT / "notebooks").glob("*.ipynb"))
    for name in names:
        original, copy = read(copies.originals / name), read(copies.folder / name)
        assert copy["cells"] == original["cells"]
        assert copy["metadata"]["language_info"] == language()
        assert copy["metadata"]["kernelspec"] == original["metadata"]["kernelspec"]


def test_a_copy_that_nobody_has_changed_is_renewed(copies: Copies) -> None:
    notebook = read(copies.folder / NAME)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":  # it has been run, which is no change
            cell |= {"outputs": [], "execution_count": 77}
    (copies.folder / NAME).write_text(json.dumps(notebook))
    edit(copies.originals / NAME, "newer")
    assert copies.update() == []
    assert first(copies.folder / NAME) == "newer"


def test_a_changed_copy_is_left_alone_and_named(copies: Copies) -> None:
    edit(copies.folder / NAME, "mine")
    assert copies.update() == []
    edit(copies.originals / NAME, "newer")
    assert copies.update() == [NAME]
    assert first(copies.folder / NAME) == "mine"


def test_what_is_no_notebook_any_more_is_left_alone(copies: Copies) -> None:
    (copies.folder / NAME).write_text("<<<<<<<")
    edit(copies.originals / NAME, "newer")
    assert copies.update() == [NAME]
    assert (copies.folder / NAME).read_text() == "<<<<<<<"


def test_a_copy_that_was_thrown_away_comes_again(copies: Copies) -> None:
    (copies.folder / NAME).unlink()
    copies.update()
    assert first(copies.folder / NAME) == first(copies.originals / NAME)


def test_reset_keeps_what_was_changed(copies: Copies) -> None:
    edit(copies.folder / NAME, "mine")
    assert copies.reset(NAME) == "old/v0.3_mount_ipc_net-1.ipynb"
    edit(copies.folder / NAME, "mine too")
    assert copies.reset(NAME) == "old/v0.3_mount_ipc_net-2.ipynb"
    assert copies.reset(NAME) == ""
    assert first(copies.folder / NAME) == first(copies.originals / NAME)
    assert first(copies.folder / "old/v0.3_mount_ipc_net-1.ipynb") == "mine"
    assert first(copies.folder / "old/v0.3_mount_ipc_net-2.ipynb") == "mine too"
    assert copies.update() == []


def test_another_python_changes_no_cell(copies: Copies) -> None:
    notebook = read(copies.folder / NAME)
    notebook["metadata"]["language_info"]["version"] = "3.0"
    notebook["cells"][0]["source"] = "mine"
    (copies.folder / NAME).write_text(json.dumps(notebook))
    copies.update()
    assert read(copies.folder / NAME)["metadata"]["language_info"] == language()
    assert first(copies.folder / NAME) == "mine"


@pytest.mark.parametrize(
    ("lesson", "begins"), [("v0.2", "v0.2_"), ("V0.2b", "v0.2b_"), ("0.5", "v0.5_")]
)
def test_a_lesson_is_found_by_its_version(copies: Copies, lesson: str, begins: str) -> None:
    assert copies.file_of(lesson).startswith(begins)


def test_the_last_lesson_is_remembered_where_there_are_copies(copies: Copies) -> None:
    assert last(copies.folder) == ""
    note_last(str(copies.folder / NAME))
    assert last(copies.folder) == NAME
    note_last(str(copies.originals / NAME))  # none of the learner's
    assert not (copies.originals / ".labkit").exists()
    note_last("")


# --- The lab's folder ----------------------------------------------------------------------------


def command(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "labkit.notebook.home", *words]
    return subprocess.run(program, env=os.environ | env, capture_output=True, text=True)


def test_the_lab_has_lessons_and_what_they_link_to(tmp_path: Path) -> None:
    done = command(LABKIT_LAB=str(tmp_path / "lab"))
    assert (done.returncode, done.stderr) == (0, "")
    lab = Path(done.stdout.strip())
    assert lab == tmp_path / "lab"
    assert (lab / "lessons" / NAME).is_file()
    for text in (lab / "lessons").glob("*.ipynb"):
        for link in re.findall(r"\]\((\.\./[^)#\s]+)", text.read_text()):
            assert (lab / "lessons" / link).exists(), link
    for path in ("docs/terms.md", "go/v0.1/main.go", "labkit/container/contain.py", "Makefile"):
        assert (lab / "lessons" / ".." / path).exists(), path


def test_the_project_is_the_lab_unless_it_belongs_to_somebody_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("LABKIT_LAB", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert lab_root() == ROOT
    monkeypatch.setattr("os.access", lambda *_: False)
    assert lab_root() == tmp_path / "labkit" / "lab"


def test_a_changed_lesson_with_a_newer_one_is_told_in_a_line(tmp_path: Path) -> None:
    env = {"LABKIT_LAB": str(tmp_path)}
    command(**env)
    edit(tmp_path / "lessons" / NAME, "mine")
    noted = tmp_path / "lessons" / ".labkit" / "copies.json"
    noted.write_text(json.dumps(read(noted) | {NAME: "another"}))
    done = command(**env)
    (line,) = done.stderr.splitlines()
    assert "make reset LESSON=v0.3" in line
    assert re.search("[\u4e00-\u9fff]", line)
    done = command("reset", "v0.3", **env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "what you have solved is remembered" in done.stdout
    assert str(tmp_path / "lessons/old/v0.3_mount_ipc_net-1.ipynb") in done.stdout


@pytest.mark.parametrize(
    ("words", "said"), [(("reset", "v9"), "only v0.0, v0.1"), (("reset",), "LESSON=v0.3")]
)
def test_a_command_that_means_nothing(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = command(*words, LABKIT_LAB=str(tmp_path))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert said in line


def test_a_reset_is_of_the_lessons_that_there_are(tmp_path: Path) -> None:
    """Made by sudo make lab, brought back without sudo: refused, and not done elsewhere."""
    project = tmp_path / "project"
    shutil.copytree(ROOT / "labkit", project / "labkit", symlinks=True)
    shutil.copytree(ROOT / "notebooks", project / "notebooks")
    Copies(project / "notebooks", project / "lessons").update()
    env = {"XDG_DATA_HOME": str(tmp_path / "data"), "PYTHONPATH": str(project)}
    program = [sys.executable, "-m", "labkit.notebook.home", "reset", "v0.3"]
    setup = f"mount --bind {project} {project} && mount -o remount,bind,ro {project}"
    command = ["unshare", "--mount", "sh", "-c", f'{setup} && cd / && exec "$@"', "sh", *program]
    done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr
    assert not (tmp_path / "data").exists()


def test_git_does_not_see_the_learners_folder() -> None:
    asked = ["git", "check-ignore", f"lessons/{NAME}", "lessons/mydocker.py", "lessons/.labkit/x"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    assert len(done.stdout.splitlines()) == 3
    clean = (ROOT / "Makefile").read_text().partition("\nclean:")[2]
    assert "lessons" not in clean


# --- The path and the page -----------------------------------------------------------------------


def test_the_path_has_each_lesson_and_its_exercises() -> None:
    files = sorted(path.name.partition("_")[0] for path in (ROOT / "notebooks").glob("v*.ipynb"))
    assert [step.name for step in PATH] == files
    for step in PATH:
        assert step.exercises.title == step.name
    assert {step.version for step in PATH if step.aside} == {"V0.0", "V0.2b"}


@pytest.mark.parametrize(
    "file", sorted((ROOT / "notebooks").glob("v*.ipynb")), ids=lambda p: p.stem
)
def test_a_lesson_is_measured_by_its_words_and_cells(file: Path) -> None:
    found = measured(file)
    assert 20 <= found.minutes <= 120
    assert re.search("[\u4e00-\u9fff]|unshare|PID", found.title.zh)
    assert re.fullmatch("[\x20-\x7e]+", found.title.en)


@pytest.mark.parametrize(
    "file", sorted((ROOT / "notebooks").glob("v*.ipynb")), ids=lambda p: p.stem
)
def test_a_lessons_questions_are_counted_by_name(file: Path) -> None:
    asking = [c for c in read(file)["cells"] if "guess" in c["metadata"].get("tags", [])]
    names = measured(file).guesses
    assert len(set(names)) == len(names) == len(asking)
    assert {name.partition("/")[0] for name in names} <= {file.name.partition("_")[0]}


def test_the_minutes_in_a_lessons_head_are_believed(tmp_path: Path) -> None:
    file = Path(shutil.copy(ROOT / "notebooks" / NAME, tmp_path))
    notebook = read(file)
    head = {"cell_type": "markdown", "source": ["**时间**：约 35 分钟，"]}
    notebook["cells"].insert(1, head)
    file.write_text(json.dumps(notebook))
    assert measured(file).minutes == 35


def test_minutes_grow_with_words_and_with_cells() -> None:
    words = f'<div lang="en">\n\n{"word " * 1300}\n\n</div>'
    assert minutes(words, []) == 10
    assert minutes(f"{words}\n```\n{'word ' * 1300}\n```", []) == 10
    assert minutes(f'{words}<div lang="zh-Hans">{"字" * 5000}</div>', []) == 20
    assert minutes(words, ["first"] * 10) == 20
    assert minutes(words, ["exercise-x", "exercise-y"]) == 20
    assert minutes(words, ["exercise-mydocker"]) == 25


MEASURE = Measure(Words("课", "lesson"), 30)


def home(**changed: object) -> Home:
    lessons = tuple(
        Lesson(step, MEASURE, Bar(0, 3), Bar(0, 2), f"/{step.name}", None, newer=False)
        for step in PATH
    )
    values: dict[str, Any] = {
        "lessons": lessons,
        "last": None,
        "docker": Standing(False, (), "", ""),
        "docker_url": "",
        "machine": None,
        "books": (),
        "reset": "/labkit/reset",
        "token": '"<token>',
        "done": None,
        "named": "",
        "scheme": "",
    }
    return Home(**values | changed)


def test_the_page_says_what_this_machine_cannot() -> None:
    assert "labkit doctor</code> says what" in page(home())
    assert "done for real" in page(home(machine=Machine("Linux", {"v0.1": "real"})))
    levels: Any = {"v0.1": "real", "v0.2": "recorded"}
    assert "take another way" in page(home(machine=Machine("Linux", levels)))


def test_the_page_goes_on_where_it_is_best() -> None:
    def leads(**changed: object) -> str:
        return page(home(**changed)).partition('class="go-on"><a href="/')[2].partition('"')[0]

    lessons = home().lessons
    assert leads() == "v0.1"
    assert leads(last=lessons[5]) == lessons[5].step.name
    solved = tuple(
        replace(each, bar=Bar(3, 3)) if at < 3 else each for at, each in enumerate(lessons)
    )
    assert leads(lessons=solved) == "v0.3"


def test_the_page_counts_guesses_and_makes_no_gate_of_them() -> None:
    lessons = tuple(
        replace(each, bar=Bar(3, 3), guesses=Bar(int(at == 2), 2 * (at > 0)))
        for at, each in enumerate(home().lessons)
    )
    text = page(home(lessons=lessons))
    assert f"Guesses: 1 of {2 * len(lessons) - 2} made" in text
    steps = text.partition("<ol>")[2].split("<li class=")[1 : len(lessons) + 1]
    assert [re.findall(r"guesses (\d/\d)", step) for step in steps] == [
        [],
        ["0/2"],
        ["1/2"],
        *[["0/2"]] * (len(lessons) - 3),
    ]
    assert all(step.startswith('"all') for step in steps)  # what is not guessed is not missed
    assert "All of them are solved" in text


def test_the_page_celebrates_and_escapes() -> None:
    lessons = tuple(
        replace(each, measure=Measure(Words("<b>", "<b>"), 5), bar=Bar(3, 3), newer=True)
        for each in home().lessons
    )
    text = page(home(lessons=lessons))
    assert "All of them are solved" in text
    assert "There is a newer one" in text
    assert "<b>" not in text
    assert '"<token>' not in text


def test_the_page_needs_nothing_from_elsewhere() -> None:
    assert "//" not in re.sub(r"(?m)^\s*//.*$| // .*$", "", page(home())).replace("<!--", "")
