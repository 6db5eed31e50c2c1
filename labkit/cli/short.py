"""``labkit exec`` by the short way: a program on pipes, in a container that has had one before.

All that comes before the program was worked out for the first `exec`, which has left it in the
container's folder. So this reads three files, talks to the monitor, and passes on what comes. What
it imports is a tenth of what `execute.py` does. Whatever is not as usual (another user, a terminal,
a container that is paused, a program that is not there) is left to that.
"""

import _socket
import os

from labkit.cgroups.freezer import is_frozen
from labkit.cli.passing import Relay
from labkit.engine import descriptors
from labkit.engine import kept as calls
from labkit.engine.layout import ADDRESSES, ONCE, REQUEST
from labkit.linux import proc
from labkit.linux.path import places
from labkit.monitor import events, kept
from labkit.monitor.reach import connected
from labkit.python import json
from labkit.state import folder

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from _collections_abc import Mapping, Sequence
    from typing import Any

_ANSWER = 4096  # bytes: more than any answer has
_LOST = 137  # exit status of what has ended with its monitor
_INTERACTIVE = ("-i", "--interactive")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main(arguments: "Sequence[str]") -> int | None:
    """Run ``labkit exec ...``; the exit status. None: it takes the long way, and nothing ran."""
    rest = [*arguments[1:]]
    interactive = rest[:1] in ([each] for each in _INTERACTIVE)
    name, *argv = rest[interactive:] or [""]
    if not name or name.startswith("-") or not argv or not argv[0]:
        return None
    try:
        asked = _asked(name, argv, interactive=interactive)
    except (OSError, LookupError, TypeError, ValueError):
        return None  # the long way says what it is
    return asked.follow() if asked and asked.runs() else None


def _asked(name: str, argv: list[str], *, interactive: bool) -> "_Asked | None":
    """The program, for which the monitor has been asked; None: that is left to the long way."""
    path = _found(name)
    about, run = _read(f"{path}/config.json"), _read(f"{path}/run.json")
    groups = kept.directories(run)
    version = len(groups) and run["about"]["group"]["version"]
    if "finished" in run or not about["box"].get("root") or is_frozen(version, groups):
        return None
    monitor = connected(path)
    try:
        pidfd = _pidfd(monitor)
        before = calls.load(f"{path}/{kept.FILE}", kept.holds(run, proc.number_of(pidfd)))
        if before is None:
            return None
        noted = _Noted(path, name, about, " ".join(argv))
        asked = _Asked(before, about["box"]["env"], argv, noted, interactive=interactive)
        asked.ask(monitor, pidfd)  # from now on it may run, and the long way must not run it again
        return asked
    finally:
        monitor.close()


def _found(name: str) -> str:
    """The folder of a container: by its name, its ID, or the beginning of that."""
    state = folder.where_lasting()
    if "/" not in name and os.path.isdir(path := f"{state}/containers/{name}"):
        return path
    try:
        return os.readlink(f"{state}/names/{name.removeprefix('/')}")
    except OSError:
        (found,) = (each for each in os.listdir(f"{state}/containers") if each.startswith(name))
    return f"{state}/containers/{found}"


def _read(path: str) -> "Any":  # noqa: ANN401 - what JSON can hold
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return json.loads(file.read())


def _pidfd(monitor: _socket.socket) -> int:
    """A pidfd of the container's first process."""
    descriptors.send(monitor, b"pidfd", ())
    return descriptors.receive(monitor, _ANSWER, 1)[1][0]


