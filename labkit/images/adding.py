"""Adding to the store: content is put together in a held folder, and renamed to its place whole.

Whoever is killed meanwhile leaves an orphan, which the next one removes. Content that no image of
the index needs is removed too (:meth:`Store.prune`).
"""

import contextlib
import itertools
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from labkit.images import digest as digests
from labkit.images import oci
from labkit.images.extract import extract
from labkit.images.oci import Descriptor, Json
from labkit.images.reference import Reference
from labkit.images.store import HOST, Store
from labkit.linux import confinement
from labkit.linux.fields import dataclass
from labkit.state import document, held
from labkit.state.held import Held
from labkit.text.words import Advice, Words

_CHUNK = 1 << 20


@contextlib.contextmanager
def adding(store: Store) -> Iterator["Adding"]:
    """A place to put images together. What belongs to no image in the end does not stay."""
    for orphan in held.orphans(store.ingest):
        orphan.remove()
    try:
        with store.reading(), held.make(store.ingest) as place:
            into = Adding(store, place)
            yield into
        for told in into.told.values():
            warnings.warn(Advice(told), stacklevel=4)  # who asked for the image
    finally:
        store.prune()


class Adding:
    """Content on its way into the store. What is not whole in the end leaves nothing behind."""

    def __init__(self, store: Store, place: Held) -> None:
        self.store, self._place = store, place
        self.told: dict[str, Words] = {}  # what could not be made as an archive has it
        self._numbers = itertools.count()  # several threads may ask for a path

    def beside(self) -> str:
        """A path for a file or directory that is there until this is over."""
        return self._place.inside(f"{next(self._numbers)}")

    def content(self, media: str, content: bytes) -> Descriptor:
        """Add a document."""
        about = Descriptor.of(media, content)
        if not os.path.exists(self.store.blob(about.digest)):
            document.replace(self.store.blob(about.digest), content)
        return about

    def layer(self, media: str, source: BinaryIO, diff_id: str = "", digest: str = "") -> "Layer":
        """Add a layer and unpack it. It has to have the digests that are given.

        media: its media type; "" if that is to be found out. diff_id: of the archive itself.
        digest: of `source`, which may be compressed. A source whose digest is known is not read.
        """
        oci.check_layer(media)
        if known := self.known(media, diff_id, digest):
            return known
        path = self.beside()
        _copy(source, path)
        return self.keep(path, media, diff_id, digest)

    def keep(self, path: str, media: str, diff_id: str, digest: str) -> "Layer":
        """The same for a file that is whole on disk, at a path that :meth:`beside` gave."""
        tree = self.beside()
        os.makedirs(os.path.join(tree, "diff"))
        with open(path, "rb") as file:
            unpacked = extract(
                file, os.path.join(tree, "diff"), rootless=not confinement.is_hosts_root()
            )
        self.told = {**unpacked.told, **self.told}  # each once, though many layers have it
        _compare(digest, unpacked.digest)
        _compare(diff_id, unpacked.diff_id)
        self._keep_layer(tree, unpacked.diff_id)
        os.rename(path, self.store.blob(unpacked.digest))
        about = _known(media, unpacked.digest, self.store.blob(unpacked.digest))
        return Layer(unpacked.diff_id, about)

    def known(self, media: str, diff_id: str, digest: str) -> "Layer | None":
        """The layer with both digests, if it is here already."""
        blob = self.store.blob(digest) if digest else ""
        if diff_id and blob and os.path.exists(blob) and self._has(diff_id):
            return Layer(diff_id, _known(media, digest, blob))
        return None

    def _has(self, diff_id: str) -> bool:
        return os.path.isdir(self.store.layer(diff_id))

    def _keep_layer(self, tree: str, diff_id: str) -> None:
        """Rename an unpacked layer to its place, unless it is there already."""
        about = {"diff_id": diff_id, "size": _size(os.path.join(tree, "diff"))}
        document.write(os.path.join(tree, "layer.json"), about)
        try:
            os.rename(tree, os.path.dirname(self.store.layer(diff_id)))
        except OSError:
            if not self._has(diff_id):  # else somebody has been quicker, and it is the same
                raise

    def image(
        self,
        config: bytes,
        layers: Sequence["Layer"],
        names: Sequence[Reference] = (),
        manifest: bytes = b"",
        root: str = "",
    ) -> str:
        """Add an image whose layers are here, and give it its names. Its ID.

        manifest: its own, so that its digest stays; else one is written. root: see :class:`Image`.
        """
        about = self.content(oci.CONFIG, config)
        check_config(config, [layer.diff_id for layer in layers])
        manifest = manifest or oci.write_manifest(about, [layer.about for layer in layers])
        media = oci.document(manifest, about.digest).get("mediaType")
        entry = self.content(str(media or oci.MANIFEST), manifest)
        self.store.enter(entry, names, {HOST: root} if root else {})
        return about.digest


@dataclass(frozen=True)
class Layer:
    """A layer of the store. diff_id: of its archive. about: the blob, which may be compressed."""

    diff_id: str
    about: Descriptor


def check_config(config: bytes, layers: Sequence[str]) -> Json:
    """A configuration, which has to be for Linux and to name these layers."""
    what = digests.of(config)
    read = oci.document(config, what)
    wanted = oci.diff_ids(read, what)
    if len(wanted) != len(layers):
        raise oci.wrong(
            what,
            Words(
                f"层数不对：配置里有 {len(wanted)} 层，清单里有 {len(layers)} 层",
                f"layers length mismatch: expected {len(wanted)}, got {len(layers)}",
            ),
        )
    for one, other in zip(wanted, layers, strict=True):
        _compare(one, other)
    if read.get("os", "linux") != "linux":
        raise oci.wrong(
            what,
            Words(
                f"它是给 {read['os']} 用的，这里是 linux",
                f'image operating system "{read["os"]}" cannot be used on this platform',
            ),
        )
    return read


def _known(media: str, digest: str, path: str) -> Descriptor:
    """The descriptor of a layer that is here already."""
    with open(path, "rb") as file:
        media = media or oci.layer_media(file.read(4))
        return Descriptor(media, digest, os.fstat(file.fileno()).st_size)


def _compare(wanted: str, found: str) -> None:
    if wanted and wanted != found:
        raise ValueError(
            Words(
                f"内容与摘要不符：应是 {wanted}，实际是 {found}",
                f"the content does not have its digest: expected {wanted}, got {found}",
            )
        )


def _copy(source: BinaryIO, path: str) -> None:
    """Copy what is left of `source` to a new file, and see that it is on disk."""
    with open(path, "xb", buffering=0) as file:
        chunk = source.read(_CHUNK)
        while chunk:
            file.write(chunk)
            chunk = source.read(_CHUNK)
        os.fdatasync(file.fileno())


def _size(top: str) -> int:
    """How many bytes the files below `top` have, each file counted once."""
    seen, waiting, size = set(), [top], 0
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                about = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif about.st_ino not in seen:
                    seen.add(about.st_ino)
                    size += about.st_size
    return size
