"""A child that waits is connected to its network; then it goes on.

The child asks on a socket of its own: one byte, with which the kernel sends its process ID. If the
socket ends without an answer, the child ends.
"""

import _socket
import struct
from _collections_abc import Iterator, Sequence

from labkit.container.container import Container
from labkit.engine.connection import is_rootless
from labkit.linux.flags import CLONE_NEWUSER
from labkit.linux.refusal import Asked, call_of, refusal
from labkit.network import user_mode
from labkit.network.endpoint import Endpoint, files
from labkit.network.network import Network, Port
from labkit.python import contextlib

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
    """The networks of one container, from the reservation to their return.

    theirs: the child's end of the socket. etc: the files that come with the networks. endpoints:
    the container on each of them.
    """

    def __init__(
        self, box: Container, network: Network, more: Sequence[Network] = (), identity: str = ""
    ) -> None:
        """more: what it is on besides. identity: its ID, if it has one."""
        self.endpoints: list[Endpoint | user_mode.UserMode] = []
        try:
            for each in (network, *more):
                with _told(f'the network "{each.name}"'):
                    self.endpoints.append(self._endpoint(box, each, identity))
            self.etc = _files([network, *more], self.endpoints)
            with Asked("socketpair(AF_UNIX, SOCK_SEQPACKET)"):
                self._ours, self._theirs = _socket.socketpair(
                    _socket.AF_UNIX, _socket.SOCK_SEQPACKET
                )
            with Asked("setsockopt(SO_PASSCRED)"):
                self._ours.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
        except BaseException:
            self._release()
            raise

    def _endpoint(
        self, box: Container, network: Network, identity: str
    ) -> Endpoint | user_mode.UserMode:
        rootless = bool(box.cloneflags & CLONE_NEWUSER) or is_rootless()
        if (rootless or not user_mode.rules_here()) and user_mode.wanted():
            return user_mode.UserMode(network, box.hostname)
        return Endpoint(network, box.hostname, len(self.endpoints), identity)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses on the first network."""
        return self.endpoints[0].addresses

    @property
    def ports(self) -> tuple[Port, ...]:
        """What is published, with the numbers that were free."""
        return tuple(port for each in self.endpoints for port in each.ports)

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
                for at, each in enumerate(self.endpoints):
                    each.attach(pid, first=not at)
                with contextlib.suppress(ConnectionError), Asked("sendto()"):
                    self._ours.send(b"!")
        finally:
            with contextlib.suppress(OSError):  # the child has ended
                self._ours.shutdown(_socket.SHUT_RDWR)

    def _asker(self) -> int:
        """The process that asks; 0: none does any more."""
        room = _socket.CMSG_SPACE(_CREDENTIALS.size)
        with contextlib.suppress(ConnectionError), Asked("recvmsg()"):
            data, ancillary, _, _ = self._ours.recvmsg(1, room)
            if data:
                pid: int = _CREDENTIALS.unpack(ancillary[0][2])[0]
                return pid
        return 0

    def kept(self) -> Iterator[tuple[str, list[int]]]:
        """Descriptors that reserve what it has, by network: who has copies of them keeps it."""
        yield from ((each.network, each.kept()) for each in self.endpoints)

    def leave(self) -> None:
        """Close what is ours. Who has copies keeps address and ports; if nobody has, they go."""
        self._ours.close()
        self._theirs.close()
        for each in self.endpoints:
            each.leave()

    def close(self) -> None:
        """Give back what was reserved. The container has ended, or was not begun."""
        self._ours.close()
        self._theirs.close()
        self._release()

    def _release(self) -> None:
        for each in self.endpoints:
            each.release()


def _files(
    networks: Sequence[Network], endpoints: Sequence[Endpoint | user_mode.UserMode]
) -> dict[str, str]:
    """The files of a container in /etc."""
    pairs = [
        (network, each.about)
        for network, each in zip(networks, endpoints, strict=True)
        if isinstance(each, Endpoint)
    ]
    if pairs:
        return files(pairs)
    (only,) = endpoints
    assert isinstance(only, user_mode.UserMode)  # noqa: S101 - there is one network without a right
    return only.etc
