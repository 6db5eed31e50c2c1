"""doctor(), and what it begins: each cell of a lesson at the best level that this machine allows.

真实 real: the cell as it stands. rootless: the same, its containers made by root of a new user
namespace. 录制 recorded: what the cell showed where the lesson was built. A cell that is refused
takes the next way, and says which and why; one that a learner has changed fails, as it should.
"""

import errno
import functools
import html
import re
import symtable
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import clear_output, display

from labkit.doctor.host import LEVELS, Ability, Host, Level, examine
from labkit.doctor.probe import MOUNTS
from labkit.engine.connection import rootless
from labkit.linux.namespaces import KINDS
from labkit.linux.refusal import Reason, Refusal, call_of, diagnose, errno_name
from labkit.notebook.cells.attempt import helped, refused, unprivileged
from labkit.notebook.cells.current import current_cell, on_each_cell
from labkit.notebook.exercises.card import Tone
from labkit.notebook.levels.saved_outputs import SavedOutput, beginning, find
from labkit.notebook.magics.child import ChildFailed, Raised
from labkit.text.words import Words, words_of

# A refusal for want of a privilege, of room or of a part of the kernel: nothing that a cell's own
# mistake would give.
_OF_THE_MACHINE = {
    *(errno.EPERM, errno.EACCES, errno.EROFS, errno.EBUSY, errno.ENOSPC, errno.EUSERS),
    *(errno.EAGAIN, errno.ENOMEM),
    *(errno.ENOSYS, errno.ENODEV, errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT),
}
_TONES: dict[Level, Tone] = {"real": Tone.good, "rootless": Tone.advice, "recorded": Tone.warning}
_HERE: dict[Level, Words] = {
    "real": Words(
        "各种命名空间和挂载，这台机器都允许：单元格都是真做的，做不到的会注明。",
        "This machine allows every namespace and mount. Every cell runs for real; a cell that "
        "cannot says so.",
    ),
    "rootless": Words(
        "这台机器不许我们直接做的，改由新的用户命名空间里的 root 来做；"
        "那样也不行的，就放出录制的结果。每个单元格都注明走了哪条路。",
        "This machine refuses some things to us. Root of a new user namespace does them for us; "
        "if that is refused too, the recording is shown. Each cell says which way it took.",
    ),
    "recorded": Words(
        "这台机器不许做的，就放出录制的结果，并说明原因。每个单元格都注明走了哪条路。",
        "If this machine refuses something, the recording is shown, with the reason. Each cell "
        "says which way it took.",
    ),
}
_DONE: dict[Level, Words] = {
    "real": Words("刚在这台机器上做的", "just done on this machine"),
    "rootless": Words(
        "由新的用户命名空间里的 root 做的，因为：", "done by root of a new user namespace, because:"
    ),
    "recorded": Words(
        "这里做不到，这是录制的结果，因为：", "not possible here; this was recorded, because:"
    ),
}
_DEPENDS = Words(
    "它要用到前面的单元格做出来的 `{}`，而那一格在这里没有真做",
    "it needs `{}` from an earlier cell, and that cell was not really run here",
)
_UNTOLD = Words(
    "单元格里的程序没有做成它该做的事：{}",
    "a program in the cell did not do what it should: {}",
)
_SOMETHING = Words("机器拒绝了它", "the machine refused it")
_OTHERWISE = Words(
    "在用户命名空间里，出来的不是这一课要说的结果",
    "in a user namespace the result is not the one that the lesson is about",
)


@dataclass(frozen=True)
class Obstacle:
    """What could not be done, or not rootless either, and the reason.

    call: what was refused, with its errno, or "".
    """

    call: str
    reason: Reason
    rootless: bool = False

    def __str__(self) -> str:
        call = f"{self.call}: " if self.call else ""
        return f"{'rootless: ' * self.rootless}{call}{self.reason.words}"

    def html(self) -> str:
        """The same for a page."""
        call = f"<code>{html.escape(self.call)}</code> " if self.call else ""
        return "rootless: " * self.rootless + call + self.reason.words.html()


@dataclass(frozen=True, repr=False)
class Label:
    """A level, what it means here, and the obstacles. of: of a "cell", or of the "machine"."""

    level: Level
    words: Words
    obstacles: tuple[Obstacle, ...] = ()
    of: str = "cell"

    def __str__(self) -> str:
        head = f"[{self._name.joined(' ')}] {self.words}"
        return "\n".join([head, *(f"  - {each}" for each in self.obstacles)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        colour, tint, edge = _TONES[self.level].value
        badge = f"color:{colour};background-color:{tint};padding:1px 8px;border-radius:3px"
        badge += ";display:inline-flex;gap:6px"  # between the languages, if both are there
        name = self._name.html("") if self._name.zh != self._name.en else self._name.en
        reasons = "".join(f"<li>{each.html()}</li>" for each in self.obstacles)
        listed = f'<ul style="margin:2px 0">{reasons}</ul>' if reasons else ""
        return (
            f'<div style="border-left:4px solid {edge};padding:1px 10px;margin:4px 0">'
            f'<strong style="{badge}">{name}</strong> {self.words.html()}'
            f"{listed}</div>"
        )

    @property
    def _name(self) -> Words:
        return LEVELS[self.level]

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, str], dict[str, object]]:
        """Both forms, and the level where a program finds it."""
        data = {"text/plain": str(self), "text/html": self._repr_html_()}
        return data, {"labkit": {self.of: self.level}}


