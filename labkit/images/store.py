"""The store of images: content by its digest, layers unpacked once, names in one index.

The folder is an OCI image layout, so that other tools can read it too: `oci-layout`, `index.json`
with all names, `blobs/sha256/` with manifests, configurations and layers as they came. Beside it
`layers/` has each layer unpacked, `ingest/` what is being made.

Several processes may work on it at once. Who adds or reads shares the lock `content.lock`; what no
name leads to is removed by somebody who has it alone. `index.lock` is held from the reading of the
index to its replacement.
"""

import os
from _collections_abc import Callable, Iterator, Sequence

from labkit.images import digest as digests
from labkit.images import oci, reference
from labkit.images.oci import Descriptor, Json
from labkit.images.reference import Reference
from labkit.linux.fields import dataclass
from labkit.python import contextlib
from labkit.state import document, folder, held
from labkit.state.lock import Lock, Taken, hold
from labkit.text.words import Words

_IMAGES = "images"
_PATIENCE = 60  # seconds until somebody who waits for the index is told whom for
HOST = "labkit.root"
"""The annotation of an image whose lowest layer is a directory of this machine."""


class NoSuchImage(ValueError):  # noqa: N818 - it says what happened
    """The store has no image of that name or ID."""

    def __init__(self, text: str) -> None:
        with contextlib.suppress(ValueError):
            text = reference.parse(text).tagged().familiar
        super().__init__(Words(f"没有这个镜像：{text}", f"No such image: {text}"))


@dataclass(frozen=True)
class Image:
    """An image of the store.

    id: the digest of its configuration. names: of tags and digests. root: a directory of this
    machine that is the lowest layer; "" with all images but `host` and what is made of it.
    """

    id: str
    manifest: Descriptor
    names: tuple[Reference, ...]
    config: Json
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[str, ...]
    root: str = ""

    @property
    def tags(self) -> list[Reference]:
        """The names that have a tag."""
        return [name for name in self.names if name.tag]

    @property
    def settings(self) -> Json:
        """What its programs are run with: Cmd, Env and the like."""
        found = self.config.get("config")
        return found if isinstance(found, dict) else {}


