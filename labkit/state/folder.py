"""Where labkit keeps things: what is to last, and what ends with this boot."""

import errno
import itertools
import os
import stat
from _collections_abc import Iterator

from labkit.linux import id_maps
from labkit.text.words import Words

OVERRIDE = "LABKIT_STATE"
"""The environment variable that names another folder for both."""


def lasting() -> str:
    """The folder of what lasts, such as images: /var/lib/labkit, or XDG_DATA_HOME without root."""
    return make(where_lasting())


def where_lasting() -> str:
    """Where that folder is, or would be; nothing is made."""
    if other := os.environ.get(OVERRIDE):
        return os.path.join(other, "lib")
    if _is_host_root():
        return "/var/lib/labkit"
    home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return os.path.join(home, "labkit")


def passing() -> str:
    """The folder of what ends with this boot: /run/labkit, or XDG_RUNTIME_DIR without root."""
    if other := os.environ.get(OVERRIDE):
        return make(os.path.join(other, "run"))
    if _is_host_root():
        return make("/run/labkit")
    base = os.environ.get("XDG_RUNTIME_DIR")
    return make(os.path.join(base, "labkit") if base else f"/tmp/labkit-{id_maps.outside()}")  # noqa: S108


def _is_host_root() -> bool:
    """Whether /var/lib is ours to write: root of a user namespace is not root there."""
    return os.geteuid() == 0 and os.access("/var/lib", os.W_OK)


def make(path: str) -> str:
    """Make a folder that only its owner may enter, unless it is there. It has to be our own.

    A layer holds set-user-ID programs of its image, which no other user may reach. And in /tmp
    somebody else could have made the folder before us.
    """
    os.makedirs(path, mode=0o700, exist_ok=True)
    found = os.stat(path, follow_symlinks=not path.startswith("/tmp/"))  # noqa: S108
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ValueError(
            Words(
                f"{path} 不是自己的目录：它属于用户 {found.st_uid}",
                f"{path} is not a directory of our own: it belongs to user {found.st_uid}",
            )
        )
    return path


def sync(path: str) -> None:
    """Put a directory's entries on disk: a rename is there after a power cut too. fsync(2)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove(path: str) -> None:
    """Remove a file, or a directory with all that is in it; nothing if it is not there.

    No link is followed. A tree may be as deep as its image made it, so there is no recursion:
    directories are moved up beside their parent, one level at a time, before their turn comes.
    """
    try:
        top = _open(path)
    except NotADirectoryError:
        os.unlink(path)
        return
    except FileNotFoundError:
        return
    numbers = itertools.count()
    try:
        while waiting := _empty(top, top, numbers):
            for name in waiting:
                _remove_child(top, name, numbers)
    finally:
        os.close(top)
    os.rmdir(path)


def _remove_child(top: int, name: str, numbers: Iterator[int]) -> None:
    child = _open(name, top)
    try:
        _empty(child, top, numbers)
    finally:
        os.close(child)
    os.rmdir(name, dir_fd=top)


def _open(name: str, parent: int | None = None) -> int:
    """Open a directory, never through a link; where its mode forbids that, change its mode."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=parent)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent)
        return os.open(name, flags, dir_fd=parent)


def _empty(directory: int, top: int, numbers: Iterator[int]) -> list[str]:
    """Unlink the files of a directory, and move the directories in it up into `top`.

    The names of the directories; those of `top` itself stay where they are.
    """
    os.fchmod(directory, 0o700)  # without root, what may be entered may not always be changed
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        if not is_directory:
            os.unlink(name, dir_fd=directory)
        elif directory != top:
            _move_up(directory, name, top, numbers)
    return [name for name, is_directory in found if is_directory]


def _move_up(directory: int, name: str, top: int, numbers: Iterator[int]) -> None:
    """Move a directory into `top` under a number that is free there."""
    if os.geteuid():  # to move it is to write its entry "..", which takes its own permission
        os.chmod(name, 0o700, dir_fd=directory)
    for number in numbers:
        try:
            os.rename(name, f".{number}", src_dir_fd=directory, dst_dir_fd=top)
            return
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
