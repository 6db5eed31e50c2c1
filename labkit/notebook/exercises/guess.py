"""guess(): what will happen? The reader says it with a click, and then the kernel does.

    renamed = guess("v0.2/name", ("两次？", "Twice?"), {1: (zh, en, why_zh, why_en), 2: ...})
    ...
    renamed.answer(len(what_came))

The keys of the options are the values that a cell may find: what it finds decides, nothing stored.
Nothing waits for a guess. A notebook that nobody has answered saves the question with its options,
and where the answer is, the right one with its explanation, and the others folded.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import traitlets
from IPython.display import display

from labkit.notebook.cells.current import when_run_again
from labkit.notebook.exercises import progress
from labkit.notebook.exercises.card import Card, Folded, Rows, Tone
from labkit.notebook.widgets.widget import Static, Widget
from labkit.text.words import Words, as_data

_GUESS_FIRST = Words("先猜一猜", "Guess first")
_KERNEL_SAYS = Words("内核的回答", "The kernel's answer")
_RIGHT = Words("✓ 你猜对了", "You guessed right")
_WRONG = Words("✗ 和你猜的不同", "Not as you guessed")
_OTHERS = Words("为什么不是别的", "Why not the others")
_NONE = Words("△ 不在选项里", "None of the options")
_CHANGED = Words(
    "这一次，内核的回答是 `{0}`，哪个选项也不是。"
    "如果你改过单元格，原因多半就在那里；改回原样，再运行一遍。",
    "This time the kernel's answer is `{0}`, and no option says so. If you have changed a cell, "
    "the change may be the reason. Undo it and run the cell again.",
)


class Option(NamedTuple):
    """An answer to choose. why: why it is right, or what is wrong with the idea behind it."""

    says: Words
    why: Words


class Guess(Widget):
    """A question. chosen: the number of the option that the reader has chosen, or -1.

    right: the number of the one that the kernel has found. over: whether it has answered.
    """

    files: ClassVar[str] = "guess"
    question = traitlets.Dict().tag(sync=True)
    options: traitlets.List[dict[str, str]] = traitlets.List().tag(sync=True)
    chosen = traitlets.Int(-1).tag(sync=True)
    right = traitlets.Int(-1).tag(sync=True)
    over = traitlets.Bool(default_value=False).tag(sync=True)

    def __init__(self, name: str, question: Words, options: Mapping[object, Option]) -> None:
        self._name, self._question = name, question
        self._keys, self._options = list(options), list(options.values())
        said = [as_data(option.says) for option in self._options]
        super().__init__(question=as_data(question), options=said)
        self.on_msg(self._hear)
        when_run_again(self.close)

    def static(self) -> Static:
        """The question, not answered."""
        rows = Rows(tuple(("○", option.says) for option in self._options))
        return Card(Tone.advice, _GUESS_FIRST, "", (self._question, rows))

    def _hear(self, _: object, said: Mapping[str, Any], __: object) -> None:
        """The reader has chosen. That counts once, and not after the kernel's answer."""
        number = said.get("guess")
        if self.chosen >= 0 or self.over:
            return
        if isinstance(number, int) and number in range(len(self._options)):
            self.chosen = number

    def answer(self, found: object) -> None:
        """Show what the kernel said and who was right. found: the key of the right option."""
        self.right = self._keys.index(found) if found in self._keys else -1
        if self.chosen >= 0 and self.right >= 0 and not self.over:
            progress.add_guess(self._name, right=self.chosen == self.right)
        self.over = True
        display(self._told(found))

    def _told(self, found: object) -> Card:
        if self.right < 0:
            return Card(Tone.warning, _NONE, "", (_CHANGED.filled(repr(found)),))
        right = self._options[self.right]
        ticked = ("✓", right.says)
        if self.chosen not in {-1, self.right}:
            wrong = self._options[self.chosen]
            rows = Rows((("✗", wrong.says), ticked))
            return Card(Tone.warning, _WRONG, "", (rows, wrong.why, right.why))
        tone, heading = (Tone.advice, _KERNEL_SAYS) if self.chosen < 0 else (Tone.good, _RIGHT)
        return Card(tone, heading, "", (Rows((ticked,)), right.why, self._others()))

    def _others(self) -> Folded:
        """What is wrong with the other options, each on a line of its own."""
        others = [option for option in self._options if option is not self._options[self.right]]
        zh = " ".join(f"“{option.says.zh}”：{option.why.zh}" for option in others)
        en = " ".join(f"“{option.says.en}”: {option.why.en}" for option in others)
        return Folded(_OTHERS, Words(zh, en))


def guess(
    name: str,
    question: tuple[str, str],
    options: Mapping[object, tuple[str, str, str, str]],
) -> Guess:
    """Ask what will happen, in Chinese and English. Show it, and later call ``.answer(found)``.

    name: of the question, such as "v0.2/name". The keys of `options` are the values that the kernel
    may give; each option is what it says, twice, and why it is right or wrong, twice.
    """
    made = {
        key: Option(Words(zh, en), Words(why_zh, why_en))
        for key, (zh, en, why_zh, why_en) in options.items()
    }
    return Guess(name, Words(*question), made)
