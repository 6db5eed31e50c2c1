"""run(): one command in a container, its output captured."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from conftest import PATIENCE, changed, command_line, given_time, host, marked, until

from labkit import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    Clone,
    Container,
    inodes,
    run,
)
from labkit.linux.namespaces import KINDS, Kind

ISOLATED = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
INODES = "for n in /proc/self/ns/*; do echo ${n##*/} $(stat -Lc %i $n); done"


def sh(script: str, **fields: object) -> Container:
    return Container(("sh", "-c", script), **fields)  # type: ignore[arg-type]


def test_output_error_and_status_are_kept_apart() -> None:
    done = run(sh("echo out; echo err >&2; exit 3"))
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert 0 < done.seconds < PATIENCE


def test_arguments_arrive_as_they_are() -> None:
    words = ("", "a b", "-c", "$HOME", "盒子", "\n", "\udcff")
    done = run(Container(("printf", "%s\\0", *words)))
    shown = done.stdout.split("\0")[:-1]
    assert shown == [*words[:-1], "\\xff"]


def test_input_is_fed_however_much_it_is() -> None:
    text = "盒子" * 200_000
    assert run(Container(("cat",)), input=text).stdout == text
    assert run(Container(("md5sum",)), input=b"\x00\xff").stdout.startswith(
        subprocess.run(["md5sum"], input=b"\x00\xff", capture_output=True).stdout.decode()
    )
    assert run(Container(("true",)), input=text).returncode == 0  # which reads none of it
    assert run(Container(("cat",))).stdout == ""


def test_the_environment_and_directory_are_the_callers_unless_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_X", "y")
    monkeypatch.chdir(tmp_path)
    assert run(sh("echo $LABKIT_X; pwd")).stdout == f"y\n{tmp_path}\n"
    assert run(sh("pwd", cloneflags=CLONE_NEWNS)).stdout == f"{tmp_path}\n"
    assert run(Container(("/usr/bin/env",), env={"A": "1"}, cwd="/")).stdout == "A=1\n"


def test_a_new_mount_namespace_takes_the_directory_along(tmp_path: Path) -> None:
    """The working directory lies in the container's own mounts, not in the host's."""
    script = "mount -t tmpfs none . && cd $PWD && touch here && ls"
    done = run(sh(script, cloneflags=CLONE_NEWNS, cwd=str(tmp_path)))
    assert done.stdout == "here\n"
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_flag_makes_its_own_kind_new_and_no_other(kind: Kind) -> None:
    done = run(sh(INODES, cloneflags=kind.flag))
    seen = {name: int(inode) for name, inode in map(str.split, done.stdout.splitlines())}
    ours = inodes()
    assert {name: seen[name] for name in ours} == done.inodes
    assert [name for name in ours if seen[name] != ours[name]] == [kind.name]


def test_no_flag_makes_nothing_new() -> None:
    assert run(Container(("true",))).inodes == inodes()


def test_a_hostname_of_its_own() -> None:
    ours = os.uname().nodename
    assert (
        run(Container(("hostname",), cloneflags=CLONE_NEWUTS, hostname="盒子")).stdout == "盒子\n"
    )
    assert os.uname().nodename == ours


def test_a_proc_of_its_own_shows_its_own_processes() -> None:
    script = "echo $$; ls /proc | grep -c '^[0-9]'; readlink /proc/self/ns/pid"
    box = sh(script, cloneflags=CLONE_NEWNS | CLONE_NEWPID, proc=True)
    before = host()
    done = run(box)
    pid, processes, inode = done.stdout.split()
    assert pid == "1"
    assert int(processes) <= 3
    assert inode == f"pid:[{done.inodes['pid']}]"
    until(lambda: not changed(before))


def test_a_mount_inside_is_not_seen_outside(tmp_path: Path) -> None:
    """Even where the host's mounts are shared, as systemd makes them: in a namespace like that."""
    script = f"""
import os, sys
from labkit import CLONE_NEWNS, Container, run
from labkit.syscalls import MS_REC, MS_SHARED, mount
mount("none", "{tmp_path}", "tmpfs")
mount(None, "/", None, MS_REC | MS_SHARED)
done = run(Container(("sh", "-c", "mount -t tmpfs none {tmp_path} && touch {tmp_path}/x"),
                     cloneflags=CLONE_NEWNS))
sys.exit(done.returncode or len(os.listdir("{tmp_path}")))
"""
    outer = ["unshare", "--mount", sys.executable, "-c", script]
    assert subprocess.run(outer).returncode == 0


