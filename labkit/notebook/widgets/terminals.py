"""``terminal(box)``: an interactive container in a cell, as ``docker run -it`` gives one.

The page draws with xterm.js, which stands unchanged in ``static/vendor``. It is large, so it is no
part of a widget: a page gets it once, when the first terminal there asks for it.
"""

import contextlib
import functools
import os
import re
import shlex
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import traitlets

from labkit.container.container import Container, as_container
from labkit.engine.running import Running
from labkit.notebook.cells.attempt import attempt
from labkit.notebook.cells.current import when_run_again
from labkit.notebook.cells.ending import how_it_ended
from labkit.notebook.widgets.screen import Screen
from labkit.notebook.widgets.session import Session
from labkit.notebook.widgets.widget import Widget
from labkit.text.words import Words

_VENDOR = Path(__file__).parents[1] / "static" / "vendor"
_LIBRARY = ("xterm-6.0.0/xterm.mjs", "addon-fit-0.11.0/addon-fit.mjs", "xterm-6.0.0/xterm.css")
_GRACE = 2.0  # seconds: a cell that is moved is drawn again, which is no reason to end

_LOST = Words("已结束：引擎没有了", "ended: the engine is gone")
_STILL = Words(
    "接在终端上的容器：`{}`。在 JupyterLab 里运行这一格，就可以在这里打字。",
    "A container on a terminal: `{}`. Run this cell in JupyterLab, and type here.",
)


@dataclass(frozen=True)
class StillTerminal:
    """A terminal where nothing runs: which program it is for."""

    command: str

    def __str__(self) -> str:
        return str(_STILL.filled(self.command)).replace("`", "")

    def _repr_html_(self) -> str:
        return _STILL.filled(self.command).html(tag="div")


