"""`labkit` from a shell and from a terminal, as its users see it."""

import codecs
import contextlib
import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from conftest import PATIENCE, until

from labkit.images import base
from labkit.images.store import Store
from labkit.linux import proc
from labkit.text.tables import columns

LABKIT = [sys.executable, "-m", "labkit"]
V01, V02 = [*LABKIT, "v0.1", "run"], [*LABKIT, "v0.2", "run"]
ENV = {**os.environ, "PS1": "in> ", "PS2": "", "ENV": "", "TERM": "dumb", "LC_ALL": "C.UTF-8"}


class Terminal:
    """A command in a terminal of its own, and somebody who types and reads."""

    def __init__(self, *argv: str) -> None:
        self.master, slave = os.openpty()
        self.screen = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # a read may end in a character
        # setsid(1) makes the terminal the session's own, as a terminal window does.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *argv], stdin=slave, stdout=slave, stderr=slave, env=ENV
        )
        os.close(slave)

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def _read(self) -> None:
        self.screen += self._decoder.decode(os.read(self.master, 4096))

    def expect(self, pattern: str) -> str:
        """Read until `pattern` appears; what stood before it. Forgets both."""
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.screen)):
            left = deadline - time.monotonic()
            assert left > 0, f"{pattern!r} did not appear in {self.screen!r}"
            if select.select([self.master], [], [], left)[0]:
                self._read()
        before, self.screen = self.screen[: found.start()], self.screen[found.end() :]
        return before

    def command(self, line: str) -> str:
        """Type a line at the shell inside; what came of it until the next prompt."""
        self.type(line + "\n")
        self.expect(re.escape(line) + r"\r\n")  # the terminal's echo
        return self.expect("in> ")

    def foreground(self) -> list[str]:
        """The states and names of the processes that a key reaches, such as ``S sleep``.

        They are the foreground job of their terminal: of this one, or of a container's.
        """
        below = descendants(self.process.pid)
        return [f"{p.state} {p.name}" for p in below if p.pgrp == p.foreground]

    def until_running(self, name: str) -> None:
        until(lambda: f"S {name}" in self.foreground())

    def status(self) -> int:
        """Read to the end; the exit status."""
        deadline = time.monotonic() + PATIENCE
        with contextlib.suppress(OSError):  # EIO: all is read, and nobody has it open any more
            while select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0]:
                self._read()
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        os.close(self.master)  # a hang-up
        self.process.wait(PATIENCE)


class Process(proc.Stat):
    """A process of this machine. foreground: the job that has its terminal."""

    def __init__(self, pid: int) -> None:
        line = Path(f"/proc/{pid}/stat").read_bytes()  # a neighbour's name may be no text
        super().__init__(line)
        self.pid, self.foreground = pid, int(line.rpartition(b")")[2].split()[5])


def processes() -> Iterator[Process]:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            yield Process(int(pid))
        except OSError:  # it has just ended
            continue


def alive(pids: set[int]) -> set[int]:
    """Those that have not ended, whether or not somebody has asked for their exit status."""
    return {p.pid for p in processes() if p.pid in pids and p.state != "Z"}


def descendants(pid: int) -> list[Process]:
    """The processes below `pid`."""
    alive = list(processes())
    found = [p for p in alive if p.ppid == pid]
    return found + [q for p in found for q in descendants(p.pid)]


def labkit(
    *argv: str, words: Sequence[str] = LABKIT, **more: object
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, with nothing on its standard input unless said."""
    more = {"stdin": subprocess.DEVNULL} | more if "input" not in more else more
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [*words, *argv], capture_output=True, text=True, env=ENV, timeout=PATIENCE, **more
    )


@pytest.fixture
def terminal(request: pytest.FixtureRequest) -> Iterator[Terminal]:
    opened = Terminal(*request.param)
    yield opened
    opened.close()


@pytest.fixture
def background() -> Iterator[list[subprocess.Popen[str]]]:
    """A place for processes that must not outlive their test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def begin(started: list[subprocess.Popen[str]], *argv: str) -> subprocess.Popen[str]:
    """Start a command whose first line of output, after ours, says that it is ready."""
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENV,
        start_new_session=True,
    )
    started.append(process)
    assert process.stdout
    assert process.stdout.readline().startswith("[labkit ")
    assert process.stdout.readline() == "ready\n"
    return process


