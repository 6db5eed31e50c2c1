"""What to run and what came of it: two values, with no behaviour of their own."""

import os
from _collections_abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType

from labkit.cgroups.limits import Limits, as_limits
from labkit.container.checks import (
    as_ambient,
    as_field,
    as_joins,
    as_map,
    as_names,
    as_offsets,
    as_profile,
    as_rlimits,
    as_sysctls,
    as_user,
    check_maps,
    check_score,
)
from labkit.container.root import Root
from labkit.linux.fields import KW_ONLY, dataclass, field, fields
from labkit.linux.flags import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    Clone,
)
from labkit.linux.seccomp_profile import Profile
from labkit.network.network import HasPid, Network
from labkit.python import json
from labkit.python.typing import Any, Self, cast
from labkit.text.words import Advice, Words

SHOWN = 65536  # characters of a stream that the repr of a Finished shows
HOST_NAME_MAX = 64  # bytes: __NEW_UTS_LEN in the kernel's include/uapi/linux/utsname.h
_CLONE = sum(Clone)


@dataclass(frozen=True, repr=False)
class Container:
    """A program and the walls around it. Every field except `argv` is off at first.

    argv: the program and its arguments. cloneflags: the new namespaces (Go's
    SysProcAttr.Cloneflags). hostname: the name in a new UTS namespace, at most 64 bytes. proc:
    mount a /proc of its own. tty: a new session, and standard input as its controlling terminal: a
    pseudo-terminal unless a descriptor is given (docker run -t). env: the whole environment (None:
    the caller's). cwd: the working directory inside (None: the caller's).

    uid_map, gid_map: which IDs inside correspond to which outside, as (inside, outside, count), in
    a new user namespace (Go's UidMappings, GidMappings). If they have root but no number for the
    caller, the program is root. setgroups: leave setgroups(2) allowed there (Go's
    GidMappingsEnableSetgroups). rootless: a new user namespace with the caller as its root; needs
    no privilege. The program still owns the caller's files, with any limit below; if the caller is
    the host's root, it owns the host's, /proc/sys among them. Map to subordinate IDs to avoid that.
    user: the program's (user ID, group ID, supplementary groups), in its user
    namespace (Go's Credential; None: as they are).

    capabilities: the capabilities to keep, as "CAP_NET_RAW" or "NET_RAW" (None: all).
    ambient_caps: those of them that a program has even without root (Go's AmbientCaps).
    no_new_privs: no execve gives more power. seccomp: which calls are allowed: "default" is
    Docker's profile; or give the path of a file of that format, or the content of such a file.
    time_offsets: seconds that the clocks "monotonic" and "boottime" are ahead in a new time
    namespace. limits: what it may use of memory, processors, processes and devices: a control group
    of its own, such as Limits(memory="64m", cpus=0.5, pids=100).

    root: a root directory of its own, in a new mount namespace; the program and `cwd` are looked up
    there (None: the caller's). network: "bridge", "none", "host", "container:PID" or a container
    that runs, the name of a network, or a Network, which says more, such as what is published. With
    a bridge and with "none" it is in a new network namespace.

    rlimits: what the program may use at most, as {"nofile": (soft, hard)}, -1 for no limit
    (docker run --ulimit). sysctls: settings of /proc/sys that belong to its new namespaces, as
    {"net.ipv4.ip_forward": "1"}. init: the program is not PID 1 but the child of one that passes
    signals on to it and reaps orphans (docker run --init). oom_score_adj: how much sooner than
    others it is killed when memory is short, -1000 (never) to 1000. joins: processes, or containers
    that run, whose namespaces it is in, as {"pid": 1234, "ipc": 1234}; with "ipc" it has that one's
    /dev/shm. What it leaves in another's PID namespace may live as long as that one.

    Raises TypeError or ValueError for a container that no kernel could run, or that would change
    the host.
    """

    argv: Sequence[str]
    _: KW_ONLY
    cloneflags: Clone = Clone(0)
    hostname: str | None = None
    proc: bool = False
    tty: bool = False
    env: Mapping[str, str] | None = field(default=None, hash=False)
    cwd: str | None = None
    uid_map: Sequence[tuple[int, int, int]] = ()
    gid_map: Sequence[tuple[int, int, int]] = ()
    setgroups: bool = False
    rootless: bool = False
    user: tuple[int, int, Sequence[int]] | None = None
    capabilities: Collection[str] | None = None
    ambient_caps: Collection[str] = ()
    no_new_privs: bool = False
    seccomp: str | Profile | None = field(default=None, hash=False)
    time_offsets: Mapping[str, int] | None = field(default=None, hash=False)
    root: Root | None = None
    limits: Limits | None = None
    network: Network | str | HasPid | None = None
    rlimits: Mapping[str, tuple[int, int]] | None = field(default=None, hash=False)
    sysctls: Mapping[str, str] | None = field(default=None, hash=False)
    init: bool = False
    oom_score_adj: int | None = None
    joins: Mapping[str, int | HasPid] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        set_ = object.__setattr__  # the dataclass is frozen; these are its final values
        for name in ("proc", "tty", "setgroups", "rootless", "no_new_privs", "init"):
            _check_flag(name, getattr(self, name))
        set_(self, "argv", _argv(self.argv))
        set_(self, "cloneflags", _cloneflags(self.cloneflags))
        if self.hostname is not None:
            _check_hostname(self.hostname, self.cloneflags)
        if self.proc:
            _check_proc(self.cloneflags, of_its_own=self.root is not None)
        if self.env is not None:
            set_(self, "env", MappingProxyType(_env(self.env)))
        if self.cwd is not None:
            set_(self, "cwd", as_field("cwd", self.cwd))
        if self.root is not None:
            set_(self, "root", Root.of(self.root))
            _check_root(self.cloneflags)
        if self.rootless:
            set_(self, "cloneflags", self.cloneflags | CLONE_NEWUSER)
        self._limit(set_)
        self._settle(set_)

    def _limit(self, set_: Callable[[Self, str, object], None]) -> None:
        """The final values of the fields that say who the program is and what it may do."""
        for name in ("uid_map", "gid_map"):
            set_(self, name, as_map(name, getattr(self, name)))
        given = [name for name in ("uid_map", "gid_map", "setgroups") if getattr(self, name)]
        check_maps(given, self.cloneflags, rootless=self.rootless)
        if self.user is not None:
            set_(self, "user", as_user(self.user))
        if self.capabilities is not None:
            set_(self, "capabilities", as_names("capabilities", self.capabilities))
        set_(self, "ambient_caps", as_ambient(self.ambient_caps, self.capabilities))
        if self.seccomp is not None:
            set_(self, "seccomp", as_profile(self.seccomp))
        if self.time_offsets is not None:
            set_(self, "time_offsets", as_offsets(self.time_offsets, self.cloneflags))
        if self.limits is not None:
            set_(self, "limits", as_limits(self.limits))
        if self.oom_score_adj is not None:
            check_score(self.oom_score_adj)
        if self.rlimits is not None:
            set_(self, "rlimits", as_rlimits(self.rlimits))

    def _settle(self, set_: Callable[[Self, str, object], None]) -> None:
        """The final values of the fields that depend on its namespaces, and give it more."""
        if self.network is not None:
            set_(self, "network", network := Network.of(self.network))
            set_(self, "cloneflags", _with_network(network, self.cloneflags))
        if self.joins is not None:
            set_(self, "joins", as_joins(self.joins, self.cloneflags))
        if self.sysctls is not None:
            set_(self, "sysctls", as_sysctls(self.sysctls, self.cloneflags))
        if self.init:
            _check_init(self.cloneflags)

    def __repr__(self) -> str:
        on = self.fields_on().items()
        return f"Container({', '.join(f'{name}={value!r}' for name, value in on)})"

    def fields_on(self) -> dict[str, Any]:
        """The fields that are turned on, and argv."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        off = {f.name: f.default for f in fields(self)}
        on = {n: v for n, v in values.items() if v != off[n]}
        return {n: dict(v) if isinstance(v, MappingProxyType) else v for n, v in on.items()}

    @property
    def on_network(self) -> Network | None:
        """Its network as a value."""
        return None if self.network is None else Network.of(self.network)

    @property
    def joined_network(self) -> int:
        """The process whose network it is in; 0: none."""
        return self.on_network.joins if self.on_network else 0

    @property
    def joined(self) -> Mapping[str, int]:
        """The processes whose namespaces it is in, by kind: of `joins`."""
        return cast("Mapping[str, int]", self.joins or {})

    def to_json(self) -> str:
        """The fields that are on, as a JSON object; flags by the kernel's names."""
        values = self.fields_on() | {"cloneflags": str(self.cloneflags)}
        if self.root:
            values["root"] = self.root.fields_on()
        if network := self.on_network:
            values["network"] = network.fields_on()
        return json.dumps(values, default=Limits.fields_on)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The container that :meth:`to_json` wrote."""
        values = json.loads(text)
        return cls(**values | {"cloneflags": Clone.parse(values.get("cloneflags", "0"))})


@dataclass(frozen=True, repr=False)
class Finished:
    r"""The result of a container.

    returncode: its exit status, -N when signal N killed it, 127 when the program was not found, 126
    when it could not be executed. stdout, stderr: what it printed (bytes that are not UTF-8 as
    ``\xNN``). trace: the system calls that built it, as strace prints them. inodes: the namespaces
    it was in, kind -> inode. seconds: from the request to the result. left_out: how many bytes it
    printed that are neither in stdout nor in stderr, because the limit of run() was reached.
    oom_killed: whether the kernel killed processes of it because the limit of its memory was
    reached.
    """

    returncode: int
    stdout: str
    stderr: str
    trace: tuple[str, ...]
    inodes: dict[str, int]
    seconds: float
    left_out: int = 0
    oom_killed: bool = False

    def __repr__(self) -> str:
        """What a cell shows: of much output the beginning."""
        said = f"stdout={_shown(self.stdout)}, stderr={_shown(self.stderr)}"
        more = f", left_out={self.left_out}" if self.left_out else ""
        more += ", oom_killed=True" * self.oom_killed
        return f"Finished(returncode={self.returncode}, {said}{more})"


def _shown(text: str) -> str:
    return repr(text) if len(text) <= SHOWN else f"{text[:SHOWN]!r}..."


def as_container(box: object) -> Container:
    """`box`, which is a container. TypeError for what is none, such as the program's words."""
    if isinstance(box, Container):
        return box
    if isinstance(box, str | bytes):
        _argv(cast("Sequence[str]", box))  # which says how it is written
    raise TypeError(
        Words(
            f'应是一个容器，如 Container(("echo", "hi"))，而不是 {box!r}',
            f'a container is wanted, as in Container(("echo", "hi")), not {box!r}',
        )
    )


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(  # the word "no" would be yes
            Words(
                f"{name} 应是 True 或 False，而不是 {value!r}",
                f"{name} is True or False, not {value!r}",
            )
        )


