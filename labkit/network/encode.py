"""Messages of rtnetlink as bytes: rtnetlink(7), and include/uapi/linux/rtnetlink.h.

A test compares them with those of pyroute2, byte by byte. A start has no time for its import.
"""

import _socket
import struct

RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_NEWROUTE = 16, 17, 20, 24
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 1, 4, 0x200, 0x400
NLMSG_ERROR = 2
_IFF_UP = 1
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER = 1, 3, 4, 10
_IFLA_LINKINFO, _IFLA_GROUP, _IFLA_NET_NS_FD = 18, 27, 28
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFLA_INFO_SLAVE_KIND, _IFLA_INFO_SLAVE_DATA, _IFLA_BRPORT_MODE = 4, 5, 4
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS = 1, 2, 4, 8
_IFA_F_NODAD = 2  # no wait for an answer from a neighbour who has the address already
_RTA_OIF, _RTA_GATEWAY = 4, 5
_RT_TABLE_MAIN, _RTPROT_BOOT, _RT_SCOPE_UNIVERSE, _RTN_UNICAST = 254, 3, 0, 1
_REMOVED = 0x6C6B6474  # the group of links that are to go: no number that anybody would choose
_NEW = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL


class Message:
    """One message. said: in words, for an error."""

    __slots__ = ("_body", "_flags", "_kind", "said")

    def __init__(self, said: str, kind: int, flags: int, body: bytes) -> None:
        self.said, self._kind, self._flags, self._body = said, kind, flags, body

    def encoded(self, sequence: int) -> bytes:
        """The message with its header: struct nlmsghdr."""
        size = 16 + len(self._body)
        return struct.pack("=IHHII", size, self._kind, self._flags, sequence, 0) + self._body


def _attribute(kind: int, value: bytes) -> bytes:
    """One struct rtattr, filled up to a multiple of four bytes."""
    size = 4 + len(value)
    return struct.pack("=HH", size, kind) + value + bytes(-size % 4)


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _link(index: int, *, up: bool, attributes: bytes) -> bytes:
    """A struct ifinfomsg and its attributes."""
    flags = _IFF_UP if up else 0
    return struct.pack("=BxHiII", _socket.AF_UNSPEC, 0, index, flags, flags) + attributes


def _mtu(mtu: int | None) -> bytes:
    return b"" if mtu is None else _number(_IFLA_MTU, mtu)


def new_bridge(name: str, mac: bytes, mtu: int | None) -> Message:
    """`ip link add NAME type bridge`, up at once.

    With a hardware address of its own: else a bridge takes one of its ports', and changes it.
    """
    info = _attribute(_IFLA_LINKINFO, _text(_IFLA_INFO_KIND, "bridge"))
    attributes = _text(_IFLA_IFNAME, name) + _attribute(_IFLA_ADDRESS, mac) + _mtu(mtu) + info
    body = _link(0, up=True, attributes=attributes)
    return Message(f'RTM_NEWLINK "{name}" bridge', RTM_NEWLINK, _NEW, body)


def new_veth(
    name: str, bridge: int, peer: str, netns: int, mtu: int | None, mac: bytes = b""
) -> Message:
    """A veth pair: `name` on the port of a bridge, up at once; `peer` in the namespace `netns`.

    mac: the hardware address of `peer` (empty: the kernel's choice).
    """
    own = _attribute(_IFLA_ADDRESS, mac) if mac else b""
    inside = _text(_IFLA_IFNAME, peer) + own + _mtu(mtu) + _number(_IFLA_NET_NS_FD, netns)
    data = _attribute(_VETH_INFO_PEER, _link(0, up=False, attributes=inside))
    info = _text(_IFLA_INFO_KIND, "veth") + _attribute(_IFLA_INFO_DATA, data)
    attributes = _text(_IFLA_IFNAME, name) + _mtu(mtu) + _number(_IFLA_MASTER, bridge)
    body = _link(0, up=True, attributes=attributes + _attribute(_IFLA_LINKINFO, info))
    return Message(f'RTM_NEWLINK "{name}" veth', RTM_NEWLINK, _NEW, body)


def hairpin(name: str) -> Message:
    """`bridge link set dev NAME hairpin on`: what comes in by this port may go out by it too.

    A container that calls a port of this machine which is its own needs that: where br_netfilter is
    loaded, the kernel replaces the address while it still bridges.
    """
    info = _text(_IFLA_INFO_SLAVE_KIND, "bridge")
    info += _attribute(_IFLA_INFO_SLAVE_DATA, _attribute(_IFLA_BRPORT_MODE, b"\1"))
    attributes = _text(_IFLA_IFNAME, name) + _attribute(_IFLA_LINKINFO, info)
    body = _link(0, up=False, attributes=attributes)
    flags = NLM_F_REQUEST | NLM_F_ACK
    return Message(f'RTM_NEWLINK "{name}" hairpin', RTM_NEWLINK, flags, body)


def link_up(index: int) -> Message:
    """`ip link set up` of the link with this number."""
    flags = NLM_F_REQUEST | NLM_F_ACK
    return Message(
        f"RTM_NEWLINK {index} up", RTM_NEWLINK, flags, _link(index, up=True, attributes=b"")
    )


def into_group(name: str) -> Message:
    """`ip link set NAME group N`: into the group of links that :func:`del_group` removes."""
    flags = NLM_F_REQUEST | NLM_F_ACK
    attributes = _text(_IFLA_IFNAME, name) + _number(_IFLA_GROUP, _REMOVED)
    body = _link(0, up=False, attributes=attributes)
    return Message(f'RTM_NEWLINK "{name}" group', RTM_NEWLINK, flags, body)


def del_group() -> Message:
    """`ip link del group N`: all links of it at once."""
    body = _link(0, up=False, attributes=_number(_IFLA_GROUP, _REMOVED))
    return Message("RTM_DELLINK group", RTM_DELLINK, NLM_F_REQUEST | NLM_F_ACK, body)


def new_address(index: int, address: str, prefix: int) -> Message:
    """`ip addr add ADDRESS/PREFIX dev INDEX`, IPv4 or IPv6."""
    family, packed = _packed(address)
    attributes = _attribute(_IFA_ADDRESS, packed) + _attribute(_IFA_LOCAL, packed)
    if family == _socket.AF_INET6:
        attributes += _number(_IFA_FLAGS, _IFA_F_NODAD)
    else:
        last = int.from_bytes(packed) | (1 << 32 - prefix) - 1
        attributes += _attribute(_IFA_BROADCAST, last.to_bytes(4))
    body = struct.pack("=BBBBI", family, prefix, 0, 0, index) + attributes
    return Message(f"RTM_NEWADDR {address}/{prefix}", RTM_NEWADDR, _NEW, body)


def default_route(index: int, gateway: str) -> Message:
    """`ip route add default via GATEWAY dev INDEX`."""
    family, packed = _packed(gateway)
    of = (_RT_TABLE_MAIN, _RTPROT_BOOT, _RT_SCOPE_UNIVERSE, _RTN_UNICAST)
    body = struct.pack("=BBBBBBBBI", family, 0, 0, 0, *of, 0)
    body += _attribute(_RTA_GATEWAY, packed) + _number(_RTA_OIF, index)
    return Message(f"RTM_NEWROUTE default via {gateway}", RTM_NEWROUTE, _NEW, body)


def _packed(address: str) -> tuple[int, bytes]:
    family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
    return family, _socket.inet_pton(family, address)
