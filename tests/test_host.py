"""What this machine allows: `labkit doctor`, against unshare(1) and the kernel."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, with_tunnels

from labkit import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUTS,
    Container,
    Limits,
    run,
)
from labkit.cgroups import hierarchy
from labkit.cgroups.hierarchy import Hierarchy, filesystem, parent_for
from labkit.cli.versions import VERSIONS
from labkit.doctor import report
from labkit.doctor.host import LIMITS, Host, examine
from labkit.doctor.probe import TRIALS
from labkit.linux.capabilities import CAPABILITIES, names
from labkit.linux.confinement import Capabilities, Confinement, capabilities
from labkit.linux.namespaces import KINDS
from labkit.linux.refusal import Refusal, diagnose
from labkit.network import user_mode

DOCTOR = ["-m", "labkit", "doctor", "--json"]
SHORT = {"mnt": "m", "uts": "u", "ipc": "i", "net": "n", "pid": "p", "user": "U", "cgroup": "C"}
SHORT["time"] = "T"


def doctor(*before: str, python: Sequence[str] = (sys.executable,)) -> dict[str, Any]:
    """What `labkit doctor --json` finds when it is started by `before`."""
    done = subprocess.run(
        [*before, *python, *DOCTOR], capture_output=True, text=True, cwd="/", timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def allowed(said: dict[str, Any], column: str = "yours") -> dict[str, bool | None]:
    return {name: ability["allowed"] for name, ability in said[column].items()}


def by_unshare(*before: str) -> dict[str, bool]:
    """What unshare(1) answers for each kind of namespace when it is started by `before`."""
    return {
        kind: not subprocess.run(
            [*before, "unshare", f"-{letter}", "true"], stderr=subprocess.DEVNULL, cwd="/"
        ).returncode
        for kind, letter in SHORT.items()
    }


@pytest.fixture(scope="module")
def here() -> Host:
    return examine()


CHANGES = """
import json, os, subprocess, sys
from conftest import added, host, until
from labkit.cgroups.hierarchy import hierarchies

def state():
    # Others make groups of their own meanwhile; ours would be below the one that is ours alone.
    groups = [path for tree in hierarchies() for path, _, _ in os.walk(tree.path)]
    return host() | {"cgroups": groups}

