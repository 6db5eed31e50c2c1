"""The wiring of networks in the browser: drawn as it is wired, packets counted from a moment on."""

import pytest
from conftest import until
from playwright.sync_api import Locator, expect

from ui.conftest import MakeNotebook
from ui.notebook import Notebook, Watched

SETUP = """from labkit.notebook.lessons.v09 import *
host = machine("host")
web = serving(start(Container(SERVE, cloneflags=WALLS)))
def bridge():
    with IPRoute() as netlink:
        netlink.link("add", ifname="br0", kind="bridge", state="up")
        [number] = netlink.link_lookup(ifname="br0")
        netlink.addr("add", index=number, address="10.0.0.1", prefixlen=24)
within(host, bridge)"""
PLUG = 'plug(host, web, "to-web", "10.0.0.2", "10.0.0.1")'
LOOKING = (
    "import threading\n"
    "print(sum(thread.name == 'labkit-watch' for thread in threading.enumerate()))"
)


@pytest.fixture
def book(notebook: MakeNotebook) -> Notebook:
    """The widget in cell 1; 2 lays a cable, 3 asks for the page, 4 counts who looks."""
    made = notebook(SETUP, "topology(host=host, web=web)", PLUG, "ask(host, '10.0.0.2')", LOOKING)
    made.run(0)
    made.run(1)
    expect(row(made, "br0")).to_contain_text("10.0.0.1/24")
    return made


def shown(book: Notebook) -> Locator:
    return book.output(1).locator(".labkit-topology")


def row(book: Notebook, link: str) -> Locator:
    name = book.page.locator("td", has=book.page.get_by_text(link, exact=True))
    return shown(book).locator("tbody tr").filter(has=name)


def test_a_cable_is_drawn_when_it_is_laid(book: Notebook) -> None:
    picture = shown(book).locator("svg")
    expect(picture.locator(".cable")).to_have_count(0)
    expect(book.output(1).locator(".labkit-static")).to_be_hidden()
    book.run(2)
    expect(picture.locator(".cable")).to_have_count(1)
    expect(picture).to_have_attribute("aria-label", "host to-web – web eth0")
    expect(row(book, "to-web")).to_contain_text("web eth0, 网桥 br0 bridge br0")
    expect(shown(book).locator(".more")).to_contain_text("default via 10.0.0.1 dev eth0")


def test_packets_are_counted_from_the_moment_that_is_chosen_by_keyboard_alone(
    book: Notebook,
) -> None:
    book.run(2)
    expect(row(book, "to-web")).to_be_visible()
    shown(book).get_by_role("button", name="Count from now").focus()
    book.page.keyboard.press("Enter")
    expect(shown(book).get_by_role("status")).to_contain_text("Counted from zero")
    book.run(3)
    expect(book.output(3)).to_contain_text("hello, 10.0.0.1")
    until(lambda: counted(book, "to-web") >= 5)  # to open, to ask, to close
    assert counted(book, "to-web") < 50
    assert book.page.evaluate("window.jupyterapp.shell.currentWidget.content.mode") == "command"


def counted(book: Notebook, link: str) -> int:
    """Packets received by a link, as its row says."""
    return int(row(book, link).locator(".number").first.inner_text().strip("▲ "))


def test_it_rests_when_its_cell_is_gone(book: Notebook) -> None:
    until(lambda: int(book.run(4).inner_text()) == 1)
    book.page.evaluate("window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    expect(book.panel.locator(".labkit-topology")).to_have_count(0)
    until(lambda: int(book.run(4).inner_text()) == 0)


def test_everybody_can_use_it(book: Notebook, watched: Watched) -> None:
    book.run(2)
    expect(shown(book).locator(".cable")).to_have_count(1)
    for theme in "dark", "light":
        watched.theme(theme)
        assert book.violations() == [], theme
