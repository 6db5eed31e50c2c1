"""Each exercise: its solution is right, plausible wrong answers are told apart, and why."""

import ast
import errno
import inspect
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import ROOT

from labkit import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    Container,
    Limits,
)
from labkit.linux.capabilities import CAPABILITIES
from labkit.linux.flags import (
    MNT_DETACH,
    MS_BIND,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    MS_SLAVE,
)
from labkit.linux.mounts import mount, pivot_root, umount2
from labkit.linux.processes import sethostname, setns, unshare
from labkit.notebook.exercises import (
    ex00,
    ex01,
    ex02,
    ex02b,
    ex03,
    ex04,
    ex05,
    ex06,
    ex07,
    ex08,
    ex09,
    ex10,
    mishaps,
    progress,
    solutions,
    v02b_unshare,
    v04_pid_proc,
)
from labkit.notebook.exercises.broken import Broken
from labkit.notebook.exercises.exercise import Exercise, Lesson, Outcome, Verdict
from labkit.text.words import Words

LESSONS: tuple[Lesson, ...] = (
    *(ex00, ex01, ex02, ex02b, ex03, ex04, ex05, ex06, ex07, ex08, ex09, ex10),
)
EXERCISES = [exercise for lesson in LESSONS for exercise in lesson.exercises()]
FIELD = re.compile(r"\{\w+\}")


@pytest.fixture(autouse=True)
def nothing_solved() -> None:
    for lesson in LESSONS:
        lesson.restart()


each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)


@dataclass(frozen=True)
class Wrong:
    """An answer that somebody might hand in, and what the check should call it."""

    exercise: Exercise = field(repr=False)
    diagnosis: str
    answer: object
    note: str = ""

    def __str__(self) -> str:
        return f"{self.exercise.name}-{self.diagnosis}{self.note}"


WRONG: list[Wrong] = []


def wrong(
    exercise: Exercise, diagnosis: str, note: str = ""
) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Decorates a function that is a wrong answer."""

    def keep(function: Callable[..., object]) -> Callable[..., object]:
        WRONG.append(Wrong(exercise, diagnosis, function, note))
        return function

    return keep


def box(*argv: str, **fields: object) -> Container:
    return Container(argv, **fields)  # type: ignore[arg-type]


def also(exercise: Exercise, diagnosis: str, *answers: object) -> None:
    WRONG.extend(Wrong(exercise, diagnosis, a, f"-{len(WRONG)}-{n}") for n, a in enumerate(answers))


# --- V0.0 --------------------------------------------------------------------------------------

also(ex00.kernels, "TOO_MANY", 4, 3)
also(ex00.kernels, "TOO_FEW", 0, -1)
also(ex00.kernels, "NO_NUMBER", "one", True, 1.0)

KERNEL = os.getpid()
also(ex00.parent, "NOT_AN_INT", str)
also(ex00.parent, "ITSELF", lambda pid: pid)
also(ex00.parent, "THE_KERNEL", lambda _: KERNEL)
also(ex00.parent, "OTHER", lambda _: os.getppid(), lambda _: -1)


@wrong(ex00.parent, "OTHER", "-right for the container alone")
def one_parent(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:
        parent = int(file.read().rpartition(")")[2].split()[1])
    return -1 if pid == KERNEL else parent


@wrong(ex00.layers, "IMAGE")
def change_image(root: str) -> None:
    os.remove(f"{root}/../image/secret.txt")


@wrong(ex00.layers, "STILL_THERE")
def keep_secret(root: str) -> None:
    with open(f"{root}/hello.txt", "a") as file:
        file.write("mine\n")


@wrong(ex00.layers, "NO_LINE")
def overwrite(root: str) -> None:
    os.remove(f"{root}/secret.txt")
    with open(f"{root}/hello.txt", "w") as file:
        file.write("mine\n")


# --- V0.1 --------------------------------------------------------------------------------------

LINE = """sh -c 'sleep 1000; true' "my container\""""
QUOTED = ("sh", "-c", "'sleep 1000; true'", '"my container"')
also(ex01.argv, "QUOTES", box(*QUOTED))
also(ex01.argv, "NO_PROGRAM", box("sh -c 'sleep 1000; true' \"my container\""))
also(ex01.argv, "OTHER", box("sh", "-c", "sleep", "1000;", "true", "my", "container"))
also(ex01.argv, "OTHER", box("sh", "-c", "sleep 1000; true"))

also(ex01.argv, "SHELL", box("sh", "-c", LINE), box("bash", "-c", f"exec {LINE}"))
also(ex01.argv, "WORD", box("/bin/sh", "-c", "sleep 1000; true", "my container"))
also(ex01.argv, "WORD", box("sh", "-c", "sleep 1000;true", "my container"))

also(ex01.killed, "STATUS_143", box("sh", "-c", "exit 143"))
also(ex01.killed, "STATUS_143", box("sh", "-c", "sleep 1000 & kill $!; wait $!"))
also(ex01.killed, "BY_ITSELF", box("true"), box("kill", "-TERM", "$$"))
also(ex01.killed, "OTHER_SIGNAL", box("sh", "-c", "kill -KILL $$"))

also(ex01.inode, "TEXT", lambda pid, kind: os.readlink(f"/proc/{pid}/ns/{kind}"))
also(ex01.inode, "THE_LINK", lambda pid, kind: os.lstat(f"/proc/{pid}/ns/{kind}").st_ino)
also(ex01.inode, "OURS", lambda _, kind: os.stat(f"/proc/self/ns/{kind}").st_ino)
also(ex01.inode, "OTHER", lambda pid, _: os.stat(f"/proc/{pid}/ns/uts").st_ino)
also(ex01.inode, "OTHER", lambda pid, kind: os.stat(f"/proc/{pid}").st_ino + len(kind))


@wrong(ex01.reach, "BY_HAND")
def reach_by_hand(pid: int) -> Container:
    os.kill(pid, 15)
    return box("true")


also(ex01.reach, "LIVES", lambda pid: box("kill", "-0", str(pid)), lambda _: box("true"))
also(
    ex01.reach,
    "ISOLATED",
    lambda pid: box("kill", "-TERM", str(pid), cloneflags=CLONE_NEWPID),
)


# --- V0.2 --------------------------------------------------------------------------------------


def links(pid: int | str) -> dict[str, str]:
    folder = f"/proc/{pid}/ns"
    return {name: os.readlink(f"{folder}/{name}") for name in os.listdir(folder)}


also(ex02.kinds, "NOT_A_SET", lambda pid: pid, links)
also(ex02.kinds, "OTHER", lambda _: set(), lambda _: {"uts", "ipc"})


@wrong(ex02.kinds, "FOR_CHILDREN")
def all_links(pid: int) -> set[str]:
    return {name for name, link in links(pid).items() if link != links("self")[name]}


