"""Containers on a network: links, addresses, published ports, names; and nothing of it is left.

Each test has a network namespace of its own, with all of its processes. The machine's stays as it
was.
"""

import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import TUNNELS, stop, until, with_tunnels

from labkit import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    Container,
    Root,
    Running,
    run,
    start,
)
from labkit.docker import order as docker_order
from labkit.engine import connection
from labkit.network import bridge, encode, endpoint, names, nat, user_mode
from labkit.network.nat import Published
from labkit.network.network import Network, Port
from labkit.notebook.views import docker_line
from labkit.state import held, lock
from labkit.text.words import Advice, Words, words_of

HERE = Path(__file__).parent
OFF6 = "/proc/sys/net/ipv6/conf/all/disable_ipv6"
SERVE = """
import http.server, socketserver
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.client_address[0].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
class Server(socketserver.ThreadingTCPServer):  # HTTPServer would ask DNS for its own name
    daemon_threads = allow_reuse_address = True
    address_family = __import__("socket").AF_INET6
    request_queue_size = 128
server = Server(("::", 80), Answer)
print("ready", flush=True)
server.serve_forever()
"""
ASK = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).read().decode())"
FREE = ("0", ["lo"], "")  # of a machine without any network of ours: forwarding, links, rules


def in_own_network(test: Callable[[], None]) -> Callable[[], None]:
    """Run a test in a process and a network namespace of its own, and look what it leaves there."""
    vars(test)["inside"] = test

    @functools.wraps(test)
    def wrapper() -> None:
        with tempfile.TemporaryDirectory(prefix="labkit-network-", dir="/dev/shm") as state:
            program = f"import test_network as t; t.go(t.{test.__name__}.inside)"
            environment = os.environ | {"LABKIT_STATE": state, "PYTHONPATH": str(HERE)}
            command = ["unshare", "--net", sys.executable, "-c", program]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            assert done.stderr == ""
            left = [str(p) for p in Path(state).rglob("*") if not p.name.startswith(".")]
            assert {Path(p).name for p in left} <= {"run", "network"} | {
                p for p in map(os.path.basename, left) if p.isdigit()
            }

    # functools.wraps would show pytest the test itself
    del wrapper.__wrapped__
    return wrapper


def go(test: Callable[[], None]) -> None:
    """Run a test inside; the machine is as it was when its networks are given up."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("0")  # it begins as the machine has it
    assert machine() == FREE
    test()
    bridge.close()
    until(lambda: machine() == FREE)


def machine() -> tuple[str, list[str], str]:
    """What a network of ours changes: forwarding, links, rules."""
    links = json.loads(output("ip", "-j", "link"))
    forward = Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()
    return forward, [link["ifname"] for link in links], output("nft", "list", "ruleset")


def output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def ask(url: str) -> str:
    """What a server says to this machine itself."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        said: str = answer.read().decode()
    return said


@contextlib.contextmanager
def server(network: Network, name: str = "web") -> Iterator[Running]:
    """A container that serves its caller's address."""
    argv = (sys.executable, "-c", SERVE)
    box = Container(argv, network=network, hostname=name, cloneflags=CLONE_NEWUTS)
    with start(box) as running:
        until(lambda: "ready" in running.stdout or running.stderr)
        assert running.stderr == ""
        yield running


