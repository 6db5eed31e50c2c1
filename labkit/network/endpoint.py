"""One container on a network: an address and ports reserved, links made, all given back."""

import _socket
import errno
import os
from _collections_abc import Iterator, Mapping, Sequence

from labkit.linux.refusal import Asked
from labkit.network import encode, names, nat, netlink, removal, subnets
from labkit.network.bridge import Bridge, join, state, stop_using, using, written
from labkit.network.nat import Published
from labkit.network.network import Network, Port, check_inside, identity
from labkit.python import contextlib, functools
from labkit.python.typing import Any
from labkit.state import document, held
from labkit.state.lock import Taken
from labkit.text.words import Words

_LAST = "last"
_KINDS = {"tcp": _socket.SOCK_STREAM, "udp": _socket.SOCK_DGRAM}


class Endpoint:
    """A container on a bridge. addresses: IPv4, and IPv6 if there is one.

    ports: what is published, with the numbers that were free. names: by which others find it.
    """

    def __init__(
        self, network: Network, hostname: str | None, place: int = 0, container: str = ""
    ) -> None:
        """Reserve an address and ports. Nobody else gets them until :meth:`release`.

        place: of its link in the container. container: whose it is on other networks too, an ID.
        """
        self._bridge = join(network)
        self._facts, self._network = self._bridge.facts, network
        self._inside, self._container = f"eth{place}", container
        self.names = [*dict.fromkeys(filter(None, (hostname, *network.aliases)))]
        self._sockets: list[_socket.socket] = []
        with self._bridge.locked():
            lost = _remove_orphans(self._bridge)
            self.addresses = tuple(_addresses(self._bridge, network))
            self._folder = held.make(self._bridge.endpoints)
            try:
                published = () if self._facts["internal"] else network.ports()
                self.ports = tuple(map(self._reserved, published))
                self._write()
                if self.ports or lost:
                    _publish(self._bridge)
            except BaseException:
                self._give_back()
                raise

    def _write(self) -> None:
        """Write down what others look for: the answerer of names, and who inspects it."""
        self._mac = self._network.mac or _mac_of(self.addresses[0])
        about = {
            "names": self.names,
            "addresses": self.addresses,
            "dns": self._network.dns,
            "ports": [vars(port) for port in self.ports],
            "container": self._container,
            "mac": self._mac,
            "inside": self._inside,
        }
        removal.write(self._folder, about)

    @property
    def network(self) -> str:
        """The network's name."""
        return self._network.name

    @property
    def about(self) -> dict[str, Any]:
        """What is known of it: what `known` tells, as long as it is ours."""
        return _told(self._bridge, self._folder.name)

    def _reserved(self, port: Port) -> Port:
        """Hold a port of this machine, so that no other program takes it."""
        if not self._facts["nat"]:
            raise ValueError(
                Words(
                    "没有 nft 程序，不能发布端口：请装 nftables",
                    "no port can be published without the program nft: install nftables",
                )
            )
        family = _socket.AF_INET6 if ":" in port.address else _socket.AF_INET
        ours = _socket.socket(family, _KINDS[port.kind])
        self._sockets.append(ours)
        with Asked(f"bind({port.address or '0.0.0.0'}:{port.host}/{port.kind})"):  # noqa: S104
            ours.bind((port.address, port.host))
        return Port(port.address, ours.getsockname()[1], port.inside, port.kind)

    def attach(self, pid: int, *, first: bool = True) -> None:
        """Connect the container whose first process this is: links, addresses, routes.

        first: whether it has no other way out.
        """
        netns = netlink.open_namespace(pid)
        try:
            self.attach_to(netns, first=first)
        finally:
            os.close(netns)

    def attach_to(self, netns: int, *, first: bool) -> None:
        """The same by a descriptor of its network namespace."""
        bridge = netlink.index(self._facts["link"])
        mtu, mac = self._facts["mtu"], bytes.fromhex(self._mac.replace(":", ""))
        name = removal.link_of(self._folder.name)
        links = [encode.new_veth(name, bridge, self._inside, netns, mtu, mac)]
        netlink.send(links + [encode.hairpin(name)] * bool(self.ports))
        netlink.within(netns, lambda: self._set_up(first=first))

    def _set_up(self, *, first: bool) -> None:
        """What is done inside, all in one send."""
        index, facts = netlink.index(self._inside), self._facts
        messages = [encode.link_up(1)]
        for address, subnet in zip(self.addresses, (facts["subnet"], facts["ipv6"]), strict=False):
            messages.append(encode.new_address(index, address, int(subnet.split("/")[1])))
        messages.append(encode.link_up(index))
        if first and not facts["internal"]:
            messages += _ways_out(index, facts)
        netlink.send(messages)

    def release(self) -> None:
        """Give back address and ports: the container has ended.

        What is refused here is no failure of the container. Its folder is an orphan then, and
        whoever comes next gives it back.
        """
        try:
            with self._bridge.locked():
                self._give_back()
                if self.ports:
                    _publish(self._bridge)
        except (OSError, ValueError):
            self._folder.release()

    def _give_back(self) -> None:
        for each in self._sockets:
            each.close()
        removal.leave(self._bridge.path, self._folder)

    def kept(self) -> list[int]:
        """The descriptors that reserve address and ports, and keep the network."""
        sockets = [each.fileno() for each in self._sockets]
        return [self._folder.fileno(), using(self._bridge.path), *sockets]

    def leave(self) -> None:
        """Leave all this to who has copies of the descriptors: the monitor of a container."""
        for each in self._sockets:
            each.close()
        self._folder.release()
        stop_using(self._bridge.path)


