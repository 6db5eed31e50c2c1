"""This process's engines: they are started at the first request, and end with the process.

There are two at most. One runs as the user that this process runs as. The other serves requests
within ``with rootless():``; it is root of a user namespace of its own. A fork of this process is
another caller: it gets engines of its own.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import atexit
import errno
import os
import select
from _collections_abc import Iterator, Sequence
from _thread import allocate_lock

from labkit.container.user_namespace import maker
from labkit.engine import descriptors
from labkit.engine.boot import bare_python
from labkit.engine.layout import AGAIN, REQUEST
from labkit.engine.score import Score
from labkit.engine.scores import Memory, Scores
from labkit.linux import proc
from labkit.linux.namespaces import inodes, own_proc
from labkit.linux.refusal import Asked, refusal
from labkit.python import contextlib
from labkit.python.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from subprocess import Popen

_ANSWER = 4096  # bytes: more than any answer has
_PATIENCE = 1000  # milliseconds that an engine may take to close all it has


class EngineProcess:
    """One engine process, as its caller sees it. replaceable: whether another one would do."""

    replaceable = True

    def __init__(self, *, session: bool = True, rootless: bool = False) -> None:
        """Start it.

        session: in a session of its own, which the terminal's Ctrl-C does not reach; else in the
        caller's job. rootless: as root of a new user namespace. Raises OSError if that is refused.
        """
        self._lock, self.scores = allocate_lock(), Scores()
        self._pid = 0
        own_proc()  # or the engine could neither see its containers nor write their maps
        self._socket, theirs = _pair()
        try:
            self._process = _begun((theirs.fileno(), os.getpid(), int(rootless)), session=session)
        except OSError:
            self._socket.close()
            raise
        finally:
            theirs.close()
        self._session = session
        try:
            # The namespaces that it never leaves. Without a keeper or before it is told from it, it
            # is in those that we started it in.
            self.inodes = inodes(self.pid if rootless else self._process.pid)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Its process, when it has begun. Raises what was refused to it.

        It is a child of the process that we started, its keeper, which kills what it leaves when it
        is killed itself.
        """
        with self._lock:
            if not self._pid:
                with Asked(f"recv({self._socket.fileno()})"):
                    number, _, word = self._socket.recv(_ANSWER).decode().partition(" ")
                if number != "0":
                    raise refusal(word, int(number or errno.EPIPE))
                self._pid = int(word)
            return self._pid

    @property
    def keeper(self) -> int:
        """The process that we started."""
        return self._process.pid

    def gone(self) -> bool:
        """Whether it has ended. A process that ends closes all it has, in any order."""
        with self._lock, Asked("poll()"):
            if self._socket.fileno() < 0:  # somebody else has seen it and cleaned up
                return True
            watch = select.poll()
            watch.register(self._socket, 0)  # POLLHUP is always told
            return bool(watch.poll(_PATIENCE))

    def request(self, score: Score, fds: Sequence[int], groups: Sequence[str]) -> _socket.socket:
        """Send a request with its descriptors. Returns the channel for the answers.

        groups: what the last of `fds` are.
        """
        memory = score.place(self.scores)
        ours, theirs = _pair()
        try:
            self._send(memory, theirs.fileno(), fds, groups)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours

    def _send(
        self, memory: Memory, channel: int, fds: Sequence[int], groups: Sequence[str]
    ) -> None:
        cwd = os.open(".", os.O_PATH | os.O_DIRECTORY)
        try:
            sent = [channel, *[memory.fd] * (memory.kind != AGAIN), cwd, *fds]
            number = self._socket.fileno()
            about = memory.address, memory.size, memory.kind, len(sent)
            with self.scores.dropped() as dropped, Asked(f"sendmsg({number}, SCM_RIGHTS)"):
                told = REQUEST.pack(*about, dropped) + os.fsencode("\0".join(groups))
                descriptors.send(self._socket, told, sent)
        finally:
            os.close(cwd)
        memory.sent()

    def close(self) -> None:
        """End it and its containers, and wait until they are gone."""
        self.scores.forget()
        with self._lock:
            self._socket.close()
        self._process.wait()

    def clean_up_after_kill(self) -> None:
        """Kill what an engine that was killed has left, and reap the engine."""
        self.scores.forget()
        with self._lock:
            self._socket.close()
        # The kernel killed the containers' first processes with it (PR_SET_PDEATHSIG). Its keeper
        # kills the others and ends. If that was killed too, most of them are still in its session.
        if self._process.wait() and self._session:
            kill_session(self._process.pid)

    def forget_after_fork(self) -> None:
        """Close our copy of its socket: this is a fork of the caller, not the engine's parent."""
        self.scores.forget()
        self._socket.close()
        self._process.returncode = 0