before = state()
subprocess.run([sys.executable, "-m", "labkit", "doctor"], check=True, stdout=subprocess.DEVNULL)
until(lambda: not [n for n, now in state().items() if added(before[n], now)])
"""


def test_it_changes_nothing() -> None:
    """Where nobody else makes links, rules, mounts and groups, as other tests do meanwhile."""
    own = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    box = Container((sys.executable, "-c", CHANGES), cloneflags=own, limits=Limits(), env=env)
    done = run(box)
    assert (done.returncode, done.stderr) == (0, "")


def test_namespaces_as_unshare_finds_them(here: Host) -> None:
    assert {kind: here.yours[kind].allowed for kind in SHORT} == by_unshare()


def test_what_root_may_do_here(here: Host) -> None:
    """The rest of the lab needs these where it is tested."""
    for name in (
        *SHORT,
        "private",
        "tmpfs",
        "proc",
        "overlay",
        "pivot_root",
        "veth",
        "bridge",
        "nft",
    ):
        assert here.yours[name].allowed, here.yours[name]
        assert here.yours[name].reason is None
    assert here.level("uts", "proc", "veth") == "real"
    kinds = [kind.name for kind in KINDS]
    assert [*here.yours] == [*kinds, *TRIALS, *LIMITS, "clone3", "pidfd", "capabilities"]


def test_the_trials_as_the_systems_own_programs_find_them(here: Host) -> None:
    """mount(8) and ip(8) in throw-away namespaces."""
    commands = {
        "proc": "unshare --mount --pid --fork --mount-proc true",
        "tmpfs": "unshare --mount mount -t tmpfs tmpfs /mnt",
        "overlay": "unshare --mount sh -c 'mount -t tmpfs t /mnt && cd /mnt && mkdir l u w m && "
        "mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w m'",
        **{kind: f"unshare --net ip link add lab0 type {kind}" for kind in ("dummy", "veth")},
        "bridge": "unshare --net ip link add lab0 type bridge",
        "nft": "unshare --net nft add table ip lab",
    }
    found = {
        name: not subprocess.run(command, shell=True, stderr=subprocess.DEVNULL).returncode  # noqa: S602
        for name, command in commands.items()
    }
    assert {name: here.yours[name].allowed for name in commands} == found


def test_without_capabilities(nobody: list[str]) -> None:
    has_tunnels = os.path.exists("/dev/net/tun")
    said = doctor(*(with_tunnels() if has_tunnels else ()), python=nobody)
    assert {kind: said["yours"][kind]["allowed"] for kind in SHORT} == by_unshare(*nobody[:-1])
    uts = said["yours"]["uts"]
    assert (uts["allowed"], uts["error"]) == (False, "EPERM")
    assert uts["call"].startswith("clone3({flags=CLONE_VM|CLONE_NEWUTS,")
    assert "CAP_SYS_ADMIN" in uts["reason"]["en"]
    assert "--privileged" in uts["fix"]["zh"]
    assert not any(said["yours"][name]["allowed"] for name in (*TRIALS, *LIMITS))
    assert said["capabilities"]["effective"] == said["capabilities"]["bounding"] == []
    assert said["missing"][0] == "CAP_SYS_ADMIN"
    rootless = allowed(said, "rootless")["user"]
    level = "rootless" if rootless else "recorded"
    assert said["versions"] == {
        "v0.1": "real",
        "v0.2": level,
        "v0.3": level,
        "v0.4": level,
        "v0.5": level,
        "v0.6": level,
        "v0.7": level,
        "v0.8": "recorded",  # nobody's control group is somebody else's
        # Nor are the links of the host, but slirp4netns stands in for them.
        "v0.9": level if has_tunnels and shutil.which("slirp4netns") else "recorded",
    }


@pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="this machine has no /dev/net/tun")
def test_a_tunnel_that_is_closed_to_ordinary_users_makes_them_no_network(nobody: list[str]) -> None:
    said = doctor(*with_tunnels("not allowed"), python=nobody)
    assert said["versions"]["v0.9"] == "recorded"


@pytest.mark.parametrize(("installed", "level"), [(True, "rootless"), (False, "recorded")])
def test_the_network_of_a_user(
    here: Host, monkeypatch: pytest.MonkeyPatch, installed: bool, level: str
) -> None:
    """Who may make no links on the host has slirp4netns, or none."""
    no = {name: replace(here.yours[name], allowed=False) for name in ("net", "veth", "bridge")}
    user = replace(here, yours=here.yours | no)
    monkeypatch.setattr(user_mode, "possible", lambda: installed)
    monkeypatch.setattr(report, "needs", lambda _: ["net", "veth", "bridge"])
    assert report._possible(user, VERSIONS["v0.9"]) == level


def test_rootless_is_found_alike_by_root_and_by_a_user(here: Host, nobody: list[str]) -> None:
    said = doctor(python=nobody)
    as_root = {name: ability.allowed for name, ability in here.rootless.items()}
    as_user = allowed(said, "rootless")
    assert {n: a for n, a in as_root.items() if n not in LIMITS} == {
        n: a for n, a in as_user.items() if n not in LIMITS
    }
    assert as_root["user"] == by_unshare(*nobody[:-1])["user"]


def test_every_no_has_its_reason_and_fix_in_both_languages(nobody: list[str]) -> None:
    said = doctor(python=nobody)
    refused = [a for c in ("yours", "rootless") for a in said[c].values() if a["allowed"] is False]
    assert len(refused) > 10
    for ability in refused:
        for words in (ability["reason"], ability["fix"]):
            assert re.search("[一-龥]", words["zh"]), ability
            assert re.search("[a-z]{3}", words["en"]), ability
            assert not re.search("[一-龥]", words["en"]), ability


def test_a_capability_that_is_missing() -> None:
    said = doctor("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
    assert said["missing"] == ["CAP_NET_ADMIN"]
    assert said["yours"]["net"]["allowed"]
    assert not said["yours"]["veth"]["allowed"]
    assert "CAP_NET_ADMIN" in said["yours"]["veth"]["reason"]["en"]
    assert not said["yours"]["capabilities"]["allowed"]


def test_user_namespaces_switched_off() -> None:
    """As an administrator does it, in a user namespace, which has limits of its own."""
    switch = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    said = doctor("unshare", "--user", "--map-root-user", "sh", "-c", switch, "sh")
    user = said["rootless"]["user"]
    assert (user["allowed"], user["error"]) == (False, "ENOSPC")
    assert "user.max_user_namespaces" in user["fix"]["en"]
    assert said["rootless"]["uts"]["allowed"] is False
    # A root without them can do each lesson but the one that is about them.
    assert said["versions"]["v0.4"] == "real"
    assert said["versions"]["v0.5"] == "recorded"


def test_where_nothing_can_be_written() -> None:
    read_only = "for place in /tmp /var/tmp; do mount --bind $place $place; "
    read_only += 'mount -o remount,bind,ro $place; done; cd /proc; exec "$@"'
    said = doctor("env", "TMPDIR=/proc", "unshare", "--mount", "sh", "-c", read_only, "sh")
    assert said["yours"]["overlay"] == said["yours"]["tmpfs"] | {
        "name": "overlay",
        "found": "upperdir tmpfs",
    }


@pytest.mark.parametrize(
    ("injected", "refused", "code"),
    [
        ("pivot_root:error=EPERM", {"pivot_root"}, "EPERM"),
        # As Docker's seccomp profile answers; clone, the elder, has no room for CLONE_NEWTIME.
        ("clone3:error=ENOSYS", {"clone3", "time"}, "ENOSYS"),
    ],
)
def test_a_call_that_is_blocked(injected: str, refused: set[str], code: str) -> None:
    said = doctor("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={injected}")
    always = {name for name in ("dummy",) if not said["yours"][name]["allowed"]}
    found = {name for name, verdict in allowed(said).items() if verdict is False}
    assert found - always == refused
    assert {said["yours"][name]["error"] for name in refused} == {code}


def test_no_engine_at_all() -> None:
    """Where pidfds are blocked nothing runs, and the doctor still says so."""
    said = doctor("strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=pidfd_open:error=ENOSYS")
    assert not any(allowed(said)[name] for name in (*SHORT, *TRIALS, "pidfd", "clone3"))
    assert said["yours"]["pidfd"]["error"] == "ENOSYS"
    assert set(said["versions"].values()) == {"recorded"}


def test_the_values_are_frozen(here: Host) -> None:
    with pytest.raises(FrozenInstanceError):
        here.yours["uts"].allowed = False  # type: ignore[misc]


def test_what_doctor_prints(here: Host) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "labkit", "doctor"], capture_output=True, text=True, check=True
    )
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.startswith("  ")}
    for name, ability in here.yours.items():
        assert ("可以 yes" if ability.allowed else "不行 no") in rows[name]
    assert f"({here.cgroups})" in done.stdout
    assert "v0.2 真实 real" in done.stdout
    numbers = set(re.findall(r"\[(\d+)\]", done.stdout))
    assert numbers == {n for n in numbers if re.search(rf"^\[{n}\] ", done.stdout, re.MULTILINE)}


# What is read, not tried


def test_capabilities_as_capsh_decodes_them() -> None:
    bits = Path("/proc/self/status").read_text().partition("CapBnd:\t")[2].split()[0]
    decoded = subprocess.run(["capsh", f"--decode={bits}"], capture_output=True, text=True)
    listed = decoded.stdout.strip().partition("=")[2].split(",")
    assert [name.lower() for name in capabilities().bounding] == listed


def test_capabilities_by_number() -> None:
    assert names(0) == ()
    assert names(1 << 21 | 1) == ("CAP_CHOWN", "CAP_SYS_ADMIN")
    assert names(1 << 60) == ("CAP_60",)
    assert len(CAPABILITIES) == 41


def test_cgroups_as_findmnt_and_the_kernel_have_them(here: Host) -> None:
    listed = subprocess.run(
        ["findmnt", "-rn", "-t", "cgroup,cgroup2", "-o", "FSTYPE"], capture_output=True, text=True
    )
    kinds = listed.stdout.split()
    assert sorted(1 if kind == "cgroup" else 2 for kind in kinds) == [
        tree.version for tree in here.hierarchies
    ]
    expected = {(): "none", ("cgroup",): "v1", ("cgroup2",): "v2", ("cgroup", "cgroup2"): "hybrid"}
    assert here.cgroups == expected[tuple(sorted(set(kinds)))]
    for tree in here.hierarchies:
        pids = Path(f"{tree.path}/cgroup.procs").read_text().split()
        assert str(os.getpid()) in pids


READ_ONLY = (  # as Docker mounts control groups in a container without --privileged
    *("unshare", "--mount", "sh", "-c"),
    "findmnt -rn -t cgroup,cgroup2 -o TARGET | while read -r place; do "
    'mount -o remount,bind,ro "$place"; done; exec "$@"',
    "sh",
)


def test_cgroups_that_are_read_only() -> None:
    said = doctor(*READ_ONLY)
    assert not any(said["yours"][name]["allowed"] for name in LIMITS)
    fix = said["yours"]["memory"]["fix"]["en"]
    assert "--cgroupns=private" in fix
    assert "run it as root" not in fix  # it is root's


def test_no_cgroups_mounted() -> None:
    hide = 'umount -Rl /sys/fs/cgroup; exec "$@"'
    said = doctor("unshare", "--mount", "sh", "-c", hide, "sh")
    assert said["cgroups"] == "none"
    assert not any(said["yours"][name]["allowed"] for name in LIMITS)


def test_where_a_group_can_be_made(here: Host) -> None:
    place = parent_for("pids")
    assert (place is not None) == here.yours["pids"].allowed
    assert place is None or (Path(place, "cgroup.procs").exists() and os.access(place, os.W_OK))
    assert parent_for("no-such-controller") is None


def test_no_group_can_be_made_where_they_are_read_only() -> None:
    program = "from labkit.cgroups.hierarchy import parent_for; print(parent_for('pids'))"
    words = [*READ_ONLY, sys.executable, "-c", program]
    assert subprocess.run(words, capture_output=True, text=True).stdout == "None\n"


def test_version_2_hands_controllers_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session below user.slice, as systemd has it: processes stand in the leaves only."""
    session = tmp_path / "user.slice" / "session"
    session.mkdir(parents=True)
    for folder, given in {
        session: "",
        session.parent: "memory\n",
        tmp_path: "pids memory\n",
    }.items():
        (folder / "cgroup.subtree_control").write_text(given)
    tree = Hierarchy(2, ("pids", "memory"), str(session), writable=True)
    monkeypatch.setattr(hierarchy, "hierarchies", lambda: (tree,))
    assert parent_for("memory") == str(session.parent)
    assert parent_for("pids") == str(tmp_path)
    assert parent_for("cpu") is None


