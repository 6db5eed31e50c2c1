"""The root of one container: the layers of an image, and above them a directory to write to.

It stands in a held folder of the store as long as its container does. Whoever is killed leaves an
orphan, which goes with the next root that is made.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from labkit.images import oci
from labkit.images.store import Image, Store
from labkit.state import document, held
from labkit.state.held import Held
from labkit.text.words import Words

_SHORT = 12  # digits of an ID that Docker shows


class NoSuchContainer(ValueError):  # noqa: N818 - it says what happened
    """No container with a root from the store has that ID."""

    def __init__(self, text: str) -> None:
        super().__init__(Words(f"没有这个容器：{text}", f"No such container: {text}"))


@dataclass(frozen=True)
class Writable:
    """What overlay needs to make the root of a container.

    id: of the container. image: the ID of its image. layers: directories that are only read, the
    uppermost first. upper: the directory that takes what the container changes; work: one beside
    it, for overlay's own use.
    """

    id: str
    image: str
    layers: tuple[str, ...]
    upper: str
    work: str

    @property
    def short_id(self) -> str:
        """The ID as Docker shows it."""
        return self.id[:_SHORT]


@contextlib.contextmanager
def writable(store: Store, image: Image) -> Iterator[Writable]:
    """Make a fresh root for a container of `image`. It is removed when the block ends."""
    for orphan in held.orphans(store.container_folders):
        orphan.remove()
    with store.reading():
        folder = _begin(store, store.find(image.id))
    with folder:
        yield _read(folder.path)


def find(store: Store, text: str) -> Writable:
    """The root of a container by its ID, which may be shortened."""
    names = held.names(store.container_folders)
    found = [name for name in names if text and name.startswith(text)]
    if len(found) != 1:
        raise NoSuchContainer(text)
    try:
        return _read(os.path.join(store.container_folders, found[0]))
    except FileNotFoundError:  # it has just gone, or is not whole yet
        raise NoSuchContainer(text) from None


def _begin(store: Store, image: Image) -> Held:
    folder = held.make(store.container_folders, os.urandom(32).hex())
    layers = store.lowers(image)
    for name in ("upper", "work"):
        os.mkdir(folder.inside(name))
    _make_alike(folder.inside("upper"), layers[0])
    document.write(
        folder.inside("container.json"),
        {
            "id": folder.name,
            "created": oci.timestamp(),
            "image": image.id,
            "manifest": image.manifest.json(),
            "layers": layers,
        },
    )
    return folder


def _make_alike(path: str, layer: str) -> None:
    """Give the upper directory what the root of an image has: overlay shows that of the upper."""
    about = os.stat(layer)
    with contextlib.suppress(PermissionError):  # without root, all files are one's own
        os.chown(path, about.st_uid, about.st_gid)
    os.chmod(path, stat.S_IMODE(about.st_mode))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def _read(path: str) -> Writable:
    about = document.read(os.path.join(path, "container.json"))
    if about is None:
        raise FileNotFoundError(path)
    upper, work = os.path.join(path, "upper"), os.path.join(path, "work")
    return Writable(about["id"], about["image"], tuple(about["layers"]), upper, work)
