"""What the cells of V0.9 have at hand: machines to wire, pages, the way of a packet."""

import contextlib
import errno
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pyroute2 import IPRoute

from labkit import Root, Running
from labkit.network.network import Network
from labkit.notebook.cells.within import within
from labkit.notebook.lessons import common
from labkit.notebook.lessons.common import *  # noqa: F403 - a lesson's cells have them at hand too
from labkit.notebook.lessons.common import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUTS,
    Container,
    start,
)
from labkit.notebook.widgets.topology import topology
from labkit.text.tables import columns
from labkit.text.words import Words

__all__ = [
    "SERVE",
    "WALLS",
    "IPRoute",
    "Network",
    "Root",
    "ask",
    "by_name",
    "datagram",
    "fetch",
    "hops",
    "machine",
    "nft",
    "plug",
    "serving",
    "topology",
    "within",
]
__all__ += common.__all__

WALLS = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWNET
_PAGE = r"""
import socket
served = socket.create_server(("", 80))
print("ready", flush=True)
while True:
    caller, (address, _) = served.accept()
    body = f"hello, {address}\n"
    caller.recv(1000)
    caller.sendall(f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    caller.close()
"""
SERVE = ("python3", "-c", _PAGE)
"""A program that serves one page on port 80: it greets its caller by address."""
_CONNECTING, _READING = 2.5, 30.0  # seconds: the kernel answers at once, a program when it can
_FORWARD = "/proc/sys/net/ipv4/ip_forward"
_BRIDGED = "/proc/sys/net/bridge/bridge-nf-call-iptables"


def machine(name: str) -> Running:
    """A machine to be wired, thrown away at the end: a network of its own, lo alone."""
    box = Container(("sleep", "infinity"), cloneflags=CLONE_NEWNET | CLONE_NEWUTS, hostname=name)
    made = start(box)
    within(made, _boot)
    return made


def _boot() -> None:
    """Bring lo up, and have the machine be as Linux is at first, also beside a running Docker.

    Docker lets the machine forward, which a new network takes over. And br_netfilter, which Docker
    loads, has each bridge filter its packets.
    """
    with IPRoute() as netlink:
        netlink.link("set", index=1, state="up")
    for path in (_FORWARD, _BRIDGED):
        with contextlib.suppress(FileNotFoundError), open(path, "w", encoding="ascii") as file:
            file.write("0")


def serving(box: Running) -> Running:
    """The same, when its page is there."""
    until = time.monotonic() + _READING
    while "ready" not in box.stdout and time.monotonic() < until:
        time.sleep(0.01)
    return box


def ask(box: Running, address: str) -> str:
    """What a program in a container gets from a server, or what the kernel says instead."""
    return within(box, fetch, address)


def fetch(address: str) -> str:
    """The same, for a function that is in there already."""
    host, _, port = address.partition(":")
    try:
        with socket.create_connection((host, int(port or 80)), timeout=_CONNECTING) as server:
            server.settimeout(_READING)
            server.sendall(b"GET / HTTP/1.0\r\n\r\n")
            said = b"".join(iter(lambda: server.recv(1000), b""))
    except OSError as error:
        return error.strerror or str(error)
    return said.decode().rpartition("\r\n")[2].strip()


def by_name(name: str) -> tuple[str, ...]:
    """A program that asks the server of this name, and prints what it says."""
    program = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"
    return ("python3", "-c", program, f"http://{name}/")


def datagram(box: Running, size: int) -> str:
    """Send a datagram with so many bytes, which must not be cut. Raises the kernel's refusal."""
    return within(box, _datagram, size)


def _datagram(size: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
        ours.sendto(bytes(size), ("10.0.0.1", 9))
    return "OK"


def plug(host: Running, box: Running, name: str, address: str, gateway: str = "") -> None:
    """The steps above for one more: a cable to the bridge br0, an address, both ends up."""
    within(host, _cable, name, box.pid, "br0")
    within(box, _end, address, gateway)


def _cable(name: str, pid: int, bridge: str) -> None:
    with IPRoute() as netlink:
        peer = {"ifname": "eth0", "net_ns_pid": pid}
        netlink.link("add", ifname=name, kind="veth", peer=peer)
        [end], [master] = netlink.link_lookup(ifname=name), netlink.link_lookup(ifname=bridge)
        netlink.link("set", index=end, master=master, state="up")


def _end(address: str, gateway: str) -> None:
    with IPRoute() as netlink:
        [end] = netlink.link_lookup(ifname="eth0")
        netlink.addr("add", index=end, address=address, prefixlen=24)
        for each in (1, end):
            netlink.link("set", index=each, state="up")
        if gateway:
            netlink.route("add", dst="default", gateway=gateway)


def nft(box: Running, rules: str) -> None:
    """Have nft load rules in a container's network. Raises OSError with what nft says of them."""
    within(box, _nft, rules)


def _nft(*words: str) -> str:
    program = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        raise FileNotFoundError(
            Words(
                "没有 nft 程序：请装 nftables", "there is no program nft: please install nftables"
            )
        )
    argv, text = ([program, "-f", "-"], words[0]) if len(words) == 1 else ([program, *words], "")
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        known = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP)
        number = next((n for n in known if os.strerror(n) in done.stderr), errno.EINVAL)
        raise OSError(number, done.stderr.strip())
    return done.stdout


