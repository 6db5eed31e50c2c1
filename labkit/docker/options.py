"""``docker run ...`` read as docker reads it: the container that it means today.

An option that is not built yet is refused with the lesson in which it arrives. Options stand before
the image, and what follows it is the program's. Defaults are Docker's too: five new namespaces, a
/proc and a host name of its own, ``/`` as working directory, a fresh environment, and no more
capabilities and system calls than `labkit/docker/rights.py` says.
"""

import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from labkit.container.contain import DEFAULT_PATH
from labkit.container.container import Container
from labkit.container.root import Root
from labkit.docker import limits, rights
from labkit.docker.lessons import LATER, NETWORK, Refused, later
from labkit.docker.rights import FALSE, TRUE, Security
from labkit.images import reference
from labkit.linux.flags import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    Clone,
)
from labkit.linux.seccomp_profile import Profile
from labkit.text.words import Words, words_of

_HELP = ("--help", "help")


class HelpAsked(Exception):  # noqa: N818 - it says what happened
    """The command asks what it can do: docker, docker --help, docker run --help."""


@dataclass(frozen=True)
class Order:
    """What a ``docker run`` asks for. interactive: -i; a terminal (-t) is the box's tty.

    absent: what is not as with Docker because labkit does not have it, though it was asked for.
    """

    box: Container
    image: str
    interactive: bool
    absent: tuple[Words, ...] = ()

    @property
    def notes(self) -> tuple[Words, ...]:
        """What is not as with Docker yet, to be said beside the output."""
        image = Words(
            f"{self.image} 眼下只是个名字：程序用的是这台机器的文件；"
            "要用镜像，见 labkit v0.7 run。",
            f"{self.image} is only a name so far: the program has this machine's files; "
            "labkit v0.7 run takes an image.",
        )
        return (image, *self.absent)


@dataclass
class _Asked:
    """The options of one command, as they come in."""

    tty: bool = False
    interactive: bool = False
    hostname: str | None = None
    cwd: str = "/"
    env: dict[str, str] = field(default_factory=dict)
    user: str = ""
    groups: list[str] = field(default_factory=list)
    read_only: bool = False
    volumes: list[str] = field(default_factory=list)
    tmpfs: list[str] = field(default_factory=list)
    privileged: bool = False
    cap_add: list[str] = field(default_factory=list)
    cap_drop: list[str] = field(default_factory=list)
    security: Security = field(default_factory=Security)
    limited: limits.Asked = field(default_factory=dict)
    flags: Clone = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET


# --- What is built ------------------------------------------------------------------------------


def _put(name: str) -> Callable[[_Asked, object], None]:
    return lambda asked, value: setattr(asked, name, value)


def _add(name: str) -> Callable[[_Asked, str], None]:
    """An option that may be repeated."""
    return lambda asked, value: getattr(asked, name).append(value)


def _nothing(_: _Asked, __: bool) -> None:
    """--rm: every container of ours goes when it ends."""


def _hostname(asked: _Asked, value: str) -> None:
    asked.hostname = value


def _workdir(asked: _Asked, value: str) -> None:
    if not value.startswith("/"):
        raise Refused(
            Words(
                f"工作目录 {value!r} 要是绝对路径",
                f"the working directory {value!r} needs to be an absolute path",
            )
        )
    asked.cwd = value


def _volume(asked: _Asked, value: str) -> None:
    """SOURCE:TARGET[:ro]. Without a source, or with a name for one, Docker would keep it itself."""
    if not value.startswith("/") or ":" not in value:
        raise Refused(
            Words(
                f"--volume {value}：眼下只有 /来源:/位置，由 Docker 保管的卷还没有",
                f"--volume {value}: only /source:/target so far, no volumes that Docker keeps",
            )
        )
    asked.volumes.append(value)


def _env(asked: _Asked, value: str) -> None:
    name, equals, text = value.partition("=")
    if equals:
        asked.env[name] = text
    elif name in os.environ:  # -e NAME: as the caller has it, if it has
        asked.env[name] = os.environ[name]


def _userns(_: _Asked, value: str) -> None:
    """--userns=host: no container has a user namespace of its own without userns-remap."""
    if value not in ("", "host"):
        raise Refused(
            Words(f"--userns 不能是 {value}：只有 host", "--userns: invalid USER mode: only host")
        )