def _begun(numbers: tuple[int, int, int], *, session: bool) -> "Popen[bytes]":
    """The engine's process; numbers: what it is told, its end of the socket pair first."""
    import subprocess  # a monitor is an engine too, and is started otherwise

    with Asked("fork"):
        return subprocess.Popen(
            bare_python("engine.loop", *map(str, numbers), str(int(session))),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[numbers[0]],
            start_new_session=session,
        )


def _pair() -> tuple[_socket.socket, _socket.socket]:
    """Two sockets of the half of that module that is written in C: there is one pair a request."""
    with Asked("socketpair(AF_UNIX, SOCK_SEQPACKET)"):
        return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)


def kill_session(session: int) -> None:
    """Kill every process in a session, until none is left."""
    below = proc.depth()
    found = True
    while found:  # and look again: one of them may have forked meanwhile
        names = filter(str.isdigit, os.listdir("/proc"))
        found = bool([name for name in names if _killed(session, name, below)])


def _killed(session: int, name: str, below: int) -> bool:
    """Kill the process that this /proc calls `name`, if it is in `session`. Whether it was.

    below: how many PID namespaces we are below that of this /proc. The process's directory serves
    as a pidfd. The kernel sends nothing to a process outside our PID namespace, where the number
    of our session may mean another.
    """
    with contextlib.suppress(OSError):
        folder = os.open(f"/proc/{name}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            lines = proc.status(name)
            sessions = lines["NSsid"].split()[below:]
            if sessions[:1] == [str(session)] and lines["State"][0] not in "ZX":
                _signal.pidfd_send_signal(folder, _signal.SIGKILL)
                return True
        finally:
            os.close(folder)
    return False


class _Current:
    """The engines that this process has: whether rootless -> engine."""

    def __init__(self) -> None:
        self.engines: dict[bool, EngineProcess] = {}
        self.lock = allocate_lock()

    def get(self) -> EngineProcess:
        """The engine for this thread's requests. It is started if there is none."""
        with self.lock:
            wanted = is_rootless()
            if wanted not in self.engines:
                self.engines[wanted] = EngineProcess(rootless=wanted)
            return self.engines[wanted]

    def drop(self, engine: EngineProcess) -> None:
        with self.lock:
            for which, known in [*self.engines.items()]:
                if known is engine:
                    del self.engines[which]
                    engine.clean_up_after_kill()

    def close(self) -> None:
        with self.lock:
            for engine in self.engines.values():
                engine.close()
            self.engines.clear()

    def forked(self) -> None:
        for engine in self.engines.values():
            engine.forget_after_fork()
        self.engines, self.lock = {}, allocate_lock()


_current = _Current()
atexit.register(_current.close)
os.register_at_fork(after_in_child=_current.forked)


@contextlib.contextmanager
def rootless() -> Iterator[None]:
    """Within the block, an engine that is root of a new user namespace makes our containers.

    There it has CAP_SYS_ADMIN for all that its containers need. Outside it may do what we may, and
    nothing more: user_namespaces(7). Raises OSError if we may not make a user namespace.
    """
    token = maker.set((0, 0))
    try:
        _current.get()
        yield
    finally:
        maker.reset(token)


def is_rootless() -> bool:
    """Whether this thread is within a block of :func:`rootless`."""
    return maker.get() is not None


def engine_pids() -> set[int]:
    """The PIDs of this process's engines. There is none before the first request."""
    return {engine.pid for engine in _current.engines.values()}


def keeper_pids() -> set[int]:
    """The PIDs of the processes that clean up if an engine is killed."""
    return {engine.keeper for engine in _current.engines.values()}


def use(engine: EngineProcess) -> None:
    """Use `engine` for all requests of this process."""
    _current.close()
    _current.engines[False] = engine


def close() -> None:
    """End this process's engines and their containers. The next request starts another engine."""
    _current.close()


def request(
    score: Score, fds: Sequence[int], groups: Sequence[str]
) -> tuple[EngineProcess, _socket.socket]:
    """Send a request to this process's engine. One is started if there is none or it was killed."""
    engine = _current.get()
    try:
        return engine, engine.request(score, fds, groups)
    except ConnectionError:
        _current.drop(engine)
        if not engine.replaceable:
            raise
    engine = _current.get()
    return engine, engine.request(score, fds, groups)


def engine_namespaces() -> dict[str, int]:
    """The namespaces that the engine is in. A container is in them too, but for its new ones."""
    return _current.get().inodes


def drop_engine(engine: EngineProcess) -> None:
    """Clean up after `engine`, which has ended by itself. The next request starts another."""
    _current.drop(engine)
