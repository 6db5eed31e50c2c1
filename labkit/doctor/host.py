"""What this machine allows, found by trying, and why not where it does not.

Every answer is what Linux said to a process that was thrown away. The eight namespaces are tried as
containers of the engine, the rest by `probe.py`. All is tried twice: with the caller's own rights
(`yours`), and as root of a user namespace that a user without privileges made (`rootless`). The
host stays as it was, but Linux may have loaded modules on demand (veth, overlay).
"""

import errno
import functools
import json
import os
import tempfile
from collections.abc import Callable
from typing import Literal

from labkit.cgroups import scope, v2
from labkit.cgroups.hierarchy import Hierarchy, Layout, filesystem, hierarchies, layout
from labkit.container.container import Container
from labkit.doctor.probe import TRIALS
from labkit.engine.boot import bare_python
from labkit.engine.client import run
from labkit.engine.connection import engine_namespaces
from labkit.linux import confinement as confined
from labkit.linux.call import parted
from labkit.linux.fields import dataclass
from labkit.linux.namespaces import KINDS, Kind, inodes, own_proc
from labkit.linux.processes import pidfd_open
from labkit.linux.refusal import (
    AS_ROOT,
    PRIVILEGED,
    Reason,
    Refusal,
    call_of,
    diagnose,
    errno_name,
    refusal,
)
from labkit.text.words import Words, words_of

Level = Literal["real", "rootless", "recorded"]
LEVELS: dict[Level, Words] = {
    "real": Words("真实", "real"),
    "rootless": Words("rootless", "rootless"),
    "recorded": Words("录制", "recorded"),
}

_PATIENCE = 20  # seconds for a probe, whose trials take a tenth of one
LIMITS = ("cpu", "cpuset", "io", "memory", "pids")
NEEDED = {
    "CAP_SYS_ADMIN": Words("命名空间、挂载、主机名", "namespaces, mounts, host names"),
    "CAP_NET_ADMIN": Words("网络设备、地址、路由", "network devices, addresses, routes"),
    "CAP_SYS_CHROOT": Words("换根目录、进入挂载命名空间", "roots, entering mount namespaces"),
    "CAP_SYS_PTRACE": Words("看别的用户的命名空间", "seeing other users' namespaces"),
    "CAP_SETUID": Words("映射用户号", "mapping user ids"),
    "CAP_SETGID": Words("映射组号", "mapping group ids"),
    "CAP_SETPCAP": Words("收窄权能上限集", "narrowing the bounding set"),
    "CAP_MKNOD": Words("镜像里的设备文件", "device files in images"),
    "CAP_CHOWN": Words("镜像里文件的属主", "owners of files in images"),
    "CAP_DAC_OVERRIDE": Words("写别的用户的文件", "writing other users' files"),
    "CAP_FOWNER": Words("改镜像里文件的权限", "modes of files in images"),
    "CAP_KILL": Words("结束别的用户的进程", "ending other users' processes"),
}


@dataclass(frozen=True)
class Ability:
    """One thing that the machine allows, refuses, or was not asked for (allowed=None).

    name: a kind of namespace, a trial of `labkit.doctor.probe`, one of LIMITS, clone3, pidfd or
    capabilities. found: what was found besides. call: the refused call, and error its errno's
    name. reason, fix: why it is refused, and what to do about it.
    """

    name: str
    allowed: bool | None
    found: str = ""
    call: str = ""
    error: str = ""
    reason: Words | None = None
    fix: Words | None = None


@dataclass(frozen=True)
class Host:
    """This machine, as :func:`examine` found it from the calling process.

    yours, rootless: the abilities by name. cgroups: v1, v2, hybrid or none. missing: those of
    NEEDED that the process lacks.
    """

    kernel: str
    machine: str
    uid: int
    yours: dict[str, Ability]
    rootless: dict[str, Ability]
    cgroups: Layout
    hierarchies: tuple[Hierarchy, ...]
    capabilities: confined.Capabilities
    missing: tuple[str, ...]
    confinement: confined.Confinement

    def level(self, *names: str) -> Level:
        """How a lesson that needs the abilities `names` can be given here: 真实, rootless, 录制."""
        if all(self.yours[name].allowed for name in names):
            return "real"
        if all(self.rootless[name].allowed for name in ("user", *names)):
            return "rootless"
        return "recorded"


