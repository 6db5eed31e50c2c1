"""docker network: networks listed, inspected and removed; containers connected to them.

Words and shapes are those of Docker's Engine 26, which has answered the exam.
"""

import os
from _collections_abc import Callable, Iterator, Mapping, Sequence

from labkit.docker import networks
from labkit.docker.order import Order
from labkit.linux.fields import dataclass, replace
from labkit.monitor import connecting, names
from labkit.monitor import networks as connections
from labkit.monitor.networks import HOUSE
from labkit.monitor.record import Record
from labkit.monitor.status import NEVER
from labkit.network import defined, endpoint
from labkit.network.bridge import Bridge, await_end, state
from labkit.network.defined import Defined
from labkit.network.network import Network, identity
from labkit.python.typing import Any
from labkit.state import held
from labkit.text.words import Words

_SHORT = 12  # digits of an ID that Docker shows
_DRIVERS = {"host": "host", "none": "null"}
_HEADS = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}
_COLUMNS = ["ID", "Name", "Driver", "Scope"]


_NOT_THE_HOST = Words(
    "宿主机的网络，进不去，也出不来",
    "container cannot be disconnected from host network or connected to host network",
)


@dataclass(frozen=True)
class Known:
    """A network as it can be named. created: None for one that is there without that."""

    name: str
    id: str
    created: Defined | None = None

    @property
    def driver(self) -> str:
        """Docker's name of its kind."""
        return _DRIVERS.get(self.name, "bridge")

    @property
    def facts(self) -> dict[str, Any]:
        """What its bridge was made with, as long as there is one."""
        return Bridge(os.path.join(state(), self.name)).facts


def every() -> list[Known]:
    """All networks: those of the house, those that were created, and any that is up besides."""
    found = {name: Known(name, identity(name)) for name in (*HOUSE, *held.names(state()))}
    found |= {each.name: Known(each.name, each.id, each) for each in defined.every()}
    return [found[name] for name in sorted(found)]


def find(text: str) -> Known:
    """The network of a name or of an ID, which may be shortened."""
    known = every()
    for matches in (
        [each for each in known if text in (each.name, each.id)],
        [each for each in known if text and each.id.startswith(text)],
    ):
        if len(matches) > 1:
            en = f"network {text} is ambiguous ({len(matches)} matches found based on ID prefix)"
            raise ValueError(Words(f"有几个网络的 ID 以 {text} 开头", en))
        if matches:
            return matches[0]
    raise ValueError(Words(f"没有网络 {text}", f"network {text} not found"))


# --- ls -----------------------------------------------------------------------------------------


def ls(
    *, quiet: bool = False, no_trunc: bool = False, form: str = "", filters: Sequence[str] = ()
) -> str:
    """What docker network ls prints."""
    chosen = chosen_by(filters)
    rows = [_row(each, no_trunc=no_trunc) for each in chosen]
    if quiet and not form:
        return "".join(f"{row['ID']}\n" for row in rows)
    from labkit.docker import templates  # who only checks an order does without

    return templates.listed(rows, _HEADS, form, _COLUMNS)


def chosen_by(filters: Sequence[str]) -> list[Known]:
    """The networks that pass all filters; of several values of one filter, one is enough."""
    wanted: dict[str, list[str]] = {}
    for each in filters:
        name, _, value = each.partition("=")
        if name not in _FILTERS:
            raise ValueError(Words(f"不认得的过滤条件：{each!r}", f"invalid filter '{name}'"))
        if value not in _VALUES.get(name, (value,)):
            en = f"invalid filter '{name}={value}'"
            raise ValueError(Words(f"{name} 不能是 {value!r}", en))
        wanted.setdefault(name, []).append(value)
    return [
        known
        for known in every()
        if all(any(_FILTERS[n](known, v) for v in values) for n, values in wanted.items())
    ]


def _has_label(known: Known, text: str) -> bool:
    name, equals, value = text.partition("=")
    labels = known.created.labels if known.created else {}
    return name in labels and (not equals or labels[name] == value)


