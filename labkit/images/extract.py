"""A layer's archive becomes a directory that overlay can use; nothing outside it is touched."""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from labkit.images import tar
from labkit.images.compression import Source
from labkit.images.contents import Contents
from labkit.images.folder import DEEPEST, Tree
from labkit.images.tar_fields import bad, shown
from labkit.images.whiteouts import AUFS, OPAQUE, OVERLAY, WHITEOUT, is_whiteout
from labkit.linux.fields import dataclass, field
from labkit.linux.refusal import refusal
from labkit.text.words import Words, add_words

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NODES = {tar.CHARACTER: stat.S_IFCHR, tar.DISK: stat.S_IFBLK, tar.FIFO: stat.S_IFIFO}
# What the kernel refuses because of the archive, not because of the machine.
_ITS_FAULT = frozenset(
    (
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.EEXIST,
        errno.ENOTDIR,
        errno.ELOOP,
        errno.EFBIG,
        errno.ERANGE,
        errno.E2BIG,
    )
)


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold: bytes in all, decompressed, and entries."""

    size: int = 128 << 30
    entries: int = 4 << 20


@dataclass(frozen=True)
class Unpacked:
    """What was unpacked: digests and bytes; told: what could not be made as the archive has it.

    diff_id is the digest of the tar itself, digest and size are those of the bytes as they came.
    """

    diff_id: str
    digest: str
    size: int
    told: Mapping[str, Words] = field(default_factory=dict)


def extract(
    source: Source, into: str, *, rootless: bool = False, limits: Limits | None = None
) -> Unpacked:
    """Unpack a layer, a tar that may be compressed with gzip or zstd, into an empty directory.

    Whiteouts become overlay's. rootless: by an ordinary user, or root of a user namespace. What may
    not be given to its owner stays the caller's, and devices are left out.

    ValueError: the archive is damaged or hostile; OSError: the kernel refused something. Both name
    the entry. What has been unpacked until then is for the caller to remove.
    """
    limits = limits or Limits()
    with Contents(source, limits.size) as contents:
        reader = tar.Reader(contents)
        with _naming(reader), Tree(into, rootless) as tree:
            layer = _Layer(tree, contents, rootless)
            for count, entry in enumerate(reader):
                if count >= limits.entries:
                    raise bad(Words(f"条目超过 {count} 个", f"more than {count} entries"))
                layer.add(entry)
            contents.finish()
            tree.close()
        return Unpacked(contents.diff_id, contents.digest, contents.size, layer.told)


@contextmanager
def _naming(reader: tar.Reader) -> Iterator[None]:
    """Add the name of the entry to an error."""
    try:
        yield
    except ValueError as error:
        told = error.args[0]
        where = Words("{0}：{1}", "{0}: {1}") if reader.name else Words("{1}", "{1}")
        raise type(error)(where.filled(shown(reader.name), told)) from None
    except OSError as error:
        name = shown(reader.name)
        if error.errno in _ITS_FAULT:
            raise bad(Words(f"{name}：{error.strerror}", f"{name}: {error.strerror}")) from error
        add_words(error, Words(f"解开 {name} 的时候", f"while unpacking {name}"))
        raise


def _parts(name: bytes) -> list[bytes]:
    """The names that a path is made of; an absolute one begins at the layer's root."""
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise bad(Words("路径里有 ..", "its path holds .."))
    if len(parts) > DEEPEST:
        raise bad(Words(f"目录多于 {DEEPEST} 层", f"more than {DEEPEST} directories deep"))
    return parts


