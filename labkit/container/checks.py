"""Who a container's program is and what it may do: the fields of a Container, checked."""

import itertools
import os
import sys
from _collections_abc import Collection, Mapping, Sequence
from types import MappingProxyType

from labkit.linux.capabilities import CAPABILITIES
from labkit.linux.credentials import RLIMITS
from labkit.linux.flags import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    Clone,
)
from labkit.linux.id_maps import IDS, IdRange, as_text
from labkit.linux.seccomp_profile import Profile
from labkit.python import json
from labkit.text.letters import NAMES, only
from labkit.text.words import Words, add_words

MAX_LINES = 340  # of a map, since Linux 4.15: user_namespaces(7)
NGROUPS_MAX = 65536  # supplementary groups, since Linux 2.6.4: setgroups(2)
JOINED = {"pid": CLONE_NEWPID, "ipc": CLONE_NEWIPC}  # which namespaces may be another's
CLOCKS = ("monotonic", "boottime")  # those that a time namespace moves: time_namespaces(7)


def as_map(name: str, lines: object) -> tuple[IdRange, ...]:
    """A map, each line an IdRange. ValueError for what the kernel would not take."""
    if isinstance(lines, str | bytes) or not isinstance(lines, Collection):
        raise TypeError(
            Words(
                f"{name} 应是若干行，如 [(0, 1000, 1)]，而不是 {lines!r}",
                f"{name} is a list of lines, as in [(0, 1000, 1)], not {lines!r}",
            )
        )
    if not lines:  # as in most containers
        return ()
    found = tuple(_line(name, line) for line in lines)
    _check_size(name, found)
    _check_overlap(name, Words("里面", "inside"), [(r.inside, r.size) for r in found])
    _check_overlap(name, Words("外面", "outside"), [(r.outside, r.size) for r in found])
    return found


def _check_size(name: str, lines: Sequence[IdRange]) -> None:
    """Refuse a map that is longer than the kernel takes: user_namespaces(7)."""
    if len(lines) > MAX_LINES:
        raise ValueError(
            Words(
                f"{name} 有 {len(lines)} 行，内核最多收 {MAX_LINES} 行",
                f"{name} has {len(lines)} lines; the kernel takes {MAX_LINES}",
            )
        )
    size, page = len(as_text(lines)), os.sysconf("SC_PAGE_SIZE")
    if size >= page:
        raise ValueError(
            Words(
                f"{name} 写出来有 {size} 字节，内核只收不到一页（{page}）的",
                f"{name} is {size} bytes when written; the kernel takes less than a page ({page})",
            )
        )


def _check_overlap(name: str, where: Words, ranges: Sequence[tuple[int, int]]) -> None:
    """No ID may stand twice on one side. ranges: the first ID there and how many."""
    for (first, size), (following, _) in itertools.pairwise(sorted(ranges)):
        if following < first + size:
            raise ValueError(
                Words(
                    f"{name} 的两行在{where.zh}重叠：{following}",
                    f"two lines of {name} overlap {where.en}: {following}",
                )
            )


def _line(name: str, line: object) -> IdRange:
    numbers = (*line,) if isinstance(line, Sequence) else ()
    if (
        len(numbers) != 3
        or not all(map(is_number, numbers))
        or numbers[2] < 1
        or min(numbers) < 0
        or max(numbers[:2]) + numbers[2] >= IDS
    ):
        raise ValueError(
            Words(
                f"{name} 的每一行是 (里面的号, 外面的号, 个数)，个数至少是 1，号都小于 {IDS - 1}，"
                f"而不是 {line!r}",
                f"each line of {name} is (inside, outside, how many), at least one, all below "
                f"{IDS - 1}, not {line!r}",
            )
        )
    return IdRange(numbers)


def is_number(value: object) -> bool:
    """Whether it is a whole number, and not True or False."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_maps(given: Collection[str], flags: Clone, *, rootless: bool) -> None:
    """Refuse maps without a user namespace, and what a rootless container cannot have.

    given: those of the fields uid_map, gid_map and setgroups that are on.
    """
    first = next((name for name in ("uid_map", "gid_map", "setgroups") if name in given), None)
    if rootless and first:
        raise ValueError(
            Words(
                f"rootless=True 自己写映射，不能再给 {first}",
                f"rootless=True writes maps of its own: no {first} with it",
            )
        )
    if first and not flags & CLONE_NEWUSER:
        raise ValueError(
            Words(
                f"{first} 要和 CLONE_NEWUSER 一起用：映射属于新的用户命名空间",
                f"{first} needs CLONE_NEWUSER: a map belongs to a new user namespace",
            )
        )
    if "setgroups" in given and "gid_map" not in given:
        raise ValueError(
            Words("setgroups=True 要和 gid_map 一起用", "setgroups=True needs a gid_map")
        )


def as_names(field: str, names: object) -> tuple[str, ...]:
    """Capabilities in the order of their numbers, with CAP_ before them. ValueError: unknown."""
    if (
        isinstance(names, str)
        or not isinstance(names, Collection)
        or not all(isinstance(name, str) for name in names)
    ):
        raise TypeError(
            Words(
                f'{field} 应是一组名字，如 ("CAP_CHOWN",)，而不是 {names!r}',
                f'{field} is a set of names, as in ("CAP_CHOWN",), not {names!r}',
            )
        )
    if not names:
        return ()
    full = {name if name.startswith("CAP_") else f"CAP_{name}" for name in map(str.upper, names)}
    if unknown := full - {*CAPABILITIES}:
        which = " ".join(sorted(unknown))
        raise ValueError(
            Words(
                f"{field}：没有 {which} 这个权能（见 capabilities(7)）",
                f"{field}: no such capability, see capabilities(7): {which}",
            )
        )
    return tuple(name for name in CAPABILITIES if name in full)


def as_user(user: object) -> tuple[int, int, tuple[int, ...]]:
    """User, group and supplementary groups, as numbers that the kernel takes."""
    uid, gid, groups = (
        (*user,) if isinstance(user, list | tuple) and len(user) == 3 else (-1, -1, ())
    )
    listed = (uid, gid, *(groups if isinstance(groups, list | tuple) else (-1,)))
    if not all(is_number(each) and 0 <= each < IDS - 1 for each in listed):
        raise ValueError(
            Words(
                f"user 应是 (用户号, 组号, 附加组)，如 (1000, 1000, ())，号都小于 {IDS - 1}，"
                f"而不是 {user!r}",
                "user is (user ID, group ID, supplementary groups), as in (1000, 1000, ()), all "
                f"below {IDS - 1}, not {user!r}",
            )
        )
    if len(groups) > NGROUPS_MAX:
        raise ValueError(
            Words(
                f"user 里有 {len(groups)} 个附加组，内核最多收 {NGROUPS_MAX} 个",
                f"user has {len(groups)} supplementary groups; the kernel takes {NGROUPS_MAX}",
            )
        )
    return uid, gid, (*groups,)


def as_ambient(names: Collection[str], kept: Collection[str] | None) -> tuple[str, ...]:
    """Those for the ambient set, which are kept too."""
    found = as_names("ambient_caps", names)
    if found and not {*found} <= {*(kept or ())}:
        raise ValueError(
            Words(
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
        given = _from_file(as_field("seccomp", given))
    if not isinstance(given, Mapping):
        raise TypeError(
            Words(
                f'seccomp 应是 "default"、文件名或配置本身，而不是 {given!r}',
                f'seccomp is "default", a file\'s name or a profile, not {given!r}',
            )
        )
    from labkit.linux import seccomp_filter  # few have a profile of their own

    seccomp_filter.assemble(given)
    return MappingProxyType(json.loads(json.dumps(dict(given))))  # nobody else's hand is on it


def as_field(name: str, value: object) -> str:
    """Text that the kernel can be given: it takes bytes, which end at the first NUL.

    What Python made of bytes that are not UTF-8 (surrogateescape) becomes the same bytes again.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise TypeError(
            Words(f"{name} 应是字符串，而不是 {value!r}", f"{name} must be text, not {value!r}")
        )
    if "\0" in text:
        raise ValueError(
            Words(f"{name} 里不能有 NUL 字节：{text!r}", f"{name} cannot hold a NUL byte: {text!r}")
        )
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ValueError(_no_bytes(name, text[error.start : error.end])) from None
    return text


def _no_bytes(name: str, wrong: str) -> Words:
    codec = sys.getfilesystemencoding()
    return Words(
        f"{name} 里的 {wrong!r} 写不成字节（编码是 {codec}），内核只收字节",
        f"{name} holds {wrong!r}, which no bytes stand for (the encoding is {codec}); "
        "the kernel takes bytes",
    )


def _from_file(path: str) -> object:
    try:
        from labkit.linux import seccomp_filter

        return seccomp_filter.load(path)
    except OSError as error:
        said = Words(
            f'seccomp={path!r}：读不到这个文件。"default" 是 Docker 的默认配置，不写就不过滤。',
            f'seccomp={path!r}: this file cannot be read. "default" is Docker\'s profile; without '
            "the field nothing is filtered.",
        )
        add_words(error, said)
        raise


def as_offsets(offsets: object, flags: Clone) -> Mapping[str, int] | None:
    """Seconds for each clock, None for no clock. ValueError for others, or no time namespace."""
    if not isinstance(offsets, Mapping) or not all(map(is_number, offsets.values())):
        raise TypeError(
            Words(
                f'time_offsets 应是时钟和整秒数，如 {{"boottime": 3600}}，而不是 {offsets!r}',
                "time_offsets is clocks and whole seconds, as in "
                f'{{"boottime": 3600}}, not {offsets!r}',
            )
        )
    if not flags & CLONE_NEWTIME:
        raise ValueError(
            Words("time_offsets 要和 CLONE_NEWTIME 一起用", "time_offsets needs CLONE_NEWTIME")
        )
    if unknown := " ".join(sorted(map(str, {*offsets} - {*CLOCKS}))):
        known = " ".join(CLOCKS)
        raise ValueError(
            Words(
                f"time_offsets：时间命名空间没有这个时钟：{unknown}（有的是 {known}）",
                f"time_offsets: a time namespace has no clock {unknown} (it has {known})",
            )
        )
    return MappingProxyType(dict(offsets)) if offsets else None