@wrong(ex02.kinds, "INVERTED")
def same_kinds(pid: int) -> set[str]:
    own = {n: link for n, link in links(pid).items() if not n.endswith("_for_children")}
    return {name for name, link in own.items() if link == links("self")[name]}


@wrong(ex02.rename, "TOO_LATE")
def rename_too_late() -> None:
    sethostname("box")
    unshare(CLONE_NEWUTS)


@wrong(ex02.rename, "NO_NAMESPACE")
def rename_outside() -> None:
    sethostname("box")


@wrong(ex02.rename, "NO_NAME")
def rename_nothing() -> None:
    unshare(CLONE_NEWUTS)


@wrong(ex02.rename, "NO_NAME", "-one of two")
def rename_the_child_alone() -> None:
    unshare(CLONE_NEWUTS)
    child = os.fork()
    if child == 0:
        unshare(CLONE_NEWUTS)
        sethostname("box")
    else:
        os.waitpid(child, 0)


@wrong(ex02.rename, "NOT_MOVED")
def rename_elsewhere() -> None:
    subprocess.run(["unshare", "--uts", "hostname", "box"], check=True)


@wrong(ex02.rename, "OTHER_NAME")
def rename_otherwise() -> None:
    unshare(CLONE_NEWUTS)
    sethostname("Box")


@wrong(ex02.first, "NOT_FIRST")
def second_child() -> None:
    unshare(CLONE_NEWPID)
    for _ in range(2):
        if os.fork():
            os.wait()
            os._exit(0)


@wrong(ex02.first, "NO_CHILD")
def child_waits_too() -> None:
    unshare(CLONE_NEWPID)
    child = os.fork()
    os.waitpid(child, 0)
    os._exit(0)


@wrong(ex02.first, "UNSHARE_ONLY")
def no_child() -> None:
    unshare(CLONE_NEWPID)


@wrong(ex02.first, "NO_NAMESPACE")
def child_at_home() -> None:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)


@wrong(ex02.first, "BOTH")
def both_return() -> None:
    unshare(CLONE_NEWPID)
    child = os.fork()
    if child:
        os.waitpid(child, 0)


also(ex02.capability, "NOT_NAMES", 21, {21})
also(ex02.capability, "EMPTY", set())
also(ex02.capability, "UNKNOWN", {"CAP_NEWNS"})
also(ex02.capability, "REFUSED", {"CAP_SYS_CHROOT"}, {"CAP_CHOWN", "CAP_NET_ADMIN"})
also(ex02.capability, "TOO_MANY", {"CAP_SYS_ADMIN", "CAP_CHOWN"})


def join_nothing(_: int) -> None:
    unshare(CLONE_NEWUTS)


def join_and_raise(pid: int) -> None:
    setns(os.open(f"/proc/{pid}/ns/uts", os.O_RDONLY), CLONE_NEWUTS)


def join_or_say(pid: int) -> None:
    try:
        join_and_raise(pid)
    except OSError as error:
        print(error)


def join_or_make(pid: int) -> None:
    try:
        join_and_raise(pid)
    except OSError:
        unshare(CLONE_NEWUTS)


def join_at_most(pid: int) -> None:
    os.stat(f"/proc/{pid}/ns/uts")
    unshare(CLONE_NEWUTS)


also(ex02.stray, "NO_CHILD", ("a", join_and_raise))
also(ex02.stray, "NO_FLAG", ("c", join_and_raise))
also(ex02.stray, "NO_DELAY", ("d", join_and_raise))
also(ex02.stray, "HOST", ("b", mishaps.join), ("b", join_or_say))
also(ex02.stray, "ELSEWHERE", ("b", join_or_make), ("b", join_nothing))
also(ex02.stray, "NOT_ENTERED", ("b", join_at_most))

# --- unshare(1) --------------------------------------------------------------------------------

also(ex02b.options, "NOT_WORDS", "--uts --ipc --pid --fork", 3)
also(ex02b.options, "FAILED", ("--help",), ("--utc",), ("--uts --ipc --pid --fork",))
also(ex02b.options, "NO_FORK", ("--uts", "--ipc", "--pid"), ("-uip",))
also(ex02b.options, "OTHER", ("-uipf", "--mount-proc"), ("-ui", "--fork"), ("-uipfr",))

also(ex02b.fork, "NO_TEXT", ("sleep", "1000"))
also(ex02b.fork, "UNREADABLE", "sleep 1000 &;", "sleep 1000 &'")
also(ex02b.fork, "WAITED", "sleep 1000")
also(ex02b.fork, "REPLACED", "exit", "exec unshare --pid --fork sh")
also(ex02b.fork, "DIED", "true", "sleep 0", "ulimit -a > /dev/null")


@wrong(ex02b.keep, "NOTHING")
def keep_nothing(file: str) -> None:  # noqa: ARG001
    unshare(CLONE_NEWUTS)
    sethostname("kept")


@wrong(ex02b.keep, "NOTHING", "-out of sight")
def keep_inside(file: str) -> None:
    unshare(CLONE_NEWUTS | CLONE_NEWNS)
    sethostname("kept")
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    mount("/proc/self/ns/uts", file, None, MS_BIND, None)


@wrong(ex02b.keep, "NO_UTS")
def keep_another(file: str) -> None:
    unshare(CLONE_NEWUTS | CLONE_NEWIPC)
    sethostname("kept")
    mount("/proc/self/ns/ipc", file, None, MS_BIND, None)


@wrong(ex02b.keep, "OUTER")
def keep_too_early(file: str) -> None:
    mount("/proc/self/ns/uts", file, None, MS_BIND, None)
    unshare(CLONE_NEWUTS)
    sethostname("kept")


@wrong(ex02b.keep, "NO_NAME")
def keep_unnamed(file: str) -> None:
    unshare(CLONE_NEWUTS)
    mount("/proc/self/ns/uts", file, None, MS_BIND, None)


# --- V0.3 --------------------------------------------------------------------------------------

also(ex03.flags, "NONE", box("true"), box("true", cloneflags=CLONE_NEWNS & CLONE_NEWIPC))
also(ex03.flags, "MISSING", box("true", cloneflags=CLONE_NEWNS | CLONE_NEWNET))
also(
    ex03.flags,
    "EXTRA",
    box("true", cloneflags=CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUTS),
)


@wrong(ex03.contain, "LEAKED")
def contain_carelessly(place: str) -> None:
    mount("tmpfs", place, "tmpfs", 0, None)


@wrong(ex03.contain, "LEAKED", "-one mount point private")
def contain_not_all_the_way(place: str) -> None:
    mount(None, "/", None, MS_PRIVATE, None)
    mount("tmpfs", place, "tmpfs", 0, None)


