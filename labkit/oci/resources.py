"""linux.resources as what is written to the files of control groups, of both versions.

Pure: a configuration in, settings out. -1 is "no limit" everywhere.
"""

from collections.abc import Iterator

from labkit.cgroups.settings import PERIOD, Setting, weight_of
from labkit.oci.config import Config
from labkit.text.words import Words

_THROTTLES = {
    "throttleReadBpsDevice": ("rbps", "blkio.throttle.read_bps_device"),
    "throttleWriteBpsDevice": ("wbps", "blkio.throttle.write_bps_device"),
    "throttleReadIOPSDevice": ("riops", "blkio.throttle.read_iops_device"),
    "throttleWriteIOPSDevice": ("wiops", "blkio.throttle.write_iops_device"),
}


def v1(resources: Config) -> list[Setting]:
    """What is written for version 1."""
    parts = (_memory1(resources), _cpu1(resources), _io1(resources), _others1(resources))
    return [Setting(*each) for part in parts for each in part]


def v2(resources: Config) -> list[Setting]:
    """What is written for version 2. "unified" comes last: it has the files' own names."""
    parts = (_memory2(resources), _cpu2(resources), _io2(resources), _others2(resources))
    found = [Setting(*each) for part in parts for each in part]
    for file, value in resources.get("unified", {}).items():
        if "/" in file or not isinstance(value, str):
            raise ValueError(
                Words(
                    f"resources.unified：{file!r} 不是文件名，或者 {value!r} 不是文字",
                    f"resources.unified: {file!r} is no name of a file, or {value!r} no text",
                )
            )
        found.append(Setting(file.partition(".")[0], file, value))
    return found


_Settings = Iterator[tuple[str, str, str]]


def _memory1(resources: Config) -> _Settings:
    memory = resources.get("memory", {})
    files = {
        "limit": "memory.limit_in_bytes",
        "swap": "memory.memsw.limit_in_bytes",
        "reservation": "memory.soft_limit_in_bytes",
        "kernelTCP": "memory.kmem.tcp.limit_in_bytes",
    }
    for name, file in files.items():
        if memory.get(name):
            yield "memory", file, str(memory[name])
    if memory.get("swappiness", -1) != -1:
        yield "memory", "memory.swappiness", str(memory["swappiness"])
    if memory.get("disableOOMKiller"):
        yield "memory", "memory.oom_control", "1"


def _cpu1(resources: Config) -> _Settings:
    cpu = resources.get("cpu", {})
    files = {
        "shares": "cpu.shares",
        "period": "cpu.cfs_period_us",
        "quota": "cpu.cfs_quota_us",
        "burst": "cpu.cfs_burst_us",
        "realtimePeriod": "cpu.rt_period_us",
        "realtimeRuntime": "cpu.rt_runtime_us",
        "idle": "cpu.idle",
    }
    for name, file in files.items():
        if cpu.get(name):
            yield "cpu", file, str(cpu[name])
    for name in ("cpus", "mems"):
        if cpu.get(name):
            yield "cpuset", f"cpuset.{name}", cpu[name]


def _io1(resources: Config) -> _Settings:
    io = resources.get("blockIO", {})
    for name, file in {"weight": "blkio.weight", "leafWeight": "blkio.leaf_weight"}.items():
        if io.get(name):
            yield "blkio", file, str(io[name])
        for each in io.get("weightDevice", ()):
            if each.get(name):
                yield "blkio", f"{file}_device", f"{_disk(each)} {each[name]}"
    for name, (_, file) in _THROTTLES.items():
        for each in io.get(name, ()):
            yield "blkio", file, f"{_disk(each)} {each['rate']}"


def _others1(resources: Config) -> _Settings:
    if limit := resources.get("pids", {}).get("limit"):
        yield "pids", "pids.max", "max" if limit < 0 else str(limit)
    for each in resources.get("hugepageLimits", ()):
        yield "hugetlb", f"hugetlb.{each['pageSize']}.limit_in_bytes", str(each["limit"])
    network = resources.get("network", {})
    if network.get("classID"):
        yield "net_cls", "net_cls.classid", str(network["classID"])
    for each in network.get("priorities", ()):
        yield "net_prio", "net_prio.ifpriomap", f"{each['name']} {each['priority']}"
    yield from _rdma(resources)


def _memory2(resources: Config) -> _Settings:
    memory = resources.get("memory", {})
    limit, both = memory.get("limit", 0), memory.get("swap", 0)
    if limit:
        yield "memory", "memory.max", _most(limit)
    if both:
        # Version 1 counts memory and swap together, and so does the configuration.
        if both > 0 and limit <= 0:
            raise ValueError(
                Words(
                    "memory.swap 是内存与交换区的总和，要和 memory.limit 一起给",
                    "memory.swap is memory and swap together: it needs memory.limit too",
                )
            )
        yield "memory", "memory.swap.max", _most(both if both < 0 else both - limit)
    if memory.get("reservation"):
        yield "memory", "memory.low", _most(memory["reservation"])


def _cpu2(resources: Config) -> _Settings:
    cpu = resources.get("cpu", {})
    if cpu.get("shares"):
        yield "cpu", "cpu.weight", str(weight_of(max(cpu["shares"], 2)))
    if cpu.get("quota") or cpu.get("period"):
        quota = cpu.get("quota", -1)
        yield "cpu", "cpu.max", f"{quota if quota > 0 else 'max'} {cpu.get('period') or PERIOD}"
    for name, file in {"burst": "cpu.max.burst", "idle": "cpu.idle"}.items():
        if cpu.get(name):
            yield "cpu", file, str(cpu[name])
    for name in ("cpus", "mems"):
        if cpu.get(name):
            yield "cpuset", f"cpuset.{name}", cpu[name]


def _io2(resources: Config) -> _Settings:
    io = resources.get("blockIO", {})
    if io.get("weight"):
        # 10 to 1000 there, 1 to 10000 here.
        yield "io", "io.weight", f"default {1 + (io['weight'] - 10) * 9999 // 990}"
    for name, (key, _) in _THROTTLES.items():
        for each in io.get(name, ()):
            yield "io", "io.max", f"{_disk(each)} {key}={each['rate']}"


def _others2(resources: Config) -> _Settings:
    if limit := resources.get("pids", {}).get("limit"):
        yield "pids", "pids.max", _most(limit)
    for each in resources.get("hugepageLimits", ()):
        yield "hugetlb", f"hugetlb.{each['pageSize']}.max", str(each["limit"])
    yield from _rdma(resources)


def _rdma(resources: Config) -> _Settings:
    for name, each in resources.get("rdma", {}).items():
        words = [
            f"{word}={each[key]}"
            for key, word in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object"))
            if key in each
        ]
        yield "rdma", "rdma.max", " ".join([name, *words])


def _most(limit: int) -> str:
    return "max" if limit < 0 else str(limit)


def _disk(section: Config) -> str:
    return f"{section['major']}:{section['minor']}"
