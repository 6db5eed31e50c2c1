"""One reader for each file of /proc that more than one module reads: proc(5).

What the kernel writes there is bytes. Paths are decoded as Python decodes file names, so that they
can be opened. Names for a person have U+FFFD in place of what is not UTF-8. Each reader raises
OSError when there is no such process, or no /proc. Next to nothing is imported: the engine and
``%%child`` use this too.

A /proc counts processes as the PID namespace does in which it was mounted. That need not be ours:
after ``unshare --fork --pid`` the old one is still there. It calls our 5 for example 1800, and 5 is
another process. So our PID is translated before it is looked up (:func:`number`).
"""

import errno
import os


def _read(path: str) -> bytes:
    """The whole file, in as many pieces as the kernel gives it."""
    with open(path, "rb", buffering=0) as file:
        try:
            return file.readall()
        except OSError as error:
            vars(error)["call"] = f'read("{path}")'  # as of refusal(), which stands above us
            raise


def _read_again(fd: int) -> bytes:
    """The whole of an open file, from its beginning."""
    os.lseek(fd, 0, os.SEEK_SET)
    data = b""
    while more := os.read(fd, 65536):
        data += more
    return data


def status(pid: int | str = "self") -> dict[str, str]:
    """The lines of /proc/PID/status, by their first word: proc_pid_status(5)."""
    lines = _read(f"/proc/{pid}/status").decode(errors="replace").split("\n")
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


class Stat:
    """What /proc/PID/stat says of a process: proc_pid_stat(5).

    name: of its main thread. state: one letter, such as R, S, Z. started: in clock ticks after
    boot. A PID with its `started` is never given to another process.
    """

    __slots__ = ("name", "pgrp", "ppid", "session", "started", "state")

    def __init__(self, line: bytes) -> None:
        # The name may hold anything, spaces and parentheses too: the last parenthesis ends it.
        head, _, rest = line.rpartition(b")")
        fields = rest.split()
        self.name = head.partition(b"(")[2].decode(errors="replace")
        self.state = fields[0].decode()
        self.ppid, self.pgrp, self.session = map(int, fields[1:4])
        self.started = int(fields[19])


def stat(pid: int | str = "self") -> Stat:
    """What /proc/PID/stat says of process `pid`."""
    return Stat(_read(f"/proc/{pid}/stat"))


def depth() -> int:
    """How many PID namespaces below that of this /proc we are: 0 when it is of our own."""
    line = _read("/proc/self/status").partition(b"\nNSpid:")[2].partition(b"\n")[0]
    return len(line.split()[1:])


def number(pid: int) -> int:
    """What this /proc calls our process `pid`. OSError when there is none, or no /proc."""
    if pid <= 0 or not depth():
        return pid
    pidfd = os.pidfd_open(pid)
    try:
        return number_of(pidfd)
    finally:
        os.close(pidfd)


def number_of(pidfd: int) -> int:
    """What this /proc calls the process behind `pidfd`: pidfd_open(2) has the kernel tell it."""
    found = _read(f"/proc/self/fdinfo/{pidfd}").partition(b"\nPid:\t")[2].split(None, 1)
    if not found or int(found[0]) <= 0:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    return int(found[0])


CHILDREN = "/proc/thread-self/children"


def children(below: int | None = None, opened: int = -1) -> list[int]:
    """The children of this thread, by our own numbers.

    below: :func:`depth`, if it is known. opened: a descriptor of CHILDREN, for whom there may be no
    room for another.
    """
    text = _read(CHILDREN) if opened < 0 else _read_again(opened)
    found = [int(word) for word in text.split()]
    if below is None:
        below = depth() if found else 0
    return [int(status(pid)["NSpid"].split()[below]) for pid in found] if below else found


class Mount:
    """A line of /proc/PID/mountinfo: proc_pid_mountinfo(5).

    number, parent: of this mount, and of the one on which it is mounted. root: which directory of
    the file system is mounted. point: where. options: of this mount. propagation: such as
    ``("shared:7", "master:1")``, none of a private mount. kind: the type of the file system,
    source: what it was mounted from, super_options: its own options.
    """

    __slots__ = (
        "kind", "number", "options", "parent", "point", "propagation", "root", "source",
        "super_options",
    )  # fmt: skip

    def __init__(self, line: bytes) -> None:
        # Only a space separates: a name may hold any other white space, and a source may be empty.
        mount, _, system = line.partition(b" - ")
        number, parent, _, root, point, options, *propagation = mount.split(b" ")
        self.number, self.parent = int(number), int(parent)
        self.root, self.point, self.options = _plain(root), _plain(point), _plain(options)
        self.propagation = tuple(word.decode() for word in propagation)
        self.kind, self.source, self.super_options = map(_plain, system.split(b" ", 2))


def mounts(pid: int | str = "self", kinds: str = "") -> list[Mount]:
    """The mounts that process `pid` sees, lowest first. kinds: only types that begin with this."""
    lines = _read(f"/proc/{pid}/mountinfo").split(b"\n")[:-1]
    wanted = f" - {kinds}".encode()
    return [Mount(line) for line in lines if wanted in line]


def _plain(field: bytes) -> str:
    r"""A field as it is: the kernel writes space, tab, newline and backslash as ``\\040``."""
    if b"\\" not in field:
        return os.fsdecode(field)
    first, *others = field.split(b"\\")
    return os.fsdecode(first + b"".join(bytes([int(o[:3], 8)]) + o[3:] for o in others))


# Places that the kernel makes in /proc for mounts. They are empty, so that a mount hides nothing.
_PLACES = ("/sys/fs/binfmt_misc", "/fs/nfsd", "/openprom")


def covers() -> list[str] | None:
    """What keeps /proc from being wholly visible: mounts below it, or its own path if read-only.

    None where a whole /proc is visible: only then a user namespace may mount one more. The kernel
    judges by mnt_already_visible() in fs/namespace.c. [] where no /proc is mounted at all.
    """
    every = mounts()
    found: list[str] = []
    for mount in every:
        if mount.kind != "proc" or mount.root != "/":
            continue
        below = [each.point for each in every if each.parent == mount.number]
        over = [path for path in below if path.removeprefix(mount.point) not in _PLACES]
        over += [mount.point] * ("ro" in mount.options.split(","))
        if not over:
            return None
        found = over
    return found
