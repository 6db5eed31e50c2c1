"""Which exercises are solved, and what was guessed: one JSON file for all of a user's notebooks.

``LABKIT_PROGRESS`` names the file (empty: none at all); else it is ``labkit/progress.json`` under
``$XDG_DATA_HOME`` or ``~/.local/share``. Where it cannot be written, what is solved is remembered
as long as this process lives; a file that cannot be read counts as empty.
"""

import contextlib
import fcntl
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple


class _Known(NamedTuple):
    """What the file holds. guessed: whether the first guess at each question was right."""

    solved: frozenset[str] = frozenset()
    guessed: dict[str, bool] = {}  # noqa: RUF012 - never changed, only replaced


_OLD = re.compile(r"^v(?=0\d)")  # of a name such as v01.argv, before exercises were called ex01
_unsaved: set[str] = set()
_unsaved_guesses: dict[str, bool] = {}
changed: list[Callable[[], None]] = []
"""What is called when this process has solved or forgotten some."""


def path() -> str:
    """The file, or an empty string for none."""
    named = os.environ.get("LABKIT_PROGRESS")
    if named is not None:
        return named
    data = os.environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(data):  # as the XDG base directory specification has it
        data = os.path.expanduser("~/.local/share")
    return os.path.join(data, "labkit", "progress.json")


def solved() -> frozenset[str]:
    """The names of the exercises that are solved."""
    return _saved().solved | _unsaved


def guessed() -> dict[str, bool]:
    """The questions that the reader has guessed at, and whether the first guess was right."""
    return {**_unsaved_guesses, **_saved().guessed}


def add(name: str) -> None:
    """Remember that exercise `name` is solved."""
    if name not in solved() and not _change(lambda old: old._replace(solved=old.solved | {name})):
        _unsaved.add(name)
    _tell()


def add_guess(name: str, *, right: bool) -> None:
    """Remember the guess at question `name`. Only the first one counts: the second is knowledge."""
    if name in guessed():
        return
    if not _change(lambda old: old._replace(guessed={name: right, **old.guessed})):
        _unsaved_guesses[name] = right
    _tell()


def forget(names: Iterable[str]) -> None:
    """Remember of `names` no more that they are solved."""
    gone = set(names)
    _unsaved.difference_update(gone)
    if _saved().solved & gone:
        _change(lambda old: old._replace(solved=old.solved - gone))
    _tell()


def _tell() -> None:
    for call in changed:
        call()


def _saved() -> _Known:
    try:
        with open(path(), encoding="utf-8") as file:
            told = json.load(file)
        names = {_OLD.sub("ex", name) for name in told["solved"] if isinstance(name, str)}
        guesses = told.get("guessed", {}).items()
        return _Known(frozenset(names), {name: right is True for name, right in guesses})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return _Known()


def _change(change: Callable[[_Known], _Known]) -> bool:
    """Replace what the file holds by what `change` makes of it; False where that is impossible."""
    try:
        if not path():
            return False
        target = os.path.realpath(path())
        folder = os.path.dirname(target)
        os.makedirs(folder, exist_ok=True)
        with _alone(folder):
            _replace(target, _written(change(_saved())))
    except OSError:
        return False
    return True


def _written(known: _Known) -> str:
    guessed = {"guessed": known.guessed} if known.guessed else {}
    return json.dumps({"solved": sorted(known.solved), **guessed}) + "\n"


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Two notebooks at once: the second waits, or its change would undo the first one's."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _replace(target: str, text: str) -> None:
    """Write `target` so that a reader finds the old text or the new one, never half of it."""
    fd, new = tempfile.mkstemp(prefix=".progress-", dir=os.path.dirname(target))
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(new, target)
    except BaseException:
        os.unlink(new)
        raise