def level_of(host: Host) -> Level:
    """The best that a machine allows to be done of what the lessons are about."""
    kinds = [each.name for each in KINDS]
    if host.level(*kinds, *MOUNTS) == "real":
        return "real"
    rootless = [name for name in kinds if name != "user" and host.rootless[name].allowed]
    return "rootless" if rootless else "recorded"


def doctor() -> Label:
    """Say in one line what this machine allows. From the next cell on, each cell names its level.

    `labkit doctor` says the rest.
    """
    host = examine()
    watch(host)
    level = level_of(host)
    found = [*_first("uts", host.yours), *_first("user", host.rootless)]
    return Label(
        level, _HERE[level], tuple(dict.fromkeys(found)) if level != "real" else (), "machine"
    )


def _first(name: str, abilities: dict[str, Ability]) -> list[Obstacle]:
    """The first that is refused; `name` is looked at before the others."""
    order = (name, *(each.name for each in KINDS), *MOUNTS)
    no = next((a for n in order if (a := abilities.get(n)) and a.allowed is False), None)
    if no is None or no.reason is None:
        return []
    return [Obstacle(_short(no.call, no.error), Reason(no.reason, no.fix))]


def _short(call: str, error: str) -> str:
    """A refused call, in the one line that there is."""
    call = re.sub(
        r"^(clone3?)\(.*flags=(?:CLONE_VM\|)?([^,|)]*(?:\|CLONE_\w+)*).*", r"\1(\2)", call
    )
    return f"{call} = {error}" if call else ""


