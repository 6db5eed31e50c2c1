"""What netlink says of several namespaces, whose peer is whose, and the picture of it.

Each network is a container's own; a function of the test is run in it, as a cell's is.
"""

import os
import re
import threading
from base64 import b64decode
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from labkit import CLONE_NEWNET, Container, Running, start
from labkit.engine.connection import rootless
from labkit.notebook.cells.within import close, within
from labkit.notebook.widgets.topology import Picture, drawn, rows, spoken, topology
from labkit.notebook.widgets.wiring import Link, Place, cables, look

EMPTY = Container(("sleep", "1000"), cloneflags=CLONE_NEWNET)


@pytest.fixture(scope="module")
def boxes() -> Iterator[dict[str, Running]]:
    """A machine with a bridge, and two containers that are plugged into it; the second is down."""
    with start(EMPTY) as host, start(EMPTY) as web, start(EMPTY) as db:
        within(host, wire, web.pid, db.pid)
        within(web, number_two)
        yield {"host": host, "web": web, "db": db}


def wire(web: int, db: int) -> None:
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        netlink.link("add", ifname="br0", kind="bridge", state="up")
        [bridge] = netlink.link_lookup(ifname="br0")
        netlink.addr("add", index=bridge, address="10.0.0.1", prefixlen=24)
        for name, pid in (("a", web), ("b", db)):
            netlink.link(
                "add", ifname=name, kind="veth", peer={"ifname": "eth0", "net_ns_pid": pid}
            )
            [end] = netlink.link_lookup(ifname=name)
            netlink.link("set", index=end, master=bridge, state="up" if name == "a" else "down")


def number_two() -> None:
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        netlink.addr("add", index=2, address="10.0.0.2", prefixlen=24)
        netlink.link("set", index=2, state="up")
        netlink.route("add", dst="default", gateway="10.0.0.1")


def seen(boxes: dict[str, Running]) -> dict[str, Place]:
    return {name: within(box, look) for name, box in boxes.items()}


# --- A function in a container's network ---------------------------------------------------------


def test_a_function_is_run_in_the_containers_network(
    boxes: dict[str, Running], capsys: pytest.CaptureFixture[str]
) -> None:
    def where(word: str) -> int:
        print(word)
        return os.stat("/proc/self/ns/net").st_ino

    assert within(boxes["web"], where, "hello") == boxes["web"].inodes["net"]
    assert capsys.readouterr().out == "hello\n"
    assert os.stat("/proc/self/ns/net").st_ino != boxes["web"].inodes["net"]


def test_its_error_is_raised_here(boxes: dict[str, Running]) -> None:
    def fail() -> None:
        from pyroute2 import IPRoute

        with IPRoute() as netlink:
            netlink.link("set", index=99, state="up")

    def end() -> NoReturn:
        os._exit(3)

    with pytest.raises(Exception, match="No such device") as refused:
        within(boxes["web"], fail)
    assert type(refused.value).__name__ == "NetlinkError"
    with pytest.raises(RuntimeError, match="ended its own process"):
        within(boxes["web"], end)
    with pytest.raises(RuntimeError, match="lock"):  # of what cannot be sent, its repr is told
        within(boxes["web"], threading.Lock)


