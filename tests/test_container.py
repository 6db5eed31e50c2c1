"""A container is a value."""

import warnings
from dataclasses import FrozenInstanceError, replace

import pytest

from labkit import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUTS,
    Clone,
    Container,
)

V01 = Container(("hostname",))
V02 = replace(V01, cloneflags=CLONE_NEWUTS, hostname="box")
EVERYTHING = Container(
    ["sh", "-c", "echo 盒子 $X"],
    cloneflags=CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWPID,
    hostname="盒子",
    proc=True,
    env={"X": "\udcff"},
    cwd="/tmp",
)


def test_a_version_is_the_former_with_one_more_field() -> None:
    assert Container(["hostname"]) == V01
    assert V02 != V01
    assert replace(V02, cloneflags=Clone(0), hostname=None) == V01
    assert hash(replace(EVERYTHING)) == hash(EVERYTHING)


def test_it_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        V01.hostname = "box"  # type: ignore[misc]
    with pytest.raises(TypeError):
        EVERYTHING.env["X"] = "y"  # type: ignore[index]


def test_it_prints_what_is_on_with_the_kernels_names() -> None:
    assert repr(V01) == "Container(argv=('hostname',))"
    assert repr(V02) == "Container(argv=('hostname',), cloneflags=CLONE_NEWUTS, hostname='box')"
    assert str(CLONE_NEWUTS | CLONE_NEWPID) == "CLONE_NEWUTS|CLONE_NEWPID"
    assert repr(Clone(0)) == "0"


@pytest.mark.parametrize("box", [V01, V02, EVERYTHING], ids=["V0.1", "V0.2", "everything"])
def test_json_there_and_back(box: Container) -> None:
    assert Container.from_json(box.to_json()) == box


def test_the_flags_are_the_kernels() -> None:
    """include/uapi/linux/sched.h"""
    assert {flag.name: hex(flag) for flag in Clone} == {
        "CLONE_NEWTIME": "0x80",
        "CLONE_NEWNS": "0x20000",
        "CLONE_NEWCGROUP": "0x2000000",
        "CLONE_NEWUTS": "0x4000000",
        "CLONE_NEWIPC": "0x8000000",
        "CLONE_NEWUSER": "0x10000000",
        "CLONE_NEWPID": "0x20000000",
        "CLONE_NEWNET": "0x40000000",
    }


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"argv": ()}, "empty"),
        ({"argv": ("",)}, "empty"),
        ({"argv": ("a\0b",)}, "NUL"),
        ({"hostname": "x" * 65, "cloneflags": CLONE_NEWUTS}, "65"),
        ({"hostname": "盒" * 22, "cloneflags": CLONE_NEWUTS}, "66"),
        ({"hostname": "a\0", "cloneflags": CLONE_NEWUTS}, "NUL"),
        ({"hostname": "box"}, "CLONE_NEWUTS"),
        ({"proc": True}, "CLONE_NEWNS"),
        ({"cloneflags": 1 << 40}, "0x10000000000"),
        ({"cloneflags": 0x100}, "CLONE_NEWTIME"),
        ({"env": {"A=B": "c"}}, "A=B"),
        ({"env": {"": "c"}}, "''"),
        ({"env": {"A": "\0"}}, "NUL"),
        ({"cwd": "/\0"}, "NUL"),
    ],
)
def test_what_no_kernel_could_run_is_a_clear_error(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Container(**{"argv": ("true",), **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize("argv", ["ls -l", b"ls", None, 7, (1,), (b"ls",)])
def test_argv_is_a_sequence_of_words(argv: object) -> None:
    with pytest.raises(TypeError):
        Container(argv)  # type: ignore[arg-type]


def test_a_new_proc_without_new_pids_is_said_to_be_of_no_use() -> None:
    with pytest.warns(UserWarning, match="CLONE_NEWPID") as warned:
        Container(("ps",), cloneflags=CLONE_NEWNS, proc=True)
    assert warned[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Container(("ps",), cloneflags=CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWTIME, proc=True)