def examine() -> Host:
    """Ask the kernel what it allows. Takes about a quarter of a second."""
    own_proc()
    trials = _Trials(confined.capabilities(), confined.confinement())
    trees = hierarchies()
    missing = tuple(name for name in NEEDED if name not in trials.held.effective)
    limits = {name: _limit(name, trees) for name in LIMITS}
    kernel = trials.kernel()
    # Root cannot tell which groups another user was given.
    untried = {name: Ability(name, allowed=None) for name in LIMITS}
    yours = trials.namespaces() | trials.probe(*TRIALS) | limits | kernel
    others = [kind.name for kind in KINDS if kind is not Kind.user]
    rootless = trials.probe(*others, *TRIALS, rootless=True)
    return Host(
        kernel=os.uname().release,
        machine=os.uname().machine,
        uid=os.geteuid(),
        yours=yours | {"capabilities": _needed(missing, trials.held)},
        rootless=rootless | (limits if os.geteuid() else untried) | kernel,
        cgroups=layout(trees),
        hierarchies=trees,
        capabilities=trials.held,
        missing=missing,
        confinement=trials.confined,
    )


class _Trials:
    """What is found by trying. A refusal, whatever it is, becomes an answer."""

    def __init__(self, held: confined.Capabilities, confined: confined.Confinement) -> None:
        self.held, self.confined = held, confined
        # Without pidfds there is no engine, which nothing else could be asked through.
        self.engine: OSError | None = None
        try:
            os.close(pidfd_open(os.getpid()))
            engine_namespaces()
        except OSError as error:
            self.engine = error

    def refused(self, name: str, error: OSError, *, rootless: bool = False) -> Ability:
        call, number = call_of(error), error.errno
        if error.filename:
            call = f'open("{os.fsdecode(error.filename)}")'
        if not number:  # not the kernel: the engine or a probe was ended
            return Ability(name, allowed=False, reason=words_of(error)[0])
        why = diagnose(Refusal(call, number, rootless, self.held, self.confined))
        return _no(name, why, call=call, error=errno_name(number))

    def ask(self, name: str, question: Callable[[], object]) -> Ability:
        try:
            if self.engine:
                raise self.engine
            question()
        except OSError as error:
            return self.refused(name, error)
        return Ability(name, allowed=True)

    def namespaces(self) -> dict[str, Ability]:
        """The eight kinds, each as a container."""
        return {k.name: self.ask(k.name, functools.partial(_namespace, k)) for k in KINDS}

    def kernel(self) -> dict[str, Ability]:
        """The calls that the engine is built on, whoever the caller is."""
        return {"clone3": self.ask("clone3", _clone3), "pidfd": self.ask("pidfd", lambda: None)}

    def probe(self, *names: str, rootless: bool = False) -> dict[str, Ability]:
        """The trials `names` of `labkit.doctor.probe`; as rootless, "user" before them."""
        lost = OSError(Words("试探它的程序提前结束了", "the program that tries it ended early"))
        said: dict[str, OSError | None] = {}
        try:
            if self.engine:
                raise self.engine
            said = _probe(["rootless"] * rootless + list(names))
        except OSError as error:
            lost = error
        answers = {}
        for name in ["user"] * rootless + list(names):
            no = said.get(name, lost)
            answers[name] = (
                self.refused(name, no, rootless=rootless)
                if no
                else Ability(name, allowed=True, found=_found(name))
            )
        return answers


def _no(name: str, why: Reason, **known: str) -> Ability:
    return Ability(name, allowed=False, reason=why.why, fix=why.fix, **known)


