"""An image from a registry: its manifest for one platform, and what that needs, verified.

Where layers are kept is not known here: the caller gives each a place (:class:`Blobs`).
"""

import io
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Protocol, TypeVar

from labkit.images import digest as digests
from labkit.images import oci, platform
from labkit.images.hosts import hosts
from labkit.images.http import Client, Refused, Unreachable
from labkit.images.oci import Descriptor, Manifest
from labkit.images.platform import Platform
from labkit.images.reference import TAG, Reference
from labkit.images.registry import Corrupt, Output, Repository, Stop, at_once
from labkit.linux.fields import dataclass, replace
from labkit.text.words import Words, add_words, words_of

WAITING, DOWNLOADING, VERIFYING = "Pulling fs layer", "Downloading", "Verifying Checksum"
DONE, THERE = "Download complete", "Already exists"
"""What becomes of a blob, in Docker's words."""

_DEEPEST = 3  # indexes below one another

Progress = Callable[[str, str, int, int], object]
"""Told of a blob: its digest, what becomes of it, how many bytes have come, of how many. Several
threads tell it."""


class Blobs(Protocol):
    """Where the layers of an image are kept. Several threads use it at once."""

    def expect(self, found: "Fetched", /) -> object:
        """Told what the image is, before the first of its layers is asked for."""

    def has(self, digest: str) -> bool:
        """Whether a layer is there, whole."""

    def writer(self, digest: str) -> AbstractContextManager[Output]:
        """A place for a layer. A block that ends well leaves it there: it has been verified."""


@dataclass(frozen=True)
class Fetched:
    """What a name has led to. manifest: of the image for the platform, and its content.

    digest: what the name stands for, perhaps an index of several platforms. config: the content of
    the configuration.
    """

    manifest: Descriptor
    content: bytes
    digest: str
    config: bytes = b""

    @property
    def read(self) -> Manifest:
        """What the manifest says."""
        return oci.manifest(self.content, self.manifest.digest)


def fetch(
    reference: Reference,
    blobs: Blobs,
    *,
    wanted: Platform | None = None,
    progress: Progress = lambda *_: None,
    mirrors: Sequence[str] | None = None,
    insecure: bool = False,
) -> Fetched:
    """Get an image: its manifest, its configuration, and its layers as far as they are missing.

    mirrors, insecure: see :func:`labkit.images.hosts.hosts`. Unreachable: no host answers; Refused:
    one says no; Corrupt: what came has not its digest; ValueError: it is not an image for us.
    """
    with ExitStack() as stack:
        asked = _Sources(reference, mirrors, insecure, stack)
        found = asked.first(lambda source: _manifest(source, reference, wanted or platform.here()))
        for layer in found.read.layers:
            oci.check_layer(layer.media)
        found = replace(found, config=asked.first(lambda source: _config(source, found)))
        blobs.expect(found)
        each = {about.digest: about for about in found.read.layers}
        _download(list(each.values()), asked, blobs, progress)
        return found


T = TypeVar("T")


class _Sources:
    """The repository at each host that has it, the first to be asked first."""

    def __init__(
        self,
        reference: Reference,
        mirrors: Sequence[str] | None,
        insecure: bool,
        stack: ExitStack,
    ) -> None:
        scope = f"repository:{reference.path}:pull"
        self._reference = reference
        self._left = [
            Repository(stack.enter_context(Client(host, scope)), reference.path)
            for host in hosts(reference.domain, mirrors=mirrors, insecure=insecure)
        ]

    def first(self, ask: Callable[[Repository], T]) -> T:
        """What `ask` gets from the first that has it. The last one's error, if none does."""
        failed: list[Exception] = []
        for source in self._left:
            try:
                return ask(source)
            except (Unreachable, Refused, Corrupt) as error:
                failed.append(error)
                if isinstance(error, Unreachable):  # once is enough: the others go on without it
                    self._left = [each for each in self._left if each != source] or self._left
        *before, last = failed
        if isinstance(last, Refused):
            last = _in_dockers_words(last, self._reference)
        for earlier in before:
            add_words(last, *words_of(earlier))
        raise last


