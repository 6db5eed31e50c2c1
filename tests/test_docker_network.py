"""docker network: networks made, containers connected while they run, and nothing of it is left.

What Docker answers stands in the exam. Here is what its answers do not show: links, rules and files
as the kernel has them, two at once, and who is killed. All of it is in a network namespace of these
tests' own.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import until
from exam.sitting import Sitting, Warm, environment, room

from labkit import Container, start
from labkit.docker import new_network
from labkit.docker.new_network import Wanted
from labkit.network import bridge, endpoint, nat
from labkit.state import held
from labkit.text.words import words_of


class House:
    """labkit with images and a network namespace of its own."""

    def __init__(self, command: Warm, folder: str) -> None:
        self._sitting = Sitting(command, folder)
        self.env = environment(folder)
        self._enter = ["nsenter", f"--net=/proc/{command._process.pid}/ns/net"]

    def __call__(self, line: str) -> str:
        """What a line prints; it is to succeed."""
        status, out, err = self._sitting._run(tuple(line.split(" ")))
        assert status == 0, err
        return out.strip()

    def refused(self, line: str) -> str:
        """What a line says that is to fail."""
        status, _, err = self._sitting._run(tuple(line.split(" ")))
        assert status == 1
        return err.strip()

    def inside(self, *argv: str) -> str:
        """What a program says in the network namespace."""
        return subprocess.run([*self._enter, *argv], capture_output=True, text=True).stdout

    def python(self, program: str, *words: str) -> "subprocess.Popen[str]":
        """A program of Python there, with the same state."""
        return subprocess.Popen(
            [*self._enter, sys.executable, "-c", program, *words],
            env=self.env | {"PYTHONPATH": os.environ.get("PYTHONPATH", "") or str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def links(self) -> set[str]:
        return {link["ifname"] for link in json.loads(self.inside("ip", "-j", "link"))}


ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def labkit() -> Iterator[House]:
    """A house with two containers, of which each test connects one with a network of its own."""
    with room() as folder:
        command = Warm(environment(folder))
        try:
            house = House(command, folder)
            house("run -d --name one --add-host db:10.9.8.7 busybox sleep 1000")
            yield house
            assert house("ps -aq --filter name=left") == ""
            house("rm -f one")
            until(lambda: house.links() == {"lo"})
            assert house.inside("nft", "list", "ruleset") == ""
        finally:
            command.close()


@pytest.fixture
def net(labkit: House) -> Iterator[str]:
    """The name of a network that is there for one test."""
    labkit("network create --subnet 10.201.0.0/24 net_1")
    yield "net_1"
    labkit("network rm net_1")


def files(labkit: House) -> tuple[str, str]:
    said = labkit("exec one cat /etc/hosts /etc/resolv.conf").splitlines()
    return "\n".join(said[:-1]), said[-1]


def test_connected_and_disconnected_while_it_runs(labkit: House, net: str) -> None:
    """Links, names, files and the way out follow at once, and the bridge goes with the last."""
    before = files(labkit)
    assert "db" in before[0]
    assert labkit("exec one ip route").startswith("default via 10.88.0.1 dev eth0")
    labkit(f"network connect --alias first --ip 10.201.0.7 {net} one")
    during = files(labkit)
    assert during[1] == "nameserver 10.201.0.1"
    assert set(during[0].splitlines()) - set(before[0].splitlines()) == {
        f"10.201.0.7\t{labkit('exec one hostname')}"
    }
    told = json.loads(labkit("inspect one"))[0]["NetworkSettings"]["Networks"]
    assert [*told] == ["bridge", net]
    assert told[net]["IPAddress"] == "10.201.0.7"
    assert told[net]["MacAddress"] == "02:42:0a:c9:00:07"
    assert labkit("exec one cat /sys/class/net/eth1/address") == "02:42:0a:c9:00:07"
    # the first one goes: the other is the way out from now on
    labkit("network disconnect bridge one")
    assert labkit("exec one ls /sys/class/net").split() == ["eth1", "lo"]
    assert labkit("exec one ip route").startswith("default via 10.201.0.1 dev eth1")
    until(lambda: "labkit0" not in labkit.links())
    labkit("network connect bridge one")
    labkit(f"network disconnect {net} one")
    until(lambda: all(not link.startswith("lk-") for link in labkit.links()))
    hosts, resolv = files(labkit)
    assert resolv == before[1]
    assert "db" in hosts
    assert "10.201.0.7" not in hosts


def test_an_internal_network_is_closed(labkit: House) -> None:
    labkit("network create --internal --ip-range 10.202.0.64/26 --subnet 10.202.0.0/24 closed")
    labkit("run -d --name two --network closed busybox sleep 1000")
    try:
        rules = labkit.inside("nft", "list", "ruleset")
        assert 'iifname "lk-closed" oifname != "lk-closed" drop' in rules
        assert labkit("exec two ip route") == "10.202.0.0/24 dev eth0 scope link  src 10.202.0.64"
        # even who adds a route gets no answer of another network
        ask = "ip route add default via 10.202.0.1; ping -c 1 -W 1 ADDRESS > /dev/null || echo no"
        labkit("run -d --name three busybox sleep 1000")
        there = labkit("inspect --format {{.NetworkSettings.IPAddress}} three")
        words = ("exec", "--privileged", "two", "sh", "-c", ask.replace("ADDRESS", there))
        assert labkit._sitting._run(words)[1] == "no\n"
    finally:
        labkit("rm -f two three")
        labkit("network rm closed")


def test_a_network_that_comes_again_is_the_new_one(labkit: House) -> None:
    """The old one's bridge goes with it, so its subnet is free at once."""
    for number in (1, 2, 2, 3):
        labkit(f"network create --subnet 10.20{number}.0.0/24 again")
        said = labkit("run --rm --network again busybox ip route")
        assert f"default via 10.20{number}.0.1" in said
        labkit("network rm again")
        assert "lk-again" not in labkit.links()


