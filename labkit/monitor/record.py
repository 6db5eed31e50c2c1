"""A container on disk: a folder with what it is, what has become of it, and what it has printed.

`config.json` is written once, when the container is made. `run.json` is the monitor's: when it
started, and when and how it ended. `log` holds what it has printed. `lock` is held by the monitor,
or by who is just at work on the container. `settings.json` is what `update` has changed.
"""

import errno
import fcntl
import os
from _collections_abc import Iterator, Mapping

from labkit.linux.fields import dataclass, replace
from labkit.monitor import events, names
from labkit.monitor.lines import moment
from labkit.python import contextlib, functools, json
from labkit.python.typing import TYPE_CHECKING, Any
from labkit.state import document, folder, held
from labkit.state.held import Held
from labkit.state.lock import hold
from labkit.text.words import Words

if TYPE_CHECKING:  # ps and exec need none of them, and start sooner
    from labkit.container.container import Container
    from labkit.images.store import Image, Store
    from labkit.images.writable import Writable

CONFIG, RUN, LOG, SETTINGS = "config.json", "run.json", "log", "settings.json"
_PATIENCE = 20.0  # seconds for somebody who is at work on a container
SHORT = 12  # digits of an ID that Docker shows


class NoSuchContainer(ValueError):  # noqa: N818 - it says what happened
    """No container has that name or ID."""

    def __init__(self, text: str) -> None:
        super().__init__(Words(f"没有这个容器：{text}", f"No such container: {text}"))


