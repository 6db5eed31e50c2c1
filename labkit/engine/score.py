"""A score: the calls that a child is to make, as a sheet of numbers that three processes share.

The caller writes it to a memfd. The engine adds the results of the clone. The child makes the calls
and notes each result in its place. So no process has to send a result to another. The memory lies
at the same address in engine and child; a string in it is known by its address from the start.

A fresh clone shares its memory with its maker until one of them writes, and each page that its
Python touches has to be copied first. So the caller prepares all that it can: neither engine nor
child then touches a page for it.
"""

import functools
import os
import signal
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from labkit.engine import layout
from labkit.engine.layout import ADDRESS, CALL, HEAD, NUMBER_SIZE, RESULT
from labkit.engine.player import stops
from labkit.linux.call import CHILD_PID, OPENED_FD, TARGET_PIDFD, Call, rehearse
from labkit.linux.door import NUMBERS, Filter
from labkit.linux.flags import Clone
from labkit.linux.processes import clone, clone3, setns
from labkit.linux.refusal import Asked
from labkit.linux.trace import answered

_OF_THE_CHILD = b"/proc/%d/" % CHILD_PID
_FOLDER = len("/proc/4194304/")  # a PID is at most PID_MAX_LIMIT, 2**22: proc_sys_kernel(5)

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from labkit.linux.door import Value


@dataclass(frozen=True)
class Account:
    """What came of a score.

    pid: of the child, 0 when there is none. trace: a line for each call, the engine's first.
    refused: the line and errno of the call that ended it, or None. inodes: of its namespaces.
    """

    pid: int
    trace: tuple[str, ...]
    refused: tuple[str, int] | None
    inodes: dict[str, int]


class Score:
    """The caller's side of a score. `fd` is its memory; :meth:`close` gives it back.

    calls: for the child. flags: its new namespaces. born_in: the namespace of the target, if any,
    in which it is born. report_start: whether the engine says when the program runs. observed:
    whether an observer sees each call. engine_calls: the engine makes them while the child waits,
    on files of the child's directory in /proc.
    """

    def __init__(
        self,
        calls: Sequence[Call],
        flags: Clone,
        *,
        engine_calls: Sequence[Call] = (),
        born_in: Clone = Clone(0),
        report_start: bool = False,
        observed: bool = False,
    ) -> None:
        self._calls, self._engine_calls = calls, engine_calls
        self._flags, self._born_in = flags, born_in
        writer = _Writer(calls, engine_calls)
        writer.sheet[layout.FLAGS], writer.sheet[layout.SIGNAL] = flags, signal.SIGCHLD
        writer.sheet[layout.BORN_IN] = born_in
        writer.sheet[layout.REPORT_START], writer.sheet[layout.OBSERVED] = report_start, observed
        self._share(writer.bytes())

    def _share(self, written: bytes) -> None:
        """Put what is written into memory that three processes share."""
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

    def account(self, inodes: Mapping[str, int]) -> Account:
        """What has come of the score so far. inodes: of the engine, for what is not new."""
        length = HEAD + CALL * (len(self._calls) + len(self._engine_calls))
        sheet = memoryview(self._read(NUMBER_SIZE * length, 0)).cast("q")
        pid = max(sheet[layout.CLONE3_RESULT], sheet[layout.CLONE_RESULT], 0)
        ours, theirs = self._of_the_engine(sheet), self._of_the_child(sheet) if pid else []
        engine_calls = self._made_for_the_child(sheet) if pid else []
        last = (theirs or engine_calls)[-1:] if pid else ours
        refused = [(line, -result) for line, result in last if result < 0] + _of_its_own(sheet)
        new = zip((name for name, _ in layout.KINDS), sheet[layout.INODES :], strict=False)
        return Account(
            pid,
            tuple(answered(*each) for each in ours + engine_calls + theirs),
            refused[-1] if refused else None,
            {**inodes, **{name: inode for name, inode in new if inode}},
        )

    def _read(self, size: int, place: int) -> bytes:
        with Asked(f"pread64({self.fd}, {size}, {place})"):
            return os.pread(self.fd, size, place)

    def _of_the_engine(self, sheet: Sequence[int]) -> list[tuple[str, int]]:
        """The engine's calls that make the child, with their results."""
        lines = []
        if self._born_in:
            entering = _line(setns, sheet[sheet[layout.TARGET]], self._born_in)
            lines.append((entering, sheet[layout.SETNS_RESULT]))
        for made, place in ((clone3, layout.CLONE3_RESULT), (clone, layout.CLONE_RESULT)):
            if sheet[place]:
                lines.append((_line(made, self._flags), sheet[place]))
        if sheet[layout.ENGINE_PIDNS_FD]:
            lines.append((_line(setns, sheet[layout.ENGINE_PIDNS_FD], self._born_in), 0))
        return lines

    def _made_for_the_child(self, sheet: Sequence[int]) -> list[tuple[str, int]]:
        """The engine's calls while the child waited, up to a refused one, with their results."""
        lines: list[tuple[str, int]] = []
        begin = HEAD + CALL * len(self._calls)
        for at, call in zip(range(begin, len(sheet), CALL), self._engine_calls, strict=True):
            line = _opened(call.line, sheet[at + 1])
            if call.name == "openat" and sheet[at + RESULT]:  # the engine has completed the name
                folder = self._read(_FOLDER, sheet[at + 2] - ADDRESS).split(b"/")[2]
                line = line.replace(f"/proc/{CHILD_PID}/", f"/proc/{folder.decode()}/")
            lines.append((line, sheet[at + RESULT]))
            if sheet[at + RESULT] < 0:
                break
        return lines

    def _of_the_child(self, sheet: Sequence[int]) -> list[tuple[str, int]]:
        """The calls that the child made, with their results. An execve without one has worked."""
        lines: list[tuple[str, int]] = []
        for at, call in zip(range(HEAD, len(sheet), CALL), self._calls, strict=False):
            is_execve = call.name == "execve"
            if at >= sheet[layout.NEXT] and not (is_execve and sheet[layout.READY]):
                break
            line = _opened(call.line, sheet[at + 1])
            if at < sheet[layout.TARGET] < at + CALL:
                line = line.replace(str(TARGET_PIDFD), str(sheet[sheet[layout.TARGET]]), 1)
            result = sheet[at + RESULT]
            lines.append((line, result))
            if stops(is_execve, result) or (is_execve and result == 0):
                break
        return lines


