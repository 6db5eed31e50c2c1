"""A file of images from somewhere else: a tar archive, perhaps compressed, or an OCI layout folder.

No name in it is ever given to the kernel. Of a tar archive it is only noted where each file begins,
and a link in it is a second name in that list.
"""

import contextlib
import io
import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

from labkit.images import digest as digests
from labkit.images import oci, tar
from labkit.images.compression import CHUNK, decompressed, is_compressed
from labkit.text.words import Words

_LARGEST = 128 << 30  # bytes of an archive, decompressed
_MOST = 1 << 17  # entries
_LINKS = 8  # a link may lead to a link, but not in a circle


class Bundle(Protocol):
    """Files by their names in an archive of images."""

    def open(self, name: str) -> BinaryIO | None:
        """The file of that name; None: there is none."""


def read(bundle: Bundle, name: str) -> bytes:
    """A document of a bundle. ValueError: it is not there, or is too large for one."""
    with needed(bundle, name) as file:
        content = file.read(oci.LARGEST + 1)
    if len(content) > oci.LARGEST:
        raise oci.wrong(name, Words("对一份 JSON 来说太大了", "it is too large for a document"))
    return content


def has(bundle: Bundle, name: str) -> bool:
    """Whether there is a file of that name."""
    file = bundle.open(name)
    if file:
        file.close()
    return file is not None


def blob(bundle: Bundle, about: oci.Descriptor) -> BinaryIO:
    """The content that a descriptor speaks of, which has to be as long as it says."""
    name = f"blobs/sha256/{digests.sha256(about.digest)}"
    file = needed(bundle, name)
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size != about.size:
        file.close()
        said = Words(
            f"长度应是 {about.size}，实际是 {size}", f"its size is {size}, not {about.size}"
        )
        raise oci.wrong(name, said)
    return file


def checked(bundle: Bundle, about: oci.Descriptor) -> bytes:
    """A document that a descriptor speaks of, which has to have its digest."""
    blob(bundle, about).close()
    content = read(bundle, f"blobs/sha256/{digests.sha256(about.digest)}")
    if digests.of(content) != about.digest:
        raise oci.wrong(about.digest, Words("内容与摘要不符", "its content does not match it"))
    return content


def needed(bundle: Bundle, name: str) -> BinaryIO:
    """The file of that name. ValueError: there is none."""
    file = bundle.open(name)
    if file is None:
        raise oci.wrong(name, Words("归档里没有这个文件", "there is no such file in the archive"))
    return file


class _Folder:
    """An OCI image layout that is a directory."""

    def __init__(self, path: str) -> None:
        self._path = path

    def open(self, name: str) -> BinaryIO | None:
        if name.startswith("/") or ".." in name.split("/"):
            return None
        try:
            file = open(os.path.join(self._path, name), "rb")  # noqa: SIM115 - for the caller
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            return None
        return file


class _Tar:
    """A tar archive that is not compressed, in a file that can be read anywhere."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._places: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        contents = _Contents(file)
        for count, entry in enumerate(tar.Reader(contents)):
            if count >= _MOST:
                raise ValueError(Words(f"条目超过 {_MOST} 个", f"more than {_MOST} entries"))
            self._note(entry, contents.at)

    def _note(self, entry: tar.Entry, at: int) -> None:
        name = _plain(entry.name)
        if entry.kind == tar.FILE and entry.regions is None:
            self._places[name] = at, entry.size
        elif entry.kind == tar.LINK:
            self._links[name] = _plain(entry.target)
        elif entry.kind == tar.SYMLINK:  # as docker save wrote layers that it had already written
            self._links[name] = _plain(os.path.join(os.path.dirname(entry.name), entry.target))

    def open(self, name: str) -> BinaryIO | None:
        name = _plain(os.fsencode(name))
        for _ in range(_LINKS):
            if name in self._places:
                return io.BufferedReader(_Part(self._file.fileno(), *self._places[name]), CHUNK)
            name = self._links.get(name, "")
        return None


class _Part(io.RawIOBase):
    """Some bytes of a file that is open, to be read as a file."""

    def __init__(self, fd: int, start: int, size: int) -> None:
        self._fd, self._start, self._size, self._at = fd, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, start_from: int = os.SEEK_SET, /) -> int:
        self._at = offset + (0, self._at, self._size)[start_from]
        return self._at

    def readinto(self, memory: memoryview, /) -> int:  # type: ignore[override]
        room = max(0, min(len(memory), self._size - self._at))
        count = os.preadv(self._fd, [memory[:room]], self._start + self._at)
        self._at += count
        return count


class _Contents:
    """The bytes of a file as tar.Reader takes them: what is skipped is not read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.at = file, 0
        self._size = os.fstat(file.fileno()).st_size

    def take(self, count: int) -> bytes:
        self.skip(count)
        return os.pread(self._file.fileno(), count, self.at - count)

    def skip(self, count: int) -> None:
        self.at += count
        if self.at > self._size:
            raise ValueError(Words("归档在这里断了", "the archive breaks off here"))


@contextlib.contextmanager
def opened(source: str | BinaryIO, beside: Callable[[], str]) -> Iterator[Bundle]:
    """Open a file of images, or a folder. `beside` gives a path for what has to be decompressed."""
    if isinstance(source, str) and os.path.isdir(source):
        yield _Folder(source)
    elif isinstance(source, str):
        with open(source, "rb") as file, _plain_file(file, beside) as plain:
            yield _Tar(plain)
    else:
        with _plain_file(source, beside) as plain:
            yield _Tar(plain)


@contextlib.contextmanager
def _plain_file(source: BinaryIO, beside: Callable[[], str]) -> Iterator[BinaryIO]:
    """`source` itself, if it is a file that is not compressed; else a copy that is."""
    if source.seekable():
        start = source.read(CHUNK)
        source.seek(0)
        if not is_compressed(start):
            yield source
            return
    with open(beside(), "x+b") as plain:
        size = 0
        for chunk in decompressed(source, lambda _: None):
            size += plain.write(chunk)
            if size > _LARGEST:
                raise ValueError(Words("归档太大了", "the archive is too large"))
        plain.flush()
        yield plain


def _plain(name: bytes) -> str:
    """A name in an archive without ./ and the like, from the archive's top."""
    return posixpath.normpath("/" + os.fsdecode(name)).lstrip("/")
