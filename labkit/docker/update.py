"""docker update: other limits for a container, at once if it runs, and at each later start."""

from collections.abc import Mapping
from typing import Any

from labkit.cgroups import changing
from labkit.cgroups.limits import Limits, as_bytes, as_size
from labkit.docker import limits
from labkit.linux.fields import replace
from labkit.monitor import status
from labkit.monitor.record import Record
from labkit.text.words import Words

_FIELDS = ("memory", "memory_swap", "cpus", "cpu_shares", "cpuset", "pids")
_PIDS = "pids-limit"


def read(given: Mapping[str, str]) -> limits.Asked:
    """The options of docker update as fields of Limits; None takes a limit away."""
    asked: limits.Asked = {"pids": None} if given.get(_PIDS) in ("0", "-1") else {}
    for option, text in given.items():
        limits.OPTIONS[option](asked, text)
    return asked


def apply(record: Record, asked: limits.Asked) -> None:
    """Change the limits of a container. What is not asked for stays as it is."""
    before = record.box.limits or Limits()
    after = _merged(before, asked)
    now = status.of(record)
    if now.is_up and now.pid:
        if not now.directories:
            raise ValueError(
                Words(
                    f"容器 {record.name} 没有控制组，改不了它的限制",
                    f"container {record.name} has no control group, so it has no limits to change",
                )
            )
        changing.change(now.version, now.directories, before, after)
    record.change(limits=after.fields_on(), resources=_shown(after))


def _merged(before: Limits, asked: limits.Asked) -> Limits:
    """The limits after a change. ValueError: Docker would not take them together."""
    known = {name: getattr(before, name) for name in _FIELDS}
    for name in ("memory", "memory_swap"):
        known[name] = as_size(known[name]) if known[name] is not None else None
    if "cpu_quota" in asked or "cpu_period" in asked:
        known["cpus"] = None
    whole = {name: value for name, value in {**known, **asked}.items() if value is not None}
    found = limits.limits(whole) or Limits()
    changed = {name: getattr(found, name) for name in _FIELDS}
    if changed["cpu_shares"] is not None:
        changed["cpu_weight"] = None  # another form of the same
    return replace(before, **changed)


def _shown(found: Limits) -> dict[str, Any]:
    """The limits as the HostConfig of docker inspect has them."""
    memory = as_bytes("memory", found.memory) if found.memory else 0
    swap = as_bytes("memory_swap", found.memory_swap) if found.memory_swap else 2 * memory
    return {
        "Memory": memory,
        "MemorySwap": swap,
        "NanoCpus": round(float(found.cpus or 0) * 10**9),
        "CpuShares": found.cpu_shares or 0,
        "CpusetCpus": found.cpuset or "",
        "PidsLimit": found.pids,
    }
