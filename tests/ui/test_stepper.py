"""steps() in the browser: forwards and backwards through a real start."""

import pytest
from playwright.sync_api import Locator, expect

from ui.conftest import MakeNotebook
from ui.notebook import THEMES, Notebook

START = """from labkit import *
from labkit.notebook import steps
stepper = steps(Container(("true",), cloneflags=CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWPID,
                          hostname="box", proc=True))
stepper"""
CONFINED = """from labkit import *
from labkit.notebook import steps
steps(Container(("true",), capabilities=("KILL",), ambient_caps=("KILL",),
                no_new_privs=True, seccomp="default"))"""
ALL_BUT_ONE = """from labkit import *
from labkit.notebook import steps
from labkit.linux.capabilities import CAPABILITIES
kept = [name for name in CAPABILITIES if name != "CAP_SYS_ADMIN"]
steps(Container(("true",), rootless=True, capabilities=kept, no_new_privs=True,
                seccomp="default"))"""
TRACE = "print(*stepper.recording.trace, sep='\\n')"


@pytest.fixture
def book(notebook: MakeNotebook) -> Notebook:
    made = notebook(START, TRACE, "import time; time.sleep(60)")
    made.run(0)
    expect(made.output(0).get_by_role("list").first).to_be_visible()
    return made


def test_forwards_and_backwards_by_the_keyboard_alone(book: Notebook) -> None:
    trace = book.run(1).inner_text().strip().splitlines()
    shown, press = book.output(0), book.page.keyboard.press
    panel = shown.get_by_role("region")
    current = shown.locator("[aria-current=step]")
    current.focus()
    for line in trace:
        expect(panel.locator("pre").first).to_have_text(line)
        expect(current).to_be_focused()
        press("ArrowDown")
    press("ArrowDown")  # there is no further
    expect(shown.get_by_role("status")).to_contain_text(f"step {len(trace)} of {len(trace)}")
    press("Home")
    expect(panel.locator("pre").first).to_have_text(trace[0])
    for key, at in (("End", -1), ("ArrowLeft", -2), ("ArrowUp", -3), ("ArrowRight", -2)):
        press(key)
        expect(panel.locator("pre").first).to_have_text(trace[at])
    shown.get_by_role("button", name="Back").focus()
    press("Enter")
    press("Tab")
    expect(shown.get_by_role("button", name="Next")).to_be_focused()
    press("Space")
    press("Enter")
    expect(panel.locator("pre").first).to_have_text(trace[-1])
    assert len(book.cells()) == 3


def test_each_step_says_what_it_changed(book: Notebook) -> None:
    shown = book.output(0)
    panel = shown.get_by_role("region")
    kinds = panel.locator(".labkit-kinds li")
    expect(kinds).to_have_count(8)
    for kind in ("mnt", "pid", "uts"):
        expect(panel.get_by_role("row").filter(has_text=f"{kind} namespace")).to_have_count(1)
        expect(kinds.filter(has_text=kind)).to_contain_text("new")
    expect(kinds.filter(has_text="net")).to_contain_text("the host's")
    shown.get_by_role("button", name="sethostname").click()
    expect(panel.get_by_role("row").filter(has_text="host name")).to_contain_text("box")
    expect(panel.get_by_role("link")).to_have_attribute(
        "href", "https://man7.org/linux/man-pages/man2/sethostname.2.html"
    )
    shown.get_by_role("button", name="mount its own /proc").click()
    expect(panel.locator("ins")).to_have_text(
        "+ /proc proc proc rw,nosuid,nodev,noexec,relatime private\n"
    )
    expect(panel).to_contain_text("device files cannot be opened")


def test_each_step_says_what_may_no_longer_be_done(notebook: MakeNotebook) -> None:
    book = notebook(CONFINED)
    book.run(0)
    shown = book.output(0)
    panel = shown.get_by_role("region")

    def row(step: str, what: str) -> Locator:
        """What the panel says of one thing after a step."""
        shown.get_by_role("button", name=step).first.click()
        return panel.get_by_role("row").filter(has_text=what).get_by_role("cell")

    expect(row("remove one from the bounding set", "bounding set").last).to_have_text("-CAP_CHOWN")
    expect(row("capset", "effective capabilities").last).to_contain_text("only CAP_KILL")
    expect(row("capset", "inheritable").first).to_contain_text("none")
    expect(row("capset", "inheritable").last).to_have_text("+CAP_KILL")
    items = shown.get_by_role("list").first.get_by_role("button")
    dropped = items.filter(has_text="-CAP_")
    expect(dropped.filter(has_text="-CAP_CHOWN")).to_have_count(1)
    items.first.click()
    expect(items.last).not_to_be_in_viewport()
    items.first.press("End")
    expect(items.last).to_be_in_viewport()
    items.nth(-3).click()
    expect(panel.get_by_role("row").filter(has_text="no_new_privs")).to_contain_text("1")
    expect(row("seccomp", "how many seccomp filters").last).to_have_text("1")
    for theme in THEMES:
        book.watched.theme(theme)
        for name in ("capset", "seccomp"):
            shown.get_by_role("button", name=name).first.click()
            assert book.violations() == []
    book.watched.theme("light")


def test_forty_capabilities_do_not_fill_the_page(notebook: MakeNotebook) -> None:
    book = notebook(ALL_BUT_ONE)
    book.run(0)
    shown = book.output(0)
    shown.get_by_role("button", name="capset").click()
    panel = shown.get_by_role("region")
    effective = panel.locator("dd").filter(has_text="CAP_CHOWN").first
    expect(effective).to_contain_text("CAP_CHECKPOINT_RESTORE")
    effective.focus()
    expect(effective).to_be_focused()
    box = panel.bounding_box()
    assert box
    assert box["height"] < 1200  # in two languages; it was twice as high
    assert book.violations() == []
    rows = panel.get_by_role("row")
    expect(rows.filter(has_text="effective")).to_contain_text("-CAP_SYS_ADMIN")
    shown.get_by_role("button", name="clone3").click()
    expect(rows.filter(has_text="effective").get_by_role("cell").last).to_contain_text("all")
    expect(rows.filter(has_text="map of user IDs")).to_contain_text("none")
    shown.get_by_role("button", name="seccomp").click()
    expect(panel).to_contain_text("how many instructions the filter has")


def test_no_kernel_is_needed_for_a_step(book: Notebook) -> None:
    """It goes on while a cell is running."""
    book.page.evaluate(
        "() => { const panel = window.jupyterapp.shell.currentWidget;"
        " panel.content.activeCellIndex = 2;"
        " window.jupyterapp.commands.execute('notebook:run-cell'); }"
    )
    expect(book.panel.locator(".jp-InputArea-prompt").nth(2)).to_contain_text("*")
    shown = book.output(0)
    shown.get_by_role("button", name="Next").click()
    expect(shown.get_by_role("status")).to_contain_text("step 2 of")
    expect(shown.get_by_role("region")).to_contain_text("PR_SET_PDEATHSIG")


@pytest.mark.parametrize("theme", THEMES)
def test_everybody_can_use_it(book: Notebook, theme: str) -> None:
    book.watched.theme(theme)
    shown = book.output(0)
    for name in ("clone3", "mount its own /proc", "execve"):
        shown.get_by_role("button", name=name).click()
        assert book.violations() == []
    expect(shown.locator(".labkit-static")).to_be_hidden()
    book.watched.theme("light")