def _argv(argv: Sequence[str]) -> tuple[str, ...]:
    if isinstance(argv, str | bytes) or not isinstance(argv, Sequence):
        raise TypeError(
            Words(
                f'argv 应是一串词，如 ("echo", "hi")，而不是 {argv!r}',
                f'argv is a sequence of words, as in ("echo", "hi"), not {argv!r}',
            )
        )
    words = tuple(as_field("argv", word) for word in argv)
    if not words or not words[0]:
        raise ValueError(
            Words("argv 是空的：没有要运行的程序", "argv is empty: there is no program to run")
        )
    return words


def _cloneflags(flags: object) -> Clone:
    if not isinstance(flags, int):
        raise TypeError(
            Words(
                f"cloneflags 应是 CLONE_NEWUTS | CLONE_NEWPID 这样的标志，而不是 {flags!r}",
                f"cloneflags is flags, as in CLONE_NEWUTS | CLONE_NEWPID, not {flags!r}",
            )
        )
    unknown = flags & ~_CLONE
    if unknown:
        known = " ".join(flag.name or "" for flag in Clone)
        raise ValueError(
            Words(
                f"cloneflags 里有未知的位：{unknown:#x}（认得的是 {known}）",
                f"cloneflags has unknown bits: {unknown:#x} (known: {known})",
            )
        )
    return Clone(flags)


