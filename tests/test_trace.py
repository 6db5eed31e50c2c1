"""The trace tells the truth: strace(1) of the same run says the same."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from labkit import syscalls

TRACED = (
    "clone3,clone,unshare,setns,sethostname,mount,umount2,pivot_root,chroot,chdir,prctl,execve,"
    "pidfd_open,setsid,ioctl,setuid,setgid,setgroups,capget,capset"
)
# Python makes these all the time.
COMMON = "openat,write,close"
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
    return done.stdout, {pid: list(filter(ours, lines)) for pid, lines in calls.items()}


def ours(line: str) -> bool:
    """Whether it is not what Python asks of each file that it opens: are you a terminal?"""
    if line.startswith("ioctl("):
        return "NS_GET_" in line or "TIOCSCTTY" in line
    return not line.startswith("openat(") or "O_WRONLY" in line


def plain(line: str) -> str:
    """A line without what the writer may choose: spacing, addresses, the order of or-ed flags."""
    line = re.sub(r"\) += ", ") = ", line)
    line = re.sub(r"0x[0-9a-f]+ (/\* \d+ vars? \*/)", r"\1", line)
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
            assert ours[1:] == until_execve(calls[pid])
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
import json, os, sys
from labkit.syscalls import *
from labkit import privileges, syscalls  # now: a later import would be in strace's log
def attempt(call, *arguments):
    try:
        call(*arguments)
    except OSError:
        pass
attempt(unshare, CLONE_NEWNS | CLONE_NEWUTS)
attempt(unshare, CLONE_NEWUSER | CLONE_NEWTIME | CLONE_NEWCGROUP)
attempt(mount, None, "/", None, MS_REC | MS_PRIVATE, None)
here = {str(tmp_path)!r}
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
attempt(ioctl, 0, TIOCSCTTY, 0)
attempt(ioctl, 99, TIOCSCTTY, 1)
attempt(prctl, PR_SET_PDEATHSIG, 15)
attempt(prctl, PR_SET_CHILD_SUBREAPER, 1)
attempt(prctl, PR_SET_NO_NEW_PRIVS, 1)
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
attempt(write, 98, "0 0 1\\n")
attempt(close, 98)
effective, permitted, inheritable = capget()
attempt(capset, effective, permitted, permitted & 0b100001)
attempt(capset, 1 << 3, 0, 0)
attempt(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 5)
attempt(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 5)
attempt(setgroups, ())
attempt(setgroups, (1, 2))
attempt(setgid, 0)
attempt(setuid, 65534)
attempt(execve, "/nowhere", ["a"], {{}})
print(json.dumps(trace))
"""
    command = [sys.executable, "-I", "-S", "-c", PATH + script]
    printed, calls = strace(tmp_path, command, "-e", f"trace={TRACED},{COMMON}")
    ours = [plain(line) for line in json.loads(printed) if not line.endswith(" = ?")]
    (theirs,) = [lines for lines in calls.values() if len(lines) > 9]
    theirs = [line for line in theirs[theirs.index(ours[0]) :] if not line.startswith("write(1,")]
    assert ours == theirs
    names = {line.partition("(")[0] for line in ours}
    assert names == {*TRACED.split(","), *COMMON.split(",")}
    functions = {
        name
        for name, value in vars(syscalls).items()
        if inspect.isfunction(value) and value.__module__ == syscalls.__name__
    }
    assert {name for name in functions if not name.startswith("_")} == names


PATH = f"import sys; sys.path.insert(0, {str(Path(syscalls.__file__).parents[1])!r})\n"
