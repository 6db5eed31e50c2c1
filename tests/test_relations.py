"""Who shares which namespace, and who owns it: the snapshot says what lsns(8) says."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT, until

from labkit import CLONE_NEWIPC, CLONE_NEWUTS, Container, compare, inodes, start, syscalls
from labkit.linux.namespaces import KINDS, Kind, inodes_of_zombie
from labkit.linux.relations import OUTSIDE, Namespace, Snapshot, learn, snapshot

# In a PID namespace of its own, so that nothing else is seen: one sleeper for each kind; a user
# namespace in another that no process is in any more; one in another, which owns a PID and a UTS
# namespace; a zombie. Each sleeper is called sleep once it is where it belongs.
SLEEPERS = 12
TREE = """
for options in --cgroup --ipc --mount --net --uts "--pid --fork" "--time --fork" --user \\
    "--user --map-root-user --net"
do unshare $options sleep 1000 & done
unshare -Ur unshare -U sleep 1000 &
unshare -Ur sh -c "unshare -Ur --pid --fork --uts sleep 1000; :" &
sh -c 'true & exec sleep 1000' &
until test "$(pgrep -xc sleep)" = 12; do :; done
until pgrep -r Z > /dev/null; do :; done
"""
LOOK = """
import json, os
from labkit import syscalls
from labkit.linux.relations import snapshot
first = snapshot()
asked = len(syscalls.trace)
again = snapshot(first)
rows = [
    {"ns": one.inode, "type": one.kind.name, "nprocs": len(again.members(one.inode)),
     "pid": next(iter(again.members(one.inode)), None), "ons": one.owner, "pns": one.parent or 0}
    for one in again.namespaces.values()
]
told = [rows, first == again, len(syscalls.trace) - asked, first.hidden]
print(json.dumps(told), flush=True)
os.execvp("lsns", ["lsns", "--json", "-o", "NS,TYPE,NPROCS,PID,ONS,PNS"])  # the same process
"""
UNSHARE = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
Row = dict[str, str | int]


def in_tree(words: list[str], *command: str) -> str:
    """What `command` prints among the sleepers; `words` bring it there."""
    script = f'{TREE}\n"$@"'
    done = subprocess.run(
        [*words, "sh", "-c", script, "sh", *command],
        capture_output=True,
        text=True,
        cwd="/",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=2 * PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def look(words: list[str], python: str) -> tuple[list[Row], list[Row], list[object]]:
    """Our rows, lsns's, and what else the snapshot said of itself."""
    ours, theirs = in_tree(words, python, "-c", LOOK).split("\n", 1)
    rows, *rest = json.loads(ours)
    listed = json.loads(theirs)["namespaces"]
    return rows, [row for row in listed if row["nprocs"]], rest


def by_inode(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row["ns"])


@pytest.fixture(scope="module")
def as_root() -> tuple[list[Row], list[Row], list[object]]:
    return look(UNSHARE, sys.executable)


@pytest.fixture(scope="module")
def rootless(nobody: list[str]) -> tuple[list[Row], list[Row], list[object]]:
    return look([*nobody[:-1], *UNSHARE, "--user", "--map-root-user"], nobody[-1])


@pytest.mark.parametrize("who", ["as_root", "rootless"])
def test_it_says_what_lsns_says(who: str, request: pytest.FixtureRequest) -> None:
    ours, theirs, (same, asked, hidden) = request.getfixturevalue(who)
    # Some lsns leave out an owner that no process is in any more; we never do.
    assert by_inode([row for row in ours if row["nprocs"]]) == by_inode(theirs)
    assert {row["type"] for row in ours} == {kind.name for kind in KINDS}
    for kind in KINDS:
        assert sum(row["type"] == kind.name for row in ours) >= 2
    assert (same, asked, hidden) == (True, 0, 0)


@pytest.mark.parametrize("who", ["as_root", "rootless"])
def test_an_owner_without_processes_is_in_it(who: str, request: pytest.FixtureRequest) -> None:
    ours, _, _ = request.getfixturevalue(who)
    (empty,) = (row for row in ours if not row["nprocs"])
    assert (empty["type"], empty["pid"]) == ("user", None)
    (inner,) = (row for row in ours if row["ons"] == empty["ns"])
    assert (inner["type"], inner["nprocs"], inner["pns"]) == ("user", 1, empty["ns"])


def test_what_is_outside_is_a_value(rootless: tuple[list[Row], list[Row], list[object]]) -> None:
    """What a rootless container shares with the host belongs to a user namespace it cannot see."""
    ours, _, _ = rootless
    shared = {row["type"] for row in ours if row["ons"] == OUTSIDE}
    assert shared == {"cgroup", "ipc", "net", "time", "user", "uts"}
    (own,) = (row for row in ours if row["type"] == "user" and row["ons"] == OUTSIDE)
    assert {row["type"] for row in ours if row["ons"] == own["ns"]} >= {"mnt", "pid", "user"}


