"""JSON by the half of the module json that is written in C, and nothing besides.

That module compiles regular expressions when it is imported, which takes longer than to read all
documents of a start. What is read and written here is the same: a test compares the two.
"""

from _json import encode_basestring, encode_basestring_ascii, make_scanner

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from _collections_abc import Callable
    from typing import Any

_SPACE = " \t\n\r"


class _Reading:
    """What the scanner asks for: as json.JSONDecoder() has it."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int
    parse_constant = {"-Infinity": -float("inf"), "Infinity": float("inf"), "NaN": float("nan")}.get
    memo: "dict[str, str]" = {}  # noqa: RUF012 - the scanner empties it


_scan = make_scanner(_Reading)


def loads(text: "str | bytes") -> "Any":  # noqa: ANN401 - what JSON can hold
    """The value of a document. ValueError: it is none, in the words of json.loads."""
    if isinstance(text, str):
        try:
            value, end = _scan(text, len(text) - len(text.lstrip(_SPACE)))
            if not text[end:].strip(_SPACE):
                return value
        except StopIteration:  # there is no value
            pass
    import json

    return json.loads(text)  # bytes; or it is none, and this says where


def dumps(
    value: object,
    *,
    indent: int | None = None,
    ensure_ascii: bool = True,
    default: "Callable[[Any], object] | None" = None,
) -> str:
    """A value as a document. TypeError: JSON has no such value. The rest as json.dumps."""
    quoted = encode_basestring_ascii if ensure_ascii else encode_basestring
    breaks = ("\n", " " * indent) if indent else ("", "")
    return _written(value, quoted, breaks, default or _none)


def _none(value: object) -> object:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _written(
    value: object,
    quoted: "Callable[[str], str]",
    breaks: tuple[str, str],
    default: "Callable[[Any], object]",
) -> str:
    """One value. breaks: a new line as deep as the value's own, and one step more."""
    if isinstance(value, str):
        return quoted(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return _number(value)
    deeper = (breaks[0] + breaks[1], breaks[1])
    if isinstance(value, dict):
        inner = [
            f"{quoted(key if isinstance(key, str) else dumps(key))}: "
            f"{_written(each, quoted, deeper, default)}"
            for key, each in value.items()
        ]
    elif isinstance(value, list | tuple):
        inner = [_written(each, quoted, deeper, default) for each in value]
    else:
        return _written(default(value), quoted, breaks, default)
    begin, end = "{}" if isinstance(value, dict) else "[]"
    between = f",{deeper[0]}" if breaks[0] else ", "
    return begin + deeper[0] + between.join(inner) + breaks[0] + end if inner else begin + end


def _number(value: float) -> str:
    if value != value or value in (float("inf"), -float("inf")):  # noqa: PLR0124 - NaN
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[float.__repr__(value)]
    return (int if isinstance(value, int) else float).__repr__(value)
