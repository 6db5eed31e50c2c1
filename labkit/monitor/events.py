"""What happens to containers and images, as lines of one file: what docker events shows.

There is no daemon that would see everything. So whoever acts appends a line itself: a verb, or the
monitor of a container. A line is written in one call with O_APPEND, so lines never mix. The file
has a bound: the older half of what is kept is dropped when there is too much.

Who is killed by SIGKILL has noted nothing of its end.

The monitor imports this, so it takes the half of the module json that is written in C.
"""

import os
import time
from _json import encode_basestring

TYPE_CHECKING = False  # importing typing would be a third of the monitor's start
if TYPE_CHECKING:
    from _collections_abc import Mapping

FILE = "events"
MOST = 1 << 20  # bytes: some four thousand events; as much again of older ones is kept


def as_json(attributes: "Mapping[str, str]") -> str:
    """Attributes as JSON has them, without the braces around them."""
    pairs = (f"{encode_basestring(key)}:{encode_basestring(attributes[key])}" for key in attributes)
    return ",".join(pairs)


def note(folder: str, kind: str, action: str, identity: str, attributes: str) -> None:
    """Note an event in the state `folder`. attributes: as JSON has them, without the braces.

    Where that is refused, as on a full disk, nothing is noted: what has happened has happened.
    """
    now = time.time_ns()
    actor = f'{{"ID":{encode_basestring(identity)},"Attributes":{{{attributes}}}}}'
    line = f'{{"Type":"{kind}","Action":{encode_basestring(action)},"Actor":{actor},'
    line += f'"scope":"local","time":{now // 10**9},"timeNano":{now}}}\n'
    path = f"{folder}/{FILE}"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return
    try:
        os.write(fd, line.encode(errors="surrogateescape"))
        _bound(fd, path)
    except OSError:
        return
    finally:
        os.close(fd)


def _bound(fd: int, path: str) -> None:
    """Put the file aside when it is too long. Who writes to it meanwhile writes to the older one.

    The lock keeps two processes from doing so after each other, which would drop what is new.
    """
    if os.fstat(fd).st_size < MOST:
        return
    import fcntl  # this is rare

    fcntl.flock(fd, fcntl.LOCK_EX)
    if os.stat(path).st_ino == os.fstat(fd).st_ino:
        os.rename(path, f"{path}.1")
