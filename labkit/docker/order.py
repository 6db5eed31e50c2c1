"""``docker run ...`` read as docker reads it: an Order, which says all that was asked for.

Where is what
    `grammar.py` splits the command line as pflag does. `options.py` has the options, `values.py`,
    `mounts.py`, `limits.py`, `networks.py` and `rights.py` read their values, `absent.py` says
    what is not here. `described.py` is the order in the shape that docker inspect shows.
    From an Order and an image `roots.py` makes the container: its function `finished`.

Options stand before the image, and what follows it is the program's.
"""

import os
from _collections_abc import Callable, Collection, Mapping, Sequence

from labkit.container.checks import JOINED
from labkit.container.contain import DEFAULT_PATH
from labkit.container.container import Container
from labkit.container.root import Root
from labkit.docker import described, limits, mounts, networks, options, rights, values
from labkit.docker.absent import Refused, TooFew
from labkit.docker.grammar import HelpAsked
from labkit.docker.mounts import Mounted
from labkit.docker.options import Asked, Joined
from labkit.docker.values import Restart
from labkit.images import reference
from labkit.linux.fields import dataclass, field, replace
from labkit.linux.flags import CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWUTS
from labkit.linux.seccomp_profile import Profile
from labkit.python import functools
from labkit.python.typing import Any, NamedTuple, NoReturn
from labkit.text.words import Words, add_words, words_of

_EXAMPLE = Words(
    "镜像写在程序前面，如 docker run ubuntu /bin/bash",
    "The image stands before the program, as in docker run ubuntu /bin/bash",
)
_HELP = ("--help", "help")
_VERBS = ("run", "create")
_SHELL = "/bin/sh"
DOMAIN_NAME = "kernel.domainname"  # the sysctl


