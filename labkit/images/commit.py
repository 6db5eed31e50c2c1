"""docker commit and import: a new image of what a container has changed, or of a whole archive."""

from typing import BinaryIO

from labkit.images import oci
from labkit.images.adding import Adding, Layer, adding
from labkit.images.oci import Json
from labkit.images.pack import pack
from labkit.images.reference import Reference
from labkit.images.settings import change
from labkit.images.store import Store
from labkit.images.writable import Writable
from labkit.linux.fields import dataclass


@dataclass(frozen=True)
class About:
    """What is said of a new image. changes: instructions of a Dockerfile, as CMD ["sh"].

    created_by: the program that has made the changes.
    """

    message: str = ""
    author: str = ""
    changes: tuple[str, ...] = ()
    created_by: str = ""


def commit(
    store: Store,
    root: Writable,
    names: tuple[Reference, ...],
    about: About,
    settings: Json | None = None,
) -> str:
    """Make an image of a container's root: the layers of its image, and one of what has changed.

    Whatever the container writes meanwhile is in the layer or is not. settings: what its programs
    are run with; None: as those of the container's image. The new image's ID.
    """
    base = store.find(root.image)
    settings = change(base.settings if settings is None else settings, about.changes)
    with adding(store) as into:
        layer = _pack(into, root.upper)
        below = [Layer(*pair) for pair in zip(base.diff_ids, base.layers, strict=True)]
        config = _config(base.config, settings, [*below, layer], about)
        return into.image(oci.write(config), [*below, layer], names, root=base.root)


def import_archive(
    store: Store, source: BinaryIO, called: str, names: tuple[Reference, ...], about: About
) -> str:
    """Make an image with one layer of an archive of a whole root directory. Its ID.

    called: where it comes from, for the image's history.
    """
    settings = change({}, about.changes)
    comment = about.message or f"Imported from {called}"
    with adding(store) as into:
        layer = into.layer("", source)
        about = About(comment, about.author, about.changes)
        config = _config({}, settings, [layer], about)
        return into.image(oci.write(config), [layer], names)


def _pack(into: Adding, upper: str) -> Layer:
    path = into.beside()
    with open(path, "xb") as out:
        packed = pack(upper, out)
    with open(path, "rb") as file:
        return into.layer(oci.TAR, file, packed.diff_id)


def _config(base: Json, settings: Json, layers: list[Layer], about: About) -> Json:
    """The configuration of the new image, with one more line in its history."""
    created = oci.timestamp()
    told = {"created": created, "author": about.author, "created_by": about.created_by}
    line = {name: text for name, text in {**told, "comment": about.message}.items() if text}
    before = base.get("history")
    history = [*(before if isinstance(before, list) else []), line]
    more = {"created": created} | ({"author": about.author} if about.author else {})
    diff_ids = [layer.diff_id for layer in layers]
    new = oci.new_config(diff_ids, settings, history, **more)
    kept = {name: base[name] for name in ("architecture", "variant", "os") if name in base}
    return new | kept
