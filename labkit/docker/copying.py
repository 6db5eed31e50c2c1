"""docker cp: between a container's files and the host's, as an archive from one process to another.

The process at the container's end has the container's root as its own, so no link of the container
leads it outside. If the container does not run, that process mounts its root itself, in a mount
namespace of its own. So what is read there stands where it says.
"""

import os
import posixpath
import tarfile
from collections.abc import Callable
from typing import NoReturn

from labkit.container import layers
from labkit.container.user_namespace import in_user_namespace
from labkit.linux.flags import CLONE_NEWNS, CLONE_NEWUSER, MS_PRIVATE, MS_REC
from labkit.linux.id_maps import map_files
from labkit.linux.mounts import mount
from labkit.linux.processes import pidfd_open, setns, unshare
from labkit.monitor import record, status
from labkit.monitor.record import Record
from labkit.text.words import Words

Place = tuple[Record | None, str]
ARCHIVE = "-"
_CHUNK = 65536  # bytes


def copy(source: str, target: str, *, follow: bool = False, owners: bool = False) -> None:
    """Copy a file or a directory. One of the two is CONTAINER:PATH; the other may be an archive.

    follow: copy what a link leads to. owners: keep user and group.
    """
    (box, path), (into, end) = _place(source), _place(target)
    reading, writing = os.pipe()
    own = None if owners else (0, 0) if into else (os.getuid(), os.getgid())

    def send() -> None:
        _pass_on(0, writing) if path == ARCHIVE else _pack(path, writing, box, follow=follow)

    def take() -> None:
        _pass_on(reading, 1) if end == ARCHIVE else _unpack(reading, end, path, own, into)

    if box and not into:
        _both(box, send, reading, take, writing)
    elif into and not box:
        _both(into, take, writing, send, reading)
    else:
        between = Words("不能在两个容器之间复制", "copying between containers is not supported")
        none = Words("有一头要是 容器:路径", "must specify at least one container source")
        raise ValueError(between if box else none)


def _place(text: str) -> Place:
    """CONTAINER:PATH, or a path of the host."""
    name, colon, path = text.partition(":")
    if colon and name and not text.startswith((".", "/")):
        return record.find(name), posixpath.join("/", path)
    return None, text


def _both(
    box: Record, theirs: Callable[[], None], unused: int, ours: Callable[[], None], given: int
) -> None:
    """Do `theirs` in a process that has the container's root, and `ours` here.

    unused, given: the ends of the pipe that the other one has.
    """
    wait = _inside(box, theirs, unused)
    os.close(given)
    failed: Exception | None = None
    try:
        ours()
    except (OSError, ValueError, tarfile.TarError) as error:  # perhaps because of the other one
        failed = error
    if refused := wait() or (str(failed) if isinstance(failed, tarfile.TarError) else ""):
        raise ValueError(Words(refused, refused))
    if failed:
        raise failed


def _pass_on(source: int, target: int) -> None:
    while data := os.read(source, _CHUNK):
        while data:
            data = data[os.write(target, data) :]
    os.close(target)


def _inside(box: Record, act: Callable[[], None], unused: int) -> Callable[[], str]:
    """Start `act` in a process with the root of a container. What waits for it: what it refused."""
    told, tell = os.pipe()
    now = status.of(box)
    child = os.fork()
    if child == 0:
        os.close(unused)
        _do(lambda: _enter(box, now.pid if now.word in ("running", "paused") else 0), act, tell)
    os.close(tell)

    def wait() -> str:
        with open(told, encoding="utf-8") as file:
            said = file.read()
        os.waitpid(child, 0)
        return said

    return wait


def _do(enter: Callable[[], None], act: Callable[[], None], tell: int) -> NoReturn:
    try:
        enter()
        act()
    except BrokenPipeError:  # the other one says why
        pass
    except (OSError, ValueError, tarfile.TarError) as error:
        os.write(tell, str(error).encode()[:_CHUNK])
    os._exit(0)


