"""What the engine is asked for: the score of a container, or of a process that enters one."""

from dataclasses import dataclass

from labkit.container import contain
from labkit.container.container import Container
from labkit.container.rights import map_ids
from labkit.engine.connection import home, is_rootless
from labkit.engine.score import Score
from labkit.linux.call import CHILD, THERE, rehearse
from labkit.linux.flags import CLONE_NEWPID, CLONE_NEWUSER, Clone
from labkit.linux.namespaces import differing


@dataclass(frozen=True)
class Target:
    """A process to enter: its PID, and a pidfd, which stays valid when the PID is reused."""

    pid: int
    pidfd: int


def to_build(box: Container, *, report_start: bool, observed: bool) -> Score:
    """The score of a container.

    report_start: whether the engine says when the program runs. observed: whether an observer sees
    each call.
    """
    calls = rehearse(lambda: contain.contain(box))
    ahead = rehearse(lambda: map_ids(box, CHILD))
    flags = contain.at_birth(box)
    return Score(calls, flags, ahead=ahead, tell=report_start, observed=observed)


def to_enter(box: Container, inodes: dict[str, int]) -> Score:
    """The score of a process that runs `box` in the namespaces `inodes` of a :class:`Target`."""
    flags = differing(home(), inodes)
    # The engine may be in the PID namespace for the clone (`process.py:Job.enter`), but not where
    # only a process inside the user namespace may enter, nor if it could not come back.
    outside = flags & CLONE_NEWUSER or is_rootless()
    born = Clone(0) if outside else flags & CLONE_NEWPID
    calls = rehearse(lambda: contain.join(box, THERE, flags, born))
    return Score(calls, Clone(0), born=born)
