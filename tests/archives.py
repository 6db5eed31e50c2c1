"""Archives for tests: honest ones by tar(1), others byte by byte; and trees to compare."""

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

BLOCK = 512
END = bytes(2 * BLOCK)


def octal(value: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, value)


def header(
    name: bytes,
    kind: bytes = b"0",
    data: bytes = b"",
    *,
    link: bytes = b"",
    mode: int = 0o644,
    device: tuple[int, int] = (0, 0),
    fields: Mapping[str, bytes] | None = None,
) -> bytes:
    """An entry with its data; `fields` are written as they are, whatever they mean."""
    values = {
        "name": name,
        "mode": octal(mode, 8),
        "uid": octal(0, 8),
        "gid": octal(0, 8),
        "size": octal(len(data), 12),
        "mtime": octal(1, 12),
        "sum": b" " * 8,
        "kind": kind,
        "link": link,
        "magic": b"ustar\x0000",
        "names": b"",
        "major": octal(device[0], 8),
        "minor": octal(device[1], 8),
        "prefix": b"",
    }
    widths = (100, 8, 8, 8, 12, 12, 8, 1, 100, 8, 64, 8, 8, 155)
    values |= fields or {}
    block = b"".join(v[:w].ljust(w, b"\0") for v, w in zip(values.values(), widths, strict=True))
    block = block.ljust(BLOCK, b"\0")
    if "sum" not in (fields or {}):
        block = block[:148] + b"%06o\0 " % sum(block) + block[156:]
    return block + data + bytes(-len(data) % BLOCK)


def record(key: bytes, value: bytes) -> bytes:
    """A record of a PAX header."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest + len(str(rest))))
    return b"%d %b=%b\n" % (length, key, value)


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    """A PAX header, to stand before an entry."""
    return header(b"PaxHeaders/x", kind, b"".join(record(*each) for each in records))


def attributes(path: Path) -> dict[str, bytes]:
    names = os.listxattr(path, follow_symlinks=False)
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def looks(path: Path) -> tuple[object, ...]:
    """What a layer keeps of a file."""
    found = path.lstat()
    kind = stat.S_IFMT(found.st_mode)
    content: object = None
    if kind == stat.S_IFLNK:
        content = os.readlink(path)
    elif kind == stat.S_IFREG:
        content = found.st_size, hashlib.sha256(path.read_bytes()).hexdigest()
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        content = found.st_rdev
    return oct(found.st_mode), found.st_uid, found.st_gid, content, attributes(path)


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """All that is below `root`: looks, time, and which names are one file."""
    firsts: dict[int, str] = {}
    found = {}
    for path in [root, *sorted(root.rglob("*"))]:
        name, status = str(path.relative_to(root)), path.lstat()
        first = firsts.setdefault(status.st_ino, name)
        found[name] = (*looks(path), status.st_mtime_ns, first)
    return found