class Terminal(Widget):
    """A container on a terminal that a page shows. It starts at once, and ends with its cell.

    It ends when the cell runs again, when its output is cleared, when the widget is closed, or when
    the notebook's process ends. running: the container, as start() gives it.
    """

    files = "terminal"
    command = traitlets.Unicode().tag(sync=True)
    status = traitlets.List(traitlets.Unicode()).tag(sync=True)  # of the end: Chinese, English

    def __init__(self, box: Container, kept: contextlib.ExitStack) -> None:
        self._kept = kept
        self.box = replace(box, tty=True, env=_env(os.environ) if box.env is None else box.env)
        self._size = (24, 80)
        self._shown = 0.0  # when a page has last shown it
        self._screen = Screen(self._show, self._replay)
        self._lock = threading.RLock()
        self._session: Session | None = None
        super().__init__(command=shlex.join(box.argv))
        self.heard_while_cells_run()
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        self.on_msg(self._hear)
        when_run_again(self.close)

    @property
    def running(self) -> Running:
        """The container, as start() gives it; the latest, if it has been started again."""
        assert self._session  # noqa: S101 - there is one from the beginning
        return self._session.running

    def write(self, typed: str) -> None:
        r"""Type on it, as the reader may: "\\r" is Enter, "\\3" Ctrl-C."""
        self._type(typed.encode("utf-8", "replace"))

    def text(self) -> str:
        """What it has shown lately, with the escape sequences of colours and the like."""
        return self._screen.text()

    def static(self) -> StillTerminal:
        """The command, in both languages."""
        return StillTerminal(self.command)

    def close(self) -> None:
        """End the container, take the widget off every page, and let go of what was kept."""
        self._kill()
        super().close()
        threading.Thread(target=self._let_go, name="labkit-let-go", daemon=True).start()

    def _let_go(self) -> None:
        """Wait for the container's end, which takes its root and volumes along."""
        if self._session:
            with contextlib.suppress(Exception):  # whoever asks what came of it is told
                self.running.wait()
        self._kept.close()

    def _start(self) -> None:
        with self._lock:
            self._session, _ = attempt(
                lambda: Session(self.box, self._screen, self._size, self._ended)
            )

    def _again(self) -> None:
        """Start it again, if it has ended."""
        with self._lock:
            ended, self.status = self.status, []
            if not ended:
                return
            self._screen.clear()
            try:
                self._start()
            except Exception as error:  # noqa: BLE001 - there is no cell to show it
                self._print(f"{error}\n")
                self.status = ended

    def _ended(self) -> None:
        """Say what came of it: on the session's thread."""
        with self._lock:  # not before it is ours
            running = self.running
        try:
            done = running.wait()
            words = how_it_ended(done.returncode)
            self._print(done.stderr)  # of ours: why there was no program
        except Exception:  # noqa: BLE001 - it did not come to an end of its own
            words = _LOST
        self.status = [words.zh, words.en]

    def _print(self, text: str) -> None:
        self._screen.add(text.replace("\n", "\r\n").encode())

    def _show(self, data: bytes, before: int) -> None:
        self.send({"output": before}, [data])

    def _replay(self, page: str, data: bytes, before: int) -> None:
        self.send({"replay": page, "before": before}, [data])

    def _hear(self, _: object, said: Mapping[str, Any], __: object) -> None:
        """Do what a page says or asks: see static/terminal.js."""
        match said:
            case {"attach": page}:
                self._shown = time.monotonic()
                self._screen.attach(page)
            case {"seen": position, "page": page}:
                self._screen.seen(page, position)
            case {"typed": text}:
                self.write(text)
            case {"bytes": text}:  # a mouse's reports: no characters
                self._type(text.encode("latin-1"))
            case {"rows": rows, "columns": columns}:
                self._resize(rows, columns)
            case {"leave": page, "gone": gone}:
                self._leave(page, gone=gone)
            case {"ask": wish}:
                self._asked[wish]()

    @functools.cached_property
    def _asked(self) -> Mapping[str, Callable[[], None]]:
        return {"library": self._send_library, "again": self._again, "end": self._kill}

    def _send_library(self) -> None:
        self.send({"xterm": True}, _library())

    def _type(self, data: bytes) -> None:
        if self._session:
            self._session.type(data)

    def _kill(self) -> None:
        if self._session:
            self._session.kill()

    def _resize(self, rows: int, columns: int) -> None:
        with self._lock:
            self._size = (max(1, rows), max(1, columns))
            if self._session:
                self._session.resize(*self._size)

    def _leave(self, page: str, *, gone: bool) -> None:
        """A page shows it no longer; `gone`: because it is gone from the notebook."""
        self._screen.detach(page)
        if gone:
            timer = threading.Timer(_GRACE, self._abandon, [time.monotonic()])
            timer.daemon = True
            timer.start()

    def _abandon(self, since: float) -> None:
        if self._shown <= since:
            self.close()


def _env(env: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment, but for what ipykernel has set for programs without a terminal."""
    without = {
        "CLICOLOR",
        "CLICOLOR_FORCE",
        "FORCE_COLOR",
        "GIT_PAGER",
        "PAGER",
        "COLUMNS",
        "LINES",
    }
    kept = {name: value for name, value in env.items() if name not in without}
    return {"LANG": "C.UTF-8"} | kept | {"TERM": "xterm-256color"}


@functools.cache
def _library() -> list[bytes]:
    """xterm.js, its addon, and its style, without the references to maps that are not here."""
    files = [(_VENDOR / name).read_bytes() for name in _LIBRARY]
    return [re.sub(rb"\n//# sourceMappingURL=.*", b"", text) for text in files]


def terminal(box: Container, kept: contextlib.ExitStack | None = None) -> Terminal:
    """Run `box` on a terminal in this cell, as docker run -it does; see :class:`Terminal`.

    kept: what the container needs as long as it can be started again, such as its root.

    Raises what start() raises.
    """
    return Terminal(as_container(box), kept or contextlib.ExitStack())
