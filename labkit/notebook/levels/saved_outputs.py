"""What each cell of the lessons showed where they were built: for machines that refuse it.

recorded/NAME.json holds the cells of notebooks/NAME.ipynb, their sources and outputs, since a
learner's notebook is the learner's: it may be changed, cleared, or somewhere else.
"""

import errno  # noqa: F401 - for the example below
import functools
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from IPython.display import display

FOLDER = Path(__file__).parent / "recorded"


@dataclass(frozen=True)
class SavedOutput:
    """A cell as it was built. outputs: as a notebook's file has them."""

    outputs: tuple[dict[str, Any], ...]

    def show(self) -> None:
        """Show its outputs again; of an error its traceback, as text."""
        for output in self.outputs:
            match output["output_type"]:
                case "stream":
                    stream = sys.stderr if output["name"] == "stderr" else sys.stdout
                    stream.write(_joined(output["text"]))
                    stream.flush()
                case "error":
                    print(*output["traceback"], sep="\n", file=sys.stderr, flush=True)
                case _:
                    data = {kind: _joined(text) for kind, text in output["data"].items()}
                    display(data, metadata=output["metadata"], raw=True)

    def failed_with(self, beginning: str) -> bool:
        """Whether it ended, or a program in it, with an error that begins so."""
        for output in self.outputs:
            if output["output_type"] == "error":
                lines = [f"{output['ename']}: {output['evalue']}"]
            else:
                lines = _joined(output.get("text", "")).splitlines()
            if any(line.startswith(beginning) for line in lines):
                return True
        return False


def find(source: str) -> SavedOutput | None:
    """The cell of the lessons whose source this is, but for blank lines and spaces at a line's end.

    None for a learner's own.
    """
    return _cells().get(_essence(source))


def _essence(source: str) -> str:
    return "\n".join(line.rstrip() for line in source.splitlines() if line.strip())


def beginning(name: str, number: int, call: str) -> str:
    """How the last line of a traceback begins, whatever the arguments of the refused call were.

    >>> beginning("PermissionError", errno.EPERM, 'sethostname("box", 3)')
    'PermissionError: [Errno 1] sethostname('
    """
    if not number:
        return f"{name}:"
    called, bracket, _ = call.partition("(")
    return f"{name}: [Errno {number}] {called + bracket or os.strerror(number)}"


@functools.cache
def _cells() -> dict[str, SavedOutput]:
    cells = {}
    for file in FOLDER.glob("*.json"):
        for cell in json.loads(file.read_text(encoding="utf-8")):
            cells[_essence(cell["source"])] = SavedOutput(tuple(cell["outputs"]))
    return cells


def _joined(text: str | list[str]) -> str:
    """A text of a notebook's file, which may hold its lines one by one."""
    return text if isinstance(text, str) else "".join(text)
