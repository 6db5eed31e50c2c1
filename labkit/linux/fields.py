"""Values made of fields: as much of the module dataclasses as we need.

For each class dataclasses writes a program and compiles it, at every start. That, and the modules
it imports, is a third of what the imports of `labkit run` take. Here the methods look at the fields
when they are called. Who asks dataclasses about such a class (fields, replace, asdict) is answered
as by one of its own, and a type checker is told that it is one.
"""

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from _collections_abc import Callable, Iterable
    from dataclasses import KW_ONLY, dataclass, field, fields, replace
    from typing import Any

    Made = Any  # a class
__all__ = ["KW_ONLY", "dataclass", "field", "fields", "replace"]


class _Missing:
    """No default."""


class _KeywordOnly:
    """As an annotation: the fields after it are given by name."""


class Field:
    """One field. make: makes its value where there is none."""

    name: str
    type: "Any"
    kw_only: bool

    def __init__(
        self,
        default: object = _Missing,
        default_factory: "Callable[[], object] | None" = None,
        *,
        init: bool = True,
        repr: bool = True,
        hash: bool | None = None,
        compare: bool = True,
    ) -> None:
        self.default, self.make = default, default_factory
        self.init, self.repr, self.compare, self.hash = init, repr, compare, hash


def _named(cls: "Made") -> "Iterable[Field]":
    """The fields that the body of a class names, in order; the class keeps their defaults."""
    kw_only = False
    for name, said in cls.__annotations__.items():
        if said is _KeywordOnly:
            kw_only = True
            continue
        given = cls.__dict__.get(name, _Missing)
        each = given if type(given) is Field else Field(given)
        each.name, each.type, each.kw_only = name, said, kw_only
        if each.default is not _Missing:
            setattr(cls, name, each.default)
        elif name in cls.__dict__:
            delattr(cls, name)
        yield each


class _Reflected:
    """What dataclasses and inspect look for in a class: made when they do."""

    def __init__(self, cls: "Made", name: str) -> None:
        self.cls, self.name = cls, name

    def __get__(self, value: object, _: "Made") -> "Any":  # noqa: ANN401
        if self.name != "__signature__":
            return getattr(_real(self.cls), self.name)
        if value is not None:  # the class has one, its values do not
            raise AttributeError(self.name)
        import inspect

        return inspect.signature(_real(self.cls))


def _real(cls: "Made") -> "Made":
    """A class of dataclasses with the same fields, made once."""
    if "_dataclass" not in cls.__dict__:
        import dataclasses

        made = [(each.name, each.type, _real_field(each)) for each in cls._declared]
        cls._dataclass = dataclasses.make_dataclass(
            cls.__name__, made, frozen=cls._frozen, namespace={"__doc__": cls.__doc__}
        )
    return cls._dataclass


def _real_field(ours: Field) -> "Any":  # noqa: ANN401
    import dataclasses

    missing = dataclasses.MISSING
    default: Any = missing if ours.default is _Missing else ours.default
    return dataclasses.field(
        default=default,
        default_factory=ours.make or missing,  # type: ignore[arg-type]
        init=ours.init,
        repr=ours.repr,
        hash=ours.hash,
        compare=ours.compare,
        kw_only=ours.kw_only,
    )


def _initializer(cls: "Made", declared: "tuple[Field, ...]") -> "Callable[..., None]":
    """Its __init__."""
    names = [each.name for each in declared if each.init and not each.kw_only]
    known = {each.name for each in declared if each.init}
    own = [each for each in declared if each.init or each.make or each.default is not _Missing]
    unset = {each.name: each.default for each in own}
    needed = [name for name, default in unset.items() if default is _Missing]
    made = {each.name: each.make for each in declared if each.make}

    def __init__(self: "Any", *args: object, **given: object) -> None:  # noqa: ANN401, N807
        values = unset.copy()  # which are in order
        values.update(zip(names, args, strict=False))
        if len(args) > len(names) or not given.keys() <= known or given.keys() & names[: len(args)]:
            _real(cls).__init__(object.__new__(_real(cls)), *args, **given)  # says what is wrong
        values.update(given)
        for name in needed:
            if values[name] is _Missing:
                if name not in made:
                    _real(cls).__init__(object.__new__(_real(cls)), *args, **given)
                values[name] = made[name]()
        self.__dict__.update(values)
        if hasattr(cls, "__post_init__"):
            self.__post_init__()

    return __init__


