"""`labkit unshare` beside util-linux's own: the same options leave the same state."""

import copy
import dataclasses
import json
import os
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT, command_line, until
from test_cli import ENV
from test_trace import plain, strace

from labkit import CLONE_NEWUSER, Container
from labkit.linux import id_maps
from labkit.linux.path import candidates, places

THEIRS = ["unshare"]
OURS = [sys.executable, "-m", "labkit", "unshare"]
TOOLS = pytest.mark.parametrize("tool", [THEIRS, OURS], ids=["util-linux", "labkit"])
SAID = subprocess.run(["unshare", "--version"], capture_output=True, text=True, check=True).stdout
VERSION = tuple(map(int, re.findall(r"\d+", SAID)[:2]))

# Everything that a program can see of how it was started, as JSON. It finds itself in the /proc of
# another PID namespace by its first argument.
PROBE = r"""
import ctypes, glob, json, os, resource, sys, time
libc, value = ctypes.CDLL(None), ctypes.c_int()
def self():
    if os.path.exists("/proc/self/status"):
        return "/proc/self"
    for path in glob.glob("/proc/[0-9]*"):
        try:
            words = open(path + "/cmdline", "rb").read().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"/usr/bin/python3", b"-I"] and sys.argv[1].encode() in words:
            return path
def tried(function, *arguments):
    try:
        return function(*arguments)
    except OSError as error:
        return type(error).__name__
def read(name):
    return open(f"{me}/{name}").read()
def mounts():
    for line in read("mountinfo").splitlines():
        words = line.split()
        end = words.index("-")
        spread = sorted(word.partition(":")[0] for word in words[6:end])
        yield words[3:6] + spread + words[end + 1:end + 3]
me = self()
libc.prctl(2, ctypes.byref(value))
kept = "Cap", "NoNew", "SigBlk", "SigIgn", "SigCgt", "Uid", "Gid", "Groups", "Seccomp", "Umask"
clocks = {7: time.clock_gettime(7), 1: time.clock_gettime(1)}
print(json.dumps({
    "namespaces": {k: tried(os.readlink, f"{me}/ns/{k}") for k in sorted(os.listdir(me + "/ns"))},
    "ids": [os.getresuid(), os.getresgid(), os.getgroups()],
    "pdeathsig": value.value,
    "status": [line for line in read("status").splitlines() if line.startswith(kept)],
    **{name: tried(read, name) for name in
       ("uid_map", "gid_map", "setgroups", "timens_offsets", "cgroup", "oom_score_adj")},
    "cwd": tried(os.getcwd), "root": tried(os.readlink, me + "/root"),
    "mounts": tried(lambda: sorted(mounts())),
    "life": [os.getpid() == 1, os.getppid() == 0],
    "session": [os.getsid(0) == 0, os.getpgid(0) == 0],
    "descriptors": tried(lambda: sorted(os.listdir(me + "/fd"))),
    "limits": [resource.getrlimit(n) for n in range(16)],
    "niceness": os.getpriority(os.PRIO_PROCESS, 0),
    "environment": dict(os.environ), "argv0": tried(read, "cmdline").split("\0")[0],
    "clock": [round((clocks[n] - float(sys.argv[3 + (n == 1)])) / 500) for n in (7, 1)],
    "proc": tried(lambda: len(glob.glob("/proc/[0-9]*")) < 4),
}), flush=True)
if sys.argv[2].startswith("-"):
    os.kill(os.getpid(), -int(sys.argv[2]))
sys.exit(int(sys.argv[2]))
"""

