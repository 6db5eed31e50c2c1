"""The steps that give a container a root of its own, in order.

Before pivot_root(2) the paths are the host's, and afterwards they are the image's. So what comes
from the host is opened before, and what goes by a path of the image is made afterwards. /proc and
/sys are mounted before: root of a user namespace may mount them only while it sees those outside.
"""

import os
import stat
from _collections_abc import Collection, Iterator, Mapping
from _contextvars import ContextVar

from labkit.cgroups import v1
from labkit.cgroups.hierarchy import hierarchies
from labkit.cgroups.limits import Limits
from labkit.container import devices, layers, volumes
from labkit.container.container import Container
from labkit.container.root import DIRECTORIES, MASKED, Root
from labkit.container.user_namespace import in_user_namespace
from labkit.linux import proc as proc_files
from labkit.linux.call import looked, may_be_missing, may_be_there
from labkit.linux.files import AT_REMOVEDIR, chdir, mkdirat, mknodat, umask, unlinkat, write_file
from labkit.linux.flags import (
    AT_FDCWD,
    AT_RECURSIVE,
    CLONE_NEWNET,
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
)
from labkit.linux.mounts import mount, pivot_root, umount2
from labkit.linux.refusal import Asked
from labkit.python import contextlib

_PLAIN = MS_NOSUID | MS_NODEV | MS_NOEXEC
_own_files: ContextVar[Mapping[str, str]] = ContextVar("own_files", default={})
_EMPTY = "/dev/.empty"  # no device has such a name
_UMASK = 0o022  # Docker's, for the program


@contextlib.contextmanager
def own_files(texts: Mapping[str, str]) -> Iterator[None]:
    """Within the block a container that is rehearsed gets these files in /etc from its network."""
    token = _own_files.set(texts)
    try:
        yield
    finally:
        _own_files.reset(token)


def change_root(box: Container, root: Root, terminal: str) -> None:
    """Exchange the root for that of `box`, and let go of the old one. No path leads back.

    terminal: the path of its terminal; "" if it has none, INSIDE if it is to be made in there.
    """
    umask(0)  # or it would take permissions from what is made here
    trees = volumes.outside(root)
    nodes = {} if root.bare else devices.outside(box, terminal)
    enter(box, root)
    mount_kernel(box, root)
    pivot_root(".", ".")
    umount2(".", MNT_DETACH)  # of what lies there the topmost: the old root
    if not root.bare:
        devices.fill(box, nodes, terminal)
        bind_files(box)
    set_sysctls(box.sysctls or {})
    if not root.bare:
        cover(root.masked, root.readonly_paths, box.proc)
    volumes.put(root, trees)
    for directory in root.directories:
        volumes.make(directory, directory=True)
    if root.readonly:
        volumes.make_read_only("/", root.path)
    umask(_UMASK)


def enter(box: Container, root: Root) -> None:
    """Mount the new root, which pivot_root takes only if it is a mount, and go there."""
    if root.layers:
        layers.enter(root, xattr="userxattr" if in_user_namespace(box) else "")
    else:
        mount(root.path, root.path, None, MS_BIND | MS_REC, None)
        chdir(root.path)


def mount_kernel(box: Container, root: Root) -> None:
    """Mount /proc and /sys, and make the other directories that a container has.

    The paths are relative: the working directory is the new root. A link of the image in place of
    such a directory could lead out of it. A mount there would harm nothing, because the old root
    goes, with all that is mounted in it. mkdirat follows no such link.
    """
    if box.proc:
        _directory("proc")
        mount("proc", "proc", "proc", _PLAIN, None)
    if root.bare:
        return
    _directory("sys")
    if not in_user_namespace(box) or (box.cloneflags & CLONE_NEWNET and not looked(_sys_is_masked)):
        mount("sysfs", "sys", "sysfs", MS_RDONLY | _PLAIN, None)
    else:  # a new one would show a network that is not ours
        mount("/sys", "sys", None, MS_BIND | MS_REC, None)
        volumes.make_read_only("sys", "/sys", AT_RECURSIVE)
    if root.cgroups and box.limits is not None:
        mount_groups(box.limits)
    _directory("dev")


def mount_groups(limits: Limits) -> None:
    """Mount the control groups, to be read. In a cgroup namespace of its own each begins there.

    Of version 1 those in which the container has a group: elsewhere it would see the host's.
    """
    place, wanted = "sys/fs/cgroup", {*v1.controllers(limits)}
    trees = [tree for tree in looked(hierarchies) if tree.version == 1]
    names = [",".join(tree.controllers) for tree in trees if wanted & {*tree.controllers}]
    if names:
        mount("tmpfs", place, "tmpfs", _PLAIN, "mode=755")
    else:
        mount("cgroup2", place, "cgroup2", _PLAIN, None)
    for name in names:
        mkdirat(AT_FDCWD, f"{place}/{name}", 0o755)
        mount("cgroup", f"{place}/{name}", "cgroup", _PLAIN, name)
        volumes.make_read_only(f"{place}/{name}", f"/{place}/{name}")
    volumes.make_read_only(place, f"/{place}")


