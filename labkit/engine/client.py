"""The caller's side: run a container, start one, enter one.

The first call starts this process's engine. Every call has a channel of its own to it, so any
number of threads may call at once; closing a channel kills its container, and that is how a
time-out, Ctrl-C or a vanished caller end it.
"""

import contextlib
import errno
import os
import signal
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from labkit.container import contain
from labkit.container.container import Container, Finished
from labkit.container.rights import map_ids
from labkit.engine import descriptors
from labkit.engine.connection import home, is_rootless, kill_session, lost, request
from labkit.engine.score import Account, Score
from labkit.engine.streams import Streams, text
from labkit.linux.call import CHILD, THERE, rehearse
from labkit.linux.flags import CLONE_NEWPID, CLONE_NEWUSER, Clone
from labkit.linux.namespaces import differing, inodes
from labkit.linux.processes import pidfd_open
from labkit.linux.pty import END, Pty
from labkit.linux.refusal import explain, refusal
from labkit.text.words import chosen, spoken

_FILTERED = (
    "这时过滤器已经装上，这个调用也由它判：在配置里放行，或者加上 no_new_privs=True，最后才装它。",
    "By then the filter is in place and judges this call too: allow it in the profile, or add "
    "no_new_privs=True, with which the filter comes last.",
)
# As docker run and a shell have it: the program was not found, or could not be executed.
_NOT_FOUND = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
_NOT_EXECUTABLE = {errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.EISDIR, errno.ETXTBSY}

_ANSWER = 4096  # bytes: more than any
_GRACE = 2.0  # seconds for the engine to report the end of a container that is being killed


class EngineLost(ConnectionError):  # noqa: N818 - it says what happened, as TimedOut does
    """The engine ended under a container, which ended with it. The next call starts another."""


class TimedOut(TimeoutError):  # noqa: N818 - a TimeoutError that says more
    """The container ran out of time and was killed. stdout, stderr: what it had printed so far."""

    def __init__(self, message: str, stdout: str, stderr: str) -> None:
        super().__init__(message)
        self.stdout, self.stderr = stdout, stderr


@dataclass(frozen=True)
class Target:
    """A process to enter: its PID, and a pidfd of it, which no reuse of the number misleads."""

    pid: int
    pidfd: int


