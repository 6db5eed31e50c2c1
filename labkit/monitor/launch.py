"""A container's start: what it needs on the host is made, and left to its monitor.

The process that does this may end at once: control group, address and ports belong to the monitor
then. If it ends before, the container does not start.
"""

import os
import select
from _collections_abc import Callable, Mapping

from labkit.cgroups import group as groups
from labkit.cgroups.limits import Limits
from labkit.container.container import Container
from labkit.container.devices import INSIDE
from labkit.engine import connection
from labkit.engine.exchange import Exchange
from labkit.engine.request import born_in, to_build
from labkit.engine.verdict import judge
from labkit.linux.fields import replace
from labkit.linux.files import ioctl
from labkit.linux.flags import TIOCGPTPEER
from labkit.linux.refusal import refusal
from labkit.monitor import health, status
from labkit.monitor import record as records
from labkit.monitor.address import Monitor
from labkit.monitor.record import Record, called
from labkit.python import contextlib, json
from labkit.python.functools import partial
from labkit.python.typing import TYPE_CHECKING, Any
from labkit.text.words import Words

if TYPE_CHECKING:
    from labkit.cgroups.group import Group
    from labkit.engine.connecting import Connecting
    from labkit.engine.inner_pty import InnerPty
    from labkit.network.network import Network

_IN_ETC = ("ExtraHosts", "Dns", "DnsSearch", "DnsOptions")  # options of docker run
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
    """One start. stack: closes what is ours at its end, whether it has come about or not.

    awaited: the terminal that the container is to make.
    """

    awaited: "InnerPty | None" = None

    def __init__(
        self,
        record: Record,
        monitor: Monitor,
        stack: contextlib.ExitStack,
        size: tuple[int, int] | None,
    ) -> None:
        self.record, self.monitor, self.stack = record, monitor, stack
        self.box, self.networks = _on_networks(_joining(record), record)
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
        if self.awaited:
            self.awaited.give_away()

    def _asked(self, theirs: list[int], terminal: str) -> Exchange:
        """Ask the monitor for the container, as any engine is asked."""
        score = to_build(
            self.box,
            self.group,
            report_start=True,
            observed=False,
            terminal=terminal if self.box.root else "",
            etc=self.network.etc if self.network else _files(self.box, self.record),
            connected=self.network is not None,
        )
        fds = [*theirs, self.network.theirs] if self.network else theirs
        paths = self.group.paths if self.group else []
        with born_in(self.box) as joined:
            fds = [*fds, *joined, *(self.group.fds if self.group else [])]
            return Exchange(score, fds, paths)

    def _streams(self, size: tuple[int, int] | None) -> tuple[list[int], str]:
        """Make its streams, and give our ends to the monitor. Its ends, and its terminal's path."""
        options = self.record.settings
        once = int(bool(options.get("stdin_once")))
        words = f"streams {int(self.box.tty)} {once} {int(self._is_to_tidy())}"
        self.monitor.send(f"policy {_policy(options)}")
        self.monitor.send(f"called {called(self.record)}")
        self.monitor.send(f"log {_bounds(options)}")
        if rhythm := health.rhythm(self.record):
            self.monitor.send(f"health {rhythm}")
        if self.box.tty:
            self.monitor.send(words)
            return self._terminal(size or (24, 80))
        (out, out_end), (error, error_end) = self._pipe(), self._pipe()
        ours, stdin = [out, error], self._null()
        if options.get("open_stdin"):
            stdin, typed = self._pipe()
            ours.append(typed)
        self.monitor.send(words, ours)
        return [stdin, out_end, error_end], ""

    def _terminal(self, size: tuple[int, int]) -> tuple[list[int], str]:
        """Make its terminal, or be ready for the one that it makes."""
        from labkit.engine.inner_pty import InnerPty, pty_for  # only who has a terminal

        pty = pty_for(self.box)
        self.stack.callback(pty.close)
        pty.resize(*size)
        if isinstance(pty, InnerPty):
            self.awaited = pty
            return [pty.slave] * 3, INSIDE
        self.monitor.send("terminal", [pty.master, pty.slave])
        return [pty.slave] * 3, os.ttyname(pty.slave)

    def _arrive(self, pty: "InnerPty") -> None:
        """Take the terminal that it has made, and give it to the monitor."""
        if pty.arrive():
            flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
            slave = ioctl(pty.master, TIOCGPTPEER, flags)
            self.stack.callback(os.close, slave)
            self.monitor.send("terminal", [pty.master, slave])
            pty.go_on()

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
        published = any(network.publish for network in self.networks)
        return bool(self.record.settings.get("remove") or published)

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
        if not self.networks:
            return None
        from labkit.engine.connecting import Connecting  # only who has a network pays for it

        first, *more = self.networks
        made = Connecting(self.box, first, more, self.record.id)
        self.stack.callback(made.leave)
        for name, fds in made.kept():
            self.monitor.send_many(f"keep {name}", fds)
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
            about["addresses"] = list(self.network.addresses)
            about["ports"] = [vars(port) for port in self.network.ports]
        self.monitor.send(f"about {json.dumps(about)}")

    def follow(self) -> None:
        """Do what it waits for, its network and its terminal, and hear whether its program runs."""
        poll = select.poll()
        poll.register(self.exchange.fileno(), select.POLLIN)
        waited_for: dict[int, Callable[[], object]] = {}
        if self.network:
            waited_for[self.network.fileno()] = self.network.connect
        if self.awaited:
            waited_for[self.awaited.fileno()] = partial(self._arrive, self.awaited)
        for fd in waited_for:
            poll.register(fd, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll()]
            if self.exchange.fileno() in ready:
                return self._heard()
            for fd in ready:
                poll.unregister(fd)
                waited_for[fd]()

    def _heard(self) -> None:
        answer = self.exchange.answer()
        if answer.word == "failed":
            raise refusal(answer.call, answer.number)
        if answer.word == "lost":
            raise self.monitor.why()
        verdict = judge(self.exchange.account(), self.box.argv[0])
        if verdict.error:
            raise verdict.error
        if verdict.returncode is not None:
            said = verdict.message.strip().removeprefix("labkit: ")
            raise Unrunnable(said, verdict.returncode)


