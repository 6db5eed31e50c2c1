"""A network as it stands on this machine: its bridge, its subnet, and who keeps it."""

import atexit
import os
import sys
import time
from _collections_abc import Iterable, Iterator, Mapping
from _thread import allocate_lock

from labkit.linux.fields import replace
from labkit.linux.refusal import Asked
from labkit.network import defined, encode, nat, netlink, removal, subnets
from labkit.network.network import Network, identity
from labkit.python import contextlib
from labkit.python.typing import TYPE_CHECKING, Any
from labkit.state import document, folder, held
from labkit.state.held import Held
from labkit.state.journal import Journal, undo
from labkit.state.lock import Lock, Taken, hold
from labkit.text.words import Advice, Words

if TYPE_CHECKING:
    import socket
    from subprocess import Popen

FACTS = "network.json"
_PATIENCE = 60  # seconds for another process that makes or removes the same network
_PAUSE = 0.01
_ENDING = 10  # seconds for a helper to remove a network that nobody uses
_FORWARD = "net/ipv4/ip_forward"
_FORWARD6 = "net/ipv6/conf/all/forwarding"


class Bridge:
    """A network that is there. path: the folder of its state. facts: what it was made with."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.facts: dict[str, Any] = document.read(os.path.join(path, FACTS)) or {}

    @property
    def whole(self) -> bool:
        """Whether it was made to the end, and is still there."""
        return bool(self.facts) and netlink.exists(self.facts["link"])

    @property
    def endpoints(self) -> str:
        """The folder of its containers."""
        return os.path.join(self.path, removal.ENDPOINTS)

    def kept(self) -> Lock:
        """The lock that its users have. Taken: nobody uses it, and somebody is removing it."""
        what = Words(f"网络 {self.path}", f"network {self.path}")
        return hold(users(self.path), what, shared=True, timeout=0)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Within the block nobody else changes which containers there are."""
        with hold(*_setup(self.path), timeout=_PATIENCE):
            yield


def state() -> str:
    """The folder of the networks of this network namespace."""
    number = os.stat("/proc/thread-self/ns/net").st_ino
    return folder.make(os.path.join(folder.passing(), "network", str(number)))


def _setup(path: str) -> tuple[str, Words]:
    name = os.path.basename(path)
    what = Words(f"网络 {name} 的设置", f"the setting up of network {name}")
    return os.path.join(os.path.dirname(path), f".{name}.setup"), what


def users(path: str) -> str:
    """The file that each process locks that has containers on a network."""
    return os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.users")


class _Ours:
    """What this process uses: a lock for each network, and the helpers that it has started."""

    def __init__(self) -> None:
        self.lock = allocate_lock()
        self.used: dict[str, Lock] = {}
        self.helpers: list[Popen[bytes]] = []

    def use(self, path: str) -> None:
        if path not in self.used:
            what = Words(f"网络 {path} 的清理", f"the removal of network {path}")
            self.used[path] = hold(users(path), what, shared=True, timeout=_PATIENCE)

    def close(self) -> None:
        """Give up all networks. Wait for our helpers, unless others use theirs."""
        with self.lock:
            alone, paths = [_alone(path) for path in self.used], [*self.used]
            for lock in self.used.values():
                lock.release()
            self.used.clear()
            for helper in self.helpers:
                if all(alone):
                    import subprocess

                    with contextlib.suppress(subprocess.TimeoutExpired):
                        helper.wait(_ENDING)
                helper.returncode = helper.poll() or 0  # it may outlive us
            self.helpers.clear()
            for path in paths:  # its helper may have been killed
                tidy(path)

    def forked(self) -> None:
        """A fork uses no network until it asks for one; its parent's locks stay."""
        for lock in self.used.values():
            lock.release()
        self.lock, self.used, self.helpers = allocate_lock(), {}, []


def _alone(path: str) -> bool:
    """Whether no process but this one uses a network."""
    fds = os.stat(users(path))
    place = f"{os.major(fds.st_dev):02x}:{os.minor(fds.st_dev):02x}:{fds.st_ino}"
    with open("/proc/locks") as lines:
        words = [line.split() for line in lines]
    return sum(w[1] == "FLOCK" and w[5:6] == [place] for w in words) <= 1


_ours = _Ours()
atexit.register(_ours.close)
os.register_at_fork(after_in_child=_ours.forked)


def close() -> None:
    """Give up the networks of this process: whoever is left keeps or removes them."""
    _ours.close()


def join(network: Network) -> Bridge:
    """The bridge of a network, made if it is not there. This process uses it until it ends."""
    end = time.monotonic() + _PATIENCE
    while (found := _joined(network, os.path.join(state(), network.name))) is None:
        if time.monotonic() > end:
            en = f"network {network.name} was removed, and its bridge does not go"
            raise Taken(Words(f"网络 {network.name} 已经删除，可它的网桥还在", en))
        time.sleep(_PAUSE)
    return found