def test_of_two_at_once_one_creates_it(labkit: House) -> None:
    program = (
        "import sys; from labkit.docker.new_network import create, Wanted\n"
        "try: print(create(Wanted('both')))\n"
        "except ValueError as error: print(error)"
    )
    said = [each.communicate()[0].strip() for each in [labkit.python(program) for _ in range(4)]]
    (made,) = [each for each in said if len(each) == 64]
    assert [each for each in said if each != made] == ["network with name both already exists"] * 3
    assert labkit("network ls -q --no-trunc --filter name=both") == made
    labkit("network rm both")


KILLED = """
import os, signal, sys
from labkit.docker import bridges
from labkit.monitor import record
from labkit.monitor.address import Monitor
from labkit.network import removal
from labkit.network.endpoint import Endpoint
of, name, before = sys.argv[1:4]
place = {"Endpoint": Endpoint, "Monitor": Monitor, "removal": removal}[of]
true = getattr(place, name)
def die(*arguments, **more):
    before == "before" or true(*arguments, **more)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(place, name, die)
getattr(bridges, sys.argv[4])("net_1", record.find("one"))
"""


@pytest.mark.parametrize(
    ("of", "name", "when"),
    [
        ("Endpoint", "attach_to", "before"),
        ("Endpoint", "attach_to", "after"),
        ("Monitor", "send_many", "after"),
    ],
    ids=["reserved", "linked", "kept"],
)
def test_who_is_killed_while_it_connects(
    labkit: House, net: str, of: str, name: str, when: str
) -> None:
    """The container goes on; to connect it again is enough, unless it has come about."""
    killed = labkit.python(KILLED, of, name, when, "connect")
    assert killed.wait() == -signal.SIGKILL, killed.communicate()
    killed.communicate()
    if when == "after" and of == "Monitor":
        assert "already exists" in labkit.refused(f"network connect {net} one")
    else:
        labkit(f"network connect {net} one")
    assert labkit("exec one ls /sys/class/net").split() == ["eth0", "eth1", "lo"]
    labkit(f"run --rm --network {net} busybox ping -c 1 -W 5 one")
    labkit(f"network disconnect {net} one")
    assert labkit("exec one ls /sys/class/net").split() == ["eth0", "lo"]


UNTIDIED = """
from labkit.docker import bridges
from labkit.monitor import record
from labkit.network import endpoint
endpoint.tidy = lambda *_, **__: None
bridges.connect("net_1", record.find("one"))
"""


def test_what_the_dead_have_reserved_is_no_connection(labkit: House, net: str) -> None:
    """As while a network's helper removes it: its bridge is gone, and nobody tidies up there."""
    labkit(f"run -d --name left --network {net} busybox sleep 1000")
    killed = labkit.python(KILLED, "Endpoint", "attach_to", "before", "connect")
    killed.communicate()
    connects = labkit.python(UNTIDIED)
    assert (*connects.communicate(), connects.returncode) == ("", "", 0)
    assert labkit("exec one ls /sys/class/net").split() == ["eth0", "eth1", "lo"]
    labkit(f"network disconnect {net} one")
    labkit("rm -f left")


def test_who_is_killed_while_it_disconnects(labkit: House, net: str) -> None:
    labkit(f"network connect {net} one")
    killed = labkit.python(KILLED, "removal", "drop", "before", "disconnect")
    assert killed.wait() == -signal.SIGKILL, killed.communicate()
    killed.communicate()
    labkit(f"network disconnect {net} one")
    assert labkit("exec one ls /sys/class/net").split() == ["eth0", "lo"]


