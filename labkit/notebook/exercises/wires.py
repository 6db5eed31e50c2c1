"""Scenes with several network namespaces: a container, a machine elsewhere, and what they reach.

This runs where ``scenes.py`` does, in a machine that is thrown away, which plays the host here.
Each of the others is a process with a network namespace of its own, that serves its name as a page.
"""

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from labkit.linux.flags import CLONE_NEWNET
from labkit.linux.processes import setns
from labkit.notebook.exercises.stage import Facts, Function, born, inside
from labkit.notebook.widgets.wiring import look

HOST, BOX = "10.9.0.1", "10.9.0.2"  # on the cable of the container
GATE, FAR = "192.168.50.1", "192.168.50.2"  # on the cable to the machine elsewhere
PORTS = (80, 8080)
PREFIX = 24
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_SECONDS = 1.0  # until a connection counts as silence: the kernels of both sides answer at once
_SETTLED = 1.5  # seconds in which a new cable comes into use; the kernel looks once a second


def _netlink() -> Any:  # noqa: ANN401 - pyroute2's
    from pyroute2 import IPRoute

    return IPRoute()


def _served(name: str) -> int:
    """The PID of a process in a network of its own, whose page is its name. It ends with us."""
    reader, writer = os.pipe()
    pid = born(CLONE_NEWNET)
    if pid == 0:
        try:
            serve(name, lambda: os.write(writer, b"."))
        finally:
            os._exit(1)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    return pid


def serve(name: str, ready: Callable[[], object] = bool) -> None:
    """Give `name` to whoever connects to one of PORTS, for ever."""
    import select

    listening = [socket.create_server(("", port)) for port in PORTS]
    ready()
    while True:
        for each in select.select(listening, [], [])[0]:
            caller, _ = each.accept()
            with caller:
                caller.sendall(name.encode())


