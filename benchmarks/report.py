"""The table that run.py prints and keeps in docs/performance.md, and the goals it is held to."""

import os
import platform
import re
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

DOCUMENT = Path(__file__).parents[1] / "docs/performance.md"
BEGIN, END = "<!-- make bench begins -->\n", "<!-- make bench ends -->\n"

GOALS = (
    ("run()", "unshare -muinpf --mount-proc", 0.7),
    ("run()", "bwrap --unshare-all", 0.5),
    ("run()", "crun run", 0.3),
    ("run()", "runc run", 0.08),
    ("run()", "ideal.c", 1.3),
    ("run(root=)", "run()", 1.3),
    ("run(root=)", "crun run, crun spec", 0.3),
    ("run(limits=)", "run()", 1.25),
    (".exec()", "nsenter -muipn", 0.6),
    ("100 × run()", "100 × unshare", 1.0),
    ("labkit unshare", "unshare -muinpf --mount-proc true", 8.0),
    ("engine start", "python -I -S -c pass", 3.0),
    ("extract(), tmpfs", "tar -x; sha256sum, tmpfs", 0.6),
    ("extract(), disk", "tar -x; sha256sum, disk", 1.0),
    ("fetch()", "skopeo copy", 1.2),
    ("import labkit", "import subprocess, json, dataclasses", 2.0),
    ("veth on a bridge", "ip -batch", 0.5),
    ("300 × 1 byte on a bridge", "300 × 1 byte on a bridge of ip(8)", 1.05),
    ("64 MB on a bridge", "64 MB on a bridge of ip(8)", 1.05),
    ("labkit run --rm busybox true", "docker run --rm busybox true", 0.25),
    ("labkit exec box true", "docker exec box true", 0.5),
    ("labkit load", "docker load", 0.8),
    ("300 × 1 byte, labkit's bridge", "300 × 1 byte, Docker's bridge", 1.05),
    ("64 MB, labkit's bridge", "64 MB, Docker's bridge", 1.05),
)
"""Ours, the peer, and how many times the peer's time ours may take."""

MORE = (
    ("run(network=)", "run(), CLONE_NEWNET", 8.0),
    ("run(limits=)", "run()", 0.3),
    ("labkit ps, 100 containers", "labkit ps, none", 100.0),
)
"""A container with something, one without, and how many milliseconds that may take."""

HEAD = """\
| labkit | ms | 对照 peer | ms | 比值 ratio | 逐轮 by round | 目标 goal | 达到 met |
|---|--:|---|--:|--:|--:|--:|---|
"""


def table(
    times: Mapping[str, Sequence[float]],
    missing: Mapping[str, str],
    memories: Mapping[str, tuple[float, float]],
    rounds: int,
) -> str:
    """The results in Markdown: what was measured where, and a line for every goal.

    memories: MB that a process takes, and how many it may take.
    """
    lines = [_line(times, missing, *goal) for goal in GOALS]
    lines += [_more(times, missing, *each) for each in MORE]
    lines += [
        f"| {name} | {found:.1f} MB | | | | | {goal:g} MB | {_verdict(found, goal)} |"
        for name, (found, goal) in memories.items()
        if found
    ]
    return f"{_machine()}\n{rounds} rounds.\n\n{HEAD}" + "\n".join(lines) + "\n"


def _line(
    times: Mapping[str, Sequence[float]],
    missing: Mapping[str, str],
    ours: str,
    peer: str,
    goal: float,
) -> str:
    if ours in missing:
        return f"| `{ours}` | | `{peer}` | | | | {goal:g} | missing: {missing[ours]} |"
    own = statistics.median(times[ours])
    begin = f"| `{ours}` | {own * 1000:.2f} | `{peer}` |"
    if peer in missing:
        return f"{begin} | | | {goal:g} | missing: {missing[peer]} |"
    other = statistics.median(times[peer])
    by_round = statistics.median(a / b for a, b in zip(times[ours], times[peer], strict=True))
    return (
        f"{begin} {other * 1000:.2f} | {own / other:.2f} | {by_round:.2f} | {goal:g} "
        f"| {_verdict(own / other, goal)} |"
    )


def _more(
    times: Mapping[str, Sequence[float]],
    missing: Mapping[str, str],
    ours: str,
    without: str,
    goal: float,
) -> str:
    """A line of MORE: the difference of the medians, and the median of the differences."""
    if ours in missing:
        return f"| `{ours}` | | `{without}` | | | | {goal:g} ms | missing: {missing[ours]} |"
    own, other = (statistics.median(times[name]) * 1000 for name in (ours, without))
    pairs = zip(times[ours], times[without], strict=True)
    by_round = statistics.median(a - b for a, b in pairs) * 1000
    return (
        f"| `{ours}` | {own:.2f} | `{without}` | {other:.2f} | +{own - other:.2f} ms "
        f"| +{by_round:.2f} ms | {goal:g} ms | {_verdict(by_round, goal)} |"
    )


def _verdict(ratio: float, goal: float) -> str:
    return "✓ 是 yes" if ratio <= goal else "✗ 否 **no**"


def _machine() -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    processor = model[1] if model else platform.machine()
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"Linux {platform.release().partition('-')[0]}, {os.cpu_count()} × {processor}, "
        f"Python {platform.python_version()}; {', '.join(filter(None, map(_version, PEERS)))}; "
        f"load average at the end {load}."
    )


PEERS = ("dockerd", "unshare", "bwrap", "crun", "runc", "gcc")


def _version(program: str) -> str:
    if not shutil.which(program):
        return ""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+", said.stdout)
    return f"{program} {found[0]}" if found else ""


def keep(text: str) -> None:
    """Put the table in its place in docs/performance.md."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")
