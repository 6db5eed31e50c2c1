"""A container's log: read from a time on, up to a time, its last lines, or as it grows."""

import json
import os
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

_BLOCK = 1 << 16  # bytes
Entry = dict[str, Any]


def entries(
    path: str,
    *,
    since: str = "",
    until: str = "",
    tail: int | None = None,
    more: Callable[[], bool] | None = None,
) -> Iterator[Entry]:
    """The entries of a log: {"log", "stream", "time"}.

    since, until: times as the log writes them, in UTC. tail: how many of the last. more: called at
    the end of what is written; while it says True, the log may grow.
    """
    if not os.path.exists(path):  # it has not been started
        return
    with open(path, "rb") as file:
        if tail is not None:
            file.seek(_begin_of_last(file, tail))
        for line in _lines(file, more):
            entry = json.loads(line)
            if until and entry["time"] > until:
                return
            if entry["time"] >= since:
                yield entry


def _lines(file: BinaryIO, more: Callable[[], bool] | None) -> Iterator[bytes]:
    """Whole lines. A last one that is not whole is still being written, or never will be."""
    rest, grows = b"", more is not None
    while True:
        while data := file.read(_BLOCK):
            *lines, rest = (rest + data).split(b"\n")
            yield from lines
        if not grows or more is None:
            return
        grows = more()  # before the reading: what came until now is read


def _begin_of_last(file: BinaryIO, count: int) -> int:
    """Where the last `count` lines begin, found from the end on."""
    at = end = file.seek(0, os.SEEK_END)
    found = 0
    while at > 0 and count:
        size = min(_BLOCK, at)
        at -= size
        file.seek(at)
        block = file.read(size)
        place = len(block) - (at + size == end and block.endswith(b"\n"))
        while (place := block.rfind(b"\n", 0, place)) >= 0:
            found += 1
            if found >= count:
                return at + place + 1
    return 0 if count else end