def _check_hostname(hostname: str, flags: Clone) -> None:
    size = len(os.fsencode(as_field("hostname", hostname)))
    if size > HOST_NAME_MAX:
        raise ValueError(
            Words(
                f"hostname 有 {size} 字节，内核最多收 {HOST_NAME_MAX} 字节",
                f"hostname is {size} bytes long; the kernel takes {HOST_NAME_MAX}",
            )
        )
    if not flags & CLONE_NEWUTS:
        raise ValueError(
            Words(
                "hostname 要和 CLONE_NEWUTS 一起用，否则改的是宿主机的名字",
                "hostname needs CLONE_NEWUTS: without it the host itself would be renamed",
            )
        )


def _check_proc(flags: Clone, *, of_its_own: bool) -> None:
    """of_its_own: it is in a root of its own, where there is no other."""
    if not flags & CLONE_NEWNS:
        raise ValueError(
            Words(
                "proc=True 要和 CLONE_NEWNS 一起用，否则盖住的是宿主机的 /proc",
                "proc=True needs CLONE_NEWNS: without it the host's own /proc would be covered",
            )
        )
    if not flags & CLONE_NEWPID and not of_its_own:
        said = Words(
            "没有 CLONE_NEWPID，新的 /proc 里仍是宿主机的进程",
            "without CLONE_NEWPID the new /proc still shows the host's processes",
        )
        import warnings

        warnings.warn(Advice(said), stacklevel=4)  # the line that made the container


