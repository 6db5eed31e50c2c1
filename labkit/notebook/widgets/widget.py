"""What our widgets have in common: an anywidget of ours, and its static form beside it.

A widget lives only where a kernel runs. GitHub, nbviewer, an HTML export and an untrusted notebook
show what lies next to it: a second output, HTML and text, which the page hides while the widget
itself is alive (`static/widget.css`).
"""

from pathlib import Path
from typing import Any, ClassVar, Protocol

import anywidget
from IPython.display import display

_STATIC = Path(__file__).parents[1] / "static"


def _file(name: str, kind: str) -> str:
    """A script or style, after what all of them share."""
    files = (_STATIC / f"{each}.{kind}" for each in ("widget", name))
    return "".join(file.read_text(encoding="utf-8") for file in files)


class Static(Protocol):
    """What a widget shows where nothing runs: text, and HTML that says the same."""

    def __str__(self) -> str: ...

    def _repr_html_(self) -> str: ...


class Widget(anywidget.AnyWidget):
    """A widget whose script and style are static/NAME.js and static/NAME.css.

    A subclass names them with ``files = "chooser"``. Shown in a cell it makes two outputs: itself,
    and what its `static` method returns, if that is not None. Its script gives its element the
    class labkit-widget.
    """

    files: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:  # noqa: ANN401 - traitlets'
        if "files" in vars(cls):  # not in the subclass that each instance makes for itself
            cls._esm, cls._css = _file(cls.files, "js"), _file(cls.files, "css")
        super().__init_subclass__(**kwargs)

    def heard_while_cells_run(self) -> None:
        """Have what a page says heard on the thread that JupyterLab asks for, its own for widgets.

        Else ipykernel uses the one that has spoken last, and that may be busy with a cell.
        """
        self.comm.__dict__["_reply_subshell_for"] = lambda _, subshell: subshell

    def __repr__(self) -> str:  # without an address: a saved output must compare
        return f"<{self.files}>"

    def static(self) -> Static | None:
        """What stands beside it for a page without a kernel, if anything is to be seen there."""
        return None

    def _ipython_display_(self) -> None:
        alive = self._repr_mimebundle_()
        assert alive  # noqa: S101 - None is for a widget without a view
        data, metadata = alive
        # Its view alone: a saved notebook leaves it out, and compares with one that has it.
        view = {kind: value for kind, value in data.items() if kind != "text/plain"}
        display(view, metadata=metadata, raw=True)
        if (still := self.static()) is None:
            return
        html = f'<div class="labkit-static">{still._repr_html_()}</div>'
        display({"text/html": html, "text/plain": str(still)}, raw=True)
