"""A container's start: what it needs on the host is made, and left to its monitor.

The process that does this may end at once: control group, address and ports belong to the monitor
then. If it ends before, the container does not start.
"""

import contextlib
import json
import os
import select
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from labkit.cgroups import group as groups
from labkit.cgroups.limits import Limits
from labkit.container.container import Container
from labkit.engine import connection
from labkit.engine.exchange import Exchange
from labkit.engine.request import to_build
from labkit.engine.verdict import judge
from labkit.linux.pty import Pty
from labkit.linux.refusal import refusal
from labkit.monitor import record as records
from labkit.monitor import status
from labkit.monitor.address import Monitor
from labkit.monitor.record import Record
from labkit.text.words import Words

if TYPE_CHECKING:
    from labkit.cgroups.group import Group
    from labkit.engine.connecting import Connecting

REFUSED = 125  # exit status of docker run when the container could not be made


class Unrunnable(ValueError):  # noqa: N818 - it says what happened
    """Its program could not be run. status: 127, there is none, or 126, it cannot be executed."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def launch(record: Record, monitor: Monitor, size: tuple[int, int] | None = None) -> None:
    """Start a container. OSError or ValueError: why it could not be.

    size: of its terminal, rows and columns.
    """
    try:
        with contextlib.ExitStack() as stack:
            connection.use(monitor)
            _Launch(record, monitor, stack, size).follow()
        monitor.send("done")
    except BaseException as error:
        with contextlib.suppress(OSError):
            monitor.send(f"void {getattr(error, 'status', REFUSED)}")
        raise


class _Launch:
    """One start. stack: closes what is ours at its end, whether it has come about or not."""

    def __init__(
        self,
        record: Record,
        monitor: Monitor,
        stack: contextlib.ExitStack,
        size: tuple[int, int] | None,
    ) -> None:
        self.record, self.monitor, self.stack = record, monitor, stack
        self.box = _joining(record)
        self.group = self._group()
        theirs, terminal = self._streams(size)
        self.network = self._network()
        self._tell()
        self.exchange = self._asked(theirs, terminal)
        stack.callback(self.exchange.close)
        if self.group:
            self.group.hand_over()
        if self.network:
            self.network.sent()

    def _asked(self, theirs: list[int], terminal: str) -> Exchange:
        """Ask the monitor for the container, as any engine is asked."""
        score = to_build(
            self.box,
            self.group,
            report_start=True,
            observed=False,
            terminal=terminal if self.box.root else "",
            etc=self.network.etc if self.network else None,
        )
        fds = [*theirs, self.network.theirs] if self.network else theirs
        paths = self.group.paths if self.group else []
        return Exchange(score, fds + (self.group.fds if self.group else []), paths)

    def _streams(self, size: tuple[int, int] | None) -> tuple[list[int], str]:
        """Make its streams, and give our ends to the monitor. Its ends, and its terminal's path."""
        options = self.record.settings
        once = int(bool(options.get("stdin_once")))
        words = f"streams {int(self.box.tty)} {once} {int(self._is_to_tidy())}"
        self.monitor.send(f"policy {_policy(options)}")
        if self.box.tty:
            pty = Pty()
            self.stack.callback(pty.close)
            pty.resize(*(size or (24, 80)))
            self.monitor.send(words, [pty.master, pty.slave])
            return [pty.slave] * 3, os.ttyname(pty.slave)
        (out, out_end), (error, error_end) = self._pipe(), self._pipe()
        ours, stdin = [out, error], self._null()
        if options.get("open_stdin"):
            stdin, typed = self._pipe()
            ours.append(typed)
        self.monitor.send(words, ours)
        return [stdin, out_end, error_end], ""

    def _pipe(self) -> tuple[int, int]:
        ends = os.pipe()
        for end in ends:
            self.stack.callback(os.close, end)
        return ends

    def _null(self) -> int:
        fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self.stack.callback(os.close, fd)
        return fd

    def _is_to_tidy(self) -> bool:
        """Whether there is something to do after its end, which the monitor cannot do itself."""
        network = self.box.on_network
        return bool(self.record.settings.get("remove") or (network and network.publish))

    def _group(self) -> "Group | None":
        """Its control group. Without limits it has one too, if it can: pause and top need it."""
        try:
            made = groups.make(self.box.limits or Limits())
        except (OSError, ValueError):
            if self.box.limits is not None:
                raise
            return None
        self.stack.callback(self._drop_group, made)
        self.box = replace(self.box, limits=self.box.limits or Limits())
        return made

    def _drop_group(self, made: "Group") -> None:
        if made.fds:  # it has not been handed over
            made.remove()

    def _network(self) -> "Connecting | None":
        network = self.box.on_network
        if network is None or not network.is_bridge:
            return None
        from labkit.engine.connecting import Connecting  # only who has a network pays for it

        made = Connecting(self.box, network)
        self.stack.callback(made.leave)
        self.monitor.send_many("keep", made.kept())
        return made

    def _tell(self) -> None:
        """What is to stand in the container's folder as long as it runs."""
        about: dict[str, Any] = {}
        if self.group:
            about["group"] = {
                "version": self.group.version,
                "directories": self.group.directories,
            }
        if self.network:
            endpoint = self.network.endpoint
            about["addresses"] = list(endpoint.addresses)
            about["ports"] = [vars(port) for port in endpoint.ports]
        self.monitor.send(f"about {json.dumps(about)}")

    def follow(self) -> None:
        """Connect it to its network when it waits for that, and hear whether its program runs."""
        poll = select.poll()
        poll.register(self.exchange.fileno(), select.POLLIN)
        if self.network:
            poll.register(self.network.fileno(), select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll()]
            if self.exchange.fileno() in ready:
                return self._heard()
            assert self.network  # noqa: S101 - or nothing else would be watched
            poll.unregister(self.network.fileno())
            self.network.connect()

    def _heard(self) -> None:
        answer = self.exchange.answer()
        if answer.word == "failed":
            raise refusal(answer.call, answer.number)
        if answer.word == "lost":
            raise ConnectionError("the monitor was killed")
        verdict = judge(self.exchange.account(), self.box.argv[0])
        if verdict.error:
            raise verdict.error
        if verdict.returncode is not None:
            said = verdict.message.strip().removeprefix("labkit: ")
            raise Unrunnable(said, verdict.returncode)


def _joining(record: Record) -> Container:
    """The container, in the network of the process that another one has now."""
    if not (other := record.options.get("joins")):
        return record.box
    found = status.of(records.find(other))
    if found.word not in ("running", "paused"):
        raise ValueError(
            Words(
                f"容器 {other} 没有在运行，不能进它的网络",
                f"cannot join network of a non running container: {other}",
            )
        )
    return replace(record.box, network=f"container:{found.pid}")


def _policy(options: Mapping[str, Any]) -> str:
    """The restart policy, in the words that the monitor takes."""
    name, _, most = str(options.get("restart") or "no").partition(":")
    return f"{name} {int(most or 0)}"
