"""Which addresses a network may have: a subnet that is free, and those of it for containers."""

import _socket
import itertools
import struct

from labkit.network import defined
from labkit.python.typing import TYPE_CHECKING
from labkit.text.words import Words

if TYPE_CHECKING:
    import ipaddress
    from _collections_abc import Iterator

_CANDIDATES = [f"10.{number}.0.0/16" for number in range(88, 128)]
_OFF6 = "net/ipv6/conf/all/disable_ipv6"


class Addresses:
    """The addresses of a subnet, by number: as many as ipaddress has, which is slow to import."""

    def __init__(self, subnet: str) -> None:
        """subnet: as ipaddress accepts it, with its prefix."""
        address, _, prefix = subnet.partition("/")
        self._subnet, self._family = subnet, family_of(address)
        packed = _socket.inet_pton(self._family, address)
        self._first, self._size = int.from_bytes(packed, "big"), len(packed)
        self.count = 1 << 8 * self._size - int(prefix or 8 * self._size)

    def __str__(self) -> str:
        return self._subnet

    def __getitem__(self, number: int) -> str:
        packed = (self._first + number).to_bytes(self._size, "big")
        return _socket.inet_ntop(self._family, packed)

    def number(self, address: str) -> int:
        """The number of an address."""
        return int.from_bytes(_socket.inet_pton(self._family, address), "big") - self._first


def family_of(address: str) -> int:
    """Of which kind an address is: AF_INET or AF_INET6."""
    return _socket.AF_INET6 if ":" in address else _socket.AF_INET


def free(wanted: str, name: str = "") -> str:
    """The subnet `wanted`, or any, that overlaps with no route, nor with what is for others.

    name: of the network that it is for.
    """
    import ipaddress  # only who makes a network pays for it

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


def of_created() -> "Iterator[tuple[ipaddress.IPv4Network, str]]":
    """The subnets of networks that were created, each with the network's name."""
    import ipaddress

    for each in defined.every():
        yield ipaddress.IPv4Network(each.subnet), each.name


def first(subnet: str) -> str:
    """The first address of a subnet that somebody can have; "" for none."""
    return Addresses(subnet)[1] if subnet else ""


def _routes() -> "list[ipaddress.IPv4Network]":
    """Where this machine has routes to, but for the default."""
    import ipaddress

    with open("/proc/thread-self/net/route") as lines:
        words = [line.split() for line in lines][1:]
    routes = [ipaddress.IPv4Network((_address(w[1]), _address(w[7]))) for w in words]
    return [route for route in routes if route.prefixlen]


def _address(hexadecimal: str) -> str:
    """An address as /proc/net/route has it: the bytes in this machine's order."""
    return _socket.inet_ntoa(struct.pack("=I", int(hexadecimal, 16)))


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


def choose(
    subnet: Addresses, taken: set[str], last: int, wanted: str = "", within: str = ""
) -> int:
    """The number of an address in a subnet: of the one `wanted`, or the next after `last`.

    within: the part of the subnet that it is from ("": all of it).
    """
    if wanted:
        if wanted in taken:
            raise ValueError(Words(f"{wanted} 已有人用", f"{wanted} is taken"))
        return subnet.number(wanted)
    begin, end = 1, subnet.count - 1  # the first is the subnet's, the last is everybody's
    if within:
        part = Addresses(within)
        begin = max(begin, subnet.number(part[0]))
        end = min(end, subnet.number(part[0]) + part.count)
    last = last if begin <= last < end else begin - 1
    for number in itertools.chain(range(last + 1, end), range(begin, last + 1)):
        if subnet[number] not in taken:
            return number
    raise ValueError(
        Words(f"子网 {subnet} 里没有空着的地址", f"subnet {subnet} has no address left")
    )
