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


CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw=ep
HOLE = 5 << 20


def write(path: Path, data: bytes, mode: int = 0o644, uid: int = 0, gid: int = 0) -> Path:
    path.write_bytes(data)
    os.chown(path, uid, gid)
    path.chmod(mode)
    return path


def age(root: Path) -> None:
    """Give each file a time of its own, to the nanosecond, the deepest first."""
    paths = [root, *root.rglob("*")]
    for count, path in enumerate(sorted(paths, key=lambda p: -len(p.parts))):
        time = 1_600_000_000_123_456_789 + count * 1_000_000_007
        os.utime(path, ns=(time, time), follow_symlinks=False)


def strange_tree(root: Path) -> Path:
    """A tree with one of everything that a layer may hold."""
    for name in ("bin", "dev", "var/mail", "tmp", "closed", os.fsdecode(b"\xff\xfe latin")):
        (root / name).mkdir(parents=True)
    write(root / "bin/su", b"program" * 1000, 0o4755)
    ping = write(root / "bin/ping", b"ping", 0o755)
    os.setxattr(ping, "security.capability", CAPABILITY)
    os.setxattr(ping, "user.note", b"any\0bytes\n=\xff")
    os.link(ping, root / "ping-again")
    os.setxattr(root / "tmp", "trusted.note", b"of a directory")
    (root / "lib").symlink_to("usr/lib")
    (root / "out").symlink_to("/etc/passwd")
    (root / ("l" * 100)).symlink_to("t" * 300)
    os.lchown(root / "lib", 7, 8)
    os.mknod(root / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "dev/disk", stat.S_IFBLK | 0o660, os.makedev(259, 70000))
    os.mkfifo(root / "dev/fifo")
    (root / "dev/fifo").chmod(0o622)
    (root / "tmp").chmod(0o1777)
    os.chown(root / "var/mail", 0, 8)
    (root / "var/mail").chmod(0o2775)
    write(root / "var/mail/root", b"mail", 0o600, 0, 0)  # not of the directory's group
    write(root / "closed/secret", b"secret", 0, 123456, 4294967294)
    (root / "closed").chmod(0o500)
    write(root / os.fsdecode(b"\xff\xfe latin/na\xefve \n \x1b[31m"), b"", 0o640)
    deep = root / "/".join(["directory" * 5] * 6)
    deep.mkdir(parents=True)
    write(deep / ("名" * 80), b"a name of 240 bytes")
    write(root / "big", os.urandom(3_000_001))
    with (root / "holes").open("wb") as file:
        for place in (0, HOLE, 3 * HOLE):
            file.seek(place)
            file.write(b"data" * 1025)
        file.truncate(4 * HOLE)
    age(root)
    return root
