"""What a container may use: limits that the kernel enforces, in version 1 and 2 of its groups."""

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import stop, until

from labkit import (
    CLONE_NEWCGROUP,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    Container,
    Limits,
    Running,
    enter,
    run,
    start,
)
from labkit.cgroups import device_filter, devices, group, membership, v1, v2
from labkit.cgroups.hierarchy import Hierarchy, hierarchies
from labkit.cgroups.settings import Setting, shares_of, weight_of
from labkit.cgroups.stats import Stats
from labkit.engine import connection, request
from labkit.linux.flags import Clone
from labkit.linux.refusal import call_of
from labkit.notebook.lessons.v08 import part_of_a_processor
from labkit.text.words import Advice, one_line, words_of

HERE = group.version_of(hierarchies())
VERSIONS = sorted({tree.version for tree in hierarchies() if tree.writable})
"""Those that are mounted here. Of the controllers one version has them all."""

PREFIX = f"labkit-box-{os.getpid()}-"
"""What our groups are called here: others may run tests and containers at the same time."""

HOG = ("python3", "-c", "import sys; held = bytearray(int(sys.argv[1]) << 20); print(len(held))")
SPIN = ("sh", "-c", "while :; do :; done")
FORKS = """
import os, time
made = 0
try:
    while made < 1000:
        if os.fork() == 0:
            time.sleep(1000)
        made += 1
except OSError as error:
    print(made, error.strerror)
"""


def groups() -> set[str]:
    """The control groups of our containers, under the name that they have in these tests."""
    found = {f"{place}/{name}" for place, names, _ in os.walk("/sys/fs/cgroup") for name in names}
    return {path for path in found if os.path.basename(path).startswith(PREFIX)}


