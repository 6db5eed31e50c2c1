"""The memory of scores. A few pieces are kept for the next starts, mapped on both sides.

To make a memfd, map it here and in the engine, touch its pages, and take all of it away again costs
each start about 100 microseconds in three processes. So who asks the same engine again writes the
next score over the last one. That is safe when nobody can still write there: the engine has said
that the container has ended, and the one process that had the score has been reaped. A start in
which more than one process makes calls of the score is given memory of its own, and so is one whose
program outlives the answer. What a caller gives up before the end is told to the engine with its
next request. A monitor keeps no score: it has many callers, and each asks once.
"""

import errno
import itertools
import os
from _collections_abc import Iterator

from labkit.engine import layout
from labkit.linux import door
from labkit.linux.refusal import Asked, refusal
from labkit.python import contextlib

KEPT = 8
"""How many pieces are kept at most: as many starts at once are quick."""


class Memory:
    """A memfd, mapped here. It is one score's at a time.

    address: where engine and child have it. size: in bytes. kind: what the engine is to do with it,
    ONCE, KEEP or AGAIN of `layout.py`. fd: for the engine, until it has it.
    """

    def __init__(self, size: int, pool: "Scores | None" = None) -> None:
        """pool: who keeps it for the next start. Raises OSError."""
        self.size, self._pool = size, pool
        self.kind = layout.KEEP if pool else layout.ONCE
        self.region = _region(size)
        self.address = self.region.take()
        self._written: tuple[object, bytes | bytearray] = None, b""
        try:
            self.fd, self._place, self._bytes = _mapped(size)
        except OSError:
            self.region.give(self.address)
            raise

    def holds(self, of: object) -> bytes | bytearray:
        """The bytes of the last score, if it was made of the same; else none."""
        made_of, written = self._written
        return written if made_of == of else b""

    def write(self, of: object, written: bytes | bytearray) -> None:
        """Write a score. of: what it is made of, to know it again."""
        self._written = of, written
        self._bytes[: len(written)] = written

    def read(self, size: int) -> bytes:
        """What stands in its first bytes now."""
        return bytes(self._bytes[:size])

    def sent(self) -> None:
        """The engine has been sent it."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def give_back(self, *, over: bool) -> None:
        """The score needs it no more. over: whether the engine has said that nobody else does."""
        self.sent()
        if self._pool is None:
            self.close()
            self.region.give(self.address)
        elif over and self._pool.engine_lives:
            self.kind = layout.AGAIN
            self._pool.places.append(self)
        else:
            self.close()
            self._pool.drop(self)

    def close(self) -> None:
        """Take away the mapping that we have."""
        self._bytes.release()
        door.unmap(self._place, self.size)


class Scores:
    """What one caller keeps for its requests to one engine. Any number of threads may ask.

    places: the pieces that nobody uses now; None for one that is still to be made. Taking one and
    giving it back are single acts of a list, so they need no lock, which a fork could find taken.
    engine_lives: whether the engine still has what is kept.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self.places: list[Memory | None] = [None] * kept
        self.engine_lives = True
        self._dropped: list[Memory] = []

    def take(self, size: int, *, keep: bool) -> Memory:
        """Memory for a score of `size` bytes. keep: whether it may be kept for the next."""
        if not keep or size > layout.KEPT_SIZE:
            return Memory(size)
        try:
            kept = self.places.pop()
        except IndexError:  # all of them are in use
            return Memory(size)
        if kept:
            return kept
        try:
            return Memory(layout.KEPT_SIZE, self)
        except BaseException:
            self.places.append(None)
            raise

    def drop(self, memory: Memory) -> None:
        """Somebody may still use `memory`: it is not kept. The next request tells the engine."""
        if self.engine_lives:
            self._dropped.append(memory)
            self.places.insert(0, None)
        else:
            memory.region.give(memory.address)

    @contextlib.contextmanager
    def dropped(self) -> Iterator[int]:
        """The address of one that was dropped, to be told to the engine in the block; 0 if none."""
        memory = self._dropped.pop() if self._dropped else None
        try:
            yield memory.address if memory else 0
        except BaseException:
            if memory:
                self._dropped.append(memory)
            raise
        if memory:
            memory.region.give(memory.address)

    def forget(self) -> None:
        """Take away all that is kept: the engine has gone, or is the one of who has forked us."""
        self.engine_lives = False
        places, self.places, self._dropped = self.places, [], []
        for kept in places:
            if kept:
                kept.close()
                kept.region.give(kept.address)


def _mapped(size: int) -> tuple[int, int, memoryview]:
    """A memfd, and where it is mapped."""
    with Asked('memfd_create("labkit-score", MFD_CLOEXEC)'):
        fd = os.memfd_create("labkit-score")
    try:
        with Asked(f"ftruncate({fd}, {size})"):
            os.ftruncate(fd, size)
        return fd, *door.map_bytes(fd, size)
    except OSError:
        os.close(fd)
        raise


class _Region:
    """Addresses for scores, each for one at a time, and each given out again as late as can be.

    A container that is being killed may still use the memory of a score that we have closed.
    """

    def __init__(self, begin: int, end: int, size: int) -> None:
        self.size = size
        self._every = range(begin, end, size)
        self._taken: set[int] = set()
        self.begin()

    def begin(self) -> None:
        """Begin anywhere: a monitor is asked by any number of processes, and forks of one."""
        at = int.from_bytes(os.urandom(2), "little") % len(self._every)
        self._addresses = itertools.cycle(itertools.chain(self._every[at:], self._every[:at]))

    def take(self) -> int:
        """An address with room for `size` bytes."""
        address = next(address for address in self._addresses if address not in self._taken)
        self._taken.add(address)
        return address

    def give(self, address: int) -> None:
        """Give an address back."""
        self._taken.discard(address)


_REGIONS = [_Region(*each) for each in layout.ADDRESSES]


def _begin_elsewhere() -> None:
    for region in _REGIONS:
        region.begin()


os.register_at_fork(after_in_child=_begin_elsewhere)


def _region(size: int) -> _Region:
    """Where a score of `size` bytes can lie."""
    for region in _REGIONS:
        if size <= region.size:
            return region
    raise refusal("execve", errno.E2BIG)  # the kernel takes some megabytes at most