def _enter(box: Record, pid: int) -> None:
    """Have the root of a container as our own."""
    if pid:
        flags = CLONE_NEWNS
        if os.stat(f"/proc/{pid}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino:
            flags |= CLONE_NEWUSER
        setns(pidfd_open(pid), flags)
    elif root := box.box.root:
        xattr = "userxattr" * in_user_namespace(box.box)
        _unshare_mounts()
        mount(None, "/", None, MS_REC | MS_PRIVATE, None)
        layers.enter(root, xattr=xattr)
        os.chroot(".")
    os.chdir("/")


def _unshare_mounts() -> None:
    """Be in a mount namespace of our own; without root, as root of a user namespace of our own."""
    if os.geteuid() == 0:
        unshare(CLONE_NEWNS)
        return
    files = map_files([(0, os.geteuid(), 1)], [(0, os.getegid(), 1)])
    unshare(CLONE_NEWUSER | CLONE_NEWNS)
    for name, text in files:
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


# --- The archive --------------------------------------------------------------------------------


def _missing(path: str, box: Record) -> ValueError:
    said = f"Could not find the file {path} in container {box.name}"
    return ValueError(Words(f"容器 {box.name} 里没有 {path}", said))


def _pack(path: str, out: int, box: Record | None, *, follow: bool) -> None:
    """Write a file or a directory as an archive; its own entry is called by its last name."""
    plain = path.removesuffix("/.").rstrip("/") or "/"
    if follow:
        plain = os.path.realpath(plain)
    if box and not os.path.lexists(plain):
        raise _missing(path, box)
    os.lstat(plain)
    name = posixpath.basename(posixpath.normpath(path.removesuffix("/.")))
    with (
        open(out, "wb") as file,
        tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        tar.add(plain, arcname=name if name.strip("./") else ".")


def _unpack(
    stream: int, end: str, source: str, own: tuple[int, int] | None, box: Record | None
) -> None:
    """Make of an archive what docker cp makes of it at `end`. own: whose all is."""
    with (
        open(stream, "rb") as file,
        tarfile.open(fileobj=file, mode="r|") as tar,
    ):
        tar.extraction_filter = lambda member, _: member  # it is ours, or stays in this root
        place = ""
        for entry in tar:
            place = place or _first_place(entry, end, source, box)
            _put(tar, entry, place, source, own)


def _first_place(entry: tarfile.TarInfo, end: str, source: str, box: Record | None) -> str:
    """Where the first entry goes, and all that is in it."""
    if source == ARCHIVE or os.path.isdir(end):
        if not os.path.isdir(end):
            raise ValueError(Words(f"{end} 不是目录", f"not a directory: {end}"))
        as_it_is = source == ARCHIVE or source.endswith("/.") or entry.name == "."
        return end if as_it_is else posixpath.join(end, entry.name)
    if entry.isdir() and os.path.lexists(end):
        raise ValueError(Words(f"{end} 不是目录", "cannot copy directory"))
    if end.endswith("/") and not entry.isdir():
        raise ValueError(Words(f"没有目录 {end}", f"no such directory: {end}"))
    parent = posixpath.dirname(posixpath.normpath(end)) or "."
    if not os.path.isdir(parent):
        said = f"invalid output path: directory {parent} does not exist"
        raise _missing(parent, box) if box else ValueError(Words(f"没有目录：{parent}", said))
    return end


def _put(
    tar: tarfile.TarFile,
    entry: tarfile.TarInfo,
    place: str,
    source: str,
    own: tuple[int, int] | None,
) -> None:
    """Make one entry below `place`, which stands for the first part of its name."""

    def path_of(name: str) -> str:
        rest = name if source == ARCHIVE else name.partition("/")[2]
        return posixpath.normpath(posixpath.join(place, rest))

    path = path_of(entry.name)
    if entry.isdir() and os.path.isdir(path):
        return
    if os.path.lexists(path) and not os.path.isdir(path):
        os.unlink(path)
    if entry.islnk():
        os.link(path_of(entry.linkname), path)
        return
    if own:
        entry.uid, entry.gid = own
    parent, entry.name = posixpath.split(path)
    tar.extract(entry, parent or ".", numeric_owner=True)
