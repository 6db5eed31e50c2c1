"""A container's log: read from a time on, up to a time, its last lines, or as it grows."""

import itertools
import json
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
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
    for line in lines(path, tail=tail, more=more):
        entry = json.loads(line)
        if until and entry["time"] > until:
            return
        if entry["time"] >= since:
            yield entry


def lines(
    path: str, *, tail: int | None = None, more: Callable[[], bool] | None = None
) -> Iterator[bytes]:
    """The lines of a file that may be put aside as PATH.1 when it is long, and begun anew."""
    if not os.path.exists(path):  # nothing has been written
        return
    file = open(path, "rb")  # noqa: SIM115 - the next one takes its place
    try:
        yield from _older(path, file, tail)
        if tail is not None:
            file.seek(_begin_of_last(file, tail))
        while True:
            if not (yield from _lines(file, path, more)):
                return
            file.close()
            file = open(path, "rb")  # noqa: SIM115
    finally:
        file.close()


def _was_put_aside(file: BinaryIO, path: str) -> bool:
    try:
        return os.stat(path).st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:  # removed, or not begun anew yet
        return False


def _older(path: str, file: BinaryIO, tail: int | None) -> Iterator[bytes]:
    """The lines of the files that were put aside, the oldest first; of a tail, what is missing."""
    names = itertools.takewhile(os.path.exists, (f"{path}.{n}" for n in itertools.count(1)))
    own = os.fstat(file.fileno()).st_ino
    found = [name for name in names if os.stat(name).st_ino != own]
    every = itertools.chain.from_iterable(map(_whole_file, reversed(found)))
    if tail is None or not found:
        yield from every
    else:
        missing = tail - sum(1 for _ in _whole_file(path))
        yield from deque(every, max(0, missing))


def _whole_file(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        yield from (line.rstrip(b"\n") for line in file)


def _lines(
    file: BinaryIO, path: str, more: Callable[[], bool] | None
) -> Generator[bytes, None, bool]:
    """Whole lines; returns whether the file was put aside.

    A last line that is not whole is still being written, or never will be.
    """
    rest, grows = b"", more is not None
    while True:
        aside = _was_put_aside(file, path)  # before the reading: then nothing more comes
        while data := file.read(_BLOCK):
            *found, rest = (rest + data).split(b"\n")
            yield from found
        if aside or not grows or more is None:
            return aside
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