# Runs each command line under both tools, in mounts of its own: some private, some shared.
DRIVER = r"""
import json, os, signal, subprocess, sys, time, uuid
from concurrent.futures import ThreadPoolExecutor
lines, tools, probe, folder, cpu, every = json.load(sys.stdin)
os.sched_setaffinity(0, every)
def sh(script):
    subprocess.run(["sh", "-ec", script], check=True)
sh(f"mount -t tmpfs files {folder}; mkdir {folder}/shared {folder}/proc; "
   f"mount -t tmpfs shared {folder}/shared; mount --make-shared {folder}/shared")
def run(job):
    number, which, words, ending = job
    place = f"{folder}/{number}-{which}"
    os.mkdir(place)
    words = [word.replace("FILES", place).replace("DIR", folder + "/proc") for word in words]
    for word in words:
        if f"={place}/" in word:
            open(word.partition("=")[2], "w").close()
    program = ["/usr/bin/python3", "-I", "-S", "-c", probe, uuid.uuid4().hex, ending,
               str(time.clock_gettime(7)), str(time.clock_gettime(1))]
    # A mount namespace may be bound only in one with a lower number, lest it hold itself, and new
    # kernels count on each CPU for itself.
    pinned = ["taskset", "-c", str(cpu)] if "--mount=" in " ".join(words) else []
    process = subprocess.Popen([*pinned, *tools[which], *words, *program], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()[0], "TIMEOUT"
    bound = {name: os.path.ismount(f"{place}/{name}") or is_ns(f"{place}/{name}")
             for name in sorted(os.listdir(place))}
    for name, there in bound.items():
        if there:
            sh(f"umount '{place}/{name}'")
    state = json.loads(out) if out else None
    if state and isinstance(state["mounts"], list):  # files of runs beside this one come and go
        mounts = [[word.replace(place, "FILES") for word in row] for row in state["mounts"]]
        others = folder + "/"
        state["mounts"] = [row[1:] if "nsfs" in row else row for row in mounts
                           if "nsfs" not in row or not row[1].startswith(others)]
    return process.returncode, state, err, bound
def is_ns(path):
    return os.stat(path).st_dev != os.stat(folder).st_dev
jobs = [(n, which, words, ending) for n, (words, ending) in enumerate(lines) for which in (0, 1)]
with ThreadPoolExecutor(4) as threads:
    print(json.dumps(list(threads.map(run, jobs))))
"""


def both(lines: Sequence[tuple[list[str], str]], folder: Path) -> Iterator[tuple[dict, dict]]:  # type: ignore[type-arg]
    """What came of each command line: under util-linux's unshare and under ours."""
    folder.mkdir()
    tools = [THEIRS, OURS]
    cpu, *_ = every = sorted(os.sched_getaffinity(0))
    words = [
        "taskset",
        "-c",
        str(cpu),
        "unshare",
        "--mount",
        "--propagation",
        "private",
        sys.executable,
        "-c",
        DRIVER,
    ]
    given = json.dumps([lines, tools, PROBE, str(folder), cpu, every])
    done = subprocess.run(words, input=given, capture_output=True, text=True, env=ENV, cwd="/usr")
    assert done.returncode == 0, done.stderr
    found = [outcome(*each) for each in json.loads(done.stdout)]
    yield from zip(found[::2], found[1::2], strict=True)


def outcome(status: int, state: dict | None, err: str, bound: dict) -> dict[str, object]:  # type: ignore[type-arg]
    """What a run left, without what differs between any two runs."""
    if state:
        here = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in os.listdir("/proc/self/ns")}
        links = state["namespaces"]
        # The driver lives in a mount namespace of its own: there "mnt" is new for both.
        state["namespaces"] = {kind: links[kind] != here.get(kind) for kind in links}
    return {"status": status, "state": state, "bound": bound, "complained": bool(err), "said": err}


def compare(lines: Sequence[tuple[list[str], str]], folder: Path) -> list[dict[str, object]]:
    differing = []
    ours = []
    for (words, ending), (their, our) in zip(lines, both(lines, folder), strict=True):
        ours.append(our)
        a, b = ({k: v for k, v in each.items() if k != "said"} for each in (their, our))
        if a != b:
            parts = {k: (a[k], b[k]) for k in a if a[k] != b[k]}
            if "state" in parts and their["state"] and our["state"]:
                s, t = their["state"], our["state"]
                parts["state"] = {k: (s[k], t[k]) for k in s if s[k] != t[k]}  # type: ignore[assignment]
            differing.append((" ".join(words), ending, parts, their["said"], our["said"]))
    assert not differing, "\n".join(map(str, differing[:5])) + f"\n{len(differing)} in all"
    return ours


