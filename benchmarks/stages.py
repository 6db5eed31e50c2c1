"""Where the time of run() goes: with one wall more at a time, and what the caller does alone."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import median

from labkit import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    Clone,
    Container,
    run,
)
from labkit.engine.request import to_build
from labkit.engine.scores import Scores
from labkit.engine.streams import Streams

WALLS = (CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNS, CLONE_NEWNET)
PROC = "mount /proc"
ALONE = "posix_spawn, waitpid: the program alone 只有程序"
CALLER = "score from its draft, account, pipes 调用者自己的部分"
_SCORES = Scores()
BARE = "run(), no namespace 没有命名空间"


def calls(program: tuple[str, ...]) -> dict[str, Callable[[], object]]:
    """What to time: each box has one thing more than the one before."""
    boxes = {BARE: Container(program)}
    flags = Clone(0)
    for flag in WALLS:
        flags |= flag
        boxes[str(flag)] = Container(program, cloneflags=flags)
    whole = boxes[PROC] = replace(boxes[str(WALLS[-1])], proc=True)
    timed: dict[str, Callable[[], object]] = {ALONE: lambda: _alone(program)}
    timed[CALLER] = lambda: _caller(whole)
    return timed | {name: functools.partial(run, box) for name, box in boxes.items()}


def _alone(program: tuple[str, ...]) -> None:
    os.waitpid(os.posix_spawn(program[0], program, os.environ), 0)


def _caller(box: Container) -> None:
    score = to_build(box, None, report_start=False, observed=False)
    score.place(_SCORES)
    score.account({})
    score.close(over=True)
    Streams((None, None, None), b"").close()


def table(times: Mapping[str, Sequence[float]]) -> str:
    """Milliseconds of each, and what each wall adds to the one before."""
    lines = ["| 什么 what | ms | 多出 more |", "|---|--:|--:|"]
    before = 0.0
    for name in (ALONE, CALLER, BARE, *map(str, WALLS), PROC):
        spent = median(times[name]) * 1000
        more = "" if name in (ALONE, CALLER, BARE) else f"{spent - before:+.2f}"
        lines.append(f"| {'+ ' if more else ''}{name} | {spent:.2f} | {more} |")
        before = spent
    return "\n".join(lines) + "\n"
