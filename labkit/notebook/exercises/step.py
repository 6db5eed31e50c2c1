"""An exercise whose answer is a function, run in a machine that is thrown away."""

from typing import Any, ClassVar

from labkit.notebook.exercises.answers import function_of
from labkit.notebook.exercises.exercise import Exercise, Found
from labkit.notebook.exercises.machine import observe

Seen = dict[str, Any]
"""What a scene saw: see ``scenes.py``."""


class Step(Exercise):
    """As the steps of contain() do, the function calls the kernel; the scene looks at the result.

    scene: its name in ``scenes.py``. The function runs as in %%child: the names of labkit.syscalls,
    os and sys are at hand.
    """

    scene: ClassVar[str]
    wants_function = True

    def judge(self, answer: object) -> Found:
        """Play the scene and consider what it saw."""
        seen = observe(self.scene, function_of(answer))
        return self.consider(seen, seen["came"][0])

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """Judge what was `seen`; `inner` is what the process saw that the function ran in."""
        raise NotImplementedError
