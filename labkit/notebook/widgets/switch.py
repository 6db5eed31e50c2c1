"""The language switch at the top of a notebook: its page in Chinese, in English or in both."""

import os
import threading
from pathlib import Path
from typing import ClassVar

from IPython.display import display
from traitlets import Unicode, observe

from labkit.notebook.cells.current import current_cell
from labkit.notebook.widgets.waiting import show_bar
from labkit.notebook.widgets.widget import Widget
from labkit.text.words import Words, speak

_PAGE = Path(__file__).parents[1] / "static" / "language.html"
_NAMED = os.environ.get("LABKIT_LANG", "")[:2].lower()  # before any switch has written it
_PATIENCE = 10.0  # seconds for the page to say what it speaks; it takes a fraction of one
_SAID = Words(
    "中英对照；运行这个单元格，就可以只看一种语言。",
    "In Chinese and English; run this cell to read only one of them.",
)


class PageSwitch:
    """The switch where no kernel runs: by the page's style alone, or, without that, a line."""

    def __str__(self) -> str:
        return f"{_SAID.zh} {_SAID.en}"

    def _repr_html_(self) -> str:
        return f"{_PAGE.read_text(encoding='utf-8')}<p>{_SAID.html()}</p>"


class Language(Widget):
    """The switch; what Python says in this notebook follows it.

    named: what LABKIT_LANG asks for. chosen: what the page shows, "zh", "en" or "both".
    """

    files: ClassVar[str] = "language"
    named = Unicode(_NAMED).tag(sync=True)
    chosen = Unicode().tag(sync=True)

    def __init__(self) -> None:
        self._told = threading.Event()
        super().__init__()
        self.heard_while_cells_run()
        self.on_msg(self._introduced)

    def _introduced(self, _: object, said: dict[str, str], __: object) -> None:
        """The page has said for the first time what it speaks; it says so until it is heard."""
        if not self.chosen:
            self.chosen = said["speaks"]

    @observe("chosen")
    def _follow(self, change: dict[str, str]) -> None:
        speak(change["new"])
        self._told.set()

    def _ipython_display_(self) -> None:
        super()._ipython_display_()
        if bar := show_bar():
            display(bar)
        if current_cell():  # of a page; a build and a test without one speak both languages
            self._told.wait(_PATIENCE)

    def static(self) -> PageSwitch:
        """A switch that needs no kernel."""
        return PageSwitch()


def language() -> Language:
    """Show the switch between 中文, English and both; from now on slow cells show a bar.

    The choice is kept, for all notebooks of the page and for the messages of Python. At first it is
    LABKIT_LANG, or else the language of JupyterLab or the browser.
    """
    return Language()
