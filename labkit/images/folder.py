"""A directory tree that is being filled: each directory open, entered from the one above it.

No name is ever given to the kernel as a path. So no symbolic link can lead outside.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from labkit.images.tar_fields import bad, shown
from labkit.images.whiteouts import is_whiteout, opaque
from labkit.linux.refusal import refusal
from labkit.text.words import Words

DEEPEST = 256
"""Directories below one another: each of them costs a descriptor meanwhile."""

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a directory is opened by its name in the one above it."""

_OPEN_TO_US = 0o700
_PARENT_MODE = 0o755  # of a directory that no entry has spoken of: Docker's choice


class Tree:
    """The directory `into`, and those below it that lead to where something is made now.

    rootless: overlay's attributes are those that a mount with `userxattr` understands.
    """

    def __init__(self, into: str, rootless: bool) -> None:
        self._opaque = opaque(rootless)
        self._names: list[bytes] = []
        self._open = [os.open(into, OPEN_DIRECTORY)]
        self._times: dict[bytes, int] = {}
        self._rootless = rootless
        self._closed: dict[tuple[bytes, ...], int] = {}  # modes that are set last

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        while self._open:
            self._leave()

    def enter(self, names: Sequence[bytes]) -> int:
        """The descriptor of a directory, which is made if it is missing."""
        if names != self._names:
            same = 0
            for one, other in zip(names, self._names, strict=False):
                if one != other:
                    break
                same += 1
            while len(self._names) > same:
                self._leave()
            for name in names[same:]:
                self._descend(name)
        return self._open[-1]

    @contextmanager
    def opened(self, names: Sequence[bytes]) -> Iterator[int]:
        """The descriptor of a directory to look into; it is not made if it is missing."""
        if [*names] == self._names:
            yield self._open[-1]
            return
        fd = os.dup(self._open[0])
        try:
            for name in names:
                below = os.open(name, OPEN_DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)

    def make(self, names: Sequence[bytes]) -> int:
        """The same for an entry of its own, which takes the place of what is there."""
        if names:
            parent = self.enter(names[:-1])
            try:
                os.mkdir(names[-1], _PARENT_MODE, dir_fd=parent)
            except FileExistsError:
                self._take_place(parent, names[-1])
        return self.enter(names)

    def describe(self, mode: int, mtime: int) -> None:
        """Give the directory entered last its mode and time, though more may be made in it.

        An ordinary user could make nothing in a directory without write permission, such as
        Fedora's /usr/bin. So those wait for :meth:`close`.
        """
        self._times[b"/".join(self._names)] = mtime
        self._closed.pop(tuple(self._names), None)
        if self._rootless and mode & _OPEN_TO_US != _OPEN_TO_US:
            self._closed[tuple(self._names)] = mode
        else:
            os.chmod(self._open[-1], mode)

    def close(self) -> None:
        """Set the modes that had to wait, the deepest first."""
        for names in sorted(self._closed, key=len, reverse=True):
            with suppress(FileNotFoundError, NotADirectoryError), self.opened(names) as fd:
                os.chmod(fd, self._closed[names])  # else something has taken its place

    def hide_below(self, names: Sequence[bytes]) -> None:
        """Mark a directory as opaque: of the layers below it shows nothing."""
        for attribute in self._opaque:
            try:
                os.setxattr(self.enter(names), attribute, b"y")
            except OSError as error:
                call = f'setxattr("{os.fsdecode(attribute)}")'
                raise refusal(call, error.errno or 0) from None

    def clear(self, name: bytes) -> None:
        """Take away what has this name in the directory entered last."""
        parent = self._open[-1]
        try:
            os.unlink(name, dir_fd=parent)
        except IsADirectoryError:
            shutil.rmtree(name, dir_fd=parent)

    def _take_place(self, parent: int, name: bytes) -> None:
        """See that a directory is where something is already."""
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            return
        os.unlink(name, dir_fd=parent)
        os.mkdir(name, _PARENT_MODE, dir_fd=parent)
        if is_whiteout(found):
            self.hide_below([*self._names, name])

    def _descend(self, name: bytes) -> None:
        """Go down to a directory, which is made if it is missing."""
        parent = self._open[-1]
        try:
            self._push(name)
        except FileNotFoundError:
            os.mkdir(name, _PARENT_MODE, dir_fd=parent)
            self._push(name)
            os.chmod(self._open[-1], _PARENT_MODE)  # mkdir(2) obeys the umask
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            if not is_whiteout(os.stat(name, dir_fd=parent, follow_symlinks=False)):
                where = shown(b"/".join([*self._names, name]))
                raise bad(
                    Words(f"它的上级 {where} 不是目录", f"{where} above it is no directory")
                ) from None
            self._take_place(parent, name)

    def _push(self, name: bytes) -> None:
        self._open.append(os.open(name, OPEN_DIRECTORY, dir_fd=self._open[-1]))
        self._names.append(name)

    def _leave(self) -> None:
        """Go up; the time of the directory that is left was kept until now."""
        time = self._times.get(b"/".join(self._names))
        last = self._open.pop()
        if self._names:
            self._names.pop()
        try:
            if time is not None:
                os.utime(last, ns=(time, time))
        finally:
            os.close(last)
