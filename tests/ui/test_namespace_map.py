"""The namespace map in the browser: live, by keyboard alone, quiet when its cell is gone."""

import os
import re
import signal

import pytest
from conftest import until
from playwright.sync_api import Locator, expect

from ui.conftest import MakeNotebook
from ui.notebook import Notebook

SETUP = "from labkit import *\nfrom labkit.notebook import ns_map"
BOX = (
    "box = start(Container(('sleep', '1000'), cloneflags=CLONE_NEWUTS | CLONE_NEWPID))\n"
    "print(box.pid)"
)
LOOKING = (
    "import threading\n"
    "print(sum(thread.name == 'labkit-watch' for thread in threading.enumerate()))"
)
RECORD = """import threading, time
def looking():
    return any(thread.name == 'labkit-watch' for thread in threading.enumerate())
def record():
    while looking():
        time.sleep(0.05)
    open("rested", "x").close()
threading.Thread(target=record, daemon=True).start()"""
MORE = """import threading
boxes = []
for seconds in 4, 6:
    threading.Timer(seconds, lambda: boxes.append(start(box.box))).start()"""
SIXTY = """many = 'for i in $(seq 60); do sleep 1000 & done; wait'
box = start(Container(('sh', '-c', many), cloneflags=CLONE_NEWUTS))"""


@pytest.fixture
def book(notebook: MakeNotebook) -> Notebook:
    """A map in cell 1, a container to be started in 2; 3 says how many maps look."""
    made = notebook(SETUP, "ns_map()", BOX, LOOKING, RECORD, MORE, SIXTY)
    made.run(0)
    made.run(1)
    expect(shown(made).locator(".groups li").first).to_be_visible()
    return made


def shown(book: Notebook) -> Locator:
    return book.output(1).locator(".labkit-namespace-map")


def looking(book: Notebook) -> int:
    """How many threads look, as the kernel counts them."""
    return int(book.run(3).inner_text())


def container(book: Notebook) -> Locator:
    """Start the container; its line at the top of the map."""
    return started(book)[1]


def started(book: Notebook) -> tuple[int, Locator]:
    """The PID of a new container, and its line."""
    pid = int(book.run(2).inner_text())
    own = book.page.locator(".process", has_text=f"PID {pid} ")
    return pid, shown(book).locator(".containers li").filter(has=own)


def group(book: Notebook, kind: str) -> Locator:
    """The line of a kind that is marked as new."""
    line = (
        shown(book).locator("details").filter(has=book.page.locator(":scope > summary .mark.new"))
    )
    return line.filter(has_text=re.compile(rf"^{kind} ")).last


def test_a_container_appears_and_goes(book: Notebook) -> None:
    expect(shown(book)).to_contain_text("none yet")
    pid, line = started(book)
    expect(line.locator(".news")).to_contain_text("new: pid uts")
    expect(shown(book)).not_to_contain_text("none yet", use_inner_text=True)
    for kind in "uts", "pid":
        shown(book).get_by_role("radio", name=kind, exact=True).check()
        expect(group(book, kind).get_by_role("button")).to_contain_text("sleep PID")
    shown(book).get_by_role("radio", name="net", exact=True).check()
    expect(shown(book).locator(".groups summary .mark.new")).to_have_count(0)
    expect(shown(book).locator(".groups summary").first).to_contain_text("the notebook is here")
    os.kill(pid, signal.SIGKILL)
    expect(line).to_have_count(0)
    expect(shown(book)).to_contain_text("none yet", use_inner_text=True)


def test_the_static_form_is_hidden_beside_it(book: Notebook) -> None:
    expect(book.output(1).locator(".labkit-static")).to_have_count(1)
    expect(book.output(1).locator(".labkit-static")).to_be_hidden()


def test_a_click_compares_with_the_kernel_or_another(book: Notebook) -> None:
    first, second = container(book), container(book)
    table = first.get_by_role("table")
    first.get_by_role("button").click()
    expect(table.locator("tbody tr").filter(has_text="新的 new")).to_have_count(2)
    expect(shown(book).get_by_role("status")).to_contain_text("new in 2: pid, uts")
    first.get_by_role("button", name="compare the others with this one").click()
    expect(shown(book).locator(".against")).to_contain_text(re.compile(r"with sleep, PID \d+"))
    second.get_by_role("button").click()
    expect(second.get_by_role("table").locator("thead")).to_contain_text(
        re.compile(r"sleep, PID \d+\s*sleep, PID \d+")
    )
    shown(book).get_by_role("button", name="back to the notebook's process").click()
    expect(shown(book).locator(".against")).to_contain_text("the notebook's process")
    first.get_by_role("button", expanded=True).click()
    expect(table).to_have_count(0)


