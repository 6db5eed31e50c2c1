"""A cell that takes over a second says so: a bar at the foot of its notebook, and a button to stop.

The bar is the page's, not an output: a saved notebook is the same however long its cells took. It
shows itself while the kernel is busy, so its button cannot ask the kernel: it asks the server for
an interrupt, as the menu does, and the containers of the cell end with it.
"""

import os
import threading
from collections.abc import Callable
from typing import Any, ClassVar

from ipykernel.connect import get_connection_file
from IPython.core.getipython import get_ipython
from traitlets import Bool, Float, Unicode

from labkit.notebook.cells.current import on_each_cell
from labkit.notebook.widgets.widget import Widget

SECONDS = 1.0  # what a reader waits without wondering


class Waiting(Widget):
    """The bar. busy: whether it is shown. seconds: how long that has been. kernel: its id."""

    files: ClassVar[str] = "waiting"
    busy = Bool(default_value=False).tag(sync=True)
    seconds = Float(SECONDS).tag(sync=True)
    kernel = Unicode().tag(sync=True)


class CellTimer:
    """Shows a bar as long as a cell takes, from its second second on."""

    def __init__(self, bar: Waiting) -> None:
        self.bar = bar
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def begin(self, _: object = None) -> None:
        """A cell begins: IPython's pre_run_cell."""
        with self._lock:
            self._timer = timer = threading.Timer(SECONDS, lambda: self._late(timer))
            timer.daemon = True
            timer.start()

    def end(self, _: object = None) -> None:
        """It has ended: IPython's post_run_cell."""
        with self._lock:
            if self._timer:
                self._timer.cancel()
            self._timer = None
            self.bar.busy = False

    def _late(self, timer: threading.Timer) -> None:
        with self._lock:
            if self._timer is timer:  # else the cell has just ended
                self.bar.busy = True


_timing: list[Callable[[], None]] = []  # what ends it; at most one


def show_bar() -> Waiting | None:
    """The bar for this kernel's cells, from the next one on; None where there is no notebook."""
    shell: Any = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    for stop in _timing:
        stop()
    new = CellTimer(Waiting(kernel=_kernel_id()))
    unhook = on_each_cell(shell, new.begin, new.end)

    def stop_timing() -> None:
        unhook()
        new.end()
        new.bar.close()

    _timing[:] = [stop_timing]
    return new.bar


def _kernel_id() -> str:
    """As the server knows it: it names the connection file after it."""
    name = os.path.basename(get_connection_file())
    return name.removeprefix("kernel-").removesuffix(".json")
