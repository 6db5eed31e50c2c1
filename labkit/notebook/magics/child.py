"""``%%child``: a cell's body as a program of its own, its system calls among its output.

The body runs in a fresh process with one thread (``child_program.py``), started by the engine like
any container. So what it unshares, mounts or sets never touches the notebook's process, and an
interrupt, or the kernel's end, ends it with everything that it has started.
"""

import re
import secrets
import sys
import warnings
from dataclasses import dataclass, replace

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, cell_magic, magics_class

from labkit.container.container import Container, Finished
from labkit.engine.boot import PROJECT
from labkit.engine.execution import Execution
from labkit.engine.streams import LIMIT, Kept, Streams, text
from labkit.notebook.cells.ending import how_it_ended
from labkit.notebook.cells.relay import Relay
from labkit.notebook.magics.child_program import NAME, PROGRAM
from labkit.text.words import Words

_ARROW = "⇒ "
_UNKNOWN = " = ?"  # how the line of an execve ends that is under way


@dataclass(frozen=True)
class Raised:
    """The error that ended a program: its class, its errno or 0, and the refused call or ""."""

    name: str
    errno: int
    call: str


class ChildFailed(Exception):  # noqa: N818 - it says what happened
    """A program of ``%%child`` did not end with status 0. returncode: as in Finished.

    error: what it, or the last of its children to fail, had raised; None: nothing that it told.
    """

    def __init__(self, returncode: int, error: Raised | None = None) -> None:
        self.returncode, self.error = returncode, error
        super().__init__(how_it_ended(returncode))

    def __str__(self) -> str:
        return f"%%child {self.args[0]}"

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the program itself has already told where in the body it was."""
        return [str(self)]


class _BodySyntaxError(Exception):
    """A SyntaxError of the body, shown without the frames of IPython that a real one has here."""

    def __init__(self, error: SyntaxError, shown: list[str]) -> None:
        super().__init__(str(error))
        self._shown = shown

    def _render_traceback_(self) -> list[str]:
        return self._shown


_BodySyntaxError.__name__ = "SyntaxError"  # which is what it is for the reader


class Calls:
    """The calls that a program and its children have made, as records that come in one by one.

    Nobody can say at once what became of an execve: its record ends in ``= ?``, and if it was
    refused another follows from the same process. So it is held back until something tells.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.raised: Raised | None = None  # the last error that nobody caught
        self._held: dict[str, int] = {}  # process -> index of its execve in lines
        self._begun: dict[str, str] = {}  # process -> what there is of a line in several records
        self.left_out = 0  # bytes of calls for which there was no room
        self._room = LIMIT

    def take(self, record: str) -> list[str]:
        """Take one record; the lines that can be shown now."""
        process, more, text = re.split(r"([.+!])", record, maxsplit=1)
        text = self._begun.pop(process, "") + text
        if more == "+":
            self._begun[process] = text
            return []
        if more == "!":
            name, number, call = text.split(" ", 2)
            self.raised = Raised(name, int(number), call)
            return []
        held = self._held.pop(process, None)
        if held is not None and text.startswith(self.lines[held].removesuffix(_UNKNOWN)):
            self.lines[held] = text
            return [text]
        shown = [] if held is None else [self._succeeded(held)]
        self._room -= len(text)
        if self._room < 0:
            self.left_out += len(text)
            return shown
        self.lines.append(text)
        if text.endswith(_UNKNOWN):
            self._held[process] = len(self.lines) - 1
            return shown
        return [*shown, text]

    def settle(self) -> list[str]:
        """Output has come, or the end: an execve that was held back has succeeded."""
        held, self._held = self._held, {}
        return [self._succeeded(index) for index in held.values()]

    def _succeeded(self, index: int) -> str:
        self.lines[index] = self.lines[index].removesuffix(_UNKNOWN) + " = 0"
        return self.lines[index]