@wrong(ex03.contain, "LEAKED", "-too late")
def contain_too_late(place: str) -> None:
    mount("tmpfs", place, "tmpfs", 0, None)
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)


@wrong(ex03.contain, "NOTHING")
def contain_nothing(place: str) -> None:  # noqa: ARG001
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)


@wrong(ex03.contain, "OTHER_TYPE")
def contain_a_bind(place: str) -> None:
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    mount("/proc", place, None, MS_BIND, None)


@wrong(ex03.contain, "STILL_SHARED")
def contain_one_corner(place: str) -> None:
    mount(None, os.path.dirname(place), None, MS_PRIVATE, None)
    mount("tmpfs", place, "tmpfs", 0, None)


@wrong(ex03.accident, "SAFE")
def no_accident() -> None:
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    mount("proc", "/proc", "proc", 0, None)


@wrong(ex03.accident, "NOTHING")
def no_mount() -> None:
    os.listdir("/proc")


@wrong(ex03.accident, "ANOTHER")
def unmount_proc() -> None:
    umount2("/proc")


@wrong(ex03.accident, "TWICE")
def two_accidents() -> None:
    mount("proc", "/proc", "proc", 0, None)
    mount("proc", "/proc", "proc", 0, None)


@wrong(ex03.accident, "ANOTHER", "-covered")
def cover_proc() -> None:
    mount("tmpfs", "/proc", "tmpfs", 0, None)


@wrong(ex03.repair, "DEAD")
def wait_and_see() -> None:
    time.sleep(0)


@wrong(ex03.repair, "DEAD", "-elsewhere")
def repair_for_oneself() -> None:
    unshare(CLONE_NEWNS)
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    umount2("/proc")


@wrong(ex03.repair, "TOO_MUCH")
def unmount_twice() -> None:
    umount2("/proc")
    umount2("/proc")


@wrong(ex03.repair, "COVERED")
def mount_over() -> None:
    mount("proc", "/proc", "proc", 0, None)


@wrong(ex03.loopback, "DOWN")
def address_only() -> None:
    subprocess.run(["ip", "address", "add", "127.0.0.1/8", "dev", "lo"], check=True)


@wrong(ex03.loopback, "ELSEWHERE")
def up_elsewhere() -> None:
    unshare(CLONE_NEWNET)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def proc_at_last() -> None:
    mount("proc", "/proc", "proc", 0, None)
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)


def proc_for_a_moment() -> None:
    mount("proc", "/proc", "proc", 0, None)
    umount2("/proc")


def no_proc() -> None:
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)


def private_proc_alone() -> None:
    mount(None, "/proc", None, MS_PRIVATE, None)
    mount("proc", "/proc", "proc", 0, None)


def unmount_the_old() -> None:
    mount(None, "/", None, MS_PRIVATE, None)
    umount2("/proc", MNT_DETACH)
    mount("proc", "/proc", "proc", 0, None)


also(ex03.lost, "NO_FLAGS", ("a", no_proc))
also(ex03.lost, "NO_SLAVE", ("b", no_proc))
also(ex03.lost, "NO_FORK", ("d", no_proc))
also(ex03.lost, "LOST", ("c", mishaps.own_proc), ("c", proc_at_last), ("c", unmount_the_old))
also(ex03.lost, "NO_PROC", ("c", no_proc), ("c", proc_for_a_moment))
also(ex03.lost, "STILL_SHARED", ("c", private_proc_alone))


# --- V0.4 --------------------------------------------------------------------------------------


def status_line(pid: int, field: str) -> list[int]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return [int(n) for line in lines if line.startswith(f"{field}:") for n in line.split()[1:]]


also(ex04.numbers, "NOT_NUMBERS", lambda pid: pid, lambda pid: [str(pid)])
also(ex04.numbers, "ONE", lambda pid: [pid], lambda pid: status_line(pid, "Pid"))
also(ex04.numbers, "ORDER", lambda pid: status_line(pid, "NSpid")[::-1])
also(ex04.numbers, "OTHER", lambda pid: [pid, 1], lambda _: [])


@wrong(ex04.reap, "ALL_LEFT")
def reap_nobody() -> None:
    time.sleep(0)


@wrong(ex04.reap, "SOME_LEFT")
def reap_one() -> None:
    os.wait()


@wrong(ex04.reap, "SOME_LEFT", "-the dead alone")
def reap_the_dead() -> None:
    while os.waitpid(-1, os.WNOHANG)[0]:
        pass


TRAP = 'trap "exit 0" TERM; '
also(ex04.stop, "NOT_FIRST", box("bash", "-c", f"{TRAP}sleep 1000 & wait"))
also(ex04.stop, "OVER", box("true", cloneflags=CLONE_NEWPID))
also(ex04.stop, "DEAF", box("sleep", "1000", cloneflags=CLONE_NEWPID))
also(ex04.stop, "LATE", box("bash", "-c", f"{TRAP}sleep 1000; true", cloneflags=CLONE_NEWPID))
also(
    ex04.stop,
    "STATUS",
    box("bash", "-c", 'trap "exit 3" TERM; sleep 1000 & wait', cloneflags=CLONE_NEWPID),
)


def first_child() -> None:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)


def no_pid_namespace() -> None:
    unshare(CLONE_NEWNS)
    first_child()
    mount("proc", "/proc", "proc", 0, None)


def proc_that_spreads() -> None:
    unshare(CLONE_NEWNS | CLONE_NEWPID)
    first_child()
    mount("proc", "/proc", "proc", 0, None)


def parent_that_returns() -> None:
    unshare(CLONE_NEWNS | CLONE_NEWPID)
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    if os.fork():
        os.wait()
    else:
        mount("proc", "/proc", "proc", 0, None)


def proc_of_nobody() -> None:
    unshare(CLONE_NEWNS | CLONE_NEWPID)
    first_child()
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    umount2("/proc", MNT_DETACH)
    mount("tmpfs", "/proc", "tmpfs", 0, None)


also(ex04.view, "NO_UNMOUNT", ("a", ex04.view.model))
also(ex04.view, "NO_SHARE", ("c", ex04.view.model))
also(ex04.view, "NO_ORDER", ("d", ex04.view.model))
also(ex04.view, "SEES", ("b", mishaps.sandbox), ("B", mishaps.sandbox_without_the_old_proc))
also(ex04.view, "NOBODY", ("b", proc_of_nobody))
also(ex04.view, "NOT_FIRST", ("b", no_pid_namespace))
also(ex04.view, "BOTH", ("b", parent_that_returns))
also(ex04.view, "LEAKED", ("b", proc_that_spreads))


# --- V0.5 --------------------------------------------------------------------------------------


