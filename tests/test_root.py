"""A root directory of its own: what is in it, what is not, and what no path leads to."""

import errno
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from conftest import ROOT, TAKES_LAYERS

from labkit import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    Container,
    Finished,
    Limits,
    Root,
    enter,
    run,
    start,
)
from labkit.cgroups.hierarchy import hierarchies
from labkit.container import new_root
from labkit.container.devices import NODES
from labkit.container.root import MASKED, READONLY_PATHS
from labkit.engine.connection import rootless
from labkit.engine.inner_pty import InnerPty
from labkit.linux import proc
from labkit.linux.pty import Pty
from labkit.text.words import words_of

ALL = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
SHELL = Container(("sh",), cloneflags=ALL, hostname="box", proc=True, env={"PATH": "/bin"})
ORDINARY = "ordinary user"
WAYS = ["root", "rootless", "rootless engine", ORDINARY]


def sh(script: str, root: Root, **fields: object) -> Finished:
    """What `script` does in a container with `root`."""
    box = replace(SHELL, argv=("sh", "-c", script), root=root, **cast("Any", fields))
    return run(box)


def said(script: str, root: Root, **fields: object) -> list[str]:
    """The lines that `script` prints, which must succeed."""
    done = sh(script, root, **fields)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def by(way: str, nobody: list[str], script: str, root: Root) -> Finished:
    """What `script` does in a container that is made in one of the WAYS."""
    if way == "root":
        return sh(script, root)
    if way == "rootless":
        return sh(script, root, rootless=True)
    if way == "rootless engine":
        with rootless():
            return sh(script, root)
    box = replace(SHELL, argv=("sh", "-c", script), root=root, rootless=True)
    program = (
        "import sys; from labkit import *; d = run(Container.from_json(sys.argv[1]))\n"
        "print(d.returncode, repr(d.stdout), repr(d.stderr), sep=chr(1), end='')"
    )
    done = subprocess.run([*nobody, "-c", program, box.to_json()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    code, out, err = done.stdout.split("\1")
    return Finished(int(code), eval(out), eval(err), (), {}, 0)  # noqa: S307 - our own repr


# --- What is there ------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_root_has_what_programs_expect(way: str, base: Path, nobody: list[str]) -> None:
    """However it was made: the devices work, /proc is its own, nothing of the host's is seen."""
    script = """
        ls /; id -u; hostname; cat /etc/hostname; cat /proc/1/comm
        echo lost > /dev/null; cat /dev/null; head -c 3 /dev/zero | wc -c
        head -c 3 /dev/urandom | wc -c; for l in fd stdin ptmx; do readlink /dev/$l; done
        echo 2>/dev/full x > /dev/full || echo full
        echo kept > /dev/shm/a; cat /dev/shm/a; grep -c . /etc/hosts; umask
        ls /dev
    """
    done = by(way, nobody, script, Root(layers=(str(base),)))
    assert done.stdout.split() == [
        *("bin", "dev", "etc", "proc", "sys", "0", "box", "box", "sh", "3", "3"),
        *("/proc/self/fd", "/proc/self/fd/0", "pts/ptmx", "full", "kept", "3", "0022"),
        *("fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin"),
        *("stdout", "tty", "urandom", "zero"),
    ]
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert sorted(os.listdir(base)) == ["bin"]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_mounted_is_what_docker_mounts(way: str, base: Path, nobody: list[str]) -> None:
    done = by(way, nobody, "cat /proc/self/mountinfo", Root(layers=(str(base),)))
    mounts = {m.point: m for m in map(proc.Mount, done.stdout.encode().split(b"\n")[:-1])}
    assert [m.kind for m in mounts.values()].count("overlay") == 1
    assert mounts["/"].kind == "overlay"
    assert [mounts[p].kind for p in ("/proc", "/sys", "/dev", "/dev/pts", "/dev/mqueue")] == [
        *("proc", "sysfs", "tmpfs", "devpts", "mqueue")
    ]
    options = {p: {*m.options.split(",")} for p, m in mounts.items()}
    assert options["/sys"] >= {"ro", "nosuid", "nodev", "noexec"}
    assert options["/proc"] >= {"rw", "nosuid", "nodev", "noexec"}
    assert {"nosuid"} == options["/dev"] & {"nosuid", "nodev", "noexec"}
    there = {p for p in (*MASKED, *READONLY_PATHS) if os.path.exists(p)}
    assert {*mounts} >= there
    assert all("ro" in options[p] for p in {*READONLY_PATHS} & there)
    others = {*mounts} - there - {f"/dev/{name}" for name in (*NODES, "pts", "shm", "mqueue")}
    assert others == {"/", "/proc", "/sys", "/dev"} | {
        *(f"/etc/{name}" for name in ("hostname", "hosts", "resolv.conf")),
    }


def test_what_is_masked_tells_nothing_and_what_is_read_only_stays(base: Path) -> None:
    root = Root(layers=(str(base),))
    (text,) = said("cat /proc/keys /proc/timer_list | wc -c", root)
    assert text == "0"
    look = "for each in /sys/firmware /proc/acpi; do [ ! -d $each ] || ls -A $each; done"
    assert said(look, root) == []  # not every processor has both
    assert "No such file" in sh("touch /sys/firmware/x", root).stderr  # it has lost its name
    assert "empty" not in said("ls /dev", root)
    done = sh("echo x > /proc/sys/kernel/hostname; mkdir /sys/x", root)
    assert done.stderr.count("Read-only file system") == 2
    (open_,) = said("cat /proc/timer_list | wc -c", replace(root, masked=(), readonly_paths=()))
    assert int(open_) > 0


def test_a_mask_of_ones_own_covers_a_file_or_a_directory(directory: Path) -> None:
    (directory / "secret").write_text("told")
    (directory / "kept").mkdir()
    (directory / "kept" / "inside").write_text("told")
    root = Root(str(directory), masked=("/secret", "/kept", "/nowhere"))
    assert said("cat /secret; ls /kept", root) == []


def test_the_list_of_what_is_masked_is_runcs_or_longer(tmp_path: Path) -> None:
    subprocess.run(["runc", "spec"], cwd=tmp_path, check=True)
    spec = json.loads((tmp_path / "config.json").read_text())["linux"]
    assert {*MASKED} >= {*spec["maskedPaths"]}
    assert [*READONLY_PATHS] == spec["readonlyPaths"]


def test_a_bare_root_has_nothing_but_itself(directory: Path) -> None:
    assert said("ls /; cat /proc/1/comm; true", Root(str(directory), bare=True)) == [
        "bin",
        "proc",
        "sh",
    ]
    assert said("ls /", Root(str(directory / "bin" / ".."), bare=True), proc=False) == [
        "bin",
        "proc",
    ]


def test_the_files_of_etc_are_the_containers_own_and_leave_nothing(directory: Path) -> None:
    (directory / "etc").mkdir()
    (directory / "etc" / "hosts").write_text("of the image")
    root = Root(str(directory))
    lines = said(
        "cat /etc/hosts /etc/hostname; echo more >> /etc/hosts; ls /dev | grep ^h; true", root
    )
    assert lines == [
        "127.0.0.1\tlocalhost",
        "127.0.1.1\tbox",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "box",
    ]
    assert (directory / "etc" / "hosts").read_text() == "of the image"
    assert (directory / "etc" / "hostname").read_text() == ""
    shared = ALL & ~CLONE_NEWNET
    found = said("cat /etc/hosts /etc/resolv.conf", root, cloneflags=shared)
    given = [Path(f"/etc/{name}") for name in ("hosts", "resolv.conf")]
    assert found == "".join(p.read_text() for p in given if p.exists()).splitlines()


def test_without_a_network_of_its_own_sys_is_the_hosts(base: Path) -> None:
    """Root of a user namespace may mount no sysfs then: the host's is bound, read-only."""
    root = Root(layers=(str(base),))
    done = sh("ls /sys/class/net; touch /sys/x; id -u", root, cloneflags=ALL & ~CLONE_NEWNET)
    bound = sh(
        "ls /sys/class/net; touch /sys/x; id -u",
        root,
        cloneflags=ALL & ~CLONE_NEWNET,
        rootless=True,
    )
    assert done.stdout == bound.stdout
    assert done.stderr == bound.stderr == "touch: /sys/x: Read-only file system\n"


# --- Programs -----------------------------------------------------------------------------------


def test_program_and_working_directory_are_looked_up_inside(directory: Path) -> None:
    (directory / "only-here").mkdir()
    (directory / "only-here" / "tool").write_text("#!/bin/sh\npwd\n")
    (directory / "only-here" / "tool").chmod(0o755)
    root = Root(str(directory))
    box = replace(SHELL, root=root, argv=("tool",), env={"PATH": "/nowhere:/only-here"})
    assert run(box).stdout == "/\n"
    assert run(replace(box, argv=("./tool",), cwd="/only-here")).stdout == "/only-here\n"
    missing = run(replace(box, argv=(sys.executable,)))
    assert missing.returncode == 127
    assert "No such file" in missing.stderr


def test_exec_and_enter_go_to_its_root(base: Path) -> None:
    """And what it left in memory is there: it is the same root."""
    box = replace(SHELL, argv=("sleep", "1000"), root=Root(layers=(str(base),)))
    with start(box) as running:
        for way in (running.exec, lambda argv: enter(running.pid, argv)):
            done = way(("/bin/sh", "-c", "cd /; ls; echo $$ >> /new"))
            assert "bin" in done.stdout.split()
            assert not {"home", "usr", "boot"} & {*done.stdout.split()}
        assert running.exec(("/bin/wc", "-l", "/new")).stdout == "2 /new\n"
    assert os.listdir(base) == ["bin"]


def test_its_terminal_is_one_of_its_own(base: Path) -> None:
    """Made in its own /dev/pts, so that its name is there; it is the console too, as with Docker.

    The master has come to us, and nobody inside has it.
    """
    kinds: tuple[dict[str, Any], ...] = (
        {},
        {"rootless": True},
        {"user": (5, 6, ())},
        {"init": True},
    )
    # Not a pipe: ls would look at grep while that begins, and closes what it has opened.
    script = """tty; tty < /dev/console; echo x > /dev/tty; echo y > $(tty); ls /dev/pts
        stty size; ls /proc/*/fd > /dev/shm/found; grep -c ptmx /dev/shm/found"""
    for fields in kinds:
        box = replace(
            SHELL,
            argv=("sh", "-c", script),
            root=Root(layers=(str(base),)),
            tty=True,
            **fields,
        )
        said = ["/dev/pts/0", "/dev/console", "x", "y", "0", "ptmx", "24", "80", "0"]
        assert run(box).stdout.split() == said


def test_a_terminal_from_outside_is_its_console(base: Path) -> None:
    """One that its caller has made has no name inside, so it is bound there."""
    pty = Pty()
    box = replace(SHELL, argv=("tty",), root=Root(layers=(str(base),)), tty=True)
    with start(box, stdin=pty.slave) as running:
        assert running.wait().stdout == "/dev/console\n"
    pty.close()


def test_what_is_no_terminal_is_not_taken_for_one() -> None:
    """A program inside could send anything: the caller looks at what it gets."""
    pty = InnerPty()
    with socket.socket(fileno=os.dup(pty.slave)) as theirs:
        socket.send_fds(theirs, [b"!"], [0])
    with pytest.raises(ValueError, match="no terminal"):
        pty.arrive()
    pty = InnerPty()
    pty.give_away()
    assert not pty.arrive()
    assert pty.fileno() == -1


def test_a_terminal_made_inside_is_in_its_own_pts() -> None:
    """The first one that the container's /dev/ptmx gives has the number 0."""
    root = Root(layers=("/",))
    program = "import os; print(os.ttyname(os.openpty()[1]), *os.listdir('/dev/pts'))"
    box = replace(SHELL, argv=(sys.executable, "-I", "-S", "-c", program), root=root)
    assert sorted(run(box).stdout.split()) == ["/dev/pts/0", "0", "ptmx"]


@pytest.mark.parametrize("version", [1, 2])
def test_its_control_groups_are_there_to_be_read(
    base: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of either version, as far as the kernel has it: it mounts the second one everywhere.

    They begin at its own group: of what is above it says nothing.
    """
    trees = [tree for tree in hierarchies() if tree.version == version]
    kind = "cgroup" if any("pids" in t.controllers for t in trees if version == 1) else "cgroup2"
    monkeypatch.setattr(new_root, "hierarchies", lambda: trees)
    box = replace(
        SHELL,
        argv=("sh", "-c", "cd /sys/fs/cgroup; ls . *; mkdir x; cat /proc/self/mountinfo"),
        env={"VERSION": str(version)},  # the same container would be made as the last time
        cloneflags=ALL | CLONE_NEWCGROUP,
        root=Root(layers=(str(base),), cgroups=True),
        limits=Limits(pids=20),
    )
    done = run(box)
    mounts = [line.split() for line in done.stdout.splitlines() if "/sys/fs/cgroup" in line]
    groups = [words for words in mounts if words[words.index("-") + 1] == kind]
    assert groups
    assert {words[3] for words in groups} == {"/"}
    assert all("ro" in words[5].split(",") for words in mounts)
    assert "cgroup.procs" in done.stdout
    assert "Read-only file system" in done.stderr


# --- Layers -------------------------------------------------------------------------------------


def test_changes_go_to_upper_or_nowhere(base: Path, tmp_path: Path) -> None:
    (tmp_path / "lower").mkdir()
    (tmp_path / "lower" / "file").write_text("below\n")
    layers = (str(tmp_path / "lower"), str(base))
    script = "cat /file; echo changed > /file; rm /bin/awk; cat /file"
    assert said(script, Root(layers=layers)) == ["below", "changed"]
    assert said(script, Root(layers=layers)) == ["below", "changed"]
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    kept = Root(layers=layers, upper=str(tmp_path / "upper"), work=str(tmp_path / "work"))
    assert said(script, kept) == ["below", "changed"]
    assert said("cat /file", kept) == ["changed"]
    assert (tmp_path / "upper" / "file").read_text() == "changed\n"
    assert (tmp_path / "upper" / "bin" / "awk").is_char_device()
    assert (tmp_path / "lower" / "file").read_text() == "below\n"
    assert (base / "bin" / "awk").is_symlink()


@pytest.mark.parametrize("fields", [{}, {"rootless": True}], ids=["root", "rootless"])
def test_more_layers_than_a_page_of_options(
    fields: dict[str, Any], base: Path, tmp_path: Path
) -> None:
    layers = [tmp_path / f"{'a layer with a long name, ' * 5}{n:03}" for n in range(60)]
    for n, layer in enumerate(layers):
        layer.mkdir()
        (layer / f"of-{n:03}").touch()
        (layer / "which").write_text(f"{n}\n")
    tmp_path.chmod(0o755)
    root = Root(layers=(*map(str, layers), str(base)))
    if not TAKES_LAYERS:
        with pytest.raises(ValueError, match=r"takes Linux 6\.5"):
            sh("true", root, **fields)
        return
    done = sh("ls -d /of-* | wc -l; cat /which", root, **fields)
    assert (done.stdout, done.stderr) == ("60\n0\n", "")
    assert any("lowerdir+" in line for line in done.trace)


def test_any_name_can_be_a_layers(base: Path, tmp_path: Path) -> None:
    r"""What ends an option or a path of an overlay is escaped: ``,`` ``:`` and ``\``."""
    odd = tmp_path / "a,b:c\\d 盒子"
    for name in ("lower", "upper", "work"):
        (odd / name).mkdir(parents=True)
    (odd / "lower" / "found").touch()
    upper, work = str(odd / "upper"), str(odd / "work")
    root = Root(layers=(str(odd / "lower"), str(base)), upper=upper, work=work)
    assert "/found" in said("ls -d /*; touch /new", root)
    assert (odd / "upper" / "new").exists()


def test_a_layer_may_lie_where_the_changes_would_be_kept(base: Path) -> None:
    """Without upper, a tmpfs covers the host's /dev while the overlay is made."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        Path(folder).chmod(0o755)
        Path(folder, "here").touch()
        root = Root(layers=(folder, str(base)))
        for rootless_ in (False, True):
            assert "/here" in said("ls -d /*; touch /new", root, rootless=rootless_)


def test_a_read_only_root_takes_nothing_but_what_is_mounted_in_it_does(base: Path) -> None:
    root = Root(layers=(str(base),), readonly=True, tmpfs=("/run", "/tmp:size=1m,exec,mode=700"))
    script = """
        touch /x 2>&1; echo ok > /run/a; cat /run/a; echo ok > /dev/shm/a; cat /dev/shm/a
        grep ' /run ' /proc/mounts; grep ' /tmp ' /proc/mounts
    """
    refused, *_, of_run, of_tmp = said(script, root)
    assert refused == "touch: /x: Read-only file system"
    assert {"rw", "nosuid", "nodev", "noexec"} <= {*of_run.split()[3].split(",")}
    assert {"size=1024k", "mode=700"} <= {*of_tmp.split()[3].split(",")}
    assert "noexec" not in of_tmp


# --- Volumes ------------------------------------------------------------------------------------


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A directory of the host, to be seen in a container."""
    place = tmp_path / "host"
    (place / "below").mkdir(parents=True)
    (place / "file").write_text("of the host\n")
    return place


@pytest.mark.parametrize("way", WAYS)
def test_a_volume_is_the_hosts_own_directory_or_file(
    way: str, base: Path, host: Path, nobody: list[str]
) -> None:
    (host / "below").chmod(0o777)
    for part in (host, *host.parents):
        part.chmod(part.stat().st_mode | 0o055)
    mounts = (f"{host}:/data/inner:ro", f"{host}/file:/etc/one", f"{host}/below:/new")
    script = "cat /data/inner/file /etc/one; touch /data/inner/x; touch /new/made"
    done = by(way, nobody, script, Root(layers=(str(base),), volumes=mounts))
    assert done.stdout == "of the host\n" * 2
    assert done.stderr == "touch: /data/inner/x: Read-only file system\n"
    assert (host / "below" / "made").exists()
    assert sorted(os.listdir(base)) == ["bin"]


WITH_SUBMOUNT = """
import sys
from labkit import *
from labkit.container import volumes
if sys.argv[3] == "old":
    volumes.knows_mount_setattr = lambda: False
root = Root(layers=(sys.argv[1],), volumes=(sys.argv[2] + ":/data:ro",), readonly=True)
box = Container(("sh", "-c", "touch /data/x; touch /data/below/x; touch /x; ls /data/below"),
    cloneflags=CLONE_NEWNS | CLONE_NEWPID, proc=True, env={"PATH": "/bin"}, root=root,
    rootless=len(sys.argv) > 4)
done = run(box)
print(done.stdout + done.stderr)
print("mount_setattr" in str(done.trace))
"""


@pytest.mark.parametrize("kernel", ["new", "old"])
@pytest.mark.parametrize("way", [[], ["rootless"]], ids=["root", "rootless"])
def test_what_is_mounted_in_a_read_only_volume_is_read_only_too(
    kernel: str, way: list[str], base: Path, host: Path
) -> None:
    """An old kernel has no mount_setattr(2): each mount is remounted."""
    for part in (host, *host.parents):
        part.chmod(part.stat().st_mode | 0o055)
    script = 'mount -t tmpfs -o nosuid,nodev tmpfs "$1" && touch "$1/inside" && shift && exec "$@"'
    command = [sys.executable, "-c", WITH_SUBMOUNT, str(base), str(host), kernel, *way]
    outer = ["unshare", "--mount", "sh", "-ec", script, "sh", str(host / "below")]
    done = subprocess.run([*outer, *command], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == ""
    told = done.stdout.splitlines()
    assert told[0] == "inside"
    assert [line for line in told if "Read-only file system" in line] == [
        f"touch: {path}: Read-only file system" for path in ("/data/x", "/data/below/x", "/x")
    ]
    assert told[-1] == str(kernel == "new")


def test_a_link_of_the_image_leads_no_mount_outside(directory: Path, tmp_path: Path) -> None:
    """Whatever the image has in place of a mount point: what is mounted is inside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "file").write_text("volume\n")
    climb = "../" * 20 + str(outside).lstrip("/")
    (directory / "absolute").symlink_to(outside)
    (directory / "relative").symlink_to(climb)
    inside = directory / str(outside).lstrip("/")
    inside.mkdir(parents=True)
    for link in ("absolute", "relative"):
        root = Root(str(directory), volumes=(f"{tmp_path}/host:/{link}/a/b",))
        assert said(f"cat {outside}/a/b/file /{link}/a/b/file", root) == ["volume"] * 2
    assert os.listdir(outside) == []
    assert (inside / "a" / "b").is_dir()


@pytest.mark.parametrize("link", ["proc", "sys", "dev", "etc"])
@pytest.mark.parametrize("way", [[], ["rootless"]], ids=["root", "rootless"])
def test_a_link_in_place_of_a_directory_changes_nothing_outside(
    link: str, way: list[str], directory: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o777)
    for part in (tmp_path, *tmp_path.parents):
        part.chmod(part.stat().st_mode | 0o055)
    (directory / link).symlink_to(outside)
    (directory / str(outside).lstrip("/")).mkdir(parents=True)
    sh("true", Root(str(directory)), rootless=bool(way))
    assert os.listdir(outside) == []


def test_no_magic_link_of_proc_leads_a_volume_outside(directory: Path, tmp_path: Path) -> None:
    """/proc/self/cwd and the descriptors of the engine are open directories of the host."""
    (tmp_path / "host").mkdir()
    for number in range(3, 20):
        (directory / f"fd{number}").symlink_to(f"/proc/self/fd/{number}")
        root = Root(str(directory), volumes=(f"{tmp_path}/host:/fd{number}/made",))
        with pytest.raises(OSError, match="openat2") as caught:
            sh("true", root)
        assert caught.value.errno in (errno.ENOENT, errno.EXDEV)
        assert caught.value.errno == errno.ENOENT or "magic link" in words_of(caught.value)[0].en
    shutil.rmtree(directory / "etc")
    (directory / "etc").symlink_to("/proc/self/fd/4")
    with pytest.raises(OSError, match="openat2"):
        sh("true", Root(str(directory)))


def test_a_link_that_leads_nowhere_is_refused_or_passed_over(directory: Path, host: Path) -> None:
    (directory / "gone").symlink_to("/nowhere")
    with pytest.raises(FileNotFoundError) as caught:
        sh("true", Root(str(directory), volumes=(f"{host}:/gone",)))
    assert "符号链接" in words_of(caught.value)[0].zh
    (directory / "etc").mkdir(exist_ok=True)
    (directory / "etc" / "resolv.conf").unlink(missing_ok=True)
    (directory / "etc" / "resolv.conf").symlink_to("../run/resolved/resolv.conf")
    assert said("cat /etc/hostname", Root(str(directory))) == ["box"]


# --- Nothing of the host is left, and nothing is left on the host -------------------------------


def test_no_path_leads_back(base: Path) -> None:
    """Neither the way out of a chroot, nor a descriptor, nor a mount of the host's."""
    script = """
        mkdir /jail; chroot /jail /bin/true 2>/dev/null
        cd ..; cd ../../..; ls; cat /proc/self/mountinfo | wc -l
        for fd in /proc/self/fd/*; do readlink $fd; done | grep -v pipe | grep -v /proc
        ls /proc/1/root/
    """
    done = sh(script, Root(layers=(str(base),)))
    assert "home" not in done.stdout.split()
    assert "usr" not in done.stdout.split()


def test_a_killed_one_leaves_nothing_behind(base: Path) -> None:
    box = replace(SHELL, argv=("sleep", "1000"), root=Root(layers=(str(base),)))
    with start(box) as running:
        running.kill(9)
    assert os.listdir(base) == ["bin"]
    assert not [m for m in proc.mounts() if str(base) in m.super_options + m.point + m.root]


NESTED = """
import sys
from labkit import *
every = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
box = Container(("sh", "-c", "ls / /dev/null; cat /proc/1/comm; touch /x"), cloneflags=every,
    hostname="box", proc=True, env={"PATH": "/bin"}, root=Root(layers=(sys.argv[1],)))
print(run(box).stdout.split())
try:
    print(run(Container(box.argv, cloneflags=every, proc=True, rootless=True, root=box.root)))
except PermissionError as error:
    print(error.call, error.words[0].en)
"""


def test_in_a_container_the_lab_makes_others(base: Path) -> None:
    """Overlay lies on overlay, changes in memory. A masked /proc forbids root of a user namespace
    another one, and the error says so."""
    root = Root(layers=("/",), volumes=(f"{base}:{base}", f"{ROOT}:{ROOT}"))
    outer = Container(
        (sys.executable, "-c", NESTED, str(base)),
        cloneflags=ALL,
        proc=True,
        root=root,
        cwd=str(ROOT),
    )
    done = run(outer)
    assert done.stderr == ""
    real, rootless_ = done.stdout.splitlines()
    assert real == "['/dev/null', '/:', 'bin', 'dev', 'etc', 'proc', 'sys', 'sh']"
    assert rootless_.startswith('mount("proc"')
    assert "masks parts of /proc" in rootless_


# --- What is refused ----------------------------------------------------------------------------


def refused(root: Root, *, kind: type[OSError], **fields: object) -> str:
    """What an English reader is told of a root that the kernel refuses."""
    with pytest.raises(kind) as caught:
        sh("true", root, **fields)
    words = words_of(caught.value)
    assert len(words) == 1
    assert "\n" not in words[0].zh + words[0].en
    return words[0].en


def test_what_is_not_there_is_named(base: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    missing, file, layers = str(tmp_path / "none"), str(tmp_path / "file"), (str(base),)
    gone, no_directory = FileNotFoundError, NotADirectoryError
    assert "does not exist" in refused(Root(missing), kind=gone)
    assert "no directory" in refused(Root(file), kind=no_directory)
    assert "layers" in refused(Root(layers=(missing, *layers)), kind=gone)
    assert "layers" in refused(Root(layers=(file, *layers)), kind=OSError)
    assert "volume" in refused(Root(layers=layers, volumes=(f"{missing}:/a",)), kind=gone)
    onto = Root(layers=layers, volumes=(f"{tmp_path}:/bin/busybox",))
    assert "directory only" in refused(onto, kind=OSError)
    into = Root(layers=layers, volumes=(f"{tmp_path}:/bin/busybox/a",))
    refused(into, kind=no_directory)
    assert "lies in another" in refused(Root(layers=(str(base / "bin"), *layers)), kind=OSError)


def test_a_root_on_a_read_only_file_system_without_mount_points(base: Path) -> None:
    script = 'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; shift; exec "$@"'
    program = """
import sys
from labkit import *
try:
    run(Container(("true",), cloneflags=CLONE_NEWNS, root=Root(sys.argv[1])))
except OSError as error:
    print(error.call, error.words[0].en)
"""
    command = ["unshare", "--mount", "sh", "-ec", script, "sh", str(base)]
    command += [sys.executable, "-c", program, str(base)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith('mkdirat(AT_FDCWD, "sys", 0755) The root lacks a mount point')


def test_upper_on_an_overlay_is_explained(base: Path, tmp_path: Path) -> None:
    script = """
        cd "$1"; mkdir l u w m; mount -t overlay -o lowerdir=l,upperdir=u,workdir=w overlay m
        mkdir m/upper m/work; shift; exec "$@"
    """
    program = """
import sys
from labkit import *
base, there = sys.argv[1:]
root = Root(layers=(base,), upper=there + "/m/upper", work=there + "/m/work")
try:
    run(Container(("true",), cloneflags=CLONE_NEWNS, root=root))
except OSError as error:
    print(error.words[0].en)
"""
    command = ["unshare", "--mount", "sh", "-ec", script, "sh", str(tmp_path)]
    command += [sys.executable, "-c", program, str(base), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert "upper is on an overlay itself" in done.stdout


WRONG: list[tuple[dict[str, object], str]] = [
    ({}, "either a path or layers"),
    ({"path": "/a", "layers": ("/b",)}, "either a path or layers"),
    ({"path": "/"}, "the host's own /"),
    ({"path": "/usr/.."}, "the host's own /"),
    ({"layers": ("a",)}, "a whole path"),
    ({"layers": ("/a",), "upper": "/b"}, "go together"),
    ({"path": "/a", "upper": "/b", "work": "/c"}, "go together"),
    ({"path": "/a", "volumes": ("/b",)}, "a volume is"),
    ({"path": "/a", "volumes": ("b:/c",)}, "a volume is"),
    ({"path": "/a", "volumes": ("/b:/c:rx",)}, "a volume is"),
    ({"path": "/a", "volumes": ("/b:/c:ro:z",)}, "a volume is"),
    ({"path": "/a", "volumes": ("/b:c",)}, "a place in the container"),
    ({"path": "/a", "volumes": ("/b:/",)}, "a place in the container"),
    ({"path": "/a", "volumes": ("/b:/c/..",)}, "a place in the container"),
    ({"path": "/a", "volumes": ("/b:/c", "/d:/c/")}, "duplicate mount point: /c"),
    ({"path": "/a", "volumes": ("/b:/c",), "tmpfs": ("/c",)}, "duplicate mount point: /c"),
    ({"path": "/a", "tmpfs": ("run",)}, "a place in the container"),
    ({"path": "/a", "tmpfs": ("/run:siez=3",)}, "no such option: 'siez=3'"),
    ({"path": "/a\0b"}, "NUL"),
]


@pytest.mark.parametrize(("fields", "told"), WRONG, ids=map(str, range(len(WRONG))))
def test_what_can_be_no_root_is_refused_at_once(fields: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)) as caught:
        Root(**fields)  # type: ignore[arg-type]
    assert told in caught.value.args[0].en
    assert caught.value.args[0].zh


def test_a_root_takes_a_mount_namespace() -> None:
    with pytest.raises(ValueError, match="root needs CLONE_NEWNS"):
        Container(("true",), root=Root("/a"))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"volumes": "/a:/b"}, "is a set of texts"),
        ({"readonly": "no"}, "True or False"),
        ({"path": 3}, "must be text"),
    ],
    ids=["text", "word", "number"],
)
def test_a_wrong_kind_of_value_is_refused(fields: dict[str, object], told: str) -> None:
    with pytest.raises(TypeError) as caught:
        Root(**{"path": "/a", **fields})  # type: ignore[arg-type]
    assert told in caught.value.args[0].en
    with pytest.raises(TypeError) as caught:
        replace(SHELL, root="/a")  # type: ignore[arg-type]
    assert "root is a Root" in caught.value.args[0].en


def test_it_is_a_value() -> None:
    root = Root("/a", volumes=["/b:/c:ro"], tmpfs=("/run",))
    assert root == Root("/a", volumes=("/b:/c:ro",), tmpfs=["/run"])
    assert repr(root) == "Root('/a', volumes=('/b:/c:ro',), tmpfs=('/run',))"
    box = replace(SHELL, root=root)
    assert Container.from_json(box.to_json()) == box
    assert hash(box) == hash(replace(box))
    assert json.loads(box.to_json())["root"] == {
        "path": "/a",
        "volumes": ["/b:/c:ro"],
        "tmpfs": ["/run"],
    }
    deep = Root("/a", volumes=("/s:/x/y/z", "/s:/x"), tmpfs=("/x/y",))
    assert [mount.target for mount in deep.mounts()] == ["/x", "/x/y", "/x/y/z"]