class Store:
    """The images in one folder; labkit's own if none is given. It is made at the first use."""

    def __init__(self, path: str = "") -> None:
        self.path = path or os.path.join(folder.lasting(), _IMAGES)
        for name in ("blobs/sha256", "layers", "ingest"):
            os.makedirs(os.path.join(self.path, name), mode=0o700, exist_ok=True)
        if not os.path.exists(self._at("oci-layout")):
            document.write(self._at("oci-layout"), {"imageLayoutVersion": "1.0.0"})
            self._change_index(lambda entries: entries)

    def _at(self, *names: str) -> str:
        return os.path.join(self.path, *names)

    # --- Places ---------------------------------------------------------------------------------

    def blob(self, digest: str) -> str:
        """The file that has the content of a digest, or will have it."""
        return self._at("blobs", "sha256", digests.sha256(digest))

    def layer(self, diff_id: str) -> str:
        """The directory with the files of an unpacked layer."""
        return self._at("layers", digests.sha256(diff_id), "diff")

    def layer_size(self, diff_id: str) -> int:
        """How many bytes the files of a layer have."""
        about = document.read(self._at("layers", digests.sha256(diff_id), "layer.json"), {})
        return int(about.get("size", 0))

    def lowers(self, image: Image) -> tuple[str, ...]:
        """The directories that overlay merges to the root of `image`, the uppermost first."""
        layers = [self.layer(each) for each in reversed(image.diff_ids)]
        return (*layers, *[image.root] * bool(image.root))

    def read(self, digest: str) -> bytes:
        """A document of the store."""
        with open(self.blob(digest), "rb") as file:
            return file.read(oci.LARGEST)

    # --- Images ---------------------------------------------------------------------------------

    def images(self) -> list[Image]:
        """All images, the youngest first."""
        found: dict[str, Image] = {}
        with self.reading():
            every = [self._image(entry) for entry in self._index()]
        for image in every:
            same = found.get(image.id)
            names = (*same.names, *image.names) if same else image.names
            found[image.id] = Image(**vars(image) | {"names": tuple(sorted(names, key=str))})
        return sorted(found.values(), key=_created, reverse=True)

    def find(self, text: str) -> Image:
        """The image of a name or of an ID, which may be shortened. NoSuchImage: there is none."""
        every = self.images()
        if not reference.is_id(text):
            name = reference.parse(text).tagged()
            for image in every:
                if name in image.names or _without_tag(name) in image.names:
                    return image
        return _by_id(text, every)

    def check(self, image: Image) -> None:
        """Refuse an image that has just been removed. NoSuchImage."""
        if not os.path.exists(self.blob(image.manifest.digest)):
            raise NoSuchImage(image.id)

    def _image(self, entry: Json) -> Image:
        about = oci.descriptor(entry, "index.json")
        read = oci.manifest(self.read(about.digest), about.digest)
        config = oci.document(self.read(read.config.digest), read.config.digest)
        notes = entry.get("annotations", {})
        names = (reference.parse(notes[oci.NAME]),) if oci.NAME in notes else ()
        layers = oci.diff_ids(config, read.config.digest)
        return Image(
            read.config.digest, about, names, config, read.layers, layers, notes.get(HOST, "")
        )

    def _index(self) -> list[Json]:
        found: list[Json] = document.read(self._at("index.json"), {}).get("manifests", [])
        return found

    def _change_index(self, change: Callable[[list[Json]], list[Json]]) -> None:
        what = Words("镜像的名册 index.json", "the index of images")
        with hold(self._at("index.lock"), what, timeout=_PATIENCE):
            entries = change(self._index())
            index = {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": entries}
            document.clear(self._at("index.json"))
            document.write(self._at("index.json"), index)

    def name(self, image: Image, *names: Reference) -> None:
        """Give an image more names; who had one of them before loses it."""
        notes = {HOST: image.root} if image.root else {}
        with self.reading():
            self.check(image)
            self.enter(image.manifest, names, notes)

    def enter(self, manifest: Descriptor, names: Sequence[Reference], notes: Json) -> None:
        """Enter a manifest in the index under `names`; without any it has no name.

        notes: annotations of the entry. An image that had one of the names keeps its others.
        """
        own = [{**notes, oci.NAME: str(name)} for name in names] or [notes]

        def change(entries: list[Json]) -> list[Json]:
            taken = {str(name) for name in names}
            nameless = [_nameless(each) if _name(each) in taken else each for each in entries]
            new = [manifest.json(**({"annotations": note} if note else {})) for note in own]
            return _tidy([*nameless, *new])

        self._change_index(change)

    def forget(self, image: Image, names: Sequence[Reference] | None = None) -> None:
        """Take names from an image; None: the image itself leaves the index."""
        gone = None if names is None else {str(name) for name in names}

        def leaves(entry: Json) -> bool:
            ours = self._image(entry).id == image.id
            return ours and (gone is None or _name(entry) in gone)

        def change(entries: list[Json]) -> list[Json]:
            return [each for each in entries if not leaves(each)]

        self._change_index(change)

    # --- Adding ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Nothing is removed from the store as long as the block lasts."""
        with self._content(shared=True):
            yield

    def _content(self, *, shared: bool, timeout: float | None = None) -> Lock:
        what = Words("镜像库", "the store of images")
        return hold(self._at("content.lock"), what, shared=shared, timeout=timeout)

    # --- Removing -------------------------------------------------------------------------------

    def prune(self) -> None:
        """Remove all content that the index does not lead to and that no container uses.

        If somebody is adding or reading, nothing is done: they do it when they are through.
        """
        try:
            lock = self._content(shared=False, timeout=0)
        except Taken:
            return
        with lock, held.make(self._at("ingest")) as trash:
            blobs, layers = self._needed()
            for name in {*os.listdir(self._at("blobs", "sha256"))} - blobs:  # half written ones too
                os.unlink(self._at("blobs", "sha256", name))
            for name in {*os.listdir(self._at("layers"))} - layers:
                os.rename(self._at("layers", name), trash.inside(name))

    def _needed(self) -> tuple[set[str], set[str]]:
        """The names of the blobs and of the layers that must stay."""
        blobs, layers = set(), set()
        for image in map(self._image, [*self._index(), *map(_entry_of, self.containers())]):
            blobs |= {image.manifest.digest, image.id, *(layer.digest for layer in image.layers)}
            layers |= {*image.diff_ids}
        return set(map(digests.sha256, blobs)), set(map(digests.sha256, layers))

    # --- Containers -----------------------------------------------------------------------------

    def containers(self) -> list[Json]:
        """What is written of each container that has a root made from an image of ours."""
        folders = held.names(self._at("containers"))
        found = (document.read(self._at("containers", name, "container.json")) for name in folders)
        return [each for each in found if each]

    @property
    def container_folders(self) -> str:
        """The folder in which each container has a held folder of its own."""
        return self._at("containers")

    @property
    def ingest(self) -> str:
        """The folder in which what is being made has held folders."""
        return self._at("ingest")


def opened() -> Store | None:
    """Labkit's own store, if there is one; nothing is made."""
    path = os.path.join(folder.where_lasting(), _IMAGES)
    return Store() if os.path.exists(os.path.join(path, "oci-layout")) else None


def _created(image: Image) -> str:
    return str(image.config.get("created"))


def _name(entry: Json) -> str:
    name: str = entry.get("annotations", {}).get(oci.NAME, "")
    return name


def _nameless(entry: Json) -> Json:
    notes = {key: value for key, value in entry["annotations"].items() if key != oci.NAME}
    return {**entry, "annotations": notes}


def _tidy(entries: list[Json]) -> list[Json]:
    """Without entries that stand twice, and without nameless ones of an image that has a name."""
    named = {each["digest"] for each in entries if _name(each)}
    found: dict[tuple[str, str], Json] = {}
    for each in entries:
        if _name(each) or each["digest"] not in named:
            found[each["digest"], _name(each)] = each
    return list(found.values())


def _entry_of(container: Json) -> Json:
    entry: Json = container["manifest"]
    return entry


def _without_tag(name: Reference) -> Reference:
    return Reference(name.domain, name.path, "", name.digest)


def _by_id(text: str, every: list[Image]) -> Image:
    digits = text.removeprefix("sha256:")
    found = [each for each in every if each.id.removeprefix("sha256:").startswith(digits)]
    if not digits or len(found) != 1:
        raise NoSuchImage(text)
    return found[0]