class Running:
    """A container that has been started; its ``with`` block ends it.

    box: what was asked for. pid: its first process, as the caller sees it. inodes: the namespaces
    it is in, kind -> inode. trace: the system calls that built it.
    """

    def __init__(
        self,
        box: Container,
        streams: Streams,
        target: Target | None = None,
        *,
        started: bool = False,
        observer: int | None = None,
    ) -> None:
        """Ask the engine for `box`, in the namespaces of `target` if one is given.

        started: whether to be told when the program runs; else only what came of it. observer: the
        container's end of the socket on which an observer sees each of its steps.
        """
        self.box, self.pid = box, 0
        self.trace: tuple[str, ...] = ()
        self.inodes: dict[str, int] = {}
        self._began = time.monotonic()
        self._pidfd = -1
        self._returncode: int | None = None
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None
        self._streams = streams
        others = [] if observer is None else [observer]
        try:
            if target:
                others = [target.pidfd]
                self._score = self._entering(target)
            else:
                self._score = self._building(tell=started or box.tty, observed=bool(others))
            try:
                self._engine, self._channel = request(self._score.fd, streams.theirs + others)
            except BaseException:
                self._score.close()
                raise
        except BaseException as error:
            streams.close()
            if isinstance(error, OSError):  # of this process's own limits, as a rule
                explain(error)
            raise
        streams.sent()
        streams.watch(self._channel.fileno(), self._hear)

    def _building(self, *, tell: bool, observed: bool) -> Score:
        """The score of a container."""
        calls = rehearse(lambda: contain.contain(self.box))
        ahead = rehearse(lambda: map_ids(self.box, CHILD))
        flags = contain.at_birth(self.box)
        return Score(calls, flags, ahead=ahead, tell=tell, observed=observed)

    def _entering(self, target: Target) -> Score:
        """The score of one more process in the namespaces of `target`."""
        self.inodes = inodes(target.pid)
        flags = differing(home(), self.inodes)
        # The engine may be in the PID namespace for the clone (`process.py:Job.enter`), but not
        # where only a process inside the user namespace may enter, nor if it could not come back.
        outside = flags & CLONE_NEWUSER or is_rootless()
        born = Clone(0) if outside else flags & CLONE_NEWPID
        calls = rehearse(lambda: contain.join(self.box, THERE, flags, born))
        return Score(calls, Clone(0), born=born)

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return text(self._streams.collected[1])

    @property
    def stderr(self) -> str:
        """What it has printed to standard error so far."""
        return text(self._streams.collected[2])

    @property
    def complaint(self) -> bytes:
        """The same as the bytes that it is: a name that is not UTF-8 stays as it was typed."""
        return bytes(self._streams.collected[2])

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send its first process a signal. ProcessLookupError when it has ended."""
        if self._returncode is not None:
            raise refusal(
                f"pidfd_send_signal({self.pid}, {signal.Signals(number).name})", errno.ESRCH
            )
        signal.pidfd_send_signal(self._pidfd, number)

    def write(self, typed: str | bytes) -> None:
        r"""Type on its pseudo-terminal: "\r" is Enter, "\3" Ctrl-C, "\4" Ctrl-D.

        Raises BrokenPipeError when it has ended, or has no pseudo-terminal of ours.
        """
        if not self._streams.pty:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        self._streams.pty.write(_as_bytes(typed))

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of its pseudo-terminal, if it has one of ours: it gets SIGWINCH."""
        if self._streams.pty:
            self._streams.pty.resize(rows, columns)

    def exec(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        input: str | bytes | None = None,
        timeout: float | None = None,
    ) -> Finished:
        """Run one more program in its namespaces, as docker exec does; see :func:`run`."""
        if self._returncode is not None:
            raise refusal(f"setns({self.pid})", errno.ESRCH)
        # As limited as the container, or it would be a way out of it.
        box = replace(
            self.box,
            argv=argv,
            env=self.box.env if env is None else env,
            hostname=None,
            proc=False,
            tty=False,
            cwd=None,
        )
        target = Target(self.pid, self._pidfd)
        return Running(box, _captured(box, input), target).finish(timeout)

    def wait(self, timeout: float | None = None) -> Finished:
        """Wait until it ends by itself; TimeoutError when it still runs after `timeout` seconds."""
        if self._thread:
            self._thread.join(timeout)
            if self._thread.is_alive():
                raise self._timed_out(timeout)
        if self._failure:
            raise self._failure
        return Finished(
            self._returncode or 0, self.stdout, self.stderr, self.trace, self.inodes, self._seconds
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it with everything it has started, and wait until that is done."""
        self._abort()
        if self._thread:
            self._thread.join()

    def finish(self, timeout: float | None) -> Finished:
        """Follow it to its end on this thread; whatever interrupts that ends it."""
        deadline = None if timeout is None else self._began + timeout
        try:
            if not self._follow(deadline):
                raise self._timed_out(timeout)
        except BaseException:
            self._abort()
            self._follow(time.monotonic() + _GRACE)
            raise
        finally:
            self._close()
        return self.wait()

    def begin(self) -> Self:
        """Follow it until its program runs, and from there on a thread of its own."""
        try:
            while not self.pid and not self._ended:
                self._streams.step(None)
            if self._failure:
                raise self._failure
        except BaseException:
            self._close()  # which hangs up: the engine kills what it may have begun
            raise
        self._thread = threading.Thread(target=self._follow_and_close, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # how Python says that the kernel gave it no thread
            self._thread = None
            self._close()
            raise refusal("clone(CLONE_THREAD)", errno.EAGAIN) from None
        return self

    @property
    def _ended(self) -> bool:
        return self._returncode is not None or self._failure is not None

    def _follow(self, deadline: float | None) -> bool:
        """Move input and output until it has ended; False when the deadline came first."""
        while not self._ended:
            left = None if deadline is None else deadline - time.monotonic()
            if not self._streams.step(left) and left is not None and left <= 0:
                return False
        return True

    def _follow_and_close(self) -> None:
        self._follow(None)
        self._close()

    def _hear(self) -> None:
        """Take in one answer of the engine."""
        data, fds = descriptors.receive(self._channel, _ANSWER, 1)
        if not data:
            lost(self._engine)
            if self.box.tty and self.pid:
                kill_session(self.pid)  # its own: it is out of the reach of the engine's
            self._failure = EngineLost(
                spoken(
                    "引擎被终止了，容器也随之结束；下一次调用会启动新的引擎",
                    "the engine was ended, its containers with it; the next call starts another",
                )
            )
            return
        if fds:
            (self._pidfd,) = fds
        word, *more = data.decode().split(maxsplit=2)
        if word == "failed":
            self._failure = refusal(more[1], int(more[0]))
        if not self.pid:
            self._begun(self._score.account())
        if word == "exited" and not self._ended:
            self._returncode = int(more[0])

    def _begun(self, account: Account) -> None:
        """Take in how it was built, or what was refused."""
        self.pid, self.trace = account.pid, account.trace
        self.inodes = self.inodes or self._engine.inodes | account.inodes
        if account.defect:
            self._failure = RuntimeError(account.defect)
        elif account.refused:
            self._refused(*account.refused)

    def _refused(self, call: str, number: int) -> None:
        """A program that cannot be run ends the container; any other refusal is an error."""
        if call.startswith("execve(") and number in _NOT_FOUND | _NOT_EXECUTABLE:
            line = f"labkit: {self.box.argv[0]}: {os.strerror(number)}\n"
            self._streams.add(2, os.fsencode(line))
            self._returncode = 127 if number in _NOT_FOUND else 126
        else:
            self._failure = refusal(call, number)
            vars(self._failure)["trace"] = self.trace
            if any(line.startswith("seccomp(") for line in self.trace[:-1]):
                for note in chosen(*_FILTERED):
                    self._failure.add_note(note)

    def _timed_out(self, timeout: float | None) -> TimedOut:
        return TimedOut(
            f"{self.box.argv[0]} "
            + spoken(f"在 {timeout} 秒内没有结束", f"did not end within {timeout} seconds"),
            self.stdout,
            self.stderr,
        )

    def _abort(self) -> None:
        """Have the engine kill it: half-closing the channel is the sign."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)

    def _close(self) -> None:
        self._seconds = time.monotonic() - self._began
        self._streams.forget(self._channel.fileno())
        self._channel.close()
        self._score.close()
        self._streams.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)


