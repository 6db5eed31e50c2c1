"""The tests' own kernels are forks: they are given what any kernel is given."""

import ast
import os

from conftest import command_line, until

from ui.conftest import MakeNotebook
from ui.notebook import Notebook, Watched

LOOK = """import os, signal, sys
pid = os.getpid()
{
    "environment": {k: v for k, v in os.environ.items() if not k.startswith("JPY_")},
    "session name": os.path.basename(os.path.dirname(os.environ["JPY_SESSION_NAME"])),
    "directory": os.getcwd(),
    "path": sys.path,
    "leads": (os.getsid(0) == pid, os.getpgid(0) == pid),
    "signals": [str(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE)],
    "input": os.read(0, 1),
    "umask": [mask := os.umask(0), os.umask(mask)][0],
    "name": __name__,
    "imported": "labkit" in globals(),
}"""


def seen(book: Notebook) -> dict[str, object]:
    book.run_all()
    assert book.errors() == []
    (cell,) = book.cells()
    found: dict[str, object] = ast.literal_eval(cell["outputs"][0]["data"]["text/plain"])
    return found


def test_a_fork_has_what_a_kernel_has_that_was_started(
    notebook: MakeNotebook, watched: Watched
) -> None:
    found = seen(notebook(LOOK))
    watched.offer("started")
    book = watched.make("started", [LOOK], "started")
    started = seen(book)
    book.close()
    assert {key: (found[key], started[key]) for key in found if found[key] != started[key]} == {}


def test_it_is_restarted_interrupted_and_ended(notebook: MakeNotebook) -> None:
    book = notebook("import os\nprint(os.getpid())", "import time\nprint(1)\ntime.sleep(1000)")

    def pid() -> int:
        return int(book.run(0).locator("pre").inner_text())

    first = pid()
    assert b"warm_kernel.py" in command_line(first)
    book.page.evaluate(
        "() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1;"
        " window.jupyterapp.commands.execute('notebook:run-cell'); }"
    )
    book.output(1).get_by_text("1").wait_for()
    book.page.evaluate("() => window.jupyterapp.commands.execute('notebook:interrupt-kernel')")
    book.output(1).get_by_text("KeyboardInterrupt").first.wait_for()
    book.restart()
    second = pid()
    assert second != first
    assert not os.path.exists(f"/proc/{first}")
    book.close()
    until(lambda: not os.path.exists(f"/proc/{second}"))
