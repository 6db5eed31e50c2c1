"""The root of one container: the layers of an image, and above them a directory to write to.

It stands in a held folder of the store as long as its container does. Whoever is killed leaves an
orphan, which goes with the next root that is made. The root of a container that stays when it has
ended (docker create) stays too: its folder names the file of that container, and as long as this is
there, nobody takes it for an orphan.
"""

import os
import stat
from _collections_abc import Iterator

from labkit.cgroups.hierarchy import filesystem
from labkit.images import oci
from labkit.images.merged import children
from labkit.images.store import Image, Store
from labkit.linux.fields import dataclass
from labkit.python import contextlib
from labkit.state import document, held
from labkit.state.folder import passing
from labkit.state.held import Held
from labkit.state.journal import Journal
from labkit.text.words import Words

_SHORT = 12  # digits of an ID that Docker shows
_MEMORY = "/dev/shm"  # noqa: S108 - a tmpfs nearly everywhere, in Docker's containers too
_DIRECTORIES, _FILES = ("dev", "proc", "sys"), ("hostname", "hosts", "resolv.conf")
_NO_UPPER = {"overlay", "nfs", "nfs4", "9p", "fuse", "virtiofs", "vfat", "ecryptfs"}


class NoSuchContainer(ValueError):  # noqa: N818 - it says what happened
    """No container with a root from the store has that ID."""

    def __init__(self, text: str) -> None:
        super().__init__(Words(f"没有这个容器：{text}", f"No such container: {text}"))


@dataclass(frozen=True)
class Writable:
    """What overlay needs to make the root of a container.

    id: of the container. image: the ID of its image. layers: directories that are only read, the
    uppermost first. upper: the directory that takes what the container changes; work: one beside
    it, for overlay's own use. Where no file system here can have an upper directory, both are "":
    the changes then go to memory, and are gone with the container.
    """

    id: str
    image: str
    layers: tuple[str, ...]
    upper: str
    work: str
    elsewhere: bool = False

    @property
    def note(self) -> Words | None:
        """What is not as it should be: the changes are not beside the layers."""
        if not self.elsewhere:
            return None
        where = os.path.dirname(self.upper)
        place = Words(f"放在 {where}", f"in {where}") if where else Words("放在内存里", "in memory")
        return Words(
            "镜像库所在的文件系统不能作 overlay 的上层目录，容器的改动{}",
            "the store's file system cannot have the upper directory of an overlay: changes are {}",
        ).filled(place)

    @property
    def short_id(self) -> str:
        """The ID as Docker shows it."""
        return self.id[:_SHORT]


@contextlib.contextmanager
def writable(store: Store, image: Image) -> Iterator[Writable]:
    """Make a fresh root for a container of `image`. It is removed when the block ends."""
    clear(store)
    with store.reading():
        folder = _begin(store, store.find(image.id), os.urandom(32).hex())
    try:
        yield _read(folder.path)
    finally:
        Journal(folder).play()
        folder.remove()


@contextlib.contextmanager
def kept(store: Store, image: Image, container: str, *, durable: bool = True) -> Iterator[Writable]:
    """Make a fresh root that stays as long as the file `container` is there.

    The block is to make that file. If it does not, the root goes with the block. The ID is the name
    of the file's folder. durable: whether it is to be there after a power cut.
    """
    clear(store)
    with store.reading():
        identity = os.path.basename(os.path.dirname(container))
        store.check(image)
        folder = _begin(store, image, identity, container, durable=durable)
    try:
        yield _read(folder.path)
    finally:
        if os.path.exists(container):
            folder.release()
        else:
            Journal(folder).play()
            folder.remove()


def clear(store: Store) -> None:
    """Remove the roots whose containers are gone."""
    for name in held.names(store.container_folders):
        path = os.path.join(store.container_folders, name)
        about = document.read(os.path.join(path, "container.json"), {})
        if os.path.exists(about.get("container", "")):
            continue
        if (folder := held.adopt(path)) is not None:
            if Journal(folder).play():
                folder.release()  # something was refused: the next who comes tries again
            else:
                folder.remove()


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


def _begin(
    store: Store, image: Image, identity: str, container: str = "", *, durable: bool = True
) -> Held:
    folder = held.make(store.container_folders, identity)
    layers, place = _with_mount_points(store.lowers(image), folder.inside("init")), _place(folder)
    about = {
        "id": folder.name,
        "created": oci.timestamp(),
        "image": image.id,
        "manifest": image.manifest.json(),
        "layers": layers,
        "place": place,
        "container": container,
    }
    document.write(folder.inside("container.json"), about, durable=durable)
    if place:
        for name in ("upper", "work"):
            os.mkdir(os.path.join(place, name))
        _make_alike(os.path.join(place, "upper"), layers[0])
    return folder


def _place(folder: Held) -> str:
    """A directory for upper and work, on a file system that overlay can write to; "": none.

    Overlay cannot have its upper directory on another overlay, which is what a container has that
    labkit runs in. What is made elsewhere is in the folder's journal.
    """
    if takes_upper(folder.path):
        return folder.path
    for parent in (passing(), _MEMORY):
        if takes_upper(parent) and os.access(parent, os.W_OK):
            place = os.path.join(parent, f"labkit-{folder.name}")
            Journal(folder).note("tree", place)
            os.mkdir(place, 0o700)
            return place
    return ""


def takes_upper(path: str) -> bool:
    """Whether the file system of a directory can have the upper directory of an overlay."""
    return filesystem(path).partition(".")[0] not in _NO_UPPER


def _with_mount_points(layers: tuple[str, ...], init: str) -> tuple[str, ...]:
    """`layers`, and above them one with what is mounted on and not in the image.

    Docker has such a layer too. Else these files would be the container's changes.
    """
    top = children(layers)
    etc = top.get("etc")
    inside = children(etc.directories) if etc else {}
    directories = [name for name in _DIRECTORIES if name not in top]
    files = [name for name in _FILES if name not in inside and (not etc or etc.is_directory)]
    if not directories + files:
        return layers
    os.mkdir(init)
    _make_alike(init, layers[0])
    for name in directories + ["etc"] * bool(files):
        os.mkdir(os.path.join(init, name))
    for name in files:
        os.close(
            os.open(os.path.join(init, "etc", name), os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        )
    if etc and files:
        _make_alike(os.path.join(init, "etc"), etc.path)
    return (init, *layers)


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
    place = about["place"]
    upper, work = (os.path.join(place, name) if place else "" for name in ("upper", "work"))
    elsewhere = place != path
    return Writable(about["id"], about["image"], tuple(about["layers"]), upper, work, elsewhere)