def client(url: str, network: Network | str = "bridge") -> str:
    """What a server says to a container."""
    done = run(Container((sys.executable, "-c", ASK, url), network=network), timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def address(running: Running) -> str:
    argv = ("ip", "-j", "-4", "addr", "show", "eth0")
    said = json.loads(running.exec(argv).stdout)
    found: str = said[0]["addr_info"][0]["local"]
    return found


# --- Messages -----------------------------------------------------------------------------------


def test_messages_are_pyroute2s_byte_by_byte() -> None:
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
    from pyroute2.netlink.rtnl.rtmsg import rtmsg

    def link(flags: int, kind: int, message: dict[str, object]) -> tuple[type, dict[str, object]]:
        return ifinfmsg, message | {"header": {"type": kind, "flags": flags, "sequence_number": 7}}

    up: dict[str, object] = {"flags": 1, "change": 1}
    bridge_info = {"attrs": [("IFLA_INFO_KIND", "bridge")]}
    peer = {"attrs": [("IFLA_IFNAME", "eth0"), ("IFLA_MTU", 1400), ("IFLA_NET_NS_FD", 9)]}
    veth = [
        ("IFLA_INFO_KIND", "veth"),
        ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", peer)]}),
    ]
    own = [("IFLA_IFNAME", "eth0"), ("IFLA_ADDRESS", "02:01:02:03:04:05"), ("IFLA_MTU", 1400)]
    own.append(("IFLA_NET_NS_FD", 9))
    with_mac = ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", {"attrs": own})]})
    hairpin = [
        ("IFLA_INFO_SLAVE_KIND", "bridge"),
        ("IFLA_INFO_SLAVE_DATA", {"attrs": [("IFLA_BRPORT_MODE", 1)]}),
    ]
    mac = bytes((2, 1, 2, 3, 4, 5))
    v4 = {"family": 2, "prefixlen": 20, "index": 3}
    of = {"table": 254, "proto": 3, "scope": 0, "type": 1}
    new = 0x605
    pairs = [
        (
            encode.new_bridge("labkit0", mac, 1400),
            link(
                new,
                16,
                up
                | {
                    "attrs": [
                        ("IFLA_IFNAME", "labkit0"),
                        ("IFLA_ADDRESS", "02:01:02:03:04:05"),
                        ("IFLA_MTU", 1400),
                        ("IFLA_LINKINFO", bridge_info),
                    ]
                },
            ),
        ),
        (
            encode.new_veth("lkab", 5, "eth0", 9, 1400),
            link(
                new,
                16,
                up
                | {
                    "attrs": [
                        ("IFLA_IFNAME", "lkab"),
                        ("IFLA_MTU", 1400),
                        ("IFLA_MASTER", 5),
                        ("IFLA_LINKINFO", {"attrs": veth}),
                    ]
                },
            ),
        ),
        (
            encode.new_veth("lkab", 5, "eth0", 9, 1400, mac),
            link(
                new,
                16,
                up
                | {
                    "attrs": [
                        ("IFLA_IFNAME", "lkab"),
                        ("IFLA_MTU", 1400),
                        ("IFLA_MASTER", 5),
                        ("IFLA_LINKINFO", {"attrs": [veth[0], with_mac]}),
                    ]
                },
            ),
        ),
        (
            encode.hairpin("lkab"),
            link(
                5,
                16,
                {
                    "attrs": [
                        ("IFLA_IFNAME", "lkab"),
                        ("IFLA_LINKINFO", {"attrs": hairpin}),
                    ]
                },
            ),
        ),
        (encode.link_up(4), link(5, 16, up | {"index": 4})),
        (
            encode.into_group("lkab"),
            link(5, 16, {"attrs": [("IFLA_IFNAME", "lkab"), ("IFLA_GROUP", 0x6C6B6474)]}),
        ),
        (encode.del_group(), link(5, 17, {"attrs": [("IFLA_GROUP", 0x6C6B6474)]})),
        (
            encode.new_address(3, "10.88.0.2", 20),
            (
                ifaddrmsg,
                v4
                | {
                    "attrs": [
                        ("IFA_ADDRESS", "10.88.0.2"),
                        ("IFA_LOCAL", "10.88.0.2"),
                        ("IFA_BROADCAST", "10.88.15.255"),
                    ],
                    "header": {"type": 20, "flags": new, "sequence_number": 7},
                },
            ),
        ),
        (
            encode.new_address(3, "fd00::2", 64),
            (
                ifaddrmsg,
                {
                    "family": 10,
                    "prefixlen": 64,
                    "index": 3,
                    "attrs": [
                        ("IFA_ADDRESS", "fd00::2"),
                        ("IFA_LOCAL", "fd00::2"),
                        ("IFA_FLAGS", 2),
                    ],
                    "header": {"type": 20, "flags": new, "sequence_number": 7},
                },
            ),
        ),
        (
            encode.default_route(3, "10.88.0.1"),
            (
                rtmsg,
                {"family": 2}
                | of
                | {
                    "attrs": [("RTA_GATEWAY", "10.88.0.1"), ("RTA_OIF", 3)],
                    "header": {"type": 24, "flags": new, "sequence_number": 7},
                },
            ),
        ),
    ]
    for ours, (kind, value) in pairs:
        theirs = kind()
        theirs.setvalue(value)
        theirs.encode()
        assert ours.encoded(7) == bytes(theirs.data), ours.said


# --- A container on a bridge --------------------------------------------------------------------


@in_own_network
def test_a_container_has_an_address_and_a_way_out() -> None:
    argv = ("sh", "-c", "ip -j addr; ip -j route")
    done = run(Container(argv, network="bridge"))
    links, routes = map(json.loads, done.stdout.splitlines())
    assert [link["ifname"] for link in links] == ["lo", "eth0"]
    assert all("UP" in link["flags"] for link in links)
    own = links[1]["addr_info"][0]
    assert (own["local"], own["prefixlen"], own["broadcast"]) == ("10.88.0.2", 16, "10.88.255.255")
    assert [r["gateway"] for r in routes if r["dst"] == "default"] == ["10.88.0.1"]
    assert done.inodes["net"] != os.stat("/proc/self/ns/net").st_ino


@in_own_network
def test_a_loopback_of_ones_own() -> None:
    for rootless in False, True:
        done = run(Container(("ip", "-j", "link"), network="none", rootless=rootless))
        links = json.loads(done.stdout)
        assert [(link["ifname"], "UP" in link["flags"]) for link in links] == [("lo", True)]
        assert 'SIOCSIFFLAGS, {ifr_name="lo", ifr_flags=IFF_UP}) = 0' in "".join(done.trace)
    assert machine() == FREE


@in_own_network
def test_the_hosts_network_is_the_hosts() -> None:
    done = run(Container(("ip", "-j", "link"), network="host"))
    assert done.stdout == output("ip", "-j", "link")
    assert done.inodes["net"] == os.stat("/proc/self/ns/net").st_ino


@in_own_network
def test_the_network_of_another_container() -> None:
    with start(Container(("sleep", "1000"), network="bridge")) as first:
        for network in (first, f"container:{first.pid}"):
            box = Container(("ip", "-j", "-4", "addr", "show", "eth0"), network=network)
            done = run(box)
            assert json.loads(done.stdout)[0]["addr_info"][0]["local"] == address(first)
            assert done.inodes["net"] == first.inodes["net"]


@in_own_network
def test_root_of_a_user_namespace_has_a_network_too() -> None:
    argv = ("sh", "-c", "ip -j addr show eth0 && ip link set eth0 down && echo may")
    done = run(Container(argv, network="bridge", rootless=True))
    assert json.loads(done.stdout.splitlines()[0])[0]["addr_info"][0]["local"] == "10.88.0.2"
    assert done.stdout.splitlines()[1:] == ["may"]  # the namespace is its own


@in_own_network
def test_no_address_twice_while_its_container_lives() -> None:
    box = Container(("sleep", "1000"), network="bridge")
    found: list[str] = []
    with contextlib.ExitStack() as stack:

        def begin() -> None:
            running = stack.enter_context(start(box))
            found.append(address(running))

        threads = [threading.Thread(target=begin) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(found)) == 8
        assert address(stack.enter_context(start(box))) not in found


@in_own_network
def test_a_full_subnet_says_so_and_a_released_address_comes_again() -> None:
    network = Network("small", subnet="10.99.0.0/30")
    with start(Container(("sleep", "1000"), network=network)) as first:
        assert address(first) == "10.99.0.2"
        with pytest.raises(ValueError, match="no address left"):
            run(Container(("true",), network=network))
    assert run(Container(("true",), network=network)).returncode == 0


@in_own_network
def test_an_address_asked_for_and_mtu_and_ipv6() -> None:
    network = Network(
        "six",
        subnet="10.99.0.0/24",
        ipv6="fd00:99::/64",
        mtu=1280,
        address="10.99.0.9",
        mac="02:00:00:00:00:09",
    )
    with server(network) as web:
        (link,) = json.loads(web.exec(("ip", "-j", "addr", "show", "eth0")).stdout)
        assert (link["mtu"], link["address"]) == (1280, "02:00:00:00:00:09")
        assert {"10.99.0.9", "fd00:99::a"} <= {each["local"] for each in link["addr_info"]}
        own = replace(network, address="", mac="")
        assert client("http://[fd00:99::a]/", own).startswith("fd00:99::")
        with pytest.raises(ValueError, match="is taken"):
            run(Container(("true",), network=network))
        taken = replace(own, address6="fd00:99::a")
        with pytest.raises(ValueError, match="fd00:99::a is taken"):
            run(Container(("true",), network=taken))
        with start(Container(("sleep", "9"), network=replace(own, address6="fd00:99::77"))) as far:
            assert far.addresses[1] == "fd00:99::77"


@in_own_network
def test_a_network_that_this_machine_cannot_have() -> None:
    run(Container(("true",), network="bridge"))
    bridge_ = run(Container(("true",), network=Network(address="10.88.0.77")))
    assert bridge_.returncode == 0
    Path(OFF6).write_text("1")
    for network, why in (
        (Network("a", subnet="10.88.4.0/24"), "overlaps with a route"),
        (Network("a", ipv6="fd00:99::/64"), "has IPv6 off"),
        (Network(address="10.77.0.4"), "is not in subnet 10.88.0.0/16"),
        (Network(address6="fd00::4"), "has no IPv6"),
    ):
        with pytest.raises(ValueError, match=why) as refused:
            run(Container(("true",), network=network))
        (words,) = words_of(refused.value)
        assert words.zh != words.en
    Path(OFF6).write_text("0")


@in_own_network
def test_networks_are_apart_and_each_is_made_once() -> None:
    with server(Network("one")) as web, start(Container(("sleep", "9"), network="two")) as other:
        assert address(web).rpartition(".")[0] != address(other).rpartition(".")[0]
        assert {"lk-one", "lk-two"} <= set(machine()[1])
        with pytest.raises(ValueError, match="is there already"):
            run(Container(("true",), network=Network("one", subnet="10.120.0.0/24")))


@in_own_network
def test_a_program_that_is_not_there_leaves_nothing() -> None:
    done = run(Container(("no such program",), network=Network(publish=("8080:80",))))
    assert done.returncode == 127
    assert "dnat to" not in machine()[2]
    until(lambda: machine()[1] == ["lo", "labkit0"])


@in_own_network
def test_who_may_not_make_links_hears_it() -> None:
    program = (
        "from labkit import Container, run\n"
        "try: run(Container(('true',), network='bridge'))\n"
        "except PermissionError as error: print(error, *error.__notes__, sep='\\n')\n"
    )
    drop = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-all"]
    said = output(*drop, sys.executable, "-c", program)
    assert "RTM_NEWLINK" in said
    assert 'network="none" still works' in said


# --- Published ports ----------------------------------------------------------------------------


@contextlib.contextmanager
def neighbour() -> Iterator[Callable[..., str]]:
    """Another host, on a wire of its own: 192.0.2.2; this machine is 192.0.2.1."""
    with subprocess.Popen(["unshare", "--net", "sleep", "1000"]) as other:
        own = os.stat("/proc/self/ns/net").st_ino
        until(lambda: os.stat(f"/proc/{other.pid}/ns/net").st_ino != own)
        enter = ["nsenter", "--net", "--target", str(other.pid)]
        output("ip", "link", "add", "wire", "type", "veth", "peer", "wire", "netns", str(other.pid))
        output("ip", "addr", "add", "192.0.2.1/24", "dev", "wire")
        output("ip", "link", "set", "wire", "up")
        output(*enter, "ip", "addr", "add", "192.0.2.2/24", "dev", "wire")
        output(*enter, "ip", "link", "set", "wire", "up")
        output("ip", "addr", "add", "2001:db8::1/64", "dev", "wire", "nodad")
        output(*enter, "ip", "addr", "add", "2001:db8::2/64", "dev", "wire", "nodad")
        try:
            yield lambda *argv: output(*enter, *argv)
        finally:
            output("ip", "link", "del", "wire")
            other.kill()


@in_own_network
def test_a_published_port_from_everywhere() -> None:
    with neighbour() as elsewhere, server(Network(publish=("8080:80",))) as web:
        own = address(web)
        ways = {
            "another host": elsewhere(sys.executable, "-c", ASK, "http://192.0.2.1:8080").strip(),
            "this machine": ask("http://127.0.0.1:8080"),
            "its address": ask("http://192.0.2.1:8080"),
            "a container": client("http://10.88.0.1:8080"),
            "the container itself": client("http://10.88.0.1:8080", f"container:{web.pid}"),
        }
        assert ways == {
            "another host": "::ffff:192.0.2.2",  # its address is not replaced
            "this machine": "::ffff:10.88.0.1",
            "its address": "::ffff:192.0.2.1",
            "a container": "::ffff:10.88.0.1",
            "the container itself": "::ffff:10.88.0.1",
        }, ways
        assert own != "10.88.0.1"


ECHO = """
import selectors, socket
waiting = selectors.DefaultSelector()
for kind, port in (1, 80), (1, 81), (2, 53):
    s = socket.socket(socket.AF_INET6, kind)
    s.bind(("::", port))
    if kind == 1: s.listen()
    waiting.register(s, 1)
print("ready", flush=True)
while True:
    for key, _ in waiting.select():
        if key.fileobj.type == 2:
            data, who = key.fileobj.recvfrom(99)
            key.fileobj.sendto(b"53", who)
        else:
            c, _ = key.fileobj.accept()
            with c: c.sendall(str(c.getsockname()[1]).encode())
"""
CALL = """
import socket, sys
for word in sys.argv[1:]:
    kind, host, port = word.split(",")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, int(kind)) as s:
        s.settimeout(20)
        s.connect((host, int(port)))
        s.send(b"?")
        print(s.recv(99).decode())
"""


@in_own_network
def test_ranges_udp_and_ipv6_from_everywhere() -> None:
    network = Network(publish=("8000-8001:80-81", "5353:53/udp"), ipv6="fd00:88::/64")
    box = Container((sys.executable, "-c", ECHO), network=network)
    with neighbour() as elsewhere, start(box) as running:
        until(lambda: "ready" in running.stdout or running.stderr)
        ports = ("1,{},8000", "1,{},8001", "2,{},5353")

        def words(*hosts: str) -> list[str]:
            return [sys.executable, "-c", CALL, *(p.format(h) for h in hosts for p in ports)]

        ours = words("192.0.2.1", "2001:db8::1", "10.88.0.1", "fd00:88::1")
        answers = "80\n81\n53\n"
        assert elsewhere(*words("192.0.2.1", "2001:db8::1")) == answers * 2
        assert output(*words("127.0.0.1"), *ours[3:]) == answers * 5
        for at in network, f"container:{running.pid}":  # another container; the container itself
            calling = Container(ours, network=at if at is not network else "bridge")
            assert run(calling, timeout=60).stdout == answers * 4


@in_own_network
def test_a_container_reaches_other_hosts_by_this_machines_address() -> None:
    with neighbour() as elsewhere:
        serve = SERVE.replace('("::", 80)', '("::", 8000)')
        out = elsewhere("sh", "-c", f"{sys.executable} -c '{serve}' >/dev/null 2>&1 & echo $!")
        try:
            until(lambda: _answers("http://192.0.2.2:8000"))
            assert client("http://192.0.2.2:8000") == "::ffff:192.0.2.1"
        finally:
            os.kill(int(out), signal.SIGKILL)


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError):
        return bool(ask(url))
    return False


