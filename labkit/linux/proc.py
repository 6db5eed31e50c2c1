"""One reader for each file of /proc that more than one module reads: proc(5).

What the kernel writes there is bytes. Paths are decoded as Python decodes file names, so that they
can be opened. Names for a person have U+FFFD in place of what is not UTF-8. Each reader raises
OSError when there is no such process, or no /proc. Nothing is imported but os: ``%%child`` and the
engine's callers use this too.
"""

import os


def _read(path: str) -> bytes:
    """The whole file, in as many pieces as the kernel gives it."""
    with open(path, "rb", buffering=0) as file:
        return file.readall()


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


def children() -> list[int]:
    """The PIDs of this thread's children, in the PID namespace of the /proc that is mounted.

    A process that has one thread has no others. proc_tid_children(5)
    """
    return [int(pid) for pid in _read("/proc/thread-self/children").split()]


class Mount:
    """A line of /proc/PID/mountinfo: proc_pid_mountinfo(5).

    root: which directory of the file system is mounted. point: where. options: of this mount.
    propagation: such as ``("shared:7", "master:1")``, none of a private mount. kind: the type of
    the file system, source: what it was mounted from, super_options: its own options.
    """

    __slots__ = ("kind", "options", "point", "propagation", "root", "source", "super_options")

    def __init__(self, line: bytes) -> None:
        # Only a space separates: a name may hold any other white space, and a source may be empty.
        mount, _, system = line.partition(b" - ")
        _, _, _, root, point, options, *propagation = mount.split(b" ")
        self.root, self.point, self.options = _plain(root), _plain(point), _plain(options)
        self.propagation = tuple(word.decode() for word in propagation)
        self.kind, self.source, self.super_options = map(_plain, system.split(b" ", 2))


def mounts(pid: int | str = "self") -> list[Mount]:
    """The mounts that process `pid` sees, lowest first."""
    return [*map(Mount, _read(f"/proc/{pid}/mountinfo").split(b"\n")[:-1])]


def _plain(field: bytes) -> str:
    r"""A field as it is: the kernel writes space, tab, newline and backslash as ``\\040``."""
    first, *others = field.split(b"\\")
    return os.fsdecode(first + b"".join(bytes([int(o[:3], 8)]) + o[3:] for o in others))
