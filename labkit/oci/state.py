"""What is kept of a container: one folder with a document, a lock and, until it starts, a gate."""

import contextlib
import os
import pwd
import re
import signal
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from labkit.linux import proc
from labkit.oci.config import VERSION
from labkit.oci.groups import Groups
from labkit.state import document, folder
from labkit.state.lock import Lock, hold
from labkit.text.words import Words

Status = Literal["creating", "created", "running", "paused", "stopped"]
GATE = "gate"
_FILE, _LOCK = "state.json", "lock"
_PATIENCE = 60.0  # seconds that one verb waits for another
_ID = re.compile(r"[\w+.-]+", re.ASCII)


class Missing(LookupError):  # noqa: N818 - it says what is wrong
    """There is no such container."""


class Kept:
    """A container that is kept: its folder, and what its document says."""

    def __init__(self, path: str, values: Mapping[str, Any]) -> None:
        self.path, self.values = path, dict(values)

    @property
    def name(self) -> str:
        """Its ID."""
        return os.path.basename(self.path)

    @property
    def pid(self) -> int:
        """Its first process, 0 when that has ended."""
        return int(self.values["pid"]) if self.alive else 0

    @property
    def groups(self) -> Groups:
        """Its control groups."""
        return Groups.of(self.values["groups"])

    @property
    def gate(self) -> str:
        """The socket on which the first process waits to be started."""
        return os.path.join(self.path, GATE)

    @property
    def alive(self) -> bool:
        """Whether its first process is still there: the same one, and no zombie."""
        try:
            found = proc.stat(self.values["pid"])
        except OSError:
            return False
        return found.started == self.values["started"] and found.state not in "ZX"

    @property
    def status(self) -> Status:
        """What the specification calls it."""
        if not self.alive:
            return "stopped"
        if not self.values["ready"]:
            return "creating"
        if os.path.exists(self.gate):
            return "created"
        return "paused" if self.groups.frozen else "running"

    def state(self, status: Status | None = None) -> dict[str, object]:
        """The state as the specification has it, for `state` and for hooks."""
        found: dict[str, object] = {
            "ociVersion": VERSION,
            "id": self.name,
            "status": status or self.status,
        }
        if found["status"] != "stopped":
            found["pid"] = int(self.values["pid"])
        found["bundle"] = self.values["bundle"]
        if self.values["annotations"]:
            found["annotations"] = self.values["annotations"]
        return found

    def shown(self) -> dict[str, object]:
        """The state, and what engines look for in it besides."""
        found = {"pid": 0} | self.state()
        found |= {key: self.values[key] for key in ("rootfs", "created")}
        return found | {"owner": _owner(self.path)}

    def write(self) -> None:
        """Write the document."""
        document.write(os.path.join(self.path, _FILE), self.values, durable=False)

    def note(self, groups: Groups) -> None:
        """Write down its control groups."""
        self.values["groups"] = groups.as_data()
        self.write()

    def remove(self) -> None:
        """Remove all that is kept."""
        folder.remove(self.path)


def _owner(path: str) -> str:
    uid = os.stat(path).st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def now() -> str:
    """The time as RFC 3339 has it."""
    seconds = time.time()
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1e9):09d}Z"


def default_root() -> str:
    """Where containers are kept unless --root names another folder."""
    return os.path.join(folder.passing(), "oci")


def checked(name: str) -> str:
    """An ID that may be a folder's name."""
    if not _ID.fullmatch(name) or name in (".", ".."):
        raise ValueError(
            Words(
                f"容器的 ID 只能用字母、数字和 _ + . -，而不是 {name!r}",
                f"the ID of a container has letters, digits and _ + . -, not {name!r}",
            )
        )
    return name


@contextlib.contextmanager
def begin(root: str, name: str) -> Iterator[tuple[str, Lock]]:
    """Make the folder of a new container and hold its lock. If the block fails it is removed.

    Who is cloned in the block has the lock too, and lets go of it: else it would last as long.
    """
    path = os.path.join(folder.make(root), checked(name))
    try:
        os.mkdir(path, 0o711)
    except FileExistsError:
        raise ValueError(
            Words(
                f"已经有 ID 为 {name!r} 的容器",
                f"container with given ID already exists: {name!r}",
            )
        ) from None
    try:
        with _locked(path, name) as lock:
            yield path, lock
    except BaseException:
        folder.remove(path)
        raise


@contextlib.contextmanager
def held(root: str, name: str) -> Iterator[Kept]:
    """A container, with its lock: nobody changes it meanwhile. Missing: there is none."""
    path = os.path.join(root, checked(name))
    if not os.path.isdir(path):
        raise missing(name)
    with _locked(path, name):
        yield load(root, name)


def clear(root: str, name: str) -> None:
    """Remove the folder of a container whose `create` was killed before it had written anything."""
    path = os.path.join(root, checked(name))
    if os.path.isdir(path):
        with _locked(path, name):
            if document.read(os.path.join(path, _FILE)) is None:
                folder.remove(path)


def _locked(path: str, name: str) -> Lock:
    try:
        what = Words(f"容器 {name}", f"container {name}")
        return hold(os.path.join(path, _LOCK), what, timeout=_PATIENCE)
    except FileNotFoundError:
        raise missing(name) from None


def load(root: str, name: str) -> Kept:
    """A container as it is kept now. Missing: there is none."""
    path = os.path.join(root, checked(name))
    values = document.read(os.path.join(path, _FILE))
    if values is None:
        raise missing(name)
    return Kept(path, values)


def missing(name: str) -> Missing:
    """The error for a container that is not there. Engines look for its English words."""
    return Missing(Words(f"没有容器 {name}", f'container "{name}" does not exist'))


def every(root: str) -> list[Kept]:
    """All containers. One that is being made or removed is none."""
    found = []
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    for name in names:
        with contextlib.suppress(Missing, ValueError):
            found.append(load(root, name))
    return found


def signal_of(text: str) -> int:
    """A signal by its number or name, with or without SIG."""
    if text.isascii() and text.isdigit() and 0 < int(text) <= signal.SIGRTMAX:
        return int(text)
    name = text.upper().removeprefix("SIG")
    base, sign, more = name.partition("+")
    number = signal.Signals.__members__.get(f"SIG{base}")
    if number and (not sign or more.isdigit()):
        return number + int(more or 0)
    raise ValueError(Words(f"没有这个信号：{text}", f"unknown signal {text!r}"))
