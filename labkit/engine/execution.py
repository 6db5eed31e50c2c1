"""One container from the request to its end, followed on the streams that its caller gave."""

import contextlib
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from labkit.container.container import Container, Finished
from labkit.container.devices import INSIDE
from labkit.engine.connection import kill_session
from labkit.engine.exchange import Exchange
from labkit.engine.request import Target, born_in, to_build, to_enter
from labkit.engine.score import Account, Score
from labkit.engine.streams import Streams, text
from labkit.engine.verdict import EngineLost, TimedOut, judge
from labkit.linux.flags import CLONE_NEWPID
from labkit.linux.refusal import explain, refusal

if TYPE_CHECKING:
    from labkit.cgroups.group import Group
    from labkit.engine.connecting import Connecting

T = TypeVar("T")
_GRACE = 2.0  # seconds for the engine to report the end of a container that is being killed


class Execution:
    """A container that the engine is asked for at once; its streams are closed with it.

    target: the process whose namespaces it enters, if any. report_start: whether the engine says
    when the program runs, or only what came of it. observer: the container's end of the socket on
    which an observer sees each of its calls.

    group: its control group, if it has limits. network: what connects it to its network, if it has
    one of its own. pid: of its first process, 0 until the engine says
    more. trace, inodes: how it was built, and the namespaces that it is in. returncode, error: when
    it has ended, one of them is not None.
    """

    pid = 0
    trace: tuple[str, ...] = ()
    returncode: int | None = None
    error: Exception | None = None
    group: "Group | None" = None
    network: "Connecting | None" = None
    oom_killed = False

    def __init__(
        self,
        box: Container,
        streams: Streams,
        target: Target | None = None,
        *,
        report_start: bool = False,
        observer: int | None = None,
    ) -> None:
        self.box, self.streams, self._began = box, streams, time.monotonic()
        others = [target.pidfd] if target else [] if observer is None else [observer]
        try:
            self.inodes = target.inodes() if target else {}
            self.group = _group(box, target, stops=report_start)
            self.network = _network(box, target, observer)
            others += [self.network.theirs] if self.network else []
            score = self._score(target, report_start=report_start, observed=observer is not None)
            with born_in(box) as joined:
                self._exchange = self._asked(score, streams.theirs + others + joined)
        except BaseException as error:
            self._give_up(error)
            raise
        self._watch()

    def _watch(self) -> None:
        """Watch what comes from the engine, and from the child that waits for its network."""
        self.streams.sent()
        self.streams.watch(self._exchange.fileno(), self._take_answer)
        if self.network:
            self.network.sent()
            self.streams.watch(self.network.fileno(), self._connect)

    def _give_up(self, error: BaseException) -> None:
        """Give back what was made ready: the engine was not asked."""
        self.streams.close()
        if self.group:
            self.group.remove()
        if self.network:
            self.network.close()
        if isinstance(error, OSError):  # of this process's own limits, as a rule
            explain(error)

    def _score(self, target: Target | None, *, report_start: bool, observed: bool) -> Score:
        if target:
            return to_enter(
                self.box,
                self.inodes,
                target.groups,
                report_start=report_start,
                terminal=INSIDE if self.streams.coming else "",
            )
        return to_build(
            self.box,
            self.group,
            report_start=report_start or self.box.tty,
            observed=observed,
            terminal=self._terminal(),
            etc=self.network.etc if self.network else None,
            connected=self.network is not None,
        )

    def _terminal(self) -> str:
        """Where its terminal is, for a root of its own."""
        if not self.box.tty or not self.box.root:
            return ""
        return INSIDE if self.streams.coming else _path_of(self.streams.theirs[0])

    def _asked(self, score: Score, fds: list[int]) -> Exchange:
        """The exchange with the engine, to which the control group is left."""
        if not self.group:
            return Exchange(score, fds)
        exchange = Exchange(score, fds + self.group.fds, self.group.paths)
        self.group.hand_over()
        return exchange

    @property
    def pidfd(self) -> int:
        """Of its first process, from the start of its program on."""
        return self._exchange.pidfd

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return text(self.streams.collected[1].data)

    @property
    def stderr(self) -> str:
        """What it has printed to standard error so far."""
        return text(self.streams.collected[2].data)

    @property
    def complaint(self) -> bytes:
        """Its standard error as bytes: a name that is not UTF-8 stays as it was typed."""
        return bytes(self.streams.collected[2].data)

    @property
    def left_out(self) -> int:
        """How many bytes it has printed that were not kept."""
        return self.streams.left_out(1, 2)

    @property
    def ended(self) -> bool:
        """Whether it has ended, or could not be built."""
        return self.returncode is not None or self.error is not None

    def finish(self, timeout: float | None) -> Finished:
        """Follow it to its end on this thread. Whatever interrupts this thread ends it."""
        deadline = None if timeout is None else self._began + timeout
        try:
            if not self._follow(deadline):
                raise self.timed_out(timeout)
        except BaseException:
            self.hang_up()
            self._follow(time.monotonic() + _GRACE)
            raise
        finally:
            self._close()
        return self.finished()

    def follow_to_start(self) -> None:
        """Follow it until its program runs, or has ended. Raises what was refused."""
        try:
            while not self.pid and not self.ended:
                self.streams.step(None)
            if self.error:
                raise self.error
        except BaseException:
            self._close()  # the engine sees it and kills what it may have begun
            raise

    def follow_to_end(self) -> None:
        """Follow it to its end, and close what belongs to it.

        What is refused to this thread is kept for those who wait for the container.
        """
        try:
            try:
                self._follow(None)
            except BaseException:
                self.hang_up()
                self._follow(time.monotonic() + _GRACE)
                raise
            finally:
                self._close()
        except Exception as error:  # noqa: BLE001 - nobody would hear of it here
            self.error = error

    def finished(self) -> Finished:
        """What came of it, when it has ended. Raises what was refused."""
        if self.error:
            raise self.error
        return Finished(
            self.returncode or 0,
            self.stdout,
            self.stderr,
            self.trace,
            self.inodes,
            self._seconds,
            self.left_out,
            self.oom_killed,
        )

    def timed_out(self, timeout: float | None) -> TimedOut:
        """The error that says that it still runs after `timeout` seconds."""
        said = self.stdout, self.stderr
        return TimedOut(self.box.argv[0], timeout, *said, self.left_out)

    def fileno(self) -> int:
        """The descriptor that becomes readable when there is something to :meth:`advance`."""
        return self._exchange.fileno()

    def advance(self) -> bool:
        """Take in what there is to hear now, without waiting. Whether it has ended."""
        self.streams.step(0)
        return self.ended

    def hang_up(self) -> None:
        """Have the engine kill it with everything that it has started."""
        self._exchange.hang_up()

    def _follow(self, deadline: float | None) -> bool:
        """Move input and output until it has ended; False when the deadline came first."""
        while not self.ended:
            left = None if deadline is None else deadline - time.monotonic()
            if not self.streams.step(left) and left is not None and left <= 0:
                return False
            if self.streams.at_end and not self.pid:
                self._look_ahead()
        return True

    def _look_ahead(self) -> None:
        """Take in how it was built while the kernel still takes it apart, before the answer comes.

        A child has both pipes until its program runs, and so has the engine until it has done its
        part. So at the end of one the score is as it will stay. An error is left to the answer.
        """
        account = self._exchange.account()
        if account.pid and not account.refused:
            self._take_account(account)

    def _take_answer(self) -> None:
        """Take in one answer of the engine."""
        answer = self._exchange.answer()
        if answer.word == "lost":
            if self.box.tty and self.pid:
                kill_session(self.pid)  # it has a session of its own, which is not the engine's
            self.error = EngineLost(taken=bool(self.pid) or self._exchange.account().taken)
            return
        if answer.word == "failed":
            self.error = refusal(answer.call, answer.number)
        if not self.pid:
            self._take_account(self._exchange.account())
        if answer.word == "exited":
            self.oom_killed = answer.call == "oom"
            if not self.ended:
                self.returncode = answer.number

    def _connect(self) -> None:
        """Connect the child, which waits, to its network. A refusal ends it."""
        if network := self.network:
            self.streams.unwatch(network.fileno())
            try:
                network.connect()
            except (OSError, ValueError) as error:
                if isinstance(error, OSError):
                    explain(error)
                self.error = error

    def _take_account(self, account: Account) -> None:
        """Take in how it was built, or what was refused."""
        self.pid, self.trace = account.pid, account.trace
        self.inodes = self.inodes or account.inodes | _joined(self.box)
        verdict = judge(account, self.box.argv[0])
        self.returncode, self.error = verdict.returncode, verdict.error or self.error
        if verdict.message:
            self.streams.add(2, os.fsencode(verdict.message))

    def _close(self) -> None:
        self._seconds = time.monotonic() - self._began
        self.streams.unwatch(self._exchange.fileno())
        self._exchange.close()
        if self.network:
            self.streams.unwatch(self.network.fileno())
            self.network.close()
        self.streams.close()
        if self.group and self.error:  # the engine may have gone, or had no room for the group
            self.group.remove()