@dataclass(frozen=True)
class Order:
    """What a ``docker run`` or ``docker create`` asks for.

    `roots.py:finished` makes the container from it and an image. `box` is the container without
    one, on this machine's own files.

    image: its name or ID, as it was written. argv: the words after it; () leaves the program to
    the image. name: "" for one that is still to be found. detach: -d. interactive: -i. remove:
    --rm. restart, cidfile, pull, platform, quiet, attach, detach_keys, sig_proxy, stop_signal,
    stop_timeout, log_driver, log_options: as the option of that name; "" or None where there was
    none. mounted: the volumes and file systems in memory.

    config: Docker's Config of the command line alone; `config_in` adds an image's. host_config:
    Docker's HostConfig. options: all options as they were read.

    absent: what is not as with Docker because labkit does not have it, though it was asked for.
    """

    image: str
    argv: tuple[str, ...]
    options: Asked
    name: str = ""
    detach: bool = False
    interactive: bool = False
    remove: bool = False
    quiet: bool = False
    sig_proxy: bool = True
    restart: Restart = field(default_factory=Restart)
    cidfile: str = ""
    pull: str = "missing"
    platform: str = ""
    stop_signal: str = ""
    stop_timeout: int | None = None
    attach: Sequence[str] = ()
    detach_keys: str = ""
    log_driver: str = "json-file"
    log_options: Mapping[str, str] = field(default_factory=dict)
    mounted: Sequence[Mounted] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    host_config: Mapping[str, Any] = field(default_factory=dict)
    absent: tuple[Words, ...] = ()

    @property
    def tty(self) -> bool:
        """Whether the container has a terminal: -t."""
        return self.options.tty

    @functools.cached_property
    def box(self) -> Container:
        """The container on this machine's own files, as the lessons before V0.7 run it."""
        return _box(self.options, self.argv)

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of --label and --label-file."""
        found: Mapping[str, str] = self.config["Labels"]
        return found

    @property
    def health(self) -> Mapping[str, Any] | None:
        """Docker's Healthcheck of the command line: Test, Interval and so on; None: not asked."""
        return self.config.get("Healthcheck")

    @property
    def asked(self) -> Mapping[str, Any]:
        """The command line in the shape that docker inspect shows."""
        return {"Config": self.config, "HostConfig": self.host_config}

    def config_in(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Docker's Config of a container of this order, in an image with these settings."""
        return described.merged(self.config, settings)

    def asked_in(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same of a container in such an image."""
        return {"Config": self.config_in(settings), "HostConfig": self.host_config}

    @property
    def notes(self) -> tuple[Words, ...]:
        """What is not as with Docker when `box` is run, to be said beside the output."""
        image = Words(
            f"{self.image} 眼下只是个名字：程序用的是这台机器的文件；"
            "要用镜像，见 labkit v0.7 run。",
            f"{self.image} is only a name so far: the program has this machine's files; "
            "labkit v0.7 run takes an image.",
        )
        return (image, *self.absent)


_SAME = (
    *("name", "detach", "interactive", "remove", "quiet", "sig_proxy", "restart", "cidfile"),
    *("pull", "platform", "stop_signal", "stop_timeout", "attach", "detach_keys", "log_driver"),
    *("log_options",),
)


def _nobody(name: str) -> NoReturn:
    raise Refused(Words(f"没有这个容器：{name}", f"No such container: {name}"))


class Others(NamedTuple):
    """Other containers, by their names.

    joined: one whose namespaces are shared, for --network container:NAME. mounts_of: what is
    mounted in one, for --volumes-from.
    """

    joined: Callable[[str], Joined] = _nobody
    mounts_of: Callable[[str], Sequence[Mounted]] = _nobody


def parse(words: Sequence[str], others: Others = Others()) -> Order:  # noqa: B008 - a constant
    """Read the words after ``docker``. Raises HelpAsked, Refused, or what Container raises."""
    _check_verb(words[0] if words else "--help")
    rest = list(words[1:])
    asked = options.read(rest)
    _check_conflicts(asked)
    if not rest:
        raise _nothing_to_run(words[0])
    image, *argv = rest
    _check_image(image)
    _join(asked, others)
    for name in asked.volumes_from:
        asked.mounts += _taken_over(name, others, asked.mounts)
    _check(asked)
    return Order(
        image,
        (*argv,),
        asked,
        **{name: getattr(asked, name) for name in _SAME},
        mounted=tuple(asked.mounts),
        config=described.config(asked, image, argv),
        host_config=described.host_config(asked),
        absent=tuple(asked.security.said),
    )


def _join(asked: Asked, others: Others) -> None:
    """Find the containers whose namespaces are shared."""
    wanted = {"network": networks.joined(asked.connected), **asked.joins}
    for kind, name in wanted.items():
        if name and not (kind == "network" and name.isdecimal()):
            asked.joined[kind] = others.joined(name)
    if found := asked.joined.get("network"):
        networks.enter(asked.connected, found.pid)


def _taken_over(text: str, others: Others, own: Sequence[Mounted]) -> list[Mounted]:
    """What --volumes-from NAME[:ro] takes over: what covers nothing of the container's own."""
    name, _, mode = text.partition(":")
    if mode not in ("", "ro", "rw"):
        raise Refused(Words(f"--volumes-from：没有 {mode} 这种方式", f"invalid mode: {mode}"))
    taken = {each.target for each in own}
    found = [
        each for each in others.mounts_of(name) if each.kind != "tmpfs" and each.target not in taken
    ]
    return [each._replace(readonly=each.readonly or mode == "ro") for each in found]


def _nothing_to_run(verb: str) -> TooFew:
    error = TooFew(
        Words(
            f"docker {verb} 至少要有一个参数：镜像",
            f"'docker {verb}' requires at least 1 argument",
        )
    )
    add_words(error, _EXAMPLE)
    return error


def _check_verb(verb: str) -> None:
    if verb in _HELP:
        raise HelpAsked
    if verb not in _VERBS:
        raise Refused(
            Words(
                f"这里只有 run 和 create，没有 {verb!r}：docker run [选项] 镜像 [程序] [参数...]",
                f"only run and create are here, not {verb!r}: "
                "docker run [OPTIONS] IMAGE [PROGRAM] [ARG...]",
            )
        )


def _check_conflicts(asked: Asked) -> None:
    """Refuse options that exclude each other, in Docker's words."""
    if asked.remove and asked.restart.policy != "no":
        raise _conflict("--restart", "--rm")
    if asked.hostname and not asked.flags & CLONE_NEWUTS:
        en = "conflicting options: hostname and the UTS mode"
        raise Refused(Words("--uts host 用的是宿主机的名字，不能再有 --hostname", en))
    if asked.detach and asked.attach:
        raise _conflict("--attach", "--detach")
    if networks.joined(asked.connected):
        own = [("--hostname", "hostname and the network mode")] * bool(asked.hostname)
        exposed = asked.publish_all or asked.expose
        ports = [("--expose", "port exposing and the container type network mode")] * bool(exposed)
        for option, told in (*own, *networks.conflicts(asked.connected), *ports):
            raise Refused(
                Words(
                    f"在别的容器的网络里，{option} 由那个容器定",
                    f"conflicting options: {told}",
                )
            )
    mounts.check(asked.mounts)
    values.log_bounds(asked.log_driver, asked.log_options)


def _conflict(one: str, other: str) -> Refused:
    return Refused(
        Words(
            f"{one} 和 {other} 不能一起用",
            f"conflicting options: cannot specify both {one} and {other}",
        )
    )


def _check_image(image: str) -> None:
    """Refuse what is neither a name nor an ID of an image, in Docker's words and ours."""
    if reference.is_id(image):
        return
    try:
        reference.parse(image)
    except ValueError as error:
        refused = Refused(*words_of(error))
        add_words(refused, _EXAMPLE)
        raise refused from None


def _check(asked: Asked) -> None:
    """Refuse what no container could be, whatever its image."""
    Container(
        ("true",),
        limits=limits.limits(asked.limited, asked.devices),
        network=networks.network(asked.connected, "bridge"),
        **walls(asked, asked.hostname or None),
    )
    networks.further(asked.connected)


# --- The container without an image -------------------------------------------------------------


def _box(asked: Asked, argv: Sequence[str]) -> Container:
    hostname = hostname_of(asked, os.urandom(6).hex())
    user = rights.user(asked.user, asked.groups) if asked.user or asked.groups else None
    uid = user[0] if user else os.getuid()
    return Container(
        [*filter(None, [asked.entrypoint]), *argv] or [_SHELL],
        proc=bool(asked.flags & CLONE_NEWPID),  # else this machine's own shows the same
        cwd=asked.cwd or "/",
        env=standard_environment(asked, hostname, rights.home(uid))
        | values.environment(asked.env, asked.env_files),
        user=user,
        limits=limits.limits(asked.limited, asked.devices),
        network=networks.network(asked.connected),
        root=_root(asked),
        **walls(asked, hostname),
    )


def walls(asked: Asked, hostname: str | None) -> dict[str, Any]:
    """The fields of a container that do not depend on its image."""
    capabilities, seccomp = _powers(asked)
    own = {DOMAIN_NAME: asked.domainname} if asked.domainname else {}
    return {
        "cloneflags": asked.flags,
        "hostname": hostname,
        "tty": asked.tty,
        "capabilities": capabilities,
        "seccomp": seccomp,
        "no_new_privs": asked.security.no_new_privs,
        "rlimits": asked.rlimits or None,
        "sysctls": {**asked.sysctls, **own} or None,
        "init": asked.init and bool(asked.flags & CLONE_NEWPID),  # else there is a PID 1 already
        "oom_score_adj": asked.oom_score_adj,
        "joins": {kind: of.pid for kind, of in asked.joined.items() if kind in JOINED} or None,
    }


def hostname_of(asked: Asked, own: str) -> str | None:
    """The host name: an empty one asks for the default, as with Docker. own: the container's ID.

    In the host's network the default is the host's own name. None: it has no name of its own.
    """
    if asked.hostname or not asked.flags & CLONE_NEWUTS:
        return asked.hostname or None
    if "network" in asked.joined:
        return asked.joined["network"].hostname or None
    return own if asked.flags & CLONE_NEWNET else os.uname().nodename


def standard_environment(asked: Asked, hostname: str | None, home: str) -> dict[str, str]:
    """What Docker puts into each environment."""
    env = {
        "PATH": DEFAULT_PATH,
        "HOSTNAME": hostname or os.uname().nodename,
        "HOME": home,
        "LANG": "C.UTF-8",  # not Docker's, whose containers take Chinese for bytes at first
    }
    return env | ({"TERM": "xterm"} if asked.tty else {})


def _powers(asked: Asked) -> tuple[Collection[str] | None, str | Profile | None]:
    """The capabilities and the seccomp profile. --privileged: all, and a filter only if named."""
    named = asked.security.seccomp
    if asked.privileged:
        return None, None if named == "" else named
    return rights.kept(asked.cap_add, asked.cap_drop), "default" if named == "" else named


def shows_all(asked: Asked) -> bool:
    """Whether no path of /proc and /sys is masked or read-only."""
    return asked.privileged or rights.PATHS in asked.security.said


def _root(asked: Asked) -> Root | None:
    """A root of its own, where something is mounted in it or it is read-only.

    It has this machine's files. What is changed is in memory. A volume that labkit keeps needs an
    image: `roots.py` mounts it.
    """
    if any(each.inside != each.path for each in asked.devices):
        raise Refused(
            Words(
                "--device：还没有自己的根目录，里外只能是同一个路径",
                "--device: with no root directory of its own, the path inside is the same",
            )
        )
    if not (asked.mounts or asked.read_only or asked.shm_size):
        return None
    bound = [each for each in asked.mounts if each.kind != "volume"]
    root = Root(
        layers=("/",),
        volumes=[*mounts.binds(bound, {})],
        tmpfs=[*mounts.memories(bound)],
        readonly=asked.read_only,
        shm_size=asked.shm_size or None,
        devices=[(each.path, each.inside) for each in asked.devices],
    )
    return replace(root, masked=(), readonly_paths=()) if shows_all(asked) else root