def test_filesystems_as_findmnt_has_them() -> None:
    for path in ("/", "/proc", "/dev/shm", str(ROOT), "/proc/self/ns"):
        found = subprocess.run(
            ["findmnt", "-nro", "FSTYPE", "-T", path], capture_output=True, text=True
        )
        assert filesystem(path) == found.stdout.split()[-1]


# Why: what this machine cannot show

ALL = Capabilities(CAPABILITIES, CAPABILITIES, (), CAPABILITIES, ())
DROPPED = Capabilities((), (), (), CAPABILITIES, ())
FREE = Confinement("disabled", no_new_privs=False, profile="", sysctls={})
UTS, USER = "clone3({flags=CLONE_NEWUTS, ...}, 64)", "unshare(CLONE_NEWUSER)"


def confined(**sysctls: int) -> Confinement:
    named = {f"kernel.{name}": value for name, value in sysctls.items()}
    return Confinement("disabled", no_new_privs=False, profile="", sysctls=named)


@pytest.mark.parametrize(
    ("refusal", "why", "fix"),
    [
        (Refusal(UTS, errno.EPERM, False, DROPPED, FREE), "lacks CAP_SYS_ADMIN", "sudo"),
        (
            Refusal(UTS, errno.EPERM, False, DROPPED, Confinement("disabled", True, "", {})),
            "no_new_privs",
            "without no-new-privileges",
        ),
        (
            Refusal(UTS, errno.EPERM, False, ALL, Confinement("filter", False, "", {})),
            "seccomp",
            "seccomp=unconfined",
        ),
        (
            Refusal(USER, errno.EPERM, True, ALL, confined(unprivileged_userns_clone=0)),
            "ordinary users",
            "sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (
            Refusal(
                'write("/proc/self/uid_map", "0 1000 1")',
                errno.EACCES,
                True,
                ALL,
                confined(unprivileged_userns_clone=1, apparmor_restrict_unprivileged_userns=1),
            ),
            "AppArmor",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (
            Refusal(
                'mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID, NULL)',
                errno.EACCES,
                False,
                ALL,
                Confinement("filter", False, "docker-default (enforce)", {}),
            ),
            "docker-default (enforce) forbids mounts",
            "apparmor=unconfined",
        ),
        (
            Refusal('mount("overlay", "merged", "overlay", 0, "")', errno.ENODEV, False, ALL, FREE),
            "no such file system",
            "modprobe overlay",
        ),
        (
            Refusal('write(16, "0 100000 65536\\n", 15)', errno.EPERM, True, DROPPED, FREE),
            "own ID alone",
            "root",
        ),
        (Refusal("clone3(...)", errno.EAGAIN, False, DROPPED, FREE), "ulimit -u", "--pids-limit"),
        (Refusal("unshare(CLONE_NEWTIME)", errno.EINVAL, False, ALL, FREE), "kind", "newer"),
        (Refusal("pivot_root()", errno.EIO, False, ALL, FREE), "EIO", "man page"),
    ],
)
def test_diagnosis(refusal: Refusal, why: str, fix: str) -> None:
    found = diagnose(refusal)
    assert why in found.why.en
    assert found.fix
    assert fix in found.fix.en