# --- The way of a packet -------------------------------------------------------------------------

_WATCH = "table ip watch"
_HOOKS = {  # before that hook's NAT, and after it
    "prerouting": ("raw", "dstnat + 5"),
    "input": ("filter", "filter + 5"),
    "forward": ("filter", "filter + 5"),
    "output": ("raw", "-50"),
    "postrouting": ("raw", "srcnat + 5"),
}
_ORDER = {  # in which a packet passes them
    "from": ("prerouting", "input", "forward", "postrouting"),
    "here": ("output", "postrouting", "prerouting", "input"),
}
_LEFT = 'style="text-align:left"'
_HEADS = Words("经过", "hook"), Words("包", "packets"), Words("从", "from"), Words("到", "to")


@dataclass(frozen=True, repr=False)
class Hops:
    """Where the first packet of a connection passed. said: what came of the request.

    rows: hook, packets, then from and to, which NAT may have changed there.
    """

    said: str
    rows: Sequence[tuple[str, str, str, str]]

    def __str__(self) -> str:
        table = columns([list(map(str, _HEADS)), *map(list, self.rows)])
        return f"{self.said}\n{table}".rstrip()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        heads = "".join(f'<th scope="col" {_LEFT}>{words.html()}</th>' for words in _HEADS)
        cells = (
            f'<th scope="row" {_LEFT}>{hook}</th>'
            + "".join(f"<td {_LEFT}>{cell}</td>" for cell in rest)
            for hook, *rest in self.rows
        )
        body = "".join(f"<tr>{each}</tr>" for each in cells)
        return (
            f"<p><code>{self.said}</code></p>"
            f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
        )


def hops(host: Running, box: Running, address: str) -> Hops:
    """Ask a server, and count at each hook of the host the packets that open a connection."""
    nft(host, "".join(_rules()))
    try:
        said = ask(box, address)
        seen = {name: within(host, _recorded, name) for name in _names()}
    finally:
        within(host, _nft, "delete", "table", "ip", "watch")
    order = _ORDER["here" if seen["output"] else "from"]
    return Hops(said, [_hop(hook, seen) for hook in order if seen[hook]])


def _hop(hook: str, seen: dict[str, list[tuple[str, str, int]]]) -> tuple[str, str, str, str]:
    came, went, count = seen[hook][0]
    then, there, _ = (seen[f"{hook}_then"] or seen[hook])[0]
    changed = (
        (came if came == then else f"{came} ⇒ {then}"),
        (went if went == there else f"{went} ⇒ {there}"),
    )
    return (hook, str(count), *changed)


def _names() -> Iterator[str]:
    for hook in _HOOKS:
        yield from (hook, f"{hook}_then")


def _rules() -> Iterator[str]:
    """A set for each moment, which notes where a packet comes from, and where it goes."""
    yield f"{_WATCH} {{\n"
    for hook, priorities in _HOOKS.items():
        for name, priority in zip((hook, f"{hook}_then"), priorities, strict=True):
            yield f"set {name} {{\ntype ipv4_addr . ipv4_addr . inet_service\n"
            yield "flags dynamic\nsize 100\ncounter\n}\n"
            yield f"chain at_{name} {{\ntype filter hook {hook} priority {priority};\n"
            yield f"tcp flags & (syn | ack) == syn update @{name} "
            yield "{ ip saddr . ip daddr . tcp dport }\n}\n"
    yield "}\n"


def _recorded(name: str) -> list[tuple[str, str, int]]:
    """What a set has noted: from, to with its port, how often."""
    listed = json.loads(_nft("--json", "list", "set", "ip", "watch", name))["nftables"]
    [noted] = (each["set"].get("elem", []) for each in listed if "set" in each)
    found = []
    for each in noted:
        came, went, port = each["elem"]["val"]["concat"]
        found.append((came, f"{went}:{port}", each["elem"]["counter"]["packets"]))
    return found
