"""An exercise whose container is broken as people break them: find the cause, then mend it.

show() runs the broken program in a machine that is thrown away and tells what one would see. There
are several suspects, each with an experiment: the same program, mended in that point alone. So the
kernel judges what the learner names as the cause, and shows that a wrong one makes no difference.
"""

from collections.abc import Callable
from dataclasses import dataclass
from string import ascii_lowercase
from typing import ClassVar

from labkit.notebook.cells.attempt import attempt
from labkit.notebook.exercises.answers import (
    BlankError,
    Diagnosis,
    FailedError,
    WrongError,
    blank,
    function_of,
)
from labkit.notebook.exercises.card import Card, Rows, Tone
from labkit.notebook.exercises.exercise import Found
from labkit.notebook.exercises.machine import observe
from labkit.notebook.exercises.step import Seen, Step
from labkit.notebook.views.show import Source, source
from labkit.text.words import Words


@dataclass(frozen=True)
class Suspect:
    """What may be the cause. words: the suspicion. without: the program, mended in this alone.

    refuted: what the learner is told when that makes no difference; none for the real cause.
    """

    words: Words
    without: Callable[..., object]
    refuted: Diagnosis | tuple[()] = ()


_SYMPTOM = Words("症状", "Symptom")
_PROGRAM = Words("坏了的程序", "the broken program")
_SUSPECTS = Words("原因在哪里？", "What is the cause?")
_ASKED = Words(
    "症状和可疑之处由 `{name}.show()` 列出；交两样：原因（{letters} 之一）和改好的函数。"
    "检查先按你说的原因单独改那一处，看症状还在不在；再运行你的函数。",
    "`{name}.show()` shows the symptom and the suspects. Hand in two things: the cause (one of "
    "{letters}) and the function that you have mended. The check first mends only what you call "
    "the cause, and looks whether the symptom is still there. Then it runs your function.",
)
_PAIR = (
    Words(
        "要交两样：原因（一个字母）和改好的函数。",
        "The check wants two things: the cause (a letter) and the function that you have mended.",
    ),
    Words("写成 `check(cause, {name})`。", "Write `check(cause, {name})`."),
)
_NO_SUSPECT = (
    Words("没有 {given} 这个选项。", "There is no choice {given}."),
    Words("原因是一个字母：{letters}。", "The cause is one letter: {letters}."),
)
_NOT_MENDED = (
    Words("原因找对了，程序还没有改。", "This is the cause, but there is no program yet."),
    Words("把症状那张卡里的程序抄过来，再改。", "Copy the program of the symptom, and mend it."),
)
_CAUSE = Words("原因是 `{letter}`：{words}", "The cause is `{letter}`: {words}")


class Broken(Step):
    """The answer is a letter and a function.

    symptom: what somebody did, and what they see. broken: the program. suspects: a, b, ...
    """

    symptom: ClassVar[Words]
    broken: ClassVar[Callable[..., object]]
    suspects: ClassVar[tuple[Suspect, ...]]

    def show(self) -> Card:
        """The broken program, what it does on this machine just now, and the suspects."""
        seen, _ = attempt(self._sick)
        lines = "\n".join(self.facts(seen, seen["came"][0]))
        rows = Rows(tuple((f"{letter}.", each.words) for letter, each in self._lettered().items()))
        program = Source(_PROGRAM.joined(" "), source(self.broken).code)
        parts = (self.symptom, program, lines, _SUSPECTS, rows)
        return Card(Tone.warning, _SYMPTOM, self.name, parts)

    def _sick(self) -> Seen:
        """What the broken program does. A call that was refused to it was refused to us."""
        try:
            return observe(self.scene, self.broken)
        except FailedError as failed:
            if failed.failure.number is None:
                raise
            raise OSError(failed.failure.number, failed.failure.text) from None

    def asked(self) -> Words:
        """The task, how it is judged, and which names are at hand."""
        asked = _ASKED.filled(name=self.name, letters=self._letters())
        task = super().asked()
        return Words(f"{task.zh}{asked.zh}", f"{task.en} {asked.en}")

    def answer(self) -> tuple[str, Callable[..., object]]:
        """The cause and the model."""
        return self._culprit(), self.model

    def solution(self) -> Card:
        """The cause, and the program mended."""
        letter = self._culprit()
        cause = _CAUSE.filled(letter=letter, words=self._lettered()[letter].words)
        parts = (cause, source(self.model), self.why)
        return Card(Tone.advice, Words("一种写法", "One solution"), self.name, parts)

    def judge(self, answer: object) -> Found:
        """Try the cause, then the program."""
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            raise WrongError(_PAIR, name=self.broken.__name__)
        cause, function = answer
        if blank(cause):
            raise BlankError
        self._try_cause(str(cause).strip().lower())
        if blank(function):
            raise WrongError(_NOT_MENDED)
        return super().judge(function_of(function))

    def _try_cause(self, letter: str) -> None:
        """Mend only what the learner calls the cause; the symptom must be gone."""
        suspect = self._lettered().get(letter)
        if suspect is None:
            raise WrongError(_NO_SUSPECT, given=repr(letter)[:40], letters=self._letters())
        seen = observe(self.scene, suspect.without)
        try:
            self.consider(seen, seen["came"][0])
        except WrongError as wrong:
            if not suspect.refuted:
                raise
            raise WrongError(suspect.refuted, wrong.evidence) from None

    def facts(self, seen: Seen, inner: Seen) -> tuple[str, ...]:
        """What one sees of the container, a line each."""
        raise NotImplementedError

    def _lettered(self) -> dict[str, Suspect]:
        return dict(zip(ascii_lowercase, self.suspects, strict=False))

    def _culprit(self) -> str:
        return next(letter for letter, each in self._lettered().items() if not each.refuted)

    def _letters(self) -> Words:
        letters = [f"`{letter}`" for letter in self._lettered()]
        return Words("、".join(letters), ", ".join(letters))
