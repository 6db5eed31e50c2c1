"""A layer's archive becomes a directory: as tar(1) would make it, and as overlay reads it."""

import contextlib
import gzip
import hashlib
import io
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from archives import END, attributes, header, pax, strange_tree, tree, write
from conftest import ROOT, descriptors

from labkit.images.extract import Limits, Unpacked, extract

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return strange_tree(tmp_path_factory.mktemp("strange") / "root")


def archive(root: Path, *options: str) -> bytes:
    command = ["tar", "--create", "--sort=name", "-C", str(root), *options, "."]
    return subprocess.run(command, check=True, capture_output=True).stdout


def unpack(data: bytes, into: Path, *, rootless: bool = False) -> Unpacked:
    into.mkdir()
    return extract(io.BytesIO(data), str(into), rootless=rootless)


ATTRIBUTES = ("--format=posix", "--xattrs", "--xattrs-include=*")


@pytest.mark.parametrize("sparse", ["", "0.0", "0.1", "1.0"])
def test_everything_that_tar_stores_comes_back(strange: Path, tmp_path: Path, sparse: str) -> None:
    options = ("--sparse", f"--sparse-version={sparse}") if sparse else ()
    data = archive(strange, *ATTRIBUTES, *options)
    unpacked = unpack(data, tmp_path / "root")
    assert tree(tmp_path / "root") == tree(strange)
    assert unpacked.told == {}
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert unpacked == Unpacked(digest, digest, len(data))
    if sparse:
        blocks = [(root / "holes").stat().st_blocks for root in (tmp_path / "root", strange)]
        assert blocks[0] <= blocks[1]


