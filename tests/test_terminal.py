"""terminal(box) without a browser: what is kept, who is told, how it ends."""

import hashlib
import re
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from conftest import PATIENCE, ROOT, descriptors, marked, until

from labkit import CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS, Container, Root
from labkit.notebook.widgets import screen as screens
from labkit.notebook.widgets.screen import KEPT, WINDOW, Screen
from labkit.notebook.widgets.session import Session
from labkit.notebook.widgets.terminals import Terminal, terminal

BASH = Container(
    ("bash", "--norc", "-i"),
    cloneflags=CLONE_NEWPID | CLONE_NEWUTS,
    hostname="box",
    env={"PATH": "/usr/bin:/bin", "PS1": "$ ", "TERM": "dumb"},
)


class Page:
    """What a page would show: it draws only as far as it is told to."""

    def __init__(self) -> None:
        self.screen = Screen(self.show, self.replay)
        self.drawn, self.position, self.replays = b"", -1, 0

    def show(self, data: bytes, before: int) -> None:
        if before == self.position:
            self.drawn += data
            self.position += len(data)

    def replay(self, page: str, data: bytes, before: int) -> None:
        assert page == "page"
        self.replays += 1
        self.drawn, self.position = data, before + len(data)

    def attach(self) -> "Page":
        self.screen.attach("page")
        return self

    def seen(self) -> None:
        self.screen.seen("page", self.position)


# --- What is kept, and how fast -----------------------------------------------------------------


def test_a_page_that_comes_late_gets_what_is_kept() -> None:
    page = Page()
    page.screen.add(b"before ")
    page.attach()
    page.screen.add("之后".encode())
    assert (page.drawn.decode(), page.replays) == ("before 之后", 1)


