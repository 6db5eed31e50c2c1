"""The draft of a score is kept for the next request, but only as long as nothing has changed."""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from conftest import ROOT

from labkit import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    Container,
    Limits,
    Root,
    run,
    start,
)
from labkit.container import contain
from labkit.container.user_namespace import maker
from labkit.engine import request
from labkit.engine.connection import rootless

SHARED = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWPID


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of other tests: they may have kept so many that all are forgotten here and now."""
    monkeypatch.setattr(request, "kept", {})


@pytest.fixture
def rehearsed(monkeypatch: pytest.MonkeyPatch) -> list[Container]:
    """The containers whose steps have been rehearsed, in order."""
    found: list[Container] = []
    steps = contain.contain

    def noted(box: Container, terminal: str) -> None:
        found.append(box)
        steps(box, terminal)

    monkeypatch.setattr(contain, "contain", noted)
    return found


def test_the_same_container_is_rehearsed_once(rehearsed: list[Container]) -> None:
    boxes = [Container(("echo", "again"), cloneflags=CLONE_NEWPID) for _ in range(3)]
    first, *others = [run(box) for box in boxes]
    assert rehearsed == boxes[:1]
    assert [done.stdout for done in others] == ["again\n"] * 2
    assert {len(done.trace) for done in others} == {len(first.trace)}


def test_a_change_of_the_environment_is_seen(
    rehearsed: list[Container], monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Container(("sh", "-c", "echo $COLOUR"))
    said = []
    for colour in ("red", "green", "red"):
        monkeypatch.setenv("COLOUR", colour)
        said.append(run(box).stdout)
    assert said == ["red\n", "green\n", "red\n"]
    assert len(rehearsed) == 2
    monkeypatch.delenv("COLOUR")
    assert run(box).stdout == "\n"


def test_who_has_an_environment_of_its_own_does_not_look_at_ours(
    rehearsed: list[Container], monkeypatch: pytest.MonkeyPatch
) -> None:
    for colour in ("red", "green"):
        monkeypatch.setenv("COLOUR", colour)
        run(Container(("true",), env={"PATH": "/bin"}))
    assert len(rehearsed) == 1


def test_a_program_that_has_come_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def install(folder: str) -> None:
        program = tmp_path / folder / "which"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\necho {folder}\n")
        program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}/first:{tmp_path}/second")
    box = Container(("which",))
    assert run(box).returncode == 127
    install("second")
    assert run(box).stdout == "second\n"
    install("first")
    assert run(box).stdout == "first\n"


def test_a_program_is_looked_up_from_where_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", ".:/bin:/usr/bin")
    box = Container(("true",))
    assert "/true" in run(box).trace[-1]
    assert 'execve("./true"' not in run(box).trace[-1]
    (tmp_path / "true").symlink_to("/bin/true")
    monkeypatch.chdir(tmp_path)
    assert 'execve("./true"' in run(box).trace[-1]


def test_who_makes_the_container_is_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    box = Container(("true",), user=(5, 6, ()))
    before = contain.surroundings(box)
    token = maker.set((7, 8))
    assert contain.surroundings(box) != before
    maker.reset(token)
    monkeypatch.setattr(contain, "setgroups_denied", lambda _: True)
    assert contain.surroundings(box) != before


def test_drafts_do_not_pile_up() -> None:
    for number in range(request.KEPT + 10):
        run(Container(("true", str(number))))
        assert len(request.kept) <= request.KEPT
    before = len(request.kept)
    run(Container(("true", "x" * request.SMALL)))
    assert len(request.kept) == before


def test_one_draft_serves_many_at_once() -> None:
    box = Container(("sh", "-c", "cat; exit 3"))
    with ThreadPoolExecutor(8) as threads:
        done = [*threads.map(lambda number: run(box, input=str(number)), range(40))]
    assert [each.stdout for each in done] == [str(number) for number in range(40)]
    assert {each.returncode for each in done} == {3}


# --- A root of its own: what its steps look at --------------------------------------------------


def box_with(root: Root, script: str, **fields: object) -> Container:
    """A container of an own root, in the network of the host, that runs `script`."""
    box = Container(("sh", "-c", script), cloneflags=SHARED, proc=True, env={"PATH": "/bin"})
    return replace(box, root=root, **cast("Any", fields))


def test_a_root_is_rehearsed_once(rehearsed: list[Container], base: Path) -> None:
    box = box_with(Root(layers=(str(base),)), "echo x")
    assert [run(box).stdout for _ in range(3)] == ["x\n"] * 3
    assert rehearsed == [box]


def test_files_and_the_name_of_the_host_are_those_of_now(base: Path, tmp_path: Path) -> None:
    """In a mount namespace and a UTS namespace of the test's own, whose files are changed."""
    program = """
import socket, sys
from labkit import *
from labkit.engine.request import kept
base, *files = sys.argv[1:]
flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWPID
script = "cat /etc/hosts /etc/resolv.conf /etc/hostname"
root = Root(layers=(base,))
box = Container(("sh", "-c", script), cloneflags=flags, root=root, proc=True, env={"PATH": "/bin"})
for number, file in enumerate([*files, None, None]):
    if file:
        open(file, "a").write(f"of the {number}.\\n")
    else:
        socket.sethostname("changed")
    print(run(box).stdout.split("\\n"))
print(len(kept))
"""
    files = [tmp_path / name for name in ("hosts", "resolv.conf")]
    for file in files:
        file.write_text("")
    script = 'hostname first; for f in hosts resolv.conf; do mount --bind "$1/$f" /etc/$f; done\n'
    command = ["unshare", "--mount", "--uts", "sh", "-ec", f'{script}shift; exec "$@"', "sh"]
    command += [str(tmp_path), sys.executable, "-c", program, str(base), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout.splitlines(), done.stderr) == (
        [
            "['of the 0.', 'first', '']",
            "['of the 0.', 'of the 1.', 'first', '']",
            "['of the 0.', 'of the 1.', 'changed', '']",
            "['of the 0.', 'of the 1.', 'changed', '']",
            "1",
        ],
        "",
    )


