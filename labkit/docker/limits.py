"""What the container may use: --memory, --cpus, --pids-limit, --device, as Docker reads them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from labkit.cgroups.limits import Limits
from labkit.cgroups.settings import shares_of
from labkit.docker.lessons import Refused
from labkit.text.words import Words

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


def _whole(option: str, field: str, *none: str) -> Callable[[Asked, str], None]:
    """An option whose value is a whole number."""

    def take(asked: Asked, value: str) -> None:
        if not value.removeprefix("-").isdecimal():
            raise Refused(
                Words(
                    f"--{option} 要一个整数，而不是 {value!r}",
                    f"--{option} takes a whole number, not {value!r}",
                )
            )
        if value not in none:
            asked[field] = int(value)

    return take


def _device(asked: Asked, value: str) -> None:
    """PATH[:PATH-INSIDE][:rwm]. The files are this machine's, so both paths are one."""
    path, *rest = value.split(":")
    inside = rest.pop(0) if rest and rest[0].startswith("/") else path
    if inside != path or len(rest) > 1:
        raise Refused(
            Words(
                f"--device {value}：还没有自己的根目录，里外只能是同一个路径",
                f"--device {value}: with no root directory of its own yet, the path inside is the "
                "same",
            )
        )
    asked["devices"] = (*asked.get("devices", ()), ":".join([path, *rest]))


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
    "memory": _set("memory", "0"),
    "memory-swap": _set("memory_swap", "0"),
    "cpus": _set("cpus", "0"),
    "cpu-shares": _whole("cpu-shares", "cpu_shares", "0"),
    "cpuset-cpus": _set("cpuset", ""),
    "pids-limit": _whole("pids-limit", "pids", "0", "-1"),
    "device": _device,
    "device-cgroup-rule": _rule,
    **{option: _rate(option) for option in _RATES},
}


def limits(asked: Asked) -> Limits | None:
    """The limits of a container; None if no option asks for one."""
    return Limits(**asked) if asked else None


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
        if device.startswith("/"):
            path, colon, access = device.partition(":")
            yield f"--device={path}" + f":{path}:{access}" * bool(colon)
        else:
            yield f"--device-cgroup-rule={device}"
    options = {key: option for option, key in _RATES.items()}
    for disk, rates in (limits.io or {}).items():
        yield from (f"--{options[key]}={disk}:{rate}" for key, rate in rates.items())
