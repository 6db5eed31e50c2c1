"""docker events: what has happened, and what happens, from the file that all who act write to."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from labkit.docker import gotemplate, templates, units
from labkit.images import reference
from labkit.monitor import log
from labkit.monitor.events import FILE
from labkit.state import folder
from labkit.text.words import Words

Event = Mapping[str, Any]
_PAUSE = 0.1  # seconds between two looks at a file that grows
_TYPES = ("image", "network", "volume", "plugin", "daemon", "node", "service", "secret", "config")


def events(since: str, until: str, filters: Sequence[str]) -> Iterator[Event]:
    """The events of a time that pass all filters, as Docker has them.

    since: "" for from now on. until: "" for without an end. An end that is still to come is waited
    for.
    """
    begin = _nanoseconds(since) if since else time.time_ns()
    end = _nanoseconds(until) if until else None
    wanted = _wanted(filters)
    for line in _lines(end):
        event = json.loads(line)
        at = event["timeNano"]
        if begin <= at <= (at if end is None else end) and _passes(event, wanted):
            yield event


def _nanoseconds(text: str) -> int:
    found = units.moment(units.log_time(text))
    return int(found.timestamp() * 10**9) if found else 0


def _lines(end: int | None) -> Iterator[bytes]:
    """What is in the file; then what is added, until `end`."""

    def more() -> bool:
        if end is not None and time.time_ns() >= end:
            return False
        time.sleep(_PAUSE)
        return True

    path = os.path.join(folder.lasting(), FILE)
    with open(path, "ab"):
        pass  # it is there from now on
    return log.lines(path, more=more)


# --- Filters ------------------------------------------------------------------------------------


def _wanted(filters: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in filters:
        name, equals, value = each.partition("=")
        if name not in _FILTERS or not equals:
            raise ValueError(Words(f"不认得的过滤条件：{each!r}", f"invalid filter '{name}'"))
        found.setdefault(name, []).append(value)
    return found


def _passes(event: Event, wanted: Mapping[str, Sequence[str]]) -> bool:
    return all(any(_FILTERS[name](event, v) for v in wanted[name]) for name in wanted)


def _attributes(event: Event) -> Mapping[str, str]:
    found: Mapping[str, str] = event["Actor"]["Attributes"]
    return found


def _is_of(kind: str) -> Callable[[Event, str], bool]:
    """Whether it is about one that has that name, or an ID that begins so."""

    def check(event: Event, text: str) -> bool:
        called = _attributes(event).get("name", "")
        identity = event["Actor"]["ID"].removeprefix("sha256:")
        known = bool(text) and identity.startswith(text.removeprefix("sha256:"))
        return event["Type"] == kind and (known or called == text.removeprefix("/"))

    return check


def _of_image(event: Event, text: str) -> bool:
    """Whether it is about an image, or about a container that was made from it."""
    called = _attributes(event).get("image" if event["Type"] == "container" else "name", "")
    return _is_of("image")(event, text) or _tagged(text) == _tagged(called)


def _tagged(text: str) -> str:
    try:
        return str(reference.parse(text).tagged())
    except ValueError:
        return text


def _has_label(event: Event, text: str) -> bool:
    name, equals, value = text.partition("=")
    found = _attributes(event)
    return name in found and (not equals or found[name] == value)


_FILTERS: Mapping[str, Callable[[Event, str], bool]] = {
    "container": _is_of("container"),
    "event": lambda event, text: text in (event["Action"], event["Action"].partition(":")[0]),
    "image": _of_image,
    "label": _has_label,
    "scope": lambda event, text: event["scope"] == text,
    "type": lambda event, text: event["Type"] == text,
    **{kind: _is_of(kind) for kind in _TYPES if kind != "image"},
}


# --- How they are shown -------------------------------------------------------------------------


def shown(event: Event, form: str) -> str:
    """One event as docker events prints it: a line, JSON, or what a template makes of it."""
    actor = event["Actor"]
    if form == "json":
        return gotemplate.as_json(event, ordered=True)
    if form:
        fields = {"Scope": event["scope"], "Time": event["time"], "TimeNano": event["timeNano"]}
        known = {"ID": actor["ID"], "Status": event["Action"], "From": _from(event), **fields}
        return templates.filled(templates.unescaped(form), {**event, **known})
    seconds, rest = divmod(event["timeNano"], 10**9)
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    at = time.strftime("%Y-%m-%dT%H:%M:%S", local) + f".{rest:09d}{zone[:3]}:{zone[3:]}"
    about = ", ".join(f"{name}={text}" for name, text in sorted(actor["Attributes"].items()))
    return f"{at} {event['Type']} {event['Action']} {actor['ID']}" + f" ({about})" * bool(about)


def _from(event: Event) -> str:
    return _attributes(event).get("image", "")