# In a terminal


@pytest.mark.parametrize(
    "terminal", [[*V02, "sh", "-i"], [*V02, "bash", "--norc", "-i"]], indirect=True
)
def test_an_interactive_shell_in_a_terminal(terminal: Terminal) -> None:
    assert re.fullmatch(r"\[labkit v0.2 run (sh|bash --norc) -i\]\r\n", terminal.expect("in> "))
    before = os.uname().nodename
    assert terminal.command("hostname renamed; hostname") == "renamed\r\n"
    assert os.uname().nodename == before
    terminal.type("sleep 1000\n")
    terminal.until_running("sleep")
    terminal.type("\x03")
    terminal.expect("in> ")
    assert terminal.command("echo $?") == "130\r\n"
    assert terminal.command("hostname") == "renamed\r\n"  # the same shell
    terminal.type("exit 7\n")
    assert terminal.status() == 7


@pytest.mark.parametrize("terminal", [[*V02, "bash", "--norc", "-i"]], indirect=True)
def test_job_control_inside(terminal: Terminal) -> None:
    terminal.expect("in> ")
    terminal.type("sleep 1000\n")
    terminal.until_running("sleep")
    terminal.type("\x1a")
    terminal.expect(r"\[1\]\+  Stopped")
    terminal.expect("in> ")
    terminal.type("fg\n")
    terminal.until_running("sleep")
    terminal.type("\x03")
    terminal.expect("in> ")
    assert terminal.command("jobs") == ""
    terminal.type("\x04")  # end of input
    assert terminal.status() == 0


@pytest.mark.parametrize("terminal", [["bash", "--norc", "-i"]], indirect=True)
def test_a_container_is_a_job_of_the_shell_outside(terminal: Terminal) -> None:
    terminal.expect("in> ")
    terminal.type(" ".join([*V02, "sleep", "1000\n"]))
    terminal.until_running("sleep")
    job = os.tcgetpgrp(terminal.master)
    terminal.type("\x1a")
    terminal.expect(r"\[1\]\+  Stopped")
    terminal.expect("in> ")

    def asleep() -> list[str]:
        return [p.state for p in descendants(terminal.process.pid) if p.name == "sleep"]

    until(lambda: asleep() == ["T"])
    terminal.type("fg\n")
    terminal.until_running("sleep")
    assert os.tcgetpgrp(terminal.master) == job
    terminal.type("\x03")
    terminal.expect("in> ")
    assert terminal.command("echo $?") == "130\r\n"


@pytest.mark.parametrize("terminal", [["bash", "--norc", "-i"]], indirect=True)
def test_the_terminal_comes_back_after_the_shell_inside(terminal: Terminal) -> None:
    terminal.expect("in> ")
    for ending, status in (("exit 3", "3"), ("kill -KILL $$", "137"), ("exec sleep 0", "0")):
        terminal.type(" ".join([*V02, "sh", "-i\n"]))
        terminal.expect(r"\[labkit v0.2 run sh -i\]\r\n")
        terminal.expect("in> ")
        terminal.type(ending + "\n")
        terminal.expect("in> ")
        assert terminal.command("echo status $?").endswith(f"status {status}\r\n")


# Types a line where it can: TIOCSTI puts it into a terminal's input, which the shell there reads.
TYPIST = """
import fcntl, os, termios
for place in (0, 1, 2, "/dev/tty"):
    try:
        fd = os.open(place, os.O_RDWR) if place == "/dev/tty" else place
        for letter in "echo 'in'jected\\n":
            fcntl.ioctl(fd, termios.TIOCSTI, letter)
    except OSError:
        pass
"""
ON_A_SHELL = pytest.mark.parametrize("terminal", [["bash", "--norc", "-i"]], indirect=True)


@pytest.fixture
def typist(tmp_path: Path) -> str:
    program = tmp_path / "typist"
    program.write_text(f"#!{sys.executable} -IS\n{TYPIST}")
    program.chmod(0o755)
    return str(program)