@in_own_network
def test_a_port_of_loopback_is_for_this_machine_alone() -> None:
    with neighbour() as elsewhere, server(Network(publish=("127.0.0.1:9090:80",))):
        assert ask("http://127.0.0.1:9090") == "::ffff:10.88.0.1"
        with pytest.raises(subprocess.CalledProcessError):
            elsewhere(sys.executable, "-c", ASK, "http://192.0.2.1:9090")


@in_own_network
def test_no_container_reaches_what_listens_on_loopback() -> None:
    """route_localnet alone would open 127.0.0.1 of this machine to all containers."""
    with socket.create_server(("127.0.0.1", 7777)) as private:
        private.settimeout(0.2)
        steps = (
            "ip route add 127.0.0.1 via 10.88.0.1 dev eth0 table 9 onlink; ip rule add prio 0 "
            "table 9; ip rule del prio 0 table local; "
            "echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet; "
            f"timeout 2 {sys.executable} -c 'import socket; "
            'socket.create_connection(("127.0.0.1", 7777), 1)\''
        )
        run(Container(("sh", "-c", steps), network="bridge"))
        with pytest.raises(TimeoutError):
            private.accept()


@in_own_network
def test_udp_ranges_and_free_ports() -> None:
    echo = (
        "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 53)); "
        "print('ready', flush=True)\n"
        "while True: data, who = s.recvfrom(99); s.sendto(data[::-1], who)"
    )
    network = Network(publish=("5353:53/udp", "8000-8001:80-81", "90"))
    with start(Container((sys.executable, "-c", echo), network=network)) as running:
        until(lambda: "ready" in running.stdout)
        with socket.socket(type=socket.SOCK_DGRAM) as ours:
            ours.settimeout(10)
            ours.sendto(b"abc", ("127.0.0.1", 5353))
            assert ours.recv(99) == b"cba"
        rules = machine()[2]
        for rule in ("udp dport 5353 dnat to", "tcp dport 8000", "tcp dport 8001"):
            assert rule in rules
        free = [port for port in running.ports if port.inside == 90]
        assert [str(port) for port in free] == [f"0.0.0.0:{free[0].host}->90/tcp"]
        assert free[0].host > 1023


