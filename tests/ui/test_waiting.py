"""A cell that takes over a second shows a bar, and its button ends the cell and its containers."""

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from ui.conftest import MakeNotebook
from ui.notebook import Notebook, Watched

SWITCH = "from labkit.notebook import language\nlanguage()"
BEGIN = f"from labkit.notebook.lessons.v01 import *\n%load_ext labkit\n{SWITCH}"
QUICK = "from labkit import Container, run\nrun(Container(('true',))).returncode"
SLOW = (
    "import time\nbegan = time.monotonic()\nrun(Container(('sleep', '60')))",
    "%%child\nos.execvp('sleep', ['sleep', '60'])",
    "%docker run --rm host sleep 60",
)


def bar(book: Notebook) -> Locator:
    return book.panel.locator(".labkit-waiting-bar")


def until_told(place: Path) -> str:
    """A cell that runs until somebody writes to the file `go`."""
    os.mkfifo(place / "go")
    return f"said = open({str(place / 'go')!r}).read()"


def begin(book: Notebook, index: int) -> None:
    """Run a cell without waiting for its end."""
    book.page.evaluate(
        "index => { const book = window.jupyterapp.shell.currentWidget.content;"
        "book.activeCellIndex = index; book.deselectAll();"
        "window.jupyterapp.commands.execute('notebook:run-cell'); }",
        index,
    )


@pytest.mark.parametrize("slow", SLOW, ids=["run", "child", "docker"])
def test_a_slow_cell_shows_a_bar_and_can_be_stopped(slow: str, notebook: MakeNotebook) -> None:
    book = notebook(BEGIN, QUICK, slow, "2 + 2")
    book.run(0)
    book.run(1)
    expect(bar(book)).to_have_count(0)
    begin(book, 2)
    expect(bar(book).get_by_role("progressbar", name="A cell is running")).to_be_visible()
    expect(bar(book)).to_contain_text(re.compile("[2-9] 秒 s"))  # it counts
    bar(book).get_by_role("button", name="Stop").focus()
    book.page.keyboard.press("Enter")
    expect(book.output(2)).to_contain_text("KeyboardInterrupt")
    expect(bar(book)).to_have_count(0)
    expect(book.run(3)).to_contain_text("4")


def test_the_bar_goes_by_itself_and_leaves_nothing_behind(
    notebook: MakeNotebook, tmp_path: Path
) -> None:
    book = notebook(SWITCH, until_told(tmp_path), "bar = 1")
    book.run(0)
    begin(book, 1)
    expect(bar(book)).to_be_visible()
    (tmp_path / "go").write_text("on")
    expect(bar(book)).to_have_count(0)
    assert book.cells()[1]["outputs"] == []


def test_the_bar_can_be_used_by_everybody(notebook: MakeNotebook, watched: Watched) -> None:
    book = notebook(SWITCH, "import time\ntime.sleep(60)")
    book.run(0)
    begin(book, 1)
    expect(bar(book)).to_be_visible()
    for theme in ("dark", "light"):
        watched.theme(theme)
        assert book.violations(".labkit-waiting-bar") == [], theme
    bar(book).get_by_role("button").click()
    expect(book.output(1)).to_contain_text("KeyboardInterrupt")


def test_the_switch_run_again_has_one_bar(notebook: MakeNotebook, tmp_path: Path) -> None:
    book = notebook(SWITCH, until_told(tmp_path))
    book.run(0)
    book.run(0)
    begin(book, 1)
    expect(bar(book)).to_have_count(1)
    (tmp_path / "go").write_text("on")
    expect(bar(book)).to_have_count(0)


def test_a_restarted_kernel_takes_its_bar_along(notebook: MakeNotebook) -> None:
    book = notebook(SWITCH, "import time\ntime.sleep(60)")
    book.run(0)
    begin(book, 1)
    expect(bar(book)).to_be_visible()
    book.restart()
    expect(bar(book)).to_have_count(0)