def _representation(self: "Any") -> str:  # noqa: ANN401
    told = (f"{each.name}={getattr(self, each.name)!r}" for each in self._declared if each.repr)
    return f"{type(self).__qualname__}({', '.join(told)})"


def _comparison(declared: "tuple[Field, ...]") -> "Callable[[Any, object], bool]":
    names = [each.name for each in declared if each.compare]

    def __eq__(self: "Any", other: object) -> bool:  # noqa: ANN401, N807
        if type(other) is not type(self):
            return NotImplemented
        return all(
            (a := getattr(self, name)) is (b := getattr(other, name)) or a == b for name in names
        )

    return __eq__


def _hashing(declared: "tuple[Field, ...]") -> "Callable[[Any], int]":
    names = [each.name for each in declared if (each.compare if each.hash is None else each.hash)]

    def __hash__(self: "Any") -> int:  # noqa: ANN401, N807
        return hash(tuple(getattr(self, name) for name in names))

    return __hash__


def _freezing(cls: "Made", word: str, goes_on: "Callable[..., None]") -> "Callable[..., None]":
    """Its __setattr__ or __delattr__: a refusal."""
    names = {each.name for each in cls._declared}

    def refuse(self: object, name: str, *value: object) -> None:
        if type(self) is not cls and name not in names:
            return goes_on(self, name, *value)
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot {word} field {name!r}")

    return refuse


def _replaced(value: "Any", /, **changes: object) -> "Any":  # noqa: ANN401
    """A copy of a value in which some fields are others."""
    if not hasattr(value, "_declared"):
        import dataclasses

        return dataclasses.replace(value, **changes)
    for each in value._declared:  # noqa: SLF001 - of our own class
        if each.init:
            changes.setdefault(each.name, getattr(value, each.name))
    return type(value)(**changes)


def _complete(cls: "Made", *, frozen: bool, show: bool) -> "Made":
    """Give a class its fields, and the methods that its body has not."""
    inherited = {each.name: each for each in getattr(cls, "_declared", ())}
    every = inherited | {each.name: each for each in _named(cls)}
    cls._declared, cls._frozen = tuple(every.values()), frozen
    body = cls.__dict__
    explicit = body.get("__hash__") is not None
    made = {"__init__": _initializer(cls, cls._declared), "__eq__": _comparison(cls._declared)}
    made |= {"__repr__": _representation} if show else {}
    if frozen:
        made["__setattr__"] = _freezing(cls, "assign to", object.__setattr__)
        made["__delattr__"] = _freezing(cls, "delete", object.__delattr__)
    for name, method in made.items():
        if name not in body:
            setattr(cls, name, method)
    if not explicit:
        cls.__hash__ = _hashing(cls._declared) if frozen else None
    positional = (each.name for each in cls._declared if each.init and not each.kw_only)
    setattr(cls, "__match_args__", tuple(positional))  # noqa: B010 - mypy knows it otherwise
    cls.__replace__ = _replaced
    for name in ("__dataclass_fields__", "__dataclass_params__", "__signature__"):
        setattr(cls, name, _Reflected(cls, name))
    return cls


def _declaring(cls: "Made" = None, /, *, frozen: bool = False, repr: bool = True) -> "Any":  # noqa: ANN401
    """Make a class one of values, as dataclasses.dataclass."""
    if cls is None:
        return lambda cls: _complete(cls, frozen=frozen, show=repr)
    return _complete(cls, frozen=frozen, show=repr)


def _of(value: "Any") -> "tuple[Any, ...]":  # noqa: ANN401
    """The fields of a class or a value, each with its name and default."""
    declared: tuple[Any, ...] = value._declared  # noqa: SLF001
    return declared


if not TYPE_CHECKING:
    KW_ONLY, dataclass, field, fields, replace = _KeywordOnly, _declaring, Field, _of, _replaced
