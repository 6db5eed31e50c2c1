"""terminal(box) in the browser: typed at, resized, reloaded, ended, by keyboard alone."""

import itertools
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import command_line, marked, until
from playwright.sync_api import Locator, expect

from ui.conftest import MakeNotebook
from ui.notebook import Notebook, Watched

BOX = """
from labkit import *
from labkit.notebook import terminal
import os
env = {"PATH": "/usr/bin:/bin", "PS1": "$ ", "LANG": "C.UTF-8", "TERM": "xterm-256color",
       "LABKIT_TESTS": os.environ["LABKIT_TESTS"]}
box = Container(("bash", "--norc", "-i"), cloneflags=CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWPID,
                hostname="box", proc=True, env=env)
shell = terminal(box)
shell
"""
PROMPT = re.compile(r"\$\s*$")


class Shell:
    """A terminal on the page, as a reader sees and uses it."""

    def __init__(self, book: Notebook, index: int = 0) -> None:
        self.book, self.page = book, book.page
        self.out = book.output(index)
        self.rows = self.out.locator(".xterm-rows")
        self.status = self.out.get_by_role("status")
        self.input = self.out.get_by_role("textbox")

    def ready(self) -> "Shell":
        expect(self.rows).to_contain_text(PROMPT)
        self.input.focus()
        return self

    def type(self, text: str) -> None:
        """Press a key for each character."""
        self.page.keyboard.type(text)

    def enter(self, line: str) -> None:
        """A line at once, as it is pasted, and Enter."""
        self.page.keyboard.insert_text(line)
        self.page.keyboard.press("Enter")

    def says(self, text: str | re.Pattern[str]) -> None:
        expect(self.rows).to_contain_text(text)

    def answer(self, pattern: str) -> re.Match[str]:
        """Wait until the rows show what matches; the match, as what is read again has moved."""
        return until(lambda: re.search(pattern, self.rows.inner_text()))


@pytest.fixture
def shell(notebook: MakeNotebook) -> Shell:
    book = notebook(BOX, "print(os.getpid())")
    book.run(0)
    return Shell(book).ready()


def bashes() -> set[int]:
    """The shells of these tests that live: a notebook run before may have left its own running."""
    return {pid for pid in marked() if command_line(pid).startswith(b"bash\0--norc\0-i")}


def the_bashes(number: int) -> set[int]:
    """Wait until there are so many: those of the test before may still be ending."""
    return until(lambda: found if len(found := bashes()) == number else None)


def test_what_is_typed_is_answered(shell: Shell) -> None:
    shell.type("hostname; echo $((6 * 7)); tty\n")
    shell.says(re.compile(r"box\s*42\s*/dev/pts/\d+"))
    expect(shell.status).to_contain_text("正在运行")
    expect(shell.status).to_contain_text("running")
    assert not shell.out.locator(".labkit-static").is_visible()


def test_chinese_is_typed_through_an_input_method(shell: Shell) -> None:
    """As the browser's input method composes it, and as it is pasted."""
    method = shell.page.context.new_cdp_session(shell.page)
    shell.type("echo ")
    for text in "n", "ni", "ni h", "ni hao":
        method.send(
            "Input.imeSetComposition", {"text": text, "selectionStart": 0, "selectionEnd": 0}
        )
    method.send("Input.insertText", {"text": "你好"})
    shell.says("$ echo 你好")
    shell.page.keyboard.insert_text("容器盒")
    shell.page.keyboard.press("Backspace")
    shell.says("echo 你好容器")
    shell.page.keyboard.press("Enter")
    shell.says(re.compile(r"你好容器\s*你好容器\s*\$"))


def test_the_program_learns_of_a_new_size(shell: Shell, watched: Watched) -> None:
    asked = itertools.count()

    def size() -> tuple[int, int]:
        number = next(asked)  # the answer to this question, not to the one before
        shell.enter(f"clear; echo size {number}: $(stty size)")
        rows, columns = shell.answer(rf"size {number}:\s(\d+)\s(\d+)\s*\$").groups()
        return int(rows), int(columns)

    wide = size()
    assert watched.page.viewport_size
    old = watched.page.viewport_size
    try:
        watched.page.set_viewport_size({"width": 700, "height": 900})
        until(lambda: size()[1] < wide[1] - 20)
        overflow = "e => e.scrollWidth - e.clientWidth"
        assert shell.out.locator(".labkit-terminal").evaluate(overflow) <= 0
    finally:
        watched.page.set_viewport_size(old)
    shell.out.locator(".labkit-terminal-screen").evaluate("e => { e.style.height = '120px'; }")
    until(lambda: size()[0] < wide[0])


def test_control_c_and_control_d(shell: Shell) -> None:
    shell.enter("(echo u'p'; exec sleep 1000)")
    shell.says(re.compile(r"\)\s*up"))
    shell.page.keyboard.press("Control+c")
    shell.says(re.compile(r"\^C[\d\s]*\$ "))  # what yes had written to the terminal may follow
    shell.page.keyboard.press("Control+d")
    expect(shell.status).to_contain_text("退出状态 130")
    expect(shell.status).to_contain_text("exit status 130")


