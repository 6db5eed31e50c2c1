"""A score: the calls that a child is to make, as a sheet of numbers that three processes share.

The caller writes it to a memfd. The engine adds the results of the clone. The child makes the calls
and notes each result in its place. So no process has to send a result to another. The memory lies
at the same address in engine and child; a string in it is known by its address from the start.

A child may run on the engine's own memory until its execve, so each score on its way has an address
of its own. It also makes calls that are no part of building a container: it takes its streams,
waits at the gate, and lets its observer look. They stand in the score like the others, but a trace
shows one only if it was refused.
"""

import _signal  # type: ignore[import-not-found]
import struct
from _collections_abc import Callable, Mapping, Sequence

from labkit.engine import layout
from labkit.engine.layout import (
    CALL,
    HEAD,
    MASK,
    NEEDS_INPUT,
    NOT_MADE,
    NUMBER_SIZE,
    PASSED_OVER,
    RESULT,
)
from labkit.engine.player import stops
from labkit.engine.scores import Memory, Scores
from labkit.linux.call import CHILD_DIRECTORY, TARGET_PIDFD, Call, Rehearsed, Result, rehearse
from labkit.linux.door import NUMBERS, Filter, Message
from labkit.linux.fields import dataclass
from labkit.linux.flags import CLONE_NEWTIME, CLONE_NEWUSER, CLONE_VM, Clone
from labkit.linux.processes import clone, clone3, setns
from labkit.linux.trace import answered
from labkit.python import functools

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from labkit.engine.kept import Kept

_STREAMS = Result(-3), Result(-4), Result(-5)
_GATE, _OPENER, _OBSERVER = Result(-6), Result(-7), Result(-8)
_PLACES = {
    TARGET_PIDFD: layout.OTHER,
    _OBSERVER: layout.OTHER,  # who enters a container is not observed
    CHILD_DIRECTORY: layout.CHILD_DIRECTORY,
    **dict(zip(_STREAMS, (layout.STDIN, layout.STDOUT, layout.STDERR), strict=True)),
    _GATE: layout.GATE,
    _OPENER: layout.OPENER,
}
"""Where the results stand that come before the first call."""

_BYTE = bytearray(1)
# The opener is closed so that reading from the gate ends if the engine dies.
_CONNECT = [
    Call(f"close({_OPENER})", "close", (_OPENER,)),
    *(Call(f"dup3({fd}, {at}, 0)", "dup3", (fd, at, 0)) for at, fd in enumerate(_STREAMS)),
]
_WAIT = Call(f"read({_GATE}, 1)", "read", (_GATE, _BYTE, 1))
# Who has got a terminal's master sets it up, and answers on the same socket.
_ANSWERED = Call("read(0, 1)", "read", (0, _BYTE, 1))
_STOP_FOR_OBSERVER = [
    Call(f'write({_OBSERVER}, "?", 1)', "write", (_OBSERVER, b"?", 1)),
    Call(f"read({_OBSERVER}, 1)", "read", (_OBSERVER, _BYTE, 1)),
]
# The engine blocks all signals, so that none finds a handler of Python's in its child.
_UNBLOCK = Call(
    "rt_sigprocmask(SIG_SETMASK, [], NULL, 8)",
    "rt_sigprocmask",
    (_signal.SIG_SETMASK, bytes(8), None, 8),
)
# Before these calls the child waits at the gate. After execve the program may end before the engine
# has seen its namespaces, and a seccomp filter may forbid the wait.
_LAST = ("seccomp", "execve")

_KINDS = [*enumerate((name for name, _ in layout.KINDS), layout.INODES)]
_CLONE_VM = int(CLONE_VM)  # to combine members of an enum costs as much as a call

# What the player in machine code cannot do. Another user ID would make the memory that it shares
# with the engine undumpable; the others need a child with memory of its own, or look at a result.
_FOR_PYTHON = {"clone3", "unshare", "setresuid", "setresgid"}
# What the player in Python asks of the kernel besides the calls of the score.
_OF_PYTHON = {"unshare": 'stat("/proc/self/ns")', "clone3": "wait4()"}


