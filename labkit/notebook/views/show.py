"""What a cell shows: two processes side by side, live code, what a version adds.

Each function returns a value that prints as text and, in a notebook, as HTML that says the same.
Colours: text on a tint of its own, in figures, since JupyterLab keeps those in untrusted notebooks
too and the pair is legible on any background; syntax in the theme's own colours. Colour never
stands alone: the words, and ``+`` and ``-``, say it as well.
"""

import html
import inspect
import itertools
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from labkit.container.container import Container, Finished
from labkit.engine.boot import PACKAGE, PROJECT
from labkit.engine.running import Running
from labkit.linux.flags import Clone
from labkit.linux.namespaces import KINDS, Kind, differing, inodes
from labkit.text.words import Words

Subject = int | str | Running | Finished | Mapping[str, int]
"""What :func:`compare` takes: a PID or "self", a container, its result, or inodes as a dict."""

# Contrast above 7:1. The tints are JupyterLab's --jp-success-color3 and --jp-error-color3.
_GREEN = "color:#0b3d14;background-color:#c8e6c9"
_RED = "color:#5c0a0a;background-color:#ffcdd2"
_LEFT = "text-align:left"


def lesson_file(*names: str) -> Path:
    """A file of the project that a lesson shows; it comes with the package, wherever that is."""
    return Path(PACKAGE, "notebook", "shown", *names)


class _Shown:
    """A value that a notebook shows as HTML and everything else as the same text."""

    def __repr__(self) -> str:
        return str(self)


Name = str | Words
"""Of what is compared, for people."""

_SAME, _NEW, _ABSENT = Words("相同", "same"), Words("新的", "new"), Words("没有", "absent")
_FINISHED, _RECORDED = Words("已结束", "finished"), Words("记下的", "recorded")
_NO_CHANGE = Words("没有不同", "no difference")
_CAPTION = Words("命名空间（inode 号）", "Namespaces, by inode")
_HEADS = Words("种类", "kind"), Words("标志", "flag"), Words("结论", "verdict")


class Row(NamedTuple):
    """One kind of namespace in a comparison; an inode is None where the kernel lacks the kind."""

    kind: Kind
    a: int | None
    b: int | None

    @property
    def new(self) -> bool:
        """Whether they differ."""
        return self.a != self.b

    @property
    def verdict(self) -> Words:
        """The same namespace, or a new one."""
        if self.a is None and self.b is None:
            return _ABSENT
        return _NEW if self.new else _SAME


@dataclass(frozen=True, repr=False)
class Comparison(_Shown):
    """The namespaces of two processes, as they were when they were compared.

    names: what is compared, for people. rows: the eight kinds. new: the flags of those that differ.
    """

    names: tuple[Name, Name]
    rows: tuple[Row, ...]
    new: Clone

    def __str__(self) -> str:
        # The names are not the columns' heads here: the length of a PID would move the columns.
        lines = [f"{letter}: {_text(name)}" for letter, name in zip("ab", self.names, strict=True)]
        lines.append(_columns("kind", "flag", "a", "b"))
        for row in self.rows:
            inodes, verdict = (_inode(row.a), _inode(row.b)), row.verdict.joined(" ")
            lines.append(_columns(row.kind.name, str(row.kind.flag), *inodes, verdict))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        heads = _HEADS[0], _HEADS[1], *self.names, _HEADS[2]
        columns = "".join(f'<th scope="col" style="{_LEFT}">{_html(head)}</th>' for head in heads)
        return (
            f"<table><caption>{_CAPTION.html()}</caption>"
            f"<thead><tr>{columns}</tr></thead>"
            f"<tbody>{''.join(map(_html_row, self.rows))}</tbody></table>"
        )


def compare(a: Subject = "self", b: Subject | None = None) -> Comparison:
    """Compare the namespaces of `a` and `b`, or of this process and `a` if there is no `b`.

    Each is a PID, "self", a running or finished container, or a dict of inodes. Raises
    ProcessLookupError when there is no such process, and TypeError for anything else.
    """
    if b is None:
        a, b = "self", a
    ours, theirs = _inodes(a), _inodes(b)
    rows = tuple(Row(kind, ours.get(kind.name), theirs.get(kind.name)) for kind in KINDS)
    names = _name(a), _name(b)
    if names[0] == names[1] and a is not b:
        names = f"{_text(names[0])} (a)", f"{_text(names[1])} (b)"
    return Comparison(names, rows, differing(ours, theirs))


def _inodes(subject: Subject) -> dict[str, int]:
    match subject:
        case Running() | Finished():
            return dict(subject.inodes)
        case Mapping():
            return dict(subject)
        case int() | str():
            return inodes(subject)
    raise TypeError(
        Words(
            f"要 PID、容器或 inode 字典，而不是 {subject!r}",
            f"not a PID, a container or a dict of inodes: {subject!r}",
        )
    )


def _name(subject: Subject) -> Name:
    match subject:
        case Running():
            return f"{subject.box.argv[0]}, PID {subject.pid}"
        case Finished():
            return _FINISHED
        case Mapping():
            return _RECORDED
    return f"PID {subject}" if str(subject).isdigit() else str(subject)


def _text(name: Name) -> str:
    return name.joined(" ") if isinstance(name, Words) else name


def _html(name: Name) -> str:
    """A name as a page shows it, which may hide one of the languages."""
    return name.html() if isinstance(name, Words) else html.escape(name)


