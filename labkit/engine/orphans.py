"""What containers without a PID namespace have left running: found, killed, reaped.

A container's first process is a subreaper: it adopts the container's orphans. When it has ended,
they become the engine's children. When the engine has ended, they become its keeper's.
"""

import _signal  # type: ignore[import-not-found]
import os
import select

from labkit.engine.job import insisted
from labkit.linux import proc

TYPE_CHECKING = False  # importing typing would be a third of the engine's start
if TYPE_CHECKING:
    from collections.abc import Collection

MOMENT = 0.001  # seconds, the least that epoll_wait(2) can wait
HAS_KILLED = 3  # exit status of an engine that killed containers, which may have had some inside


class Orphans:
    """Those of this process. killed: they have been killed, but not reaped yet."""

    def __init__(self, depth: int) -> None:
        """depth: how many PID namespaces we are below that of this /proc."""
        self.depth = depth
        self.killed: set[int] = set()
        # Kept open: when it is wanted, there may be no room for another descriptor.
        self._listed = os.open(proc.CHILDREN, os.O_RDONLY | os.O_CLOEXEC)

    def kill(self, others: "Collection[int]") -> None:
        """Kill all children but `others`. OSError when we cannot see our children."""
        for pid in self._children():
            # Who does not let itself be killed has changed its user ID: it is not ours to end.
            if pid not in others and pid not in self.killed and _killed(pid):
                self.killed.add(pid)

    def _children(self) -> list[int]:
        try:
            return proc.children(self.depth, self._listed)
        except FileNotFoundError:  # somebody has unmounted the /proc that counts otherwise than we
            return []

    def reap(self) -> bool:
        """Reap those that have ended, in any order. Whether there were any.

        We wait for no single one. The first process of a PID namespace does not end before all
        others in it have been reaped, and those may be our children too, as after `unshare --pid`.
        """
        before = len(self.killed)
        for pid in [*self.killed]:
            if os.waitpid(pid, os.WNOHANG)[0]:
                self.killed.remove(pid)
        return len(self.killed) < before


def _killed(pid: int) -> bool:
    return insisted(os.kill, pid, _signal.SIGKILL)


def rest() -> None:
    """Wait a moment before trying again."""
    select.select((), (), (), MOMENT)


def _sweep_groups() -> None:
    """Remove the control groups that the killed have left, with all who are in them."""
    from labkit.cgroups.group import sweep  # seldom needed, and not by the engine

    try:
        sweep()
    except OSError:  # whoever makes the next group does it
        return


def keep(engine: int) -> None:
    """Be the engine's keeper: wait for its end, then kill what it has left, until nothing is left.

    It has left something if it was killed itself. This process is a subreaper, so all that comes
    to it, whatever session it has made for itself. A container that was killed may have had other
    containers inside, and killed with them whoever would have removed their control groups.
    """
    orphans = Orphans(proc.depth())
    _, status = os.waitpid(engine, 0)
    groups_left = os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == HAS_KILLED
    if groups_left:
        _sweep_groups()
    while True:
        try:
            orphans.kill(())
            if not orphans.killed:
                if groups_left:  # on a busy machine somebody took longer to die than we waited
                    _sweep_groups()
                return
            orphans.reap()
        except OSError:  # for a moment
            pass
        rest()
