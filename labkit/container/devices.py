"""The /dev of a container: what it holds, and how root of a user namespace comes by it."""

import os
import posixpath
import stat

from labkit.container.container import Container
from labkit.container.user_namespace import in_user_namespace
from labkit.linux import proc
from labkit.linux.call import looked, may_be_there
from labkit.linux.capabilities import names
from labkit.linux.files import (
    close,
    dup3,
    fchown,
    ioctl,
    mkdirat,
    mknodat,
    openat,
    sendmsg,
    symlinkat,
)
from labkit.linux.flags import (
    AT_FDCWD,
    CLONE_NEWIPC,
    CLONE_NEWNS,
    MOVE_MOUNT_F_EMPTY_PATH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_STRICTATIME,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    TIOCGPTPEER,
    TIOCSPTLCK,
)
from labkit.linux.mounts import mount, move_mount, open_tree
from labkit.linux.processes import setns
from labkit.linux.refusal import Asked
from labkit.python import functools
from labkit.text.words import Words

# Name, and the two numbers by which the kernel knows it: Documentation/admin-guide/devices.txt.
NODES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
EVERYBODY = 0o666
SHM = "shm"
SHM_SIZE = 64 << 20  # bytes, Docker's
_PLAIN = MS_NOSUID | MS_NODEV | MS_NOEXEC
INSIDE = "/dev/ptmx"
"""In place of a terminal's path: the container makes the terminal itself, in its own /dev/pts."""
_STREAMS = 0, 1, 2
TTY_GROUP = 5  # of terminals in every distribution, so that wall(1) may write to them


def outside(box: Container, terminal: str) -> dict[str, int]:
    """Open what of the host's /dev is to be seen inside, while it can be reached.

    The kernel lets no user namespace make a device, since a device is one for the whole machine.
    The host's own can be bound. terminal: the path of the caller's, for /dev/console; INSIDE.
    """
    wanted = {}
    if not may_make_nodes(box):
        wanted = {name: f"/dev/{name}" for name in NODES}
        wanted |= {_name(inside): path for path, inside in _more(box)}
    if terminal and terminal != INSIDE:
        wanted["console"] = terminal
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
    found = {name: open_tree(AT_FDCWD, path, flags) for name, path in wanted.items()}
    if "ipc" in box.joined:
        found[SHM] = shared_memory(box.joined["ipc"])
    return found


