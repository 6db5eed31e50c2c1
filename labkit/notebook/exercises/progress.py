"""Which exercises are solved: a small JSON file, for all notebooks and kernels of this user.

``LABKIT_PROGRESS`` names the file (empty: none at all); else it is ``labkit/progress.json`` under
``$XDG_DATA_HOME`` or ``~/.local/share``. Where it cannot be written, what is solved is remembered
as long as this process lives; a file that cannot be read counts as empty.
"""

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator

_unsaved: set[str] = set()
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
    return frozenset(_saved() | _unsaved)


def add(name: str) -> None:
    """Remember that exercise `name` is solved."""
    if name not in solved() and not _change(lambda names: names | {name}):
        _unsaved.add(name)
    _tell()


def forget(names: Iterable[str]) -> None:
    """Remember of `names` no more that they are solved."""
    gone = set(names)
    _unsaved.difference_update(gone)
    if _saved() & gone:
        _change(lambda saved: saved - gone)
    _tell()


def _tell() -> None:
    for call in changed:
        call()


def _saved() -> set[str]:
    try:
        with open(path(), encoding="utf-8") as file:
            names = json.load(file)["solved"]
        return {name for name in names if isinstance(name, str)}
    except (OSError, ValueError, TypeError, KeyError):
        return set()


def _change(change: Callable[[set[str]], set[str]]) -> bool:
    """Replace the file's names by what `change` makes of them; False where that is impossible."""
    try:
        if not path():
            return False
        target = os.path.realpath(path())
        folder = os.path.dirname(target)
        os.makedirs(folder, exist_ok=True)
        with _alone(folder):
            _replace(target, json.dumps({"solved": sorted(change(_saved()))}) + "\n")
    except OSError:
        return False
    return True


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
