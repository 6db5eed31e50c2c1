"""Arrows point one way: docs/design.md lists the rooms, and the modules in each, bottom first."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT

DESIGN = ROOT / "docs" / "design.md"
ENTRY = re.compile(r"(?P<indent> *)(?P<name>\S+) +(?P<text>\S.*)")
FACE = "labkit/__init__.py"
NOTEBOOK = "labkit/notebook/"


@dataclass(frozen=True)
class Entry:
    """One line of the layout: a file, or a directory (its path ends in a slash)."""

    path: str
    text: str


def layout() -> list[Entry]:
    """The tree under "Layout" in docs/design.md, in its order."""
    block = DESIGN.read_text().partition("\n## Layout")[2].partition("```text\n")[2]
    parents: list[str] = []
    entries = []
    for line in block.partition("\n```")[0].splitlines():
        found = ENTRY.fullmatch(line)
        assert found, f"not a line of the layout: {line!r}"
        depth = len(found["indent"]) // 2
        path = "".join(parents[:depth]) + found["name"]
        parents[depth:] = [found["name"]]
        entries.append(Entry(path, found["text"]))
    return entries


def order() -> dict[str, int]:
    """The modules of the package, with their place in the list."""
    paths = [entry.path for entry in layout()]
    return {p: at for at, p in enumerate(paths) if p.startswith("labkit/") and p.endswith(".py")}


def modules() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "labkit").rglob("*.py"))


def is_sign(path: str) -> bool:
    """Whether a file only says what its room is about: a docstring, and nothing else."""
    if not path.endswith("__init__.py"):
        return False
    body = ast.parse((ROOT / path).read_text()).body
    return len(body) == 1 and isinstance(body[0], ast.Expr)


@dataclass(frozen=True)
class Import:
    """What a module imports, and whether it does so as soon as it is imported itself."""

    path: str
    line: int
    at_once: bool


def file_of(module: str) -> str | None:
    """The file of a module of labkit; None for a name that is no module."""
    path = module.replace(".", "/")
    return next((p for p in (f"{path}.py", f"{path}/__init__.py") if (ROOT / p).is_file()), None)


def imported(node: ast.stmt) -> list[str]:
    """The files of labkit that one import statement names."""
    if isinstance(node, ast.Import):
        return [f for alias in node.names if (f := file_of(alias.name)) and f.startswith("labkit/")]
    if not isinstance(node, ast.ImportFrom):
        return []
    assert not node.level, "an import from labkit gives the whole name"
    package = node.module or ""
    if package.split(".")[0] != "labkit":
        return []
    found = [file_of(f"{package}.{alias.name}") or file_of(package) for alias in node.names]
    return [path for path in found if path]


def later(node: ast.AST) -> bool:
    """Whether what stands in `node` is not run when the module is imported."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def imports(node: ast.AST, at_once: bool = True) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield from (Import(path, child.lineno, at_once) for path in imported(child))
        yield from imports(child, at_once and not later(child))


def imports_of(path: str) -> list[Import]:
    return list(imports(ast.parse((ROOT / path).read_text())))


def test_every_module_is_listed_and_every_room_says_what_it_is() -> None:
    assert sorted(order()) == [path for path in modules() if not is_sign(path)]
    rooms = {str(Path(path).parent) for path in modules()}
    assert [room for room in rooms if not (ROOT / room / "__init__.py").is_file()] == []


@pytest.mark.parametrize("path", sorted(order()))
def test_imports_point_to_what_is_listed_above(path: str) -> None:
    places = order()
    for found in imports_of(path):
        if path == FACE and not found.at_once:
            continue  # the package's face gives the notebook's names on demand, to whoever asks
        if is_sign(found.path):  # import of a whole room: it brings nothing
            continue
        assert places[found.path] < places[path], f"{path}:{found.line} imports {found.path}"


@pytest.mark.parametrize("path", [path for path in modules() if not path.startswith(NOTEBOOK)])
def test_nothing_outside_the_notebook_needs_it(path: str) -> None:
    needed = [f for f in imports_of(path) if f.path.startswith(NOTEBOOK)]
    assert path == FACE or not needed, needed
    assert not [found for found in needed if found.at_once]


def test_one_door_to_the_kernel() -> None:
    assert [p for p in modules() if "import ctypes" in (ROOT / p).read_text()] == [
        "labkit/linux/door.py"
    ]


def test_imports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    """The other tests can fail."""
    module = tmp_path / "module.py"
    module.write_text(
        "import labkit.engine.loop\n"
        "if TYPE_CHECKING:\n    from labkit.notebook.views import show\n"
        "def f():\n    from labkit import run, syscalls\n"
        "import json\n"
    )
    assert list(imports(ast.parse(module.read_text()))) == [
        Import("labkit/engine/loop.py", 1, True),
        Import("labkit/notebook/views/show.py", 3, False),
        Import("labkit/__init__.py", 5, False),
        Import("labkit/syscalls.py", 5, False),
    ]
