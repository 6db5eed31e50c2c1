"""check(), hint(), diff() and their neighbours: what a learner says to the docker of their own."""

import ast
import enum
import html
import os
import re
from dataclasses import dataclass

from labkit.notebook.exercises import progress
from labkit.notebook.exercises.answers import WrongError
from labkit.notebook.exercises.card import Aside, Bar, Card, Part, Rows, Tone
from labkit.notebook.mydocker import files
from labkit.notebook.mydocker.beside import Beside, beside
from labkit.notebook.mydocker.claims import Claim, read
from labkit.notebook.mydocker.stages import STAGES, Stage, model_of, stage_of
from labkit.notebook.mydocker.trials import Bench
from labkit.notebook.views.show import Source
from labkit.text.words import Words

_BEGINNING = model_of("v0.0")
# What a machine that allows no user namespace answers: EPERM, EUSERS, or ENOSPC for a limit of 0.
_REFUSAL = re.compile(r"\[Errno (1|28|87)\]")
_DONE, _FAILED, _OPEN = "✓", "✗", "○"


class State(enum.Enum):
    """What a check came to: the colours and the heading of its card."""

    REACHED = (Tone.good, Words("✓ 做到了", "Done"))
    NOT_YET = (Tone.bad, Words("✗ 还不行", "Not yet"))
    NOT_BEGUN = (Tone.plain, Words("○ 还没有动手", "Not begun"))
    REFUSED = (Tone.warning, Words("△ 这台机器上判断不了", "Cannot be judged on this machine"))


@dataclass(frozen=True, repr=False)
class Report(Card):
    """What a check found. stage: the first that is not reached, or the last that was asked for."""

    state: State
    stage: Stage


@dataclass(frozen=True)
class Standing:
    """How far the learner's docker is, as of the last check.

    begun: whether there is a file. reached: the stages that it has reached, in order. path: the
    file, or "" for none; link: what a page beside the notebooks calls it.
    """

    begun: bool
    reached: tuple[Stage, ...]
    path: str
    link: str

    @property
    def next(self) -> Stage | None:
        """The stage to be written next; None when all are reached."""
        return STAGES[len(self.reached)] if len(self.reached) < len(STAGES) else None

    @property
    def bar(self) -> Bar:
        """How many stages are reached."""
        return Bar(len(self.reached), len(STAGES))

    @property
    def rows(self) -> Rows:
        """Each stage: what it does, and whether this docker does it."""
        return Rows(tuple((_DONE if s in self.reached else _OPEN, _does(s)) for s in STAGES))


@dataclass(frozen=True)
class _Linked(Aside):
    """Words in which ``{link}`` stands for the learner's file, which a click opens."""

    def __str__(self) -> str:
        return self.words.filled(link=f"`{files.NAME}`").joined("\n")

    def html(self) -> str:
        """With a link: a page beside the notebooks opens it in an editor."""
        style = "text-decoration:underline"  # not by its colour alone
        link = f'<a href="{html.escape(files.link())}" style="{style}">{files.NAME}</a>'
        return self.words.html("", "p").replace("{link}", link)


