"""choose() in the browser: each control with the keyboard alone, what it shows, what is copied."""

import re
from collections.abc import Iterator

import pytest
from conftest import until
from playwright.sync_api import Locator, Page, expect

from labkit import CLONE_NEWUTS, Clone, Container
from labkit.notebook.views.dialects import translations
from ui.conftest import MakeNotebook
from ui.notebook import THEMES, Notebook, Watched

START = """from labkit import *
from labkit.notebook import choose
chooser = choose(Container(("readlink", "/proc/self/ns/uts")))
chooser"""
BOX = "chooser.box"
PATIENT = "from labkit.notebook.trial import Trial\nTrial.__init__.__defaults__ = "
NEW = re.compile("新的 new")
SAME = re.compile("相同 same")


@pytest.fixture
def book(notebook: MakeNotebook) -> Notebook:
    made = notebook(START, BOX)
    made.run(0)
    expect(made.output(0).get_by_role("checkbox")).to_have_count(9)
    return made


@pytest.fixture
def clipboard(watched: Watched) -> Iterator[Page]:
    watched.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    yield watched.page
    watched.page.context.clear_permissions()


def row(shown: Locator, kind: str) -> Locator:
    box = shown.page.get_by_role("checkbox", name=f"{kind} CLONE")
    return shown.get_by_role("row").filter(has=box)


def chosen(book: Notebook) -> str:
    return book.run(1).inner_text().strip()


def copied(page: Page) -> str:
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_tick_a_flag_and_read_the_changed_inode(book: Notebook) -> None:
    shown = book.output(0)
    uts = row(shown, "uts")
    expect(uts).to_contain_text(SAME)
    host = uts.get_by_role("cell").nth(1).inner_text()
    expect(shown.get_by_label("输出 · Output")).to_have_text(f"uts:[{host}]")
    shown.get_by_role("checkbox", name="uts CLONE_NEWUTS").check()
    expect(uts).to_contain_text(NEW)
    inside = uts.get_by_role("cell").nth(2).inner_text()
    assert inside != host == uts.get_by_role("cell").nth(1).inner_text()
    expect(shown.get_by_label("输出 · Output")).to_have_text(f"uts:[{inside}]\n")
    expect(shown.get_by_role("status")).to_contain_text("new: uts; ended with exit status 0")
    expect(shown.get_by_label("调用记录 · Trace")).to_contain_text("flags=CLONE_VM|CLONE_NEWUTS,")
    expect(row(shown, "ipc")).to_contain_text(SAME)
    assert "cloneflags=CLONE_NEWUTS" in chosen(book)


def test_each_kind_by_the_keyboard_alone(book: Notebook) -> None:
    """Space ticks it, Tab goes on to the next; then the fields, the tabs, the copy button."""
    shown, page = book.output(0), book.page
    boxes = shown.get_by_role("checkbox")
    boxes.first.focus()
    kinds = [
        each.strip().split() for each in shown.locator(".labkit-chooser tbody th").all_inner_texts()
    ]
    for kind, flag in kinds:
        expect(shown.get_by_role("checkbox", name=f"{kind} {flag}")).to_be_focused()
        page.keyboard.press("Space")
        expect(row(shown, kind)).to_contain_text(NEW)
        page.keyboard.press("Tab")
    assert str(Clone(sum(Clone))) in chosen(book)
    cells = len(book.cells())
    shown.get_by_label("主机名").focus()
    page.keyboard.type("dd-aabb-xx-zz")  # commands of the notebook, were it listening
    page.keyboard.press("Enter")
    trace = shown.get_by_label("调用记录 · Trace")
    expect(trace).to_contain_text('sethostname("dd-aabb-xx-zz", 13)')
    page.keyboard.press("Tab")
    page.keyboard.press("Control+a")
    page.keyboard.type("sh -c 'hostname; ls -d /proc/[0-9]'")
    page.keyboard.press("Tab")  # to leave a field is enough
    page.keyboard.press("Space")  # the checkbox of /proc
    expect(shown.get_by_label("输出 · Output")).to_have_text("dd-aabb-xx-zz\n/proc/1\n")
    page.keyboard.press("Tab")
    before = trace.inner_text()
    page.keyboard.press("Enter")  # once more
    expect(trace).not_to_have_text(before)
    assert len(book.cells()) == cells
    assert "hostname='dd-aabb-xx-zz'" in chosen(book)


