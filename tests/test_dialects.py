"""The five languages of a container: what they say is run, and does what labkit.run does."""

import contextlib
import io
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from test_go import compiler

from labkit import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    Clone,
    Container,
    Limits,
    run,
)
from labkit.docker.order import parse
from labkit.docker.rights import DEFAULT, MAX_ID, available
from labkit.linux.namespaces import KINDS
from labkit.notebook.views import dialects
from labkit.notebook.views.dialects import number, python, shell, translations
from labkit.notebook.views.docker_line import docker_line
from labkit.notebook.views.go_program import go_program, go_string
from labkit.text.words import Words

EVERY = Clone(sum(Clone))
LINKS = ("sh", "-c", "readlink /proc/self/ns/*; echo ---")
SUBSETS = [Clone(sum(each)) for n in range(9) for each in itertools.combinations(Clone, n)]
ODD = (
    "one word",
    "",
    "'",
    '"',
    "$HOME `id`",
    "a\\nb",
    "new\nline",
    "\t",
    "中 — é",
    "*",
    "\x7f\x01",
)
BOXES = {
    "plain": Container(("id", "-u")),
    "named": Container(("uname", "-n"), cloneflags=CLONE_NEWUTS, hostname="box"),
    "odd name": Container(("uname", "-n"), cloneflags=CLONE_NEWUTS, hostname="盒 $x '\\n"),
    "no name": Container(("uname", "-n"), cloneflags=CLONE_NEWUTS, hostname=""),
    "odd words": Container(("printf", "<%s>", *ODD)),
    "odd words, named": Container(
        ("printf", "<%s>", *ODD), cloneflags=CLONE_NEWUTS | CLONE_NEWUSER, hostname="-x"
    ),
    "bytes": Container(("printf", "%s", os.fsdecode(b"\xff\xc3"))),
    "first": Container(
        ("sh", "-c", "echo $$; ls -d /proc/[0-9]*"),
        cloneflags=CLONE_NEWPID | CLONE_NEWNS,
        proc=True,
    ),
    "nobody": Container(
        ("sh", "-c", "id -u; uname -n; grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status; pwd"),
        cloneflags=EVERY, hostname="box", proc=True, cwd="/proc",
    ),
    "elsewhere": Container(("pwd",), cwd="/usr/../tmp"),
    "environment": Container(("env",), env={"A": "1 '\"\n2", "B": "$A", "PATH": "/usr/bin:/bin"}),
    "few variables": Container(("env",), env={"A": "1"}, cloneflags=CLONE_NEWUTS, hostname="box"),
    "rootless": Container(
        ("sh", "-c", "id -u; cat /proc/self/uid_map /proc/self/setgroups; uname -n"),
        cloneflags=CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWNS,
        hostname="box", proc=True, rootless=True,
    ),
    "private mounts": Container(
        ("sh", "-c", "grep -c ' shared:' /proc/self/mountinfo || :"), cloneflags=CLONE_NEWNS
    ),
}  # fmt: skip


