"""Docker's words about containers: what docker ps and docker inspect print.

Output is that of docker 28.
"""

import contextlib
import fnmatch
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from labkit.container.root import Volume
from labkit.docker import templates, units, volumes
from labkit.monitor import health, status
from labkit.monitor import networks as connections
from labkit.monitor import record as records
from labkit.monitor.record import Record
from labkit.monitor.status import Status
from labkit.network.network import Network, Port
from labkit.text.words import Words

_COMMAND = 20  # characters of a command in a table
_HEADS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "CreatedAt": "CREATED AT",
    "Status": "STATUS",
    "State": "STATE",
    "Ports": "PORTS",
    "Names": "NAMES",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "Networks": "NETWORKS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Size": "SIZE",
}
_COLUMNS = ["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"]
Found = tuple[Record, Status]


# --- ps -----------------------------------------------------------------------------------------


def ps(
    *,
    _all: bool = False,
    quiet: bool = False,
    last: int = -1,
    latest: bool = False,
    no_trunc: bool = False,
    size: bool = False,
    form: str = "",
    filters: Sequence[str] = (),
) -> str:
    """What docker ps prints."""
    chosen = chosen_by(filters, _all=_all or latest or last > -1)
    chosen = chosen[: 1 if latest else last if last > -1 else None]
    rows = [_row(*found, no_trunc=no_trunc) for found in chosen]
    if quiet and not form:
        return "".join(f"{row['ID']}\n" for row in rows)
    if size or ".Size" in form:  # to count takes long
        sizes = map(size_of, (record for record, _ in chosen))
        rows = [{**row, "Size": text} for row, text in zip(rows, sizes, strict=True)]
    return templates.listed(rows, _HEADS, form, _COLUMNS + ["Size"] * size)


def upper_size(record: Record) -> int:
    """How many bytes a container has written to its root."""
    root = record.box.root
    return volumes.tree_size(root.upper) if root and root.upper else 0


def size_of(record: Record) -> str:
    """What it has written; and that with its image."""
    from labkit.images.store import NoSuchImage, opened  # only who asks for sizes pays for it

    written, store, below = upper_size(record), opened(), 0
    with contextlib.suppress(NoSuchImage):
        if store and record.image_id:
            below = sum(map(store.layer_size, store.find(record.image_id).diff_ids))
    return f"{units.size(written)} (virtual {units.size(written + below)})"


def chosen_by(filters: Sequence[str], *, _all: bool) -> list[Found]:
    """The containers that pass all filters, the youngest first. _all: those that do not run too."""
    wanted: dict[str, list[str]] = {}
    for each in filters:
        name, equals, value = each.partition("=")
        if name not in _FILTERS or not equals:
            raise ValueError(Words(f"不认得的过滤条件：{each!r}", f"invalid filter '{name}'"))
        wanted.setdefault(name, []).append(_checked(name, value))
    _all = _all or bool({"status", "exited"} & {*wanted})
    every = [(record, status.of(record)) for record in records.every()]
    return [
        (record, found)
        for record, found in every
        if (_all or found.is_up)
        and all(any(_FILTERS[n](record, found, v) for v in values) for n, values in wanted.items())
    ]


def _checked(name: str, value: str) -> str:
    """The value of a filter; of an age, the time that it means."""
    if name in ("before", "since"):
        return records.find(value).created
    known = {"status": _STATES, "health": _HEALTHS, "is-task": _BOOLEANS}.get(name)
    if known and value not in known:
        raise ValueError(Words(f"{name} 没有 {value!r} 这个值", f"invalid filter '{name}={value}'"))
    if name == "exited" and not re.fullmatch("-?[0-9]+", value):
        raise ValueError(Words(f"exited 要是个整数：{value!r}", f"invalid filter 'exited={value}'"))
    if name in ("publish", "expose"):
        _port_range(value)
    return value


def _port_range(text: str) -> tuple[range, str]:
    """The ports of a filter, as 80, 80/udp or 8000-8080/tcp."""
    numbers, _, kind = text.partition("/")
    first, _, last = numbers.partition("-")
    if kind not in ("", "tcp", "udp", "sctp") or not (first + (last or "0")).isdigit():
        told = f"invalid filter: invalid containerPort: {text}"
        raise ValueError(Words(f"端口写成 80、80/udp 或 8000-8080/tcp，而不是 {text!r}", told))
    return range(int(first), int(last or first) + 1), kind or "tcp"