def _ways_out(index: int, facts: Mapping[str, Any]) -> list[encode.Message]:
    gateways = (facts["gateway"], facts["gateway6"])
    return [encode.default_route(index, gateway) for gateway in gateways if gateway]


def _mac_of(address: str) -> str:
    """A hardware address that goes with an address, as Docker's: neighbours need not ask anew."""
    packed = _socket.inet_pton(subnets.family_of(address), address)
    return ":".join(f"{number:02x}" for number in (0x02, 0x42, *packed))


def files(on: Sequence[tuple[Network, Mapping[str, Any]]]) -> dict[str, str]:
    """The files in /etc of a container, from its networks and what is known of it on each.

    As with Docker, it asks the servers of --dns itself on the network that is there at first. On
    any other it asks that network's answerer, which knows the names, and asks them.
    """
    gateways = {network.name: str(about["gateway"]) for network, about in on}
    answerers = [gateways[name] for name in gateways if name != "bridge"]
    first = on[0][0]
    lines = dict.fromkeys(line for network, _ in on for line in network.hosts)
    known = [(about["names"], about["addresses"]) for _, about in on]
    servers = answerers[:1] or first.dns or [gateways[first.name]]
    return {
        "hosts": names.hosts(known, lines, gateways[first.name]),
        "resolv.conf": names.resolv_conf(servers, first.dns_search, first.dns_options),
    }


def rename(identity: str, old: str, new: str) -> None:
    """Let others on its networks find a container that runs by another name."""
    for name, about in of_container(identity).items():
        bridge = Bridge(os.path.join(state(), name))
        with contextlib.suppress(FileNotFoundError), bridge.locked():  # it may just have ended
            removal.rename(bridge.path, about["folder"], old, new)


def withdraw(about: Mapping[str, Any]) -> None:
    """Take a container that runs off a network, whoever keeps its place there."""
    bridge = Bridge(os.path.join(state(), about["network"]))
    with bridge.locked():
        removal.drop(bridge.path, about["folder"])
        if about["ports"]:
            _publish(bridge)


def find_way_out(netns: int, known: Sequence[Mapping[str, Any]]) -> None:
    """Give a container a default route by the first network that has a way out, if it has none."""

    def lead(about: Mapping[str, Any]) -> None:
        messages = _ways_out(netlink.index(about["inside"]), about)
        netlink.send(messages, passing=errno.EEXIST)

    for about in [each for each in known if not each["internal"]][:1]:
        netlink.within(netns, functools.partial(lead, about))


# --- What is known of those that run ------------------------------------------------------------


def of_container(identity: str) -> dict[str, dict[str, Any]]:
    """What is known of a container, by its ID, on each network that it is on, by name.

    Not what somebody has left who was killed: while a network is removed, that lies there still.
    """
    return {
        name: about
        for name in held.names(state())
        for about in on_network(name)
        if about["container"] == identity
        and held.is_held(os.path.join(state(), name, removal.ENDPOINTS, about["folder"]))
    }


