"""The header of an entry in a tar archive: ustar, with PAX records where that is too small."""

import os

from labkit.images.tar import (
    CHARACTER,
    DISK,
    FILE,
    Entry,
)
from labkit.images.tar_fields import bad
from labkit.text.words import Words

BLOCK = 512
END = bytes(2 * BLOCK)
"""Two blocks of zeros end an archive."""

_PAX, _NANO = b"x", 10**9
_NAME = 100  # bytes of a name in the header itself
_SUM = slice(148, 156)


def header(entry: Entry) -> bytes:
    """The header of `entry`, after one of PAX if it needs that; its data follows."""
    records = _records(entry)
    if not records:
        return _ustar(entry)
    data = b"".join(_record(key, value) for key, value in sorted(records.items()))
    before = Entry(b"PaxHeaders/" + entry.name, _PAX, 0o644, 0, 0, len(data), 0, b"", 0, {})
    return _ustar(before) + padded(data) + _ustar(entry)


def padded(data: bytes) -> bytes:
    """`data`, filled up with zeros to whole blocks."""
    return data + bytes(-len(data) % BLOCK)


def _records(entry: Entry) -> dict[bytes, bytes]:
    """What of `entry` does not fit into ustar: pax(1)."""
    found = {b"SCHILY.xattr." + key: value for key, value in entry.xattrs.items()}
    if any(b"=" in key for key in found):
        raise bad(
            Words("扩展属性的名字里有 =，tar 存不下", "tar has no attribute whose name holds =")
        )
    texts = ((b"path", entry.name), (b"linkpath", entry.target))
    found |= {key: text for key, text in texts if len(text) > _NAME or not text.isascii()}
    numbers = ((b"uid", entry.uid, 7), (b"gid", entry.gid, 7), (b"size", entry.size, 11))
    found |= {key: b"%d" % value for key, value, digits in numbers if value >> 3 * digits}
    seconds, rest = divmod(abs(entry.mtime), _NANO)
    if rest or entry.mtime < 0 or seconds >> 33:
        fraction = b".%09d" % rest if rest else b""
        found[b"mtime"] = b"-" * (entry.mtime < 0) + b"%d" % seconds + fraction
    return found


def _record(key: bytes, value: bytes) -> bytes:
    """A record begins with its own length, which counts its digits too."""
    rest = len(key) + len(value) + len(b" =\n")
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _ustar(entry: Entry) -> bytes:
    device = entry.device if entry.kind in (CHARACTER, DISK) else 0
    block = b"".join(
        (
            entry.name[:_NAME].ljust(_NAME, b"\0"),
            _octal(entry.mode, 7),
            _octal(entry.uid, 7),
            _octal(entry.gid, 7),
            _octal(entry.size if entry.kind in (FILE, _PAX) else 0, 11),
            _octal(entry.mtime // _NANO, 11),
            b" " * 8,  # the checksum counts itself as spaces
            entry.kind,
            entry.target[:_NAME].ljust(_NAME, b"\0"),
            b"ustar\x0000".ljust(72, b"\0"),
            _octal(os.major(device), 7),
            _octal(os.minor(device), 7),
        )
    ).ljust(BLOCK, b"\0")
    return block[: _SUM.start] + b"%06o\0 " % sum(block) + block[_SUM.stop :]


def _octal(value: int, digits: int) -> bytes:
    """A number of a header; 0 for one that is too large and stands in a PAX record."""
    return b"%0*o\0" % (digits, 0 if value < 0 or value >> 3 * digits else value)
