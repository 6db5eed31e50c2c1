"""What the container may use: --memory, --cpus, --pids-limit, --device, as Docker reads them."""

import os
import stat
from _collections_abc import Callable, Iterator, Mapping, Sequence

from labkit.cgroups.devices import in_parts
from labkit.cgroups.limits import MIN_MEMORY, Limits
from labkit.cgroups.settings import shares_of
from labkit.container.devices import NODES
from labkit.docker import values
from labkit.docker.absent import Refused
from labkit.python import re
from labkit.python.typing import Any, NamedTuple
from labkit.text.words import Words

_PERIOD = 100000  # microseconds, the kernel's own
Asked = dict[str, Any]
"""The fields of Limits that the options have set so far."""
_RATES = {
    "device-read-bps": "rbps",
    "device-write-bps": "wbps",
    "device-read-iops": "riops",
    "device-write-iops": "wiops",
}


def _set(field: str, *none: str) -> Callable[[Asked, str], None]:
    """An option with a value as it is. none: those with which Docker sets no limit."""

    def take(asked: Asked, value: str) -> None:
        if value not in none:
            asked[field] = value

    return take


def _size(field: str) -> Callable[[Asked, str], None]:
    """An option whose value is a number of bytes; -1 is unlimited, and 0 sets no limit."""

    def take(asked: Asked, value: str) -> None:
        if value != "-1" and values.size(value) == 0:
            return
        asked[field] = value

    return take


def _cpus(asked: Asked, value: str) -> None:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if number != number:  # noqa: PLR0124 - not a number
        en = f"failed to parse {value} as a rational number"
        raise Refused(Words(f"{value!r} 不是数", en))
    if number:
        asked["cpus"] = value


def _whole(field: str, *none: str) -> Callable[[Asked, str], None]:
    """An option whose value is a whole number."""

    def take(asked: Asked, value: str) -> None:
        number = values.whole(value)
        if value not in none:
            asked[field] = number

    return take


class Device(NamedTuple):
    """--device: a device of this machine, its place in the container, and what may be done."""

    path: str
    inside: str
    access: str = "rwm"


def device(text: str) -> Device:
    """PATH[:PATH-INSIDE][:rwm]."""
    path, *rest = text.split(":")
    inside = rest.pop(0) if rest and (rest[0].startswith("/") or len(rest) > 1) else path
    access = rest[0] if rest else "rwm"
    if {*access} - {*"rwm"} or len({*access}) != len(access) or not access:
        en = f"bad mode specified: {access}"
        raise Refused(Words(f"--device 的方式只有 r、w、m，而不是 {access!r}", en))
    if len(rest) > 1 or not path.startswith("/") or not inside.startswith("/"):
        raise Refused(
            Words(
                f"--device 写成 /dev/fuse[:/容器里的位置][:rwm]，而不是 {text!r}",
                f"bad format for path: {text}",
            )
        )
    return Device(path, inside, access)


_LEFT_OUT = {"console", "fd", "mqueue", "ptmx", "pts", "shm", "stdin", "stdout", "stderr", *NODES}


def every_device() -> Iterator[Device]:
    """The devices of this machine, for --privileged, but those that each container has anyway."""
    for name in sorted(os.listdir("/dev")):
        if name not in _LEFT_OUT and not name.startswith("."):
            yield from _below(f"/dev/{name}", f"/dev/{name}", "rwm")


def nodes(asked: Device) -> Iterator[Device]:
    """The device itself; of a directory, all that are in it."""
    path = os.path.realpath(asked.path)
    found = [*_below(path, asked.inside, asked.access)]
    if not found:
        en = f'error gathering device information while adding custom device "{asked.path}": '
        en += "not a device node" if os.path.exists(path) else "no such file or directory"
        raise Refused(Words(f"{asked.path} 不是设备，或者没有这个文件", en))
    yield from found


