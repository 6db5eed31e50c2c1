"""What a test does in the browser: open a notebook, run cells, look at what they show."""

import contextlib
import json
import re
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import nbformat
from conftest import PATIENCE
from nbformat import NotebookNode
from playwright.sync_api import (
    ConsoleMessage,
    ElementHandle,
    Error,
    Locator,
    Page,
    Request,
    ViewportSize,
    WebSocket,
    expect,
)

from ui import axe
from ui.axe import UNCOVERED
from ui.lab import Lab

LOOPBACK = re.compile(r"(https?|wss?)://127\.0\.0\.1[:/]|data:|blob:|about:")
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
# JupyterLab asks each new kernel something, for its debugger and its widgets; a short test ends the
# kernel before it answers, or a widget before its module is loaded: such a one is never ready, and
# anywidget says so when its time is over. (A module that cannot be loaded is another error.)
HARMLESS = (
    "Could not restore the debugger state: Canceled future",
    "Error: Canceled future for create_subshell_request",
    "[anywidget] Failed to initialize model.",
)
SIZE: ViewportSize = {"width": 1200, "height": 1000}
COLOURS = ["link-in-text-block"]  # what another theme may change, beside the contrasts

# In a notebook that is drawn whole.
PAINTED = "body { height: 100vh } .jp-Cell { content-visibility: visible !important }"
# For axe, what is not asked about is left out: it places all that there is in a grid.
ALONE = ":is(.jp-Cell, .jp-Cell-inputWrapper):not(:has(%s)) { display: none }"

# The notebook on top, and what is asked of it.
PANEL = "const panel = window.jupyterapp.shell.currentWidget, book = panel.content;"
IDLE = (
    "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status"
    " === 'idle'"
)
OPEN = """([path, name]) => window.jupyterapp.commands.execute(
  'docmanager:open', {path, factory: 'Notebook', kernelPreference: {name}}).then(
  panel => panel.revealed).then(() => null)"""
# An answer from the kernel follows those to all cells before it, as run-all's own end does not.
DONE = "panel.sessionContext.session.kernel.requestKernelInfo().then(() => null)"
RUN_ALL = f"""() => {{ {PANEL}
  return window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => {DONE}); }}"""
RUN = f"""index => {{ {PANEL} book.activeCellIndex = index; book.deselectAll();
  return window.jupyterapp.commands.execute('notebook:run-cell').then(() => {DONE}); }}"""
CELLS = f"() => {{ {PANEL} return book.widgets.map(cell => cell.model.toJSON()); }}"
# What its kernel says of itself is what JupyterLab would write into the notebook.
UNSAVED = f"""() => {{ {PANEL} return panel.sessionContext.session.kernel.info.then(
  () => panel.context.model.dirty); }}"""
RESTART = f"() => {{ {PANEL} return panel.sessionContext.restartKernel().then(() => null); }}"
CLOSE = f"""() => {{ {PANEL} return panel.sessionContext.shutdown().then(() => {{
  panel.context.model.dirty = false; panel.close(); }}); }}"""
END_ALL = "() => window.jupyterapp.serviceManager.sessions.shutdownAll()"
# Playwright itself waits for a promise as long as it takes.
BOUNDED = """([argument, seconds]) => Promise.race([(%s)(argument), new Promise((_, refuse) =>
  setTimeout(() => refuse(new Error(`nothing after ${seconds} seconds`)), seconds * 1000))])"""
AT_MOST = 240  # seconds for cells that run; pytest ends a test after 300


class Watched:
    """JupyterLab in a browser's page, and what went wrong there.

    problems: errors on the console, uncaught exceptions, requests that left this machine.
    said: the latest that it has written on its console.
    """

    def __init__(self, lab: Lab, page: Page) -> None:
        self.lab, self.page = lab, page
        self.problems: list[str] = []
        self.said: deque[str] = deque(maxlen=500)
        page.on("pageerror", self._uncaught)
        page.on("console", self._console)
        page.on("request", self._request)
        page.on("websocket", self._request)
        self.load()

    def _uncaught(self, error: Error) -> None:
        if not str(error).startswith(HARMLESS):
            self.problems.append(f"uncaught: {error}")

    def _console(self, message: ConsoleMessage) -> None:
        self.said.append(f"{message.type}: {message.text}")
        if message.type == "error" and not message.text.startswith(HARMLESS):
            self.problems.append(f"console: {message.text} ({message.location.get('url')})")

    def _request(self, asked: Request | WebSocket) -> None:
        if not LOOPBACK.match(asked.url):
            self.problems.append(f"off the loopback: {asked.url}")

    def load(self) -> None:
        """Load JupyterLab afresh, with nothing open."""
        self.page.goto(f"{self.lab.url}/lab/workspaces/tests?reset")
        self.page.wait_for_function("() => window.jupyterapp?.shell?.layoutModified")
        self.page.evaluate("() => window.jupyterapp.restored.then(() => null)")
        self.page.evaluate(
            "() => { if (!window.jupyterapp.shell.leftCollapsed)"
            " window.jupyterapp.shell.collapseLeft(); }"
        )

    def promised(self, promise: str, argument: object = None, seconds: float = PATIENCE) -> object:
        """What comes of a function of the page. After so long an error, with the lab's log."""
        try:
            return self.page.evaluate(BOUNDED % promise, [argument, seconds])
        except Error as error:
            raise AssertionError(f"{promise}\n{error}\n{self.lab.said()}") from None

    def end_kernels(self) -> None:
        """End the kernels that run, also those of notebooks that are not open any more."""
        self.promised(END_ALL)

    def theme(self, name: str) -> None:
        """Change to "light" or "dark", at once and for all notebooks."""
        change = (
            "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})"
            ".then(() => null)"
        )
        self.page.evaluate(change, THEMES[name])
        # The page says so before its colours are there.
        shown = "dark => getComputedStyle(document.body).colorScheme.includes('dark') === dark"
        self.page.wait_for_function(shown, arg=name == "dark")
        self.page.wait_for_function(UNCOVERED)

    def open(self, path: str, kernel: str = "python3") -> "Notebook":
        """Open a notebook below the lab's root, when its kernel is ready."""
        self.promised(OPEN, [path, kernel])
        self.page.wait_for_function(IDLE)
        return Notebook(self)

    def make(
        self, name: str, cells: Sequence[str | NotebookNode], kernel: str = "python3"
    ) -> "Notebook":
        """Open a notebook of these cells; a text is code."""
        made = [nbformat.v4.new_code_cell(c) if isinstance(c, str) else c for c in cells]
        book = nbformat.v4.new_notebook(cells=made)
        book.metadata["kernelspec"] = {"name": kernel, "display_name": kernel}
        nbformat.write(book, self.lab.root / f"{name}.ipynb")
        return self.open(f"{name}.ipynb", kernel)

    def offer(self, name: str, *before: str) -> None:
        """Offer another kernel: the project's own, started by the words `before`, not forked."""
        words = [*before, sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {"argv": words, "display_name": name, "language": "python"}
        folder = self.lab.home / "data" / "kernels" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "kernel.json").write_text(json.dumps(spec))
        self.promised("() => window.jupyterapp.serviceManager.kernelspecs.refreshSpecs()")


