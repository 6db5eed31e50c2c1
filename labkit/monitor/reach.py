"""The address of a container's monitor: a socket in the container's folder."""

import _socket
import os

SOCKET = "socket"


class Near:
    """A short way to the socket for a while: an address has 108 bytes at most, unix(7)."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __enter__(self) -> str:
        self._fd = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._fd}/{SOCKET}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def connected(folder: str) -> _socket.socket:
    """A connection to the monitor of the container in a folder. OSError: it has none."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        with Near(folder) as path:
            sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock
