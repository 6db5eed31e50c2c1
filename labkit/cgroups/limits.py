"""Limits: what a container may use, as a value that checks itself; Docker's words and units."""

from _collections_abc import Callable, Collection, Mapping
from types import MappingProxyType

from labkit.cgroups.devices import Rule, as_rule
from labkit.linux.fields import KW_ONLY, dataclass, field, fields
from labkit.python.typing import Any
from labkit.text.words import Words

MIN_MEMORY = 6 << 20  # bytes, Docker's: with less hardly a program starts
MIN_CPUS = 0.01  # the kernel's quota is at least 1 ms, and the period is 100 ms
WEIGHTS, SHARES = (1, 10000), (2, 262144)  # cpu.weight and cpu.shares, as the kernel takes them
UNLIMITED = -1
PIDS = 1 << 22  # PID_MAX_LIMIT of the kernel
IO_KEYS = ("rbps", "wbps", "riops", "wiops")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


@dataclass(frozen=True, repr=False)
class Limits:
    """What a container may use. Without any limit its use is counted, and that is all.

    memory: bytes, as a number or as "64m". memory_swap: memory and swap together, as with Docker;
    "-1" is unlimited, and None is twice the memory, where swap is counted. cpus: how many
    processors, such as 0.5, in each tenth of a second. cpu_weight: a share beside others who want
    the processor, 1 to 10000, usually 100; or cpu_shares: the same as version 1 and Docker count
    it, 2 to 262144, usually 1024. cpuset: on which processors, as "0-1,3". pids: how many processes
    and threads. io: bytes and operations a second for each disk, as
    ``{"/dev/sda": {"rbps": "10m", "wiops": 100}}``. devices: which devices it may use besides the
    usual ones such as /dev/null, as "/dev/fuse", "/dev/fuse:rw", ("/dev/fuse", "rw") or
    "c 10:229 rwm" (None: all).

    Raises TypeError or ValueError for what no kernel would take.
    """

    _: KW_ONLY
    memory: int | str | None = None
    memory_swap: int | str | None = None
    cpus: float | str | None = None
    cpu_weight: int | None = None
    cpu_shares: int | None = None
    cpuset: str | None = None
    pids: int | None = None
    io: Mapping[str, Mapping[str, int | str]] | None = field(default=None, hash=False)
    devices: Collection[str | tuple[str, str]] | None = None

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, check(value))
        if self.memory_swap is not None:
            object.__setattr__(self, "memory_swap", _swap(self.memory_swap, self.memory))
        if self.cpu_weight is not None and self.cpu_shares is not None:
            raise ValueError(
                Words(
                    "cpu_weight 和 cpu_shares 是一回事的两种写法，只给一个",
                    "cpu_weight and cpu_shares are two forms of one thing: give one",
                )
            )

    def __repr__(self) -> str:
        on = self.fields_on()
        for name in ("memory", "memory_swap"):
            if name in on:
                on[name] = as_size(on[name])
        return f"Limits({', '.join(f'{name}={value!r}' for name, value in on.items())})"

    def fields_on(self) -> dict[str, Any]:
        """The limits that are set, as JSON can hold them."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        on = {name: value for name, value in values.items() if value is not None}
        if self.io is not None:
            on["io"] = {disk: dict(rates) for disk, rates in self.io.items()}
        return on

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The devices asked for, by number. They are looked up in this machine's /dev."""
        return tuple(map(as_rule, self.devices or ()))


def as_limits(value: object) -> Limits:
    """`value`, which is Limits, or a mapping of its fields as JSON has it."""
    if isinstance(value, Mapping):
        return Limits(**value)
    if not isinstance(value, Limits):
        raise TypeError(
            Words(
                f'limits 应是 Limits(memory="64m") 这样的值，而不是 {value!r}',
                f'limits is a value such as Limits(memory="64m"), not {value!r}',
            )
        )
    return value


def as_bytes(name: str, value: object) -> int:
    """A number of bytes: a number, or a text such as "64m" or "1.5g", with Docker's units."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = value.strip().lower() if isinstance(value, str) else ""
    number = text.rstrip("kmgtpib")
    unit = text[len(number) :].removesuffix("b").removesuffix("i")
    try:
        return int(float(number) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        raise ValueError(
            Words(
                f'{name} 应是字节数，或者 "64m"、"1g" 这样的写法，而不是 {value!r}',
                f'{name} is a number of bytes, or as "64m" or "1g", not {value!r}',
            )
        ) from None


def as_size(size: int) -> str:
    """Bytes in Docker's units: the largest that divides them."""
    if size <= 0:
        return str(size)
    unit = [unit for unit, factor in _UNITS.items() if size % factor == 0][-1]
    return f"{size // _UNITS[unit]}{unit}"


def _memory(value: object) -> int:
    size = as_bytes("memory", value)
    if size < MIN_MEMORY:
        raise ValueError(
            Words(
                f"memory 至少是 6m（Docker 也这样规定），再少程序连启动都做不到：{value!r} 太小",
                f"memory is at least 6m, as with Docker, or no program starts: {value!r} is less",
            )
        )
    return size


def _swap(value: object, memory: "int | str | None") -> int:
    size = as_bytes("memory_swap", value)
    if memory is None:
        raise ValueError(
            Words(
                "memory_swap 是内存与交换区的总和，要和 memory 一起给",
                "memory_swap is memory and swap together: it needs memory too",
            )
        )
    if size != UNLIMITED and size < as_bytes("memory", memory):
        raise ValueError(
            Words(
                f"memory_swap 是内存与交换区的总和，不能比 memory 小：{value!r}；-1 是不限",
                f"memory_swap is memory and swap together, so not below memory: {value!r}; "
                "-1 is unlimited",
            )
        )
    return size


def _cpus(value: object) -> float:
    try:
        number = float(value) if isinstance(value, int | float | str) else 0.0
    except ValueError:
        number = 0.0
    if isinstance(value, bool) or not MIN_CPUS <= number < float(1 << 20):
        raise ValueError(
            Words(
                f"cpus 是处理器的个数，如 0.5，最少 0.01（100 毫秒里的 1 毫秒），而不是 {value!r}",
                "cpus is how many processors, such as 0.5, at least 0.01 (1 ms in each 100), "
                f"not {value!r}",
            )
        )
    return number


def _between(name: str, value: object, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(
            Words(
                f"{name} 是 {least} 到 {most} 的整数，而不是 {value!r}",
                f"{name} is a whole number from {least} to {most}, not {value!r}",
            )
        )
    return value


def _cpuset(value: object) -> str:
    """A list of processors. cpuset(7)."""
    parts = [part.split("-") for part in value.split(",")] if isinstance(value, str) else [[""]]
    good = all(
        len(ends) <= 2
        and all(end.isascii() and end.isdigit() for end in ends)
        and int(ends[0]) <= int(ends[-1])
        for ends in parts
    )
    if not good:
        raise ValueError(
            Words(
                f'cpuset 是处理器的号，如 "0-1,3"，而不是 {value!r}',
                f'cpuset is the numbers of processors, as "0-1,3", not {value!r}',
            )
        )
    return str(value)


def _io(value: object) -> Mapping[str, Mapping[str, int]]:
    wrong = Words(
        f'io 应是 {{"/dev/sda": {{"rbps": "10m"}}}} 这样的，每块盘可以有 {" ".join(IO_KEYS)}，'
        f"而不是 {value!r}",
        f'io is as {{"/dev/sda": {{"rbps": "10m"}}}}, with {" ".join(IO_KEYS)} for each disk, '
        f"not {value!r}",
    )
    if not isinstance(value, Mapping):
        raise TypeError(wrong)
    found = {}
    for disk, rates in value.items():
        if not isinstance(disk, str) or not isinstance(rates, Mapping) or {*rates} - {*IO_KEYS}:
            raise ValueError(wrong)
        found[disk] = MappingProxyType({key: as_bytes(key, rate) for key, rate in rates.items()})
        if any(rate < 1 for rate in found[disk].values()):
            raise ValueError(wrong)
    return MappingProxyType(found)


def _devices(value: object) -> tuple[str | tuple[str, str], ...]:
    if (
        isinstance(value, str)
        or not isinstance(value, Collection)
        or not all(isinstance(each, str) or _is_pair(each) for each in value)
    ):
        raise TypeError(
            Words(
                f'devices 应是一组设备，如 ("/dev/fuse",)，而不是 {value!r}',
                f'devices is a group of devices, as ("/dev/fuse",), not {value!r}',
            )
        )
    found = tuple(each if isinstance(each, str) else tuple(each) for each in value)
    for each in found:
        as_rule(each, look=False)
    return found


def _is_pair(value: object) -> bool:
    """Whether it is a path and what may be done with it, which JSON keeps as a list."""
    return isinstance(value, list | tuple) and [*map(type, value)] == [str, str]


_CHECKS: Mapping[str, Callable[[Any], object]] = {
    "memory": _memory,
    "cpus": _cpus,
    "cpu_weight": lambda value: _between("cpu_weight", value, *WEIGHTS),
    "cpu_shares": lambda value: _between("cpu_shares", value, *SHARES),
    "cpuset": _cpuset,
    "pids": lambda value: _between("pids", value, 1, PIDS),
    "io": _io,
    "devices": _devices,
}
