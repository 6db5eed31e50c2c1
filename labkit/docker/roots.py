"""A container whose root is an image: a fresh upper layer, and what the image says of programs.

`finished` makes the container of an Order from an image's settings and its root, which
`images/writable.py` makes; `volumes_for` makes its volumes first. `ready` does all of it for a
container that goes when it ends. `rooted` is for a container that somebody has written down.
"""

import os
import stat
from _collections_abc import Iterator, Mapping, Sequence

from labkit.cgroups import group
from labkit.cgroups.limits import Limits
from labkit.container.contain import DEFAULT_PATH
from labkit.container.container import Container
from labkit.container.root import Root
from labkit.docker import described, limits, mounts, networks, order, rights, volumes
from labkit.docker.order import Order
from labkit.images.merged import find
from labkit.images.settings import environment
from labkit.images.store import Image, Store
from labkit.images.writable import Writable, writable
from labkit.linux.confinement import is_hosts_root, may
from labkit.linux.fields import replace
from labkit.linux.flags import CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET
from labkit.python import contextlib
from labkit.python.typing import Any
from labkit.text.words import Words

Json = Mapping[str, Any]
User = tuple[int, int, Sequence[int]]
_IPC = ("/dev/shm", "/dev/mqueue")  # noqa: S108 - where the host's IPC objects have names
# What Docker gives each container with a network of its own: ports below 1024 and ping for all.
_PORTS = {"net.ipv4.ip_unprivileged_port_start": "0"}
_PING = {"net.ipv4.ping_group_range": "0 2147483647"}  # not all of them are in a user namespace


def root_of(made: Writable) -> Root:
    """What the kernel is to mount for a container with this root."""
    if not made.upper:
        return Root(layers=made.layers)  # in memory, and gone with the container
    return Root(layers=made.layers, upper=made.upper, work=made.work)


def layers_of(made: Writable) -> tuple[str, ...]:
    """The directories that overlay merges to this root, the uppermost first."""
    return (made.upper, *made.layers) if made.upper else made.layers


# --- The container of an order ------------------------------------------------------------------


def mounted_in(asked: Order, settings: Json) -> list[mounts.Mounted]:
    """All that is mounted in the container: what was asked for, and the image's volumes."""
    config = asked.config_in(settings)
    return mounts.with_image(asked.mounted, config["Volumes"])


def volumes_for(asked: Order, settings: Json, made: Writable) -> dict[str, str]:
    """The name of the volume at each place in the container: made and filled, where it is new."""
    return volumes.prepared(mounted_in(asked, settings), layers_of(made))


def finished(asked: Order, settings: Json, made: Writable, kept: Mapping[str, str]) -> Container:
    """The container that `asked` means in an image with these settings, with this root.

    kept: the volumes, from `volumes_for`. Without CAP_SYS_ADMIN the container is root of a user
    namespace.
    """
    options, config, layers = asked.options, asked.config_in(settings), layers_of(made)
    hostname = order.hostname_of(options, made.short_id)
    user = _user_of(config, options.groups, layers)
    home = rights.home(user[0] if user else 0, users_in(layers))
    env = order.standard_environment(options, hostname, home)
    mounted = mounted_in(asked, settings)
    return Container(
        _program(config),
        proc=True,
        env=env | environment(config),
        cwd=config["WorkingDir"] or "/",
        user=user,
        rootless=not has_power(),
        root=_root(asked, made, mounted, kept, config["WorkingDir"]),
        limits=_limits(asked),
        network=_network(asked, config),
        **_walls(asked, hostname),
    )


def has_power() -> bool:
    """Whether this process may make namespaces without a user namespace."""
    return may("CAP_SYS_ADMIN")


def _program(config: Mapping[str, Any]) -> tuple[str, ...]:
    argv = described.program(config)
    if not argv:
        raise ValueError(
            Words(
                "镜像没有说运行什么，命令行也没有说",
                "no command specified, nor does the image have one",
            )
        )
    return argv


def _user_of(
    config: Mapping[str, Any], groups: Sequence[str], layers: Sequence[str]
) -> User | None:
    if not config["User"] and not groups and not has_power():
        return None
    # As with Docker, root is in the group of root too.
    return rights.user(config["User"], groups, users_in(layers))


def _root(
    asked: Order,
    made: Writable,
    mounted: Sequence[mounts.Mounted],
    places: Mapping[str, str],
    cwd: str,
) -> Root:
    """The root of `made`, and all that is mounted in it."""
    options = asked.options
    data = {target: volumes.data(name) for target, name in places.items()}
    own = options.flags & CLONE_NEWIPC or "ipc" in options.joined
    ipc = [] if own else [each for each in _IPC if os.path.isdir(each)]
    devices = limits.every_device() if options.privileged else ()
    root = replace(
        root_of(made),
        volumes=[*mounts.binds(mounted, data), *((each, each, False) for each in ipc)],
        tmpfs=[*mounts.memories(mounted)],
        readonly=options.read_only,
        cgroups=_has_groups(asked),
        shm_size=options.shm_size or None,
        devices=[(each.path, each.inside) for each in (*devices, *_devices(asked))],
        directories=[cwd] if cwd.strip("/") else [],
    )
    return replace(root, masked=(), readonly_paths=()) if order.shows_all(options) else root


