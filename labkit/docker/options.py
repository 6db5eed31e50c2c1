"""The options of docker run: what each of them notes down, as docker reads its value.

An option that is not here is refused with the reason (`absent.py`). What they ask for together is
worked out in `order.py`.
"""

import os
from _collections_abc import Callable, Mapping

from labkit.container.checks import JOINED
from labkit.docker import limits, mounts, networks, values
from labkit.docker.absent import ABSENT, Refused, absent
from labkit.docker.grammar import options, refused, spelt, truth
from labkit.docker.limits import Device
from labkit.docker.mounts import Mounted
from labkit.docker.rights import Security
from labkit.docker.values import Restart
from labkit.images import platform
from labkit.linux.fields import dataclass, field
from labkit.linux.flags import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    Clone,
)
from labkit.network.network import JOINS
from labkit.python.typing import NamedTuple
from labkit.text.words import Words, words_of

PULLS = ("always", "missing", "never")
_STREAMS = ("stdin", "stdout", "stderr")
_LOG_DRIVERS = ("json-file", "local", "none")


class Joined(NamedTuple):
    """A container whose namespaces are shared. pid: of its first process; 1 if it does not run."""

    id: str
    pid: int
    hostname: str = ""


@dataclass
class Asked:
    """The options of one command, as they come in; what none of them says is as it is here."""

    tty: bool = False
    interactive: bool = False
    detach: bool = False
    remove: bool = False
    privileged: bool = False
    read_only: bool = False
    init: bool = False
    publish_all: bool = False
    quiet: bool = False
    sig_proxy: bool = True
    name: str = ""
    hostname: str = ""
    domainname: str = ""
    cwd: str = ""
    entrypoint: str | None = None
    user: str = ""
    cidfile: str = ""
    pull: str = "missing"
    platform: str = ""
    cgroupns: str = ""
    stop_signal: str = ""
    stop_timeout: int | None = None
    detach_keys: str = ""
    log_driver: str = "json-file"
    shm_size: int = 0
    oom_score_adj: int | None = None
    restart: Restart = field(default_factory=Restart)
    attach: list[str] = field(default_factory=list)
    env: list[str] = field(default_factory=list)
    env_files: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    label_files: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    log_options: dict[str, str] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)
    expose: list[str] = field(default_factory=list)
    volumes_from: list[str] = field(default_factory=list)
    mounts: list[Mounted] = field(default_factory=list)
    cap_add: list[str] = field(default_factory=list)
    cap_drop: list[str] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)
    rlimits: dict[str, tuple[int, int]] = field(default_factory=dict)
    sysctls: dict[str, str] = field(default_factory=dict)
    health: dict[str, str | bool] = field(default_factory=dict)
    security: Security = field(default_factory=Security)
    limited: limits.Asked = field(default_factory=dict)
    connected: networks.Asked = field(default_factory=dict)
    ipc: str = ""
    joins: dict[str, str] = field(default_factory=dict)  # names of containers, by kind
    joined: dict[str, Joined] = field(default_factory=dict)  # what was found of them
    flags: Clone = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET


Take = Callable[[Asked, str], None]


def read(rest: list[str]) -> Asked:
    """Take the options from the front of `rest`; what is left is the image and its program."""
    asked = Asked()
    for name, value in options(rest, SWITCHES, {*OPTIONS, *ABSENT}):
        option = spelt(name)
        if name in ABSENT:
            raise Refused(absent(option, ABSENT[name]))
        try:
            if name in SWITCHES:
                SWITCHES[name](asked, truth(option, value))
            else:
                OPTIONS[name](asked, value)
        except Refused as error:
            if name in _TOLD_BY_PFLAG:
                raise refused(option, value, words_of(error)) from None
            raise
    return asked


# --- How an option is noted down ----------------------------------------------------------------


def _put(name: str) -> Callable[[Asked, object], None]:
    return lambda asked, value: setattr(asked, name, value)


def _put_read(name: str, reader: Callable[[str], object]) -> Take:
    """An option whose value is read first."""
    return lambda asked, value: setattr(asked, name, reader(value))


def _add(name: str, reader: Callable[[str], object] = str) -> Take:
    """An option that may be repeated."""
    return lambda asked, value: getattr(asked, name).append(reader(value))


