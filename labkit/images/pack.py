"""The upper directory of an overlay becomes a layer's archive: what a container has changed."""

import os
import stat
from collections.abc import Callable, Sequence
from typing import Protocol

from labkit.images import tar
from labkit.images.compression import CHUNK
from labkit.images.contents import Hash
from labkit.images.folder import DEEPEST, OPEN_DIRECTORY
from labkit.images.tar_fields import bad, shown
from labkit.images.tar_writer import BLOCK, END, header
from labkit.images.whiteouts import OPAQUE, OVERLAY, WHITEOUT, is_whiteout
from labkit.linux.fields import dataclass
from labkit.text.words import Words, add_words

_KINDS = {
    stat.S_IFREG: tar.FILE,
    stat.S_IFLNK: tar.SYMLINK,
    stat.S_IFCHR: tar.CHARACTER,
    stat.S_IFBLK: tar.DISK,
    stat.S_IFDIR: tar.DIRECTORY,
    stat.S_IFIFO: tar.FIFO,
}
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OF_THE_HOST = b"security."  # labels that its security module gave
_CAPABILITY = b"security.capability"


class Output(Protocol):
    """Whatever takes bytes."""

    def write(self, data: bytes, /) -> object:
        """Take all of `data`."""


@dataclass(frozen=True)
class Packed:
    """What was packed: the digest of the archive and its bytes; told: what it does not hold."""

    diff_id: str
    size: int
    told: tuple[Words, ...] = ()


def pack(upper: str, out: Output) -> Packed:
    """Write what the upper directory of an overlay holds as a layer, the same for the same files.

    Overlay's whiteouts become a layer's. The root is in it too, with its owner, mode and time.
    ValueError: what no layer can say; OSError: the kernel refused something. Both name the file.
    """
    packer = _Packer(out)
    try:
        fd = os.open(upper, OPEN_DIRECTORY)
        try:
            packer.directory(fd)
        finally:
            os.close(fd)
        packer.end()
    except ValueError as error:
        raise ValueError(
            Words("{0}：{1}", "{0}: {1}").filled(packer.place(), error.args[0])
        ) from None
    except OSError as error:
        add_words(error, Words("打包 {0} 的时候", "while packing {0}").filled(packer.place()))
        raise
    finally:
        packer.hash.finish()
    return Packed(packer.hash.digest, packer.hash.size, tuple(packer.told))


