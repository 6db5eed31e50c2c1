"""The monitor of one container: an engine with an address, a log, and a lock that says it lives.

It is started as the engine is, as a bare Python. `labkit/monitor/__init__.py` has the protocol.
What its container is doing is its `state`::

    idle -- streams --> armed -- request --> running -- its end --> ended -- all read --> gone
                          ^                                           |
                          `----------- streams ------- waiting <------'  (a restart policy)
"""

import _signal  # type: ignore[import-not-found]
import _socket
import fcntl
import gc
import os
import struct
import sys
import time

from labkit.engine import descriptors
from labkit.engine.job import Job, failed, insisted
from labkit.engine.loop import Engine, set_signals
from labkit.engine.orphans import keep
from labkit.linux.door import NUMBERS, syscall
from labkit.monitor import events
from labkit.monitor.lines import LogFile, moment
from labkit.monitor.streams import Input, Output, Source, Writer

TYPE_CHECKING = False  # importing typing would be a third of the monitor's start
if TYPE_CHECKING:
    from collections.abc import Callable

_PACKET, _FDS = 1 << 17, 250
_FIRST_DELAY, _LONGEST_DELAY, _LONG_RUN = 0.1, 60.0, 10.0  # seconds, as Docker has them
_LINGER = 10.0  # seconds for who is attached to read what is left
_PR_SET_CHILD_SUBREAPER, _TIOCSWINSZ = 36, 0x5414


class Client:
    """One connection, and what it has asked for. ends: of pipes, by the letters i, o, e."""

    def __init__(self, sock: _socket.socket) -> None:
        self.sock = sock
        self.waits = self.tidies = False
        self.ends: dict[str, int] = {}
        self.readers: list[Writer] = []
        self.typing: Source | None = None

    def send(self, text: bytes, fds: "tuple[int, ...]" = ()) -> bool:
        """Tell it something. False: it is gone, or does not read what it is told."""
        return insisted(descriptors.send, self.sock, text, fds, _socket.MSG_DONTWAIT)


