"""What became of each cell: a plugin of pytest, run inside the image by check_image.py.

LABKIT_CELLS names the file that is written: a list of notebooks, each with its cells.
"""

import json
import os
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

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
    """Note the cell: the level that it says it ran at, or "error", or, compared, "different"."""
    report = yield
    if report.when == "call":
        cell = {"id": str(item.cell.id), "outcome": "real", "reason": ""}  # type: ignore[attr-defined]
        error = call.excinfo.value if call.excinfo else None
        if error and "outputs differ" not in str(error):
            cell |= {"outcome": "error", "reason": reason(error)}
        elif said := label(item.test_outputs or []):  # type: ignore[attr-defined]
            cell |= said
        elif error:
            cell["outcome"] = "different"
        _found.setdefault(item.path.stem, []).append(cell)
    return report


def label(outputs: list[dict[str, Any]]) -> dict[str, str]:
    """What labkit.notebook.levels says of a cell: its level, and in a line why; or nothing."""
    for output in outputs:
        said = output.get("metadata", {}).get("labkit", {})
        _, *reasons = output["data"]["text/plain"].splitlines() if said else [""]
        if "cell" in said:
            return {"outcome": said["cell"], "reason": "; ".join(r.strip(" -") for r in reasons)}
        if said.get("machine", "real") != "real":  # doctor() itself, which then says something else
            return {"outcome": "real", "reason": ""}
    return {}


def pytest_sessionfinish() -> None:
    """Write what was found."""
    text = json.dumps(_found, ensure_ascii=False)
    Path(os.environ["LABKIT_CELLS"]).write_text(text, encoding="utf-8")
