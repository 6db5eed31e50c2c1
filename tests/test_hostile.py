"""Archives that mean harm: each is refused by an error that names the entry, or does none."""

import gzip
import io
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from archives import BLOCK, END, attributes, header, octal, pax, record, tree

from labkit.images.extract import Limits, extract
from labkit.text.words import Words

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PLACE = f"/tmp/labkit-hostile-{os.getpid()}"  # a directory outside
OUT = PLACE.encode()
DEPTH = 300
LIMITS = Limits(size=4 << 20, entries=200)


def link(name: bytes, target: bytes) -> bytes:
    return header(name, b"2", link=target)


def hard(name: bytes, target: bytes) -> bytes:
    return header(name, b"1", link=target)


def sized(size: bytes, **more: bytes) -> bytes:
    return header(b"victim", fields={"size": size, **more})


def binary(value: int, width: int = 12) -> bytes:
    """A number as GNU writes those that octal digits cannot."""
    found = bytearray(value.to_bytes(width, "big", signed=True))
    found[0] |= 0x80
    return bytes(found)


def long(kind: bytes, name: bytes) -> bytes:
    return header(b"././@LongLink", kind, name + b"\0")


def holes(size: int, *numbers: int, data: bytes = b"") -> bytes:
    """A sparse file as PAX 0.1 has it."""
    listed = b",".join(b"%d" % number for number in numbers)
    about = ((b"GNU.sparse.map", listed), (b"GNU.sparse.size", b"%d" % size))
    return pax(*about) + header(b"victim", data=data)


def raw_pax(data: bytes) -> bytes:
    return header(b"PaxHeaders/x", b"x", data) + header(b"victim")


def signed_sum(name: bytes) -> int:
    """The checksum as some old programs made it."""
    block = header(name)
    return int(block[148:154], 8) - 256 * sum(byte > 127 for byte in block)


def squeezed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


OUTSIDE_FIRST = link(b"l", OUT)
FILE = header(b"file", data=b"text")
ZEROS = header(b"bomb", data=bytes(64 << 20))
TEXT = header(b"victim", data=b"x" * 2000)