# What not every language has words for.
POWERS = Container(
    ("grep", "-E", "Cap|NoNewPrivs", "/proc/self/status"),
    capabilities=("CHOWN", "KILL"), ambient_caps=("KILL",), no_new_privs=True,
)  # fmt: skip
CLOCKS = Container(
    ("sh", "-c", "cut -d. -f1 /proc/uptime | cut -c1-5"),
    cloneflags=CLONE_NEWTIME, time_offsets={"boottime": 10**10 // 7, "monotonic": 5},
)  # fmt: skip
LIMITED = Container(
    ("cat", "/proc/self/cgroup"),
    limits=Limits(memory="64m", cpus=0.5, pids=9, devices=("/dev/null:r", "c 1:3 rwm")),
)  # fmt: skip
TUNED = Container(
    ("cat", "/proc/self/limits"), cloneflags=CLONE_NEWPID | CLONE_NEWNET, init=True,
    rlimits={"nofile": (5, 6), "core": (0, -1)}, sysctls={"net.ipv4.ip_forward": "1"},
    oom_score_adj=9,
)  # fmt: skip
MAPPED = Container(
    ("sh", "-c", "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups"),
    cloneflags=CLONE_NEWUSER, uid_map=[(0, 100000, 5)], gid_map=[(0, 100000, 9)],
    setgroups=True,
)  # fmt: skip


def blocks(output: str) -> list[set[str]]:
    """The namespaces in which each of several programs was that are not ours."""
    ours = {os.readlink(f"/proc/self/ns/{kind.name}") for kind in KINDS}
    links = [set(block.split()) - ours for block in output.split("---\n")[:-1]]
    return [{link.partition(":")[0] for link in found} for found in links]


def names(flags: Clone) -> set[str]:
    return {kind.name for kind in KINDS if kind.flag & flags}


def notes(box: Container, language: str) -> tuple[Words, ...]:
    (found,) = (each.notes for each in translations(box) if each.language == language)
    return found


def in_shell(text: str) -> str:
    done = subprocess.run(
        ["sh", "-c", text], capture_output=True, env=os.environ, check=False, timeout=120
    )
    assert done.stderr == b""
    return done.stdout.decode("utf-8", "backslashreplace")


def in_python(text: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(text, "translation", "exec"), {})  # noqa: S102 - it is ours
    return printed.getvalue()


def built(programs: dict[str, str], folder: Path) -> Path:
    """Go programs, each compiled under its name: in one go, without the network."""
    for name, text in programs.items():
        (folder / name).mkdir()
        (folder / name / "main.go").write_text(text, encoding="utf-8")
    (folder / "go.mod").write_text("module test\n\ngo 1.18\n")
    (folder / "bin").mkdir()
    env = {
        **os.environ,
        "GOENV": "off",
        "GOFLAGS": "",
        "GOPROXY": "off",
    }
    env |= {"GOTOOLCHAIN": "local", "XDG_CONFIG_HOME": f"{folder}/config", "CGO_ENABLED": "0"}
    for words in (["build", "-o", "bin/", "./..."], ["vet", "./..."]):
        done = subprocess.run(
            [compiler(), *words], cwd=folder, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    gofmt = shutil.which("gofmt", path=f"{Path(compiler()).resolve().parent}:{os.environ['PATH']}")
    assert gofmt
    formatted = subprocess.run([gofmt, "-d", *programs], cwd=folder, capture_output=True, text=True)
    assert (formatted.stdout, formatted.stderr) == ("", "")
    return folder / "bin"


def test_every_combination_is_the_same_in_a_shell_and_in_python() -> None:
    """All 256: the namespaces that are new inside."""
    boxes = [Container(LINKS, cloneflags=flags) for flags in SUBSETS]
    wanted = [names(flags) for flags in SUBSETS]
    assert len(wanted) == 256
    assert [*itertools.chain(*(blocks(run(box).stdout) for box in boxes))] == wanted
    assert blocks(in_shell("".join(map(shell, boxes)))) == wanted
    assert blocks(in_python("".join(map(python, boxes)))) == wanted


@pytest.mark.parametrize("box", [POWERS, CLOCKS], ids=["powers", "clocks"])
def test_a_shell_takes_powers_and_moves_clocks(box: Container) -> None:
    assert in_shell(shell(box)) == in_python(python(box)) == run(box).stdout != ""


def test_docker_is_told_which_powers_to_leave() -> None:
    words = docker_line(POWERS).split()
    wanted = ["--cap-drop=ALL", "--cap-add=CHOWN", "--cap-add=KILL"]
    assert [word for word in words if "cap" in word] == wanted
    assert "--security-opt=no-new-privileges" in words
    assert "seccomp" not in str(notes(replace(POWERS, seccomp="default"), "shell")[:-1])
    assert "Docker" in str(notes(replace(POWERS, seccomp="default"), "docker run"))
    for language in ("shell", "Go"):
        said = notes(replace(POWERS, seccomp="default"), language)
        assert any("`seccomp`" in note.zh and "`seccomp`" in note.en for note in said)


def test_go_programs_are_the_same(tmp_path: Path) -> None:
    """Each flag alone, all, some pairs; and everything that one can say with a Container."""
    some = [*Clone, Clone(0), EVERY, CLONE_NEWUSER | CLONE_NEWNS, CLONE_NEWPID | CLONE_NEWIPC]
    boxes = {f"ns{int(flags):x}": Container(LINKS, cloneflags=flags) for flags in some}
    boxes["mapped"] = MAPPED
    boxes |= {name.replace(" ", "_").replace(",", ""): box for name, box in BOXES.items()}
    programs = built({name: go_program(box) for name, box in boxes.items()}, tmp_path)
    for name, box in boxes.items():
        done = subprocess.run([programs / name], capture_output=True)
        said = done.stdout.decode("utf-8", "backslashreplace")
        assert done.stderr == b"", name
        wanted = run(box).stdout
        if box.argv == LINKS:
            assert blocks(said) == blocks(wanted) == [names(box.cloneflags)]
        else:
            assert sorted(said.splitlines()) == sorted(wanted.splitlines()), name


@pytest.mark.parametrize("name", BOXES)
def test_everything_else_is_the_same_in_a_shell_and_in_python(name: str) -> None:
    box = BOXES[name]
    wanted = run(box).stdout
    assert wanted
    ours = {"_=", "PWD=", "OLDPWD=", "SHLVL="}  # a shell's own, where there is one on the way

    def told(text: str) -> list[str]:
        return sorted(line for line in text.splitlines() if not line.startswith((*ours,)))

    assert in_python(python(box)) == wanted
    assert told(in_shell(shell(box))) == told(wanted)


def test_python_is_the_container_itself() -> None:
    for box in (
        *BOXES.values(),
        LIMITED,
        *(Container(LINKS, cloneflags=flags) for flags in SUBSETS),
    ):
        found: dict[str, object] = {}
        text = python(box)
        exec(text[: text.rindex("print(")], found)  # noqa: S102 - it is ours
        assert found["box"] == box


def test_a_fresh_python_needs_no_more_than_the_text() -> None:
    done = subprocess.run(
        [sys.executable, "-c", python(BOXES["named"])], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("box\n", "")


def test_go_gives_an_error_not_a_panic(tmp_path: Path) -> None:
    box = Container(("no-such-program",), cloneflags=CLONE_NEWUTS)
    boxes = {"plain": box, "named": replace(box, hostname="box")}
    programs = built({name: go_program(each) for name, each in boxes.items()}, tmp_path)
    for name in boxes:
        done = subprocess.run([programs / name], capture_output=True, text=True)
        assert done.returncode == 1
        assert "no-such-program" in done.stderr
        assert "goroutine" not in done.stderr


def test_go_strings_hold_any_bytes() -> None:
    assert go_string('a"\\\n中') == r'"a\"\\\n中"'
    assert go_string(os.fsdecode(b"\xff")) == r'"\xff"'
    assert go_string("\u202e\x00") == r'"\xe2\x80\xae\x00"'


def test_docker_is_told_of_what_is_shared_and_what_it_cannot_do() -> None:
    nothing = docker_line(Container(("hostname",))).split()
    assert nothing[:3] == ["docker", "run", "--rm"]
    assert {word for word in nothing if word.endswith("=host")} == {
        f"--{kind}=host" for kind in ("uts", "ipc", "pid", "network", "cgroupns")
    }
    box = Container(("sh", "-c", "echo 'x'"), cloneflags=EVERY, hostname="b ox", env={"A": "1 2"})
    assert docker_line(box) == (
        "docker run --rm --ipc=private --network=none --cgroupns=private '--hostname=b ox' "
        "'--env=A=1 2' ubuntu sh -c 'echo '\"'\"'x'\"'\"''\n"
    )
    said = notes(box, "docker run")
    for name in ("CLONE_NEWUSER", "CLONE_NEWTIME", "--env"):
        assert sum(name in note.zh and name in note.en for note in said) == 1
    assert "CLONE_NEWNS" not in str(said)
    (said,) = (each.notes for each in translations(BOXES["plain"]) if each.language == "docker run")
    assert "CLONE_NEWNS" in str(said)


# The fields that docker run may not give back as they were, and which note says so.
SAID = {
    "network": "Docker brings it up",
    "hostname": "first 12 digits",
    "proc": "`/proc` is always its own",
    "cwd": "working directory",
    "env": "environment",
    "capabilities": "--privileged",
    "seccomp": "--privileged",
    "rootless": "`rootless`",
    "uid_map": "`uid_map`",
    "gid_map": "`gid_map`",
    "setgroups": "`setgroups`",
    "ambient_caps": "`ambient_caps`",
    "time_offsets": "`time_offsets`",
    "limits": "`limits`",
}


def not_said(box: Container) -> set[str]:
    """What %docker makes of the line of docker run that differs from `box` without a note."""
    (line,) = (each for each in translations(box) if each.language == "docker run")
    back = parse(shlex.split(line.code)[1:]).box
    notes = " ".join(note.en for note in line.notes)
    fields_ = {f.name for f in fields(box) if getattr(back, f.name) != getattr(box, f.name)}
    different = {name for name in fields_ - {"cloneflags"} if SAID.get(name, "\0") not in notes}
    flags = back.cloneflags ^ box.cloneflags
    return different | {str(flag) for flag in Clone if flag & flags and f"`{flag}`" not in notes}


def test_docker_reads_what_is_translated_into_its_words() -> None:
    """What a note does not say is the same container again, for everything that choose() has."""
    some: dict[str, Any] = {"env": {"A": "1 '2", "PATH": "/bin"}, "cwd": "/tmp", "tty": True}
    everything = {**some, "capabilities": ("KILL",), "no_new_privs": True, "seccomp": "default"}
    for flags in SUBSETS:
        assert not_said(Container(("echo", "-x", "a b"), cloneflags=flags)) == set()
        box = Container(ODD, cloneflags=flags, hostname="b ox" if flags & CLONE_NEWUTS else None)
        assert not_said(box) == set()
        assert not_said(replace(box, **everything)) == set()
    weighted = replace(LIMITED, limits=Limits(cpu_weight=50))
    for box in (*BOXES.values(), POWERS, CLOCKS, MAPPED, LIMITED, TUNED, weighted):
        assert not_said(box) == set()


def test_docker_gives_back_who_the_program_is_and_what_it_may_do() -> None:
    """Here nothing is lost, with a note or without."""
    users = [None, (0, 0, (0,)), (5, 6, (6, 7, 8)), (MAX_ID, MAX_ID, (MAX_ID,))]
    capabilities: list[tuple[str, ...] | None] = [None, (), ("CHOWN",), DEFAULT, available()]
    for user, kept, seccomp, no_new_privs in itertools.product(
        users, capabilities, (None, "default"), (False, True)
    ):
        box = Container(
            ("true",), user=user, capabilities=kept, seccomp=seccomp, no_new_privs=no_new_privs
        )
        back = parse(shlex.split(docker_line(box))[1:]).box
        assert back.user == user
        if kept is None and seccomp is None and not no_new_privs:
            assert "--privileged" in str(notes(box, "docker run"))
            continue
        assert (back.seccomp, back.no_new_privs) == (seccomp, no_new_privs)
        assert back.capabilities == box.capabilities


def test_docker_is_not_told_what_it_refuses() -> None:
    large = Container(("true",), user=(MAX_ID + 1, 0, ()))
    assert "--user" not in docker_line(large)
    assert "user and group IDs end at" in str(notes(large, "docker run"))
    there = Container(("true",), cwd="there")
    assert "there" not in docker_line(there)
    assert "absolute path" in str(notes(there, "docker run"))
    alone = Container(("true",), user=(5, 6, (7,)))
    assert parse(shlex.split(docker_line(alone))[1:]).box.user == (5, 6, (6, 7))
    assert "among the supplementary groups too" in str(notes(alone, "docker run"))


def test_the_number_is_the_sum_of_its_bits() -> None:
    for flags in SUBSETS:
        whole, *bits = number(flags).splitlines()
        pairs = [bit.split() for bit in bits]
        assert int(whole, 16) == flags == sum(int(bit, 16) for bit, _ in pairs)
        assert {name for _, name in pairs} == {flag.name for flag in Clone if flag & flags}


def test_the_elder_clones_number_is_in_the_trace(tmp_path: Path) -> None:
    """The number with SIGCHLD is what Go, which calls clone, gives to the kernel: strace -X raw."""
    flags = CLONE_NEWUTS | CLONE_NEWIPC
    programs = built({"go": go_program(Container(("true",), cloneflags=flags))}, tmp_path)
    words = ["strace", "-f", "-X", "raw", "-e", "trace=clone", "-o", f"{tmp_path}/log"]
    subprocess.run([*words, programs / "go"], check=True)
    (said,) = (
        each.notes
        for each in translations(Container(("true",), cloneflags=flags))
        if each.language == "clone3 flags"
    )
    (shown,) = re.findall(r"`(0x\w+)`", said[0].en)
    asked = re.findall(r"flags=(0x\w+)\|(0x\w+|\d+)", (tmp_path / "log").read_text())
    vfork, pidfd = 0x4100, 0x1000  # Go's own: CLONE_VM|CLONE_VFORK, and CLONE_PIDFD since Go 1.23
    given = [int(a, 16) | int(b, 0) for a, b in asked]
    assert int(shown, 16) | vfork in [flags & ~pidfd for flags in given]


def test_a_field_that_was_not_translated_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {field.name for field in fields(Container)}
    for spoken in dialects._SPOKEN.values():
        assert known >= spoken
    monkeypatch.setattr(dialects, "_SPOKEN", {each: {"argv"} for each in dialects._SPOKEN})
    for each in translations(BOXES["named"])[1:]:
        assert any("hostname" in note.zh and "hostname" in note.en for note in each.notes)