def typed(terminal: Terminal, line: str) -> bool:
    """Whether a line at the shell outside leaves it another one to read."""
    terminal.expect("in> ")
    terminal.type(f"{line}; echo status $?\n")
    terminal.expect(r"\nstatus 0\r\n")
    terminal.type("echo af''ter\n")
    return "injected" in terminal.expect(r"\nafter\r\n")


@ON_A_SHELL
def test_who_shares_a_terminal_may_type_there(terminal: Terminal, typist: str) -> None:
    """So the next test can fail: with CAP_SYS_ADMIN the kernel allows it, whatever the sysctl."""
    assert typed(terminal, typist)


@ON_A_SHELL
@pytest.mark.parametrize("streams", ["", "| cat", "</dev/null >/dev/null 2>&1"])
@pytest.mark.parametrize("version", ["v0.1", "v0.4", "v0.5"])
def test_a_container_types_nothing_into_the_shell_outside(
    terminal: Terminal, typist: str, version: str, streams: str
) -> None:
    assert not typed(terminal, f"{' '.join(LABKIT)} {version} run {typist} {streams}")


@pytest.fixture
def boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What stands before a command that is to have a state of the test's own, with busybox."""
    monkeypatch.setenv("LABKIT_STATE", str(tmp_path / "state"))
    base.busybox(Store())
    yield f"env LABKIT_STATE={tmp_path / 'state'} {' '.join(LABKIT)}"
    subprocess.run([*LABKIT, "rm", "-f", "kept"], check=True, capture_output=True)


@ON_A_SHELL
def test_run_exec_and_attach_let_nobody_type_into_the_shell_outside(
    terminal: Terminal, typist: str, boxes: str
) -> None:
    """With all capabilities too, so whatever the sysctl dev.tty.legacy_tiocsti says."""
    labkit, inside = boxes, f"chroot /host {typist}"
    given = "--privileged --network none -v /:/host"
    assert not typed(terminal, f"{labkit} run --rm -it {given} busybox {inside}")
    script = f"until read -t 1 x; do echo wai''ting; done; {inside}"
    line = f'{labkit} run -dit --name kept {given} busybox sh -c "{script}" >/dev/null'
    assert not typed(terminal, f"{line} && {labkit} exec -it kept {inside}")
    terminal.expect("in> ")
    terminal.type(f"{labkit} attach kept; echo status $?\n")
    terminal.expect("waiting")
    terminal.type("go\n")
    terminal.expect(r"\nstatus 0\r\n")
    terminal.type("echo af''ter\n")
    assert "injected" not in terminal.expect(r"\nafter\r\n")


@ON_A_SHELL
def test_a_container_in_a_pipeline_leaves_the_keys_to_its_neighbours(terminal: Terminal) -> None:
    terminal.expect("in> ")
    words = " ".join([*V02, "sh", "-c", "'echo re''ady; sleep 1000'"])
    terminal.type(f"{words} | sh -c 'read a; read b; echo $b; read x </dev/tty; echo got $x'\n")
    terminal.expect(r"\nready\r\n")
    terminal.type("keys\n")
    terminal.expect(r"\ngot keys\r\n")
    # While dash makes a child by vfork(2), it can lose a signal.
    until(lambda: "sleep" in [p.name for p in descendants(terminal.process.pid)])
    terminal.type("\x03")  # the sleep, which reads nothing, hears it all the same
    terminal.expect("in> ")


@pytest.mark.parametrize("inside", ["sleep 1000", "read x; sleep 1000"])
def test_a_hang_up_reaches_a_container_that_has_no_terminal_yet(inside: str) -> None:
    terminal = Terminal("bash", "--norc", "-i")
    terminal.expect("in> ")
    terminal.type(" ".join([*V02, "sh", "-c", f"'echo rea\"\"dy; {inside}' &\n"]))
    terminal.expect(r"\nready\r\n")
    below = descendants(terminal.process.pid)
    assert "sh" in [p.name for p in below]
    terminal.close()
    until(lambda: not alive({p.pid for p in below}))


