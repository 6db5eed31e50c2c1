"""The OCI runtime: what a bundle says, what its container is then, and the life it leads."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import command_line, read_until, small_root, until

from labkit.cgroups import device_filter
from labkit.cgroups.devices import Rule
from labkit.cgroups.hierarchy import hierarchies
from labkit.container.container import Container
from labkit.linux import proc
from labkit.linux.capabilities import CAPABILITIES
from labkit.linux.flags import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS
from labkit.oci import config as configuration
from labkit.oci import devices, lifecycle, resources, systemd
from labkit.oci import groups as oci_groups
from labkit.oci.options import options
from labkit.oci.state import signal_of
from labkit.oci.sysctls import sysctls
from labkit.oci.translate import container

HELD = ["CAP_CHOWN", "CAP_NET_RAW", "CAP_KILL"]
_MASKED, _READONLY = ["/proc/keys", "/sys/firmware"], ["/proc/sys", "/proc/bus"]
_PLAIN = ["nosuid", "noexec", "nodev"]


def document(*argv: str, **process: object) -> dict[str, Any]:
    """A configuration as engines write it. process: what of the process is to be otherwise."""
    kinds = ("pid", "network", "ipc", "uts", "mount")
    own = {
        "args": [*argv],
        "cwd": "/",
        "env": ["PATH=/bin", "A=1", "A=2"],
        "user": {"uid": 0, "gid": 0},
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), HELD),
    }
    return {
        "ociVersion": "1.0.2",  # what the runc of every distribution takes
        "root": {"path": "rootfs"},
        "process": own | process,
        "hostname": "box",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            },
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            },
            {
                "destination": "/sys",
                "type": "sysfs",
                "source": "sysfs",
                "options": [*_PLAIN, "ro"],
            },
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in kinds],
            "maskedPaths": _MASKED,
            "readonlyPaths": _READONLY,
        },
    }


# --- What a bundle says --------------------------------------------------------------------------


def test_a_configuration_becomes_a_container(tmp_path: Path) -> None:
    config = document("sh", "-c", "true", noNewPrivileges=True, user={"uid": 7, "gid": 8})
    box = container(config, str(tmp_path))
    assert box.cloneflags & (CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWNS)
    expected = (("sh", "-c", "true"), {"PATH": "/bin", "A": "2"}, "/", "box", (7, 8, ()), True)
    found = (box.argv, box.env, box.cwd, box.hostname, box.user, box.no_new_privs)
    assert found == expected
    assert {*(box.capabilities or ())} == {*HELD}
    assert box.root is not None
    assert (box.root.path, box.root.masked) == (str(tmp_path / "rootfs"), (*_MASKED,))
    assert Container.from_json(box.to_json()) == box


def test_options_of_mounts() -> None:
    found = options(["nosuid", "ro", "rw", "rro", "rslave", "size=1m", "mode=755", "tmpcopyup"])
    assert (found.flags, found.data) == (2, ["size=1m", "mode=755"])
    assert (found.own.on, found.own.off, found.below.on) == (2, 1, 1)
    assert (found.propagation, found.copy_up, found.bind) == ([1 << 19 | 1 << 14], True, False)
    times = options(["rbind", "noatime", "nodiratime", "idmap"])
    assert (times.own.on, times.own.off) == (0x90, 0x70)  # how times are kept is one number
    assert (times.bind, times.idmapped) == (True, "idmap")
    assert options(["relatime", "noatime", "atime"]).own.off == 0x70


LIMITS = {
    "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 1 << 20},
    "cpu": {"shares": 1024, "quota": 50000, "period": 100000, "cpus": "0"},
    "pids": {"limit": -1},
    "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 5}]},
    "unified": {"memory.high": "max"},
}


def test_resources_in_both_versions() -> None:
    first = {setting.file: setting.value for setting in resources.v1(LIMITS)}
    assert first["memory.memsw.limit_in_bytes"] == str(96 << 20)
    assert first["cpu.cfs_quota_us"] == "50000"
    assert first["blkio.throttle.read_bps_device"] == "8:0 5"
    second = {setting.file: setting.value for setting in resources.v2(LIMITS)}
    assert second == {
        "memory.max": str(64 << 20),
        "memory.swap.max": str(32 << 20),
        "memory.low": str(1 << 20),
        "cpu.weight": "100",
        "cpu.max": "50000 100000",
        "cpuset.cpus": "0",
        "pids.max": "max",
        "io.max": "8:0 rbps=5",
        "memory.high": "max",
    }


def answer(program: bytes, kind: int, access: int, major: int, minor: int) -> int:
    """What a program for devices answers: the few instructions that it has, played."""
    memory = {0: kind | access << 16, 4: major, 8: minor}
    registers, at = [0] * 11, 0
    while True:
        code, both, offset, constant = struct.unpack_from("=BBhi", program, 8 * at)
        to, source = both & 15, both >> 4
        at += 1
        if code == 0x95:
            return registers[0]
        values: dict[int, Callable[[], int]] = {
            0x61: lambda: memory[offset],  # noqa: B023 - it is called at once
            0xBC: lambda: registers[source],  # noqa: B023
            0xB7: lambda: constant,  # noqa: B023
            0x74: lambda: registers[to] >> constant,  # noqa: B023
            0x54: lambda: registers[to] & constant,  # noqa: B023
        }
        if code in values:
            registers[to] = values[code]()
        elif {
            0x56: registers[to] != constant,
            0x5E: registers[to] != registers[source],
            0x16: registers[to] == constant,
        }[code]:
            at += offset


def test_the_last_rule_about_a_device_counts() -> None:
    given = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
        {"allow": True, "type": "b", "access": "rm"},
        {"allow": False, "type": "b", "major": 8, "access": "r"},
    ]
    rules = devices.rules({"devices": given})
    assert rules[0] == Rule("a", -1, -1, "rwm", allowed=False)
    program = device_filter.assemble(reversed(rules), otherwise=True)
    block, char, make, read, write = 1, 2, 1, 2, 4
    asked = {
        (char, read | write, 10, 229): 1,
        (char, make | read, 10, 229): 0,  # not all of it is allowed
        (char, write, 1, 3): 1,  # /dev/null, whatever the configuration says
        (char, write, 1, 1): 0,
        (block, read, 7, 0): 1,
        (block, read, 8, 0): 0,
        (block, make, 8, 0): 1,  # only reading it was forbidden
    }
    assert {each: answer(program, *each) for each in asked} == asked


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ociVersion": "2.0.0"}, "ociVersion"),
        ({"process": {"args": [], "cwd": "/"}}, "process.args"),
        ({"process": {"args": ["true"], "cwd": "tmp"}}, "whole path"),
        ({"process": {"args": "true", "cwd": "/"}}, "must be a list"),
        ({"mounts": [{"destination": "/x"}]}, "no type"),
        ({"linux": {"namespaces": [{"type": "pid"}, {"type": "pid"}]}}, "given twice"),
        ({"linux": {"namespaces": [{"type": "planet"}]}}, "planet"),
        ({"linux": {"sysctl": {"kernel.pid_max": "99"}}}, "whole machine"),
        ({"linux": {"sysctl": {"net.ipv4.ip_forward": "1"}}}, "whole machine"),
        ({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_NOTIFY"}}}, "another process"),
        ({"linux": {"intelRdt": {}}}, "intelRdt"),
    ],
)
def test_what_is_refused(change: dict[str, Any], why: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(document("true") | change))
    with pytest.raises(ValueError, match=why):
        lifecycle.check(configuration.load(str(tmp_path)), str(tmp_path))


def test_what_is_not_known_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(document("true") | {"zos": {"a": 1}, "hooks": None}))
    found = configuration.load(str(tmp_path))
    assert "hooks" not in found  # null is the same as absent
    assert found["zos"] == {"a": 1}
    assert sysctls(document("true")) == {}


def test_signals_by_name_and_number() -> None:
    names = ("9", "KILL", "sigkill", "RTMIN+1")
    assert [signal_of(name) for name in names] == [9, 9, 9, signal.SIGRTMIN + 1]
    for name in ("0", "KIL", "_IGN", "999"):
        with pytest.raises(ValueError, match="unknown signal"):
            signal_of(name)


# --- What its container is -----------------------------------------------------------------------


@dataclass(frozen=True)
class Runtime:
    """A runtime: its command, where it keeps states, and a bundle."""

    command: tuple[str, ...]
    root: Path
    bundle: Path

    def run(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one verb on the bundle. What a container prints later may be lost.

        It has the streams of `create`: with pipes we would wait for the end of the container.
        """
        command = [*self.command, "--root", str(self.root), verb, *arguments]
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.bundle,
                env={**os.environ, "LABKIT_LANG": "en"},
            )
            texts = [os.pread(stream.fileno(), 1 << 20, 0).decode() for stream in (out, err)]
        return subprocess.CompletedProcess(command, done.returncode, *texts)

    def said(self, verb: str, *arguments: str) -> str:
        """What a verb prints, which must succeed."""
        done = self.run(verb, *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def ids(self) -> list[str]:
        return os.listdir(self.root) if self.root.exists() else []

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.said("state", name))
        return found

    def configure(self, config: Mapping[str, Any]) -> None:
        (self.bundle / "config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def bundle() -> Iterator[Path]:
    """A bundle of busybox, which other users may read."""
    with tempfile.TemporaryDirectory(prefix="labkit-oci-") as folder:
        os.chmod(folder, 0o755)  # noqa: S103 - for other users too
        etc = small_root(Path(folder, "rootfs")) / "etc"
        etc.mkdir()
        (etc / "passwd").write_text("seven:x:7:8::/home/seven:/bin/sh\n")
        (etc / "secret").write_text("hidden")
        yield Path(folder)


@pytest.fixture
def kept(bundle: Path, tmp_path: Path) -> Iterator[Runtime]:
    """Our runtime. Nothing of what a test made is left."""
    found = Runtime((sys.executable, "-m", "labkit", "oci"), tmp_path / "states", bundle)
    before = groups()
    yield found
    for name in found.ids():
        found.run("delete", "--force", name)
    assert groups() - before == set()


def groups() -> set[str]:
    """The control groups of the tests' containers."""
    found = [(top, name) for top, names, _ in os.walk("/sys/fs/cgroup") for name in names]
    return {f"{top}/{name}" for top, name in found if name.startswith("oci-test-")}


PROBE = """
id; hostname; pwd; env | sort; echo $HOME; umask
grep -e Cap -e NoNew -e Seccomp: /proc/self/status
ulimit -n; ulimit -c; cat /proc/self/oom_score_adj
cut -d' ' -f5- /proc/self/mountinfo | sed 's/ - .* / - /; s/master:[0-9]* //'
stat -c '%A %u %t:%T %N' /dev/*; ls /sys/firmware | wc -l; cat /etc/secret; cat /vol/file /vol2/file
touch /vol/no /proc/sys/no /root-file; cat /proc/sys/net/ipv4/ip_forward
cat /tmpfs/d/copied /tmpfs/link
stat -c %A /tmpfs /new/cwd; cat /proc/1/comm; chmod 700 /; readlink /proc/self/fd/3
"""


def rich(bundle: Path) -> dict[str, Any]:
    """A configuration with some of everything."""
    config = document(
        "sh",
        "-c",
        PROBE,
        cwd="/new/cwd",
        user={"uid": 7, "gid": 8, "additionalGids": [9, 10], "umask": 0o027},
        rlimits=[
            {"type": "RLIMIT_NOFILE", "soft": 333, "hard": 444},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        ],
        noNewPrivileges=True,
        oomScoreAdj=77,
        capabilities=dict.fromkeys(
            ("bounding", "effective", "permitted", "inheritable", "ambient"), HELD
        ),
    )
    volume = bundle / "volume"
    volume.mkdir(exist_ok=True)
    (volume / "file").write_text("of the host\n")
    config["root"]["readonly"] = True
    config["mounts"] += [
        {"destination": "/vol", "type": "bind", "source": "volume", "options": ["rbind", "ro"]},
        {"destination": "/vol2", "source": str(volume), "options": ["bind", "nosuid", "nodev"]},
        {
            "destination": "/tmpfs",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": [*_PLAIN, "size=1m", "tmpcopyup"],
        },
    ]
    for name in ("vol", "vol2", "tmpfs", "new/cwd"):
        (bundle / "rootfs" / name).mkdir(parents=True, exist_ok=True)
    hidden = bundle / "rootfs" / "tmpfs"
    hidden.chmod(0o711)  # which the file system in memory gets too, with what is in it
    (hidden / "d").mkdir(exist_ok=True)
    (hidden / "d" / "copied").write_text("copied\n")
    if not (hidden / "link").is_symlink():
        (hidden / "link").symlink_to("d/copied")
    rule = {"names": ["chmod", "fchmodat", "no_such_call"], "action": "SCMP_ACT_ERRNO"}
    config["linux"] |= {
        "maskedPaths": [*_MASKED, "/etc/secret"],
        "sysctl": {"net.ipv4.ip_forward": "1"},
        "devices": [
            {"path": "/dev/seven", "type": "c", "major": 1, "minor": 7, "fileMode": 0o640, "uid": 7}
        ],
        "seccomp": {
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
            "syscalls": [rule],
        },
    }
    return config


def test_a_container_is_as_that_of_runc(kept: Runtime) -> None:
    """The same bundle, seen from inside: what is mounted, who it is, what it may do."""
    other = shutil.which("runc")
    assert other, "scripts/setup test asks for it"
    kept.configure(rich(kept.bundle))
    ours = kept.run("run", "oci-test-rich")
    runc = replace(kept, command=(other,), root=kept.root.parent / "runc")
    theirs = runc.run("run", "oci-test-rich")
    # A runc of today asks for the mode when it mounts; before, it set it afterwards, as we do.
    seen = theirs.stdout.replace(",mode=711", "").splitlines()
    assert (ours.stdout.splitlines(), ours.stderr) == (seen, theirs.stderr)
    assert (ours.returncode, kept.ids()) == (theirs.returncode, [])
    assert "uid=7(seven) gid=8 groups=9,10" in ours.stdout


def owned_root(bundle: Path, name: str, owner: int) -> None:
    """A root directory beside the other one, whose places for mounts belong to a user."""
    shutil.copytree(bundle / "rootfs", bundle / name, symlinks=True)
    for part in (".", "tmp", "mapped", "plain", "proc", "dev", "sys"):
        (bundle / name / part).mkdir(exist_ok=True)
        os.chown(bundle / name / part, owner, owner)


def test_an_ordinary_user(kept: Runtime, nobody: list[str]) -> None:
    """Who may map one ID, and make no group, has a container too."""
    owned_root(kept.bundle, "ordinary", 65534)
    states = kept.bundle / "states"
    states.mkdir(mode=0o700)
    os.chown(states, 65534, 65534)
    config = document("sh", "-c", "id -u; cat /proc/self/uid_map; echo >/dev/null && hostname")
    config["root"]["path"] = "ordinary"
    config["linux"]["namespaces"].append({"type": "user"})
    line = [{"containerID": 0, "hostID": 65534, "size": 1}]
    config["linux"] |= {"uidMappings": line, "gidMappings": line}
    kept.configure(config)
    ordinary = replace(kept, command=(*nobody, "-m", "labkit", "oci"), root=states)
    user, ids, name = ordinary.said("run", "oci-test-ordinary").splitlines()
    assert (user, ids.split(), name) == ("0", ["0", "65534", "1"], "box")


def test_a_root_of_a_user_namespace(kept: Runtime) -> None:
    """IDs inside and outside; a volume that shows others; devices bound; clocks."""
    config = document(
        "sh",
        "-c",
        "id -u; cat /proc/self/uid_map; echo >/dev/null && touch /tmp/made /mapped/made;"
        "ls -ln /mapped /plain | grep given; cut -d: -f3 /proc/self/cgroup | sort -u;"
        "cut -d. -f1 /proc/uptime",
        capabilities={},
    )
    lines = [{"containerID": 0, "hostID": 100000, "size": 1000}]
    volume = kept.bundle / "owned"
    volume.mkdir(exist_ok=True)
    (volume / "given").touch()
    owned_root(kept.bundle, "mapped", 100000)
    config["root"]["path"] = "mapped"
    config["linux"]["namespaces"] += [{"type": kind} for kind in ("user", "cgroup", "time")]
    config["linux"] |= {"uidMappings": lines, "gidMappings": lines}
    config["linux"]["timeOffsets"] = {"boottime": {"secs": 10**8, "nanosecs": 0}}
    config["mounts"] += [
        {"destination": "/plain", "source": str(volume), "options": ["bind"]},
        {"destination": "/mapped", "source": str(volume), "options": ["bind", "idmap"]},
    ]
    kept.configure(config)
    user, ids, mapped, plain, group, uptime = kept.said("run", "oci-test-user").splitlines()
    assert (user, ids.split(), group) == ("0", ["0", "100000", "1000"], "/")
    assert mapped.split()[2:4] == ["0", "0"]
    assert plain.split()[2:4] == ["65534", "65534"]
    assert int(uptime) >= 10**8
    assert (volume / "made").stat().st_uid == 0
    assert (kept.bundle / "mapped" / "tmp" / "made").stat().st_uid == 100000


def test_namespaces_that_are_entered_and_none_of_its_own(kept: Runtime) -> None:
    """By path it is in those of another process. Without any the host is as before afterwards."""
    sleep = subprocess.Popen(["unshare", "-n", "-u", "-i", "sleep", "1000"])
    try:
        until(lambda: b"sleep\x001000" in command_line(sleep.pid))
        mine = {k: os.readlink(f"/proc/self/ns/{k}") for k in ("net", "uts", "ipc")}
        until(lambda: os.readlink(f"/proc/{sleep.pid}/ns/net") != mine["net"])
        theirs = [os.readlink(f"/proc/{sleep.pid}/ns/{k}") for k in ("net", "uts", "ipc")]
        config = document(
            "sh", "-c", "cd /proc/self/ns; for k in net uts ipc mnt; do readlink $k; done"
        )
        del config["hostname"]
        config["linux"]["namespaces"] = [{"type": "mount"}, {"type": "pid"}] + [
            {"type": kind, "path": f"/proc/{sleep.pid}/ns/{file}"}
            for kind, file in (("network", "net"), ("uts", "uts"), ("ipc", "ipc"))
        ]
        kept.configure(config)
        assert kept.said("run", "oci-test-entered").split()[:3] == theirs
    finally:
        sleep.kill()
        sleep.wait()
    config["linux"]["namespaces"] = []
    kept.configure(config)
    before = Path("/proc/self/mountinfo").read_text()
    found = kept.said("run", "oci-test-none").split()
    assert found == [*mine.values(), os.readlink("/proc/self/ns/mnt")]
    assert Path("/proc/self/mountinfo").read_text() == before


def test_limits_are_written_and_a_program_that_wants_more_is_refused(kept: Runtime) -> None:
    config = document("sh", "-c", "cat /proc/self/cgroup; dd if=/dev/zero of=/dev/loopless count=1")
    config["linux"]["resources"] = {
        "pids": {"limit": 33},
        "memory": {"limit": 64 << 20},
        "devices": [{"allow": False, "access": "rwm"}],
    }
    config["linux"]["devices"] = [
        {"path": "/dev/loopless", "type": "c", "major": 1, "minor": 11}  # /dev/kmsg
    ]
    config["process"]["args"][2] = (
        "sleep 0; for f in /cg/pids.max /cg/memory.limit_in_bytes /cg/memory.max; do"
        " cat $f 2>/dev/null; done; head -c1 /dev/loopless >/dev/null"
    )
    kept.configure(config)
    done = kept.run("create", "oci-test-limits")
    assert (done.returncode, done.stderr) == (0, "")
    values = {
        path.name: path.read_text().strip()
        for group in groups()
        for path in Path(group).iterdir()
        if path.name in ("pids.max", "memory.limit_in_bytes", "memory.max")
        and "oci-test-limits" in group
    }
    assert {*values.values()} >= {"33", str(64 << 20)}
    more = kept.bundle / "more.json"
    more.write_text(json.dumps({"pids": {"limit": 44}}))
    kept.said("update", "--resources", str(more), "oci-test-limits")
    found = [Path(group, "pids.max") for group in groups() if "oci-test-limits" in group]
    assert "44" in [path.read_text().strip() for path in found if path.exists()]


FAKE = """#!/bin/sh
echo "$@" >> $LOG
case $6 in
StartTransientUnit)
    while [ "$1" != PIDs ]; do [ "$unit" ] || case $1 in *.scope) unit=$1;; esac; shift; done
    mkdir -p $TOP/$unit && echo $4 > $TOP/$unit/cgroup.procs;;
StopUnit) rmdir $TOP/$8 || echo "Unit $8 not loaded." >&2; [ ! -d $TOP/$8 ];;
esac
"""


def test_systemd_is_asked_for_the_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where systemd runs it makes the group, which busctl(1) asks for; else we do, in its place."""
    tree = hierarchies()[-1]
    top = f"{oci_groups._top(tree)}/oci.slice/oci-test.slice"
    (tmp_path / "busctl").write_text(FAKE)
    (tmp_path / "busctl").chmod(0o755)
    for name, value in {"LOG": str(tmp_path / "log"), "TOP": top}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    config = {"linux": {"cgroupsPath": "oci-test.slice:docker:1f"}}
    sleep = subprocess.Popen(["sleep", "1000"])
    try:
        for running in (str(tmp_path / "missing"), str(tmp_path)):
            monkeypatch.setattr(systemd, "RUNNING", running)
            made = oci_groups.make(config, "1f", sleep.pid, repr, by_systemd=True)
            inside = Path(f"/proc/{sleep.pid}/cgroup").read_text().splitlines()
            places = {line.rpartition(":")[2].partition("/oci.slice")[2] for line in inside}
            assert "/oci-test.slice/docker-1f.scope" in places
            assert (f"{top}/docker-1f.scope" in made.made) is (running != str(tmp_path))
            for path in made.paths:  # out of it, so that it can be removed
                above = path.partition("/oci.slice")[0]
                Path(above, "cgroup.procs").write_text(str(sleep.pid))
            made.remove()
            assert not any(map(os.path.exists, made.paths))
    finally:
        sleep.kill()
        sleep.wait()
        for each in hierarchies():
            for name in ("oci.slice/oci-test.slice", "oci.slice"):
                with contextlib.suppress(FileNotFoundError):
                    os.rmdir(f"{oci_groups._top(each)}/{name}")
    calls = (tmp_path / "log").read_text()
    assert "StartTransientUnit ssa(sv)a(sa(sv)) docker-1f.scope replace 5" in calls
    assert (
        f"Slice s oci-test.slice Delegate b true DefaultDependencies b false PIDs au 1 {sleep.pid}"
        in calls
    )
    assert "StopUnit ss docker-1f.scope replace" in calls


# --- Its life ------------------------------------------------------------------------------------


def test_a_life(kept: Runtime, tmp_path: Path) -> None:
    """Created, started, entered, stopped for a while, killed, deleted; and what hooks were told."""
    told = tmp_path / "told"
    moments = configuration.HOOKS
    script = f"(echo $0; cat; echo; readlink /proc/self/ns/mnt) >> {told}"
    hooks = {
        moment: [{"path": "/bin/sh", "args": ["sh", "-c", script, moment]}] for moment in moments
    }
    hooks["startContainer"] = [{"path": "/bin/sh", "args": ["sh", "-c", "cat > /dev/told"]}]
    loop = "trap 'exit 5' TERM; echo up > /dev/up; while :; do sleep 0.1; done"
    kept.configure(document("sh", "-c", loop) | {"hooks": hooks, "annotations": {"a": "b"}})
    name, pid_file = "oci-test-life", tmp_path / "pid"
    kept.said("create", "--pid-file", str(pid_file), name)
    found, pid = kept.status(name), int(pid_file.read_text())
    assert (found["status"], found["pid"], found["annotations"]) == ("created", pid, {"a": "b"})
    assert (found["id"], found["bundle"]) == (name, str(kept.bundle))
    assert proc.stat(pid).ppid != os.getpid()  # nobody's child: `create` has ended
    assert os.readlink(f"/proc/{pid}/exe").startswith("/memfd:labkit-python")  # CVE-2019-5736
    with pytest.raises(OSError, match=r"Text file busy|not permitted"):
        os.open(f"/proc/{pid}/exe", os.O_WRONLY)
    assert "sh" not in command_line(pid).decode().split("\0")
    assert "not stopped" in kept.run("delete", name).stderr
    assert "already exists" in kept.run("run", name).stderr  # and does not harm it
    kept.said("start", name)
    assert "not created" in kept.run("start", name).stderr
    rootfs = Path(f"/proc/{pid}/root")
    until((rootfs / "dev/up").exists)
    assert json.loads((rootfs / "dev/told").read_text())["pid"] == 1
    assert json.loads(kept.said("ps", "--format", "json", name))[0] == pid
    done = kept.run("exec", "--user", "7:8", "--cwd", "/etc", "--env", "B=3", name, "sh", "-c",
                    "id -u; pwd; echo $A $B $HOME; readlink /proc/self/ns/pid; exit 9")  # fmt: skip
    inside = os.readlink(f"/proc/{pid}/ns/pid")
    assert (done.stdout.split(), done.stderr) == (
        ["7", "/etc", "2", "3", "/home/seven", inside],
        "",
    )
    assert done.returncode == 9
    assert "executable file not found" in kept.run("exec", name, "nosuch").stderr
    kept.said("pause", name)
    assert kept.status(name)["status"] == "paused"
    kept.said("resume", name)
    assert [each["status"] for each in json.loads(kept.said("list", "--format", "json"))] == [
        "running"
    ]
    kept.said("kill", name, "TERM")
    until(lambda: kept.status(name)["status"] == "stopped")
    assert "container not running" in kept.run("kill", name).stderr
    kept.said("delete", name)
    assert "does not exist" in kept.run("state", name).stderr
    kept.said("delete", "--force", name)
    lines = told.read_text().split("\n")
    states = {lines[at]: json.loads(lines[at + 1]) for at in range(0, len(lines) - 1, 3)}
    namespaces = dict(zip(lines[::3], lines[2::3], strict=False))
    assert [*states] == [moment for moment in moments if moment != "startContainer"]
    assert states["createRuntime"]["pid"] == states["poststart"]["pid"] == pid
    assert (states["createRuntime"]["status"], states["createContainer"]["pid"]) == ("creating", 1)
    assert "pid" not in states["poststop"]
    host = os.readlink("/proc/self/ns/mnt")
    assert {moment for moment in namespaces if namespaces[moment] == host} == {*states} - {
        "createContainer"
    }


def test_what_waits_to_be_started_can_be_ended_at_any_moment(kept: Runtime, tmp_path: Path) -> None:
    """It has a handler before `create` hears of it, and the signal itself ends the wait."""
    kept.configure(document("true"))
    log, calls = tmp_path / "strace", "trace=rt_sigaction,sendto,?select,pselect6,accept4"
    strace = ("strace", "-f", "-qq", "-o", str(log), "-e", calls, "-e", "signal=none")
    Runtime((*strace, *kept.command), kept.root, kept.bundle).said("run", "oci-test-early")
    lines = log.read_text().splitlines()
    (waiting,) = {line.split()[0] for line in lines if "accept4(" in line}
    story = "\n".join(line for line in lines if line.startswith(f"{waiting} "))
    steps = (r"rt_sigaction\(SIGTERM, \{sa_handler=0x", "sendto.*ready", "select", r"accept4\(")
    assert re.search("(?s)" + ".*?".join(steps), story), story


def test_a_program_may_have_hardly_any_descriptors(kept: Runtime) -> None:
    limit = {"type": "RLIMIT_NOFILE", "soft": 8, "hard": 8}
    kept.configure(document("sh", "-c", "ulimit -n", rlimits=[limit]))
    assert kept.said("run", "oci-test-few") == "8\n"


@pytest.mark.parametrize("moment", ["createRuntime", "createContainer", "startContainer"])
def test_a_hook_that_fails_or_is_late_ends_it(moment: str, kept: Runtime) -> None:
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "echo reason >&2; exit 3"]}
    if moment == "createRuntime":
        hook = {"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}  # type: ignore[dict-item]
    kept.configure(document("true") | {"hooks": {moment: [hook]}})
    done = kept.run("run", f"oci-test-{moment}")
    why = "within 1 s" if moment == "createRuntime" else "exit status 3 reason"
    assert (done.returncode, kept.ids()) == (1, [])
    assert f"hook {moment}" in done.stderr
    assert why in done.stderr


@pytest.mark.parametrize(
    ("argv", "change", "why"),
    [
        ("nosuch", {}, 'exec: "nosuch": executable file not found in $PATH'),
        ("/etc/passwd", {}, 'exec: "/etc/passwd": permission denied'),
        ("true", {"root": {"path": "missing"}}, "no such file"),
        (
            "true",
            {"mounts": [{"destination": "/x", "type": "bind", "source": "gone"}]},
            "open_tree",
        ),
    ],
)
def test_what_cannot_be_made_leaves_nothing(
    argv: str, change: dict[str, Any], why: str, kept: Runtime, tmp_path: Path
) -> None:
    """An engine reads the reason in its log, and knows by its words which exit status is meant."""
    kept.configure(document(argv) | change)
    log = tmp_path / "log"
    logging = replace(kept, command=(*kept.command, "--log", str(log), "--log-format", "json"))
    done = logging.run("create", "oci-test-wrong")
    entry = json.loads(log.read_text())
    assert (done.returncode, entry["level"]) == (1, "error")
    assert why in entry["msg"]
    assert (kept.ids(), groups()) == ([], set())


def test_what_a_killed_create_left_can_be_deleted(kept: Runtime) -> None:
    """It had a folder, and had written nothing yet."""
    folder = Path(kept.root, "dead")
    folder.mkdir(parents=True)
    assert "does not exist" in kept.run("delete", "dead").stderr
    assert not folder.exists()


def test_a_terminal_for_an_engine(kept: Runtime, tmp_path: Path) -> None:
    """Its other end comes through a socket; inside it is the session's, and /dev/console."""
    script = "tty; stty size; test -c /dev/console && ps -o tty; echo done; read line"
    config = document("sh", "-c", script, terminal=True, consoleSize={"height": 33, "width": 77})
    kept.configure(config)
    path = tmp_path / "console"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        assert "--console-socket" in kept.run("create", "oci-test-tty").stderr
        kept.said("create", "--console-socket", str(path), "oci-test-tty")
        with listener.accept()[0] as console:
            name, fds, _, _ = socket.recv_fds(console, 100, 1)
        kept.said("start", "oci-test-tty")
        shown = read_until(fds[0], b"done\r\n")
        file = tmp_path / "process.json"
        file.write_text(
            json.dumps({"args": ["tty"], "cwd": "/", "terminal": True, "env": ["PATH=/bin"]})
        )
        asked = ("--process", str(file), "--detach", "--pid-file", str(tmp_path / "pid"))
        kept.said("exec", *asked, "--console-socket", str(path), "oci-test-tty")
        with listener.accept()[0] as console:
            fds += socket.recv_fds(console, 100, 1)[1]
        assert read_until(fds[1], b"\n") == b"/dev/pts/1\r\n"
    assert int((tmp_path / "pid").read_text()) > 0
    for fd in fds:
        os.close(fd)
    assert name == b"/dev/pts/0"
    assert shown.split()[:3] == [b"/dev/pts/0", b"33", b"77"]
    assert b"136,0" in shown


def test_a_terminal_in_front_of_us(kept: Runtime) -> None:
    """What is typed arrives, what is printed is shown, and the caller's terminal is as before."""
    script = "stty size; read line; echo got $line; exit 6"
    kept.configure(document("sh", "-c", script, terminal=True))
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (21, 43))
    before = termios.tcgetattr(slave)
    command = [*kept.command, "--root", str(kept.root), "run", "--no-pivot", "oci-test-front"]
    program = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, cwd=kept.bundle)
    try:
        read_until(master, b"21 43\r\n")
        os.write(master, b"hello\r")
        read_until(master, b"got hello\r\n")
        assert program.wait() == 6
        assert termios.tcgetattr(slave) == before
    finally:
        program.kill()
        program.wait()
        os.close(master)
        os.close(slave)


