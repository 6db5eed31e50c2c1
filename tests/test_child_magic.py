"""%%child in a real kernel: a cell's body as a program of its own."""

import fcntl
import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from conftest import ROOT, marked, until
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from jupyter_core.utils import ensure_event_loop

from labkit import syscalls
from labkit.notebook.magics.child import Calls, Output
from labkit.notebook.magics.child_program import PROGRAM

CALL = "⇒ "
PAUSE = 60  # seconds after which a kernel that should have spoken is taken for hung


class Cell:
    """A cell under way in a kernel, and what it has shown so far."""

    def __init__(self, client: BlockingKernelClient, code: str) -> None:
        self._client, self._id = client, client.execute(textwrap.dedent(code).lstrip())
        self.streams = {"stdout": "", "stderr": ""}
        self.error: dict[str, Any] = {}
        self.done = False

    stdout = property(lambda self: self.streams["stdout"])
    stderr = property(lambda self: self.streams["stderr"])

    def step(self) -> None:
        """Take in one message of the kernel's; an error when none comes."""
        message = self._client.get_iopub_msg(timeout=PAUSE)
        content = message["content"]
        if message["parent_header"].get("msg_id") != self._id:
            return
        if message["msg_type"] == "stream":
            self.streams[content["name"]] += content["text"]
        elif message["msg_type"] == "error":
            self.error = content
        elif message["msg_type"] == "status":
            self.done = content["execution_state"] == "idle"

    def until_said(self, text: str) -> None:
        """Wait until either stream ends with `text`."""
        while not any(said.endswith(text) for said in self.streams.values()):
            assert not self.done, (self.streams, self.error)
            self.step()

    def finish(self) -> "Cell":
        while not self.done:
            self.step()
        return self

    def lines(self) -> list[str]:
        return str(self.stdout).splitlines()

    def calls(self) -> list[str]:
        return [line.removeprefix(CALL) for line in self.lines() if line.startswith(CALL)]


class Kernel:
    """An ipykernel as Jupyter starts it."""

    def __init__(self) -> None:
        self._context = zmq.Context()
        self.manager = KernelManager(kernel_name="python3", context=self._context)
        self.manager.start_kernel(stderr=subprocess.DEVNULL)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PAUSE)
        self.pid = int(self.run("import os; print(os.getpid())").stdout)
        assert self.run("%load_ext labkit").error == {}

    def begin(self, code: str) -> Cell:
        return Cell(self.client, code)

    def run(self, code: str) -> Cell:
        return self.begin(code).finish()

    def value(self, expression: str) -> Any:  # noqa: ANN401
        return eval(self.run(f"print(repr(({expression})))").stdout)  # noqa: S307

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self._context.destroy()
        ensure_event_loop().close()  # which the manager keeps in this thread


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    started = Kernel()
    yield started
    started.close()


def test_calls_are_shown_where_they_happen(kernel: Kernel) -> None:
    cell = kernel.run("""
        %%child
        print("before")
        unshare(CLONE_NEWUTS)
        print("half a", "line:", end=" ")
        sethostname("box")
        print("the other half")
        print(os.uname().nodename)
    """)
    assert cell.lines() == [
        "before",
        f"{CALL}unshare(CLONE_NEWUTS) = 0",
        "half a line: ",
        f'{CALL}sethostname("box", 3) = 0',
        "the other half",
        "box",
    ]
    assert cell.stderr == ""
    assert cell.error == {}


def test_the_result_is_kept_under_the_given_name(kernel: Kernel) -> None:
    kernel.run("%%child first\nprint('a', end='')\nchdir('/')\nprint('b')\nsys.stderr.write('c')")
    kernel.run("%%child\nsys.exit(0)")
    assert kernel.value("(first.returncode, first.stdout, first.stderr, first.trace)") == (
        0,
        "ab\n",
        "c",
        ('chdir("/") = 0',),
    )
    assert kernel.value("first.inodes") == kernel.value("__import__('labkit').inodes()")
    assert kernel.value("_child.stdout, _child.trace, _child.seconds > 0") == ("", (), True)
    assert "usage" in kernel.run("%%child 3\npass").stderr