def _devices(asked: Order) -> Iterator[limits.Device]:
    for each in asked.options.devices:
        if asked.options.privileged:
            return  # they are among all
        yield from limits.nodes(each)


def _limits(asked: Order) -> Limits | None:
    """Its limits. Without --privileged, only the usual devices may be used, as with Docker."""
    options = asked.options
    devices = [node for each in options.devices for node in limits.nodes(each)]
    said = limits.limits(options.limited, devices)
    if not has_power() or not can_limit():
        return said
    if said is None or said.devices is None:
        rest = said.fields_on() if said else {}
        said = Limits(**rest, devices=None if options.privileged else ())
    return said


def can_limit() -> bool:
    """Whether a control group can be made here."""
    trees = group.trees()
    version = group.version_of(trees)
    paths = [
        tree.path
        for tree in trees
        if tree.version == version and (version == 2 or "devices" in tree.controllers)
    ]
    return any(os.access(path, os.W_OK, effective_ids=True) for path in paths)


def _has_groups(asked: Order) -> bool:
    """Whether it has control groups of its own, and sees no others."""
    return has_power() and can_limit() and asked.options.cgroupns != "host"


def _network(asked: Order, config: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a Network or None
    options = asked.options
    published = {port.partition("/")[0] for port in described.published(options)}
    more = [
        port
        for port in config["ExposedPorts"]
        if options.publish_all
        and port.partition("/")[0] not in published
        and not port.endswith("/sctp")
    ]
    otherwise = "bridge" if has_power() or more else ""
    return networks.network(options.connected, otherwise, more)


def _walls(asked: Order, hostname: str | None) -> dict[str, Any]:
    """The walls, and what of them depends on this machine.

    Docker's own sysctls are there where the network is the container's. Where no control group can
    keep it from the devices, it may make none, unless it was asked for.
    """
    options, found = asked.options, order.walls(asked.options, hostname)
    if not has_power():
        return found
    if _has_groups(asked):
        found["cloneflags"] |= CLONE_NEWCGROUP
    if options.flags & CLONE_NEWNET:
        opened = _PORTS | _PING if is_hosts_root() else _PORTS
        found["sysctls"] = {**opened, **(found["sysctls"] or {})}
    if found["capabilities"] and not can_limit() and not options.cap_add:
        found["capabilities"] = [name for name in found["capabilities"] if name != "CAP_MKNOD"]
    return found


@contextlib.contextmanager
def ready(asked: Order, found: tuple[Store, Image] | None) -> Iterator[tuple[Container, Writable]]:
    """The container of an order in a fresh root, as long as the block lasts; and that root.

    found: the image and its store; None: this machine's own root, changed in memory alone. Volumes
    without a name go with it.
    """
    with contextlib.ExitStack() as stack:
        if found is None:
            from labkit.images import base  # which needs what reads archives

            identity = os.urandom(32).hex()
            settings, made = base.HOST, Writable(identity, "host", ("/",), "", "")
        else:
            store, image = found
            settings, made = image.settings, stack.enter_context(writable(store, image))
        kept = volumes_for(asked, settings, made)
        named = {each.source for each in asked.mounted}
        for name in {*kept.values()} - named:
            stack.callback(volumes.remove, name)
        yield finished(asked, settings, made, kept), made


# --- A container that somebody has written down -------------------------------------------------


@contextlib.contextmanager
def rooted(
    store: Store, text: str, box: Container, argv: Sequence[str] = ()
) -> Iterator[tuple[Container, Writable]]:
    """`box` in a fresh root of the image `text`, as long as the block lasts; and that root.

    argv: the program; without one it is the image's own. The image also gives the environment, the
    working directory and the user, where `box` does not.
    """
    image = store.find(text)
    with writable(store, image) as made:
        layers = layers_of(made)
        user = box.user or _user_of({"User": image.settings.get("User") or ""}, (), layers)
        home = rights.home(user[0] if user else 0, users_in(layers))
        env, cwd = _env(image, home, box), box.cwd or str(image.settings.get("WorkingDir") or "/")
        argv = program(image, argv)
        yield replace(box, argv=argv, root=root_of(made), env=env, user=user, cwd=cwd), made


def program(image: Image, argv: Sequence[str]) -> tuple[str, ...]:
    """What is run: the image's entry point, and `argv` or else the image's command after it."""
    settings = image.settings
    return _program({**settings, **({"Cmd": [*argv]} if argv else {})})


def _env(image: Image, home: str, box: Container) -> dict[str, str]:
    """The environment: Docker's, what the image adds, and what `box` has."""
    env = {"PATH": DEFAULT_PATH, "HOME": home}
    env |= {"LANG": "C.UTF-8", "HOSTNAME": box.hostname or os.uname().nodename}
    env |= {name: os.environ[name] for name in ("TERM",) if name in os.environ}
    env |= environment(image.settings)
    return {**env, **(box.env or {})}


def users_in(layers: Sequence[str]) -> dict[str, str]:
    """The files passwd and group that the container sees; no link leads out of its root."""
    found = {}
    for name, path in rights.HERE.items():
        node = find(layers, path)
        if node and stat.S_ISREG(node.stat.st_mode):
            found[name] = node.path
    return found