EACH = """
|-m|-u|-i|-n|-p|-pf|-U|-C|-T|-Tf|-f|-r|-c|-rf|--mount --uts --ipc --net --pid --user --cgroup --time
--fork --pid|--map-root-user|--map-current-user|--map-user 7|--map-group 8|--map-user=root
--map-user nobody --map-group nogroup|--kill-child|--kill-child=TERM|--kill-child=sigusr1 -p
--kill-child=RTMIN+2|--mount-proc|--mount-proc -pf|--mount-proc=DIR -pf|-m --propagation private
-m --propagation shared|-m --propagation slave|-m --propagation unchanged
--mount-proc --propagation slave|--mount-proc=DIR --propagation slave
--mount-proc=DIR --propagation shared|--propagation shared|-U --setgroups allow|-U --setgroups deny
-r --setgroups deny|-r --setgroups allow|-R /|-R DIR|-R /nowhere|-R / -w usr|-w /usr|-w /nowhere
-S 65534|-G 65534|-S 5 -G 6|-G 65534 -S 65534 -m|-r -S 0|-r -S 1|-r -G 0|-U -S 0|--keep-caps
-U --keep-caps|-r --keep-caps|-c --keep-caps -f|-T --monotonic 5000|-Tf --monotonic 5000
-Tf --boottime 7000 --monotonic 9000|-Tf --boottime=-1|--boottime 5|-T --boottime x
-u --uts=FILES/uts|--ipc=FILES/ipc|--net=FILES/net|--cgroup=FILES/cgroup|--pid=FILES/pid -f
--pid=FILES/pid|--time=FILES/time|--mount=FILES/mnt|--mount=FILES/mnt --uts=FILES/uts -f
-r --mount=FILES/mnt --uts=FILES/uts|--uts=/nowhere/file|--mount=/nowhere/file|--uts=
-muinpf --mount-proc|-muinpUCTfr --mount-proc|-mpf --map-root --mount-p|--for|--ma|--nothing|-Z
-S|-S x|-S -1|-uS5|-S5|--setuid=5|--fork=x|--setgroups x|--propagation x|--kill-child=NONE
--map-user=nobodyelse|-ux|--|-f --|-r -r|-r --map-user 9|--map-user 9 -r|-u --uts --uts=FILES/uts
""".replace("\n", "|").strip("|")

# What a seeded search among odd words found, and its neighbours.
ODD: tuple[tuple[str, ...], ...] = (
    *(
        (f"--kill-child={name}",)
        for name in ("RTMIN", "RTMAX", "RTMAX-1", "RT1", "SIGrt2", "rtmax-0")
    ),
    *(
        (f"--kill-child={name}",)
        for name in ("RTMIN+99", "RTMAX-31", "RTMIN-1", "_BLOCK", "9", "", "RTMIN+٣")
    ),
    *(("-T", "--monotonic", number) for number in ("4 ", " 4", "\t+4", "-0", "", "+-4", "4x", "٤")),
    *(("-S", number) for number in ("7 ", " 7", "07", "0x7", "-0", "1e1")),
    *(("--map-user", number) for number in ("7 ", " 7", "+7", "")),
    ("-w", ""),
    ("-R", ""),
    ("-R", "/usr", "-w", "bin"),
    ("--mount=FILES/a b",),
)


def test_each_option_leaves_the_same_state(tmp_path: Path) -> None:
    lines = [(text.split(), "0") for text in EACH.split("|")]
    lines += [([*words], "0") for words in ODD]
    if VERSION == (2, 39):  # Ubuntu 24.04's refuses what those before and after it take
        lines.remove((["-Tf", "--boottime=-1"], "0"))
    found = compare(lines, tmp_path / "files")
    assert sum(each["status"] == 0 for each in found) > 60
    assert sum(each["status"] == 1 for each in found) > 15


