"""Stats: what the processes of a group use, as one value; and readers of the kernel's files."""

from _collections_abc import Mapping

from labkit.linux.fields import dataclass


@dataclass(frozen=True)
class Stats:
    """What a group uses at one moment. None: this machine does not count it for this group.

    cpu: seconds of processor time. throttled: seconds in which it was held back by its quota.
    memory, memory_peak, memory_max: bytes now, at most so far, and the limit. pids, pids_max:
    processes and threads, and the limit. oom_kills: how many processes were killed at the memory's
    limit. read, written: bytes from and to disks. pressure: for "cpu", "memory" and "io", what
    part of the last ten seconds some process waited for it, in percent (version 2 only).
    """

    cpu: float | None = None
    throttled: float | None = None
    memory: int | None = None
    memory_peak: int | None = None
    memory_max: int | None = None
    pids: int | None = None
    pids_max: int | None = None
    oom_kills: int | None = None
    read: int | None = None
    written: int | None = None
    pressure: Mapping[str, float] | None = None


def text(path: str) -> str:
    """What a file holds; nothing where there is none, or where its kernel does not count."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def number(path: str, most: int = 1 << 62) -> int | None:
    """The number in a file. None: "max", no such file, or `most` and above, which is no limit."""
    found = text(path).strip()
    return int(found) if found.isdigit() and int(found) < most else None


def named(path: str) -> dict[str, int]:
    """A file of names and numbers, a line each."""
    lines = (line.split() for line in text(path).splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdigit()}


def seconds(count: int | None, unit: float) -> float | None:
    """A count of `unit` seconds, in seconds."""
    return None if count is None else count * unit


def pressure(directory: str) -> dict[str, float] | None:
    """The pressure of a group of version 2: avg10 of "some", for each resource."""
    found = {}
    for name in ("cpu", "memory", "io"):
        words = text(f"{directory}/{name}.pressure").split()
        if words[:1] == ["some"]:
            found[name] = float(words[1].removeprefix("avg10="))
    return found or None
