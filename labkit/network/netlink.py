"""A netlink socket of our own, and other namespaces' sockets: netlink(7)."""

import _socket
import errno
import os
import struct
from _collections_abc import Callable, Sequence
from _thread import allocate_lock, start_new_thread

from labkit.linux import door
from labkit.linux.flags import CLONE_NEWNET
from labkit.linux.refusal import Asked, refusal
from labkit.network.encode import NLMSG_ERROR, Message
from labkit.python import contextlib
from labkit.python.typing import TypeVar

T = TypeVar("T")
_ROOM = 65536  # bytes: more than the acknowledgements of one send


def send(messages: Sequence[Message], passing: int = 0) -> None:
    """Send messages to this thread's network namespace, all in one send. Wait for each answer.

    The kernel takes them in order, and goes on after one that it refuses. Raises the OSError of the
    first that was refused. passing: an errno that is no refusal to the sender.
    """
    with Asked("socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)"):
        ours = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, _socket.NETLINK_ROUTE)
    answers: dict[int, int] = {}
    try:
        with Asked("sendto(NETLINK_ROUTE)"):
            ours.sendto(b"".join(m.encoded(at) for at, m in enumerate(messages)), (0, 0))
            while len(answers) < len(messages):
                answers |= dict(_answers(ours.recv(_ROOM)))
    finally:
        ours.close()
    for at, message in enumerate(messages):
        if answers[at] not in (0, passing):
            raise refusal(f"sendto(NETLINK_ROUTE, {message.said})", answers[at])


def _answers(data: bytes) -> list[tuple[int, int]]:
    """The answers in one packet: the number of the message, and its errno (0: done)."""
    found = []
    while data:
        size, kind, _, sequence, _, result = struct.unpack_from("=IHHIIi", data)
        if kind == NLMSG_ERROR:
            found.append((sequence, -result))
        data = data[size + -size % 4 :]
    return found


def within(netns: int, does: Callable[[], T]) -> T:
    """What `does` gives in the network namespace `netns`, on a thread that is thrown away.

    setns(2) moves only the thread that calls it. This one ends there, so nothing has to move back.
    """
    result: list[T] = []
    failure: list[BaseException] = []

    def visit() -> None:
        try:
            _enter(netns)
            result.append(does())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            failure.append(error)
        finally:
            over.release()

    over = allocate_lock()
    over.acquire()
    _begin(visit)
    over.acquire()
    if failure:
        raise failure[0]
    return result[0]


def _enter(netns: int) -> None:
    """Move this thread."""
    moved = door.call("setns", (netns, CLONE_NEWNET))
    if moved:
        raise refusal(f"setns({netns}, CLONE_NEWNET)", -moved)


def _begin(does: Callable[[], None]) -> None:
    """Begin a thread."""
    try:
        start_new_thread(does, ())
    except RuntimeError:  # how Python says that the kernel gave it no thread
        raise refusal("clone(CLONE_THREAD)", errno.EAGAIN) from None


def index(name: str) -> int:
    """The number of a link in this thread's network namespace."""
    try:
        return _socket.if_nametoindex(name)
    except OSError as error:  # Python does not always say which it was
        raise refusal(f'if_nametoindex("{name}")', error.errno or errno.ENODEV) from None


def exists(name: str) -> bool:
    """Whether this network namespace has a link of that name."""
    with contextlib.suppress(OSError):
        return bool(_socket.if_nametoindex(name))
    return False


def open_namespace(pid: int) -> int:
    """A descriptor of a process's network namespace."""
    path = f"/proc/{pid}/ns/net"
    with Asked(f'open("{path}")'):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
