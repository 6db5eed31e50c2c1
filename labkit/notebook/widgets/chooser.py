"""choose(): turn flags on and off, and see at once what the kernel makes of it."""

import functools
import operator
import shlex
import threading
import warnings
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import traitlets

from labkit.container.container import Container, as_container
from labkit.linux.flags import Clone
from labkit.linux.namespaces import KINDS
from labkit.notebook.views.outcome import Outcome, outcome
from labkit.notebook.views.trial import SECONDS, Trial
from labkit.notebook.widgets.widget import Static, Widget
from labkit.text.words import Words, words_of


@dataclass(frozen=True)
class Choice:
    """What stands in the form. flags: the kinds that are ticked; program: a line of words."""

    flags: Clone
    hostname: str
    program: str
    proc: bool

    @classmethod
    def of(cls, box: Container) -> "Choice":
        """The form filled in for `box`."""
        return cls(box.cloneflags, box.hostname or "", shlex.join(box.argv), box.proc)

    @classmethod
    def from_page(cls, data: dict[str, Any]) -> "Choice":
        """What the page's script sends."""
        kinds = (kind.flag for kind in KINDS if kind.name in data["kinds"])
        flags = functools.reduce(operator.or_, kinds, Clone(0))
        return cls(flags, data["hostname"], data["program"], bool(data["proc"]))

    def to_page(self) -> dict[str, Any]:
        """The same for the page's script."""
        kinds = [kind.name for kind in KINDS if kind.flag & self.flags]
        return {
            "kinds": kinds,
            "hostname": self.hostname,
            "program": self.program,
            "proc": self.proc,
        }

    def box(self, base: Container) -> Container:
        """The container that is chosen; what the form does not ask for is as in `base`.

        Raises ValueError, in both languages, when there is no such container.
        """
        return replace(
            base,
            argv=self._argv(),
            cloneflags=self.flags,
            hostname=self.hostname or None,
            proc=self.proc,
        )

    def _argv(self) -> tuple[str, ...]:
        try:
            return tuple(shlex.split(self.program))
        except ValueError:
            raise ValueError(
                Words(
                    "程序一栏里的引号没有成对",
                    "a quotation mark in the program's line is not closed",
                )
            ) from None


class Chooser(Widget):
    """A form for a container, which is run at each change. `box` is what it stands for now."""

    files: ClassVar[str] = "chooser"

    # From the page, and to it. Without an echo: the page knows what it has sent.
    choice = traitlets.Dict().tag(sync=True, echo_update=False)
    answer = traitlets.Dict().tag(sync=True)
    kinds: traitlets.List[list[str]] = traitlets.List().tag(sync=True)
    seconds = traitlets.Float(SECONDS).tag(sync=True)

    def __init__(self, box: Container) -> None:
        self._base = box
        self._trial: Trial | None = None
        self._lock = threading.Lock()
        self._first = outcome(Trial(box))
        super().__init__(
            choice=Choice.of(box).to_page(),
            answer=self._first.data(),
            kinds=[
                [kind.name, str(kind.flag), kind.isolates.zh, kind.isolates.en] for kind in KINDS
            ],
        )
        self.observe(self._chosen, "choice")

    @property
    def box(self) -> Container:
        """The container that stands in the form. Raises ValueError when it is none."""
        return Choice.from_page(self.choice).box(self._base)

    def static(self) -> Static:
        """What came of the container that it began with."""
        return self._first

    def close(self) -> None:
        """End what is running, and itself."""
        with self._lock:
            self._next(None)
        super().close()

    def _chosen(self, _: object) -> None:
        """Something was changed on the page: run the container, on a thread of its own.

        Neither may a program that takes its time keep the kernel from its cells, nor an earlier
        choice come after a later one.
        """
        try:
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                trial = Trial(self.box)
        except (ValueError, TypeError) as error:
            with self._lock:
                self._next(None)
                self.answer = Outcome(None, said=words_of(error)).data()
            return
        said = tuple(words for each in heard for words in _warned(each.message))
        with self._lock:
            self._next(trial)
        threading.Thread(target=self._try, args=(trial, said), daemon=True).start()

    def _next(self, trial: Trial | None) -> None:
        if self._trial:
            self._trial.stop()
        self._trial = trial

    def _try(self, trial: Trial, said: tuple[Words, ...]) -> None:
        came = outcome(trial)
        with self._lock:
            if self._trial is trial:
                self.answer = replace(came, said=(*came.said, *said)).data()


def _warned(message: Warning | str) -> tuple[Words, ...]:
    return words_of(message) if isinstance(message, Warning) else ()


def choose(box: Container | None = None) -> Chooser:
    """Choose namespaces, host name and program with the mouse or the keyboard.

    It begins with `box`, or with a container that prints its host name. The chosen container runs
    at each change. The attribute `.box` of the result is this container, for use in Python.
    """
    return Chooser(Container(("hostname",)) if box is None else as_container(box))
