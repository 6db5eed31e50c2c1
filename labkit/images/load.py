"""docker load: images from a file, as docker save, skopeo, umoci and podman write it.

A docker-archive has a `manifest.json`, an OCI layout an `index.json`. Where a file is both, as
Docker's are since version 25, it is read as a layout, since that keeps an image's digest.
"""

import json
from collections.abc import Iterator
from typing import BinaryIO

from labkit.images import bundle as bundles
from labkit.images import oci, platform, reference
from labkit.images.adding import Adding, Layer, adding, check_config
from labkit.images.bundle import Bundle
from labkit.images.oci import Descriptor, Json
from labkit.images.reference import Reference
from labkit.images.store import Store
from labkit.linux.fields import dataclass
from labkit.text.words import Words, words_of

_CONTAINERD_NAME = "io.containerd.image.name"
_MOST = 256  # images in one file
_DEEPEST = 4  # an index may lead to an index


@dataclass(frozen=True)
class Loaded:
    """An image that has been loaded: its ID, and the names that the file gives it."""

    id: str
    names: tuple[Reference, ...]


@dataclass(frozen=True)
class _Ready:
    """An image whose layers are in the store, and which is not in the index yet."""

    config: bytes
    layers: list[Layer]
    names: tuple[Reference, ...]
    manifest: bytes = b""


def load(store: Store, source: str | BinaryIO) -> list[Loaded]:
    """Load all images of a file, or of a folder that is an OCI layout; all of them or none.

    ValueError: it is damaged, or no file of images.
    """
    with adding(store) as into, bundles.opened(source, into.beside) as bundle:
        if bundles.has(bundle, "index.json"):
            found = list(_layout(into, bundle))
        elif bundles.has(bundle, "manifest.json"):
            found = list(_docker_archive(into, bundle))
        else:
            raise ValueError(
                Words(
                    "不是镜像的归档：里面既没有 manifest.json，也没有 index.json",
                    "not an archive of images: it has neither manifest.json nor index.json",
                )
            )
        return _enter(into, found)


def _enter(into: Adding, found: list[_Ready]) -> list[Loaded]:
    """Enter the images in the index. A file may have an entry for each name of an image."""
    names: dict[str, tuple[Reference, ...]] = {}
    for each in found:
        image = into.image(each.config, each.layers, each.names, each.manifest)
        names[image] = (*names.get(image, ()), *each.names)
    return [Loaded(*each) for each in names.items()]


def _layer(into: Adding, file: BinaryIO, about: Descriptor, diff_id: str, name: str) -> Layer:
    """Add a layer; what is wrong with it is said with its name."""
    with file:
        try:
            return into.layer(about.media, file, diff_id, about.digest)
        except ValueError as error:
            raise oci.wrong(name, *words_of(error)[:1]) from None


# --- docker-archive -----------------------------------------------------------------------------


def _docker_archive(into: Adding, bundle: Bundle) -> Iterator[_Ready]:
    try:
        listed = json.loads(bundles.read(bundle, "manifest.json"))
    except (ValueError, RecursionError):
        listed = None
    if not isinstance(listed, list) or len(listed) > _MOST:
        raise oci.wrong("manifest.json", Words("不是镜像的清单", "it is no list of images"))
    for each in listed:
        config, layers, tags = _parts(each)
        content = bundles.read(bundle, config)
        diff_ids = oci.diff_ids(oci.document(content, config), config)
        check_config(content, diff_ids if len(diff_ids) == len(layers) else layers)
        ready = [
            _layer(into, bundles.needed(bundle, layer), Descriptor("", "", 0), diff_id, layer)
            for layer, diff_id in zip(layers, diff_ids, strict=True)
        ]
        yield _Ready(content, ready, tuple(map(_tag, tags)))


def _parts(found: object) -> tuple[str, list[str], list[str]]:
    """An entry of manifest.json: the configuration, the layers, the names."""
    if isinstance(found, dict):
        config, layers, tags = found.get("Config"), found.get("Layers"), found.get("RepoTags")
        if isinstance(config, str) and _are_texts(layers or []) and _are_texts(tags or []):
            return config, layers or [], tags or []
    raise oci.wrong("manifest.json", Words("有一项不完整", "an entry is not complete"))


def _are_texts(found: object) -> bool:
    return isinstance(found, list) and all(isinstance(each, str) for each in found)


def _tag(text: str) -> Reference:
    name = reference.parse(text).tagged()
    if name.digest:
        raise ValueError(Words(f"标签不对：{text!r}", f'invalid tag "{text}"'))
    return name


# --- OCI layout ---------------------------------------------------------------------------------


def _layout(into: Adding, bundle: Bundle) -> Iterator[_Ready]:
    index = oci.document(bundles.read(bundle, "index.json"), "index.json")
    for entry in _entries(index, "index.json"):
        about = oci.descriptor(entry, "index.json")
        yield _image(into, bundle, _manifest(bundle, about), _names(entry))


def _entries(index: Json, what: str) -> list[Json]:
    found = index.get("manifests")
    if not isinstance(found, list) or len(found) > _MOST:
        raise oci.wrong(what, Words("没有 manifests", "it has no manifests"))
    for each in found:
        oci.descriptor(each, what)
    return found


def _manifest(bundle: Bundle, about: Descriptor, depth: int = 0) -> bytes:
    """The manifest for this machine: an index has one for each sort."""
    content = bundles.checked(bundle, about)
    found = oci.document(content, about.digest)
    if "manifests" not in found:
        return content
    if depth == _DEEPEST:
        raise oci.wrong(about.digest, Words("索引套得太深", "an index in an index in an index"))
    entry = platform.choose(_entries(found, about.digest), platform.here())
    return _manifest(bundle, oci.descriptor(entry, about.digest), depth + 1)


def _image(into: Adding, bundle: Bundle, manifest: bytes, names: tuple[Reference, ...]) -> _Ready:
    what = "manifest"
    read = oci.manifest(manifest, what)
    config = bundles.checked(bundle, read.config)
    diff_ids = oci.diff_ids(oci.document(config, read.config.digest), read.config.digest)
    check_config(config, diff_ids if len(diff_ids) == len(read.layers) else [""] * len(read.layers))
    layers = [
        _layer(into, bundles.blob(bundle, layer), layer, diff_id, layer.digest)
        for layer, diff_id in zip(read.layers, diff_ids, strict=True)
    ]
    return _Ready(config, layers, names, manifest)


def _names(entry: Json) -> tuple[Reference, ...]:
    """The name that an entry of the index has. A mere tag, as umoci writes it, is none."""
    notes = entry.get("annotations")
    if not isinstance(notes, dict):
        return ()
    for key in (_CONTAINERD_NAME, oci.NAME):
        text = notes.get(key)
        if isinstance(text, str) and (key == _CONTAINERD_NAME or set(text) & set("/:")):
            return (_tag(text),)
    return ()