def test_who_was_killed_uses_no_network(labkit: House, net: str) -> None:
    """A network in use cannot be removed; that of a container whose monitor was killed can."""
    labkit(f"run -d --name left --network {net} busybox sleep 1000")
    assert "has active endpoints" in labkit.refused(f"network rm {net}")
    [[pid]] = [[labkit("inspect --format {{.State.Pid}} left")]]
    monitor = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    os.kill(int(monitor), signal.SIGKILL)
    until(lambda: labkit("ps -q --filter name=left") == "")
    until(lambda: "left" not in labkit(f"network inspect {net}"))
    labkit("rm left")


def test_a_container_that_comes_again_finds_its_networks(labkit: House, net: str) -> None:
    labkit("create --name left --network bridge busybox sleep 1000")
    labkit(f"network connect --alias again {net} left")
    for verb in ("start left", "restart -t 0 left"):
        labkit(verb)
        assert labkit("exec left ls /sys/class/net").split() == ["eth0", "eth1", "lo"]
        labkit(f"run --rm --network {net} busybox ping -c 1 -W 5 again")
    assert labkit("ps --filter name=left --format {{.Networks}}") == f"bridge,{net}"
    labkit("rm -f left")


def test_others_find_a_container_by_its_new_name(labkit: House, net: str) -> None:
    """At once, and after it has been started again; the old name is nobody's."""
    labkit(f"run -d --name left --network {net} busybox sleep 1000")
    labkit("rename left right")
    for verb in ("ps -q", "restart -t 0 right"):
        labkit(verb)
        labkit(f"run --rm --network {net} busybox ping -c 1 -W 5 right")
        status = f"run --rm --network {net} busybox ping -c 1 left"
        assert "left" in labkit.refused(status)
    labkit("rm -f right")


# --- What is asked for --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Wanted("a", "macvlan"), "driver macvlan is not here"),
        (Wanted("bridge"), "predefined bridge network"),
        (Wanted("a b"), "is no name of a network"),
        (Wanted("a", subnets=("10.0.0.0/24", "10.1.0.0/24")), "one subnet of a family"),
        (Wanted("a", subnets=("fd00::/64",)), "a subnet of IPv6 takes --ipv6"),
        (Wanted("a", subnets=("10.0.0.0/24",), ranges=("10.1.0.0/25",)), "no matching subnet for"),
        (Wanted("a", options=("color=red",)), "there is no option color"),
        (Wanted("a", options=("com.docker.network.bridge.name=a/b",)), "invalid value for"),
    ],
    ids=range(8),
)
def test_what_no_network_can_be_is_said_in_both_languages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: Wanted, told: str
) -> None:
    monkeypatch.setenv("LABKIT_STATE", str(tmp_path))
    with pytest.raises(ValueError, match=r"[一-龥]") as refused:
        new_network.create(wanted)
    (words,) = words_of(refused.value)
    assert told in words.en
    assert words.zh != words.en


def test_rules_of_a_closed_network() -> None:
    text = nat.written("lk-a", ["10.0.0.0/24"], [], internal=True)
    assert "masquerade" not in text
    assert text.count("drop") == 2


def test_nobody_is_on_a_network_that_is_just_being_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_STATE", str(tmp_path))
    place = Path(bridge.state(), "going", "endpoints", "one")
    place.mkdir(parents=True)
    assert endpoint.on_network("going") == []
    assert endpoint.of_container("") == {}
    place.rmdir()
    place.parent.rmdir()
    assert not held.is_held(str(place))


# --- In another's namespaces --------------------------------------------------------------------


def test_in_the_pid_and_ipc_namespace_of_another(base: Path) -> None:
    """It is among that one's processes, has its shared memory, and ends with it."""
    from labkit import CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWPID, Root

    root, own = Root(layers=(str(base),)), CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC
    donor = Container(
        ("sh", "-c", "touch /dev/shm/mark; echo ready; exec sleep 1000"),
        root=root,
        proc=True,
        cloneflags=own,
    )
    with start(donor) as first:
        until(lambda: "ready" in first.stdout)
        joins = {"pid": first, "ipc": first}
        look = ("sh", "-c", "ls /dev/shm; cat /proc/1/comm; echo ready; exec sleep 1000")
        box = Container(look, root=root, proc=True, cloneflags=CLONE_NEWNS, joins=joins)
        assert Container.from_json(box.to_json()).joins == {"pid": first.pid, "ipc": first.pid}
        with start(box) as second:
            until(lambda: "ready" in second.stdout)
            assert second.stdout.split() == ["mark", "sleep", "ready"]
            for kind in ("pid", "ipc"):
                assert second.inodes[kind] == first.inodes[kind]
                assert os.readlink(f"/proc/{second.pid}/ns/{kind}") == os.readlink(
                    f"/proc/{first.pid}/ns/{kind}"
                )
            assert second.exec(("cat", "/proc/1/comm")).stdout == "sleep\n"
            first.kill()
            assert second.wait(30).returncode == -signal.SIGKILL