def test_a_signal_is_told_from_a_status() -> None:
    assert run(sh("kill -TERM $$")).returncode == -15
    assert run(sh("exit 143")).returncode == 143


@pytest.mark.parametrize(
    "fields", [{}, {"cloneflags": ISOLATED, "proc": True}], ids=["bare", "all"]
)
def test_an_absent_program_is_told_from_a_failure_of_ours(
    fields: dict[str, object], tmp_path: Path
) -> None:
    text = tmp_path / "text"
    text.write_text("no program")
    assert run(Container(("nosuch",), **fields)).returncode == 127  # type: ignore[arg-type]
    done = run(Container((str(tmp_path / "nosuch"),), **fields))  # type: ignore[arg-type]
    assert (done.returncode, done.stdout) == (127, "")
    assert done.stderr == f"labkit: {tmp_path}/nosuch: No such file or directory\n"
    done = run(Container((str(text),), **fields))  # type: ignore[arg-type]
    assert (done.returncode, done.stderr) == (126, f"labkit: {text}: Permission denied\n")
    text.chmod(0o755)
    done = run(Container((str(text),), **fields))  # type: ignore[arg-type]
    assert (done.returncode, done.stderr) == (126, f"labkit: {text}: Exec format error\n")


def test_the_program_is_found_as_execvp_finds_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "prog").write_text(f"#!/bin/sh\necho {name}\n")
    (tmp_path / "b" / "prog").chmod(0o755)  # a/prog is there but cannot be executed
    path = {"PATH": f"{tmp_path}/nowhere:{tmp_path}/a:{tmp_path}/b:/bin"}
    assert run(Container(("prog",), env=path)).stdout == "b\n"
    (tmp_path / "b" / "prog").unlink()
    assert run(Container(("prog",), env=path)).returncode == 126


def test_what_is_too_long_is_a_clear_error() -> None:
    with pytest.raises(OSError, match=r"execve\(.*Argument list too long") as refused:
        run(Container(("true", "x" * (1 << 18))))
    assert len(refused.value.__notes__) == 2
    long = run(
        Container(("printenv", "BIG"), env={"BIG": "x" * 100_000, "PATH": os.environ["PATH"]})
    )
    assert len(long.stdout) == 100_001


def test_a_missing_directory_is_a_clear_error() -> None:
    with pytest.raises(FileNotFoundError) as refused:
        run(Container(("true",), cwd="/nowhere"))
    assert refused.value.strerror == 'chdir("/nowhere"): No such file or directory'
    assert refused.value.errno == 2
    assert refused.value.trace[-1] == (  # type: ignore[attr-defined]
        'chdir("/nowhere") = -1 ENOENT (No such file or directory)'
    )


def test_a_time_out_carries_what_was_printed_and_kills_everything() -> None:
    """The second sleep holds no pipe and has left its parent: it would be lost from sight."""
    before = marked()
    box = sh("echo so far; (setsid sleep 1000 >/dev/null 2>&1 &); sleep 1001")
    for each in (box, replace(box, cloneflags=ISOLATED, proc=True)):
        late = given_time(partial(cut_off, each), lambda error: error.stdout)  # type: ignore[attr-defined]
        assert late.stdout == "so far\n"  # type: ignore[attr-defined]
        assert marked() - before <= engines()


def cut_off(box: Container, seconds: float) -> TimeoutError:
    """The error of a run that is ended after so many seconds."""
    with pytest.raises(TimeoutError) as late:
        run(box, timeout=seconds)
    return late.value


def engines() -> set[int]:
    """The processes of this process's engine: itself."""
    return {pid for pid in marked() if b"labkit.engine.loop" in command_line(pid)}


def test_nothing_is_left_running_when_the_program_ends() -> None:
    before = marked() - engines()
    done = run(sh("(setsid sleep 1000 &) ; sleep 1001 & echo done"))
    assert done.stdout == "done\n"
    assert marked() - engines() <= before


def test_the_program_gets_what_a_shell_would_give_it() -> None:
    """No descriptor but three; no signal blocked, none ignored that was not before Python came."""
    command = ["sh", "-c", "ls /proc/self/fd | wc -l; grep -E '^Sig(Blk|Ign)' /proc/self/status"]
    reference = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert run(Container(command)).stdout == reference.stdout


