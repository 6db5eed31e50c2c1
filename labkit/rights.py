"""Descriptors sent over a socket: SCM_RIGHTS, unix(7).

socket.recv_fds drops its `flags` up to Python 3.13, and without MSG_CMSG_CLOEXEC what arrives would
be inherited by every program started from here.
"""

import array
import socket

TYPE_CHECKING = False  # the engine reads this too, and importing typing is a third of its start
if TYPE_CHECKING:
    from collections.abc import Sequence


def send(sock: socket.socket, data: bytes, fds: "Sequence[int]", flags: int = 0) -> None:
    """Send one packet of `data` with copies of the descriptors `fds`."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], rights, flags)


def receive(sock: socket.socket, size: int, count: int) -> tuple[bytes, list[int]]:
    """One packet of at most `size` bytes, and the at most `count` descriptors that came with it."""
    fds = array.array("i")
    room = socket.CMSG_SPACE(count * fds.itemsize)
    data, ancillary, _, _ = sock.recvmsg(size, room, socket.MSG_CMSG_CLOEXEC)
    for level, kind, payload in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return data, list(fds)
