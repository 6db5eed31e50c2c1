"""The user's handle of a container that has been started."""

import errno
import functools
import signal
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

from labkit.container.container import Finished
from labkit.engine.execution import Execution
from labkit.engine.request import Target
from labkit.engine.streams import LIMIT, as_bytes, captured
from labkit.linux import proc
from labkit.linux.fields import replace
from labkit.linux.refusal import begin, refusal
from labkit.text.words import Words

if TYPE_CHECKING:
    from labkit.cgroups.group import Group
    from labkit.cgroups.stats import Stats
    from labkit.network.network import Port


class Running:
    """A container that has been started; its ``with`` block ends it.

    box: what was asked for. pid: its first process, as the caller sees it. inodes: the namespaces
    it is in, kind -> inode. trace: the system calls that built it.
    """

    def __init__(self, execution: Execution) -> None:
        """Follow it until its program runs, and from there on a thread of its own."""
        execution.follow_to_start()
        self.box, self.pid = execution.box, execution.pid
        self.trace, self.inodes = execution.trace, execution.inodes
        self._execution = execution
        self._thread = threading.Thread(target=execution.follow_to_end, daemon=True)
        try:
            begin(self._thread)
        except OSError:
            execution.hang_up()
            execution.follow_to_end()
            raise

    @property
    def ports(self) -> "tuple[Port, ...]":
        """What is published of it, with the numbers that were free."""
        network = self._execution.network
        return network.ports if network else ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses on a bridge: IPv4, and IPv6 if there is one."""
        network = self._execution.network
        return network.addresses if network else ()

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return self._execution.stdout

    @property
    def stderr(self) -> str:
        """What it has printed to standard error so far."""
        return self._execution.stderr

    @property
    def complaint(self) -> bytes:
        """The same as bytes: a name that is not UTF-8 stays as it was typed."""
        return self._execution.complaint

    @property
    def left_out(self) -> int:
        """How many bytes it has printed so far that were not kept: limit, see :func:`start`."""
        return self._execution.left_out

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send its first process a signal. ProcessLookupError when it has ended."""
        if self._execution.returncode is not None:
            raise refusal(
                f"pidfd_send_signal({self.pid}, {signal.Signals(number).name})", errno.ESRCH
            )
        signal.pidfd_send_signal(self._execution.pidfd, number)

    def write(self, typed: str | bytes) -> None:
        r"""Type on its pseudo-terminal: "\r" is Enter, "\3" Ctrl-C, "\4" Ctrl-D.

        Raises BrokenPipeError when it has ended, or has no pseudo-terminal of ours.
        """
        pty = self._execution.streams.pty
        if not pty:
            raise refusal("write(master)", errno.EPIPE)
        pty.write(as_bytes(typed))

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of its pseudo-terminal, if it has one of ours: it gets SIGWINCH."""
        if pty := self._execution.streams.pty:
            pty.resize(rows, columns)

    def stats(self) -> "Stats":
        """What it uses now, if it has limits: even Limits() counts. ProcessLookupError: ended."""
        return self._group().stats()

    def freeze(self) -> None:
        """Stop all its processes, as docker pause does. Only :meth:`thaw` or its end goes on."""
        self._group().freeze(frozen=True)

    def thaw(self) -> None:
        """Let them go on, as docker unpause does."""
        self._group().freeze(frozen=False)

    @property
    def group(self) -> "Group | None":
        """Its control group, if it has limits."""
        return self._execution.group

    def _group(self) -> "Group":
        group = self.group
        if group is None:
            raise ValueError(
                Words(
                    "这个容器没有控制组：造它时写上 limits=Limits()，不限制也会记账",
                    "this container has no control group: make it with limits=Limits(), which "
                    "counts even without a limit",
                )
            )
        return group

    def exec(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        input: str | bytes | None = None,
        timeout: float | None = None,
        limit: int = LIMIT,
    ) -> Finished:
        """Run one more program in its namespaces, as docker exec does; see :func:`run`."""
        if self._execution.returncode is not None:
            raise refusal(f"setns({self.pid})", errno.ESRCH)
        env = self.box.env if env is None else env
        # As limited as the container, or it would be a way out of it.
        box = replace(self.box, argv=argv, env=env, hostname=None, proc=False, tty=False, cwd=None)
        return Execution(box, captured(input, limit), self._as_target).finish(timeout)

    @functools.cached_property
    def _as_target(self) -> Target:
        groups = self.group.entered_by if self.group else ()
        return Target(self.pid, proc.number(self.pid), self._execution.pidfd, groups)

    def wait(self, timeout: float | None = None) -> Finished:
        """Wait until it ends by itself; TimeoutError when it still runs after `timeout` seconds."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise self._execution.timed_out(timeout)
        return self._execution.finished()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it with everything it has started, and wait until that is done."""
        self._execution.hang_up()
        self._thread.join()