def _directory(name: str) -> None:
    with may_be_there():
        mkdirat(AT_FDCWD, name, 0o755)


def _sys_is_masked() -> bool:
    """Whether a mount covers a part of the host's /sys, as in Docker: then there is no other."""
    points = [mount.point for mount in proc_files.mounts() if mount.kind == "tmpfs"]
    return any(p.startswith(("/sys/firmware", "/sys/devices")) for p in points)


def bind_files(box: Container) -> None:
    """Bind the three files that are the container's own into /etc.

    They are made in the tmpfs of /dev and lose their names there, so nothing of them is left.
    """
    etc = volumes.opened("/etc", directory=True)
    for name, text in ({**dict(_files(box)), **_own_files.get()}).items():
        made = f"/dev/{name}"
        mknodat(AT_FDCWD, made, stat.S_IFREG | 0o644)
        write_file(made, text)
        with may_be_there():
            mknodat(etc, name, stat.S_IFREG | 0o644)
        with may_be_missing():  # a link of the image that leads nowhere
            mount(made, f"/etc/{name}", None, MS_BIND, None)
        unlinkat(AT_FDCWD, made)


def set_sysctls(settings: Mapping[str, str]) -> None:
    """Change settings of the container's namespaces. Afterwards /proc/sys is made read-only."""
    for name, value in settings.items():
        write_file(f"/proc/sys/{name.replace('.', '/')}", value)


def _files(box: Container) -> Iterator[tuple[str, str]]:
    name = looked(_nodename) if box.hostname is None else box.hostname
    yield "hostname", f"{name}\n"
    if box.cloneflags & CLONE_NEWNET:
        own = "" if box.hostname is None else f"127.0.1.1\t{name}\n"
        yield "hosts", f"127.0.0.1\tlocalhost\n{own}::1\tlocalhost ip6-localhost ip6-loopback\n"
    else:
        yield "hosts", looked(_text, "/etc/hosts")
    yield "resolv.conf", looked(_text, "/etc/resolv.conf")


def _nodename() -> str:
    return os.uname().nodename


def _text(path: str) -> str:
    """A file of the host's, as it is now; "" if there is none that we may read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # each start looks: no file object is built
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ""
    try:
        with Asked(f'read("{path}")'):
            return os.fsdecode(b"".join(iter(lambda: os.read(fd, 65536), b"")))
    finally:
        os.close(fd)


def cover(masked: Collection[str], readonly: Collection[str], proc: bool) -> None:
    """Cover what would tell of the host, and make read-only what would change it.

    proc: whether there is a /proc; without it none of its paths is there.
    """
    for path in readonly:
        if proc or not path.startswith("/proc/"):
            with may_be_missing():
                mount(path, path, None, MS_BIND | MS_REC, None)
            flags = MS_BIND | MS_REMOUNT | MS_RDONLY | _PLAIN
            with may_be_missing():
                mount(None, path, None, flags, None)
    paths = [path for path in masked if proc or not path.startswith("/proc/")]
    if paths:
        mkdirat(AT_FDCWD, _EMPTY, 0o555)
        for path in paths:
            mask(path, _EMPTY)
        unlinkat(AT_FDCWD, _EMPTY, AT_REMOVEDIR)


def mask(path: str, empty: str = "") -> None:
    """Cover a file with /dev/null, a directory with an empty one.

    empty: that directory. It loses its name afterwards, so nothing can be made in it (ENOENT). It
    is in the tmpfs of /dev, which saves a tmpfs for each mask. Without it a mask is a tmpfs.

    Of the usual ones it is known which they are. /proc and /sys are the same kernel's outside, so
    for others there one look tells. Elsewhere both are tried: ENOTDIR says that it is the other.
    """
    known = path.startswith(("/proc/", "/sys/"))
    directory = path in DIRECTORIES
    if known and path not in MASKED:
        directory = looked(os.path.isdir, path)
    if not directory:
        with may_be_missing():
            mount("/dev/null", path, None, MS_BIND, None)
    if not known or directory:
        with may_be_missing():
            if empty:
                mount(empty, path, None, MS_BIND, None)
            else:
                mount("tmpfs", path, "tmpfs", MS_RDONLY, None)
