"""When the notebook's process has gone, each widget says so, and offers to run its cell again."""

import os
import re
import signal

from playwright.sync_api import Locator, expect

from ui.conftest import MakeNotebook
from ui.notebook import IDLE, Notebook, Watched
from ui.test_terminal import reopened

BEGIN = "import os\nfrom labkit import *\nfrom labkit.notebook import *\n"
BOX = "Container(('sleep', '1000'), cloneflags=CLONE_NEWUTS, hostname='box')"
WIDGETS = {
    "choose": f"{BEGIN}choose(Container(('hostname',), cloneflags=CLONE_NEWUTS))",
    "steps": f"{BEGIN}steps(Container(('true',), cloneflags=CLONE_NEWUTS))",
    "ns_map": f"{BEGIN}held = start({BOX})\nns_map()",
    "terminal": f"{BEGIN}terminal(Container(('sh', '-c', 'echo ready; exec sleep 1000')))",
    "language": f"{BEGIN}language()",
    "card": f"{BEGIN}from labkit.notebook.exercises import ex01\nex01.argv",
    "list": f"{BEGIN}from labkit.notebook.exercises import ex01\nex01",
}
ALIVE = {
    "choose": "ended with exit status 0",
    "steps": "step 1 of",
    "ns_map": "PID",
    "terminal": "ready",
    "language": "English",
    "card": "ex01.argv",
    "list": "of 4 done",
}
ENDED = "The notebook's process was restarted or has ended"


def shown(book: Notebook, index: int) -> Locator:
    return book.output(index).locator(".labkit-widget")


def all_of_them(make: MakeNotebook) -> Notebook:
    """A notebook with each widget, all of them alive."""
    book = make(*WIDGETS.values(), "os.getpid()")
    book.run_all()
    assert book.errors() == []
    for index, words in enumerate(ALIVE.values()):
        expect(shown(book, index)).to_contain_text(words)
    return book


def without_process(book: Notebook) -> None:
    """Wait until each says so."""
    for index in range(len(WIDGETS)):
        expect(shown(book, index).get_by_role("status").first).to_contain_text(ENDED)


def test_each_says_so_and_nothing_of_the_dead_looks_current(notebook: MakeNotebook) -> None:
    book = all_of_them(notebook)
    book.restart()
    without_process(book)
    form, steps, map_, terminal, _, card, _ = (shown(book, at) for at in range(len(WIDGETS)))
    for stale in re.compile("exit status"), re.compile("same"), re.compile("new"):
        expect(form).not_to_contain_text(stale, use_inner_text=True)
    for control in form.locator("input, .labkit-fields button").all():
        expect(control).to_be_disabled()
    steps.get_by_role("button", name="Next").click()  # it has all it needs
    expect(steps).to_contain_text("step 2 of")
    expect(map_).not_to_contain_text("PID")
    expect(map_.get_by_role("button")).to_have_count(1)
    expect(terminal.get_by_role("button", name="End")).to_be_hidden()
    expect(terminal).to_contain_text("ended: the notebook's process is gone")
    for name in "Hint", "Solution", "Start over":
        expect(card.get_by_role("button", name=name)).to_be_disabled()
    assert book.violations_in_both_themes() == []


def test_a_button_runs_the_cell_again_from_the_keyboard(notebook: MakeNotebook) -> None:
    book = all_of_them(notebook)
    book.restart()
    without_process(book)
    for index, words in enumerate(ALIVE.values()):
        again = shown(book, index).get_by_role("button", name="Run this cell again")
        again.focus()
        book.page.keyboard.press("Enter")
        expect(again).to_have_count(0)
        expect(shown(book, index)).to_contain_text(words)
    assert book.errors() == []


def test_a_process_that_dies_by_itself_is_missed_too(notebook: MakeNotebook) -> None:
    book = all_of_them(notebook)
    pid = int(book.cells()[len(WIDGETS)]["outputs"][0]["data"]["text/plain"])
    os.kill(pid, signal.SIGKILL)
    without_process(book)
    book.page.get_by_role("dialog").get_by_role("button", name="Ok").click()  # JupyterLab's own
    book.page.wait_for_function(IDLE)
    assert book.run(len(WIDGETS)).locator("pre").inner_text() != str(pid)


def test_a_view_made_afterwards_says_so_too(notebook: MakeNotebook) -> None:
    book = notebook(WIDGETS["choose"], "1")
    book.run(0)
    expect(shown(book, 0)).to_contain_text(ALIVE["choose"])
    book.restart()
    expect(shown(book, 0).get_by_role("status").first).to_contain_text(ENDED)
    book.page.evaluate(
        "() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0;"
        "window.jupyterapp.commands.execute('notebook:move-cell-down'); }"
    )
    expect(shown(book, 1).get_by_role("status").first).to_contain_text(ENDED)
    expect(shown(book, 1).get_by_role("button", name="Run this cell again")).to_be_visible()


def test_a_reloaded_page_has_them_whole(notebook: MakeNotebook, watched: Watched) -> None:
    """Its process lives on, and so do they: in what they show and in what they do."""
    book = all_of_them(notebook)
    path = watched.page.evaluate("window.jupyterapp.shell.currentWidget.context.path")
    watched.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    watched.load()
    again = reopened(book, path)
    for index, words in enumerate(ALIVE.values()):
        expect(shown(again, index)).to_contain_text(words)
        expect(again.output(index).locator(".labkit-static")).to_be_hidden()
    expect(again.panel).not_to_contain_text("Error displaying widget")
    form, steps, map_, terminal, language, card, _ = (
        shown(again, index) for index in range(len(WIDGETS))
    )
    form.get_by_role("checkbox", name="ipc CLONE_NEWIPC").check()
    expect(form.get_by_role("status")).to_contain_text("new: ipc, uts")
    steps.get_by_role("button", name="Next").click()
    expect(steps).to_contain_text("step 2 of")
    map_.locator(".containers button").first.click()
    expect(map_.locator(".containers table").first).to_contain_text("新的")
    terminal.get_by_role("button", name="End").click()
    expect(terminal).to_contain_text("was ended by signal SIGKILL")
    card.get_by_role("button", name="Hint").click()
    expect(card).to_contain_text("Hint 1")
    language.get_by_role("radio", name="中文").check()
    expect(form).not_to_contain_text("Namespaces", use_inner_text=True)
