"""A tar archive, entry by entry: ustar with what GNU and POSIX (PAX) have added. tar(5), pax(1).

Where the formats leave a choice, this reads as Go's archive/tar does, and so as Docker does.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Protocol

from labkit.images.sparse import Region, checked, own_map, pax_map
from labkit.images.tar_fields import (
    Records,
    bad,
    decimal,
    nanoseconds,
    number,
    records,
    text,
)
from labkit.text.words import Words

FILE, LINK, SYMLINK, CHARACTER, DISK, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
"""What an entry may be, as its header says it."""

_V7_FILE, _CONTIGUOUS, _SPARSE = b"\0", b"7", b"S"
_FILES = frozenset((FILE, _V7_FILE, _CONTIGUOUS, _SPARSE))
_NO_DATA = frozenset((LINK, SYMLINK, CHARACTER, DISK, DIRECTORY, FIFO))
_LONG_NAME, _LONG_TARGET, _PAX, _PAX_FOR_ALL = b"L", b"K", b"x", b"g"
_FOR_THE_NEXT = frozenset((_LONG_NAME, _LONG_TARGET, _PAX, _PAX_FOR_ALL))

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_HEADER = Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12s")
_SUM = slice(148, 156)  # where the checksum stands; it counts as spaces
_LONGEST = 1 << 20  # bytes of long names and PAX records: Go's reader has the same bound
_NO_ID = (1 << 32) - 1  # (uid_t) -1 means "leave it as it is"
_OFF_T = 1 << 63  # time_t has as many bits
_NANO = 10**9
_XATTR = b"SCHILY.xattr."


class Stream(Protocol):
    """What an archive is read from: `at` is how many bytes have been taken and skipped."""

    at: int

    def take(self, count: int) -> bytes:
        """The next `count` bytes. ValueError: there are fewer."""

    def skip(self, count: int) -> None:
        """Pass over `count` bytes."""


@dataclass(slots=True)
class Entry:
    """One entry. size is that of the file; regions: where its stored data goes, if it has holes."""

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int  # nanoseconds
    target: bytes
    device: int
    xattrs: dict[bytes, bytes]
    regions: list[Region] | None = None


class Reader:
    """The entries of a tar archive. `name` is that of the entry being read, for an error."""

    def __init__(self, contents: Stream) -> None:
        self.name = b""
        self._contents = contents
        self._long: dict[bytes, bytes] = {}  # what headers before the entry's own have said
        self._records: Records = []

    def __iter__(self) -> Iterator[Entry]:
        """Each entry; meanwhile what is stored of its data can be taken from the contents."""
        contents = self._contents
        while (block := contents.take(_BLOCK)) != _ZEROS:
            entry = self._header(block)
            if entry.kind in _FOR_THE_NEXT:
                self._note(entry)
                continue
            if self._long or self._records:
                self._complete(entry)
            end = self._find_holes(entry, block)
            if entry.kind == _V7_FILE and entry.name.endswith(b"/"):
                entry.kind = DIRECTORY
            elif entry.kind in _FILES:
                entry.kind = FILE
            yield entry
            contents.skip(end - contents.at)

    def _header(self, block: bytes) -> Entry:
        """What one header says by itself."""
        self.name = text(block[:100])
        if not _sum_is_right(block):
            raise bad(Words("头损坏，或者这不是 tar", "a header is damaged, or this is no tar"))
        name, mode, uid, gid, size, mtime, _, kind, target, magic, _, _, major, minor, prefix, _ = (
            _HEADER.unpack(block)
        )
        name = text(name)
        if prefix[0] and magic.startswith(b"ustar\0"):
            name = text(prefix[:131] if block.endswith(b"tar\0") else prefix) + b"/" + name
        self.name = name
        return Entry(
            name=name,
            kind=kind,
            mode=number(mode) & 0o7777,
            uid=_below(_NO_ID, number(uid)),
            gid=_below(_NO_ID, number(gid)),
            size=0 if kind in _NO_DATA else _below(_OFF_T, number(size)),
            mtime=_time(number(mtime) * _NANO),
            target=text(target),
            device=_device(major, minor) if kind in (CHARACTER, DISK) else 0,
            xattrs={},
        )

    def _note(self, entry: Entry) -> None:
        """Keep what a header says about the entry that follows it."""
        if entry.size > _LONGEST:
            raise bad(Words("扩展头太长", "an extended header is too long"))
        data = self._contents.take(entry.size)
        self._contents.skip(-entry.size % _BLOCK)
        if entry.kind == _PAX:
            self._records = records(data)
        elif entry.kind != _PAX_FOR_ALL:  # Docker passes over those
            self._long[entry.kind] = text(data)

    def _complete(self, entry: Entry) -> None:
        """Add what the headers before it have said."""
        for key, value in self._records:
            if key.startswith(_XATTR):
                entry.xattrs[key.removeprefix(_XATTR)] = value
            elif value and key in _KEYWORDS:
                _KEYWORDS[key](entry, value)
        entry.name = self._long.get(_LONG_NAME) or entry.name
        entry.target = self._long.get(_LONG_TARGET) or entry.target
        self.name = entry.name
        if entry.kind in _NO_DATA:
            entry.size = 0

    def _find_holes(self, entry: Entry, block: bytes) -> int:
        """Where the data of `entry` ends; if the file has holes, its regions and its own size."""
        contents, found = self._contents, None
        if entry.kind == _SPARSE:
            found = own_map(block, contents.take)
        end = contents.at + entry.size
        if entry.kind in _FILES and self._records:
            found = found or pax_map(self._records, contents.take)
        if found:
            entry.regions, size = found
            checked(entry.regions, size, end - contents.at)
            entry.size = size
        self._long, self._records = {}, []
        return end + -end % _BLOCK  # headers and data fill whole blocks


def _sum_is_right(block: bytes) -> bool:
    """Whether a header holds the sum of its bytes. Some old programs took bytes as signed."""
    field = block[_SUM]
    found = sum(block) - sum(field) + len(field) * ord(" ")
    try:
        wanted = number(field)
    except ValueError:
        return False
    if wanted == found:
        return True
    high = sum(byte > 127 for byte in block) - sum(byte > 127 for byte in field)
    return wanted == found - 256 * high


def _below(bound: int, value: int) -> int:
    if not 0 <= value < bound:
        raise bad(Words(f"{value} 超出了范围", f"{value} is out of range"))
    return value


def _time(value: int) -> int:
    _below(2 * _OFF_T, value // _NANO + _OFF_T)  # time_t
    return value


def _device(major: bytes, minor: bytes) -> int:
    """A device number, as the kernel takes it: 12 bits and 20 bits."""
    return os.makedev(_below(1 << 12, number(major)), _below(1 << 20, number(minor)))


def _set(field: str, read: Callable[[bytes], object]) -> Callable[[Entry, bytes], None]:
    return lambda entry, value: setattr(entry, field, read(value))


_KEYWORDS: dict[bytes, Callable[[Entry, bytes], None]] = {
    b"path": _set("name", bytes),
    b"GNU.sparse.name": _set("name", bytes),
    b"linkpath": _set("target", bytes),
    b"uid": _set("uid", lambda value: _below(_NO_ID, decimal(value))),
    b"gid": _set("gid", lambda value: _below(_NO_ID, decimal(value))),
    b"size": _set("size", lambda value: _below(_OFF_T, decimal(value))),
    b"mtime": _set("mtime", lambda value: _time(nanoseconds(value))),
}
