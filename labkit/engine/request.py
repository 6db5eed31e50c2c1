"""What the engine is asked for: the score of a container, or of a process that enters one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.container import contain
from labkit.container.container import Container
from labkit.container.id_maps import map_ids
from labkit.engine.connection import engine_namespaces, is_rootless
from labkit.engine.score import Score
from labkit.linux.call import CHILD_DIRECTORY, TARGET_PIDFD, rehearse
from labkit.linux.flags import (
    CLONE_INTO_CGROUP,
    CLONE_NEWCGROUP,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    Clone,
)
from labkit.linux.namespaces import differing

if TYPE_CHECKING:
    from labkit.cgroups.group import Group


@dataclass(frozen=True)
class Target:
    """A process to enter: its PID, and a pidfd, which stays valid when the PID is reused.

    groups: its control groups, by their files cgroup.procs.
    """

    pid: int
    pidfd: int
    groups: Sequence[str] = ()


def to_build(
    box: Container, group: "Group | None", *, report_start: bool, observed: bool, terminal: str = ""
) -> Score:
    """The score of a container.

    group: its control group, if it has limits. terminal: the path of the terminal on its standard
    streams, "" for none. report_start: whether the engine says when the program runs. observed:
    whether an observer sees each call.
    """
    into_cgroup = CLONE_INTO_CGROUP * (group is not None and group.enters_at_birth)

    def steps() -> None:
        if group:
            own_root = bool(box.cloneflags & CLONE_NEWCGROUP)
            contain.enter_groups([] if into_cgroup else group.entered_by, as_root=own_root)
        contain.contain(box, terminal)

    calls = rehearse(steps)
    return Score(
        calls,
        contain.clone_flags(box) | into_cgroup,
        engine_calls=rehearse(lambda: map_ids(box, CHILD_DIRECTORY)),
        report_start=report_start,
        observed=observed,
    )


def to_enter(box: Container, inodes: dict[str, int], entered: Sequence[str]) -> Score:
    """The score of a process that runs `box` in the namespaces `inodes` of a :class:`Target`.

    entered: the files of the target's control groups to which it writes itself.
    """
    flags = differing(engine_namespaces(), inodes)
    # The engine enters the PID namespace for the clone (`job.py:Job.enter`), but not if only a
    # process inside the user namespace may enter it, nor if the engine could not come back.
    outside = flags & CLONE_NEWUSER or is_rootless()
    born_in = Clone(0) if outside else flags & CLONE_NEWPID
    calls = rehearse(lambda: contain.join(box, TARGET_PIDFD, flags, born_in, entered))
    return Score(calls, Clone(0), born_in=born_in)
