"""The control groups of a container: where cgroupsPath puts them, what is written, their end.

They outlive the process that makes them, so nobody holds a lock on them as in `cgroups/group.py`:
the container's document names them until `delete`.
"""

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from labkit.cgroups import device_filter, removal, stats, v1
from labkit.cgroups import v2 as version2
from labkit.cgroups.devices import Rule
from labkit.cgroups.group import version_of
from labkit.cgroups.hierarchy import Hierarchy, hierarchies
from labkit.cgroups.settings import Setting
from labkit.linux.proc import mounts
from labkit.linux.refusal import Asked
from labkit.oci import resources as settings
from labkit.oci import systemd
from labkit.oci.config import Config
from labkit.oci.devices import rules
from labkit.text.words import Words

_PATIENCE = 10.0  # seconds for killed processes to end
_NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)


class Groups:
    """A container's groups. version: of those that limit. directories: by controller, or "v2".

    made: the directories that were not there before: only these are removed. unit: systemd's scope,
    "" where systemd was not asked.
    """

    def __init__(
        self, version: int, directories: Mapping[str, str], made: Iterable[str], unit: str = ""
    ) -> None:
        self.version, self.unit = version, unit
        self.directories = dict(directories)
        self.made = [*made]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Groups":
        """Those that a document names."""
        return cls(document["version"], document["directories"], document["made"], document["unit"])

    def as_data(self) -> dict[str, object]:
        """As JSON can hold it."""
        return {
            "version": self.version,
            "directories": self.directories,
            "made": self.made,
            "unit": self.unit,
        }

    @property
    def paths(self) -> list[str]:
        """The directories, each once."""
        return [*dict.fromkeys(self.directories.values())]

    def enter(self, pid: int) -> None:
        """Move a process to the groups.

        It waits for a grace period of RCU once, whichever file it is (`membership.py:way_in`). If
        the process moved itself, it would still wait at version 2's group of a hybrid machine.
        """
        for path in self.paths:
            with Asked(f'write("{path}/cgroup.procs", "{pid}")'):
                v1.put(f"{path}/cgroup.procs", str(pid))

    def pids(self) -> list[int]:
        """The processes that are in the groups and below, and that we can see."""
        found: set[int] = set()
        for path in self.paths[:1]:
            for below, _, _ in os.walk(path):
                found.update(map(int, stats.text(f"{below}/cgroup.procs").split()))
        return sorted(found - {0})

    def apply(self, resources: Config) -> None:
        """Write what the configuration wants. A refusal names the file."""
        form = settings.v1 if self.version == 1 else settings.v2
        for setting in form(resources):
            self._set(setting)
        if listed := rules(resources):
            self._allow(listed)

    def _set(self, setting: Setting) -> None:
        directory = self.directories.get(setting.controller) or self.directories.get(version2.ALL)
        path = f"{directory}/{setting.file}"
        if setting.file.startswith("memory.memsw") and not os.path.exists(path):
            return  # this kernel does not count swap: there is nothing to limit
        if directory is None or not os.path.exists(path):
            raise _no_file(setting)
        with Asked(f'write("{path}", "{setting.value}")'):
            v1.put(path, setting.value)

    def _allow(self, listed: list[Rule]) -> None:
        if self.version == 1 and "devices" in self.directories:
            path = self.directories["devices"]
            for rule in listed:
                file = f"{path}/devices.{'allow' if rule.allowed else 'deny'}"
                whole = "a" if rule.kind == "a" else str(rule)
                with Asked(f'write("{file}", "{whole}")'):
                    v1.put(file, whole)
        elif self.version == 2:
            fd = os.open(self.directories[version2.ALL], os.O_RDONLY | os.O_CLOEXEC)
            try:
                device_filter.attach(fd, reversed(listed), otherwise=True)
            finally:
                os.close(fd)

    def freeze(self, *, frozen: bool) -> None:
        """Stop the processes, or let them go on."""
        form = v1 if self.version == 1 else version2
        form.freeze(self.directories, frozen=frozen)

    @property
    def frozen(self) -> bool:
        """Whether the processes are stopped."""
        if self.version == 1:
            path = f"{self.directories.get(v1.FREEZER)}/freezer.state"
            return stats.text(path).strip() in ("FROZEN", "FREEZING")
        return stats.number(f"{self.directories.get(version2.ALL)}/cgroup.freeze") == 1

    @contextlib.contextmanager
    def removed_on_failure(self) -> Iterator[None]:
        """If the block fails, nothing is left of them."""
        try:
            yield
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Kill who is in the groups, and remove those that we have made."""
        if self.unit:
            systemd.stop(self.unit)
        end = time.monotonic() + _PATIENCE
        while not removal.removed(self.made) and time.monotonic() < end:
            time.sleep(0.002)


def make(
    config: Config, name: str, pid: int, note: Callable[[Groups], object], *, by_systemd: bool
) -> Groups:
    """Make the groups of a container, write its limits, and move its first process there.

    Nothing is left if that fails. note: writes down what is about to be made: if we are killed,
    `delete` removes it. by_systemd: cgroupsPath is in systemd's words, which makes it if it runs.
    """
    every = hierarchies()
    linux = config["linux"]
    wanted, unit = linux.get("cgroupsPath") or name, ""
    if by_systemd:
        wanted, unit = _by_systemd(linux.get("cgroupsPath") or f"::{name}", pid)
    groups = Groups(version_of(every), {}, (), unit)
    resources = linux.get("resources", {})
    places = [(tree, _place(tree, wanted, resources)) for tree in every]
    groups.made = [found[0] for _, path in places if (found := _missing(path))]
    note(groups)
    with groups.removed_on_failure():
        for tree, path in places:
            _enroll(groups, tree, path)
        groups.apply(resources)
        groups.enter(pid)
    return groups


def _by_systemd(path: str, pid: int) -> tuple[str, str]:
    """Where a scope is in the tree; and its name, if systemd has been asked for it."""
    slice_, unit = systemd.unit(path)
    found = f"/{systemd.place(slice_)}/{unit}"
    if not systemd.manages():
        return found, ""
    systemd.start(slice_, unit, pid)
    return found, unit


def _enroll(groups: Groups, tree: Hierarchy, path: str) -> None:
    """Make a group in one hierarchy, and note it under the names of its controllers."""
    if _begin(tree, path):
        for controller in tree.controllers if tree.version == 1 else (version2.ALL,):
            groups.directories[controller] = path
        if not tree.controllers:
            groups.directories.setdefault(path, path)


def _place(tree: Hierarchy, wanted: str, resources: Config) -> str:
    """The path of a group: absolute ones count from the top of what is mounted, others from us.

    In version 2 a group with processes, as ours, hands on no controllers: another one is needed,
    or ours has to be emptied.
    """
    if wanted.startswith("/"):
        return _top(tree) + os.path.normpath(wanted)
    above = tree.path
    needed = [*dict.fromkeys(setting.controller for setting in settings.v2(resources))]
    if tree.version == 2 and needed and {*needed} <= {*tree.controllers}:
        above = version2.parent(tree, needed)
    return os.path.join(above, os.path.normpath(wanted))


def _top(tree: Hierarchy) -> str:
    points = [each.point for each in mounts() if each.kind in ("cgroup", "cgroup2")]
    above = [point for point in points if f"{tree.path}/".startswith(f"{point}/")]
    return max(above, key=len, default=tree.path)


def _begin(tree: Hierarchy, path: str) -> bool:
    """Make one group with those above it. False: this hierarchy is not ours to change."""
    missing = _missing(path)
    path = os.path.dirname(missing[-1]) if missing else path
    for each in reversed(missing):
        if tree.version == 2:
            _hand_on(path)
        try:
            with Asked(f'mkdir("{each}")'):
                os.mkdir(each, 0o755)
        except OSError as error:
            if error.errno in _NOT_OURS and os.geteuid():
                return False
            raise
        if tree.version == 1:
            v1.prepare(each, path)
        path = each
    return True


def _missing(path: str) -> list[str]:
    """A group and those above it that are not there, the lowest first."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    return missing


def _hand_on(path: str) -> None:
    """Have a group hand on all controllers to those below it, as far as it has them."""
    for name in stats.text(f"{path}/cgroup.controllers").split():
        with contextlib.suppress(OSError):  # the file of a limit is missing then, and that is told
            v1.put(f"{path}/cgroup.subtree_control", f"+{name}")


def _no_file(setting: Setting) -> ValueError:
    return ValueError(
        Words(
            f"这台机器的控制组没有 {setting.file}：限制不了它，去掉配置里的这一项",
            f"the control groups of this machine have no {setting.file}: it cannot be limited; "
            "leave it out of the configuration",
        )
    )