@in_own_network
def test_a_port_that_is_taken_is_refused() -> None:
    network = Network(publish=("8080:80",))
    with start(Container(("sleep", "9"), network=network)):
        with pytest.raises(OSError, match="8080") as refused:
            run(Container(("true",), network=network))
        assert "Another program has this port" in "".join(refused.value.__notes__)
        elsewhere = Network(publish=("192.0.2.77:8080:80",))
        with pytest.raises(OSError, match="8080") as refused:
            run(Container(("true",), network=elsewhere))
        assert "does not have that address" in "".join(refused.value.__notes__)
    assert run(Container(("true",), network=network)).returncode == 0


@in_own_network
def test_a_bounded_load_on_a_published_port() -> None:
    with server(Network(publish=("8080:80",))):
        answers: list[str] = []

        def many() -> None:
            answers.extend(ask("http://127.0.0.1:8080") for _ in range(25))

        threads = [threading.Thread(target=many) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 200


UFW = """
table ip filter {
  chain INPUT { type filter hook input priority 0; policy drop;
    iifname "lo" accept
    ct state established,related accept
    tcp dport 22 accept
    jump ufw-user-input
  }
  chain ufw-user-input {
  }
  chain FORWARD { type filter hook forward priority 0; policy accept;
    ct state established,related accept
  }
}
"""
FIREWALLD = """
table inet firewalld {
  chain mangle_PREROUTING { type filter hook prerouting priority -140; policy accept;
  }
  chain nat_PREROUTING { type nat hook prerouting priority -90; policy accept;
  }
  chain filter_INPUT { type filter hook input priority 10; policy accept;
    ct state established,related accept
    iifname "lo" accept
    ct state invalid drop
  }
}
"""


def _of_users() -> str:
    """The rules that are not ours."""
    parts = output("nft", "list", "ruleset").split("\ntable ")
    return "\n".join(part for part in parts if "labkit" not in part.splitlines()[0])


@in_own_network
def test_the_users_own_firewall_stays_as_it_is() -> None:
    subprocess.run(["nft", "-f", "-"], input=UFW + FIREWALLD, text=True, check=True)
    before = output("nft", "list", "ruleset")
    with server(Network(publish=("8080:80",))):
        assert ask("http://127.0.0.1:8080")
        assert "ufw-user-input" in _of_users()
        assert "labkit" in output("nft", "list", "ruleset")
    bridge.close()
    until(lambda: output("nft", "list", "ruleset") == before)
    output("nft", "flush", "ruleset")


DOCKER = """
table ip filter {
  chain FORWARD { type filter hook forward priority 0; policy drop;
    jump DOCKER-USER
  }
  chain DOCKER-USER { return
  }
}
table ip6 filter {
  chain FORWARD { type filter hook forward priority 0; policy drop;
  }
}
"""


@in_own_network
def test_a_firewall_that_drops_what_is_forwarded_is_named() -> None:
    """As Docker's does while it runs. What the advice says lets the containers through."""
    subprocess.run(["nft", "-f", "-"], input=DOCKER, text=True, check=True)
    with pytest.warns(Advice, match="ip filter FORWARD.*Docker") as told:
        run(Container(("true",), network="bridge"))
    assert len(told) == 1
    assert "ip6" not in str(told[0].message)
    bridge.close()
    until(lambda: machine()[1] == ["lo"])
    for line in str(told[0].message).rpartition("let them: ")[2].split("; "):
        subprocess.run(line.split(), check=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with server(Network()) as running:
            assert client(f"http://{running.addresses[0]}:80")
    output("nft", "flush", "ruleset")


@in_own_network
def test_forwarding_that_was_on_stays_on() -> None:
    forward = Path("/proc/sys/net/ipv4/ip_forward")
    forward.write_text("1")
    run(Container(("true",), network="bridge"))
    bridge.close()
    until(lambda: machine()[1] == ["lo"])
    assert forward.read_text() == "1\n"
    forward.write_text("0")


# --- Names --------------------------------------------------------------------------------------


def with_root(
    program: str, *arguments: str, name: str, network: Network | str = "bridge"
) -> Container:
    """A container with a root of its own, in which Python runs `program`."""
    flags = CLONE_NEWUTS | CLONE_NEWNS
    root = Root(layers=("/",), bare=False)
    argv = (sys.executable, "-c", program, *arguments)
    return Container(argv, network=network, hostname=name, cloneflags=flags, root=root)


RESOLVE = "import socket, sys; print(*(socket.gethostbyname(n) for n in sys.argv[1:]))"


@in_own_network
def test_containers_of_a_network_know_one_another_by_name() -> None:
    with (
        server(Network(aliases=("db",))) as web,
        start(Container(("sleep", "99"), network="other", hostname="far", cloneflags=CLONE_NEWUTS)),
    ):
        done = run(with_root(RESOLVE, "web", "db", "WEB", "me", name="me"))
        own = address(web)
        assert done.stdout.split()[:3] == [own] * 3
        done = run(with_root(RESOLVE, "far", name="me"))
        assert "gaierror" in done.stderr
    done = run(with_root(RESOLVE, "web", name="me"))
    assert "gaierror" in done.stderr  # it has ended


@in_own_network
def test_fifty_containers_call_one_another_by_name() -> None:
    program = (
        "import socket, sys, threading\n"
        "s = socket.create_server(('', 80)); print('ready', flush=True)\n"
        "def serve():\n"
        "    while True: c, _ = s.accept(); c.sendall(socket.gethostname().encode()); c.close()\n"
        "threading.Thread(target=serve, daemon=True).start()\n"
        "sys.stdin.readline()\n"
        "c = socket.create_connection((sys.argv[1], 80), 30)\n"
        "print(c.recv(99).decode(), flush=True); sys.stdin.readline()"
    )
    count = 50
    with contextlib.ExitStack() as stack:
        ends = [os.pipe() for _ in range(count)]
        for pair in ends:
            stack.callback(os.close, pair[1])
        boxes = [with_root(program, f"c{(n + 1) % count}", name=f"c{n}") for n in range(count)]
        all_ = [
            stack.enter_context(start(box, stdin=pair[0]))
            for box, pair in zip(boxes, ends, strict=True)
        ]
        for pair in ends:
            os.close(pair[0])
        until(lambda: all("ready" in each.stdout for each in all_), 120)
        for pair in ends:
            os.write(pair[1], b"\n")
        until(lambda: all(each.stdout.count("\n") == 2 for each in all_), 300)
        assert [each.stdout.split()[1] for each in all_] == [
            f"c{(n + 1) % count}" for n in range(count)
        ]


@in_own_network
def test_a_link_goes_although_a_socket_keeps_its_namespace() -> None:
    """A socket whose neighbour has gone sends its last segment again for two minutes."""
    serve = (
        "import socket; s = socket.create_server(('', 80)); print('ready', flush=True)\n"
        "c, _ = s.accept(); s.accept()"
    )
    call = (
        "import socket, sys, time; c = socket.create_connection((sys.argv[1], 80)); "
        "print('ready', flush=True); time.sleep(1000)"
    )
    network = Network("small", subnet="10.99.0.0/29")
    with start(Container((sys.executable, "-c", serve), network=network)) as first:
        until(lambda: "ready" in first.stdout)
        box = Container((sys.executable, "-c", call, first.addresses[0]), network=network)
        second = start(box)
        until(lambda: "ready" in second.stdout)
    until(lambda: len(machine()[1]) == 3)  # the first has gone: lo, bridge, the second's link
    link = machine()[1][2]
    with second:
        pass  # the kernel keeps its link now; the helper may have removed it already
    for _ in range(5):  # the subnet has five addresses; the second's comes again when it is free
        run(Container(("true",), network=network))
    assert link not in machine()[1]


@in_own_network
def test_hosts_and_resolv_conf() -> None:
    program = "print(open('/etc/hosts').read(), open('/etc/resolv.conf').read(), sep='|')"
    network = Network(hosts=("db:10.0.0.7",), aliases=("alias",))
    hosts, resolv = run(with_root(program, name="me", network=network)).stdout.split("|")
    assert hosts.splitlines()[2:] == ["10.0.0.7\tdb", "10.88.0.2\tme"]
    assert resolv.strip() == "nameserver 10.88.0.1"


def _query(name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return b"\x12\x34\x01\x00\x00\x01" + bytes(6) + labels + b"\0" + bytes((0, kind, 0, 1))


@in_own_network
def test_other_names_go_on_to_another_server() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 53))
        other.settimeout(30)
        network = Network(dns=("127.0.0.1",))
        ask_ = (
            "import socket, sys; s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(30); "
            "s.sendto(bytes.fromhex(sys.argv[1]), ('10.88.0.1', 53)); print(s.recv(999).hex())"
        )
        box = Container((sys.executable, "-c", ask_, _query("example.org").hex()), network=network)
        with start(box) as running:
            query, client_ = other.recvfrom(999)
            assert query == _query("example.org")
            other.sendto(b"\x12\x34 the answer", client_)
            assert bytes.fromhex(running.wait(30).stdout) == b"\x12\x34 the answer"


def test_answers_of_dns() -> None:
    known = {"web": ["10.0.0.2", "fd00::2"]}
    answer = names.answer(_query("Web"), known)
    assert answer == (
        b"\x12\x34\x85\x80\0\1\0\1\0\0\0\0"
        + _query("Web")[12:]
        + b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4\x0a\0\0\2"
    )
    six = names.answer(_query("web", 28), known)
    assert six
    assert six.endswith(socket.inet_pton(socket.AF_INET6, "fd00::2"))
    text = names.answer(_query("web", 16), known)  # it is known, and has no such record
    assert text
    assert text[6:8] == b"\0\0"
    assert names.answer(_query("other"), known) is None
    whole = _query("web")
    for size in range(len(whole)):
        assert names.answer(whole[:size], known) is None
    assert names.failure(whole)[3] & 15 == 2


# --- Nothing is left ----------------------------------------------------------------------------

CALLER = """
import os
from labkit import Container, start
from labkit.network.network import Network
running = start(Container(("sleep", "1000"), network=Network(publish=("8080:80",))))
print("ready", flush=True)
os.read(0, 1)
"""


@contextlib.contextmanager
def _caller() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has published a port of a container, and waits."""
    command = [sys.executable, "-c", CALLER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as caller:
        assert caller.stdout
        assert caller.stdout.readline() == b"ready\n"
        yield caller


@in_own_network
def test_a_killed_caller_leaves_nothing() -> None:
    with _caller() as caller:
        assert "8080" in machine()[2]
        caller.kill()
    until(lambda: machine() == FREE)


@in_own_network
def test_a_killed_engine_leaves_nothing() -> None:
    running = start(Container(("sleep", "1000"), network=Network(publish=("8080:80",))))
    os.kill(connection._current.get().pid, signal.SIGKILL)
    with pytest.raises(OSError, match="engine"):
        running.wait(60)
    assert "8080" not in machine()[2]
    assert run(Container(("true",), network="bridge")).returncode == 0


@in_own_network
def test_a_killed_caller_leaves_its_neighbours_alone() -> None:
    with server(Network(publish=("9090:80",))):
        with _caller() as caller:
            caller.kill()
        assert ask("http://127.0.0.1:9090")
        run(Container(("true",), network="bridge"))  # who comes next removes what it has left
        assert "8080" not in machine()[2]
        assert ask("http://127.0.0.1:9090")


def _helpers() -> list[int]:
    own = os.stat("/proc/self/ns/net").st_ino
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"helper.main()" in words and os.stat(f"/proc/{pid}/ns/net").st_ino == own:
                found.append(int(pid))
    return found


@in_own_network
def test_a_killed_helper_is_replaced() -> None:
    with server(Network(publish=("8080:80",))):
        (helper,) = _helpers()
        os.kill(helper, signal.SIGKILL)
        os.waitid(os.P_PID, helper, os.WEXITED | os.WNOWAIT)  # now it holds no lock
        assert ask("http://127.0.0.1:8080")  # the links and rules are the kernel's
        done = run(with_root(RESOLVE, "web", name="me"))
        assert done.returncode == 0, done.stderr
        assert len(_helpers()) == 1
    bridge.close()
    until(lambda: machine() == FREE)


@in_own_network
def test_who_tidies_up_leaves_a_network_alone_that_is_being_removed() -> None:
    """Its rules would come back, and stay: the helper has removed them, or is about to."""
    with _caller() as caller:
        (helper,) = _helpers()
        stop(helper)
        caller.kill()
    users = bridge.users(os.path.join(bridge.state(), "bridge"))
    try:
        with lock.hold(users, Words("", "")):  # as the helper does at last
            rules = machine()[2]
            endpoint.tidy(Network("bridge"))
            assert machine()[2] == rules
    finally:
        os.kill(helper, signal.SIGCONT)
    until(lambda: machine() == FREE)


@in_own_network
def test_helper_killed_and_nobody_comes() -> None:
    with server(Network(publish=("8080:80",))):
        (helper,) = _helpers()
        os.kill(helper, signal.SIGKILL)
        os.waitid(os.P_PID, helper, os.WEXITED | os.WNOWAIT)
    bridge.close()
    assert machine() == FREE


@in_own_network
def test_helper_and_callers_killed_the_next_one_puts_it_right() -> None:
    for name, link in ("bridge", "labkit0"), ("lost", "lk-lost"):
        _lose(name, link)
        assert run(Container(("true",), network="bridge")).returncode == 0
        bridge.close()
        until(lambda: machine() == FREE)


def _lose(name: str, link: str) -> None:
    """Kill who has a network, and its helper."""
    program = (
        "import os, sys\nfrom labkit import Container, start\n"
        "running = start(Container(('sleep', '1000'), network=sys.argv[1]))\n"
        "print('ready', flush=True); os.read(0, 1)"
    )
    before, command = _helpers(), [sys.executable, "-c", program, name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as caller:
        assert caller.stdout
        assert caller.stdout.readline() == b"ready\n"
        (helper,) = set(_helpers()) - set(before)
        os.kill(helper, signal.SIGKILL)
        caller.kill()
    # A process of several threads is a zombie before the last of them has let go of its locks.
    until(lambda: not held.is_held(os.path.join(bridge.state(), name)))
    assert link in machine()[1]


# --- Without any right --------------------------------------------------------------------------

has_tunnels = pytest.mark.skipif(
    not os.path.exists("/dev/net/tun"), reason="this machine has no /dev/net/tun"
)
ROOTLESS = """
import sys, time, urllib.request
from labkit import Container, Network, start, run
from labkit.text.words import words_of
network = Network(publish=("127.0.0.1:8080:80", "90"))
box = Container((sys.executable, "-c", sys.argv[1]), network=network, rootless=True)
with start(box) as running:
    end = time.monotonic() + 60
    while "ready" not in running.stdout and time.monotonic() < end: time.sleep(0.02)
    print(urllib.request.urlopen("http://127.0.0.1:8080", timeout=30).read().decode())
    print(running.addresses, running.ports[1].host > 1023)
try: run(Container(("true",), network="other", rootless=True))
except ValueError as error: print(*words_of(error))
print(run(Container(("true",), network="bridge", rootless=True)).returncode)
"""


@has_tunnels
def test_a_network_without_any_right(nobody: list[str]) -> None:
    """By slirp4netns, as an ordinary user, in a network namespace where lo alone is up."""
    with tempfile.TemporaryDirectory(prefix="labkit-network-") as state:
        os.chown(state, 65534, 65534)
        up = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        done = subprocess.run(
            [*up, *with_tunnels(), *nobody, "-c", ROOTLESS, SERVE],
            env=os.environ | {"LABKIT_STATE": state, "LABKIT_LANG": "en"},
            capture_output=True,
            text=True,
            cwd="/",
        )
        assert done.stderr == ""
        first, second, refused, last = done.stdout.splitlines()
        assert first == "::ffff:10.0.2.2"
        assert second == "('10.0.2.100',) True"
        assert "without CAP_NET_ADMIN there is no bridge" in refused
        assert last == "0"
        assert not [*Path(state).rglob("slirp-*")]


def test_the_program_without_any_right_removes_its_socket_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It ends as soon as we let go; whoever is told that the socket is there comes too late."""
    network = user_mode.UserMode(Network(), None)
    monkeypatch.setattr(os.path, "exists", lambda _: True)
    network.release()


@has_tunnels
@pytest.mark.parametrize("how", [how for how in TUNNELS if how != "open to all"])
def test_a_network_without_the_device_of_tunnels(nobody: list[str], how: str) -> None:
    """It is in no container of Docker's, for one. One line says what to do, in both languages."""
    program = "from labkit import Container, run; "
    program += "run(Container(('true',), rootless=True, network='bridge'))"
    with tempfile.TemporaryDirectory(prefix="labkit-network-") as state:
        os.chown(state, 65534, 65534)
        done = subprocess.run(
            ["unshare", "--net", *with_tunnels(how), *nobody, "-c", program],
            env=os.environ | {"LABKIT_STATE": state},
            capture_output=True,
            text=True,
            cwd="/",
        )
    said = done.stderr.splitlines()
    (line,) = (
        at for at, text in enumerate(said) if 'open("/dev/net/tun")' in text and "Error" in text
    )
    zh, en = said[line + 1 :]
    assert ("slirp4netns" in zh, "slirp4netns" in en) == (True, True)
    fix = "modprobe tun" if how == "not in the kernel" else "--device /dev/net/tun"
    assert (fix in zh, fix in en) == (True, True)
    assert (how == "not allowed") == ("may not be used" in en)


# --- Values -------------------------------------------------------------------------------------


def test_what_a_network_may_be() -> None:
    assert Container(("true",), network="bridge").cloneflags & CLONE_NEWNET
    assert not Container(("true",), network="host").cloneflags & CLONE_NEWNET
    assert Network("container:7").joins == 7
    assert Network("my").link == "lk-my"
    network = Network(publish=("8080:80",), subnet="10.1.0.0/24")
    assert repr(network) == "Network('bridge', subnet='10.1.0.0/24', publish=('8080:80',))"
    box = Container(("true",), network=network)
    assert Container.from_json(box.to_json()) == box


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", [("", 0, 80, "tcp")]),
        ("8080:80", [("", 8080, 80, "tcp")]),
        ("127.0.0.1:8080:80/udp", [("127.0.0.1", 8080, 80, "udp")]),
        ("[::1]:8080:80", [("::1", 8080, 80, "tcp")]),
        ("127.0.0.1::80", [("127.0.0.1", 0, 80, "tcp")]),
        ("8000-8001:80-81", [("", 8000, 80, "tcp"), ("", 8001, 81, "tcp")]),
        ("80-81", [("", 0, 80, "tcp"), ("", 0, 81, "tcp")]),
    ],
)
def test_ports_as_docker_writes_them(text: str, ports: list[tuple[str, int, int, str]]) -> None:
    assert [*Network(publish=(text,)).ports()] == [Port(*port) for port in ports]