def _has_port(published: bool) -> Callable[[Record, Status, str], bool]:
    """Whether one of its ports is in a range: of those that are exposed, or published."""

    def check(record: Record, found: Status, text: str) -> bool:
        wanted, kind = _port_range(text)
        exposed = config(record).get("ExposedPorts") or {}
        bound = host_config(record).get("PortBindings") or {}
        ports_ = {f"{port.inside}/{port.kind}" for port in ports(found)} | {*bound}
        every = ports_ if published else {*exposed}
        pairs = (each.partition("/")[::2] for each in every)
        return any(int(number) in wanted and kind == of for number, of in pairs)

    return check


def _health_of(record: Record, found: Status) -> str:
    told = health.of(record, is_up=found.is_up)
    return str(told["Status"]) if told else "none"


_HEALTHS = (health.STARTING, health.HEALTHY, health.UNHEALTHY, "none")
_BOOLEANS = ("true", "false", "1", "0")


_STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")


def _has_label(record: Record, _: Status, text: str) -> bool:
    name, equals, value = text.partition("=")
    labels = record.asked.get("Config", {}).get("Labels") or {}
    return name in labels and (not equals or labels[name] == value)


def _has_name(record: Record, _: Status, text: str) -> bool:
    try:
        return any(re.search(text, name) for name in (record.name, f"/{record.name}"))
    except re.error:
        return text in record.name


def _is_of(record: Record, _: Status, text: str) -> bool:
    """Whether its image has that name or ID."""
    name, _colon, tag = record.image.partition(":")
    digits = record.image_id.removeprefix("sha256:")
    bare = text.removeprefix("sha256:")
    names = (record.image, *[name] * (tag in ("", "latest")), f"{name}:{tag or 'latest'}")
    return text in names or (len(bare) >= 4 and digits.startswith(bare))


def _has_volume(record: Record, _: Status, text: str) -> bool:
    """Whether a volume of that name, or something at that place, is mounted."""
    found = mounts(record)
    return any(text in (each.get("Name"), each["Destination"]) for each in found)


_FILTERS: Mapping[str, Callable[[Record, Status, str], bool]] = {
    "id": lambda record, _, text: record.id.startswith(text),
    "name": _has_name,
    "label": _has_label,
    "status": lambda _, found, text: found.word == text,
    "exited": lambda _, found, text: found.word == "exited" and str(found.code) == text,
    "ancestor": _is_of,
    "before": lambda record, _, created: record.created < created,
    "since": lambda record, _, created: record.created > created,
    "volume": _has_volume,
    "publish": _has_port(published=True),
    "expose": _has_port(published=False),
    "health": lambda record, found, text: _health_of(record, found) == text,
    "is-task": lambda _, __, text: text in ("false", "0"),  # there is no swarm
    "network": lambda record, _, text: any(
        fnmatch.fnmatchcase(name, text) for name in networks_of(record)
    ),
}


def _row(record: Record, found: Status, *, no_trunc: bool) -> Mapping[str, str]:
    labels = record.asked.get("Config", {}).get("Labels") or {}
    command = command_line(record)
    if not no_trunc and len(command) > _COMMAND:
        command = command[: _COMMAND - 1] + "…"
    time = units.moment(record.created)
    said = (record.raw.get("root") or {}).get("volumes", ())
    sources = [each.partition(":")[0] if isinstance(each, str) else each[0] for each in said]
    return {
        "ID": record.id if no_trunc else record.short,
        "Image": record.image,
        "Command": templates.go_quoted(command),
        "RunningFor": units.ago(record.created),
        "CreatedAt": time.astimezone().strftime("%Y-%m-%d %H:%M:%S %z %Z") if time else "N/A",
        "Status": told(found, health.of(record, is_up=True) if found.is_up else None),
        "State": found.word,
        "Ports": ", ".join(_open(record, found)) if found.is_up else "",
        "Names": record.name,
        "Labels": ",".join(f"{name}={value}" for name, value in labels.items()),
        "Mounts": ",".join(_volume_at(path) or path for path in sources),
        "Networks": ",".join(networks_of(record)),
        "LocalVolumes": str(sum(map(bool, map(_volume_at, sources)))),
        "Size": "N/A",
    }