def test_five_languages_to_be_copied_by_the_keyboard(book: Notebook, clipboard: Page) -> None:
    shown = book.output(0)
    shown.get_by_role("checkbox", name="uts CLONE_NEWUTS").check()
    expect(row(shown, "uts")).to_contain_text(NEW)
    box = Container(("readlink", "/proc/self/ns/uts"), cloneflags=CLONE_NEWUTS)
    shown.get_by_role("tab", selected=True).focus()
    for each in translations(box):
        expect(shown.get_by_role("tab", selected=True)).to_have_text(each.language)
        expect(shown.get_by_role("tabpanel")).to_have_text(each.code)
        for note in each.notes:
            expect(shown.locator(".labkit-chooser ul")).to_contain_text(note.en.replace("`", ""))
        shown.get_by_role("button", name="Copy").focus()
        clipboard.keyboard.press("Enter")
        expect(shown.get_by_role("button", name="Copied")).to_be_visible()
        assert copied(clipboard) == each.code
        expect(shown.get_by_role("button", name="Copied")).to_have_count(0)
        shown.get_by_role("tab", selected=True).focus()
        clipboard.keyboard.press("ArrowRight")


def test_copying_where_a_page_may_not_reach_the_clipboard(book: Notebook, clipboard: Page) -> None:
    """As over plain http from another machine: there is no navigator.clipboard."""
    shown = book.output(0)
    clipboard.evaluate("navigator.clipboard.writeText('before')")
    hide = "Object.defineProperty(Navigator.prototype, 'clipboard', {get() {}, configurable: true})"
    kept = "window.kept = Object.getOwnPropertyDescriptor(Navigator.prototype, 'clipboard')"
    clipboard.evaluate(f"() => {{ {kept}; {hide}; }}")
    shown.get_by_role("button", name="Copy").click()
    expect(shown.get_by_role("button", name="Copied")).to_be_visible()
    clipboard.evaluate("Object.defineProperty(Navigator.prototype, 'clipboard', window.kept)")
    assert copied(clipboard) == shown.get_by_role("tabpanel").inner_text()


def test_what_is_no_container_is_said_in_the_widget(book: Notebook) -> None:
    shown = book.output(0)
    shown.get_by_label("主机名").fill("box")
    shown.get_by_label("主机名").press("Enter")
    wrong = shown.get_by_role("status")
    expect(wrong.locator("[lang=zh-Hans]").first).to_contain_text("改的是宿主机的名字")
    expect(wrong.locator("[lang=en]").first).to_contain_text("the host itself would be renamed")
    expect(row(shown, "uts")).to_contain_text("not run")
    shown.get_by_role("checkbox", name="uts CLONE_NEWUTS").check()
    expect(row(shown, "uts")).to_contain_text(NEW)
    expect(wrong).not_to_contain_text("renamed")


def test_a_program_without_end_keeps_nobody_waiting(notebook: MakeNotebook) -> None:
    """With all the time in the world its kernel would come to no other cell, were it kept."""
    book = notebook(START, BOX, f"{PATIENT}(1000, None)", f"{PATIENT}(2, None)")
    for cell in (0, 2):
        book.run(cell)
    shown = book.output(0)
    for seconds, cell in (1000, 3), (1001, 2):
        shown.get_by_label("程序").fill(f"sh -c 'echo begun; exec sleep {seconds}'")
        shown.get_by_label("程序").press("Enter")
        assert f"sleep {seconds}" in chosen(book)
        book.run(cell)
    expect(shown.get_by_role("status")).to_contain_text("It had not ended after 2 seconds")
    expect(shown.get_by_label("输出 · Output")).to_have_text("begun\n")


@pytest.mark.parametrize("theme", THEMES)
def test_everybody_can_use_it(book: Notebook, theme: str) -> None:
    book.watched.theme(theme)
    shown = book.output(0)
    shown.get_by_role("checkbox", name="uts CLONE_NEWUTS").check()
    shown.get_by_label("程序").fill("no-such-program")
    shown.get_by_label("程序").press("Enter")
    expect(shown.get_by_label("输出 · Output")).to_contain_text("No such file")
    assert book.violations() == []
    expect(shown.locator(".labkit-static")).to_be_hidden()
    book.watched.theme("light")


def test_it_is_whole_on_a_narrow_page(book: Notebook) -> None:
    shown, page = book.output(0), book.page
    size = page.viewport_size
    assert size
    too_wide = (
        "e => [...e.querySelectorAll('*')].filter(x => x.scrollWidth > x.clientWidth + 1"
        " && getComputedStyle(x).display !== 'inline').map(x => x.outerHTML.slice(0, 80))"
    )
    page.set_viewport_size({"width": 700, "height": size["height"]})
    try:  # JupyterLab makes its own panels narrower a little later
        until(lambda: shown.locator(".labkit-chooser").evaluate(too_wide) == [])
    finally:
        page.set_viewport_size(size)
