"""What each cell of the lessons showed where they were built: for machines that refuse it.

recorded/NAME.json holds the cells of notebooks/NAME.ipynb, their sources and outputs, since a
learner's notebook is the learner's: it may be changed, cleared, or somewhere else.
"""

import functools
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from IPython.display import display

FOLDER = Path(__file__).parent / "recorded"


@dataclass(frozen=True)
class Recorded:
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

    @property
    def errors(self) -> set[str]:
        """The kinds of error in it, which are its lesson."""
        said = [f"{o['ename']}: {o['evalue']}" for o in self.outputs if o["output_type"] == "error"]
        for output in self.outputs:  # of a program, whose error may have notes after it
            text = _joined(output.get("text", ""))
            said += re.findall(r"^\w+: \[Errno \d+\] .*", text, re.MULTILINE)
        return set(map(kind, said))


def find(source: str) -> Recorded | None:
    """The cell of the lessons whose source this is, but for blank lines and spaces at a line's end.

    None for a learner's own.
    """
    return _cells().get(_essence(source))


def _essence(source: str) -> str:
    return "\n".join(line.rstrip() for line in source.splitlines() if line.strip())


def kind(text: str) -> str:
    """Of an error's text, class and refused call: "PermissionError: [Errno 1] sethostname"."""
    found = re.match(r"\w+(: \[Errno \d+\] \w+)?", (text.strip().splitlines() or [""])[-1])
    return found[0] if found else ""


@functools.cache
def _cells() -> dict[str, Recorded]:
    cells = {}
    for file in FOLDER.glob("*.json"):
        for cell in json.loads(file.read_text(encoding="utf-8")):
            cells[_essence(cell["source"])] = Recorded(tuple(cell["outputs"]))
    return cells


def _joined(text: str | list[str]) -> str:
    """A text of a notebook's file, which may hold its lines one by one."""
    return text if isinstance(text, str) else "".join(text)