def test_no_key_is_a_shortcut_of_the_notebook(notebook: MakeNotebook) -> None:
    book = notebook(BOX, "'below'")
    book.run(0)
    shell = Shell(book).ready()
    shell.type("ddaabbxxcvzz00ii")
    for key in ("Shift+Enter", "Control+Enter", "Alt+Enter", "Escape", "Control+b", "Control+f"):
        shell.page.keyboard.press(key)
    shell.says("ddaabbxxcvzz00ii")
    assert [cell["execution_count"] for cell in book.cells()] == [1, None]
    expect(shell.input).to_be_focused()


def test_selected_text_is_copied_and_pasted(shell: Shell) -> None:
    shell.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    shell.enter("echo one'two'")
    shell.says("onetwo")
    shell.rows.get_by_text("onetwo", exact=True).first.dblclick(force=True)
    shell.page.keyboard.press("Control+c")
    shell.input.focus()
    shell.type("echo pasted-")
    shell.page.keyboard.press("Control+v")
    shell.says("echo pasted-onetwo")


def reopened(book: Notebook, path: str) -> Notebook:
    """Open a notebook once more, as `book` itself, which the fixture will close."""
    vars(book).update(vars(book.watched.open(path)))
    return book


def test_a_reload_shows_it_as_it_was(shell: Shell, watched: Watched) -> None:
    shell.enter("echo be'fore'; printf '\\e[31mred\\e[0m\\n'; sleep 1000")
    shell.says("before")
    alive = bashes()
    path = watched.page.evaluate("window.jupyterapp.shell.currentWidget.context.path")
    watched.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    watched.load()
    again = Shell(reopened(shell.book, path))
    again.says(re.compile(r"before\s*red"))
    again.input.focus()
    again.page.keyboard.press("Control+c")
    again.says("^C")
    again.enter("echo af'ter'")
    again.says("after")
    assert bashes() & alive


def test_two_at_once(notebook: MakeNotebook, watched: Watched) -> None:
    """Each is its own; the library that draws them is sent once."""
    count = """
from labkit.notebook.widgets import terminals
sent, library = [], terminals._library
terminals._library = lambda: sent.append(1) or library()
"""
    watched.load()
    book = notebook(count + BOX, BOX, "len(sent)")
    book.run(0)
    first = Shell(book, 0).ready()
    book.run(1)
    second = Shell(book, 1).ready()
    second.enter("echo sec'ond'")
    second.says("second")
    first.input.focus()
    first.enter("echo fir'st'")
    first.says("first")
    assert "second" not in first.rows.inner_text()
    assert the_bashes(2)
    assert book.run(2).locator("pre").inner_text() == "1"


def test_how_it_ended_and_once_more(shell: Shell) -> None:
    shell.enter("echo old; exit 3")
    expect(shell.status).to_contain_text("退出状态 3")
    expect(shell.status).to_contain_text("exit status 3")
    shell.out.get_by_role("button", name="Start again").click()
    expect(shell.status).to_contain_text("running")
    shell.ready()
    assert "old" not in shell.rows.inner_text()
    shell.enter("hostname")
    shell.says("box")
    shell.out.get_by_role("button", name="End").click()
    expect(shell.status).to_contain_text("SIGKILL")
    until(lambda: not bashes())


def test_by_keyboard_alone(shell: Shell) -> None:
    keyboard = shell.page.keyboard
    keyboard.press("Tab")
    expect(shell.input).to_be_focused()
    keyboard.press("Control+Shift+Enter")
    expect(shell.input).not_to_be_focused()
    keyboard.press("Tab")
    expect(shell.out.get_by_role("button", name="End")).to_be_focused()
    keyboard.press("Shift+Tab")
    expect(shell.input).to_be_focused()
    keyboard.press("Control+Shift+Enter")
    keyboard.press("Tab")
    keyboard.press("Enter")
    expect(shell.status).to_contain_text("SIGKILL")
    expect(shell.out.get_by_role("button", name="Start again")).to_be_focused()
    keyboard.press("Space")
    expect(shell.status).to_contain_text("running")


def test_everybody_can_use_it(shell: Shell, watched: Watched) -> None:
    shell.enter(
        'clear; for i in {0..7}; do printf "\\e[3${i}mcolour$i \\e[9${i}mbright$i\\e[0m\\n"; done'
    )
    shell.says("bright7")
    for theme, colour in (("dark", "rgb(17, 17, 17)"), ("light", "rgb(255, 255, 255)")):
        watched.theme(theme)
        expect(shell.out.locator(".xterm-scrollable-element")).to_have_css(
            "background-color", colour
        )
        assert shell.book.violations() == [], theme


def test_a_flood_leaves_page_and_kernel_well(shell: Shell) -> None:
    kernel = int(shell.book.run(1).locator("pre").inner_text())
    shell.input.focus()

    def memory() -> int:
        return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{kernel}/status").read_text())[0])

    before = memory()
    shell.enter("yes 0123456789")
    shell.says("0123456789")
    began = time.monotonic()
    while time.monotonic() < began + 3:
        asked = time.monotonic()
        shell.page.evaluate("new Promise(requestAnimationFrame)")
        assert time.monotonic() - asked < 10  # a page that drowns takes for ever
    shell.page.keyboard.press("Control+c")
    shell.says(re.compile(r"\^C[\d\s]*\$ "))  # what yes had written to the terminal may follow
    shell.enter("clear; echo we'll'")
    shell.says("well")
    assert memory() < before + 50_000