def _joining(record: Record) -> Container:
    """The container, in the namespaces of the processes that others have now."""
    pids = {kind: _pid_of(kind, other) for kind, other in record.options.get("joins", {}).items()}
    box = record.box
    if "network" in pids:
        box = replace(box, network=f"container:{pids.pop('network')}")
    return replace(box, joins=pids) if pids else box


def _pid_of(kind: str, other: str) -> int:
    """The first process of a container whose namespace is joined, by its ID."""
    record = records.find(other)
    found = status.of(record)
    if found.word in ("running", "paused"):
        if kind == "ipc":
            _check_shareable(record)
        return found.pid
    if kind == "network":
        raise ValueError(
            Words(
                f"容器 {other} 没有在运行，不能进它的网络",
                f"cannot join network of a non running container: {other}",
            )
        )
    raise ValueError(
        Words(
            f"容器 {other} 没有在运行，不能进它的 {kind.upper()} 命名空间",
            f"failed to join {kind.upper()} namespace: container {other} is not running",
        )
    )


def _check_shareable(record: Record) -> None:
    if record.asked.get("HostConfig", {}).get("IpcMode") == "private":
        raise ValueError(
            Words(
                f"容器 {record.name} 的 IPC 不给别人用：造它的时候要写 --ipc shareable",
                f"failed to join IPC namespace: container {record.id}: non-shareable IPC (hint: "
                "use IpcMode:shareable for the donor container)",
            )
        )


def _on_networks(box: Container, record: Record) -> "tuple[Container, list[Network]]":
    """A container on the networks that it is connected to by now."""
    found = _networks(box, record)
    if found:
        box = replace(box, network=found[0])
    elif box.on_network and box.on_network.is_bridge:  # it was disconnected
        box = replace(box, network="none")
    return box, found


def _networks(box: Container, record: Record) -> "list[Network]":
    """The networks that it is to be on. ValueError: one was removed."""
    if box.on_network is None or not box.on_network.is_bridge:
        return []
    from labkit.monitor import networks  # only who has a network pays for it

    found = networks.of(record)
    for each in found:
        networks.check(each.name)
    return found


def _files(box: Container, record: Record) -> dict[str, str] | None:
    """The files in /etc of a container without a bridge, where they are not as usual.

    Those of a container whose network it shares say the same as that one's.
    """
    asked = record.asked.get("HostConfig", {})
    if box.root is None or not (box.joined_network or any(map(asked.get, _IN_ETC))):
        return None
    from labkit.monitor import connecting

    if not box.joined_network:
        return connecting.files_without(record)
    found = {}
    for name in ("hosts", "resolv.conf"):
        with contextlib.suppress(OSError):  # it has none
            found[name] = connecting.read(box.joined_network, name)
    return found


def _bounds(options: Mapping[str, Any]) -> str:
    """How long the log may be, in the words that the monitor takes."""
    if options.get("log_driver") == "none":
        return "0 0"
    most, files = options.get("log_bounds") or (0, 1)
    return f"{most} {files}"


def _policy(options: Mapping[str, Any]) -> str:
    """The restart policy, in the words that the monitor takes."""
    name, _, most = str(options.get("restart") or "no").partition(":")
    return f"{name} {int(most or 0)}"
