"""Steps that build on each other: what a call gives is an argument of later ones, as data."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit import CLONE_NEWNS, Clone, Container, run
from labkit.container import contain
from labkit.linux import trace
from labkit.linux.call import Result, may_be_missing, may_be_there, rehearse
from labkit.linux.files import chdir, close, mkdirat, openat, write
from labkit.linux.flags import AT_FDCWD, MS_BIND
from labkit.linux.mounts import mount

Steps = Callable[..., tuple[str, ...]]


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """The trace of a container whose child makes these steps, and then becomes true(1)."""

    def play(steps: Callable[[], object], flags: Clone = Clone(0)) -> tuple[str, ...]:
        def build(box: Container, _: str) -> None:
            steps()
            contain.execute(box)

        monkeypatch.setattr(contain, "contain", build)
        return run(Container(("true",), cloneflags=flags)).trace[1:-1]

    return play


def test_what_is_rehearsed_reads_as_python_and_prints_as_a_place() -> None:
    def steps() -> None:
        fd = openat(AT_FDCWD, "/dev/null", os.O_WRONLY)
        assert isinstance(fd, Result)
        close(fd)

    opened, closed = rehearse(steps)
    assert closed.line == "close(⟨0⟩)"
    assert closed.told(lambda result: 7 + result) == "close(7)"
    assert opened.told(int) == opened.line


def test_any_argument_may_be_a_result(played: Steps, tmp_path: Path) -> None:
    """Two descriptors that are used in any order; a number of bytes that a call has given."""
    (tmp_path / "in").write_bytes(b"twelve bytes" + b"!" * 100)
    (tmp_path / "out").write_bytes(b"")
    memory = bytearray(12)

    def steps() -> None:
        read_from = openat(AT_FDCWD, f"{tmp_path}/in", os.O_RDONLY)
        write_to = openat(AT_FDCWD, f"{tmp_path}/out", os.O_WRONLY)
        count = trace.make("read", f"{read_from}, ..., 12", read_from, memory, 12)
        trace.make("write", f"{write_to}, ..., {count}", write_to, memory, count)
        close(read_from)
        close(write_to)

    lines = played(steps)
    assert (tmp_path / "out").read_bytes() == b"twelve bytes"
    first, second = (int(line.rpartition(" = ")[2]) for line in lines[:2])
    assert lines[2:] == (
        f"read({first}, ..., 12) = 12",
        f"write({second}, ..., 12) = 12",
        f"close({first}) = 0",
        f"close({second}) = 0",
    )


def test_a_call_may_fill_memory_that_two_later_calls_take(played: Steps, tmp_path: Path) -> None:
    """The memory has one address in the score, as it would have in a program."""
    name = os.fsencode(tmp_path / "made") + b"\0"
    (tmp_path / "name").write_bytes(name)
    (tmp_path / "made").write_bytes(b"")
    path = bytearray(len(name))

    def steps() -> None:
        fd = openat(AT_FDCWD, f"{tmp_path}/name", os.O_RDONLY)
        trace.make("read", f"{fd}, path, {len(name)}", fd, path, len(name))
        opened = trace.make("openat", "AT_FDCWD, path", AT_FDCWD, path, os.O_WRONLY)
        write(opened, "found")

    played(steps)
    assert (tmp_path / "made").read_bytes() == b"found"


def test_a_file_may_be_missing_if_the_step_says_so(played: Steps, tmp_path: Path) -> None:
    """ENOENT and ENOTDIR are no refusal there; another errno is, and without it they are one."""
    (tmp_path / "file").touch()

    def steps() -> None:
        for name in ("nowhere", "file/below"):
            with may_be_missing():
                mount("/dev/null", f"{tmp_path}/{name}", None, MS_BIND, None)
        chdir("/")

    missing, no_directory, changed = played(steps, CLONE_NEWNS)
    assert missing.endswith("= -1 ENOENT (No such file or directory)")
    assert no_directory.endswith("= -1 ENOTDIR (Not a directory)")
    assert changed == 'chdir("/") = 0'

    def refused() -> None:
        with may_be_missing():
            openat(AT_FDCWD, "/", os.O_WRONLY)
        chdir("/")

    with pytest.raises(IsADirectoryError):
        played(refused)
    with pytest.raises(FileNotFoundError):
        played(lambda: chdir("/nowhere"))


def test_without_a_rehearsal_a_missing_file_is_passed_over_too() -> None:
    with may_be_missing():
        openat(AT_FDCWD, "/nowhere", os.O_RDONLY)
    with may_be_missing():
        openat(AT_FDCWD, "/dev/null/nowhere", os.O_RDONLY)
    with pytest.raises(IsADirectoryError), may_be_missing():
        openat(AT_FDCWD, "/", os.O_WRONLY)
    with pytest.raises(FileNotFoundError):
        openat(AT_FDCWD, "/nowhere", os.O_RDONLY)


def test_what_is_to_be_made_may_be_there_if_the_step_says_so(played: Steps, tmp_path: Path) -> None:
    """EEXIST is no refusal then; a directory that cannot be made is one."""

    def steps(name: str) -> None:
        with may_be_there():
            mkdirat(AT_FDCWD, f"{tmp_path}/{name}", 0o700)
        chdir("/")

    (made, _) = played(lambda: steps("new"))
    (there, changed) = played(lambda: steps("new"))
    assert made.endswith(", 0700) = 0")
    assert there.endswith("= -1 EEXIST (File exists)")
    assert changed == 'chdir("/") = 0'
    with pytest.raises(FileExistsError):
        played(lambda: mkdirat(AT_FDCWD, f"{tmp_path}/new"))
    (tmp_path / "file").touch()
    with may_be_there():
        mkdirat(AT_FDCWD, f"{tmp_path}/new")
    with pytest.raises(NotADirectoryError), may_be_there():
        mkdirat(AT_FDCWD, f"{tmp_path}/file/below")
