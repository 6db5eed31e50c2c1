"""Which cell is running, what is called at its beginning and end, and what ends with it."""

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


def on_each_cell(
    shell: Any,  # noqa: ANN401 - IPython's own
    begin: Callable[[Any], None],
    end: Callable[[Any], None],
) -> Callable[[], None]:
    """Call `begin` before each cell, from the next one on, and `end` after it.

    What is returned ends that. They get IPython's ExecutionInfo and ExecutionResult.
    """
    hooks = (("pre_run_cell", begin), ("post_run_cell", end))
    for event, hook in hooks:
        shell.events.register(event, hook)

    def stop() -> None:
        for event, hook in hooks:
            shell.events.unregister(event, hook)

    return stop


def may_be_loaded_again(shell: Any) -> None:  # noqa: ANN401 - IPython's own
    """Have a first cell that runs again load the extension in silence.

    IPython would say that it is loaded already, and how to reload it. A second load does nothing.
    """

    def forget(_: object) -> None:
        shell.extension_manager.loaded.discard("labkit")
        shell.events.unregister("pre_run_cell", forget)

    shell.events.register("pre_run_cell", forget)


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
