"""start() and enter(): a container that runs, and one more program inside."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import marked, until

from labkit import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    Container,
    enter,
    inodes,
    run,
    start,
)

ISOLATED = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
SLEEP = Container(("sleep", "1000"), cloneflags=ISOLATED, hostname="box", proc=True)
BARE = Container(("sleep", "1000"))


@pytest.mark.parametrize("box", [BARE, SLEEP], ids=["bare", "all"])
def test_it_runs_until_its_block_ends(box: Container) -> None:
    with start(box) as running:
        assert Path(f"/proc/{running.pid}/cmdline").read_bytes() == b"sleep\x001000\0"
        assert running.inodes == inodes(running.pid)
        assert running.trace[-1].startswith('execve("')
    assert not Path(f"/proc/{running.pid}").exists()
    assert running.wait().returncode == -9


def test_its_block_ends_what_it_started_too() -> None:
    before = marked()
    with start(Container(("sh", "-c", "setsid sleep 1000 & sleep 1001"))):
        until(lambda: len(marked() - before) >= 3)
    assert marked() <= before


def test_wait_gives_what_came_of_it() -> None:
    with start(Container(("sh", "-c", "read x; echo got $x; exit 4")), input="a line\n") as running:
        done = running.wait()
    assert (done.returncode, done.stdout) == (4, "got a line\n")
    assert done.trace == running.trace
    assert running.wait() == done


def test_wait_may_run_out_of_time_and_the_container_goes_on() -> None:
    with start(SLEEP) as running:
        with pytest.raises(TimeoutError):
            running.wait(timeout=0.05)
        assert Path(f"/proc/{running.pid}").exists()


def test_much_output_does_not_block_it() -> None:
    box = Container(("sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x; echo end >&2"))
    with start(box) as running:
        done = running.wait()
    assert (len(done.stdout), done.stderr) == (300_000, "end\n")


def test_kill_sends_a_signal() -> None:
    with start(BARE) as running:
        running.kill(signal.SIGTERM)
        assert running.wait().returncode == -15
        with pytest.raises(ProcessLookupError):
            running.kill()


def test_pid_1_ignores_a_sigterm_that_it_does_not_handle() -> None:
    with start(SLEEP) as running:
        running.kill(signal.SIGTERM)
        with pytest.raises(TimeoutError):
            running.wait(timeout=0.05)
        running.kill(signal.SIGKILL)
        assert running.wait().returncode == -9


def test_exec_runs_inside() -> None:
    with start(SLEEP) as running:
        done = running.exec(("sh", "-c", "hostname; ls /proc | grep -c '^[0-9]'; exit 5"))
        name, processes = done.stdout.split()
        assert (done.returncode, name) == (5, "box")
        assert int(processes) <= 5
        assert done.inodes == running.inodes
        seen = running.exec(("sh", "-c", "readlink /proc/self/ns/*")).stdout
        assert {f"{kind}:[{inode}]" for kind, inode in running.inodes.items()} <= set(seen.split())


def test_exec_tells_a_signal_from_a_status_and_times_out() -> None:
    with start(SLEEP) as running:
        assert running.exec(("sh", "-c", "kill -KILL $$")).returncode == -9
        assert running.exec(("sh", "-c", "kill -TERM $$")).returncode == -15
        assert running.exec(("nosuch",)).returncode == 127
        assert running.exec(("cat",), input="盒").stdout == "盒"
        with pytest.raises(TimeoutError):
            running.exec(("sleep", "1001"), timeout=0.1)
        assert "1001" not in running.exec(("ps", "ax")).stdout


def test_exec_into_a_container_that_has_ended_never_runs_outside(tmp_path: Path) -> None:
    with start(SLEEP) as running:
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        with pytest.raises(ProcessLookupError):
            running.exec(("touch", str(tmp_path / "outside")))
    with pytest.raises(ProcessLookupError):
        running.exec(("touch", str(tmp_path / "outside")))
    assert not (tmp_path / "outside").exists()


def test_enter_any_process_as_nsenter_does() -> None:
    with subprocess.Popen(
        ["unshare", "-muinpf", "--mount-proc", "--kill-child", "sleep", "1000"]
    ) as outer:
        try:
            children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
            pid = int(until(lambda: children.read_text().split())[0])
            until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
            script = "for n in /proc/self/ns/*; do echo $(stat -Lc %i $n); done"
            reference = ["nsenter", "-t", str(pid), "-a", "sh", "-c", script]
            theirs = subprocess.run(reference, capture_output=True, text=True, check=True).stdout
            assert enter(pid, ("sh", "-c", script)).stdout == theirs
        finally:
            outer.kill()


def test_enter_a_process_in_our_own_namespaces_is_just_running() -> None:
    done = enter(os.getpid(), ("echo", "here"))
    assert done.stdout == "here\n"
    assert not any(line.startswith("setns") for line in done.trace)


def test_enter_a_user_namespace() -> None:
    with start(Container(("sleep", "1000"), cloneflags=CLONE_NEWUSER | CLONE_NEWPID)) as running:
        assert enter(running.pid, ("id", "-u")).stdout == "65534\n"


def test_no_such_process_is_a_clear_error() -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    with pytest.raises(ProcessLookupError, match=r"pidfd_open\(\d+, 0\): No such process") as error:
        enter(gone.pid, ("true",))
    assert len(error.value.__notes__) == 2
    with pytest.raises(ProcessLookupError):
        inodes(gone.pid)


def test_an_absent_program_starts_nothing() -> None:
    with start(Container(("nosuch",))) as running:
        assert running.wait().returncode == 127
    with pytest.raises(FileNotFoundError):
        start(Container(("true",), cwd="/nowhere"))


def test_descriptors_of_the_caller(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+") as file:
        with start(Container(("echo", "hi")), stdout=file.fileno()) as running:
            assert running.wait().stdout == ""
        file.seek(0)
        assert file.read() == "hi\n"


def test_many_at_once() -> None:
    with ThreadPoolExecutor(20) as pool:

        def one(number: int) -> bool:
            with start(SLEEP) as running:
                return running.exec(("echo", str(number))).stdout == f"{number}\n"

        assert all(pool.map(one, range(60)))


def test_run_is_not_disturbed_by_the_callers_own_children() -> None:
    """The caller's SIGCHLD and wait are its own: the container is the engine's child."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as own:
        run(Container(("true",)))
        assert os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        own.communicate(b"\n")


def test_a_process_that_ends_at_once_does_not_confuse() -> None:
    for _ in range(50):
        with start(Container(("true",), cloneflags=CLONE_NEWUTS)) as running:
            assert running.wait().returncode == 0
            assert running.inodes["uts"] != inodes()["uts"]
