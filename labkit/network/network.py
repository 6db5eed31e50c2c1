"""A network as a value: which one a container is on, and what is published of it; checked."""

from _collections_abc import Collection, Iterator, Mapping

from labkit.linux.fields import KW_ONLY, dataclass, fields
from labkit.python import re
from labkit.python.typing import Any, Protocol, Self, cast
from labkit.text.letters import is_name
from labkit.text.words import Words

JOINS = "container:"
_LONGEST = 128  # characters of a name, which Docker does not bound
_IN_A_LINK = re.compile(r"[a-z][a-z0-9]{0,11}")  # 15 bytes at most, and "lk-" stands before
HOST_GATEWAY = "host-gateway"
"""In a line for /etc/hosts, the address at which a container reaches this machine."""
_PORTS = re.compile(r"(\d+)(?:-(\d+))?")
_PUBLISHED = re.compile(
    r"(?:(?:(?P<address>\[[^]]*\]|[^:]*):)?(?P<host>[^:]*):)?(?P<inside>[^:/]+)(?:/(?P<kind>.+))?"
)
_MAC = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}", re.IGNORECASE)  # not a group's
_LAST_PORT = 65535


class HasPid(Protocol):
    """What has a process, such as a container that runs."""

    pid: int


@dataclass(frozen=True)
class Port:
    """One published port: what comes to `host` at `address` goes to `inside` of the container.

    address: "" for all of this machine's. host: 0 for one that is free. kind: "tcp" or "udp".
    """

    address: str
    host: int
    inside: int
    kind: str

    def __str__(self) -> str:
        at = f"[{self.address}]" if ":" in self.address else self.address or "0.0.0.0"  # noqa: S104
        return f"{at}:{self.host}->{self.inside}/{self.kind}"