def _below(path: str, inside: str, access: str) -> Iterator[Device]:
    """The devices at a path and below it. No link is followed."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:  # it has just gone
        return
    if stat.S_ISDIR(mode):
        for name in sorted(os.listdir(path)):
            yield from _below(f"{path}/{name}", f"{inside}/{name}", access)
    elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        yield Device(path, inside, access)


def _rule(asked: Asked, value: str) -> None:
    asked["devices"] = (*asked.get("devices", ()), value)


def _rate(option: str) -> Callable[[Asked, str], None]:
    def take(asked: Asked, value: str) -> None:
        disk, colon, rate = value.rpartition(":")
        if not colon or not rate:
            raise Refused(
                Words(
                    f"--{option} 写成 /dev/sda:10m，而不是 {value!r}",
                    f"--{option} is as /dev/sda:10m, not {value!r}",
                )
            )
        asked.setdefault("io", {}).setdefault(disk, {})[_RATES[option]] = rate

    return take


OPTIONS: Mapping[str, Callable[[Asked, str], None]] = {
    "memory": _size("memory"),
    "memory-swap": _size("memory_swap"),
    "cpus": _cpus,
    "cpu-shares": _whole("cpu_shares", "0"),
    "cpuset-cpus": _set("cpuset", ""),
    "pids-limit": _whole("pids", "0", "-1"),
    "cpu-period": _whole("cpu_period", "0"),
    "cpu-quota": _whole("cpu_quota", "0", "-1"),
    "device-cgroup-rule": _rule,
    **{option: _rate(option) for option in _RATES},
}


def _check(asked: Asked) -> None:
    """Refuse what Docker's daemon refuses, in its words."""
    memory, swap = asked.get("memory"), asked.get("memory_swap")
    if memory and values.size(memory) < MIN_MEMORY:
        raise Refused(Words("内存的上限至少是 6m", "Minimum memory limit allowed is 6MB"))
    if swap and not memory:
        en = "You should always set the Memory limit when using Memoryswap limit, see usage"
        raise Refused(Words("--memory-swap 要和 --memory 一起用", en))
    if swap and swap != "-1" and memory and values.size(swap) < values.size(memory):
        en = "Minimum memoryswap limit should be larger than memory limit, see usage"
        raise Refused(Words("--memory-swap 是内存加交换区，不能比 --memory 小", en))
    _check_processors(asked)


def _check_processors(asked: Asked) -> None:
    count = os.cpu_count() or 1
    if not 0.01 <= float(asked.get("cpus", 1)) <= count:
        en = f"Range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
        raise Refused(Words(f"--cpus 在 0.01 到 {count} 之间：这里有 {count} 个处理器", en))
    if ("cpu_quota" in asked or "cpu_period" in asked) and "cpus" in asked:
        en = "conflicting options: Nano CPUs and CPU Period cannot both be set"
        raise Refused(Words("--cpus 已经说了 --cpu-period 和 --cpu-quota 要说的", en))
    listed = asked.get("cpuset")
    if listed is None:
        return
    if not re.fullmatch(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*", listed):
        en = f"Invalid value {listed} for cpuset cpus: invalid format: {listed}"
        raise Refused(Words(f"--cpuset-cpus 写成 0-1,3，而不是 {listed!r}", en))
    if max(map(int, re.findall("[0-9]+", listed))) >= count:
        there = f"0-{count - 1}" if count > 1 else "0"
        en = f"Requested CPUs are not available - requested {listed}, available: {there}"
        raise Refused(Words(f"没有 {listed} 这些处理器：这里有 {there}", en))


def limits(asked: Asked, devices: Sequence[Device] = ()) -> Limits | None:
    """The limits of a container; None if no option asks for one. devices: those of --device."""
    rest = dict(asked)
    _check(asked)
    quota, period = rest.pop("cpu_quota", None), rest.pop("cpu_period", _PERIOD)
    if quota:
        rest["cpus"] = quota / period
    if devices:
        rest["devices"] = (*map(_may_use, devices), *rest.get("devices", ()))
    return Limits(**rest) if rest else None


def _may_use(device: Device) -> str | tuple[str, str]:
    """The rule for a device: a text, unless a colon in the path would end it."""
    if ":" in device.path:
        return device.path, device.access
    return device.path + f":{device.access}" * (device.access != "rwm")


def words(limits: Limits) -> Iterator[str]:
    """The options of docker run for these limits."""
    plain = {
        "memory": limits.memory,
        "memory-swap": limits.memory_swap,
        "cpus": limits.cpus,
        "cpu-shares": limits.cpu_shares or (limits.cpu_weight and shares_of(limits.cpu_weight)),
        "cpuset-cpus": limits.cpuset,
        "pids-limit": limits.pids,
    }
    yield from (f"--{name}={value}" for name, value in plain.items() if value is not None)
    for device in limits.devices or ():
        path, access = device if isinstance(device, tuple) else in_parts(device)
        if path:
            yield f"--device={path}" + f":{path}:{access}" * (access != "rwm")
        else:
            yield f"--device-cgroup-rule={device}"
    options = {key: option for option, key in _RATES.items()}
    for disk, rates in (limits.io or {}).items():
        yield from (f"--{options[key]}={disk}:{rate}" for key, rate in rates.items())