@dataclass(frozen=True)
class Account:
    """What came of a score.

    pid: of the child, 0 when there is none. trace: a line for each call, the engine's first.
    refused: the line and errno of the call that ended it, or None. inodes: of its namespaces.
    taken: whether the engine has begun with it.
    """

    pid: int
    trace: tuple[str, ...]
    refused: tuple[str, int] | None
    inodes: dict[str, int]
    taken: bool


class _Part:
    """A call of a score, with its mask; shown: whether a trace has it."""

    __slots__ = ("call", "is_execve", "mask", "registers", "shown")

    def __init__(self, call: Call, mask: int = 0, *, shown: bool = False) -> None:
        self.call, self.mask, self.shown = call, mask, shown
        self.is_execve = call.name == "execve"
        self.registers = any(isinstance(value, Result) for value in call.values)


class _Told:
    """What has become of calls. made, last: the last one, with its result, also as a line."""

    __slots__ = ("last", "lines", "made")

    def __init__(
        self, made: list[tuple[_Part, int]], last: list[tuple[str, int]], lines: list[str]
    ) -> None:
        self.made, self.last, self.lines = made, last, lines


class _Section:
    """Calls that one rehearsal has made ready, and those around them, as they stand in a sheet."""

    def __init__(self, parts: list[_Part], begin: int) -> None:
        self.end = begin + CALL * len(parts)
        self.placed = [*zip(range(begin, self.end, CALL), parts, strict=True)]
        """Each call with its place in the sheet."""
        self._shown = [at for at, part in self.placed if part.shown]
        self._results = slice(begin + RESULT, self.end, CALL)
        self._told: tuple[object, _Told] | None = None

    def place(self, result: Result) -> int:
        """Where in the sheet a result of the rehearsal stands."""
        return self._shown[result] + RESULT if result >= 0 else _PLACES[result]

    def made(self, sheet: Sequence[int]) -> list[tuple[_Part, int]]:
        """The calls that were made, with results. An execve without a result has worked."""
        found = []
        for at, part in self.placed:
            result = sheet[at + RESULT]
            if result != NOT_MADE:
                found.append((part, result))
                if not stops(part.mask, result):
                    continue
            elif part.is_execve:
                found.append((part, 0))
            break
        return found

    def lines(
        self, made: Sequence[tuple[_Part, int]], sheet: Sequence[int]
    ) -> list[tuple[str, int]]:
        """What a trace shows of calls: each as a line without its result, and that."""

        def line(call: Call) -> str:
            return call.told(lambda result: sheet[self.place(result)])

        return [(line(part.call) if part.registers else part.call.line, r) for part, r in made]

    def told(self, sheet: memoryview) -> "_Told":
        """What has become of all calls. It is kept: as a rule the next start has the same results.

        A line has nothing but results in it, and the two numbers that stand before the calls.
        """
        before = sheet[layout.OTHER], sheet[layout.CHILD_DIRECTORY]
        results = sheet[self._results].tobytes(), *before
        known = self._told
        if known is None or known[0] != results:
            made = self.made(sheet)
            shown = self.lines([each for each in made if each[0].shown], sheet)
            lines = [answered(*each) for each in shown]
            known = self._told = results, _Told(made[-1:], self.lines(made[-1:], sheet), lines)
        return known[1]


