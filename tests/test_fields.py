"""Values made of fields do as those of dataclasses, which take too long to make."""

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from labkit import CLONE_NEWUTS, Container
from labkit.linux import fields


def made(by: Any) -> SimpleNamespace:  # noqa: ANN401 - a module
    """A frozen class, one that can change, and one that inherits; by dataclasses or by us."""

    @by.dataclass(frozen=True)
    class Point:
        x: int
        y: int = 2
        _: by.KW_ONLY
        names: list[str] = by.field(default_factory=list, hash=False)
        note: str = by.field(default="", repr=False, compare=False)
        far: bool = by.field(init=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "far", self.x > 9)

    @by.dataclass
    class Open:
        a: int
        b: str = "b"

    @by.dataclass(frozen=True, repr=False)
    class Space(Point):
        z: int = 3

    return SimpleNamespace(p=Point, o=Open, s=Space)


OURS, THEIRS = made(fields), made(dataclasses)


def refusal(act: Callable[[], object]) -> str:
    try:
        return repr(act())
    except (TypeError, ValueError, AttributeError) as error:
        return f"{type(error).__name__}: {error}".rpartition(".")[2]


ACTS: list[Callable[[Any], object]] = [
    lambda k: (k.p(1), k.p(1, 3, names=["a"], note="n"), k.o(1), k.o(a=1, b="c")),
    lambda k: (
        k.p(1) == k.p(1),
        k.p(1) == k.p(2),
        k.p(1, note="n") == k.p(1),
        k.o(1) == k.o(1),
        k.p(1) == 1,
    ),
    lambda k: (hash(k.p(1)) == hash(k.p(1, names=["b"], note="n")), k.o.__hash__),
    lambda k: len({k.p(1), k.p(1, names=["a"])}),
    lambda k: hash(k.o(1)),
    lambda k: k.p(),
    lambda k: k.p(1, 2, 3),
    lambda k: k.p(1, x=1),
    lambda k: k.p(1, far=True),
    lambda k: setattr(k.p(1), "x", 2),
    lambda k: setattr(k.p(1), "other", 2),
    lambda k: delattr(k.p(1), "x"),
    lambda k: setattr(k.o(1), "a", 2),
    lambda k: k.p(1).names is not k.p(1).names,
    lambda k: [vars(each) for each in (k.p(1), k.p(12), k.o(1), k.s(1, z=4))],
    lambda k: (k.p.__match_args__, k.p.y, hasattr(k.p, "names")),
    lambda k: (dataclasses.asdict(k.p(1)), dataclasses.replace(k.p(1), y=5)),
    lambda k: dataclasses.replace(k.p(1), far=True),
    lambda k: [(f.name, f.default, f.kw_only, f.hash) for f in dataclasses.fields(k.p)][:2],
    lambda k: (dataclasses.is_dataclass(k.p), [f.name for f in dataclasses.fields(k.s)]),
    lambda k: [str(inspect.signature(each)).replace("KW", "") for each in (k.p, k.o, k.s)],
    lambda k: (copy.copy(k.p(1)), copy.deepcopy(k.p(1)) == k.p(1), k.s(1, 5) == k.p(1, 5)),
]


@pytest.mark.parametrize("act", ACTS, ids=range(len(ACTS)))
def test_as_dataclasses_do(act: Callable[[Any], object]) -> None:
    ours, theirs = (refusal(lambda each=each: act(each)) for each in (OURS, THEIRS))  # type: ignore[misc]
    assert ours == theirs


def test_a_value_of_a_module_is_pickled_and_replaced() -> None:
    box = Container(("true",), hostname="box", cloneflags=CLONE_NEWUTS)
    assert pickle.loads(pickle.dumps(box)) == box  # noqa: S301 - ours
    assert fields.replace(box, hostname="a") == dataclasses.replace(box, hostname="a")
    assert [each.name for each in fields.fields(box)] == [f.name for f in dataclasses.fields(box)]


SLOW = ("dataclasses", "inspect", "hashlib", "secrets", "shutil", "datetime", "click", "pyroute2")


@pytest.mark.parametrize("verb", ["run", "execute"])
def test_run_and_exec_import_none_of_what_is_slow(verb: str) -> None:
    """Half of the time of `labkit run --rm busybox true` were imports."""
    modules = f"labkit.cli.main, labkit.cli.{verb}, labkit.engine.connecting"
    said = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & set(SLOW)