@pytest.mark.parametrize("options", [("--format=gnu", "--sparse"), ("--format=oldgnu",)], ids=str)
def test_the_format_of_gnu(strange: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    """It keeps whole seconds and no attributes."""
    unpack(archive(strange, *options), tmp_path / "root")

    def kept(root: Path) -> dict[str, tuple[object, ...]]:
        return {n: (*v[:-3], v[-2] // 10**9, v[-1]) for n, v in tree(root).items()}  # type: ignore[operator]

    assert kept(tmp_path / "root") == kept(strange)
    with (tmp_path / "root/holes").open("rb") as file:
        assert file.read() == (strange / "holes").read_bytes()


@pytest.mark.parametrize("form", ["v7", "ustar"])
def test_the_old_formats(tmp_path: Path, form: str) -> None:
    root = tmp_path / "here"
    (root / "usr/bin").mkdir(parents=True)
    write(root / "usr/bin/program", b"text", 0o4711, 12, 34)
    (root / "usr/link").symlink_to("bin")
    if form == "ustar":
        deep = root / "/".join(["d" * 70] * 2)
        deep.mkdir(parents=True)
        write(deep / ("n" * 90), b"prefix and name")
    for path in [root, *root.rglob("*")]:
        os.utime(path, (1_500_000_000, 1_500_000_000), follow_symlinks=False)
    unpack(archive(root, f"--format={form}"), tmp_path / "root")
    assert tree(tmp_path / "root") == tree(root)


def members(data: bytes) -> bytes:
    """As pigz and stargz write it: a member after the other, the last one empty."""
    half = len(data) // 2
    return gzip.compress(data[:half]) + gzip.compress(data[half:]) + gzip.compress(b"")


def frames(data: bytes) -> bytes:
    """As zstd:chunked has it: frames, and one that is to be skipped."""
    skipped = b"\x5e\x2a\x4d\x18" + (700_000).to_bytes(4, "little") + bytes(700_000)
    half = len(data) // 2
    return zstd.compress(data[:half]) + skipped + zstd.compress(data[half:])


@pytest.mark.parametrize(
    "compress",
    [gzip.compress, members, zstd.compress, frames],
    ids=("gzip", "members", "zstd", "frames"),
)
def test_what_is_compressed(
    strange: Path, tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    data = archive(strange, *ATTRIBUTES)
    sent = compress(data)
    unpacked = unpack(sent, tmp_path / "root")
    assert tree(tmp_path / "root") == tree(strange)
    ids = [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in (data, sent)]
    assert unpacked == Unpacked(ids[0], ids[1], len(sent))


class Dripping(io.RawIOBase):
    """A pipe gives a little at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._next = 0

    def read(self, size: int = -1, /) -> bytes:
        size = min(size, 3)
        self._next += size
        return bytes(self._data[self._next - size : self._next])


@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, zstd.compress], ids=("plain", "gzip", "zstd")
)
def test_a_source_that_gives_a_little_at_a_time(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    data = header(b"file", data=b"text") + END
    (tmp_path / "root").mkdir()
    extract(Dripping(compress(data)), str(tmp_path / "root"))
    assert (tmp_path / "root/file").read_text() == "text"


def test_a_later_entry_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    data = (
        header(b"a/", b"5")
        + header(b"a/old", data=b"old")
        + header(b"b", b"2", link=b"a")
        + header(b"a", data=b"now a file")
        + header(b"b/", b"5", mode=0o700)
        + header(b"b/new", data=b"new")
        + header(b"b/new", data=b"newer")
        + header(b"b/", b"5", mode=0o711)
        + END
    )
    unpack(data, tmp_path / "root")
    assert (tmp_path / "root/a").read_text() == "now a file"
    assert (tmp_path / "root/b/new").read_text() == "newer"
    assert stat.S_IMODE((tmp_path / "root/b").stat().st_mode) == 0o711


def test_parents_that_no_entry_has_spoken_of(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        unpack(header(b"/usr//./share/file") + END, tmp_path / "root")
    finally:
        os.umask(old)
    found = (tmp_path / "root/usr/share").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o755, 0)


def test_a_header_for_all_entries_is_passed_over(tmp_path: Path) -> None:
    """As Docker does: git writes one with a comment."""
    data = pax((b"comment", b"1234"), (b"path", b"other"), kind=b"g") + header(b"file") + END
    unpack(data, tmp_path / "root")
    assert os.listdir(tmp_path / "root") == ["file"]


# --- What a layer hides -------------------------------------------------------------------------

HIDING = (
    header(b"gone/.wh.file")
    + header(b"gone/.wh.other")
    + header(b"whole/", b"5")
    + header(b"whole/.wh..wh..opq")
    + header(b"whole/new")
    + header(b".wh.again")
    + header(b"again/", b"5")
    + header(b".wh.implied")
    + header(b"implied/new")
    + header(b"after/new")
    + header(b".wh.after")
    + header(b"kept")
    + header(b".wh.kept")
    + header(b".wh..wh.plnk/", b"5")
    + header(b".wh..wh.plnk/1.2", data=b"AUFS's own")
    + header(b".wh.back")
    + header(b"back", data=b"a file again")
    + END
)
BELOW = [f"{name}/old" for name in ("whole", "again", "implied", "after")]
BELOW += ["gone/file", "gone/other", "gone/stays", "kept", "back"]


def whiteouts(root: Path) -> Iterator[str]:
    for path in sorted(root.rglob("*")):
        found = path.lstat()
        if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
            yield str(path.relative_to(root))


@pytest.mark.parametrize("rootless", [False, True])
def test_what_is_hidden_has_overlays_form(tmp_path: Path, rootless: bool) -> None:
    root = tmp_path / "root"
    unpack(HIDING, root, rootless=rootless)
    names = ["trusted.overlay.opaque"] * (not rootless) + ["user.overlay.opaque"]
    assert list(whiteouts(root)) == ["gone/file", "gone/other"]
    opaque = {
        p.name
        for p in root.rglob("*")
        if p.is_dir() and attributes(p) == dict.fromkeys(names, b"y")
    }
    assert opaque == {"whole", "again", "implied", "after"}


EXTRACT = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
    "from labkit.images.extract import extract; "
    "print(*extract(sys.stdin.buffer, 'root', rootless={rootless}).told.values(), sep=chr(10))"
)
MERGE = (
    "mkdir -p m; mount -t overlay overlay -o lowerdir=root:below{option} m; cd m; find . ! -type d"
)


@pytest.mark.parametrize("rootless", [False, True])
def test_overlay_hides_what_the_layer_hides(tmp_path: Path, rootless: bool) -> None:
    """Unpacked and mounted by root, and by root of a user namespace."""
    (tmp_path / "root").mkdir()
    for name in BELOW:
        path = tmp_path / "below" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("below")
    script = f'"{sys.executable}" -c "$1" >&2; ' + MERGE.format(
        option=",userxattr" if rootless else ""
    )
    walls = ["--user", "--map-root-user"] if rootless else []
    done = subprocess.run(
        [
            "unshare",
            *walls,
            "--mount",
            "sh",
            "-ec",
            script,
            "sh",
            EXTRACT.format(rootless=rootless),
        ],
        cwd=tmp_path,
        input=HIDING,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    seen = set(done.stdout.decode().split())
    new = {"./whole/new", "./implied/new", "./after/new"}
    assert seen == new | {"./gone/stays", "./kept", "./back"}


# --- Without privileges -------------------------------------------------------------------------


def test_rootless_what_may_not_be_is_said_once(strange: Path, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    done = subprocess.run(
        [
            "unshare",
            "--user",
            "--map-root-user",
            sys.executable,
            "-c",
            EXTRACT.format(rootless=True),
        ],
        cwd=tmp_path,
        input=archive(strange, *ATTRIBUTES),
        env=os.environ | {"LABKIT_LANG": "en"},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    told = done.stdout.decode().splitlines()
    assert len(told) == 3
    assert any("no device can be made" in line and "./dev/disk" in line for line in told)
    assert any("no file can be given to user 123456:4294967294" in line for line in told)
    assert any("trusted.note" in line for line in told)
    ours, theirs = tree(tmp_path / "root"), tree(strange)
    assert set(theirs) - set(ours) == {"dev/null", "dev/disk"}
    assert ours["closed/secret"][:3] == ("0o100000", 0, 0)
    assert ours["bin/su"] == theirs["bin/su"]
    assert ours["bin/ping"] == theirs["bin/ping"]  # its capabilities too


def test_an_ordinary_user(tmp_path: Path, nobody: list[str]) -> None:
    """Directories without write permission, as Fedora has them, and whiteouts."""
    data = (
        header(b"usr/", b"5", mode=0o555)
        + header(b"usr/bin/", b"5", mode=0o555)
        + header(b"usr/bin/su", data=b"su", mode=0o4111, fields={"uid": b"0000007\0"})
        + header(b"closed/", b"5", mode=0)
        + header(b"closed/in/file", data=b"text", mode=0)
        + header(b"usr/lib", data=b"more")
        + header(b"gone/", b"5", mode=0o555)
        + header(b"gone", data=b"a file now")
        + header(b".wh.other")
        + header(b"usr/.wh..wh..opq")
        + END
    )
    (tmp_path / "root").mkdir(mode=0o777)
    (tmp_path / "root").chmod(0o777)
    for path in [tmp_path, *tmp_path.parents][:3]:
        path.chmod(path.stat().st_mode | 0o011)
    code = EXTRACT.replace(f"sys.path.insert(0, {str(ROOT)!r}); ", "").format(rootless=True)
    done = subprocess.run([*nobody, "-c", code], cwd=tmp_path, input=data, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"no file can be given to user 7:0" in done.stdout  # root is this user itself
    found = tree(tmp_path / "root")
    modes = {name: int(about[0], 8) & 0o7777 for name, about in found.items()}  # type: ignore[call-overload]
    assert modes == {
        ".": 0o777,
        "usr": 0o555,
        "usr/bin": 0o555,
        "usr/bin/su": 0o4111,
        "usr/lib": 0o644,
        "closed": 0,
        "closed/in": 0o755,
        "closed/in/file": 0,
        "gone": 0o644,
        "other": 0,
    }
    assert list(whiteouts(tmp_path / "root")) == ["other"]
    assert attributes(tmp_path / "root/usr") == {"user.overlay.opaque": b"y"}


def test_what_the_kernel_refuses_names_the_entry(tmp_path: Path) -> None:
    """A device without privileges, where nobody has said that it may be left out."""
    (tmp_path / "root").mkdir()
    done = subprocess.run(
        [
            "unshare",
            "--user",
            "--map-root-user",
            sys.executable,
            "-c",
            EXTRACT.format(rootless=False),
        ],
        cwd=tmp_path,
        input=header(b"dev/tty", b"3", device=(5, 0)) + END,
        env=os.environ | {"LABKIT_LANG": "en"},
        capture_output=True,
        text=False,
    )
    assert b"PermissionError" in done.stderr
    assert done.stderr.rstrip().endswith(b"while unpacking dev/tty")


def test_nothing_is_left_open_or_running(tmp_path: Path) -> None:
    before = descriptors(), threading.enumerate()
    bad = [header(b"a/b/c") + b"x" * 700_000 * count for count in (1, 20)]
    for count, data in enumerate([header(b"file") + END, b"", *bad, gzip.compress(END)[:-9]]):
        (tmp_path / str(count)).mkdir()
        with contextlib.suppress(ValueError):
            extract(io.BytesIO(data), str(tmp_path / str(count)))
    assert (descriptors(), threading.enumerate()) == before


def test_limits(tmp_path: Path) -> None:
    data = b"".join(header(b"%d" % n, data=b"x" * 600) for n in range(100)) + END
    extract(io.BytesIO(data), str(tmp_path), limits=Limits(len(data), 100))
    with pytest.raises(ValueError, match="99: more than 99 entries"):
        extract(io.BytesIO(data), str(tmp_path), limits=Limits(entries=99))
    with pytest.raises(ValueError, match="more than 100000 bytes"):
        extract(io.BytesIO(gzip.compress(data)), str(tmp_path), limits=Limits(size=100_000))


NO_ATTRIBUTES = """
import io, sys
from labkit.images.extract import extract
from labkit.text.words import words_of
try:
    extract(io.BytesIO(sys.stdin.buffer.read()), sys.argv[1], rootless=False)
except OSError as error:
    print(error, *(words.en for words in words_of(error)), sep="; ")
"""


def test_a_file_system_without_the_attributes_is_named(tmp_path: Path) -> None:
    """As a tmpfs before Linux 6.6, which has none of user.*. ramfs has none until today."""
    script = f'mount -t ramfs none {tmp_path} && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", script, "sh"]
    words += [sys.executable, "-c", NO_ATTRIBUTES, str(tmp_path)]
    data = header(b"usr/", kind=b"5") + header(b"usr/.wh..wh..opq") + END
    done = subprocess.run(words, input=data, capture_output=True, check=True)
    said = done.stdout.decode()
    assert 'setxattr("' in said
    assert "since Linux 6.6" in said
    assert "LABKIT_STATE=" in said


def test_an_overlay_takes_no_mark_that_hides_a_file_and_says_so(tmp_path: Path) -> None:
    """The root of a container of Docker's is one."""
    places = {name: tmp_path / name for name in ("lower", "upper", "work", "root")}
    for place in places.values():
        place.mkdir()
    options = ",".join(f"{n}dir={places[n]}" for n in ("lower", "upper", "work"))
    script = f'mount -t overlay none -o {options} {places["root"]} && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", script, "sh"]
    words += [sys.executable, "-c", NO_ATTRIBUTES, str(places["root"])]
    data = header(b"usr/", kind=b"5") + header(b"usr/.wh.gone") + END
    done = subprocess.run(words, input=data, capture_output=True, check=True)
    said = done.stdout.decode()
    assert 'mknodat("gone", S_IFCHR, makedev(0, 0))' in said
    assert "docker run -v labkit:/var/lib/labkit" in said
