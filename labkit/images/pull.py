"""docker pull and docker push: an image of a registry into the store, and back."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from labkit.images import oci
from labkit.images.adding import Adding, Layer, adding, check_config
from labkit.images.fetch import Fetched, Progress, fetch
from labkit.images.oci import Descriptor
from labkit.images.platform import Platform
from labkit.images.reference import Reference
from labkit.images.send import send
from labkit.images.store import NoSuchImage, Store
from labkit.linux.fields import dataclass
from labkit.text.words import Words, words_of

EXTRACTING, DONE = "Extracting", "Pull complete"
"""What becomes of a layer when it has come, in Docker's words."""


@dataclass(frozen=True)
class Pulled:
    """An image that has been pulled: its ID, the digest of its name, and whether it is new here."""

    id: str
    digest: str
    new: bool


def pull(
    store: Store,
    name: Reference,
    *,
    wanted: Platform | None = None,
    progress: Progress = lambda *_: None,
    mirrors: Sequence[str] | None = None,
    insecure: bool = False,
) -> Pulled:
    """Get an image from its registry. The rest is as with :func:`labkit.images.fetch.fetch`.

    Each layer is unpacked as soon as it has come, while others still come.
    """
    name = name.tagged()
    with adding(store) as into:
        layers = _Layers(into, progress)
        found = fetch(
            name, layers, wanted=wanted, progress=progress, mirrors=mirrors, insecure=insecure
        )
        before = _id(store, name)
        names = [name] if name.tag else []
        names.append(Reference(name.domain, name.path, "", found.digest))
        made = into.image(found.config, layers.all(), names, found.content)
    return Pulled(made, found.digest, made != before)


def push(
    store: Store, name: Reference, *, progress: Progress = lambda *_: None, insecure: bool = False
) -> Descriptor:
    """Send an image of the store to the registry that its name says; what stands there now."""
    name = name.tagged()
    with store.reading():
        image = store.find(str(name))
        if image.root:
            raise ValueError(
                Words(
                    f"{name.familiar} 就是这台机器自己的根目录，没有可推送的层",
                    f"{name.familiar} is this machine's own root: it has no layers to push",
                )
            )
        content = store.read(image.manifest.digest)
        return send(
            name,
            content,
            image.manifest.media,
            _Stored(store),
            progress=progress,
            insecure=insecure,
        )


def _id(store: Store, name: Reference) -> str:
    """The image that has the name now; "" if there is none."""
    try:
        return store.find(str(name)).id
    except NoSuchImage:
        return ""


@dataclass(frozen=True)
class _Stored:
    """The blobs of the store, to be sent."""

    store: Store

    def open(self, digest: str) -> BinaryIO:
        """One of them."""
        return open(self.store.blob(digest), "rb")


class _Layers:
    """Where layers go that come: into the store, unpacked."""

    def __init__(self, into: Adding, progress: Progress) -> None:
        self._into, self._progress = into, progress
        self._wanted: list[tuple[Descriptor, str]] = []
        self._there: dict[str, Layer] = {}

    def expect(self, found: Fetched) -> None:
        """Which layers they are, and what each is called without compression."""
        what = found.read.config.digest
        ids = oci.diff_ids(oci.document(found.config, what), what)
        layers = found.read.layers
        check_config(
            found.config, ids if len(ids) == len(layers) else [each.digest for each in layers]
        )
        self._wanted = list(zip(layers, ids, strict=True))

    def has(self, digest: str) -> bool:
        """Whether the store has a layer."""
        about, diff_id = self._about(digest)
        known = self._into.known(about.media, diff_id, digest)
        if known:
            self._there[digest] = known
        return known is not None

    @contextmanager
    def writer(self, digest: str) -> Iterator[BinaryIO]:
        """A file for a layer, which is unpacked when it has come."""
        about, diff_id = self._about(digest)
        path = self._into.beside()
        with open(path, "xb", buffering=0) as file:
            yield file
            os.fdatasync(file.fileno())
        self._progress(digest, EXTRACTING, 0, about.size)
        try:
            self._there[digest] = self._into.keep(path, about.media, diff_id, digest)
        except ValueError as error:
            raise oci.wrong(digest, *words_of(error)[:1]) from None
        self._progress(digest, DONE, about.size, about.size)

    def all(self) -> list[Layer]:
        """The layers of the image, the lowest first."""
        return [self._there[about.digest] for about, _ in self._wanted]

    def _about(self, digest: str) -> tuple[Descriptor, str]:
        return next(each for each in self._wanted if each[0].digest == digest)
