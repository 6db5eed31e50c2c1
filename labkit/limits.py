"""Who a container's program is and what it may do: the fields of a Container, checked."""

import itertools
import json
import os
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from labkit import seccomp
from labkit.language import spoken
from labkit.privileges import CAPABILITIES
from labkit.syscalls import CLONE_NEWTIME, CLONE_NEWUSER, Clone

IdMap = tuple[int, int, int]
"""As Go's SysProcIDMap: the first ID inside, the first outside, and how many."""

MAX_LINES = 340  # of a map, since Linux 4.15: user_namespaces(7)
_IDS = 1 << 32
CLOCKS = ("monotonic", "boottime")  # those that a time namespace moves: time_namespaces(7)


def as_map(name: str, lines: Sequence[IdMap]) -> tuple[IdMap, ...]:
    """A map with its lines as tuples. ValueError for what the kernel would not take."""
    found = tuple(_line(name, line) for line in lines)
    if len(found) > MAX_LINES:
        raise ValueError(
            spoken(
                f"{name} 有 {len(found)} 行，内核最多收 {MAX_LINES} 行",
                f"{name} has {len(found)} lines; the kernel takes {MAX_LINES}",
            )
        )
    for side, where in enumerate((spoken("里面", "inside"), spoken("外面", "outside"))):
        ranges = sorted((line[side], line[side] + line[2]) for line in found)
        for (_, end), (begin, _) in itertools.pairwise(ranges):
            if begin < end:
                raise ValueError(
                    spoken(
                        f"{name} 的两行在{where}重叠：{begin}",
                        f"two lines of {name} overlap {where}: {begin}",
                    )
                )
    return found


def _line(name: str, line: Sequence[int]) -> IdMap:
    try:
        inside, outside, size = map(int, line)
    except (TypeError, ValueError):
        size = 0
    if size < 1 or min(inside, outside) < 0 or max(inside, outside) + size >= _IDS:
        raise ValueError(
            spoken(
                f"{name} 的每一行是 (里面的号, 外面的号, 个数)，个数至少是 1，而不是 {line!r}",
                f"each line of {name} is (inside, outside, how many), at least one, not {line!r}",
            )
        )
    return inside, outside, size


def check_maps(
    uid_map: Sequence[IdMap],
    gid_map: Sequence[IdMap],
    flags: Clone,
    *,
    setgroups: bool,
    rootless: bool,
) -> None:
    """Refuse maps without a user namespace, and what a rootless container cannot have."""
    given = ["uid_map"] * bool(uid_map) + ["gid_map"] * bool(gid_map) + ["setgroups"] * setgroups
    if rootless and given:
        raise ValueError(
            spoken(
                f"rootless=True 自己写映射，不能再给 {given[0]}",
                f"rootless=True writes maps of its own: no {given[0]} with it",
            )
        )
    if given and not flags & CLONE_NEWUSER:
        raise ValueError(
            spoken(
                f"{given[0]} 要和 CLONE_NEWUSER 一起用：映射属于新的用户命名空间",
                f"{given[0]} needs CLONE_NEWUSER: a map belongs to a new user namespace",
            )
        )
    if setgroups and not gid_map:
        raise ValueError(
            spoken("setgroups=True 要和 gid_map 一起用", "setgroups=True needs a gid_map")
        )


def as_names(field: str, names: Collection[str]) -> tuple[str, ...]:
    """Capabilities in the order of their numbers, with CAP_ before them. ValueError: unknown."""
    if isinstance(names, str):
        raise TypeError(
            spoken(
                f'{field} 应是一组名字，如 ("CAP_CHOWN",)，而不是 {names!r}',
                f'{field} is a set of names, as in ("CAP_CHOWN",), not {names!r}',
            )
        )
    full = {name if name.startswith("CAP_") else f"CAP_{name}" for name in map(str.upper, names)}
    if unknown := full - {*CAPABILITIES}:
        said = spoken("没有这个权能", "no such capability")
        raise ValueError(f"{field}: {said}: {' '.join(sorted(unknown))}")
    return tuple(name for name in CAPABILITIES if name in full)


def as_ambient(names: Collection[str], kept: Collection[str] | None) -> tuple[str, ...]:
    """Those for the ambient set, which are kept too."""
    found = as_names("ambient_caps", names)
    if found and not {*found} <= {*(kept or ())}:
        raise ValueError(
            spoken(
                "ambient_caps 里的权能也要写在 capabilities 里：不留下，就传不下去",
                "what is in ambient_caps must be in capabilities: to be passed on it must be kept",
            )
        )
    return found


def as_profile(given: object) -> "str | seccomp.Profile":
    """A seccomp profile: its name "default", or what it holds, read from its file if need be."""
    if given == "default":
        return "default"
    if isinstance(given, str | os.PathLike):
        given = seccomp.load(os.fspath(given))
    if not isinstance(given, Mapping):
        raise TypeError(
            spoken(
                f'seccomp 应是 "default"、文件名或配置本身，而不是 {given!r}',
                f'seccomp is "default", a file\'s name or a profile, not {given!r}',
            )
        )
    own = json.loads(json.dumps(dict(given)))  # nobody else's hand is on it
    seccomp.assemble(own)
    return MappingProxyType(own)


def as_offsets(offsets: Mapping[str, int], flags: Clone) -> Mapping[str, int]:
    """Seconds for each clock. ValueError for other clocks, or without a time namespace."""
    if not flags & CLONE_NEWTIME:
        raise ValueError(
            spoken("time_offsets 要和 CLONE_NEWTIME 一起用", "time_offsets needs CLONE_NEWTIME")
        )
    if unknown := {*offsets} - {*CLOCKS}:
        known = " ".join(CLOCKS)
        raise ValueError(
            spoken(
                f"时间命名空间没有这个时钟：{' '.join(sorted(unknown))}（有的是 {known}）",
                f"a time namespace has no clock {' '.join(sorted(unknown))} (it has {known})",
            )
        )
    return MappingProxyType({name: int(value) for name, value in offsets.items()})
