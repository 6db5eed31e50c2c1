"""guess() in JupyterLab: a click or a key locks the answer, and the kernel says who was right."""

from collections.abc import Callable

from playwright.sync_api import Locator, expect

from ui.conftest import MakeNotebook
from ui.notebook import Notebook

BEGIN = """from labkit.notebook.lessons.common import *
from labkit.notebook.exercises import progress
renamed = guess(
    "v0.2/name",
    ("外面的 `主机名` 会变吗？", "Does the `host` change its name?"),
    {
        False: ("不会", "No.", "里外各有一份。", "There is one name inside and one outside."),
        True: ("会", "Yes.", "那是 V0.1 的容器。", "That is so in V0.1."),
    },
)
renamed"""
ASK = """before = os.uname().nodename
run(Container(("hostname", "box"), cloneflags=CLONE_NEWUTS))
renamed.answer(os.uname().nodename != before)"""
COUNT = "progress.guessed()"


def question(book: Notebook) -> Locator:
    return book.output(0).locator(".labkit-guess")


def option(book: Notebook, name: str) -> Locator:
    return question(book).get_by_role("button", name=name)


def test_a_click_locks_the_guess_and_the_kernel_answers(notebook: MakeNotebook) -> None:
    book = notebook(BEGIN, ASK, COUNT)
    book.run(0)
    expect(book.output(0).locator(".labkit-static")).to_be_hidden()
    expect(option(book, "No.")).to_have_attribute("aria-pressed", "false")
    option(book, "Yes.").click()
    expect(question(book).get_by_role("status")).to_contain_text("Noted.")
    for name in "Yes.", "No.":
        expect(option(book, name)).to_have_attribute("aria-disabled", "true")
    option(book, "No.").click(force=True)  # too late
    expect(option(book, "Yes.")).to_have_attribute("aria-pressed", "true")
    shown = book.run(1)
    expect(shown).to_contain_text("Not as you guessed")
    expect(shown).to_contain_text("That is so in V0.1.")
    expect(shown).to_contain_text("There is one name inside and one outside.")
    expect(option(book, "No.")).to_contain_text("the kernel's answer")
    expect(option(book, "Yes.")).to_contain_text("your guess")
    assert book.run(2).locator("pre").inner_text() == "{'v0.2/name': False}"


def test_with_the_keyboard_alone(notebook: MakeNotebook) -> None:
    book = notebook(BEGIN, ASK, COUNT)
    book.run(0)
    option(book, "No.").focus()
    book.page.keyboard.press("Tab")
    expect(option(book, "Yes.")).to_be_focused()
    book.page.keyboard.press("Shift+Tab")
    book.page.keyboard.press("Enter")
    expect(question(book).get_by_role("status")).to_contain_text("Noted.")
    expect(option(book, "No.")).to_be_focused()  # it is locked, and keeps the focus
    expect(book.run(1)).to_contain_text("You guessed right")
    assert book.run(2).locator("pre").inner_text() == "{'v0.2/name': True}"


def test_nobody_has_to_guess(notebook: MakeNotebook) -> None:
    book = notebook(BEGIN, ASK, COUNT)
    book.run_all()
    assert book.errors() == []
    expect(book.output(1)).to_contain_text("The kernel's answer")
    expect(question(book).get_by_role("status")).to_contain_text("The kernel has answered")
    option(book, "No.").click(force=True)
    expect(option(book, "No.")).to_have_attribute("aria-pressed", "false")
    assert book.output(2).locator("pre").inner_text() == "{}"


def test_a_question_that_is_run_again_may_be_guessed_again(notebook: MakeNotebook) -> None:
    book = notebook(BEGIN, ASK, COUNT)
    book.run_all()
    book.run(0)
    option(book, "No.").click()
    expect(question(book).get_by_role("status")).to_contain_text("Noted.")
    expect(book.run(1)).to_contain_text("You guessed right")


def test_it_speaks_the_language_of_the_page(notebook: MakeNotebook) -> None:
    book = notebook("from labkit.notebook import language\nlanguage()", BEGIN, ASK)
    book.run_all()
    shown = book.output(1).locator(".labkit-guess")
    for language, seen, hidden in (
        ("中文", "外面的 主机名 会变吗？", "Does the host"),
        ("English", "Does the host change its name?", "会变吗"),
    ):
        book.panel.get_by_role("radio", name=language).check()
        expect(shown).to_contain_text(seen, use_inner_text=True)
        expect(shown).not_to_contain_text(hidden, use_inner_text=True)


def test_without_its_process_it_takes_no_guess(notebook: MakeNotebook) -> None:
    book = notebook(BEGIN, ASK)
    book.run(0)
    expect(option(book, "No.")).to_have_attribute("aria-disabled", "false")
    book.restart()
    expect(question(book).get_by_role("status").first).to_contain_text("was restarted or has ended")
    expect(option(book, "No.")).to_have_attribute("aria-disabled", "true")
    again = question(book).get_by_role("button", name="Run this cell again")
    again.click()
    expect(again).to_have_count(0)
    expect(option(book, "No.")).to_have_attribute("aria-disabled", "false")


def test_everybody_can_read_it(notebook: MakeNotebook) -> None:
    book = notebook(BEGIN, BEGIN.replace("renamed", "other"), ASK, ASK.replace("renamed", "other"))
    book.run(0)
    book.run(1)
    option(book, "Yes.").click()
    expect(question(book).get_by_role("status")).to_contain_text("Noted.")
    for run in (False, True):
        if run:
            book.run(2)
            expect(option(book, "No.")).to_contain_text("the kernel's answer")
            book.run(3)
        assert book.violations_in_both_themes() == []


def test_evidence_is_folded_and_says_so(open_notebook: Callable[[str], Notebook]) -> None:
    """A reader sees that something is checked, and opens it to see how."""
    book = open_notebook("v0.1_run.ipynb")
    at = [cell["id"] for cell in book.cells()].index("trace-evidence")
    cell = book.panel.locator(".jp-Cell").nth(at)
    expect(cell.locator(".jp-InputPlaceholder")).to_contain_text("证据 · evidence")
    expect(cell.locator(".jp-InputArea-editor")).to_be_hidden()
    cell.locator(".jp-InputPlaceholder").click()
    expect(cell.locator(".jp-InputArea-editor")).to_contain_text("no new namespace")
