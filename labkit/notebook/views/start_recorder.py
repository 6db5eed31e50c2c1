"""A container's start, one system call at a time: what each call changed, as it was observed.

The container stands still before each of its calls (`engine/player.py:play`); meanwhile we look at
it from outside, through /proc. What differs between two looks is what the call between them did.
"""

import itertools
import os
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, fields, replace
from typing import Any

from labkit.container.container import Container
from labkit.engine.client import enter
from labkit.linux import proc
from labkit.linux.confinement import Capabilities, capabilities
from labkit.linux.namespaces import inodes
from labkit.linux.proc import Mount, mounts
from labkit.linux.refusal import call_of
from labkit.notebook.views.trial import SECONDS, Trial
from labkit.text.words import as_data

SETS = tuple(field.name for field in fields(Capabilities))
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid. unix(7)


UNKNOWN = "\0"  # no host name holds it


@dataclass(frozen=True)
class State:
    """A process as it looks from outside at one moment.

    inodes: its namespaces. hostname: the name in its UTS namespace. mounts: a line for each of its
    mounts, without the numbers that are new in every copy. cwd: its working directory. uid_map,
    gid_map: the lines of its user namespace's maps. setgroups: "allow" or "deny" there. uid, gid:
    its IDs as seen from here, one number, or four if they differ (real, effective, saved, file
    system). no_new_privs: 1 once it is set. seccomp: how many filters judge its calls; before Linux
    5.9 only whether there is one.
    """

    inodes: dict[str, int]
    hostname: str
    mounts: tuple[str, ...]
    cwd: str
    uid_map: tuple[str, ...]
    gid_map: tuple[str, ...]
    setgroups: str
    uid: str
    gid: str
    capabilities: Capabilities
    no_new_privs: int
    seccomp: int


@dataclass(frozen=True)
class Change:
    """One thing that a call changed, in a process's State.

    subject: a kind of namespace, another field of State, one of the five sets of Capabilities, or
    "propagation": mounts that differ in nothing else. before, after: its lines; of mounts and maps,
    those that are gone and those that have come.
    """

    subject: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class RecordedStep:
    """One call: its line of the trace, and what was different after it.

    observed: whether anybody could look afterwards: not at a process that has become a program.
    """

    line: str
    changes: tuple[Change, ...] = ()
    observed: bool = True


@dataclass(frozen=True)
class StartRecording:
    """A start, call by call; `first` is how the process looked that asked for it.

    refused: the last call and its errno if it was refused, so that there was no container.
    """

    steps: tuple[RecordedStep, ...]
    first: State
    refused: tuple[str, int] | None

    @property
    def trace(self) -> tuple[str, ...]:
        """The lines of the calls, as of a Finished."""
        return tuple(step.line for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """As plain lists and dictionaries."""
        return dict(as_data(self))


def record(box: Container, seconds: float = SECONDS) -> StartRecording:
    """Start `box` and record how; its program is ended after `seconds`.

    A refused call is the last step of the recording, not an error.
    """
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    first = look(os.getpid())
    with ours, theirs, ThreadPoolExecutor(1) as pool:
        seen = pool.submit(copy_context().run, _observe, ours)
        try:
            refused, trace = _start(Trial(box, seconds, theirs))
        finally:
            theirs.close()
            looks = seen.result()  # if it could not look, that is what went wrong
    return StartRecording(tuple(_steps(trace, [first, *looks])), first, refused)


def look(pid: int) -> State:
    """How process `pid` looks now."""
    numbers, name = inodes(pid), proc.number(pid)
    lines = proc.status(name)
    return State(
        numbers,
        _hostname(pid, numbers),
        _mounts(name),
        os.readlink(f"/proc/{name}/cwd"),
        _lines(name, "uid_map"),
        _lines(name, "gid_map"),
        " ".join(_lines(name, "setgroups")),
        _ids(lines["Uid"]),
        _ids(lines["Gid"]),
        capabilities(name),
        int(lines["NoNewPrivs"]),  # since Linux 4.10
        _filters(lines),
    )


def _start(trial: Trial) -> tuple[tuple[str, int] | None, tuple[str, ...]]:
    """Run `trial` for its trace; the call that was refused, if one was, and its errno."""
    try:
        return None, trial.run().finished.trace
    except OSError as error:
        if "trace" not in vars(error) or not error.errno:  # the engine was lost
            raise
        return (call_of(error), error.errno), vars(error)["trace"]


def _observe(ours: socket.socket) -> list[State]:
    """Look at the process on the other end of `ours` each time that it stands still."""
    looks = []
    with ours:  # closed whatever happens: a container that waits for us would wait for ever
        while pid := _stands_still(ours):
            looks.append(look(pid))
            ours.send(b"!")
    return looks


def _stands_still(ours: socket.socket) -> int:
    """Wait until it stands still before a call: its PID; 0 when execve has closed its end."""
    data, extra, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(_CREDENTIALS.size))
    for level, kind, body in extra if data else ():
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            return int(_CREDENTIALS.unpack(body)[0])
    return 0