class _Packer:
    """Writes entry after entry."""

    def __init__(self, out: Output) -> None:
        self.hash = Hash()
        self.told: list[Words] = []
        self._out = out
        self._waiting = bytearray()
        self._names: list[bytes] = []  # of the directories that are being packed, and the file
        self._first: dict[tuple[int, int], bytes] = {}  # the first name of a file with several

    def place(self) -> str:
        """The file that is being packed."""
        return shown(b"/".join(self._names) or b"/")

    def directory(self, fd: int) -> None:
        """A directory, and all that is in it, ordered by name."""
        if len(self._names) > DEEPEST:
            raise bad(Words(f"目录多于 {DEEPEST} 层", f"more than {DEEPEST} directories deep"))
        own, overlay = self._attributes(fd)
        self._add(os.stat(fd), own)
        if overlay.get(b"opaque") == b"y":
            self._hide(OPAQUE, self._names)
        for name in sorted(os.fsencode(name) for name in os.listdir(fd)):
            self._names.append(name)
            self._one(fd, name)
            self._names.pop()

    def end(self) -> None:
        """Write what marks the end of an archive."""
        self._write(END)
        self._flush()

    def _one(self, parent: int, name: bytes) -> None:
        """What has this name in an open directory."""
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if is_whiteout(found):
            self._hide(WHITEOUT + name, self._names[:-1])
        elif name.startswith(WHITEOUT):
            raise bad(
                Words("这样的名字在层里另有意思", "in a layer such a name means something else")
            )
        elif stat.S_ISDIR(found.st_mode):
            self._opened(parent, name, OPEN_DIRECTORY, self.directory)
        elif stat.S_ISREG(found.st_mode):
            self._opened(parent, name, _OPEN_FILE, self._file)
        elif stat.S_ISSOCK(found.st_mode):
            self._tell(Words("略去了套接字 {0}", "a socket was left out: {0}"))
        else:
            own, _ = self._attributes(b"/proc/self/fd/%d/%b" % (parent, name))
            target = os.readlink(name, dir_fd=parent) if stat.S_ISLNK(found.st_mode) else b""
            self._add(found, own, target)

    def _opened(self, parent: int, name: bytes, flags: int, then: Callable[[int], None]) -> None:
        fd = os.open(name, flags, dir_fd=parent)
        try:
            then(fd)
        finally:
            os.close(fd)

    def _file(self, fd: int) -> None:
        found = os.stat(fd)
        own, overlay = self._attributes(fd)
        if b"whiteout" in overlay and not found.st_size:  # how overlay has it since Linux 6.7
            self._hide(WHITEOUT + self._names[-1], self._names[:-1])
            return
        if not self._add(found, own):
            return  # a name more for what is there already
        left = found.st_size
        while left and (data := os.read(fd, min(left, CHUNK))):
            self._write(data)
            left -= len(data)
        if left or os.read(fd, 1):
            raise bad(Words("文件在打包的时候变了", "the file changed while it was packed"))
        self._write(bytes(-found.st_size % BLOCK))

    def _add(self, found: os.stat_result, xattrs: dict[bytes, bytes], target: bytes = b"") -> bool:
        """Write the header of the file that is being packed; whether its data is to follow."""
        kind, name = _KINDS[stat.S_IFMT(found.st_mode)], b"/".join(self._names)
        if kind == tar.DIRECTORY:
            name = (name or b".") + b"/"
        elif found.st_nlink > 1:
            first = self._first.setdefault((found.st_dev, found.st_ino), name)
            if first != name:
                kind, target = tar.LINK, first
        size = found.st_size if kind == tar.FILE else 0
        entry = tar.Entry(
            name,
            kind,
            stat.S_IMODE(found.st_mode),
            found.st_uid,
            found.st_gid,
            size,
            found.st_mtime_ns,
            target,
            found.st_rdev,
            xattrs,
        )
        self._write(header(entry))
        return kind == tar.FILE

    def _hide(self, name: bytes, above: Sequence[bytes]) -> None:
        """Write the empty file that hides something, in the directory `above`."""
        whole = b"/".join([*above, name])
        self._write(header(tar.Entry(whole, tar.FILE, 0, 0, 0, 0, 0, b"", 0, {})))

    def _attributes(self, where: int | bytes) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
        """The attributes that go into the layer, and those of overlay, without their prefix."""
        own, overlay = {}, {}
        follow = isinstance(where, int)
        for text in os.listxattr(where, follow_symlinks=follow):
            name = os.fsencode(text)
            value = os.getxattr(where, name, follow_symlinks=follow)
            if name.startswith(OVERLAY):
                overlay[name.partition(b".overlay.")[2]] = value
            elif name == _CAPABILITY or not name.startswith(_OF_THE_HOST):
                own[name] = value
        if b"redirect" in overlay or b"metacopy" in overlay:
            raise bad(
                Words(
                    "overlay 只记下了它改名前在哪里（redirect_dir、metacopy），层里不能这样写",
                    "overlay has noted only where it was before (redirect_dir, metacopy), "
                    "which no layer can say",
                )
            )
        return own, overlay

    def _tell(self, words: Words) -> None:
        self.told.append(words.filled(self.place()))

    def _write(self, data: bytes) -> None:
        """Gather what is small: a thread hashes it, and the output takes it, in large pieces."""
        self._waiting += data
        if len(self._waiting) >= CHUNK:
            self._flush()

    def _flush(self) -> None:
        data = bytes(self._waiting)
        self._waiting.clear()
        self.hash.update(data)
        self._out.write(data)