CHOICES = (
    [[f"-{letter}"] for letter in "muinpCTfrc"] * 2
    + [["-U"], ["-f"], ["--fork"], ["--mount-proc"], ["--mount-proc=DIR"], ["--keep-caps"]]
    + [["--propagation", how] for how in ("private", "shared", "slave", "unchanged")]
    + [["--kill-child"], ["--kill-child=TERM"], ["-R", "/"], ["-w", "/usr/bin"], ["-S", "1234"]]
    + [["-G", "4321"], ["-S", "0"], ["-G", "0"], ["--map-user", "12"], ["--map-group=13"]]
    + [["--setgroups", "allow"], ["--setgroups", "deny"], ["--monotonic", "4000"]]
    + [["--boottime=8000"], ["--uts=FILES/uts"], ["--mount=FILES/mnt"], ["--net=FILES/net"]]
    + [["--pid=FILES/pid"], ["--time=FILES/time"], ["--ipc=FILES/ipc"]]
)


def combinations(number: int) -> Iterator[tuple[list[str], str]]:
    """Seeded: the same ones every time."""
    chance = random.Random(5)  # noqa: S311 - not a secret
    while number:
        words = [w for option in chance.sample(CHOICES, chance.randint(1, 7)) for w in option]
        text = " ".join(words)
        user = re.search("-U|-r|-c|--map-", text.replace("-cgroup", ""))
        # Before 2.39 a namespace owned by a new user namespace could be bound with --mount only.
        if "FILES" in text and user and not re.search("-m |--mount", text + " "):
            continue
        # Before 2.40 a child that SIGKILL ended made it complain and exit with 1.
        yield words, chance.choice(["0", "0", "3", "-15", "-9" if VERSION >= (2, 40) else "-1"])
        number -= 1


def test_any_options_together_leave_the_same_state(tmp_path: Path) -> None:
    found = compare(list(combinations(300)), tmp_path / "files")
    assert sum(bool(each["state"]) for each in found) > 60


# What a state cannot show


def ran(
    *words: str, tool: Sequence[str] = OURS, **more: object
) -> subprocess.CompletedProcess[str]:
    more = {"env": ENV, "cwd": "/"} | more
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [*tool, *words], capture_output=True, text=True, timeout=PATIENCE, **more
    )


@TOOLS
def test_exit_statuses(tool: list[str]) -> None:
    for words, status in (
        (["/nowhere"], 127),
        (["no-such-program"], 127),
        ([""], 127),
        (["/etc/passwd"], 126),
        (["/etc"], 126),
        (["/etc/passwd/sh"], 126),
        (["a" * 300], 126),
        (["-f", "/nowhere"], 127),
        (["-f", "sh", "-c", "exit 42"], 42),
        (["-f", "sh", "-c", "kill -TERM $$"], -signal.SIGTERM),
        (["sh", "-c", "kill -KILL $$"], -signal.SIGKILL),
    ):
        assert ran(*words, tool=tool).returncode == status, words


def test_a_child_killed_for_good_is_told_as_such() -> None:
    """util-linux has it so from 2.40 on; what it says before is "sigprocmask unblock failed"."""
    assert ran("-f", "sh", "-c", "kill -KILL $$").returncode == -signal.SIGKILL


@TOOLS
def test_a_shell_where_no_program_is_named(tool: list[str], tmp_path: Path) -> None:
    shell = tmp_path / "own shell"
    shell.symlink_to("/bin/sh")
    script = 'echo "$0" $#'
    asked = {"input": script, "env": ENV | {"SHELL": str(shell)}}
    assert ran("-u", tool=tool, **asked).stdout == "-own shell 0\n"
    without = {key: value for key, value in ENV.items() if key != "SHELL"}
    assert ran(tool=tool, input=script, env=without).stdout == "-sh 0\n"
    for no_path in "sh", "", "/nowhere/sh":
        assert ran(tool=tool, input=script, env=ENV | {"SHELL": no_path}).returncode == 127
    relative = ENV | {"SHELL": "own shell"}
    assert ran(tool=tool, input=script, env=relative, cwd=tmp_path).stdout == "-own shell 0\n"