def test_what_is_kept_is_bounded_and_begins_with_a_line() -> None:
    page = Page()
    line = "一行 line\n".encode()
    for _ in range(3 * KEPT // len(line)):
        page.screen.add(line)
    page.attach()
    assert KEPT - len(line) < len(page.drawn) <= KEPT
    assert page.drawn.startswith(line)
    page.screen.add(b"x" * 2 * KEPT)  # no end of a line at all
    assert len(page.screen._kept) == KEPT


def test_there_is_room_until_a_page_is_a_window_behind() -> None:
    page = Page().attach()
    page.screen.add(b"x" * (WINDOW - 1))
    assert page.screen.room()
    page.screen.add(b"x")
    assert not page.screen.room()
    page.seen()
    assert page.screen.room()


class Clock:
    """Time that passes when the test says so, not while a busy machine does something else."""

    def __init__(self) -> None:
        self.now = 1.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(screens, "time", made)
    return made


def test_a_page_that_sleeps_is_left_behind_and_gets_the_rest_when_it_wakes(clock: Clock) -> None:
    page = Page().attach()
    page.screen.add(b"x" * WINDOW)
    slept = page.position
    assert not page.screen.room()
    clock.now += screens.PATIENCE
    assert page.screen.room()
    page.screen.add(b"\nlatest")
    assert page.position == slept
    page.screen.seen("page", slept)
    assert page.drawn.endswith(b"x\nlatest")
    assert page.replays == 2


def test_without_any_page_it_goes_on_slowly(clock: Clock) -> None:
    page = Page()
    page.screen.add(b"x" * WINDOW)
    assert not page.screen.room()
    clock.now += screens.PATIENCE
    assert page.screen.room()
    page.screen.add(b"y" * WINDOW)
    assert not page.screen.room()
    page.attach()
    page.screen.detach("page")
    assert page.screen.room()


# --- One run ------------------------------------------------------------------------------------


def session(box: Container, page: Page) -> tuple[Session, threading.Event]:
    ended = threading.Event()
    return Session(replace(box, tty=True), page.screen, (24, 80), ended.set), ended


def test_a_session_types_and_shows() -> None:
    page = Page().attach()
    running, ended = session(BASH, page)
    until(lambda: page.drawn.endswith(b"$ "))
    running.resize(33, 99)
    running.type(b"hostname; stty size; exit 4\r")
    assert ended.wait(PATIENCE)
    assert b"\nbox\r\n33 99\r\n" in page.drawn
    assert running.running.wait().returncode == 4


def test_a_flood_is_held_and_control_c_comes_through() -> None:
    page = Page().attach()
    running, ended = session(BASH, page)
    until(lambda: page.drawn.endswith(b"$ "))
    running.type(b"yes\r")
    until(lambda: len(page.drawn) >= WINDOW)
    time.sleep(0.2)
    assert len(page.drawn) < 2 * WINDOW + 65536  # nobody has said that it was seen
    running.type(b"\3")
    page.seen()
    until(lambda: b"^C" in page.drawn and page.drawn.endswith(b"$ "))
    running.type(b"exit\r")
    assert ended.wait(PATIENCE)


def test_thousands_of_lines_are_all_shown_at_the_end() -> None:
    page = Page().attach()
    show = page.screen._show

    def shown(data: bytes, before: int) -> None:
        show(data, before)
        page.seen()

    page.screen._show = shown
    _, ended = session(Container(("seq", "30000")), page)
    assert ended.wait(PATIENCE)
    assert page.drawn == "".join(f"{n}\r\n" for n in range(1, 30001)).encode()


def test_what_is_typed_at_a_program_that_does_not_read_is_bounded() -> None:
    page = Page().attach()
    running, ended = session(Container(("sh", "-c", "stty raw -echo; sleep 1000")), page)
    for _ in range(100):
        running.type(b"x" * 65536)
    assert len(running._typed) <= 1 << 20
    running.kill()
    assert ended.wait(PATIENCE)


def test_many_at_once_leave_nothing() -> None:
    before = descriptors(), marked(), threading.active_count()
    pages = [Page().attach() for _ in range(12)]
    started = [session(BASH, page) for page in pages]
    for number, (running, _) in enumerate(started):
        running.type(f"echo n{number}; exit\r".encode())
    for number, (page, (_, ended)) in enumerate(zip(pages, started, strict=True)):
        assert ended.wait(PATIENCE)
        assert f"\nn{number}\r".encode() in page.drawn
    until(lambda: descriptors().items() <= before[0].items())
    until(lambda: marked() <= before[1])
    until(lambda: threading.active_count() <= before[2])


# --- The widget ---------------------------------------------------------------------------------


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """A terminal; `sent` holds what it would have sent to pages."""
    sent: list[tuple[dict[str, Any], list[bytes]]] = []
    monkeypatch.setattr(
        Terminal, "send", lambda _, content, buffers=None: sent.append((content, buffers or []))
    )
    made = terminal(BASH)
    made.__dict__["sent"] = sent
    until(lambda: made.text().endswith("$ "))
    yield made
    made.close()


def hear(shell: Terminal, **said: object) -> None:
    shell._hear(shell, said, [])


def test_it_runs_on_a_terminal_and_says_how_it_ended(shell: Terminal) -> None:
    assert (shell.command, shell.status) == ("bash --norc -i", [])
    shell.write("tty; exit 3\r")
    until(lambda: bool(shell.status))
    assert re.search(r"/dev/pts/\d+\r\n", shell.text())
    assert shell.status == ["以退出状态 3 结束", "ended with exit status 3"]


def test_it_can_be_started_again(shell: Terminal) -> None:
    hear(shell, ask="again")  # not while it runs
    pid = shell.running.pid
    hear(shell, ask="end")
    until(lambda: bool(shell.status))
    assert shell.status == ["被信号 SIGKILL 终止", "was ended by signal SIGKILL"]
    hear(shell, rows=30, columns=70)
    hear(shell, ask="again")
    assert shell.status == []
    assert shell.running.pid != pid
    hear(shell, typed="stty size\r")
    until(lambda: "30 70\r\n" in shell.text())
    assert shell.text().startswith("\x1bc")


def test_a_page_gets_the_library_once_it_asks(shell: Terminal) -> None:
    hear(shell, ask="library")
    content, (xterm, fit, style) = shell.__dict__["sent"][-1]
    assert content == {"xterm": True}
    assert b"export{" in xterm
    assert b"FitAddon" in fit
    assert b".xterm" in style
    assert b"sourceMappingURL" not in xterm + fit
    assert len(shell._esm) < 20_000  # which each widget carries


def test_it_ends_when_its_views_are_gone_but_not_when_it_is_drawn_anew(
    shell: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers: list[threading.Timer] = []

    def begin(timer: threading.Timer) -> None:
        timers.append(timer)  # it goes off when the test says so

    monkeypatch.setattr(threading.Timer, "start", begin)

    def go_off() -> None:
        timer = timers.pop()
        timer.function(*timer.args)

    hear(shell, attach="one")
    hear(shell, leave="one", gone=True)
    hear(shell, attach="two")
    go_off()
    assert shell.comm is not None
    hear(shell, leave="two", gone=False)
    assert (timers, shell.status) == ([], [])
    hear(shell, leave="two", gone=True)
    go_off()
    until(lambda: bool(shell.status))
    assert shell.comm is None


def test_a_refusal_leaves_nothing() -> None:
    before = descriptors()
    with pytest.raises(FileNotFoundError, match="chdir"):
        terminal(Container(("true",), cwd="/nowhere"))
    assert descriptors() == before


def test_in_a_root_of_its_own_it_is_made_there() -> None:
    made = terminal(Container(("tty",), cloneflags=CLONE_NEWNS, root=Root(layers=("/",))))
    until(lambda: bool(made.status))
    assert made.text() == "/dev/pts/0\r\n"
    made.close()


def test_programs_know_that_they_may_use_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", "cat")  # as ipykernel sets it
    made = terminal(Container(("env",)))
    until(lambda: bool(made.status))
    lines = made.text().split("\r\n")
    assert "TERM=xterm-256color" in lines
    assert not [line for line in lines if line.startswith("PAGER=")]
    made.close()


def test_its_static_form_names_the_command(shell: Terminal) -> None:
    assert "<code>bash --norc -i</code>" in shell.static()._repr_html_()
    assert 'lang="zh-Hans"' in shell.static()._repr_html_()
    assert "bash --norc -i" in str(shell.static())
    assert repr(shell) == "<terminal>"


def test_a_program_that_is_not_there() -> None:
    made = terminal(Container(("nosuch",)))
    until(lambda: bool(made.status))
    assert made.text() == "labkit: nosuch: No such file or directory\r\n"
    assert made.status[1].endswith("127")
    made.close()


def test_a_signal_is_named() -> None:
    made = terminal(Container(("sh", "-c", "kill -TERM $$")))
    until(lambda: bool(made.status))
    assert signal.SIGTERM.name in made.status[1]
    made.close()


def test_the_vendored_files_are_as_published() -> None:
    """Sums of what npm's packages hold; the licences lie beside them."""
    vendor = ROOT / "labkit" / "notebook" / "static" / "vendor"
    lines = (vendor / "SHA256SUMS").read_text().splitlines()
    listed = {path: digest for digest, path in (line.split("  ", 1) for line in lines)}
    found = {
        str(path.relative_to(vendor)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in vendor.rglob("*")
        if path.is_file() and path.parent != vendor
    }
    assert found == listed
    assert all(f"{name.split('/')[0]}/LICENSE" in listed for name in listed)


def test_a_cell_imports_it_again_and_again() -> None:
    """The import of its module must not take the place of the function."""
    import labkit.notebook

    for _ in range(2):
        assert labkit.notebook.terminal is terminal