def shared_memory(pid: int) -> int:
    """The /dev/shm of a process. Only who is in its mount namespace may take a mount of that."""
    flags = os.O_RDONLY | os.O_CLOEXEC
    theirs = openat(AT_FDCWD, f"/proc/{pid}/ns/mnt", flags)
    own = openat(AT_FDCWD, "/proc/self/ns/mnt", flags)
    setns(theirs, CLONE_NEWNS)
    tree = open_tree(AT_FDCWD, f"/dev/{SHM}", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
    setns(own, CLONE_NEWNS)
    close(own)
    close(theirs)
    return tree


def fill(box: Container, bound: dict[str, int], terminal: str) -> None:
    """Make /dev. bound: what `outside` has opened. terminal: INSIDE if one is to be made."""
    # In a user namespace the group of terminals may have no number.
    group = "" if in_user_namespace(box) else f",gid={TTY_GROUP}"
    nodes, size = "null" not in bound, box.root.shm_size if box.root else None
    queues = bool(box.cloneflags & CLONE_NEWIPC) or SHM in bound
    make(nodes, group, queues, size or SHM_SIZE)
    for path, inside in _more(box) if nodes else ():
        mode, device = looked(_device, path)
        _make_parents(_name(inside))
        mknodat(AT_FDCWD, inside, mode, device)
    for name, tree in bound.items():
        _make_parents(name)
        if name != SHM:  # the directory is there
            mknodat(AT_FDCWD, f"/dev/{name}", stat.S_IFREG | EVERYBODY)
        move_mount(tree, "", AT_FDCWD, f"/dev/{name}", MOVE_MOUNT_F_EMPTY_PATH)
    if terminal == INSIDE:
        make_terminal(box)
        bind_console()


def makes_terminal(box: Container) -> bool:
    """Whether `box` has a /dev/pts of its own in which its terminal can be made."""
    return box.tty and box.root is not None and not box.root.bare


def make_terminal(box: Container) -> None:
    """Make a terminal in this /dev/pts, send its master to the caller, and be on it.

    The standard streams are the caller's socket so far. sendmsg(2) wants the number of what it
    sends inside of a structure. So the master gets a number that is known before.
    """
    master = openat(AT_FDCWD, INSIDE, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    ioctl(master, TIOCSPTLCK, 0)
    slave = ioctl(master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    dup3(master, _STREAMS[2])
    close(master)
    sendmsg(_STREAMS[0], _STREAMS[2])  # the caller sets it up, and then we go on
    for stream in _STREAMS:
        dup3(slave, stream)
    close(slave)
    if box.user is not None:
        fchown(_STREAMS[0], box.user[0], -1)  # or its program could not open it once more


def bind_console() -> None:
    """Show the first terminal as /dev/console too."""
    mknodat(AT_FDCWD, "/dev/console", stat.S_IFREG | EVERYBODY)
    mount("/dev/pts/0", "/dev/console", None, MS_BIND, None)


def _more(box: Container) -> list[tuple[str, str]]:
    """The devices that `box` has besides the usual ones: where they are here, and inside."""
    return box.root.nodes() if box.root else []


def _name(inside: str) -> str:
    return posixpath.normpath(inside).removeprefix("/dev/")


def _device(path: str) -> tuple[int, int]:
    """The kind and mode of a device, and its number."""
    with Asked(f'stat("{path}")'):
        about = os.stat(path)
    if not stat.S_ISCHR(about.st_mode) and not stat.S_ISBLK(about.st_mode):
        raise ValueError(Words(f"{path} 不是设备", f"{path} is not a device node"))
    return about.st_mode, about.st_rdev


def _make_parents(name: str) -> None:
    """Make the directories of /dev that a device such as net/tun is in."""
    for at, mark in enumerate(name):
        if mark == "/":
            with may_be_there():
                mkdirat(AT_FDCWD, f"/dev/{name[:at]}", 0o755)


def make(nodes: bool, group: str, queues: bool, shm_size: int = SHM_SIZE) -> None:
    """Make /dev without what is bound there.

    nodes: whether devices are made. group: of terminals, as an option. queues: of messages.
    shm_size: bytes of /dev/shm.
    """
    mount("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k")
    for name, (major, minor) in NODES.items() if nodes else ():
        mode = stat.S_IFCHR | EVERYBODY
        mknodat(AT_FDCWD, f"/dev/{name}", mode, os.makedev(major, minor))
    for name, target in LINKS.items():
        symlinkat(target, AT_FDCWD, f"/dev/{name}")
    pts = f"newinstance,ptmxmode=0666,mode=0620{group}"
    inside = [
        ("pts", "devpts", "devpts", MS_NOSUID | MS_NOEXEC, pts),
        ("shm", "shm", "tmpfs", _PLAIN, f"mode=1777,size={shm_size // 1024}k"),
    ]
    inside += [("mqueue", "mqueue", "mqueue", _PLAIN, "")] * queues
    for name, source, kind, flags, options in inside:
        mkdirat(AT_FDCWD, f"/dev/{name}", 0o755)
        mount(source, f"/dev/{name}", kind, flags, options or None)


def may_make_nodes(box: Container) -> bool:
    """Whether the child may make devices."""
    return not in_user_namespace(box) and _has_mknod()


@functools.cache
def _has_mknod() -> bool:
    return "CAP_MKNOD" in names(int(proc.status()["CapEff"], 16))
