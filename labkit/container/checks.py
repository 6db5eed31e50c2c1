"""Who a container's program is and what it may do: the fields of a Container, checked."""

import itertools
import json
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from labkit.linux import seccomp_filter
from labkit.linux.capabilities import CAPABILITIES
from labkit.linux.flags import CLONE_NEWTIME, CLONE_NEWUSER, Clone
from labkit.linux.id_maps import IDS
from labkit.linux.seccomp_profile import Profile
from labkit.text.words import chosen, spoken

IdMap = tuple[int, int, int]
"""As Go's SysProcIDMap: the first ID inside, the first outside, and how many."""

MAX_LINES = 340  # of a map, since Linux 4.15: user_namespaces(7)
CLOCKS = ("monotonic", "boottime")  # those that a time namespace moves: time_namespaces(7)


def as_map(name: str, lines: object) -> tuple[IdMap, ...]:
    """A map with its lines as tuples. ValueError for what the kernel would not take."""
    if isinstance(lines, str | bytes) or not isinstance(lines, Collection):
        raise TypeError(
            spoken(
                f"{name} 应是若干行，如 [(0, 1000, 1)]，而不是 {lines!r}",
                f"{name} is a list of lines, as in [(0, 1000, 1)], not {lines!r}",
            )
        )
    found = tuple(_line(name, line) for line in lines)
    if len(found) > MAX_LINES:
        raise ValueError(
            spoken(
                f"{name} 有 {len(found)} 行，内核最多收 {MAX_LINES} 行",
                f"{name} has {len(found)} lines; the kernel takes {MAX_LINES}",
            )
        )
    size, page = len(table(found)), os.sysconf("SC_PAGE_SIZE")
    if size >= page:
        raise ValueError(
            spoken(
                f"{name} 写出来有 {size} 字节，内核只收不到一页（{page}）的",
                f"{name} is {size} bytes when written; the kernel takes less than a page ({page})",
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


def _line(name: str, line: object) -> IdMap:
    numbers = (*line,) if isinstance(line, Sequence) else ()
    if (
        len(numbers) != 3
        or not all(map(is_number, numbers))
        or numbers[2] < 1
        or min(numbers) < 0
        or max(numbers[:2]) + numbers[2] >= IDS
    ):
        raise ValueError(
            spoken(
                f"{name} 的每一行是 (里面的号, 外面的号, 个数)，个数至少是 1，号都小于 {IDS - 1}，"
                f"而不是 {line!r}",
                f"each line of {name} is (inside, outside, how many), at least one, all below "
                f"{IDS - 1}, not {line!r}",
            )
        )
    return numbers[0], numbers[1], numbers[2]


def is_number(value: object) -> bool:
    """Whether it is a whole number, and not True or False."""
    return isinstance(value, int) and not isinstance(value, bool)


def table(lines: Sequence[IdMap]) -> str:
    """A map as the kernel takes it: a line for each range."""
    return "".join(f"{inside} {outside} {size}\n" for inside, outside, size in lines)


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


def as_names(field: str, names: object) -> tuple[str, ...]:
    """Capabilities in the order of their numbers, with CAP_ before them. ValueError: unknown."""
    if (
        isinstance(names, str)
        or not isinstance(names, Collection)
        or not all(isinstance(name, str) for name in names)
    ):
        raise TypeError(
            spoken(
                f'{field} 应是一组名字，如 ("CAP_CHOWN",)，而不是 {names!r}',
                f'{field} is a set of names, as in ("CAP_CHOWN",), not {names!r}',
            )
        )
    full = {name if name.startswith("CAP_") else f"CAP_{name}" for name in map(str.upper, names)}
    if unknown := full - {*CAPABILITIES}:
        said = spoken(
            "没有这个权能（见 capabilities(7)）", "no such capability, see capabilities(7)"
        )
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


def as_profile(given: object) -> str | Profile:
    """A seccomp profile: its name "default", or what it holds, read from its file if need be."""
    if given == "default":
        return "default"
    if isinstance(given, str | os.PathLike):
        given = _from_file(as_text("seccomp", given))
    if not isinstance(given, Mapping):
        raise TypeError(
            spoken(
                f'seccomp 应是 "default"、文件名或配置本身，而不是 {given!r}',
                f'seccomp is "default", a file\'s name or a profile, not {given!r}',
            )
        )
    seccomp_filter.assemble(given)
    return MappingProxyType(json.loads(json.dumps(dict(given))))  # nobody else's hand is on it


def as_text(name: str, value: object) -> str:
    """Text that the kernel can be given: it takes bytes, which end at the first NUL.

    What Python made of bytes that are not UTF-8 (surrogateescape) becomes the same bytes again.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise TypeError(
            spoken(f"{name} 应是字符串，而不是 {value!r}", f"{name} must be text, not {value!r}")
        )
    if "\0" in text:
        said = spoken(f"{name} 里不能有 NUL 字节", f"{name} cannot hold a NUL byte")
        raise ValueError(f"{said}: {text!r}")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        wrong, codec = text[error.start : error.end], sys.getfilesystemencoding()
        raise ValueError(
            spoken(
                f"{name} 里的 {wrong!r} 写不成字节（编码是 {codec}），内核只收字节",
                f"{name} holds {wrong!r}, which no bytes stand for (the encoding is {codec}); "
                "the kernel takes bytes",
            )
        ) from None
    return text


def _from_file(path: str) -> object:
    try:
        return seccomp_filter.load(path)
    except OSError as error:
        for note in chosen(
            f'seccomp={path!r}：读不到这个文件。"default" 是 Docker 的默认配置，不写就不过滤。',
            f'seccomp={path!r}: this file cannot be read. "default" is Docker\'s profile; without '
            "the field nothing is filtered.",
        ):
            error.add_note(note)
        raise


def as_offsets(offsets: object, flags: Clone) -> Mapping[str, int] | None:
    """Seconds for each clock, None for no clock. ValueError for others, or no time namespace."""
    if not isinstance(offsets, Mapping) or not all(map(is_number, offsets.values())):
        raise TypeError(
            spoken(
                f'time_offsets 应是时钟和整秒数，如 {{"boottime": 3600}}，而不是 {offsets!r}',
                "time_offsets is clocks and whole seconds, as in "
                f'{{"boottime": 3600}}, not {offsets!r}',
            )
        )
    if not flags & CLONE_NEWTIME:
        raise ValueError(
            spoken("time_offsets 要和 CLONE_NEWTIME 一起用", "time_offsets needs CLONE_NEWTIME")
        )
    if unknown := " ".join(sorted(map(str, {*offsets} - {*CLOCKS}))):
        known = " ".join(CLOCKS)
        raise ValueError(
            spoken(
                f"time_offsets：时间命名空间没有这个时钟：{unknown}（有的是 {known}）",
                f"time_offsets: a time namespace has no clock {unknown} (it has {known})",
            )
        )
    return MappingProxyType(dict(offsets)) if offsets else None