def test_who_owns_whom(book: Notebook) -> None:
    container(book)
    shown(book).get_by_role("radio", name="who owns whom").check()
    top = shown(book).locator(".groups > ul > li")
    expect(top).to_have_count(1)
    expect(top.locator("summary").first).to_contain_text(re.compile(r"^user \d+"))
    for kind in "uts", "pid":
        expect(group(book, kind)).to_be_visible()


def test_by_keyboard_alone(book: Notebook) -> None:
    """Focus and what is open stay through refreshes, and keys do not reach the notebook."""
    name = container(book).get_by_role("button").inner_text()
    book.run(5)
    keys = book.page.keyboard
    shown(book).get_by_role("radio", name="uts", exact=True).focus()
    keys.press("ArrowLeft")
    keys.press("ArrowLeft")
    expect(shown(book).get_by_role("radio", name="time", exact=True)).to_be_checked()
    keys.press("Tab")  # to the first group, where the notebook is
    summary = shown(book).locator(".groups summary").first
    expect(summary).to_be_focused()
    keys.press("Enter")
    process = shown(book).locator(".groups").get_by_role("button", name=name)
    expect(process).to_be_visible()
    keys.press("Tab")
    expect(process).to_be_focused()
    keys.press("Enter")
    expect(shown(book).locator(".groups").get_by_role("table")).to_be_visible()
    two_refreshes = shown(book).locator(".containers li")
    expect(two_refreshes).to_have_count(3)
    expect(process).to_be_focused()
    expect(shown(book).locator(".groups").get_by_role("table")).to_be_visible()
    keys.press("Enter")
    expect(shown(book).locator(".groups").get_by_role("table")).to_have_count(0)
    assert book.page.evaluate("window.jupyterapp.shell.currentWidget.content.mode") == "command"


def test_the_focus_goes_near_when_its_process_ends(book: Notebook) -> None:
    pid, line = started(book)
    others = shown(book).get_by_role("radio", checked=True)
    line.get_by_role("button").focus()
    os.kill(pid, signal.SIGKILL)
    expect(line).to_have_count(0)
    expect(others).to_be_focused()


def test_it_stops_with_its_cell(book: Notebook) -> None:
    until(lambda: looking(book) == 1)
    book.run(1)  # the same cell again: a new map, and the old one rests
    expect(shown(book).locator(".groups li").first).to_be_visible()
    until(lambda: looking(book) == 1)
    book.page.evaluate("window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    expect(book.panel.locator(".labkit-namespace-map")).to_have_count(0)
    until(lambda: looking(book) == 0)


def test_it_rests_while_nobody_can_see_it(book: Notebook) -> None:
    """Behind another tab; it goes on when it is back."""
    book.run(4)
    page, rested = book.page, book.watched.lab.root / "rested"
    page.evaluate("() => window.jupyterapp.commands.execute('launcher:create').then(() => null)")
    expect(page.locator(".labkit-namespace-map")).to_be_hidden()
    page.locator(".jp-Launcher:visible").wait_for()
    until(rested.exists)
    page.evaluate("() => window.jupyterapp.shell.currentWidget.close()")
    expect(shown(book)).to_be_visible()
    expect(container(book)).to_be_visible()


def test_what_is_long_is_short_until_somebody_asks(book: Notebook) -> None:
    book.run(6)
    sixty = group(book, "uts")
    more = sixty.get_by_role("button", name="more")
    expect(more).to_have_text("其余 21 个 21 more")
    more.focus()
    book.page.keyboard.press("Enter")
    processes = sixty.locator(".process")
    expect(processes).to_have_count(61)
    expect(processes.nth(40)).to_be_focused()


def test_after_a_restart_it_can_be_had_again(book: Notebook) -> None:
    book.restart()
    expect(shown(book).locator(".groups")).to_have_count(0)
    book.run(0)
    book.run(1)
    expect(shown(book).locator(".groups li").first).to_be_visible()
    expect(shown(book).locator(".note")).to_be_hidden()


def test_everybody_can_use_it(book: Notebook) -> None:
    line = container(book)
    line.get_by_role("button").click()
    expect(line.get_by_role("table")).to_be_visible()
    for mode in "uts", "who owns whom":
        shown(book).get_by_role("radio", name=mode).check()
        assert book.violations_in_both_themes() == [], mode
