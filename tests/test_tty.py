"""tty=True: a container with a terminal, as docker run -t gives it one."""

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import PATIENCE, descriptors, marked, read_until, until

from labkit import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    Container,
    EngineLost,
    Root,
    Running,
    run,
    start,
)
from labkit.engine import connection

ISOLATED = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS
ENV = {"PATH": os.environ["PATH"], "PS1": "$ ", "TERM": "dumb", "LANG": "C.UTF-8"}
BASH = Container(("bash", "--norc", "-i"), tty=True, env=ENV)

each_wall = pytest.mark.parametrize(
    "walls",
    [
        {},
        {"cloneflags": ISOLATED, "proc": True, "hostname": "box"},
        {"cloneflags": ISOLATED, "proc": True, "hostname": "box", "root": Root(layers=("/",))},
    ],
    ids=["bare", "isolated", "rooted"],
)


def said(running: Running, pattern: str) -> None:
    """Wait until it has printed `pattern`."""
    until(lambda: re.search(pattern, running.stdout))


@each_wall
def test_the_three_streams_are_one_terminal(walls: dict[str, object]) -> None:
    script = "test -t 0 -a -t 1 -a -t 2 && tty && echo out && echo err >&2 && echo tty >/dev/tty"
    done = run(Container(("sh", "-c", script), tty=True, **walls))  # type: ignore[arg-type]
    name, *lines = done.stdout.split("\r\n")
    assert re.fullmatch(r"/dev/pts/\d+", name)
    assert lines == ["out", "err", "tty", ""]
    assert (done.stderr, done.returncode) == ("", 0)


def test_without_it_there_is_no_terminal() -> None:
    done = run(Container(("sh", "-c", "tty; exec 2>/dev/null; exec 3</dev/tty || echo none")))
    assert done.stdout.startswith("not a tty\n")


@each_wall
def test_it_leads_the_session_of_its_terminal(walls: dict[str, object]) -> None:
    argv = ("sh", "-c", "ps -o pid=,pgid=,sid=,tpgid= -p $$; tty; ps -o tty= -p $$")
    done = run(Container(argv, tty=True, **walls))  # type: ignore[arg-type]
    numbers, name, terminal = done.stdout.split("\r\n")[:3]
    assert len(set(numbers.split())) == 1
    assert name == f"/dev/{terminal.strip()}"
    steps = [line.partition("(")[0] for line in done.trace]
    assert steps[: steps.index("execve")][-2:] == ["setsid", "ioctl"]


def test_a_new_terminal_has_the_usual_size_and_knows_utf_8() -> None:
    done = run(Container(("sh", "-c", "stty size; stty -a"), tty=True))
    assert done.stdout.startswith("24 80\r\n")
    assert re.search(r"[ ;]iutf8", done.stdout)


def test_a_new_size_is_told_to_the_job_in_the_foreground() -> None:
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"
    with start(Container(("sh", "-c", script), tty=True)) as running:
        said(running, "ready")
        for rows, columns in (40, 100), (3, 7):
            running.resize(rows, columns)
            said(running, f"\n{rows} {columns}\r\n")


def test_input_is_typed_and_ends_with_control_d() -> None:
    box = Container(("sh", "-c", "stty -echo; cat"), tty=True)
    for typed in ("one\ntwo\n", "no end of line", ""):
        assert run(box, input=typed, timeout=PATIENCE).stdout.endswith(typed.replace("\n", "\r\n"))
    assert run(Container(("cat",), tty=True), timeout=PATIENCE).stdout == ""


def test_chinese_is_edited_by_the_character_in_cooked_mode() -> None:
    box = Container(("sh", "-c", "stty -echo; echo ready; read line; echo [$line]"), tty=True)
    with start(box) as running:
        said(running, "ready")
        running.write("盒子\x7f饭\r")  # 0x7f: backspace
        assert running.wait(PATIENCE).stdout.endswith("[盒饭]\r\n")


def test_a_shell_has_job_control() -> None:
    with start(BASH) as running:
        said(running, r"\$ $")
        running.write("sh -c 'echo u''p; exec sleep 1000'\r")
        said(running, "\nup\r\n")  # it says so itself: it is in the foreground
        running.write("\x1a")  # Ctrl-Z
        said(running, "Stopped +sh -c")
        running.write("bg; jobs\r")
        said(running, "Running +sh -c")
        running.write("kill %1; wait; exit 3\r")
        done = running.wait(PATIENCE)
    assert done.returncode == 3
    assert "job control" not in done.stdout
    assert "cannot set terminal process group" not in done.stdout


def test_control_c_reaches_the_foreground_and_not_the_shell() -> None:
    with start(BASH) as running:
        said(running, r"\$ $")
        # Else the kernel throws away what is written while it sends the signal: termios(3), NOFLSH.
        running.write("(stty noflsh; trap 'echo caught; exit' INT; echo up; ")
        running.write("while :; do sleep 0.05; done)\r")
        said(running, "up\r\n")
        running.write("\3")
        said(running, r"caught\r\n.*\$ $")
        running.write("echo still $((40 + 2))\r")
        said(running, "still 42")


def test_control_d_ends_a_shell() -> None:
    with start(BASH) as running:
        said(running, r"\$ $")
        running.write("\4")
        assert running.wait(PATIENCE).returncode == 0


