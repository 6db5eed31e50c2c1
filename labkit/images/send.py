"""An image to a registry: its blobs, unless they are there, and then its manifest."""

from collections.abc import Callable, Sequence
from typing import BinaryIO, Protocol

from labkit.images import oci
from labkit.images.hosts import hosts
from labkit.images.http import Client, Refused
from labkit.images.oci import Descriptor
from labkit.images.reference import TAG, Reference
from labkit.images.registry import Repository, Stop, at_once
from labkit.text.words import Words

WAITING, PUSHING = "Preparing", "Pushing"
DONE, THERE = "Pushed", "Layer already exists"
"""What becomes of a blob, in Docker's words."""

Progress = Callable[[str, str, int, int], object]
"""Told of a blob: its digest, what becomes of it, how many bytes have gone, of how many. Several
threads tell it."""


class Blobs(Protocol):
    """Where blobs are kept. Several threads use it at once."""

    def open(self, digest: str) -> BinaryIO:
        """A blob, to be read and closed."""


def send(
    reference: Reference,
    content: bytes,
    media: str,
    blobs: Blobs,
    *,
    progress: Progress = lambda *_: None,
    insecure: bool = False,
) -> Descriptor:
    """Send an image: the `content` and media type of its manifest, and what that names.

    insecure: as with hosts(). Unreachable: the host does not answer; Refused: it says no.
    """
    (host,) = hosts(reference.domain, mirrors=(), insecure=insecure)
    read = oci.manifest(content, reference.familiar)
    layers = list({about.digest: about for about in read.layers}.values())
    try:
        with Client(host, f"repository:{reference.path}:pull,push") as client:
            repository = Repository(client, reference.path)
            _upload(layers, repository, blobs, progress)
            _upload([read.config], repository, blobs, lambda *_: None)
            repository.put_manifest(reference.tag or TAG, media, content)
    except Refused as error:
        raise _in_dockers_words(error) from error
    return Descriptor.of(media, content)


def _upload(
    needed: Sequence[Descriptor], repository: Repository, blobs: Blobs, progress: Progress
) -> None:
    """Send several blobs at once. The first failure stops all of them."""
    stop = Stop()
    for about in needed:
        progress(about.digest, WAITING, 0, about.size)
    at_once(needed, lambda about: _blob(repository, about, blobs, progress, stop), stop)


def _blob(
    repository: Repository, about: Descriptor, blobs: Blobs, progress: Progress, stop: Stop
) -> None:
    """Send one blob, unless it is there."""
    if repository.has(about.digest):
        progress(about.digest, THERE, about.size, about.size)
        return
    with blobs.open(about.digest) as file:
        repository.upload(about, _Watched(file, about, progress, stop))
    progress(about.digest, DONE, about.size, about.size)


class _Watched:
    """A file that tells how much of it has been read."""

    def __init__(self, file: BinaryIO, about: Descriptor, progress: Progress, stop: Stop) -> None:
        self._file, self._about, self._progress, self._stop = file, about, progress, stop

    def read(self, size: int = -1) -> bytes:
        """As of the file. InterruptedError: `stop` was set."""
        self._stop.check()
        data = self._file.read(size)
        self._progress(self._about.digest, PUSHING, self._file.tell(), self._about.size)
        return data

    def seek(self, place: int) -> int:
        """As of the file."""
        return self._file.seek(place)


def _in_dockers_words(error: Refused) -> Refused:
    """What a registry says no to, as docker push says it."""
    if error.status not in (401, 403):
        return error
    told = Words(
        "不能推送到这个仓库，也许要先 docker login：{0}",
        "denied: requested access to the resource is denied (docker login?): {0}",
    )
    return Refused(told.filled(error.told), error.status, error.code)
