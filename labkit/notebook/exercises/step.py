"""An exercise whose answer is a function, run in a machine that is thrown away."""

import dis
from collections.abc import Callable
from typing import Any, ClassVar

from labkit import syscalls
from labkit.notebook.exercises.answers import function_of
from labkit.notebook.exercises.exercise import Exercise, Found
from labkit.notebook.exercises.machine import observe
from labkit.text.words import Words

_CALLS_AT_HAND = Words(
    "`labkit.syscalls` 的名字都现成可用，如 {0}；`os` 和 `sys` 也是。",
    "All names of `labkit.syscalls` are at hand, such as {0}; so are `os` and `sys`.",
)
_AT_HAND = Words("`os` 和 `sys` 现成可用。", "`os` and `sys` are at hand.")

Seen = dict[str, Any]
"""What a scene saw: see ``scenes.py``."""


class Step(Exercise):
    """As the steps of contain() do, the function calls the kernel; the scene looks at the result.

    scene: its name in ``scenes.py``. The function runs as in %%child: the names of labkit.syscalls,
    os and sys are at hand.
    """

    scene: ClassVar[str]
    wants_function = True

    def asked(self) -> Words:
        """The task, and which names the function may use as they are."""
        calls = [f"`{name}`" for name in _calls(self.model)]
        listed = Words("、".join(calls), ", ".join(calls))
        more = _CALLS_AT_HAND.filled(listed) if calls else _AT_HAND
        return Words(f"{self.task.zh}{more.zh}", f"{self.task.en} {more.en}")

    def judge(self, answer: object) -> Found:
        """Play the scene and consider what it saw."""
        seen = observe(self.scene, function_of(answer))
        return self.consider(seen, seen["came"][0])

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """Judge what was `seen`; `inner` is what the process saw that the function ran in."""
        raise NotImplementedError


def _calls(function: Callable[..., Any]) -> list[str]:
    """The calls of labkit.syscalls that a function names: not a method, as a file's write()."""
    found = (step.argval for step in dis.get_instructions(function) if step.opname == "LOAD_GLOBAL")
    names = dict.fromkeys(str(name) for name in found)
    return [name for name in names if name.islower() and callable(getattr(syscalls, name, None))]
