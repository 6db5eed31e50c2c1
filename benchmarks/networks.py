"""Networks beside ip(8): links made, a container with one, packets and bytes on a bridge.

run.py starts this as a program of its own in a network namespace that ends with it. One line of
JSON on standard output: seconds by name, one for each round.
"""

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from labkit import CLONE_NEWNET, Container, run, start
from labkit.network import bridge, encode, netlink

PINGS, BYTES = 300, 64 << 20
SERVE = f"""
import socket
s = socket.create_server(("", 80)); print("ready", flush=True)
while True:
    c, _ = s.accept()
    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with c:
        while word := c.recv(1):
            if word == b"p": c.sendall(b"p")
            else: c.sendall(bytes({BYTES})); break
"""
CALL = f"""
import socket, sys, time
host, what = sys.argv[1:]
c = socket.create_connection((host, 80))
c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
began = time.perf_counter()
if what == "p":
    for _ in range({PINGS}): c.sendall(b"p"); c.recv(1)
else:
    c.sendall(b"b"); room = bytearray(1 << 18)
    while c.recv_into(room): pass
print(time.perf_counter() - began)
"""
PAIR = """\
link add labveth type veth peer name labpeer
link set labveth master labbench
link set labveth up
addr add 10.99.0.2/24 dev labpeer
link set labpeer up
route add default via 10.99.0.1 dev labpeer
"""


def ip(*words: str) -> None:
    """ip(8)."""
    subprocess.run(["ip", *words], check=True)


def main() -> None:
    """Measure all, and print it."""
    rounds = int(sys.argv[1])
    os.environ["LABKIT_STATE"] = sys.argv[2]
    ip("link", "set", "lo", "up")
    times = links(rounds) | containers(rounds) | traffic(max(9, rounds // 8))
    bridge.close()
    print(json.dumps(times))


def interleaved(
    rounds: int, calls: dict[str, Callable[[], object]], after: Callable[[], object]
) -> dict[str, list[float]]:
    """Seconds of each call, in an order shuffled anew; `after` each what is not timed."""
    order, shuffle = [*calls], random.Random(1).shuffle  # noqa: S311 - the same every time
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            began = time.perf_counter()
            calls[name]()
            times[name].append(time.perf_counter() - began)
            after()
    return times


def links(rounds: int) -> dict[str, list[float]]:
    """A veth pair, one end on a bridge, the other with an address and a route; both ways of it."""
    ip("link", "add", "labbench", "type", "bridge")
    ip("addr", "add", "10.99.0.1/24", "dev", "labbench")
    ip("link", "set", "labbench", "up")
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    master = netlink.index("labbench")

    def ours() -> None:
        netlink.send([encode.new_veth("labveth", master, "labpeer", here, None)])
        peer = netlink.index("labpeer")
        address = encode.new_address(peer, "10.99.0.2", 24)
        netlink.send([address, encode.link_up(peer), encode.default_route(peer, "10.99.0.1")])

    def theirs() -> None:
        subprocess.run(["ip", "-batch", "-"], input=PAIR, text=True, check=True)

    calls: dict[str, Callable[[], object]] = {"veth on a bridge": ours, "ip -batch": theirs}
    times = interleaved(rounds, calls, lambda: ip("link", "del", "labveth"))
    ip("link", "del", "labbench")
    return times


def containers(rounds: int) -> dict[str, list[float]]:
    """A container on a network, and one with a network namespace alone."""
    alone = Container(("true",), cloneflags=CLONE_NEWNET)
    on = Container(("true",), network="bridge")
    for box in alone, on:
        run(box)
    calls: dict[str, Callable[[], object]] = {
        "run(network=)": lambda: run(on),
        "run(), CLONE_NEWNET": lambda: run(alone),
    }
    return interleaved(rounds, calls, lambda: None)


def traffic(rounds: int) -> dict[str, list[float]]:
    """The same two programs on a bridge of ours, and on one that ip(8) has made."""
    asleep = Container(("sleep", "1000000"), network="bridge")
    with start(asleep) as one, start(asleep) as two, by_hand() as (three, four):
        pairs = {
            "on a bridge": ([one.pid, two.pid], one.addresses[0]),
            "on a bridge of ip(8)": ([three, four], "10.98.0.2"),
        }
        with contextlib.ExitStack() as stack:
            calls: dict[str, Callable[[], float]] = {}
            for name, ((server, client), address) in pairs.items():
                stack.enter_context(serving(server))
                for what, sign in ((f"{PINGS} × 1 byte", "p"), (f"{BYTES >> 20} MB", "b")):
                    calls[f"{what} {name}"] = asking(client, address, sign)
            return answers(rounds, calls)


def answers(rounds: int, calls: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """What each call says that it has taken, in an order shuffled anew."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    order = [*calls]
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            times[name].append(calls[name]())
    return times


@contextlib.contextmanager
def by_hand() -> Iterator[tuple[int, int]]:
    """Two network namespaces on a bridge, made by ip(8)."""
    ip("link", "add", "labhand", "type", "bridge")
    ip("addr", "add", "10.98.0.1/24", "dev", "labhand")
    ip("link", "set", "labhand", "up")
    with contextlib.ExitStack() as stack:
        pids = []
        for number in 2, 3:
            words = ["unshare", "--net", "sh", "-c", "echo; exec sleep 1000000"]
            process = stack.enter_context(subprocess.Popen(words, stdout=subprocess.PIPE))
            stack.callback(process.kill)
            process.stdout.read(1)  # type: ignore[union-attr]
            pids.append(process.pid)
            near, netns = f"labhand{number}", str(process.pid)
            ip("link", "add", near, "type", "veth", "peer", "name", "eth0", "netns", netns)
            ip("link", "set", near, "master", "labhand", "up")
            inside = ["nsenter", "--net", "--target", netns, "ip"]
            address = f"10.98.0.{number}/24"
            subprocess.run([*inside, "addr", "add", address, "dev", "eth0"], check=True)
            subprocess.run([*inside, "link", "set", "eth0", "up"], check=True)
        yield pids[0], pids[1]


def _inside(pid: int, program: str, *words: str) -> list[str]:
    return ["nsenter", "--net", "--target", str(pid), sys.executable, "-c", program, *words]


@contextlib.contextmanager
def serving(pid: int) -> Iterator[None]:
    """The server, in the network namespace of a process."""
    with subprocess.Popen(_inside(pid, SERVE), stdout=subprocess.PIPE) as process:
        process.stdout.readline()  # type: ignore[union-attr]
        try:
            yield
        finally:
            process.kill()


def asking(pid: int, address: str, sign: str) -> Callable[[], float]:
    """What asks it, and says how many seconds that took."""
    words = _inside(pid, CALL, address, sign)

    def ask() -> float:
        return float(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)

    return ask


def measured(rounds: int) -> dict[str, list[float]]:
    """What this program says, run in a network namespace of its own."""
    with tempfile.TemporaryDirectory(prefix="labkit-bench-", dir="/dev/shm") as state:
        program = [sys.executable, str(Path(__file__)), str(rounds), state]
        done = subprocess.run(["unshare", "--net", *program], stdout=subprocess.PIPE, check=True)
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
