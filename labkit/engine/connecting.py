"""A child that waits is connected to its network; then it goes on.

The child asks on a socket of its own: one byte, with which the kernel sends its process ID. If the
socket ends without an answer, the child ends.
"""

import contextlib
import socket
import struct
from collections.abc import Iterator

from labkit.container.container import Container
from labkit.engine.connection import is_rootless
from labkit.linux.flags import CLONE_NEWUSER
from labkit.linux.refusal import Asked, call_of, refusal
from labkit.network import user_mode
from labkit.network.endpoint import Endpoint
from labkit.network.network import Network

_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Within the block, what is refused without a name is refused to `what`."""
    try:
        yield
    except OSError as error:
        if error.errno and not (call_of(error) or error.filename):
            raise refusal(what, error.errno) from error
        raise


class Connecting:
    """The network of one container, from the reservation to its return.

    theirs: the child's end of the socket. etc: the files that come with the network.
    """

    def __init__(self, box: Container, network: Network) -> None:
        with _told(f'the network "{network.name}"'):
            rootless = bool(box.cloneflags & CLONE_NEWUSER) or is_rootless()
            kind = user_mode.UserMode if rootless and user_mode.wanted() else Endpoint
            self.endpoint = kind(network, box.hostname)
        self.etc = self.endpoint.etc
        try:
            with Asked("socketpair(AF_UNIX, SOCK_SEQPACKET)"):
                self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with Asked("setsockopt(SO_PASSCRED)"):
                self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        except BaseException:
            self.endpoint.release()
            raise

    @property
    def theirs(self) -> int:
        """The child's end, to be sent to the engine."""
        return self._theirs.fileno()

    def fileno(self) -> int:
        """What becomes readable when the child waits, or has ended."""
        return self._ours.fileno()

    def sent(self) -> None:
        """The engine has the child's end."""
        self._theirs.close()

    def connect(self) -> None:
        """Connect the child and let it go on; nothing if it has ended."""
        try:
            if pid := self._asker():
                self.endpoint.attach(pid)
                with contextlib.suppress(ConnectionError), Asked("sendto()"):
                    self._ours.send(b"!")
        finally:
            with contextlib.suppress(OSError):  # the child has ended
                self._ours.shutdown(socket.SHUT_RDWR)

    def _asker(self) -> int:
        """The process that asks; 0: none does any more."""
        room = socket.CMSG_SPACE(_CREDENTIALS.size)
        with contextlib.suppress(ConnectionError), Asked("recvmsg()"):
            data, ancillary, _, _ = self._ours.recvmsg(1, room)
            if data:
                pid: int = _CREDENTIALS.unpack(ancillary[0][2])[0]
                return pid
        return 0

    def kept(self) -> list[int]:
        """Descriptors that reserve what it has: who has copies of them keeps it."""
        return self.endpoint.kept()

    def leave(self) -> None:
        """Close what is ours. Who has copies keeps address and ports; if nobody has, they go."""
        self._ours.close()
        self._theirs.close()
        self.endpoint.leave()

    def close(self) -> None:
        """Give back what was reserved. The container has ended, or was not begun."""
        self._ours.close()
        self._theirs.close()
        self.endpoint.release()
