"""Volumes: directories that outlive the containers that they are mounted in.

Each has a folder below the folder of what lasts, with its name: `_data` is what is mounted, and
`volume.json` what docker volume inspect shows. One without a name gets one of 64 digits.
"""

import os
import stat
from _collections_abc import Iterator, Mapping, Sequence

from labkit.docker.mounts import Mounted
from labkit.images import oci
from labkit.images.merged import Node, children, find
from labkit.python import contextlib
from labkit.python.typing import Any
from labkit.state import document, folder
from labkit.state.lock import Lock, hold
from labkit.text.words import Words

_DATA, _ABOUT, _LOCK, _NEW = "_data", "volume.json", ".lock", "new"
_PATIENCE = 60  # seconds that somebody else may take to fill a volume
ANONYMOUS = "com.docker.volume.anonymous"
"""The label of a volume that was made without a name."""


class NoSuchVolume(ValueError):  # noqa: N818 - it says what happened
    """There is no volume of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(Words(f"没有这个卷：{name}", f"get {name}: no such volume"))


def path() -> str:
    """The folder that has all volumes."""
    return folder.make(os.path.join(folder.lasting(), "volumes"))


def names() -> list[str]:
    """The names of all volumes."""
    return sorted(each for each in os.listdir(path()) if not each.startswith("."))


def inspect(name: str) -> Mapping[str, Any]:
    """What docker volume inspect shows."""
    about = document.read(os.path.join(path(), name, _ABOUT)) if name in names() else None
    if about is None:
        raise NoSuchVolume(name)
    found: Mapping[str, Any] = about
    return found


def data(name: str) -> str:
    """The directory that is mounted."""
    return os.path.join(path(), name, _DATA)


def tree_size(path: str) -> int:
    """How many bytes the files below a directory have, each counted once."""
    seen: dict[tuple[int, int], int] = {}
    for at, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # a container may be removing it
                about = os.lstat(os.path.join(at, name))
                seen[about.st_dev, about.st_ino] = about.st_size
    return sum(seen.values())


def create(name: str = "", labels: Mapping[str, str] | None = None) -> str:
    """Make a volume, unless there is one of that name. Its name."""
    if not name:
        name, labels = os.urandom(32).hex(), {ANONYMOUS: "", **(labels or {})}
    with _locked():
        place = os.path.join(path(), name)
        if os.path.isdir(place):
            return name
        beside = os.path.join(path(), f".{_NEW}-{os.urandom(6).hex()}")
        os.makedirs(os.path.join(beside, _DATA), mode=0o755)
        about = {
            "CreatedAt": oci.timestamp(),
            "Driver": "local",
            "Labels": dict(labels or {}),
            "Mountpoint": data(name),
            "Name": name,
            "Options": None,
            "Scope": "local",
        }
        document.write(os.path.join(beside, _ABOUT), about)
        os.rename(beside, place)
    return name


def remove(name: str) -> None:
    """Remove a volume with all that is in it. Whether somebody uses it the caller knows."""
    with _locked():
        inspect(name)
        gone = os.path.join(path(), f".gone-{os.urandom(6).hex()}")
        os.rename(os.path.join(path(), name), gone)
    folder.remove(gone)


def _locked() -> Lock:
    return hold(os.path.join(path(), _LOCK), Words("卷", "the volumes"), timeout=_PATIENCE)


def prepared(mounted: Sequence[Mounted], layers: Sequence[str]) -> dict[str, str]:
    """The volume that stands at each target, by its name: made, and filled from the image.

    layers: the image's, the uppermost first. A source of -v that is not there is made too.
    """
    found: dict[str, str] = {}
    for each in mounted:
        if each.kind == "volume":
            found[each.target] = create(each.source)
            if each.copies:
                fill(found[each.target], layers, each.target)
        elif each.kind == "bind":
            _check_source(each)
    return found


def _check_source(each: Mounted) -> None:
    if each.makes:
        os.makedirs(each.source, exist_ok=True) if not os.path.exists(each.source) else None
    elif not os.path.exists(each.source):
        raise ValueError(
            Words(
                f"--mount：宿主机上没有 {each.source}",
                'invalid mount config for type "bind": bind source path does not exist: '
                f"{each.source}",
            )
        )


# --- What the image has there -------------------------------------------------------------------


def fill(name: str, layers: Sequence[str], target: str) -> None:
    """Copy to a volume what the image has at `target`, if the volume is empty.

    The copy is made aside and renamed to its place, so nobody sees half of it.
    """
    source = find(layers, target)
    if source is None or not source.is_directory:
        return
    place = os.path.join(path(), name)
    with hold(os.path.join(place, _LOCK), Words(f"卷 {name}", name), timeout=_PATIENCE):
        if os.listdir(data(name)):
            return
        beside = os.path.join(place, _NEW)
        folder.remove(beside)
        os.mkdir(beside)
        _copy_directory(source, beside)
        os.rename(beside, data(name))


def _copy_directory(source: Node, target: str) -> None:
    """Copy what is in a merged directory, and then the directory's own owner, mode and times."""
    for name, node in children(source.directories).items():
        _copy(node, os.path.join(target, name))
    _make_alike(source, target)


def _copy(node: Node, target: str) -> None:
    mode = node.stat.st_mode
    if node.is_directory:
        os.mkdir(target, 0o700)
        _copy_directory(node, target)
        return
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink(node.path), target)
    elif stat.S_ISREG(mode):
        from shutil import copyfile  # it imports compressors

        copyfile(node.path, target, follow_symlinks=False)
    elif stat.S_ISSOCK(mode):
        return
    else:
        os.mknod(target, mode, node.stat.st_rdev)
    _make_alike(node, target)


def _make_alike(node: Node, target: str) -> None:
    about = node.stat
    with contextlib.suppress(PermissionError):  # without root, all files are one's own
        os.chown(target, about.st_uid, about.st_gid, follow_symlinks=False)
    for name in _attributes(node.path):
        value = os.getxattr(node.path, name, follow_symlinks=False)
        os.setxattr(target, name, value, follow_symlinks=False)
    if not stat.S_ISLNK(about.st_mode):  # after the owner, whose change takes set-user-ID away
        os.chmod(target, stat.S_IMODE(about.st_mode))
    os.utime(target, ns=(about.st_atime_ns, about.st_mtime_ns), follow_symlinks=False)


def _attributes(path: str) -> Iterator[str]:
    """The extended attributes that are the image's, not overlay's own."""
    for name in os.listxattr(path, follow_symlinks=False):
        own = name.startswith("user.") and not name.startswith("user.overlay.")
        if own or name == "security.capability":
            yield name
