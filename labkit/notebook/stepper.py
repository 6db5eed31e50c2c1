"""steps(): a container's start, one system call at a time, forwards and backwards."""

import errno
import html
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import traitlets

from labkit.container import Container
from labkit.glossary import Explained, explain
from labkit.namespaces import KINDS
from labkit.notebook.attempt import attempt, note, refused
from labkit.notebook.recording import Change, Recording, Step, record
from labkit.notebook.widget import Static, Widget
from labkit.words import Words

_SUBJECTS = {
    **{kind.name: Words(f"{kind.name} 命名空间", f"{kind.name} namespace") for kind in KINDS},
    "hostname": Words("主机名", "host name"),
    "cwd": Words("工作目录", "working directory"),
    "uid_map": Words("用户号的映射", "map of user IDs"),
    "gid_map": Words("组号的映射", "map of group IDs"),
    "mounts": Words("挂载表", "mount table"),
    "propagation": Words("挂载传播", "mount propagation"),
}
_NOTHING = Words("从外面看不出变化", "nothing to be seen from outside")
_REFUSED = Words("被拒绝，什么也没有改变", "refused: nothing has changed")
_BECAME = Words("执行的已是新程序；观察到此为止", "the program runs now; this is as far as we look")
_PRIVATE = Words(
    "这台机器上的挂载本来就是 private，所以看不出变化；systemd 的机器上原是 shared",
    "on this machine mounts were private before, so nothing changed; under systemd they are shared",
)
_HOSTS = Words("宿主机的", "the host's")
_NONE = Words("没有", "none")
# In one wording whatever the number: on one machine the mounts were shared before, not on another.
_SPREAD = Words("传播方式改变的挂载点：{} 个", "mount points whose propagation changed: {}")


@dataclass(frozen=True)
class Found:
    """One thing that was observed. words: what it is; before, after: its text, if it has any."""

    words: Words
    before: Words | str = ""
    after: Words | str = ""

    def __str__(self) -> str:
        return f"{self.words}: {self.before} → {self.after}" if self.after else str(self.words)

    def html(self) -> str:
        """The same, with both languages marked."""
        words = self.words.html()
        return f"{words}: {_html(self.before)} → {_html(self.after)}" if self.after else words


@dataclass(frozen=True, repr=False)
class Told:
    """A recording in words: what stands in a page without a kernel."""

    recording: Recording

    def __str__(self) -> str:
        parts = []
        for number, step in enumerate(self.recording.steps, 1):
            told = [explain(step.line).purpose, *self.found(step)]
            parts.append("\n".join([f"{number}. {step.line}", *(f"   {each}" for each in told)]))
        return "\n".join(parts)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        heads = (
            Words("步", "step"),
            Words("系统调用、回答、为了什么", "system call, answer, what for"),
            Words("改变了什么", "what it changed"),
        )
        columns = "".join(f'<th scope="col" style="{_LEFT}">{head.html()}</th>' for head in heads)
        rows = "\n".join(self._row(n, step) for n, step in enumerate(self.recording.steps, 1))
        return f"<table><thead><tr>{columns}</tr></thead>\n<tbody>{rows}</tbody></table>"

    def _row(self, number: int, step: Step) -> str:
        told = explain(step.line)
        page = f'<a href="{told.page}" style="text-decoration:underline">{told.name}(2)</a>'
        line = html.escape(step.line).replace("|", "|<wbr>")  # it may break there
        found = "<br>".join(each.html() for each in self.found(step))
        cells = (f"<code>{line}</code><br>{told.purpose.html()} {page}", found)
        body = "".join(f'<td style="{_LEFT}">{cell}</td>' for cell in cells)
        return f'<tr><th scope="row">{number}</th>{body}</tr>'

    def found(self, step: Step) -> Iterator[Found]:
        """What was observed after a step."""
        changes = {change.subject: change for change in step.changes}
        if "MS_PRIVATE" in step.line and step.observed:
            spread = changes.pop("propagation", Change("propagation", (), ()))
            yield Found(_SPREAD.filled(len(spread.after)))
        elif not changes:
            yield Found(_silence(step))
        for subject, change in changes.items():
            before, after = map(self._value, (change.before, change.after))
            yield Found(_SUBJECTS[subject], before, after)

    def _value(self, lines: tuple[str, ...]) -> Words | str:
        """Their text; the name of this machine, which is nobody's business, in words."""
        if lines == (self.recording.first.hostname,):
            return _HOSTS
        return "\n".join(lines) or _NONE


_LEFT = "text-align:left"


def _html(value: Words | str) -> str:
    if isinstance(value, Words):
        return value.html()
    return "<br>".join(f"<code>{html.escape(line)}</code>" for line in value.split("\n"))


def _silence(step: Step) -> Words:
    if " = -1 " in step.line:
        return _REFUSED
    if "MS_PRIVATE" in step.line and step.observed:
        return _PRIVATE
    return _NOTHING if step.observed else _BECAME


class Stepper(Widget):
    """A recording to walk through. The page has all of it: no kernel is asked for a step."""

    files: ClassVar[str] = "stepper"

    steps: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    first = traitlets.Dict().tag(sync=True)
    subjects = traitlets.Dict().tag(sync=True)

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        super().__init__(
            steps=[_for_page(step, explain(step.line)) for step in recording.steps],
            first=asdict(recording.first) | {"mounts": []},
            subjects={name: asdict(words) for name, words in _SUBJECTS.items()},
        )

    def static(self) -> Static:
        """The recording as a table."""
        return Told(self.recording)


def _for_page(step: Step, told: Explained) -> dict[str, Any]:
    return asdict(step) | asdict(told) | {"page": told.page, "silence": asdict(_silence(step))}


def steps(box: Container) -> Stepper:
    """Start `box` and show each of its steps: the call, the answer, and what changed after it.

    It is a real start, observed from outside before each call; `.recording` is the value. A call
    that the kernel refuses is the last step.
    """
    return Stepper(_recorded(box))


def _recorded(box: Container) -> Recording:
    """The recording of a start; of one by root of a user namespace, if we are refused ours."""

    def attempted() -> Recording:
        recording = record(box)
        if recording.refused:
            raise _RefusedError(recording)
        return recording

    try:
        return attempt(attempted)[0]
    except _RefusedError as error:
        note(refused, error)
        return error.recording


class _RefusedError(OSError):
    """A start that was refused, and how it went that far."""

    def __init__(self, recording: Recording) -> None:
        call, _, answer = recording.steps[-1].line.rpartition(" = -1 ")
        number = getattr(errno, answer.split()[0])
        super().__init__(number, f"{call}: {os.strerror(number)}")
        self.recording = recording