class Monitor(Engine):
    """The engine of one container. main: its job. launcher: the client that is starting it."""

    main: Job | None = None
    launcher: Client | None = None
    input: Input | None = None
    timer: "tuple[float, Callable[[], None]] | None" = None

    def __init__(self, arguments: list[str], keeper: int) -> None:
        self.folder, self.project = arguments[:2]
        self.lock, listening, client = map(int, arguments[2:])
        super().__init__(_stream(listening), keeper, keeper)
        self.log = LogFile(f"{self.folder}/log")
        self.state, self.facts, self.about, self.status = "idle", "", "null", 0
        self.clients: dict[int, Client] = {}
        self.outputs: list[Output] = []
        self.kept: list[int] = []  # descriptors that stay open as long as the container runs
        self.named: dict[str, list[int]] = {}  # those of them that somebody may take back
        self.terminal = -1
        self.helper = 0  # the process that is to start it again
        self.called = ""  # its attributes in events, as JSON
        self.health: tuple[float, ...] = ()  # how often its health is checked
        self.checked = "starting"  # what came of that
        self.policy, self.most, self.tidies = "no", 0, False
        self.by_hand = self.void = self.leaving = self.once = False
        self.restarts, self.began, self.delay = 0, 0.0, _FIRST_DELAY
        self.boot = _boot()
        self.launcher = self.welcome(_stream(client))

    # --- The loop -------------------------------------------------------------------------------

    def patience(self) -> float | None:
        """As long as until the time that has been set."""
        return None if self.timer is None else max(0, self.timer[0] - time.monotonic())

    def run(self) -> None:
        """Serve until the container has ended, or nobody starts it."""
        while not self.leaving:
            self.step()
            if self.timer and time.monotonic() >= self.timer[0]:
                due, self.timer = self.timer[1], None
                due()
        self.end()

    def end(self) -> None:
        """Kill what still runs, and end. That is not what a restart policy is about."""
        self.by_hand = True
        super().end()

    def at(self, seconds: float, due: "Callable[[], None]") -> None:
        """Call `due` in so many seconds, and nothing else that was to be called."""
        self.timer = (time.monotonic() + seconds, due)

    def accept(self) -> None:
        """Welcome a client."""
        fd, _ = self.control._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - accept4(2)
        self.welcome(_stream(fd))

    def welcome(self, sock: _socket.socket) -> Client | None:
        """Listen to a client; None: we cannot."""
        client = self.clients[sock.fileno()] = Client(sock)
        try:
            self.watch(sock.fileno(), lambda: self.hear(client))
        except (OSError, MemoryError) as error:
            self.refuse(client, error)
            return None
        return client

    def refuse(self, client: Client, error: OSError | MemoryError) -> None:
        """We were refused what a client has asked for: it hears of that, and is served no more."""
        client.send(failed(error))
        self.forget_client(client)

    def hear(self, client: Client) -> None:
        """Do what a client asks for. A request of the engine's begins with a NUL."""
        try:
            data, fds = descriptors.receive(client.sock, _PACKET, _FDS)
        except ConnectionError:
            data, fds = b"", []
        try:
            if not data:
                self.forget_client(client)
            elif data[0] == 0:
                self.asked(data, fds)
            else:
                word, _, rest = data.decode(errors="surrogateescape").partition(" ")
                getattr(self, f"do_{word}")(client, rest, fds)
        except (AttributeError, LookupError, ValueError):
            # No words of ours, or no room for their descriptors: that is the client's end.
            self.forget_client(client)
        except (OSError, MemoryError) as error:
            self.refuse(client, error)

    def forget_client(self, client: Client) -> None:
        """A client is gone: so is what it was attached to."""
        if self.clients.pop(client.sock.fileno(), None) is None:
            return
        self.unwatch(client.sock.fileno())
        client.sock.close()
        if self.launcher is client:
            self.launcher = None
        self.let_go(client)
        for output in self.outputs:
            output.go_on()
        self.settle()

    # --- What clients ask for -------------------------------------------------------------------

    def do_streams(self, client: Client, words: str, fds: list[int]) -> None:
        """Have our ends of its streams: stdout, stderr, and stdin. A terminal comes later."""
        tty, once, tidies = map(int, words.split())
        if self.state not in ("idle", "waiting") or len(fds) < 2 * (not tty):
            raise ValueError(words)
        self.restarts += self.state == "waiting"
        self.helper = 0
        self.state, self.launcher, self.timer, self.tidies = "armed", client, None, bool(tidies)
        self.by_hand = self.void = False
        self.once = bool(once and not tty)  # who leaves a terminal may come back
        if not tty:
            self.take_ends(fds)

    def do_terminal(self, _: Client, __: str, fds: list[int]) -> None:
        """Have both ends of its terminal, which it may have made only now.

        With its other end open it never is at its end.
        """
        if self.state not in ("armed", "running") or len(fds) < 2 or self.terminal >= 0:
            raise ValueError(fds)
        self.terminal = fds[0]
        self.kept += fds
        self.take_ends([os.dup(fds[0]), -1, os.dup(fds[0])])

    def take_ends(self, fds: list[int]) -> None:
        """Read and write at our ends of the container's streams, for all who are attached."""
        self.outputs = [
            Output(self, fd, name, self.log, self.settle)
            for fd, name in zip(fds, ("stdout", "stderr"), strict=False)
            if fd >= 0
        ]
        self.input = Input(self, fds[2], once=self.once) if fds[2:] else None
        for other in self.clients.values():
            self.connect(other)

    def do_keep(self, _: Client, name: str, fds: list[int]) -> None:
        """Keep descriptors open as long as the container runs: locks and reserved ports.

        name: of what they are for, if that can end before.
        """
        self.kept += fds
        if name:
            self.named[name] = self.named.get(name, []) + fds

    def do_drop(self, _: Client, name: str, __: list[int]) -> None:
        """Close what was kept for that."""
        for fd in self.named.pop(name, []):
            self.kept.remove(fd)
            os.close(fd)

    def do_about(self, _: Client, text: str, __: list[int]) -> None:
        """Note what is to stand in the folder, as JSON."""
        self.about = text

    def do_called(self, _: Client, attributes: str, __: list[int]) -> None:
        """Have its name, image and labels, for events."""
        self.called = attributes

    def do_log(self, _: Client, words: str, __: list[int]) -> None:
        """Bound the log: bytes of a file, 0 for no bound; and how many files, 0 for no log."""
        self.log.bound(*map(int, words.split()))

    def do_health(self, _: Client, words: str, __: list[int]) -> None:
        """Check its health: each so many seconds; of the first so many, each so many."""
        self.health, self.checked = tuple(map(float, words.split())), "starting"

    def do_checked(self, _: Client, state: str, __: list[int]) -> None:
        """What a check of its health has found."""
        if state != self.checked:
            self.tell_event(f"health_status: {state}")
        self.checked = state

    def do_policy(self, _: Client, words: str, __: list[int]) -> None:
        """Have another restart policy."""
        name, most = words.split()
        self.policy, self.most = name, int(most)

    def asked(self, data: bytes, fds: list[int]) -> None:
        """Start the container; or, when it runs, one more process in it."""
        job = self.take(data, fds)
        insisted(os.chdir, "/")
        if self.state == "armed" and job.pid > 0:
            self.main, self.state = job, "running"

    def do_done(self, _: Client, __: str, ___: list[int]) -> None:
        """The launcher has seen the container run, and has nothing more to say."""
        self.launcher = None
        self.settle()

    def do_void(self, _: Client, status: str, __: list[int]) -> None:
        """It could not be started: it does not count as started, and no policy tries again."""
        self.by_hand = self.void = True
        self.launcher, self.status = None, int(status)
        if self.main:
            self.main.kill()
        else:
            self.end_run(b"")

    def do_attach(self, client: Client, letters: str, fds: list[int]) -> None:
        """Connect a client's ends with the container's streams, now or when it has any."""
        if len(letters) == len(fds):
            client.ends = dict(zip(letters, fds, strict=True))
            self.connect(client)
        else:  # there was no room for all of them
            for fd in fds:
                os.close(fd)
            self.forget_client(client)

    def do_wait(self, client: Client, _: str, __: list[int]) -> None:
        """Tell a client of the end."""
        client.waits = True

    def do_tidy(self, client: Client, _: str, __: list[int]) -> None:
        """Tell a client of the end, and leave the folder to it."""
        client.waits = client.tidies = True

    def do_pidfd(self, client: Client, _: str, __: list[int]) -> None:
        """Give the pidfd of its first process."""
        fd = self.main.pidfd if self.main else -1
        if not client.send(b"pidfd", (fd,) * (fd >= 0)):
            self.forget_client(client)  # it waits for this

    def do_signal(self, _: Client, number: str, __: list[int]) -> None:
        """Send its first process a signal."""
        if self.main and self.main.pidfd >= 0:
            if int(number) == _signal.SIGKILL:
                self.main.kill()  # if it is paused, it dies all the same
            else:
                insisted(_signal.pidfd_send_signal, self.main.pidfd, int(number))

    def do_stop(self, client: Client, number: str, fds: list[int]) -> None:
        """The same, of somebody who wants it to end: no policy starts it again."""
        self.by_hand = True
        self.do_signal(client, number, fds)
        if self.state == "waiting":
            self.settle()

    def do_resize(self, client: Client, words: str, _: list[int]) -> None:
        """Set the size of its terminal."""
        if self.main and self.terminal >= 0:
            size = struct.pack("4H", *map(int, words.split()), 0, 0)
            insisted(fcntl.ioctl, self.terminal, _TIOCSWINSZ, size)
        client.send(b"resized")

    # --- Who is attached ------------------------------------------------------------------------

    def connect(self, client: Client) -> None:
        """Connect what a client is attached with, if the container has its streams."""
        if self.state not in ("armed", "running"):
            return
        for output, letter in zip(self.outputs, "oe", strict=False):
            if letter in client.ends:
                client.readers.append(output.attach(os.dup(client.ends[letter])))
        if "i" in client.ends and self.input:
            client.typing = self.input.attach(os.dup(client.ends["i"]))

    def disconnect(self, client: Client) -> None:
        """Undo that."""
        for reader in client.readers:
            reader.close()
        client.readers = []
        if self.input and client.typing:
            self.input.detach(client.typing)
        client.typing = None

    def let_go(self, client: Client) -> None:
        """Close a client's ends: it reads that the output is at its end."""
        self.disconnect(client)
        for fd in client.ends.values():
            os.close(fd)
        client.ends = {}

    # --- What becomes of the container ----------------------------------------------------------

    def hang_up(self, job: Job) -> None:
        """Who has asked for a process is gone. The process is not: it belongs to the container."""
        self.unwatch(job.channel.fileno())

    def report_started(self, job: Job) -> None:
        """The program runs: from now on the folder says so."""
        if job is self.main:
            self.began = time.monotonic()
            self.note(f'"started": "{moment()}"', job.pid)
            self.tell_event("start")
            self.check_later()
        super().report_started(job)

    def note(self, started: str, pid: int) -> None:
        """Write down that it runs, or was to run."""
        facts = [f'"pid": {pid}', f'"monitor": {os.getpid()}', f'"boot": "{self.boot}"', started]
        facts += [f'"restarts": {self.restarts}', f'"about": {self.about}']
        self.facts = ", ".join(facts)
        _replace(f"{self.folder}/run.json", f"{{{self.facts}}}\n")

    def tell_event(self, action: str, more: str = "") -> None:
        """Note an event. more: further attributes, as JSON."""
        state, _, identity = self.folder.rpartition("/containers/")
        attributes = ",".join(filter(None, (more, self.called)))
        events.note(state, "container", action, identity, attributes)

    def tell(self, job: Job, text: bytes, fds: "tuple[int, ...]" = ()) -> None:
        """Tell the one who asked for it; and of the container's end, everybody."""
        ended = job is self.main and not text.startswith(b"started")
        if ended:
            self.main = None
            words = text.split()
            number = int(words[1]) if words[0] == b"exited" else -_signal.SIGKILL
            if not self.void:
                self.status = number if number >= 0 else 128 - number
        super().tell(job, text, fds)
        if ended:
            self.end_run(b"".join(words[2:]))

    def end_run(self, reason: bytes) -> None:
        """The container has ended, or was not started: note it, and read what it has left."""
        for output in self.outputs:
            output.finish()
        if not self.facts:
            self.note('"started": ""', 0)
        self.state = "ended"
        facts = [self.facts, f'"finished": "{moment()}"', f'"code": {self.status}']
        facts += [f'"oom": {_json(reason == b"oom")}', f'"void": {_json(self.void)}']
        facts += [f'"restarting": {_json(self.again())}']
        _replace(f"{self.folder}/run.json", f"{{{', '.join(facts)}}}\n")
        if not self.void:
            self.tell_end(oom=reason == b"oom")
        if self.input:
            self.input.close()
        self.input = None
        self.at(_LINGER, self.drop)
        self.settle()

    def tell_end(self, *, oom: bool) -> None:
        """Note the events of its end."""
        if oom:
            self.tell_event("oom")
        lasted = int(time.monotonic() - self.began)
        self.tell_event("die", f'"execDuration":"{lasted}","exitCode":"{self.status}"')

    def again(self) -> bool:
        """Whether the policy says that it is to be started again."""
        if self.by_hand or self.policy == "no":
            return False
        if self.policy == "on-failure":
            return self.status != 0 and (not self.most or self.restarts < self.most)
        return True

    def drop(self) -> None:
        """Who is attached has read nothing for long: wait for it no longer."""
        for output in self.outputs:
            output.drop()
        self.settle()

    def settle(self) -> None:
        """Decide what comes next, when nobody is at work on it: another run, or the end."""
        if self.launcher or self.main or self.leaving:
            return
        if self.state == "ended" and all(output.done for output in self.outputs):
            self.give_back()
            self.wait_for_next_run() if self.again() else self.part()
        elif self.state == "waiting" and self.by_hand:
            self.part()
        elif self.state in ("idle", "armed"):  # its launcher has died
            self.leaving = True

    def give_back(self) -> None:
        """Close what was kept open for the container."""
        for client in self.clients.values():
            self.disconnect(client)
        for fd in self.kept:
            os.close(fd)
        self.outputs, self.kept, self.terminal, self.timer = [], [], -1, None
        self.named = {}

    def wait_for_next_run(self) -> None:
        """Start it again, the later the more often it has ended soon."""
        self.state = "waiting"
        if time.monotonic() - self.began > _LONG_RUN:
            self.delay = _FIRST_DELAY
        self.at(self.delay, lambda: self.help("again"))
        self.delay = min(self.delay * 2, _LONGEST_DELAY)

    def part(self) -> None:
        """Tell everybody how it ended, and leave. Who tidies up gets the folder's lock."""
        self.state = "gone"
        for client in self.clients.values():
            self.let_go(client)
        told = b"exited %d" % self.status
        heirs = (each for each in self.clients.values() if each.tidies)
        heir = next((each for each in heirs if each.send(told, (self.lock,))), None)
        for client in self.clients.values():
            if client.waits and client is not heir:
                client.send(told)
        if heir or not self.tidies:
            self.leaving = True
        else:
            self.help("tidy")

    def check_later(self) -> None:
        """Check its health after a while, if that is wanted. What is running is not waited for."""
        if not self.health or self.state != "running":
            return
        usual, beginning, soon = self.health
        is_early = self.checked == "starting" and time.monotonic() - self.began < beginning
        self.at(soon if is_early else usual, self.check)

    def check(self) -> None:
        """Check its health, by a process that can do more than we can."""
        if self.state == "running":
            pid = self.spawn("checking", "health", "-1")
            if not self.hear_of(pid, lambda _: self.check_later()):
                self.check_later()

    def help(self, what: str) -> None:
        """Start a process that is left what comes next: `after.py`. It has the folder's lock."""
        insisted(os.set_inheritable, self.lock, True)
        self.helper = self.spawn("after", what, f"{self.lock}")
        insisted(os.set_inheritable, self.lock, False)
        if not self.hear_of(self.helper, self.help_is_over):
            self.help_is_over(self.helper)

    def spawn(self, module: str, what: str, lock: str) -> int:
        """Start `after.py` or `checking.py`; its PID, or 0 if that is refused again and again."""
        program = f"import sys; sys.path.insert(0, {self.project!r})"
        program += f"; from labkit.monitor import {module}; {module}.main()"
        words = [sys.executable, "-I", "-c", program, what, self.folder, lock]
        begun: list[int] = []
        insisted(lambda: begun.append(os.posix_spawn(words[0], words, os.environ, setsigmask=[])))
        self.others.update(begun)
        return sum(begun)

    def hear_of(self, pid: int, ended: "Callable[[int], None]") -> bool:
        """Have `ended` called with a process's PID at its end. False: nobody will call it."""
        return pid > 0 and insisted(self.watch_end, pid, ended)

    def watch_end(self, pid: int, ended: "Callable[[int], None]") -> None:
        """As `hear_of`. Raises OSError."""
        pidfd = os.pidfd_open(pid)

        def gone() -> None:
            self.unwatch(pidfd)
            os.close(pidfd)
            os.waitpid(pid, 0)
            self.others.discard(pid)
            ended(pid)

        try:
            self.watch(pidfd, gone)
        except OSError:
            os.close(pidfd)
            raise

    def help_is_over(self, pid: int) -> None:
        """A process that helps has ended, or there is none (0)."""
        self.leaving = self.leaving or self.state == "gone"
        if self.helper == pid and self.state == "waiting":  # it could not even begin
            self.by_hand = True
        self.settle()


