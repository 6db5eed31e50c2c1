"""What our modules take from functools, which imports collections and reprlib.

Each does as functools' own does, as far as a start needs it; a test compares the two.
"""

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from collections.abc import Callable
    from functools import cache, cached_property, lru_cache, partial
    from typing import Any

    _lru_cache_wrapper: Any
else:
    from _functools import _lru_cache_wrapper, partial

__all__ = ["cache", "cached_property", "lru_cache", "partial"]


def _lru_cache(size: int | None) -> "Callable[[Callable[..., Any]], Any]":
    """The latest `size` answers of a function are kept; None: all of them."""

    def keep(function: "Callable[..., Any]") -> "Any":  # noqa: ANN401 - as the function's
        kept = _lru_cache_wrapper(function, size, False, lambda *numbers: numbers)
        kept.__wrapped__, kept.__doc__ = function, function.__doc__
        kept.__name__, kept.__qualname__ = function.__name__, function.__qualname__
        kept.__module__ = function.__module__
        return kept

    return keep


class _CachedProperty:
    """A property that is worked out once: the answer is put among the instance's own."""

    def __init__(self, function: "Callable[[Any], Any]") -> None:
        self.func, self.__doc__ = function, function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type | None = None) -> object:
        if instance is None:
            return self
        answer = instance.__dict__[self._name] = self.func(instance)
        return answer


if not TYPE_CHECKING:
    cache, lru_cache, cached_property = _lru_cache(None), _lru_cache, _CachedProperty
