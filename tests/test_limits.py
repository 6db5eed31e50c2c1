"""Who a container's program is and what it may do: the kernel's own word for each field."""

import errno
import hashlib
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import pytest
from conftest import ROOT

from labkit import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    Clone,
    Container,
    Finished,
    run,
    start,
)
from labkit.docker.rights import DEFAULT as DOCKERS
from labkit.linux import seccomp_filter
from labkit.linux.seccomp_filter import numbers

STATUS = ("sh", "-c", "id -u; cat /proc/self/uid_map /proc/self/setgroups; cat /proc/self/status")
MAPPED = Container(
    STATUS, cloneflags=CLONE_NEWUSER, uid_map=[(0, 100000, 65536)], gid_map=[(0, 100000, 65536)]
)


def status(box: Container) -> dict[str, str]:
    lines = run(Container(("cat", "/proc/self/status"), **only(box))).stdout.splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def only(box: Container) -> dict[str, Any]:
    return {name: value for name, value in box.fields_on().items() if name != "argv"}


def test_rootless_without_a_single_capability(nobody: list[str]) -> None:
    """uid 65534 is root of eight namespaces of its own, and may mount in there."""
    script = """
from labkit import *
from labkit.linux.confinement import capabilities
assert not any(capabilities().permitted + capabilities().bounding)
line = "id -u; uname -n; cat /proc/self/uid_map; mount -t tmpfs box /tmp && echo $$"
box = Container(("sh", "-c", line),
                cloneflags=Clone(sum(Clone)), rootless=True, hostname="box", proc=True)
done = run(box)
print(done.stdout, done.stderr)
with start(Container(("sleep", "100"), cloneflags=CLONE_NEWPID, rootless=True)) as running:
    print(running.exec(("id", "-u")).stdout)
"""
    done = subprocess.run([*nobody, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["0", "box", "0", "65534", "1", "1", "0"], done.stderr


def test_a_map_makes_root_of_somebody_else() -> None:
    lines = run(MAPPED).stdout.splitlines()
    assert lines[0] == "0"
    assert lines[1].split() == ["0", "100000", "65536"]
    assert lines[2] == "deny"
    with start(Container(("sleep", "100"), **only(MAPPED))) as running:
        with open(f"/proc/{running.pid}/status") as file:
            assert "Uid:\t100000\t100000\t100000\t100000\n" in file.readlines()
        assert running.exec(("id", "-u")).stdout == "0\n"


def test_capabilities_are_those_that_are_kept() -> None:
    box = Container(("true",), capabilities=("chown", "CAP_KILL"), ambient_caps=("KILL",))
    found = status(box)
    assert [int(found[f"Cap{name}"], 16) for name in ("Bnd", "Prm", "Eff", "Inh", "Amb")] == [
        0x21,
        0x21,
        0x21,
        0x20,
        0x20,
    ]
    assert status(Container(("true",), capabilities=(), rootless=True))["CapBnd"] == "0" * 16


def test_the_program_is_another_user() -> None:
    box = Container(("true",), user=(5, 6, [7, 8]), capabilities=("KILL", "CHOWN"))
    found = status(replace(box, ambient_caps=("KILL",)))
    assert [found[name].split() for name in ("Uid", "Gid", "Groups")] == [
        ["5"] * 4, ["6"] * 4, ["7", "8"]
    ]  # fmt: skip
    assert [int(found[f"Cap{name}"], 16) for name in ("Bnd", "Prm", "Eff", "Inh", "Amb")] == [
        0x21, 0x20, 0x20, 0x20, 0x20
    ]  # fmt: skip
    assert [int(status(box)[f"Cap{name}"], 16) for name in ("Bnd", "Prm", "Amb")] == [0x21, 0, 0]
    assert Container.from_json(box.to_json()) == box
    inside = status(replace(MAPPED, argv=("true",), user=(1000, 1000, ())))
    assert inside["Uid"].split() == ["1000"] * 4


@pytest.mark.parametrize(
    "user",
    [5, "root", (5, 6), (5, 6, 7), (-1, 0, ()), (0, 0, (1 << 32,)), (True, 0, ()), (0, 0, "ab")],
)
def test_a_user_is_numbers(user: Any) -> None:  # noqa: ANN401 - no user
    with pytest.raises(ValueError, match="supplementary groups"):
        Container(("true",), user=user)
    with pytest.raises(ValueError, match="65536"):
        Container(("true",), user=(0, 0, [0] * 65537))


def test_exec_is_as_limited_as_its_container() -> None:
    box = Container(("sleep", "100"), capabilities=("KILL",), no_new_privs=True, seccomp="default")
    with start(box) as running:
        lines = running.exec(("cat", "/proc/self/status")).stdout
    assert "CapBnd:\t0000000000000020\n" in lines
    assert "NoNewPrivs:\t1\n" in lines
    assert "Seccomp:\t2\n" in lines


def test_a_user_without_privileges_may_filter_with_no_new_privs(nobody: list[str]) -> None:
    script = """
from labkit import *
box = Container(("cat", "/proc/self/status"), seccomp="default")
try:
    run(box)
except PermissionError as error:
    print("refused")
from dataclasses import replace
print("Seccomp:\\t2" in run(replace(box, no_new_privs=True)).stdout)
"""
    done = subprocess.run([*nobody, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["refused", "True"], done.stderr


def test_clocks_are_ahead() -> None:
    """Already before execve, which takes a process in since Linux 6.2 only."""
    ahead = {"boottime": 1_000_000, "monotonic": 5000}
    box = Container(("cat", "/proc/uptime"), cloneflags=CLONE_NEWTIME, time_offsets=ahead)
    done = run(box)
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert abs(float(done.stdout.split()[0]) - now - 1_000_000) < 60
    at = next(n for n, line in enumerate(done.trace) if "time_for_children" in line)
    assert re.fullmatch(r"setns\(\d+, CLONE_NEWTIME\) = 0", done.trace[at + 1])
    link = run(Container(("readlink", "/proc/self/ns/time"), **only(box)))
    assert link.stdout == f"time:[{link.inodes['time']}]\n"


def test_who_is_mapped_to_the_hosts_root_still_owns_its_files() -> None:
    """README.md, V0.5 and Container say so. A file of /proc/sys: in a throw-away UTS namespace."""
    host = os.uname().nodename
    script = ("sh", "-c", "echo X >/proc/sys/kernel/hostname; cat /proc/sys/kernel/hostname")
    limits = Container(
        script, cloneflags=CLONE_NEWUTS, capabilities=(), no_new_privs=True, seccomp="default"
    )
    mapped = replace(MAPPED, cloneflags=CLONE_NEWUSER | CLONE_NEWUTS, argv=script)
    found = [
        run(replace(limits, rootless=True)),
        run(replace(mapped, capabilities=(), no_new_privs=True, seccomp="default")),
        run(replace(limits, user=(65534, 65534, ()))),
    ]
    assert [done.stdout.strip() for done in found] == ["X", host, host]
    assert ["denied" in done.stderr for done in found] == [False, True, True]
    assert os.uname().nodename == host
    readme = (ROOT / "README.md").read_text()
    lesson = (ROOT / "notebooks" / "source" / "v0.5_user.md").read_text()
    for text in (readme, lesson, str(Container.__doc__)):
        assert "/proc/sys" in text
        assert "subordinate IDs" in text
    for text in (readme, lesson):
        assert "从属号" in text


# --- seccomp ------------------------------------------------------------------------------------

PROBE = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.argtypes = [ctypes.c_long, *[ctypes.c_ulong] * 3]
for word in sys.argv[2:]:
    result = libc.syscall(int(sys.argv[1]), int(word), 0, 0)
    print(ctypes.get_errno() if result == -1 else "ok")
"""
NUMBER = numbers(os.uname().machine)
VALUES = [
    0,
    1,
    2,
    6,
    7,
    8,
    (1 << 32) - 1,
    1 << 32,
    (7 << 32) + 7,
    (7 << 32) + 8,
    (8 << 32) + 7,
    1 << 63,
]
MEANS: dict[str, Any] = {
    "SCMP_CMP_EQ": lambda a, v, _: a == v,
    "SCMP_CMP_NE": lambda a, v, _: a != v,
    "SCMP_CMP_LT": lambda a, v, _: a < v,
    "SCMP_CMP_LE": lambda a, v, _: a <= v,
    "SCMP_CMP_GT": lambda a, v, _: a > v,
    "SCMP_CMP_GE": lambda a, v, _: a >= v,
    "SCMP_CMP_MASKED_EQ": lambda a, mask, v: a & mask == v,
}


def profile(action: str, *tests: dict[str, Any], **more: int) -> dict[str, Any]:
    rule = {"names": ["getpid"], "action": action, "args": list(tests), **more}
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}


def entry(**more: object) -> dict[str, Any]:
    rule = {"names": ["getpid"], "action": "SCMP_ACT_ERRNO", **more}
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}


def condition(**more: object) -> dict[str, Any]:
    return {"index": 0, "op": "SCMP_CMP_EQ", "value": 1, **more}


def probe(given: dict[str, Any], *values: int) -> Finished:
    """getpid(2), which takes no arguments and minds none, with `values` as its first."""
    argv = (sys.executable, "-I", "-S", "-c", PROBE, str(NUMBER["getpid"]), *map(str, values))
    return run(Container(argv, seccomp=given))


@pytest.mark.parametrize("op", MEANS)
@pytest.mark.parametrize("value", [7, (7 << 32) + 7])
def test_arguments_are_compared_with_all_their_bits(op: str, value: int) -> None:
    second = value & 0x600000006
    test = {"index": 0, "op": op, "value": value, "valueTwo": second}
    done = probe(profile("SCMP_ACT_ERRNO", test, errnoRet=77), *VALUES)
    assert done.stdout.split() == ["77" if MEANS[op](v, value, second) else "ok" for v in VALUES]


@pytest.mark.parametrize(
    ("action", "returncode", "said"),
    [
        ("SCMP_ACT_ALLOW", 0, "ok"),
        ("SCMP_ACT_LOG", 0, "ok"),
        ("SCMP_ACT_ERRNO", 0, "1"),
        ("SCMP_ACT_TRACE", 0, "38"),  # nobody traces it
        ("SCMP_ACT_KILL", -31, ""),
        ("SCMP_ACT_KILL_PROCESS", -31, ""),
        ("SCMP_ACT_TRAP", -31, ""),
    ],
)
def test_each_action(action: str, returncode: int, said: str) -> None:
    done = probe(profile(action), 0)
    assert (done.returncode, done.stdout.strip()) == (returncode, said)


def test_dockers_profile_lets_programs_run_and_answers_enosys_to_clone3() -> None:
    box = Container(("unshare", "--uts", "true"), capabilities=("CHOWN",), seccomp="default")
    assert "Operation not permitted" in run(box).stderr
    asked = (sys.executable, "-I", "-S", "-c", PROBE, str(NUMBER["clone3"]), "0")
    assert run(Container(asked, capabilities=(), seccomp="default")).stdout == "38\n"
    for machine in ("x86_64", "aarch64"):
        assert 100 < len(seccomp_filter.assemble(seccomp_filter.default(), (), machine)) // 8 < 1000


# Docker's profile of Moby 29.8.2 beside that of 20.10, with the capabilities that Docker keeps.
CAME = [
    "cachestat", "fchmodat2", "futex_requeue", "futex_wait", "futex_wake", "getxattrat",
    "listmount", "listxattrat", "map_shadow_stack", "mseal", "name_to_handle_at", "pkey_alloc",
    "pkey_free", "pkey_mprotect", "process_vm_readv", "process_vm_writev", "removexattrat",
    "setxattrat", "statmount", "uretprobe",
]  # fmt: skip
WENT = ["io_uring_enter", "io_uring_register", "io_uring_setup"]
MOBY = "536529b665dd0972c37bfb569f5d4ac8a53592e7b00752bc39ff063ca9864c74"


def test_dockers_profile_is_mobys_own_file() -> None:
    folder = ROOT / "labkit" / "linux" / "profiles"
    assert hashlib.sha256((folder / "docker.json").read_bytes()).hexdigest() == MOBY
    assert MOBY in (folder / "NOTICE").read_text()


def test_the_numbers_of_all_calls_in_dockers_profile_are_known() -> None:
    """What is in neither table is of a 32-bit machine, or of one that is neither of the two."""
    named = {name for rule in seccomp_filter.default()["syscalls"] for name in rule["names"]}
    elsewhere = re.compile(
        r"(arm|riscv|s390)_.*|.*(32|64|64_64)|_llseek|_newselect|breakpoint|cacheflush|ipc|mmap2|recv"
        r"|send|set_tls|sigprocmask|sigreturn|socketcall|stime|swapcontext|sync_file_range2"
        r"|ugetrlimit|umount|waitpid"
    )
    tables = (numbers("x86_64"), numbers("aarch64"))
    unknown = {name for name in named if not any(name in table for table in tables)}
    assert {name for name in unknown if not elsewhere.fullmatch(name)} == set()
    assert [numbers("x86_64")[name] for name in ("uretprobe", *WENT)] == [335, 426, 427, 425]


def asked_within_dockers_profile(kept: tuple[str, ...], *calls: tuple[str, int]) -> list[int]:
    """The errno of each call with that first argument and no others, 0: it succeeded."""
    lines = (f"say({NUMBER[name]}, {first})" for name, first in calls)
    script = "\n".join((SAY, *lines))
    argv = (sys.executable, "-I", "-S", "-c", script)
    done = run(Container(argv, capabilities=kept, seccomp="default"))
    assert len(done.stdout.split()) == len(calls), done
    return [*map(int, done.stdout.split())]


SAY = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.argtypes = [ctypes.c_long, *[ctypes.c_ulong] * 6]
def say(number, first):
    done = libc.syscall(number, first & (1 << 64) - 1, 0, 0, 0, 0, 0)
    print(ctypes.get_errno() if done == -1 else 0, flush=True)
"""


def test_what_dockers_profile_allows_since_moby_20_10() -> None:
    """Each gets to the kernel, which has something else to say about such arguments than EPERM."""
    calls = [(name, -1) for name in CAME if name in NUMBER and name != "uretprobe"]
    assert len(calls) > 15
    found = asked_within_dockers_profile(DOCKERS, *calls)
    refused = [name for (name, _), said in zip(calls, found, strict=True) if said == errno.EPERM]
    assert refused == []


def test_what_dockers_profile_forbids_since_moby_20_10() -> None:
    """io_uring, and sockets of the kernel's cryptography (AF_ALG) and of virtual machines."""
    script = f"{SAY}\nsay({NUMBER['io_uring_setup']}, 0)"
    outside = run(Container((sys.executable, "-I", "-S", "-c", script)))
    assert int(outside.stdout) != errno.EPERM
    calls = [*((name, 0) for name in WENT), *(("socket", family) for family in (38, 40))]
    for kept in ((), DOCKERS):
        assert asked_within_dockers_profile(kept, *calls) == [errno.EPERM] * 5
    families = [("socket", family) for family in (1, 2, 16, 37, 39, 41)]  # type 0: none is made
    assert errno.EPERM not in asked_within_dockers_profile((), *families)


def test_a_capability_opens_its_calls_in_dockers_profile() -> None:
    """ "includes" of caps: bpf(2) for CAP_BPF alone; clone3, as it is, for CAP_SYS_ADMIN alone."""
    calls = [("bpf", 9999), ("lsm_list_modules", 0), ("clone3", 0), ("io_uring_setup", 0)]
    ask = asked_within_dockers_profile
    assert ask((), *calls) == [errno.EPERM, errno.EPERM, errno.ENOSYS, errno.EPERM]
    assert ask(("BPF",), calls[0]) == [errno.EINVAL]
    admins = ask(("SYS_ADMIN",), *calls)
    assert errno.EPERM not in admins[:2]
    assert admins[2:] == [errno.EINVAL, errno.EPERM]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"uid_map": [(0, 0, 1)]}, "CLONE_NEWUSER"),
        ({"uid_map": [(0, 0, 0)], "cloneflags": CLONE_NEWUSER}, "uid_map"),
        ({"gid_map": [(0, 0, 2), (1, 5, 1)], "cloneflags": CLONE_NEWUSER}, "gid_map"),
        ({"rootless": True, "uid_map": [(0, 0, 1)]}, "rootless"),
        ({"setgroups": True, "cloneflags": CLONE_NEWUSER}, "gid_map"),
        ({"capabilities": ("FLY",)}, "CAP_FLY"),
        ({"capabilities": (), "ambient_caps": ("KILL",)}, "ambient_caps"),
        ({"time_offsets": {"boottime": 1}}, "CLONE_NEWTIME"),
        ({"time_offsets": {"realtime": 1}, "cloneflags": CLONE_NEWTIME}, "realtime"),
        ({"uid_map": [(0.5, 0, 1)], "cloneflags": CLONE_NEWUSER}, "uid_map"),
        ({"uid_map": [("0", "0", "1")], "cloneflags": CLONE_NEWUSER}, "uid_map"),
        ({"uid_map": [(0, 0, float("inf"))], "cloneflags": CLONE_NEWUSER}, "uid_map"),
        ({"uid_map": (0, 0, 1), "cloneflags": CLONE_NEWUSER}, "each line of uid_map"),
        ({"uid_map": [(n, n, 1) for n in range(0, 682, 2)], "cloneflags": CLONE_NEWUSER}, "341"),
        ({"uid_map": [(n, n, 1) for n in range(4 * 10**9, 4 * 10**9 + 600, 2)],
          "cloneflags": CLONE_NEWUSER}, "less than a page"),
        ({"seccomp": profile("SCMP_ACT_NOTHING")}, "SCMP_ACT_NOTHING"),
        ({"seccomp": profile("SCMP_ACT_ERRNO") | {"syscall": []}}, "'syscall'"),
        ({"seccomp": profile("SCMP_ACT_ERRNO") | {"syscalls": 5}}, "profile.syscalls"),
        ({"seccomp": profile("SCMP_ACT_ERRNO", errnoRet=4096)}, "4095"),
        ({"seccomp": profile("SCMP_ACT_ERRNO", errnoRet=-1)}, "4095"),
        ({"seccomp": profile("SCMP_ACT_ERRNO", {"op": "EQ"})}, r"syscalls\[0\].args\[0\]"),
        ({"seccomp": profile("SCMP_ACT_ERRNO", condition(value="x"))}, r"args\[0\].value"),
        ({"seccomp": profile("SCMP_ACT_ERRNO", condition(value=-1))}, r"args\[0\].value"),
        ({"seccomp": profile("SCMP_ACT_ERRNO", condition(index=6))}, r"args\[0\].index"),
        ({"seccomp": profile("SCMP_ACT_ERRNO", condition(op=["x"]))}, r"args\[0\].op"),
        ({"seccomp": entry(names="getpid")}, r"syscalls\[0\].names"),
        ({"seccomp": entry(names=[])}, r"syscalls\[0\]: no names"),
        ({"seccomp": entry(action=["x"])}, r"syscalls\[0\].action"),
        ({"seccomp": entry(exclude={"caps": []})}, "'exclude'"),
        ({"seccomp": entry(includes={"caps": ["FLY"]})}, "includes.caps.*FLY"),
        ({"seccomp": entry(excludes={"minKernel": "new"})}, "excludes.minKernel"),
        ({"seccomp": "/etc/passwd"}, "/etc/passwd is not JSON"),
        ({"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdirr"], "action": "SCMP_ACT_ERRNO"}]}}, "mkdirr"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_both_languages(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word) as caught:
        Container(("true",), **fields)
    said = str(caught.value)
    assert any("\u4e00" <= c <= "\u9fff" for c in said)
    assert " " in said


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("uid_map", "0 0 1"),
        ("gid_map", None),
        ("setgroups", "deny"),
        ("rootless", "no"),
        ("no_new_privs", 1),
        ("capabilities", 5),
        ("capabilities", [21]),
        ("ambient_caps", b"KILL"),
        ("seccomp", 5),
        ("time_offsets", [("boottime", 1)]),
        ("time_offsets", {"boottime": 1.5}),
        ("time_offsets", {"boottime": "1"}),
        ("cloneflags", "CLONE_NEWUSER"),
    ],
)
def test_the_wrong_kind_of_value_is_refused_by_the_name_of_its_field(
    field: str,
    value: Any,  # noqa: ANN401 - of any kind
) -> None:
    with pytest.raises(TypeError, match=field) as caught:
        Container(("true",), **{field: value})
    assert any("\u4e00" <= c <= "\u9fff" for c in str(caught.value))


