"""What our modules take from the module typing, but made in no time.

To import that module, and to make the classes of NamedTuple, takes longer than a container's start.
A type checker is told that these are typing's own; when the program runs, most of them only stand
in annotations. NamedTuple does as typing's, and a test compares the two.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import (
        Any,
        Literal,
        NamedTuple,
        NoReturn,
        Protocol,
        Self,
        TextIO,
        TypeVar,
        cast,
    )

__all__ = [
    "TYPE_CHECKING",
    "Any",
    "Literal",
    "NamedTuple",
    "NoReturn",
    "Protocol",
    "Self",
    "TextIO",
    "TypeVar",
    "cast",
]


class _Annotation:
    """It stands in annotations alone: any class can have one beside it, as in `_Annotation | int`.

    As a base (Protocol) it gives nothing.
    """

    def __class_getitem__(cls, _: object) -> "type[_Annotation]":
        return cls


def _variable(name: str, **_: object) -> "type[_Annotation]":
    """A TypeVar."""
    return type(name, (_Annotation,), {})


def _as_it_is(_: object, value: object) -> object:
    """cast()."""
    return value


class _Field:
    """One field of a tuple, by its place."""

    def __init__(self, at: int) -> None:
        self._at = at

    def __get__(self, value: "tuple[object, ...] | None", _: type) -> object:
        return self if value is None else value[self._at]

    def __set__(self, _: object, __: object) -> None:
        raise AttributeError("a tuple cannot be changed")


class _Named(type):
    """The kind of a class whose body names the fields of a tuple."""

    _fields: tuple[str, ...]

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, object]) -> "_Named":
        return super().__new__(cls, name, bases, {"__slots__": (), **body})

    def __init__(cls, name: str, bases: tuple[type, ...], body: dict[str, object]) -> None:
        super().__init__(name, bases, body)
        names = () if bases == (tuple,) else tuple(cls.__annotations__)
        cls._fields = names
        cls._field_defaults = {each: body[each] for each in names if each in body}
        for at, each in enumerate(names):
            setattr(cls, each, _Field(at))
        setattr(cls, "__match_args__", names)  # noqa: B010 - mypy knows it otherwise

    def __call__(cls, *given: object, **named: object) -> object:
        """One such tuple. TypeError: a value is missing, or there are too many."""
        missing = cls._fields[len(given) :]
        values = cls._field_defaults | named
        if len(given) > len(cls._fields) or not named.keys() <= {*missing}:
            raise TypeError(f"{cls.__name__} has the fields {cls._fields}, not {given} and {named}")
        if any(each not in values for each in missing):
            raise TypeError(f"{cls.__name__} lacks values for some of {missing}")
        made: object = super().__call__((*given, *(values[each] for each in missing)))
        return made


class _Tuple(tuple, metaclass=_Named):  # type: ignore[type-arg]  # noqa: SLOT001 - its kind has its fields
    def __repr__(self) -> str:
        pairs = zip(type(self)._fields, self, strict=True)
        return f"{type(self).__name__}({', '.join(f'{name}={each!r}' for name, each in pairs)})"

    def _asdict(self) -> dict[str, object]:
        return dict(zip(type(self)._fields, self, strict=True))

    def _replace(self, **changes: object) -> object:
        return type(self)(**self._asdict() | changes)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), tuple(self)


if not TYPE_CHECKING:
    Any = Literal = NoReturn = Protocol = Self = TextIO = _Annotation
    NamedTuple, TypeVar, cast = _Tuple, _variable, _as_it_is
