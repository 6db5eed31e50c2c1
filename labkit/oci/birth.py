"""A first process is born: cloned in its namespaces, as a child of ours, and talked with.

A helper enters the namespaces that are given by path, so we stay where we are. It clones the first
process with CLONE_PARENT: that is our child, not the helper's, and when we end it goes to whoever
reaps ours, such as an engine's shim.
"""

import errno
import json
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from labkit.linux.flags import CLONE_NEWUSER, Clone
from labkit.linux.processes import clone, clone3, setns
from labkit.text.words import Words, words_of

CLONE_PARENT = 0x8000  # linux/sched.h
_MOST = 65536  # bytes of a message

Message = dict[str, Any]


class Told(ValueError):  # noqa: N818 - it says what it is
    """What went wrong on the other side, in its words."""


class Channel:
    """One end of the talk between the runtime and a first process: messages, one at a time."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end

    def send(self, **message: object) -> None:
        """Send a message."""
        self.end.send(json.dumps(message).encode(errors="surrogateescape"))

    def receive(self) -> Message:
        """Wait for a message. Told: the other side has failed, or ended without a word."""
        data = self.end.recv(_MOST)
        if not data:
            raise Told(
                Words(
                    "容器的第一个进程没说原因就结束了",
                    "the first process of the container ended without a reason",
                )
            )
        message: Message = json.loads(data.decode(errors="surrogateescape"))
        if "error" in message:
            raise Told(Words(*message["error"]))
        return message

    def wait_for_execve(self) -> None:
        """Wait until the other side has become another program. Told: it could not."""
        data = self.end.recv(_MOST)
        if data:
            raise Told(Words(*json.loads(data)["error"]))

    def close(self) -> None:
        """Close it: the other side hears of that."""
        self.end.close()


def explained(error: BaseException) -> list[str]:
    """An error in both languages, in one line each."""
    if error.args and isinstance(error.args[0], Words):
        said = error.args[0]
        return [said.zh, said.en]
    call = str(vars(error).get("call", ""))
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    first = f"{call}: {reason.lower()}" if call else f"{type(error).__name__}: {error}"
    told = words_of(error)
    texts = [each.zh for each in told], [each.en for each in told]
    return [" ".join([first, *side]) for side in texts]


def bear(
    new: Clone, entered: Mapping[Clone, int], child: Callable[[Channel], object]
) -> tuple[int, Channel]:
    """Clone a child of ours that runs `child`; its PID, and our end of the talk with it.

    new: the namespaces that it is born in. entered: descriptors of those that it enters.
    """
    ours, theirs = (Channel(end) for end in socket.socketpair(type=socket.SOCK_SEQPACKET))
    helper = os.fork()
    if not helper:
        ours.close()
        _guarded(theirs, lambda: _clone(new, entered, child, theirs))
    theirs.close()
    if os.WIFSIGNALED(os.waitpid(helper, 0)[1]):
        ours.close()  # what it has born ends when it hears that
        raise Told(Words("造第一个进程的帮手被杀死了", "who clones the first process was killed"))
    return int(ours.receive()["pid"]), ours


def _clone(
    new: Clone,
    entered: Mapping[Clone, int],
    child: Callable[[Channel], object],
    channel: Channel,
) -> None:
    enter(entered)
    try:
        pid = clone3(new | CLONE_PARENT, exit_signal=0)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        pid = clone(new | CLONE_PARENT)
    if not pid:
        _guarded(channel, lambda: child(channel))
    channel.send(pid=pid)


def _guarded(channel: Channel, steps: Callable[[], object]) -> NoReturn:
    """Make steps, say what goes wrong, and end."""
    try:
        steps()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it must not return to our caller
        channel.send(error=explained(error))
    finally:
        os._exit(0)


def enter(entered: Mapping[Clone, int]) -> None:
    """Enter namespaces. A user namespace goes first where its root may enter the others, else last.

    Who owns them says which: root of the user namespace may enter what it owns, and we the others.
    """
    user = entered.get(CLONE_NEWUSER, -1)
    later = []
    for flag, fd in entered.items():
        try:
            if flag != CLONE_NEWUSER:
                setns(fd, flag)
        except PermissionError:
            if user < 0:
                raise
            later.append((flag, fd))
    if user >= 0:
        setns(user, CLONE_NEWUSER)
    for flag, fd in later:
        setns(fd, flag)