def test_it_can_be_used_while_a_cell_runs(notebook: MakeNotebook, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    book = notebook(BOX, f"open({str(tmp_path / 'go')!r}).read()")
    book.run(0)
    shell = Shell(book).ready()
    command(book, "notebook:run-cell", 1)
    expect(book.panel.locator(".jp-Cell").nth(1).locator(".jp-InputPrompt")).to_have_text("[*]:")
    shell.input.focus()
    shell.enter("hostname")
    shell.says("box")
    shell.enter("seq 100000")
    shell.says(re.compile(r"100000\s*\$ "))
    (tmp_path / "go").write_text("on")


ENDINGS: dict[str, Callable[[Notebook], object]] = {
    "run again": lambda book: (book.run(1), book.run(0)),
    "output cleared": lambda book: command(book, "notebook:clear-cell-output"),
    "cell deleted": lambda book: command(book, "notebook:delete-cell"),
    "closed": lambda book: book.run(1),
    "kernel restarted": lambda book: book.restart(),
}


def command(book: Notebook, name: str, index: int = 0) -> None:
    """Have JupyterLab begin something with one cell."""
    book.page.evaluate(
        "([name, index]) => { const book = window.jupyterapp.shell.currentWidget.content;"
        " book.activeCellIndex = index; window.jupyterapp.commands.execute(name); }",
        [name, index],
    )


@pytest.mark.parametrize("how", ENDINGS)
def test_it_ends_with_its_cell(how: str, notebook: MakeNotebook) -> None:
    close = "shell.close()" if how == "closed" else "1"
    book = notebook(BOX, close, "2")
    book.run(0)
    Shell(book).ready()
    before = the_bashes(1)
    ENDINGS[how](book)
    until(lambda: not before & bashes())
    if how == "kernel restarted":
        expect(Shell(book).status.last).to_contain_text("the notebook's process is gone")


def test_a_cell_that_is_moved_takes_it_along(notebook: MakeNotebook) -> None:
    book = notebook(BOX, "'other'")
    book.run(0)
    Shell(book).ready()
    before = the_bashes(1)
    command(book, "notebook:move-cell-down")
    moved = Shell(book, 1).ready()
    book.page.wait_for_timeout(3000)
    moved.enter("echo a'live'")
    moved.says("alive")
    assert bashes() == before


def test_a_closed_notebook_leaves_it_running(shell: Shell, watched: Watched) -> None:
    """JupyterLab keeps the kernel of a notebook that is closed; it can be opened again."""
    shell.enter("echo still he're'")
    shell.says("still here")
    page, before = watched.page, the_bashes(1)
    path = page.evaluate("window.jupyterapp.shell.currentWidget.context.path")
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.evaluate("window.jupyterapp.shell.currentWidget.close()")
    expect(shell.book.panel).to_have_count(0)
    page.wait_for_timeout(3000)
    assert bashes() == before
    Shell(reopened(shell.book, path)).says("still here")


def test_a_refusal_is_an_error_of_the_cell(notebook: MakeNotebook) -> None:
    book = notebook(BOX.replace('hostname="box"', 'cwd="/nowhere", hostname="box"'), "'next'")
    out: Locator = book.run(0)
    expect(out).to_contain_text("FileNotFoundError")
    expect(out.locator(".labkit-terminal")).to_have_count(0)


def test_the_line_of_the_notes(notebook: MakeNotebook) -> None:
    """docker run --rm -it, and a script for a container."""
    lesson = "from labkit.notebook.lessons.v01 import *\n%load_ext labkit"
    line = f"{lesson}\n%docker run --rm -it -h box ubuntu /bin/sh"
    book = notebook(line, "%%docker run --rm ubuntu sh\necho from $PPID; hostname; exit 3")
    shell = Shell(book)
    expect(book.run(0)).to_contain_text("ubuntu is only a name so far")
    expect(shell.rows).to_contain_text(re.compile(r"#\s*$"))
    shell.input.focus()
    shell.enter("echo $TERM; hostname")
    shell.says(re.compile(r"xterm\s*box"))
    out = book.run(1)
    expect(out).to_contain_text(re.compile(r"from 0\s+[0-9a-f]{12}\s"))
    expect(out).to_contain_text("exit status 3")


def test_a_script_can_be_interrupted(notebook: MakeNotebook) -> None:
    lesson = "from labkit.notebook.lessons.v01 import *\n%load_ext labkit"
    book = notebook(lesson, "%%docker run ubuntu sh\necho ready; sleep 1000")
    book.run(0)
    command(book, "notebook:run-cell", 1)
    expect(book.output(1)).to_contain_text("ready")
    book.page.evaluate("window.jupyterapp.commands.execute('notebook:interrupt-kernel')")
    expect(book.output(1)).to_contain_text("have been ended")
