"""A start, recorded call by call: the trace of run(), and what each call changed."""

import errno
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from conftest import given_time, marked, until

from labkit import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    Clone,
    Container,
    run,
)
from labkit.linux import glossary
from labkit.linux.capabilities import CAPABILITIES, names
from labkit.linux.confinement import capabilities
from labkit.linux.glossary import explain, split
from labkit.linux.named import IntFlag
from labkit.linux.namespaces import KINDS
from labkit.linux.proc import Mount
from labkit.notebook.views import start_recorder
from labkit.notebook.views.start_recorder import (
    SETS,
    Change,
    RecordedStep,
    StartRecording,
    State,
    look,
    record,
)
from labkit.notebook.widgets.stepper import Told

EVERY = Clone(sum(Clone))
V03 = Container(
    ("true",),
    cloneflags=CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWPID,
    hostname="box",
    proc=True,
    cwd="/tmp",
)
CONFINED = Container(
    ("true",),
    capabilities=("KILL",),
    ambient_caps=("KILL",),
    no_new_privs=True,
    seccomp="default",
)
BOXES = {
    "nothing": Container(("true",)),
    "uts": Container(("true",), cloneflags=CLONE_NEWUTS, hostname='盒 "\\'),
    "v0.3": V03,
    "all": replace(V03, cloneflags=EVERY),
    "confined": CONFINED,
    "not found": Container(("no-such-program",), cloneflags=CLONE_NEWIPC),
    "not executable": Container(("/etc/passwd",), cwd="/"),
}
SHARED = """
import os, subprocess, sys
from labkit import CLONE_NEWNS, Container
from labkit.notebook.views.start_recorder import record
steps = record(Container(("true",), cloneflags=CLONE_NEWNS)).steps
mounts = open("/proc/self/mountinfo").read().splitlines()
(change,) = next(step.changes for step in steps if "MS_PRIVATE" in step.line)
assert change.subject == "propagation", change
assert len(change.before) == len(change.after) == len(mounts) > 0
assert all(line.rpartition(" ")[2].startswith("shared:") for line in change.before), change
assert {line.rpartition(" ")[2] for line in change.after} == {"private"}
print("as it should be")
"""


def without_pids(lines: tuple[str, ...]) -> list[str]:
    return [re.sub(r"(clone3?\(.*\)) = \d+$", r"\1 = PID", line) for line in lines]


def changes(recorded: StartRecording) -> dict[str, dict[str, Change]]:
    """What each kind of call changed; a call that stands twice by its first argument as well."""
    found: dict[str, dict[str, Change]] = {}
    for step in recorded.steps:
        name, _, rest = step.line.partition("(")
        key = f"{name} {rest.split(',')[0]}" if name in {"mount", "prctl"} else name
        found[key] = {change.subject: change for change in step.changes}
    return found


@pytest.mark.parametrize("name", BOXES)
def test_the_trace_is_that_of_any_other_run(name: str) -> None:
    recorded = record(BOXES[name])
    assert without_pids(recorded.trace) == without_pids(run(BOXES[name]).trace)
    assert not recorded.refused
    assert [step.observed for step in recorded.steps] == [True] * (len(recorded.steps) - 1) + [
        False
    ]


def test_what_each_call_changed() -> None:
    recorded = record(V03)
    found = changes(recorded)
    host = os.uname().nodename
    assert found["clone3"].keys() == {"mnt", "pid", "uts"}
    for kind in ("mnt", "pid", "uts"):
        (before,), (after,) = found["clone3"][kind].before, found["clone3"][kind].after
        assert os.readlink(f"/proc/self/ns/{kind}") == f"{kind}:[{before}]" != f"{kind}:[{after}]"
    assert found["sethostname"] == {"hostname": Change("hostname", (host,), ("box",))}
    assert found["chdir"] == {"cwd": Change("cwd", (os.getcwd(),), ("/tmp",))}
    (mounted,) = found['mount "proc"'].values()
    assert (mounted.subject, mounted.before) == ("mounts", ())
    (line,) = mounted.after
    assert line == "/proc proc proc rw,nosuid,nodev,noexec,relatime private"
    assert found["prctl PR_SET_PDEATHSIG"] == found["execve"] == {}
    assert os.uname().nodename == host