@ON_A_SHELL
def test_a_container_in_a_pipeline_reads_when_it_wants_to(terminal: Terminal) -> None:
    terminal.expect("in> ")
    terminal.type(" ".join([*V02, "sh", "-c", "'echo a''sk; read x; echo got $x'", "| cat\n"]))
    terminal.expect(r"\nask\r\n")
    terminal.type("a line\n")
    terminal.expect(r"got a line\r\n")  # its echo comes another way, before or after
    terminal.expect("in> ")


@ON_A_SHELL
@pytest.mark.parametrize("version", ["v0.2", "v0.5"])
def test_a_container_in_the_background_waits_for_the_foreground(
    terminal: Terminal, version: str
) -> None:
    terminal.expect("in> ")
    inside = "'echo rea\"\"dy; read x; echo got $x'"
    terminal.type(" ".join([*LABKIT, version, "run", "sh", "-c", inside, "&\n"]))
    terminal.expect(r"\nready\r\n")
    terminal.type("\n")
    terminal.expect("in> ")
    until(lambda: "Stopped" in terminal.command("jobs"))
    assert terminal.command("echo free") == "free\r\n"
    terminal.type("fg\n")
    terminal.until_running("sh")
    terminal.type("a line\n")
    terminal.expect(r"\na line\r\ngot a line\r\n")
    terminal.expect("in> ")


@ON_A_SHELL
def test_the_terminal_is_as_it_was_and_its_size_goes_along(terminal: Terminal) -> None:
    terminal.expect("in> ")
    terminal.command("echo")
    before = termios.tcgetattr(terminal.master)
    for ending in ("exit 3", "kill -9 $$"):
        termios.tcsetwinsize(terminal.master, (30, 90))
        terminal.type(" ".join([*V02, "bash", "--norc", "-i\n"]))
        terminal.expect(r"\[labkit .*\]\r\n")
        terminal.expect("in> ")
        assert terminal.command("stty size") == "30 90\r\n"
        termios.tcsetwinsize(terminal.master, (11, 50))
        until(lambda: terminal.command("stty size") == "11 50\r\n")
        terminal.type(f"{ending}\n")
        terminal.expect("in> ")
        terminal.command("echo")
        assert termios.tcgetattr(terminal.master) == before


@pytest.mark.parametrize("whom", ["relay", "keeper", "worker"])
def test_whichever_of_the_processes_is_killed_nothing_is_left(whom: str) -> None:
    terminal = Terminal(*V01, "sh", "-c", "sleep 1000 & echo ready; sleep 1001")
    terminal.expect("ready\r\n")
    inside = descendants(terminal.process.pid)
    keeper = next(p for p in inside if p.ppid == terminal.process.pid)
    worker = next(p for p in inside if p.ppid == keeper.pid)
    pids = {"relay": terminal.process.pid, "keeper": keeper.pid, "worker": worker.pid}
    os.kill(pids[whom], signal.SIGKILL)
    until(lambda: not alive({p.pid for p in inside}))
    terminal.process.wait(PATIENCE)
    terminal.close()


def test_hang_up_ends_the_container() -> None:
    terminal = Terminal(*V02, "sh", "-c", "echo ready; sleep 1000; true")
    terminal.expect("ready\r\n")
    inside = descendants(terminal.process.pid)
    assert "sh" in [p.name for p in inside]
    terminal.close()
    assert terminal.process.returncode == 128 + signal.SIGHUP
    until(lambda: not alive({p.pid for p in inside}))


def test_a_key_pressed_before_the_container_is_there() -> None:
    """Wherever it arrives, in us, in the engine or in its clone, the container gets it."""
    for _ in range(5):
        terminal = Terminal(*V02, "sleep", "1000")
        terminal.expect(r"\]\r\n")  # our line, which comes before the engine
        terminal.type("\x03")
        assert terminal.status() == 128 + signal.SIGINT
        terminal.close()


def test_no_key_is_late_for_the_keeper_of_the_terminal() -> None:
    """It asks for them: a handler may run only when a call that waits, begun just then, ends."""
    terminal = Terminal(*V02, "sh", "-c", "trap 'exit 3' INT; echo ready; sleep 1000")
    terminal.expect("ready\r\n")
    keeper = next(p for p in descendants(terminal.process.pid) if p.ppid == terminal.process.pid)
    handled = int(proc.status(keeper.pid)["SigCgt"], 16)
    for number in (signal.SIGQUIT, signal.SIGTSTP):  # Python itself handles SIGINT in any case
        assert not handled >> (number - 1) & 1, number
    os.kill(keeper.pid, signal.SIGINT)
    assert terminal.status() == 3
    terminal.close()