def told(found: Status, checked: Mapping[str, Any] | None = None) -> str:
    """What docker ps says of the status of a container. checked: its health."""
    if found.word == "restarting":
        return f"Restarting ({found.code}) {units.ago(found.finished)}"
    if found.is_up:
        up = f"Up {units.ago(found.started).removesuffix(' ago')}"
        if found.word == "paused":
            return f"{up} (Paused)"
        state = checked["Status"] if checked else ""
        state = f"health: {state}" if state == health.STARTING else state
        return f"{up} ({state})" if state else up
    if found.word == "exited":
        return f"Exited ({found.code}) {units.ago(found.finished)}"
    return "Removal In Progress" if found.word == "removing" else "Created"


def command_line(record: Record) -> str:
    """Its program and arguments; an argument with a blank in it stands between quotes."""
    first, *rest = record.raw["argv"]
    return " ".join([first, *(f"'{word}'" if " " in word else word for word in rest)])


def ports(found: Status) -> list[Port]:
    """What is published of a container that runs, with the numbers that were free."""
    return [Port(**fields) for fields in (found.about or {}).get("ports", ())]


def _open(record: Record, found: Status) -> Iterator[str]:
    """Its ports: those that are only exposed, then those that are published."""
    published = ports(found)
    inside = {f"{port.inside}/{port.kind}" for port in published}
    yield from sorted({*(config(record).get("ExposedPorts") or ())} - inside)
    yield from map(str, published)


def networks_of(record: Record) -> list[str]:
    """The networks that it is on, by Docker's names."""
    mode = connections.mode(record)
    if mode in ("none", "host") or mode.startswith("container:"):
        return [mode] if mode in connections.HOUSE else []
    return sorted(network.name for network in connections.of(record))


def mounts(record: Record) -> list[dict[str, Any]]:
    """What of the host is seen in it, as docker inspect tells it."""
    root = record.box.root
    found = [each for each in root.mounts() if isinstance(each, Volume)] if root else []
    return [_mount(each) for each in found]


def _mount(mounted: Volume) -> dict[str, Any]:
    """A directory of the host, or a volume, which has a name."""
    about = {
        "Source": mounted.source,
        "Destination": mounted.target,
        "Mode": "ro" if mounted.readonly else "",
        "RW": not mounted.readonly,
    }
    if name := _volume_at(mounted.source):
        return {"Type": "volume", "Name": name, **about, "Driver": "local", "Propagation": ""}
    return {"Type": "bind", **about, "Propagation": "rprivate"}


def _volume_at(path: str) -> str:
    """The name of the volume that has this directory, or ""."""
    name = os.path.basename(os.path.dirname(path))
    return name if path == volumes.data(name) else ""


# --- inspect ------------------------------------------------------------------------------------


def inspect(record: Record) -> dict[str, Any]:
    """What docker inspect tells of a container."""
    found = status.of(record)
    root, first, rest = record.box.root, record.box.argv[0], record.box.argv[1:]
    layers = {"LowerDir": ":".join(root.layers)} if root else {}
    if root and root.upper:
        layers |= {"UpperDir": root.upper, "WorkDir": str(root.work)}
    return {
        "Id": record.id,
        "Created": record.created,
        "Path": first,
        "Args": list(rest),
        "State": state(found, health.of(record, is_up=found.is_up)),
        "Image": record.image_id,
        "LogPath": record.at(records.LOG),
        "Name": f"/{record.name}",
        "RestartCount": found.restarts,
        "Driver": "overlay2",
        "Platform": "linux",
        "HostConfig": host_config(record),
        "GraphDriver": {"Data": layers, "Name": "overlay2"},
        "Mounts": mounts(record),
        "Config": config(record),
        "NetworkSettings": _network_settings(record, found),
    }


