"""What a container has changed becomes a layer: as umoci would make it, and as tar(1) reads it."""

import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from archives import CAPABILITY, END, header, strange_tree, tree, write

from labkit.images.extract import extract
from labkit.images.pack import Packed, pack

Entries = dict[str, tuple[object, ...]]


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return strange_tree(tmp_path_factory.mktemp("strange") / "root")


def packed(upper: Path) -> bytes:
    out = io.BytesIO()
    told = pack(str(upper), out)
    data = out.getvalue()
    assert told == Packed(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
    return data


def test_what_was_packed_comes_back(strange: Path, tmp_path: Path) -> None:
    """Unpacked by us, and by tar(1), which is another reader of the same format."""
    data = packed(strange)
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    extract(io.BytesIO(data), str(tmp_path / "ours"))
    untar = ("tar", "--extract", "--xattrs", "--xattrs-include=*", "-C", str(tmp_path / "theirs"))
    subprocess.run(untar, input=data, check=True)
    assert tree(tmp_path / "ours") == tree(tmp_path / "theirs") == tree(strange)


def test_the_same_files_make_the_same_archive(strange: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "--archive", str(strange), str(copy)], check=True)
    assert packed(copy) == packed(strange)


def test_numbers_and_times_beyond_a_header(tmp_path: Path) -> None:
    for count, time in enumerate((0, 1, -1, -1_500_000_000, 8**11 * 10**9 + 1)):
        path = write(tmp_path / str(count), b"", uid=0o7777777 + count, gid=4294967294)
        os.utime(path, ns=(time, time))
    with tarfile.open(fileobj=io.BytesIO(packed(tmp_path))) as read:
        found = [(m.uid, m.gid, m.mtime) for m in read if m.isfile()]
    times = (0, 1e-9, -1e-9, -1.5, 8**11 + 1e-9)
    assert found == [(0o7777777 + n, 4294967294, t) for n, t in enumerate(times)]


def test_a_large_file(tmp_path: Path) -> None:
    """Over 8 GiB its size does not fit into a header."""

    class First:
        """Keeps the beginning."""

        data = b""

        def write(self, data: bytes) -> None:
            self.data = self.data or data
            if len(self.data) > 3000:
                raise BrokenPipeError

    with (tmp_path / "large").open("wb") as file:
        file.truncate(9 << 30)
    first = First()
    with pytest.raises(BrokenPipeError) as error:
        pack(str(tmp_path), first)
    assert "while packing large" in "".join(error.value.__notes__)
    assert b"19 size=9663676416\n" in first.data


# --- Beside umoci, over real overlay ------------------------------------------------------------


def umoci(*words: str) -> None:
    subprocess.run(["umoci", *words], check=True, capture_output=True)


def below(root: Path) -> None:
    for name in ("etc", "usr/bin", "whole/sub", "gone", "dir-to-file"):
        (root / name).mkdir(parents=True)
    for name in ("etc/a", "etc/b", "usr/bin/p", "whole/x", "whole/sub/y", "gone/g", "file-to-dir"):
        write(root / name, name.encode())
    (root / "etc/link").symlink_to("a")


def change(root: Path) -> None:
    """What a container might do."""
    write(root / "etc/new", b"new" * 100_000, 0o640, 7, 8)
    os.link(root / "etc/new", root / "etc/new-again")
    os.setxattr(root / "etc/new", "user.note", b"bytes\0\xff")
    (root / "etc/b").unlink()
    write(root / "usr/bin/p", b"changed", 0o4755)
    ping = write(root / "usr/bin/ping", b"ping", 0o755)
    os.setxattr(ping, "security.capability", CAPABILITY)
    shutil.rmtree(root / "whole")
    (root / "whole").mkdir()
    write(root / "whole/z", b"z")
    shutil.rmtree(root / "gone")
    shutil.rmtree(root / "dir-to-file")
    write(root / "dir-to-file", b"file")
    (root / "file-to-dir").unlink()
    (root / "file-to-dir").mkdir(mode=0o711)
    os.mkfifo(root / "etc/fifo")
    os.mknod(root / "etc/null", 0o20666, os.makedev(1, 3))
    (root / "etc/link").unlink()
    (root / "etc/link").symlink_to("t" * 150)
    write(root / "etc/中文", b"a name in Chinese")
    write(root / ("n" * 200), b"a long name")
    for path in [*root.rglob("*"), root]:
        os.utime(path, (1_700_000_000, 1_700_000_000), follow_symlinks=False)


def entries(data: bytes) -> Entries:
    """Each entry but its place in the archive; whiteouts among them."""
    found: Entries = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as read:
        for m in read:
            content = (file := read.extractfile(m) if m.isreg() else None) and file.read()
            xattrs = {k: v for k, v in m.pax_headers.items() if k.startswith("SCHILY")}
            numbers = (m.type, m.mode, m.uid, m.gid, m.size, m.mtime, m.devmajor, m.devminor)
            found[m.name] = (*numbers, m.linkname, xattrs, content)
    return found