# Each must be refused; the words are part of the error.
REFUSED: Mapping[str, tuple[bytes, str]] = {
    # Names that lead outside, or nowhere
    "dotdot": (header(b"../victim") + END, r"\.\./victim: .*\.\."),
    "dotdot in the middle": (header(b"a/../../victim") + END, r"a/\.\./\.\./victim: .*\.\."),
    "dotdot that stays inside": (header(b"a/../victim") + END, r"a/\.\./victim: .*\.\."),
    "dotdot after the root": (header(b"/../victim") + END, r"/\.\./victim: .*\.\."),
    "a directory called dotdot": (header(b"../", b"5") + END, r"\.\./: .*\.\."),
    "a link called dotdot": (link(b"..", b"/") + END, r"\.\.: .*\.\."),
    "dotdot in a PAX name": (pax((b"path", b"../v")) + FILE + END, r"\.\./v: .*\.\."),
    "dotdot in a long name": (long(b"L", b"../" + b"v" * 120) + FILE + END, r"\.\./v+: .*\.\."),
    "dotdot in a prefix": (
        header(b"victim", fields={"prefix": b"../up"}) + END,
        r"\.\./up/victim: .*\.\.",
    ),
    "no name": (header(b"") + END, "root can only be a directory"),
    "a file as the root": (header(b"./") + END, r"\./: .*root can only be a directory"),
    "a link as the root": (link(b"/", OUT) + END, "/: .*root can only be a directory"),
    "a hard link as the root": (FILE + hard(b".", b"file") + END, r"\.: .*root can only be"),
    "NUL in a name": (pax((b"path", b"a\0b")) + FILE + END, "impossible name"),
    "NUL in a link": (pax((b"linkpath", b"a\0b")) + link(b"l", b"x") + END, "impossible name"),
    "a long component": (long(b"L", b"v" * 256) + FILE + END, "vvv…?: .*too long"),
    "a deep path": (pax((b"path", b"d/" * DEPTH)) + FILE + END, "d/d/.*directories deep"),
    "a megabyte of path": (pax((b"path", b"d/" * 500_000)) + FILE + END, "d/d/.*…: .*deep"),
    # Links
    "write through a link": (OUTSIDE_FIRST + header(b"l/victim") + END, "l/victim: l above it"),
    "write through a link to the root": (
        link(b"l", b"/") + header(b"l/etc/victim") + END,
        "l/etc/victim: l above it is no directory",
    ),
    "write through a relative link": (
        link(b"l", b"../outside") + header(b"l/victim") + END,
        "l/victim: l above it is no directory",
    ),
    "write through a link that stays inside": (
        header(b"d/", b"5") + link(b"l", b"d") + header(b"l/victim") + END,
        "l/victim: l above it is no directory",
    ),
    "write through a chain of links": (
        link(b"a", b"b") + link(b"b", OUT) + header(b"a/victim") + END,
        "a/victim: a above it is no directory",
    ),
    "write through a link below": (
        header(b"d/", b"5") + link(b"d/l", OUT) + header(b"d/l/e/victim") + END,
        "d/l/e/victim: d/l above it is no directory",
    ),
    "a directory that became a link": (
        header(b"d/x") + link(b"d", OUT) + header(b"d/victim") + END,
        "d/victim: d above it is no directory",
    ),
    "a directory through a link": (OUTSIDE_FIRST + header(b"l/d/", b"5") + END, "l/d/: l above"),
    "a link through a link": (OUTSIDE_FIRST + link(b"l/x", b"y") + END, "l/x: l above it"),
    "a device through a link": (
        OUTSIDE_FIRST + header(b"l/x", b"3", device=(1, 3)) + END,
        "l/x: l above it",
    ),
    "whiteout through a link": (OUTSIDE_FIRST + header(b"l/.wh.secret") + END, "l above it"),
    "opaque through a link": (OUTSIDE_FIRST + header(b"l/.wh..wh..opq") + END, "l above it"),
    "hard link to outside": (hard(b"h", OUT + b"/secret") + END, "h: a hard link to .*/secret"),
    "hard link by dotdot": (hard(b"h", b"../outside/secret") + END, r"h: .*\.\."),
    "hard link through a link": (
        OUTSIDE_FIRST + hard(b"h", b"l/secret") + END,
        "h: a hard link to l/secret",
    ),
    "hard link by PAX": (
        pax((b"linkpath", b"../outside/secret")) + hard(b"h", b"file") + END,
        r"h: .*\.\.",
    ),
    "hard link by a long name": (
        long(b"K", b"../outside/secret") + hard(b"h", b"file") + END,
        r"h: .*\.\.",
    ),
    "hard link through a file": (FILE + hard(b"h", b"file/x") + END, "h: a hard link to file/x"),
    "hard link to a directory": (header(b"d/", b"5") + hard(b"h", b"d") + END, "h: .* to d"),
    "hard link to the root": (hard(b"h", b"/") + END, "h: a hard link to /"),
    "hard link to itself": (FILE + hard(b"file", b"file") + END, "file: a hard link to file"),
    "hard link to a whiteout": (header(b".wh.x") + hard(b"h", b"x") + END, "h: a hard link to x"),
    "a link to nothing": (link(b"l", b"") + END, "l: a symbolic link to nothing"),
    "a link to more than a path": (
        pax((b"linkpath", b"t" * 5000)) + link(b"l", b"x") + END,
        "l: .*too long",
    ),
    # Types and devices
    "overlay's whiteout as a device": (header(b"d", b"3") + END, "d: the device 0, 0"),
    "a device that no kernel has": (header(b"d", b"3", device=(4096, 0)) + END, "d: 4096 is out"),
    "an unknown type": (header(b"victim", b"Z") + END, "victim: unknown type of entry"),
    "a part of another volume": (header(b"victim", b"M") + END, "victim: unknown type of entry"),
    # Bombs
    "many bytes in gzip": (squeezed(ZEROS + END), "bomb: it holds more than 4194304 bytes"),
    "many bytes in zstd": (zstd.compress(ZEROS + END), "bomb: it holds more than 4194304 bytes"),
    "many zeros behind the end": (squeezed(FILE + bytes(64 << 20)), "more than 4194304 bytes"),
    "many entries": (b"".join(header(b"%d" % n) for n in range(201)) + END, "200: more than 200"),
    "headers without an end": (
        squeezed(pax((b"comment", b"x" * 1_000_000)) * 20),
        "more than 4194304 bytes",
    ),
    "a long PAX header": (raw_pax(bytes(2 << 20)) + END, "an extended header is too long"),
    "a long long name": (long(b"L", b"n" * (2 << 20)) + FILE + END, "header is too long"),
    # Sizes
    "a size without bytes": (sized(octal(8**11 - 1, 12)) + END, "victim: the archive breaks off"),
    "a size beyond off_t": (sized(binary(1 << 63)) + END, "victim: 9223372036854775808 is out"),
    "a negative size": (sized(binary(-1)) + END, "victim: -1 is out of range"),
    "a negative size in octal": (sized(b"-0000000001") + END, "victim: .*is no octal number"),
    "a size that is no number": (sized(b"0000_000_01") + END, "victim: .*is no octal number"),
    "a negative size by PAX": (pax((b"size", b"-512")) + FILE + END, "file: .*no decimal number"),
    "a size of many digits": (pax((b"size", b"9" * 5000)) + FILE + END, "no decimal number"),
    "a huge size by PAX": (pax((b"size", b"9" * 19)) + FILE + END, "file: 9+ is out of range"),
    "a negative owner": (header(b"victim", fields={"uid": binary(-1, 8)}) + END, "-1 is out"),
    "an owner that means none": (pax((b"uid", b"4294967295")) + FILE + END, "file: 4294967295"),
    "a time beyond time": (pax((b"mtime", b"9" * 30)) + FILE + END, "is out of range"),
    # PAX and GNU oddities
    "a record that is too long": (raw_pax(b"99 path=x\n") + END, "a PAX record is damaged"),
    "a record of no length": (raw_pax(b"0 path=x\n") + END, "a PAX record is damaged"),
    "a record that ends before it begins": (raw_pax(b"2 path=x\n") + END, "PAX record is damaged"),
    "a record without a line end": (raw_pax(b"9 path=xy") + END, "a PAX record is damaged"),
    "a record without a value": (raw_pax(b"8 paths\n") + END, "a PAX record is damaged"),
    "a record without a keyword": (raw_pax(record(b"", b"x")) + END, "impossible name"),
    "regions that overlap": (holes(100, 0, 10, 5, 10, data=b"x" * 20) + END, "contradicts"),
    "a region outside the file": (holes(100, 95, 10, data=b"x" * 10) + END, "contradicts"),
    "half of a region": (holes(100, 0, 10, 5, data=b"x" * 10) + END, "half of a pair"),
    "more regions than data": (holes(100, 0, 50, data=b"x" * 10) + END, "contradicts"),
    "holes of exabytes": (holes(1 << 63, 0, 1, data=b"x") + END, "beyond what a file can have"),
    "a list of regions without an end": (
        pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"))
        + header(b"victim", data=b"9999999999\n" * 200_000)
        + END,
        "victim: the map of a sparse file is too long",
    ),
    "an attribute without a place": (
        pax((b"SCHILY.xattr.user." + b"n" * 300, b"x")) + FILE + END,
        "file: ",
    ),
    # Broken, or more than it says
    "empty": (b"", "the archive breaks off here"),
    "no tar": (b"#!/bin/sh\n" * 200, "or this is no tar"),
    "a wrong checksum": (
        header(b"victim", fields={"sum": b"000001\0 "}) + END,
        "victim: a header is damaged",
    ),
    "cut in a header": (FILE + TEXT[:300], "the archive breaks off here"),
    "cut in data": (FILE + TEXT[: BLOCK + 1000], "victim: the archive breaks off here"),
    "cut in padding": (TEXT[:-1], "victim: the archive breaks off here"),
    "no end": (FILE, "file: the archive breaks off here"),
    "cut gzip": (squeezed(FILE + END)[:-9], "cut off"),
    "cut zstd": (zstd.compress(FILE + END)[:-3], "cut off"),
    "a wrong sum in gzip": (squeezed(FILE + END)[:-8] + bytes(8), "compressed data is damaged"),
    "damaged zstd": (zstd.compress(FILE + END)[:4] + b"\xff" * 40, "data is damaged"),
    "garbage behind the end": (FILE + END + b"x" * BLOCK, "something follows the end"),
    "an archive behind the end": (FILE + END + TEXT + END, "something follows the end"),
    "garbage behind gzip": (squeezed(FILE + END) + b"garbage", "something follows the comp"),
    "garbage behind zstd": (zstd.compress(FILE + END) + b"garbage", "something follows the comp"),
    # Files, directories, whiteouts
    "a file above": (FILE + header(b"file/victim") + END, "file/victim: file above it"),
    "whiteout of nothing": (header(b".wh.") + END, r"\.wh\.: what it hides is no name"),
    "whiteout of the root": (header(b".wh..") + END, r"\.wh\.\.: what it hides is no name"),
    "whiteout of the parent": (header(b"d/.wh...") + END, r"\.wh\.\.\.: what it hides is no name"),
    "an opaque root": (header(b".wh..wh..opq") + END, r"opq: nothing can be hidden so"),
    "below a whiteout": (header(b".wh.d/victim") + END, "victim: nothing can be hidden so"),
    "a whiteout of a long name": (long(b"L", b".wh." + b"n" * 300) + FILE + END, "too long"),
    # What is said about it
    "a name that plays with the terminal": (
        header(b"\x1b[2J\r\n\xff../x") + header(b"\x1b]0;title\x07/../x") + END,
        r"^\\x1b\]0;title\\x07/\.\./x：[^\x00-\x1f]*$",
    ),
}