def _mode(option: str, flag: Clone, new: str) -> Callable[[_Asked, str], None]:
    """An option such as --pid: ``host`` for the host's namespace, or a new one, called `new`."""

    def choose(asked: _Asked, value: str) -> None:
        if value == "host":
            asked.flags &= ~flag
        elif value == new:
            asked.flags |= flag
        elif option == "network":
            raise Refused(later(f"--network {value}", NETWORK))
        else:
            known = " | ".join(filter(None, ("host", new)))
            raise Refused(
                Words(
                    f"--{option} {value}：眼下只有 {known}",
                    f"only {known} so far, for --{option} {value}",
                )
            )

    return choose


def _limit(take: Callable[[limits.Asked, str], None]) -> Callable[[_Asked, str], None]:
    """An option that sets a limit."""
    return lambda asked, value: take(asked.limited, value)


_SWITCHES: Mapping[str, Callable[[_Asked, bool], None]] = {
    "interactive": _put("interactive"),
    "tty": _put("tty"),
    "rm": _nothing,
    "privileged": _put("privileged"),
    "read-only": _put("read_only"),
}
_OPTIONS: Mapping[str, Callable[[_Asked, str], None]] = {
    "hostname": _hostname,
    "workdir": _workdir,
    "volume": _volume,
    "tmpfs": _add("tmpfs"),
    "env": _env,
    "network": _mode("network", CLONE_NEWNET, "none"),
    "net": _mode("network", CLONE_NEWNET, "none"),
    "pid": _mode("pid", CLONE_NEWPID, ""),
    "uts": _mode("uts", CLONE_NEWUTS, ""),
    "ipc": _mode("ipc", CLONE_NEWIPC, "private"),
    "user": _put("user"),
    "group-add": _add("groups"),
    "cap-add": _add("cap_add"),
    "cap-drop": _add("cap_drop"),
    "security-opt": lambda asked, value: asked.security.take(value),
    "userns": _userns,
    "cgroupns": _mode("cgroupns", CLONE_NEWCGROUP, "private"),
    **{name: _limit(take) for name, take in limits.OPTIONS.items()},
}
_SHORT = {
    "a": "attach",
    "c": "cpu-shares",
    "d": "detach",
    "e": "env",
    "h": "hostname",
    "i": "interactive",
    "l": "label",
    "m": "memory",
    "p": "publish",
    "P": "publish-all",
    "q": "quiet",
    "t": "tty",
    "u": "user",
    "v": "volume",
    "w": "workdir",
}

# --- Reading ------------------------------------------------------------------------------------


def parse(words: Sequence[str]) -> Order:
    """Read the words after ``docker``. Raises HelpAsked, Refused, or what Container raises."""
    _check_verb(words[0] if words else "--help")
    asked, rest = _Asked(), list(words[1:])
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        if word == "--help":
            raise HelpAsked
        for name, value in _named(word, rest):
            _take(asked, name, value)
    return _order(asked, rest)


def _check_verb(verb: str) -> None:
    if verb in _HELP:
        raise HelpAsked
    if verb != "run":
        raise Refused(
            Words(
                f"docker 的动词今天只有 run，没有 {verb!r}：docker run [选项] 镜像 程序 [参数...]",
                f"of docker's verbs only run is here today, not {verb!r}: "
                "docker run [OPTIONS] IMAGE PROGRAM [ARG...]",
            )
        )


def _named(word: str, rest: list[str]) -> Iterator[tuple[str, str]]:
    """The options in one word such as -it, -eA=1 or --env=A=1; a value may be the next word.

    These are pflag's rules. Those of getopt_long(3), which labkit/unshare/options.py follows, share
    only the loop with them: there -eA=1 has the value "A=1" too, but -e=1 the value "=1", a switch
    has no value, and a long option may be shortened.
    """
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        yield name, value if equals else _value(name, rest)
        return
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        name = _SHORT.get(letter, letter)
        if name in _SWITCHES:
            value, letters = (letters[1:], "") if letters.startswith("=") else ("true", letters)
        elif letters:
            value, letters = letters.removeprefix("="), ""
        else:
            value = _value(name, rest)
        yield name, value


def _value(name: str, rest: list[str]) -> str:
    """The value of an option that has none in its own word."""
    if name in _SWITCHES:
        return "true"
    if name not in _OPTIONS:  # it will be refused
        return ""
    if not rest:
        raise Refused(Words(f"--{name} 后面缺一个值", f"--{name} needs an argument"))
    return rest.pop(0)


