"""Version 1: a hierarchy for each controller, so a container has a group in each that limits it."""

import os
import time
from _collections_abc import Iterator, Mapping

from labkit.cgroups import devices, stats
from labkit.cgroups.hierarchy import Hierarchy
from labkit.cgroups.limits import UNLIMITED, Limits
from labkit.cgroups.settings import PERIOD, Setting, io_rates, quota, shares_of, swap_of
from labkit.cgroups.stats import Stats
from labkit.linux.refusal import Asked
from labkit.text.words import Words

COUNTING = ("memory", "cpu", "cpuacct", "pids", "blkio")
"""The controllers of a container without limits, whose use is counted."""
FREEZER = "freezer"
"""It stops a container and starts it again; and nobody gets away while a group is being killed."""
_NO_LIMIT = 1 << 62  # what the kernel shows for none: the largest number of pages, in bytes
_THROTTLE = {
    "rbps": "blkio.throttle.read_bps_device",
    "wbps": "blkio.throttle.write_bps_device",
    "riops": "blkio.throttle.read_iops_device",
    "wiops": "blkio.throttle.write_iops_device",
}


def settings(limits: Limits) -> list[Setting]:
    """What is written to which file, in the order in which the kernel takes it."""
    return [Setting(*each) for each in _settings(limits)]


def _settings(limits: Limits) -> Iterator[tuple[str, str, str]]:
    if limits.memory is not None:
        yield "memory", "memory.limit_in_bytes", str(limits.memory)
        yield "memory", "memory.memsw.limit_in_bytes", str(swap_of(limits))
    if limits.cpus is not None:
        yield "cpu", "cpu.cfs_period_us", str(PERIOD)
        yield "cpu", "cpu.cfs_quota_us", str(quota(float(limits.cpus)))
    if limits.cpu_shares is not None or limits.cpu_weight is not None:
        yield "cpu", "cpu.shares", str(limits.cpu_shares or shares_of(limits.cpu_weight or 1))
    if limits.cpuset is not None:
        yield "cpuset", "cpuset.cpus", limits.cpuset
    if limits.pids is not None:
        yield "pids", "pids.max", str(limits.pids)
    for disk, key, rate in io_rates(limits):
        yield "blkio", _THROTTLE[key], f"{devices.disk_number(disk)} {rate}"
    if limits.devices is not None:
        yield "devices", "devices.deny", "a"
        for rule in (*devices.USUAL, *limits.rules):
            yield "devices", "devices.allow", str(rule)


def may_be_missing(setting: Setting, limits: Limits) -> bool:
    """Whether a file that is not there is passed over: swap is not counted, nor asked for."""
    return ".memsw." in setting.file and limits.memory_swap in (None, UNLIMITED)


def controllers(limits: Limits, *, stops: bool = True) -> list[str]:
    """Those in whose hierarchies a container with these limits needs a group; memory is first.

    stops: whether it may have to be stopped, which is another controller's work.
    """
    wanted = dict.fromkeys(setting.controller for setting in settings(limits))
    counted = ["cpuacct"] * ("cpu" in wanted)
    if not wanted or limits.devices is not None:  # docker stats counts all
        wanted |= dict.fromkeys(COUNTING)
    wanted |= dict.fromkeys([*counted, *[FREEZER] * stops])
    return sorted(wanted, key=lambda name: name != "memory")


def parents(trees: tuple[Hierarchy, ...], wanted: list[str]) -> dict[str, str]:
    """The group in which we are, for each of the controllers that are wanted."""
    found = {name: tree.path for tree in trees if tree.version == 1 for name in tree.controllers}
    optional = {"cpuacct", "blkio", FREEZER}
    missing = [name for name in wanted if name not in found and name not in optional]
    if missing:
        raise unknown(missing)
    return {name: found[name] for name in wanted if name in found}


def unknown(names: list[str]) -> ValueError:
    """No group here can limit what is wanted."""
    which = " ".join(names)
    return ValueError(
        Words(
            f"这台机器的控制组没有控制器 {which}：看 /proc/cgroups 的最后一列；"
            f"是 0 就在内核命令行加 cgroup_enable={names[0]}，否则把它挂载上",
            f"no cgroup here has the controller {which}: see the last column of /proc/cgroups; "
            f"if it is 0, add cgroup_enable={names[0]} to the kernel's command line, else mount it",
        )
    )


def prepare(directory: str, parent: str) -> None:
    """Copy what a new cpuset does not inherit: nobody may enter one without processors."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        copied = stats.text(f"{parent}/{name}")
        if copied:
            put(f"{directory}/{name}", copied.strip())


def put(path: str, value: str) -> None:
    """Write a value in one call, as the kernel wants it."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        with Asked(f'write("{path}", "{value}")'):
            os.write(fd, value.encode())
    finally:
        os.close(fd)


def measure(directories: Mapping[str, str]) -> Stats:
    """What is used in the groups, by controller."""
    none = "/nonexistent"  # a controller that limits nothing here has no group
    of = {name: directories.get(name, none) for name in (*COUNTING, FREEZER)}
    control = stats.named(f"{of['memory']}/memory.oom_control")
    held_back = stats.named(f"{of['cpu']}/cpu.stat").get("throttled_time")
    moved = _moved(f"{of['blkio']}/blkio.throttle.io_service_bytes_recursive")
    return Stats(
        cpu=stats.seconds(stats.number(f"{of['cpuacct']}/cpuacct.usage"), 1e-9),
        throttled=stats.seconds(held_back, 1e-9),
        memory=stats.number(f"{of['memory']}/memory.usage_in_bytes"),
        memory_peak=stats.number(f"{of['memory']}/memory.max_usage_in_bytes"),
        memory_max=stats.number(f"{of['memory']}/memory.limit_in_bytes", _NO_LIMIT),
        pids=stats.number(f"{of['pids']}/pids.current"),
        pids_max=stats.number(f"{of['pids']}/pids.max"),
        oom_kills=control.get("oom_kill"),
        read=moved.get("Read"),
        written=moved.get("Write"),
    )


def _moved(path: str) -> dict[str, int]:
    """Bytes read and written, over all disks."""
    found: dict[str, int] = {}
    if lines := stats.text(path).splitlines():
        found = {"Read": 0, "Write": 0}
        for words in map(str.split, lines):
            if len(words) == 3 and words[1] in found:
                found[words[1]] += int(words[2])
    return found


def freeze(directories: Mapping[str, str], *, frozen: bool) -> None:
    """Stop all processes of the group, or let them go on; return when that is done."""
    path = f"{directories[FREEZER]}/freezer.state"
    state = "FROZEN" if frozen else "THAWED"
    put(path, state)
    while stats.text(path).strip() != state:
        time.sleep(0.001)
        try:
            put(path, state)  # again: one that is being born may have missed it
        except OSError:
            if frozen:
                raise
            return  # it was thawed, and has ended since