@TOOLS
def test_a_script_without_a_first_line(tool: list[str], tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text('echo "$1 $2"')
    script.chmod(0o755)
    path = ENV | {"PATH": f"/nowhere:{tmp_path}:{ENV['PATH']}"}
    assert ran("script", "-u", "a b", tool=tool, env=path).stdout == "-u a b\n"


@TOOLS
def test_what_is_in_the_way_of_a_path(tool: list[str], tmp_path: Path) -> None:
    (tmp_path / "true").write_text("no program")
    path = ENV | {"PATH": f"{tmp_path}:{ENV['PATH']}"}
    assert ran("true", tool=tool, env=path).returncode == 0
    tool = [str(shutil.which(tool[0])), *tool[1:]]
    for where, status in (
        (f"{tmp_path}", 126),
        (f"{tmp_path}:/nowhere", 126),
        ("/nowhere:/etc/passwd", 126),  # the last reason counts: it is no directory
        ("/etc/passwd:/nowhere", 127),
    ):
        assert ran("true", tool=tool, env=ENV | {"PATH": where}).returncode == status, where


@TOOLS
def test_nobody_to_say_it_to(tool: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        assert subprocess.run([*tool, "/nowhere"], stderr=full, env=ENV).returncode == 1
        assert subprocess.run([*tool, "--help"], stdout=full, env=ENV).returncode == 1
    assert subprocess.run(["sh", "-c", '"$@" >&-', "-", *tool, "--help"], env=ENV).returncode == 0
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as pipe:
        assert subprocess.run([*tool, "-h"], stdout=pipe, env=ENV).returncode == -signal.SIGPIPE


@TOOLS
def test_closed_streams_stay_closed(tool: list[str]) -> None:
    """And what opens meanwhile does not take their place: its number would be theirs."""
    for closed in "<&-", "<&- >&-", "<&- >&- 2>&-":
        for options in "", "-f", "-rf", "--kill-child -mp", "-Tf --boottime 4":
            # From the probe's end, as its own streams may be among the closed ones.
            words = f"{' '.join(tool)} {options} /usr/bin/python3 -I -S -c '{OPEN}' {closed}"
            done = ran("-c", f"{words}; echo $?", tool=["sh"])
            assert done.stdout == f"{len(closed.split())}\n", (closed, options, done.stderr)


OPEN = """
import os, sys
def is_open(number):
    try:
        return bool(os.fstat(number))
    except OSError:
        return False
sys.exit(sum(not is_open(number) for number in range(3)))
"""


@TOOLS
def test_the_environment_is_the_callers_where_there_is_no_locale(tool: list[str]) -> None:
    env = {"PATH": ENV["PATH"], "ODD": "\udcff=x"}
    done = subprocess.run([*tool, "env", "-0"], capture_output=True, env=env, check=True)
    assert set(done.stdout.split(b"\0")[:-1]) == {os.fsencode(f"{k}={v}") for k, v in env.items()}


@TOOLS
def test_an_ignored_key_stays_ignored(tool: list[str]) -> None:
    """As nohup(1) and shells without job control start programs."""
    script = f"trap '' INT HUP; exec {' '.join(tool)} grep SigIgn /proc/self/status"
    done = ran("-c", script, tool=["sh"])
    assert int(done.stdout.split()[1], 16) & 0b11 == 0b11
    assert not int(done.stdout.split()[1], 16) & 1 << signal.SIGPIPE - 1


def child_of(process: subprocess.Popen[bytes]) -> int:
    """The process that ends up as sleep(1), once it is there."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def asleep() -> list[int]:
        pids = map(int, path.read_text().split())
        return [pid for pid in pids if command_line(pid).startswith(b"sleep\0")]

    return until(asleep)[0]


@TOOLS
def test_whom_the_child_outlives(tool: list[str]) -> None:
    for words, lives in (["-f"], True), (["--kill-child"], False), (["-p", "--kill-child"], False):
        with subprocess.Popen([*tool, *words, "sleep", "1000"], env=ENV) as process:
            child = child_of(process)
            process.kill()
            process.wait()
            if lives:
                os.kill(child, 0)
                os.kill(child, signal.SIGKILL)
            until(lambda child=child: ended(child))  # type: ignore[misc]


def ended(pid: int) -> bool:
    """Whether it has, though nobody may have asked for its exit status yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@TOOLS
def test_who_waits_does_not_heed_keys(tool: list[str]) -> None:
    with subprocess.Popen([*tool, "-f", "sleep", "1000"], env=ENV) as process:
        child = child_of(process)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        assert process.poll() is None
        os.kill(child, signal.SIGHUP)
        assert process.wait(PATIENCE) == -signal.SIGHUP


@TOOLS
def test_a_namespace_kept_by_a_file(tool: list[str], tmp_path: Path) -> None:
    file = tmp_path / "uts"
    file.touch()
    script = f'"$@" --uts={file} hostname kept; nsenter --uts={file} hostname; umount {file}'
    done = ran("--mount", "sh", "-c", script, "sh", *tool, tool=THEIRS)
    assert (done.stdout, done.stderr) == ("kept\n", "")


# Maps of more than one ID


@pytest.fixture
def mapper() -> Iterator[Path]:
    """newuidmap(1) and newgidmap(1) that write down what they are asked, and do nothing.

    The folder that holds them, with their log. Not pytest's own: each run of pytest closes those to
    other users, also one that another test starts meanwhile.
    """
    with tempfile.TemporaryDirectory(prefix="labkit-maps-") as folder:
        place = Path(folder)
        for name in ("newuidmap", "newgidmap"):
            program = place / name
            program.write_text(f'#!/bin/sh\nshift\necho {name} "$@" >> {place}/log\n')
            program.chmod(0o755)
        (place / "log").touch()
        for path in (place, place / "log"):
            path.chmod(0o777)
        yield place


MAPS = (
    (["--map-users=100000,0,1000"], ["newuidmap 0 100000 1000"]),
    (["--map-groups=100000,0,1000"], ["newgidmap 0 100000 1000"]),
    (["--map-groups= 100000,+0, 1000"], ["newgidmap 0 100000 1000"]),
    (
        ["--map-users=100000,0,1000", "--map-user=0"],
        ["newuidmap 0 65534 1 1 100000 999"],
    ),
    (
        ["--map-users=65000,100,1000", "--map-user=200"],
        ["newuidmap 200 65534 1 100 65000 100 201 65100 434 635 65535 465"],
    ),
    (
        ["--map-users=1,1,5000", "--map-groups=1,1,5000", "--map-user=3", "--map-group=9"],
        ["newuidmap 3 65534 1 1 1 2 4 3 4997", "newgidmap 9 65534 1 1 1 8 10 9 4991"],
    ),
)


@TOOLS
@pytest.mark.parametrize(("words", "asked"), MAPS)
def test_newuidmap_is_asked_for_blocks(
    tool: list[str],
    words: list[str],
    asked: list[str],
    mapper: Path,
    nobody: list[str],
) -> None:
    at = nobody.index("env")
    own = [*nobody[:at], "env", *nobody[at + 1 :]]
    tool = [*own, "-m", "labkit", "unshare"] if tool is OURS else [*nobody[:at], *tool]
    done = ran(*words, "true", tool=tool, env=ENV | {"PATH": f"{mapper}:{ENV['PATH']}"})
    assert (done.returncode, done.stderr) == (0, "")
    assert (mapper / "log").read_text().splitlines() == asked


def test_root_maps_blocks_by_itself() -> None:
    """As util-linux does from 2.40 on; before, it left that to newuidmap(1) too."""
    words = [
        "--map-users=5:100000:10",
        "--map-users",
        "20,300,1",
        "--map-groups=all",
        "--map-user=7",
    ]
    done = ran(*words, "cat", "/proc/self/uid_map", "/proc/self/gid_map")
    rows = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    assert rows[:-1] == [[7, 0, 1], [5, 100000, 2], [8, 100002, 7], [300, 20, 1]]
    assert rows[-1:] == [[int(n) for n in Path("/proc/self/gid_map").read_text().split()]]


def test_subordinate_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "subuid"
    file.write_text("somebody:1:2\nroot:100000:65536\n0:7:8\n")
    monkeypatch.setitem(id_maps._SUBORDINATE, True, str(file))
    assert id_maps.parse("auto", users=True) == [(0, 100000, 65536)]
    assert id_maps.parse("subids", users=True) == [(100000, 100000, 65536)]
    # The example of unshare(1): root inside is user 1000 outside, and the rest follows.
    blocks = id_maps.parse("auto", users=True)
    single = id_maps.with_single(blocks, inside=0, outside=1000)
    assert single == [(0, 1000, 1), (1, 100000, 65535)]
    file.write_text("somebody:1:2\n")
    with pytest.raises(LookupError, match="root"):
        id_maps.parse("auto", users=True)


def test_a_range_of_ids_has_the_order_of_the_kernels_file_everywhere() -> None:
    """unshare(1) up to 2.38 writes OUTER,INNER,COUNT: only the reader of options knows of it."""
    assert id_maps.parse("0:100000:5", users=True) == id_maps.parse("100000,0,5", users=True)
    (found,) = id_maps.parse("100000,0,5", users=True)
    assert (found.inside, found.outside, found.size) == (0, 100000, 5)
    box = Container(("id",), cloneflags=CLONE_NEWUSER, uid_map=[(0, 100000, 5)])
    assert (*box.uid_map,) == (found,)
    assert isinstance(box.uid_map[0], id_maps.IdRange)
    assert id_maps.as_text(box.uid_map) == "0 100000 5\n"


def test_a_range_of_ids_is_a_tuple_like_any_other() -> None:
    whole = id_maps.IdRange((0, 1000, 1))
    assert whole == (0, 1000, 1)
    assert hash(whole) == hash((0, 1000, 1))
    assert (repr(whole), json.dumps(whole)) == ("(0, 1000, 1)", "[0, 1000, 1]")
    assert copy.deepcopy(whole) == pickle.loads(pickle.dumps(whole)) == whole  # noqa: S301
    box = Container(("id",), cloneflags=CLONE_NEWUSER, uid_map=[(0, 1000, 1)])
    assert "uid_map=((0, 1000, 1),)" in repr(box)
    assert Container.from_json(box.to_json()) == box
    assert dataclasses.asdict(box)["uid_map"] == ((0, 1000, 1),)


def test_the_files_of_a_map_and_their_order() -> None:
    users, groups = [(0, 1000, 1)], [(0, 100, 1), (1, 5000, 9)]
    assert id_maps.map_files(users, groups) == [
        ("uid_map", "0 1000 1\n"),
        ("setgroups", "deny"),
        ("gid_map", "0 100 1\n1 5000 9\n"),
    ]
    assert id_maps.map_files(users, []) == [("uid_map", "0 1000 1\n")]
    assert id_maps.map_files([], groups, "allow")[0] == ("setgroups", "allow")


def test_where_a_program_may_be(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "good").mkdir()
    (tmp_path / "plain" / "tool").touch(0o644)
    (tmp_path / "good" / "tool").touch(0o755)
    assert places("a/b", "/bin") == candidates("a/b", "/bin", "/") == ["a/b"]
    assert places("tool", "/bin::good/") == ["/bin/tool", "./tool", "good//tool"]
    assert candidates("tool", "none:plain:good", str(tmp_path)) == ["good/tool"]
    assert candidates("tool", "none:plain", str(tmp_path)) == ["plain/tool"]
    assert candidates("tool", "none:more", str(tmp_path)) == ["none/tool", "more/tool"]


# What it says


@pytest.mark.parametrize("words", [["--help"], ["-uh"], ["--he"]])
def test_help(words: list[str]) -> None:
    done = ran(*words)
    assert (done.returncode, done.stderr) == (0, "")
    theirs = set(re.findall(r"--[a-z-]+", ran("--help", tool=THEIRS).stdout))
    newer = {"--owner", "--forward-signals", "--map-subids", "--load-interp", "--mount-binfmt"}
    newer |= {"--clear-env", "--whitelist-env"}
    assert theirs - newer <= set(re.findall(r"--[a-z-]+", done.stdout))
    assert re.search("[一-龥].* / ", done.stdout)


def test_version() -> None:
    assert re.fullmatch(r"labkit unshare \d+\.\d+\.\d+\n", ran("-V").stdout)
    from_source = [sys.executable, "-S", "-m", "labkit", "unshare"]  # nothing installed is seen
    done = ran("-V", tool=from_source, env=ENV | {"PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stderr) == (0, "")
    assert "not installed" in done.stdout


def test_a_refusal_is_one_line_in_either_language(nobody: list[str]) -> None:
    tool = [*nobody, "-m", "labkit", "unshare"]
    done = ran("-u", "true", tool=tool)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("labkit unshare: unshare(CLONE_NEWUTS): Operation not permitted  ")
    assert re.search("[一-龥].*be root", line)
    english = ran("-u", "true", tool=tool, env=ENV | {"LABKIT_LANG": "en"}).stderr
    assert "be root" in english
    assert not re.search("[一-龥]", english)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ma"], "--map-root-user"),
        (["-T", "--boottime", "soon"], "'soon'"),
        (["--monotonic", "5"], "-T"),
        (["-R", "/nowhere"], 'chroot("/nowhere"): No such file'),
        (["--uts=/nowhere/x"], "No such file"),
        (["-r", "--setgroups=allow"], "--setgroups=allow"),
        (["--map-users=auto;"], "INNER:OUTER:COUNT"),
        (["--map-users=4294967296,0,1"], "below 4294967296"),  # not 0, its lower half
        (["--map-groups=1:65534:0", "--map-group=1"], "at least one"),
        (["-S"], "--help"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words: list[str], said: str) -> None:
    done = ran(*words)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert line.startswith("labkit unshare: ")
    assert said in line


@pytest.mark.parametrize(
    "words",
    [
        "-muinpf --mount-proc",
        "-r --keep-caps",
        "-r -f --kill-child -S 0",
        "-R / -w /usr -G 65534 -S 65534",
        "-Tf --boottime 7 --monotonic 8",
        "-m --propagation slave --mount-proc",
        "--map-users=0:0:100 -f",
    ],
)
def test_what_explain_says_is_what_strace_sees(words: str, tmp_path: Path) -> None:
    shell = ["sh", "-c", 'exec "$@" 2>&1', "sh"]
    command = [*shell, *OURS, *words.split(), "--explain", "/bin/true"]
    printed, calls = strace(tmp_path, command)
    lines = printed.splitlines()
    said = [line for line in lines if line[:1] != " "]
    # After --fork two processes tell; the parent may be late with what clone(2) has answered it.
    *_, last = [line for line in said if not line.startswith("clone(")]
    assert last.endswith(" = ?")
    seen = [line for process in calls.values() for line in process]
    assert [line for line in said if line != last and plain(line) not in seen] == []
    names = {line.partition("(")[0] for line in said}
    assert {"unshare", "execve"} <= names
    assert any(re.search("[一-龥]", line) for line in lines)
    assert all(notes_of(lines))


def notes_of(lines: list[str]) -> Iterator[bool]:
    """Whether each call is followed by what it is for."""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line[:1] != " ":
            yield following[:1] == " "


# Speed


SCRIPT = os.path.join(os.path.dirname(sys.executable), "labkit")
HEAVY = {"argparse", "dataclasses", "typing", "threading", "json", "signal", "subprocess", "re"}
HEAVY |= {
    "labkit.engine.client",
    "labkit.engine.loop",
    "labkit.container.container",
    "labkit.cli.main",
}


def test_the_command_imports_little() -> None:
    """From Python's start to the program, the script that pip has written included."""
    imported = imports(SCRIPT, "unshare", "-muinpf", "--mount-proc", "true")
    assert {"labkit.unshare.steps", "labkit.linux.door"} <= imported
    assert not imported & HEAVY - imports("-c", "pass")  # a .pth file may import anything


def imports(*words: str) -> set[str]:
    """The modules that a whole process imports."""
    done = ran(*words, tool=[sys.executable, "-X", "importtime"])
    assert done.returncode == 0, done.stderr
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


def test_the_command_is_the_module() -> None:
    for words in (["unshare", "--version"], ["ns", "--help"], ["no such command"]):
        script, module = (
            ran(*words, tool=[SCRIPT]),
            ran(*words, tool=[sys.executable, "-m", "labkit"]),
        )
        assert (script.returncode, script.stdout) == (module.returncode, module.stdout)
        assert script.stderr == module.stderr
