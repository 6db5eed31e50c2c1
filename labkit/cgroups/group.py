"""A container's group: made before it starts, watched while it runs, gone when it has ended.

A group is locked as long as somebody sees to it (flock(2) on its directory), and the kernel drops
that lock when the last of them dies, however. So a group of ours without a lock is an orphan, and
whoever comes next removes it.

All names are equally long. So what a start has made ready serves the next one, with the other name
put in its place.
"""

import errno
import fcntl
import itertools
import os
import time
from _collections_abc import Iterator

from labkit.cgroups import device_filter, devices, removal, v1, v2
from labkit.cgroups.hierarchy import Hierarchy, hierarchies
from labkit.cgroups.limits import Limits
from labkit.cgroups.membership import PREFIX, own, way_in
from labkit.cgroups.settings import Setting
from labkit.cgroups.stats import Stats
from labkit.linux import id_maps
from labkit.linux.door import NUMBERS, syscall
from labkit.linux.refusal import Asked, explain, refusal
from labkit.python.typing import NamedTuple
from labkit.text.words import Words

_TRIES = 5
_PATIENCE = 2.0  # seconds for killed processes to end
_PLANS = 64  # how many are kept
_CLONE_INTO_CGROUP_SINCE = (5, 7)


class Plan(NamedTuple):
    """How a group is made. parents: in which one, for each controller. settings: of its limits."""

    version: int
    parents: dict[str, str]
    settings: list[Setting]


class Group:
    """A group in each hierarchy that is needed: one in version 2.

    directories: where they are, by controller; in version 2 there is one, "v2". version: 1 or 2.
    name: what each of them is called; all names are equally long.
    """

    def __init__(self, limits: Limits, plan: Plan) -> None:
        """Make it as `plan` says, set its limits, and hold it. Nothing is left if not."""
        self.version, self._limits = plan.version, limits
        self._fds: list[int] = []
        self.directories: dict[str, str] = {}
        self.name = PREFIX + os.urandom(6).hex()
        try:
            for controller, parent in plan.parents.items():
                path = f"{parent}/{self.name}"
                if path not in self.directories.values():
                    self._begin(path)
                self.directories[controller] = path
            self._limit(plan.settings)
        except BaseException:
            self.remove()
            raise

    @property
    def paths(self) -> list[str]:
        """Its directories, each once."""
        return [*dict.fromkeys(self.directories.values())]

    @property
    def fds(self) -> list[int]:
        """Descriptors of the directories, in the same order; each holds its lock."""
        return self._fds

    @property
    def enters_at_birth(self) -> bool:
        """Whether a process can be born in it: clone3 with CLONE_INTO_CGROUP."""
        return self.version == 2 and born_inside()

    @property
    def entered_by(self) -> list[str]:
        """The files to which a process of one thread writes "0", if it was not born inside."""
        return [way_in(path, self.version) for path in self.paths]

    def _begin(self, path: str) -> None:
        with Asked(f'mkdir("{path}")'):
            os.mkdir(path, 0o755)
        self.directories[path] = path  # until its controller stands there, so that it is removed
        try:
            with Asked(f'open("{path}")'):
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                self._fds.append(fd)
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.stat(path)
        except (FileNotFoundError, BlockingIOError):
            raise Raced from None  # somebody looked for orphans before we had the lock
        del self.directories[path]

    def _limit(self, settings: list[Setting]) -> None:
        """Write every limit to its file."""
        if "cpuset" in self.directories:
            path = self.directories["cpuset"]
            v1.prepare(path, os.path.dirname(path))
        for setting in settings:
            self._set(setting)
        if self.version == 2 and self._limits.devices is not None:
            device_filter.attach(self._fds[0], (*devices.USUAL, *self._limits.rules))

    def _set(self, setting: Setting) -> None:
        path = f"{self.directories.get(setting.controller) or self.directories[v2.ALL]}/"
        path += setting.file
        try:
            v1.put(path, setting.value)
        except FileNotFoundError:
            form = v1 if self.version == 1 else v2
            if not form.may_be_missing(setting, self._limits):
                raise _not_counted(setting) from None

    def stats(self) -> Stats:
        """What its processes use now. ProcessLookupError when it is gone."""
        self._check_alive()
        return v1.measure(self.directories) if self.version == 1 else v2.measure(self.directories)

    def freeze(self, *, frozen: bool) -> None:
        """Stop its processes, or let them go on. ProcessLookupError when it is gone."""
        self._check_alive()
        try:
            form = v1 if self.version == 1 else v2
            form.freeze(self.directories, frozen=frozen)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):
                self._check_alive()
            explain(error)
            raise

    def _check_alive(self) -> None:
        if not all(map(os.path.exists, self.paths)):
            raise refusal(f'open("{self.paths[0]}")', errno.ESRCH)

    def hand_over(self) -> None:
        """Leave it to the engine, which has descriptors of its own: the locks are its own now."""
        for fd in self._fds:
            os.close(fd)
        self._fds = []

    def remove(self) -> None:
        """Kill who is in it, and remove it, if it is still there."""
        paths, end = self.paths, time.monotonic() + _PATIENCE
        while not removal.removed(paths) and time.monotonic() < end:
            time.sleep(0.001)
        self.hand_over()


class Raced(Exception):  # noqa: N818 - it says what happened
    """Somebody who looks for orphans took the new group for one: another is made."""