def _hostname(pid: int, numbers: dict[str, int]) -> str:
    """No file of /proc has another's host name: one has to go there and ask.

    UNKNOWN where nobody can be asked: a root directory of its own need not have the program.
    """
    if numbers.get("uts") == inodes().get("uts"):
        return os.uname().nodename
    told = enter(pid, ("uname", "-n"))
    return UNKNOWN if told.returncode else told.stdout.removesuffix("\n")


def _ids(line: str) -> str:
    numbers = line.split()
    return numbers[0] if len({*numbers}) == 1 else " ".join(numbers)


def _filters(lines: dict[str, str]) -> int:
    """How many seccomp filters; without a line of them, one in mode 2. proc_pid_status(5)."""
    return int(lines.get("Seccomp_filters", lines.get("Seccomp") == "2"))


def _mounts(pid: int) -> tuple[str, ...]:
    """A line for each mount, by its place: since Linux 6.8 the kernel has another order of its own.

    Of those at one place the lowest is first.
    """
    return tuple(map(_shown, sorted(mounts(pid), key=lambda mount: mount.point)))


def _shown(mount: Mount) -> str:
    """A mount as findmnt(8) orders it: target, type, source, options, propagation."""
    source = mount.source + ("" if mount.root == "/" else f"[{mount.root}]")
    propagation = ",".join(mount.propagation) or "private"
    return f"{mount.point} {mount.kind} {source} {mount.options} {propagation}"


def _lines(pid: int, name: str) -> tuple[str, ...]:
    with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="surrogateescape") as file:
        return tuple(" ".join(line.split()) for line in file)


def _steps(trace: tuple[str, ...], looks: list[State]) -> Iterator[RecordedStep]:
    """The calls, each with what was different at the look after it.

    The child is looked at before each of its calls, so the first of these looks, which comes after
    the caller's own, is after the engine's last call.
    """
    engine = len(trace) - (len(looks) - 1)
    if len(looks) > 1:
        yield from _birth(trace[:engine], *looks[:2])
    else:
        yield from map(RecordedStep, trace[:-1])
    for line, (before, after) in zip(trace[engine:], itertools.pairwise(looks[1:]), strict=False):
        yield RecordedStep(line, tuple(_changes(before, after)))
    yield RecordedStep(trace[-1], observed=False)


def _birth(lines: tuple[str, ...], before: State, after: State) -> Iterator[RecordedStep]:
    """The engine's calls: the clone, and what it writes while the child waits.

    Between them nobody looks. But a user namespace is born without maps, and with its parent's word
    on setgroups: until these files are written, all else is as it will be.
    """
    born = max(at for at, line in enumerate(lines) if line.startswith("clone"))
    as_born: dict[str, Any] = {"uid_map": (), "gid_map": (), "setgroups": before.setgroups}
    written = [line.split('"')[1] for line in lines if "openat(" in line]
    written = [name for name in written if name in as_born]  # and not the directory of them
    state = replace(after, **{name: as_born[name] for name in written})
    yield from map(RecordedStep, lines[:born])
    yield RecordedStep(lines[born], tuple(_changes(before, state)))
    for line in lines[born + 1 :]:
        changed = {name: getattr(after, name) for name in written[:1] if line.startswith("write(")}
        state, last = replace(state, **changed), state
        yield RecordedStep(line, tuple(_changes(last, state)))
        written = written[len(changed) :]


def _changes(before: State, after: State) -> Iterator[Change]:
    # There a capability counts for other things than here: that it is held is news.
    elsewhere = before.inodes.get("user") != after.inodes.get("user")
    for kind, number in after.inodes.items():
        if number != before.inodes.get(kind):
            yield Change(kind, (str(before.inodes.get(kind)),), (str(number),))
    for name in ("hostname", "cwd", "setgroups", "uid", "gid", "no_new_privs", "seccomp"):
        old, new = getattr(before, name), getattr(after, name)
        if old != new and UNKNOWN not in (old, new):
            yield Change(name, (str(old),), (str(new),))
    for name in SETS:
        held, holds = getattr(before.capabilities, name), getattr(after.capabilities, name)
        if held != holds or (elsewhere and holds):
            yield Change(name, held, holds)
    for name in ("uid_map", "gid_map", "mounts"):
        gone = _missing(getattr(before, name), getattr(after, name))
        come = _missing(getattr(after, name), getattr(before, name))
        if gone or come:
            spread = name == "mounts" and _bare(gone) == _bare(come)
            yield Change("propagation" if spread else name, gone, come)


def _bare(mounts: tuple[str, ...]) -> list[str]:
    """The lines without the last word, which is how a mount propagates."""
    return [line.rpartition(" ")[0] for line in mounts]


def _missing(these: tuple[str, ...], those: tuple[str, ...]) -> tuple[str, ...]:
    """What of `these` is not among `those`, in order; a line that stands twice counts twice."""
    left = Counter(these) - Counter(those)
    found = []
    for line in these:
        if left[line]:
            left[line] -= 1
            found.append(line)
    return tuple(found)
