"""What our modules take from contextlib, which imports collections, functools and types.

Each does as contextlib's own does, as far as a start needs it; a test compares the two.
"""

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack, contextmanager, nullcontext, suppress
    from types import TracebackType
    from typing import Any, Self

__all__ = ["ExitStack", "contextmanager", "nullcontext", "suppress"]


class _Suppress:
    """Errors of some classes end the block, and that is all they do."""

    def __init__(self, *errors: type[BaseException]) -> None:
        self._errors = errors

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, self._errors)


class _NullContext:
    """A block with nothing before it and nothing after it."""

    def __init__(self, given: object = None) -> None:
        self._given = given

    def __enter__(self) -> object:
        return self._given

    def __exit__(self, *_: object) -> None:
        return None


class _Block:
    """A block that stands where a generator yields."""

    def __init__(self, generator: "Iterator[Any]") -> None:
        self._generator: Any = generator

    def __enter__(self) -> object:
        try:
            return next(self._generator)
        except StopIteration:
            raise RuntimeError("generator didn't yield") from None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: "TracebackType | None",
    ) -> bool:
        if error is None:
            for _ in self._generator:
                raise RuntimeError("generator didn't stop")
            return False
        try:
            self._generator.throw(error)
        except StopIteration as other:
            return other is not error
        except BaseException as other:
            # A StopIteration of the block comes out of a generator as the cause of a RuntimeError.
            stopped = isinstance(error, StopIteration) and isinstance(other, RuntimeError)
            if error is not other and not (stopped and error is other.__cause__):
                raise
            error.__traceback__ = trace
            return False
        raise RuntimeError("generator didn't stop after throw()")


def _contextmanager(make: "Callable[..., Iterator[Any]]") -> "Callable[..., _Block]":
    """Make a function of a generator's that begins a block."""

    def begin(*arguments: object, **named: object) -> _Block:
        return _Block(make(*arguments, **named))

    begin.__wrapped__ = make  # type: ignore[attr-defined]
    begin.__name__, begin.__qualname__ = make.__name__, make.__qualname__
    begin.__module__, begin.__doc__ = make.__module__, make.__doc__
    return begin


class _ExitStack:
    """What is to be done at the end of the block, the last thing first, whatever happens."""

    def __init__(self) -> None:
        self._ends: list[Callable[..., object]] = []

    def __enter__(self) -> "Self":
        return self

    def enter_context(self, block: "Any") -> "Any":  # noqa: ANN401 - any block
        """Begin a block that ends with this one."""
        given = block.__enter__()
        self._ends.append(block.__exit__)
        return given

    def callback(self, call: "Callable[..., object]", *given: object, **named: object) -> object:
        """Have `call` called; it cannot end an error."""

        def end(*_: object) -> None:
            call(*given, **named)

        self._ends.append(end)
        return call

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: "TracebackType | None",
    ) -> bool:
        """Each of the ends may end the error, or give the next ones another."""
        came = error
        while self._ends:
            try:
                if self._ends.pop()(kind, error, trace):
                    kind = error = trace = None
            except BaseException as other:  # noqa: BLE001 - as at the end of any block
                kind, error, trace = type(other), other, other.__traceback__
        if error is not None and error is not came:
            raise error
        return came is not None and error is None


if not TYPE_CHECKING:
    suppress, nullcontext = _Suppress, _NullContext
    contextmanager, ExitStack = _contextmanager, _ExitStack