def _probe(words: list[str]) -> dict[str, OSError | None]:
    """Run `labkit.doctor.probe`: for each trial that was made None, or the refusal."""
    done = run(Container(bare_python("doctor.probe", *words)), timeout=_PATIENCE)
    if done.returncode:
        how = f"{done.returncode}: {done.stderr[-200:]}"
        said = Words(f"试探它的程序失败了：{how}", f"the program that tries it failed: {how}")
        raise OSError(said)
    answers = map(json.loads, done.stdout.splitlines())
    return {a["name"]: refusal(a["call"], a["errno"]) if "errno" in a else None for a in answers}


def _namespace(kind: Kind) -> None:
    """Have the engine make one; the proof is another inode, whatever the program does."""
    done = run(Container(("true",), cloneflags=kind.flag), timeout=_PATIENCE)
    if done.inodes.get(kind.name) == inodes().get(kind.name):
        # clone, to which the engine turns when clone3 is blocked, has no room for CLONE_NEWTIME.
        call, answer = parted(done.trace[0])
        raise refusal(call, errno.ENOSYS if answer.startswith("-1") else errno.EINVAL)


def _clone3() -> None:
    """Docker's seccomp profile answers clone3 with ENOSYS; then the engine makes do with clone."""
    call, answer = parted(run(Container(("true",)), timeout=_PATIENCE).trace[0])
    if answer.startswith("-1"):
        raise refusal(call, errno.ENOSYS)


def _found(name: str) -> str:
    """What one must know of a trial besides that it succeeded."""
    if name != "overlay":
        return ""
    try:
        place = tempfile.gettempdir()
    except FileNotFoundError:  # nothing can be written to
        return "upperdir tmpfs"
    # On overlayfs, as in a Docker container, it cannot hold upperdir.
    return f"upperdir tmpfs ({place}: {filesystem(place)})"


def _limit(name: str, trees: tuple[Hierarchy, ...]) -> Ability:
    """Whether we may limit with a controller: it must be there, and our group's directory ours."""
    words = {name, "blkio"} if name == "io" else {name}  # as version 1 calls it
    for tree in trees:
        if words & {*tree.controllers, *(_offered(tree) if tree.version == 2 else ())}:
            found = f"v{tree.version} {tree.path}"
            if tree.writable or (tree.version == 2 and name in _offered(tree)):
                return Ability(name, allowed=True, found=found)
            return _no(name, _READ_ONLY_TO_US if os.geteuid() else _READ_ONLY, found=found)
    return _no(name, _NO_CONTROLLER)


def _offered(tree: Hierarchy) -> list[str]:
    """What systemd's user manager can hand on to this user."""
    above = [*v2.upwards(tree.path)]
    return scope.offered(above[-1]) if above else []


def _needed(missing: tuple[str, ...], held: confined.Capabilities) -> Ability:
    """Whether the process has all of NEEDED."""
    if not missing:
        return Ability("capabilities", allowed=True)
    beyond = set(missing) - set(held.bounding)
    reason = Words(
        "缺少 " + "、".join(f"{name}（{NEEDED[name].zh}）" for name in missing),
        "missing: " + ", ".join(f"{name} ({NEEDED[name].en})" for name in missing),
    )
    return _no("capabilities", Reason(reason, PRIVILEGED if beyond else AS_ROOT))


_CGROUPS = Words(
    "若在 Docker 里，加 --privileged --cgroupns=private",
    "inside Docker, add --privileged --cgroupns=private",
)
_READ_ONLY = Reason(
    Words("本进程不能在自己的控制组里建子组", "this process may not make groups below its own"),
    _CGROUPS,
)
_READ_ONLY_TO_US = Reason(
    _READ_ONLY.why, Words(f"用 root 运行；{_CGROUPS.zh}", f"run it as root; {_CGROUPS.en}")
)
_NO_CONTROLLER = Reason(
    Words("没有挂载带这个控制器的控制组", "no cgroup with this controller is mounted"),
    Words(f"看 /proc/cgroups；{_CGROUPS.zh}", f"see /proc/cgroups; {_CGROUPS.en}"),
)