@pytest.mark.parametrize("path", ["/nowhere.json", "unconfined", "", "/etc"])
def test_a_profile_that_cannot_be_read(path: str) -> None:
    with pytest.raises(OSError, match=re.escape(repr(path))) as caught:
        Container(("true",), seccomp=path)
    assert f"seccomp={path!r}" in " ".join(caught.value.__notes__)


def test_jsons_null_is_nothing() -> None:
    given = entry(args=None, includes=None, excludes={"caps": None}, comment=None, errnoRet=None)
    assert seccomp_filter.assemble(given) == seccomp_filter.assemble(entry())
    assert seccomp_filter.assemble({**entry(), "syscalls": None}) != seccomp_filter.assemble(
        entry()
    )


def test_a_machine_that_the_assembler_does_not_know() -> None:
    with pytest.raises(ValueError, match="riscv64"):
        seccomp_filter.assemble(seccomp_filter.default(), machine="riscv64")


def test_no_clock_moved_is_no_offset() -> None:
    box = Container(("readlink", "/proc/self/ns/time"), cloneflags=CLONE_NEWTIME, time_offsets={})
    assert box.time_offsets is None
    assert run(box).returncode == 0


def test_a_filter_that_forbids_what_comes_after_it_is_named() -> None:
    """Without no_new_privs the filter is there before the capabilities go."""
    deny = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 77}
    with pytest.raises(OSError, match="PR_CAPBSET_DROP") as caught:
        run(Container(("true",), capabilities=("KILL",), seccomp=deny))
    assert caught.value.errno == 77
    assert "no_new_privs=True" in " ".join(caught.value.__notes__)


