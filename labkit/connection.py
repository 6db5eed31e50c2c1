"""This process's engine: started at the first request, ended with the process.

A forked copy of the process is another caller, which gets an engine of its own.
"""

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence

from labkit import rights
from labkit.namespaces import inodes

# -I -S: no site-packages, no .pth files. So the package is shown its folder; and its __init__,
# which imports what only callers need, is left out.
_BOOT = """\
import sys, types
package = sys.modules["labkit"] = types.ModuleType("labkit")
package.__path__ = [sys.argv[1]]
from labkit.engine import main
main(int(sys.argv[2]), int(sys.argv[3]))
"""


class Engine:
    """One engine process, as its caller sees it."""

    def __init__(self, *, session: bool = True) -> None:
        """Start it. session: out of reach of the terminal's Ctrl-C; else in the caller's job."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            words = [os.path.dirname(__file__), str(theirs.fileno()), str(os.getpid())]
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BOOT, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=session,
            )
        self.pid = self._process.pid
        self._session = session
        self.inodes = inodes(self.pid)  # the namespaces that it never leaves

    def request(self, score: int, fds: Sequence[int]) -> socket.socket:
        """Send a request with its descriptors; the channel on which it is answered."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        cwd = os.open(".", os.O_PATH | os.O_DIRECTORY)
        try:
            rights.send(self._socket, b"\0", [theirs.fileno(), score, cwd, *fds])
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


def kill_session(session: int) -> None:
    """Kill every process in a session, until none is left."""
    while found := [
        pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _alive_in(session, pid)
    ]:
        for pid in found:  # and look again: one of them may have forked meanwhile
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def _alive_in(session: int, pid: int) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as stat:
        # After the name, which may hold anything: state, ppid, pgrp, session. proc_pid_stat(5)
        state, _, _, theirs = stat.read().rpartition(")")[2].split()[:4]
        return int(theirs) == session and state not in "ZX"
    return False


class _Current:
    """The engine of this process, if it has one."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.lock = threading.Lock()

    def get(self) -> Engine:
        with self.lock:
            self.engine = self.engine or Engine()
            return self.engine

    def lost(self, engine: Engine) -> None:
        with self.lock:
            if self.engine is engine:
                self.engine = None
                engine.bury()

    def close(self) -> None:
        with self.lock:
            if self.engine:
                self.engine.close()
            self.engine = None

    def forked(self) -> None:
        if self.engine:
            self.engine.disown()
        self.engine, self.lock = None, threading.Lock()


_current = _Current()
atexit.register(_current.close)
os.register_at_fork(after_in_child=_current.forked)


def engine_pid() -> int | None:
    """The PID of this process's engine, or None: nothing has been asked of one yet."""
    engine = _current.engine
    return engine.pid if engine else None


def use(engine: Engine) -> None:
    """Make `engine` this process's, before its first request."""
    _current.close()
    _current.engine = engine


def close() -> None:
    """End this process's engine and its containers; the next request starts another."""
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
