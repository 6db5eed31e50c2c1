"""A score: the calls that a child is to make, as words in memory that three processes share.

The caller writes it (a memfd), the engine adds what came of the clone, the child makes the calls
and notes each result in its place; so nobody has to tell anybody. The memory lies at the same
address in engine and child, and a string is an address in it from the start.

A fresh clone shares its memory with its maker until one of them writes, and each page that its
Python touches has to be copied first. What is ready before the clone need not be made after it, and
what the caller makes ready the engine need not touch either.
"""

import functools
import os
import signal
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labkit.engine import layout
from labkit.engine.layout import CALL, HEAD, PLACE, RESULT, WORD
from labkit.engine.player import ends
from labkit.linux.call import CHILD, OPENED, THERE, Call, answered, rehearse
from labkit.linux.door import NUMBERS, Filter
from labkit.linux.flags import Clone
from labkit.linux.processes import clone, clone3, setns
from labkit.linux.refusal import Asked

_OF_THE_CHILD = b"/proc/%d/" % CHILD
_FOLDER = len("/proc/4194304/")  # a PID is at most PID_MAX_LIMIT, 2**22: proc_sys_kernel(5)

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from labkit.linux.door import Value


@dataclass(frozen=True)
class Account:
    """What came of a score.

    pid: of the child, 0 when there is none. trace: a line for each call, the engine's first.
    refused: the line and errno that ended it, or None. inodes: of the new namespaces. defect: what
    went wrong on our side, "" for nothing.
    """

    pid: int
    trace: tuple[str, ...]
    refused: tuple[str, int] | None
    inodes: dict[str, int]
    defect: str


