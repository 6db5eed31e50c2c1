"""--format: a template of Go's for each row, a table, or JSON."""

import json
import re
from collections.abc import Mapping, Sequence

from labkit.docker import gotemplate
from labkit.text.words import Words

_ESCAPES = {r"\t": "\t", r"\n": "\n"}
_ROOM, _NARROWEST = 3, 10  # between columns, and the least width of one: Docker's tabwriter


def filled(template: str, value: Mapping[str, object]) -> str:
    """`template` with the fields of `value`. ValueError: it asks for what is not here."""
    try:
        return gotemplate.render(template, value)
    except gotemplate.Broken as error:
        raise ValueError(_with_beginning("template parsing error: ", error.args[0])) from None


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
        return "".join(f"{gotemplate.as_json(row, ordered=True)}\n" for row in rows)
    template = unescaped(form.removeprefix("table "))
    if not form.startswith("table "):
        return "".join(_of_row(template, row) + "\n" for row in rows)
    return table([_of_row(template, row).split("\t") for row in (heads, *rows)])


def _of_row(template: str, row: Mapping[str, str]) -> str:
    """A row of a list. {{.Label "name"}} is one of its labels."""
    labels = dict(each.partition("=")[::2] for each in row.get("Labels", "").split(","))
    try:
        return gotemplate.render(template, {"Label": lambda name: labels.get(name, ""), **row})
    except gotemplate.Broken as error:
        text = error.args[0]
        stage = "execute" if "executing" in text.en else "parse"
        raise ValueError(_with_beginning(f"failed to {stage} template: ", text)) from None


def _with_beginning(beginning: str, text: Words) -> Words:
    return Words(text.zh, f"{beginning}{text.en}")


def go_quoted(text: str) -> str:
    """Text between double quotes, as Go's strconv.Quote has it."""
    return json.dumps(text, ensure_ascii=False)
