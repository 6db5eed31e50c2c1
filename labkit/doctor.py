"""What ``labkit doctor`` prints: what this machine allows, and why not."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from labkit.container import Container
from labkit.host import LIMITS, Ability, Host, Level, examine
from labkit.namespaces import KINDS
from labkit.privileges import CAPABILITIES
from labkit.probe import TRIALS
from labkit.tables import BOLD, GREEN, RED, columns, paint

_LEVELS: dict[Level, str] = {
    "real": "真实 real",
    "rootless": "rootless",
    "recorded": "录制 recorded",
}
_ABOUT = {
    "private": "私有的挂载 / private mounts",
    "tmpfs": "内存文件系统 / a tmpfs",
    "proc": "新 PID 命名空间里的新 /proc / a fresh /proc in a new PID namespace",
    "overlay": "联合文件系统 / overlay mount",
    "pivot_root": "换根文件系统 / another root file system",
    "dummy": "空设备 / a dummy device",
    "veth": "一对虚拟网卡 / a veth pair",
    "bridge": "网桥 / a bridge",
    "cpu": "处理器 / processor time",
    "cpuset": "处理器与内存节点 / processors, memory nodes",
    "io": "块设备读写 / block devices",
    "memory": "内存 / memory",
    "pids": "进程数 / number of processes",
    "clone3": "新建进程 / makes processes",
    "pidfd": "不会认错的进程号 / PIDs that cannot mislead",
    "capabilities": "实验要用的权能 / those the labs need",
} | {kind.name: f"{kind.zh} / {kind.en}" for kind in KINDS}
_SECTIONS = {
    "命名空间 Namespaces": tuple(kind.name for kind in KINDS),
    "挂载 Mounts": tuple(TRIALS)[:5],
    "网络 Network": tuple(TRIALS)[5:],
    "控制组 Control groups": LIMITS,
    "内核调用 System calls": ("clone3", "pidfd"),
    "权能 Capabilities": ("capabilities",),
}


def main(*, as_json: bool, versions: Mapping[str, Container]) -> int:
    """Examine this machine and print the result: exit status 0, whatever it is."""
    host = examine()
    levels = {name: host.level(*needs(box)) for name, box in versions.items()}
    if as_json:
        print(json.dumps(asdict(host) | {"versions": levels}, ensure_ascii=False, indent=2))
    else:
        print(_text(host, levels), end="")
    return 0


def needs(box: Container) -> list[str]:
    """The abilities that a container needs."""
    kinds = [kind.name for kind in KINDS if kind.flag & box.cloneflags]
    return ["pidfd", *kinds] + ["private"] * ("mnt" in kinds) + ["proc"] * box.proc


class _Notes:
    """Reasons and fixes, each once, under a number."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[str, ...], int] = {}
        self.calls: dict[int, list[str]] = {}

    def number(self, ability: Ability | None) -> str:
        """The mark of `ability`'s note, such as ``[1]``; "" when it has none."""
        if ability is None or ability.reason is None:
            return ""
        why, fix = ability.reason, ability.fix
        note = f"原因：{why.zh}", f"why: {why.en}"
        if fix:
            note = f"{note[0]}；办法：{fix.zh}", f"{note[1]}; fix: {fix.en}"
        number = self.numbers.setdefault(note, len(self.numbers) + 1)
        if ability.call:
            self.calls.setdefault(number, []).append(f"{ability.call}: {ability.error}")
        return f" [{number}]"

    def lines(self) -> Iterable[str]:
        for note, number in self.numbers.items():
            calls = self.calls.get(number, [])
            more = f"（等 {len(calls)} 次 / {len(calls)} in all）" if len(calls) > 1 else ""
            first = [f"{calls[0]}{more}"] if calls else []
            for at, line in enumerate((*first, *note)):
                yield f"{f'[{number}]' if not at else '':4} {line}\n"


def _text(host: Host, levels: Mapping[str, Level]) -> str:
    notes = _Notes()
    you = f"你 you (uid {host.uid})"
    rows = [["", you, "普通用户 rootless", ""]]
    for title, names in _SECTIONS.items():
        rows.append([paint(title, BOLD), "", "", ""])
        rows += [_row(name, host, notes) for name in names]
    lessons = "，".join(f"{name} {_LEVELS[level]}" for name, level in levels.items())
    return "".join(
        (
            f"Linux {host.kernel} {host.machine}\n",
            columns(rows),
            "\n",
            *notes.lines(),
            *(f"{line}\n" for line in _facts(host)),
            f"实验 Lessons: {lessons}\n",
        )
    )


def _row(name: str, host: Host, notes: _Notes) -> list[str]:
    yours, rootless = host.yours.get(name), host.rootless.get(name)
    found = next((f"（{a.found}）" for a in (yours, rootless) if a and a.found), "")
    cells = [_verdict(yours) + notes.number(yours), _verdict(rootless) + notes.number(rootless)]
    return [f"  {name}", *cells, _ABOUT[name] + found]


def _verdict(ability: Ability | None) -> str:
    if ability is None or ability.allowed is None:
        return "-"
    return paint("可以 yes", GREEN) if ability.allowed else paint("不行 no", RED)


def _facts(host: Host) -> Iterable[str]:
    for version in (1, 2):
        trees = [tree for tree in host.hierarchies if tree.version == version]
        names = " ".join(name for tree in trees for name in tree.controllers)
        if trees:
            yield f"控制组 cgroup v{version} ({host.cgroups}): {names or '-'}"
    yield f"有效权能 effective capabilities: {_set(host.capabilities.effective)}"
    yield f"权能上限 bounding set: {_set(host.capabilities.bounding)}"
    confined = host.confinement
    sysctls = "".join(f", {name}={value}" for name, value in confined.sysctls.items())
    yield (
        f"约束 confined by: seccomp {confined.seccomp}, no_new_privs {confined.no_new_privs:d}, "
        f"{confined.profile or 'no AppArmor or SELinux profile'}{sysctls}"
    )


def _set(held: tuple[str, ...]) -> str:
    """A set of capabilities, by those it has or by those it lacks, whichever are fewer."""
    lacking = [name for name in CAPABILITIES if name not in held]
    if not lacking:
        return "全部 all"
    if len(lacking) < len(held):
        return f"除此之外全部 all but {' '.join(lacking)}"
    return " ".join(held) or "没有 none"