@pytest.mark.parametrize(
    "text", ["", "x", "80/sctp", "8000-8002:80-81", "81-80", "99999", "300.1.1.1:80:80", ":"]
)
def test_ports_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="published port") as refused:
        Network(publish=(text,))
    assert words_of(refused.value)[0].zh


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Network("Bad Name"),
        lambda: Network("container:x"),
        lambda: Network("a" * 129),
        lambda: Network("none", publish=("80",)),
        lambda: Network(subnet="10.0.0.1/24"),
        lambda: Network(address="10.0.0.1", subnet="10.1.0.0/24"),
        lambda: Network(address="10.1.0.255", subnet="10.1.0.0/24"),
        lambda: Network(address="fd00::1"),
        lambda: Network(address6="10.0.0.1"),
        lambda: Network(subnet="10.0.0.0"),
        lambda: Network(ipv6="fd00::/129"),
        lambda: Network(mac="01:00:00:00:00:01"),
        lambda: Network(subnet="10.0.0.0/24", gateway="10.0.1.1"),
        lambda: Network(mtu=1),
        lambda: Network(hosts=("db",)),
        lambda: Network(dns=("example.org",)),
        lambda: Container(("true",), network="host", cloneflags=CLONE_NEWNET),
        lambda: Container(("true",), network="container:1", cloneflags=CLONE_NEWUSER),
    ],
    ids=range(18),
)
def test_networks_that_are_none(wrong: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"[一-龥]") as refused:
        wrong()
    assert words_of(refused.value)[0].zh != words_of(refused.value)[0].en


