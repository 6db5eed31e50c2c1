"""The devices of a container: what is in its /dev, and which it may use."""

import os
import stat
from collections.abc import Iterator, Mapping
from typing import Any

from labkit.cgroups.devices import ANY, USUAL, Rule
from labkit.container.devices import EVERYBODY, LINKS, NODES
from labkit.container.volumes import make, opened
from labkit.linux.call import may_be_there
from labkit.linux.files import mknodat, symlinkat
from labkit.linux.flags import (
    AT_FDCWD,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
)
from labkit.linux.mounts import move_mount, open_tree
from labkit.oci.config import Config
from labkit.text.words import Words

_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


class Device:
    """A device's file: its path, kind and permissions, its two numbers, and whose it is."""

    def __init__(self, section: Mapping[str, Any]) -> None:
        self.path = os.path.normpath(section["path"])
        kind = section.get("type", "")
        if kind not in _KINDS:
            raise ValueError(
                Words(
                    f"{self.path} 的 type 是 {kind!r}：设备的种类是 c、b、u、p 之一",
                    f"{self.path} has the type {kind!r}: a device's is one of c, b, u, p",
                )
            )
        self.mode = _KINDS[kind] | stat.S_IMODE(section.get("fileMode", EVERYBODY))
        self.numbers = os.makedev(section.get("major", 0), section.get("minor", 0))
        self.owner = section.get("uid", 0), section.get("gid", 0)


def devices(config: Config) -> list[Device]:
    """What every container has, and what a configuration adds or gives other permissions."""
    usual = (
        {"path": f"/dev/{name}", "type": "c", "major": major, "minor": minor}
        for name, (major, minor) in NODES.items()
    )
    given = config["linux"].get("devices", ())
    found = {device.path: device for device in map(Device, (*usual, *given))}
    return [*found.values()]


def is_the_hosts(config: Config) -> bool:
    """Whether /dev is the host's own, where nothing is to be made."""
    return any(
        os.path.normpath(each["destination"]) == "/dev"
        and {*each.get("options", ())} & {"bind", "rbind"}
        for each in config.get("mounts", ())
    )


def put(device: Device, *, bound: bool) -> None:
    """Make a device's file; or bind the host's, where the kernel lets us make none."""
    above, name = os.path.split(device.path)
    if bound and not stat.S_ISFIFO(device.mode):
        tree = open_tree(AT_FDCWD, device.path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
        place = opened(device.path, directory=False)
        move_mount(tree, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
        return
    directory = _directory(above)
    try:
        mknodat(directory, name, device.mode, device.numbers)
    except FileExistsError:
        return
    os.chmod(name, stat.S_IMODE(device.mode), dir_fd=directory)
    os.chown(name, *device.owner, dir_fd=directory, follow_symlinks=False)


def _directory(path: str) -> int:
    if path == "/":
        return AT_FDCWD
    make(path, directory=True)
    return opened(path, directory=True)


def link() -> None:
    """Make the links that every /dev has."""
    directory = _directory("/dev")
    links = LINKS | ({"core": "/proc/kcore"} if os.path.exists("/proc/kcore") else {})
    for name, target in links.items():
        with may_be_there():
            symlinkat(target, directory, name)


def rules(resources: Config) -> list[Rule]:
    """Which devices may be used, in the order in which the configuration says it.

    What every container needs stands at the end, so nobody can be without /dev/null.
    """
    given = [*_rules(resources)]
    return [*given, *USUAL] if given else []


def _rules(resources: Config) -> Iterator[Rule]:
    for each in resources.get("devices", ()):
        kind = each.get("type", "a")
        numbers = each.get("major", ANY), each.get("minor", ANY)
        access = "".join(letter for letter in "rwm" if letter in each.get("access", "rwm"))
        yield Rule(kind, *numbers, access or "rwm", each.get("allow", False))
