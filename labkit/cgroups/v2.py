"""Version 2: one hierarchy for all controllers, so a container has one group."""

import errno
import os
import time
from _collections_abc import Iterator, Mapping

from labkit.cgroups import devices, stats
from labkit.cgroups.hierarchy import Hierarchy
from labkit.cgroups.limits import UNLIMITED, Limits
from labkit.cgroups.membership import LEAF
from labkit.cgroups.settings import PERIOD, Setting, io_rates, quota, swap_of, weight_of
from labkit.cgroups.stats import Stats
from labkit.cgroups.v1 import put, unknown
from labkit.text.words import Advice, Words

ALL = "v2"
"""The one group's name among the directories of a container, which version 1 has by controller."""
COUNTING = ("memory", "cpu", "pids", "io")


def settings(limits: Limits) -> list[Setting]:
    """What is written to which file."""
    return [Setting(*each) for each in _settings(limits)]


def _settings(limits: Limits) -> Iterator[tuple[str, str, str]]:
    if limits.memory is not None:
        both = swap_of(limits)
        assert both is not None  # noqa: S101 - there is a limit of memory
        swap = "max" if both == UNLIMITED else str(both - int(limits.memory))
        yield "memory", "memory.max", str(limits.memory)
        yield "memory", "memory.swap.max", swap
    if limits.cpus is not None:
        yield "cpu", "cpu.max", f"{quota(float(limits.cpus))} {PERIOD}"
    if limits.cpu_shares is not None or limits.cpu_weight is not None:
        yield "cpu", "cpu.weight", str(limits.cpu_weight or weight_of(limits.cpu_shares or 2))
    if limits.cpuset is not None:
        yield "cpuset", "cpuset.cpus", limits.cpuset
    if limits.pids is not None:
        yield "pids", "pids.max", str(limits.pids)
    for disk, key, rate in io_rates(limits):
        yield "io", "io.max", f"{devices.disk_number(disk)} {key}={rate}"


def may_be_missing(setting: Setting, limits: Limits) -> bool:
    """Whether a file that is not there is passed over: swap is not counted, nor asked for."""
    return ".swap." in setting.file and limits.memory_swap in (None, UNLIMITED)


def controllers(limits: Limits) -> list[str]:
    """Those that the group of a container with these limits needs."""
    return [*dict.fromkeys(setting.controller for setting in settings(limits))]


def parent(tree: Hierarchy, wanted: list[str]) -> str:
    """The group in which a container's group is made, with the controllers that are wanted.

    It is the nearest one, from our own upwards, that hands them on already. If there is none, our
    own group is made to hand them on, which takes an empty group: no process may be beside groups
    that have controllers. If none is wanted, one that counts a container's use is better than none.
    """
    found = ready(tree, wanted or ["memory", "pids"]) or ready(tree, wanted)
    return found or handing_on(tree, wanted)


def handing_on(tree: Hierarchy, wanted: list[str]) -> str:
    """Our own group, which hands on the controllers from now on; the one above, if ours is LEAF."""
    path = os.path.dirname(tree.path) if os.path.basename(tree.path) == LEAF else tree.path
    if missing := [name for name in wanted if name not in _words(path, "controllers")]:
        raise unknown(missing)
    _hand_on(path, wanted)
    return path


def ready(tree: Hierarchy, wanted: list[str]) -> str | None:
    """The nearest group upwards that hands on the controllers and is ours to make groups in."""
    for path in upwards(tree.path):
        if {*wanted} <= {*_words(path, "subtree_control")} and os.access(path, os.W_OK):
            return path
    return None


def upwards(path: str) -> Iterator[str]:
    """The groups from `path` up to the top of what is mounted."""
    while os.path.exists(f"{path}/cgroup.procs"):
        yield path
        path = os.path.dirname(path)


def _words(path: str, name: str) -> list[str]:
    return stats.text(f"{path}/cgroup.{name}").split()


def _hand_on(path: str, wanted: list[str]) -> None:
    """Have a group hand on the controllers, with all others that a container's use is counted by.

    If it has processes, they are moved to a group below it first: without that the kernel says
    EBUSY. So it is in a container, whose own root looks like any group from outside.
    """
    there = [name for name in COUNTING if name in _words(path, "controllers")]
    names = " ".join(f"+{name}" for name in dict.fromkeys((*wanted, *there)))
    file = f"{path}/cgroup.subtree_control"
    try:
        put(file, names)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        _move_to_leaf(path)
        put(file, names)


def _move_to_leaf(path: str) -> None:
    leaf = f"{path}/{LEAF}"
    os.makedirs(leaf, exist_ok=True)
    moved = 0
    while pids := [pid for pid in _words(path, "procs") if pid != "0"]:
        for pid in pids:  # who has just ended is gone, and who is born is there in the next round
            try:
                put(f"{leaf}/cgroup.procs", pid)
                moved += 1
            except ProcessLookupError:
                continue
    said = Words(
        f"{path} 里有 {moved} 个进程，内核因此不让它把控制器交给下级（EBUSY）：已把它们移到 {leaf}",
        f"{path} had {moved} processes, so the kernel did not let it hand on controllers (EBUSY): "
        f"they are in {leaf} now",
    )
    import warnings

    warnings.warn(Advice(said), stacklevel=2)


def measure(directories: Mapping[str, str]) -> Stats:
    """What is used in the group."""
    path = directories[ALL]
    cpu = stats.named(f"{path}/cpu.stat")
    moved = _moved(f"{path}/io.stat")
    return Stats(
        cpu=stats.seconds(cpu.get("usage_usec"), 1e-6),
        throttled=stats.seconds(cpu.get("throttled_usec"), 1e-6),
        memory=stats.number(f"{path}/memory.current"),
        memory_peak=stats.number(f"{path}/memory.peak"),
        memory_max=stats.number(f"{path}/memory.max"),
        pids=stats.number(f"{path}/pids.current"),
        pids_max=stats.number(f"{path}/pids.max"),
        oom_kills=stats.named(f"{path}/memory.events").get("oom_kill"),
        read=moved.get("rbytes"),
        written=moved.get("wbytes"),
        pressure=stats.pressure(path),
    )


def _moved(path: str) -> dict[str, int]:
    """Bytes read and written, over all disks."""
    if not os.path.exists(path):
        return {}
    found = {"rbytes": 0, "wbytes": 0}
    for word in stats.text(path).split():
        key, _, count = word.partition("=")
        if key in found:
            found[key] += int(count)
    return found


def freeze(directories: Mapping[str, str], *, frozen: bool) -> None:
    """Stop all processes of the group, or let them go on; return when that is done."""
    path = directories[ALL]
    put(f"{path}/cgroup.freeze", str(int(frozen)))
    while stats.named(f"{path}/cgroup.events").get("frozen") != frozen:
        time.sleep(0.001)
        try:
            put(f"{path}/cgroup.freeze", str(int(frozen)))  # again: ENOENT: the group is gone
        except OSError:
            if frozen:
                raise
            return  # it was thawed, and has ended since