def write_maps(**files: str) -> None:
    for name, text in files.items():
        Path(f"/proc/self/{name}").write_text(text)


also(ex05.root, "OUTSIDE", os.getuid, lambda: os.setuid(0))
also(ex05.root, "OUTSIDE", lambda: write_maps(uid_map="0 1000 1"))


@wrong(ex05.root, "NO_USER")
def move_only() -> None:
    unshare(CLONE_NEWUSER)


@wrong(ex05.root, "NO_GROUP")
def map_the_user_only() -> None:
    unshare(CLONE_NEWUSER)
    write_maps(uid_map="0 1000 1", setgroups="deny")


@wrong(ex05.root, "NOT_ROOT")
def map_the_same() -> None:
    unshare(CLONE_NEWUSER)
    write_maps(uid_map="1000 1000 1", setgroups="deny", gid_map="100 100 1")


@wrong(ex05.root, "NOT_ROOT", "-the group")
def map_the_group_elsewhere() -> None:
    unshare(CLONE_NEWUSER)
    write_maps(uid_map="0 1000 1", setgroups="deny", gid_map="100 100 1")


@wrong(ex05.root, "NOT_YOURS", "-asked too late")
def ask_too_late() -> None:
    unshare(CLONE_NEWUSER)
    write_maps(uid_map=f"0 {os.getuid()} 1")


@wrong(ex05.root, "NOT_YOURS", "-columns exchanged")
def map_the_wrong_way_round() -> None:
    unshare(CLONE_NEWUSER)
    write_maps(uid_map="1000 0 1")


@wrong(ex05.root, "NOT_YOURS", "-many")
def map_many() -> None:
    unshare(CLONE_NEWUSER)
    write_maps(uid_map="0 1000 65536")


@wrong(ex05.root, "NOT_YOURS", "-the user's number for the group")
def map_the_user_twice() -> None:
    unshare(CLONE_NEWUSER)
    write_maps(uid_map="0 1000 1", setgroups="deny", gid_map="0 1000 1")


@wrong(ex05.root, "SETGROUPS")
def promise_nothing() -> None:
    unshare(CLONE_NEWUSER)
    write_maps(uid_map="0 1000 1", gid_map="0 100 1")


@wrong(ex05.root, "SETGROUPS", "-the group first")
def map_the_group_first() -> None:
    unshare(CLONE_NEWUSER)
    write_maps(gid_map="0 100 1")


@wrong(ex05.root, "TWICE")
def write_twice() -> None:
    unshare(CLONE_NEWUSER)
    write_maps(uid_map="1000 1000 1")
    write_maps(uid_map="0 1000 1")


@wrong(ex05.root, "BAD_LINE")
def map_without_a_count() -> None:
    unshare(CLONE_NEWUSER)
    write_maps(uid_map="0 1000")


@wrong(ex05.root, "BAD_LINE", "-setgroups")
def promise_gibberish() -> None:
    unshare(CLONE_NEWUSER)
    write_maps(setgroups="no")


NEEDED = ("CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID")
also(ex05.caps, "NOT_NAMES", "CAP_CHOWN", {0: 1}, (0, 10))
also(ex05.caps, "UNKNOWN", ("CAP_PORT",), [*NEEDED, "NET_BIND"])
also(ex05.caps, "NO_OWNER", (), NEEDED[1:], ("CAP_SYS_ADMIN",))
also(ex05.caps, "NO_PORT", ("CAP_CHOWN",), {*NEEDED} - {"CAP_NET_BIND_SERVICE"})
also(ex05.caps, "STILL_ROOT", {*NEEDED} - {"CAP_SETGID"}, {*NEEDED} - {"CAP_SETUID"})
also(ex05.caps, "TOO_MANY", CAPABILITIES, [*NEEDED, "CAP_SYS_ADMIN"])

BIT = int(CLONE_NEWUSER)
ONE_BIT = {"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": BIT, "valueTwo": BIT}
REFUSE = {"action": "SCMP_ACT_ERRNO"}
NO_CLONE3 = {"names": ["clone3"], "errnoRet": errno.ENOSYS} | REFUSE


def profile(*rules: object) -> dict[str, object]:
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(rules)}


def calls(*names: str, **fields: object) -> dict[str, object]:
    return {"names": list(names), "args": [ONE_BIT]} | REFUSE | fields


also(ex05.forbid, "NOT_A_PROFILE", "default", [calls("unshare")])
also(ex05.forbid, "TOO_STRICT", {"defaultAction": "SCMP_ACT_ERRNO"})
also(
    ex05.forbid,
    "TOO_STRICT",
    {"defaultAction": "SCMP_ACT_KILL_PROCESS"},
    profile(calls("write", args=[])),
)
also(ex05.forbid, "BROKEN", profile(calls("unshare", args=[])))
also(ex05.forbid, "BROKEN", profile(calls("unshare", "clone", args=[]), NO_CLONE3))
also(ex05.forbid, "BROKEN", profile(calls("unshare", "clone", args=[ONE_BIT | {"valueTwo": 0}])))
also(ex05.forbid, "KILLED", profile(calls("unshare", "clone", action="SCMP_ACT_KILL_PROCESS")))
also(ex05.forbid, "UNSHARE", profile(), profile(calls("clone"), NO_CLONE3))
also(ex05.forbid, "UNSHARE", profile(calls("unshare", args=[ONE_BIT | {"index": 1}])))
also(ex05.forbid, "TOGETHER", profile(calls("unshare", args=[ONE_BIT | {"op": "SCMP_CMP_EQ"}])))
also(ex05.forbid, "CLONE", profile(calls("unshare")), profile(calls("unshare"), NO_CLONE3))
also(
    ex05.forbid,
    "CLONE3",
    profile(calls("unshare", "clone")),
    profile(calls("unshare", "clone", "clone3")),
)
also(ex05.forbid, "THREADS", profile(calls("unshare", "clone"), calls("clone3", args=[])))
also(ex05.forbid, "ANSWER", profile(calls("unshare", "clone", errnoRet=errno.ENOSYS), NO_CLONE3))


def map_from_outside(*files: tuple[str, str]) -> Callable[[int], None]:
    def write(pid: int) -> None:
        for name, text in files:
            Path(f"/proc/{pid}/{name}").write_text(text)

    return write


UIDS, GIDS, DENY = ("uid_map", "0 1000 1"), ("gid_map", "0 100 1"), ("setgroups", "deny")
also(ex05.groups, "NO_ROOT", ("a", ex05.groups.model))
also(ex05.groups, "NO_NUMBER", ("b", ex05.groups.model))
also(ex05.groups, "NO_ORDER", ("c", ex05.groups.model))
also(ex05.groups, "READS", ("d", mishaps.write_maps), ("d", map_from_outside(GIDS, UIDS)))
also(ex05.groups, "READS", ("d", map_from_outside(UIDS, ("setgroups", "allow"), GIDS)))
also(ex05.groups, "NOT_ROOT", ("d", map_from_outside(UIDS)), ("d", map_from_outside(DENY, GIDS)))
also(ex05.groups, "TOO_LATE", ("d", map_from_outside(UIDS, GIDS, DENY)))


