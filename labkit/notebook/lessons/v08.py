"""What the cells of V0.8 have at hand: programs that want too much, the files of both versions."""

import time
from collections.abc import Iterator

from IPython.display import Markdown

from labkit import Finished, Limits, Running
from labkit.cgroups import stats, v1, v2
from labkit.notebook.lessons import common
from labkit.notebook.lessons.common import *  # noqa: F403 - a lesson's cells have them at hand too
from labkit.notebook.lessons.common import Container, start
from labkit.notebook.widgets.chart import chart

__all__ = [
    "FORKS",
    "GREEDY",
    "HOLD",
    "SPIN",
    "Limits",
    "both",
    "by_hand",
    "chart",
    "docker_stats",
    "entered",
    "part_of_a_processor",
    "stands_still",
]
__all__ += common.__all__

HOLD = "import sys; held = bytearray(int(sys.argv[1]) << 20); print('held', sys.argv[1], 'MiB')"
"""A program that holds so many MiB."""
SPIN = ("sh", "-c", "while :; do :; done")
"""A program that never rests."""
FORKS = """
import os, time
made = 0
try:
    while made < 1000:
        if os.fork() == 0:
            time.sleep(1000)
        made += 1
except OSError as error:
    print(made, error.strerror)
"""
"""A fork bomb, of a thousand at most."""
GREEDY = """
import os, threading, time
for _ in range(8):
    if os.fork() == 0:
        while True:
            pass
held = []
while True:
    held.append(bytearray(1 << 20))
    time.sleep(0.2)
"""
"""A program that wants everything: a MiB more every now and then, and eight that never rest."""


_BEGUN = 60  # seconds until a program certainly uses the processor


def both(limits: Limits) -> Markdown:
    """The files of both versions side by side, with what is written to them."""
    lines = ["| v1 | | v2 | |", "|:--|:--|:--|:--|"]
    for one, two in _pairs(limits):
        lines.append(f"| {one} | {two} |")
    return Markdown("\n".join(lines))


def _pairs(limits: Limits) -> Iterator[tuple[str, str]]:
    """The settings of each controller, one version's beside the other's."""
    firsts, seconds = v1.settings(limits), v2.settings(limits)
    for name in dict.fromkeys(setting.controller for setting in firsts):
        one = [f"`{s.file}` | `{s.value}`" for s in firsts if s.controller == name]
        two = [f"`{s.file}` | `{s.value}`" for s in seconds if s.controller == name]
        for at in range(max(len(one), len(two))):
            yield (one[at] if at < len(one) else " | "), (two[at] if at < len(two) else " | ")


def by_hand(running: Running, limits: Limits) -> dict[str, str]:
    """What stands in the files of a running container, by the names that both versions share."""
    group = running.group
    assert group, "it has limits"  # noqa: S101 - or the cell has lost them
    form = v1 if group.version == 1 else v2
    found = {}
    for setting in form.settings(limits):
        directory = group.directories.get(setting.controller) or group.directories["v2"]
        if "sw" not in setting.file and "period" not in setting.file:
            words = stats.text(f"{directory}/{setting.file}").split()
            found[setting.controller] = words[0] if words else "-"
    return found


def entered(done: Finished) -> str:
    """How a container came into its group, by its trace: born inside, or by writing 0."""
    if "CLONE_INTO_CGROUP" in done.trace[0]:
        return "inside before the program"
    writes = [n for n, line in enumerate(done.trace) if line.startswith("write(") and '"0"' in line]
    before = bool(writes) and max(writes) < len(done.trace) - 1
    return "inside before the program" if before else "outside"


def part_of_a_processor(box: Container, seconds: float = 1.0) -> tuple[float, bool]:
    """Which part of a processor it used, and whether its quota has held it back.

    It counts from when the quota has done so: on a slow machine a program takes long to begin.
    """
    with start(box) as running:
        end = time.monotonic() + _BEGUN
        while not running.stats().throttled and time.monotonic() < end:
            time.sleep(0.01)
        began, first = time.monotonic(), running.stats()
        time.sleep(seconds)
        last, passed = running.stats(), time.monotonic() - began
    return ((last.cpu or 0) - (first.cpu or 0)) / passed, bool(last.throttled)


def stands_still(running: Running) -> bool:
    """Whether it uses no time of the processor for a moment."""
    before = running.stats().cpu
    time.sleep(0.1)
    return running.stats().cpu == before


def docker_stats(**boxes: Running) -> None:
    """A line for each container, as docker stats has them."""
    print(f"{'NAME':8} {'MEM LIMIT':>10} {'PIDS':>5} {'OOM':>4}")
    for name, running in boxes.items():
        use = running.stats()
        most = f"{use.memory_max >> 20}MiB" if use.memory_max else "-"
        print(f"{name:8} {most:>10} {use.pids!s:>5} {use.oom_kills!s:>4}")