def test_output_comes_while_the_program_runs(kernel: Kernel, tmp_path: Path) -> None:
    """It waits for us to have seen what it said before it goes on."""
    os.mkfifo(tmp_path / "go")
    cell = kernel.begin(f"""
        %%child
        print("no end of line", end="")
        open({str(tmp_path / "go")!r}).read()
        print("seen", file=sys.stderr)
        open({str(tmp_path / "go")!r}).read()
        chdir("/")
        open({str(tmp_path / "go")!r}).read()
    """)
    for seen in ("no end of line", "seen\n", 'chdir("/") = 0\n'):
        cell.until_said(seen)
        (tmp_path / "go").write_text("on")
    assert cell.finish().error == {}


def test_the_program_is_fresh_and_has_one_thread(kernel: Kernel) -> None:
    kernel.run("left_over = 1")
    cell = kernel.run("""
        %%child
        print(len(os.listdir("/proc/self/task")), "left_over" in globals(), __name__, sys.argv)
        import __main__, labkit
        print(vars(__main__) is globals(), labkit.__file__.startswith(sys.path[0]))
        print(sys.flags.isolated, sys.stdin.read() == "")
        print([f for f in range(100) if os.path.exists(f"/proc/self/fd/{f}")])
        print(time.time() > 0, signal.SIGKILL, MS_PRIVATE, CLONE_NEWPID, pivot_root.__name__)
        from labkit import run
        print(run.__module__, trace)
    """)
    assert cell.lines() == [
        "1 False __main__ ['<child>']",
        "True False",
        "1 True",
        "[0, 1, 2]",
        "True 9 MS_PRIVATE CLONE_NEWPID pivot_root",
        "labkit.engine.client []",
    ]
    assert cell.stderr == ""


def test_every_function_of_syscalls_is_at_hand(kernel: Kernel) -> None:
    public = [name for name in syscalls.__all__ if callable(getattr(syscalls, name))]
    assert {"mount", "setresuid", "seccomp"} <= set(public)
    cell = kernel.run(f"%%child\nprint([callable(globals()[n]) for n in {public}].count(True))")
    assert cell.lines() == [str(len(public))]


def test_forked_children_are_recorded_too(kernel: Kernel) -> None:
    """Many at once, each line whole, each child's in order; the interpreter goes on in each."""
    cell = kernel.run("""
        %%child
        for n in range(8):
            if not os.fork():
                for m in range(40):
                    print(f"{n} says {m}\\n", end="")  # one write, so one piece
                    chdir("/")
                os._exit(0)
        while True:
            try: os.wait()
            except ChildProcessError: break
    """)
    assert cell.error == {}
    assert cell.calls() == ['chdir("/") = 0'] * 320
    said = [line for line in cell.lines() if not line.startswith(CALL)]
    for n in range(8):
        assert [line for line in said if line[0] == str(n)] == [f"{n} says {m}" for m in range(40)]
    assert len(said) == 320


def test_a_clone_is_told_before_what_its_child_does(kernel: Kernel) -> None:
    """However slow the parent is: a saved output is to be the same in every run."""
    cell = kernel.run("""
        %%child
        from labkit.linux import trace as lines
        write, parent = lines.record, os.getpid()
        def slowly(line):
            if os.getpid() == parent:
                time.sleep(0.05)
            write(line)
        lines.record = slowly
        for call in clone3, clone:
            if not call(CLONE_NEWUTS):
                sethostname("box")
                os._exit(0)
            os.wait()
        try: clone3(0x1)
        except OSError: print([f for f in range(100) if os.path.exists(f"/proc/self/fd/{f}")])
    """)
    calls = [call.split("(")[0] for call in cell.calls()]
    assert calls == ["clone3", "sethostname", "clone", "sethostname", "clone3"]
    assert cell.lines()[-1] == "[0, 1, 2]"