def _dangles(known: Known) -> bool:
    """Whether it was created, and no container is on it."""
    return known.name not in HOUSE and not on(known)


_VALUES: Mapping[str, tuple[str, ...]] = {
    "type": ("builtin", "custom"),
    "dangling": ("true", "false", "1", "0"),
}
_FILTERS: Mapping[str, Callable[[Known, str], bool]] = {
    "name": lambda known, text: text in known.name,
    "id": lambda known, text: text in known.id,
    "driver": lambda known, text: known.driver == text,
    "scope": lambda _, text: text == "local",
    "type": lambda known, text: (known.name in HOUSE) == (text == "builtin"),
    "label": _has_label,
    "dangling": lambda known, text: _dangles(known) == (text in ("true", "1")),
}


def _row(known: Known, *, no_trunc: bool) -> dict[str, str]:
    created = known.created
    from labkit.docker import units

    time = units.moment(created.created) if created else None
    return {
        "ID": known.id if no_trunc else known.id[:_SHORT],
        "Name": known.name,
        "Driver": known.driver,
        "Scope": "local",
        "IPv6": _truth(bool(created and created.ipv6)),
        "Internal": _truth(bool(created and created.internal)),
        "Labels": ",".join(f"{k}={v}" for k, v in (created.labels if created else {}).items()),
        "CreatedAt": time.astimezone().strftime("%Y-%m-%d %H:%M:%S %z %Z") if time else "",
    }


def _truth(value: bool) -> str:
    return str(value).lower()


# --- inspect ------------------------------------------------------------------------------------


def on(known: Known) -> list[dict[str, Any]]:
    """What is known of the containers on a network; what the dead have left is removed first."""
    endpoint.tidy(Network(known.name))
    return endpoint.on_network(known.name)


def inspect(text: str) -> dict[str, Any]:
    """What docker network inspect tells of a network."""
    known = find(text)
    created, is_bridge = known.created, known.driver == "bridge"
    pools = [*_pools(known)] if is_bridge else None
    return {
        "Name": known.name,
        "Id": known.id,
        "Created": created.created if created else NEVER,
        "Scope": "local",
        "Driver": known.driver,
        "EnableIPv6": bool(created and created.ipv6),
        "IPAM": {"Driver": "default", "Options": {} if created else None, "Config": pools},
        "Internal": bool(created and created.internal),
        "Attachable": bool(created and created.attachable),
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": dict(_containers(known)) if is_bridge else {},
        "Options": dict(created.options) if created else {},
        "Labels": dict(created.labels) if created else {},
    }


def _pools(known: Known) -> Iterator[dict[str, Any]]:
    """Its subnets, as they were asked for, or as they are."""
    from labkit.docker.new_network import is_in

    about: Mapping[str, Any] = vars(known.created) if known.created else known.facts
    for subnet, gateway, within in (
        ("subnet", "gateway", "ip_range"),
        ("ipv6", "gateway6", "ip_range6"),
    ):
        if about.get(subnet):
            told = {"Subnet": about[subnet], "IPRange": about.get(within, "")}
            told["Gateway"] = about[gateway]
            reserved = about["reserved"] if known.created else {}
            mine = {name: at for name, at in reserved.items() if is_in(at, about[subnet])}
            yield {k: v for k, v in told.items() if v} | (
                {"AuxiliaryAddresses": mine} if mine else {}
            )


def _containers(known: Known) -> Iterator[tuple[str, dict[str, str]]]:
    index = names.index()
    for each in on(known):
        told = [f"{a}/{p}" for a, p in zip(each["addresses"], each["prefixes"], strict=False)]
        four, six = (*told, "", "")[:2]
        about = {
            "Name": index.get(each["container"]) or next(iter(each["names"]), ""),
            "EndpointID": endpoint.identity_of(each),
            "MacAddress": each.get("mac", ""),
            "IPv4Address": four,
            "IPv6Address": six,
        }
        yield each["container"] or f"ep-{about['EndpointID']}", about


# --- rm, prune ----------------------------------------------------------------------------------