def test_a_volume_that_was_a_file_may_be_a_directory(base: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    root = Root(layers=(str(base),), volumes=(f"{source}:/here",))
    box = box_with(root, "test -d /here && ls /here || cat /here")
    source.write_text("a file\n")
    assert run(box).stdout == "a file\n"
    source.unlink()
    source.mkdir()
    (source / "name").touch()
    assert run(box).stdout == "name\n"
    shutil.rmtree(source)
    source.write_text("a file again\n")
    assert run(box).stdout == "a file again\n"


def test_a_masked_path_may_have_come_or_changed_since(base: Path, tmp_path: Path) -> None:
    """Below /proc one look tells whether it is a directory: here an open descriptor, as a link."""
    (tmp_path / "file").touch()
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    masked = f"/proc/{os.getpid()}/fd/{descriptor}"
    box = box_with(Root(layers=(str(base),), masked=(masked,)), "true")

    def how() -> list[str]:
        return [line.split('"')[1] for line in run(box).trace if f'"{masked}"' in line]

    try:
        assert how() == ["/dev/null"]
        other = os.open(tmp_path, os.O_RDONLY)
        os.dup2(other, descriptor)
        os.close(other)
        assert how() == ["/dev/.empty"]
    finally:
        os.close(descriptor)
    assert how() == ["/dev/null"]


def test_a_layer_may_lie_elsewhere_since(base: Path, tmp_path: Path) -> None:
    """Upper in memory is mounted over a directory of the host's, but not over a layer."""
    layer = tmp_path / "layer"
    layer.symlink_to(base)
    box = box_with(Root(layers=(str(layer),)), "echo x")
    assert run(box).stdout == "x\n"
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        shutil.copytree(base, f"{folder}/base", symlinks=True)
        layer.unlink()
        layer.symlink_to(f"{folder}/base")
        assert run(box).stdout == "x\n"


def test_an_engine_of_another_user_namespace_builds_in_another_way(base: Path) -> None:
    """Root there has the IDs of root here, but may make no device."""
    box = box_with(Root(layers=(str(base),)), "echo x > /dev/null && echo $?", proc=False)
    assert run(box).stdout == "0\n"
    with rootless():
        assert run(box).stdout == "0\n"
    assert run(box).stdout == "0\n"


def test_each_terminal_is_its_own_containers_console(base: Path) -> None:
    box = box_with(Root(layers=(str(base),)), "echo x > /dev/console; cat", tty=True)
    with start(box) as first, start(box) as second:
        for each in (first, second):
            each.write("\4")
        assert [each.wait().stdout for each in (first, second)] == ["x\r\n"] * 2


def test_a_container_with_limits_enters_a_group_of_its_own() -> None:
    box = Container(("cat", "/proc/self/cgroup"), limits=Limits(pids=5))
    before = len(request.kept)
    one, other = run(box).stdout, run(box).stdout
    assert one != other
    assert len(request.kept) <= before + 1