def _pair(name: str, reader: Callable[[str], tuple[str, object]]) -> Take:
    """An option that may be repeated, with a name and a value each time."""
    return lambda asked, value: getattr(asked, name).update([reader(value)])


def _note(name: str) -> Callable[[Asked, str | bool], None]:
    """An option of the health check; they are read together."""

    def note(asked: Asked, value: str | bool) -> None:
        asked.health[name] = value
        values.health(asked.health)

    return note


def _nothing(_: Asked, __: object) -> None:
    """What changes nothing: --disable-content-trust, which Docker ignores too."""


def _workdir(asked: Asked, value: str) -> None:
    if value and not value.startswith("/"):
        raise Refused(
            Words(
                f"工作目录 {value!r} 要是绝对路径",
                f"the working directory '{value}' is invalid, it needs to be an absolute path",
            )
        )
    asked.cwd = value


def _stream(text: str) -> str:
    if text.lower() not in _STREAMS:
        en = "valid streams are STDIN, STDOUT and STDERR"
        raise Refused(Words("只有 STDIN、STDOUT 和 STDERR", en))
    return text.lower()


def _platform(text: str) -> str:
    try:
        return str(platform.parse(text)) if "/" in text else text
    except ValueError as error:
        raise Refused(*error.args) from None


def _log_driver(text: str) -> str:
    if text not in _LOG_DRIVERS:
        en = f'error looking up logging plugin {text}: plugin "{text}" not found'
        raise Refused(Words(f"没有日志驱动 {text}：这里有 json-file、local 和 none", en))
    return text


def _isolation(_: Asked, value: str) -> None:
    if value not in ("", "default"):
        en = f"Invalid isolation: \"{value}\" - linux only supports 'default'"
        raise Refused(Words(f"--isolation {value} 只在 Windows 上有", en))


def _runtime(_: Asked, value: str) -> None:
    if value:
        raise Refused(
            Words(
                f"--runtime {value}：容器由 labkit 自己来造，没有别的运行时",
                f"unknown or invalid runtime name: {value}",
            )
        )


def _oom_score(text: str) -> int:
    number = values.whole(text)
    if not -1000 <= number <= 1000:
        en = f"Invalid value {number}, range for oom score adj is [-1000, 1000]"
        raise Refused(Words(f"--oom-score-adj 在 -1000 到 1000 之间，而不是 {number}", en))
    return number


def _cidfile(text: str) -> str:
    if os.path.exists(text):
        raise Refused(
            Words(
                f"{text} 已经在了：先确认那个容器不在运行，再删掉它",
                "container ID file found, make sure the other container isn't running or delete "
                f"{text}",
            )
        )
    return text


def _userns(_: Asked, value: str) -> None:
    """--userns=host: no container has a user namespace of its own without userns-remap."""
    if value not in ("", "host"):
        raise Refused(
            Words(f"--userns 不能是 {value}：只有 host", "--userns: invalid USER mode: only host")
        )


def _mode(option: str, flag: Clone, *new: str) -> Take:
    """An option such as --pid: ``host`` for the host's namespace, or a new one: "" or `new`.

    ``container:NAME``: another container's, where that can be.
    """

    def choose(asked: Asked, value: str) -> None:
        name = value.removeprefix(JOINS) if option in JOINED else value
        asked.joins.pop(option, None)
        if name not in ("", value):
            asked.joins[option] = name
            asked.flags &= ~flag
        elif value == "host":
            asked.flags &= ~flag
        elif value in ("", *new):
            asked.flags |= flag
        else:
            known = " | ".join(("host", *new, *["container:NAME"] * (option in JOINED)))
            en = f"--{option}: invalid {option.removesuffix('ns').upper()} mode"
            en = f"invalid IPC mode: {value}" if option == "ipc" else en
            raise Refused(Words(f"--{option} {value}：这里只有 {known}", en))

    return choose


def _ipc(asked: Asked, value: str) -> None:
    _mode("ipc", CLONE_NEWIPC, "private", "shareable")(asked, value)
    asked.ipc = value


def _cgroupns(asked: Asked, value: str) -> None:
    _mode("cgroupns", CLONE_NEWCGROUP, "private")(asked, value)
    asked.cgroupns = value