def _inode(number: int | None) -> str:
    return "-" if number is None else str(number)


def _columns(kind: str, flag: str, a: str, b: str, verdict: str = "") -> str:
    return f"{kind:<6}  {flag:<15}  {a:<10}  {b:<10}  {verdict}".rstrip()


def _html_row(row: Row) -> str:
    words = row.verdict.html()
    if row.new:
        words = f'<strong style="{_GREEN};padding:0 4px">{words}</strong>'
    code = f"<code>{row.kind.name}</code>", f"<code>{row.kind.flag}</code>"
    cells = "".join(
        f'<td style="{_LEFT}">{cell}</td>'
        for cell in (code[1], _inode(row.a), _inode(row.b), words)
    )
    return f'<tr><th scope="row" style="{_LEFT}">{code[0]}</th>{cells}</tr>'


@dataclass(frozen=True, repr=False)
class Source(_Shown):
    """Code as it stands in its file. where: file and first line, relative to the project."""

    where: str
    code: str

    def __str__(self) -> str:
        return f"{self.where}\n{self.code}"

    def _repr_html_(self) -> str:
        code = "".join(_coloured(self.code))
        return f"<div><code>{html.escape(self.where)}</code></div>\n<pre>{code}</pre>"


def source(obj: object) -> Source:
    """Show the code of a function, class or module, with its file and line; for a value, its class.

    Raises TypeError for an object without Python source.
    """
    target = _with_code(obj)
    try:
        lines, first = inspect.getsourcelines(target)
        path = inspect.getsourcefile(target) or ""
    except (TypeError, OSError):
        raise TypeError(
            Words(f"{obj!r} 没有 Python 源代码", f"{obj!r} has no Python source: it is built in")
        ) from None
    return Source(f"{_place(path)}:{max(first, 1)}", textwrap.dedent("".join(lines)).rstrip())


def _with_code(obj: object) -> ModuleType | type | Callable[..., object]:
    """`obj` without its decorators; if it is neither module, class nor function, its class."""
    if inspect.ismodule(obj) or inspect.isclass(obj):
        return obj
    is_function = inspect.isroutine(obj) or hasattr(obj, "__wrapped__")
    if callable(obj) and is_function:
        bare: Callable[..., object] = inspect.unwrap(obj)
        return bare
    return type(obj)


def _place(path: str) -> str:
    """`path` as this project's reader, or an import, would name it: the same on every machine."""
    if not os.path.exists(path):
        return Words("单元格", "cell").joined(" ")
    roots = [root for root in (PROJECT, *sys.path) if root and path.startswith(root + os.sep)]
    return os.path.relpath(path, max(roots, key=len)) if roots else os.path.basename(path)


# Pygments' name of a token -> JupyterLab's colour for it, which each theme sets for its background.
_THEME = {
    "Comment": "--jp-content-font-color2",  # its comment colour is too faint on black
    "Keyword": "--jp-mirror-editor-keyword-color",
    "Literal.Number": "--jp-mirror-editor-number-color",
    "Literal.String": "--jp-mirror-editor-string-color",
    "Name.Builtin": "--jp-mirror-editor-builtin-color",
    "Name.Class": "--jp-mirror-editor-def-color",
    "Name.Decorator": "--jp-mirror-editor-operator-color",
    "Name.Function": "--jp-mirror-editor-def-color",
    "Operator": "--jp-mirror-editor-operator-color",
}


def _coloured(code: str) -> Iterator[str]:
    """`code` as HTML, in colours if Pygments, which comes with IPython, is there."""
    try:
        from pygments.lexers.python import PythonLexer
    except ImportError:
        yield html.escape(code)
        return
    tokens = PythonLexer(stripnl=False, ensurenl=False).get_tokens(code)
    for colour, run in itertools.groupby(tokens, lambda pair: _colour(pair[0].split())):
        text = html.escape("".join(text for _, text in run))
        yield f'<span style="color:var({colour})">{text}</span>' if colour else text


def _colour(kinds: Sequence[object]) -> str | None:
    """The theme's colour for a token's kind, which comes as a list from the most general."""
    names = [str(kind).removeprefix("Token.") for kind in reversed(kinds)]
    return next((_THEME[name] for name in names if name in _THEME), None)


@dataclass(frozen=True, repr=False)
class Diff(_Shown):
    """What changed between two versions: lines such as ``+ hostname='box'``."""

    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines) or _NO_CHANGE.joined(" ")

    def _repr_html_(self) -> str:
        lines = "\n".join(map(_marked, self.lines))
        return f"<pre>{lines or _NO_CHANGE.html()}</pre>"


def diff(old: Container, new: Container) -> Diff:
    """Show the fields in which two versions differ: ``+`` is the value in `new`, ``-`` in `old`."""
    return Diff(tuple(_changes(old, new)))


def _changes(old: Container, new: Container) -> Iterator[str]:
    for field in fields(Container):
        before, after = getattr(old, field.name), getattr(new, field.name)
        off = None if field.default is MISSING else field.default
        if before != after:
            for sign, value in (("-", before), ("+", after)):
                shown = dict(value) if isinstance(value, Mapping) else value
                if value != off:
                    yield f"{sign} {field.name}={shown!r}"


def _marked(line: str) -> str:
    tag, colours = ("ins", _GREEN) if line.startswith("+") else ("del", _RED)
    return f'<{tag} style="{colours};text-decoration:none">{html.escape(line)}</{tag}>'
