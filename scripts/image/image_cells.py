"""What became of each cell: a plugin of pytest, run inside the image by check_image.py.

LABKIT_CELLS names the file that is written: a list of notebooks, each with its cells.
"""

import json
import os
import re
from collections.abc import Generator
from pathlib import Path

import pytest

COLOUR = re.compile(r"\x1b\[[\d;]*m")
_found: dict[str, list[dict[str, str]]] = {}


def reason(error: BaseException) -> str:
    """Why a cell failed, in a line: the last of its traceback, or what nbval has to say."""
    lines = str(getattr(error, "inner_traceback", None) or error).splitlines()
    plain = [COLOUR.sub("", line).strip() for line in lines]
    named = [line for line in plain if re.match(r"[A-Za-z_.]*(Error|Exception|Exit)\b", line)]
    return (named or [line for line in plain if line] or [type(error).__name__])[-1]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note the cell: "as saved", "different" (its output), or "error" (nbval's word for both)."""
    report = yield
    if report.when == "call":
        cell = {"id": str(item.cell.id), "outcome": "as saved", "reason": ""}  # type: ignore[attr-defined]
        if call.excinfo is not None:
            differs = "outputs differ" in str(call.excinfo.value)
            cell["outcome"] = "different" if differs else "error"
            cell["reason"] = "" if differs else reason(call.excinfo.value)
        _found.setdefault(item.path.stem, []).append(cell)
    return report


def pytest_sessionfinish() -> None:
    """Write what was found."""
    text = json.dumps(_found, ensure_ascii=False)
    Path(os.environ["LABKIT_CELLS"]).write_text(text, encoding="utf-8")
