"""Named numbers: as much of the module enum as `flags.py` needs.

To import enum, and to make classes with it, would be a fifth of what `labkit unshare` takes. A type
checker is told that these are enum's.
"""

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from _collections_abc import Iterator
    from typing import Any


class _Named(type):
    """The kind of a class whose body names numbers: each becomes a value of that class."""

    __members__: "dict[str, Any]"

    def __init__(cls, name: str, bases: "tuple[type, ...]", body: "dict[str, Any]") -> None:
        super().__init__(name, bases, body)
        # Python itself puts __firstlineno__ there.
        numbers = {key: each for key, each in body.items() if type(each) is int and key[0] != "_"}
        cls.__members__ = {key: cls._made(each, key) for key, each in numbers.items()}
        cls._values = {int(member): member for member in cls.__members__.values()}
        for key, member in cls.__members__.items():
            setattr(cls, key, member)

    def _made(cls, number: int, name: "str | None" = None) -> "Any":  # noqa: ANN401 - of this class
        made: Any = int.__new__(cls, number)  # type: ignore[arg-type]
        made.name, made.value = name, number
        return made

    def __call__(cls, number: int) -> "Any":  # noqa: ANN401
        """The value of this number: the one that has a name, if there is one."""
        found = cls._values.get(number)
        return cls._unnamed(number) if found is None else found

    def _unnamed(cls, number: int) -> "Any":  # noqa: ANN401
        raise ValueError(f"{number!r} is not a valid {cls.__name__}")

    def __iter__(cls) -> "Iterator[Any]":
        return iter(cls.__members__.values())

    def __getitem__(cls, name: str) -> "Any":  # noqa: ANN401
        return cls.__members__[name]


class _NamedBits(_Named):
    """The same of bits, of which any number may be set."""

    def _unnamed(cls, number: int) -> "Any":  # noqa: ANN401
        return cls._made(number)

    @property
    def every(cls) -> int:
        """All of them."""
        return sum(map(int, cls))


class IntEnum(int, metaclass=_Named):
    """One of several numbers, as enum.IntEnum."""

    name: str

    def __repr__(self) -> str:
        return f"<{type(self).__name__}.{self.name}: {int(self)}>"

    __str__ = int.__repr__

    def __reduce__(self) -> "tuple[Any, ...]":
        return type(self), (int(self),)


class IntFlag(int, metaclass=_NamedBits):
    """A set of bits, as enum.IntFlag. Its operations give sets again."""

    name: "str | None"
    __reduce__ = IntEnum.__reduce__

    def __iter__(self) -> "Iterator[Any]":
        return (bit for bit in type(self) if bit & self)

    def __contains__(self, bits: int) -> bool:
        return int(self) & bits == bits

    def __or__(self, other: object) -> "Any":  # noqa: ANN401
        return type(self)(int(self) | int(other)) if isinstance(other, int) else NotImplemented

    def __and__(self, other: object) -> "Any":  # noqa: ANN401
        return type(self)(int(self) & int(other)) if isinstance(other, int) else NotImplemented

    def __xor__(self, other: object) -> "Any":  # noqa: ANN401
        return type(self)(int(self) ^ int(other)) if isinstance(other, int) else NotImplemented

    __ror__, __rand__, __rxor__ = __or__, __and__, __xor__

    def __invert__(self) -> "Any":  # noqa: ANN401
        return type(self)(type(self).every & ~int(self))
