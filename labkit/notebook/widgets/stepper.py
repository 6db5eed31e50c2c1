"""steps(): a container's start, one system call at a time, forwards and backwards."""

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import traitlets

from labkit.container.container import Container, as_container
from labkit.linux.call import parted
from labkit.linux.capabilities import fewer
from labkit.linux.glossary import Explained, explain
from labkit.linux.namespaces import KINDS
from labkit.linux.refusal import refusal
from labkit.notebook.cells.attempt import attempt, note, refused
from labkit.notebook.views.start_recorder import SETS, Change, RecordedStep, StartRecording, record
from labkit.notebook.widgets.widget import Static, Widget
from labkit.text.words import Words, as_data

_SUBJECTS = {
    **{kind.name: Words(f"{kind.name} 命名空间", f"{kind.name} namespace") for kind in KINDS},
    "hostname": Words("主机名", "host name"),
    "cwd": Words("工作目录", "working directory"),
    "uid_map": Words("用户号的映射", "map of user IDs"),
    "gid_map": Words("组号的映射", "map of group IDs"),
    "setgroups": Words("setgroups 许不许用", "whether setgroups is allowed"),
    "uid": Words("用户号（从外面看）", "user ID, seen from outside"),
    "gid": Words("组号（从外面看）", "group ID, seen from outside"),
    "effective": Words("生效的权能", "effective capabilities"),
    "permitted": Words("获准的权能", "permitted capabilities"),
    "inheritable": Words("可遗传的权能", "inheritable capabilities"),
    "bounding": Words("权能上限集", "bounding set"),
    "ambient": Words("环境权能", "ambient capabilities"),
    "no_new_privs": Words("`no_new_privs` 标志", "`no_new_privs` flag"),
    "seccomp": Words("seccomp 过滤器的个数", "how many seccomp filters"),
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
_ALL = Words("全部", "all")
_ALL_BUT = Words("全部，除了", "all but")
_ONLY = Words("只有", "only")
# In one wording whatever the number: on one machine the mounts were shared before, not on another.
_THERE = Words("已经有了，不必再建", "it is there already")
_SO_MANY = Words("{} 个挂载点", "{} mount points")
_SPREAD = Words("传播方式改变的挂载点：{} 个", "mount points whose propagation changed: {}")


@dataclass(frozen=True)
class Value:
    """What something was or is: words, lines of code, or words before them."""

    words: Words | None = None
    lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([str(self.words)] * bool(self.words) + ["\n".join(self.lines)]).strip()

    def html(self) -> str:
        """The same, with both languages marked."""
        code = "<br>".join(f"<code>{html.escape(line)}</code>" for line in self.lines)
        return f"{self.words.html()} {code}".strip() if self.words else code


@dataclass(frozen=True)
class ShownChange:
    """One thing that was observed. words: what it is; before, after: its value, if it has any."""

    words: Words
    before: Value | None = None
    after: Value | None = None

    def __str__(self) -> str:
        values = " → ".join(str(value) for value in (self.before, self.after) if value)
        return f"{self.words}: {values}" if values else str(self.words)

    def html(self) -> str:
        """The same, with both languages marked."""
        values = " → ".join(value.html() for value in (self.before, self.after) if value)
        return f"{self.words.html()}: {values}" if values else self.words.html()


@dataclass(frozen=True, repr=False)
class Told:
    """A recording in words: what stands in a page without a kernel."""

    recording: StartRecording

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

    def _row(self, number: int, step: RecordedStep) -> str:
        told = explain(step.line)
        page = f'<a href="{told.page}" style="text-decoration:underline">{told.name}(2)</a>'
        line = html.escape(step.line).replace("|", "|<wbr>")  # it may break there
        found = "<br>".join(each.html() for each in self.found(step))
        cells = (f"<code>{line}</code><br>{told.purpose.html()} {page}", found)
        body = "".join(f'<td style="{_LEFT}">{cell}</td>' for cell in cells)
        return f'<tr><th scope="row">{number}</th>{body}</tr>'

    def found(self, step: RecordedStep) -> Iterator[ShownChange]:
        """What was observed after a step."""
        changes = {change.subject: change for change in step.changes}
        if "MS_PRIVATE" in step.line and step.observed:
            spread = changes.pop("propagation", Change("propagation", (), ()))
            yield ShownChange(_SPREAD.filled(len(spread.after)))
        elif not changes:
            yield ShownChange(_silence(step))
        for subject, change in changes.items():
            before, after = _values(change, _anew(step))
            if subject in SETS or (
                subject in _MAPS and _anew(step)
            ):  # before, it is this machine's
                yield ShownChange(_SUBJECTS[subject], None, after)
            else:
                yield ShownChange(_SUBJECTS[subject], self._anywhere(before), self._anywhere(after))

    def _anywhere(self, value: Value) -> Value:
        """The name of this machine, which is nobody's business, in words."""
        return Value(_HOSTS) if value.lines == (self.recording.first.hostname,) else value


_MAPS = ("uid_map", "gid_map")
_LEFT = "text-align:left"
_MANY = 8  # mounts that are named
_FEW = 3  # capabilities that are named as they come and go


def _anew(step: RecordedStep) -> bool:
    """Whether it led to another user namespace."""
    return any(change.subject == "user" for change in step.changes)


def _values(change: Change, anew: bool) -> tuple[Value, Value]:
    """What is changed, before and after; of a large set of capabilities after it what moved.

    anew: in another user namespace, where each of them is one for other things.
    """
    if change.subject not in SETS:
        most = _MANY if change.subject == "mounts" else len(change.before + change.after)
        before, after = (_listed(x, most) for x in (change.before, change.after))
        return before, after
    gone = [f"-{name}" for name in change.before if name not in change.after]
    come = [f"+{name}" for name in change.after if name not in change.before]
    moved = [*gone, *come]
    few = len(moved) <= _FEW and not anew
    return _held(change.before), Value(None, (" ".join(moved),)) if few else _held(change.after)


def _listed(lines: tuple[str, ...], most: int) -> Value:
    """These lines; of too many how many they are, as when all mounts of the host go."""
    if len(lines) > most:
        return Value(_SO_MANY.filled(len(lines)))
    return Value(None, lines) if lines else Value(_NONE)


def _held(names: tuple[str, ...]) -> Value:
    """A set of capabilities, by those it has or by those it lacks, whichever are fewer."""
    lacks, shown = fewer(names)
    if not shown:
        return Value(_ALL if lacks else _NONE)
    return Value(_ALL_BUT if lacks else _ONLY, (" ".join(shown),))


def _silence(step: RecordedStep) -> Words:
    answer = parted(step.line)[1]
    if answer.startswith("-1 "):
        return _THERE if answer.startswith("-1 EEXIST ") else _REFUSED
    if "MS_PRIVATE" in step.line and step.observed:
        return _PRIVATE
    return _NOTHING if step.observed else _BECAME


class Stepper(Widget):
    """A recording to walk through. The page has all of it: no kernel is asked for a step."""

    files: ClassVar[str] = "stepper"

    steps: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    first = traitlets.Dict().tag(sync=True)
    subjects = traitlets.Dict().tag(sync=True)

    def __init__(self, recording: StartRecording) -> None:
        self.recording = recording
        super().__init__(
            steps=[_for_page(step, explain(step.line)) for step in recording.steps],
            first=as_data(recording.first) | {"mounts": []},
            subjects={name: as_data(words) for name, words in _SUBJECTS.items()},
        )

    def static(self) -> Static:
        """The recording as a table."""
        return Told(self.recording)


def _for_page(step: RecordedStep, told: Explained) -> dict[str, Any]:
    changes = [
        {"subject": change.subject, "before": as_data(before), "after": as_data(after)}
        for change in step.changes
        for before, after in [_values(change, _anew(step))]
    ]
    more = {"changes": changes, "page": told.page, "silence": as_data(_silence(step))}
    return {**as_data(step), **as_data(told), **more}


def steps(box: Container) -> Stepper:
    """Start `box` and show each of its steps: the call, the answer, and what it changed.

    It is a real start, observed from outside before each call; `.recording` is the value. A call
    that the kernel refuses is the last step.
    """
    return Stepper(_recorded(as_container(box)))


def _recorded(box: Container) -> StartRecording:
    """The recording of a start; of one by root of a user namespace, if we are refused ours."""

    def attempted() -> StartRecording:
        recording = record(box)
        recordings.append(recording)
        if recording.refused:
            raise refusal(*recording.refused)
        return recording

    recordings: list[StartRecording] = []
    try:
        return attempt(attempted)[0]
    except OSError as error:
        if not recordings or not recordings[0].refused:
            raise
        note(refused, error)
        return recordings[0]