# --- V0.6 --------------------------------------------------------------------------------------

PRIVATE = MS_REC | MS_PRIVATE


@wrong(ex06.walls, "NOT_THERE")
def stay(root: str) -> None:
    mount(None, "/", None, PRIVATE, None)
    mount(root, root, None, MS_BIND, None)
    os.chdir(root)


@wrong(ex06.walls, "GETS_OUT")
def chroot_only(root: str) -> None:
    os.chroot(root)
    os.chdir("/")


@wrong(ex06.walls, "GETS_OUT", "-the old root on top")
def pivot_and_leave_it(root: str) -> None:
    mount(None, "/", None, PRIVATE, None)
    mount(root, root, None, MS_BIND, None)
    os.chdir(root)
    pivot_root(".", ".")


@wrong(ex06.walls, "OLD_ROOT")
def pivot_into_a_directory(root: str) -> None:
    mount(None, "/", None, PRIVATE, None)
    mount(root, root, None, MS_BIND, None)
    os.chdir(root)
    pivot_root(".", "empty")


@wrong(ex06.walls, "NO_MOUNT")
def pivot_to_a_directory(root: str) -> None:
    mount(None, "/", None, PRIVATE, None)
    os.chdir(root)
    pivot_root(".", ".")


@wrong(ex06.walls, "SHARED")
def pivot_a_shared_mount(root: str) -> None:
    mount(root, root, None, MS_BIND, None)
    os.chdir(root)
    pivot_root(".", ".")


also(ex06.null, "MISSING", lambda dev: os.mknod(f"{dev}/zero"), os.listdir)
also(ex06.null, "REGULAR", lambda dev: os.mknod(f"{dev}/null"))
also(
    ex06.null,
    "NUMBERS",
    lambda dev: os.mknod(f"{dev}/null", 0o020666, os.makedev(1, 5)),
    lambda dev: os.mknod(f"{dev}/null", 0o020666, os.makedev(3, 1)),
)
also(ex06.null, "MODE", lambda dev: os.mknod(f"{dev}/null", 0o020666, os.makedev(1, 3)))


@wrong(ex06.volume, "NOT_SHOWN")
def look_away(source: str, target: str) -> None:
    assert source != target
    mount(None, target, None, MS_BIND | MS_REMOUNT | MS_RDONLY, None)


@wrong(ex06.volume, "WRITABLE")
def bind_read_only(source: str, target: str) -> None:
    mount(source, target, None, MS_BIND | MS_RDONLY, None)


@wrong(ex06.volume, "BOTH")
def remount_the_file_system(source: str, target: str) -> None:
    mount(source, target, None, MS_BIND, None)
    mount(None, target, None, MS_REMOUNT | MS_RDONLY, None)


also(ex06.leak, "NO_SLAVE", ("a", ex06.leak.model))
also(ex06.leak, "NO_REC", ("b", ex06.leak.model))
also(ex06.leak, "NO_CHROOT", ("d", ex06.leak.model))
also(ex06.leak, "OLD_ROOT", ("c", mishaps.move_in), ("C", mishaps.move_in_and_chroot))
also(ex06.leak, "NOT_THERE", ("c", stay))


# --- V0.7 --------------------------------------------------------------------------------------


@wrong(ex07.union, "NOT_THERE")
def one_layer(layers: list[str], upper: str, work: str, place: str) -> None:
    mount("overlay", place, "overlay", 0, f"lowerdir={layers[0]},upperdir={upper},workdir={work}")


@wrong(ex07.union, "ORDER")
def bottom_first(layers: list[str], upper: str, work: str, place: str) -> None:
    lower = ":".join(reversed(layers))
    mount("overlay", place, "overlay", 0, f"lowerdir={lower},upperdir={upper},workdir={work}")


@wrong(ex07.union, "READ_ONLY")
def only_read(layers: list[str], upper: str, work: str, place: str) -> None:
    assert upper != work
    mount("overlay", place, "overlay", 0, f"lowerdir={':'.join(layers)}")


@wrong(ex07.union, "ELSEWHERE")
def into_a_layer(layers: list[str], upper: str, work: str, place: str) -> None:
    assert upper
    options = f"lowerdir={layers[1]},upperdir={layers[0]},workdir={work}"
    mount("overlay", place, "overlay", 0, options)


@wrong(ex07.union, "OPTIONS")
def without_work(layers: list[str], upper: str, work: str, place: str) -> None:
    assert work
    mount("overlay", place, "overlay", 0, f"lowerdir={':'.join(layers)},upperdir={upper}")


@wrong(ex07.who, "ORDER")
def the_lowest(layers: list[str], name: str) -> str | None:
    found = [layer for layer in layers if os.path.lexists(f"{layer}/{name}")]
    return found[-1] if found else None


@wrong(ex07.who, "WHITEOUT")
def whoever_has_it(layers: list[str], name: str) -> str | None:
    found = [layer for layer in layers if os.path.lexists(f"{layer}/{name}")]
    return found[0] if found else None


@wrong(ex07.who, "WHITEOUT", "-the one below")
def skip_whiteouts(layers: list[str], name: str) -> str | None:
    found = [layer for layer in layers if os.path.isfile(f"{layer}/{name}")]
    return found[0] if found else None


also(ex07.who, "OTHER", lambda _, name: name, lambda _, __: 7)


def cover(upper: str) -> None:
    os.mknod(f"{upper}/secret")


def hide_all(upper: str) -> None:
    for name in ("secret", "other"):
        os.mknod(f"{upper}/{name}", 0o020000, os.makedev(0, 0))


also(ex07.secret, "NO_MODE", ("a", ex07.secret.model))
also(ex07.secret, "NO_NAME", ("b", ex07.secret.model))
also(ex07.secret, "NO_CONTENT", ("c", ex07.secret.model))
also(ex07.secret, "SHOWN", ("d", mishaps.hide), ("D", mishaps.hide_by_content))
also(ex07.secret, "COVERED", ("d", cover))
also(ex07.secret, "TOO_MUCH", ("d", hide_all))


# --- V0.8 --------------------------------------------------------------------------------------

