"""docker export: the merged root of a container as one tar archive, without its layers."""

import os
import stat
from collections.abc import Sequence
from typing import BinaryIO

from labkit.images import tar
from labkit.images.compression import CHUNK
from labkit.images.merged import Node, walk
from labkit.images.tar_writer import BLOCK, END, header
from labkit.images.whiteouts import OVERLAY

_KINDS = {
    stat.S_IFDIR: tar.DIRECTORY,
    stat.S_IFREG: tar.FILE,
    stat.S_IFLNK: tar.SYMLINK,
    stat.S_IFCHR: tar.CHARACTER,
    stat.S_IFBLK: tar.DISK,
    stat.S_IFIFO: tar.FIFO,
}


def export(layers: Sequence[str], out: BinaryIO) -> None:
    """Write the root that `layers` merge to, the uppermost first. Sockets are left out."""
    first: dict[tuple[int, int], bytes] = {}
    for path, node in walk(layers):
        if (kind := _KINDS.get(stat.S_IFMT(node.stat.st_mode))) is None:
            continue
        name = os.fsencode(path) + b"/" * node.is_directory
        inode = node.stat.st_dev, node.stat.st_ino
        same = first.setdefault(inode, name) if not node.is_directory else name
        entry = _entry(name, kind, node)
        if same != name:
            entry.kind, entry.target, entry.size = tar.LINK, same, 0
        out.write(header(entry))
        if entry.kind == tar.FILE:
            _copy(node.path, entry.size, out)
    out.write(END)


def _entry(name: bytes, kind: bytes, node: Node) -> tar.Entry:
    about = node.stat
    return tar.Entry(
        name=name,
        kind=kind,
        mode=stat.S_IMODE(about.st_mode),
        uid=about.st_uid,
        gid=about.st_gid,
        size=about.st_size if kind == tar.FILE else 0,
        mtime=about.st_mtime_ns,
        target=os.readlink(os.fsencode(node.path)) if kind == tar.SYMLINK else b"",
        device=about.st_rdev,
        xattrs=_attributes(node.path),
    )


def _copy(path: str, size: int, out: BinaryIO) -> None:
    """Copy a file, which may be written to meanwhile: as many bytes as its header says."""
    left = size
    with open(path, "rb", buffering=0) as file:
        while left and (data := file.read(min(left, CHUNK))):
            out.write(data)
            left -= len(data)
    out.write(bytes(left + -size % BLOCK))


def _attributes(path: str) -> dict[bytes, bytes]:
    """The extended attributes, but overlay's own."""
    found = {os.fsencode(name) for name in os.listxattr(path, follow_symlinks=False)}
    return {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in found
        if not name.startswith(OVERLAY)
    }