# Streams and statuses


@pytest.mark.parametrize("version", ["v0.1", "v0.2", "v0.3", "v0.4", "v0.5", "v0.8"])
def test_arguments_come_first_and_reach_the_program_untouched(version: str) -> None:
    words = ["printf", "%s|", "-c", "--", "--json", "", "a b", "中", "-h"]
    done = labkit(version, "run", *words)
    assert done.stdout == (
        f"[labkit {version} run printf %s| -c --  --json  a b 中 -h]\n".replace("--  --", "-- --")
        + "-c|--|--json||a b|中|-h|"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_bytes_that_are_no_text() -> None:
    done = subprocess.run([*V01, "printf", b"\xff\n"], capture_output=True, check=True)
    assert done.stdout == b"[labkit v0.1 run printf \xff\n]\n\xff\n"


def test_the_streams_are_the_callers() -> None:
    done = labkit("v0.2", "run", "sh", "-c", "cat; echo err >&2", input="in\n")
    assert (done.stdout, done.stderr) == (
        "[labkit v0.2 run sh -c cat; echo err >&2]\nin\n",
        "err\n",
    )


@pytest.mark.parametrize(
    ("version", "new"),
    [
        ("v0.1", []),
        ("v0.2", ["uts"]),
        ("v0.3", ["ipc", "mnt", "net", "uts"]),
        ("v0.4", ["ipc", "mnt", "net", "pid", "uts"]),
        ("v0.5", ["ipc", "mnt", "net", "pid", "user", "uts"]),
        ("v0.8", ["ipc", "mnt", "net", "pid", "uts"]),
    ],
)
def test_what_a_version_isolates(version: str, new: list[str]) -> None:
    done = labkit(version, "run", "sh", "-c", "readlink /proc/self/ns/*")
    kinds = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
    outside = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in kinds}
    inside = {link.split(":")[0]: link for link in done.stdout.splitlines()[1:]}
    assert [kind for kind in kinds if inside[kind] != outside[kind]] == new


def test_v08_runs_in_a_control_group() -> None:
    done = labkit(
        "v0.8", "run", "sh", "-c", "cat /proc/self/cgroup; python3 -c 'bytearray(1 << 28)'"
    )
    assert "/labkit-box-" in done.stdout
    assert done.returncode == 128 + signal.SIGKILL
    assert "memory='64m'" in labkit("v0.8", "--help").stdout


def test_v06_runs_in_a_root_of_its_own(directory: Path) -> None:
    """--root stands before the program; what comes after that is the program's."""
    for words in (["--root", str(directory)], [f"--root={directory}"]):
        done = labkit("v0.6", "run", *words, "/bin/sh", "-c", "ls /; exit 3", "--root")
        assert done.stdout.splitlines()[0].startswith("[labkit v0.6 run --root")
        assert done.stdout.splitlines()[1:] == ["bin", "dev", "etc", "proc", "sys"]
        assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.parametrize("words", [[], ["sh"], ["--root"], ["--root="], ["--root", "/tmp"]])
def test_v06_says_what_it_lacks(words: list[str]) -> None:
    done = labkit("v0.6", "run", *words)
    assert done.returncode == 2
    assert done.stderr.endswith(": labkit v0.6 run --root DIR CMD [ARG...]\n")
    missing = "no program" if words == ["--root", "/tmp"] else "--root and a directory"
    assert missing in done.stderr


def test_a_root_that_is_not_there_is_refused_in_a_line() -> None:
    done = labkit("v0.6", "run", "--root", "/nowhere", "true")
    assert done.returncode == 125
    assert done.stderr.startswith('labkit: mount("/nowhere", "/nowhere", NULL, MS_BIND|MS_REC')
    assert done.stderr.count("\n") == 1