def test_execve_is_told_when_it_is_known(kernel: Kernel) -> None:
    cell = kernel.run("""
        %%child tries
        print("first")
        try:
            execve("/nowhere/echo", ["echo"], {})
        except FileNotFoundError as error:
            print(error.strerror)
        execve("/bin/echo", ["echo", "盒子"], {"A": "1"})
    """)
    refused = (
        'execve("/nowhere/echo", ["echo"], /* 0 vars */) = -1 ENOENT (No such file or directory)'
    )
    done = 'execve("/bin/echo", ["echo", "\\347\\233\\222\\345\\255\\220"], /* 1 var */) = 0'
    assert cell.lines() == [
        "first",
        CALL + refused,
        'execve("/nowhere/echo", ["echo"], /* 0 vars */): No such file or directory',
        CALL + done,
        "盒子",
    ]
    assert kernel.value("tries.trace") == (refused, done)
    silent = kernel.run('%%child\nexecve("/bin/true", ["true"], {})')
    assert silent.calls() == ['execve("/bin/true", ["true"], /* 0 vars */) = 0']


def test_a_failure_shows_the_learners_lines_and_no_others(kernel: Kernel) -> None:
    """Numbered as in the cell, whose first line is the magic's own."""
    cell = kernel.run("""
        %%child

        def into(name):
            chdir(name)

        try:
            into("/nowhere")
        except OSError as error:
            raise ValueError("no") from error
    """)
    expected = """
        Traceback (most recent call last):
          File "<child>", line 7, in <module>
            into("/nowhere")
          File "<child>", line 4, in into
            chdir(name)
        FileNotFoundError: [Errno 2] chdir("/nowhere"): No such file or directory
        容器里没有这个工作目录：先建好它，或者改 cwd。
        The container has no such working directory: make it first, or change cwd.

        The above exception was the direct cause of the following exception:

        Traceback (most recent call last):
          File "<child>", line 9, in <module>
            raise ValueError("no") from error
        ValueError: no
    """
    lines = [line for line in cell.stderr.splitlines() if line.strip(" ^~")]
    assert lines == [line for line in textwrap.dedent(expected).splitlines() if line]
    how = "%%child 以退出状态 1 结束 / ended with exit status 1"
    assert (cell.error["ename"], cell.error["evalue"]) == ("ChildFailed", how)
    assert cell.error["traceback"] == [how]


CAUGHT = """
from labkit.notebook.magics.child import ChildFailed
try:
    get_ipython().run_cell_magic("child", "", {body!r})
except ChildFailed as failed:
    error = failed.error
"""


@pytest.mark.parametrize(
    ("body", "raised"),
    [
        ('chroot("/no: where")', ("FileNotFoundError", 2, 'chroot("/no: where")')),
        ("os.open('/nowhere', 0)", ("FileNotFoundError", 2, "")),
        ("assert 1 == 2", ("AssertionError", 0, "")),
        (
            "if os.fork() == 0: chroot('/no')\nos.wait()\nsys.exit(1)",
            ("FileNotFoundError", 2, 'chroot("/no")'),
        ),
        ("print('PermissionError: [Errno 1] chroot(): no', file=sys.stderr); sys.exit(1)", None),
    ],
)
def test_what_it_raised_is_known_by_value(
    kernel: Kernel, body: str, raised: tuple[str, int, str] | None
) -> None:
    kernel.run(CAUGHT.format(body=body))
    assert kernel.value("error and (error.name, error.errno, error.call)") == raised


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("sys.exit(3)", 3, "以退出状态 3 结束 / ended with exit status 3"),
        ("os._exit(7)", 7, "以退出状态 7 结束 / ended with exit status 7"),
        ("os.kill(os.getpid(), 9)", -9, "被信号 SIGKILL 终止 / was ended by signal SIGKILL"),
        ("os.kill(os.getpid(), 35)", -35, "被信号 35 终止 / was ended by signal 35"),
        ("assert 1 == 2", 1, "以退出状态 1 结束 / ended with exit status 1"),
    ],
)
def test_how_it_ended(kernel: Kernel, body: str, status: int, said: str) -> None:
    cell = kernel.run(f"%%child ended\n{body}")
    assert cell.error["traceback"] == [f"%%child {said}"]
    assert kernel.value("ended.returncode") == status