def within(pid: int, function: Callable[[], Any]) -> Any:  # noqa: ANN401 - as JSON has it
    """What `function` returns in the network of a process."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        with open(f"/proc/{pid}/ns/net") as file:
            setns(file.fileno(), CLONE_NEWNET)
        os.write(writer, json.dumps(function()).encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return json.loads(told)


def _settle() -> None:
    """Wait until the links that are up are in use: until then the kernel drops their packets."""
    until = time.monotonic() + _SETTLED
    with _netlink() as netlink:
        while time.monotonic() < until:
            ends = [m for m in netlink.get_links() if m["flags"] & 1 and m.get("link")]
            if all(m.get("operstate") == "UP" for m in ends):
                return
            time.sleep(0.02)


def asked(address: str, port: int = 80) -> str:
    """Who answers there; what the kernel says, if nobody does."""
    try:
        with socket.create_connection((address, port), timeout=_SECONDS) as server:
            server.settimeout(None)
            return server.recv(100).decode()
    except OSError as error:
        return error.strerror or str(error)


def _count_on() -> None:
    """Have our links numbered from 3, while a container's begin with 2.

    The kernel takes a cable into use at once if its ends have different numbers, and else when it
    next looks, once a second.
    """
    with _netlink() as netlink:
        netlink.link("add", ifname="spare", kind="bridge")
        netlink.link("del", index=netlink.link_lookup(ifname="spare")[0])


def _cable(name: str, address: str, pid: int, peer: str) -> None:
    """A cable from us to a process, with an address at each end, both up."""
    with _netlink() as netlink:
        there = {"ifname": "eth0", "net_ns_pid": pid}
        netlink.link("add", ifname=name, kind="veth", peer=there)
        _end(netlink, name, address)
    within(pid, lambda: _ours(peer))


def _ours(address: str) -> None:
    with _netlink() as netlink:
        _end(netlink, "eth0", address)


def _end(netlink: Any, name: str, address: str) -> None:  # noqa: ANN401 - pyroute2's
    [number] = netlink.link_lookup(ifname=name)
    netlink.addr("add", index=number, address=address, prefixlen=PREFIX)
    for each in (1, number):
        netlink.link("set", index=each, state="up")


def _places(box: int) -> dict[str, list[list[Any]]]:
    """The links of host and container, for a judge and for evidence."""
    return {"host": _links(), "box": within(box, _links)}


def _links() -> list[list[Any]]:
    return [[e.name, e.up, list(e.addresses), e.kind] for e in look().links]


# --- The scenes ----------------------------------------------------------------------------------


def connected(step: Function) -> Facts:
    """`step` is to lay a cable to a container, with addresses, so that each reaches the other."""
    _count_on()
    box = _served("box")
    child = inside(lambda: step(box), dict)
    places = _places(box)
    up = [link for links in places.values() for link in links if link[0] != "lo" and link[1]]
    if len(up) < len(places):
        return child | places | {"page": "-"}
    _settle()
    return child | places | {"page": asked(BOX)}


ROUTES = (  # first routes, then addresses; "default" is for all that no other route is for
    (
        (("default", "out"), ("10.0.0.0/8", "a"), ("10.9.0.0/16", "b"), ("10.9.7.0/24", "c")),
        ("10.9.7.3", "10.9.71.1", "10.200.0.1", "8.8.8.8"),
    ),
    (
        (("10.9.7.0/24", "c"), ("10.9.0.0/16", "b")),
        ("10.9.7.3", "10.9.8.1", "10.1.2.3", "8.8.8.8"),
    ),
)


def routed(step: Function) -> Facts:
    """`step` says by which link an address is reached; the kernel with the same routes says it."""
    children = []
    with _netlink() as netlink:
        numbers = _bridges(netlink, {link for routes, _ in ROUTES for _, link in routes})
    for routes, addresses in ROUTES:
        given: dict[str, Any] = {}

        def ask(given: dict[str, Any] = given, about: Any = (routes, addresses)) -> None:  # noqa: ANN401
            for address in about[1]:
                said = step([*about[0]], address)
                given[address] = said if isinstance(said, str | None) else repr(said)

        def look_up(given: dict[str, Any] = given, about: Any = (routes, addresses)) -> Facts:  # noqa: ANN401
            kernel = _kernels(numbers, *about)
            return {"routes": about[0], "given": given, "kernel": kernel}

        children.append(inside(ask, look_up))
    return children[0] | {"came": [came for child in children for came in child["came"]]}


def _bridges(netlink: Any, names: Iterable[str]) -> dict[str, int]:  # noqa: ANN401 - pyroute2's
    """Links that need no other end, by name."""
    for name in names:
        netlink.link("add", ifname=name, kind="bridge", state="up")
    return {name: netlink.link_lookup(ifname=name)[0] for name in names}


def _kernels(
    numbers: Mapping[str, int], routes: Sequence[tuple[str, str]], addresses: Sequence[str]
) -> dict[str, str | None]:
    """By which link the kernel reaches each address with these routes alone; None: by none."""
    names = {number: name for name, number in numbers.items()}
    found: dict[str, str | None] = {}
    with _netlink() as netlink:
        netlink.flush_routes(table=254)
        for to, link in routes:
            every = "0.0.0.0/0" if to == "default" else to
            netlink.route("add", dst=every, oif=numbers[link], scope=253)
        for address in addresses:
            try:
                [message] = netlink.route("get", dst=address)
                found[address] = names.get(message.get("oif"))
            except Exception as error:  # NetlinkError, which must not be imported at the top
                if getattr(error, "code", 0) != errno.ENETUNREACH:
                    raise
                found[address] = None
    return found


def published(step: Function) -> Facts:
    """`step` gives rules for nft, by which the host's port 8080 leads to the container."""
    _count_on()
    box, far = _wired()
    _forward("1")

    def load() -> None:
        done = _run(["nft", "-f", "-"], str(step()))
        said.extend(done.stderr.splitlines())

    said: list[str] = []
    child = inside(load, lambda: {"said": said})
    _settle()
    return child | {
        "far": within(far, lambda: asked(GATE, PORTS[1])),
        "here": asked(GATE, PORTS[1]),
        "others": asked(FAR, PORTS[1]),
        "box": box,
    }


def silent(step: Function) -> Facts:
    """`step` is to connect a container with the host, and with a machine behind the host."""
    _forward("0")  # as Linux begins; a new network has the machine's, which Docker has changed
    _count_on()
    box, far = _served("box"), _served("far")
    _cable("lan", GATE, far, FAR)
    own = born(0)
    if own == 0:
        serve("host")
    os.environ["PATH"] += f":{_SBIN}"
    child = inside(lambda: step(box), dict)
    _settle()
    reach = {"host": HOST, "far": FAR}
    return child | {name: within(box, partial(asked, a)) for name, a in reach.items()}


def _wired() -> tuple[int, int]:
    """A container with an address and a way out, and a machine elsewhere."""
    box, far = _served("box"), _served("far")
    _cable("to-box", HOST, box, BOX)
    _cable("lan", GATE, far, FAR)
    within(box, _default)
    return box, far


def _default() -> None:
    with _netlink() as netlink:
        netlink.route("add", dst="default", gateway=HOST)


def _forward(to: str = "1") -> None:
    """Whether we forward. A new network begins as the first one is: 1 beside Docker."""
    with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
        file.write(to)


def _run(argv: list[str], text: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which(argv[0], path=f"{os.environ['PATH']}:{_SBIN}")
    whole = [program or argv[0], *argv[1:]]
    return subprocess.run(whole, input=text, capture_output=True, text=True, check=False)
