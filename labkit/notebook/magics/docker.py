"""``%docker`` and ``%%docker``: docker's command line in a cell.

A container runs in its image, from the store. Where the image is not there and cannot be pulled,
this machine's own root stands in. In the lessons before V0.7 an image is only a name
(`without_images`): each cell there shows the same with a network and without.
"""

import contextlib
import shlex

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from labkit.container.container import Container, Finished
from labkit.docker import usage
from labkit.docker.absent import Refused
from labkit.docker.grammar import HelpAsked
from labkit.docker.obtain import image_or_none, stands_in
from labkit.docker.order import Order, parse
from labkit.docker.roots import ready
from labkit.engine.execution import Execution
from labkit.engine.inner_pty import pty_for
from labkit.engine.streams import Streams
from labkit.linux.pty import END
from labkit.notebook.cells.ending import how_it_ended
from labkit.notebook.cells.relay import Relay
from labkit.text.words import Words, one_line

_NOT_A_TTY = Words(
    "-t 要有人坐在终端前，%%docker 的输入却是单元格里的脚本：去掉 -t，或者只写一行 %docker",
    "-t needs a person at a terminal, but the input of %%docker is the cell's script: leave out "
    "-t, or write a line of %docker",
)
_DETACHED = Words(
    "单元格里没有 -d：容器随单元格结束。要它留下，用 start(box)",
    "no -d in a cell: a container ends with its cell. To keep one, use start(box)",
)
_WHAT = Words(
    "{image} 眼下只是个名字，说不出默认运行什么：请在后面写上程序，如 {image} /bin/bash",
    "{image} is only a name so far and cannot say what to run: write the program after it, as in "
    "{image} /bin/bash",
)
_NO_VOLUMES = Words(
    "镜像眼下只是个名字：眼下只有 /来源:/位置，由 labkit 保管的卷还没有",
    "an image is only a name so far: only /source:/target, no volumes that labkit keeps",
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
    """What ``%load_ext labkit`` adds to IPython: docker's own words.

    images: whether a program runs in its image; if not, on this machine's own files.
    """

    images = True

    @no_var_expand  # $HOME and {} are the program's
    @line_cell_magic
    def docker(self, line: str, cell: str | None = None) -> object:
        """Run a container: %docker run [OPTIONS] IMAGE [PROGRAM] [ARG...].

        With -it a terminal appears, which is also the value of the line. Otherwise output is shown
        as it comes; in %%docker the cell's body is the program's input, as if -i were given. What
        came of it is kept as _docker, a Finished; a status other than 0 fails with ContainerFailed.
        %docker run --help lists the options, and says why others are not here.
        """
        if (order := self._order(line)) is None:
            return print(usage.text(), end="")
        if cell is not None and order.tty:
            raise UsageError(_NOT_A_TTY)
        with contextlib.ExitStack() as stack:
            box = _container(order, stack, images=self.images)
            if order.tty and order.interactive:
                from labkit.notebook.widgets.terminals import terminal

                return terminal(box, stack.pop_all())
            finished = _run(box, (cell or "").encode())
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
            raise UsageError(one_line(error)) from None


def without_images() -> None:
    """From now on %docker runs each program on this machine's own files, as before V0.7."""
    DockerMagics.images = False


def _container(order: Order, stack: contextlib.ExitStack, *, images: bool) -> Container:
    """The container of an order, which is there as long as `stack` is open; says what differs."""
    try:
        if order.detach:
            raise Refused(_DETACHED)
        if not images:
            return _on_this_machine(order)
        found = image_or_none(order)
        if isinstance(found, Words):
            _say(stands_in(order, found))
        box, made = stack.enter_context(ready(order, None if isinstance(found, Words) else found))
    except ValueError as error:
        raise UsageError(one_line(error)) from None
    _say(*order.absent, *filter(None, [made.note]))
    return box


def _on_this_machine(order: Order) -> Container:
    """The container on this machine's own files: in the lessons before V0.7 an image is a name."""
    box = order.box
    if not order.argv:
        raise Refused(_WHAT.filled(image=order.image))
    if any(each.kind == "volume" for each in order.mounted):
        raise Refused(_NO_VOLUMES)
    _say(*order.notes)
    return box


def _say(*notes: Words) -> None:
    for note in notes:
        print(f"labkit: {note}")


def _run(box: Container, body: bytes) -> Finished:
    """Run `box` to its end, showing what it prints; whatever interrupts that ends it."""
    relay = Relay("_docker")
    # Nobody types there: the end of the input comes at once.
    pty = pty_for(box) if box.tty else None
    streams = Streams((None, None, None), END if pty else body, relay.arrived, pty)
    try:
        return Execution(box, streams).finish(None)
    except KeyboardInterrupt as error:
        vars(error)["_render_traceback_"] = lambda: [f"KeyboardInterrupt: {_INTERRUPTED}"]
        raise
    finally:
        relay.finish()
