"""The linters are tests."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

LONGEST = 25  # lines of a function, its docstring counted


@pytest.mark.parametrize(
    "command", ["ruff check .", "ruff format --check .", "mypy"], ids=["ruff", "format", "mypy"]
)
def test_clean(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command.split()], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def too_long(path: Path) -> list[str]:
    """The functions of a file with more than LONGEST lines, from `def` on."""
    functions = (
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    lines = [(node.name, (node.end_lineno or 0) - node.lineno + 1) for node in functions]
    return [f"{path}: {name}: {count} lines" for name, count in lines if count > LONGEST]


def test_no_function_is_too_long() -> None:
    assert [found for path in (ROOT / "labkit").rglob("*.py") for found in too_long(path)] == []


def test_a_function_that_is_too_long_is_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    body = '        """Say."""\n' + "        pass\n" * (LONGEST - 2)
    for more, count in (("", 0), ("        pass\n", 1)):
        module.write_text(f"class A:\n    @staticmethod\n    def f():\n{body}{more}")
        assert len(too_long(module)) == count
