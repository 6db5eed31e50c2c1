"""docker run --network, --publish and their neighbours: the network of a container."""

from _collections_abc import Callable, Iterator, Mapping, Sequence

from labkit.docker.absent import Refused
from labkit.network.network import HOST_GATEWAY, JOINS, Network
from labkit.python import json, re
from labkit.python.typing import Any
from labkit.text.words import Words

Asked = dict[str, list[str]]
_ONE, _MORE = "network", "more"  # the first; the others, as JSON of their fields
_ONCE = {"ip": "address", "ip6": "address6", "mac-address": "mac"}  # the last of them counts
_FIELDS = {
    "publish": "publish",
    "dns": "dns",
    "dns-search": "dns_search",
    "dns-option": "dns_options",
    "add-host": "hosts",
    "network-alias": "aliases",
}
# What excludes the network of another container, and how Docker calls it.
_ITS_OWN = {
    "dns": "dns and the network mode",
    "add-host": "custom host-to-IP mapping and the network mode",
    "mac-address": "mac-address and the network mode",
    "publish": "port publishing and the container type network mode",
}
_DOMAIN = re.compile(
    r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*\.?"
)
_OF_ALL = ("dns", "dns-search", "dns-option", "add-host")  # what is said on each network
_OF_A_NETWORK = {"alias": "network-alias", "ip": "ip", "ip6": "ip6", "mac-address": "mac-address"}


def _taken(name: str) -> Callable[[Asked, str], None]:
    def take(asked: Asked, value: str) -> None:
        asked[name] = [value] if name in _ONCE else [*asked.get(name, []), value]

    return take


def _network(asked: Asked, value: str) -> None:
    """NAME, or name=NAME,alias=ALIAS,ip=ADDRESS as CSV; of several the first is the main one."""
    found: Asked = {}
    for field in _parts(value) if "=" in value else [f"name={value}"]:
        key, _, text = field.partition("=")
        if key == "name":
            found[_ONE] = [text]
        elif key in _OF_A_NETWORK:
            _taken(_OF_A_NETWORK[key])(found, text)
        else:
            known = ", ".join(("name", *_OF_A_NETWORK))
            raise Refused(
                Words(
                    f"--network 里只认得 {known}，没有 {key}",
                    f"invalid field key {key}: {known} are here",
                )
            )
    if _ONE in asked:
        fields = {"name": "".join(found.pop(_ONE, [])), **_fields(found)}
        asked[_MORE] = [*asked.get(_MORE, []), json.dumps(fields)]
    else:
        asked.update({key: [*asked.get(key, []), *values] for key, values in found.items()})


def _parts(value: str) -> list[str]:
    import csv

    return next(csv.reader([value]), [])


def _fields(asked: Asked) -> dict[str, Any]:
    """The fields of a Network that options are about."""
    many = {_FIELDS[key]: tuple(said) for key, said in asked.items() if key in _FIELDS}
    return {**many, **{field: asked[key][0] for key, field in _ONCE.items() if key in asked}}


def _host(asked: Asked, value: str) -> None:
    """NAME:IP or NAME=IP."""
    mark = "=" if "=" in value else ":"
    name, _, address = value.partition(mark)
    address = address.removeprefix("[").removesuffix("]")
    if address not in ("", HOST_GATEWAY) and not _is_address(address):
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


def _search(asked: Asked, value: str) -> None:
    domain = value.strip()
    if domain != "." and not (_DOMAIN.fullmatch(domain) and re.search("[a-zA-Z]", domain)):
        en = f"{value} is not a valid domain"
        raise Refused(Words(f"--dns-search：{value!r} 不是域名", en))
    _taken("dns-search")(asked, domain)


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
    "dns-search": _search,
    "dns-option": _taken("dns-option"),
    "dns-opt": _taken("dns-option"),
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


def conflicts(asked: Asked) -> Iterator[tuple[str, str]]:
    """The options that are another container's to decide, if its network is shared, in words."""
    yield from ((f"--{key}", told) for key, told in _ITS_OWN.items() if key in asked)


def joined(asked: Asked) -> str:
    """The name or ID of the container whose network is shared; ""; nobody's."""
    return name(asked).removeprefix(JOINS) if name(asked).startswith(JOINS) else ""


def enter(asked: Asked, pid: int) -> None:
    """Put the process of a container in place of its name: container:NAME."""
    asked[_ONE] = [f"{JOINS}{pid}"]


def rename(asked: Asked, name_of: Callable[[str], str]) -> None:
    """Put the names of networks in place of what was written: an ID may stand for one."""
    asked[_ONE] = [name_of(each) for each in asked.get(_ONE, ())] or ["bridge"]
    more = [json.loads(text) for text in asked.get(_MORE, ())]
    asked[_MORE] = [json.dumps({**each, "name": name_of(each["name"])}) for each in more]


def further(asked: Asked) -> list[Network]:
    """The networks besides the first."""
    of_all = _fields({key: asked[key] for key in _OF_ALL if key in asked})
    return [Network(**of_all, **json.loads(text)) for text in asked.get(_MORE, [])]


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
    rest = _fields(asked)
    if more:
        rest["publish"] = (*asked.get("publish", ()), *more)
    return Network(chosen, **rest)


def words(network: Network) -> Iterator[str]:
    """The options of docker run for a network. A network's own subnet is Docker's to choose."""
    yield f"--network={network.name}"
    for option, of in _FIELDS.items():
        for value in getattr(network, of):
            yield f"--{option}={value}"
    for option, field in _ONCE.items():
        if value := getattr(network, field):
            yield f"--{option}={value}"
