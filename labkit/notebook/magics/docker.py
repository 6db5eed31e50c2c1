"""``%docker`` and ``%%docker``: docker's command line in a cell, as far as the lessons go."""

import shlex

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from labkit.container.container import Container, Finished
from labkit.docker import usage
from labkit.docker.lessons import Refused
from labkit.docker.options import HelpAsked, Order, parse
from labkit.engine.execution import Execution
from labkit.engine.streams import Streams
from labkit.linux.pty import END, Pty
from labkit.notebook.cells.ending import how_it_ended
from labkit.notebook.cells.relay import Relay
from labkit.text.words import Words

_NOT_A_TTY = Words(
    "-t 要有人坐在终端前，%%docker 的输入却是单元格里的脚本：去掉 -t，或者只写一行 %docker",
    "-t needs a person at a terminal, but the input of %%docker is the cell's script: leave out "
    "-t, or write a line of %docker",
)
_INTERRUPTED = Words(
    "容器和它启动的一切都已结束", "the container and everything it had started have been ended"
)
_ENDED = Words("容器{how}", "the container {how}")


class ContainerFailed(Exception):  # noqa: N818 - it says what happened
    """A container of ``%docker`` did not end with status 0. returncode: as in Finished."""

    def __init__(self, returncode: int) -> None:
        self.returncode = returncode
        super().__init__(_ENDED.filled(how=how_it_ended(returncode)))

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the frames of the magic would say nothing about the container."""
        return [f"ContainerFailed: {self}"]


@magics_class
class DockerMagics(Magics):
    """What ``%load_ext labkit`` adds to IPython: docker's own words."""

    @no_var_expand  # $HOME and {} are the program's
    @line_cell_magic
    def docker(self, line: str, cell: str | None = None) -> object:
        """Run a container: %docker run [OPTIONS] IMAGE PROGRAM [ARG...].

        With -it a terminal appears, which is also the value of the line. Otherwise output is shown
        as it comes; in %%docker the cell's body is the program's input, as if -i were given. What
        came of it is kept as _docker, a Finished; a status other than 0 fails with ContainerFailed.
        %docker run --help lists the options, and those that come with a later lesson.
        """
        if (order := self._order(line)) is None:
            return print(usage.text(), end="")
        if cell is not None and order.box.tty:
            raise UsageError(_NOT_A_TTY)
        for note in order.notes:
            print(f"labkit: {note}")
        if order.box.tty and order.interactive:
            from labkit.notebook.widgets.terminals import terminal

            return terminal(order.box)
        finished = _run(order.box, (cell or "").encode())
        assert isinstance(self.shell, InteractiveShell)  # noqa: S101 - magics are registered there
        self.shell.user_ns["_docker"] = finished
        if finished.returncode:
            raise ContainerFailed(finished.returncode)
        return None

    def _order(self, line: str) -> Order | None:
        """What the line asks for; None: help."""
        try:
            return parse(shlex.split(line))
        except HelpAsked:
            return None
        except (Refused, ValueError) as error:  # a quotation without an end, a NUL byte, ...
            raise UsageError(str(error)) from None


def _run(box: Container, body: bytes) -> Finished:
    """Run `box` to its end, showing what it prints; whatever interrupts that ends it."""
    relay = Relay("_docker")
    pty = Pty() if box.tty else None  # nobody types there: the end of the input comes at once
    streams = Streams((None, None, None), END if pty else body, relay.arrived, pty)
    try:
        return Execution(box, streams).finish(None)
    except KeyboardInterrupt as error:
        vars(error)["_render_traceback_"] = lambda: [f"KeyboardInterrupt: {_INTERRUPTED}"]
        raise
    finally:
        relay.finish()