def identity_of(about: Mapping[str, Any]) -> str:
    """The ID of a container's place on a network: 64 digits."""
    return identity(f"{about['network']} {about['folder']}")


def places(name: str) -> list[str]:
    """The folders of the containers on a network."""
    folder = Bridge(os.path.join(state(), name)).endpoints
    return [os.path.join(folder, each) for each in held.names(folder)]


def on_network(name: str) -> list[dict[str, Any]]:
    """What is known of each container on a network."""
    bridge = Bridge(os.path.join(state(), name))
    if not bridge.facts:  # it is just being removed
        return []
    return [_told(bridge, each) for each in held.names(bridge.endpoints)]


def _told(bridge: Bridge, folder: str) -> dict[str, Any]:
    """What is written of a container, and of its network."""
    facts = bridge.facts
    return {
        "network": os.path.basename(bridge.path),
        "id": facts["id"],
        "gateway": facts["gateway"],
        "gateway6": facts["gateway6"],
        "prefixes": [int(s.split("/")[1]) for s in (facts["subnet"], facts["ipv6"]) if s],
        "internal": facts["internal"],
        "folder": folder,
        "container": "",  # it may not have been written yet
        "addresses": [],
        "names": [],
        "ports": [],
        **removal.read(bridge.path, folder),
    }


def tidy(network: Network, *, at_once: bool = False) -> None:
    """Give back what the dead had on a network, if it still is there.

    at_once: their links too, which the helper would remove soon.
    """
    path = os.path.join(state(), network.name)
    bridge = Bridge(path)
    if bridge.whole:
        # Where its helper removes it, nothing will be left of the dead, and to write its rules
        # now would be to leave them behind.
        with contextlib.suppress(FileNotFoundError, Taken), bridge.locked(), bridge.kept():
            if _remove_orphans(bridge):
                _publish(bridge)
            if at_once:
                removal.sweep(path)


def _remove_orphans(bridge: Bridge) -> bool:
    """Remove what the dead have left; whether ports were published for any of them."""
    found = [*held.orphans(bridge.endpoints)] if os.path.isdir(bridge.endpoints) else []
    published = [removal.leave(bridge.path, each) for each in found]
    return any(published)


def _publish(bridge: Bridge) -> None:
    """Write the rules of a network anew."""
    if bridge.facts["nat"]:
        nat.apply(written(bridge.facts, _published(removal.known(bridge.path))))


def _published(endpoints: Sequence[dict[str, Any]]) -> Iterator[Published]:
    for about in endpoints:
        for port in (Port(**fields) for fields in about["ports"]):
            for address in about["addresses"]:
                if not port.address or (":" in port.address) == (":" in address):
                    yield Published(port, address)


def _addresses(bridge: Bridge, network: Network) -> Iterator[str]:
    """Addresses of the subnets that no container has; an address comes round again late.

    Nor one that has ended, as long as its link may be there; but rather that than none.
    """
    facts = bridge.facts
    taken = {address for about in removal.known(bridge.path) for address in about["addresses"]}
    taken |= {facts["gateway"], facts["gateway6"], *facts["reserved"]}
    try:
        found = [*_chosen(bridge, network, taken | removal.addresses(bridge.path))]
    except ValueError:
        removal.sweep(bridge.path)
        found = [*_chosen(bridge, network, taken)]
    return iter(found)


def _chosen(bridge: Bridge, network: Network, taken: set[str]) -> Iterator[str]:
    """The addresses asked for, or the next. The number of that of IPv6 is one more."""
    check_inside("address", network.address, bridge.facts["subnet"])
    check_inside("address6", network.address6, bridge.facts["ipv6"])
    subnet, within = subnets.Addresses(bridge.facts["subnet"]), bridge.facts["ranges"]
    last = os.path.join(bridge.path, _LAST)
    number = subnets.choose(subnet, taken, int(document.read(last, 0)), network.address, within[0])
    document.clear(last)
    document.write(last, number, durable=False)
    yield subnet[number]
    if bridge.facts["ipv6"]:
        subnet6 = subnets.Addresses(bridge.facts["ipv6"])
        yield subnet6[subnets.choose(subnet6, taken, number, network.address6, within[1])]
    elif network.address6:
        raise ValueError(
            Words(
                f"网络 {network.name} 没有 IPv6：建它的时候要写 ipv6=",
                f"network {network.name} has no IPv6: it has to be made with ipv6=",
            )
        )