@pytest.fixture(scope="module", autouse=True)
def moved() -> None:
    """Where our root group has processes, as in a container of Docker, the first group moves them.

    A warning says so, once; and a warning is an error here.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run(Container(("true",), limits=Limits(pids=50)))
    assert [each.category for each in told] in ([], [Advice])


@pytest.fixture(autouse=True)
def none_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test does, its groups are gone."""
    for module in (group, membership):
        monkeypatch.setattr(module, "PREFIX", PREFIX)
    before = groups()
    yield
    assert groups() <= before


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Each version that is mounted here, be it without a controller."""
    monkeypatch.setattr(group, "version_of", lambda _: request.param)
    monkeypatch.setattr(group, "_plans", {})
    return int(request.param)


def of(running: Running) -> dict[str, str]:
    """The directories of its groups, by controller."""
    return running._group().directories


def directory(running: Running, controller: str) -> Path:
    found = of(running)
    return Path(found.get(controller) or found["v2"])


def groups_in(text: str) -> dict[str, str]:
    """What /proc/PID/cgroup says: controller -> path."""
    lines = [line.split(":", 2) for line in text.splitlines()]
    return {name: path for _, names, path in lines for name in (names or "v2").split(",")}


# --- The value ----------------------------------------------------------------------------------


def test_limits_in_dockers_units() -> None:
    limits = Limits(memory="64m", memory_swap="1.5g", cpus="0.5", cpuset="0-1,3", pids=100)
    assert (limits.memory, limits.memory_swap, limits.cpus) == (64 << 20, 3 << 29, 0.5)
    assert repr(limits) == (
        "Limits(memory='64m', memory_swap='1536m', cpus=0.5, cpuset='0-1,3', pids=100)"
    )
    assert Limits(memory="6MiB") == Limits(memory="6144k") == Limits(memory=6 << 20)
    assert hash(Limits(memory="6mb")) == hash(Limits(memory="6M"))


def test_limits_as_json() -> None:
    limits = Limits(
        memory="64m", memory_swap=-1, cpus=0.2, cpu_weight=50, pids=5, cpuset="0",
        io={"8:0": {"rbps": "1m"}}, devices=("c 10:229 rwm",),
    )  # fmt: skip
    box = Container(("true",), limits=limits)
    text = box.to_json()
    assert json.loads(text)["limits"]["memory"] == 64 << 20
    assert Container.from_json(text) == box
    assert Container.from_json(Container(("true",)).to_json()).limits is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"memory": "5m"}, "at least 6m"),
        ({"memory": "64x"}, "'64x'"),
        ({"memory": "m"}, '"64m"'),
        ({"memory": True}, '"64m"'),
        ({"memory_swap": "1g"}, "needs memory too"),
        ({"memory": "64m", "memory_swap": "32m"}, "not below memory"),
        ({"cpus": 0.001}, "at least 0.01"),
        ({"cpus": "much"}, "'much'"),
        ({"cpu_weight": 0}, "1 to 10000"),
        ({"cpu_shares": 1}, "2 to 262144"),
        ({"cpu_shares": 1024, "cpu_weight": 100}, "give one"),
        ({"cpuset": "3-1"}, "'3-1'"),
        ({"cpuset": ""}, '"0-1,3"'),
        ({"pids": 0}, "1 to 4194304"),
        ({"pids": 1.5}, "not 1.5"),
        ({"io": {"8:0": {"speed": 1}}}, "rbps wbps riops wiops"),
        ({"io": {"8:0": {"rbps": 0}}}, "rbps"),
        ({"devices": "/dev/fuse"}, "group of devices"),
        ({"devices": ("fuse",)}, "'fuse'"),
        ({"devices": ("/dev/fuse:rx",)}, "read, write, make"),
        ({"devices": ("c 1:3 ",)}, "read, write, make"),
    ],
)
def test_what_no_kernel_would_take_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises((ValueError, TypeError)) as refused:
        Limits(**values)
    (words,) = words_of(refused.value)
    assert said in words.en
    assert re.search("[\u4e00-\u9fff]", words.zh)
    assert "\n" not in one_line(refused.value)


def test_limits_are_no_text() -> None:
    with pytest.raises(TypeError, match="limits"):
        Container(("true",), limits="64m")  # type: ignore[arg-type]


def test_the_files_of_both_versions() -> None:
    limits = Limits(memory="64m", cpus=0.2, cpu_weight=100, pids=5, io={"8:0": {"wbps": 9}})
    assert [setting[1:] for setting in v1.settings(limits)] == [
        ("memory.limit_in_bytes", "67108864"),
        ("memory.memsw.limit_in_bytes", "134217728"),
        ("cpu.cfs_period_us", "100000"),
        ("cpu.cfs_quota_us", "20000"),
        ("cpu.shares", "1024"),
        ("pids.max", "5"),
        ("blkio.throttle.write_bps_device", "8:0 9"),
    ]
    assert [setting[1:] for setting in v2.settings(limits)] == [
        ("memory.max", "67108864"),
        ("memory.swap.max", "67108864"),
        ("cpu.max", "20000 100000"),
        ("cpu.weight", "100"),
        ("pids.max", "5"),
        ("io.max", "8:0 wbps=9"),
    ]
    unlimited = Limits(memory="64m", memory_swap=-1)
    assert v1.settings(unlimited)[1].value == "-1"
    assert v2.settings(unlimited)[1].value == "max"


def test_shares_and_weights_as_runc_converts_them() -> None:
    """As runc does since 1.3.2 and crun since 1.23; before, 1024 shares had the weight 39."""
    known = {2: 1, 1024: 100, 262144: 10000}
    assert {shares: weight_of(shares) for shares in known} == known
    assert {shares_of(weight): weight for weight in known.values()} == known
    assert (weight_of(512), weight_of(2000)) == (59, 170)


# --- What the kernel does with it ---------------------------------------------------------------


def test_a_memory_hog_is_killed_at_its_limit() -> None:
    done = run(Container((*HOG, "200"), limits=Limits(memory="32m", memory_swap="32m")))
    assert (done.returncode, done.oom_killed, done.stdout) == (-signal.SIGKILL, True, "")
    assert "oom_killed=True" in repr(done)


def test_who_stays_below_the_limit_is_left_alone() -> None:
    done = run(Container((*HOG, "20"), limits=Limits(memory="64m")))
    assert (done.returncode, done.oom_killed, done.stdout) == (0, False, f"{20 << 20}\n")
    assert "oom" not in repr(done)


def test_a_child_that_is_killed_for_want_of_memory_is_told_of_too() -> None:
    script = ("sh", "-c", 'python3 -c "bytearray(200 << 20)"; echo went on')
    done = run(Container(script, limits=Limits(memory="32m", memory_swap="32m")))
    assert (done.returncode, done.stdout, done.oom_killed) == (0, "went on\n", True)


def test_a_cpu_hog_gets_its_part_and_no_more() -> None:
    began = time.monotonic()
    with start(Container(SPIN, limits=Limits(cpus=0.2))) as running:
        used = until(lambda: held_back(running.stats()))
        passed = time.monotonic() - began
    # In each tenth of a second it gets a fiftieth; it may begin with one at once.
    assert used <= 0.2 * passed + 0.04


def held_back(stats: Stats) -> float | None:
    """The processor time of a container that has used some, if its quota held it back."""
    return stats.cpu if stats.throttled and (stats.cpu or 0) > 0.2 else None


def test_a_fork_bomb_is_stopped() -> None:
    script = ("python3", "-c", FORKS)
    done = run(Container(script, cloneflags=CLONE_NEWPID, limits=Limits(pids=10)))
    assert done.stdout == "9 Resource temporarily unavailable\n"


def test_only_on_the_processors_of_its_set() -> None:
    allowed = max(os.sched_getaffinity(0))
    script = ("python3", "-c", "import os; print(*os.sched_getaffinity(0))")
    done = run(Container(script, limits=Limits(cpuset=str(allowed))))
    assert done.stdout == f"{allowed}\n"


@pytest.mark.parametrize(("asked", "answers"), [((), "1"), (("c 1:11 r",), "0")])
def test_devices_that_are_not_asked_for(
    version: int, tmp_path: Path, asked: tuple[str, ...], answers: str
) -> None:
    """Of /dev/kmsg's number is a file of our own; /dev/null anybody may use."""
    assert version in VERSIONS
    place = tmp_path / "kmsg"
    os.mknod(place, 0o600 | 0o020000, os.makedev(1, 11))
    script = f"dd if={place} iflag=nonblock count=0 2>/dev/null; echo $? >/dev/null; "
    script += f"dd if={place} iflag=nonblock count=0 2>&1 | grep -c 'not permitted'"
    done = run(Container(("sh", "-c", script), limits=Limits(devices=asked)))
    assert done.stdout == f"{answers}\n"