_YOUR_DOCKER = Words("你的 Docker", "Your docker")
_NO_FILE = Words(
    "还没有你的 `mydocker.py`。在 V0.1 里用 `mydocker.begin()` 给它开个头；中途才来，"
    '就用 `mydocker.reset("{name}")`，从上一步写好的样子接着写。',
    "There is no `mydocker.py` of yours yet. In V0.1, `mydocker.begin()` begins it. If you join "
    'here, `mydocker.reset("{name}")` puts the finished file of the step before there.',
)
_UNTOUCHED = Words(
    "文件还是刚开头的样子。写完记得存盘（Ctrl+S），检查读的是存盘的内容。",
    "The file is still as it was begun. Save it (Ctrl+S) when you have written: the check reads "
    "what is saved.",
)
_BEGUN = Words(
    "这是你自己的文件：{link}。点开它，放在笔记本旁边写；git 不管它，更新也不会动它。",
    "This is your own file: {link}. Open it, and write beside the notebook. git does not follow "
    "it, and no update touches it.",
)
_THERE = Words(
    "早就有了：{link}，这一次一个字也没有动。",
    "It was there already: {link}. Nothing in it was changed.",
)
_PUT = Words("{{link}} 现在是 {name} 写好的样子。", "{{link}} is now the finished file of {name}.")
_KEPT = Words("原来的那份存成了 `{name}`。", "The one before is kept as `{name}`.")
_UNCHANGED = Words("✗ 没有动", "Nothing changed")
_NOT_REPLACED = Words(
    "这个文件写不了（{error}），所以一个字也没有动。",
    "The file cannot be written ({error}), so nothing in it was changed.",
)
_NOT_SAVED = Words(
    "这里写不了文件（{error}），只有这个笔记本进程还记得它。用环境变量 `LABKIT_MYDOCKER` 另指一个能写的地方。",
    "No file can be written here ({error}), so only this notebook's process remembers it. The "
    "environment variable `LABKIT_MYDOCKER` can name another place.",
)
_BINDER = Words(
    "这里是 Binder，关掉就什么也不剩：走之前把文件下载下来。",
    "This is Binder, which keeps nothing. Download the file before you leave.",
)
_STUCK = Words(
    "没有头绪？`mydocker.hint()`。改完要存盘（Ctrl+S）。",
    "Stuck? `mydocker.hint()`. Save the file after each change (Ctrl+S).",
)
_LAST_HINT = Words(
    '提示到此为止；`mydocker.diff("{name}")` 把写好的一份放在你的旁边。',
    'There are no more hints; `mydocker.diff("{name}")` puts a finished file beside yours.',
)
_REFUSES = Words(
    "这台机器不许做这个实验，换成写好的那份也不行，所以不算你错。`labkit doctor` 会说明缺什么。",
    "This machine does not allow the experiment. The finished file fails here too, so this is not "
    "your mistake. `labkit doctor` says what is missing.",
)
_ROOTLESS = Words(
    "这台机器不许我们直接做，实验是由新的用户命名空间里的 root 做的。",
    "This machine does not allow it to us, so root of a new user namespace made the experiment.",
)
_ALL = Words(
    "每一步都做到了：这是你亲手写的一个容器运行时。",
    "Every step is done: this is a container runtime, and you wrote it.",
)
_NEXT = Words("下一步是 {name}：{zh}。", "The next step is {name}: {en}.")
_YOURS = Words("你的", "yours")
_MODEL = Words("{name} 的一种写法", "one way to write {name}")


class Own:
    """The docker of this learner, as this notebook's process knows it."""

    def __init__(self) -> None:
        self._asked: Stage | None = None  # what the last check came to
        self._fitting: Words | None = None  # the hint for what it found
        self._given: list[Words] = []

    def begin(self) -> Card:
        """Begin the file, as the notes begin main.go. One that is there is left alone."""
        if files.read() is not None:
            return _card(_YOUR_DOCKER, _Linked(_THERE), _standing().bar)
        told = _told(files.write(_BEGINNING))
        shown = Source(files.NAME, _BEGINNING.rstrip())
        return _card(Words("✓ 开了个头", "Begun"), _Linked(_BEGUN), *told, shown)

    def check(self, stage: str | None = None) -> Report:
        """Run the file and judge it by what the kernel shows, up to `stage` with all before it.

        Without `stage`, as far as it comes.
        """
        last = STAGES[-1] if stage is None else stage_of(stage)
        self._asked, self._fitting = last, None
        text = files.read()
        if text is not None and not _same(text, _BEGINNING):
            try:
                read(text)
            except WrongError as wrong:
                return self._wrong(STAGES[0], 0, wrong)
            return self._judge(text, last)
        if stage is None:
            self._asked = last = STAGES[0]
        before = STAGES[max(STAGES.index(last) - 1, 0)]
        words = _UNTOUCHED if text else _NO_FILE.filled(name=before.name)
        return _report(State.NOT_BEGUN, last, last.task, _claims(last, []), words, Aside(_STUCK))

    def _judge(self, text: str, last: Stage) -> Report:
        bench = Bench(text)
        for stage in STAGES[: STAGES.index(last) + 1]:
            self._asked = stage
            done = 0
            try:
                for claim in stage.claims:
                    claim.judge(bench)
                    done += 1
            except WrongError as wrong:
                models = [stage, last] if _REFUSAL.search(wrong.evidence) else [stage]
                if any(_fails(model, stage.claims[: done + 1]) for model in models):
                    return _report(State.REFUSED, stage, _REFUSES, wrong.evidence)
                return self._wrong(stage, done, wrong, _way(bench))
            except OSError as error:
                return _report(State.REFUSED, stage, _REFUSES, str(error))
            progress.add(_key(stage))
        further = _standing().next
        words = _following(further) if further else _ALL
        marks = _claims(last, [_DONE] * done)
        return _report(State.REACHED, last, marks, words, _standing().bar, _way(bench))

    def _wrong(self, stage: Stage, done: int, wrong: WrongError, way: Part = "") -> Report:
        progress.forget(map(_key, STAGES[STAGES.index(stage) :]))
        self._fitting = wrong.hint
        marks = _claims(stage, [_DONE] * done + [_FAILED])
        parts = (marks, wrong.found, wrong.evidence, Aside(_STUCK), way)
        return _report(State.NOT_YET, stage, *parts)

    def hint(self, stage: str | None = None) -> Card:
        """One more hint. What the last check found has its say first; then from vague to plain.

        Without `stage`, for the one that the last check came to.
        """
        about = self._about(stage)
        fitting = [self._fitting] if self._fitting and about is self._asked else []
        hints = [*fitting, *about.hints]
        new = next((hint for hint in hints if hint not in self._given), hints[-1])
        if new not in self._given:
            self._given.append(new)
        number = hints.index(new) + 1
        end = "" if set(hints) - set(self._given) else _LAST_HINT.filled(name=about.name)
        heading = Words(f"提示 {number}", f"Hint {number}")
        return Card(Tone.advice, heading, _name(about), (new, end))

    def diff(self, stage: str | None = None) -> Beside:
        """One's own file, and beside it a finished one of `stage`, or of the one last checked."""
        about = self._about(stage)
        names = _YOURS, _MODEL.filled(name=about.name)
        return beside(names, files.read() or "", about.model)

    def model(self, stage: str | None = None) -> Source:
        """A finished file of `stage`, or of the one last checked: the smallest that reaches it."""
        about = self._about(stage)
        return Source(about.file, about.model.rstrip())

    def reset(self, stage: str) -> Card:
        """Put a finished file of `stage` in the place of one's own, which is kept beside it."""
        new = stage_of(stage)
        try:
            kept = "" if files.read() == new.model else files.keep()
            told = _told(files.write(new.model))
        except OSError as error:
            words = _NOT_REPLACED.filled(error=error.strerror)
            return Card(Tone.bad, _UNCHANGED, files.NAME, (words,))
        backup = Aside(_KEPT.filled(name=kept)) if kept else ""
        put = _Linked(_PUT.filled(name=new.name))
        return _card(Words("✓ 换好了", "Replaced"), put, backup, *told)

    def standing(self) -> Standing:
        """How far it is, as of the last check. Nothing is run."""
        return _standing()

    def _about(self, stage: str | None) -> Stage:
        """The stage of this name, else that of the last check, else the next."""
        if stage is not None:
            return stage_of(stage)
        return self._asked or _standing().next or STAGES[-1]