def _manifest(source: Repository, reference: Reference, wanted: Platform) -> Fetched:
    """The manifest that a name leads to: through an index, the one for the platform wanted."""
    media, content = source.manifest(reference.digest or reference.tag or TAG)
    top = digests.of(content)
    for _ in range(_DEEPEST):
        found, digest = oci.document(content, reference.familiar), digests.of(content)
        media = _kind(found, media, reference)
        if media in oci.MANIFESTS:
            return Fetched(Descriptor(media, digest, len(content)), content, top)
        entry = platform.choose([e for e in found["manifests"] if isinstance(e, dict)], wanted)
        media, content = source.manifest(oci.descriptor(entry, digest).digest)
    raise ValueError(Words("索引套得太深", "indexes below one another, too deep"))


def _config(source: Repository, found: Fetched) -> bytes:
    """The content of the configuration."""
    out, about = io.BytesIO(), found.read.config
    if about.size > oci.LARGEST:
        raise oci.wrong(about.digest, Words("配置太大", "the configuration is too large"))
    source.download(about, out, lambda _: None, Stop())
    return out.getvalue()


def _kind(found: oci.Json, media: str, reference: Reference) -> str:
    """The media type of a manifest or index. It may not name its own, and may not be both.

    What looks like both could be shown to one reader as this, to another as that: CVE-2021-41190.
    """
    claimed = found.get("mediaType") or media
    is_index, is_manifest = "manifests" in found, "layers" in found or "config" in found
    known = oci.INDEXES if is_index else oci.MANIFESTS
    whole = not is_index or isinstance(found["manifests"], list)
    other = (oci.MANIFESTS | oci.INDEXES) - known
    if is_index == is_manifest or claimed in other or not whole:
        raise ValueError(
            Words(
                f"{reference.familiar} 不是认得的镜像（{claimed}）",
                f"{reference.familiar} is no image of a known kind ({claimed})",
            )
        )
    return claimed if claimed in known else oci.INDEX if is_index else oci.MANIFEST


def _download(
    needed: Sequence[Descriptor], sources: _Sources, blobs: Blobs, progress: Progress
) -> None:
    """Get several blobs at once. The first failure stops all of them."""
    stop = Stop()

    def one(about: Descriptor) -> None:
        if blobs.has(about.digest):
            progress(about.digest, THERE, about.size, about.size)
        else:
            sources.first(lambda source: _blob(source, about, blobs, progress, stop))

    for about in needed:
        progress(about.digest, WAITING, 0, about.size)
    at_once(needed, one, stop)


def _blob(
    source: Repository, about: Descriptor, blobs: Blobs, progress: Progress, stop: Stop
) -> None:
    """Get one blob from one host."""

    def seen(done: int) -> None:
        progress(about.digest, DOWNLOADING, done, about.size)

    with blobs.writer(about.digest) as out:
        source.download(about, out, seen, stop)
        progress(about.digest, VERIFYING, about.size, about.size)
        progress(about.digest, DONE, about.size, about.size)


def _in_dockers_words(error: Refused, reference: Reference) -> Refused:
    """What a registry says no to, as docker pull says it."""
    name = reference.familiar
    if error.status == 404 and error.code != "NAME_UNKNOWN":
        told = Words(f"没有 {name}：{{0}}", f"manifest for {name} not found: {{0}}")
    elif error.status in (401, 403, 404):
        told = Words(
            f"不能拉取 {reference.repository}：没有这个仓库，或者要先 docker login：{{0}}",
            f"pull access denied for {reference.repository}, repository does not exist or may "
            "require 'docker login': {0}",
        )
    else:
        return error
    return Refused(told.filled(error.told), error.status, error.code)