def test_devices_as_the_kernel_counts_them() -> None:
    assert str(devices.as_rule("/dev/null:rw")) == "c 1:3 rw"
    assert str(devices.as_rule("b 8:* rwm")) == "b 8:* rwm"
    assert len(device_filter.assemble(devices.USUAL)) % 8 == 0
    with pytest.raises(ValueError, match="no device"):
        devices.as_rule("/etc/passwd")


def test_every_limit_stands_in_its_file() -> None:
    limits = Limits(memory="64m", cpus=0.2, cpu_weight=100, pids=20)
    form = v1 if HERE == 1 else v2
    with start(Container(("sleep", "1000"), limits=limits)) as running:
        for setting in form.settings(limits):
            file = directory(running, setting.controller) / setting.file
            if file.exists() or (".memsw." not in setting.file and ".swap." not in setting.file):
                assert file.read_text().strip() == setting.value


# --- Born inside, and gone afterwards -----------------------------------------------------------


def test_the_program_begins_inside(version: int) -> None:
    limits = Limits(memory="64m", pids=20) if version == HERE else Limits()
    done = run(Container(("cat", "/proc/self/cgroup"), limits=limits))
    inside = groups_in(done.stdout)
    wanted = v1.controllers(limits) if version == 1 else ["v2"]
    assert all(PREFIX in inside[name] for name in wanted if name in inside)
    clone = next(line for line in done.trace if line.startswith("clone"))
    writes = [line for line in done.trace if line.startswith("write(") and '"0"' in line]
    if version == 2 and group.born_inside():
        assert "CLONE_INTO_CGROUP" in clone
        assert not writes
    else:
        assert "CLONE_INTO_CGROUP" not in clone
        assert len(writes) == len({inside[name] + name for name in wanted if name in inside})
        assert done.trace.index(writes[-1]) < len(done.trace) - 1  # before the program


