"""The trace tells the truth: strace(1) of the same run says the same."""

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import TAKES_LAYERS

from labkit import syscalls

TRACED = (
    "clone3,clone,unshare,setns,sethostname,mount,umount2,pivot_root,chroot,chdir,prctl,execve,"
    "pidfd_open,setsid,ioctl,openat,write,close,setresuid,setresgid,setuid,setgid,setgroups,"
    "prlimit64,mkdirat,mknodat,symlinkat,unlinkat,umask,fchdir,mount_setattr,"
    "capget,capset,seccomp,dup3,sendmsg,fchown,openat2,fsopen,fsconfig,fsmount,move_mount,open_tree"
)
SCRIPT = """
import json, sys
from labkit import *
{body}
def traced(box):
    try:
        return run(box).trace
    except OSError as error:
        return error.trace
print(json.dumps([traced(box) for box in boxes]))
"""


def strace(tmp_path: Path, command: list[str], *options: str) -> tuple[str, dict[int, list[str]]]:
    """What `command` printed, and each process's calls in order."""
    log = tmp_path / "strace"
    words = ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={TRACED}", "-e", "signal=none"]
    done = subprocess.run([*words, *options, *command], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    calls: dict[int, list[str]] = {}
    begun: dict[int, str] = {}
    for line in log.read_text().splitlines():
        number, text = re.fullmatch(r"(\d+) +(.*)", line).groups()  # type: ignore[union-attr]
        pid = int(number)
        if text.endswith(" <unfinished ...>"):
            begun[pid] = text.removesuffix(" <unfinished ...>")
        elif resumed := re.fullmatch(r"<\.\.\. \w+ resumed>(.*)", text):
            calls.setdefault(pid, []).append(plain(begun.pop(pid) + resumed[1]))
        elif "(" in text:
            calls.setdefault(pid, []).append(plain(text))
    return done.stdout, {pid: [*ours(lines)] for pid, lines in calls.items()}


WRITTEN = re.compile(
    r'openat\((AT_FDCWD, "(/proc/\w+/'
    r"(uid_map|gid_map|setgroups|timens_offsets|ns/time_for_children)|/proc/\d+|/n.*"
    r'|/dev/(hostname|hosts|resolv\.conf))"'
    r'|\d+, "(uid_map|gid_map|setgroups)"|.*O_NOFOLLOW)'
)


def ours(lines: list[str]) -> Iterator[str]:
    """Without what Python does with its own files, and what it asks of each: are you a terminal?"""
    fd, ends = "", set()  # ends: of a terminal that it makes, and its master's other number
    for line in lines:
        name, _, arguments = line.partition("(")
        number, answer = re.split("[,)]", arguments)[0], line.rpartition(" = ")[2]
        if name == "prlimit64" and ", NULL, {" in line:  # a C program asks for its stack's limit
            continue
        if '"/dev/ptmx"' in line or "TIOCGPTPEER" in line:
            ends.add(answer)
            yield line
        elif name in {"dup3", "fchown", "sendmsg"} or (name == "close" and number in ends):
            if ends:  # before that it takes the streams that it is given
                yield line
            ends -= {number} if name == "close" else set()
        elif name == "fsopen" or (name == "openat" and WRITTEN.match(line)):
            fd = line.rpartition(" = ")[2].split()[0]
            yield line
        elif name in {"write", "close"} and re.match(rf"{fd}\b", arguments) and fd:
            yield line
            fd = "" if name == "close" else fd
        elif name not in {"openat", "write", "close", "ioctl"} or (
            name == "ioctl" and re.search("NS_GET_|TIOCSCTTY|TIOCSPTLCK|SIOCSIFFLAGS", line)
        ):
            yield line


def plain(line: str) -> str:
    """A line without what the writer may choose: spacing, addresses, the order of or-ed flags."""
    line = re.sub(r"\) += ", ") = ", line)
    line = re.sub(r"0x[0-9a-f]+ (/\* \d+ vars? \*/)", r"\1", line)
    line = re.sub(r"filter=0x[0-9a-f]+", "filter=...", line)
    line = line.replace(" /* MS_??? */", "")
    line = re.sub(r" \(INJECTED\)$", "", line)
    return re.sub(r"\w+(?:\|\w+)+", lambda m: "|".join(sorted(m[0].split("|"))), line)


def until_execve(calls: list[str]) -> list[str]:
    """Without what the program itself calls."""
    for at, line in enumerate(calls):
        if line.startswith("execve(") and line.endswith(" = 0"):
            return calls[: at + 1]
    return calls


def compare(tmp_path: Path, body: str, python: list[str], *options: str) -> list[list[str]]:
    command = [*python, "-c", SCRIPT.format(body=body)]
    printed, calls = strace(tmp_path, command, *options)
    traces: list[list[str]] = json.loads(printed)
    for trace in traces:
        ours = [plain(line) for line in trace]
        pid = int(ours[0].rpartition(" = ")[2]) if "= -1" not in ours[0] else 0
        if pid:
            assert ours[0] in [line for lines in calls.values() for line in lines]
            ahead = sum(line.startswith("openat(") and "_map" in line for line in ours)
            denied = sum('"setgroups"' in line for line in ours)
            # The directory is opened, and each file opened, written and closed.
            begun = min(1 + (ahead > 0) + 3 * (ahead + denied), len(ours))
            (engine,) = [lines for lines in calls.values() if ours[0] in lines]
            engine = [line for line in engine if not line.startswith("pidfd_open(")]
            at = engine.index(ours[0])
            assert ours[:begun] == engine[at : at + begun]
            assert ours[begun:] == until_execve(calls.get(pid, []))
        else:
            (engine,) = [lines for lines in calls.values() if ours[0] in lines]
            at = engine.index(ours[0])
            assert ours == engine[at : at + len(ours)]
    return traces


def test_what_it_says_is_what_strace_sees(tmp_path: Path) -> None:
    body = f"""
all_but_user = Clone(sum(Clone)) & ~CLONE_NEWUSER
boxes = [
    Container(("true",)),
    Container(("hostname",), cloneflags=CLONE_NEWUTS, hostname="box"),
    Container(("hostname",), cloneflags=CLONE_NEWUTS, hostname='盒"子\\\\ \\n\\x1b1'),
    Container(("ps",), cloneflags=CLONE_NEWNS|CLONE_NEWPID, proc=True),
    Container(("true", "x" * 50, "\\t", *map(str, range(40))), cloneflags=all_but_user),
    Container(("true",), cloneflags=Clone(sum(Clone)), hostname="h" * 40, proc=True, cwd="/proc"),
    Container(("true",), cwd={str(tmp_path)!r}, env={{"A": "1"}}),
    Container(("nosuch",), env={{"PATH": "/bin:/usr/bin:/etc/passwd"}}),
    Container(("/etc/passwd",)),
    Container(("true",), cwd="/nowhere"),
    Container(("true",), tty=True),
    Container(("true",), tty=True, cloneflags=CLONE_NEWNS|CLONE_NEWPID, proc=True, cwd="/"),
]
"""
    traces = compare(tmp_path, body, [sys.executable])
    assert [len(trace) for trace in traces] == [4, 5, 5, 5, 4, 7, 5, 6, 4, 4, 6, 8]
    assert sum(" = -1 " in line for trace in traces for line in trace) == 5


def test_who_the_program_is_and_what_it_may_do_is_in_it(tmp_path: Path) -> None:
    body = """
many = [(n, 100000 + n, 1) for n in range(20)]
forbid = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
    {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}
boxes = [
    Container(("true",), rootless=True),
    Container(("true",), cloneflags=CLONE_NEWUSER, uid_map=many, gid_map=many, setgroups=True),
    Container(("true",), cloneflags=CLONE_NEWUSER, gid_map=[(5, 0, 1)]),
    Container(("true",), capabilities=("CHOWN", "SYSLOG"), ambient_caps=("CHOWN",)),
    Container(("true",), capabilities=(), no_new_privs=True, seccomp="default"),
    Container(("true",), seccomp=forbid),
    Container(("true",), cloneflags=CLONE_NEWTIME, time_offsets={"monotonic": 5, "boottime": 7}),
    Container(("true",), cloneflags=Clone(sum(Clone)), rootless=True, hostname="box", proc=True,
              capabilities=("KILL",), no_new_privs=True, seccomp="default", time_offsets={}),
    Container(("true",), user=(5, 6, ())),
    Container(("true",), user=(5, 6, (7, 6)), capabilities=("KILL",), seccomp="default"),
    Container(("true",), user=(0, 0, ()), rootless=True),
]
"""
    compare(tmp_path, body, [sys.executable])


def test_each_step_to_a_root_of_its_own_is_in_it(tmp_path: Path, base: Path) -> None:
    """By both players, with a root that is a directory or layers, by every kind of user."""
    (tmp_path / "sub").mkdir()
    layers = [tmp_path / ("long" * 30 + str(n)) for n in range(40)]
    for layer in layers:
        layer.mkdir()
    here = str(tmp_path)
    body = f"""
base, here = {str(base)!r}, {here!r}
every = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
volumes = (here + ":/data:ro", here + "/sub:/data/sub")
full = Root(layers=(base,), volumes=volumes, tmpfs=("/run:size=1m",), readonly=True)
many = Root(layers=({", ".join(repr(str(layer)) for layer in layers)}, base))
boxes = [
    Container(("true",), cloneflags=every, hostname="box", proc=True, root=full),
    Container(("true",), cloneflags=every, proc=True, root=full, rootless=True, tty=True),
    Container(("true",), cloneflags=CLONE_NEWNS, root=Root(base, bare=True), cwd="/bin", tty=True),
    Container(("true",), cloneflags=every, proc=True, root=full, tty=True, user=(5, 6, ())),
    Container(("true",), cloneflags=every, proc=True, root=many, env={{"PATH": "/bin"}}),
    Container(("true",), cloneflags=CLONE_NEWNS, root=many, rootless=True),
    Container(("true",), cloneflags=CLONE_NEWNS, root=Root("/nowhere")),
]
boxes = [box for box in boxes if box.root is not many or {TAKES_LAYERS}]
"""
    traces = compare(tmp_path, body, [sys.executable])
    made = {line.partition("(")[0] for trace in traces for line in trace}
    assert made >= {"mkdirat", "mknodat", "symlinkat", "unlinkat", "umask", "openat"}
    assert made >= {"dup3", "sendmsg", "fchown", "ioctl"}
    assert made >= {"mount_setattr", "open_tree", "move_mount", "openat2", "pivot_root", "umount2"}


@pytest.mark.parametrize("call", ["setresuid", "capset", "seccomp"])
def test_a_refused_step_towards_less_power_ends_it(tmp_path: Path, call: str) -> None:
    body = """boxes = [Container(("true",), cloneflags=CLONE_NEWUSER, uid_map=[(0, 100000, 1)],
                                 capabilities=(), seccomp="default")]"""
    (trace,) = compare(tmp_path, body, [sys.executable], "-e", f"inject={call}:error=EPERM")
    assert trace[-1].startswith(f"{call}(")
    assert trace[-1].endswith(" = -1 EPERM (Operation not permitted)")


def test_a_refused_map_ends_it(tmp_path: Path, nobody: list[str]) -> None:
    """Without privileges only one's own ID can be mapped: the child never makes a call."""
    body = "boxes = [Container(('true',), cloneflags=CLONE_NEWUSER, uid_map=[(0, 0, 2)])]"
    log = tmp_path / "log"
    log.mkdir(mode=0o777)
    (trace,) = compare(log, body, nobody)
    assert [line.partition("(")[0] for line in trace] == ["clone3", "openat", "openat", "write"]
    assert trace[-1].endswith("= -1 EPERM (Operation not permitted)")


def test_a_refused_clone_is_in_it(tmp_path: Path, nobody: list[str]) -> None:
    body = "boxes = [Container(('true',), cloneflags=CLONE_NEWUTS|CLONE_NEWNET)]"
    log = tmp_path / "log"
    log.mkdir(mode=0o777)
    ((refused,),) = compare(log, body, nobody)
    assert refused.endswith("= -1 EPERM (Operation not permitted)")


@pytest.mark.parametrize(
    ("call", "when", "lines"), [("mount", 1, 3), ("sethostname", 1, 4), ("mount", 2, 5)]
)
def test_a_refused_step_ends_it(tmp_path: Path, call: str, when: int, lines: int) -> None:
    """Each step fails once, by strace's hand: the trace ends there, and no program runs."""
    body = """boxes = [Container(("true",), cloneflags=CLONE_NEWNS|CLONE_NEWPID|CLONE_NEWUTS,
                                 hostname="box", proc=True)]"""
    inject = f"inject={call}:error=EPERM:when={when}"
    (trace,) = compare(tmp_path, body, [sys.executable], "-e", inject)
    assert len(trace) == lines
    assert trace[-1].startswith(f"{call}(")
    assert trace[-1].endswith(" = -1 EPERM (Operation not permitted)")


def test_entering_is_in_it(tmp_path: Path) -> None:
    script = """
import json
from labkit import *
with start(Container(("sleep", "1000"), cloneflags=CLONE_NEWPID|CLONE_NEWUTS)) as running:
    print(json.dumps(running.exec(("true",)).trace))
"""
    printed, calls = strace(tmp_path, [sys.executable, "-c", script])
    ours = [plain(line) for line in json.loads(printed)]
    assert [line.partition("(")[0] for line in ours[:3]] == ["setns", "clone3", "setns"]
    (engine,) = [lines for lines in calls.values() if ours[0] in lines]
    theirs = [line for line in engine[engine.index(ours[0]) :] if "pidfd_open(" not in line]
    assert theirs[:3] == ours[:3]
    assert ours[3:] == until_execve(calls[int(ours[1].rpartition(" = ")[2])])


def test_entering_without_privileges_takes_two_clones(tmp_path: Path, nobody: list[str]) -> None:
    """Only from inside the user namespace may one enter its PID namespace."""
    script = """
import json
from labkit import *
with start(Container(("sleep", "1000"), cloneflags=CLONE_NEWPID|CLONE_NEWUSER)) as running:
    done = running.exec(("sh", "-c", "kill -TERM $$"))
    print(json.dumps([done.returncode, *done.trace]))
"""
    printed, calls = strace(tmp_path, [*nobody, "-c", script])
    returncode, *lines = json.loads(printed)
    ours = [plain(line) for line in lines]
    assert returncode == -15
    outside, inside = (
        int(line.rpartition(" = ")[2]) for line in ours if line.startswith("clone3(")
    )
    assert ours[1:] == calls[outside] + until_execve(calls[inside])


def test_every_call_of_the_module_is_written_as_strace_writes_it(tmp_path: Path) -> None:
    """In a process of its own, which it takes apart."""
    script = f"""
import json, os, socket, struct, sys
from labkit.linux.door import Filter
from labkit.syscalls import *
from labkit import syscalls  # now: a later import would be in strace's log
def attempt(call, *arguments):
    try:
        call(*arguments)
    except OSError:
        pass
attempt(unshare, CLONE_NEWNS | CLONE_NEWUTS)
attempt(mount, None, "/", None, MS_REC | MS_PRIVATE, None)
here = {str(tmp_path)!r}
made = fsopen("tmpfs", FSOPEN_CLOEXEC)
attempt(fsopen, "x" * 40)
attempt(fsconfig, made, FSCONFIG_SET_STRING, "size", "4k")
attempt(fsconfig, made, FSCONFIG_SET_STRING, "k" * 40, "v" * 40)
attempt(fsconfig, made, FSCONFIG_SET_FLAG, "ro")
attempt(fsconfig, made, FSCONFIG_SET_FD, "fd", None, 99)
attempt(fsconfig, made, FSCONFIG_CMD_CREATE)
placed = fsmount(made, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_RDONLY)
attempt(fsmount, made)
attempt(move_mount, placed, "", AT_FDCWD, here, MOVE_MOUNT_F_EMPTY_PATH)
attempt(move_mount, AT_FDCWD, here, placed, "", MOVE_MOUNT_T_EMPTY_PATH)
attempt(open_tree, AT_FDCWD, here, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE)
attempt(open_tree, placed, "", AT_EMPTY_PATH)
attempt(mount_setattr, placed, "", AT_EMPTY_PATH | AT_RECURSIVE, MOUNT_ATTR_RDONLY)
attempt(mount_setattr, AT_FDCWD, "/nowhere", 0, 0, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
attempt(umask, 0o77)
attempt(umask, 0)
attempt(umask, 0o22)
attempt(fchdir, 99)
attempt(mkdirat, AT_FDCWD, "/nowhere/a", 0o1777)
attempt(mkdirat, 99, "b" * 40)
attempt(mknodat, AT_FDCWD, "/nowhere/null", 0o20666, os.makedev(1, 3))
attempt(mknodat, AT_FDCWD, "/nowhere/file", 0o100644)
attempt(mknodat, 99, "disk", 0o60600, os.makedev(259, 300))
attempt(symlinkat, "t" * 40, AT_FDCWD, "/nowhere/link")
attempt(unlinkat, AT_FDCWD, "/nowhere/a")
attempt(unlinkat, 99, "b", 0x200)
attempt(unshare, CLONE_NEWUSER | CLONE_NEWTIME | CLONE_NEWCGROUP)
attempt(mount, None, "/", None, MS_REC | MS_PRIVATE, None)
attempt(mount, "none", here, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,mode=700")
attempt(mount, here, here, None, MS_BIND | MS_REMOUNT | MS_RDONLY, "")
attempt(mount, "a" * 80, "/nowhere\\n", "x" * 40, MS_NOATIME, "o" * 40)
attempt(umount2, here, MNT_DETACH | UMOUNT_NOFOLLOW)
attempt(umount2, "/nowhere", 0)
attempt(setns, 0, CLONE_NEWUTS)
attempt(setns, os.open("/proc/self/ns/uts", os.O_RDONLY))
attempt(sethostname, "盒子" * 8)
attempt(chdir, "/")
attempt(chroot, "/nowhere" * 9)
attempt(chroot, "/")
attempt(pivot_root, ".", "put old")
attempt(setsid)
one, other = socket.socketpair()
os.dup2(one.fileno(), 50)
master = openat(AT_FDCWD, "/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
attempt(ioctl, master, TIOCSPTLCK, 0)
attempt(ioctl, master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
attempt(dup3, 50, 51)
attempt(dup3, 50, 52, os.O_CLOEXEC)
attempt(dup3, 99, 51)
attempt(sendmsg, 50, 51)
attempt(sendmsg, 50, 99)
attempt(fchown, 99, 0, -1)
attempt(ioctl, 0, TIOCSCTTY, 0)
attempt(ioctl, 99, TIOCSCTTY, 1)
for device in ("lo", 0), ("nowhere", 1 | 0x40):
    attempt(ioctl, socket.socket().fileno(), SIOCSIFFLAGS, device)
attempt(prctl, PR_SET_PDEATHSIG, 15)
attempt(prctl, PR_SET_CHILD_SUBREAPER, 1)
attempt(prctl, PR_SET_NO_NEW_PRIVS, 1)
attempt(prlimit64, 0, "RLIMIT_CORE", 0, 0)
attempt(prlimit64, 0, "RLIMIT_NOFILE", 256, 2048)
attempt(prlimit64, 0, "RLIMIT_NICE", -1, -1)
attempt(capbset_drop, "CAP_CHECKPOINT_RESTORE")
attempt(cap_ambient_raise, "CAP_CHOWN")
attempt(capset, *[1 << 0 | 1 << 6 | 1 << 7 | 1 << 34 | 1 << 21] * 3)
attempt(cap_ambient_raise, "CAP_CHOWN")
attempt(setresgid, 0, 0, 0)
attempt(setresuid, 0, 0, 0)
attempt(setresuid, 77, 77, 77)
attempt(openat, AT_FDCWD, "/nowhere", os.O_RDONLY)
attempt(openat, 99, "here", os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC)
attempt(openat2, AT_FDCWD, "here", os.O_PATH | os.O_CLOEXEC, RESOLVE_IN_ROOT | RESOLVE_NO_XDEV)
attempt(openat2, 99, "/", os.O_WRONLY)
for text in ("0 0 1\\n", "allow" * 9, "\\t\\1"):
    fd = openat(AT_FDCWD, "/proc/self/uid_map", os.O_WRONLY | os.O_CLOEXEC)
    attempt(write, fd, text)
    close(fd)
attempt(seccomp, Filter(struct.pack("HBBI", 6, 0, 0, 0x7fff0000)))
attempt(seccomp, Filter(b""))
attempt(pidfd_open, os.getpid())
attempt(pidfd_open, 1 << 29)
for kind in "uts", "pid", "user":
    for question in syscalls.Ioctl:
        attempt(ioctl, os.open("/proc/self/ns/" + kind, os.O_RDONLY), question)
attempt(ioctl, 0, NS_GET_USERNS)
for make in (clone3, clone):
    if make(CLONE_NEWIPC) == 0:
        os._exit(0)
    os.wait()
attempt(openat, AT_FDCWD, "/proc/self/setgroups", os.O_WRONLY | os.O_CLOEXEC)
attempt(openat, AT_FDCWD, "/nowhere", os.O_WRONLY)
effective, permitted, inheritable = capget()
attempt(capset, effective, permitted, permitted & 0b100001)
attempt(capset, 1 << 3, 0, 0)
attempt(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 5)
attempt(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 5)
attempt(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, 5)
attempt(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
attempt(setgroups, ())
attempt(setgroups, (1, 2))
attempt(setgid, 0)
attempt(setuid, 65534)
attempt(execve, "/nowhere", ["a"], {{}})
print(json.dumps(trace))
"""
    command = [sys.executable, "-I", "-S", "-c", PATH + script]
    printed, calls = strace(tmp_path, command)
    ours = [plain(line) for line in json.loads(printed) if not line.endswith(" = ?")]
    (theirs,) = [lines for lines in calls.values() if len(lines) > 9]
    assert ours == theirs[theirs.index(ours[0]) :]
    names = {line.partition("(")[0] for line in ours}
    assert names == set(TRACED.split(","))
    functions = {name for name in syscalls.__all__ if inspect.isfunction(getattr(syscalls, name))}
    ways_of_prctl = {"capbset_drop", "cap_ambient_raise"}
    assert functions - ways_of_prctl == names


BUILDS_A_ROOT = """
from labkit.container import contain as steps
from labkit.syscalls import *

def build(box, _):
    "A copy of the root directory, with an empty file system at /tmp: no step knows a descriptor."
    steps.tie_lifetimes(box.cloneflags)
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    root = open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
    move_mount(root, "", AT_FDCWD, "/mnt", MOVE_MOUNT_F_EMPTY_PATH)
    context = fsopen("tmpfs", FSOPEN_CLOEXEC)
    fsconfig(context, FSCONFIG_SET_STRING, "source", "made")
    fsconfig(context, FSCONFIG_SET_STRING, "mode", "700")
    fsconfig(context, FSCONFIG_CMD_CREATE)
    made = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV)
    close(context)
    tmp = openat2(root, "/tmp", os.O_PATH | os.O_CLOEXEC, RESOLVE_IN_ROOT)
    move_mount(made, "", tmp, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
    chdir("/mnt")
    pivot_root(".", ".")
    umount2(".", MNT_DETACH)
    mount("proc", "/proc", "proc", 0, None)
    steps.execute(box)

steps.contain = build
"""


def test_a_root_is_built_by_steps_that_build_on_each_other(tmp_path: Path) -> None:
    """Each descriptor is the result of an earlier call of the same score."""
    argv = ("cat", "/proc/self/mountinfo")
    box = f"Container({argv!r}, cloneflags=CLONE_NEWNS|CLONE_NEWPID)"
    (trace,) = compare(tmp_path, f"import os{BUILDS_A_ROOT}\nboxes = [{box}]", [sys.executable])
    assert [line.partition("(")[0] for line in trace[3:10]] == [
        "open_tree", "move_mount", "fsopen", "fsconfig", "fsconfig", "fsconfig", "fsmount"
    ]  # fmt: skip
    script = f"import os\nfrom labkit import *{BUILDS_A_ROOT}\nprint(run({box}).stdout)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    mounted = [line.split() for line in done.stdout.splitlines() if line]
    assert [line[4] for line in mounted] == ["/", "/tmp", "/proc"], done.stderr
    assert mounted[1][-3:-1] == ["tmpfs", "made"]
    assert "nodev" in mounted[1][5]


def test_a_refused_step_may_be_in_the_middle_of_a_root(tmp_path: Path) -> None:
    body = f"""import os{BUILDS_A_ROOT}
boxes = [Container(("true",), cloneflags=CLONE_NEWNS|CLONE_NEWPID)]"""
    (trace,) = compare(tmp_path, body, [sys.executable], "-e", "inject=fsmount:error=EPERM")
    assert trace[-1].startswith("fsmount(")


def test_what_prctl_is_asked_it_answers() -> None:
    script = """from labkit.syscalls import *
capset(*[1 << 5 | 1 << 8] * 3)
asked = PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 5
print(prctl(*asked), prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 5), prctl(*asked),
      prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL), prctl(*asked))"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("0 0 1 0 0\n", "")


PATH = f"import sys; sys.path.insert(0, {str(Path(syscalls.__file__).parents[1])!r})\n"