also(ex08.fits, "NOT_LIMITS", "64m", 64 << 20)
also(ex08.fits, "KILLED", Limits(memory="12m", memory_swap="12m"))
also(ex08.fits, "LIVES", Limits(memory="1g"), Limits(pids=50))
also(ex08.quarter, "NOT_LIMITS", 0.25)
also(ex08.quarter, "NO_QUOTA", Limits(cpu_weight=25), Limits(pids=5), Limits(cpuset="0"))
also(ex08.quarter, "OTHER", Limits(cpus=4), Limits(cpus=0.2))
also(ex08.enter, "OUTSIDE", lambda groups: os.listdir(groups[0]), len)


@wrong(ex08.enter, "SOMEBODY")
def send_the_parent(groups: list[str]) -> None:
    for each in groups:
        with open(f"{each}/cgroup.procs", "w") as file:
            file.write(str(os.getppid()))


def launch_outside(
    _: list[str], program: Callable[[], object], ready: Callable[[], object]
) -> None:
    if os.fork() == 0:
        program()
    ready()


also(ex08.late, "NO_WAIT", ("a", ex08.late.model))
also(ex08.late, "NO_NEWLINE", ("b", ex08.late.model))
also(ex08.late, "NO_TWICE", ("c", ex08.late.model))
also(ex08.late, "CHILD_OUT", ("d", mishaps.launch), ("D", mishaps.launch_later))
also(ex08.late, "OUTSIDE", ("d", launch_outside))


# --- V0.9 --------------------------------------------------------------------------------------


