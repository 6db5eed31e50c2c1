"""The journal of undos: what a container needs on the host is written down before it is made.

An entry is data: the name of an undo, and its words, as ["cgroup", "/sys/fs/cgroup/labkit/1f"].
Undos are idempotent, because nobody knows whether the act after the entry came about. Whoever holds
a folder plays its journal backwards: its maker at the end, or anybody who finds it an orphan.
"""

import os
from _collections_abc import Callable, Iterator

from labkit.python import json
from labkit.python.typing import TypeVar
from labkit.state import document, held
from labkit.state.held import Held
from labkit.text.words import Words

Undo = Callable[..., object]
_Undo = TypeVar("_Undo", bound=Undo)
Entry = list[str]
_FILE = "journal"

# The undos and the modules that define them, which are imported when such an entry is met: whoever
# finds an orphan need not have loaded what made it.
HOMES = {
    "tree": "labkit.state.journal",
    "link": "labkit.network.removal",
    "endpoints": "labkit.network.removal",
    "nft": "labkit.network.nat",
    "sysctl": "labkit.network.bridge",
}
_undos: dict[str, Undo] = {}


def undo(kind: str) -> Callable[[_Undo], _Undo]:
    """Register a function as the undo of the entries `kind`. It stands beside the act it undoes.

    It takes the entry's words, and does nothing where there is nothing to undo.
    """

    def register(function: _Undo) -> _Undo:
        _undos[kind] = function
        return function

    return register


class Journal:
    """What a held folder's owner has done to the host, and how to undo it."""

    def __init__(self, folder: Held) -> None:
        self._path = folder.inside(_FILE)

    def note(self, kind: str, *words: str) -> None:
        """Write down how to undo what is about to be done. It is on disk when this returns."""
        if kind not in HOMES:
            raise LookupError(f"no undo is called {kind!r}")
        line = json.dumps([kind, *words]).encode() + b"\n"
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, line)
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def entries(self) -> list[Entry]:
        """The entries, the oldest first. A line that is not whole: its act was never begun."""
        try:
            with open(self._path, "rb") as file:
                lines = file.read().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def play(self) -> list[tuple[Entry, Exception]]:
        """Undo everything, the youngest first. What could not be undone stays, and is returned.

        One that is refused does not keep the others from being undone. Who is killed here leaves
        entries that have been undone already, which does not matter.
        """
        refused: list[tuple[Entry, Exception]] = []
        entries = self.entries()
        for entry in reversed(entries):
            try:
                _function(entry[0])(*entry[1:])
            except (OSError, ValueError, LookupError) as error:
                refused.insert(0, (entry, error))
        if entries:
            left = b"".join(json.dumps(entry).encode() + b"\n" for entry, _ in refused)
            document.replace(self._path, left)
        return refused


def _function(kind: str) -> Undo:
    if kind in HOMES:
        __import__(HOMES[kind])
    if kind in _undos:
        return _undos[kind]
    raise LookupError(
        Words(
            f"日志里的 {kind!r} 不知道怎么撤销：是别的版本的 labkit 写的吗",
            f"nothing here undoes {kind!r} of a journal: has another version of labkit written it?",
        )
    )


def recover(parent: str) -> Iterator[tuple[str, list[tuple[Entry, Exception]]]]:
    """Put right what the dead have left: of each orphan its path, and what could not be undone.

    An orphan that is undone is removed. Another one stays for the next who comes.
    """
    for folder in held.orphans(parent):
        refused = Journal(folder).play()
        if refused:
            folder.release()
        else:
            folder.remove()
        yield folder.path, refused


@undo("tree")
def remove_tree(path: str) -> None:
    """Remove a directory and all that is in it."""
    from labkit.state import folder

    folder.remove(path)