def test_its_end_hangs_up_what_it_left_on_the_terminal() -> None:
    before = marked()
    with start(BASH) as running:
        said(running, r"\$ $")
        running.write("sleep 1000 &\rsetsid sleep 1001 &\recho rea''dy\r")
        said(running, "ready")
    until(lambda: marked() <= before | {connection._current.get().pid})


def test_who_closes_its_terminal_before_it_ends_is_not_hung_up() -> None:
    """cat(1) closes its streams and then ends: the terminal stays until it has ended."""
    for _ in range(40):
        assert run(Container(("cat",), tty=True)).returncode == 0
    slow = Container(("sh", "-c", "exec <&- >&- 2>&-; sleep 0.2; exit 3"), tty=True)
    assert run(slow).returncode == 3


def test_a_program_that_hears_the_hang_up() -> None:
    """Our end is closed: the kernel sends SIGHUP to who leads the session."""
    master, slave = os.openpty()
    box = Container(
        ("sh", "-c", "trap 'exit 5' HUP; echo r; while :; do sleep 0.05; done"), tty=True
    )
    with start(box, stdin=slave, stdout=slave, stderr=slave) as running:
        os.close(slave)
        assert read_until(master, b"\n") == b"r\r\n"
        os.close(master)
        assert running.wait(PATIENCE).returncode == 5


@each_wall
def test_no_line_is_lost_at_its_end(walls: dict[str, object]) -> None:
    box = Container(("seq", "30000"), tty=True, **walls)  # type: ignore[arg-type]
    for _ in range(5):
        done = run(box)
        assert done.stdout == "".join(f"{n}\r\n" for n in range(1, 30001))
        assert done.returncode == 0


def test_many_at_once_have_a_terminal_each(tmp_path: Path) -> None:
    """Each waits until all are there: so many terminals there are, and so many names."""
    there = tmp_path / "there"
    there.mkdir()
    wait = f"while test $(ls {there} | wc -l) -lt 16; do sleep 0.05; done"
    script = f"tty; read x; echo got $x; touch {there}/$x; {wait}; seq 1000"
    box = Container(("sh", "-c", script), tty=True)
    before = descriptors()
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda n: run(box, input=f"{n}\n"), range(16)))
    assert descriptors().items() <= before.items()
    assert len({done.stdout.partition("\r\n")[0] for done in results}) == 16
    for n, done in enumerate(results):
        assert f"got {n}\r\n" in done.stdout
        assert done.stdout.endswith("\r\n1000\r\n")


def test_no_descriptor_is_left() -> None:
    run(Container(("true",)))
    engine = connection._current.get().pid
    before, theirs = descriptors(), len(os.listdir(f"/proc/{engine}/fd"))
    for argv in (("true",), ("nosuch",), ("sh", "-c", "kill -9 $$")):
        run(Container(argv, tty=True))
    with pytest.raises(FileNotFoundError):
        run(Container(("true",), tty=True, cwd="/nowhere"))
    with pytest.raises(TimeoutError):
        run(Container(("sleep", "1000"), tty=True), timeout=0.1)
    with start(BASH):
        pass
    until(lambda: descriptors().items() <= before.items())
    until(lambda: len(os.listdir(f"/proc/{engine}/fd")) <= theirs)


def test_a_program_inherits_its_terminal_and_no_more() -> None:
    done = run(Container(("ls", "-l", "/proc/self/fd"), tty=True))
    links = re.findall(r"(\d+) -> (\S+)", done.stdout)
    assert [number for number, name in links if name.startswith("/dev/p")] == ["0", "1", "2"]
    assert len(links) == 4  # and the folder that ls itself is reading


def test_a_descriptor_that_is_no_terminal_is_refused() -> None:
    with open(os.devnull) as null, pytest.raises(OSError, match=r"TIOCSCTTY, 0\): Inapp") as caught:
        start(Container(("true",), tty=True), stdin=null.fileno())
    assert len(caught.value.__notes__) == 2
    done = run(Container(("true",), tty=True))
    assert done.trace[-2] == "ioctl(0, TIOCSCTTY, 0) = 0"


def test_a_terminal_that_others_have_is_refused() -> None:
    master, slave = os.openpty()
    box = Container(("sleep", "1000"), tty=True)
    try:
        with start(box, stdin=slave), pytest.raises(PermissionError, match="TIOCSCTTY"):
            start(box, stdin=slave)
    finally:
        os.close(master)
        os.close(slave)


def test_typing_at_one_that_has_ended() -> None:
    with start(Container(("true",), tty=True)) as running:
        running.wait(PATIENCE)
        running.resize(10, 10)
        with pytest.raises(BrokenPipeError):
            running.write("too late")
    with start(Container(("sleep", "1000"))) as running, pytest.raises(BrokenPipeError):
        running.write("no terminal")


def test_a_killed_engine_takes_a_session_along_too() -> None:
    """It is another session than the engine's."""
    before = marked()
    box = Container(("sh", "-c", "trap '' HUP; sleep 1000 & echo ready; sleep 1001"), tty=True)
    with start(box) as running:
        said(running, "ready")
        assert os.getsid(running.pid) == running.pid
        os.kill(connection._current.get().pid, signal.SIGKILL)
        with pytest.raises(EngineLost):
            running.wait()
    until(lambda: marked() <= before)