# Each may be unpacked: what comes of it is no more than this, and all of it is inside.
HARMLESS: Mapping[str, tuple[bytes, dict[str, str]]] = {
    "an absolute name": (header(OUT + b"/victim", data=b"x") + END, {f"{PLACE}/victim": "x"}),
    "many slashes": (header(b"//.//./victim//", data=b"x") + END, {"victim": "x"}),
    "a link to outside": (link(b"l", OUT + b"/secret") + END, {"l": f"-> {PLACE}/secret"}),
    "a link up and up": (link(b"l", b"../../../etc") + END, {"l": "-> ../../../etc"}),
    "a file over a link": (
        link(b"l", OUT + b"/secret") + header(b"l", data=b"x") + END,
        {"l": "x"},
    ),
    "a directory over a link": (
        link(b"l", OUT) + header(b"l/", b"5", mode=0o777) + header(b"l/victim", data=b"x") + END,
        {"l/victim": "x"},
    ),
    "a link over a link": (link(b"l", OUT) + link(b"l", b"x") + END, {"l": "-> x"}),
    "a device over a link": (
        link(b"l", OUT + b"/secret") + header(b"l", b"6", mode=0o777) + END,
        {"l": "fifo"},
    ),
    "a hard link over a link": (
        header(b"f", data=b"x") + link(b"l", OUT + b"/secret") + hard(b"l", b"f") + END,
        {"f": "x", "l": "x"},
    ),
    "a file over a hard link to a link": (
        link(b"l", OUT + b"/secret") + hard(b"h", b"l") + header(b"h", data=b"x") + END,
        {"l": f"-> {PLACE}/secret", "h": "x"},
    ),
    "an absolute hard link": (header(b"f") + hard(b"h", b"/f") + END, {"f": "", "h": ""}),
    "a hard link with data": (
        header(b"f") + header(b"h", b"1", link=b"f", fields={"size": octal(512, 12)}) + END,
        {"f": "", "h": ""},
    ),
    "attributes through a link": (
        pax((b"SCHILY.xattr.trusted.note", b"x")) + link(b"l", OUT + b"/secret") + END,
        {"l": f"-> {PLACE}/secret"},
    ),
    "a file over a directory and back": (
        header(b"d/x") + header(b"d", data=b"x") + header(b"d/", b"5") + header(b"d/y") + END,
        {"d/y": ""},
    ),
    "a file over a tree": (
        header(b"d/" * 200 + b"x") + header(b"d", data=b"x") + END,
        {"d": "x"},
    ),
    "the same name again": (
        header(b"f", data=b"first") + header(b"./f", data=b"x") + END,
        {"f": "x"},
    ),
    "the same name in another case": (
        header(b"File", data=b"1") + header(b"FILE", data=b"2") + header(b"file", data=b"3") + END,
        {"File": "1", "FILE": "2", "file": "3"},
    ),
    "a link in another case": (
        link(b"Lib", OUT) + header(b"lib/victim", data=b"x") + END,
        {"Lib": f"-> {PLACE}", "lib/victim": "x"},
    ),
    "the same name composed otherwise": (
        header("é".encode(), data=b"1") + header("e\u0301".encode(), data=b"2") + END,
        {"é": "1", "e\u0301": "2"},
    ),
    "a device": (header(b"d", b"4", device=(8, 0)) + header(b"f", data=b"x") + END, {"f": "x"}),
    "records of AUFS": (
        header(b".wh..wh.plnk/", b"5") + header(b".wh..wh.aufs", data=b"x") + END,
        {},
    ),
    "attributes of overlay": (
        pax((b"SCHILY.xattr.trusted.overlay.redirect", b"/etc"))
        + header(b"d/", b"5")
        + pax((b"SCHILY.xattr.user.overlay.opaque", b"y"))
        + header(b"d/", b"5")
        + header(b"d/f")
        + END,
        {"d/f": ""},
    ),
    "a PAX header for nothing": (header(b"f") + pax((b"path", b"../x")) + END, {"f": ""}),
    "two PAX headers for one": (
        pax((b"path", b"../x")) + pax((b"path", b"f")) + header(b"g") + END,
        {"f": ""},
    ),
    "a header for all": (pax((b"path", b"../x"), kind=b"g") + header(b"f") + END, {"f": ""}),
    "a record of an old time": (
        pax((b"mtime", b"-62135596800.5")) + header(b"f", data=b"x") + END,
        {"f": "x"},
    ),
    "sums of signed bytes": (
        header(b"f\xff", fields={"sum": b"%06o\0 " % signed_sum(b"f\xff")}) + END,
        {"f\udcff": ""},
    ),
    "one block of zeros": (header(b"f") + bytes(BLOCK), {"f": ""}),
    "zeros behind gzip": (squeezed(header(b"f") + END) + bytes(1000), {"f": ""}),
}


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """What an archive must not reach, by a name that is known before, and beside the layer."""
    outside = Path(PLACE)
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (tmp_path / "outside").symlink_to(outside)
    (tmp_path / "into").mkdir()
    yield outside
    shutil.rmtree(outside)


