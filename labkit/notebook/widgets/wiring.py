"""What netlink says of several network namespaces, and which link is whose peer.

:func:`look` runs in a namespace (`cells/within.py`), where pyroute2 asks the kernel. :func:`cables`
joins what it has said in each: a veth names the number of its peer, and which neighbour has it.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

# The kernel makes them by itself where a module is loaded: down, and of no use here.
_FALLBACKS = {
    *("tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"),
}
_UP = 1  # IFF_UP
_INET = 2
_MAIN = 254  # the table of routes that somebody has written


@dataclass(frozen=True)
class Link:
    """A link. peer: the number of a veth's other end; beyond: which neighbour has it, None: we.

    master: the number of the bridge that it is a port of. received, sent: packets so far.
    """

    number: int
    name: str
    up: bool
    kind: str
    peer: int | None = None
    beyond: int | None = None
    master: int | None = None
    received: int = 0
    sent: int = 0
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """A network namespace: its links, routes, and the rules of its packet filter."""

    links: tuple[Link, ...]
    routes: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()

    def link(self, number: int | None) -> Link | None:
        """The link with this number."""
        return next((each for each in self.links if each.number == number), None)


def look() -> Place:
    """What the network namespace of this process has."""
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        links = [_link(m) for m in netlink.get_links() if m.get("ifname") not in _FALLBACKS]
        given: dict[int, list[str]] = {}
        for each in netlink.get_addr(family=_INET):
            told = f"{each.get('address')}/{each['prefixlen']}"
            given.setdefault(each["index"], []).append(told)
        names = {link.number: link.name for link in links}
        routes = [_route(m, names) for m in netlink.get_routes(family=_INET, table=_MAIN)]
    known = (replace(link, addresses=tuple(given.get(link.number, ()))) for link in links)
    return Place(tuple(known), tuple(sorted(routes)), tuple(_rules()))


def _link(message: Any) -> Link:  # noqa: ANN401 - pyroute2's
    counted = message.get("stats64") or {}
    kind = message.get(("linkinfo", "kind")) or ""
    return Link(
        message["index"],
        message.get("ifname"),
        bool(message["flags"] & _UP),
        kind,
        message.get("link") if kind == "veth" else None,
        message.get("link_netnsid"),
        message.get("master"),
        counted.get("rx_packets", 0),
        counted.get("tx_packets", 0),
    )


def _route(message: Any, names: Mapping[int, str]) -> str:  # noqa: ANN401 - pyroute2's
    """As ip(8) writes it."""
    to = f"{message.get('dst')}/{message['dst_len']}" if message["dst_len"] else "default"
    via = f" via {message.get('gateway')}" if message.get("gateway") else ""
    return f"{to}{via} dev {names.get(message.get('oif'), '?')}"


def _rules() -> Iterator[str]:
    """The rules of nftables, each after its chain; none where there is no program nft."""
    program = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        return
    argv = [program, "--stateless", "list", "ruleset"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    chain = ""
    for line in map(str.strip, done.stdout.splitlines()):
        if line.startswith(("chain ", "set ")):
            chain = line.removeprefix("chain ").removesuffix(" {")
        elif line and not line.startswith(("table ", "type ", "}")):
            yield f"{chain}: {line}"


# --- Which end belongs to which ------------------------------------------------------------------

End = tuple[str, int]
"""A link: the name of its place, and its number there."""


def cables(places: Mapping[str, Place]) -> list[tuple[End, End]]:
    """The pairs of ends that we know to be one cable, each once.

    Numbers alone may fit twice, since each namespace counts its links anew. So the surest comes
    first, and what it tells of neighbours decides the next. What stays open is left out.
    """
    found: dict[End, End] = {}
    neighbours: dict[tuple[str, int | None], str] = {}
    while pair := _sure(places, found, neighbours):
        for (place, number), other in (pair, pair[::-1]):
            found[place, number] = other
            link = places[place].link(number)
            neighbours[place, link.beyond if link else None] = other[0]
    order = [(name, link.number) for name, place in places.items() for link in place.links]
    known = [end for end in order if end in found]
    return [(end, found[end]) for end in known if order.index(end) < order.index(found[end])]


def _sure(
    places: Mapping[str, Place],
    found: Mapping[End, End],
    neighbours: Mapping[tuple[str, int | None], str],
) -> tuple[End, End] | None:
    """An end that fits one other only."""
    for name, place in places.items():
        for link in place.links:
            if link.peer is not None and (name, link.number) not in found:
                fits = [e for e in _fitting(places, name, link, neighbours) if e not in found]
                if len(fits) == 1:
                    return (name, link.number), fits[0]
    return None


def _fitting(
    places: Mapping[str, Place],
    name: str,
    link: Link,
    neighbours: Mapping[tuple[str, int | None], str],
) -> Iterator[End]:
    """The ends that may be the other one of `link`, of the place `name`."""
    for other, place in places.items():
        back = place.link(link.peer)
        fits = back is not None and back.peer == link.number
        at_home = (other == name) == (link.beyond is None)
        known = back and neighbours.get((name, link.beyond), other) == other
        known = known and back and neighbours.get((other, back.beyond), name) == name
        if fits and at_home and known:
            yield other, back.number  # type: ignore[union-attr]