REFUSED = """
from labkit import *
ways = [
    dict(uid_map=[(0, 100000, 65536)], cloneflags=CLONE_NEWUSER),
    dict(uid_map=[(0, 0, 1)], cloneflags=CLONE_NEWUSER),
    dict(gid_map=[(0, 65534, 1)], setgroups=True, cloneflags=CLONE_NEWUSER),
    dict(capabilities=()),
    dict(capabilities=("KILL",), ambient_caps=("KILL",)),
    dict(seccomp="default"),
    dict(time_offsets={"boottime": 5}, cloneflags=CLONE_NEWTIME),
    dict(time_offsets={"boottime": -10**9}, cloneflags=CLONE_NEWTIME, rootless=True),
    dict(time_offsets={"monotonic": 2**63}, cloneflags=CLONE_NEWTIME, rootless=True),
    dict(cloneflags=CLONE_NEWCGROUP),
    dict(rootless=True, cwd="/root"),
]
for way in ways:
    try:
        run(Container(("true",), **way))
    except OSError as error:
        print(error.errno, str(error).partition("] ")[2].partition("(")[0], len(error.__notes__))
print(open("/proc/self/task/%d/children" % __import__("os").getpid()).read().count(" "))
"""


def test_what_nobody_may_not_do_is_told_by_call_and_errno(nobody: list[str]) -> None:
    """With a note in each language; and nothing is left but the engine and the rootless one."""
    done = subprocess.run([*nobody, "-c", REFUSED], capture_output=True, text=True)
    refused = [
        *["1 write 2"] * 3,
        *["1 prctl 2"] * 2,
        "13 seccomp 2",
        "1 unshare 2",
        *["34 write 2"] * 2,
        "1 clone3 2",
        "13 chdir 2",
    ]
    assert done.stdout.splitlines()[:-1] == refused, done.stderr
    assert int(done.stdout.splitlines()[-1]) <= 2


def test_they_are_a_value_too() -> None:
    box = Container(
        ("true",), cloneflags=CLONE_NEWTIME | CLONE_NEWNS | CLONE_NEWPID, proc=True, rootless=True,
        capabilities=("KILL",), no_new_privs=True, seccomp=profile("SCMP_ACT_LOG"),
        time_offsets={"boottime": 1},
    )  # fmt: skip
    assert Container.from_json(box.to_json()) == box
    assert Container.from_json(MAPPED.to_json()) == MAPPED
    assert box.cloneflags & CLONE_NEWUSER
    assert hash(box) == hash(Container.from_json(box.to_json()))
    assert Clone(0) == Container(("true",)).cloneflags
