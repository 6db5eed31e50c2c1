"""What stands in for contextlib and functools does as they do."""

import contextlib
import functools
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit.python import contextlib as ours_contextlib
from labkit.python import functools as ours_functools

Module = Any  # one of the two
Said = list[object]
ERRORS = [None, ValueError, KeyboardInterrupt, StopIteration, RuntimeError]
EITHER = [False, True]


Kind = type[BaseException] | None


def made(kind: Kind) -> BaseException | None:
    """An error that nothing has happened to yet."""
    return kind(kind.__name__) if kind else None


def outcome(does: Callable[..., object], *given: object) -> object:
    """What it gives, or raises and from what."""
    try:
        return does(*given)
    except BaseException as error:  # noqa: BLE001 - all that can come
        return repr(error), repr(error.__cause__), repr(error.__context__)


def blocks(of: Module) -> Said:
    """A generator's blocks that are left in each way, and answer in each way."""
    said: Said = []

    class Maker:
        @of.contextmanager  # type: ignore[untyped-decorator]
        def block(self, after: BaseException | None, ends: bool) -> Iterator[str]:
            """About it."""
            try:
                yield "given"
            except BaseException as error:
                said.append(repr(error))
                if after:
                    raise after from error
                if not ends:
                    raise
            said.append("left")

    def leave(error: BaseException | None, *how: object) -> str:
        with Maker().block(*how) as given:
            said.append(given)
            if error:
                raise error
        return "after"

    for error, after, ends in itertools.product([*ERRORS, GeneratorExit], ERRORS, EITHER):
        said.append(outcome(leave, made(error), made(after), ends))
    block = Maker.block
    return [*said, block.__name__, block.__qualname__, block.__doc__, block.__wrapped__.__name__]


def wrong(of: Module) -> Said:
    """Generators that make no block."""

    def none() -> Iterator[None]:
        yield from ()

    def raises() -> Iterator[int]:
        yield [1].index(2)

    def two() -> Iterator[None]:
        yield
        yield

    def goes_on() -> Iterator[None]:
        with contextlib.suppress(ValueError):
            yield
        yield

    def leave(make: Callable[[], Iterator[object]], error: BaseException | None) -> None:
        with of.contextmanager(make)():
            if error:
                raise error

    makers = [none, raises, two, goes_on]
    return [outcome(leave, make, made(kind)) for make in makers for kind in (None, ValueError)]


def test_blocks_are_as_those_of_contextlib() -> None:
    assert blocks(ours_contextlib) == blocks(contextlib)
    assert wrong(ours_contextlib) == wrong(contextlib)


def stacks(of: Module) -> Said:
    """What is raised in the block and at its ends, and what they end."""
    said: Said = []

    class End:
        def __init__(self, raises: BaseException | None, ends: bool) -> None:
            self.raises, self.ends = raises, ends

        def __enter__(self) -> str:
            return "given"

        def __exit__(self, kind: object, error: object, _: object) -> bool:
            said.append((kind, repr(error)))
            if self.raises:
                raise self.raises
            return self.ends

    def leave(error: BaseException | None, first: End, last: End) -> str:
        with of.ExitStack() as stack:
            said.append(stack.enter_context(last))
            stack.callback(said.append, "called")
            said.append(stack.enter_context(first))
            if error:
                raise error
        return "after"

    for error, *raised, ends in itertools.product(ERRORS[:3], ERRORS[:3], ERRORS[:3], EITHER):
        found = outcome(leave, made(error), *(End(made(each), ends) for each in raised))
        said.append(found[0] if isinstance(found, tuple) else found)
    return said


def test_a_stack_of_ends_is_as_that_of_contextlib() -> None:
    assert stacks(ours_contextlib) == stacks(contextlib)


@pytest.mark.parametrize("of", [ours_contextlib, contextlib], ids=["ours", "contextlib"])
def test_what_is_passed_over(of: Module) -> None:
    with of.nullcontext(3) as given:
        assert given == 3
    with of.suppress(LookupError, OSError):
        os.stat("/nosuch")
    with pytest.raises(ValueError, match="v"), of.suppress(OSError):
        raise ValueError("v")


@pytest.mark.parametrize("of", [ours_functools, functools], ids=["ours", "functools"])
def test_answers_are_kept_as_by_functools(of: Module) -> None:
    asked = []

    def doubled(number: int, *, more: int = 0) -> int:
        """Twice."""
        asked.append(number)
        return 2 * number + more

    class Thing:
        @of.cached_property  # type: ignore[untyped-decorator]
        def size(self) -> int:
            """Its size."""
            asked.append(-1)
            return 7

    kept, two = of.cache(doubled), of.lru_cache(2)(doubled)
    assert [kept(1), kept(1), kept(1, more=1), kept(2)] == [2, 2, 3, 4]
    assert [two(each) for each in (5, 6, 5, 7, 6)] == [10, 12, 10, 14, 12]
    thing = Thing()
    assert (thing.size, thing.size, vars(thing)) == (7, 7, {"size": 7})
    assert asked == [1, 1, 2, 5, 6, 7, 6, -1]
    assert (kept.__name__, kept.__doc__, kept.__wrapped__) == ("doubled", "Twice.", doubled)
    assert Thing.size.__doc__ == "Its size."
    kept.cache_clear()
    assert (kept(1), len(asked)) == (2, 9)
    assert of.partial(doubled, 1, more=2)() == 4
