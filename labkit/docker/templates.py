"""--format: the small part of Go's templates that is in use, {{.Field}} and {{json .Field}}."""

import json
import re
from collections.abc import Mapping, Sequence

from labkit.text.words import Words

_ACTION = re.compile(r"\{\{\s*(json\s+)?(\.(?:\w+(?:\.\w+)*)?)\s*\}\}")
_BRACES = re.compile(r"\{\{.*?\}\}|\{\{|\}\}")
_ESCAPES = {r"\t": "\t", r"\n": "\n"}
_ROOM, _NARROWEST = 3, 10  # between columns, and the least width of one: Docker's tabwriter


def filled(template: str, value: Mapping[str, object]) -> str:
    """`template` with the fields of `value`. ValueError: it asks for what is not here."""
    _check(template)
    return _ACTION.sub(lambda found: _one(value, found[2], as_json=bool(found[1])), template)


def unescaped(template: str) -> str:
    r"""A template as it comes from a command line, where \t and \n are two characters each."""
    return re.sub(r"\\[tn]", lambda found: _ESCAPES[found[0]], template)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Lines whose cells stand below each other, as Docker's tables do."""
    widths = [max(_NARROWEST, _ROOM + max(map(len, column))) for column in zip(*rows, strict=True)]
    lines = (
        "".join(cell.ljust(width) for cell, width in zip(row, [*widths[:-1], 0], strict=True))
        for row in rows
    )
    return "".join(f"{line}\n" for line in lines)


def listed(
    rows: Sequence[Mapping[str, str]], heads: Mapping[str, str], form: str, columns: Sequence[str]
) -> str:
    """Rows in the form that was asked for.

    form: "" or "table" for a table of `columns`, "table ..." for one of other fields, "json" for a
    line of JSON each, or a template for each row. heads: what stands over each field.
    """
    if form in ("", "table"):
        form = "table " + "\t".join(f"{{{{.{name}}}}}" for name in columns)
    if form == "json":
        return "".join(f"{_go_json(row)}\n" for row in rows)
    template = unescaped(form.removeprefix("table "))
    if not form.startswith("table "):
        return "".join(filled(template, row) + "\n" for row in rows)
    return table([filled(template, row).split("\t") for row in (heads, *rows)])


def _go_json(row: Mapping[str, str]) -> str:
    """JSON as Go writes it, which may stand in a web page as it is."""
    text = json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _check(template: str) -> None:
    for found in _BRACES.findall(template):
        if not _ACTION.fullmatch(found):
            raise ValueError(
                Words(
                    f"模板里的 {found} 不认得：这里只有 {{{{.字段}}}} 和 {{{{json .字段}}}}",
                    f"template parsing error: {found}: only {{{{.Field}}}} and {{{{json .Field}}}} "
                    "are known here",
                )
            )


def _one(value: object, path: str, *, as_json: bool) -> str:
    for name in filter(None, path.split(".")):
        if not isinstance(value, Mapping) or name not in value:
            raise ValueError(
                Words(
                    f"没有 {path} 这个字段",
                    f'template parsing error: template: :1:2: executing "" at <{path}>: '
                    f'map has no entry for key "{name}"',
                )
            )
        value = value[name]
    return json.dumps(value, ensure_ascii=False) if as_json else _as_go(value)


def _as_go(value: object) -> str:
    """A value as Go prints it."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{_as_go(each)}' for key, each in sorted(value.items()))}]"
    if isinstance(value, Sequence):
        return f"[{' '.join(map(_as_go, value))}]"
    if isinstance(value, bool):
        return f"{value}".lower()
    return "<nil>" if value is None else f"{value}"
