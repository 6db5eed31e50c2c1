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


_scan = make_scanner(_Reading)  # type: ignore[arg-type]


def loads(text: "str | bytes") -> "Any":  # noqa: ANN401 - what JSON can hold
    """The value of a document. ValueError: it is none, in the words of json.loads."""
    try:
        said = text if isinstance(text, str) else text.decode()
        value, end = _scan(said, len(said) - len(said.lstrip(_SPACE)))
        if not said[end:].strip(_SPACE):
            return value
    except (StopIteration, UnicodeDecodeError):  # there is no value; or it is in UTF-16
        pass
    import json

    return json.loads(text)  # which says what is wrong with it


def dumps(
    value: object,
    *,
    indent: int | None = None,
    ensure_ascii: bool = True,
    separators: tuple[str, str] | None = None,
    default: "Callable[[Any], object] | None" = None,
) -> str:
    """A value as a document. TypeError: JSON has no such value. The rest as json.dumps."""
    quoted = encode_basestring_ascii if ensure_ascii else encode_basestring
    breaks = ("\n", " " * indent) if indent else ("", "")
    marks = separators or (("," if indent else ", "), ": ")
    return _Writer(quoted, marks, default or _none).written(value, *breaks)


def _none(value: object) -> object:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


class _Writer:
    """Writes values. marks: what stands between two, and between a name and its value."""

    def __init__(
        self,
        quoted: "Callable[[str], str]",
        marks: tuple[str, str],
        default: "Callable[[Any], object]",
    ) -> None:
        self._quoted, self._default = quoted, default
        self._comma, self._colon = marks

    def written(self, value: object, line: str, step: str) -> str:
        """One value. line: a new line as deep as it is. step: what makes that deeper."""
        if isinstance(value, str):
            return self._quoted(value)
        if value is None or isinstance(value, bool):
            return {None: "null", True: "true", False: "false"}[value]
        if isinstance(value, int | float):
            return _number(value)
        deeper = line + step
        if isinstance(value, dict):
            inner = [
                self._name(key) + self._colon + self.written(each, deeper, step)
                for key, each in value.items()
            ]
            begin, end = "{}"
        elif isinstance(value, list | tuple):
            inner, (begin, end) = [self.written(each, deeper, step) for each in value], "[]"
        else:
            return self.written(self._default(value), line, step)
        between = self._comma + deeper
        return begin + deeper + between.join(inner) + line + end if inner else begin + end

    def _name(self, key: object) -> str:
        return self._quoted(key if isinstance(key, str) else self.written(key, "", ""))


def _number(value: float) -> str:
    if value != value or value in (float("inf"), -float("inf")):  # noqa: PLR0124 - NaN
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[float.__repr__(value)]
    return (int if isinstance(value, int) else float).__repr__(value)
