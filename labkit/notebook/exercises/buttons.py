"""A card that lives on the page: buttons beneath it, and the list of a lesson's exercises.

To check again is to run the cell again, since the answer stands there: the page does it. Beside
each stands the card itself, which a saved notebook keeps.
"""

import weakref
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from traitlets import List, Unicode

from labkit.notebook.cells.current import when_run_again
from labkit.notebook.exercises import progress
from labkit.notebook.exercises.card import Card
from labkit.notebook.widgets.widget import Static, Widget


class Asked(Protocol):
    """What buttons need of an exercise."""

    def hint(self) -> Card:
        """One more hint."""

    def solution(self) -> Card:
        """One right answer."""

    def reset(self) -> Card:
        """Begin again."""


class LiveCard(Widget):
    """What is told, a piece of HTML each, and the names of the buttons."""

    files: ClassVar[str] = "card"
    told: List[str] = List(Unicode()).tag(sync=True)
    buttons: List[str] = List(Unicode()).tag(sync=True)

    def __init__(self, still: Static, *buttons: str, exercise: Asked | None = None) -> None:
        self._still, self._exercise = still, exercise
        super().__init__(told=[still._repr_html_()], buttons=list(buttons))
        self.on_msg(self._hear)
        when_run_again(self.close)  # a learner checks many times

    def static(self) -> Static:
        """The card as it was at first."""
        return self._still

    def _hear(self, _: object, said: Mapping[str, Any], __: object) -> None:
        """Do what a button asks."""
        if not self._exercise:
            return
        match said:
            case {"ask": "hint"}:
                self._add(self._exercise.hint())
            case {"ask": "solution"}:
                self._add(self._exercise.solution())
            case {"ask": "reset"}:
                self.told = [self._exercise.reset()._repr_html_()]

    def _add(self, card: Card) -> None:
        """Tell something more; the last hint, asked for again, is there already."""
        html = card._repr_html_()
        if html not in self.told:
            self.told = [*self.told, html]


class LiveList(LiveCard):
    """The list of a lesson's exercises: what is solved shows at once."""

    def __init__(self, lesson: Static) -> None:
        super().__init__(lesson)
        lists.add(self)

    def refresh(self) -> None:
        """Look again which are solved."""
        self.told = [self._still._repr_html_()]


lists: "weakref.WeakSet[LiveList]" = weakref.WeakSet()
"""Those that are shown."""


def refresh() -> None:
    """Have each list show what is solved now."""
    for each in list(lists):
        each.refresh()


progress.changed.append(refresh)
