"""The JSON documents of an image: manifest and configuration, read with suspicion, and written.

Sources: the OCI image specification, v1.1 (manifest.md, config.md, descriptor.md), and Docker's
image manifest, version 2, schema 2. The two differ in their media types alone.
"""

import time
from _collections_abc import Mapping, Sequence

from labkit.images import digest as digests
from labkit.images import platform
from labkit.images.compression import is_compressed
from labkit.linux.fields import dataclass
from labkit.python import json
from labkit.python.typing import Any
from labkit.text.words import Words

Json = dict[str, Any]

_OCI, _DOCKER = "application/vnd.oci.image.", "application/vnd.docker."
MANIFEST, INDEX = f"{_OCI}manifest.v1+json", f"{_OCI}index.v1+json"
CONFIG = f"{_OCI}config.v1+json"
TAR, GZIP, ZSTD = (f"{_OCI}layer.v1.tar{form}" for form in ("", "+gzip", "+zstd"))
MANIFESTS = {MANIFEST, f"{_DOCKER}distribution.manifest.v2+json"}
INDEXES = {INDEX, f"{_DOCKER}distribution.manifest.list.v2+json"}
NAME = "org.opencontainers.image.ref.name"
"""The annotation that holds a name of an image."""

_LAYERS = {TAR, GZIP, ZSTD} | {
    f"{_DOCKER}image.rootfs.diff.tar{form}" for form in ("", ".gzip", ".zstd")
}

LARGEST = 4 << 20  # bytes of a document: what registries and Docker take
_MOST_LAYERS = 500  # what overlay takes: OVL_MAX_STACK in the kernel's fs/overlayfs


@dataclass(frozen=True)
class Descriptor:
    """What a document says of another piece of content."""

    media: str
    digest: str
    size: int

    def json(self, **more: object) -> Json:
        """As it stands in a document."""
        return {"mediaType": self.media, "digest": self.digest, "size": self.size, **more}

    @classmethod
    def of(cls, media: str, content: bytes) -> "Descriptor":
        """The descriptor of `content`."""
        return cls(media, digests.of(content), len(content))


@dataclass(frozen=True)
class Manifest:
    """Which configuration and which layers an image has, the lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


def document(content: bytes, what: str) -> Json:
    """The JSON object in `content`; `what` it is, is said where it is none."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise wrong(what, Words("不是 JSON 对象", "it is not a JSON object"))
    return found


def wrong(what: str, why: Words) -> ValueError:
    """That a document is not what it should be."""
    return ValueError(Words("{}：{}", "{}: {}").filled(what, why))


def descriptor(found: object, what: str) -> Descriptor:
    """A descriptor as it stands in a document, checked."""
    if isinstance(found, dict):
        media, digest, size = found.get("mediaType", ""), found.get("digest"), found.get("size")
        whole = isinstance(size, int) and not isinstance(size, bool) and size >= 0
        if isinstance(media, str) and isinstance(digest, str) and whole:
            digests.sha256(digest)
            return Descriptor(media, digest, int(size or 0))
    raise wrong(
        what, Words("有一条不是合格的描述（descriptor）", "one of its descriptors is not valid")
    )


def manifest(content: bytes, what: str) -> Manifest:
    """Read a manifest of either kind. `what` it is called, for a refusal."""
    found = document(content, what)
    layers = found.get("layers")
    if not isinstance(layers, list) or len(layers) > _MOST_LAYERS:
        said = Words(
            f"一个镜像最多 {_MOST_LAYERS} 层", f"an image has at most {_MOST_LAYERS} layers"
        )
        raise wrong(what, said)
    return Manifest(
        descriptor(found.get("config"), what), tuple(descriptor(each, what) for each in layers)
    )


def check_layer(media: str) -> None:
    """Refuse a layer that is not a tar archive, plain or by gzip or zstd. "" is for finding out."""
    if media and media not in _LAYERS:
        raise ValueError(
            Words(f"不认得的层格式：{media}", f"unknown media type of a layer: {media}")
        )


def layer_media(start: bytes) -> str:
    """The media type of a layer that begins like this."""
    if not is_compressed(start):
        return TAR
    return GZIP if start.startswith(b"\x1f\x8b") else ZSTD


def write_manifest(config: Descriptor, layers: Sequence[Descriptor]) -> bytes:
    """A manifest's bytes."""
    return write(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.json(),
            "layers": [layer.json() for layer in layers],
        }
    )


def write(value: Mapping[str, object]) -> bytes:
    """A document's bytes: always the same for the same value, so that its digest is too."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def diff_ids(config: Json, what: str) -> tuple[str, ...]:
    """The digests of the layers' archives, as a configuration names them, the lowest first."""
    root = config.get("rootfs")
    found = root.get("diff_ids") if isinstance(root, dict) else None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise wrong(what, Words("rootfs.diff_ids 里没有各层的摘要", "rootfs.diff_ids is missing"))
    for each in found:
        digests.sha256(each)
    return tuple(found)


def new_config(
    layers: Sequence[str], settings: Mapping[str, object], history: Sequence[Json], **more: str
) -> Json:
    """A configuration for this machine's processor; `more` holds `created` and the like."""
    return {
        **more,
        "architecture": platform.here().architecture,
        "os": "linux",
        "config": dict(settings),
        "rootfs": {"type": "layers", "diff_ids": list(layers)},
        "history": list(history),
    }


def chain_ids(layers: Sequence[str]) -> list[str]:
    """What a layer is called together with those below it: "ChainID" in OCI's config.md."""
    chain: list[str] = []
    for layer in layers:
        chain.append(digests.of(f"{chain[-1]} {layer}".encode()) if chain else layer)
    return chain


def timestamp(seconds: float | None = None) -> str:
    """A time as RFC 3339 has it, in UTC: now, or `seconds` since 1970."""
    microseconds = time.time_ns() // 1000 if seconds is None else round(seconds * 10**6)
    whole, part = divmod(microseconds, 10**6)
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{part:06d}" * bool(part) + "Z"
    )