def _child_section(
    calls: Sequence[Call], waits_first: bool, observed: bool, connected: bool
) -> _Section:
    """The calls of a container, and those that connect its child to engine and observer."""
    wait = _Part(_WAIT, NEEDS_INPUT)
    parts = [*map(_Part, _CONNECT)] + [wait] * waits_first
    if connected:
        parts += [_Part(each, NEEDS_INPUT) for each in _STOP_FOR_OBSERVER]
    ready = False
    for call in calls:
        if call.name in _LAST and not ready:
            ready = True
            parts += [wait] * (not waits_first) + [_Part(_UNBLOCK)]
        if observed:
            parts += [_Part(each, NEEDS_INPUT) for each in _STOP_FOR_OBSERVER]
        parts.append(_Part(call, PASSED_OVER * call.passed_over, shown=True))
        parts += [_Part(_ANSWERED, NEEDS_INPUT)] * (call.name == "sendmsg")
    return _Section(parts, HEAD)


class Draft:
    """A score as it is written, but for the address where it will lie. It serves any number.

    calls: for the child. flags: its new namespaces, and perhaps CLONE_INTO_CGROUP. born_in: the
    namespace of the target in which it is born, if there is a target. report: what the engine says
    and when, as `layout.py` has it. observed: whether an observer sees each call. connected:
    whether the caller connects it to a network before its first call. engine_calls: the
    engine makes them while the child waits, on files of the child's directory in /proc. group: the
    name of the control group that the child enters by itself, or "".

    holds: whether its steps would still be the same. child, for_child: the calls of both.
    """

    def __init__(
        self,
        calls: Rehearsed,
        flags: Clone,
        *,
        engine_calls: Sequence[Call] = (),
        born_in: Clone = Clone(0),
        report: int = layout.ENDED,
        observed: bool = False,
        connected: bool = False,
        group: str = "",
    ) -> None:
        self.holds, self.group, self.born_in = calls.holds, group, int(born_in)
        self.child = _child_section(calls, bool(engine_calls), observed, connected)
        self.for_child = _Section([_Part(c, shown=True) for c in engine_calls], self.child.end)
        asked: dict[int, int] = {
            layout.FLAGS: flags,
            layout.SIGNAL: _signal.SIGCHLD,
            layout.COUNT: len(self.child.placed),
            layout.ENGINE_CALLS: len(engine_calls),
            layout.BORN_IN: born_in,
            layout.REPORT: report,
            layout.MACHINE: _for_machine(calls, flags),
        }
        self._writer = _Writer(asked, (self.child, self.for_child))

    @functools.cached_property
    def one_writer(self) -> bool:
        """Whether nobody makes calls of it any more when the engine says "exited".

        A second clone may outlive the first. Who starts a program may close before its end.
        """
        reported = self._writer.asked[layout.REPORT] == layout.STARTED
        return not reported and all(part.call.name != "clone3" for _, part in self.child.placed)

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return len(self._writer.written)

    def before_execve(self) -> "Kept":
        """The calls before the program's, as they are written. The child's are the only ones."""
        from labkit.engine.kept import Kept  # only exec keeps them

        first = next(at for at, part in self.child.placed if part.is_execve)
        written = memoryview(bytes(self._writer.written)).cast("q").tolist()
        begin, end = self.child.end, written[first + 1] // NUMBER_SIZE  # its path is put first
        numbers = [*written[:first], *written[begin:end]]
        numbers[layout.COUNT] = (first - HEAD) // CALL
        known = [at for at in self._writer.addresses if at < first or begin <= at < end]
        places = [at if at < first else at - begin + first for at in known]
        for place in places:
            numbers[place] -= NUMBER_SIZE * begin
        return Kept(NUMBERS["execve"], numbers[:first], _packed(numbers[first:]), places)

    def at(self, address: int, group: str = "") -> bytearray:
        """The score for an `address`, from which each in it counts, and for a `group`'s name."""
        written = bytearray(self._writer.written)
        if group != self.group:
            written = written.replace(self.group.encode(), group.encode())
        numbers = memoryview(written).cast("q")
        for place in self._writer.addresses:
            numbers[place] += address
        return written