def test_users_are_nobody_in_a_new_user_namespace_without_a_map() -> None:
    assert run(Container(("id", "-u"), cloneflags=CLONE_NEWUSER)).stdout == "65534\n"


def test_many_threads_at_once() -> None:
    names = [f"box{n}" for n in range(60)]
    boxes = [Container(("hostname",), cloneflags=ISOLATED, hostname=n, proc=True) for n in names]
    with ThreadPoolExecutor(20) as pool:
        assert [done.stdout.strip() for done in pool.map(run, boxes)] == names


def test_within_asyncio() -> None:
    async def both() -> list[str]:
        box = Container(("hostname",), cloneflags=CLONE_NEWUTS, hostname="a")
        here = run(box)  # synchronous, in the loop's own thread
        there = await asyncio.to_thread(run, replace(box, hostname="b"))
        return [here.stdout, there.stdout]

    assert asyncio.run(both()) == ["a\n", "b\n"]


def test_from_a_thread_that_ends_before_its_container() -> None:
    done = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: done.append(run(sh("echo hi")).stdout))
        thread.start()
        thread.join()
    assert done == ["hi\n"] * 2


def test_a_forked_copy_of_the_caller_has_an_engine_of_its_own() -> None:
    run(Container(("true",)))
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if run(sh("echo $PPID")).stdout != "" else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert run(sh("echo still")).stdout == "still\n"


def test_a_refusal_says_the_call_and_the_fix(nobody: list[str]) -> None:
    script = """
import json
from labkit import CLONE_NEWUTS, Container, run
try:
    run(Container(("hostname",), cloneflags=CLONE_NEWUTS))
except PermissionError as error:
    print(json.dumps([error.errno, error.strerror, error.__notes__, error.trace]))
"""
    done = subprocess.run(
        [*nobody, "-c", script], capture_output=True, text=True, check=True, cwd="/"
    )
    number, text, (chinese, english), trace = json.loads(done.stdout)
    call = (
        "clone3({flags=CLONE_VM|CLONE_NEWUTS, exit_signal=SIGCHLD, stack=NULL, stack_size=0}, 64)"
    )
    assert (number, text) == (1, f"{call}: Operation not permitted")
    assert trace == [f"{call} = -1 EPERM (Operation not permitted)"]
    assert "CAP_SYS_ADMIN" in chinese
    assert "--privileged" in chinese
    assert "CAP_SYS_ADMIN" in english


def test_where_seccomp_blocks_clone3_the_elder_clone_is_used() -> None:
    """As in Docker without privileges, whose profile answers ENOSYS; strace answers it here."""
    script = """
import json
from labkit import CLONE_NEWUTS, Container, run
print(json.dumps(run(Container(("hostname",), cloneflags=CLONE_NEWUTS, hostname="box")).trace))
"""
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=clone3"]
    inject = ["-e", "inject=clone3:error=ENOSYS"]
    done = subprocess.run(
        [*strace, *inject, sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    trace = json.loads(done.stdout)
    assert trace[0].endswith("= -1 ENOSYS (Function not implemented)")
    assert trace[1].startswith("clone(child_stack=NULL, flags=CLONE_NEWUTS|SIGCHLD) = ")
    assert 'sethostname("box", 3) = 0' in trace


def test_the_elder_clone_is_not_asked_for_a_time_namespace() -> None:
    """It would take the bit for a signal, and make none."""
    script = """
from labkit import CLONE_NEWTIME, Container, run
try:
    run(Container(("true",), cloneflags=CLONE_NEWTIME))
except OSError as error:
    print(error.errno)
"""
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=clone3"]
    inject = ["-e", "inject=clone3:error=ENOSYS"]
    done = subprocess.run(
        [*strace, *inject, sys.executable, "-c", script], capture_output=True, text=True
    )
    assert done.stdout == "38\n", done.stderr


def test_all_flags_at_once() -> None:
    ours, done = inodes(), run(Container(("true",), cloneflags=Clone(sum(Clone))))
    assert all(done.inodes[kind] != ours[kind] for kind in ours)


def test_a_program_that_closes_its_output_is_followed_to_its_end() -> None:
    """Its trace is complete when its output ends; its status is known only at its own end."""
    done = run(sh("exec >&- 2>&-; sleep 0.2; exit 3"))
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
    assert done.trace[-1].startswith("execve(")
    assert done.trace[-1].endswith(" = 0")
    assert done.seconds > 0.2
    assert done.inodes == inodes()