def _score(before: calls.Kept, env: "Mapping[str, str]", argv: list[str]) -> tuple[int, bytes]:
    """The score of a program, and its address. ValueError: it has no room there."""
    (first, last, each), *_ = ADDRESSES
    # Of other scores that this monitor has none lies there, or the long way tries elsewhere.
    address = first + each * (os.getpid() % ((last - first) // each))
    paths = [os.fsencode(path) for path in places(argv[0], env.get("PATH", _PATH))]
    variables = [os.fsencode(f"{name}={value}") for name, value in env.items()]
    score = before.score(address, paths, [os.fsencode(word) for word in argv], variables)
    if len(score) > each:
        raise ValueError(len(score))
    return address, score


class _Asked:
    """A program that the monitor is asked for. Its streams are pipes."""

    _ended, _answer = False, b""

    def __init__(
        self,
        before: calls.Kept,
        env: "Mapping[str, str]",
        argv: list[str],
        noted: "_Noted",
        *,
        interactive: bool,
    ) -> None:
        self._noted, self._before = noted, before
        address, score = _score(before, env, argv)
        self._size = len(score)
        self._told = REQUEST.pack(address, len(score), ONCE, 7, 0)
        self._score = os.memfd_create("labkit-score")
        os.write(self._score, score)
        (out, out_end), (error, error_end) = os.pipe(), os.pipe()
        self._ours = {"o": out, "e": error}
        self._theirs = [out_end, error_end]
        if interactive:
            stdin, self._ours["i"] = os.pipe()
        else:
            stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._theirs.insert(0, stdin)

    def ask(self, monitor: _socket.socket, pidfd: int) -> None:
        """Ask for it. pidfd: of the container's first process. OSError: nobody has been asked."""
        self._channel, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        cwd = os.open(".", os.O_PATH | os.O_DIRECTORY)
        fds = [theirs.fileno(), self._score, cwd, *self._theirs, pidfd]
        descriptors.send(monitor, self._told, fds)
        theirs.close()
        for fd in (cwd, *self._theirs, pidfd):
            os.close(fd)

    def runs(self) -> bool:
        """Wait until it runs. Whether it does; else it has not been begun, and did nothing."""
        answer, pidfds = descriptors.receive(self._channel, _ANSWER, 1)
        for fd in pidfds:
            os.close(fd)
        if answer != b"started" or not self._before.ran(os.pread(self._score, self._size, 0)):
            return False
        self._noted.begin()
        return True

    def follow(self) -> int:
        """Pass on what it prints until it has ended; the exit status."""
        relay = Relay(self._ours)
        relay.until(self._channel.fileno(), self._hear)
        relay.follow()
        while not self._ended:
            self._hear()
        if not self._answer.startswith(b"exited"):
            return _LOST
        number = int(self._answer.split()[1])
        code = number if number >= 0 else 128 - number
        self._noted.note("exec_die", exitCode=f"{code}")
        return code

    def _hear(self) -> bool:
        """Take in how it has ended."""
        self._answer, self._ended = descriptors.receive(self._channel, _ANSWER, 1)[0], True
        return True


class _Noted:
    """Notes events of a container, with its labels, image and name, and the number of the exec."""

    def __init__(self, path: str, name: str, about: "Mapping[str, Any]", command: str) -> None:
        self._command = command
        self._state, _, self._identity = path.rpartition("/containers/")
        self._exec = os.urandom(32).hex()
        labels = about["asked"].get("Config", {}).get("Labels") or {}
        called = {"image": about["image"], "name": self._name_of(name)}
        self._about = events.as_json({**labels, **called})

    def _name_of(self, name: str) -> str:
        """The name of the container, which may have been called by its ID."""
        for each in [name.removeprefix("/"), *os.listdir(f"{self._state}/names")]:
            try:
                if os.readlink(f"{self._state}/names/{each}").endswith(self._identity):
                    return each
            except OSError:
                continue
        return self._identity[:12]

    def begin(self) -> None:
        """Note the events of a beginning."""
        self.note(f"exec_create: {self._command}")
        self.note(f"exec_start: {self._command}")

    def note(self, action: str, **more: str) -> None:
        """Note an event."""
        attributes = f"{events.as_json({'execID': self._exec, **more})},{self._about}"
        events.note(self._state, "container", action, self._identity, attributes)
