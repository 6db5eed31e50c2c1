"""One container on a network: an address and ports reserved, links made, all given back."""

import ipaddress
import itertools
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from labkit.linux.refusal import Asked
from labkit.network import encode, names, nat, netlink, removal
from labkit.network.bridge import Bridge, join, state, stop_using, using
from labkit.network.nat import Published
from labkit.network.network import Network, Port, check_inside
from labkit.state import document, held
from labkit.text.words import Words

_LAST = "last"
_INSIDE = "eth0"
Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


class Endpoint:
    """A container on a bridge. etc: its files in /etc. addresses: IPv4, and IPv6 if there is one.

    ports: what is published, with the numbers that were free.
    """

    def __init__(self, network: Network, hostname: str | None) -> None:
        """Reserve an address and ports. Nobody else gets them until :meth:`release`."""
        self._bridge = join(network)
        self._facts = self._bridge.facts
        known = dict.fromkeys([*([hostname] if hostname else []), *network.aliases])
        self._names, self._mac = [*known], bytes.fromhex(network.mac.replace(":", ""))
        self._sockets: list[socket.socket] = []
        with self._bridge.locked():
            lost = _remove_orphans(self._bridge)
            self.addresses = tuple(_addresses(self._bridge, network))
            self._folder = held.make(self._bridge.endpoints)
            try:
                self.ports = tuple(map(self._reserved, network.ports()))
                self._write(network)
                if self.ports or lost:
                    _publish(self._bridge)
            except BaseException:
                self._give_back()
                raise
        self.etc = {
            "hosts": names.hosts(self._names, self.addresses, network.hosts),
            "resolv.conf": names.resolv_conf([self._facts["gateway"]]),
        }

    def _write(self, network: Network) -> None:
        about = {
            "names": self._names,
            "addresses": self.addresses,
            "dns": network.dns,
            "ports": [asdict(port) for port in self.ports],
        }
        removal.write(self._folder, about)

    def _reserved(self, port: Port) -> Port:
        """Hold a port of this machine, so that no other program takes it."""
        if not self._facts["nat"]:
            raise ValueError(
                Words(
                    "没有 nft 程序，不能发布端口：请装 nftables",
                    "no port can be published without the program nft: install nftables",
                )
            )
        family = socket.AF_INET6 if ":" in port.address else socket.AF_INET
        ours = socket.socket(family, _KINDS[port.kind])
        self._sockets.append(ours)
        with Asked(f"bind({port.address or '0.0.0.0'}:{port.host}/{port.kind})"):  # noqa: S104
            ours.bind((port.address, port.host))
        return Port(port.address, ours.getsockname()[1], port.inside, port.kind)

    def attach(self, pid: int) -> None:
        """Connect the container whose first process this is: links, addresses, routes."""
        netns = netlink.open_namespace(pid)
        try:
            bridge = netlink.index(self._facts["link"])
            mtu = self._facts["mtu"]
            name = removal.link_of(self._folder.name)
            links = [encode.new_veth(name, bridge, _INSIDE, netns, mtu, self._mac)]
            netlink.send(links + [encode.hairpin(name)] * bool(self.ports))
            netlink.within(netns, self._set_up)
        finally:
            os.close(netns)

    def _set_up(self) -> None:
        """What is done inside, all in one send."""
        index, facts = netlink.index(_INSIDE), self._facts
        messages = [encode.link_up(1)]
        for address, subnet in zip(self.addresses, (facts["subnet"], facts["ipv6"]), strict=False):
            messages.append(encode.new_address(index, address, int(subnet.split("/")[1])))
        messages.append(encode.link_up(index))
        gateways = (facts["gateway"], facts["gateway6"])
        messages += [encode.default_route(index, gateway) for gateway in gateways if gateway]
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


def tidy(network: Network) -> None:
    """Give back what the dead had on a network, if it still is there."""
    path = os.path.join(state(), network.name)
    bridge = Bridge(path)
    if bridge.whole:
        with bridge.locked():
            if _remove_orphans(bridge):
                _publish(bridge)


def _remove_orphans(bridge: Bridge) -> bool:
    """Remove what the dead have left; whether there was any."""
    found = [*held.orphans(bridge.endpoints)] if os.path.isdir(bridge.endpoints) else []
    for each in found:
        removal.leave(bridge.path, each)
    return bool(found)


def _publish(bridge: Bridge) -> None:
    """Write the rules of a network anew."""
    if bridge.facts["nat"]:
        subnets = [s for s in (bridge.facts["subnet"], bridge.facts["ipv6"]) if s]
        nat.apply(
            nat.written(bridge.facts["link"], subnets, _published(removal.known(bridge.path)))
        )


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
    taken |= {facts["gateway"], facts["gateway6"]}
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
    subnet = ipaddress.IPv4Network(bridge.facts["subnet"])
    last = os.path.join(bridge.path, _LAST)
    number = _next(subnet, taken, int(document.read(last, 0)), network.address)
    document.write(last, number, durable=False)
    yield str(subnet[number])
    if bridge.facts["ipv6"]:
        subnet6 = ipaddress.IPv6Network(bridge.facts["ipv6"])
        wanted = network.address6
        yield str(subnet6[_next(subnet6, taken, min(number, subnet6.num_addresses - 3), wanted)])
    elif network.address6:
        raise ValueError(
            Words(
                f"网络 {network.name} 没有 IPv6：建它的时候要写 ipv6=",
                f"network {network.name} has no IPv6: it has to be made with ipv6=",
            )
        )


def _next(subnet: Subnet, taken: set[str], last: int, wanted: str) -> int:
    """The number of an address in a subnet: of the one `wanted`, or the next after `last`."""
    if wanted:
        if wanted in taken:
            raise ValueError(Words(f"{wanted} 已有人用", f"{wanted} is taken"))
        return int(ipaddress.ip_address(wanted)) - int(subnet[0])
    hosts = subnet.num_addresses - 2  # the first is the subnet's, the last is everybody's
    order = itertools.chain(range(last + 1, hosts + 1), range(1, min(last, hosts) + 1))
    for number in order:
        if str(subnet[number]) not in taken:
            return number
    raise ValueError(
        Words(f"子网 {subnet} 里没有空着的地址", f"subnet {subnet} has no address left")
    )
