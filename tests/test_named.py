"""Flags are named numbers of our own. They do as those of Python's enum, which takes too long."""

import copy
import enum
import itertools
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from labkit.linux import flags
from labkit.linux.named import IntEnum, IntFlag

Bits = type[enum.IntFlag]
Choice = type[enum.IntEnum]


def pairs(ours: type, made: Callable[..., object]) -> list[Any]:
    """The classes of flags.py that are of a kind of ours, each with the same made by enum."""
    found = [each for each in vars(flags).values() if isinstance(each, type)]
    return [
        pytest.param(each, made(each.__name__, vars(each)["__members__"]), id=each.__name__)
        for each in found
        if issubclass(each, ours) and vars(each)["__members__"]
    ]


SETS, CHOICES = pairs(IntFlag, enum.IntFlag), pairs(IntEnum, enum.IntEnum)


def test_there_are_both_kinds() -> None:
    assert {"Clone", "Mount"} <= {each.id for each in SETS}
    assert {"Prctl", "Ioctl"} <= {each.id for each in CHOICES}


@pytest.mark.parametrize(("ours", "theirs"), SETS + CHOICES)
def test_members_are_as_enum_has_them(ours: Bits, theirs: Bits) -> None:
    assert [(each.name, each.value) for each in ours] == [
        (each.name, each.value) for each in theirs
    ]
    assert sum(ours) == sum(theirs)
    for (name, member), other in zip(ours.__members__.items(), theirs, strict=True):
        assert ours(int(member)) is ours[name] is getattr(ours, name) is member
        assert (f"{member:#x}", hash(member)) == (f"{other:#x}", hash(other))
        assert member == other
        for again in (pickle.loads(pickle.dumps(member)), copy.deepcopy(member)):  # noqa: S301
            assert again is member


@pytest.mark.parametrize(("ours", "theirs"), SETS)
def test_bits_combine_as_those_of_enum(ours: Bits, theirs: Bits) -> None:
    members = zip(ours, theirs, strict=True)
    for (a, one), (b, other) in itertools.product(members, repeat=2):
        for result, expected in ((a | b, one | other), (a & b, one & other), (a ^ b, one ^ other)):
            assert isinstance(result, ours)
            assert result == expected
            assert [*result] == [*expected]
            assert (a in result) == (one in expected)
            assert pickle.loads(pickle.dumps(result)) == result  # noqa: S301
        assert (1 << 40 | a, (a | b) & ~a) == (1 << 40 | one, (one | other) & ~one)
    with pytest.raises(TypeError):
        next(iter(ours)) | "text"  # type: ignore[operator]


@pytest.mark.parametrize(("ours", "theirs"), CHOICES)
def test_a_choice_shows_itself_as_that_of_enum(ours: Choice, theirs: Choice) -> None:
    for member, other in zip(ours, theirs, strict=True):
        assert (str(member), repr(member)) == (str(other), repr(other))
    for kind in (ours, theirs):
        with pytest.raises(ValueError, match=f"99999 is not a valid {ours.__name__}"):
            kind(99999)


def test_labkit_unshare_starts_without_enum() -> None:
    script = """
import sys
from labkit.unshare import steps
print(*{"enum", "functools", "collections", "typing", "re"} & {*sys.modules})
"""
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}{script}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
