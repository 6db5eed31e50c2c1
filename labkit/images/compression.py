"""What a layer is compressed with is told by its first bytes: gzip, zstd, or nothing."""

import sys
from _collections_abc import Callable, Generator, Iterator

from labkit.python.typing import Protocol
from labkit.text.words import Words

CHUNK = 1 << 19
"""Bytes that are read, decompressed or hashed at once: they fit a processor's cache."""

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)  # frames of zstd that hold no data: RFC 8878, 3.1.2
_MAGIC = 4  # bytes that tell
_GZIP_FORM = 31  # for zlib: with the header and trailer of gzip


class Source(Protocol):
    """Whatever gives bytes: a file, a pipe, the answer of a registry."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


class Decompressor(Protocol):
    """What one member of gzip and one frame of zstd have in common."""

    @property
    def eof(self) -> bool:
        """Whether its end has been seen."""

    @property
    def unused_data(self) -> bytes:
        """What came after that end."""

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        """At most `max_length` bytes of what `data`, and what is left of earlier data, holds."""


class _Gzip:
    """zlib wants what it has left unused once more; zstd keeps it."""

    def __init__(self) -> None:
        import zlib  # who only names layers does without

        self._zlib = zlib.decompressobj(_GZIP_FORM)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


def _zstd() -> Decompressor:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    return zstd.ZstdDecompressor()


def is_compressed(start: bytes) -> bool:
    """Whether data that begins like this is compressed."""
    return _format(start) is not None


def decompressed(source: Source, seen: Callable[[bytes], object]) -> Iterator[bytes]:
    """The chunks that `source` holds. `seen` is called with each part of compressed data.

    ValueError: they are damaged, or end too early.
    """
    first = _read(source)
    if _format(first):
        seen(first)
        yield from _members(first, lambda: _see(_read(source), seen))
        return
    while first:
        yield first
        first = _read(source)


def _see(data: bytes, seen: Callable[[bytes], object]) -> bytes:
    seen(data)
    return data


def _members(chunk: bytes, read: Callable[[], bytes]) -> Iterator[bytes]:
    """The chunks of members of gzip, or frames of zstd: several may follow one another."""
    while chunk:
        if len(chunk) < _MAGIC:
            chunk += read()
        if not chunk.strip(b"\0"):  # a tape's last block is filled up
            chunk = read()
        elif make := _format(chunk):
            chunk = yield from _member(make(), chunk, read)
        else:
            raise ValueError(
                Words("压缩的数据之后还有别的内容", "something follows the compressed data")
            )


def _read(source: Source) -> bytes:
    """A whole chunk, though a pipe gives less at a time; less than that at the end."""
    data = source.read(CHUNK)
    while 0 < len(data) < CHUNK and (more := source.read(CHUNK - len(data))):
        data += more
    return data


def _format(data: bytes) -> Callable[[], Decompressor] | None:
    if data.startswith(_GZIP):
        return _Gzip
    zstd = data.startswith(_ZSTD) or int.from_bytes(data[:_MAGIC], "little") in _SKIPPABLE
    return _zstd if zstd else None


def _member(
    member: Decompressor, data: bytes, read: Callable[[], bytes]
) -> Generator[bytes, None, bytes]:
    """The chunks of one member or frame, which begins with `data`; returns what came after it."""
    while True:
        try:
            chunk = member.decompress(data, CHUNK)
        except Exception as error:
            raise ValueError(
                Words(f"压缩的数据损坏了：{error}", f"the compressed data is damaged: {error}")
            ) from error
        if chunk:
            yield chunk
        if member.eof:
            return member.unused_data
        data = b"" if chunk else read()
        if not chunk and not data:
            raise ValueError(Words("压缩的数据不完整", "the compressed data is cut off"))