class Output(Relay):
    """Shows in a cell what a program prints, as it comes, and its calls where they happened."""

    def __init__(self, result: str) -> None:
        super().__init__(result)
        # Not to be met by chance in what a program prints, be it an archive.
        self.mark = b"\0labkit-" + secrets.token_hex(8).encode() + b" "
        self.calls = Calls()
        self._said = Kept(LIMIT)
        self._rest = b""  # of standard output: what may be the beginning of a record
        self._in_line = False

    @property
    def stdout(self) -> str:
        """What the program has printed, without the calls."""
        return text(self._said.data)

    @property
    def left_out(self) -> int:
        """How many bytes of what it has printed, and of its calls, were not kept."""
        return self._said.left_out + self.calls.left_out

    def arrived(self, number: int, data: bytes) -> None:
        """Take a chunk of stream `number`."""
        if number == 2:
            super().arrived(number, data)
            return
        self._rest += data
        while (at := self._rest.find(self.mark)) >= 0:
            self._print(self._rest[:at])
            record, newline, after = self._rest[at + len(self.mark) :].partition(b"\n")
            if not newline:
                self._rest = self._rest[at:]
                return
            self._rest = after
            self._called(self.calls.take(record.decode()))
        # The mark begins with a NUL and has no other, so only the last one may begin a mark.
        at = self._rest.rfind(b"\0")
        if at < 0 or not self.mark.startswith(self._rest[at:]):
            at = len(self._rest)
        self._print(self._rest[:at])
        self._rest = self._rest[at:]

    def finish(self) -> None:
        """Show what was held back."""
        self._print(self._rest)
        self._print(b"", final=True)
        super().finish()
        self._called(self.calls.settle())

    def _print(self, data: bytes, *, final: bool = False) -> None:
        if data:
            self._called(self.calls.settle())
        self._said.add(data)
        shown = self._decoders[1].decode(self._shown.add(data), final)
        self._show(1, shown)
        if shown:
            self._in_line = not shown.endswith("\n")

    def _called(self, lines: list[str]) -> None:
        for line in lines:
            self.show(1, "\n" * self._in_line + _ARROW + line + "\n")
            self._in_line = False


@magics_class
class LabMagics(Magics):
    """What ``%load_ext labkit`` adds to IPython."""

    @property
    def _interpreter(self) -> InteractiveShell:
        assert self.shell is not None  # noqa: S101 - it is set when the magics are registered
        return self.shell

    @cell_magic
    def child(self, line: str, cell: str) -> None:
        """Run the cell as a Python program of its own: %%child [NAME].

        The names of labkit.syscalls, os, sys, signal and time are at hand. Each system call made
        through labkit.syscalls is shown where it happened, as a line that begins with an arrow.
        NAME (else _child) becomes a Finished: returncode, stdout, stderr, and the calls as trace.
        If the program ends with another exit status than 0, the cell fails with ChildFailed.
        """
        name = line.strip() or "_child"
        if not name.isidentifier():
            raise UsageError(
                Words(
                    f"用法：%%child [NAME]；{name!r} 不是名字",
                    f"usage: %%child [NAME]; {name!r} is not a name",
                )
            )
        body = "\n" + cell  # the magic's own line is the first, as the notebook counts them
        self._check(body)
        finished, raised = self._run(body, name)
        self._interpreter.user_ns[name] = finished
        if finished.returncode:
            raise ChildFailed(finished.returncode, raised)

    def _check(self, body: str) -> None:
        try:
            with warnings.catch_warnings(action="ignore"):  # the program itself will give them
                compile(body, NAME, "exec", dont_inherit=True)
        except SyntaxError as error:
            shown = self._interpreter.SyntaxTB.structured_traceback(type(error), error, None)
            raise _BodySyntaxError(error, shown) from None

    def _run(self, body: str, name: str) -> tuple[Finished, Raised | None]:
        """Run `body` to its end, showing what it prints; whatever interrupts that ends it."""
        argv = (sys.executable, "-I", "-u", "-X", "utf8", PROGRAM, PROJECT)
        output = Output(name)
        data = output.mark + b"\n" + body.encode()
        try:
            streams = Streams((None, None, None), data, output.arrived)
            finished = Execution(Container(argv), streams).finish(None)
        except KeyboardInterrupt as error:
            vars(error)["_render_traceback_"] = _interrupted
            raise
        finally:
            output.finish()
        trace, left_out = tuple(output.calls.lines), output.left_out + streams.left_out(2)
        told = replace(finished, stdout=output.stdout, trace=trace, left_out=left_out)
        return told, output.calls.raised


def _interrupted() -> list[str]:
    ended = Words(
        "%%child 和它启动的一切都已结束", "%%child and everything it had started have been ended"
    )
    return [f"KeyboardInterrupt: {ended}"]