def explicit(found: Entries, lower: Path) -> Entries:
    """With a whiteout for each name that an opaque directory hides, which is umoci's way."""
    for name in [name for name in found if name.endswith("/.wh..wh..opq")]:
        whiteout, where = found.pop(name), name.rpartition("/")[0]
        for hidden in os.listdir(lower / where) if (lower / where).is_dir() else ():
            if f"{where}/{hidden}" not in found:
                found[f"{where}/.wh.{hidden}"] = whiteout
    return found


def test_a_layer_equals_that_of_umoci(tmp_path: Path) -> None:
    image = f"{tmp_path}/image"
    umoci("init", "--layout", image)
    umoci("new", "--image", f"{image}:one")
    umoci("unpack", "--image", f"{image}:one", f"{tmp_path}/first")
    below(tmp_path / "first/rootfs")
    umoci("repack", "--image", f"{image}:one", f"{tmp_path}/first")
    umoci("unpack", "--image", f"{image}:one", f"{tmp_path}/bundle")
    root, lower = tmp_path / "bundle/rootfs", tmp_path / "lower"
    subprocess.run(["cp", "--archive", str(root), str(lower)], check=True)
    change(root)
    umoci("repack", "--image", f"{image}:two", f"{tmp_path}/bundle")
    theirs = entries(last_layer(tmp_path / "image"))

    ours = entries(packed(changed_in_overlay(tmp_path)))
    ours = explicit(ours, lower)
    for name in ("usr", "usr/bin"):  # overlay copies the directories above a change
        theirs.setdefault(name, ours[name])
    assert ours == theirs


def last_layer(layout: Path) -> bytes:
    """The archive of the topmost layer of the image that was made last."""

    def blob(descriptor: dict[str, str]) -> bytes:
        return (layout / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes()

    index = json.loads((layout / "index.json").read_bytes())
    (made,) = [m for m in index["manifests"] if "two" in m["annotations"].values()]
    layer = json.loads(blob(made))["layers"][-1]
    return subprocess.run(["zcat"], input=blob(layer), check=True, capture_output=True).stdout


def changed_in_overlay(folder: Path) -> Path:
    """The upper directory after the same changes in a real overlay."""
    for name in ("upper", "work", "merged"):
        (folder / name).mkdir()
    options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_pack; "
    code += f"test_pack.change(test_pack.Path({str(folder / 'merged')!r}))"
    script = 'mount -t overlay overlay -o "$1" "$2"; exec "$3" -c "$4"'
    words = ("sh", options, str(folder / "merged"), sys.executable, code)
    subprocess.run(["unshare", "--mount", "sh", "-ec", script, *words], check=True)
    return folder / "upper"


# --- What a layer cannot say --------------------------------------------------------------------


def test_what_is_hidden_survives(tmp_path: Path) -> None:
    """Also the whiteouts that overlay has had since Linux 6.7: an attribute of an empty file."""
    hiding = header(b"dir/", b"5") + header(b"dir/.wh..wh..opq") + header(b"dir/new")
    hiding += header(b".wh.gone") + END
    (tmp_path / "root").mkdir()
    extract(io.BytesIO(hiding), str(tmp_path / "root"))
    os.setxattr(write(tmp_path / "root/late", b""), "trusted.overlay.whiteout", b"y")
    os.setxattr(tmp_path / "root", "trusted.overlay.opaque", b"x")
    names = list(entries(packed(tmp_path / "root")))
    assert names == [".", "dir", "dir/.wh..wh..opq", "dir/new", ".wh.gone", ".wh.late"]


@pytest.mark.parametrize("attribute", ["trusted.overlay.redirect", "user.overlay.metacopy"])
def test_what_overlay_has_only_noted(tmp_path: Path, attribute: str) -> None:
    (tmp_path / "moved").mkdir()
    os.setxattr(tmp_path / "moved", attribute, b"/before")
    with pytest.raises(ValueError, match="moved: overlay has noted only where it was before"):
        pack(str(tmp_path), io.BytesIO())


def test_a_name_that_would_hide_another(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    write(tmp_path / "dir/.wh.passwd", b"")
    with pytest.raises(ValueError, match=r"dir/\.wh\.passwd: in a layer such a name means"):
        pack(str(tmp_path), io.BytesIO())


def test_a_socket_is_left_out_and_said(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "server"))
        done = pack(str(tmp_path), io.BytesIO())
    assert [words.en for words in done.told] == ["a socket was left out: server"]


@pytest.mark.parametrize("size", [0, 2 << 20])
def test_a_file_that_changes_meanwhile(tmp_path: Path, size: int) -> None:
    write(tmp_path / "log", bytes(1 << 20))

    class Changing(io.BytesIO):
        def write(self, data: object, /) -> int:  # noqa: ARG002
            os.truncate(tmp_path / "log", size)
            return 0

    with pytest.raises(ValueError, match="log: the file changed while it was packed"):
        pack(str(tmp_path), Changing())