def test_what_v03_keeps_to_itself(tmp_path: Path) -> None:
    """A mount, a message queue, a network and a name of its own: none is seen outside."""
    mounts, queues = (Path(f"/proc/{file}") for file in ("self/mountinfo", "sysvipc/msg"))
    before = mounts.read_text(), queues.read_text(), os.uname().nodename
    script = (
        f"mount -t tmpfs inside {tmp_path} && findmnt -no SOURCE,PROPAGATION {tmp_path};"
        "ipcmk -Q >/dev/null && tail -n +2 /proc/sysvipc/msg | wc -l;"
        "ip -br link | cut -d ' ' -f 1; hostname renamed; hostname"
    )
    done = labkit("v0.3", "run", "sh", "-c", script)
    assert done.stderr == ""
    assert done.stdout.splitlines()[1:] == ["inside private", "1", "lo", "renamed"]
    assert (mounts.read_text(), queues.read_text(), os.uname().nodename) == before


def test_v04_sees_its_own_processes_alone() -> None:
    done = labkit("v0.4", "run", "ps", "-A", "-o", "pid=,comm=")
    assert done.stdout.split("\n", 1)[1].split() == ["1", "ps"]
    assert os.readlink("/proc/self") == str(os.getpid())  # the host's is as it was


def seen_outside(place: Path, *runner: str) -> bool:
    """Whether a mount at `place` by a program that `runner` runs appears outside.

    Outside is a throw-away mount namespace whose mounts are shared, as systemd shares a machine's.
    They are made private first: the copies in a new namespace are peers of the host's.
    """
    script = (
        "mount --make-rprivate / && mount --make-rshared / && "
        f'"$@" mount -t tmpfs inside {place} >&2 && '
        f"findmnt -no SOURCE --mountpoint {place}; findmnt -no PROPAGATION /"
    )
    done = labkit(*runner, words=["unshare", "--mount", "sh", "-c", script, "sh"])
    *seen, propagation = done.stdout.splitlines()
    assert propagation == "shared", done.stderr
    assert seen in ([], ["inside"])
    return bool(seen)


def test_v03_keeps_its_mounts_where_mounts_are_shared(tmp_path: Path) -> None:
    assert seen_outside(tmp_path, "unshare", "--mount", "--propagation", "unchanged")
    assert not seen_outside(tmp_path, *LABKIT, "v0.3", "run")


@pytest.mark.parametrize(
    ("program", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 200"], 200),
        (["sh", "-c", "kill -SEGV $$"], 128 + signal.SIGSEGV),
        (["/nowhere/program"], 127),
        (["no-such-program"], 127),
        (["/etc/passwd"], 126),
        (["/etc"], 126),
    ],
)
def test_exit_status(program: list[str], status: int) -> None:
    done = labkit("v0.2", "run", *program)
    assert done.returncode == status
    lines = done.stderr.splitlines()
    if status in (126, 127):
        assert len(lines) == 1
        assert lines[0].startswith(f"labkit: {program[0]}: ")
    else:
        assert lines == []


@pytest.mark.parametrize(
    "words", [["ps"], ["--run", "true"], [], ["run"], ["run", ""], ["Run", "true"]]
)
def test_another_verb_than_run(words: list[str]) -> None:
    done = labkit("v0.1", *words)
    assert done.returncode == 2
    assert done.stdout == f"[{' '.join(['labkit', 'v0.1', *words])}]\n"
    assert re.fullmatch(r"labkit: .*[一-龥].*/ .*\n", done.stderr)


