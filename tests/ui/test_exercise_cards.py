"""A learner works through exercises in JupyterLab, in either theme, with or without a mouse."""

import nbformat
from playwright.sync_api import Locator, expect

from labkit.notebook.exercises import ex01
from ui.conftest import MakeNotebook

BEGIN = "from labkit import Container\nfrom labkit.notebook.exercises import ex01, ex03\nex01"
EMPTY = "box = ...\nex01.killed.check(box)"
WRONG = 'box = Container(("sh", "-c", "exit 143"))\nex01.killed.check(box)'
RIGHT = 'box = Container(("sh", "-c", "kill -TERM $$"))\nex01.killed.check(box)'
ALIVE = """from ipywidgets.widgets.widget import _instances
cards = [each for each in _instances.values() if "check" in getattr(each, "buttons", [])]
len(cards)"""
HINT = "ex01.killed.hint()"
SOLUTION = "ex03.contain.solution()"
BY_HAND = """
def contain(place):
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", place, "tmpfs")


ex03.contain.check(contain)
"""
MISSPELT = BY_HAND.replace('mount("tmpfs"', 'mont("tmpfs"')


def test_from_nothing_to_solved(notebook: MakeNotebook) -> None:
    book = notebook(BEGIN, EMPTY, WRONG, HINT, HINT, RIGHT, "ex01")
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
    card = book.output(1).locator(".labkit-card")
    reason = card.get_by_text("wait 告诉父进程", exact=False)
    expect(reason).to_be_hidden()
    card.locator("summary").press("Enter")
    expect(reason).to_be_visible()


def test_a_function_of_a_cell_and_its_mistake(notebook: MakeNotebook) -> None:
    book = notebook(BEGIN, BY_HAND, MISSPELT)
    book.run_all()
    expect(book.output(1)).to_contain_text("✓ 对了 · Correct")
    expect(book.output(2)).to_contain_text('mont("tmpfs", place, "tmpfs")')
    expect(book.output(2)).to_contain_text("NameError: name 'mont' is not defined")


def pressed(card: Locator, *names: str) -> None:
    """Press buttons of a card, by keyboard alone."""
    for name in names:
        card.get_by_role("button", name=name).focus()
        card.page.keyboard.press("Enter")


def test_buttons_give_hints_a_solution_and_begin_again(notebook: MakeNotebook) -> None:
    book = notebook(BEGIN, WRONG)
    book.run_all()
    expect(book.output(1).locator(".labkit-static")).to_be_hidden()
    card = book.output(1).locator(".labkit-card")
    for number in 1, 2, 3:
        pressed(card, "Hint")
        expect(card).to_contain_text(f"Hint {number}")
        expect(card.get_by_role("button", name="Hint")).to_be_focused()
    expect(card).to_contain_text("There are no more hints")
    pressed(card, "Hint", "Solution")
    expect(card).to_contain_text("One solution")
    expect(card.get_by_text("Hint 3")).to_have_count(1)
    expect(card).to_contain_text("Incorrect")  # what was found stays
    pressed(card, "Start over")
    expect(card).to_contain_text("Not attempted")
    expect(card).not_to_contain_text("Hint 1")
    pressed(card, "Hint")
    expect(card).to_contain_text("Hint 1")


def test_a_button_checks_again_what_now_stands_in_the_cell(notebook: MakeNotebook) -> None:
    book = notebook(BEGIN, WRONG, "ex01.killed", ALIVE)
    book.run_all()
    card, asked = (book.output(index).locator(".labkit-card") for index in (1, 2))
    expect(asked.get_by_role("button", name="Check again")).to_have_count(0)  # nothing to check
    expect(asked.get_by_role("button")).to_have_count(3)
    expect(card).to_contain_text("Incorrect")
    change = (
        "text => window.jupyterapp.shell.currentWidget.content.widgets[1].model.sharedModel"
        ".setSource(text)"
    )
    book.page.evaluate(change, RIGHT)
    pressed(card, "Check again")
    expect(card).to_contain_text("Correct")
    expect(card).not_to_contain_text("Incorrect")
    assert book.run(3).locator("pre").inner_text() == "1"  # those of earlier checks are gone
    counts = [cell["execution_count"] for cell in book.cells()]
    assert counts == [1, 5, 3, 6]  # the check alone ran once more


def test_the_list_shows_at_once_what_is_solved(notebook: MakeNotebook) -> None:
    book = notebook(BEGIN, RIGHT, "import gc\ngc.collect();")
    book.run(0)
    shown = book.output(0).locator(".labkit-card")
    expect(shown).to_contain_text("0 of 4 done")
    book.run(2)
    book.run(1)
    expect(shown.get_by_role("progressbar", name="1 of 4 done")).to_have_count(1)
    expect(shown.get_by_role("listitem").filter(has_text="ex01.killed")).to_contain_text("✓")
    pressed(book.output(1).locator(".labkit-card"), "Start over")
    expect(shown.get_by_role("progressbar", name="0 of 4 done")).to_have_count(1)
    expect(shown.get_by_role("button")).to_have_count(0)


def test_buttons_speak_the_language_of_the_page(notebook: MakeNotebook) -> None:
    book = notebook("from labkit.notebook import language\nlanguage()", BEGIN, WRONG)
    book.run_all()
    card = book.output(2).locator(".labkit-card")
    for language, names in (
        ("中文", ["再检查", "提示", "一种写法", "从头再来"]),
        (
            "English",
            ["Check again", "Hint", "Solution", "Start over"],
        ),
    ):
        book.panel.get_by_role("radio", name=language).check()
        expect(card.get_by_role("button")).to_have_text(names, use_inner_text=True)


def test_everybody_can_read_the_cards(notebook: MakeNotebook) -> None:
    book = notebook(BEGIN, EMPTY, WRONG, HINT, RIGHT, SOLUTION, BY_HAND, MISSPELT)
    book.run_all()
    pressed(book.output(2).locator(".labkit-card"), "Hint", "Solution")
    expect(book.output(2).locator(".labkit-card")).to_contain_text("One solution")
    assert book.violations_in_both_themes() == []


def test_a_saved_bar_keeps_its_name(notebook: MakeNotebook) -> None:
    """In a notebook that nobody has run, JupyterLab takes much away from an output's HTML."""
    ex01.restart()
    shown = nbformat.v4.new_output("display_data", {"text/html": ex01._repr_html_()})
    book = notebook(nbformat.v4.new_code_cell("ex01", outputs=[shown]))
    assert "accent-color" not in book.output(0).inner_html()
    bar = book.output(0).get_by_role("progressbar", name="已完成 0/4 · 0 of 4 done")
    expect(bar).to_have_count(1)
