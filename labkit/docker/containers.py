"""Docker's words about containers: what docker ps and docker inspect print.

Output is that of docker 28.
"""

import fnmatch
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from labkit.container.root import Volume
from labkit.docker import templates, units, volumes
from labkit.monitor import record as records
from labkit.monitor import status
from labkit.monitor.record import Record
from labkit.monitor.status import Status
from labkit.network.network import Port
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
    form: str = "",
    filters: Sequence[str] = (),
) -> str:
    """What docker ps prints."""
    chosen = chosen_by(filters, _all=_all or latest or last > -1)
    chosen = chosen[: 1 if latest else last if last > -1 else None]
    rows = [_row(*found, no_trunc=no_trunc) for found in chosen]
    if quiet and not form:
        return "".join(f"{row['ID']}\n" for row in rows)
    return templates.listed(rows, _HEADS, form, _COLUMNS)


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
    if name == "status" and value not in _STATES:
        raise ValueError(Words(f"没有 {value!r} 这个状态", f"invalid filter 'status={value}'"))
    return value


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
    "network": lambda record, _, text: fnmatch.fnmatchcase(network_of(record), text),
}


def _row(record: Record, found: Status, *, no_trunc: bool) -> Mapping[str, str]:
    labels = record.asked.get("Config", {}).get("Labels") or {}
    command = command_line(record)
    if not no_trunc and len(command) > _COMMAND:
        command = command[: _COMMAND - 1] + "…"
    time = units.moment(record.created)
    texts = (record.raw.get("root") or {}).get("volumes", ())
    sources = [text.partition(":")[0] for text in texts]
    return {
        "ID": record.id if no_trunc else record.short,
        "Image": record.image,
        "Command": templates.go_quoted(command),
        "RunningFor": units.ago(record.created),
        "CreatedAt": time.astimezone().strftime("%Y-%m-%d %H:%M:%S %z %Z") if time else "N/A",
        "Status": told(found),
        "State": found.word,
        "Ports": ", ".join(_open(record, found)) if found.is_up else "",
        "Names": record.name,
        "Labels": ",".join(f"{name}={value}" for name, value in labels.items()),
        "Mounts": ",".join(_volume_at(path) or path for path in sources),
        "Networks": network_of(record),
        "LocalVolumes": str(sum(map(bool, map(_volume_at, sources)))),
        "Size": "N/A",
    }


def told(found: Status) -> str:
    """What docker ps says of the status of a container."""
    if found.word == "restarting":
        return f"Restarting ({found.code}) {units.ago(found.finished)}"
    if found.is_up:
        up = f"Up {units.ago(found.started).removesuffix(' ago')}"
        return f"{up} (Paused)" if found.word == "paused" else up
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


def network_of(record: Record) -> str:
    """The network that it is on, by Docker's name."""
    asked = record.asked.get("HostConfig", {}).get("NetworkMode")
    return str(asked or record.raw.get("network", {}).get("name", "none"))


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
        "State": state(found),
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


def state(found: Status) -> dict[str, Any]:
    """Its status, under Docker's names."""
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
        "NetworkMode": network_of(record),
        "AutoRemove": bool(settings.get("remove")),
        "LogConfig": {"Type": "json-file", "Config": {}},
    }
    policy = {"RestartPolicy": {"Name": name, "MaximumRetryCount": int(most or 0)}}
    return known | dict(record.asked.get("HostConfig") or {}) | policy


def _network_settings(record: Record, found: Status) -> dict[str, Any]:
    about = found.about or {}
    addresses = about.get("addresses", ()) if found.is_up else ()
    address = next((each for each in addresses if ":" not in each), "")
    published: dict[str, Any] = {}
    for port in ports(found) if found.is_up else ():
        at = {"HostIp": port.address or "0.0.0.0", "HostPort": str(port.host)}  # noqa: S104
        published.setdefault(f"{port.inside}/{port.kind}", []).append(at)
    known = {"IPAddress": address, "GlobalIPv6Address": "".join(addresses[1:2])}
    return {"Ports": published, "Networks": {network_of(record): known}, **known}