def laid(pid: int, ours: str, theirs: str, *up: str) -> None:
    """A cable to a container, whose ends have these addresses; `up` names those that are up."""
    within = ["nsenter", "-t", str(pid), "-n"]
    _ip("link", "add", "to-box", "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    for where, name, address in (([], "to-box", ours), (within, "eth0", theirs)):
        if address:
            _ip("addr", "add", address, "dev", name, within=where)
        if name in up:
            _ip("link", "set", name, "up", within=where)


def _ip(*words: str, within: Sequence[str] = ()) -> None:
    subprocess.run([*within, "ip", *words], check=True)


BOTH = ("to-box", "eth0")


def no_page(pid: int) -> None:
    """Both ends of a cable are here, and the container's own eth0 leads nowhere."""
    laid(pid, "", "10.9.0.2/24", *BOTH)
    _ip("link", "add", "dummy", "type", "bridge")
    _ip("addr", "add", "10.9.0.1/24", "dev", "dummy")
    _ip("link", "set", "dummy", "up")


def longest_text(routes: list[tuple[str, str]], address: str) -> str | None:
    """Compares text, as "10.9.7" is the beginning of "10.9.71.1"."""
    ordered = sorted(routes, key=lambda each: -int(each[0].partition("/")[2] or 0))
    for to, link in ordered:
        kept = int(to.partition("/")[2] or 0) // 8
        if address.startswith(".".join(to.split(".")[:kept]) if kept else ""):
            return link
    return None


def any_link(routes: list[tuple[str, str]], address: str) -> str | None:
    return solutions.route(routes, address) or routes[0][1]


def first_that_fits(routes: list[tuple[str, str]], address: str) -> str | None:
    return next((r[1] for r in routes if solutions.route([r], address)), None)


RULE = "fib daddr type local tcp dport 8080 dnat to 10.9.0.2:80"


def chains(rule: str, *hooks: str) -> str:
    priorities = {"prerouting": "dstnat", "output": "-100"}
    lines = [
        f"chain {h} {{\ntype nat hook {h} priority {priorities[h]};\n{rule}\n}}" for h in hooks
    ]
    return "\n".join(["table ip lab {", *lines, "}\n"])


also(ex09.connect, "NO_CABLE", lambda _: _ip("link", "set", "lo", "up"))
also(ex09.connect, "NO_ADDRESS", lambda pid: laid(pid, "10.9.0.1/24", "", *BOTH))
also(ex09.connect, "NO_ADDRESS", lambda pid: laid(pid, "10.9.0.1/24", "10.9.0.2/32", *BOTH))
also(ex09.connect, "DOWN", lambda pid: laid(pid, "10.9.0.1/24", "10.9.0.2/24", "eth0"))
also(ex09.connect, "DOWN", lambda pid: laid(pid, "10.9.0.1/24", "10.9.0.2/24", "to-box"))
also(ex09.connect, "NO_PAGE", no_page)
also(ex09.route, "SHORTER", first_that_fits)
also(ex09.route, "NO_WAY", any_link)
also(ex09.route, "OTHER", longest_text, lambda _, address: address)
also(ex09.publish, "NO_TEXT", 8080)
also(ex09.publish, "REFUSED", "dnat to 10.9.0.2:80\n")
also(ex09.publish, "NOT_FROM_FAR", chains(RULE, "output"), chains(RULE))
also(ex09.publish, "NOT_FROM_HERE", chains(RULE, "prerouting"))
also(ex09.publish, "TOO_MUCH", chains("tcp dport 8080 dnat to 10.9.0.2:80", "prerouting", "output"))
also(ex09.silent, "NO_ROUTE", ("a", ex09.silent.model))
also(ex09.silent, "NO_MASK", ("b", ex09.silent.model))
also(ex09.silent, "NO_NAT", ("d", ex09.silent.model))
also(ex09.silent, "SILENT", ("c", mishaps.way_out))
also(ex09.silent, "NO_HOST", ("c", lambda pid: laid(pid, "10.9.0.1/24", "", *BOTH)))


# --- V1.0 --------------------------------------------------------------------------------------


def login_without_a_session(terminal: int) -> None:
    for fd in range(3):
        os.dup2(terminal, fd)


def login_without_a_terminal(terminal: int) -> None:
    os.setsid()
    login_without_a_session(terminal)


def login_without_streams(terminal: int) -> None:
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def entrypoint_that_waits(server: Callable[[], object]) -> None:
    if child := os.fork():
        os.waitpid(child, 0)
    else:
        server()


also(ex10.status, "NEGATIVE", os.waitstatus_to_exitcode)
also(ex10.status, "KILLED_IS_ZERO", lambda raw: raw >> 8)
also(ex10.status, "OTHER", lambda raw: raw >> 8 or (128 + raw if raw else 0), abs)
also(ex10.login, "NO_SESSION", login_without_a_session, str)
also(ex10.login, "NO_CONTROL", login_without_a_terminal)
also(ex10.login, "NO_STREAMS", login_without_streams)
also(ex10.gone, "NO_HANGUP", ("a", ex10.gone.model))
also(ex10.gone, "NO_FORK", ("b", ex10.gone.model))
also(ex10.gone, "NO_INPUT", ("c", ex10.gone.model))
also(ex10.gone, "GONE", ("d", mishaps.entrypoint), ("D", mishaps.entrypoint_forked_twice))
also(ex10.gone, "SILENT", ("d", lambda _: os.read(os.pipe()[0], 1)))
also(ex10.gone, "DEAF", ("d", entrypoint_that_waits))


# --- What is said ------------------------------------------------------------------------------


def diagnoses(exercise: Exercise) -> dict[str, tuple[Words, ...]]:
    """What an exercise can find wrong, by name."""
    return {name: value for name, value in vars(type(exercise)).items() if words(value)}


def words(value: object) -> bool:
    """Whether it is a text; an empty tuple is none (Python 3.13 adds such to each class)."""
    return (
        isinstance(value, tuple) and bool(value) and all(isinstance(each, Words) for each in value)
    )


def says(template: Words, said: object) -> bool:
    """Whether `said` is `template` with its braces filled in, in both languages."""
    assert isinstance(said, Words)
    pairs = ((template.zh, said.zh), (template.en, said.en))
    return all(re.fullmatch(pattern(form), text, re.DOTALL) for form, text in pairs)


def pattern(form: str) -> str:
    """Of what a form for str.format may become."""
    parts = (part.replace("{{", "{").replace("}}", "}") for part in FIELD.split(form))
    return ".+".join(map(re.escape, parts))


@each_exercise
def test_its_solution_is_right(exercise: Exercise) -> None:
    verdict = exercise.check(exercise.answer())
    assert verdict.outcome is Outcome.CORRECT, str(verdict)
    assert progress.solved() == {exercise.name}


def leave_a_copy(root: str) -> None:
    script = "rm secret.txt; cp hello.txt old; echo mine >> hello.txt"
    subprocess.run(["sh", "-c", script], cwd=root, check=True)


def view_of_names(pid: int) -> object:
    own = {name: link for name, link in links(pid).items() if not name.endswith("_for_children")}
    return {name: 1 for name in own if own[name] != links("self")[name]}.keys()


OTHERWISE = [
    (ex00.layers, leave_a_copy),
    (ex02.kinds, view_of_names),
    (ex02.capability, {"SYS_ADMIN"}),
    (ex02.capability, "sys_admin"),
    (ex02b.fork, "sleep 1000 & sleep 1001 &"),
]


def join_if_it_lives(pid: int) -> None:
    if not os.path.exists(f"/proc/{pid}/ns/uts"):
        os._exit(1)
    join_and_raise(pid)


def proc_private_and_slave() -> None:
    mount(None, "/", None, MS_REC | MS_SLAVE, None)
    mount("proc", "/proc", "proc", 0, None)


OTHERWISE += [
    (ex02.stray, ("b", join_if_it_lives)),
    (ex03.lost, ["C ", proc_private_and_slave]),
    (ex05.groups, ("d", map_from_outside(DENY, GIDS, UIDS))),
]


def called(thing: object) -> str:
    """A name that is the same in each process: an address is not."""
    if isinstance(thing, tuple | list):
        return "-".join(map(called, thing))
    return str(getattr(thing, "name", getattr(thing, "__name__", thing)))


@pytest.mark.parametrize(("exercise", "answer"), OTHERWISE, ids=called)
def test_what_is_right_in_another_way_is_right(exercise: Exercise, answer: object) -> None:
    verdict = exercise.check(answer)
    assert verdict.outcome is Outcome.CORRECT, str(verdict)


def test_what_cannot_be_sent_back_is_named() -> None:
    verdict = ex02.kinds.check(lambda pid: (kind for kind in [pid]))
    assert "generator" in str(verdict.parts[0])
    assert "pickle" not in str(verdict)


def test_a_number_among_the_words_is_named() -> None:
    with pytest.raises(TypeError, match="argv must be text, not 25835"):
        Container(("kill", 25835))  # type: ignore[arg-type]


# Answers that never come to an end, and what is not to be waited for so long.
ENDLESS = {
    ("ex02b.fork", "WAITED"): ((v02b_unshare, "SECONDS"),),
    ("ex04.stop", "DEAF"): ((v04_pid_proc, "_READY"), (v04_pid_proc, "_GRACE")),
    ("ex04.stop", "LATE"): ((v04_pid_proc, "_GRACE"),),
}


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_a_wrong_answer_is_told_apart(case: Wrong, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ENDLESS.get((case.exercise.name, case.diagnosis), ()):
        monkeypatch.setattr(module, name, 0.5)
    verdict = case.exercise.check(case.answer)
    assert verdict.outcome is Outcome.INCORRECT, str(verdict)
    found, *hint = diagnoses(case.exercise)[case.diagnosis]
    assert says(found, verdict.parts[0]), str(verdict)
    assert progress.solved() == set()
    given = [case.exercise.hint() for _ in range(4)]
    assert not hint or any(says(hint[0], card.parts[0]) for card in given)


@each_exercise
def test_every_diagnosis_is_reached_by_some_answer(exercise: Exercise) -> None:
    reached = [case.diagnosis for case in WRONG if case.exercise is exercise]
    assert set(reached) == set(diagnoses(exercise)) - {"hints"}
    assert len(reached) >= 2


def unanswered() -> None: ...


def documented() -> None:
    """Mount something, one day."""


def nothing() -> None:
    return


@each_exercise
def test_nothing_handed_in_is_no_mistake(exercise: Exercise) -> None:
    for answer in (..., None, unanswered, documented, nothing, lambda: ...):
        verdict = exercise.check(answer)
        assert verdict.outcome is Outcome.NOT_ATTEMPTED, str(verdict)
        assert exercise.asked() in verdict.parts
    assert exercise.check().outcome is Outcome.NOT_ATTEMPTED
    assert progress.solved() == set()


@each_exercise
def test_an_answer_of_the_wrong_kind_is_only_wrong(exercise: Exercise) -> None:
    for answer in (object(), 3.5, [], {1: 2}, "text", Container, box, Ellipsis.__class__):
        verdict = exercise.check(answer)
        assert isinstance(verdict, Verdict)
        assert verdict.outcome is Outcome.INCORRECT, str(verdict)


@each_exercise
def test_it_says_all_in_both_languages(exercise: Exercise) -> None:
    hints = [hint() if callable(hint) else hint for hint in exercise.hints]
    assert len(hints) >= 2
    for each in (exercise.title, exercise.asked(), exercise.why, *hints):
        assert re.search(r"[\u4e00-\u9fff]", each.zh)
        assert not re.search(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]", each.en)
        assert each.zh.count("`") == each.en.count("`")


SOURCES = sorted((ROOT / "notebooks" / "source").glob("*.md"))
OF_VERSION = {lesson.title: lesson for lesson in LESSONS}


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.title)
def test_a_lesson_has_at_least_three(lesson: Lesson) -> None:
    assert len(lesson.exercises()) >= 3


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.stem.split("_")[0] in OF_VERSION], ids=lambda path: path.stem
)
def test_a_notebook_asks_all_of_its_exercises_in_order(path: Path) -> None:
    asked = re.findall(r"^(ex\w+\.\w+)\.check\(", path.read_text(), re.MULTILINE)
    lesson = OF_VERSION[path.stem.split("_")[0]]
    assert asked == [exercise.name for exercise in lesson.exercises()]