def test_a_user_namespace_has_no_maps_yet() -> None:
    found = changes(record(Container(("true",), cloneflags=CLONE_NEWUSER)))["clone3"]
    # It has every capability in there; root has most of them before, and nobody else any.
    assert found.keys() - {*SETS} == {"user", "uid_map", "gid_map"}
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/self/{name}") as ours:
            assert found[name].before == (" ".join(ours.read().split()),)
        assert found[name].after == ()


def test_the_maps_come_with_the_engines_writes() -> None:
    """It writes them while the child waits, so nobody can look in between."""
    users, groups = [(0, 100000, 2), (7, 5, 1)], [(0, 200000, 1)]
    box = Container(("true",), cloneflags=CLONE_NEWUSER, uid_map=users, gid_map=groups)
    recorded = record(box)
    (born,) = [step for step in recorded.steps if step.line.startswith("clone")]
    after = {change.subject: change.after for change in born.changes}
    assert (after["uid_map"], after["gid_map"]) == ((), ())
    assert "setgroups" not in after
    # Each counts for other things than it did: it is news, though root had it before.
    assert {*after} >= {"effective", "permitted", "bounding"}
    written = [step.changes for step in recorded.steps if step.line.startswith("write(")]
    assert written == [
        (Change("uid_map", (), ("0 100000 2", "7 5 1")),),
        (Change("setgroups", ("allow",), ("deny",)),),
        (Change("gid_map", (), ("0 200000 1",)),),
    ]
    silent = [s for s in recorded.steps if s.line.startswith(("openat(", "close("))]
    assert len(silent) == 7  # the directory, and three files opened and closed
    assert not any(step.changes for step in silent)
    text = str(Told(recorded))
    assert "effective capabilities: 全部 / all" in text
    assert "map of user IDs: 没有 / none\n" in text


def test_what_it_gives_up_call_by_call() -> None:
    recorded, before = record(CONFINED), capabilities()
    dropped = []
    for step in recorded.steps:
        if "PR_CAPBSET_DROP" in step.line:
            for change in step.changes:
                assert change.subject == "bounding"
                (name,) = {*change.before} - {*change.after}
                assert name in step.line
                dropped.append(name)
    assert dropped == [name for name in before.bounding if name != "CAP_KILL"]
    found = changes(recorded)
    kept = ("CAP_KILL",)
    assert found["capset"] == {
        "effective": Change("effective", before.effective, kept),
        "permitted": Change("permitted", before.permitted, kept),
        "inheritable": Change("inheritable", (), kept),
    }
    assert found["prctl PR_CAP_AMBIENT"] == {"ambient": Change("ambient", (), kept)}
    assert found["prctl PR_SET_NO_NEW_PRIVS"] == {
        "no_new_privs": Change("no_new_privs", ("0",), ("1",))
    }
    filters = recorded.first.seccomp
    assert found["seccomp"] == {"seccomp": Change("seccomp", (str(filters),), (str(filters + 1),))}


def test_the_program_may_do_what_was_left_of_it() -> None:
    """All changes together are what its own /proc/self/status says; execve adds nothing here."""
    state = {change.subject: change.after for s in record(CONFINED).steps for change in s.changes}
    inside = run(replace(CONFINED, argv=("cat", "/proc/self/status"))).stdout
    lines = dict(line.split(":\t", 1) for line in inside.splitlines())
    for name, word in zip(SETS, ("Eff", "Prm", "Inh", "Bnd", "Amb"), strict=True):
        assert state[name] == names(int(lines[f"Cap{word}"], 16))
    assert state["no_new_privs"] == (lines["NoNewPrivs"],)
    assert state["seccomp"] == (lines["Seccomp_filters"],)


def test_who_it_is_as_seen_from_outside() -> None:
    users, groups = [(0, 100000, 1)], [(0, 200000, 1)]
    box = Container(("true",), cloneflags=CLONE_NEWUSER, uid_map=users, gid_map=groups)
    found = changes(record(box))
    assert found["setresuid"] == {"uid": Change("uid", ("0",), ("100000",))}
    assert found["setresgid"] == {"gid": Change("gid", ("0",), ("200000",))}


