"""What the engine is asked for: the score of a container, or of a process that enters one.

Its draft is kept for the next request of the same: to rehearse and to write it takes longer than
all else that the caller does. The name of a control group is new each time, so the draft's is
replaced by it: both are equally long.
"""

import os
from _collections_abc import Callable, Iterator, Mapping, Sequence

from labkit.container import contain
from labkit.container.container import Container
from labkit.container.new_root import own_files
from labkit.container.user_namespace import map_ids
from labkit.engine import layout
from labkit.engine.connection import engine_namespaces, is_rootless
from labkit.engine.score import Draft, Score
from labkit.linux.call import CHILD_DIRECTORY, TARGET_PIDFD, rehearse
from labkit.linux.fields import dataclass
from labkit.linux.flags import (
    CLONE_INTO_CGROUP,
    CLONE_NEWCGROUP,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    Clone,
)
from labkit.linux.namespaces import differing, inodes_of, own_proc
from labkit.linux.refusal import Asked
from labkit.python import contextlib
from labkit.python.functools import partial
from labkit.python.typing import TYPE_CHECKING

KEPT, SMALL = 64, 65536  # how many drafts, each of how many bytes at most
kept: dict[object, Draft] = {}

if TYPE_CHECKING:
    from labkit.cgroups.group import Group


@dataclass(frozen=True)
class Target:
    """A process to enter.

    pid: its number. in_proc: what this /proc calls it. pidfd: stays valid when a PID is reused.
    groups: the files by which one enters its control groups (`membership.py:way_in`).
    """

    pid: int
    in_proc: int
    pidfd: int
    groups: Sequence[str] = ()

    def inodes(self) -> dict[str, int]:
        """The namespaces that it is in now."""
        own_proc()
        return inodes_of(self.pid, self.in_proc)


def to_build(
    box: Container,
    group: "Group | None",
    *,
    report_start: bool,
    observed: bool,
    terminal: str = "",
    etc: Mapping[str, str] | None = None,
    connected: bool = False,
) -> Score:
    """The score of a container.

    group: its control group, if it has limits. terminal: the path of the terminal on its standard
    streams, "" for none, INSIDE for one that it makes itself. report_start: whether the engine says
    when the program runs. observed: whether an observer sees each call. etc: the files of its
    networks. connected: whether its caller connects it to them before its first call.
    """
    into_cgroup, entered, name = _ways_into(group)
    watched = {"observed": observed, "connected": connected}
    born = into_cgroup, terminal, _report(box, start=report_start)
    draft = partial(_draft, box, entered, name, etc, born, **watched)
    if etc is not None:  # no other will have its address
        return Score(draft(), name)
    groups = (*(path.replace(name, "*" * len(name)) for path in entered),)
    return Score(_drafted(draft, box, contain.contain, groups, *born, *watched.values()), name)


def _ways_into(group: "Group | None") -> tuple[int, tuple[str, ...], str]:
    """How a child comes into its control group: a flag of the clone, or files; the group's name."""
    if group is None:
        return 0, (), ""
    if group.enters_at_birth:
        return CLONE_INTO_CGROUP, (), ""
    return 0, (*group.entered_by,), group.name if group.entered_by else ""


def _draft(
    box: Container,
    entered: Sequence[str],
    name: str,
    etc: Mapping[str, str] | None,
    born: tuple[int, str, int],
    **watched: bool,
) -> Draft:
    into_cgroup, terminal, report = born
    with own_files(etc or {}):
        calls = rehearse(lambda: _steps(box, entered, terminal))
    flags = contain.clone_flags(box) | into_cgroup
    maps = rehearse(lambda: map_ids(box, CHILD_DIRECTORY))
    # The engine enters another's PID namespace for the clone: setns moves only later children.
    joined = CLONE_NEWPID if "pid" in box.joined else Clone(0)
    return Draft(
        calls, flags, engine_calls=maps, born_in=joined, report=report, group=name, **watched
    )


def _report(box: Container, *, start: bool) -> int:
    """What the engine is to say. EARLY: its mounts may be there for a moment after its end.

    The upper directory of an overlay may not be: what comes next may want to mount it again.
    """
    if start:
        return layout.STARTED
    goes = box.cloneflags & CLONE_NEWNS and (box.root is None or box.root.upper is None)
    return layout.EARLY if goes else layout.ENDED


@contextlib.contextmanager
def born_in(box: Container) -> Iterator[list[int]]:
    """A pidfd of the process in whose PID namespace a container is born, if it is another's.

    It goes to the engine with the request, behind all but the control groups.
    """
    pid = box.joined.get("pid")
    if pid is None:
        yield []
        return
    with Asked(f"pidfd_open({pid}, 0)"):
        pidfd = os.pidfd_open(pid)
    try:
        yield [pidfd]
    finally:
        os.close(pidfd)


def _steps(box: Container, entered: Sequence[str], terminal: str) -> None:
    """What a container's child does: it enters what others have made, then builds its own."""
    if box.limits is not None:
        contain.enter_groups(entered, as_root=bool(box.cloneflags & CLONE_NEWCGROUP))
    if box.joined_network:
        contain.enter_network(box.joined_network)
    if "ipc" in box.joined:
        contain.enter_ipc(box.joined["ipc"])
    contain.contain(box, terminal)


def to_enter(
    box: Container,
    inodes: dict[str, int],
    entered: Sequence[str],
    *,
    report_start: bool = False,
    terminal: str = "",
) -> Score:
    """The score of a process that runs `box` in the namespaces `inodes` of a :class:`Target`.

    entered: the target's control groups, to whose files it writes itself. terminal: INSIDE or "".
    """
    return Score(draft_to_enter(box, inodes, entered, report_start=report_start, terminal=terminal))


def draft_to_enter(
    box: Container,
    inodes: dict[str, int],
    entered: Sequence[str],
    *,
    report_start: bool = False,
    terminal: str = "",
) -> Draft:
    """The same, to be written for any address."""
    flags = differing(engine_namespaces(), inodes)
    # The engine enters the PID namespace for the clone (`job.py:Job.enter`), but not if only a
    # process inside the user namespace may enter it, nor if the engine could not come back.
    outside = flags & CLONE_NEWUSER or is_rootless()
    born_in = Clone(0) if outside else flags & CLONE_NEWPID

    def draft() -> Draft:
        steps = partial(contain.join, box, TARGET_PIDFD, flags, born_in, entered, terminal)
        calls = rehearse(steps)
        return Draft(calls, Clone(0), born_in=born_in, report=layout.STARTED * report_start)

    key = flags, born_in, (*entered,), report_start, terminal
    return _drafted(draft, box, contain.join, *key)


def _drafted(make: Callable[[], Draft], box: Container, *circumstances: object) -> Draft:
    """The draft that `make` gives, or one that it gave when all that it depends on was the same."""
    key = box, contain.surroundings(box), *circumstances
    draft = kept.get(key)
    if draft is None or not draft.holds():
        kept.pop(key, None)
        draft = make()
        if draft.size <= SMALL:
            if len(kept) >= KEPT:
                kept.clear()
            kept[key] = draft
    return draft