def test_a_syntax_error_is_shown_as_ipython_shows_its_own(kernel: Kernel) -> None:
    body = "print('never')\nx = (1 +\ny = 2 2"
    own = kernel.run("#\n" + body).error
    cell = kernel.run("%%child\n" + body)
    assert cell.error["ename"] == own["ename"] == "SyntaxError"
    shown, expected = ("\n".join(error["traceback"]).splitlines() for error in (cell.error, own))
    assert shown[1:] == expected[1:]  # the code, the caret, the reason
    assert "<child>:3" in shown[0]
    assert "line 3" in expected[0]
    assert cell.stdout + cell.stderr == ""


def test_a_container_by_hand(kernel: Kernel, tmp_path: Path) -> None:
    """unshare, mounts of its own, a new root without a file in it; then an error with notes."""
    cell = kernel.run(f"""
        %%child
        unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWPID)
        mount(None, "/", None, MS_REC | MS_PRIVATE)
        if child := clone3(0):
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        sethostname("box")
        mount("lab", {str(tmp_path)!r}, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m")
        os.mkdir({str(tmp_path / "old")!r})
        chdir({str(tmp_path)!r})
        pivot_root(".", "old")
        umount2("/old", MNT_DETACH)
        print(os.getpid(), os.listdir("/"), os.uname().nodename, "没有编码可找了")
        def last():
            os.execvp("sh", ["sh"])
        last()
    """)
    assert "1 ['old'] box 没有编码可找了" in cell.lines()
    calls = [call.split("(")[0] for call in cell.calls()]
    expected = "unshare mount clone3 sethostname mount chdir pivot_root umount2"
    assert calls == expected.split()
    # Newer Pythons draw ~~~^^ below a line of code.
    told = [line for line in cell.stderr.splitlines() if line.strip(" ~^")]
    assert told[:5] == [
        "Traceback (most recent call last):",
        '  File "<child>", line 15, in <module>',
        "    last()",
        '  File "<child>", line 14, in last',
        '    os.execvp("sh", ["sh"])',
    ]
    assert told[-1] == "FileNotFoundError: [Errno 2] No such file or directory"
    assert cell.error["ename"] == "ChildFailed"
    assert list(tmp_path.iterdir()) == []


GUARDED = [
    ('mount("none", "/nowhere", "tmpfs")', "CLONE_NEWNS"),
    ('umount2("/nowhere")', "CLONE_NEWNS"),
    ('pivot_root("/nowhere", "/nowhere")', "CLONE_NEWNS"),
    ("sethostname(os.uname().nodename)", "CLONE_NEWUTS"),
]


@pytest.mark.parametrize(("call", "flag"), GUARDED)
def test_what_would_change_the_machine_is_refused(kernel: Kernel, call: str, flag: str) -> None:
    cell = kernel.run(f"%%child\n{call}")
    assert cell.calls() == []
    assert f"    {call}\n" in cell.stderr
    assert f"unshare({flag}) first." in cell.stderr
    assert f"请先 unshare({flag})" in cell.stderr
    allowed = kernel.run(f"%%child\nunshare({flag})\ntry: {call}\nexcept OSError: pass")
    assert len(allowed.calls()) == 2
    assert allowed.error == {}


def test_without_the_capability_the_kernel_answers(kernel: Kernel) -> None:
    cell = kernel.run(f"%%child\nos.setresuid(65534, 65534, 65534)\n{GUARDED[3][0]}")
    assert "= -1 EPERM" in cell.calls()[0]
    assert "PermissionError: [Errno 1] sethostname(" in cell.stderr


def test_mounts_that_are_shared_with_the_machine_are_refused() -> None:
    """As on a machine with systemd; here a mount namespace stands for the machine's."""
    body = """if 1:
        unshare(CLONE_NEWNS)
        for attempt in range(2):
            try:
                mount("none", "/nowhere", "tmpfs")
            except (RuntimeError, FileNotFoundError) as error:
                print(type(error).__name__, "MS_REC | MS_PRIVATE" in str(error))
            mount(None, "/", None, MS_REC | MS_PRIVATE)
    """
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "shared", sys.executable, "-I", "-u", PROGRAM, ROOT],
        input=f"\nMARK\n{body}".encode()[1:],
        capture_output=True,
    )
    said = [line for line in done.stdout.decode().splitlines() if not line.startswith("MARK")]
    assert (said, done.stderr) == (["RuntimeError True", "FileNotFoundError False"], b"")