def state(found: Status, checked: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Its status, under Docker's names. checked: its health."""
    more = {"Health": checked} if checked else {}
    return {
        "Status": found.word,
        "Running": found.is_up,
        "Paused": found.word == "paused",
        "Restarting": found.word == "restarting",
        "OOMKilled": found.oom,
        "Dead": False,
        "Pid": found.pid,
        "ExitCode": 0 if found.word in ("running", "paused") else found.code,
        "Error": "",
        "StartedAt": found.started,
        "FinishedAt": found.finished,
        **more,
    }


def config(record: Record) -> dict[str, Any]:
    """What it runs, under Docker's names."""
    box = record.box
    known = {
        "Hostname": box.hostname or "",
        "Tty": box.tty,
        "OpenStdin": bool(record.options.get("open_stdin")),
        "StdinOnce": bool(record.options.get("stdin_once")),
        "Env": [f"{name}={value}" for name, value in (box.env or {}).items()],
        "Cmd": list(box.argv),
        "Image": record.image,
        "WorkingDir": box.cwd or "",
        "Labels": {},
    }
    return known | dict(record.asked.get("Config") or {})


def host_config(record: Record) -> dict[str, Any]:
    """What it was given, under Docker's names; with what was changed afterwards."""
    settings = record.settings
    name, _, most = str(settings.get("restart") or "no").partition(":")
    known = {
        "NetworkMode": connections.mode(record),
        "AutoRemove": bool(settings.get("remove")),
        "LogConfig": {"Type": "json-file", "Config": {}},
    }
    policy = {"RestartPolicy": {"Name": name, "MaximumRetryCount": int(most or 0)}}
    changed = dict(settings.get("resources") or {})
    return known | dict(record.asked.get("HostConfig") or {}) | policy | changed


def log_attributes(record: Record) -> str:
    """What --details of docker logs shows: labels and variables that --log-opt names."""
    options = (host_config(record).get("LogConfig") or {}).get("Config") or {}
    told, labels = config(record), config(record).get("Labels") or {}
    env = dict(text.partition("=")[::2] for text in told.get("Env") or ())
    named = [(labels, options.get("labels")), (env, options.get("env"))]
    chosen = {
        name: source[name]
        for source, names in named
        for name in (names or "").split(",")
        if name in source
    }
    return ",".join(f"{name}={chosen[name]}" for name in sorted(chosen))


def _network_settings(record: Record, found: Status) -> dict[str, Any]:
    published: dict[str, Any] = {}
    for port in ports(found) if found.is_up else ():
        at = {"HostIp": port.address or "0.0.0.0", "HostPort": str(port.host)}  # noqa: S104
        published.setdefault(f"{port.inside}/{port.kind}", []).append(at)
    known = _known(record) if found.is_up else {}
    asked = {network.name: network for network in connections.of(record)}
    on = {
        name: _on_network(asked.get(name, Network("bridge")), name, known.get(name, {}))
        for name in networks_of(record)
    }
    return {"Ports": published, **_settings(on, found), "Networks": on}


def _known(record: Record) -> Mapping[str, Mapping[str, Any]]:
    """What is known of it on each network."""
    from labkit.network import endpoint  # only inspect pays for it

    found = endpoint.of_container(record.id)
    return {
        name: {**about, "endpoint": endpoint.identity_of(about)} for name, about in found.items()
    }


_OF_THE_BRIDGE = (
    *("EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress"),
    *("IPPrefixLen", "IPv6Gateway", "MacAddress"),
)


def _settings(on: Mapping[str, Mapping[str, Any]], found: Status) -> dict[str, Any]:
    """What is told besides of the network that is there at first, as before there were others."""
    empty = _on_network(Network("bridge"), "bridge", {})
    known = dict(on.get("bridge", empty))
    if not known["IPAddress"] and found.is_up and "bridge" in on:  # of slirp4netns
        addresses = (found.about or {}).get("addresses", ())
        known["IPAddress"] = next(iter(addresses), "")
    return {name: known[name] for name in _OF_THE_BRIDGE}


def _on_network(network: Network, name: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """Its place on one network. about: what is known of it there, as long as it runs."""
    four, six = (*about.get("addresses", ()), "", "")[:2]
    prefix, prefix6 = (*about.get("prefixes", ()), 0, 0)[:2]
    config = {"IPv4Address": network.address, "IPv6Address": network.address6}
    own = name not in connections.HOUSE
    return {
        "IPAMConfig": {key: value for key, value in config.items() if value} or None,
        "Links": None,
        "Aliases": [*network.aliases][:-1] or None,  # the last is the name of the container
        "MacAddress": about.get("mac", ""),
        "DriverOpts": None,
        "GwPriority": 0,
        "NetworkID": about.get("id", ""),
        "EndpointID": about.get("endpoint", ""),
        "Gateway": "" if about.get("internal") else about.get("gateway", ""),
        "IPAddress": four,
        "IPPrefixLen": prefix,
        "IPv6Gateway": about.get("gateway6", ""),
        "GlobalIPv6Address": six,
        "GlobalIPv6PrefixLen": prefix6 if six else 0,
        "DNSNames": list(about.get("names", ())) if own else None,
    }