@dataclass(frozen=True, repr=False)
class Network:
    """The network of a container.

    name: "bridge", the network that is there at first; "none", only a loopback of its own; "host",
    this machine's; "container:PID", that of another container; any other name is a network of its
    own, made when its first container comes.

    subnet, gateway: of the bridge, such as "10.88.0.0/24" ("": one that is free). ipv6: a subnet
    besides, such as "fd00:88::/64" ("": none). mtu: of its links. They are those of the network
    that is there already, if there is one.

    address, address6, mac: of the container ("": one that is free). publish: ports of the container
    that this machine answers on, as docker run -p has them: "8080:80", "127.0.0.1:8080:80/tcp",
    "53:53/udp", "8000-8003:80-83". aliases: its names, besides its host name. dns: who is asked for
    the names that this network does not know. dns_search, dns_options: more for
    /etc/resolv.conf. hosts: lines for /etc/hosts, as "db:10.0.0.7"; "host-gateway" is the address
    of this machine.
    """

    name: str = "bridge"
    _: KW_ONLY
    subnet: str = ""
    gateway: str = ""
    ipv6: str = ""
    mtu: int | None = None
    address: str = ""
    address6: str = ""
    mac: str = ""
    publish: Collection[str] = ()
    aliases: Collection[str] = ()
    dns: Collection[str] = ()
    dns_search: Collection[str] = ()
    dns_options: Collection[str] = ()
    hosts: Collection[str] = ()

    def __post_init__(self) -> None:
        for name in ("publish", "aliases", "dns", "dns_search", "dns_options", "hosts"):
            object.__setattr__(self, name, _texts(name, getattr(self, name)))
        _check_name(self.name)
        on = [name for name in self.fields_on() if name != "name"]
        if on and not self.is_bridge:
            raise ValueError(
                Words(
                    f"网络 {self.name} 没有自己的网桥，用不上 {on[0]}",
                    f"network {self.name} has no bridge of its own: {on[0]} means nothing there",
                )
            )
        if on:
            _check_addresses(self)
            list(self.ports())

    @property
    def is_bridge(self) -> bool:
        """Whether its containers have addresses on a bridge."""
        return self.name not in ("none", "host") and not self.joins

    @property
    def joins(self) -> int:
        """The process whose network it is; 0: none."""
        return int(self.name.removeprefix(JOINS)) if self.name.startswith(JOINS) else 0

    @property
    def link(self) -> str:
        """The bridge's name among the links of this machine."""
        if self.name == "bridge":
            return "labkit0"
        fits = _IN_A_LINK.fullmatch(self.name)
        return f"lk-{self.name if fits else identity(self.name)[:12]}"

    def ports(self) -> Iterator[Port]:
        """The published ports, one by one."""
        for text in self.publish:
            yield from _ports(text)

    def fields_on(self) -> dict[str, Any]:
        """The fields that are not as they are by default, and the name."""
        values = {f.name: (getattr(self, f.name), f.default) for f in fields(self)}
        on = {name: value for name, (value, default) in values.items() if value != default}
        return {"name": self.name} | on

    def __repr__(self) -> str:
        on = self.fields_on()
        rest = [f", {name}={value!r}" for name, value in on.items() if name != "name"]
        return f"Network({self.name!r}{''.join(rest)})"

    @classmethod
    def of(cls, value: object) -> Self:
        """`value`, which is a network; or its name, its fields, or a container that runs."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            return cls(value)
        if isinstance(value, Mapping):
            return cls(**cast("Mapping[str, Any]", value))
        if isinstance(pid := getattr(value, "pid", None), int):
            return cls(f"{JOINS}{pid}")
        raise TypeError(
            Words(
                f'network 应是 "bridge" 这样的名字或一个 Network，而不是 {value!r}',
                f'network is a name such as "bridge", or a Network, not {value!r}',
            )
        )


def identity(name: str) -> str:
    """The ID of a network that nobody has created: 64 digits, the same each time."""
    from labkit.python.hashlib import sha256  # few need it

    return sha256(f"network {name}".encode()).hexdigest()


def _texts(name: str, values: object) -> tuple[str, ...]:
    if isinstance(values, str | bytes) or not isinstance(values, Collection):
        raise TypeError(
            Words(
                f'Network.{name} 是一组文字，只有一个也要写成 ("...",)，而不是 {values!r}',
                f'Network.{name} is a set of texts, ("...",) even if there is one, not {values!r}',
            )
        )
    return tuple(map(str, values))


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(
            Words(f"网络的名字应是文字，而不是 {name!r}", f"a network's name is text, not {name!r}")
        )
    joined = name.removeprefix(JOINS)
    if joined != name and not (joined.isascii() and joined.isdigit() and int(joined)):
        raise ValueError(
            Words(f"{name!r}：冒号后面应是一个进程号", f"{name!r}: a process ID follows the colon")
        )
    if joined == name and not is_name(name, _LONGEST):
        raise ValueError(
            Words(
                f"{name!r} 不能作网络名：只有字母、数字、_、. 和 -，以字母或数字开头，最多 128 个",
                f"{name!r} is no name of a network: it has letters, digits, _, . and -, at most "
                "128, and begins with a letter or a digit",
            )
        )


def _check_addresses(network: Network) -> None:
    for name, version in (("subnet", 4), ("ipv6", 6)):
        _check_subnet(name, getattr(network, name), version)
    for name, version in (("gateway", 4), ("address", 4), ("address6", 6)):
        _check_address(name, getattr(network, name), version)
    for text in network.dns:
        _check_address("dns", text, 0)
    for line in network.hosts:
        if (address := line.partition(":")[2] or line) != HOST_GATEWAY:
            _check_address("hosts", address, 0)
    _check_inside(network)
    if network.mtu is not None and not 68 <= network.mtu <= _LAST_PORT:
        raise ValueError(
            Words(f"MTU 要在 68 到 65535 之间，不是 {network.mtu}", f"no MTU: {network.mtu}")
        )
    if network.mac and not _MAC.fullmatch(network.mac):
        raise ValueError(
            Words(
                f'mac={network.mac!r} 不是单个设备的硬件地址，应如 "02:42:ac:11:00:02"',
                f"mac={network.mac!r} is no hardware address of one device, such as "
                '"02:42:ac:11:00:02"',
            )
        )


def _check_subnet(name: str, text: str, version: int) -> None:
    if not text:
        return
    import ipaddress

    kind = ipaddress.IPv4Network if version == 4 else ipaddress.IPv6Network
    example = "10.88.0.0/24" if version == 4 else "fd00:88::/64"
    try:
        if kind(text).num_addresses < 4 or "/" not in text:
            raise ValueError
    except ValueError:
        raise ValueError(
            Words(
                f"{name}={text!r} 不是 IPv{version} 网段：应如 {example!r}，前缀之后的位都是 0，"
                "至少有四个地址",
                f"{name}={text!r} is no subnet of IPv{version}: write it as {example!r}, with zero "
                "bits after the prefix and at least four addresses",
            )
        ) from None


def _check_address(name: str, text: str, version: int) -> None:
    """version: 0 for either."""
    if not text:
        return
    import ipaddress

    try:
        if ipaddress.ip_address(text).version not in ((version,) if version else (4, 6)):
            raise ValueError
    except ValueError:
        what = f" IPv{version} " if version else " IP "
        raise ValueError(
            Words(
                f"{name}：{text!r} 不是{what}地址",
                f"{name}: {text!r} is no address of {what.strip()}",
            )
        ) from None


def _check_inside(network: Network) -> None:
    """Addresses are in their subnet; where that is not named, it is looked at when it is known."""
    if network.gateway and not network.subnet:
        raise ValueError(
            Words("写了 gateway，就要写 subnet", "a gateway takes a subnet that it is in")
        )
    for name, subnet in (("gateway", "subnet"), ("address", "subnet"), ("address6", "ipv6")):
        check_inside(name, getattr(network, name), getattr(network, subnet))


def check_inside(name: str, address: str, subnet: str) -> None:
    """Refuse an address that a subnet has not for a container; "" for either is none."""
    if not address or not subnet:
        return
    import ipaddress

    whole, one = ipaddress.ip_network(subnet), ipaddress.ip_address(address)
    if one not in whole or one in (whole.network_address, whole.broadcast_address):
        raise ValueError(
            Words(
                f"{name}={address!r} 不在子网 {subnet} 里，或者是它的头一个、末一个地址",
                f"{name}={address!r} is not in subnet {subnet}, or is its first or last address",
            )
        )


def _ports(text: str) -> Iterator[Port]:
    """What one word of docker run -p means."""
    found = _PUBLISHED.fullmatch(text)
    kind = (found and found["kind"]) or "tcp"
    if not found or kind not in ("tcp", "udp"):
        raise _no_port(text)
    inside = _range(text, found["inside"])
    outside = _range(text, found["host"]) if found["host"] else [0] * len(inside)
    address = (found["address"] or "").strip("[]")
    _check_host_address(text, address)
    if len(outside) != len(inside):
        raise _no_port(text)
    yield from (Port(address, *pair, kind) for pair in zip(outside, inside, strict=True))


def _check_host_address(text: str, address: str) -> None:
    if not address:
        return
    import ipaddress

    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise _no_port(text) from None


def _range(text: str, written: str) -> range:
    found = _PORTS.fullmatch(written)
    if not found:
        raise _no_port(text)
    first, last = int(found[1]), int(found[2] or found[1])
    if not first <= last <= _LAST_PORT:
        raise _no_port(text)
    return range(first, last + 1)


def _no_port(text: str) -> ValueError:
    return ValueError(
        Words(
            f'{text!r} 不是可以发布的端口：应如 "8080:80" 或 "127.0.0.1:8080:80/tcp"',
            f'{text!r} is no published port: write "8080:80" or "127.0.0.1:8080:80/tcp"',
        )
    )
