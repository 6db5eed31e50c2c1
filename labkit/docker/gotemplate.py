"""Go's text/template, as far as --format uses it.

Fields, variables, pipelines, if, with, range and else; the functions of Go and those that Docker
adds. What a template prints is what Go prints. There is no define, template, block or break.
"""

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from labkit.linux.fields import dataclass, field
from labkit.python.typing import Any
from labkit.text.words import Words

_ACTION = re.compile(r"\{\{(- )?\s*(.*?)\s*( -)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*("(?:\\.|[^"\\])*"|`[^`]*`|\$\w*(?:\.\w+)*|\)(?:\.\w+)*|\.\w+(?:\.\w+)*|\.|:=|[=|(,]"""
    r"""|-?\d+(?:\.\d+)?|\w+)"""
)
_CONSTANTS = {"true": True, "false": False, "nil": None}
_BLOCKS = ("if", "with", "range")


class Broken(ValueError):  # noqa: N818 - it says what is wrong
    """A template that cannot be read, or asks for what is not there."""


@dataclass
class _Scope:
    """Where a template is: the dot, and the variables by name."""

    dot: Any
    names: dict[str, Any] = field(default_factory=dict)

    def within(self, dot: object, names: Mapping[str, Any]) -> "_Scope":
        return _Scope(dot, {**self.names, **names})


_Node = Callable[[_Scope], str]
_Operand = Callable[[_Scope], Any]


def render(template: str, value: object) -> str:
    """`template` filled with `value`. Broken: why not."""
    return _parsed(template)(_Scope(value, {"$": value}))


# --- Reading ------------------------------------------------------------------------------------


@functools.cache
def _parsed(template: str) -> _Node:
    pieces = [*_pieces(template)]
    node, rest = _list(pieces)
    if rest:
        raise _unreadable(f"unexpected {{{{{rest[0][1]}}}}}")
    return node


def _pieces(template: str) -> Iterator[tuple[str, str]]:
    """Text and actions in turn, as ("text", ...) and ("action", ...)."""
    at, trimmed = 0, False
    for found in _ACTION.finditer(template):
        text = template[at : found.start()]
        text = text.lstrip() if trimmed else text
        yield "text", text.rstrip() if found[1] else text
        if not re.fullmatch(r"/\*.*\*/", found[2], re.DOTALL):
            yield "action", found[2]
        at, trimmed = found.end(), bool(found[3])
    rest = template[at:]
    if "{{" in rest:
        raise _unreadable("unclosed action")
    yield "text", rest.lstrip() if trimmed else rest


def _list(pieces: list[tuple[str, str]]) -> tuple[_Node, list[tuple[str, str]]]:
    """What stands up to {{else}}, {{end}} or the end, and what follows."""
    nodes: list[_Node] = []
    while pieces:
        kind, text = pieces[0]
        word = text.partition(" ")[0]
        if kind == "action" and word in ("else", "end"):
            break
        if kind == "text":
            nodes.append(_text(text))
            pieces = pieces[1:]
        elif word in _BLOCKS:
            node, pieces = _block(word, text.removeprefix(word), pieces[1:])
            nodes.append(node)
        else:
            nodes.append(_action(text))
            pieces = pieces[1:]
    return lambda scope: "".join(node(scope) for node in nodes), pieces


def _text(text: str) -> _Node:
    return lambda _: text


def _block(
    word: str, about: str, pieces: list[tuple[str, str]]
) -> tuple[_Node, list[tuple[str, str]]]:
    """A block of {{if}}, {{with}} or {{range}}, up to its {{end}}."""
    names, operand = _declared(about)
    body, pieces = _list(pieces)
    other: _Node = lambda _: ""  # noqa: E731 - nothing
    if pieces and pieces[0][1].startswith("else"):
        more = pieces[0][1].removeprefix("else").strip()
        if more:  # {{else if}} ends with the {{end}} of the first
            kind = more.partition(" ")[0]
            other, pieces = _block(kind, more.removeprefix(kind), pieces[1:])
            return _chosen(word, names, operand, body, other), pieces
        other, pieces = _list(pieces[1:])
    if not pieces or pieces[0][1] != "end":
        raise _unreadable("unexpected EOF")
    return _chosen(word, names, operand, body, other), pieces[1:]


def _chosen(word: str, names: list[str], operand: _Operand, body: _Node, other: _Node) -> _Node:
    def node(scope: _Scope) -> str:
        value = operand(scope)
        if not value:
            return other(scope)
        if word == "range":
            return "".join(body(inner) for inner in _rounds(scope, names, value))
        told = dict.fromkeys(names, value)
        return body(scope.within(value if word == "with" else scope.dot, told))

    return node


def _rounds(scope: _Scope, names: list[str], value: Any) -> Iterator[_Scope]:  # noqa: ANN401
    """A scope for each member of a list, a map (by key) or a number of times."""
    if isinstance(value, Mapping):
        pairs: Any = sorted(value.items())
    else:
        pairs = enumerate(range(value) if isinstance(value, int) else value)
    for key, each in pairs:
        told = (key, each) if len(names) > 1 else (each,)
        yield scope.within(each, dict(zip(names, told, strict=False)))


def _declared(text: str) -> tuple[list[str], _Operand]:
    """The names before := and the pipeline after it."""
    tokens = _tokens(text)
    names: list[str] = []
    if ":=" in tokens:
        at = tokens.index(":=")
        names, tokens = [each for each in tokens[:at] if each != ","], tokens[at + 1 :]
    operand, rest = _pipeline(tokens)
    if rest:
        raise _unreadable(f"unexpected {rest[0]!r} in operand")
    return names, operand


def _action(text: str) -> _Node:
    """An action that prints, or gives a variable its value."""
    tokens = _tokens(text)
    if len(tokens) > 2 and tokens[1] in (":=", "="):
        name, operand = tokens[0], _declared(" ".join(tokens[2:]))[1]

        def give(scope: _Scope) -> str:
            scope.names[name] = operand(scope)
            return ""

        return give
    operand = _declared(text)[1]
    return lambda scope: printed(operand(scope))


def _tokens(text: str) -> list[str]:
    found, at, text = [], 0, text.strip()
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise _unreadable(f"unexpected {text[at:].strip()[:1]!r} in command")
        found.append(token[1])
        at = token.end()
    return found


def _pipeline(tokens: list[str]) -> tuple[_Operand, list[str]]:
    """Commands between | signs, each the last argument of the next."""
    operand: _Operand | None = None
    while True:
        operand, tokens = _command(tokens, operand)
        if not tokens or tokens[0] != "|":
            return operand, tokens
        tokens = tokens[1:]


def _command(tokens: list[str], before: _Operand | None) -> tuple[_Operand, list[str]]:
    """A function or a field with its arguments."""
    if not tokens or tokens[0] in ("|", ",", "=") or tokens[0].startswith(")"):
        raise _unreadable("missing value for command")
    word, operands = tokens[0], []
    name = word if word in _FUNCTIONS else ""
    if name:
        tokens = tokens[1:]
    while tokens and tokens[0] != "|" and not tokens[0].startswith(")"):
        operand, tokens = _operand(tokens)
        operands.append(operand)
    if before is not None:
        operands.append(before)
    if name:
        return lambda scope: _called(name, [each(scope) for each in operands]), tokens
    return lambda scope: _method(word, [each(scope) for each in operands]), tokens


def _called(name: str, values: list[Any]) -> Any:  # noqa: ANN401
    try:
        return _FUNCTIONS[name](*values)
    except Broken:
        raise
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise _unexecuted(name, f"error calling {name}: {error}") from None


def _method(word: str, values: list[Any]) -> Any:  # noqa: ANN401
    first, *rest = values
    if callable(first):
        return first(*rest)
    if rest:
        raise _unexecuted(word, f"can't give argument to non-function {word}")
    return first


def _operand(tokens: list[str]) -> tuple[_Operand, list[str]]:
    """A value: a field, a variable, a constant, or a pipeline in parentheses."""
    word, rest = tokens[0], tokens[1:]
    if word == "(":
        inner, rest = _pipeline(rest)
        if not rest or not rest[0].startswith(")"):
            raise _unreadable("unclosed left paren")
        path = rest[0][1:]
        return lambda scope: _field(inner(scope), path, path), rest[1:]
    if word.startswith("."):
        return lambda scope: _field(scope.dot, word, word), rest
    if word.startswith("$"):
        name, _, path = word.partition(".")
        return lambda scope: _field(_variable(scope, name), f".{path}", word), rest
    value = _constant(word)
    return lambda _: value, rest


def _constant(word: str) -> Any:  # noqa: ANN401
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    if word in _FUNCTIONS:
        return _FUNCTIONS[word]()
    if word[0] == '"':
        return json.loads(word)
    if word[0] == "`":
        return word[1:-1]
    try:
        return int(word)
    except ValueError:
        pass
    try:
        return float(word)
    except ValueError:
        raise _unreadable(f'function "{word}" not defined') from None


def _variable(scope: _Scope, name: str) -> Any:  # noqa: ANN401
    if name not in scope.names:
        raise _unreadable(f'undefined variable "{name}"')
    return scope.names[name]


def _field(value: Any, path: str, shown: str) -> Any:  # noqa: ANN401
    for name in filter(None, path.split(".")):
        if not isinstance(value, Mapping) or name not in value:
            raise _unexecuted(shown, f'map has no entry for key "{name}"')
        value = value[name]
    return value


def _unreadable(why: str) -> Broken:
    return Broken(Words(f"模板读不懂：{why}", f"template: :1: {why}"))


def _unexecuted(where: str, why: str) -> Broken:
    return Broken(
        Words(f"模板里的 {where} 不行：{why}", f'template: :1:2: executing "" at <{where}>: {why}')
    )


# --- Values as Go has them ----------------------------------------------------------------------


def printed(value: object) -> str:
    """A value as Go prints it."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{printed(each)}' for key, each in sorted(value.items()))}]"
    if isinstance(value, Sequence):
        return f"[{' '.join(map(printed, value))}]"
    if isinstance(value, bool):
        return f"{value}".lower()
    return "<nil>" if value is None else f"{value}"


def as_json(value: object, *, ordered: bool = False) -> str:
    """JSON as Go writes it, which may stand in a web page as it is. ordered: by key."""
    if isinstance(value, Mapping):  # without its methods
        value = {key: each for key, each in value.items() if not callable(each)}
    text = json.dumps(value, sort_keys=ordered, ensure_ascii=False, separators=(",", ":"))
    return re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _index(value: Any, *keys: Any) -> Any:  # noqa: ANN401
    for key in keys:
        value = value.get(key, "") if isinstance(value, Mapping) else value[key]
    return value


def _either(*values: Any) -> Any:  # noqa: ANN401
    return next((value for value in values if value), values[-1])


def _both(*values: Any) -> Any:  # noqa: ANN401
    return next((value for value in values if not value), values[-1])


def _formatted(form: str, *values: Any) -> str:  # noqa: ANN401
    """Go's printf: %v, %s, %d, %q, %t, %x and their widths."""
    left = list(values)

    def one(found: re.Match[str]) -> str:
        if found[2] == "%":
            return "%"
        value = left.pop(0)
        text = json.dumps(value, ensure_ascii=False) if found[2] == "q" else printed(value)
        return format(value, f"{found[1]}x") if found[2] == "x" else f"%{found[1]}s" % text

    return re.sub(r"%(-?\d*)([vsdqtx%])", one, form)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": _both,
    "or": _either,
    "not": lambda value: not value,
    "eq": lambda value, *others: value in others,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "index": _index,
    "slice": lambda value, *ends: value[slice(*ends)] if ends else value,
    "len": len,
    "print": lambda *values: "".join(map(printed, values)),
    "println": lambda *values: " ".join(map(printed, values)) + "\n",
    "printf": _formatted,
    "json": as_json,
    "join": lambda values, between: between.join(values),
    "split": lambda text, between: text.split(between),
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "title": lambda text: text.title(),
    "truncate": lambda text, most: text[:most],
    "pad": lambda text, before, after: " " * before + text + " " * after if text else text,
}
