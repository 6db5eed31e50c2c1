"""This process's engines: started at the first request, ended with the process.

One is as we are. The other, within ``with rootless():``, is root of a user namespace of its own. A
forked copy of the process is another caller, which gets engines of its own.
"""

import atexit
import contextlib
import errno
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence

from labkit.container.rights import maker
from labkit.engine import descriptors
from labkit.engine.boot import bare_python
from labkit.linux import proc
from labkit.linux.namespaces import inodes, own_proc
from labkit.linux.refusal import Asked, refusal

_ANSWER = 4096  # bytes: more than any


class Engine:
    """One engine process, as its caller sees it."""

    def __init__(self, *, session: bool = True, rootless: bool = False) -> None:
        """Start it. session: out of reach of the terminal's Ctrl-C; else in the caller's job.

        rootless: as root of a new user namespace. Raises OSError where there can be none.
        """
        own_proc()  # or the engine could neither see its containers nor write their maps
        self._socket, theirs = _pair()
        with theirs:
            numbers = (theirs.fileno(), os.getpid(), int(rootless))
            try:
                self._process = _begun(numbers, session=session)
            except OSError:
                self._socket.close()
                raise
        self.pid = self._process.pid
        self._session = session
        if rootless:
            self._moved()
        self.inodes = inodes(self.pid)  # the namespaces that it never leaves

    def _moved(self) -> None:
        """Wait until it is in its user namespace. Raises what was refused to it."""
        number, _, call = self._socket.recv(_ANSWER).decode().partition(" ")
        if number != "0":
            self.close()
            raise refusal(call, int(number or errno.EPIPE))

    def request(self, score: int, fds: Sequence[int]) -> socket.socket:
        """Send a request with its descriptors; the channel on which it is answered."""
        ours, theirs = _pair()
        try:
            cwd = os.open(".", os.O_PATH | os.O_DIRECTORY)
        except BaseException:
            ours.close()
            theirs.close()
            raise
        try:
            descriptors.send(self._socket, b"\0", [theirs.fileno(), score, cwd, *fds])
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(cwd)
        return ours

    def close(self) -> None:
        """End it and its containers, and wait until they are gone."""
        self._socket.close()
        self._process.wait()

    def bury(self) -> None:
        """Clean up after one that was killed: it could not end what it had started."""
        self._socket.close()
        # The kernel ended the containers' first processes with it (PR_SET_PDEATHSIG); what those
        # had left outside a PID namespace is still in the engine's session.
        if self._session:
            kill_session(self.pid)
        self._process.wait()

    def disown(self) -> None:
        """In a forked copy of the caller: it is not ours to end or to wait for."""
        self._socket.close()
        self._process.returncode = 0


def _begun(numbers: tuple[int, int, int], *, session: bool) -> subprocess.Popen[bytes]:
    """The engine's process; numbers: what it is told, its end of the socket pair first."""
    with Asked("fork"):
        return subprocess.Popen(
            bare_python("engine.process", *map(str, numbers)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[numbers[0]],
            start_new_session=session,
        )


def _pair() -> tuple[socket.socket, socket.socket]:
    with Asked("socketpair(AF_UNIX, SOCK_SEQPACKET)"):
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def kill_session(session: int) -> None:
    """Kill every process in a session, until none is left."""
    below = proc.depth()
    found = True
    while found:  # and look again: one of them may have forked meanwhile
        names = filter(str.isdigit, os.listdir("/proc"))
        found = bool([name for name in names if _killed(session, name, below)])


def _killed(session: int, name: str, below: int) -> bool:
    """Kill the process that this /proc, so many PID namespaces above us, calls `name`.

    Whether it was in the session. Its directory serves as a pidfd, and the kernel sends nothing to
    who is not of our PID namespace, where the number of a session may mean another.
    """
    with contextlib.suppress(OSError):
        folder = os.open(f"/proc/{name}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            lines = proc.status(name)
            sessions = lines["NSsid"].split()[below:]
            if sessions[:1] == [str(session)] and lines["State"][0] not in "ZX":
                signal.pidfd_send_signal(folder, signal.SIGKILL)
                return True
        finally:
            os.close(folder)
    return False


class _Current:
    """The engines of this process, as far as it has any: whether rootless -> engine."""

    def __init__(self) -> None:
        self.engines: dict[bool, Engine] = {}
        self.lock = threading.Lock()

    def get(self) -> Engine:
        """The one that this thread's containers come from, here and now."""
        with self.lock:
            wanted = is_rootless()
            if wanted not in self.engines:
                self.engines[wanted] = Engine(rootless=wanted)
            return self.engines[wanted]

    def lost(self, engine: Engine) -> None:
        with self.lock:
            for which, known in [*self.engines.items()]:
                if known is engine:
                    del self.engines[which]
                    engine.bury()

    def close(self) -> None:
        with self.lock:
            for engine in self.engines.values():
                engine.close()
            self.engines.clear()

    def forked(self) -> None:
        for engine in self.engines.values():
            engine.disown()
        self.engines, self.lock = {}, threading.Lock()


_current = _Current()
atexit.register(_current.close)
os.register_at_fork(after_in_child=_current.forked)


@contextlib.contextmanager
def rootless() -> Iterator[None]:
    """Within the block, this thread's containers come from root of a new user namespace.

    There it may do to containers what it takes CAP_SYS_ADMIN for, and nothing more outside than we
    may: user_namespaces(7). Raises OSError where we may make no user namespace.
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
    """The PIDs of this process's engines: none before something is asked of one."""
    return {engine.pid for engine in _current.engines.values()}


def use(engine: Engine) -> None:
    """Make `engine` this process's, before its first request."""
    _current.close()
    _current.engines[False] = engine


def close() -> None:
    """End this process's engines and their containers; the next request starts another."""
    _current.close()


def request(score: int, fds: Sequence[int]) -> tuple[Engine, socket.socket]:
    """Send a request to this process's engine, a new one if there is none or it was killed."""
    engine = _current.get()
    try:
        return engine, engine.request(score, fds)
    except ConnectionError:
        _current.lost(engine)
    engine = _current.get()
    return engine, engine.request(score, fds)


def home() -> dict[str, int]:
    """The namespaces that this process's engine is in: a container's, but for the new ones."""
    return _current.get().inodes


def lost(engine: Engine) -> None:
    """`engine` has ended by itself: clean up after it; the next request starts another."""
    _current.lost(engine)
