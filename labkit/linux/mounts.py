"""The calls that change mounts and the root directory: mount(2), pivot_root(2), fsopen(2)."""

import os
import struct

from labkit.linux import trace
from labkit.linux.call import only_thread
from labkit.linux.files import shown_directory
from labkit.linux.flags import (
    Fsconfig,
    Fsmount,
    Fsopen,
    Mount,
    MountAttr,
    MoveMount,
    OpenTree,
    Umount,
)
from labkit.linux.trace import STRING, quoted


def mount(
    source: str | None,
    target: str,
    filesystemtype: str | None = None,
    mountflags: int = 0,
    data: str | None = None,
) -> None:
    """Mount a file system on `target`, or bind, move or change a mount. mount(2)."""
    only_thread("mount")
    texts = [None if t is None else os.fsencode(t) for t in (source, target, filesystemtype, data)]
    shown = (
        f"{quoted(source)}, {quoted(target)}, {quoted(filesystemtype, STRING)}, "
        f"{Mount(mountflags)}, {quoted(data, STRING)}"
    )
    trace.make("mount", shown, *texts[:3], mountflags, texts[3])


def umount2(target: str, flags: int = 0) -> None:
    """Unmount the file system on `target`. umount(2)."""
    only_thread("umount2")
    shown = f"{quoted(target)}, {Umount(flags)}"
    trace.make("umount2", shown, os.fsencode(target), flags)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make the mount at `new_root` the root and move the old root to `put_old`. pivot_root(2)."""
    only_thread("pivot_root")
    shown = f"{quoted(new_root)}, {quoted(put_old)}"
    trace.make("pivot_root", shown, os.fsencode(new_root), os.fsencode(put_old))


def chroot(path: str) -> None:
    """Change what ``/`` means to this process, and nothing else. chroot(2)."""
    only_thread("chroot")
    trace.make("chroot", quoted(path), os.fsencode(path))


def fsopen(fsname: str, flags: int = 0) -> int:
    """Begin to make a file system. Returns a descriptor, for fsconfig and fsmount. fsopen(2)."""
    name = os.fsencode(fsname)
    return trace.make("fsopen", f"{quoted(name, STRING)}, {Fsopen(flags)}", name, flags)


def fsconfig(
    fd: int, cmd: Fsconfig, key: str | None = None, value: str | None = None, aux: int = 0
) -> None:
    """Set an option of a file system that fsopen has begun, or create it. fsconfig(2).

    FSCONFIG_SET_FD takes a descriptor in `aux`. Of one key there may be any number of values, where
    mount(2) takes one page of options.
    """
    texts = [None if text is None else os.fsencode(text) for text in (key, value)]
    shown = f"{fd}, {cmd.name}, {quoted(key, STRING)}, {quoted(value, STRING)}, {aux}"
    trace.make("fsconfig", shown, fd, cmd, *texts, aux)


def fsmount(fd: int, flags: int = 0, attr_flags: int = 0) -> int:
    """Make a mount of a file system that has been created. It is nowhere yet. fsmount(2)."""
    shown = f"{fd}, {Fsmount(flags)}, {MountAttr(attr_flags)}"
    return trace.make("fsmount", shown, fd, flags, attr_flags)


def move_mount(from_dirfd: int, from_path: str, to_dirfd: int, to_path: str, flags: int) -> None:
    """Put a mount in another place. With an empty path its descriptor is meant. move_mount(2)."""
    only_thread("move_mount")
    shown = (
        f"{shown_directory(from_dirfd)}, {quoted(from_path)}, "
        f"{shown_directory(to_dirfd)}, {quoted(to_path)}, {MoveMount(flags)}"
    )
    paths = os.fsencode(from_path), os.fsencode(to_path)
    trace.make("move_mount", shown, from_dirfd, paths[0], to_dirfd, paths[1], flags)


def open_tree(dirfd: int, path: str, flags: int) -> int:
    """Open a mount, or with OPEN_TREE_CLONE a copy of it that is nowhere yet. open_tree(2)."""
    shown = f"{shown_directory(dirfd)}, {quoted(path)}, {OpenTree(flags)}"
    return trace.make("open_tree", shown, dirfd, os.fsencode(path), flags)


def mount_setattr(
    dirfd: int, path: str, flags: int, attr_set: int = 0, attr_clr: int = 0, userns_fd: int = 0
) -> None:
    """Set and clear attributes of a mount. mount_setattr(2).

    With AT_RECURSIVE also of all mounts below it. userns_fd: with MOUNT_ATTR_IDMAP, whose map of
    IDs the mount gets. The kernel knows the call since Linux 5.12.
    """
    only_thread("mount_setattr")
    attributes = struct.pack("4Q", attr_set, attr_clr, 0, userns_fd)  # the third is propagation
    described = (
        f"{{attr_set={MountAttr(attr_set)}, attr_clr={MountAttr(attr_clr)}, propagation=0, "
        f"userns_fd={userns_fd}}}"
    )
    shown = (
        f"{shown_directory(dirfd)}, {quoted(path)}, {OpenTree(flags)}, {described}, "
        f"{len(attributes)}"
    )
    values = dirfd, os.fsencode(path), flags, attributes, len(attributes)
    trace.make("mount_setattr", shown, *values)
