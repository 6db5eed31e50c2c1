"""A container connected with a network, and disconnected from it, at once if it runs.

What it has on each network is known there (`labkit/network/endpoint.py:of_container`), and is kept
by the container's monitor. The list of its networks is written first: who is killed then has
connected it from its next start on.
"""

import os
from _collections_abc import Collection, Iterator, Mapping, Sequence

from labkit.linux.fields import replace
from labkit.linux.files import openat2
from labkit.linux.flags import RESOLVE_IN_ROOT
from labkit.monitor import status
from labkit.monitor.address import Monitor
from labkit.monitor.address import connect as connect_monitor
from labkit.monitor.networks import mode, of, write
from labkit.monitor.record import Record
from labkit.network import endpoint, names, netlink
from labkit.network.endpoint import Endpoint
from labkit.network.network import Network
from labkit.python import contextlib
from labkit.python.typing import Any
from labkit.state.lock import hold
from labkit.text.words import Words

_LOCK = ".networks.lock"
_PATIENCE = 60  # seconds for another process that connects the same container
_OF_ALL = ("dns", "dns_search", "dns_options", "hosts")  # what a container has on each network
_MOST = 1 << 16  # bytes of a file in /etc that is read

Known = Mapping[str, Any]


def connect(record: Record, network: Network) -> None:
    """Connect a container with one more network; at once, if it runs."""
    with _alone(record):
        before, is_up = of(record), status.of(record).is_up
        endpoint.tidy(network, at_once=True)  # somebody may have been killed while he did this
        if is_up and network.name in endpoint.of_container(record.id):
            raise ValueError(
                Words(
                    f"{record.name} 已经在网络 {network.name} 里了",
                    f"endpoint with name {record.name} already exists in network {network.name}",
                )
            )
        own = Network.of(record.raw.get("network") or "none")
        network = replace(network, **{name: getattr(own, name) for name in _OF_ALL})
        after = [each for each in before if each.name != network.name] + [network]
        write(record, after)
        try:
            with _at_work(record) as monitor:
                if monitor is not None:
                    _connect_now(record, monitor, network)
        except BaseException:
            write(record, before)
            raise


def disconnect(record: Record, name: str) -> None:
    """Disconnect a container from a network; at once, if it runs."""
    with _alone(record):
        before, known = of(record), endpoint.of_container(record.id)
        if name not in known and name not in [each.name for each in before]:
            raise ValueError(
                Words(
                    f"容器 {record.name} 不在网络 {name} 里",
                    f"container {record.id} is not connected to network {name}",
                )
            )
        write(record, [each for each in before if each.name != name])
        with _at_work(record) as monitor:
            if monitor is not None:
                _disconnect_now(record, monitor, name, before)


def rename(record: Record, name: str) -> None:
    """Let others on its networks find a container by another name, at once if it runs."""
    with _alone(record):
        changed = [
            replace(each, aliases=_renamed(each.aliases, record, name)) for each in of(record)
        ]
        write(record, changed)
        endpoint.rename(record.id, record.name, name)


def _renamed(aliases: Collection[str], record: Record, name: str) -> tuple[str, ...]:
    return tuple(name if each == record.name else each for each in aliases)


def _connect_now(record: Record, monitor: Monitor, network: Network) -> None:
    known = endpoint.of_container(record.id)
    place = next(n for n in range(len(known) + 1) if f"eth{n}" not in _links(known))
    with _namespace(record, monitor) as netns:
        made = Endpoint(network, record.box.hostname, place, record.id)
        try:
            first = all(each["internal"] for each in known.values())
            made.attach_to(netns, first=first)
            monitor.send_many(f"keep {network.name}", made.kept())
        except BaseException:
            made.release()
            raise
        made.leave()
    _rewrite(record, known)


def _disconnect_now(record: Record, monitor: Monitor, name: str, before: Sequence[Network]) -> None:
    known = endpoint.of_container(record.id)
    with _namespace(record, monitor) as netns:
        if about := known.get(name):
            endpoint.withdraw(about)
        monitor.send(f"drop {name}")
        rest = [known[each.name] for each in before if each.name in {*known} - {name}]
        endpoint.find_way_out(netns, rest)
    _rewrite(record, known)


def _links(known: Mapping[str, Known]) -> set[str]:
    return {each["inside"] for each in known.values()}


