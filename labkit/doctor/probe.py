"""Trials: what the kernel allows, asked by doing it in a process that is thrown away afterwards.

`host.py` starts this as a program of its own. Each trial is made in a fork with namespaces of its
own. So no trial sees what another has changed, and every change ends with its process. One line of
JSON goes to standard output for each: its name and, if it was refused, the errno and the call.
"""

import contextlib
import errno
import json
import os
import socket
import struct
import sys

from labkit.linux import id_maps
from labkit.linux.flags import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    MNT_DETACH,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    PR_SET_DUMPABLE,
)
from labkit.linux.mounts import mount, pivot_root, umount2
from labkit.linux.namespaces import KINDS
from labkit.linux.processes import prctl, unshare
from labkit.linux.refusal import call_of, refusal

TYPE_CHECKING = False  # importing typing takes longer than a trial
if TYPE_CHECKING:
    from collections.abc import Callable

NOBODY = 65534  # the kernel's overflow uid: nobody's on every distribution

# The messages of rtnetlink(7), numbered in linux/rtnetlink.h and linux/if_link.h. They are packed
# by hand: pyroute2 takes 118 ms to import, longer than all trials, in a process that is thrown
# away. It comes with the lessons about networks.
_RTM_NEWLINK, _NLMSG_ERROR = 16, 2
_NLM_F = 0x1 | 0x4 | 0x200 | 0x400  # request, acknowledge, new, not there yet
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 18, 1


def _own_mounts() -> None:
    """A mount namespace whose changes reach nobody else's."""
    unshare(CLONE_NEWNS)
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)


def _tmpfs() -> str:
    """A fresh tmpfs over a directory that every machine has; its path."""
    _own_mounts()
    place = next(path for path in ("/tmp", "/mnt", "/run", "/") if os.path.isdir(path))  # noqa: S108
    mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    os.chdir(place)
    return place


def _proc() -> None:
    _own_mounts()
    unshare(CLONE_NEWPID)
    if child := os.fork():  # only our children are in the new PID namespace
        os.waitpid(child, 0)
        os._exit(0)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None)


def _overlay() -> None:
    place = _tmpfs()
    for name in ("lower", "upper", "work", "merged"):
        os.mkdir(name)
    layers = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
    # Without privileges in the first user namespace, overlay keeps its notes in user.* attributes.
    mount("overlay", "merged", "overlay", 0, layers + ",userxattr" * _rootless())


def _pivot_root() -> None:
    _tmpfs()
    pivot_root(".", ".")
    umount2(".", MNT_DETACH)


def _rootless() -> bool:
    with open("/proc/self/uid_map") as lines:
        return lines.readline().split() != ["0", "0", "4294967295"]


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _link(kind: str) -> None:
    """Make a network device of `kind` in a network namespace of its own."""
    unshare(CLONE_NEWNET)
    body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, 0, 0)
    body += _attribute(_IFLA_IFNAME, b"lab0\0")
    body += _attribute(_IFLA_LINKINFO, _attribute(_IFLA_INFO_KIND, kind.encode()))
    header = struct.pack("=IHHII", 16 + len(body), _RTM_NEWLINK, _NLM_F, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        route.sendto(header + body, (0, 0))
        answer = route.recv(4096)
    kind_of_answer, number = struct.unpack_from("=4xH10xi", answer)
    if kind_of_answer == _NLMSG_ERROR and number:
        raise refusal(f'sendto(NETLINK_ROUTE, RTM_NEWLINK kind "{kind}")', -number)


def _nft() -> None:
    """Have nft make a table in a network namespace of its own."""
    unshare(CLONE_NEWNET)
    # os.get_exec_path() imports a module, which another user may not be able to read.
    folders = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin".split(":")
    places = (f"{folder}/nft" for folder in folders)
    path = next((place for place in places if os.access(place, os.X_OK)), None)
    if path is None:
        raise refusal('execve("nft")', errno.ENOENT)
    null = os.open(os.devnull, os.O_RDWR)
    quiet = [(os.POSIX_SPAWN_DUP2, null, stream) for stream in (1, 2)]
    words = ["nft", "add table ip labkit"]
    child = os.posix_spawn(path, words, os.environ, file_actions=quiet)
    if os.waitpid(child, 0)[1]:
        raise refusal(" ".join(words), errno.EOPNOTSUPP)


TRIALS: "dict[str, Callable[[], object]]" = {
    "private": _own_mounts,
    "tmpfs": _tmpfs,
    "proc": _proc,
    "overlay": _overlay,
    "pivot_root": _pivot_root,
    "dummy": lambda: _link("dummy"),
    "veth": lambda: _link("veth"),
    "bridge": lambda: _link("bridge"),
    "nft": _nft,
}


MOUNTS = ("private", "tmpfs", "proc", "overlay", "pivot_root")
"""Those of the trials that mount something."""


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError as error:
        raise refusal(f'write("{path}", "{text}")', error.errno or errno.EIO) from error


def _become_rootless() -> None:
    """Become a user without privileges, then root of a user namespace: user_namespaces(7)."""
    if os.geteuid() == 0:
        # If one of these is refused, we are not the root who has every capability. Then the answer
        # is what we may do as we are.
        with contextlib.suppress(OSError):
            os.setgroups([])
        with contextlib.suppress(OSError):
            os.setresgid(NOBODY, NOBODY, NOBODY)
        with contextlib.suppress(OSError):
            os.setresuid(NOBODY, NOBODY, NOBODY)
        prctl(PR_SET_DUMPABLE, 1)  # a change of uid leaves /proc/self to root, uid_map with it
    files = id_maps.map_files([(0, os.geteuid(), 1)], [(0, os.getegid(), 1)])
    unshare(CLONE_NEWUSER)
    for name, text in files:
        _write(f"/proc/self/{name}", text.rstrip("\n"))


def _say(name: str, error: OSError | None = None) -> None:
    refused = {"errno": error.errno, "call": call_of(error)} if error else {}
    # One write: the forks share the pipe, and up to PIPE_BUF bytes arrive in one piece.
    os.write(1, json.dumps({"name": name} | refused).encode() + b"\n")


def _try(name: str, trial: "Callable[[], object]") -> None:
    """Make one trial in a fork; say what came of it."""
    if child := os.fork():
        os.waitpid(child, 0)
        return
    try:
        trial()
        _say(name)
    except OSError as error:
        _say(name, error)
    finally:
        os._exit(0)


def _try_all(names: "list[str]") -> None:
    kinds = {kind.name: lambda kind=kind: unshare(kind.flag) for kind in KINDS}
    for name in names:
        _try(name, (TRIALS | kinds)[name])


def main() -> None:
    """``probe [rootless] NAME...``: make the trials NAME, as we are or in a user namespace."""
    names = sys.argv[1:]
    if names[:1] == ["rootless"]:
        names = names[1:]
        try:
            _become_rootless()
        except OSError as error:
            for name in ["user", *names]:
                _say(name, error)
            return
        _say("user")
    _try_all(names)
