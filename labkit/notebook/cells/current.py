"""Which cell is running, and what ends when it runs again."""

import weakref
from collections.abc import Callable
from typing import Any

from IPython.core.getipython import get_ipython


def current_cell() -> str | None:
    """The id of the cell that runs now, as JupyterLab tells it; None where nobody tells."""
    shell = get_ipython()
    if shell is None or not hasattr(shell, "get_parent"):  # IPython in a terminal, or none at all
        return None
    cell = shell.get_parent().get("metadata", {}).get("cellId")
    return str(cell) if cell else None


def when_run_again(close: Callable[[], None]) -> None:
    """Call `close`, a method, once before the present cell is run again, if its object lives."""
    shell, cell, method = get_ipython(), current_cell(), weakref.WeakMethod(close)
    if shell is None or cell is None:
        return

    def before(info: Any) -> None:  # noqa: ANN401 - IPython's ExecutionInfo
        if info.cell_id == cell or method() is None:
            shell.events.unregister("pre_run_cell", before)
            if known := method():
                known()

    shell.events.register("pre_run_cell", before)
