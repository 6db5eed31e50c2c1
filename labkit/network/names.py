"""Names of containers: what a container reads in /etc, and answers of DNS, RFC 1035.

Only what a resolver in a container asks is understood: one question in a packet. Any other goes on
to the servers that this machine asks itself.
"""

import _socket
import struct
from _collections_abc import Collection, Iterable, Mapping, Sequence

from labkit.network.network import HOST_GATEWAY

_A, _AAAA, _IN = 1, 28, 1
_TTL = 5  # seconds: a name may soon be another container's
_ANSWERED, _FAILED = 0x8580, 0x8182  # response, recursion asked for and available; then SERVFAIL
_HEADER = struct.Struct(">6H")


def hosts(
    known: Iterable[tuple[Sequence[str], Iterable[str]]],
    more: Iterable[str],
    gateway: str = "",
    *,
    short: bool = False,
) -> str:
    """What stands in /etc/hosts.

    known: names with their addresses. more: lines of --add-host, NAME:ADDRESS. gateway: what
    "host-gateway" is in them. short: without localhost.
    """
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"] * (not short)
    for line in more:
        name, _, address = line.partition(":")
        lines.append(f"{gateway if address == HOST_GATEWAY else address}\t{name}")
    for names, addresses in known:  # the first is its host name; for the others it asks
        lines += [f"{address}\t{name}" for address in addresses for name in names[:1]]
    return "\n".join(lines) + "\n"


def resolv_conf(
    servers: Iterable[str], search: Collection[str] = (), options: Collection[str] = ()
) -> str:
    """What stands in /etc/resolv.conf. The domain "." says that none is searched."""
    lines = [f"nameserver {server}" for server in servers]
    domains = [domain for domain in search if domain != "."]
    lines += [f"search {' '.join(domains)}"] * bool(domains)
    lines += [f"options {' '.join(options)}"] * bool(options)
    return "".join(f"{line}\n" for line in lines)


def servers(text: str) -> list[str]:
    """The name servers in the text of a resolv.conf."""
    words = [line.split() for line in text.splitlines()]
    return [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]


def answer(query: bytes, known: Mapping[str, Sequence[str]]) -> bytes | None:
    """The answer to a query for one of the names `known`; None: another server has to know.

    A name that is known has no address of the other family: that is an answer too.
    """
    asked = _question(query)
    if asked is None or asked[0] not in known:
        return None
    name, kind, end = asked
    family = {_A: _socket.AF_INET, _AAAA: _socket.AF_INET6}.get(kind)
    records = [_record(kind, a) for a in known[name] if family == _family(a)]
    number = _HEADER.unpack_from(query)[0]
    header = _HEADER.pack(number, _ANSWERED, 1, len(records), 0, 0)
    return header + query[_HEADER.size : end] + b"".join(records)


def failure(query: bytes) -> bytes:
    """The answer SERVFAIL: nobody could be asked."""
    return query[:2] + struct.pack(">5H", _FAILED, 0, 0, 0, 0)


def _family(address: str) -> int:
    return _socket.AF_INET6 if ":" in address else _socket.AF_INET


def _record(kind: int, address: str) -> bytes:
    """One resource record; its name is that of the question, at byte 12."""
    data = _socket.inet_pton(_family(address), address)
    return struct.pack(">HHHIH", 0xC000 | _HEADER.size, kind, _IN, _TTL, len(data)) + data


def _question(query: bytes) -> tuple[str, int, int] | None:
    """Name, type and end of the one question in a query; None if it is none."""
    try:
        _, flags, questions, *_ = _HEADER.unpack_from(query)
        labels, at = [], _HEADER.size
        while size := query[at]:
            labels.append(query[at + 1 : at + 1 + size].decode("ascii").lower())
            at += 1 + size
        kind, of = struct.unpack_from(">HH", query, at + 1)
    except (struct.error, IndexError, UnicodeDecodeError):
        return None
    if flags & 0x8000 or questions != 1 or of != _IN:
        return None
    return ".".join(labels), kind, at + 5
