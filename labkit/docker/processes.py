"""docker top and docker stats: what runs in a container, and what it uses."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from labkit.cgroups import stats, v1, v2
from labkit.cgroups.stats import Stats
from labkit.docker import templates, units
from labkit.monitor import acts, status
from labkit.monitor import record as records
from labkit.monitor.record import Record
from labkit.monitor.status import Status
from labkit.text.words import Words

_BETWEEN = 1.0  # seconds between the two looks that a use of the processor takes


def top(record: Record, options: Sequence[str]) -> str:
    """What ps(1) tells of the processes of a container."""
    found = acts.running(record)
    wanted = {*pids(found)}
    whole = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    words = ["ps", *(options or ("-ef",))]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=whole)
    head, *rows = done.stdout.splitlines() or [""]
    columns = head.split()
    if done.returncode or "PID" not in columns:
        why = done.stderr.strip() or Words("没有 PID 一列", "Couldn't find PID field in ps output")
        raise ValueError(Words(f"ps：{why}", f"ps: {why}"))
    place, most = columns.index("PID"), len(columns) - 1
    lines = [row.split(None, most) for row in rows]
    return _table([columns, *[words for words in lines if int(words[place]) in wanted]])


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) + 4 for column in zip(*rows, strict=True)]
    lines = ("".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "".join(f"{line}\n" for line in lines)


def pids(found: Status) -> Iterator[int]:
    """The processes of a container: those of its control group, or its first one and its kin."""
    if path := next(iter(found.directories.values()), ""):
        for below, _, _ in os.walk(path):
            yield from map(int, stats.text(f"{below}/cgroup.procs").split())
        return
    waiting = [found.pid]
    while waiting:
        yield (pid := waiting.pop())
        for task in _listed(f"/proc/{pid}/task"):
            waiting += map(int, stats.text(f"/proc/{pid}/task/{task}/children").split())


def _listed(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:  # it has ended
        return []


def used(found: Status) -> Stats:
    """What a container uses now; nothing is known of one without a control group."""
    if found.version == 1:
        return v1.measure(found.directories)
    return v2.measure(found.directories) if found.version == 2 else Stats()


def table(words: Sequence[str], *, _all: bool, form: str, no_trunc: bool) -> str:
    """What docker stats prints: of these containers or of all that run. It takes a second."""
    chosen = [records.find(word) for word in words] or [
        record for record in records.every() if _all or status.of(record).is_up
    ]
    looked = [(record, status.of(record)) for record in chosen]
    first = [(record, found, used(found)) for record, found in looked]
    time.sleep(_BETWEEN)
    rows = [
        stats_row(record, found, before, used(found), no_trunc=no_trunc)
        for record, found, before in first
    ]
    return templates.listed(rows, STATS_HEADS, form, STATS_COLUMNS)


def stats_row(
    record: Record, found: Status, before: Stats, now: Stats, *, no_trunc: bool
) -> Mapping[str, str]:
    """One line of docker stats, from two looks."""
    limit = now.memory_max or _memory_of_machine()
    memory = now.memory or 0
    cpu = ((now.cpu or 0) - (before.cpu or 0)) / _BETWEEN * 100
    received, sent = _traffic(found.pid)
    return {
        "Container": record.short,
        "ID": record.id if no_trunc else record.short,
        "Name": record.name,
        "CPUPerc": f"{cpu:.2f}%",
        "MemUsage": f"{units.binary_size(memory)} / {units.binary_size(limit)}",
        "MemPerc": f"{memory / limit * 100:.2f}%",
        "NetIO": f"{units.size(received)} / {units.size(sent)}",
        "BlockIO": f"{units.size(now.read or 0)} / {units.size(now.written or 0)}",
        "PIDs": f"{now.pids or 0}",
    }


def _memory_of_machine() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _traffic(pid: int) -> tuple[int, int]:
    """Bytes received and sent by a process's network, but for those to itself."""
    received = sent = 0
    for line in stats.text(f"/proc/{pid}/net/dev").splitlines()[2:]:
        name, _, numbers = line.partition(":")
        if name.strip() != "lo":
            words = numbers.split()
            received, sent = received + int(words[0]), sent + int(words[8])
    return received, sent


STATS_HEADS: dict[str, Any] = {
    "Container": "CONTAINER",
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
STATS_COLUMNS = [*STATS_HEADS][1:]
