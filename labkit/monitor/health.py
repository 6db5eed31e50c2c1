"""The health of a container, as its folder has it: what the checks of it have found.

A check is a program of its image or of --health-cmd, run in the container by the clock. The monitor
keeps the time, and starts a process for each check (`checking.py`).
"""

from _collections_abc import Mapping

from labkit.monitor.record import Record
from labkit.python.typing import Any
from labkit.state import document

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
FILE = "health.json"
USUAL = {"Interval": 30, "Timeout": 30, "StartPeriod": 0, "StartInterval": 5, "Retries": 3}
_SECOND = 10**9  # Docker's times are in nanoseconds
_NEW: Mapping[str, Any] = {"Status": STARTING, "FailingStreak": 0, "Log": []}


def settings(record: Record) -> Mapping[str, Any] | None:
    """Its Healthcheck, as docker inspect has it; None: nobody checks."""
    found: Mapping[str, Any] = (record.asked.get("Config") or {}).get("Healthcheck") or {}
    return found if (found.get("Test") or ["NONE"])[0] != "NONE" else None


def seconds(check: Mapping[str, Any], name: str) -> float:
    """A length of time of a Healthcheck."""
    return (check.get(name) or USUAL[name] * _SECOND) / _SECOND


def rhythm(record: Record) -> str:
    """How often it is checked, in the words that the monitor takes; "" if it is not.

    The container is about to start, so what was found before is dropped.
    """
    check = settings(record)
    if check is None:
        return ""
    document.write(record.at(FILE), dict(_NEW))
    names = ("Interval", "StartPeriod", "StartInterval")
    return " ".join(f"{seconds(check, name)}" for name in names)


def of(record: Record, *, is_up: bool) -> Mapping[str, Any] | None:
    """Its health as docker inspect shows it; None if nobody checks, or nobody has started it."""
    if settings(record) is None or not (found := document.read(record.at(FILE), None)):
        return None
    told: Mapping[str, Any] = found
    return told if is_up else {**told, "Status": UNHEALTHY}  # as Docker: nobody checks any more
