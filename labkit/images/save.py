"""docker save: images into one file that is a docker-archive and an OCI layout at once.

So does Docker since version 25. Each blob stands in it once, as it came, so digests are kept.
"""

import io
import json
import os
import tarfile
from collections.abc import Sequence
from typing import BinaryIO

from labkit.images import oci, reference
from labkit.images.oci import Json
from labkit.images.reference import Reference
from labkit.images.store import Image, NoSuchImage, Store
from labkit.text.words import Words

_Chosen = tuple[Image, list[Reference]]
_CONTAINERD_NAME = "io.containerd.image.name"


def save(store: Store, texts: Sequence[str], out: BinaryIO) -> None:
    """Write the images of these names or IDs to a file. A name without a tag means all of its tags.

    NoSuchImage or ValueError: nothing has been written.
    """
    with store.reading():
        chosen = _choose(store, texts)
        with tarfile.open(fileobj=out, mode="w|", format=tarfile.GNU_FORMAT) as tar:
            for name in ("blobs", "blobs/sha256"):
                tar.addfile(_entry(name, tarfile.DIRTYPE, 0o755))
            for digest in sorted({digest for image, _ in chosen for digest in _digests(image)}):
                _add_blob(tar, store, digest)
            _add(tar, "index.json", oci.write(_index(chosen)))
            _add(tar, "manifest.json", json.dumps(_manifest(chosen)).encode())
            _add(tar, "oci-layout", oci.write({"imageLayoutVersion": "1.0.0"}))


def _choose(store: Store, texts: Sequence[str]) -> list[_Chosen]:
    """The images that are meant, each once, and the names that each is saved under."""
    chosen: dict[str, _Chosen] = {}
    for text in texts:
        for image, names in _meant(store, text):
            if image.root:
                raise ValueError(
                    Words(
                        f"{text} 就是这台机器自己的根目录，没有可保存的层",
                        f"{text} is this machine's own root: it has no layers to save",
                    )
                )
            _, known = chosen.setdefault(image.id, (image, []))
            known += [name for name in names if name not in known]
    return [*chosen.values()]


def _meant(store: Store, text: str) -> list[_Chosen]:
    """The images that `text` means, each with the names that it is saved under."""
    if not reference.is_id(text):
        name = reference.parse(text)
        if not name.tag and not name.digest:
            every = [(image, _of_repository(image, name)) for image in store.images()]
            if found := [(image, names) for image, names in every if names]:
                return found
            return [(_find(store, text, f"No such image: {text}"), [])]
        image = _find(store, text, "reference does not exist")
        if name in image.names:
            return [(image, [name] if name.tag and not name.digest else [])]
    return [(store.find(text), [])]


def _find(store: Store, text: str, said: str) -> Image:
    """The image of a name; docker save has words of its own for one that is not there."""
    try:
        return store.find(text)
    except NoSuchImage:
        raise ValueError(Words(f"没有这个镜像：{text}", said)) from None


def _of_repository(image: Image, name: Reference) -> list[Reference]:
    return [tag for tag in image.tags if (tag.domain, tag.path) == (name.domain, name.path)]


def _digests(image: Image) -> list[str]:
    return [image.manifest.digest, image.id, *(layer.digest for layer in image.layers)]


def _index(chosen: list[_Chosen]) -> Json:
    entries = []
    for image, names in chosen:
        notes = [{_CONTAINERD_NAME: str(name), oci.NAME: name.tag} for name in names]
        about = image.manifest
        entries += [about.json(annotations=note) for note in notes] or [about.json()]
    return {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": entries}


def _manifest(chosen: list[_Chosen]) -> list[Json]:
    return [
        {
            "Config": _path(image.id),
            "RepoTags": [name.familiar for name in names] or None,
            "Layers": [_path(layer.digest) for layer in image.layers],
        }
        for image, names in chosen
    ]


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _add_blob(tar: tarfile.TarFile, store: Store, digest: str) -> None:
    with open(store.blob(digest), "rb") as file:
        entry = _entry(_path(digest), tarfile.REGTYPE, 0o644)
        entry.size = os.fstat(file.fileno()).st_size
        tar.addfile(entry, file)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = _entry(name, tarfile.REGTYPE, 0o644)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    """An entry whose owner and time say nothing, so that the same images make the same file."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry
