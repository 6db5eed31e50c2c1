"""What ``labkit doctor`` prints: what this machine allows, and why not."""

import json
from collections.abc import Iterable, Mapping

from labkit.container.container import Container
from labkit.doctor.host import LEVELS, LIMITS, Ability, Host, Level, examine
from labkit.doctor.probe import MOUNTS, TRIALS
from labkit.linux.capabilities import fewer
from labkit.linux.namespaces import KINDS
from labkit.network import user_mode
from labkit.text.tables import BOLD, GREEN, RED, columns, paint
from labkit.text.words import Words, as_data

_ABOUT = {
    "private": Words("私有的挂载", "private mounts"),
    "tmpfs": Words("内存文件系统", "a tmpfs"),
    "proc": Words("新 PID 命名空间里的新 /proc", "a fresh /proc in a new PID namespace"),
    "overlay": Words("联合文件系统", "overlay mount"),
    "pivot_root": Words("换根文件系统", "another root file system"),
    "dummy": Words("空设备", "a dummy device"),
    "veth": Words("一对虚拟网卡", "a veth pair"),
    "bridge": Words("网桥", "a bridge"),
    "nft": Words("出得去，能发布端口", "a way out, published ports"),
    "cpu": Words("处理器", "processor time"),
    "cpuset": Words("处理器与内存节点", "processors, memory nodes"),
    "io": Words("块设备读写", "block devices"),
    "memory": Words("内存", "memory"),
    "pids": Words("进程数", "number of processes"),
    "clone3": Words("新建进程", "makes processes"),
    "pidfd": Words("不会认错的进程号", "PIDs that cannot mislead"),
    "capabilities": Words("实验要用的权能", "those the labs need"),
} | {kind.name: kind.isolates for kind in KINDS}
_LINKS = ("veth", "bridge")
_SECTIONS = (
    (Words("命名空间", "Namespaces"), tuple(kind.name for kind in KINDS)),
    (Words("挂载", "Mounts"), MOUNTS),
    (Words("网络", "Network"), tuple(name for name in TRIALS if name not in MOUNTS)),
    (Words("控制组", "Control groups"), LIMITS),
    (Words("内核调用", "System calls"), ("clone3", "pidfd")),
    (Words("权能", "Capabilities"), ("capabilities",)),
)


def main(*, as_json: bool, versions: Mapping[str, Container]) -> int:
    """Examine this machine and print the result. The exit status is 0, whatever was found."""
    host = examine()
    levels = {name: _possible(host, box) for name, box in versions.items()}
    if as_json:
        print(json.dumps(as_data(host) | {"versions": levels}, ensure_ascii=False, indent=2))
    else:
        print(_text(host, levels), end="")
    return 0


def _possible(host: Host, box: Container) -> Level:
    """How far `box` can be made. A bridge is made on the host, where rootless makes nothing.

    There slirp4netns stands in for it, if it is installed.
    """
    level = host.level(*needs(box))
    if level == "real" or not _bridged(box):
        return level
    if not user_mode.possible():
        return "recorded"
    rest = host.level(*(name for name in needs(box) if name not in _LINKS))
    return "rootless" if rest == "real" else rest


def _bridged(box: Container) -> bool:
    return box.on_network is not None and box.on_network.is_bridge


def needs(box: Container) -> list[str]:
    """The abilities that a container needs."""
    kinds = [kind.name for kind in KINDS if kind.flag & box.cloneflags]
    rooted = ["pivot_root"] if box.root else []
    limited = ["cpu", "memory", "pids"] if box.limits is not None else []
    links = [*_LINKS] * _bridged(box)
    mounts = ["private"] * ("mnt" in kinds) + ["proc"] * box.proc
    return ["pidfd", *kinds, *mounts, *rooted, *limited, *links]


class _Notes:
    """Reasons and fixes, each once, under a number."""

    def __init__(self) -> None:
        self.numbers: dict[Words, int] = {}
        self.calls: dict[int, list[str]] = {}

    def number(self, ability: Ability | None) -> str:
        """The mark of `ability`'s note, such as ``[1]``; "" when it has none."""
        if ability is None or ability.reason is None:
            return ""
        why, fix = ability.reason, ability.fix
        note = Words(f"原因：{why.zh}", f"why: {why.en}")
        if fix:
            note = Words(f"{note.zh}；办法：{fix.zh}", f"{note.en}; fix: {fix.en}")
        number = self.numbers.setdefault(note, len(self.numbers) + 1)
        if ability.call:
            self.calls.setdefault(number, []).append(f"{ability.call}: {ability.error}")
        return f" [{number}]"

    def lines(self) -> Iterable[str]:
        for note, number in self.numbers.items():
            calls = self.calls.get(number, [])
            count = Words(f"等 {len(calls)} 次", f"{len(calls)} in all")
            more = f" ({count})" if len(calls) > 1 else ""
            first = [f"{calls[0]}{more}"] if calls else []
            for at, line in enumerate((*first, *note.texts())):
                yield f"{f'[{number}]' if not at else '':4} {line}\n"


def _text(host: Host, levels: Mapping[str, Level]) -> str:
    notes = _Notes()
    you = f"{Words('你', 'you', ' ')} (uid {host.uid})"
    rows = [["", you, str(Words("普通用户", "rootless", " ")), ""]]
    for title, names in _SECTIONS:
        rows.append([paint(title.joined(" "), BOLD), "", "", ""])
        rows += [_row(name, host, notes) for name in names]
    lessons = ", ".join(f"{name} {_level(level)}" for name, level in levels.items())
    return "".join(
        (
            f"Linux {host.kernel} {host.machine}\n",
            columns(rows),
            "\n",
            *notes.lines(),
            *(f"{line}\n" for line in _facts(host)),
            f"{Words('实验', 'Lessons', ' ')}: {lessons}\n",
        )
    )


def _level(level: Level) -> str:
    return LEVELS[level].joined(" ")


def _row(name: str, host: Host, notes: _Notes) -> list[str]:
    yours, rootless = host.yours.get(name), host.rootless.get(name)
    found = next((f" ({a.found})" for a in (yours, rootless) if a and a.found), "")
    cells = [_verdict(yours) + notes.number(yours), _verdict(rootless) + notes.number(rootless)]
    return [f"  {name}", *cells, str(_ABOUT[name]) + found]


def _verdict(ability: Ability | None) -> str:
    if ability is None or ability.allowed is None:
        return "-"
    if ability.allowed:
        return paint(str(Words("可以", "yes", " ")), GREEN)
    return paint(str(Words("不行", "no", " ")), RED)


def _facts(host: Host) -> Iterable[str]:
    for version in (1, 2):
        trees = [tree for tree in host.hierarchies if tree.version == version]
        names = " ".join(name for tree in trees for name in tree.controllers)
        if trees:
            groups = Words("控制组", "cgroup", " ")
            yield f"{groups} v{version} ({host.cgroups}): {names or '-'}"
    effective, bounding = host.capabilities.effective, host.capabilities.bounding
    yield f"{Words('有效权能', 'effective capabilities', ' ')}: {_set(effective)}"
    yield f"{Words('权能上限', 'bounding set', ' ')}: {_set(bounding)}"
    confined = host.confinement
    sysctls = "".join(f", {name}={value}" for name, value in confined.sysctls.items())
    profile = confined.profile or Words(
        "没有 AppArmor 或 SELinux 配置", "no AppArmor or SELinux profile"
    )
    yield (
        f"{Words('约束', 'confined by', ' ')}: seccomp {confined.seccomp}, "
        f"no_new_privs {confined.no_new_privs:d}, {profile}{sysctls}"
    )


def _set(held: tuple[str, ...]) -> str:
    """A set of capabilities, by those it has or by those it lacks, whichever are fewer."""
    lacks, names = fewer(held)
    if not names:
        return str(Words("全部", "all", " ") if lacks else Words("没有", "none", " "))
    but = f"{Words('除此之外全部', 'all but', ' ')} " if lacks else ""
    return but + " ".join(names)