def make(limits: Limits, *, stops: bool = True) -> Group:
    """Make a group with these limits, below the one in which this process is.

    stops: whether freeze() may be asked for, or its processes may fork while they are killed.
    Version 1 has another hierarchy for that, and a group in it takes as long as the first. Raises
    OSError when the kernel refuses it, and ValueError when a controller is not there.
    """
    for _ in range(_TRIES):
        plan = _planned(limits, stops=stops)
        try:
            return Group(limits, plan)
        except Raced:
            continue
        except FileNotFoundError:  # we have been moved, or something was unmounted
            _forget()
    raise refusal("mkdir()", errno.EBUSY)


_known: dict[str, tuple[Hierarchy, ...]] = {}
"""What this process's groups were found to be, as long as /proc/self/cgroup says the same."""
_plans: dict[tuple[Limits, bool], Plan] = {}
"""Of version 1, as long as that holds: to work one out takes as long as to make the groups."""


def _forget() -> None:
    _known.clear()
    _plans.clear()


def trees() -> tuple[Hierarchy, ...]:
    """The hierarchies. They are looked up again only when this process has been moved."""
    with Asked('open("/proc/self/cgroup")'):
        where = own()
        if where not in _known:
            _forget()
            _known[where] = hierarchies()
            sweep(_known[where])
    return _known[where]


def version_of(found: tuple[Hierarchy, ...]) -> int:
    """The version whose controllers limit here: 1 where it has any. 0: there are no groups."""
    names = {name for tree in found if tree.version == 1 for name in tree.controllers}
    if names & {*v1.COUNTING}:
        return 1
    return 2 if any(tree.version == 2 for tree in found) else 0


def _planned(limits: Limits, *, stops: bool) -> Plan:
    """How a group with these limits is made here."""
    found, key = trees(), (limits, stops)
    if key in _plans:
        return _plans[key]
    version = version_of(found)
    if version == 1:
        parents = v1.parents(found, v1.controllers(limits, stops=stops))
        plan = Plan(version, parents, v1.settings(limits))
        if limits.io or limits.devices:  # a file in /dev may be another next time
            return plan
        if len(_plans) >= _PLANS:
            _plans.clear()
        return _plans.setdefault(key, plan)
    if version == 2:
        parents = {v2.ALL: _parent_in_v2(found, v2.controllers(limits))}
        return Plan(version, parents, v2.settings(limits))
    raise ValueError(
        Words(
            "这里没有挂载控制组：以 root 执行 mount -t cgroup2 none /sys/fs/cgroup",
            "no cgroups are mounted here: as root, mount -t cgroup2 none /sys/fs/cgroup",
        )
    )


def _parent_in_v2(found: tuple[Hierarchy, ...], wanted: list[str]) -> str:
    """In which group one is made. A user who may make none is given one by systemd, and moved."""
    (tree,) = (tree for tree in found if tree.version == 2)
    if id_maps.outside() and not tree.writable and not v2.ready(tree, wanted):
        from labkit.cgroups import scope  # only who is not root needs one

        scope.begin()
        (tree,) = (tree for tree in trees() if tree.version == 2)
        return v2.handing_on(tree, wanted)  # what is above is systemd's, though the user's too
    with Asked(f'write("{tree.path}/cgroup.subtree_control")'):
        return v2.parent(tree, wanted)


def _not_counted(setting: Setting) -> ValueError:
    """The file of a limit is not there: swap is not counted, or the kernel lacks the limit."""
    if "sw" in setting.file:
        return ValueError(
            Words(
                "内核没有给交换区记账，memory_swap 限制不了："
                "在内核命令行加 swapaccount=1，或者不写 memory_swap",
                "this kernel does not count swap, so memory_swap limits nothing: "
                "add swapaccount=1 to its command line, or leave memory_swap out",
            )
        )
    return ValueError(
        Words(
            f"内核没有 {setting.file}，这一项限制不了：换一个带它的内核，或者不写这一项",
            f"this kernel has no {setting.file}, so it cannot limit that: take one that has it, or "
            "leave the limit out",
        )
    )


def born_inside() -> bool:
    """Whether clone3 is there and knows CLONE_INTO_CGROUP; Docker's filter says ENOSYS to it."""
    kernel = tuple(int(part) for part in os.uname().release.split(".")[:2] if part.isdigit())
    if kernel < _CLONE_INTO_CGROUP_SINCE:
        return False
    return syscall(NUMBERS["clone3"], 0, 0) != -errno.ENOSYS  # EINVAL: no arguments at all


def sweep(found: tuple[Hierarchy, ...] | None = None) -> list[str]:
    """Remove the groups that the dead have left. Their paths."""
    swept = []
    for path in _ours(hierarchies() if found is None else found):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            end = time.monotonic() + _PATIENCE
            while not removal.removed([path]) and time.monotonic() < end:
                time.sleep(0.001)
            swept.append(path)
        except OSError:  # somebody sees to it
            continue
        finally:
            os.close(fd)
    return swept


def _ours(found: tuple[Hierarchy, ...]) -> Iterator[str]:
    """The groups of labkit's containers, beside our own groups and above them."""
    roots = dict.fromkeys(itertools.chain.from_iterable(_above(tree) for tree in found))
    for root in roots:
        try:
            names = os.listdir(root)
        except OSError:
            continue
        for name in names:
            if name.startswith(PREFIX):
                yield f"{root}/{name}"


def _above(tree: Hierarchy) -> list[str]:
    return [tree.path] if tree.version == 1 else [*v2.upwards(tree.path)]
