"""Descriptors sent over a socket: SCM_RIGHTS, unix(7).

socket.recv_fds drops its `flags` up to Python 3.13. Without MSG_CMSG_CLOEXEC every program started
from here would inherit what arrives. The engine uses this too. It has only the half of the module
socket that is written in C: the other half would take a third of the engine's start.
"""

import _socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _collections_abc import Sequence


def send(sock: _socket.socket, data: bytes, fds: "Sequence[int]", flags: int = 0) -> None:
    """Send one packet of `data` with copies of the descriptors `fds`."""
    packed = struct.pack(f"{len(fds)}i", *fds)
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)] if fds else []
    sock.sendmsg([data], rights, flags)


def receive(sock: _socket.socket, size: int, count: int) -> tuple[bytes, list[int]]:
    """Receive one packet: at most `size` bytes, and at most `count` descriptors with it."""
    room = _socket.CMSG_SPACE(count * 4)
    data, ancillary, _, _ = sock.recvmsg(size, room, _socket.MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for level, kind, packed in ancillary:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            fds += struct.unpack_from(f"{len(packed) // 4}i", packed)
    return data, fds