def _stream(fd: int) -> _socket.socket:
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fd)


def _json(value: bool) -> str:
    return "true" if value else "false"


def _boot() -> str:
    """The number of this boot of the machine."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def _replace(path: str, text: str) -> None:
    """Replace a file whole. If it is refused again and again, the container goes on without."""
    insisted(_write, path, text)


def _write(path: str, text: str) -> None:
    with open(f"{path}.new", "w", errors="surrogateescape") as file:
        file.write(text)
    os.rename(f"{path}.new", path)


def _be_alone(fd: int) -> None:
    """Have nothing open that our caller has left to its programs, and keep no directory busy."""
    os.chdir("/")
    os.closerange(3, fd)
    os.closerange(fd + 1, os.sysconf("SC_OPEN_MAX"))
    os.set_inheritable(fd, False)


def _told(client: int) -> list[str]:
    """Which container it is: its folder, our project, and three descriptors, first its lock.

    Nothing: who has started us needs no monitor.
    """
    sock = _stream(client)
    try:
        text, fds = descriptors.receive(sock, _PACKET, 2)
    except ConnectionError:
        return []
    finally:
        sock.detach()
    return [*os.fsdecode(text).split("\0"), *map(str, (*fds, client))] if len(fds) > 1 else []


def main() -> None:
    """Look after a container; which one, we are told on a socket: `ahead.py`."""
    client = int(sys.argv[1])
    _be_alone(client)
    set_signals()
    syscall(NUMBERS["prctl"], _PR_SET_CHILD_SUBREAPER, 1)
    arguments = _told(client)
    if not arguments:
        return
    keeper = os.getpid()
    engine = os.fork()
    if engine:
        for fd in map(int, arguments[3:]):  # the lock stays: nobody has the folder before our end
            os.close(fd)
        keep(engine)
        return
    syscall(NUMBERS["prctl"], _PR_SET_CHILD_SUBREAPER, 1)  # a fork does not inherit it
    if os.getppid() == keeper:
        gc.freeze()
        Monitor(arguments, keeper).run()