def test_without_the_process_beside_us_it_says_so(
    boxes: dict[str, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    close()
    monkeypatch.setattr("labkit.notebook.cells.within._PROGRAM", "raise SystemExit(1)")
    try:
        with pytest.raises(RuntimeError, match="did not start"):
            within(boxes["web"], os.getpid)
    finally:
        close()


def test_root_of_a_user_namespace_is_followed_there() -> None:
    with rootless(), start(EMPTY) as box:
        within(box, number_one)
        assert within(box, look).links == (Link(1, "lo", True, "", addresses=("127.0.0.1/8",)),)


def number_one() -> None:
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        netlink.link("set", index=1, state="up")


# --- What netlink says ---------------------------------------------------------------------------


def test_links_addresses_routes_and_peers_are_the_kernels(boxes: dict[str, Running]) -> None:
    places = seen(boxes)
    assert rows(places) == [
        ["host", "lo", "DOWN", "", "", ""],
        ["host", "br0", "UP", "10.0.0.1/24", "", ""],
        ["host", "a", "UP", "", "web eth0", "br0"],
        ["host", "b", "DOWN", "", "db eth0", "br0"],
        ["web", "lo", "DOWN", "", "", ""],
        ["web", "eth0", "UP", "10.0.0.2/24", "host a", ""],
        ["db", "lo", "DOWN", "", "", ""],
        ["db", "eth0", "DOWN", "", "host b", ""],
    ]
    assert places["web"].routes == ("10.0.0.0/24 dev eth0", "default via 10.0.0.1 dev eth0")


def test_rules_are_told_with_their_chain(boxes: dict[str, Running]) -> None:
    from labkit.notebook.lessons.v09 import nft

    nft(boxes["db"], "table ip t {\nchain c {\ntcp dport 80 counter accept\n}\n}\n")
    assert within(boxes["db"], look).rules == ("c: tcp dport 80 counter accept",)
    with pytest.raises(OSError, match="syntax error"):
        nft(boxes["db"], "nonsense")


def veth(number: int, peer: int, beyond: int | None, name: str = "") -> Link:
    return Link(number, name or f"v{number}", True, "veth", peer, beyond)


def test_numbers_that_fit_twice_are_told_apart_by_their_neighbours() -> None:
    """Each namespace counts its links anew: all of these are number 2, whose peer is number 2."""
    places = {
        "host": Place((veth(2, 2, 0), veth(3, 3, 0))),
        "one": Place((veth(2, 2, 0), veth(3, 3, 0))),
        "two": Place((veth(2, 2, None),)),
    }
    assert cables(places) == [(("host", 2), ("one", 2)), (("host", 3), ("one", 3))]
    alike = {"host": Place((veth(2, 2, 0), veth(3, 2, 1))), "one": Place((veth(2, 3, 0),))}
    assert cables(alike) == [(("host", 3), ("one", 2))]
    unsure = {name: Place((veth(2, 2, 0),)) for name in ("host", "one", "two")}
    assert cables(unsure) == []
    at_home = {"host": Place((veth(2, 3, None), veth(3, 2, None)))}
    assert cables(at_home) == [(("host", 2), ("host", 3))]


# --- The picture ---------------------------------------------------------------------------------


def test_the_picture_has_each_cable_and_says_what_is_down(boxes: dict[str, Running]) -> None:
    svg = drawn(seen(boxes))
    assert svg.count('class="cable"') == 1
    assert svg.count('class="cable down"') == 1
    assert "b (DOWN)" in svg
    assert ">br0 10.0.0.1/24<" in svg
    assert 'aria-label="host a – web eth0, host b – db eth0"' in svg
    straight = re.findall(r'<line class="cable\S* ?\w*" x1="(\d+)" y1="\d+" x2="(\d+)"', svg)
    assert len(straight) == 2
    assert all(above == below for above, below in straight)


def test_names_are_escaped() -> None:
    places = {"<b>": Place((Link(2, "<i>&", True, "veth"),), ("<r>",))}
    shown = Picture(places)._repr_html_() + drawn(places)
    assert not set(re.findall(r"<[bir]>(?=&|<)", shown)) - {"<b>"}
    assert "<i>&" not in shown
    assert "<r>" not in shown
    assert spoken(places) == "<b>"


def test_the_picture_without_a_script_says_the_same(
    boxes: dict[str, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_LANG", "en")
    shown = topology(**boxes).static()
    assert re.search(r"host +a +UP +web eth0, bridge br0\n", str(shown))
    assert "web: default via 10.0.0.1 dev eth0" in str(shown)
    image = re.search(
        r'alt="([^"]*)" src="data:image/svg\+xml;base64,([^"]*)"', str(shown._repr_html_())
    )
    assert image
    assert "web eth0" in image[1]
    drawing = b64decode(image[2])
    assert b"<style>" in drawing
    assert b"(prefers-color-scheme:dark)" in drawing


def test_a_look_tells_the_page_of_packets_and_of_the_end() -> None:
    sent: list[dict[str, Any]] = []
    with start(EMPTY) as alone:
        widget = topology(alone=alone)
        widget.send = sent.append
        widget._look()
    widget._look()
    assert [each["type"] for each in sent] == ["state", "ended"]
    assert sent[0]["counts"] == [[0, 0]]
    assert sent[0]["rows"] == [["alone", "lo", "DOWN", "", "", ""]]
    assert sent[0]["more"] == [["alone", [], []]]
    widget.close()