def test_raw_calls_are_refused_in_the_kernel_itself(kernel: Kernel) -> None:
    def namespaces() -> set[str]:
        tasks = Path(f"/proc/{kernel.pid}/task")
        links = [link for task in tasks.iterdir() for link in (task / "ns").iterdir()]
        return {os.readlink(link) for link in links}

    before = namespaces(), os.readlink(f"/proc/{kernel.pid}/root")
    mounts = Path(f"/proc/{kernel.pid}/mountinfo").read_text()
    kernel.run("from labkit.syscalls import *")
    for call in [
        "unshare(CLONE_NEWUTS)",
        "unshare(CLONE_NEWUSER)",
        "setns(os.open('/proc/self/ns/uts', os.O_RDONLY))",
        "clone3(CLONE_NEWUTS)",
        "clone(CLONE_NEWUTS)",
        "chroot('/proc')",
        *(call for call, _ in GUARDED),
    ]:
        error = kernel.run(call).error
        assert error["ename"] == "RuntimeError", call
        assert "%%child" in error["evalue"]
    assert (namespaces(), os.readlink(f"/proc/{kernel.pid}/root")) == before
    assert len(before[0]) == 8  # one of each kind, for all threads and the children to come
    assert Path(f"/proc/{kernel.pid}/mountinfo").read_text() == mounts


FAMILY = """
    %%child
    if not os.fork():
        os.setsid()  # out of sight: no parent, no terminal, no pipe
        if os.fork():
            os._exit(0)
        with open(os.devnull, "r+b") as nothing:
            for fd in 0, 1, 2:
                os.dup2(nothing.fileno(), fd)
        os.execvp("sleep", ["sleep", "1000"])
    os.wait()
    unshare(CLONE_NEWPID)
    if not clone3(0):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("ready")
        os.execvp("sleep", ["sleep", "1001"])
    signal.pause()
"""


def test_an_interrupt_ends_it_with_all_it_started(kernel: Kernel) -> None:
    kernel.run("%%child\npass")  # the engine is there now, and stays
    before = marked()
    for _ in range(2):
        cell = kernel.begin(FAMILY)
        cell.until_said("ready\n")
        until(lambda: len(marked() - before) >= 3)
        kernel.manager.interrupt_kernel()
        cell.finish()
        assert marked() <= before
        assert cell.error["ename"] == "KeyboardInterrupt"
        assert len(cell.error["traceback"]) == 1
        assert "ended" in cell.error["traceback"][0]
        assert kernel.run("%%child\nprint('usable')").stdout == "usable\n"


def test_it_ends_with_the_kernel() -> None:
    before = marked()
    own = Kernel()
    try:
        cell = own.begin(FAMILY)
        cell.until_said("ready\n")
        os.kill(own.pid, signal.SIGKILL)
        until(lambda: marked() <= before)
    finally:
        own.close()


@pytest.mark.parametrize(
    ("magic", "name"),
    [
        ("%%child loud\nblock = b'y' * (1 << 20)\nfor _ in range(200): os.write(1, block)", "loud"),
        ("%docker run ubuntu head -c 209715200 /dev/zero", "_docker"),
    ],
)
def test_much_output_is_bounded_and_the_cell_says_so(kernel: Kernel, magic: str, name: str) -> None:
    kernel.run("from labkit.notebook.magics.docker import without_images; without_images()")
    # The peak begins anew: proc_pid_clear_refs(5).
    Path(f"/proc/{kernel.pid}/clear_refs").write_text("5")
    before = peak(kernel.pid)
    cell = kernel.run(magic)
    assert cell.error == {}
    assert (1 << 20) <= len(cell.stdout) < (1 << 20) + 1000  # the line above %docker's too
    rest = (200 << 20) - (1 << 20)
    told = cell.stderr
    assert told.startswith("\nlabkit：这里只显示开头的 1 MiB")
    assert f"the first 1 MiB and leaves out {rest} bytes; the result {name} has kept more" in told
    asked = kernel.value(f"({name}.returncode, len({name}.stdout), {name}.left_out)")
    assert asked == (0, 32 << 20, 168 << 20)
    assert peak(kernel.pid) - before < 160 << 20


