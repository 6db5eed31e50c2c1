"""start() and enter(): a container that runs, and one more program inside."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import descriptors, marked, until

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


LOUD = "head -c 300000 /dev/zero | tr '\\0' x; echo end >&2"


def test_of_much_output_the_head_is_kept_and_the_rest_counted() -> None:
    """The container neither waits nor dies for it, and what it says of an error is not lost."""
    box = Container(("sh", "-c", LOUD))
    with start(SLEEP) as running, start(box, limit=1000) as loud:
        found = [
            run(box, limit=1000),
            loud.wait(),
            running.exec(box.argv, limit=1000),
            enter(running.pid, box.argv, limit=1000),
        ]
        assert loud.left_out == 299_000
    for done in found:
        assert (done.returncode, done.stdout, done.stderr) == (0, "x" * 1000, "end\n")
        assert done.left_out == 299_000
        assert repr(done).endswith("stderr='end\\n', left_out=299000)")
    whole = run(box, limit=300_000)
    assert (len(whole.stdout), whole.left_out) == (300_000, 0)
    assert len(repr(whole)) < 70_000
    assert run(Container(("echo",), tty=True), limit=0).left_out == 2
    assert run(Container(("nosuch",)), limit=0).returncode == 127


@pytest.mark.parametrize("limit", range(1, 8))
def test_no_character_is_cut_in_two(limit: int) -> None:
    done = run(Container(("printf", "a盒é𝄞")), limit=limit)
    assert done.stdout == {1: "a", 4: "a盒", 6: "a盒é"}[max(n for n in (1, 4, 6) if n <= limit)]
    assert len(done.stdout.encode()) + done.left_out == 10


def test_a_program_without_end_costs_no_more_memory_than_its_limit() -> None:
    script = """
from labkit import *
done = run(Container(("head", "-c", "400M", "/dev/zero")))
print(done.returncode, len(done.stdout), done.left_out)
try:
    run(Container(("yes",)), timeout=0.5)
except TimeoutError as error:
    print(len(error.stdout) <= 32 << 20, error.left_out >= 0)
# Of this memory alone: what getrusage(2) says begins with the peak of who started us.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) < 200 << 10)
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout
    assert said.splitlines() == [f"0 {32 << 20} {368 << 20}", "True True", "True"]


@pytest.mark.parametrize("limit", [-1, 1.5, True, None, "64M"])
def test_a_limit_is_a_number_of_bytes(limit: Any) -> None:  # noqa: ANN401 - no limit
    for call in (partial(run, BARE), partial(start, BARE), partial(enter, 1, ("true",))):
        before = descriptors()
        with pytest.raises((TypeError, ValueError), match="limit") as caught:
            call(limit=limit)
        assert any("\u4e00" <= c <= "\u9fff" for c in str(caught.value))
        assert descriptors() == before


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


def test_what_exec_leaves_running_belongs_to_the_container() -> None:
    """Its parent is PID 1 of the container, so the engine need not look for it."""
    with start(SLEEP) as running:
        left = running.exec(("sh", "-c", "sleep 1003 >/dev/null 2>&1 & echo $!")).stdout.strip()
        parents = running.exec(("ps", "-o", "pid,ppid,args")).stdout.splitlines()
        assert [left, "1", "sleep", "1003"] in [line.split() for line in parents]


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