class Notebook:
    """An open notebook. panel: its part of the page, where a test looks for what is in it."""

    def __init__(self, watched: Watched) -> None:
        self.watched, self.page = watched, watched.page
        self.id = str(self.page.evaluate("() => window.jupyterapp.shell.currentWidget.id"))
        self.panel: Locator = self.page.locator(f"#{self.id}")

    def activate(self) -> None:
        """Bring it to the top, where cells are run, when several are open."""
        self.page.evaluate("id => window.jupyterapp.shell.activateById(id)", self.id)
        expect(self.panel).to_be_visible()

    def is_unsaved(self) -> bool:
        """Whether JupyterLab would ask to save it, now that its kernel is there."""
        return bool(self.watched.promised(UNSAVED))

    def run_all(self) -> None:
        """Run every cell, in order, to the end, or to an error that no tag expects and soon after.

        All cells are sent at once. At such an error the kernel drops those that have reached it.
        """
        self.watched.promised(RUN_ALL, seconds=AT_MOST)

    def run(self, index: int) -> Locator:
        """Run one cell to its end; what it shows."""
        self.watched.promised(RUN, index, AT_MOST)
        return self.output(index)

    def output(self, index: int) -> Locator:
        """What the cell at `index` shows."""
        return self.panel.locator(".jp-Cell").nth(index).locator(".jp-Cell-outputWrapper")

    def cells(self) -> list[dict[str, Any]]:
        """The cells with their outputs, as the file would hold them now."""
        return list(self.page.evaluate(CELLS))

    def errors(self) -> list[str]:
        """The errors of cells that are not tagged raises-exception."""
        return [
            f"{output['ename']}: {output['evalue']}"
            for cell in self.cells()
            if "raises-exception" not in cell["metadata"].get("tags", [])
            for output in cell.get("outputs", [])
            if output["output_type"] == "error"
        ]

    def violations(self, where: str = ".jp-Cell-outputArea") -> list[str]:
        """What axe-core finds serious or critical in the outputs of this notebook."""
        with self.painted(where):
            return self._found(where)

    def violations_in_both_themes(self) -> list[str]:
        """The same in dark and in light, where only the colours differ."""
        with self.painted():
            self.watched.theme("dark")
            dark = [f"dark, {each}" for each in self._found()]
            self.watched.theme("light")
            return dark + self._found(runOnly=COLOURS)

    def _found(self, where: str = ".jp-Cell-outputArea", **options: object) -> list[str]:
        top = f"#{self.id}"
        # The style of prompts is JupyterLab's own, and that of what looks like a path in a text,
        # which it makes a link.
        not_ours = [f"{top} .jp-OutputPrompt", f"{top} .jp-RenderedText a"]
        return axe.violations(self.page, f"{top} {where}", not_ours, **options)

    def paint(self, width: int = SIZE["width"], more: str = "") -> ElementHandle:
        """Have the browser draw the whole notebook, whatever its height, in a page so wide.

        axe sees only what is drawn, and nothing at all in a body that hides what overflows and is
        0 pixels high, as JupyterLab's. Returns the style that does it, for who will remove it.
        """
        painted = self.page.add_style_tag(content=PAINTED + more)
        self.panel.locator(".jp-WindowedPanel-outer").evaluate("e => { e.scrollTop = 0 }")
        height = self.panel.locator(".jp-WindowedPanel-inner").evaluate("e => e.scrollHeight")
        self.page.set_viewport_size({"width": width, "height": height + SIZE["height"]})
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
        )
        return painted

    @contextlib.contextmanager
    def painted(self, where: str = ".jp-Cell-outputArea") -> Iterator[None]:
        """In there all of such parts of the notebook are drawn, and no others."""
        style = self.paint(more=ALONE % where)
        yield
        self.page.set_viewport_size(SIZE)
        style.evaluate("style => style.remove()")

    def restart(self) -> None:
        """Restart the kernel, as the menu does."""
        self.watched.promised(RESTART)
        self.page.wait_for_function(IDLE)

    def close(self) -> None:
        """End its kernel and close it without saving; nothing when it is closed already."""
        if not self.panel.count():
            return
        self.activate()
        self.watched.promised(CLOSE)
        expect(self.panel).to_have_count(0)
