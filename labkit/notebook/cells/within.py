"""A function of a cell, run in the network of a container: within(box, function).

pyroute2 has an event loop of its own, and a cell runs in one already: two do not go together. And
setns(2) would move a thread of the notebook's process. So a process with one thread stands beside
it, with pyroute2 imported once. It forks for each function, and the child enters the container's
network and calls it. The child has the host's files, and its /proc/sys/net is the container's.
"""

import atexit
import contextlib
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from labkit.engine.boot import PROJECT
from labkit.engine.running import Running
from labkit.linux.flags import CLONE_NEWNET, CLONE_NEWUSER
from labkit.linux.processes import setns
from labkit.linux.refusal import Asked
from labkit.notebook.cells import shipping
from labkit.text.words import Words

T = TypeVar("T")

SECONDS = 60
"""How long a function may take."""
_PIECE = 1 << 16
_ENDED = Words("函数把自己所在的进程结束掉了", "the function has ended its own process")
_NOT_THERE = Words(
    "替函数进入容器网络的那个进程没有启动成功；原因在启动 JupyterLab 的终端里",
    "the process that enters the container's network did not start; "
    "the terminal in which JupyterLab was started says why",
)
_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from labkit.notebook.cells.within import main
main(int(sys.argv[2]))
"""


def within(box: Running, function: Callable[..., T], *arguments: object) -> T:
    """Call a function in the network of a container: what it returns, prints or raises is ours."""
    home = getattr(function, "__globals__", {})
    shipped = shipping.ship((function, arguments), home)
    printed, value, error = pickle.loads(_visitor().ask(box, shipped))  # noqa: S301 - our own
    sys.stdout.write(printed)
    if error is not None:
        raise error
    result: T = value
    return result


class Visitor:
    """The process beside the notebook's that goes where a function is to run."""

    def __init__(self) -> None:
        ours, its = socket.socketpair()
        with its, Asked("fork"):
            argv = [sys.executable, "-I", "-X", "utf8", "-c", _PROGRAM, PROJECT, str(its.fileno())]
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, pass_fds=[its.fileno()], start_new_session=True
            )
        self._ours, self._lock = ours, threading.Lock()

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(self, box: Running, shipped: bytes) -> bytes:
        """What a function gives in there: what it printed, its value and its error, pickled."""
        with contextlib.ExitStack() as stack:
            namespaces = [stack.enter_context(_namespace(box.pid, k)) for k in ("user", "net")]
            mine, its = socket.socketpair()
            stack.enter_context(mine)
            mine.settimeout(SECONDS)
            try:
                with its, self._lock:
                    socket.send_fds(self._ours, [b"."], [*namespaces, its.fileno()])
                return _answer(mine, shipped)
            except ConnectionError as error:
                raise RuntimeError(_NOT_THERE) from error

    def close(self) -> None:
        """End it. It ends by itself too when this process does."""
        self._ours.close()
        self._process.wait()


def _answer(visitor: socket.socket, shipped: bytes) -> bytes:
    """What comes back for a function that is sent. Raises ConnectionError if nobody took it."""
    with contextlib.suppress(BrokenPipeError):
        visitor.sendall(shipped)
        visitor.shutdown(socket.SHUT_WR)
    if answer := b"".join(iter(lambda: visitor.recv(_PIECE), b"")):
        return answer
    raise RuntimeError(_ENDED)


@contextlib.contextmanager
def _namespace(pid: int, kind: str) -> Iterator[int]:
    path = f"/proc/{pid}/ns/{kind}"
    with Asked(f'open("{path}")'):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


_visitors: list[Visitor] = []
_starting = threading.Lock()


def _visitor() -> Visitor:
    """The one of this process; another when it has ended."""
    with _starting:
        if not _visitors or not _visitors[0].alive:
            _visitors[:] = [Visitor()]
        return _visitors[0]


@atexit.register
def close() -> None:
    """End the process, if there is one; the next function starts another."""
    with _starting:
        while _visitors:
            _visitors.pop().close()


# --- The process beside us ----------------------------------------------------------------------


def main(control: int) -> None:
    """Fork for each function that comes, until nobody asks any more."""
    import signal

    import pyroute2  # noqa: F401 - children have it then

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the notebook
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    with socket.socket(fileno=control) as asked:
        while True:
            word, descriptors, _, _ = socket.recv_fds(asked, 1, 3)
            if not word:
                return
            if os.fork() == 0:
                asked.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.alarm(SECONDS)
                _serve(*descriptors)
            for each in descriptors:
                os.close(each)


def _serve(user: int, net: int, answer: int) -> None:
    """In the child: enter, call, answer, end."""
    with socket.socket(fileno=answer) as caller:
        shipped = b"".join(iter(lambda: caller.recv(_PIECE), b""))
        caller.sendall(_called(user, net, shipped))
    os._exit(0)


def _called(user: int, net: int, shipped: bytes) -> bytes:
    import io

    printed, value, error = io.StringIO(), None, None
    with contextlib.redirect_stdout(printed):
        try:
            _enter(user, net)
            function, arguments = shipping.receive(shipped)
            value = function(*arguments)
        except BaseException as raised:  # noqa: BLE001 - it is raised where it was asked for
            error = raised.with_traceback(None)
    return _pickled(printed.getvalue(), value, error)


def _pickled(printed: str, value: Any, error: BaseException | None) -> bytes:  # noqa: ANN401
    try:
        data = pickle.dumps((printed, value, error))
        pickle.loads(data)  # noqa: S301 - our own: an error may not come out as it went in
    except Exception:  # noqa: BLE001 - whatever pickle makes of somebody's class
        known = error if error is not None else value
        return pickle.dumps((printed, None, RuntimeError(repr(known))))
    return data


def _enter(user: int, net: int) -> None:
    """Move to the container's network; to its user namespace first, if it has one of its own."""
    if os.fstat(user).st_ino != os.stat("/proc/self/ns/user").st_ino:
        setns(user, CLONE_NEWUSER)
    setns(net, CLONE_NEWNET)