def as_rlimits(limits: object) -> Mapping[str, tuple[int, int]] | None:
    """Soft and hard limit of each resource, by its name as Docker writes it; None for none."""
    known = [name.lower() for name in RLIMITS]
    found = {}
    for name, both in limits.items() if isinstance(limits, Mapping) else [("", ())]:
        pair = (*both,) if isinstance(both, list | tuple) else ()
        if name not in known or len(pair) != 2 or not all(map(is_number, pair)) or min(pair) < -1:
            raise ValueError(
                Words(
                    f'rlimits 写成 {{"nofile": (软限, 硬限)}}，-1 是不限，而不是 {limits!r}；'
                    f"名字有 {' '.join(known)}",
                    'rlimits is as {"nofile": (soft, hard)}, -1 for no limit; the names are '
                    f"{' '.join(known)}; not {limits!r}",
                )
            )
        found[name] = (pair[0], pair[1])
    return MappingProxyType(found) if found else None


# The sysctls that belong to a namespace, by their beginnings: runc's list, from the kernel's own.
_NAMESPACED = {
    CLONE_NEWIPC: (
        *("fs.mqueue.", "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem"),
        *("kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"),
    ),
    CLONE_NEWNET: ("net.",),
    CLONE_NEWUTS: ("kernel.domainname",),
}


def _is_setting(name: str) -> bool:
    """Whether it may be one: words between points, two at least."""
    words = name.split(".")
    return len(words) > 1 and all(only(word, NAMES) for word in words)


def as_sysctls(sysctls: object, flags: Clone) -> Mapping[str, str] | None:
    """Settings that a container's own namespaces have. ValueError: they would be the host's."""
    found = {}
    for name, value in sysctls.items() if isinstance(sysctls, Mapping) else [("", None)]:
        if not isinstance(name, str) or not _is_setting(name):
            raise ValueError(
                Words(
                    f'sysctls 写成 {{"net.ipv4.ip_forward": "1"}}，而不是 {sysctls!r}',
                    f'sysctls is as {{"net.ipv4.ip_forward": "1"}}, not {sysctls!r}',
                )
            )
        _check_namespaced(name, flags)
        found[name] = as_field("sysctls", value)
    return MappingProxyType(found) if found else None


def as_joins(joins: object, flags: Clone) -> Mapping[str, int] | None:
    """The processes whose namespaces a container is in, by kind."""
    found = {}
    for kind, of in joins.items() if isinstance(joins, Mapping) else [("", None)]:
        pid = getattr(of, "pid", of)
        if kind not in JOINED or not isinstance(pid, int) or isinstance(pid, bool) or pid < 1:
            raise ValueError(
                Words(
                    f'joins 写成 {{"pid": 1234}}，只有 pid 和 ipc 两种，而不是 {joins!r}',
                    f'joins is as {{"pid": 1234}}, and pid and ipc are its kinds, not {joins!r}',
                )
            )
        if flags & (JOINED[kind] | CLONE_NEWUSER):
            raise ValueError(
                Words(
                    f"joins 里有 {kind}，就不能再有新的 {kind} 命名空间，也不能有新的用户命名空间",
                    f"joins has {kind}: leave out a new {kind} namespace, and a new user namespace",
                )
            )
        found[kind] = pid
    return MappingProxyType(found) if found else None


def _check_namespaced(name: str, flags: Clone) -> None:
    """Refuse a setting of the whole machine, and one of a namespace that is shared with it."""
    kinds = [
        kind
        for kind, names in _NAMESPACED.items()
        if any(name.startswith(each) if each.endswith(".") else name == each for each in names)
    ]
    if not kinds:
        raise ValueError(
            Words(
                f'sysctl "{name}" 不属于哪一个命名空间：改了它，改的是整台机器',
                f'sysctl "{name}" is not in a separate kernel namespace: it would change the '
                "whole machine",
            )
        )
    if not kinds[0] & flags:
        raise ValueError(
            Words(
                f'sysctl "{name}" 属于 {kinds[0]}，而容器用的是宿主机的',
                f'sysctl "{name}" is not allowed in the host\'s namespace: it needs {kinds[0]}',
            )
        )


def check_score(score: object) -> None:
    """Refuse what is no oom_score_adj: proc_pid_oom_score_adj(5)."""
    if not is_number(score) or not -1000 <= int(str(score)) <= 1000:
        raise ValueError(
            Words(
                f"oom_score_adj 在 -1000 到 1000 之间，而不是 {score!r}",
                f"oom_score_adj is from -1000 to 1000, not {score!r}",
            )
        )
