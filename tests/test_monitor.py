"""Containers that outlive their caller: black boxes, by `labkit` in a process of its own."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO, cast

import pytest
from conftest import until

from labkit import CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS, Container
from labkit.cli import passing
from labkit.docker.roots import root_of
from labkit.images import base
from labkit.images.store import Store
from labkit.linux import proc
from labkit.linux.pty import Pty
from labkit.monitor import acts, names, reach, record, status
from labkit.monitor.address import Monitor, connect
from labkit.monitor.lines import Lines
from labkit.monitor.record import Record
from labkit.network.network import Network
from labkit.state import held

LABKIT = [sys.executable, "-m", "labkit"]
FLAGS = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC


@pytest.fixture(scope="module", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state of these tests' own; afterwards nothing is left in it."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("state")
        patch.setenv("LABKIT_STATE", str(path))
        patch.setenv("LABKIT_LANG", "en")
        base.busybox(Store())
        yield path
        labkit("rm", "-f", *[each.id for each in record.every()])
        assert held.names(Store().container_folders) == []
        assert os.listdir(path / "lib" / "names") == []


def create(
    *argv: str,
    name: str = "",
    tty: bool = False,
    network: Network | None = None,
    **options: object,
) -> Record:
    store = Store()
    image = store.find("busybox")
    with record.making(store, image, name) as made:
        assert made.root
        box = Container(
            argv,
            cloneflags=FLAGS,
            proc=True,
            hostname=made.folder.name[:12],
            root=root_of(made.root),
            env={"PATH": "/bin"},
            tty=tty,
            network=network,
        )
        return made.write(box, image="busybox", image_id=image.id, options=options)


def labkit(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LABKIT, *words], capture_output=True, text=True)


def said(*words: str) -> str:
    done = labkit(*words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def started(*argv: str, name: str = "", tty: bool = False, **options: object) -> Record:
    box = create(*argv, name=name, tty=tty, network=None, **options)
    said("start", box.id)
    return box


def word(box: Record) -> str:
    return status.of(box).word


def gone(pid: int) -> bool:
    try:
        return proc.stat(pid).state == "Z"
    except OSError:  # there is none any more, or none since the file was opened
        return True


# --- Its life -----------------------------------------------------------------------------------


def test_a_life() -> None:
    """Made, started, listed, stopped, started again, waited for, removed."""
    script = "trap 'exit 5' TERM; echo out; echo err >&2; sleep 99 & wait"
    box = create("sh", "-c", script, name="life")
    assert "life" not in said("ps")
    assert re.search(r'"sh -c .trap .exit 5…" .* Created +life\n', said("ps", "-a"))
    assert said("start", "life") == "life\n"
    until(lambda: "out" in Path(box.at("log")).read_text())
    assert re.search(r" Up .*second.* life\n", said("ps"))
    logs = labkit("logs", "life")
    assert (logs.stdout, logs.stderr) == ("out\n", "err\n")
    told = json.loads(said("inspect", "life"))[0]
    assert told["State"]["Status"] == "running"
    assert Path(f"/proc/{told['State']['Pid']}/comm").read_text() == "sh\n"
    refused = 'cannot remove container "/life": container is running: stop the container before'
    assert refused in labkit("rm", "life").stderr
    assert said("stop", box.short[:6]) == f"{box.short[:6]}\n"
    assert re.search(r" Exited \(5\) .* ago .*life\n", said("ps", "-a"))
    assert said("wait", "life") == "5\n"
    assert said("restart", "life") == "life\n"
    assert said("kill", "life") == "life\n"
    assert said("wait", "life") == "137\n"
    assert "is not running" in labkit("kill", "life").stderr
    assert said("rm", "life") == "life\n"
    assert labkit("rm", "life").stderr == "labkit: No such container: life\n"
    assert not os.path.exists(box.path)


@pytest.mark.parametrize(("program", "code"), [("nothing", 127), ("/etc", 126)])
def test_what_cannot_be_run_was_not_started(program: str, code: int) -> None:
    box = create(program, restart="always")
    assert labkit("start", box.id).returncode == 1
    until(lambda: "finished" in box.run())
    state = json.loads(said("inspect", box.id))[0]["State"]
    assert (state["Status"], state["ExitCode"]) == ("created", code)
    said("rm", "-f", box.id)


def test_a_restart_policy_holds_while_the_monitor_lives() -> None:
    often = started("sh", "-c", "echo run; exit 3", restart="on-failure:2")
    until(lambda: word(often) == "exited")
    assert said("logs", often.id) == "run\n" * 3
    assert status.of(often).restarts == 2
    always = started("sleep", "99", restart="always")
    first = status.of(always).pid
    os.kill(first, signal.SIGKILL)
    until(lambda: status.of(always).pid not in (0, first))
    assert status.of(always).restarts == 1
    said("stop", "-t", "0", always.id)  # by hand: no policy starts it again
    assert word(always) == "exited"
    said("rm", often.id, always.id)


def test_a_container_that_is_to_go_at_its_end_goes() -> None:
    box = started("true", remove=True)
    until(lambda: not os.path.exists(box.path))
    assert box.name not in names.index().values()
    root = Path(Store().container_folders, box.id)
    until(lambda: not root.exists())


def test_paused_and_going_on() -> None:
    box = started("sh", "-c", "while :; do :; done", name="busy")
    said("pause", "busy")
    assert " (Paused) " in said("ps", "--filter", "name=busy")
    assert labkit("pause", "busy").stderr == "labkit: Container busy is already paused\n"
    assert "cannot start a paused container" in labkit("start", "busy").stderr
    said("unpause", "busy")
    assert word(box) == "running"
    said("pause", "busy")
    said("kill", "busy")  # a frozen one dies too
    assert said("wait", "busy") == "137\n"
    said("rm", "busy")


# --- Deaths -------------------------------------------------------------------------------------


@pytest.mark.parametrize("victim", ["monitor", "keeper", "pid"])
def test_whoever_is_killed_ps_tells_the_truth_and_nothing_is_left(victim: str) -> None:
    box = started("sh", "-c", "sleep 99 & sleep 99")
    run = dict(box.run())
    monitor = run["monitor"]
    run["keeper"] = int(
        Path(f"/proc/{monitor}/status").read_text().partition("PPid:")[2].split()[0]
    )
    assert word(box) == "running"
    group = next(iter(status.of(box).directories.values()), "")
    os.kill(run[victim], signal.SIGKILL)
    until(lambda: word(box) == "exited")
    assert status.of(box).code == 137
    assert re.search(r"Exited \(137\)", said("ps", "-a", "-f", f"id={box.id}"))
    until(lambda: all(map(gone, (monitor, run["keeper"], run["pid"]))))
    until(lambda: not os.path.exists(group))
    said("start", box.id)
    assert word(box) == "running"
    said("rm", "-f", box.id)


def test_after_a_reboot_it_has_ended_and_starts_again() -> None:
    box = started("sleep", "99")
    said("stop", "-t", "0", box.id)
    run = {name: value for name, value in box.run().items() if name != "finished"}
    Path(box.at("run.json")).write_text(json.dumps(run | {"boot": "another"}))
    assert status.of(box).word == "exited"
    assert status.of(box).code == 255
    said("start", box.id)
    assert word(box) == "running"
    said("rm", "-f", box.id)


def test_a_launcher_that_is_killed_leaves_a_container_or_none() -> None:
    """It is killed at any moment of a start: then the container runs, or it has not begun."""
    box = create("sleep", "99", network=Network("none"))
    for moment in (0.02, 0.1, 0.15, 0.2, 0.25, 0.3):
        with subprocess.Popen([*LABKIT, "start", box.id], stdout=subprocess.DEVNULL) as launcher:
            time.sleep(moment)
            launcher.kill()
        until(lambda: word(box) == "running" or not _is_held(box))
        said("stop", "-t", "0", box.id)
    said("rm", box.id)


def _is_held(box: Record) -> bool:
    with record.looking(box.path) as is_held:
        return is_held


def test_who_kills_it_finds_it_ended() -> None:
    """SIGKILL returns when the container has ended, as with Docker; another signal at once."""
    box = started("sh", "-c", "trap : USR1; while :; do sleep 99 & wait; done")
    for _ in range(5):
        said("kill", "-s", "USR1", box.id)
        assert word(box) == "running"
        acts.kill(box, signal.SIGKILL)
        assert (word(box), status.of(box).code) == ("exited", 137)
        said("start", box.id)
    said("rm", "-f", box.id)


def test_a_client_without_manners_ends_alone() -> None:
    """What is said to a monitor in no words of ours costs the container nothing."""
    box = started("sleep", "99")
    for text in ("nonsense", "attach ioe", "policy x", "streams 0 0 0", "\xff"):
        monitor = connect(box, box.run()["monitor"])
        monitor.send(text)
        assert monitor.answer() == ("", [])
        monitor.close()
    assert word(box) == "running"
    said("rm", "-f", box.id)


# --- Names --------------------------------------------------------------------------------------


def test_a_name_is_one_containers_alone() -> None:
    with ThreadPoolExecutor(8) as pool:

        def attempt(_: int) -> Record | None:
            with contextlib.suppress(names.NameTaken):
                return create("true", name="same")
            return None

        made = [box for box in pool.map(attempt, range(8)) if box]
    assert len(made) == 1
    (box,) = made
    with pytest.raises(
        names.NameTaken, match=r'"/same" is already in use by container "[0-9a-f]{64}"'
    ):
        create("true", name="/same")
    said("rename", "same", "other")
    assert record.find("other").id == box.id
    with pytest.raises(record.NoSuchContainer):
        record.find("same")
    said("rm", "other")
    with pytest.raises(record.NoSuchContainer, match="No such container: same"):
        acts.rename(box, "other")  # while it is removed
    assert names.lookup("other") == ""
    for wrong in ("a", "-a", "a b", "a/b", "é" * 3):
        with pytest.raises(ValueError, match="Invalid container name"):
            names.check(wrong)


def test_a_box_comes_back_from_disk_as_it_was() -> None:
    box = create("sh", "-c", "é 'x'", network=Network("none"), tty=True)
    assert record.find(box.id).box == box.box
    said("rm", box.id)


# --- What it prints -----------------------------------------------------------------------------


def test_lines_of_a_log() -> None:
    lines = Lines("stdout")
    assert lines.add(b"on") == b""
    (entry,) = (json.loads(each) for each in lines.add(b"e\nrest").splitlines())
    assert (entry["log"], entry["stream"]) == ("one\n", "stdout")
    assert re.fullmatch(r"\d{4}(-\d\d){2}T\d\d(:\d\d){2}\.\d{9}Z", entry["time"])
    assert json.loads(lines.finish())["log"] == "rest"
    assert lines.finish() == b""
    long = ("é" * 20000).encode()
    parts = [json.loads(each)["log"] for each in lines.add(long).splitlines()]
    parts.append(json.loads(lines.finish())["log"])
    assert "".join(parts) == "é" * 20000
    assert len(parts[0].encode()) <= 16384
    assert json.loads(lines.add(b'\xff\x00"\n'))["log"] == '\ufffd\0"\n'


def test_logs_from_to_and_as_they_grow() -> None:
    script = "for i in 1 2 3; do echo $i; done; read x; echo $x; sleep 99"
    box = started("sh", "-c", script, open_stdin=True)
    until(lambda: Path(box.at("log")).read_text().count("\n") == 3)
    assert said("logs", "-n", "2", box.id) == "2\n3\n"
    assert said("logs", "--tail", "0", box.id) == ""
    assert said("logs", "--since", "1h", box.id) == "1\n2\n3\n"
    assert said("logs", "--until", "1h", box.id) == ""
    line = said("logs", "-t", "--tail", "1", box.id)
    assert re.fullmatch(r"\S{30} 3\n", line)
    assert said("logs", "--since", line.split()[0], box.id).endswith("3\n")
    with subprocess.Popen([*LABKIT, "logs", "-f", box.id], stdout=subprocess.PIPE) as follower:
        assert follower.stdout
        assert [follower.stdout.readline() for _ in range(3)] == [b"1\n", b"2\n", b"3\n"]
        with subprocess.Popen([*LABKIT, "attach", box.id], stdin=subprocess.PIPE) as typing:
            assert typing.stdin
            typing.stdin.write(b"four\n")
            typing.stdin.flush()
            assert follower.stdout.readline() == b"four\n"
            said("kill", box.id)
            assert follower.wait(60) == 0
            assert typing.wait(60) == 137
    said("rm", box.id)


# --- Attached -----------------------------------------------------------------------------------

SIZE = 100_000_000


def test_no_byte_is_lost_both_ways() -> None:
    """100 MB go in and come out again, and stand in the log."""
    line = b"".join(b"%07d " % number for number in range(125)) + b"\n"
    data = line * (SIZE // len(line))
    create("cat", name="cat", open_stdin=True, stdin_once=True)
    done = subprocess.run([*LABKIT, "start", "-ai", "cat"], input=data, stdout=subprocess.PIPE)
    assert done.returncode == 0
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
    assert said("logs", "--tail", "1", "cat") == line.decode()
    said("rm", "cat")


def test_the_exit_status_is_the_programs_and_signals_reach_it() -> None:
    box = create(
        "sh", "-c", "trap 'echo got; exit 7' TERM; echo ready; while :; do sleep 0.1; done"
    )
    with subprocess.Popen([*LABKIT, "start", "-a", box.id], stdout=subprocess.PIPE) as client:
        assert client.stdout
        assert client.stdout.readline() == b"ready\n"
        client.terminate()
        assert (client.stdout.read(), client.wait(60)) == (b"got\n", 7)
    said("rm", box.id)


# --- run and exec -------------------------------------------------------------------------------

RUN = ("run", "--network", "none")


@pytest.mark.parametrize(
    ("words", "code", "out", "error"),
    [
        (("--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 42"), 42, "out\n", "err\n"),
        (("--rm", "--init", "busybox", "sh", "-c", "kill -9 $$"), 137, "", ""),
        (("--rm", "busybox", "nosuch"), 127, "", "labkit: nosuch: No such file or directory\n"),
        (("--rm", "busybox", "/etc"), 126, "", "labkit: /etc: Permission denied\n"),
        (("--rm", "nosuch:1.0", "true"), 125, "", None),
        (("--nosuch", "busybox"), 125, "", None),
        (("--rm", "-a", "stdout", "busybox", "sh", "-c", "echo out; echo e >&2"), 0, "out\n", ""),
    ],
)
def test_run(words: tuple[str, ...], code: int, out: str, error: str | None) -> None:
    done = labkit(*RUN, *words)
    assert (done.returncode, done.stdout) == (code, out)
    assert error in (done.stderr, None)
    assert [each for each in record.every() if each.settings.get("remove")] == []


def test_exec_in_what_runs_and_nothing_else() -> None:
    said(*RUN, "-d", "--name", "target", "-e", "A=1", "busybox", "sleep", "99")
    assert said("exec", "target", "sh", "-c", "echo $A; hostname").split()[0] == "1"
    words = ("-e", "A=2", "-w", "/etc", "-u", "nobody", "target")
    assert said("exec", *words, "sh", "-c", "echo $A; pwd; id -u") == "2\n/etc\n65534\n"
    done = subprocess.run(
        [*LABKIT, "exec", "-i", "target", "sh", "-c", "cat; echo e >&2; exit 9"],
        input=b"in",
        capture_output=True,
    )
    assert (done.stdout, done.stderr, done.returncode) == (b"in", b"e\n", 9)
    missing = labkit("exec", "target", "nosuch")
    assert (missing.returncode, missing.stdout) == (127, "")
    said("exec", "-d", "target", "sh", "-c", "echo mine > /mine; exec sleep 98")
    until(lambda: "sleep 98" in said("top", "target"))
    assert labkit("diff", "target").stdout == "A /mine\n"
    said("pause", "target")
    assert "is paused, unpause" in labkit("exec", "target", "true").stderr
    said("kill", "target")
    said("wait", "target")
    assert "is not running" in labkit("exec", "target", "true").stderr
    said("rm", "target")


def test_copied_in_and_out(tmp_path: Path) -> None:
    """Of a container that runs, and of one that does not; a link of it leads nowhere outside."""
    script = "ln -s /etc /out; mkdir -p /d/e; echo in > /d/e/f; ln -s f /d/e/l; exec sleep 99"
    said(*RUN, "-d", "--name", "files", "busybox", "sh", "-c", script)
    until(lambda: "sleep" in said("top", "files"))
    (tmp_path / "mine").write_text("mine")
    for runs in (True, False):
        here = tmp_path / f"{runs}"
        here.mkdir()
        said("cp", "files:/d", str(here))
        assert (here / "d/e/f").read_text() == "in\n"
        assert os.readlink(here / "d/e/l") == "f"
        said("cp", "files:/d/.", str(here / "new"))
        assert (here / "new/e/f").exists()
        said("cp", str(tmp_path / "mine"), f"files:/out/mine{runs}")
        assert not os.path.exists(f"/etc/mine{runs}")
        archive = subprocess.run(
            [*LABKIT, "cp", f"files:/etc/mine{runs}", "-"], capture_output=True
        )
        (tmp_path / "a.tar").write_bytes(archive.stdout)
        with (tmp_path / "a.tar").open("rb") as file:
            assert labkit_in(file, "cp", "-", "files:/d") == 0
        said("cp", f"files:/d/mine{runs}", str(here / "back"))
        assert (here / "back").read_text() == "mine"
        missing = labkit("cp", "files:/nothing", str(here))
        assert (missing.returncode, "Could not find the file" in missing.stderr) == (1, True)
        said("stop", "-t", "0", "files")
    assert "must specify at least one container source" in labkit("cp", "/a", "/b").stderr
    said("rm", "files")


def labkit_in(stdin: BinaryIO, *words: str) -> int:
    return subprocess.run([*LABKIT, *words], stdin=stdin).returncode


def test_what_it_uses_and_another_policy() -> None:
    said(*RUN, "-d", "--name", "used", "busybox", "sh", "-c", "while :; do :; done")
    line = said("stats", "--no-stream", "--format", "{{.Name}} {{.CPUPerc}} {{.PIDs}}").split()
    assert (line[0], line[2]) == ("used", "1")
    assert float(line[1].rstrip("%")) > 1
    assert said("update", "--restart", "on-failure:1", "used") == "used\n"
    form = "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}"
    assert said("inspect", "-f", form, "used") == "on-failure 1\n"
    os.kill(status.of(record.find("used")).pid, signal.SIGKILL)
    until(lambda: status.of(record.find("used")).restarts == 1)
    said("rm", "-f", "used")


NETWORKED = ["unshare", "--net", "sh", "-euc"]


def test_on_a_bridge_and_in_anothers_network() -> None:
    """What is published goes with its container; who joins a network finds it after a restart."""
    script = """
        labkit() { python -m labkit "$@"; }
        labkit run -d --name web -p 8080:80 busybox sleep 99
        labkit ps --format '{{.Names}} {{.Ports}}'
        labkit port web 80
        labkit run -d --name guest --network container:web busybox sleep 99
        labkit run --rm busybox nslookup web | grep -c 'Address: 10.88.0.2'
        nft list ruleset | grep -c 'dport 8080'
        labkit restart -t 0 web
        labkit restart -t 0 guest
        labkit exec guest ip addr show eth0 | grep -o 'inet 10.88'
        labkit stop -t 0 web
        labkit start guest || labkit stop -t 0 guest
        labkit rm -f guest web
        i=0; while ip link show labkit0 2>/dev/null; do i=$((i+1)); test $i -lt 600; sleep 0.1; done
        nft list ruleset
    """
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [*NETWORKED, script], capture_output=True, text=True, env=os.environ | {"PATH": path}
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[1:3] == ["web 0.0.0.0:8080->80/tcp", "0.0.0.0:8080"]
    assert lines[4:] == [*"11", "web", "guest", "inet 10.88", "web", "guest", "guest", "web"]


# --- What is kept -------------------------------------------------------------------------------


def test_volumes_and_what_takes_room() -> None:
    """A volume that a container has stays; one without a name goes with `rm -v`."""
    assert said("volume", "create", "--label", "a=b", "data") == "data\n"
    name, script = "keeps", "echo 12345 > /v/x; echo 1 > /w/y; echo 123 > /z"
    said(*RUN, "--name", name, "-v", "data:/v", "-v", "/w", "busybox", "sh", "-c", script)
    assert "volume is in use - [" in labkit("volume", "rm", "data").stderr
    assert said("volume", "ls", "-q", "-f", "dangling=true") == ""
    df = said("system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}}")
    assert re.search(r"Local Volumes 2 2 8B\n", df)
    assert re.search(r"Containers \d+ 0 \d+B\n", df)
    assert len(said("volume", "ls", "-q").split()) == 2
    said("rm", "-v", name)
    assert said("volume", "ls", "-q") == "data\n"
    assert said("volume", "rm", "data") == "data\n"
    assert "no such volume" in labkit("volume", "inspect", "data").stderr


def test_pruned_is_what_does_not_run() -> None:
    up = started("sleep", "99")
    down = create("true")
    assert f"\n{down.id}\n" in said("container", "prune", "-f")
    assert said("container", "ls", "-q") == f"{up.short}\n"
    assert "Deleted" not in said("system", "prune", "-f")
    assert said("info", "--format", "{{.ContainersRunning}} {{.Images}}") == "1 1\n"
    assert "unknown command: labkit volume nosuch" in labkit("volume", "nosuch").stderr
    assert labkit("ps", "--filter", "status").returncode == 125
    assert labkit("volume", "create", "a b").returncode == 1
    said("rm", "-f", up.id)


def test_a_monitor_that_ends_while_somebody_connects_is_gone(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    found = cast("Record", SimpleNamespace(path=str(tmp_path)))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(tmp_path / reach.SOCKET))
        listening.listen()
        with pytest.raises(ConnectionError):
            connect(found, ended.pid)


def test_what_a_monitor_said_last_is_heard_by_who_had_more_to_say() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with contextlib.closing(Monitor(ours)) as monitor:
        theirs.send(b"exited 5")
        theirs.close()
        for _ in range(2):
            with pytest.raises(ConnectionError):
                monitor.send("resize 24 80")
        assert monitor.status() == 5
        assert monitor.answer() == ("", [])


# --- A terminal ---------------------------------------------------------------------------------


class Screen:
    """labkit on a terminal, with a person before it."""

    def __init__(self, *words: str) -> None:
        self.pty, self.text = Pty(), ""
        self.pty.resize(33, 101)
        self.before = termios.tcgetattr(self.pty.slave)
        OPEN.append(self)
        self.process = subprocess.Popen(
            [*LABKIT, *words],
            stdin=self.pty.slave,
            stdout=self.pty.slave,
            stderr=self.pty.slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )

    def shows(self, text: str) -> None:
        """Wait until it shows `text`, after what was shown before."""

        def look() -> bool:
            with contextlib.suppress(BlockingIOError):
                self.text += self.pty.read(65536).decode(errors="replace")
            return text in self.text

        until(look)
        self.text = self.text.partition(text)[2]

    def types(self, text: str) -> None:
        self.pty.write(text.encode())

    def ends(self, code: int) -> None:
        """Wait for its end. The terminal is as it was."""
        assert self.process.wait(60) == code
        until(lambda: termios.tcgetattr(self.pty.slave) == self.before)
        self.pty.close()
        OPEN.remove(self)


OPEN: list[Screen] = []


@pytest.fixture(autouse=True)
def none_is_left_open() -> Iterator[None]:
    """If a test fails, what it has left of screens ends."""
    yield
    for screen in OPEN:
        screen.process.kill()
        screen.process.wait()
        screen.pty.close()
    OPEN.clear()


def test_a_real_terminal() -> None:
    """Raw, its size, keys that are signals, detached, attached twice, left as it was."""
    first = Screen(*RUN, "-it", "--name", "tty", "--hostname", "box", "busybox", "sh")
    first.shows("/ # ")
    first.types("stty size; hostname; tty\r")
    first.shows("33 101\r\nbox\r\n/dev/pts/0\r\n")
    first.pty.resize(20, 70)
    first.types("until [ \"$(stty size)\" = '20 70' ]; do sleep 0.1; done; echo f''its\r")
    first.shows("fits\r\n")
    first.shows("/ # ")  # or it would pass for the prompt after Ctrl-C
    first.types("sleep 99\r")
    until(lambda: "sleep 99" in said("top", "tty"))
    first.types("\3")
    first.shows("/ # ")
    second = Screen("attach", "tty")
    second.types("echo t''wo\r")
    second.shows("two\r\n")
    first.shows("two\r\n")
    inside = Screen("exec", "-it", "tty", "sh", "-c", "tty; stty size; exec sh")
    inside.shows("/dev/pts/1\r\n33 101\r\n")
    inside.types("exit 5\r")
    inside.ends(5)
    second.types("\x10\x11")
    second.shows("read escape sequence")
    second.ends(0)
    first.types("echo still $((40+2))\r")
    first.shows("still 42\r\n")
    first.process.kill()  # its terminal is put back all the same
    first.ends(-9)
    third = Screen("attach", "--detach-keys", "ctrl-a", "tty")
    third.types("exit 3\r")
    third.ends(3)
    assert "still 42\n" in said("logs", "tty")
    said("rm", "tty")


@pytest.mark.parametrize("how", [signal.SIG_UNBLOCK, signal.SIG_BLOCK])
def test_a_signal_ends_a_wait_that_had_not_begun(how: int) -> None:
    """Another thread gets it, so no call is interrupted: as when it comes just before the call.

    Nor does it matter that the caller had blocked it.
    """
    before = signal.pthread_sigmask(how, {signal.SIGWINCH})
    try:
        _signal_ends_a_wait()
        assert (signal.SIGWINCH in signal.pthread_sigmask(signal.SIG_BLOCK, ())) == (
            how == signal.SIG_BLOCK
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _signal_ends_a_wait() -> None:
    stat = Path(f"/proc/self/task/{threading.get_native_id()}/stat")

    def send() -> None:
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "S")
        signal.pthread_kill(threading.get_ident(), signal.SIGWINCH)

    with passing._Woken(None, terminal=True) as woken, ThreadPoolExecutor(1) as other:
        other.submit(send)
        assert select.select([woken], [], [], 60)[0] == [woken]
        assert os.read(woken, 64) == bytes([signal.SIGWINCH])


def test_what_is_no_terminal_is_refused_as_one() -> None:
    done = subprocess.run([*LABKIT, *RUN, "-it", "busybox", "sh"], stdin=subprocess.DEVNULL)
    assert done.returncode == 1