@dataclass(frozen=True)
class Record:
    """A container as it was made. path: its folder. asked: its options, as docker inspect has them.

    raw: the fields of its Container, as JSON has them.

    options: what a monitor needs besides: open_stdin, stdin_once, remove, restart, stop_signal, ...
    """

    path: str
    name: str
    created: str
    image: str
    image_id: str
    raw: Mapping[str, Any]
    asked: Mapping[str, Any]
    options: Mapping[str, Any]

    @functools.cached_property
    def box(self) -> "Container":
        """The container as a value; `raw` has the same as JSON, which is read much sooner."""
        from labkit.container.container import Container

        box = Container.from_json(json.dumps(self.raw))
        changed = self.settings.get("limits")
        return replace(box, limits=changed) if changed else box

    @property
    def id(self) -> str:
        """Its 64 digits."""
        return os.path.basename(self.path)

    @property
    def short(self) -> str:
        """Its ID as Docker shows it."""
        return self.id[:SHORT]

    def at(self, name: str) -> str:
        """The path of a file in its folder."""
        return os.path.join(self.path, name)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The options, with what `update` has changed."""
        return {**self.options, **document.read(self.at(SETTINGS), {})}

    def change(self, **changed: object) -> None:
        """Note what `update` changes."""
        document.write(self.at(SETTINGS), {**document.read(self.at(SETTINGS), {}), **changed})
        vars(self).pop("box", None)  # it is another one now

    def run(self) -> Mapping[str, Any]:
        """What its monitor has written of its last run; nothing if it has not been started."""
        try:
            found: Mapping[str, Any] = document.read(self.at(RUN), {})
        except ValueError:  # a power cut has left half of it
            return {}
        return found

    @contextlib.contextmanager
    def holding(self) -> Iterator[Held]:
        """Hold its folder for the block: nobody else starts it, or removes it meanwhile."""
        owner = self.hold()
        try:
            yield owner
        finally:
            owner.release()

    def hold(self, timeout: float = _PATIENCE) -> Held:
        """Hold its folder from now on. NoSuchContainer: it is gone. Taken: somebody else does."""
        what = Words(f"容器 {self.name}", f"container {self.name}")
        try:
            lock = hold(self.at("lock"), what, timeout=timeout)
        except FileNotFoundError:
            raise NoSuchContainer(self.name) from None
        if not os.path.exists(self.at(CONFIG)):  # it was being removed
            lock.release()
            raise NoSuchContainer(self.name)
        return Held(self.path, lock)


def root_folder() -> str:
    """The folder of all containers."""
    return folder.make(os.path.join(folder.lasting(), "containers"))


def called(record: Record) -> str:
    """What events tell of a container, as JSON without braces: labels, image and name."""
    labels = record.asked.get("Config", {}).get("Labels") or {}
    return events.as_json({**labels, "image": record.image, "name": record.name})


def tell(record: Record, action: str, **more: str) -> None:
    """Note an event of a container. more: further attributes."""
    attributes = ",".join(filter(None, (events.as_json(more), called(record))))
    events.note(folder.lasting(), "container", action, record.id, attributes)


@contextlib.contextmanager
def making(
    store: "Store | None" = None,
    image: "Image | None" = None,
    name: str = "",
    *,
    durable: bool = True,
) -> Iterator["Making"]:
    """Make a container. The block has its folder and its root, and says with `write` what it is.

    If the block does not, or fails, nothing is left of it. durable: whether it is to be there after
    a power cut.
    """
    owner = held.make(root_folder(), os.urandom(32).hex())
    try:
        given = names.take(name, owner.path)
        with _root(store, image, owner.inside(CONFIG), durable=durable) as root:
            yield Making(owner, given, root, durable)
    finally:
        if os.path.exists(owner.inside(CONFIG)):
            owner.release()
        else:
            owner.remove()
            names.drop(owner.name)


@contextlib.contextmanager
def _root(
    store: "Store | None", image: "Image | None", config: str, *, durable: bool
) -> Iterator["Writable | None"]:
    """The root of a container that is of an image."""
    if not store or not image:
        yield None
        return
    from labkit.images.writable import kept

    with kept(store, image, config, durable=durable) as root:
        yield root


@dataclass(frozen=True)
class Making:
    """A container that is being made. root: what an overlay needs to make its root.

    durable: whether it is to be there after a power cut.
    """

    folder: Held
    name: str
    root: "Writable | None"
    durable: bool = True

    def write(
        self,
        box: "Container",
        *,
        image: str = "",
        image_id: str = "",
        asked: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Record:
        """Write down what it is. From now on it is there."""
        about = {
            "id": self.folder.name,
            "created": moment(),
            "image": image,
            "image_id": image_id,
            "box": json.loads(box.to_json()),
            "asked": asked or {},
            "options": options or {},
        }
        document.write(self.folder.inside(CONFIG), about, durable=self.durable)
        made = _read(self.folder.path, self.name)
        tell(made, "create")
        return made


def _read(path: str, name: str) -> Record:
    about = document.read(os.path.join(path, CONFIG))
    if about is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    told = {key: about[key] for key in ("created", "image", "image_id", "asked", "options")}
    return Record(path, name, raw=about["box"], **told)


def load(path: str) -> Record:
    """The container in a folder."""
    identity = os.path.basename(path)
    return _read(path, names.index().get(identity, identity[:SHORT]))


def every() -> list[Record]:
    """All containers, the youngest first. What a killed process has half made is cleared away."""
    root, named = root_folder(), names.index()
    found = []
    for identity in held.names(root):
        path = os.path.join(root, identity)
        try:
            found.append(_read(path, named.get(identity, identity[:SHORT])))
        except FileNotFoundError:
            if (owner := held.adopt(path)) is not None:
                owner.remove()
                names.drop(identity)
    return sorted(found, key=lambda record: record.created, reverse=True)


def find(text: str) -> Record:
    """The container of a name or of an ID, which may be shortened."""
    identity = text if _is_there(text) else names.lookup(text)
    if not _is_there(identity):
        identity = _by_prefix(text)
    try:
        name = text.removeprefix("/") if names.lookup(text) == identity else names.index()[identity]
        return _read(os.path.join(root_folder(), identity), name)
    except (FileNotFoundError, KeyError):
        raise NoSuchContainer(text) from None


def _is_there(identity: str) -> bool:
    return bool(identity) and os.path.isdir(os.path.join(root_folder(), identity))


def _by_prefix(text: str) -> str:
    found = [each for each in held.names(root_folder()) if text and each.startswith(text)]
    if len(found) > 1:
        raise ValueError(
            Words(
                f"有几个容器的 ID 以 {text} 开头",
                f"multiple IDs found with provided prefix: {text}",
            )
        )
    return found[0] if found else ""


def remove(record: Record, owner: Held, *, volumes: bool = False) -> None:
    """Remove a container that `owner` holds, and its root. Who is killed here leaves an orphan.

    volumes: those that were made for it alone too.
    """
    from labkit.images.store import Store
    from labkit.images.writable import clear

    for path in record.options.get("owned", ()) if volumes else ():
        folder.remove(path)
    names.drop(record.id)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(record.at(CONFIG))  # from now on it is none
        tell(record, "destroy")
    owner.remove()
    with contextlib.suppress(OSError):
        clear(Store())


@contextlib.contextmanager
def looking(path: str) -> Iterator[bool]:
    """Whether somebody holds a folder. If nobody does, nobody will as long as the block lasts."""
    fd = os.open(os.path.join(path, "lock"), os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        held_now = False
    except BlockingIOError:
        held_now = True
    try:
        yield held_now
    finally:
        os.close(fd)
