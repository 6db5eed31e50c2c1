"""A learner works through exercises in JupyterLab, in either theme, with or without a mouse."""

import nbformat
from playwright.sync_api import expect

from labkit.notebook.exercises import v01
from ui.conftest import MakeNotebook
from ui.notebook import Watched

BEGIN = "from labkit import Container\nfrom labkit.notebook.exercises import v01, v03\nv01"
EMPTY = "box = ...\nv01.killed.check(box)"
WRONG = 'box = Container(("sh", "-c", "exit 143"))\nv01.killed.check(box)'
RIGHT = 'box = Container(("sh", "-c", "kill -TERM $$"))\nv01.killed.check(box)'
HINT = "v01.killed.hint()"
SOLUTION = "v03.contain.solution()"
BY_HAND = """
def contain(place):
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", place, "tmpfs")


v03.contain.check(contain)
"""
MISSPELT = BY_HAND.replace('mount("tmpfs"', 'mont("tmpfs"')


def test_from_nothing_to_solved(notebook: MakeNotebook) -> None:
    book = notebook(BEGIN, EMPTY, WRONG, HINT, HINT, RIGHT, "v01")
    book.run_all()
    assert book.errors() == []
    for index, text in enumerate(
        ["0 of 4 done", "Not attempted", "Incorrect", "Hint 1", "Hint 2", "Correct", "1 of 4 done"]
    ):
        expect(book.output(index)).to_contain_text(text)
    expect(book.output(4)).to_contain_text("不要 exit，要 kill，")
    bar = book.output(6).get_by_role("progressbar", name="已完成 1/4 · 1 of 4 done")
    expect(bar).to_have_attribute("value", "1")


def test_what_is_folded_opens_from_the_keyboard(notebook: MakeNotebook) -> None:
    book = notebook(BEGIN, RIGHT)
    book.run_all()
    reason = book.output(1).get_by_text("wait 告诉父进程", exact=False)
    expect(reason).to_be_hidden()
    book.output(1).locator("summary").press("Enter")
    expect(reason).to_be_visible()


def test_a_function_of_a_cell_and_its_mistake(notebook: MakeNotebook) -> None:
    book = notebook(BEGIN, BY_HAND, MISSPELT)
    book.run_all()
    expect(book.output(1)).to_contain_text("✓ 对了 · Correct")
    expect(book.output(2)).to_contain_text('mont("tmpfs", place, "tmpfs")')
    expect(book.output(2)).to_contain_text("NameError: name 'mont' is not defined")


def test_everybody_can_read_the_cards(notebook: MakeNotebook, watched: Watched) -> None:
    book = notebook(BEGIN, EMPTY, WRONG, HINT, RIGHT, SOLUTION, BY_HAND, MISSPELT)
    book.run_all()
    for theme in ("dark", "light"):
        watched.theme(theme)
        assert book.violations() == [], theme


def test_a_saved_bar_keeps_its_name(notebook: MakeNotebook) -> None:
    """In a notebook that nobody has run, JupyterLab takes much away from an output's HTML."""
    v01.restart()
    shown = nbformat.v4.new_output("display_data", {"text/html": v01._repr_html_()})
    book = notebook(nbformat.v4.new_code_cell("v01", outputs=[shown]))
    assert "accent-color" not in book.output(0).inner_html()
    bar = book.output(0).get_by_role("progressbar", name="已完成 0/4 · 0 of 4 done")
    expect(bar).to_have_count(1)
