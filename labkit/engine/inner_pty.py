"""A pseudo-terminal that a container makes in its own /dev/pts, and whose master it sends us."""

import _socket
import contextlib
import os
import stat
from _thread import allocate_lock

from labkit.container.container import Container
from labkit.container.devices import makes_terminal
from labkit.engine import descriptors
from labkit.linux.pty import Pty
from labkit.linux.refusal import Asked
from labkit.text.words import Words

_PTMX = os.makedev(5, 2)  # of every master: Documentation/admin-guide/devices.txt


class InnerPty(Pty):
    """A pseudo-terminal to come.

    slave: the program's end of a socket until then, to be its standard streams. The child makes the
    terminal, sends its master there and waits for an answer (`devices.py:make_terminal`). When
    :meth:`fileno` is readable, it is time to :meth:`arrive`, and then to let it :meth:`go_on`.
    """

    def __init__(self) -> None:
        self._lock, self.master = allocate_lock(), -1
        kind = _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC
        with Asked("socketpair(AF_UNIX, SOCK_SEQPACKET)"):
            self._ours, theirs = _socket.socketpair(_socket.AF_UNIX, kind)
        self.slave = theirs.detach()

    def fileno(self) -> int:
        """What is readable when it comes, or when there is nobody left to make it; -1 after."""
        return self._ours.fileno()

    def arrive(self) -> bool:
        """Receive the master, and set it up. False: it does not come any more."""
        fds: list[int] = []
        with contextlib.suppress(ConnectionError), Asked(f"recvmsg({self.fileno()})"):
            fds = descriptors.receive(self._ours, 1, 1)[1]
        if not fds:
            self.expect_no_more()
            return False
        (self.master,) = fds
        about = os.fstat(self.master)
        if not stat.S_ISCHR(about.st_mode) or about.st_rdev != _PTMX:
            self.close()
            raise ValueError(
                Words("容器的 /dev/ptmx 不是伪终端", "the container's /dev/ptmx is no terminal")
            )
        self._set_up()
        return True

    def go_on(self) -> None:
        """Let the child go on: its terminal is as it should be."""
        with contextlib.suppress(ConnectionError), Asked(f"sendto({self.fileno()})"):
            self._ours.send(b"!")
        self.expect_no_more()

    def expect_no_more(self) -> None:
        """Close the socket. If the child still waits there, it ends."""
        self._ours.close()

    def resize(self, rows: int, columns: int) -> None:
        """Set its size, which it will have from the beginning if it is still to come."""
        self._size = rows, columns
        super().resize(rows, columns)

    def close(self) -> None:
        """Close all ends."""
        self.expect_no_more()
        super().close()


def pty_for(box: Container) -> Pty:
    """A pseudo-terminal for `box`, made by itself if it has a /dev/pts of its own."""
    return InnerPty() if makes_terminal(box) else Pty()
