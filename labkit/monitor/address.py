"""A connection to a monitor: the caller's side of the protocol in `labkit/monitor/__init__.py`."""

import _socket
import errno
import os
from _collections_abc import Sequence
from _thread import allocate_lock

from labkit.engine import descriptors
from labkit.engine.connection import EngineProcess
from labkit.engine.score import Score
from labkit.engine.scores import Scores
from labkit.linux.namespaces import inodes
from labkit.linux.refusal import Asked, refusal
from labkit.monitor import ahead
from labkit.monitor.reach import SOCKET, Near, connected
from labkit.monitor.record import Record
from labkit.python import contextlib
from labkit.state.held import Held

_ANSWER = 4096  # bytes: more than any answer has
_MANY = 200  # descriptors that a packet may have, and some


class Monitor(EngineProcess):
    """The monitor of a container, which is an engine too. inodes: the namespaces that it is in."""

    replaceable = False

    def __init__(self, sock: _socket.socket, pid: int = 0) -> None:
        """pid: of the monitor; 0: it is a child of ours, in the same namespaces."""
        self._lock, self._socket = allocate_lock(), sock
        self.scores = Scores(0)  # it has other callers too, and we ask it once
        self._heard: list[tuple[str, list[int]]] = []  # before somebody asks for it
        self.inodes = inodes(pid) if pid else inodes()

    def fileno(self) -> int:
        """Becomes readable when the monitor says something, or has gone."""
        return self._socket.fileno()

    def send(self, text: str, fds: Sequence[int] = ()) -> None:
        """Tell it something. ConnectionError: it has gone."""
        try:
            with Asked("sendmsg(monitor)"):
                descriptors.send(self._socket, text.encode(errors="surrogateescape"), fds)
        except ConnectionError:
            raise self.why() from None

    def request(self, score: Score, fds: Sequence[int], groups: Sequence[str]) -> _socket.socket:
        """As of an engine. Where it has gone, there is no other one to ask."""
        try:
            return super().request(score, fds, groups)
        except ConnectionError:
            raise self.why() from None

    def why(self) -> OSError:
        """Why it does not listen to us any more: what it was refused, or its end.

        Where it has said how the container ended, that is the next answer all the same.
        """
        if not self._heard:
            self._heard.append(self.answer())
        return _told(self._heard[0][0]) or refusal("sendmsg(monitor)", errno.ECONNRESET)

    def send_many(self, text: str, fds: Sequence[int]) -> None:
        """The same with any number of descriptors."""
        for at in range(0, len(fds), _MANY):
            self.send(text, fds[at : at + _MANY])

    def answer(self) -> tuple[str, list[int]]:
        """Wait for the next answer: its text and its descriptors. "" when the monitor has gone.

        One that leaves with words of ours unread resets the connection. What it has said before
        that is still there for the next look.
        """
        if self._heard:
            return self._heard.pop()
        for _ in range(2):
            with contextlib.suppress(ConnectionError):
                data, fds = descriptors.receive(self._socket, _ANSWER, 1)
                return data.decode(), fds
        return "", []

    def pidfd(self) -> int:
        """A pidfd of the container's first process. ProcessLookupError: it has ended."""
        text = ""
        with contextlib.suppress(ConnectionError):
            self.send("pidfd")
            text, fds = self.answer()
            if fds:
                return fds[0]
        raise _told(text) or refusal("pidfd_open()", errno.ESRCH)

    def status(self) -> int | None:
        """Wait for the exit status that was asked for with "wait". None: the monitor was killed."""
        while (answer := self.answer()[0]) and not answer.startswith("exited"):
            pass
        return int(answer.split()[1]) if answer else None

    def close(self) -> None:
        """End the connection. The monitor goes on."""
        self._socket.close()

    def clean_up_after_kill(self) -> None:
        """Its keeper does that. What it has said last can still be heard: :meth:`why`."""

    forget_after_fork = close


def _told(text: str) -> OSError | None:
    """What a monitor says that it was refused; None: it says something else."""
    word, _, rest = text.partition(" ")
    number, _, call = rest.partition(" ")
    return refusal(call, int(number)) if word == "failed" else None


def connect(record: Record, pid: int = 0) -> Monitor:
    """Connect to the monitor of a container. ConnectionError: it has none. pid: of the monitor."""
    try:
        sock = connected(record.path)
        try:
            return Monitor(sock, pid)
        except OSError:  # it has ended since it took us
            sock.close()
            raise
    except OSError as error:
        raise ConnectionError(error.errno, os.strerror(error.errno or 0)) from None


def begin(record: Record, owner: Held) -> Monitor:
    """Start a monitor, to which the folder is left, and connect to it."""
    listening = _listening(record)
    try:
        with Asked("fork"):
            ours = ahead.begin(record.path, owner.fileno(), listening.fileno())
    finally:
        listening.close()
    owner.release()
    return Monitor(ours)


def _listening(record: Record) -> _socket.socket:
    """The socket of the container's address. It is there before its monitor: nobody has to wait."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(record.at(SOCKET))  # of a monitor that is gone
    with Near(record.path) as path:
        sock.bind(path)
    sock.listen(128)
    return sock