@pytest.mark.parametrize("words", [[], ["ns", "x"], ["doctor", "--no"]])
def test_misuse(words: list[str]) -> None:
    done = labkit(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: labkit" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["--help"], ["v0.3", "--help"], ["ns", "-h"], ["doctor", "-h"]])
def test_help_in_both_languages(words: list[str]) -> None:
    done = labkit(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search("[一-龥].* / ", done.stdout)


def test_the_console_script_is_the_module() -> None:
    script = os.path.join(os.path.dirname(sys.executable), "labkit")
    one, other = labkit("--help", words=[script]), labkit("--help")
    assert (one.returncode, one.stdout) == (other.returncode, other.stdout)


def test_starting_a_container_imports_little() -> None:
    heavy = "{'argparse', 'asyncio', 'click', 'pyroute2', 'IPython', 'ipywidgets'}"
    ours = "{'labkit.doctor.host', 'labkit.images.store', 'labkit.cli.images'}"
    text = f"import labkit.cli.main, sys; print(({heavy} | {ours}) & set(sys.modules))"
    assert labkit("-c", text, words=[sys.executable]).stdout == "set()\n"


def test_refused_by_the_kernel(nobody: list[str]) -> None:
    done = labkit("v0.2", "run", "true", words=[*nobody, "-m", "labkit"], cwd="/")
    assert done.returncode == 125
    assert done.stdout == "[labkit v0.2 run true]\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith("labkit: clone3({flags=CLONE_VM|CLONE_NEWUTS,")
    assert "Operation not permitted" in line
    assert "--privileged" in line
    assert re.search("[一-龥]", line)
    assert labkit("v0.1", "run", "true", words=[*nobody, "-m", "labkit"], cwd="/").returncode == 0


def test_killed_engine(background: list[subprocess.Popen[str]]) -> None:
    process = begin(background, *V02, "sh", "-c", "sleep 1000 & echo ready; wait")
    engine = next(p for p in descendants(process.pid) if p.ppid == process.pid)
    os.kill(engine.pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 125
    assert len(errors.splitlines()) == 1
    assert "the engine was ended" in errors


@pytest.mark.parametrize("words", [["v0.2", "run", "yes"], ["ns"], ["doctor", "--json"]])
def test_a_reader_that_has_read_enough(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as pipe:
        done = subprocess.run([*LABKIT, *words], stdout=pipe, stderr=subprocess.PIPE, env=ENV)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_head() -> None:
    script = 'set -o pipefail; "$@" | head -n 2'
    done = labkit(*V02, "yes", words=["bash", "-c", script, "bash"])
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
    assert done.stdout == "[labkit v0.2 run yes]\ny\n"


def test_a_full_disk() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*LABKIT, "ns"], stdout=full, stderr=subprocess.PIPE, env=ENV)
    assert done.returncode == 1
    assert done.stderr.startswith(b"labkit: No space left on device  ")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed: str) -> None:
    inside = "readlink /proc/self/fd/[012] >&2; exit 5"
    done = labkit(*V02, "sh", "-c", inside, words=["sh", "-c", f'exec "$@" {closed}', "sh"])
    assert done.returncode == 5
    assert "socket" not in done.stderr
    assert "Traceback" not in done.stderr


# Signals from elsewhere


@pytest.mark.parametrize("number", ["TERM", "HUP", "INT", "QUIT", "USR1", "USR2"])
def test_signals_are_the_containers(number: str, background: list[subprocess.Popen[str]]) -> None:
    script = f"trap 'echo got {number}; exit 9' {number}; sleep 1000 & echo ready; wait"
    process = begin(background, *V02, "sh", "-c", script)
    process.send_signal(signal.Signals[f"SIG{number}"])
    assert process.communicate(timeout=PATIENCE) == (f"got {number}\n", "")
    assert process.returncode == 9


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_kills_the_container(
    number: signal.Signals, background: list[subprocess.Popen[str]]
) -> None:
    process = begin(background, *V02, "sh", "-c", "echo ready; exec sleep 1000")
    process.send_signal(number)
    assert process.communicate(timeout=PATIENCE) == ("", "")
    assert process.returncode == 128 + number


def test_a_signal_to_the_whole_job_leaves_the_engine(
    background: list[subprocess.Popen[str]],
) -> None:
    """As the shell's `kill %1` sends it: the container still ends in its own way."""
    script = "trap 'echo tidy; exit 4' TERM; sleep 1000 & echo ready; wait"
    process = begin(background, *V02, "sh", "-c", script)
    os.killpg(process.pid, signal.SIGTERM)
    output, errors = process.communicate(timeout=PATIENCE)
    assert set(output.splitlines()) == {"tidy"}  # once or twice: it was sent one, we pass on ours
    assert (process.returncode, errors) == (4, "")


def test_a_killed_labkit_takes_its_container_along(
    background: list[subprocess.Popen[str]],
) -> None:
    process = begin(background, *V02, "sh", "-c", "sleep 1000 & echo ready; wait")
    inside = {p.pid for p in descendants(process.pid)}
    assert len(inside) == 3  # the engine, sh and sleep
    process.kill()
    process.wait(PATIENCE)
    until(lambda: not alive(inside))


# ns


def test_columns_stand_below_each_other() -> None:
    assert (
        columns([["中文", "x"], ["\x1b[31mab\x1b[0m", "y"]]) == "中文  x\n\x1b[31mab\x1b[0m    y\n"
    )


@pytest.fixture
def sleeper(background: list[subprocess.Popen[str]]) -> str:
    """A process in UTS and IPC namespaces of its own; its PID."""
    program = "echo '[labkit '; echo ready; exec sleep 1000"
    process = begin(background, "unshare", "--uts", "--ipc", "sh", "-c", program)
    return str(process.pid)


def links(pid: str) -> dict[str, int]:
    kinds = [kind for kind in os.listdir(f"/proc/{pid}/ns") if not kind.endswith("_for_children")]
    return {k: int(os.readlink(f"/proc/{pid}/ns/{k}").strip(f"{k}:[]")) for k in kinds}


def test_ns_of_itself_as_lsns_has_it() -> None:
    """In a PID namespace of their own: lsns gives up when a process ends while it is read."""
    script = f"{shlex.join(LABKIT)} ns && echo --- && exec lsns -n -p $$ -o TYPE,NS"
    words = ("--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script)
    ours, theirs = labkit(*words, words=["unshare"]).stdout.split("---\n")
    shown, listed = [
        {line.split()[0]: line.split()[1] for line in text.splitlines()}
        for text in (ours.partition("\n")[2], theirs)
    ]
    assert shown == listed != {}


def test_ns_side_by_side(sleeper: str) -> None:
    here = str(os.getpid())
    head, *rows = labkit("ns", here, sleeper).stdout.splitlines()
    assert head.split() == ["种类", "kind", here, sleeper, "比较", "compared"]
    mine, theirs = links(here), links(sleeper)
    assert [row.split()[:3] for row in rows] == [
        [kind, str(mine[kind]), str(theirs[kind])] for kind in sorted(mine)
    ]
    marked = {row.split()[0] for row in rows if row.endswith("不同 different")}
    assert marked == {"uts", "ipc"}
    assert sum(row.endswith("相同 same") for row in rows) == 6


def test_ns_of_three_names_those_that_differ(sleeper: str) -> None:
    rows = labkit("ns", "self", str(os.getpid()), sleeper).stdout.splitlines()
    uts = next(row for row in rows if row.startswith("uts"))
    assert uts.endswith(f"不同 different: {sleeper}")


def test_ns_as_json(sleeper: str) -> None:
    here = str(os.getpid())
    done = labkit("ns", "--json", here, sleeper)
    assert json.loads(done.stdout) == {here: links(here), sleeper: links(sleeper)}


def test_ns_of_no_process() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    for pid in (str(ended.pid), "99999999"):
        done = labkit("ns", "self", pid)
        assert (done.returncode, done.stdout) == (1, "")
        assert re.fullmatch(rf"labkit: .*{pid}.* / no process {pid}.*\n", done.stderr)


def test_ns_of_somebody_elses_process(nobody: list[str]) -> None:
    done = labkit("ns", str(os.getpid()), words=[*nobody, "-m", "labkit"], cwd="/")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "somebody else's" in done.stderr


@pytest.mark.parametrize(
    ("terminal", "colour"),
    [
        (["env", "TERM=xterm", *LABKIT, "ns", "self", "self"], True),
        (["env", "TERM=xterm", "NO_COLOR=1", *LABKIT, "ns", "self", "self"], False),
        (["env", "TERM=dumb", *LABKIT, "ns", "self", "self"], False),
        (["sh", "-c", f"TERM=xterm {' '.join(LABKIT)} ns self self | cat"], False),
    ],
    indirect=["terminal"],
)
def test_colour_only_on_a_terminal_that_wants_it(terminal: Terminal, colour: bool) -> None:
    terminal.status()
    assert ("\x1b[" in terminal.screen) == colour