def _as_bytes(data: str | bytes | None) -> bytes:
    """What is typed or piped in, as UTF-8; bytes that Python made text of are the same again."""
    if not isinstance(data, str):
        return data or b""
    try:
        return data.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        wrong = repr(data[error.start : error.end])
        said = spoken(
            f"input 里的 {wrong} 写不成字节", f"input holds {wrong}: no bytes stand for it"
        )
        raise ValueError(said) from None


def _captured(box: Container, data: str | bytes | None) -> Streams:
    typed = _as_bytes(data)
    if not box.tty:
        return Streams((None, None, None), typed)
    # On a terminal the end of the input has to be typed too; in the middle of a line the first
    # only hands the line over.
    typed += END if typed[-1:] in (b"", b"\n", b"\r") else END * 2
    return Streams((None, None, None), typed, pty=Pty())


def run(
    box: Container, *, input: str | bytes | None = None, timeout: float | None = None
) -> Finished:
    """Run a container to its end and return what came of it.

    input: its standard input (else /dev/null); with tty it is typed, and Ctrl-D after it. timeout:
    seconds, after which it is killed and TimeoutError raised, with what it had printed as
    ``stdout`` and ``stderr``. A system call that the kernel refused while the container was built
    raises the OSError of its errno; the calls up to then are its ``trace``.
    """
    return Running(box, _captured(box, input)).finish(timeout)


def start(
    box: Container,
    *,
    input: str | bytes | None = None,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> Running:
    """Start a container and return while it runs; use it as ``with start(box) as running:``.

    stdin, stdout, stderr: descriptors to give it; without them input comes from `input` (or
    /dev/null), and output is collected. With tty and without stdin there is a pseudo-terminal:
    `input` is typed there, more with :meth:`Running.write`, and all output is its stdout.
    """
    data = _as_bytes(input)
    pty = Pty() if box.tty and stdin is None else None
    return Running(box, Streams((stdin, stdout, stderr), data, pty=pty), started=True).begin()


def enter(
    pid: int,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    input: str | bytes | None = None,
    timeout: float | None = None,
) -> Finished:
    """Run a program in every namespace of process `pid` that is not the caller's: nsenter(1).

    Raises ProcessLookupError when there is no such process: never would the program run outside.
    """
    box = Container(tuple(argv), env=env)
    pidfd = pidfd_open(pid)
    try:
        return Running(box, _captured(box, input), Target(pid, pidfd)).finish(timeout)
    finally:
        os.close(pidfd)