@contextlib.contextmanager
def _alone(record: Record) -> Iterator[None]:
    """Within the block nobody else changes the networks of a container."""
    what = Words(f"容器 {record.name} 的网络", f"the networks of container {record.name}")
    with hold(record.at(_LOCK), what, timeout=_PATIENCE):
        yield


@contextlib.contextmanager
def _at_work(record: Record) -> Iterator[Monitor | None]:
    """The monitor of a container that runs; None: it does not, and its next start does the rest."""
    monitor = _monitor_of(record)
    try:
        with contextlib.suppress(ConnectionError, ProcessLookupError):  # it has just ended
            yield monitor
    finally:
        if monitor is not None:
            monitor.close()


def _monitor_of(record: Record) -> Monitor | None:
    if status.of(record).word in ("running", "paused"):
        with contextlib.suppress(ConnectionError, FileNotFoundError):
            return connect_monitor(record, int(record.run().get("monitor", 0)))
    return None


@contextlib.contextmanager
def _namespace(record: Record, monitor: Monitor) -> Iterator[int]:
    """A descriptor of the network namespace of a container. ProcessLookupError: it has ended."""
    pid = status.of(record).pid
    netns = netlink.open_namespace(pid)
    try:
        os.close(monitor.pidfd())  # it still runs, so the number was still its own
        yield netns
    finally:
        os.close(netns)


# --- Its files in /etc --------------------------------------------------------------------------


def _rewrite(record: Record, before: Mapping[str, Known]) -> None:
    """Put into its files what they say of its networks now. Lines of its own stay.

    before: what was known of it on each network.
    """
    now = endpoint.of_container(record.id)
    old, new = (_texts(record, known) for known in (before, now))
    pid = status.of(record).pid
    with contextlib.suppress(OSError):  # it has just ended, or has no such file
        for name, text in new.items():
            _change(pid, name, old.get(name, ""), text)


def _texts(record: Record, known: Mapping[str, Known]) -> dict[str, str]:
    networks = {each.name: each for each in of(record)}
    own = Network.of(record.raw.get("network") or "none")
    pairs = [
        (networks.get(name) or replace(own, name=name), about) for name, about in known.items()
    ]
    return endpoint.files(pairs) if pairs else {}


def _change(pid: int, name: str, old: str, new: str) -> None:
    """Replace lines of one of the files that are ours: they are in the file system of its /dev.

    A file of the image, or a volume that is mounted there, is not ours to change.
    """
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = openat2(root, f"/etc/{name}", os.O_RDWR | os.O_CLOEXEC, RESOLVE_IN_ROOT)
        with open(fd, "r+", errors="surrogateescape") as file:
            if os.fstat(fd).st_dev != os.stat("dev", dir_fd=root).st_dev:
                return
            left, right = old.splitlines(), new.splitlines()
            lines = file.read(_MOST).splitlines()
            lines = [line for line in lines if line not in left or line in right]
            lines += [line for line in right if line not in lines]
            file.seek(0)
            file.write("".join(f"{line}\n" for line in lines))
            file.truncate()
    finally:
        os.close(root)


def files_without(record: Record) -> dict[str, str]:
    """The files of a container without a bridge, as far as options of docker run are about them."""
    asked = record.asked.get("HostConfig", {})
    own, lines = mode(record) == "none", asked.get("ExtraHosts") or ()
    dns = [asked.get(name) or [] for name in ("Dns", "DnsSearch", "DnsOptions")]
    found = {}
    if lines:
        before = "" if own else _of_this_machine("/etc/hosts")
        found["hosts"] = before + names.hosts((), lines, "127.0.0.1", short=not own)
    if any(dns):
        servers = dns[0] or names.servers(_of_this_machine("/etc/resolv.conf"))
        found["resolv.conf"] = names.resolv_conf(servers, *dns[1:])
    return found


def _of_this_machine(path: str) -> str:
    try:
        with open(path, errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def read(pid: int, name: str) -> str:
    """A file in the /etc of a container, which no link of its image leads out of."""
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = openat2(root, f"/etc/{name}", os.O_RDONLY | os.O_CLOEXEC, RESOLVE_IN_ROOT)
        with open(fd, errors="surrogateescape") as file:
            return file.read(_MOST)
    finally:
        os.close(root)