def _standing() -> Standing:
    solved = progress.solved()
    begun = files.read() is not None
    reached = []
    for stage in STAGES if begun else ():
        if _key(stage) not in solved:
            break
        reached.append(stage)
    return Standing(begun, tuple(reached), files.path(), files.link())


def _fails(model: Stage, claims: tuple[Claim, ...]) -> bool:
    """Whether a finished file fails here as well: then the machine is to blame."""
    bench = Bench(model.model)
    try:
        for claim in claims:
            claim.judge(bench)
    except (WrongError, OSError):
        return True
    return False


def _same(text: str, other: str) -> bool:
    """Whether two files are the same program, apart from comments and blank lines."""
    try:
        return ast.dump(ast.parse(text)) == ast.dump(ast.parse(other))
    except (SyntaxError, ValueError):
        return False


def _card(heading: Words, *parts: Part) -> Card:
    return Card(Tone.good, heading, files.NAME, parts)


def _report(state: State, stage: Stage, *parts: Part) -> Report:
    return Report(*state.value, _name(stage), parts, state, stage)


def _told(error: OSError | None) -> list[Part]:
    """What there is to be said about where the file lies."""
    if error is not None:
        return [Aside(_NOT_SAVED.filled(error=error.strerror))]
    return [Aside(_BINDER)] if "BINDER_LAUNCH_HOST" in os.environ else []


def _way(bench: Bench) -> Part:
    return Aside(_ROOTLESS) if bench.rootless else ""


def _claims(stage: Stage, marks: list[str]) -> Rows:
    """The stages before this one, which are reached if it is tried, and its own claims."""
    before = [(_DONE if marks else _OPEN, _does(s)) for s in STAGES[: STAGES.index(stage)]]
    marks = marks + [_OPEN] * (len(stage.claims) - len(marks))
    own = [
        (mark, _titled(stage, claim.words)) for mark, claim in zip(marks, stage.claims, strict=True)
    ]
    return Rows((*before, *own))


def _following(stage: Stage) -> Words:
    return _NEXT.filled(name=_title(stage), zh=stage.does.zh, en=stage.does.en)


def _does(stage: Stage) -> Words:
    return _titled(stage, stage.does)


def _titled(stage: Stage, words: Words) -> Words:
    return Words(f"{_title(stage)} {words.zh}", words.en)


def _title(stage: Stage) -> str:
    return stage.name.upper()


def _name(stage: Stage) -> str:
    return f"{files.NAME} {_title(stage)}"


def _key(stage: Stage) -> str:
    """Under this name progress.py remembers it."""
    return f"mydocker.{stage.name}"
