"""The overlay of a root: layers that are only read, and one that takes what changes."""

import os
from _collections_abc import Collection

from labkit.container.root import Root
from labkit.linux.call import looked
from labkit.linux.files import chdir, mkdirat
from labkit.linux.flags import (
    AT_FDCWD,
    FSCONFIG_CMD_CREATE,
    FSCONFIG_SET_FLAG,
    FSCONFIG_SET_STRING,
    FSMOUNT_CLOEXEC,
    FSOPEN_CLOEXEC,
    MOVE_MOUNT_F_EMPTY_PATH,
)
from labkit.linux.mounts import fsconfig, fsmount, fsopen, mount, move_mount
from labkit.text.words import Words

PLACES = ("/dev", "/mnt", "/run", "/home")
VALUE = 256  # bytes of a value that fsconfig(2) takes, with its NUL


def enter(root: Root, *, xattr: str) -> None:
    """Mount the overlay over its own upper directory and make that the working directory.

    There it needs no directory of its own, and nobody outside of this mount namespace sees it.
    xattr: "userxattr" for root of a user namespace, who may not write trusted.* attributes.
    """
    upper, work = root.upper, root.work
    if upper is None or work is None:
        upper, work = _in_memory(root.layers)
    # By mount(2) in one call. It takes one page of options: for more layers, one call for each.
    options = ":".join(map(_escaped, root.layers))
    options = f"lowerdir={options},upperdir={_escaped(upper)},workdir={_escaped(work)}"
    options += f",{xattr}" * bool(xattr)
    if len(os.fsencode(options)) < os.sysconf("SC_PAGE_SIZE"):
        mount("overlay", upper, "overlay", 0, options)
    else:
        _one_by_one(root, upper, work, xattr)
    chdir(upper)


def _in_memory(layers: Collection[str]) -> tuple[str, str]:
    """Make upper and work in memory, in this mount namespace, and go there."""
    place = looked(_place, layers)
    mount("tmpfs", place, "tmpfs", 0, "mode=755")
    chdir(place)
    for name in ("upper", "work"):
        mkdirat(AT_FDCWD, name, 0o755)
    return "upper", "work"


def _place(layers: Collection[str]) -> str:
    """Where a tmpfs can be mounted.

    What the host has in its /dev was opened before, so nobody misses it, unless a layer lies there.
    """
    real = [f"{_real(layer)}/" for layer in layers]
    inside = (p for p in PLACES if not any(path.startswith(f"{p}/") for path in real))
    return next(inside, PLACES[0])


def _real(path: str) -> str:
    """A directory's path without links. The kernel tells it in three calls, and each start asks."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return os.path.realpath(path)
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return os.path.realpath(path)
    finally:
        os.close(fd)


def _one_by_one(root: Root, upper: str, work: str, xattr: str) -> None:
    """Mount an overlay with more layers than a page has room for: since Linux 6.5."""
    _check_kernel(root)
    fs = fsopen("overlay", FSOPEN_CLOEXEC)
    for layer in root.layers:
        fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir+", layer)
    fsconfig(fs, FSCONFIG_SET_STRING, "upperdir", _escaped(upper))
    fsconfig(fs, FSCONFIG_SET_STRING, "workdir", _escaped(work))
    if xattr:
        fsconfig(fs, FSCONFIG_SET_FLAG, xattr)
    fsconfig(fs, FSCONFIG_CMD_CREATE)
    tree = fsmount(fs, FSMOUNT_CLOEXEC)
    move_mount(tree, "", AT_FDCWD, upper, MOVE_MOUNT_F_EMPTY_PATH)


def _check_kernel(root: Root) -> None:
    """Refuse what neither way takes."""
    version = tuple(int(word) for word in os.uname().release.split("-")[0].split(".")[:2])
    longest = max(len(os.fsencode(_escaped(p))) for p in (*root.layers, root.upper or ""))
    if version < (6, 5) or longest >= VALUE:
        count = len(root.layers)
        raise ValueError(
            Words(
                f"{count} 层的路径放不进一页挂载选项；逐层给出要 Linux 6.5，每个路径不超过 "
                f"{VALUE - 1} 字节：把层放到路径短一些的目录里",
                f"the paths of {count} layers do not fit into one page of mount options; to give "
                f"them one by one takes Linux 6.5 and paths of at most {VALUE - 1} bytes: keep "
                "the layers in a directory with a shorter path",
            )
        )


def _escaped(path: str) -> str:
    r"""A path as an overlay's option: ``:`` and ``,`` would end it."""
    for mark in "\\:,":
        path = path.replace(mark, f"\\{mark}")
    return path
