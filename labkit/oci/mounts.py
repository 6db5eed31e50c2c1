"""The mounts of a configuration, in its order: steps of the child, before the root is exchanged.

A destination is a path of the image, and a link in it may point anywhere. So it is opened with
RESOLVE_IN_ROOT, the working directory for the root, and what is mounted goes to the open file: by
move_mount(2), or by its name in the host's /proc, which is still there.
"""

import os
import stat
from collections.abc import Mapping
from typing import Any

from labkit.cgroups.hierarchy import Hierarchy, hierarchies
from labkit.container.volumes import opened
from labkit.linux.call import may_be_there
from labkit.linux.files import openat2, symlinkat
from labkit.linux.flags import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    CLONE_NEWCGROUP,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_REC,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    RESOLVE_IN_ROOT,
    Clone,
)
from labkit.linux.mounts import mount, mount_setattr, move_mount, open_tree
from labkit.oci.options import Attributes, Options, options
from labkit.text.words import Words

_PLAIN = MS_NOSUID | MS_NODEV | MS_NOEXEC
_OWN = MS_BIND | MS_REC


class MountPoint:
    """One mount of a configuration.

    target: a path in the container. kind: the type of the file system. source: of a bind mount a
    whole path of the host's. tree: the descriptor of a bind mount that has been opened already.
    """

    def __init__(self, section: Mapping[str, Any], bundle: str) -> None:
        self.target = os.path.normpath("/" + section["destination"].lstrip("/"))
        self.options: Options = options(section.get("options", ()))
        self.kind = section.get("type", "")
        self.source = section.get("source", "")
        self.maps = section.get("uidMappings", ()), section.get("gidMappings", ())
        self.tree = -1
        if self.kind == "bind" and not self.options.bind:
            self.options.flags |= _OWN
        if self.options.bind:
            self.source = os.path.join(bundle, self.source)
        elif not self.kind:
            raise ValueError(
                Words(
                    f"挂载 {self.target} 没有 type，也不是 bind",
                    f"the mount {self.target} has no type and is no bind mount",
                )
            )

    @property
    def idmapped(self) -> bool:
        """Whether IDs in it are shown as others."""
        return bool(self.options.idmapped or any(self.maps))


def put(point: MountPoint, own: Clone) -> None:
    """Mount one. own: the kinds of namespaces that the container has for itself."""
    if point.options.bind:
        _bind(point)
    elif point.kind == "cgroup":
        _control_groups(point, bool(own & CLONE_NEWCGROUP))
    else:
        _file_system(point)
    for flag in point.options.propagation:
        mount(None, place(point.target), None, flag, None)


def place(target: str) -> str:
    """A path by which mount(2) finds a place in the root, whatever links lead there."""
    return f"/proc/self/fd/{opened(target, directory=True)}"


def open_bind(point: MountPoint) -> int:
    """A copy of the mounts of a source. It is nowhere yet."""
    recursive = AT_RECURSIVE if point.options.flags & MS_REC else 0
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive
    return open_tree(AT_FDCWD, point.source, flags)


def _bind(point: MountPoint) -> None:
    """Mount a copy of the source's mounts. Nobody sees it before it is, for example, read-only."""
    tree = point.tree if point.tree >= 0 else open_bind(point)
    _change(tree, point.options.own, 0)
    _change(tree, point.options.below, AT_RECURSIVE)
    at = opened(point.target, directory=stat.S_ISDIR(os.fstat(tree).st_mode))
    move_mount(tree, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)


def _change(tree: int, attributes: Attributes, recursive: int) -> None:
    if attributes:
        mount_setattr(tree, "", AT_EMPTY_PATH | recursive, attributes.on, attributes.off)


def _file_system(point: MountPoint) -> None:
    data = ",".join(point.options.data) or None
    mode = _mode(point.target)
    at = opened(point.target, directory=True)
    source = point.source or point.kind
    mount(source, f"/proc/self/fd/{at}", point.kind, point.options.flags, data)
    if point.kind == "tmpfs" and mode and "mode=" not in (data or ""):
        os.chmod(place(point.target), mode)  # as what it hides
    if point.options.copy_up and point.kind == "tmpfs":
        _copy(at, opened(point.target, directory=True))
    _change(opened(point.target, directory=True), point.options.below, AT_RECURSIVE)


def _mode(target: str) -> int:
    """The permissions of a directory in the root; 0 if there is none yet."""
    try:
        fd = openat2(AT_FDCWD, target, os.O_PATH | os.O_CLOEXEC, RESOLVE_IN_ROOT)
    except FileNotFoundError:
        return 0
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    os.close(fd)
    return mode


def _copy(source: int, target: int) -> None:
    """Copy what is in one open directory to another: files, directories and links."""
    for name in os.listdir(f"/proc/self/fd/{source}"):
        old, new = (f"/proc/self/fd/{each}/{name}" for each in (source, target))
        found = os.lstat(old)
        if stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(old), new)
        elif stat.S_ISDIR(found.st_mode):
            os.mkdir(new)
            inner = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in (old, new)]
            _copy(*inner)
            for fd in inner:
                os.close(fd)
        elif stat.S_ISREG(found.st_mode):
            _copy_file(old, new)
        else:
            continue
        os.chown(new, found.st_uid, found.st_gid, follow_symlinks=False)
        if not stat.S_ISLNK(found.st_mode):
            os.chmod(new, stat.S_IMODE(found.st_mode))


def _copy_file(source: str, target: str) -> None:
    with open(source, "rb") as read, open(target, "wb") as written:
        while data := read.read(1 << 20):
            written.write(data)


def _control_groups(point: MountPoint, own: bool) -> None:
    """Mount the control groups. own: whether the container has a namespace of them."""
    every = hierarchies()
    old = [tree for tree in every if tree.version == 1]
    flags = point.options.flags
    if old:
        at = place(point.target)
        mount("tmpfs", at, "tmpfs", _PLAIN, "mode=755")
        for tree in old:
            _hierarchy(tree, place(point.target), own)
    elif own:
        mount("cgroup", place(point.target), "cgroup2", flags, None)
    else:
        mount(every[-1].path, place(point.target), None, MS_BIND | MS_REC, None)
    if flags & 1:  # MS_RDONLY
        mount_setattr(AT_FDCWD, place(point.target), AT_RECURSIVE, MOUNT_ATTR_RDONLY)


def _hierarchy(tree: Hierarchy, above: str, own: bool) -> None:
    """Mount one hierarchy of version 1, or bind the part of it that is the container's."""
    name, words = _named(tree)
    with may_be_there():
        os.mkdir(f"{above}/{name}", 0o755)
    if own:
        mount("cgroup", f"{above}/{name}", "cgroup", _PLAIN, words)
    else:
        mount(tree.path, f"{above}/{name}", None, MS_BIND | MS_REC, None)
    for controller in tree.controllers if len(tree.controllers) > 1 else ():
        with may_be_there():
            symlinkat(name, AT_FDCWD, f"{above}/{controller}")


def _named(tree: Hierarchy) -> tuple[str, str]:
    """The name of a hierarchy's directory, and the options that say which one it is."""
    words = ",".join(tree.controllers)
    if words.startswith("name="):
        return words.removeprefix("name="), f"none,{words}"
    return words, words