# --- A broken container ------------------------------------------------------------------------

BROKEN = [exercise for exercise in EXERCISES if isinstance(exercise, Broken)]
each_broken = pytest.mark.parametrize("exercise", BROKEN, ids=lambda e: e.name)
SICK = {  # what one sees of it: the last lines of facts()
    "ex02.stray": "exec 2  ⇒  the program ran, host: patched",
    "ex03.lost": "/proc outside: lost",
    "ex04.view": "getpid()     1\n    ls /proc     1 2 3",
    "ex05.groups": "inside  0:0, setgroups(0, NULL) = 0, can read",
    "ex06.leak": "old root  /old",
    "ex07.secret": "cat secret  base",
    "ex08.late": "program  inside\n    child    outside",
    "ex09.silent": "10.9.0.1      host\n    192.168.50.2  timed out",
    "ex10.gone": "status   Exited (0)\n    request  no answer\n    stop     -",
}


@each_broken
def test_the_symptom_is_the_broken_programs_own(
    exercise: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_LANG", "en")
    assert SICK[exercise.name] in str(exercise.show())
    monkeypatch.setattr(type(exercise), "broken", staticmethod(exercise.model))
    assert SICK[exercise.name] not in str(exercise.show())


FORWARDS = """
with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
    file.write("1")
from labkit.notebook.exercises import mishaps, wires
print(wires.silent(mishaps.way_out)["far"])
"""


def test_no_answer_comes_although_the_machine_itself_is_a_router() -> None:
    """As Docker makes it; a new network namespace begins with the machine's setting."""
    alone = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    done = subprocess.run([*alone, sys.executable, "-c", FORWARDS], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("timed out\n", "")


@each_broken
def test_a_symptom_is_told_in_both_languages(exercise: Broken) -> None:
    shown = str(exercise.show())
    assert len(exercise.suspects) >= 3
    for each in (exercise.symptom, *(suspect.words for suspect in exercise.suspects)):
        assert each.zh in shown
        assert each.en in shown
        assert each.zh.count("`") == each.en.count("`")


@each_broken
def test_exactly_one_suspect_is_the_cause(exercise: Broken) -> None:
    letters = "abcdefgh"[: len(exercise.suspects)]
    right = [n for n in letters if exercise.check(n, exercise.model).outcome is Outcome.CORRECT]
    assert right == [exercise.answer()[0]]


@each_broken
@pytest.mark.parametrize(
    ("cause", "function", "said"),
    [
        ("z", print, "There is no choice 'z'."),
        (3, print, "There is no choice '3'."),
        ("right", ..., "This is the cause, but there is no program yet."),
        ("right", None, "This is the cause, but there is no program yet."),
        ("right", "text", "The check wants a function; it was given str."),
    ],
)
def test_half_an_answer_is_told_apart(
    exercise: Broken, cause: object, function: object, said: str
) -> None:
    right, _ = exercise.answer()
    verdict = exercise.check(right if cause == "right" else cause, function)
    assert verdict.outcome is Outcome.INCORRECT
    assert verdict.parts[0].en == said  # type: ignore[union-attr]


@each_broken
def test_a_cause_alone_or_none_is_no_answer(exercise: Broken) -> None:
    assert "wants two things" in exercise.check("a").parts[0].en  # type: ignore[union-attr]
    for function in (exercise.broken, exercise.model, ...):
        assert exercise.check(..., function).outcome is Outcome.NOT_ATTEMPTED


def programs(code: str) -> dict[str, str]:
    """The functions in `code`, by name, without comments and docstrings."""
    found = [node for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
    for node in found:
        if ast.get_docstring(node):
            del node.body[0]
    return {node.name: ast.unparse(node) for node in found}


@pytest.mark.parametrize(
    "lesson",
    [ex02, ex03, ex04, ex05, ex06, ex07, ex08, ex09, ex10],
    ids=lambda lesson: lesson.title,
)
def test_a_lesson_shows_a_broken_container_and_has_its_program_mended(lesson: Lesson) -> None:
    """The program in the cell is the one that the symptom comes from."""
    (source,) = (path for path in SOURCES if path.stem.split("_")[0] == lesson.title)
    cells = re.findall(r"^```python.*?\n(.*?)^```$", source.read_text(), re.MULTILINE | re.DOTALL)
    for exercise in (each for each in BROKEN if each in lesson.exercises()):
        (at,) = (n for n, cell in enumerate(cells) if f"{exercise.name}.check(" in cell)
        assert cells[at - 1] == f"{exercise.name}.show()\n"
        name, broken = exercise.broken.__name__, inspect.getsource(exercise.broken)
        assert programs(cells[at])[name] == programs(broken)[name]
        assert cells[at].endswith(f"{exercise.name}.check(cause, {name})\n")
        break
    else:
        pytest.fail("no broken container")


def test_a_sentence_about_several_trials_holds_in_both_languages() -> None:
    verdict = ex05.forbid.check(profile(calls("unshare", "clone", "clone3", args=[])))
    found, *_ = verdict.parts
    assert isinstance(found, Words)
    assert found.zh == (
        "不要新用户命名空间的，也被禁止了：`clone(0)`、`unshare(CLONE_NEWUTS)`、新建线程。"
    )
    assert found.en == (
        "The profile also forbids calls that do not ask for a user namespace: `clone(0)`, "
        "`unshare(CLONE_NEWUTS)`, starting a thread."
    )


def test_a_step_says_which_names_it_may_use() -> None:
    """Those of its model's calls, and not a method that happens to be called like one."""
    assert "such as `unshare`, `sethostname`; so are `os` and `sys`" in ex02.rename.asked().en
    assert "如 `unshare`、`sethostname`；`os` 和 `sys` 也是" in ex02.rename.asked().zh
    assert ex00.layers.asked().en.endswith("`os` and `sys` are at hand.")
    assert ex01.inode.asked() == ex01.inode.task


FORWARDING = """
from labkit.notebook.exercises import mishaps, wires
from labkit.notebook.lessons import v09
forward = "/proc/sys/net/ipv4/ip_forward"
open(forward, "w").write("1")
seen = wires.silent(mishaps.way_out)
print(seen["host"], seen["far"], sep=", ")
open(forward, "w").write("1")
v09._boot()
print(open(forward).read().strip())
"""


def test_v09_begins_as_linux_does_beside_a_running_docker() -> None:
    """Docker lets the machine forward, and each new network takes that over."""
    words = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    words += [sys.executable, "-c", FORWARDING]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["host, timed out", "0"], done.stderr