class Cells:
    """Runs the lessons' cells at the best level they can have, and labels them."""

    def __init__(self, shell: Any, host: Host | None) -> None:  # noqa: ANN401 - IPython's own
        self.shell, self._host = shell, host
        self._known: SavedOutput | None = None
        self._info: Any = None
        self._again = False  # whether the cell is being run a second time
        self._otherwise = False  # whether it did not go the real way
        self._unmade: set[str] = set()  # what cells would have made that were only shown
        self._came: BaseException | None = None  # what the other way ended with

    @functools.cached_property
    def host(self) -> Host:
        """This machine, examined when somebody asks."""
        return self._host or examine()

    @functools.cached_property
    def everything(self) -> bool:
        """Whether it allows all that the lessons are about."""
        return level_of(self.host) == "real"

    def begin(self, info: Any) -> None:  # noqa: ANN401 - IPython's ExecutionInfo
        """A cell begins: IPython's pre_run_cell."""
        if self._again:
            return
        self._info, self._known = info, find(info.raw_cell or "")
        self._otherwise, self._came = False, None
        refused.clear()
        helped.clear()
        if self._known:
            self.shell.set_custom_exc((Exception,), self.failed)

    def failed(self, shell: Any, _: type, error: Exception, *__: object, **___: object) -> None:  # noqa: ANN401
        """A lesson's cell has raised `error`: take the next way, or let it be seen."""
        if self._again and not self._is_lesson(error):
            return  # whoever runs it again sees it in the result
        if self._is_lesson(error) or not self._is_of_the_machine(error):
            shell.showtraceback(running_compiled_code=True)
        else:
            self._otherwise = True
            self._go(error)

    def end(self, result: Any) -> None:  # noqa: ANN401 - IPython's ExecutionResult
        """It has ended: IPython's post_run_cell."""
        if self._again or not self._known:
            return
        self.shell.set_custom_exc((), None)
        if self._otherwise:
            result.error_in_exec = self._came  # not what it failed with before
        elif result.error_in_exec and not self._is_lesson(result.error_in_exec):
            pass  # a mistake or Ctrl-C: it was not done
        elif refused and not self.everything:
            # Shown, not raised: its widget stays, alive, and below it stands what it would show.
            self._replay(tuple(dict.fromkeys(map(self._obstacle, refused))))
        elif helped:
            obstacles = dict.fromkeys(map(self._obstacle, helped))
            display(Label("rootless", _DONE["rootless"], tuple(obstacles)))
        elif not self.everything:
            display(Label("real", _DONE["real"]))

    def _is_lesson(self, error: BaseException) -> bool:
        """Whether the cell is to fail like this."""
        raised = _raised(error)
        return self._known is not None and self._known.failed_with(
            beginning(raised.name, raised.errno, raised.call)
        )

    def _is_of_the_machine(self, error: Exception) -> bool:
        """Whether the machine refuses what the cell wants; one that allows it all does not."""
        if isinstance(error, NameError):  # else an earlier cell has not been run, or was changed
            return error.name in self._unmade
        return not self.everything or _raised(error).errno in _OF_THE_MACHINE

    def _go(self, error: Exception) -> None:
        """Take the next way after `error`, and, if that comes to nothing, the last."""
        obstacles = [self._obstacle(error)]
        if unprivileged() and self._possible:
            came = self._run_again()
            if not isinstance(came, Exception) or self._is_lesson(came):
                self._came = came  # nothing, the lesson's error, or Ctrl-C
                if came is None or isinstance(came, Exception):
                    display(Label("rootless", _DONE["rootless"], tuple(obstacles)))
                return
            obstacles.append(self._obstacle(came, rootless=True))
        self._unmade |= _made(self.shell.transform_cell(self._info.raw_cell))
        clear_output(wait=True)
        self._replay(tuple(obstacles))

    @functools.cached_property
    def _possible(self) -> bool:
        """Whether this machine lets us make a user namespace and be its root."""
        try:
            with rootless():
                return True
        except OSError:
            return False

    def _run_again(self) -> BaseException | None:
        """Run the cell in rootless(); what it ended with, None for its own end."""
        clear_output(wait=True)
        source = re.sub(r"(?m)^%load_ext labkit *\n", "", self._info.raw_cell)  # it is by now
        self._again = True
        try:
            with rootless():
                result = self.shell.run_cell(
                    source, store_history=False, cell_id=self._info.cell_id
                )
        finally:
            self._again = False
        error: BaseException | None = result.error_in_exec
        return error

    def _replay(self, obstacles: tuple[Obstacle, ...]) -> None:
        assert self._known  # noqa: S101 - else there is nothing to show
        display(Label("recorded", _DONE["recorded"], obstacles))
        self._known.show()

    def _obstacle(self, error: Exception, *, rootless: bool = False) -> Obstacle:
        """Why a cell failed: the call it was refused, or what the machine refuses at all."""
        raised = _raised(error)
        if isinstance(error, OSError) and not raised.call and (told := words_of(error)):
            # What a program has said stands for itself, in whatever language that is.
            return Obstacle(told[0].en, Reason(_UNTOLD.filled(_SOMETHING)), rootless)
        if raised.errno in _OF_THE_MACHINE:
            held, confined = self.host.capabilities, self.host.confinement
            why = diagnose(Refusal(raised.call, raised.errno, rootless, held, confined)).why
            call = _short(raised.call, errno_name(raised.errno))
            return Obstacle(call, Reason(why), rootless)
        if isinstance(error, NameError):
            return Obstacle("", Reason(_DEPENDS.filled(error.name)), rootless)
        if rootless:
            return Obstacle("", Reason(_OTHERWISE), rootless)
        whys = [each.reason.why for each in _first("uts", self.host.yours)] or [_SOMETHING]
        return Obstacle("", Reason(_UNTOLD.filled(whys[0])))


def _raised(error: BaseException) -> Raised:
    """An error as a value: of a program of %%child, what that has raised."""
    if isinstance(error, ChildFailed) and error.error:
        return error.error
    name, number = type(error).__name__, (isinstance(error, OSError) and error.errno) or 0
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        return Raised(name, errno.EAGAIN, "pthread_create()")  # which Python does not tell
    named = isinstance(error, OSError) and error.filename
    return Raised(name, number, call_of(error) or (f'open("{named}")' if named else ""))


def _made(source: str) -> set[str]:
    """The names that a cell's source, as IPython compiles it, would make."""
    found = symtable.symtable(source, "cell", "exec").get_symbols()
    child = re.findall(r"run_cell_magic\('child', '(\w+)'", source)
    return {s.get_name() for s in found if s.is_assigned() or s.is_imported()} | {*child}


_watching: list[Callable[[], None]] = []  # what ends it; at most one


def watch(host: Host | None = None) -> None:
    """See to this kernel's cells, from the next one on.

    Without `host`, as `%load_ext labkit` does, unless that is done already, and from this cell on:
    who begins again in the middle, after a restart, may leave the first cell out.
    """
    shell = get_ipython()
    if shell is None or (host is None and _watching):
        return
    for stop in _watching:
        stop()
    new = Cells(shell, host)
    _watching[:] = [on_each_cell(shell, new.begin, new.end)]
    if host is None and (history := shell.history_manager):
        now = SimpleNamespace(raw_cell=history.input_hist_raw[-1], cell_id=current_cell())
        new.begin(now)
