"""What is mounted in a root besides what each container has: volumes and file systems in memory.

A path inside is the image's: a symbolic link in it may point anywhere. So everything of the host's
is opened before the root changes, and is put in its place afterwards. No path leads outside then,
but for the magic links of /proc: RESOLVE_IN_ROOT follows none of them.
"""

import errno
import os
import stat
from _collections_abc import Iterator

from labkit.container.root import Memory, Root, Volume
from labkit.linux import door, proc
from labkit.linux.call import looked, may_be_there
from labkit.linux.files import mkdirat, mknodat, openat2
from labkit.linux.flags import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REMOUNT,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    RESOLVE_IN_ROOT,
    Mount,
)
from labkit.linux.mounts import (
    mount,
    mount_setattr,
    move_mount,
    open_tree,
)
from labkit.python import functools


def outside(root: Root) -> list[int]:
    """Open a copy of each volume's mounts, while the host's paths can be reached.

    A copy is nowhere yet, so nobody sees it before it is read-only.
    """
    return [_opened(volume) for volume in _volumes(root)]


def _volumes(root: Root) -> Iterator[Volume]:
    return (each for each in root.mounts() if isinstance(each, Volume))


def _opened(volume: Volume) -> int:
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE
    tree = open_tree(AT_FDCWD, volume.source, flags)
    if volume.readonly and knows_mount_setattr():
        mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, MOUNT_ATTR_RDONLY)
    return tree


def put(root: Root, trees: list[int]) -> None:
    """Mount the volumes, which are open, and the file systems in memory."""
    opened = iter(trees)
    for each in root.mounts():
        if isinstance(each, Volume):
            put_tree(next(opened), each.target, directory=not looked(_is_file, each.source))
            if each.readonly and not knows_mount_setattr():
                _remount_read_only(each)
        else:
            _put_memory(each)


def put_tree(tree: int, target: str, *, directory: bool) -> None:
    """Mount an open tree on `target` in the root, which is made if it is missing."""
    place = opened(target, directory=directory)
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    move_mount(tree, "", place, "", flags)


def opened(target: str, *, directory: bool) -> int:
    """Open `target` in the root; it is made if it is missing."""
    make(target, directory=directory)
    return openat2(AT_FDCWD, target, os.O_PATH | os.O_CLOEXEC, RESOLVE_IN_ROOT)


def make(target: str, *, directory: bool) -> None:
    """Make `target` in the root, and the directories on the way, as far as they are missing.

    The working directory is the root, and openat2 takes it for the root directory. mkdirat and
    mknodat follow no link in the last part of a path.
    """
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    *parents, last = target.strip("/").split("/")
    above, at = "/", AT_FDCWD
    for name in parents:
        with may_be_there():
            mkdirat(at, name, 0o755)
        above += f"{name}/"
        at = openat2(AT_FDCWD, above, flags, RESOLVE_IN_ROOT)
    with may_be_there():
        if directory:
            mkdirat(at, last, 0o755)
        else:
            mknodat(at, last, stat.S_IFREG | 0o644)


def _put_memory(memory: Memory) -> None:
    opened(memory.target, directory=True)
    mount("tmpfs", memory.target, "tmpfs", memory.flags, memory.options or None)


def _is_file(path: str) -> bool:
    """Whether a volume is a file. If there is none, the kernel says so when it is opened."""
    return os.path.exists(path) and not os.path.isdir(path)


def _remount_read_only(volume: Volume) -> None:
    """Make a volume read-only, mount by mount, on a kernel older than mount_setattr(2)."""
    for below, kept in looked(_mounts_of, volume.source):
        flags = MS_REMOUNT | MS_BIND | MS_RDONLY | kept
        mount(None, volume.target + below, None, flags, None)


def _mounts_of(path: str) -> list[tuple[str, Mount]]:
    """What is mounted at `path` and below it, with the flags that a remount must name."""
    source = os.path.realpath(path)
    below = [m.point for m in proc.mounts() if m.point.startswith(f"{source.rstrip('/')}/")]
    points = dict.fromkeys([source, *below])
    return [(point.removeprefix(source), kept_flags(point)) for point in points]


def make_read_only(target: str, source: str, recursive: int = 0) -> None:
    """Make the mount at `target` read-only. source: what it is outside.

    recursive: AT_RECURSIVE for the mounts below it too, which an old kernel leaves as they are.
    """
    if knows_mount_setattr():
        mount_setattr(AT_FDCWD, target, recursive, MOUNT_ATTR_RDONLY)
    else:
        kept = looked(kept_flags, source)
        mount(None, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | kept, None)


def kept_flags(path: str) -> Mount:
    """The flags of the mount of `path` that a remount must name, or they would be taken off.

    Root of a user namespace may not take them off: mount_namespaces(7).
    """
    try:
        flags = os.statvfs(path).f_flag
    except OSError:
        return Mount(0)
    return Mount(flags & (MS_NOSUID | MS_NODEV | MS_NOEXEC))


@functools.cache
def knows_mount_setattr() -> bool:
    """Whether this kernel has the call: since Linux 5.12. It is asked with what it must refuse."""
    return door.call("mount_setattr", (-1, b"", 0, bytes(32), 32)) != -errno.ENOSYS
