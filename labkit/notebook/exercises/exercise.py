"""An exercise: check() looks at the kernel, hint() helps step by step, solution() shows one way.

A check never reads the learner's text. It runs what was handed in, sees what the kernel makes of
it, and says so. It tells four cases apart: right, wrong, nothing handed in yet, and a machine that
refuses the experiment, which is nobody's mistake: there the model solution is refused as well.
"""

import contextlib
import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from labkit.engine.connection import rootless
from labkit.notebook.cells.attempt import unprivileged
from labkit.notebook.exercises import progress
from labkit.notebook.exercises.answers import BlankError, FailedError, Failure, WrongError, blank
from labkit.notebook.exercises.card import Aside, Bar, Card, Folded, Part, Tone
from labkit.notebook.views.show import source
from labkit.text.words import Words


class Outcome(enum.Enum):
    """What a check came to: the colours and the heading of its card."""

    CORRECT = (Tone.good, Words("✓ 对了", "Correct"))
    INCORRECT = (Tone.bad, Words("✗ 还不对", "Incorrect"))
    NOT_ATTEMPTED = (Tone.plain, Words("○ 还没有作答", "Not attempted"))
    REFUSED = (Tone.warning, Words("△ 这台机器上判断不了", "Cannot be judged on this machine"))


@dataclass(frozen=True, repr=False)
class Verdict(Card):
    """What a check found. outcome: right, wrong, nothing there, or refused by the machine."""

    outcome: Outcome
    exercise: "Exercise" = field(compare=False)

    def _ipython_display_(self) -> None:
        _show(self, "check", *_HELP, exercise=self.exercise)


@dataclass(frozen=True)
class Found:
    """What a check saw that was right: in words, and as lines."""

    words: Words
    evidence: str = ""


_HELP = ("hint", "solution", "reset")


def _show(still: Any, *buttons: str, exercise: "Exercise | None" = None) -> None:  # noqa: ANN401
    """Show a card or a list alive. A child program of ours needs nothing of what that takes."""
    from IPython.display import display

    from labkit.notebook.exercises.buttons import LiveCard, LiveList

    display(LiveCard(still, *buttons, exercise=exercise) if exercise else LiveList(still))


_TASK = Words("题目", "Exercise")
_WHY = Words("为什么", "Why")
_STUCK = Words("没有头绪？`{name}.hint()`", "Stuck? `{name}.hint()`")
_RAISED = Words("你的代码出了错：", "Your code raised an error:")
_REFUSES = Words(
    "这台机器拒绝了这个实验，连参考答案也被拒绝，所以不算你错。`labkit doctor` 会说明缺什么。",
    "This machine refuses the experiment. It refuses the model solution too, so this is not "
    "your mistake. `labkit doctor` says what is missing.",
)
_LAST_HINT = Words(
    "提示到此为止；`{name}.solution()` 给出一种写法。",
    "There are no more hints; `{name}.solution()` shows one way.",
)
_ALL_SOLVED = Words(
    "🎉 这一课的练习全部完成！",
    "🎉 You have solved every exercise of this lesson!",
)
_RETURNS = Words("函数返回的，就是答案。", "What the function returns is the answer.")

Hint = Words | Callable[[], Words]
"""A hint; one that is called looks at the machine first."""


