"""What `exec` keeps in a container's folder for the next `exec`, and for how long that holds."""

import os

from labkit.engine.layout import KINDS
from labkit.linux import proc

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from _collections_abc import Mapping
    from typing import Any

FILE = "entering"
"""The calls that come before the program's: `engine/kept.py`."""


def holds(run: "Mapping[str, Any]", number: int) -> str:
    """For what they hold: this run of the container, its groups, and the namespaces to enter.

    run: what its monitor has written of it. number: what this /proc calls its first process. The
    monitor is of the same program as long as it lives, so that need not be said. OSError: one of
    the two has ended.
    """
    ours, theirs = _namespaces(proc.number(run["monitor"])), _namespaces(number)
    differing = [name for name, _ in KINDS if ours.get(name) != theirs.get(name)]
    return " ".join([f"{run['monitor']}", run["started"], *differing, *groups(run)])


def groups(run: "Mapping[str, Any]") -> list[str]:
    """The directories of its control groups."""
    return [*dict.fromkeys(directories(run).values())]


def directories(run: "Mapping[str, Any]") -> dict[str, str]:
    """The same by controller; none if it has no group."""
    found: dict[str, str] = ((run["about"] or {}).get("group") or {}).get("directories", {})
    return found


def _namespaces(number: int) -> dict[str, str]:
    found = {}
    for name, _ in KINDS:
        try:
            found[name] = os.readlink(f"/proc/{number}/ns/{name}")
        except FileNotFoundError:  # this kernel has no such kind, or the process has ended
            os.stat(f"/proc/{number}/ns/mnt")
    return found