def test_the_maker_of_a_user_namespace(nobody: list[str]) -> None:
    """Its uid is the one seen from here, not the 0 that it may be inside."""
    words = [*nobody[:-1], "unshare", "--user", "--map-root-user", "sleep", "1000"]
    with subprocess.Popen(words) as process:
        try:
            until(lambda: named(process.pid) == "sleep")
            shot = snapshot()
        finally:
            process.kill()
    inode = shot.processes[process.pid].inodes["user"]
    space = shot.namespaces[inode]
    assert space == Namespace(inode, Kind.user, inodes()["user"], inodes()["user"], 65534)
    assert shot.members(inode) == (process.pid,)


def named(pid: int) -> str:
    with open(f"/proc/{pid}/comm") as file:
        return file.read().strip()


def test_it_sees_what_starts_and_what_ends() -> None:
    before = snapshot()
    with start(Container(("sleep", "1000"), cloneflags=CLONE_NEWUTS | CLONE_NEWIPC)) as box:
        during = snapshot(before)
        process = during.processes[box.pid]
        assert (process.name, dict(process.inodes)) == ("sleep", box.inodes)
        for kind in Kind.uts, Kind.ipc:
            assert during.members(box.inodes[kind.name]) == (box.pid,)
            assert during.namespaces[box.inodes[kind.name]].kind is kind
        assert {box.pid, os.getpid()} < set(during.members(box.inodes["net"]))
    after = snapshot(during)
    assert box.pid not in after.processes
    assert box.pid not in {pid for inode in after.namespaces for pid in after.members(inode)}


def test_an_inode_that_has_come_back_is_asked_again() -> None:
    """The kernel gives it to the next namespace; that a process stayed proves that it stayed."""
    with start(Container(("sleep", "1000"), cloneflags=CLONE_NEWUTS)) as box:
        shot = snapshot()
        inode = box.inodes["uts"]
        wrong = replace(shot.namespaces[inode], kind=Kind.ipc, owner=1)
        process = shot.processes[box.pid]

        def known(started: int) -> Snapshot:
            processes = {box.pid: replace(process, started=started)}
            return Snapshot(processes, {inode: wrong})

        assert snapshot(known(process.started)).namespaces[inode] == wrong
        assert snapshot(known(process.started - 1)).namespaces[inode] == shot.namespaces[inode]


def test_processes_that_end_while_we_look() -> None:
    words = ["sh", "-c", "while :; do unshare --uts true & unshare --pid --fork true; done"]
    with subprocess.Popen(words) as churn:
        try:
            shot = snapshot()
            for _ in range(100):
                shot = snapshot(shot)
                spaces = {i for one in shot.processes.values() for i in one.inodes.values()}
                assert spaces <= set(shot.namespaces)
        finally:
            churn.kill()


def test_a_zombie_has_left_most_of_its_namespaces() -> None:
    """It is counted where it still is, as lsns does, and compared with nobody: nothing is new."""
    with subprocess.Popen("true") as process:
        until(lambda: " Z " in Path(f"/proc/{process.pid}/stat").read_text())
        assert set(snapshot().processes[process.pid].inodes) == {"pid", "user"}
        for look in inodes, compare:
            with pytest.raises(ProcessLookupError):
                look(process.pid)
    with pytest.raises(ProcessLookupError):
        inodes_of_zombie(process.pid)


def test_what_we_may_not_look_into_is_counted(nobody: list[str]) -> None:
    script = "from labkit.linux.relations import snapshot; s = snapshot()\n"
    script += "print(len(s.processes), s.hidden)"
    done = subprocess.run([*nobody, "-c", script], capture_output=True, text=True, cwd="/")
    seen, hidden = map(int, done.stdout.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert seen >= 1
    assert hidden >= 1


def test_no_descriptor_is_left_open() -> None:
    before = set(os.listdir("/proc/self/fd"))
    snapshot()
    assert set(os.listdir("/proc/self/fd")) <= before


def test_any_file_of_a_namespace_can_be_asked() -> None:
    spaces: dict[int, Namespace] = {}
    fd = os.open("/proc/self/ns/pid_for_children", os.O_RDONLY)
    try:
        inode = learn(fd, spaces)
    finally:
        os.close(fd)
    assert spaces[inode].kind is Kind.pid
    assert set(spaces) == {inode, inodes()["user"]}
    assert syscalls.trace[-1].startswith("ioctl(")