class Exercise:
    """One exercise of a notebook. A subclass says what it asks and judges what it is handed.

    title: in a few words. task: what is asked. hints: vague first, plain last; what the last check
    found gives another between them. model: a function that is the answer or, unless
    `wants_function`, returns it. why: the reason that goes with it.
    """

    title: ClassVar[Words]
    task: ClassVar[Words]
    hints: ClassVar[tuple[Hint, ...]]
    model: ClassVar[Callable[..., Any]]
    why: ClassVar[Words]
    wants_function: ClassVar[bool] = False

    name = ""
    _fitting: Words | None  # the hint for what the last check found
    _given: list[Hint]

    def __init__(self) -> None:
        self._lesson: type[Lesson] = Lesson
        self.restart()

    def __set_name__(self, owner: "type[Lesson]", name: str) -> None:
        self.name, self._lesson = f"{owner.__name__.lower()}.{name}", owner

    def __repr__(self) -> str:
        return str(self._card())

    def _repr_html_(self) -> str:
        return self._card()._repr_html_()

    def _ipython_display_(self) -> None:
        _show(self._card(), *_HELP, exercise=self)

    def check(self, *answers: object) -> Verdict:
        """Judge an answer, or several as one, by what the kernel shows. Nothing but Ctrl-C raises.

        Where this machine refuses the experiment to us, root of a new user namespace makes it.
        """
        answer = answers[0] if len(answers) == 1 else answers or ...
        verdict = self._check(answer)
        if verdict.outcome is Outcome.REFUSED and unprivileged():
            with contextlib.suppress(OSError), rootless():
                return self._check(answer)
        return verdict

    def _check(self, answer: object) -> Verdict:
        try:
            if blank(answer):
                raise BlankError
            found = self.judge(answer)
        except BlankError:
            return self._unattempted()
        except WrongError as wrong:
            return self._wrong(wrong.found, wrong.evidence, wrong.hint)
        except KeyboardInterrupt:
            raise
        except FailedError as failed:
            return self._failed(failed)
        except BaseException as error:  # noqa: BLE001 - whatever the learner's object does
            return self._failed(FailedError(Failure.of(error)))
        self._fitting = None
        progress.add(self.name)
        why, bar = Folded(_WHY, self.why), self._lesson.bar()
        cheer = [Aside(_ALL_SOLVED)] if bar.full else []
        return self._verdict(Outcome.CORRECT, found.words, found.evidence, why, bar, *cheer)

    def hint(self) -> Card:
        """One more hint: the first is vague, the last is plain; the last check has its say."""
        fitting = [self._fitting] if self._fitting else []
        hints: list[Hint] = [self.hints[0], *fitting, *self.hints[1:]]
        new = next((hint for hint in hints if hint not in self._given), hints[-1])
        if new not in self._given:
            self._given.append(new)
        number = self._given.index(new) + 1
        heading = Words(f"提示 {number}", f"Hint {number}")
        words = new() if callable(new) else new
        end = "" if set(hints) - set(self._given) else self._named(_LAST_HINT)
        return Card(Tone.advice, heading, self.name, (words, end))

    def solution(self) -> Card:
        """One right answer, as live code, and the reason."""
        note = "" if self.wants_function else _RETURNS
        parts = (source(self.model), note, self.why)
        return Card(Tone.advice, Words("一种写法", "One solution"), self.name, parts)

    def restart(self) -> None:
        """Begin again: nothing was found, no hint was given."""
        self._fitting = None
        self._given = []

    def reset(self) -> Card:
        """Begin again, and forget that it was solved; the card of an exercise not attempted."""
        self.restart()
        progress.forget([self.name])
        return self._unattempted()

    def judge(self, answer: object) -> Found:
        """What was found, if `answer` is right; raises WrongError or BlankError."""
        raise NotImplementedError

    def explain(self, failed: FailedError) -> WrongError:
        """What is wrong with an answer that failed, although the machine allows a right one."""
        return WrongError((_RAISED,), str(failed.failure))

    def answer(self) -> object:
        """The model solution as a learner would hand it in."""
        return self.model if self.wants_function else self.model()

    def asked(self) -> Words:
        """The task, and whatever there is to add."""
        return self.task

    def _card(self) -> Card:
        return Card(Tone.plain, _TASK, self.name, (self.asked(),))

    def _unattempted(self) -> Verdict:
        stuck = Aside(self._named(_STUCK))
        return self._verdict(Outcome.NOT_ATTEMPTED, self.asked(), stuck)

    def _named(self, words: Words) -> Words:
        return words.filled(name=self.name)

    def _verdict(self, outcome: Outcome, *parts: Part) -> Verdict:
        return Verdict(*outcome.value, self.name, parts, outcome, self)

    def _wrong(self, found: Words, evidence: str, hint: Words | None = None) -> Verdict:
        self._fitting = hint
        task, stuck = Folded(_TASK, self.asked()), Aside(self._named(_STUCK))
        return self._verdict(Outcome.INCORRECT, found, evidence, task, stuck)

    def _failed(self, failed: FailedError) -> Verdict:
        if failed.failure.number is not None and self._is_refused():
            return self._verdict(Outcome.REFUSED, _REFUSES, str(failed.failure))
        wrong = self.explain(failed)
        return self._wrong(wrong.found, wrong.evidence, wrong.hint)

    def _is_refused(self) -> bool:
        """Whether this machine refuses the model solution as well."""
        try:
            self.judge(self.answer())
        except FailedError as failed:
            return failed.failure.number is not None
        except OSError:
            return True
        except WrongError:
            return False
        return False


class Lesson:
    """The exercises of one notebook; as a value it shows which are solved. title: its version."""

    title: ClassVar[str] = ""

    @classmethod
    def exercises(cls) -> tuple[Exercise, ...]:
        """In the notebook's order."""
        return tuple(each for each in vars(cls).values() if isinstance(each, Exercise))

    @classmethod
    def bar(cls) -> Bar:
        """How many of them are solved."""
        solved = progress.solved()
        return Bar(sum(each.name in solved for each in cls.exercises()), len(cls.exercises()))

    def restart(self) -> None:
        """Begin again: none is solved, no hint was given."""
        progress.forget(each.name for each in self.exercises())
        for each in self.exercises():
            each.restart()

    def _ipython_display_(self) -> None:
        _show(self)

    def __repr__(self) -> str:
        rows = [f"  {_mark(each)}  {each.name}  {each.title}" for each in self.exercises()]
        cheer = [str(Aside(_ALL_SOLVED))] if self.bar().full else []
        return "\n".join([f"{self.title}  {self.bar()}", *rows, *cheer])

    def _repr_html_(self) -> str:
        rows = "".join(_row(each) for each in self.exercises())
        cheer = Aside(_ALL_SOLVED).html() if self.bar().full else ""
        listed = f'<ul style="list-style:none;padding:0">{rows}</ul>'
        return f"<div>{self.bar().html()}{listed}{cheer}</div>"


def _mark(exercise: Exercise) -> str:
    return "✓" if exercise.name in progress.solved() else "○"


def _row(exercise: Exercise) -> str:
    done = exercise.name in progress.solved()
    state = (Words("✓ 已完成", "done") if done else Words("○ 待做", "to do")).html(" · ")
    state = f"<strong>{state}</strong>" if done else state
    return f"<li>{state} — <code>{exercise.name}</code> {exercise.title.html(' · ')}</li>"
