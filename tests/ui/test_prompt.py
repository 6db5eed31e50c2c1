"""What a kernel says reaches the page at once: no small message waits for an acknowledgement."""

import ctypes
import os
import socket
from collections.abc import Iterator

from conftest import until

from ui.conftest import MakeNotebook
from ui.lab import Lab

_SYS_PIDFD_GETFD = 438


def connections(lab: Lab) -> Iterator[socket.socket]:
    """The server's connections with the page, as copies of its own descriptors."""
    port = int(lab.url.rpartition(":")[2])
    pid = lab._server.pid
    pidfd = os.pidfd_open(pid)
    for fd in map(int, os.listdir(f"/proc/{pid}/fd")):
        copy = ctypes.CDLL(None).syscall(_SYS_PIDFD_GETFD, pidfd, fd, 0)
        if copy < 0:  # it has just been closed
            continue
        try:
            with socket.socket(fileno=copy) as found:
                if found.family == socket.AF_INET and found.getsockname()[1] == port:
                    yield found
        except OSError:  # no socket; the class has left it open
            os.close(copy)
    os.close(pidfd)


def prompt(lab: Lab) -> set[object]:
    """The other ends of those that send at once."""
    return {
        found.getpeername()
        for found in connections(lab)
        if found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    }


def test_the_connection_of_a_kernel_holds_nothing_back(lab: Lab, notebook: MakeNotebook) -> None:
    before = prompt(lab)
    notebook("1 + 1").run_all()
    until(lambda: prompt(lab) - before)  # those of the notebook before may end meanwhile