class _Layer:
    """Makes entry after entry."""

    def __init__(self, tree: Tree, contents: Contents, rootless: bool) -> None:
        self.told: dict[str, Words] = {}
        self._tree, self._contents, self._rootless = tree, contents, rootless
        self._makers: dict[bytes, Callable[[tar.Entry, int, bytes], None]] = {
            tar.FILE: self._file,
            tar.LINK: self._link,
            tar.SYMLINK: self._symlink,
            tar.CHARACTER: self._node,
            tar.DISK: self._node,
            tar.FIFO: self._node,
        }

    def add(self, entry: tar.Entry) -> None:
        """Make an entry, in place of what has its name."""
        parts = _parts(entry.name)
        if WHITEOUT in entry.name and any(part.startswith(WHITEOUT) for part in parts):
            self._hide(parts)
        elif entry.kind == tar.DIRECTORY:
            self._directory(entry, parts)
        elif entry.kind not in self._makers:
            raise bad(
                Words(f"不认识的条目类型 {entry.kind!r}", f"unknown type of entry {entry.kind!r}")
            )
        elif not parts:
            raise bad(Words("根只能是目录", "the root can only be a directory"))
        else:
            parent, make = self._tree.enter(parts[:-1]), self._makers[entry.kind]
            try:
                make(entry, parent, parts[-1])
            except FileExistsError:
                self._tree.clear(parts[-1])
                make(entry, parent, parts[-1])

    def _hide(self, parts: Sequence[bytes]) -> None:
        """What a layer hides of those below it, in overlay's form."""
        name, above = parts[-1], parts[:-1]
        inside = any(part.startswith(WHITEOUT) for part in above)
        if name != OPAQUE and any(part.startswith(AUFS) for part in parts):
            return  # AUFS kept its own records there
        if inside or (name == OPAQUE and not above):
            raise bad(Words("这样什么也遮不住", "nothing can be hidden so"))
        if name == OPAQUE:
            self._tree.hide_below(above)
        else:
            self._hide_one(above, name.removeprefix(WHITEOUT))

    def _hide_one(self, above: Sequence[bytes], name: bytes) -> None:
        if name in (b"", b".", b".."):
            raise bad(Words("遮盖的不是一个名字", "what it hides is no name"))
        parent = self._tree.enter(above)
        try:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent)
        except FileExistsError:  # of this layer, which hides only what is in those below
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                self._tree.hide_below([*above, name])
        except PermissionError as error:
            call = f'mknodat("{os.fsdecode(name)}", S_IFCHR, makedev(0, 0))'
            raise refusal(call, error.errno or errno.EPERM) from None

    def _directory(self, entry: tar.Entry, parts: Sequence[bytes]) -> None:
        fd = self._tree.make(parts)
        self._own(entry, fd)
        if entry.xattrs:
            self._attributes(entry, fd)
        self._tree.describe(entry.mode, entry.mtime)

    def _file(self, entry: tar.Entry, parent: int, name: bytes) -> None:
        fd = os.open(name, _NEW, 0o600, dir_fd=parent)
        try:
            if entry.regions is not None:
                self._write_regions(entry, fd)
            elif entry.size:
                self._write(fd, entry.size)
            self._own(entry, fd)  # takes set-user-ID and capabilities away
            os.chmod(fd, entry.mode)
            if entry.xattrs:
                self._attributes(entry, fd)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def _write(self, fd: int, size: int) -> None:
        """Write the next `size` bytes of the archive."""
        whole = self._contents.view(size)
        for piece in (whole,) if whole is not None else self._contents.pieces(size):
            done = os.write(fd, piece)
            while done < len(piece):
                done += os.write(fd, piece[done:])

    def _write_regions(self, entry: tar.Entry, fd: int) -> None:
        """Write what a file has between its holes."""
        for start, length in entry.regions or ():
            os.lseek(fd, start, os.SEEK_SET)
            self._write(fd, length)
        os.truncate(fd, entry.size)

    def _link(self, entry: tar.Entry, parent: int, name: bytes) -> None:
        """A second name for a file of this layer."""
        *above, last = _parts(entry.target) or [b""]
        try:
            with self._tree.opened(above) as there:
                found = os.stat(last, dir_fd=there, follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode) or is_whiteout(found):
                    raise FileNotFoundError
                os.link(last, name, src_dir_fd=there, dst_dir_fd=parent, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            target = shown(entry.target)
            raise bad(
                Words(
                    f"硬链接指向 {target}，这一层里没有这个文件",
                    f"a hard link to {target}, which is no file of this layer",
                )
            ) from None

    def _symlink(self, entry: tar.Entry, parent: int, name: bytes) -> None:
        if not entry.target:
            raise bad(Words("符号链接没有目标", "a symbolic link to nothing"))
        os.symlink(entry.target, name, dir_fd=parent)
        self._describe(entry, parent, name)

    def _node(self, entry: tar.Entry, parent: int, name: bytes) -> None:
        if entry.kind == tar.CHARACTER and not entry.device:
            raise bad(Words("设备 0, 0 是 overlay 的遮盖", "the device 0, 0 is overlay's whiteout"))
        if self._rootless and entry.kind != tar.FIFO:
            told = Words(
                "没有特权不能创建设备文件，略去了：{0} 等",
                "no device can be made without privileges; left out: {0} and others like it",
            )
            self.told.setdefault("device", told.filled(shown(entry.name)))
            return
        os.mknod(name, _NODES[entry.kind] | 0o600, entry.device, dir_fd=parent)
        self._describe(entry, parent, name)

    def _describe(self, entry: tar.Entry, parent: int, name: bytes) -> None:
        """Owner, mode, attributes and time of something that is not opened."""
        self._own(entry, name, parent)
        if entry.kind != tar.SYMLINK:
            os.chmod(name, entry.mode, dir_fd=parent)
        if entry.xattrs:
            self._attributes(entry, b"/proc/self/fd/%d/%b" % (parent, name))
        times = (entry.mtime, entry.mtime)
        os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)

    def _own(self, entry: tar.Entry, what: int | bytes, parent: int | None = None) -> None:
        """Give it to its owner, where that may be done."""
        try:
            if isinstance(what, int):
                os.chown(what, entry.uid, entry.gid)
            else:
                os.chown(what, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if not self._rootless or error.errno not in (errno.EPERM, errno.EINVAL):
                raise
            if (entry.uid, entry.gid) == (0, 0):  # root of this user's containers is this user
                return
            told = Words(
                "不能交给用户 {1}:{2}，归你自己：{0} 等；要分开，就让管理员装 uidmap，"
                "在 /etc/subuid 和 /etc/subgid 里给你下属号，再在终端里用 labkit",
                "no file can be given to user {1}:{2}, so it is your own: {0} and others like it; "
                "they stay apart with subordinate IDs: the package uidmap, /etc/subuid and "
                "/etc/subgid, and labkit in a terminal",
            )
            self.told.setdefault("owner", told.filled(shown(entry.name), entry.uid, entry.gid))

    def _attributes(self, entry: tar.Entry, where: int | bytes) -> None:
        """Its extended attributes but overlay's own, by which a layer would rule over others."""
        for key, value in entry.xattrs.items():
            if key.startswith(OVERLAY):
                continue
            try:
                os.setxattr(where, key, value, follow_symlinks=isinstance(where, int))
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
                    raise
                told = Words(
                    "不能设置扩展属性 {1}：{0} 等",
                    "the attribute {1} cannot be set: {0} and others like it",
                )
                name = shown(entry.name)
                self.told.setdefault("attribute", told.filled(name, shown(key)))