class Score:
    """The caller's side of a score on its way. :meth:`close` gives its memory back.

    group: the name of the control group that the child enters by itself, as long as the draft's: it
    takes its place.
    """

    _memory: Memory | None = None

    def __init__(self, draft: Draft, group: str = "") -> None:
        self._draft, self._group = draft, group

    def place(self, scores: Scores) -> Memory:
        """Write it to memory that is for one engine. If it was for another one, that has gone."""
        self.close(over=False)
        memory = self._memory = scores.take(self._draft.size, keep=self._draft.one_writer)
        of = self._draft, self._group
        memory.write(of, memory.holds(of) or self._draft.at(memory.address, self._group))
        return memory

    def close(self, *, over: bool) -> None:
        """Give the memory back. over: whether the engine has said that the container has ended."""
        if self._memory:
            self._memory.give_back(over=over)
        self._memory = None

    def account(self, inodes: dict[str, int]) -> Account:
        """What has come of the score so far. inodes: of the engine, for what is not new."""
        sheet = self._sheet()
        pid = max(sheet[layout.CLONE3_RESULT], sheet[layout.CLONE_RESULT], 0)
        of_engine, refused = self._of_the_engine(sheet), []
        lines = [answered(*each) for each in of_engine]
        if pid:
            told, for_child = self._draft.child.told(sheet), self._made_for_the_child(sheet)
            lines += [answered(*each) for each in for_child]
            lines += map(self._named, told.lines) if self._is_renamed else told.lines
            refused = for_child[-1:] + [(self._named(line), result) for line, result in told.last]
            refused += _of_its_own(told.made, sheet[layout.CHILD_ERRNO])
        else:
            refused = of_engine[-1:]
        return Account(
            pid,
            (*lines,),
            next(((line, -result) for line, result in reversed(refused) if result < 0), None),
            inodes | {name: sheet[at] for at, name in _KINDS if sheet[at]},
            bool(sheet[layout.STDIN]),
        )

    def _named(self, line: str) -> str:
        """A line of the draft's calls, with the name of our own control group."""
        return line.replace(self._draft.group, self._group) if self._is_renamed else line

    @property
    def _is_renamed(self) -> bool:
        return self._group != self._draft.group

    def _sheet(self) -> memoryview:
        """The numbers as they are now: those of the calls, without the strings."""
        assert self._memory  # noqa: S101 - it has been sent
        return memoryview(self._memory.read(NUMBER_SIZE * self._draft.for_child.end)).cast("q")

    def _of_the_engine(self, sheet: Sequence[int]) -> list[tuple[str, int]]:
        """The engine's calls that make the child, with their results."""
        lines, born_in = [], self._draft.born_in
        if born_in:
            entering = _line(setns, sheet[layout.TARGET], born_in)
            lines.append((entering, sheet[layout.SETNS_RESULT]))
        flags, shared = sheet[layout.FLAGS], _CLONE_VM if sheet[layout.MACHINE] else 0
        if sheet[layout.CLONE3_RESULT]:
            line = _line(clone3, flags | shared, sheet[layout.CGROUP])
            lines.append((line, sheet[layout.CLONE3_RESULT]))
        if sheet[layout.CLONE_RESULT]:
            lines.append((_line(clone, flags), sheet[layout.CLONE_RESULT]))
        if sheet[layout.ENGINE_PIDNS_FD]:
            lines.append((_line(setns, sheet[layout.ENGINE_PIDNS_FD], born_in), 0))
        return lines

    def _made_for_the_child(self, sheet: Sequence[int]) -> list[tuple[str, int]]:
        """The engine's calls while the child waited, up to a refused one, with their results."""
        result = sheet[layout.CHILD_DIRECTORY]
        if not result:
            return []
        directory = f"/proc/{sheet[layout.CHILD_NUMBER]}"
        line = f'openat(AT_FDCWD, "{directory}", O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY)'
        for_child = self._draft.for_child
        return [(line, result), *for_child.lines(for_child.made(sheet), sheet)]


