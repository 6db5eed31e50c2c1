"""What a learner hands in, and how it can be of no use: blank, of the wrong kind, failing."""

import dis
import linecache
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, Self

from labkit.container.container import Container, Finished
from labkit.notebook.cells.mistake import FOREIGN
from labkit.text.words import Words

SECONDS = 20
"""How long a learner's container or function may take.

A scene takes a second or two, and an emulated processor is ten times as slow.
"""

Diagnosis = tuple[Words] | tuple[Words, Words]
"""What a check found wrong, and the hint that fits it."""

_MOST = 300  # characters of an error's text


class BlankError(Exception):
    """There is no answer yet."""


class WrongError(Exception):
    """The answer is not right. found: what the kernel shows; hint: what helps against this."""

    def __init__(self, diagnosis: Diagnosis, evidence: str = "", **values: object) -> None:
        found, *hint = (words.filled(**values) if values else words for words in diagnosis)
        super().__init__(found.en)
        self.found, self.evidence = found, evidence
        self.hint = hint[0] if hint else None


@dataclass(frozen=True)
class Failure:
    """An exception of the learner's, in words that can be sent from another program.

    kind, text, notes: of the exception. number: its errno, if it has one. frame: file and line of
    the learner's code where it came up, if it came up there.
    """

    kind: str
    text: str
    notes: list[str] = field(default_factory=list)
    number: int | None = None
    frame: tuple[str, int] | None = None

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """What there is to say about `error`, whatever its own methods do."""
        try:
            text = str(error)
        except Exception:  # noqa: BLE001 - the learner's __str__
            text = "?"
        frames = [
            (frame.filename, frame.lineno or 0)
            for frame in traceback.extract_tb(error.__traceback__)
            if not frame.filename.startswith(FOREIGN)
        ]
        return cls(
            type(error).__name__,
            text if len(text) <= _MOST else text[:_MOST] + "…",
            [str(note) for note in getattr(error, "__notes__", [])],
            error.errno if isinstance(error, OSError) else None,
            frames[-1] if frames else None,
        )

    def __str__(self) -> str:
        lines = [f"{self.kind}: {self.text}" if self.text else self.kind, *self.notes]
        if self.frame:
            code = linecache.getline(*self.frame).strip()
            lines.insert(0, f"{self.frame[1]}: {code}" if code else f"line {self.frame[1]}")
        return "\n".join(lines)


class FailedError(Exception):
    """The learner's function failed in another program. seen: what it had brought about by then."""

    def __init__(self, failure: Failure, seen: dict[str, Any] | None = None) -> None:
        super().__init__(str(failure))
        self.failure, self.seen = failure, seen or {}


@dataclass(frozen=True)
class Unsendable:
    """In place of what a learner's function returned: it means something in its own program only.

    kind: the name of its type.
    """

    kind: str


_NOT_A_BOX = (
    Words(
        "检查要的是一个 Container，收到的是 {kind}。",
        "The check wants a Container; it was given {kind}.",
    ),
    Words(
        '写成 `box = Container(argv=("程序", "参数", ...))`，交的是 `box`，不是 `run(box)`。',
        'Write `box = Container(argv=("program", "argument", ...))` and hand in `box`, '
        "not `run(box)`.",
    ),
)
_NO_FUNCTION = (
    Words(
        "检查要的是一个函数，收到的是 {kind}。",
        "The check wants a function; it was given {kind}.",
    ),
    Words(
        "交函数本身，不要先调用它：`check(f)`，不是 `check(f())`。",
        "Hand in the function itself. Do not call it first: `check(f)`, not `check(f())`.",
    ),
)
_TOO_LONG = (
    Words(
        "{seconds} 秒过去，它还没有结束；检查把它和它启动的一切都结束掉了。",
        "It had not ended after {seconds} seconds. The check ended it and everything that it "
        "had started.",
    ),
)


def blank(answer: object) -> bool:
    """Whether `answer` is still the placeholder: ``...``, None, or a function that does nothing."""
    if not isinstance(answer, FunctionType):
        return answer is None or answer is Ellipsis
    for step in dis.get_instructions(answer):
        if step.opname not in {"RESUME", "NOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"}:
            return False
        if step.opname.endswith("_CONST") and step.argval not in (None, Ellipsis):
            return False
    return True


def box_of(answer: object) -> Container:
    """`answer`, which is to be a container."""
    if not isinstance(answer, Container):
        raise WrongError(_NOT_A_BOX, kind=type(answer).__name__)
    return answer


def function_of(answer: object) -> Callable[..., Any]:
    """`answer`, which is to be a function."""
    if not callable(answer):
        raise WrongError(_NO_FUNCTION, kind=type(answer).__name__)
    return answer


def ran(answer: object) -> Finished:
    """What came of the learner's container, which may not take long."""
    from labkit.engine.client import run  # a scene's program imports this module and starts none

    try:
        return run(box_of(answer), timeout=SECONDS)
    except TimeoutError:
        raise too_long() from None


def too_long() -> WrongError:
    """It had to be ended."""
    return WrongError(_TOO_LONG, seconds=SECONDS)