def attempt(data: bytes, into: Path) -> None:
    extract(io.BytesIO(data), str(into), rootless=True, limits=LIMITS)


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, tmp_path: Path, outside: Path) -> None:
    data, words = REFUSED[case]
    before = tree(outside), sorted(os.listdir(tmp_path))
    with pytest.raises(ValueError, match=words) as error:
        attempt(data, tmp_path / "into")
    told = error.value.args[0]
    assert isinstance(told, Words)
    assert re.search("[一-鿿]", told.zh) or isinstance(error.value.__cause__, OSError)
    assert (tree(outside), sorted(os.listdir(tmp_path))) == before


@pytest.mark.usefixtures("outside")
def test_holes_beyond_the_file_system(tmp_path: Path) -> None:
    """On ext4 they are refused. In a tmpfs a file may be as large as that, and takes one page."""
    size, refused = (1 << 63) - 1, ""
    try:
        attempt(holes(size, 0, 1, data=b"x") + END, tmp_path / "into")
    except ValueError as error:
        refused = str(error)
    if refused:
        assert "victim: " in refused
    else:
        about = (tmp_path / "into" / "victim").stat()
        assert (about.st_size, about.st_blocks) == (size, 8)


@pytest.mark.parametrize("case", HARMLESS)
def test_harmless(case: str, tmp_path: Path, outside: Path) -> None:
    data, made = HARMLESS[case]
    before = tree(outside), sorted(os.listdir(tmp_path))
    attempt(data, tmp_path / "into")
    assert seen(tmp_path / "into") == {name.strip("/"): text for name, text in made.items()}
    assert (tree(outside), sorted(os.listdir(tmp_path))) == before


def seen(root: Path) -> dict[str, str]:
    """What is below `root` but directories, and that no overlay would see anything in it."""
    found = {}
    for path in root.rglob("*"):
        mode = path.lstat().st_mode
        assert not [name for name in attributes(path) if "overlay" in name]
        if stat.S_ISLNK(mode):
            found[str(path.relative_to(root))] = f"-> {os.readlink(path)}"
        elif stat.S_ISFIFO(mode):
            found[str(path.relative_to(root))] = "fifo"
        elif not stat.S_ISDIR(mode):
            found[str(path.relative_to(root))] = path.read_text()
    return found


def test_there_are_enough_of_them() -> None:
    assert len(REFUSED) + len(HARMLESS) >= 40