def _of_its_own(sheet: Sequence[int]) -> list[tuple[str, int]]:
    """The call, none of the score's, that was refused to the child, with its errno."""
    line = layout.OWN_CALLS[sheet[layout.OWN_CALL]].format(sheet[layout.OWN_FD])
    return [(line, sheet[layout.OWN_ERRNO])] if sheet[layout.OWN_ERRNO] else []


def _opened(line: str, fd: int) -> str:
    """`line` with the descriptor that the openat before it returned."""
    return line.replace(f"({OPENED_FD}", f"({fd}", 1) if f"({OPENED_FD}" in line else line


@functools.lru_cache(64)
def _line(make: Callable[..., object], *arguments: int) -> str:
    """The trace's line of the engine's call `make`. It is kept: the caller waits for it."""
    (call,) = rehearse(functools.partial(make, *arguments))
    return call.line


class _Writer:
    """Writes the sheet of a score, and the strings behind it."""

    def __init__(self, calls: Sequence[Call], engine_calls: Sequence[Call]) -> None:
        self.sheet = [0] * (HEAD + CALL * (len(calls) + len(engine_calls)))
        self._end = ADDRESS + NUMBER_SIZE * len(self.sheet)
        self._data = bytearray()
        self.sheet[layout.COUNT], self.sheet[layout.NEXT] = len(calls), HEAD
        self.sheet[layout.ENGINE_CALLS] = len(engine_calls)
        every = (*calls, *engine_calls)
        for at, call in zip(range(HEAD, len(self.sheet), CALL), every, strict=True):
            self.sheet[at] = NUMBERS[call.name]
            for place, value in enumerate(call.values, at + 1):
                if value is TARGET_PIDFD:
                    self.sheet[layout.TARGET] = place
                self.sheet[place] = self._placed(value)

    def _placed(self, value: "Value") -> int:
        """The argument for the kernel: the number `value`, or the address where it is put."""
        if value is None or isinstance(value, int):
            return value or 0
        if isinstance(value, Filter):
            instructions = self._put(value)
            return self._put(struct.pack("2q", value.size, instructions))
        if isinstance(value, bytes) and value.startswith(_OF_THE_CHILD):
            # The engine puts the name of the directory before that of the file.
            self._put(bytes(_FOLDER))
            return self._put(value.removeprefix(_OF_THE_CHILD) + b"\0")
        if isinstance(value, bytes | bytearray):
            return self._put(bytes(value) + b"\0")
        addresses = [self._put(text + b"\0") for text in value]
        self._data += bytes(-len(self._data) % NUMBER_SIZE)
        return self._put(struct.pack(f"{len(addresses) + 1}q", *addresses, 0))

    def _put(self, data: bytes) -> int:
        place = self._end + len(self._data)
        self._data += data
        return place

    def bytes(self) -> bytes:
        """The whole score."""
        return struct.pack(f"{len(self.sheet)}q", *self.sheet) + self._data