def _group(box: Container, target: Target | None, *, stops: bool) -> "Group | None":
    """The control group of a container with limits. Who enters another is in that one's.

    stops: whether its caller gets a handle, and could stop it. Where nobody does, and the end of
    the first process ends all others, a group fewer will do; but a root may show the groups.
    """
    if target or box.limits is None:
        return None
    from labkit.cgroups.group import make  # only who asks for it pays for its import

    escapes = not box.cloneflags & CLONE_NEWPID
    return make(box.limits, stops=stops or escapes or bool(box.root and box.root.cgroups))


def _network(box: Container, target: Target | None, observer: int | None) -> "Connecting | None":
    """What connects a container to a network of its own. Who is observed is not connected."""
    network = box.on_network
    if target or network is None or observer is not None or not network.is_bridge:
        return None
    from labkit.engine.connecting import Connecting  # only who asks for it pays for its import

    return Connecting(box, network)


def _joined(box: Container) -> dict[str, int]:
    """The namespaces of other containers that `box` shares."""
    joined = {**box.joined}
    if box.joined_network:
        joined["net"] = box.joined_network
    found = {}
    for kind, pid in joined.items():
        with contextlib.suppress(OSError):  # it has ended, and its namespace lives on
            found[kind] = os.stat(f"/proc/{pid}/ns/{kind}").st_ino
    return found


def _path_of(fd: int) -> str:
    """The path of a terminal; "" for one that has none here: it came from an outer container."""
    try:
        return os.ttyname(fd)
    except OSError:
        return ""


def executed(make: Callable[[], Execution], follow: Callable[[Execution], T]) -> T:
    """What `follow` gives of an execution; of a second one, if the engine never took the first.

    A killed process does not die at once. What is sent to it meanwhile is lost with it.
    """
    try:
        return follow(make())
    except EngineLost as lost:
        if lost.taken:
            raise
    return follow(make())
