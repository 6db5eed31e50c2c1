"""`labkit unshare` beside util-linux's own: the same options leave the same state."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from conftest import ROOT, until
from test_cli import ENV
from test_trace import plain

from labkit import id_maps

THEIRS = ["unshare"]
OURS = [sys.executable, "-m", "labkit", "unshare"]
TOOLS = pytest.mark.parametrize("tool", [THEIRS, OURS], ids=["util-linux", "labkit"])
VERSION = tuple(
    map(int, re.findall(r"\d+", subprocess.getoutput("unshare --version"))[:2])
)
PATIENCE = 20  # seconds

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
        out, err = process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()[0], "TIMEOUT"
    bound = {name: os.path.ismount(f"{place}/{name}") or is_ns(f"{place}/{name}")
             for name in sorted(os.listdir(place))}
    for name, there in bound.items():
        if there:
            sh(f"umount {place}/{name}")
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
    words = ["taskset", "-c", str(cpu), "unshare", "--mount", "--propagation", "private", sys.executable, "-c", DRIVER]
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
                parts["state"] = {k: (s[k], t[k]) for k in s if s[k] != t[k]}  # type: ignore[attr-defined, index, assignment]
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


def test_each_option_leaves_the_same_state(tmp_path: Path) -> None:
    lines = [(text.split(), "0") for text in EACH.split("|")]
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
        # Before 2.39 a child that SIGKILL ended made it complain and exit with 1.
        yield words, chance.choice(["0", "0", "3", "-15", "-9" if VERSION >= (2, 39) else "-1"])
        number -= 1


def test_any_options_together_leave_the_same_state(tmp_path: Path) -> None:
    found = compare(list(combinations(200)), tmp_path / "files")
    assert sum(bool(each["state"]) for each in found) > 60