def _joined(network: Network, path: str) -> Bridge | None:
    """The same; None: there is one of that name still that was removed, which is about to go."""
    with _ours.lock, hold(*_setup(path), timeout=_PATIENCE):
        _ours.use(path)
        if _there(path):
            owner = held.adopt(path)
            bridge = Bridge(path)
            if owner is None:
                if _is_another(network, bridge):
                    _ours.used.pop(path).release()  # its helper waits for that
                    return None
                return _agreed(bridge, network)
            if bridge.whole and not _is_another(network, bridge):  # its helper was killed
                _start_helper(owner, bridge)
                return _agreed(bridge, network)
            Journal(owner).play()
            owner.remove()
        for name in held.names(os.path.dirname(path)):
            tidy(os.path.join(os.path.dirname(path), name))
        return _made(network, path)


def _is_another(network: Network, bridge: Bridge) -> bool:
    """Whether a bridge is of a network that was removed, and another one created in its place."""
    known = defined.get(network.name)
    return known is not None and bridge.facts.get("id") != known.id


def using(path: str) -> int:
    """The descriptor of the lock that says that we use a network. Who has a copy uses it too."""
    return _ours.used[path].fileno()


def stop_using(path: str) -> None:
    """Use a network no longer, and do not wait for its helper: others use it."""
    with _ours.lock:
        if path in _ours.used:
            _ours.used.pop(path).release()
        for helper in _ours.helpers:
            helper.returncode = helper.poll() or 0  # it outlives us
        _ours.helpers.clear()


def _there(path: str) -> bool:
    """Whether a file is there. os.path.exists() says no too when the kernel does not tell."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    return True


def _agreed(bridge: Bridge, network: Network) -> Bridge:
    """The bridge, if it is as `network` asks for it."""
    _agree(network, bridge.facts)
    return bridge


def _agree(network: Network, facts: Mapping[str, Any]) -> None:
    for name in ("subnet", "gateway", "ipv6", "mtu"):
        asked, there = getattr(network, name), facts[name]
        if asked and asked != there:
            raise ValueError(
                Words(
                    f"网络 {network.name} 已经有了，它的 {name} 是 {there}，不是 {asked}",
                    f"network {network.name} is there already: its {name} is {there}, not {asked}",
                )
            )


def _made(network: Network, path: str) -> Bridge:
    """Make the network: state, bridge, addresses, rules, helper."""
    facts = _facts(network)
    if netlink.exists(facts["link"]):
        raise FileExistsError(
            Words(
                f"已经有一个叫 {facts['link']} 的接口，不是这里造的",
                f"there is a link {facts['link']} already that was not made here",
            )
        )
    owner = held.make(os.path.dirname(path), network.name)
    try:
        document.write(owner.inside(FACTS), _build(facts, owner), durable=False)
        bridge = Bridge(path)
        _start_helper(owner, bridge)
    except BaseException:
        Journal(owner).play()
        owner.remove()
        raise
    return bridge


def _build(facts: dict[str, Any], owner: Held) -> dict[str, Any]:
    """Make the links and rules of a network; what is known of it then."""
    link, journal = facts["link"], Journal(owner)
    removal.make(owner.path)
    journal.note("link", link)
    journal.note("endpoints", owner.path)
    mac = b"\x02" + os.urandom(5)  # locally administered
    netlink.send([encode.new_bridge(link, mac, facts["mtu"])])
    index = netlink.index(link)
    gateways = [(facts["subnet"], facts["gateway"])]
    gateways += [(facts["ipv6"], facts["gateway6"])] * bool(facts["ipv6"])
    netlink.send([encode.new_address(index, gw, int(s.split("/")[1])) for s, gw in gateways])
    return facts | {"nat": _open_ways(facts, len(gateways), journal)}


def _facts(network: Network) -> dict[str, Any]:
    """What is to be known of a network: as it was created, or as its first container asks."""
    known = defined.get(network.name)
    if known is not None:
        _agree(network, vars(known))
        taken = ("subnet", "gateway", "ipv6", "mtu")
        network = replace(network, **{name: getattr(known, name) for name in taken})
    subnet = subnets.free(network.subnet, network.name)
    subnets.check_ipv6(network.ipv6)
    return {
        "id": known.id if known else identity(network.name),
        "link": known.bridge if known else network.link,
        "subnet": subnet,
        "gateway": network.gateway or subnets.first(subnet),
        "ipv6": network.ipv6,
        "gateway6": (known and known.gateway6) or subnets.first(network.ipv6),
        "mtu": network.mtu,
        "internal": bool(known and known.internal),
        "ranges": [known.ip_range, known.ip_range6] if known else ["", ""],
        "reserved": [*known.reserved.values()] if known else [],
    }


def written(facts: Mapping[str, Any], published: Iterable[nat.Published]) -> str:
    """The rules of a network."""
    of = [subnet for subnet in (facts["subnet"], facts["ipv6"]) if subnet]
    return nat.written(facts["link"], of, published, internal=facts["internal"])


def _open_ways(facts: Mapping[str, Any], families: int, journal: Journal) -> bool:
    """Let the kernel forward, and replace the containers' addresses outside. Whether it does."""
    link = facts["link"]
    if nat.program() is None:
        said = Words(
            "没有 nft 程序：容器之间能通，但出不去，也不能发布端口；请装 nftables",
            "there is no program nft: containers reach one another, but nothing beyond their "
            "bridge, and no port can be published; install nftables",
        )
        import warnings

        warnings.warn(Advice(said), stacklevel=2)
        return False
    journal.note("nft", link)
    _warn_of_others(facts, nat.apply(written(facts, []) + nat.CHAINS))
    for name in [_FORWARD, _FORWARD6][: families * (not facts["internal"])]:
        if subnets.sysctl(name) == "0":
            journal.note("sysctl", name, "0")
            set_sysctl(name, "1")
    # Else the kernel sends nothing that comes from 127.0.0.1 over another link than lo.
    set_sysctl(f"net/ipv4/conf/{link.replace('.', '/')}/route_localnet", "1")
    return True