def _for_machine(calls: Sequence[Call], flags: Clone) -> bool:
    return not flags & CLONE_NEWTIME and not any(map(_for_python, calls))


def _for_python(call: Call) -> bool:
    """Whether only the player in Python can make `call`."""
    if call.name == "setns":
        flags = call.values[1]
        return isinstance(flags, int) and bool(flags & (CLONE_NEWUSER | CLONE_NEWTIME))
    return call.name in _FOR_PYTHON


def _of_its_own(made: "list[tuple[_Part, int]]", number: int) -> list[tuple[str, int]]:
    """What was refused to the child's Python after the last of the calls `made`, if anything."""
    last = made[-1][0].call.name if made else ""
    return [(_OF_PYTHON.get(last, "mmap(NULL)"), -number)] if number else []


@functools.lru_cache(64)
def _line(make: Callable[..., object], *arguments: int) -> str:
    """The trace's line of the engine's call `make`. It is kept: the caller waits for it."""
    (call,) = rehearse(functools.partial(make, *arguments))
    return call.line


class _Writer:
    """Writes the sheet of a score, and the strings behind it.

    asked: numbers by their places. written: both. addresses: the places of numbers that are
    addresses, which count from the score's beginning.
    """

    def __init__(self, asked: Mapping[int, int], sections: Sequence[_Section]) -> None:
        self.asked = asked
        self._sheet = [0] * sections[-1].end
        self._data = bytearray()
        self._buffers: dict[int, int] = {}
        self.addresses: list[int] = []
        for place, number in asked.items():
            self._sheet[place] = number
        for section in sections:
            for at, part in section.placed:
                self._write(section, at, part)
        self.written = _packed(self._sheet) + self._data

    def _write(self, section: _Section, at: int, part: _Part) -> None:
        """Write one call. An earlier one's result stands as its place, with a bit in the mask."""
        mask = part.mask
        self._sheet[at], self._sheet[at + RESULT] = NUMBERS[part.call.name], NOT_MADE
        for argument, value in enumerate(part.call.values):
            place = at + 1 + argument
            if isinstance(value, Result):
                mask |= 1 << argument
                self._sheet[place] = section.place(value)
            elif value is None or isinstance(value, int):
                self._sheet[place] = value or 0
            else:
                self._sheet[place] = self._placed(value)
                self.addresses.append(place)
        self._sheet[at + MASK] = mask

    def _placed(self, value: "bytes | bytearray | list[bytes] | Message") -> int:
        """The address where `value` is put for the kernel.

        Memory that a call is to fill has one address, so that later calls find it there.
        """
        if isinstance(value, bytearray):
            if id(value) not in self._buffers:
                self._buffers[id(value)] = self._put(bytes(value))
            return self._buffers[id(value)]
        if isinstance(value, Filter):
            return self._put_numbers([value.size, self._put(value)], range(1, 2))
        if isinstance(value, Message):
            return self._put_numbers(value.numbers(self._next()), value.ADDRESSES)
        if isinstance(value, bytes):
            return self._put(value + b"\0")
        addresses = [self._put(text + b"\0") for text in value]
        return self._put_numbers([*addresses, 0], range(len(addresses)))

    def _put_numbers(self, numbers: list[int], addresses: Sequence[int]) -> int:
        """Put numbers behind the sheet. addresses: which of them are."""
        begin = self._put(_packed(numbers))
        self.addresses += [begin // NUMBER_SIZE + at for at in addresses]
        return begin

    def _next(self) -> int:
        """Where what is put next begins."""
        return NUMBER_SIZE * len(self._sheet) + len(self._data)

    def _put(self, data: bytes) -> int:
        """Put `data` behind the sheet, and fill up the last number. Where it begins."""
        begin = self._next()
        self._data += data + bytes(-len(data) % NUMBER_SIZE)
        return begin


def _packed(numbers: list[int]) -> bytes:
    return struct.pack(f"{len(numbers)}q", *numbers)
