"""docker run --network, --publish and their neighbours: the network of a container."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from labkit.docker.absent import Refused
from labkit.network.network import JOINS, Network
from labkit.text.words import Words

Asked = dict[str, list[str]]
_ONE = "network"
_ONCE = {"ip": "address", "ip6": "address6", "mac-address": "mac"}  # the last of them counts
_FIELDS = {"publish": "publish", "dns": "dns", "add-host": "hosts", "network-alias": "aliases"}


def _taken(name: str) -> Callable[[Asked, str], None]:
    def take(asked: Asked, value: str) -> None:
        asked[name] = [value] if name in _ONCE else [*asked.get(name, []), value]

    return take


def _network(asked: Asked, value: str) -> None:
    """NAME, or name=NAME,alias=ALIAS as CSV. The last of several counts."""
    if "=" not in value:
        asked[_ONE] = [value]
        return
    import csv

    for field in next(csv.reader([value]), []):
        key, _, text = field.partition("=")
        if key == "name":
            asked[_ONE] = [text]
        elif key == "alias":
            _taken("network-alias")(asked, text)
        else:
            raise Refused(
                Words(
                    f"--network 里只认得 name 和 alias，没有 {key}",
                    f"invalid field key {key}: only name and alias are here",
                )
            )


def _host(asked: Asked, value: str) -> None:
    """NAME:IP or NAME=IP."""
    mark = "=" if "=" in value else ":"
    name, _, address = value.partition(mark)
    address = address.removeprefix("[").removesuffix("]")
    if address and not _is_address(address):
        en = f'invalid IP address in add-host: "{address}"'
        raise Refused(Words(f"--add-host：{address!r} 不是地址", en))
    if not name or not address:
        raise Refused(
            Words(
                f"--add-host 写成 名字:地址，如 db:10.0.0.7，而不是 {value!r}",
                f'bad format for add-host: "{value}"',
            )
        )
    _taken("add-host")(asked, f"{name}:{address}")


def _dns(asked: Asked, value: str) -> None:
    if not _is_address(value):
        en = f"IP address is not correctly formatted: {value}"
        raise Refused(Words(f"--dns：{value!r} 不是地址", en))
    _taken("dns")(asked, value)


def _is_address(text: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _publish(asked: Asked, value: str) -> None:
    """[[ADDRESS:]HOST:]INSIDE[/PROTOCOL], where both ports may be ranges: ParsePortSpec of nat."""
    rest, _, kind = value.partition("/")
    *before, inside = rest.split(":")
    address, outside = ":".join(before[:-1]), "".join(before[-1:])
    counts = [_count(inside), _count(outside) if outside else _count(inside)]
    wrong = ""
    if address and not _is_address(address.strip("[]")):
        wrong = f"invalid IP address: {address}"
    elif not inside:
        wrong = f"no port specified: {value}<empty>"
    elif not counts[0]:
        wrong = f"invalid containerPort: {inside}"
    elif not counts[1]:
        wrong = f"invalid hostPort: {outside}"
    elif counts[0] != counts[1]:
        wrong = f"invalid ranges specified for container and host Ports: {inside} and {outside}"
    elif kind not in ("", "tcp", "udp"):
        wrong = f"invalid proto: {kind}"
    if wrong:
        raise Refused(Words(f"-p 写成 8080:80 或 127.0.0.1:8080:80/tcp，而不是 {value!r}", wrong))
    _taken("publish")(asked, value)


def _count(ports: str) -> int:
    """How many ports a range such as 80-82 has; 0: it is none."""
    found = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", ports)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    return max(0, last - first + 1) if last < 1 << 16 else 0


OPTIONS: Mapping[str, Callable[[Asked, str], None]] = {
    "network": _network,
    "net": _network,
    "publish": _publish,
    "dns": _dns,
    "network-alias": _taken("network-alias"),
    "net-alias": _taken("network-alias"),
    "add-host": _host,
    **{option: _taken(option) for option in _ONCE},
}


def name(asked: Asked) -> str:
    """The network that is asked for: "" for none in particular, else in Docker's words."""
    (said,) = asked.get(_ONE) or [""]
    if not said and len(asked) > 0:
        return "bridge"
    return "bridge" if said == "default" else said


def others(asked: Asked) -> tuple[str, ...]:
    """The options that are given besides --network."""
    return tuple(f"--{key}" for key in asked if key != _ONE)


def enter(asked: Asked, pid_of: Callable[[str], int]) -> None:
    """Put the process of a container in place of its name: container:NAME."""
    joined = name(asked).removeprefix(JOINS)
    if joined != name(asked) and not joined.isdecimal():
        asked[_ONE] = [f"{JOINS}{pid_of(joined)}"]


def network(asked: Asked, otherwise: str = "", more: Sequence[str] = ()) -> Network | None:
    """The network as a value; None: the container has no link at all, or the host's network.

    What is published there is published by nobody, as with Docker. otherwise: the network if none
    is asked for. more: ports that are published too.
    """
    chosen = name(asked) or otherwise
    if chosen in ("", "host"):
        return None
    if chosen == "none" or chosen.startswith(JOINS):
        return Network(chosen)
    rest = {_FIELDS[key]: tuple(said) for key, said in asked.items() if key in _FIELDS}
    if more:
        rest["publish"] = (*rest.get("publish", ()), *more)
    once = {field: asked[key][0] for key, field in _ONCE.items() if key in asked}
    return Network(chosen, **rest, **once)  # type: ignore[arg-type]


def words(network: Network) -> Iterator[str]:
    """The options of docker run for a network. A network's own subnet is Docker's to choose."""
    yield f"--network={network.name}"
    for option in ("publish", "dns", "add-host", "network-alias"):
        for value in getattr(network, _FIELDS[option]):
            yield f"--{option}={value}"
    for option, field in _ONCE.items():
        if value := getattr(network, field):
            yield f"--{option}={value}"
