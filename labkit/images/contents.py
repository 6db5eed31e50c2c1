"""The bytes of an archive, one after the other: decompressed, hashed and counted as they pass.

Two threads work beside the one that reads: one reads ahead and decompresses, one hashes what came
of it. zlib, zstd and hashlib let go of the interpreter's lock meanwhile.
"""

import hashlib
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, Self, TypeVar

from labkit.images.compression import Source, decompressed
from labkit.linux.refusal import begin
from labkit.text.words import Words

_AHEAD = 8  # chunks that may wait for the one who reads them


T = TypeVar("T")


class _Queue(Generic[T]):
    """A queue with room for so many. queue.Queue would take five times as long."""

    def __init__(self, room: int) -> None:
        self._items: SimpleQueue[T] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()
        for _ in range(room):
            self._room.put(None)

    def put(self, item: T) -> None:
        """Put `item` last, when there is room."""
        self._room.get()
        self._items.put(item)

    def get(self) -> T:
        """The first item, when there is one."""
        item = self._items.get()
        self._room.put(None)
        return item

    def open(self) -> None:
        """Let who waits for room go on; two more items fit in."""
        self._room.put(None)
        self._room.put(None)


class Hash:
    """The sha256 and the size of what passes; hashed in a thread of its own."""

    def __init__(self) -> None:
        self.size = 0
        self.digest = ""
        self._sha256 = hashlib.sha256()
        self._queue: _Queue[bytes | None] = _Queue(_AHEAD)
        self._thread = threading.Thread(target=self._work, daemon=True)
        begin(self._thread)

    def update(self, data: bytes) -> None:
        """Hash `data` too, after what came before."""
        self.size += len(data)
        self._queue.put(data)

    def finish(self) -> None:
        """End the thread; then `digest` is known."""
        self._queue.put(None)
        self._thread.join()
        self.digest = f"sha256:{self._sha256.hexdigest()}"

    def _work(self) -> None:
        while (data := self._queue.get()) is not None:
            self._sha256.update(data)


class Contents:
    """The decompressed bytes of `source`, at most `limit`, read once. Its block ends its threads.

    `at` is how many bytes were taken. After :meth:`finish`, `diff_id` is the digest of all of them;
    `digest` and `size` belong to the bytes as they came.
    """

    def __init__(self, source: Source, limit: int) -> None:
        self._limit = limit
        self.at = self.size = 0
        self.diff_id = self.digest = ""
        self._chunk, self._next = memoryview(b""), 0
        self._plain, self._came = Hash(), hashlib.sha256()
        self._queue: _Queue[bytes | Exception] = _Queue(_AHEAD)
        self._closed = self._ended = False
        self._thread = threading.Thread(target=self._work, args=(source,), daemon=True)
        try:
            begin(self._thread)
        except OSError:
            self._plain.finish()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._closed = True
        self._queue.open()
        self._thread.join()

    def pieces(self, count: int) -> Iterator[memoryview]:
        """The next `count` bytes, as they lie in memory. ValueError: there are fewer."""
        while count:
            if self._next == len(self._chunk) and not self._refill():
                raise ValueError(Words("归档在这里断了", "the archive breaks off here"))
            piece = self._chunk[self._next : self._next + count]
            self._next += len(piece)
            self.at += len(piece)
            count -= len(piece)
            yield piece

    def take(self, count: int) -> bytes:
        """The next `count` bytes. ValueError: there are fewer."""
        if self._next + count <= len(self._chunk):  # nearly always
            self._next += count
            self.at += count
            return bytes(self._chunk[self._next - count : self._next])
        return b"".join(self.pieces(count))

    def view(self, count: int) -> memoryview | None:
        """The next `count` bytes, as they lie in memory; None if they lie in several pieces."""
        end = self._next + count
        if end > len(self._chunk):
            return None
        found = self._chunk[self._next : end]
        self._next = end
        self.at += count
        return found

    def skip(self, count: int) -> None:
        """Pass over `count` bytes. ValueError: there are fewer."""
        if self._next + count <= len(self._chunk):
            self._next += count
            self.at += count
            return
        for _ in self.pieces(count):
            pass

    def finish(self) -> None:
        """Read the rest, which may hold zeros only; then the digests are known."""
        while self._next < len(self._chunk) or self._refill():
            if bytes(self._chunk[self._next :]).strip(b"\0"):
                raise ValueError(
                    Words("归档结束之后还有别的内容", "something follows the end of the archive")
                )
            self.at += len(self._chunk) - self._next
            self._next = len(self._chunk)
        self._thread.join()
        self.diff_id = self._plain.digest
        compressed = f"sha256:{self._came.hexdigest()}"
        self.digest = compressed if self.size else self.diff_id
        self.size = self.size or self._plain.size

    def _refill(self) -> bool:
        """Whether there is a next chunk."""
        if self._ended:
            return False
        found = self._queue.get()
        if isinstance(found, Exception):
            raise found
        if self.at + len(found) > self._limit:
            raise ValueError(
                Words(f"超过 {self._limit} 字节", f"it holds more than {self._limit} bytes")
            )
        self._chunk, self._next = memoryview(found), 0
        self._ended = not found
        return bool(found)

    # --- The thread that reads ahead ------------------------------------------------------------

    def _work(self, source: Source) -> None:
        end: bytes | Exception = b""
        try:
            for chunk in decompressed(source, self._see):
                self._plain.update(chunk)
                self._queue.put(chunk)
                if self._closed:
                    break
        except Exception as error:  # noqa: BLE001 - it is raised where the bytes are wanted
            end = error
        self._plain.finish()
        self._queue.put(end)

    def _see(self, data: bytes) -> None:
        self._came.update(data)
        self.size += len(data)
