"""Which addresses a network may have: a subnet that is free, and those of it for containers."""

import ipaddress
import itertools
import socket
import struct
from collections.abc import Iterator

from labkit.network import defined
from labkit.text.words import Words

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network
_CANDIDATES = [f"10.{number}.0.0/16" for number in range(88, 128)]
_OFF6 = "net/ipv6/conf/all/disable_ipv6"


def free(wanted: str, name: str = "") -> str:
    """The subnet `wanted`, or any, that overlaps with no route, nor with what is for others.

    name: of the network that it is for.
    """
    taken = [*_routes(), *(one for one, of in of_created() if of != name and not wanted)]
    for text in [wanted] if wanted else _CANDIDATES:
        if not any(ipaddress.IPv4Network(text).overlaps(one) for one in taken):
            return text
    if wanted:
        raise ValueError(
            Words(
                f"子网 {wanted} 和这台机器已有的路由重叠（见 ip route），请换一个，或者不写 subnet",
                f"subnet {wanted} overlaps with a route of this machine (see ip route): take "
                "another, or leave subnet out",
            )
        )
    raise ValueError(
        Words(
            "没有空着的子网：请写 Network(subnet=...)",
            "no subnet is free: say Network(subnet=...)",
        )
    )


def of_created() -> Iterator[tuple[ipaddress.IPv4Network, str]]:
    """The subnets of networks that were created, each with the network's name."""
    for each in defined.every():
        yield ipaddress.IPv4Network(each.subnet), each.name


def first(subnet: str) -> str:
    """The first address of a subnet that somebody can have; "" for none."""
    return str(ipaddress.ip_network(subnet)[1]) if subnet else ""


def _routes() -> list[ipaddress.IPv4Network]:
    """Where this machine has routes to, but for the default."""
    with open("/proc/thread-self/net/route") as lines:
        words = [line.split() for line in lines][1:]
    routes = [ipaddress.IPv4Network((_address(w[1]), _address(w[7]))) for w in words]
    return [route for route in routes if route.prefixlen]


def _address(hexadecimal: str) -> str:
    """An address as /proc/net/route has it: the bytes in this machine's order."""
    return socket.inet_ntoa(struct.pack("=I", int(hexadecimal, 16)))


def check_ipv6(wanted: str) -> None:
    """Refuse a subnet of IPv6 where this machine has none; "" is none."""
    if wanted and not (_has_ipv6() and sysctl(_OFF6) == "0"):
        raise ValueError(
            Words(
                f"这台机器关掉了 IPv6：打开它（sysctl -w {_OFF6.replace('/', '.')}=0），"
                "或者去掉 ipv6=",
                f"this machine has IPv6 off: turn it on (sysctl -w {_OFF6.replace('/', '.')}=0), "
                "or leave out ipv6=",
            )
        )


def _has_ipv6() -> bool:
    try:
        sysctl(_OFF6)
    except FileNotFoundError:
        return False
    return True


def sysctl(name: str) -> str:
    """The value of one of /proc/sys."""
    with open(f"/proc/sys/{name}") as file:
        return file.read().strip()


def choose(subnet: Subnet, taken: set[str], last: int, wanted: str = "", within: str = "") -> int:
    """The number of an address in a subnet: of the one `wanted`, or the next after `last`.

    within: the part of the subnet that it is from ("": all of it).
    """
    if wanted:
        if wanted in taken:
            raise ValueError(Words(f"{wanted} 已有人用", f"{wanted} is taken"))
        return int(ipaddress.ip_address(wanted)) - int(subnet[0])
    begin, end = 1, subnet.num_addresses - 1  # the first is the subnet's, the last is everybody's
    if within:
        part = ipaddress.ip_network(within)
        begin = max(begin, int(part[0]) - int(subnet[0]))
        end = min(end, int(part[-1]) - int(subnet[0]) + 1)
    last = last if begin <= last < end else begin - 1
    for number in itertools.chain(range(last + 1, end), range(begin, last + 1)):
        if str(subnet[number]) not in taken:
            return number
    raise ValueError(
        Words(f"子网 {subnet} 里没有空着的地址", f"subnet {subnet} has no address left")
    )