def _take(asked: _Asked, name: str, value: str) -> None:
    option = spelt(name)
    if name in _OPTIONS:
        _OPTIONS[name](asked, value)
    elif name in LATER:
        raise Refused(later(option, LATER[name]))
    elif name not in _SWITCHES:
        raise Refused(
            Words(f"docker run 没有 {option} 这个选项", f"docker run has no option {option}")
        )
    elif value in TRUE | FALSE:
        _SWITCHES[name](asked, value in TRUE)
    else:
        raise Refused(
            Words(f"{option} 只能是 true 或 false", f"{option} is true or false, not {value!r}")
        )


def spelt(name: str) -> str:
    """An option as docker's help writes it: -m, --memory."""
    letters = [letter for letter, option in _SHORT.items() if option == name]
    return ", ".join([*(f"-{each}" for each in letters), f"-{'-' * (len(name) > 1)}{name}"])


def _order(asked: _Asked, rest: Sequence[str]) -> Order:
    if not rest:
        raise Refused(
            Words(
                "缺镜像和程序，如 ubuntu /bin/bash", "no image and program, as in ubuntu /bin/bash"
            )
        )
    image, *argv = rest
    _check_image(image)
    if not argv:
        raise Refused(
            Words(
                f"{image} 眼下只是个名字，说不出默认运行什么："
                f"请在后面写上程序，如 {image} /bin/bash",
                f"{image} is only a name so far and cannot say what to run: write the program "
                f"after it, as in {image} /bin/bash",
            )
        )
    return Order(_box(asked, argv), image, asked.interactive, tuple(asked.security.said))


def _check_image(image: str) -> None:
    """Refuse what is neither a name nor an ID of an image, in Docker's words and ours."""
    if reference.is_id(image):
        return
    try:
        reference.parse(image)
    except ValueError as error:
        (why,) = words_of(error)
        raise Refused(
            Words(
                "{why}：{image!r}。镜像写在程序前面，如 ubuntu /bin/bash",
                "{why}: {image!r}. The image stands before the program, as in ubuntu /bin/bash",
            ).filled(why=why, image=image)
        ) from None


def _box(asked: _Asked, argv: Sequence[str]) -> Container:
    hostname = asked.hostname or None  # an empty name asks for the default, as with Docker
    if hostname is None and asked.flags & CLONE_NEWUTS:
        # As Docker: a container's short id, or the host's own name in the host's network.
        own = asked.flags & CLONE_NEWNET
        hostname = secrets.token_hex(6) if own else os.uname().nodename
    user = rights.user(asked.user, asked.groups) if asked.user or asked.groups else None
    capabilities, seccomp = _powers(asked)
    return Container(
        argv,
        cloneflags=asked.flags,
        hostname=hostname,
        proc=bool(asked.flags & CLONE_NEWPID),  # else this machine's own shows the same
        tty=asked.tty,
        env=_environment(asked, hostname, user[0] if user else os.getuid()),
        cwd=asked.cwd,
        user=user,
        capabilities=capabilities,
        no_new_privs=asked.security.no_new_privs,
        seccomp=seccomp,
        limits=limits.limits(asked.limited),
        root=_root(asked),
    )


def _root(asked: _Asked) -> Root | None:
    """A root of its own, where something is mounted in it or it is read-only.

    It has this machine's files, as long as there are no images. What is changed is in memory.
    """
    if not (asked.volumes or asked.tmpfs or asked.read_only):
        return None
    root = Root(
        layers=("/",),
        volumes=asked.volumes,
        tmpfs=asked.tmpfs,
        readonly=asked.read_only,
    )
    if asked.privileged or rights.PATHS in asked.security.said:
        return replace(root, masked=(), readonly_paths=())
    return root


def _environment(asked: _Asked, hostname: str | None, uid: int) -> dict[str, str]:
    """What Docker puts into it, and what --env adds."""
    env = {
        "PATH": DEFAULT_PATH,
        "HOSTNAME": hostname or os.uname().nodename,
        "HOME": rights.home(uid),
        "LANG": "C.UTF-8",  # not Docker's, whose containers take Chinese for bytes at first
    }
    return env | ({"TERM": "xterm"} if asked.tty else {}) | asked.env


def _powers(asked: _Asked) -> tuple[Collection[str] | None, str | Profile | None]:
    """The capabilities and the seccomp profile. --privileged: all, and a filter only if named."""
    named = asked.security.seccomp
    if asked.privileged:
        return None, None if named == "" else named
    return rights.kept(asked.cap_add, asked.cap_drop), "default" if named == "" else named