def _limit(take: Callable[[limits.Asked, str], None]) -> Take:
    """An option that sets a limit."""
    return lambda asked, value: take(asked.limited, value)


def _connect(take: Callable[[networks.Asked, str], None]) -> Take:
    """An option of the network. One that is another's takes no namespace of its own."""

    def connect(asked: Asked, value: str) -> None:
        take(asked.connected, value)
        name = networks.name(asked.connected)
        if name == "host" or name.startswith(JOINS):
            asked.flags &= ~CLONE_NEWNET
        else:
            asked.flags |= CLONE_NEWNET

    return connect


# --- The options --------------------------------------------------------------------------------

SWITCHES: Mapping[str, Callable[[Asked, bool], None]] = {
    "interactive": _put("interactive"),
    "tty": _put("tty"),
    "detach": _put("detach"),
    "rm": _put("remove"),
    "privileged": _put("privileged"),
    "read-only": _put("read_only"),
    "init": _put("init"),
    "publish-all": _put("publish_all"),
    "quiet": _put("quiet"),
    "sig-proxy": _put("sig_proxy"),
    "no-healthcheck": _note("no-healthcheck"),
    "disable-content-trust": _nothing,
}
_HEALTH = ("cmd", "interval", "timeout", "retries", "start-period", "start-interval")
OPTIONS: Mapping[str, Take] = {
    "name": _put_read("name", values.name),
    "hostname": _put("hostname"),
    "domainname": _put("domainname"),
    "workdir": _workdir,
    "entrypoint": _put("entrypoint"),
    "volume": _add("mounts", mounts.volume),
    "mount": _add("mounts", mounts.mount),
    "tmpfs": _add("mounts", mounts.memory),
    "shm-size": _put_read("shm_size", values.size),
    "env": _add("env", values.variable),
    "env-file": _add("env_files"),
    "label": _add("labels"),
    "label-file": _add("label_files"),
    "annotation": _pair("annotations", lambda text: values.pair("annotation", text)),
    "pid": _mode("pid", CLONE_NEWPID),
    "uts": _mode("uts", CLONE_NEWUTS),
    "ipc": _ipc,
    "user": _put("user"),
    "group-add": _add("groups"),
    "cap-add": _add("cap_add"),
    "cap-drop": _add("cap_drop"),
    "security-opt": lambda asked, value: asked.security.take(value),
    "userns": _userns,
    "cgroupns": _cgroupns,
    "isolation": _isolation,
    "runtime": _runtime,
    "oom-score-adj": _put_read("oom_score_adj", _oom_score),
    "volumes-from": _add("volumes_from"),
    "device": _add("devices", limits.device),
    "ulimit": _pair("rlimits", values.rlimit),
    "sysctl": _pair("sysctls", values.sysctl),
    "expose": lambda asked, value: asked.expose.extend(values.ports(value)),
    "restart": _put_read("restart", values.restart),
    "stop-signal": _put_read("stop_signal", values.stop_signal),
    "stop-timeout": _put_read("stop_timeout", values.whole),
    "cidfile": _put_read("cidfile", _cidfile),
    "pull": _put_read("pull", lambda text: values.one_of("pull", text, PULLS)),
    "platform": _put_read("platform", _platform),
    "attach": _add("attach", _stream),
    "detach-keys": _put("detach_keys"),
    "log-driver": _put_read("log_driver", _log_driver),
    "log-opt": _pair("log_options", lambda text: values.pair("log-opt", text)),
    **{f"health-{name}": _note(f"health-{name}") for name in _HEALTH},
    **{name: _limit(take) for name, take in limits.OPTIONS.items()},
    **{name: _connect(take) for name, take in networks.OPTIONS.items()},
}
# What pflag itself says of a value that an option does not take, before Docker sees it.
_TOLD_BY_PFLAG = {
    *(
        "add-host",
        "attach",
        "cpu-period",
        "cpu-quota",
        "cpu-shares",
        "cpus",
        "dns",
        "dns-search",
        "env",
    ),
    *("health-retries", "memory", "memory-swap", "pids-limit", "shm-size"),
    *("stop-timeout", "sysctl", "ulimit"),
    *(f"health-{name}" for name in ("interval", "timeout", "start-period", "start-interval")),
}
