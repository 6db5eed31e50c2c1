"""One request to the engine, and the answers that come back on the channel of its own."""

import _socket
import errno
import os
from _collections_abc import Sequence

from labkit.engine import descriptors
from labkit.engine.connection import drop_engine, request
from labkit.engine.score import Account, Score
from labkit.linux.fields import dataclass
from labkit.linux.refusal import refusal
from labkit.python import contextlib

_SIZE = 4096  # bytes: more than any answer has
_TRIES = 3  # of what the kernel refuses for a moment at most


@dataclass(frozen=True)
class Answer:
    """One answer of the engine; `loop.py` says which there are.

    word: "started", "exited", "refused" or "failed"; "lost" when the engine has ended. number: the
    exit status of "exited", the errno of "failed". call: what was refused to the engine itself.
    """

    word: str
    number: int = 0
    call: str = ""


class Exchange:
    """A request of the engine, sent at once; closing the channel kills the container.

    score: is closed with the exchange. fds: the descriptors that go with it. groups: the paths of
    its control groups, whose descriptors are the last of them. pidfd: of the container's first
    process, -1 until the engine has sent it.
    """

    def __init__(self, score: Score, fds: Sequence[int], groups: Sequence[str] = ()) -> None:
        self._score, self._over = score, False
        self.pidfd = -1
        try:
            self._engine, self._channel = request(score, fds, groups)
        except BaseException:
            score.close(over=False)
            raise

    def fileno(self) -> int:
        """The descriptor that becomes readable when there is an answer."""
        return self._channel.fileno()

    def answer(self) -> Answer:
        """Wait for the next answer. After "lost" the next request starts another engine."""
        try:
            data, fds = descriptors.receive(self._channel, _SIZE, 1)
        except OSError as error:
            raise refusal(f"recvmsg({self.fileno()})", error.errno or 0) from None
        if not data and self._engine.gone():
            drop_engine(self._engine)
            return Answer("lost")
        if fds:
            (self.pidfd,) = fds
        word, *more = data.decode().split(maxsplit=2) or [""]
        if not word or (word == "started" and not fds):
            # The engine had no room for the channel, or we have none for the pidfd.
            return Answer("failed", errno.EMFILE, "recvmsg(SCM_RIGHTS)")
        self._over = word in ("exited", "refused")
        return Answer(word, int(more[0]) if more else 0, "".join(more[1:]))

    def account(self) -> Account:
        """What has come of the score so far; a namespace that is not new is the engine's."""
        return self._score.account(self._engine.inodes)

    def hang_up(self) -> None:
        """Have the engine kill the container: the half-closed channel tells it to."""
        for _ in range(_TRIES):
            with contextlib.suppress(OSError):
                self._channel.shutdown(_socket.SHUT_WR)
                return

    def close(self) -> None:
        """Close the channel, and all that belongs to the request."""
        self._channel.close()
        self._score.close(over=self._over)
        if self.pidfd >= 0:
            os.close(self.pidfd)