def test_four_ids_that_differ_are_four_numbers() -> None:
    code = "import os; os.setresuid(1, 2, 3); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"\n"
        with open(f"/proc/{process.pid}/status") as file:
            assert "Uid:\t1\t2\t3\t2\n" in file.read()
        assert look(process.pid).uid == "1 2 3 2"
        process.communicate(b"\n")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (CAPABILITIES, CAPABILITIES[:-2], f"-{CAPABILITIES[-2]} -{CAPABILITIES[-1]}"),
        (("CAP_KILL",), ("CAP_CHOWN",), "-CAP_KILL +CAP_CHOWN"),
        (("CAP_KILL",), (), "-CAP_KILL"),
        (CAPABILITIES, (), "none"),
        ((), CAPABILITIES, "all"),
        (CAPABILITIES, ("CAP_CHOWN", "CAP_KILL"), "only CAP_CHOWN CAP_KILL"),
        ((), CAPABILITIES[1:], "all but CAP_CHOWN"),
    ],
)
def test_capabilities_in_few_words(
    before: tuple[str, ...], after: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_LANG", "en")
    step = RecordedStep("capset() = 0", (Change("effective", before, after),))
    (found,) = Told(replace(record(BOXES["nothing"]), steps=(step,))).found(step)
    assert str(found) == f"effective capabilities: {said}"
    for each in ("-", "+", "CAP_", "none", "all", "only"):
        assert (each in found.html()) == (each in said or each == "-"), each


def test_the_changes_lead_to_what_the_program_finds() -> None:
    """All changes together, from how we look ourselves, are the container as seen from inside."""
    script = "readlink /proc/self/ns/*; uname -n; pwd; cat /proc/self/mountinfo"
    # /proc/PID/mountinfo has the root of a cgroup mount as its reader's cgroup namespace sees it.
    flags = EVERY & ~CLONE_NEWUSER & ~CLONE_NEWCGROUP
    box = replace(V03, argv=("sh", "-c", script), cloneflags=flags)
    recorded = record(box)
    inside = run(box).stdout.splitlines()
    state: dict[str, object] = {"hostname": "", "cwd": ""}
    mounts = [*recorded.first.mounts]
    for change in (change for step in recorded.steps for change in step.changes):
        if change.subject in {"mounts", "propagation"}:
            for line in change.before:
                mounts.remove(line)
            mounts += change.after
        else:
            (state[change.subject],) = change.after
    assert [state.pop("hostname"), state.pop("cwd")] == inside[10:12]
    assert state.keys() == {kind.name for kind in KINDS if kind.flag & flags}
    assert sorted(mounts) == sorted(
        start_recorder._shown(Mount(line.encode())) for line in inside[12:]
    )


def test_mounts_stand_by_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 6.8 the kernel lists them in the order of its own list, since then by number."""
    lines = (
        b"40 2 0:5 / / rw - ext4 /dev/root rw",
        b"41 40 0:6 / /proc rw - proc proc rw",
        b"42 40 0:7 / /dev rw - tmpfs low rw",
        b"43 42 0:8 / /dev rw - tmpfs high rw",
    )
    for order in (lines, (lines[1], lines[0], *lines[2:])):
        listed = [*map(Mount, order)]
        monkeypatch.setattr(start_recorder, "mounts", lambda _, listed=listed: listed)
        points = [line.split()[:3] for line in start_recorder._mounts(1)]
        assert [(point, source) for point, _, source in points] == [
            ("/", "/dev/root"),
            ("/dev", "low"),
            ("/dev", "high"),
            ("/proc", "proc"),
        ]


def test_cutting_propagation_shows_where_mounts_are_shared() -> None:
    """In a stand-in for a host with systemd: mounts that are peers of nobody else's."""
    script = 'mount --make-rprivate / && mount --make-rshared / && exec "$@"'
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    done = subprocess.run([*words, sys.executable, "-c", SHARED], capture_output=True, text=True)
    assert done.stdout == "as it should be\n", done.stderr


def test_a_refused_call_is_the_last_step(nobody: list[str]) -> None:
    recorded = record(Container(("true",), cwd="/nowhere"))
    assert recorded.refused == ('chdir("/nowhere")', errno.ENOENT)
    assert recorded.steps[-1].line.startswith('chdir("/nowhere") = -1 ENOENT')
    assert not recorded.steps[-1].observed
    assert "nothing has changed" in str(Told(recorded))
    script = (
        "from labkit import *\nfrom labkit.notebook.views.start_recorder import record\n"
        "found = record(Container(('true',), cloneflags=CLONE_NEWUTS))\n"
        "print(found.refused[1], *found.trace)"
    )
    done = subprocess.run([*nobody, "-c", script], capture_output=True, text=True)
    assert re.match(r"1 clone3\(.*\) = -1 EPERM ", done.stdout), done.stderr


def test_a_program_that_goes_on_is_ended() -> None:
    for words in (("sleep", "1000"), ("yes",), ("sh", "-c", "exec >&- 2>&-; sleep 1000")):
        box = Container(words)
        recorded = given_time(lambda seconds, box=box: record(box, seconds), began)  # type: ignore[misc]
        assert began(recorded)


def began(recorded: StartRecording) -> bool:
    """Whether the program was there when it was ended."""
    return recorded.steps[-1].line.endswith(" = 0")


def test_an_observer_that_fails_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    before = marked()

    def blind(pid: int) -> State:
        if pid != os.getpid():
            raise PermissionError("blind")
        return look(pid)

    monkeypatch.setattr(start_recorder, "look", blind)
    with pytest.raises(PermissionError, match="blind"):
        record(V03)
    until(lambda: marked() <= before)
    monkeypatch.undo()
    assert len(record(V03).steps) == 7


def test_it_is_json() -> None:
    recorded = record(V03)
    told = json.loads(json.dumps(recorded.to_json()))
    assert [step["line"] for step in told["steps"]] == [*recorded.trace]
    assert told["first"]["hostname"] == os.uname().nodename


def test_in_words_on_a_page_without_a_kernel() -> None:
    recorded = record(V03)
    text, page = str(Told(recorded)), Told(recorded)._repr_html_()
    for line in recorded.trace:
        assert line in text
    assert "the host's → box" in text
    assert "<code>box</code>" in page
    assert os.uname().nodename not in re.sub(r"[\w./-]*/[\w./-]*", "", text)
    assert page.count("<tr>") == 1 + len(recorded.steps)
    assert len(re.findall(r'lang="zh-Hans"', page)) == len(re.findall(r'lang="en"', page))
    assert "https://man7.org/linux/man-pages/man2/clone.2.html" in page
    assert "propagation changed: " in text


SENT = (
    'sendmsg(0, {msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="!", iov_len=1}], msg_iovlen=1, '
    "msg_control=[{cmsg_len=20, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[2]}], "
    "msg_controllen=24, msg_flags=0}, MSG_NOSIGNAL) = 1"
)


def test_every_call_flag_and_argument_has_words() -> None:
    from labkit import syscalls

    traced = [*run(BOXES["all"]).trace, *run(BOXES["nothing"]).trace]
    traced += run(replace(BOXES["nothing"], tty=True)).trace
    limited = replace(
        BOXES["nothing"],
        cloneflags=CLONE_NEWUSER | CLONE_NEWTIME,
        uid_map=[(0, 100000, 1)],
        gid_map=[(0, 100000, 1)],
        capabilities=("KILL",),
        ambient_caps=("KILL",),
        no_new_privs=True,
        seccomp="default",
        time_offsets={"monotonic": 1},
    )
    traced += run(limited).trace
    lines = [
        "unshare(CLONE_NEWUTS) = 0",
        "setns(5, CLONE_NEWPID) = 0",
        "pidfd_open(12, 0) = 5",
        'umount2("/proc", MNT_DETACH) = 0',
        'pivot_root(".", ".") = 0',
        'chroot("/") = 0',
        'openat2(3, "/a", {flags=O_PATH|O_CLOEXEC, resolve=RESOLVE_IN_ROOT}, 24) = 4',
        'open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE) = 3',
        'move_mount(3, "", AT_FDCWD, "/mnt", MOVE_MOUNT_F_EMPTY_PATH) = 0',
        'fsopen("tmpfs", FSOPEN_CLOEXEC) = 3',
        'fsconfig(3, FSCONFIG_SET_STRING, "size", "1m", 0) = 0',
        "fsmount(3, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID) = 4",
        'mount_setattr(3, "", AT_EMPTY_PATH, {attr_set=MOUNT_ATTR_RDONLY, attr_clr=0, '
        "propagation=0, userns_fd=0}, 32) = 0",
        'mkdirat(AT_FDCWD, "/a", 0755) = 0',
        'mknodat(AT_FDCWD, "/dev/null", S_IFCHR|0666, makedev(0x1, 0x3)) = 0',
        'symlinkat("/a", AT_FDCWD, "/b") = 0',
        'unlinkat(AT_FDCWD, "/b", 0) = 0',
        "umask(022) = 000",
        "fchdir(3) = 0",
        "clone(child_stack=NULL, flags=CLONE_NEWUTS|SIGCHLD) = 12",
        "setsid() = 12",
        "dup3(3, 1, O_CLOEXEC) = 1",
        "fchown(3, 5, -1) = 0",
        SENT,
        "ioctl(0, TIOCSCTTY, 0) = 0",
        'openat(AT_FDCWD, "/proc/self/uid_map", O_WRONLY|O_CLOEXEC) = 3',
        'write(3, "0 0 1", 5) = 5',
        "close(3) = 0",
        "setuid(0) = 0",
        "setgid(0) = 0",
        "setgroups(0, NULL) = 0",
        "capget({version=_LINUX_CAPABILITY_VERSION_3, pid=0}, {effective=0, permitted=0}) = 0",
        "capset({version=_LINUX_CAPABILITY_VERSION_3, pid=0}, {effective=0, inheritable=0}) = 0",
        "prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0) = 0",
        "prlimit64(0, RLIMIT_NOFILE, {rlim_cur=64, rlim_max=RLIM64_INFINITY}, NULL) = 0",
        *traced,
    ]
    calls = {
        name for name in syscalls.__all__ if type(getattr(syscalls, name)).__name__ == "function"
    }
    told = [explain(line) for line in lines]
    assert {each.name for each in told} == calls - {"capbset_drop", "cap_ambient_raise"}
    for each in told:
        for words in (each.purpose, *(argument.meaning for argument in each.arguments)):
            assert words.zh, each
            assert words.en, each
    kinds = (kind for kind in vars(syscalls).values() if isinstance(kind, type))
    for kind in (kind for kind in kinds if issubclass(kind, IntFlag)):
        for flag in kind:
            (argument,) = explain(f"unshare({flag}) = 0").arguments
            ((name, words),) = argument.parts
            assert name == flag.name
            assert words.zh
            assert words.en
    for operation in (*syscalls.Prctl, *syscalls.Ambient, *syscalls.Ioctl, *syscalls.Fsconfig):
        assert explain(f"prctl({operation.name}, 1) = 0").arguments[0].parts


# Lines of a trace, and what the call is for. Of two calls that differ in one word, both are here.
PURPOSES = {
    "prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0)": ("留得住", "^keep this"),
    "prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, CAP_KILL, 0, 0)": ("不再.*留下", "no longer"),
    "prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)": ("清空", "^empty .*no capab"),
    "prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0)": ("^问", "^ask whether"),
    "prctl(PR_CAPBSET_DROP, CAP_KILL)": ("上限集", "bounding set"),
    "prctl(PR_SET_KEEPCAPS, 1)": ("不清空", "^keep the permitted"),
    "prctl(PR_SET_DUMPABLE, SUID_DUMP_USER)": ("要回来", "take it back"),
    "prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE)": ("不让", "no other process"),
    "prctl(PR_SET_PDEATHSIG, SIGKILL)": ("同生死", "no longer than"),
    "prctl(PR_SET_CHILD_SUBREAPER, 1)": ("收养", "adopt"),
    "prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)": ("不再给予", "no execve gives"),
    "ioctl(0, TIOCSCTTY, 0)": ("控制终端", "terminal"),
    "ioctl(3, TIOCSPTLCK, [0])": ("开锁", "unlock"),
    "ioctl(3, TIOCGPTPEER, 0x80102)": ("另一头", "other end"),
    'ioctl(3, SIOCSIFFLAGS, {ifr_name="lo", ifr_flags=IFF_UP})': ("网络设备", "device up"),
    "ioctl(3, NS_GET_USERNS)": ("归哪个", "owns"),
    "ioctl(3, NS_GET_PARENT)": ("父命名空间", "parent"),
    "ioctl(3, NS_GET_NSTYPE)": ("哪一种", "kind"),
    "ioctl(3, NS_GET_OWNER_UID, [0])": ("谁造", "who made"),
    'mount("/proc/7/ns/uts", "/run/a", NULL, MS_BIND, NULL)': ("里面没有进程", "without a process"),
    'mount("tmpfs", "/srv/ns/a", "tmpfs", 0, NULL)': ("^挂载一个文件系统", "^mount a file system"),
    'mount("/a", "/b", NULL, MS_BIND, NULL)': ("绑定挂载", "^bind mount"),
    'mount(NULL, "/b", NULL, MS_RDONLY|MS_REMOUNT|MS_BIND, NULL)': ("只改选项", "options"),
    'mount("/a", "/b", NULL, MS_MOVE, NULL)': ("挪到别处", "moves"),
    'mount(NULL, "/", NULL, MS_REC|MS_PRIVATE, NULL)': ("切断传播", "cuts propagation"),
    'mount(NULL, "/", NULL, MS_REC|MS_SLAVE, NULL)': ("不再出去", "not the reverse"),
    'mount(NULL, "/", NULL, MS_REC|MS_SHARED, NULL)': ("互相传播", "both ways"),
    'mount("proc", "/proc", "proc", MS_NOSUID, NULL)': ("自己的 `/proc`", "its own `/proc`"),
    'mount("/dev/null", "/proc/kcore", NULL, MS_BIND, NULL)': ("遮住", "^mask"),
    'mount("tmpfs", "/sys/firmware", "tmpfs", MS_RDONLY, NULL)': ("遮住", "^mask"),
    'mount("/dev/.empty", "/sys/firmware", NULL, MS_BIND, NULL)': ("遮住", "^mask"),
    'mount("sysfs", "sys", "sysfs", MS_RDONLY, NULL)': ("`/sys`", "`/sys`"),
    'mount("devpts", "/dev/pts", "devpts", MS_NOSUID, "mode=0620")': ("伪终端", "pseudo-term"),
    'mount("mqueue", "/dev/mqueue", "mqueue", MS_NOSUID, NULL)': ("消息队列", "queues"),
    'mount("overlay", "upper", "overlay", 0, "lowerdir=/a")': ("叠成一个", "^merge"),
    'mknodat(AT_FDCWD, "/a", S_IFREG|0644)': ("空文件", "an empty file"),
    'mknodat(AT_FDCWD, "/a", S_IFCHR|0666, makedev(0x1, 0x3))': ("设备文件", "a device file"),
    'mount("proc", "/tmp", "tmpfs", 0, NULL)': ("^挂载一个文件系统", "^mount a file system"),
    "clone(child_stack=NULL, flags=SIGCHLD)": ("同住", "same namespaces"),
    "clone(child_stack=NULL, flags=CLONE_NEWUTS|SIGCHLD)": ("新的命名空间", "new namespaces"),
    "clone3({flags=0, exit_signal=SIGCHLD}, 64)": ("同住", "same namespaces"),
    "clone3({flags=CLONE_VM, exit_signal=SIGCHLD}, 64)": ("同住", "same namespaces"),
    "clone3({flags=CLONE_VM|CLONE_NEWUTS, exit_signal=SIGCHLD}, 64)": (
        "新的命名空间",
        "new namespaces",
    ),
    "unshare(CLONE_NEWUTS)": ("搬进", "^move"),
    "unshare(CLONE_NEWPID)": ("自己不进去", "process stays outside"),
    "unshare(CLONE_NEWTIME)": ("execve 之后", "after execve"),
    'openat(AT_FDCWD, "/proc/self/uid_map", O_WRONLY)': ("用户号映射", "user IDs"),
    'openat(AT_FDCWD, "/proc/self/gid_map", O_WRONLY)': ("组号映射", "group IDs"),
    'openat(AT_FDCWD, "/proc/self/setgroups", O_WRONLY)': ("setgroups", "setgroups"),
    'openat(AT_FDCWD, "/proc/self/timens_offsets", O_WRONLY)': ("拨快", "clocks"),
    'openat(AT_FDCWD, "/proc/self/ns/time_for_children", O_RDONLY)': ("自己进去", "enter"),
    'openat(7, "setgroups", O_WRONLY)': ("setgroups", "setgroups"),
    'openat(AT_FDCWD, "/proc/12", O_RDONLY|O_PATH)': ("目录", "directory"),
    "fsconfig(3, FSCONFIG_CMD_CREATE, NULL, NULL, 0)": ("造出来", "create"),
    'fsconfig(3, FSCONFIG_SET_STRING, "size", "1m", 0)': ("一个选项", "an option"),
    'openat(AT_FDCWD, "/etc/passwd", O_RDONLY)': ("^打开一个文件$", "^open a file$"),
    "setgroups(0, NULL)": ("丢掉", "drop"),
    "setgroups(2, [10, NULL])": ("换附加组", "change"),
}


@pytest.mark.parametrize("call", PURPOSES)
def test_a_call_is_explained_by_what_it_asks_for(call: str) -> None:
    purpose = explain(f"{call} = 0").purpose
    for text, pattern in zip((purpose.zh, purpose.en), PURPOSES[call], strict=True):
        assert re.search(pattern, text), text


def test_nothing_in_the_glossary_is_out_of_reach() -> None:
    reached = {explain(f"{call} = 0").purpose for call in PURPOSES}
    assert [entry for entry in glossary._PURPOSES if entry[2] not in reached] == []
    named = {name for _, names in glossary._CALLS.values() for name in names}
    assert {name for name in named if name not in glossary._ARGUMENTS} == {
        # Structures, whose fields have words:
        "args", "attr", "cl_args", "datap", "hdrp", "how", "msg",
    }  # fmt: skip


def test_an_argument_is_explained_by_the_call_that_has_it() -> None:
    def meaning(call: str, at: int) -> str:
        return explain(f"{call} = 0").arguments[at].meaning.en

    assert "how many groups" in meaning("setgroups(1, [0])", 0)
    assert "structure" in meaning("clone3({flags=0}, 64)", 1)
    assert "directory" in meaning('chdir("/")', 0)
    assert "the file" in meaning('openat(AT_FDCWD, "/a", O_RDONLY)', 1)
    assert "oneself" not in meaning("pidfd_open(0, 0)", 0)  # which is EINVAL
    assert "oneself" in meaning("capget({version=3, pid=0}, {effective=0})", 1)
    ((_, entered),) = explain("setns(3, CLONE_NEWUTS) = 0").arguments[1].parts
    assert not re.search("新的|new", entered.zh + entered.en)
    ((_, made),) = explain("unshare(CLONE_NEWUTS) = 0").arguments[0].parts
    assert re.search("新的.*new", made.zh + made.en)


def test_arguments_are_told_apart_as_they_were_written() -> None:
    assert split('"a, b", ["x", "]"], {a=1, b={c=2, d=3}}, /* 3, 4 */, NULL') == [
        '"a, b"',
        '["x", "]"]',
        "{a=1, b={c=2, d=3}}",
        "/* 3, 4 */",
        "NULL",
    ]
    assert split("") == []
    assert explain('sethostname("a\\") = 0, ", 9) = -1 EPERM (No)').arguments[0].text == (
        '"a\\") = 0, "'
    )