@pytest.mark.skipif(HERE != 1, reason="version 2 has one group for all")
def test_a_group_to_stop_is_made_only_where_somebody_could_stop_it() -> None:
    """Version 1: the freezer is a hierarchy of its own."""
    box = Container(("cat", "/proc/self/cgroup"), cloneflags=CLONE_NEWPID, limits=Limits(pids=20))
    assert PREFIX not in groups_in(run(box).stdout)["freezer"]
    outliving = replace(box, cloneflags=Clone(0))  # the end of the first ends no other
    assert PREFIX in groups_in(run(outliving).stdout)["freezer"]
    with start(replace(box, argv=("sleep", "1000"))) as running:
        assert PREFIX in of(running)["freezer"]
        running.freeze()
        running.thaw()


@pytest.mark.skipif(HERE != 1, reason="version 2 asks each time who hands controllers on")
def test_a_plan_serves_again_but_where_a_device_may_be_another() -> None:
    for limits, serves in ((Limits(pids=5), True), (Limits(devices=("/dev/null",)), False)):
        first, again = (group._planned(limits, stops=True) for _ in range(2))
        assert first == again
        assert (first is again) is serves


def test_a_process_that_was_not_born_inside_enters(
    version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with Docker's seccomp profile, which answers clone3 with ENOSYS."""
    monkeypatch.setattr(group, "born_inside", lambda: False)
    done = run(Container(("cat", "/proc/self/cgroup"), limits=Limits()))
    assert PREFIX in done.stdout
    assert "CLONE_INTO_CGROUP" not in done.trace[0]
    file = "tasks" if version == 1 else "cgroup.procs"
    assert any(f"/{file}" in line for line in done.trace)
    assert not any("cgroup.procs" in line for line in done.trace if version == 1)


def test_who_enters_a_group_of_version_1_holds_nobody_up(version: int) -> None:
    """Neither at a start nor at an exec: cgroup.procs would wait for every fork of the machine."""
    with start(Container(("sleep", "1000"), limits=Limits())) as running:
        traces = running.trace, running.exec(("true",)).trace, enter(running.pid, ("true",)).trace
    for trace in traces if version == 1 else ():
        assert any("/tasks" in line for line in trace)
        assert not any("cgroup.procs" in line for line in trace)


def test_a_second_start_needs_no_second_rehearsal(
    version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept of the first names the group of the second, to the kernel and in the trace."""
    monkeypatch.setattr(group, "born_inside", lambda: False)
    monkeypatch.setattr(request, "kept", {})
    box = Container(("cat", "/proc/self/cgroup"), limits=Limits())
    names: list[str] = []
    for done in (run(box), run(box)):
        told = re.findall(f"{PREFIX}[0-9a-f]+", "".join(done.trace))
        assert set(told) == set(re.findall(f"{PREFIX}[0-9a-f]+", done.stdout)), version
        names += {*told}
    assert len(set(names)) == 2
    assert len(request.kept) == 1


def test_by_both_players(version: int) -> None:
    """Who becomes another user is started by the player in Python."""
    box = Container(("cat", "/proc/self/cgroup"), limits=Limits(), user=(65534, 65534, ()), cwd="/")
    done = run(box)
    assert PREFIX in done.stdout, version
    assert "CLONE_VM" not in done.trace[0]


def test_a_cgroup_namespace_has_the_group_for_its_root(version: int) -> None:
    script = ("sh", "-c", "cat /proc/self/cgroup; readlink /proc/self/ns/cgroup >&2")
    done = run(Container(script, cloneflags=CLONE_NEWCGROUP, limits=Limits(), cwd="/"))
    assert PREFIX not in done.stdout, version
    assert done.stderr == f"cgroup:[{done.inodes['cgroup']}]\n"
    assert done.inodes["cgroup"] != os.stat("/proc/self/ns/cgroup").st_ino


def test_with_maps_written_from_outside(version: int) -> None:
    ids = [(0, os.getuid(), 1)]
    box = Container(
        ("cat", "/proc/self/cgroup"), cloneflags=CLONE_NEWUSER | CLONE_NEWPID,
        uid_map=ids, gid_map=ids, limits=Limits(),
    )  # fmt: skip
    assert PREFIX in run(box).stdout, version


def test_what_is_started_inside_later_is_in_the_group_too(version: int) -> None:
    with start(Container(("sleep", "1000"), cloneflags=CLONE_NEWPID, limits=Limits())) as running:
        theirs = Path(f"/proc/{running.pid}/cgroup").read_text()
        assert running.exec(("cat", "/proc/self/cgroup")).stdout == theirs
        assert enter(running.pid, ("cat", "/proc/self/cgroup")).stdout == theirs
        assert PREFIX in theirs, version
    assert Path("/proc/self/cgroup").read_text() != theirs


def test_nothing_is_entered_without_limits() -> None:
    with start(Container(("sleep", "1000"))) as running:
        own = Path("/proc/self/cgroup").read_text()
        assert running.exec(("cat", "/proc/self/cgroup")).stdout == own
        assert enter(running.pid, ("cat", "/proc/self/cgroup")).stdout == own
        with pytest.raises(ValueError, match=r"limits=Limits\(\)"):
            running.stats()


@pytest.mark.parametrize("flags", [Clone(0), CLONE_NEWPID])
@pytest.mark.parametrize(
    "argv",
    [
        ("true",),
        ("/no/such/program",),
        ("sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & exit 3"),
        ("sh", "-c", "kill -9 $$"),
    ],
)
def test_the_group_is_gone_when_the_result_is_there(
    version: int, argv: tuple[str, ...], flags: Clone
) -> None:
    before = groups()
    run(Container(argv, cloneflags=flags, limits=Limits()))
    assert groups() <= before, version


def test_a_container_that_could_not_be_built_leaves_no_group(version: int) -> None:
    before = groups()
    with pytest.raises(FileNotFoundError):
        run(Container(("true",), cwd="/no/such/place", limits=Limits()))
    assert groups() <= before, version


def test_a_time_out_leaves_no_group(version: int) -> None:
    before = groups()
    with pytest.raises(TimeoutError):
        run(Container(SPIN, limits=Limits()), timeout=0.2)
    assert groups() <= before, version


def test_a_group_made_inside_goes_too(version: int) -> None:
    with start(Container(("sleep", "1000"), cloneflags=CLONE_NEWPID, limits=Limits())) as running:
        for place in set(of(running).values()):
            os.mkdir(f"{place}/inner")
            Path(f"{place}/inner/cgroup.procs").write_text(str(running.pid))
        assert version in VERSIONS
    running.wait()


def test_what_a_frozen_container_started_ends_with_it(version: int) -> None:
    with start(Container(SPIN, limits=Limits())) as running:
        running.freeze()
    assert running.wait().returncode == -signal.SIGKILL, version


def test_who_is_still_in_the_group_is_killed(version: int) -> None:
    """A process of exec without a PID namespace is no child of the container's."""
    with start(Container(("sleep", "1000"), limits=Limits())) as running:
        other = subprocess.Popen(("sleep", "1000"))
        for place in set(of(running).values()):
            Path(f"{place}/cgroup.procs").write_text(str(other.pid))
    assert other.wait(60) == -signal.SIGKILL, version


def test_who_removes_a_group_does_not_kill_itself() -> None:
    """Nor freeze itself, if somebody has put it into the group: a process of its own tries it."""
    script = """
from labkit import Limits
from labkit.cgroups import group
made = group.make(Limits(pids=20))
for path in made.paths:
    with open(f"{path}/cgroup.procs", "w") as file:
        file.write("0")
made.remove()
print(*made.paths)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert not any(map(os.path.exists, done.stdout.split()))


def test_an_engine_without_room_for_the_group_leaves_none() -> None:
    box = Container(("true",), limits=Limits(pids=20))
    assert run(box).returncode == 0
    pid = connection._current.get().pid
    used = len(os.listdir(f"/proc/{pid}/fd"))
    refused = []
    for room in range(1, 12):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + room, 4096))
        try:
            run(box)
        except OSError as error:
            refused.append(call_of(error))
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (1024, 4096))
        assert not groups()
    assert "recvmsg(SCM_RIGHTS)" in refused
    assert len(refused) < 11  # with room enough it runs


# --- When somebody is killed --------------------------------------------------------------------

CALLER = """
import sys
from labkit import *
from labkit.engine import connection, request
from labkit.cgroups import group
group.version_of = lambda _: int(sys.argv[1])
group.PREFIX = sys.argv[2]
running = start(Container(("sleep", "1000"), limits=Limits()))
print(running.pid, *connection.engine_pids(), *connection.keeper_pids(),
      *running._group().paths, flush=True)
sys.stdin.read()
"""


def caller(version: int) -> tuple[subprocess.Popen[str], dict[str, int], list[str]]:
    """A process that has started a container with limits; its engine and keeper; the groups."""
    process = subprocess.Popen(
        [sys.executable, "-c", CALLER, str(version), PREFIX],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    program, engine, keeper, *paths = process.stdout.readline().split()
    pids = {"program": int(program), "engine": int(engine), "keeper": int(keeper)}
    return process, pids | {"caller": process.pid}, paths


@pytest.mark.parametrize(
    "killed", [("caller",), ("engine",), ("keeper",), ("caller", "engine"), ("engine", "caller")]
)
def test_no_group_outlives_who_is_killed(version: int, killed: tuple[str, ...]) -> None:
    """When the caller is killed, the engine may have ended before it is its turn."""
    process, pids, paths = caller(version)
    with process, contextlib.ExitStack() as opened:
        assert all(map(os.path.isdir, paths))
        pidfds = {name: os.pidfd_open(pid) for name, pid in pids.items()}
        for pidfd in pidfds.values():
            opened.callback(os.close, pidfd)
        for name in killed:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfds[name], signal.SIGKILL)
        until(lambda: not any(map(os.path.isdir, paths)))
        process.kill()


def members(path: str) -> list[str]:
    """Who is in a group; nobody once it is gone."""
    place = Path(path, "cgroup.procs")
    return place.read_text().split() if place.exists() else []


def test_whoever_comes_next_removes_what_all_have_left(version: int) -> None:
    process, pids, paths = caller(version)
    with process:
        for name in ("keeper", "engine", "caller"):
            stop(pids[name])  # so that none of them does it
        for name in ("keeper", "engine", "caller"):
            os.kill(pids[name], signal.SIGKILL)
    until(lambda: not any(map(members, paths)))
    group.sweep()
    assert not any(map(os.path.isdir, paths))


def test_a_group_that_somebody_sees_to_is_no_orphan(version: int) -> None:
    with start(Container(("sleep", "1000"), limits=Limits())) as running:
        assert group.sweep() == []
        assert running.exec(("echo", "hi")).stdout == "hi\n", version


# --- While it runs ------------------------------------------------------------------------------


def test_what_it_uses() -> None:
    limits = Limits(memory="64m", pids=20, cpus=0.5)
    script = ("python3", "-c", "held = b'x' * (16 << 20); print(1); input()")
    with start(Container(script, limits=limits, tty=True)) as running:
        until(lambda: "1" in running.stdout)
        stats = running.stats()
    assert stats.memory is not None
    assert 16 << 20 <= stats.memory <= 64 << 20
    assert (stats.memory_max, stats.pids, stats.pids_max) == (64 << 20, 1, 20)
    assert stats.oom_kills == 0
    assert stats.cpu
    assert (stats.pressure is None) == (HERE == 1)
    with pytest.raises(ProcessLookupError):
        running.stats()


def test_without_limits_its_use_is_counted() -> None:
    with start(Container(("sleep", "1000"), limits=Limits())) as running:
        stats = running.stats()
    assert (stats.pids, stats.pids_max, stats.memory_max) == (1, None, None)
    assert stats.memory
    assert stats.cpu is not None


def test_frozen_and_thawed(version: int) -> None:
    script = ("sh", "-c", 'trap "echo heard; exit" USR1; echo; while :; do sleep 0.01; done')
    with start(Container(script, limits=Limits())) as running:
        until(lambda: running.stdout)
        running.freeze()
        running.kill(signal.SIGUSR1)
        with pytest.raises(TimeoutError):
            running.wait(0.2)
        assert running.stdout == "\n", version
        running.thaw()
        assert running.wait().stdout == "\nheard\n"
        with pytest.raises(ProcessLookupError):
            running.freeze()


def test_a_group_that_goes_while_it_is_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its container has ended in between: nobody waits for its answer."""
    file = tmp_path / "cgroup.freeze"
    file.touch()
    monkeypatch.setattr(time, "sleep", lambda _: file.unlink())
    with pytest.raises(FileNotFoundError):
        v2.freeze({v2.ALL: str(tmp_path)}, frozen=True)
    file.touch()
    v2.freeze({v2.ALL: str(tmp_path)}, frozen=False)  # who is let go may end at once


def test_the_group_above_ours_hands_on_more(tmp_path: Path) -> None:
    """In a container our processes were moved to a group below; docs/reach.md has the real run."""
    leaf = tmp_path / membership.LEAF
    leaf.mkdir()
    for place, names in (tmp_path, "cpuset cpu io memory pids"), (leaf, "cpu io memory pids"):
        (place / "cgroup.procs").touch()
        (place / "cgroup.controllers").write_text(names)
    (tmp_path / "cgroup.subtree_control").write_text("cpu io memory pids")
    tree = Hierarchy(2, ("cpu", "io", "memory", "pids"), str(leaf), writable=True)
    assert v2.parent(tree, []) == str(tmp_path)  # where a container's use is counted
    assert v2.parent(tree, ["cpuset"]) == str(tmp_path)
    assert "+cpuset" in (tmp_path / "cgroup.subtree_control").read_text()


# --- What is not there --------------------------------------------------------------------------

TRY = """
import sys
from labkit import *
from labkit.text.words import one_line
from labkit.linux.refusal import explain
try:
    run(Container(("true",), limits=Limits(pids=5)))
except (OSError, ValueError) as error:
    isinstance(error, OSError) and explain(error)
    print(one_line(error))
"""
_EACH = "findmnt -rn -t cgroup,cgroup2 -o TARGET | while read -r place; do "
READ_ONLY = f'{_EACH} mount -o remount,bind,ro "$place"; done'


def told(script: str, *words: str, program: str = TRY) -> str:
    """What a program in mounts of its own is told, in one line."""
    argv = ["unshare", "--mount", "sh", "-c", f'{script}; exec "$@"', "sh", *words]
    done = subprocess.run([*argv, sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.count("\n") == 1, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (READ_ONLY, "--privileged --cgroupns=private"),
        ("umount -Rl /sys/fs/cgroup", "mount -t cgroup2 none /sys/fs/cgroup"),
    ],
)
def test_where_no_group_can_be_made_it_is_said_what_to_do(script: str, said: str) -> None:
    assert said in told(script)


@pytest.mark.skipif(HERE == 2, reason="version 2 asks first who hands controllers on")
def test_the_call_that_makes_a_group_is_named() -> None:
    assert told(READ_ONLY).startswith('mkdir("/sys/fs/cgroup/')


REMOVE = """
from labkit.cgroups.hierarchy import hierarchies
from labkit.cgroups.removal import removed
print(all(removed([f"{tree.path}/labkit-box-of-nobody"]) for tree in hierarchies()))
"""


def test_a_group_that_was_never_there_is_gone_also_where_all_is_read_only() -> None:
    """rmdir says EROFS even so: `labkit oci run` tried it for twenty seconds."""
    assert told(READ_ONLY, program=REMOVE) == "True\n"


def test_a_controller_that_is_not_there() -> None:
    """Version 1 has a mount for each; version 2 says which there are."""
    place = next(tree.path for tree in hierarchies() if "pids" in tree.controllers)
    if HERE == 1:
        said = told(f"umount -l {place}")
        assert "cgroup_enable=pids" in said
    else:
        with pytest.raises(ValueError, match="nothing") as refused:
            v2.parent(next(tree for tree in hierarchies() if tree.version == 2), ["nothing"])
        said = one_line(refused.value)
    assert "/proc/cgroups" in said


def test_who_may_not_make_groups_is_told(nobody: list[str]) -> None:
    done = subprocess.run([*nobody, "-c", TRY], capture_output=True, text=True, cwd="/")
    wanted = "the user has no bus" if HERE == 2 else "needs version 2 under systemd"
    assert wanted in done.stdout, done.stderr
    assert done.stdout.count("\n") == 1


def test_a_processor_that_is_not_there() -> None:
    with pytest.raises(OSError, match="write") as refused:
        run(Container(("true",), limits=Limits(cpuset="4000")))
    assert "processor" in one_line(refused.value)


def test_swap_that_is_not_counted() -> None:
    uncounted = Setting("pids", "memory.memsw.nowhere", "1")
    form = v1 if HERE == 1 else v2
    if HERE == 2:
        uncounted = Setting(v2.ALL, "memory.swap.nowhere", "1")
    made = group.make(Limits(pids=5))
    try:
        made._set(uncounted)  # nobody has asked for it
        made._limits = Limits(pids=5, memory="64m", memory_swap="64m")
        assert not form.may_be_missing(uncounted, made._limits)
        with pytest.raises(ValueError, match="swapaccount=1"):
            made._set(uncounted)
    finally:
        made.remove()


def test_rootless_engine_in_groups_of_the_caller(version: int) -> None:
    with connection.rootless():
        box = Container(("cat", "/proc/self/cgroup"), cloneflags=CLONE_NEWNS, limits=Limits())
        assert PREFIX in run(box).stdout, version


def test_the_lesson_waits_until_a_program_has_begun() -> None:
    """On a slow machine Python alone takes longer to begin than the cell of V0.8 looks."""
    late = Container(("sh", "-c", f"sleep 1; {SPIN[-1]}"), limits=Limits(cpus=0.2))
    part, held_back = part_of_a_processor(late, 0.3)
    assert held_back
    assert part > 0


INNER = """
import os, subprocess, sys, warnings
warnings.simplefilter("always")
from labkit import *
print(run(Container(("cat", "/proc/self/cgroup"), limits=Limits(pids=5))).stdout)
print(open("/proc/self/cgroup").read())
"""

if HERE == 2:  # in version 1 a group may have both processes and groups

    def test_in_a_container_whose_root_has_processes() -> None:
        """As in docker run --privileged: the root inside looks like any group from outside."""
        with start(Container(("sleep", "1000"), limits=Limits(pids=50))) as running:
            place = of(running)["v2"]
            script = f"echo $$ >{place}/cgroup.procs; exec unshare --cgroup --mount sh -c "
            script += "'umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; "
            script += """exec "$@"' sh "$@" """
            argv = ["sh", "-c", script, "sh", sys.executable, "-c", INNER]
            done = subprocess.run(argv, capture_output=True, text=True)
        container, ours = done.stdout.split()
        assert container.startswith("0::/labkit-box-"), done.stderr
        assert ours == f"0::/{membership.LEAF}"
        assert "EBUSY" in done.stderr
