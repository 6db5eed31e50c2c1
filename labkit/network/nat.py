"""The rules of a network for nftables: written whole, by one atomic `nft -f -`.

They are in tables of our own, which nobody else changes. Nobody else's table is changed. It is
looked at, because a chain that drops what is forwarded cannot be undone by one of ours.
"""

import errno
import os
from _collections_abc import Iterable, Iterator, Sequence

from labkit.linux import path
from labkit.linux.fields import dataclass
from labkit.linux.refusal import refusal
from labkit.network.network import Port
from labkit.python import contextlib
from labkit.state.journal import undo
from labkit.text.words import Words

_PROGRAM = "nft"
CHAINS = "list chains\n"
"""Beside other commands it costs nothing more."""


@dataclass(frozen=True)
class Published:
    """A published port, and the address of the container that it leads to."""

    port: Port
    to: str


def table(link: str) -> str:
    """The name of a bridge's table."""
    return f"labkit_{link.replace('-', '_')}"


def written(
    link: str, subnets: Sequence[str], published: Iterable[Published], *, internal: bool = False
) -> str:
    """The tables of a network, for `nft -f -`; what was in them before is gone.

    subnets: of IPv4, and of IPv6 if there is one. internal: nothing gets in or out.
    """
    known = list(published)
    families = [("ip", "127.0.0.0/8"), ("ip6", "::1/128")]
    lines: list[str] = []
    for (family, loopback), subnet in zip(families, subnets, strict=False):
        ours = [each for each in known if (":" in each.to) == (family == "ip6")]
        lines += _fresh(f"{family} {table(link)}")
        lines += [f"table {family} {table(link)} {{", *_published(family, ours)]
        lines += [*(_closed(link) if internal else _chains(link, subnet, loopback)), "}"]
    return "\n".join(lines) + "\n"


def _fresh(name: str) -> list[str]:
    """Remove a table, whether it is there or not: to add one that is there changes nothing."""
    return [f"add table {name}", f"delete table {name}"]


def _published(family: str, published: Iterable[Published]) -> Iterator[str]:
    """The chain that both ways to a published port pass: from elsewhere, and from this machine."""
    yield "chain published {"
    for each in published:
        at = f"{family} daddr {each.port.address} " if each.port.address else ""
        to = f"[{each.to}]" if family == "ip6" else each.to
        kind = each.port.kind
        yield f"{at}{kind} dport {each.port.host} dnat to {to}:{each.port.inside}"
    yield "}"


def _chains(link: str, subnet: str, loopback: str) -> list[str]:
    """Where the kernel's path of a packet leads to our rules.

    What comes from elsewhere passes prerouting. What this machine sends itself does not: it passes
    output. A container that calls a published port of its own bridge gets the answer from there
    only if its own address is replaced too; and so does a caller on 127.0.0.1.
    """
    family = "ip6" if ":" in subnet else "ip"
    return [
        "chain guard { type filter hook prerouting priority raw;",
        # route_localnet lets a container send to 127.0.0.1 on this machine. None of them may.
        f'iifname "{link}" {family} daddr {loopback} drop',
        "}",
        "chain prerouting { type nat hook prerouting priority dstnat;",
        "fib daddr type local jump published",
        "}",
        "chain output { type nat hook output priority -100;",
        "fib daddr type local jump published",
        "}",
        "chain postrouting { type nat hook postrouting priority srcnat;",
        f'{family} saddr {subnet} oifname != "{link}" masquerade',
        f'{family} saddr {subnet} oifname "{link}" ct status dnat masquerade',
        f'{family} saddr {loopback} oifname "{link}" masquerade',
        "}",
    ]


def _closed(link: str) -> list[str]:
    """What keeps a network to itself: docker network create --internal."""
    return [
        "chain forward { type filter hook forward priority filter;",
        f'iifname "{link}" oifname != "{link}" drop',
        f'oifname "{link}" iifname != "{link}" drop',
        "}",
    ]


def program() -> str | None:
    """The path of nft, if it is there."""
    return path.found(_PROGRAM, f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def apply(text: str) -> str:
    """Have nft carry out `text`, all of it or nothing; what it prints. Raises what was refused."""
    nft = program()
    if nft is None:
        raise FileNotFoundError(
            Words(
                "没有 nft 程序：容器之间能通，但出不去，也不能发布端口；请装 nftables",
                "there is no program nft: containers reach one another on their bridge, but "
                "nothing beyond it, and no port can be published; install nftables",
            )
        )
    import subprocess  # only who changes the rules pays for it

    done = subprocess.run([nft, "-f", "-"], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise refusal("nft -f -", _number(done.stderr)) from OSError(done.stderr.strip())
    return done.stdout


def closed_to(link: str, chains: str, families: Sequence[str]) -> list[str]:
    """The chains that drop what a bridge forwards, such as "ip filter FORWARD" of Docker's.

    chains: what `list chains` has printed. A chain whose table names the bridge has a rule for it.
    """
    found, family, chain = [], "", ""
    for words in filter(None, map(str.split, chains.splitlines())):
        if words[0] == "table":
            family, table = words[1:3]
        elif words[0] == "chain":
            chain = words[1]
        elif "hook forward" in (line := " ".join(words)) and "policy drop" in line:
            found += [f"{family} {table} {chain}"] * (family in families)
    return [each for each in found if f'"{link}"' not in _listed(each)]


def _listed(chain: str) -> str:
    """The table that a chain is in."""
    return apply(f"list table {chain.rpartition(' ')[0]}\n")


def _number(said: str) -> int:
    """The errno in what nft says: it names it in words."""
    known = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOENT, errno.EEXIST, errno.EBUSY, errno.EINVAL)
    return next((n for n in known if os.strerror(n) in said), errno.EIO)


@undo("nft")
def remove(link: str) -> None:
    """Remove a network's tables."""
    if program() is not None:
        lines = [line for family in ("ip", "ip6") for line in _fresh(f"{family} {table(link)}")]
        with contextlib.suppress(PermissionError):  # another user's namespace: they are not here
            apply("\n".join(lines) + "\n")