def _warn_of_others(facts: Mapping[str, Any], chains: str) -> None:
    """Say which firewall drops what is forwarded: what one chain drops, no other can accept."""
    link, families = facts["link"], ["ip", "inet"] + ["ip6"] * bool(facts["ipv6"])
    closed = [] if facts["internal"] else nat.closed_to(link, chains, families)
    for chain in closed:
        rules = (f"nft insert rule {chain} {way} {link} accept" for way in ("iifname", "oifname"))
        said = Words(
            "别的防火墙丢弃转发的包（{} 的默认，运行着的 Docker 就这样设）：{} 上的容器出不去，"
            "彼此也可能不通；放行：{}",
            "another firewall drops what is forwarded (the policy of {}, as a running Docker sets "
            "it): containers on {} reach nothing outside, and perhaps not one another; to let "
            "them: {}",
        )
        import warnings

        warnings.warn(Advice(said.filled(chain, link, "; ".join(rules))), stacklevel=2)


def _start_helper(owner: Held, bridge: Bridge) -> None:
    """Start the process that answers for names and removes the network. The folder is its own."""
    import subprocess  # only who makes a network pays for it

    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    program = f"import sys; sys.path.insert(0, {root!r}); from labkit.network import helper"
    questions = _questions(bridge.facts["gateway"])
    fds = [owner.fileno(), questions.fileno()]
    with questions, Asked("fork"):
        helper = subprocess.Popen(
            [sys.executable, "-I", "-c", f"{program}; helper.main()", bridge.path, *map(str, fds)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            pass_fds=fds,
            start_new_session=True,
        )
    owner.release()
    _ours.helpers.append(helper)


def _questions(gateway: str) -> "socket.socket":
    """The socket on which names are asked for. It is there before its helper: none is lost."""
    import socket

    ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # One that is being killed may not have closed its own yet.
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        with Asked(f"bind({gateway}:53)"):
            ours.bind((gateway, 53))
    except BaseException:
        ours.close()
        raise
    return ours


@undo("sysctl")
def set_sysctl(name: str, value: str) -> None:
    """Write one of /proc/sys: sysctl(8)."""
    path = f"/proc/sys/{name}"
    with Asked(f'open("{path}")'), open(path, "w") as file:
        file.write(value)


def remove(owner: Held) -> None:
    """Remove a network: undo what its journal has, and its folder."""
    if Journal(owner).play():
        owner.release()  # something was refused: the next who comes tries again
    else:
        owner.remove()


def await_end(path: str) -> None:
    """Wait for the end of a network that nobody uses, whose addresses somebody may want at once.

    Its helper is at work on that, or was killed. A process that has used it may still be there:
    then the network is, too, until that one ends.
    """
    end = time.monotonic() + _ENDING
    while _there(path) and time.monotonic() < end:
        tidy(path)
        time.sleep(_PAUSE)


def tidy(path: str) -> None:
    """Remove a network whose users and helper have ended, if that is so."""
    what = Words(path, path)
    with (
        contextlib.suppress(Taken),
        hold(*_setup(path), timeout=0),
        hold(users(path), what, timeout=0),
    ):
        if owner := held.adopt(path):
            remove(owner)