class Score:
    """The caller's side of one; `fd` is the memory, to be closed with :meth:`close`.

    calls: for the child. flags: its new namespaces. born: the namespace of the target, if any, that
    it is to be born in. tell: whether the engine tells of the start. observed: whether an observer
    is to see each call. ahead: calls for the engine to make while the child waits, on files of the
    child's directory in /proc.
    """

    def __init__(
        self,
        calls: Sequence[Call],
        flags: Clone,
        *,
        ahead: Sequence[Call] = (),
        born: Clone = Clone(0),
        tell: bool = False,
        observed: bool = False,
    ) -> None:
        self._calls, self._flags, self._born, self._ahead = calls, flags, born, ahead
        sheet = _Sheet(calls, ahead)
        sheet.words[layout.FLAGS], sheet.words[layout.SIGNAL] = flags, signal.SIGCHLD
        sheet.words[layout.BORN] = born
        sheet.words[layout.TELL], sheet.words[layout.OBSERVED] = tell, observed
        written = sheet.bytes()
        self._size = len(written)
        with Asked('memfd_create("labkit-score", MFD_CLOEXEC)'):
            self.fd = os.memfd_create("labkit-score")
        try:
            with Asked(f"write({self.fd}, {self._size} bytes)"):
                os.write(self.fd, written)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Give the memory back."""
        os.close(self.fd)

    def account(self) -> Account:
        """What has come of it so far."""
        length = HEAD + CALL * (len(self._calls) + len(self._ahead))
        words = memoryview(os.pread(self.fd, WORD * length, 0)).cast("q")
        pid = max(words[layout.CLONE3], words[layout.CLONE], 0)
        ours, theirs = self._of_the_engine(words), self._of_the_child(words) if pid else []
        ahead = self._ahead_of_the_child(words) if pid else []
        last = (theirs or ahead)[-1:] if pid else ours
        refused = [(line, -result) for line, result in last if result < 0]
        inodes = dict(zip((name for name, _ in layout.KINDS), words[layout.INODES :], strict=False))
        return Account(
            pid,
            tuple(answered(*each) for each in ours + ahead + theirs),
            refused[-1] if refused else None,
            {name: inode for name, inode in inodes.items() if inode},
            os.pread(self.fd, 4096, self._size).decode(),
        )

    def _of_the_engine(self, words: Sequence[int]) -> list[tuple[str, int]]:
        """Its calls, with their results."""
        lines = []
        if self._born:
            entering = _line(setns, words[words[layout.TARGET]], self._born)
            lines.append((entering, words[layout.ENTERED]))
        for made, word in ((clone3, layout.CLONE3), (clone, layout.CLONE)):
            if words[word]:
                lines.append((_line(made, self._flags), words[word]))
        if words[layout.HERE]:
            lines.append((_line(setns, words[layout.HERE], self._born), 0))
        return lines

    def _ahead_of_the_child(self, words: Sequence[int]) -> list[tuple[str, int]]:
        """Those that the engine made while the child waited, up to a refused one."""
        lines: list[tuple[str, int]] = []
        begin = HEAD + CALL * len(self._calls)
        for at, call in zip(range(begin, len(words), CALL), self._ahead, strict=True):
            line = _opened(call.line, words[at + 1])
            if call.name == "openat" and words[at + RESULT]:  # the engine has completed the name
                folder = os.pread(self.fd, _FOLDER, words[at + 2] - PLACE).split(b"/")[2]
                line = line.replace(f"/proc/{CHILD}/", f"/proc/{folder.decode()}/")
            lines.append((line, words[at + RESULT]))
            if words[at + RESULT] < 0:
                break
        return lines

    def _of_the_child(self, words: Sequence[int]) -> list[tuple[str, int]]:
        """Those that were made, with their results; an execve that has not come back has worked."""
        lines: list[tuple[str, int]] = []
        for at, call in zip(range(HEAD, len(words), CALL), self._calls, strict=False):
            is_execve = call.name == "execve"
            if at >= words[layout.NEXT] and not (is_execve and words[layout.READY]):
                break
            line = _opened(call.line, words[at + 1])
            if at < words[layout.TARGET] < at + CALL:
                line = line.replace(str(THERE), str(words[words[layout.TARGET]]), 1)
            result = words[at + RESULT]
            lines.append((line, result))
            if ends(is_execve, result) or (is_execve and result == 0):
                break
        return lines


def _opened(line: str, fd: int) -> str:
    """A line with the descriptor that the openat before it gave."""
    return line.replace(f"({OPENED}", f"({fd}", 1) if f"({OPENED}" in line else line


@functools.lru_cache(64)
def _line(make: Callable[..., object], *arguments: int) -> str:
    """What the engine's call `make` looks like in a trace: a container's start waits for this."""
    (call,) = rehearse(functools.partial(make, *arguments))
    return call.line


class _Sheet:
    """The words and bytes of a score, as it is written."""

    def __init__(self, calls: Sequence[Call], ahead: Sequence[Call]) -> None:
        self.words = [0] * (HEAD + CALL * (len(calls) + len(ahead)))
        self._end = PLACE + WORD * len(self.words)
        self._data = bytearray()
        self.words[layout.COUNT], self.words[layout.NEXT] = len(calls), HEAD
        self.words[layout.AHEAD] = len(ahead)
        every = (*calls, *ahead)
        for at, call in zip(range(HEAD, len(self.words), CALL), every, strict=True):
            self.words[at] = NUMBERS[call.name]
            for place, value in enumerate(call.values, at + 1):
                if value is THERE:
                    self.words[layout.TARGET] = place
                self.words[place] = self._placed(value)

    def _placed(self, value: "Value") -> int:
        """What the kernel is given for `value`: a number, or the address where it now lies."""
        if value is None or isinstance(value, int):
            return value or 0
        if isinstance(value, Filter):
            instructions = self._put(value)
            return self._put(struct.pack("2q", value.size, instructions))
        if isinstance(value, bytes) and value.startswith(_OF_THE_CHILD):
            # Its name, with room before it for the directory's, which the engine will know.
            self._put(bytes(_FOLDER))
            return self._put(value.removeprefix(_OF_THE_CHILD) + b"\0")
        if isinstance(value, bytes | bytearray):
            return self._put(bytes(value) + b"\0")
        addresses = [self._put(text + b"\0") for text in value]
        self._data += bytes(-len(self._data) % WORD)
        return self._put(struct.pack(f"{len(addresses) + 1}q", *addresses, 0))

    def _put(self, data: bytes) -> int:
        place = self._end + len(self._data)
        self._data += data
        return place

    def bytes(self) -> bytes:
        """All of it."""
        return struct.pack(f"{len(self.words)}q", *self.words) + self._data
