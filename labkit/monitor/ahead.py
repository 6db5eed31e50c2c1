"""A monitor is started before its container is there, and gets ready while that is made.

It takes as long to start as a Python does. So `labkit run` begins with this, whatever else it has
to do, and most of that time is not waited for. A monitor to which nothing is left ends.
"""

import _socket
import os

from labkit.engine import descriptors
from labkit.engine.boot import PROJECT, bare_python

_waiting: list[tuple[_socket.socket, int]] = []  # one at most: what leads to it, and its process


def start() -> None:
    """Start one now, for the next :func:`begin`. Where that is refused, it is done then."""
    try:
        _waiting.append(_started())
    except OSError:
        return


def begin(path: str, lock: int, listening: int) -> _socket.socket:
    """Leave the container in the folder `path` to a monitor. The connection to it.

    lock: of the folder. listening: the socket that is its address. Both are the monitor's too.
    """
    sock, _ = _waiting.pop() if _waiting else _started()
    descriptors.send(sock, os.fsencode(f"{path}\0{PROJECT}"), (lock, listening))
    return sock


def drop() -> None:
    """End what was started and not used, and wait for that."""
    while _waiting:
        sock, pid = _waiting.pop()
        sock.close()
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:  # who has started us ignores SIGCHLD: it has been waited for
            continue


def _started() -> tuple[_socket.socket, int]:
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    words = bare_python("monitor.monitor", f"{theirs.fileno()}")
    # What is moved to its own number stays open: posix_spawn_file_actions_adddup2(3).
    actions = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)]
    actions += [(os.POSIX_SPAWN_DUP2, theirs.fileno(), theirs.fileno())]  # type: ignore[list-item]
    try:
        pid = os.posix_spawn(words[0], words, os.environ, file_actions=actions, setsid=True)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return ours, pid
