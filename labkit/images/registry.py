"""What a registry has of one repository: manifests and blobs, asked for and sent.

Source: the OCI distribution specification, v1.1. Docker's registry speaks the same.
"""

import hashlib
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Protocol
from urllib.parse import urlencode, urlsplit, urlunsplit

from urllib3.exceptions import HTTPError

from labkit.images import digest as digests
from labkit.images import oci
from labkit.images.http import Client, Input, Response, Unreachable, check, read, unreachable
from labkit.images.oci import Descriptor
from labkit.text.words import Words

_CHUNK = 1 << 18
_AT_ONCE = 3  # blobs: as many as with Docker
_TURN = 0.2  # seconds
_TRIES, _PAUSE = 5, 0.1  # times without a byte more; seconds, doubled each time
_ACCEPT = ", ".join(sorted(oci.MANIFESTS | oci.INDEXES))


class Output(Protocol):
    """Takes the bytes of a blob."""

    def write(self, data: bytes, /) -> object:
        """Take all of `data`."""


class Corrupt(ValueError):  # noqa: N818 - it says what it is
    """The content has not the digest that it was asked for by."""

    def __init__(self, wanted: str, found: str) -> None:
        super().__init__(
            Words(
                f"内容与摘要不符：应是 {wanted}，实际是 {found}",
                f"the content does not have its digest: expected {wanted}, got {found}",
            )
        )


class Stop:
    """Stops downloads of other threads, also those that wait for bytes."""

    def __init__(self) -> None:
        self._set = threading.Event()
        self._open: set[Response] = set()
        self._lock = threading.Lock()

    def set(self) -> None:
        """Stop them."""
        with self._lock:
            self._set.set()
            for response in self._open:
                with suppress(OSError, ValueError, RuntimeError):  # it has just ended
                    response.shutdown()

    def check(self, seconds: float = 0) -> None:
        """Raise InterruptedError if it is set, at the latest after so many seconds."""
        if self._set.wait(seconds):
            raise InterruptedError

    @contextmanager
    def over(self, response: Response) -> Iterator[None]:
        """Within the block, `response` is stopped too."""
        try:
            with self._lock:
                self.check()
                self._open.add(response)
            yield
        finally:
            with self._lock:
                self._open.discard(response)
            response.close()


def at_once(needed: Sequence[Descriptor], work: Callable[[Descriptor], object], stop: Stop) -> None:
    """Do `work` for several blobs at the same time. The first failure stops all of it."""
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        begun = {pool.submit(work, about) for about in needed}
        left = begun
        while left:  # in turns: Python does not see a Ctrl-C that comes right before it waits
            done, left = wait(begun, _TURN, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


class Repository:
    """One repository of a host. All methods raise Unreachable and Refused."""

    def __init__(self, client: Client, path: str) -> None:
        self._client, self._path = client, path

    # --- From it --------------------------------------------------------------------------------

    def manifest(self, name: str) -> tuple[str, bytes]:
        """The media type and the content of a manifest or index, by its tag or digest."""
        path = f"{self._path}/manifests/{name}"
        response = check(self._client.ask("GET", path, {"Accept": _ACCEPT}))
        media = response.headers.get("Content-Type", "").partition(";")[0].strip()
        content = read(response, oci.LARGEST)
        wanted = name if ":" in name else response.headers.get("Docker-Content-Digest", "")
        if wanted.startswith("sha256:") and digests.of(content) != wanted:
            raise Corrupt(wanted, digests.of(content))
        return media, content

    def download(
        self, about: Descriptor, out: Output, seen: Callable[[int], object], stop: Stop
    ) -> None:
        """Copy a blob to `out`. `seen` is told how much of it has come.

        When the connection breaks, it goes on from there. Corrupt: what came is something else, and
        `out` has it. InterruptedError: `stop` was set.
        """
        hashed, done, failures = hashlib.sha256(), 0, 0
        while done < about.size:
            try:
                for data in self._bytes(about, done, stop):
                    out.write(data)
                    hashed.update(data)
                    done += len(data)
                    failures = 0
                    seen(done)
            except Unreachable:
                failures += 1
                stop.check(_PAUSE * 2**failures)
                if failures == _TRIES:
                    raise
        if (found := f"sha256:{hashed.hexdigest()}") != about.digest:
            raise Corrupt(about.digest, found)

    def _bytes(self, about: Descriptor, start: int, stop: Stop) -> Iterator[bytes]:
        """The bytes of a blob from `start` on. Unreachable: they break off."""
        asked = {"Range": f"bytes={start}-"} if start else {}
        path = f"{self._path}/blobs/{about.digest}"
        response = check(self._client.ask("GET", path, asked))
        skip = start if response.status == 200 else 0  # it does not know of ranges
        left = about.size - start
        with stop.over(response):
            while left:
                try:
                    data = response.read(_CHUNK)
                except HTTPError as error:
                    raise unreachable(response.url or "", error) from error
                if not data:
                    raise unreachable(response.url or "", EOFError("it is cut off"))
                new, skip = data[skip:][:left], max(skip - len(data), 0)
                left -= len(new)
                if new:
                    yield new

    # --- To it ----------------------------------------------------------------------------------

    def has(self, digest: str) -> bool:
        """Whether there is a blob of that digest."""
        response = self._client.ask("HEAD", f"{self._path}/blobs/{digest}")
        if response.status == 404:
            response.close()
            return False
        check(response).close()
        return True

    def upload(self, about: Descriptor, source: Input) -> None:
        """Send a blob; `source` can be rewound."""
        started = check(self._client.ask("POST", f"{self._path}/blobs/uploads/"))
        place = urlsplit(str(started.headers["Location"]))
        read(started)
        query = "&".join(filter(None, (place.query, urlencode({"digest": about.digest}))))
        headers = {"Content-Type": "application/octet-stream", "Content-Length": f"{about.size}"}
        url = urlunsplit(place._replace(query=query))
        read(check(self._client.ask("PUT", url, headers, source)))

    def put_manifest(self, name: str, media: str, content: bytes) -> None:
        """Send a manifest, whose blobs are there, under a tag or its digest."""
        path = f"{self._path}/manifests/{name}"
        headers = {"Content-Type": media, "Content-Length": f"{len(content)}"}
        read(check(self._client.ask("PUT", path, headers, io.BytesIO(content))))