def peak(pid: int) -> int:
    """The most memory that a process had at once, in bytes."""
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1]) << 10


def test_calls_without_end_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.notebook.magics.child.LIMIT", 100)
    calls = Calls()
    for _ in range(4):
        calls.take("7.sethostname(box) = ?")
        calls.take("7.chdir" + "x" * 24)
    assert sum(map(len, calls.lines)) <= 100
    assert sum(map(len, calls.lines)) + calls.left_out == 4 * (20 + 29)


class Tape:
    """What a program writes to its standard output, a pipe that holds one page and so is full."""

    def __init__(self, body: str) -> None:
        self.mark = Output("_child").mark
        argv = [sys.executable, "-I", "-u", "-X", "utf8", PROGRAM, str(ROOT)]
        ours, theirs = os.pipe()
        fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, select.PIPE_BUF)
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=theirs) as program:
            os.close(theirs)
            assert program.stdin is not None
            program.stdin.write(self.mark + b"\n" + textwrap.dedent(body).encode())
            program.stdin.close()
            with open(ours, "rb") as stream:
                self.bytes = stream.read()
        assert program.returncode == 0

    def play(self, size: int) -> Output:
        """Have it arrive in chunks of `size` bytes."""
        output = Output("_child")
        output.mark = self.mark
        for at in range(0, len(self.bytes), size):
            output.arrived(1, self.bytes[at : at + size])
        output.finish()
        return output


def test_chunks_may_end_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    """Inside a character, a mark or a record."""
    tape = Tape("""
        print("盒子", end="")
        chdir("/")
        os.write(1, b"\\0not a mark\\0labkit-\\xff\\0")
        chdir("/tmp")
        os.write(1, "\\0末".encode()[:-1])
    """)
    shown = "\n".join(
        [
            "盒子",
            f'{CALL}chdir("/") = 0',
            "\0not a mark\0labkit-\\xff\0",
            f'{CALL}chdir("/tmp") = 0',
        ]
    )
    for size in (1, 2, 3, 5, 7, 64, 4096):
        output = tape.play(size)
        assert capsys.readouterr().out == shown + "\n\0\\xe6\\x9c"
        assert output.stdout == "盒子\0not a mark\0labkit-\\xff\0\0\\xe6\\x9c"
        assert output.calls.lines == ['chdir("/") = 0', 'chdir("/tmp") = 0']


def test_long_calls_of_several_processes_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Longer than what the kernel keeps together when several write to one pipe."""
    tape = Tape("""
        for n in range(4):
            if not os.fork():
                for _ in range(20):
                    try: chdir(str(n) * 10_000)
                    except OSError: pass
                os._exit(0)
        for n in range(4):
            os.wait()
    """)
    refused = "-1 ENAMETOOLONG (File name too long)"
    expected = [f'chdir("{str(n) * 10_000}") = {refused}' for n in range(4) for _ in range(20)]
    assert sorted(tape.play(65536).calls.lines) == expected
    assert sorted(capsys.readouterr().out.splitlines()) == [CALL + line for line in expected]


def test_calls_of_several_processes_are_told_apart() -> None:
    calls = Calls()
    assert calls.take("7.execve(a) = ?") == []
    assert calls.take("8+chdir(") == []
    assert calls.take("9.chdir(c) = 0") == ["chdir(c) = 0"]
    assert calls.take("7.execve(a) = -1 EACCES") == ["execve(a) = -1 EACCES"]
    assert calls.take("8.b) = 0") == ["chdir(b) = 0"]
    assert calls.take("9.execve(d) = ?") == []
    assert calls.settle() == ["execve(d) = 0"]
    assert calls.settle() == []
    expected = ["execve(a) = -1 EACCES", "chdir(c) = 0", "chdir(b) = 0", "execve(d) = 0"]
    assert calls.lines == expected