def _check_root(flags: Clone) -> None:
    if not flags & CLONE_NEWNS:
        raise ValueError(
            Words(
                "root 要和 CLONE_NEWNS 一起用，否则换掉的是宿主机的根目录",
                "root needs CLONE_NEWNS: without it the host's own root would be exchanged",
            )
        )


def _check_init(flags: Clone) -> None:
    if not flags & CLONE_NEWPID:
        raise ValueError(
            Words(
                "init=True 要和 CLONE_NEWPID 一起用：只有新的 PID 命名空间里才缺 1 号进程",
                "init=True needs CLONE_NEWPID: only a new PID namespace has no PID 1 yet",
            )
        )


def _with_network(network: Network, flags: Clone) -> Clone:
    """The flags of a container on `network`; a network that is not its own takes none."""
    if network.is_bridge or network.name == "none":
        return flags | CLONE_NEWNET
    if flags & CLONE_NEWNET:
        raise ValueError(
            Words(
                f"network={network.name!r} 是别人的网络，不能再有 CLONE_NEWNET",
                f"network={network.name!r} is another's network: leave out CLONE_NEWNET",
            )
        )
    if network.joins and flags & CLONE_NEWUSER:
        raise ValueError(
            Words(
                "新的用户命名空间里的 root 无权进入别的容器的网络",
                "root of a new user namespace may not enter another container's network",
            )
        )
    return flags


def _env(env: Mapping[str, str]) -> dict[str, str]:
    checked = {as_field("env", name): as_field("env", value) for name, value in env.items()}
    for name in checked:
        if not name or "=" in name:
            raise ValueError(
                Words(
                    f"环境变量名不能为空，也不能有 =：{name!r}",
                    f"not a variable's name: {name!r}",
                )
            )
    return checked
