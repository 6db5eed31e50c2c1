"""The layers of a root in the browser: live while a container writes, by keyboard alone."""

import pytest
from conftest import until
from playwright.sync_api import Locator, expect

from ui.conftest import MakeNotebook
from ui.notebook import Notebook

SETUP = """from labkit.notebook.lessons.v07 import *
base = a_layer({"etc/motd": "b", "etc/issue": "b"}, programs=True)
top = a_layer({"etc/motd": "t"})
upper, work = a_space()
root = Root(layers=(top, base), upper=upper, work=work, bare=True)
box = Container(("/bin/true",), cloneflags=WALLS, root=root)
def sh(script):
    run(replace(box, argv=("/bin/sh", "-c", script)))"""
LOOKING = (
    "import threading\n"
    "print(sum(thread.name == 'labkit-watch' for thread in threading.enumerate()))"
)


@pytest.fixture
def book(notebook: MakeNotebook) -> Notebook:
    """The layers in cell 1; 2 and 3 have the container write; 4 counts who looks."""
    cells = ["layers(box, 'top', 'base')", "sh('echo n > /etc/new')", "sh('rm /etc/issue')"]
    made = notebook(SETUP, *cells, LOOKING)
    made.run(0)
    made.run(1)
    expect(line(made, "/etc/motd")).to_be_visible()
    return made


def shown(book: Notebook) -> Locator:
    return book.output(1).locator(".labkit-layers")


def looking(book: Notebook) -> int:
    """How many threads look, as the kernel counts them: one that was told to end does so soon."""
    return int(book.run(4).inner_text())


def line(book: Notebook, path: str) -> Locator:
    name = book.page.locator("th", has=book.page.get_by_text(path, exact=True))
    return shown(book).locator("tbody tr").filter(has=name)


def test_the_layer_that_provides_a_file_is_named(book: Notebook) -> None:
    cells = line(book, "/etc/motd").locator("td")
    expect(cells.nth(0)).to_contain_text("lower: top")
    expect(cells.nth(1)).to_be_empty()
    expect(cells.nth(2)).to_have_class("provides")
    expect(cells.nth(3)).to_have_text("文件 file")
    expect(cells.nth(3)).to_have_class("")
    expect(book.output(1).locator(".labkit-static")).to_be_hidden()


def test_it_is_live_while_a_container_writes(book: Notebook) -> None:
    expect(line(book, "/etc/new")).to_have_count(0)
    book.run(2)
    expect(line(book, "/etc/new").locator("td").nth(1)).to_have_class("provides")
    expect(shown(book).get_by_role("status")).to_contain_text("just now: /etc")
    book.run(3)
    gone = line(book, "/etc/issue").locator("td")
    expect(gone.nth(0)).to_have_text("没有 nothing")
    expect(gone.nth(1)).to_have_text("遮盖 whiteout")


def test_by_keyboard_alone(book: Notebook) -> None:
    book.run(3)
    expect(line(book, "/etc/issue").locator(".hides")).to_be_visible()
    keys = book.page.keyboard
    shown(book).get_by_role("radio", name="all").focus()
    keys.press("ArrowRight")
    expect(shown(book).get_by_role("radio", name="those in the upper layer")).to_be_checked()
    expect(shown(book).locator("tbody tr")).to_have_count(2)  # /etc and the whiteout in it
    keys.press("ArrowRight")
    expect(line(book, "/etc/motd")).to_be_visible()
    expect(line(book, "/bin/busybox")).to_have_count(0)
    keys.press("Tab")
    expect(shown(book).locator(".scroll")).to_be_focused()
    assert book.page.evaluate("window.jupyterapp.shell.currentWidget.content.mode") == "command"


def test_it_rests_when_its_cell_is_gone(book: Notebook) -> None:
    until(lambda: looking(book) == 1)
    book.page.evaluate("window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    expect(book.panel.locator(".labkit-layers")).to_have_count(0)
    until(lambda: looking(book) == 0)


def test_everybody_can_use_it(book: Notebook) -> None:
    book.run(3)
    expect(line(book, "/etc/issue").locator(".hides")).to_be_visible()
    assert book.violations_in_both_themes() == []
