"""What Docker's verbs do around a container's life: update, events, health, logs, completion."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import until
from exam.sitting import Warm

from labkit.cgroups import changing
from labkit.cgroups.limits import Limits
from labkit.cli import completion
from labkit.images import base
from labkit.images.store import Store
from labkit.monitor import events, health, record, status
from labkit.monitor.lines import LogFile
from labkit.monitor.log import lines

LABKIT = [sys.executable, "-m", "labkit"]
OTHERS = {"unshare": "", "v0.7": ""}


WARM: list[Warm] = []  # labkit with all imported: each command line is a fork of it


@pytest.fixture(scope="module", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state of these tests' own; afterwards nothing is left in it."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("state")
        patch.setenv("LABKIT_STATE", str(path))
        patch.setenv("LABKIT_LANG", "en")
        base.busybox(Store())
        WARM.append(Warm({**os.environ}))
        yield path
        labkit("rm", "-f", *[each.id for each in record.every()])
        assert record.every() == []
        WARM.pop().close()


def labkit(*words: str) -> "subprocess.CompletedProcess[str]":
    with tempfile.NamedTemporaryFile("r+") as out, tempfile.NamedTemporaryFile("r+") as error:
        status = WARM[0].status(words, os.devnull, out.name, error.name)
        return subprocess.CompletedProcess(words, status, out.read(), error.read())


def said(*words: str) -> str:
    done = labkit(*words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def past(*filters: str) -> list[str]:
    """The actions of all events that pass the filters."""
    words = [word for each in filters for word in ("--filter", each)]
    form = ("--format", "{{.Action}}")
    return said("events", "--since", "1h", "--until", "0s", *words, *form).splitlines()


# --- Events -------------------------------------------------------------------------------------


def test_each_act_is_an_event_of_who_did_it() -> None:
    """Verbs and the monitor write; who removes the container does not take its events along."""
    label = ("--label", "kind=noted")
    box = said("create", "--name", "noted", *label, "busybox", "sleep", "99").strip()
    for line in (
        *("start noted", "pause noted", "unpause noted", "rename noted noted2"),
        *("exec noted2 true", "stop -t 0 noted2", "rm noted2"),
    ):
        said(*line.split())
    acts = ["create", "start", "pause", "unpause", "rename", "exec_create: true"]
    acts += ["exec_start: true", "exec_die", "kill", "kill", "die", "stop", "destroy"]
    assert past(f"container={box[:12]}") == acts
    assert past("container=noted") == acts[:4]  # it had that name when they happened
    assert past(f"container={box}", "event=die", "event=destroy") == ["die", "destroy"]
    assert past("label=kind=noted", "event=exec_create") == ["exec_create: true"]
    since = ("events", "--since", "1h", "--until", "0s", "--filter", f"container={box}")
    last = said(*since, "--filter", "event=die", "--format", "json")
    about = json.loads(last)["Actor"]["Attributes"]
    assert about | {"execDuration": "0"} == {
        "execDuration": "0",
        "exitCode": "137",
        "image": "busybox",
        "kind": "noted",
        "name": "noted2",
    }
    line = said(*since, "--filter", "event=rename")
    told = r"\(image=busybox, kind=noted, name=noted2, oldName=/noted\)\n"
    assert re.fullmatch(rf"\S+T\S+\.\d{{9}}[+-]\d\d:\d\d container rename {box} {told}", line)
    assert "invalid filter 'colour'" in labkit("events", "--filter", "colour=red").stderr


def test_images_have_events_too() -> None:
    said("tag", "busybox", "noted:1")
    said("rmi", "noted:1")
    assert past("type=image")[-2:] == ["tag", "untag"]
    assert past("image=noted:1") == ["tag"]


def test_events_are_followed_beyond_the_end_of_a_file(state: Path) -> None:
    """Who follows hears of all, though the file is put aside meanwhile; and its size is bounded."""
    command = [*LABKIT, "events", "--filter", "type=volume", "--format", "{{.Action}}"]
    folder = str(state / "lib")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        while not (heard := _ready(process)):  # it has not begun to look
            events.note(folder, "volume", "begin", "", "")
        for number in range(5):
            events.note(folder, "volume", f"{number}", "", f'"x":"{"x" * (events.MOST // 3)}"')
        events.note(folder, "volume", "end", "", "")
        for line in process.stdout:
            heard += line
            if line == "end\n":
                break
        process.terminate()
    numbers = [line for line in heard.splitlines() if line != "begin"]
    assert numbers == ["0", "1", "2", "3", "4", "end"]
    sizes = [each.stat().st_size for each in (state / "lib").glob("events*")]
    assert len(sizes) == 2
    assert max(sizes) < 1.5 * events.MOST


def _ready(process: "subprocess.Popen[str]") -> str:
    """A line, if there is one within a moment."""
    import select

    assert process.stdout
    return process.stdout.readline() if select.select([process.stdout], [], [], 0.05)[0] else ""


# --- Update -------------------------------------------------------------------------------------


def _setting(box: record.Record, v1: str, v2: str) -> str:
    """What the kernel says of a limit of a container that runs."""
    now = status.of(box)
    if now.version == 2:
        return Path(now.directories["v2"], v2).read_text().strip()
    return Path(now.directories[v1.partition(".")[0]], v1).read_text().strip()


def test_limits_change_while_it_runs_and_stay() -> None:
    """Up and down, whichever of memory and swap has to go first; and at the next start too."""
    said("run", "-d", "--name", "limited", "-m", "64m", "busybox", "sleep", "99")
    box = record.find("limited")
    for size in (32, 96):
        said("update", "-m", f"{size}m", "--memory-swap", f"{size}m", "limited")
        assert _setting(box, "memory.limit_in_bytes", "memory.max") == f"{size << 20}"
    assert said("update", "--pids-limit", "7", "--cpu-shares", "512", "limited") == "limited\n"
    assert _setting(box, "pids.max", "pids.max") == "7"
    said("update", "--pids-limit", "-1", "--cpus", "0.5", "limited")
    assert _setting(box, "pids.max", "pids.max") == "max"
    quota = _setting(box, "cpu.cfs_quota_us", "cpu.max")
    assert quota.split()[0] == "50000"
    said("restart", "-t", "0", "limited")
    assert _setting(box, "memory.limit_in_bytes", "memory.max") == f"{96 << 20}"
    form = "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.CpuShares}}"
    assert said("inspect", "-f", form, "limited") == f"{96 << 20} 500000000 512\n"
    assert "Minimum memory limit allowed is 6MB" in labkit("update", "-m", "1m", "limited").stderr
    smaller = labkit("update", "--memory-swap", "8m", "limited").stderr
    assert "Minimum memoryswap limit should be larger than memory limit" in smaller
    said("rm", "-f", "limited")


def test_version_2_has_one_group_and_may_have_to_be_handed_a_controller(tmp_path: Path) -> None:
    """The files that version 2 has, whichever version this machine has."""
    group = tmp_path / "group"
    group.mkdir()
    for name in ("memory.max", "memory.swap.max", "cpu.max", "pids.max"):
        (group / name).touch()
    (tmp_path / "cgroup.subtree_control").touch()
    before = Limits(memory="64m", pids=9, cpus=1)
    after = Limits(memory="32m", memory_swap="48m", cpus=0.5)
    changing.change(2, {"v2": str(group)}, before, after)
    written = {each.name: each.read_text() for each in group.iterdir()}
    assert written == {
        "memory.max": f"{32 << 20}",
        "memory.swap.max": f"{16 << 20}",
        "cpu.max": "50000 100000",
        "pids.max": "max",
    }
    with pytest.raises(FileNotFoundError):
        changing.change(2, {"v2": str(group)}, after, replace(after, cpuset="0"))
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpuset"
    with pytest.raises(ValueError, match="stop it first"):
        changing.change(1, {"memory": str(group)}, Limits(), Limits(cpuset="0"))


# --- Health -------------------------------------------------------------------------------------


def _health(name: str) -> str:
    found = health.of(record.find(name), is_up=True)
    return str(found["Status"]) if found else ""


def test_health_is_checked_by_the_clock() -> None:
    """It starts, is healthy, falls ill after so many failures; ps, inspect and events say so."""
    often = ("--health-interval", "50ms", "--health-retries", "2")
    check = ("--health-cmd", "echo looked; test -e /well")
    said("run", "-d", "--name", "patient", *check, *often, "busybox", "sleep", "99")
    until(lambda: _health("patient") == health.UNHEALTHY)
    assert "(unhealthy)" in said("ps", "--filter", "health=unhealthy")
    said("exec", "patient", "touch", "/well")
    until(lambda: _health("patient") == health.HEALTHY)
    assert "(healthy)" in said("ps")
    assert said("ps", "-q", "--filter", "health=unhealthy") == ""
    told = json.loads(said("inspect", "-f", "{{json .State.Health}}", "patient"))
    assert (told["Status"], told["FailingStreak"]) == ("healthy", 0)
    assert {"ExitCode": 0, "Output": "looked\n"}.items() <= told["Log"][-1].items()
    assert len(told["Log"]) <= 5
    heard = past("container=patient", "event=health_status")
    assert heard[:2] == ["health_status: unhealthy", "health_status: healthy"]
    said("stop", "-t", "0", "patient")
    assert said("inspect", "-f", "{{.State.Health.Status}}", "patient") == "unhealthy\n"
    said("rm", "patient")


def test_a_check_that_takes_too_long_is_killed() -> None:
    often = ("--health-interval", "20ms", "--health-timeout", "100ms", "--health-retries", "1")
    said("run", "-di", "--name", "slow", "--health-cmd", "exec sleep 77", *often, "busybox", "cat")
    until(lambda: _health("slow") == health.UNHEALTHY)
    found = health.of(record.find("slow"), is_up=True)
    assert found
    assert found["Log"][0]["ExitCode"] == -1
    assert found["Log"][0]["Output"] == "Health check exceeded timeout (0.1s)"
    said("rm", "-f", "slow")


# --- Logs and lists -----------------------------------------------------------------------------


def test_a_log_has_a_bound_and_is_read_as_one() -> None:
    """What is put aside is read with the rest, the last lines too; without a driver none is."""
    bound = ("--log-opt", "max-size=1k", "--log-opt", "max-file=3", "--log-opt", "labels=kind")
    count = "i=0; while test $i -lt 60; do i=$((i+1)); echo line $i; sleep 0.001; done"
    said("run", "--name", "talker", "--label", "kind=loud", *bound, "busybox", "sh", "-c", count)
    box = record.find("talker")
    assert sorted(each.name for each in Path(box.path).glob("log*")) == ["log", "log.1", "log.2"]
    found = said("logs", "talker").splitlines()
    assert 10 < len(found) < 60
    assert found == [f"line {n}" for n in range(61 - len(found), 61)]
    assert said("logs", "-n", "15", "talker").splitlines() == found[-15:]
    assert said("logs", "-n", "1", "--details", "talker") == "kind=loud line 60\n"
    for words, why in (
        (
            ["--log-driver", "none", "--log-opt", "max-size=1k"],
            "invalid logging opts for driver none",
        ),
        (["--log-opt", "colour=red"], "unknown log opt 'colour' for json-file log driver"),
        (["--log-opt", "max-file=2"], "max-file cannot be used without max-size"),
    ):
        assert why in labkit("run", "--rm", *words, "busybox", "true").stderr
    assert said("run", "--name", "mute", "--log-driver", "none", "busybox", "echo", "hi") == "hi\n"
    assert "does not support reading" in labkit("logs", "mute").stderr
    assert Path(record.find("mute").at("log")).read_bytes() == b""
    said("rm", "talker", "mute")


def test_a_file_that_is_put_aside_is_followed(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "log"))
    file.bound(100, 3)
    written: list[bytes] = []

    def more() -> bool:
        written.append(b"%03d" % len(written) + b"x" * 30)
        file.write(written[-1] + b"\n")
        return len(written) < 50

    file.write(b"first\n")
    assert [*lines(str(tmp_path / "log"), more=more)] == [b"first", *written]
    os.close(file._fd)  # a monitor keeps it to its end


def test_ps_tells_what_it_takes_and_what_it_has() -> None:
    write = "head -c 5000 /dev/zero > /file"
    ports = ("--expose", "8000-8010", "--expose", "53/udp")
    said("run", "--name", "heavy", *ports, "busybox", "sh", "-c", write)
    said("create", "--name", "open", "-p", "127.0.0.1:0:80", "busybox")
    assert re.search(r"heavy +5kB \(virtual \S+MB\)\n", said("ps", "-as"))
    assert said("ps", "-a", "--format", "{{.Size}}", "-f", "name=open").startswith("0B (virtual ")
    for wanted, found in (
        ("expose=8005", "heavy"),
        ("expose=8005/udp", ""),
        ("expose=50-60/udp", "heavy"),
        ("publish=80", "open"),
        ("publish=8005", ""),
        ("is-task=true", ""),
    ):
        assert said("ps", "-a", "-f", wanted, "--format", "{{.Names}}").strip() == found, wanted
    for wrong in ("health=ill", "exited=soon", "publish=http", "is-task=perhaps"):
        assert "invalid filter" in labkit("ps", "-f", wrong).stderr, wrong
    said("rm", "heavy", "open")


# --- Completion ---------------------------------------------------------------------------------


def _names(line: str) -> set[str]:
    """What may come at the end of a line, without what click says of files."""
    *words, begun = line.split(" ")[1:]
    return {each.value for each in completion.completions(words, begun, OTHERS)} - {""}


def test_what_may_come_next() -> None:
    said("create", "--name", "complete", "busybox")
    try:
        assert {"run", "ps", "unshare", "v0.7", "volume"} <= _names("labkit ")
        assert _names("labkit uns") == {"unshare"}
        assert _names("labkit start com") == {"complete"}
        assert _names("labkit container rm com") == {"complete"}
        assert _names("labkit container ls --fil") == {"--filter"}
        assert _names("labkit inspect ") == {"complete", "busybox:latest"}
        assert _names("labkit exec -u root ") == {"complete"}
        assert _names("labkit exec complete ") == set()
        assert _names("labkit rmi bus") == {"busybox:latest"}
        assert _names("labkit run --network h") == {"host"}
        assert _names("labkit run --rm -e X=1 bus") == {"busybox:latest"}
        assert {"--health-cmd", "--health-interval"} <= _names("labkit run --health-")
        assert _names("labkit run busybox x") == set()
        assert "prune" in _names("labkit image ")
        assert _names("labkit ps ") == set()
    finally:
        said("rm", "complete")


def test_bash_completes(tmp_path: Path) -> None:
    """Real bash, with the script of `labkit completion bash` and a command line half typed."""
    (tmp_path / "labkit").write_text(f'#!/bin/sh\nexec {sys.executable} -m labkit "$@"\n')
    (tmp_path / "labkit").chmod(0o755)
    program = said("completion", "bash")
    program += "\nCOMP_WORDS=(labkit vol); COMP_CWORD=1; _labkit_completion labkit"
    program += '\necho "${COMPREPLY[@]}"; complete -p labkit'
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, env=env)
    assert done.stdout == "volume\ncomplete -o nosort -F _labkit_completion labkit\n"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script(shell: str) -> None:
    """Where the shell is here, it reads it without a complaint; and it asks labkit."""
    script = said("completion", shell)
    assert f"_LABKIT_COMPLETE={shell}_complete" in script
    assert "labkit" in script
    if path := shutil.which(shell):
        done = subprocess.run([path, "-n"], input=script, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    word = {"COMP_WORDS": "labkit uns", "COMP_CWORD": "1" if shell == "zsh" else "uns"}
    env = {**os.environ, **word, "_LABKIT_COMPLETE": f"{shell}_complete"}
    answer = subprocess.run(LABKIT, capture_output=True, text=True, env=env)
    assert "unshare" in answer.stdout


def test_what_completes_nothing_is_refused() -> None:
    assert labkit("completion", "csh").returncode == 1
    wrong = labkit("levitate")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("labkit: unknown command: labkit levitate\n")