def remove(text: str) -> None:
    """Remove a network that was created, unless a container is on it."""
    known = find(text)
    if known.name in HOUSE:
        en = f"{known.name} is a pre-defined network and cannot be removed"
        raise ValueError(Words(f"网络 {known.name} 本来就有，不能删除", en))
    bridge = Bridge(os.path.join(state(), known.name))
    with defined.alone(), bridge.locked():
        if endpoint.on_network(known.name) and _in_use(known):
            en = f"error while removing network: network {known.name} id {known.id} has active "
            raise ValueError(Words(f"网络 {known.name} 里还有容器", f"{en}endpoints"))
        defined.drop(known.name)
    await_end(bridge.path)


def _in_use(known: Known) -> bool:
    return any(held.is_held(path) for path in endpoint.places(known.name))


def prune(filters: Sequence[str] = ()) -> list[str]:
    """Remove the networks that were created and that no container is on. Their names."""
    gone = []
    for known in chosen_by(filters):
        if known.created and not on(known):
            remove(known.name)
            gone.append(known.name)
    return gone


# --- Containers ---------------------------------------------------------------------------------


def check_asked(asked: Order) -> None:
    """Refuse a network that a docker run cannot have, in Docker's words; its name is put in."""
    connected = asked.options.connected
    first = networks.name(connected)
    others = networks.further(connected)
    for each in others:
        if each.name in HOUSE or first in HOUSE:
            raise ValueError(
                Words(
                    "bridge、host 和 none 不能和别的网络一起用",
                    "conflicting options: cannot attach both user-defined and non-user-defined "
                    "network-modes",
                )
            )
        _check_endpoint(each)
    if networks.joined(connected) or first in ("host", "none"):
        return
    network = networks.network(connected, "bridge")
    if network is not None:
        _check_endpoint(network)
    if first:
        networks.rename(connected, lambda text: find(text).name)


def _check_endpoint(network: Network) -> None:
    """Refuse a network that is not there, and what a container cannot have on it."""
    known = find(network.name)
    if known.name == "bridge" and network.aliases:
        en = "network-scoped aliases are only supported for user-defined networks"
        raise ValueError(Words("--network-alias 要有自己建的网络", en))
    if network.address or network.address6:
        _check_address(known, network)


def _check_address(known: Known, network: Network) -> None:
    beginning = f"invalid config for network {known.name}: invalid endpoint settings:\n"
    if known.name == "bridge":
        en = "user specified IP address is supported on user defined networks only"
        raise ValueError(Words("--ip 要有自己建的网络", beginning + en))
    if known.created and not known.created.chosen and network.address:
        raise ValueError(
            Words(
                f"网络 {known.name} 建的时候没有写 --subnet，不能指定地址",
                f"{beginning}user specified IP address is supported only when connecting to "
                "networks with user configured subnets",
            )
        )


def connect(text: str, record: Record, **fields: Any) -> None:  # noqa: ANN401 - of a Network
    """Connect a container with a network. fields: of its Network."""
    known = find(text)
    for name in (known.name, connections.mode(record)):
        _check_connectable(name)
    network = Network(known.name, **fields)
    _check_endpoint(network)
    names_ = dict.fromkeys((*network.aliases, record.name))
    connecting.connect(record, replace(network, aliases=tuple(names_)))


def _check_connectable(name: str) -> None:
    """Refuse a network that has no bridge, or a container on such a one."""
    told = None
    if name == "host":
        told = _NOT_THE_HOST
    elif name == "none":
        told = Words(
            "没有网络（none）的容器，不能再连别的网络",
            "container cannot be connected to multiple networks with one of the networks in "
            "private (none) mode",
        )
    elif name.startswith("container:"):
        told = Words(
            "和别人共用网络的容器，不能再连别的网络",
            "container sharing network namespace with another container or host cannot be "
            "connected to any other network",
        )
    if told:
        raise ValueError(told)


def disconnect(text: str, record: Record) -> None:
    """Disconnect a container from a network."""
    known = find(text)
    if known.name == "host":
        raise ValueError(_NOT_THE_HOST)
    connecting.disconnect(record, known.name)