@pytest.mark.parametrize("wrong", [5, ("bridge",)], ids=["number", "tuple"])
def test_networks_of_the_wrong_type(wrong: object) -> None:
    with pytest.raises(TypeError):
        Container(("true",), network=wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Network(publish="8080:80")


def test_rules_are_written_whole() -> None:
    text = nat.written(
        "labkit0", ["10.88.0.0/16"], [Published(Port("127.0.0.1", 8080, 80, "tcp"), "10.88.0.2")]
    )
    assert "ip daddr 127.0.0.1 tcp dport 8080 dnat to 10.88.0.2:80" in text
    assert text.startswith("add table ip labkit_labkit0\ndelete table ip labkit_labkit0\n")


# --- In Docker's words, and on the command line ---------------------------------------------------


@pytest.mark.parametrize(
    ("options", "network"),
    [
        ("", None),
        ("--network none -p 80:80", Network("none")),
        ("--network host -p 80:80", None),
        ("--network default", Network()),
        ("--net hosting", Network("hosting")),
        ("--network container:7", Network("container:7")),
        ("-p 80:80 -p 90:90", Network(publish=("80:80", "90:90"))),
        (
            "--dns 10.0.0.1 --add-host db:10.0.0.2",
            Network(dns=("10.0.0.1",), hosts=("db:10.0.0.2",)),
        ),
        ("--network mine --network-alias a --net-alias b", Network("mine", aliases=("a", "b"))),
        (
            "--network mine --ip 10.0.0.4 --ip 10.0.0.5 --ip6 fd00::5 "
            "--mac-address 02:00:00:00:00:05",
            Network("mine", address="10.0.0.5", address6="fd00::5", mac="02:00:00:00:00:05"),
        ),
    ],
    ids=range(10),
)
def test_docker_run_names_a_network(options: str, network: Network | None) -> None:
    box = docker_order.parse(["run", *options.split(), "u", "true"]).box
    assert box.network == network
    shared = "--network host" in options or "container:" in options
    assert bool(box.cloneflags & CLONE_NEWNET) != shared


def test_docker_run_of_a_network() -> None:
    network = Network("mine", publish=("80:80",), hosts=("db:10.0.0.2",), aliases=("a",))
    said = docker_line.docker_line(Container(("true",), network=network))
    assert "--network=mine --publish=80:80 --add-host=db:10.0.0.2 --network-alias=a" in said
    assert "--network=none" not in said


@in_own_network
def test_labkit_v09_run() -> None:
    words = ("ip", "-j", "-4", "addr", "show", "eth0")
    said = output(sys.executable, "-m", "labkit", "v0.9", "run", *words).splitlines()[1]
    assert json.loads(said)[0]["addr_info"][0]["local"] == "10.88.0.2"
    until(lambda: machine() == FREE)
