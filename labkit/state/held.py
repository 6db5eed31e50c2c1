"""A folder that belongs to whoever holds the lock in it; one that nobody holds is an orphan."""

import os
from _collections_abc import Iterator
from types import TracebackType

from labkit.python.typing import Self
from labkit.state import folder
from labkit.state.lock import Lock, attempt, hold
from labkit.text.words import Words

_LOCK = "lock"
_PATIENCE = 60  # seconds; who holds the parent makes a folder, or looks whether one is held


class Held:
    """A folder that this process holds. Its end, or release(), leaves the folder to others."""

    def __init__(self, path: str, lock: Lock) -> None:
        self.path, self._lock = path, lock

    @property
    def name(self) -> str:
        """Its name in the parent folder."""
        return os.path.basename(self.path)

    def fileno(self) -> int:
        """The descriptor of its lock, for a program that is to hold the folder from now on."""
        return self._lock.fileno()

    def inside(self, *names: str) -> str:
        """The path of something in it."""
        return os.path.join(self.path, *names)

    def release(self) -> None:
        """Let go of it and leave it there: from now on it is an orphan."""
        self._lock.release()

    def remove(self) -> None:
        """Remove it with all that is in it. Its lock goes last: half removed it is still held."""
        with os.scandir(self.path) as entries:
            rest = [entry.path for entry in entries if entry.name != _LOCK]
        for path in rest:
            folder.remove(path)
        with _parent(os.path.dirname(self.path), shared=True):
            folder.remove(self.path)
        self.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()


def make(parent: str, name: str = "") -> Held:
    """Make a folder in `parent` and hold it. Without a name it gets one that nobody has.

    FileExistsError: there is one of that name. Who looks for orphans waits meanwhile, so nobody
    sees the folder before it is held.
    """
    os.makedirs(parent, mode=0o700, exist_ok=True)
    with _parent(parent, shared=True):
        path = os.path.join(parent, name or os.urandom(6).hex())
        os.mkdir(path, 0o700)
        return Held(path, _lock(path))


def orphans(parent: str) -> Iterator[Held]:
    """The folders in `parent` that nobody holds, one after the other. Each is held by us then."""
    for name in names(parent):
        if (found := adopt(os.path.join(parent, name))) is not None:
            yield found


def adopt(path: str) -> Held | None:
    """Hold a folder that nobody holds; None: it is held, or gone."""
    with _parent(os.path.dirname(path), shared=False):
        try:
            lock = attempt(os.path.join(path, _LOCK))
        except FileNotFoundError:
            return None
        return Held(path, lock) if lock else None


def is_held(path: str) -> bool:
    """Whether somebody holds a folder."""
    try:
        found = adopt(path)
    except FileNotFoundError:  # its parent is being removed
        return False
    if found is None:
        return os.path.isdir(path)
    found.release()
    return False


def names(parent: str) -> list[str]:
    """The names of the folders in `parent`, held or not."""
    try:
        with os.scandir(parent) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def _parent(parent: str, *, shared: bool) -> Lock:
    """The lock of a folder of held folders: shared to make or remove one, alone to adopt one."""
    what = Words(f"目录 {parent} 的锁", f"the lock of {parent}")
    return hold(os.path.join(parent, f".{_LOCK}"), what, shared=shared, timeout=_PATIENCE)


def _lock(path: str) -> Lock:
    return hold(os.path.join(path, _LOCK), Words(f"目录 {path}", path), timeout=0)