def test_descriptors_signals_and_the_exit_status(kept: Runtime) -> None:
    """Three streams and what is asked for are inherited; Python's ignored signals are not.

    Nor is how it is scheduled, which the configuration says.
    """
    script = "cat <&3; ls /proc/self/fd | wc -l; grep SigIgn /proc/self/status; kill -9 $$; exit 4"
    script = (
        "ionice; cut -d' ' -f19,41 /proc/self/stat; uname -m; cat /proc/sys/kernel/domainname;"
        + script
    )
    scheduler = {"policy": "SCHED_BATCH", "nice": 5}
    order = {"class": "IOPRIO_CLASS_BE", "priority": 3}
    config = document("sh", "-c", script, scheduler=scheduler, ioPriority=order)
    config["linux"]["personality"] = {"domain": "LINUX32"}
    kept.configure(config | {"domainname": "domain"})
    read, write = os.pipe()
    os.write(write, b"given\n")
    os.close(write)
    command = [*kept.command, "--root", str(kept.root), "run", "--preserve-fds", "1"]
    moved = f"import os, sys; os.dup2({read}, 3); os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", moved, *command, "oci-test-fds"],
        pass_fds=[read],
        capture_output=True,
        text=True,
        cwd=kept.bundle,
    )
    os.close(read)
    io, scheduled, machine, domain, given, count, ignored = done.stdout.splitlines()
    assert (io, scheduled, domain) == ("best-effort: prio 3", "5 3", "domain")
    assert machine != os.uname().machine  # as a 32-bit program is told
    assert (given, int(count)) == ("given", 5)  # 0 to 3, and the directory itself
    # make(1) ignores two that the C library keeps for itself, and so do all below it.
    inherited = int(proc.status()["SigIgn"], 16) >> 31 << 31
    assert int(ignored.split()[1], 16) == inherited
    assert done.returncode == 4  # PID 1 is not killed from inside


def test_features_name_what_we_know(kept: Runtime) -> None:
    found = json.loads(kept.said("features"))
    assert found["linux"]["capabilities"] == [*CAPABILITIES]
    assert {"ro", "rro", "rbind", "idmap", "rslave"} <= {*found["mountOptions"]}
    assert found["hooks"] == [*configuration.HOOKS]
