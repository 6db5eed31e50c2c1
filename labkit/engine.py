"""The engine: a small single-threaded process that starts, watches and ends containers.

A notebook's kernel has many threads, and from a process of many threads the kernel makes no user
namespace and moves one thread only. So each caller starts one engine, which keeps to one thread.
`labkit.client` sends it requests over an inherited socket pair:

    request   the descriptors [channel, memfd, working directory, stdin, stdout, stderr] and, to
              enter a process, its pidfd, or else, to see each step, the container's end of an
              observer's socket; the memfd holds the fields of a Container as JSON, whether the
              caller wants to hear of the start, and whether to see each step
    answers   on the request's own channel, JSON: how the container was built, with a pidfd, to
              who wants to hear of the start; the same with "exited" when it has ended, or with
              "refused" when there was no child at all
    the end   closing the channel kills its container; closing the socket pair ends the engine

The engine imports little and starts with ``-I -S``: cloning a small process is cheap.
"""

import errno
import functools
import gc
import json
import os
import select
import signal
import socket
from types import SimpleNamespace

from labkit import child, rights, syscalls
from labkit.calls import Call, Observed, rehearse
from labkit.namespaces import differing, inodes
from labkit.report import Report
from labkit.syscalls import CLONE_NEWPID, CLONE_NEWTIME, PR_SET_CHILD_SUBREAPER, Clone

TYPE_CHECKING = False  # importing typing would be a third of the engine's start
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

REQUEST_FDS = 7
# Those that are sent to all of a terminal's job, and would end a program that does not expect them.
JOB_SIGNALS = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


class Job:
    """One container, from its request to its end."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.pid = self.pidfd = self.report = -1
        self.said = b""  # by the child, through its report pipe
        self.trace: list[str] = []  # of the engine, for this child
        self.calls: list[str] = []  # that the child is to make
        self.inodes: dict[str, int] = {}

    def start(self, fds: "list[int]") -> None:
        """Clone the child that becomes the container. Raises OSError when the kernel refuses."""
        request, cwd, *stdio = fds[:5]
        box = SimpleNamespace(**json.loads(os.pread(request, os.fstat(request).st_size, 0)))
        box.cloneflags, self.tell_start = Clone(box.cloneflags), box.tell_start
        # Before the clone: a new mount namespace takes the working directory over to its own copy
        # of the mounts. The caller's descriptor, used after it, would lead back to the caller's.
        os.fchdir(cwd)
        try:
            if len(fds) > 5 and not box.observed:
                self.enter(box, stdio, fds[5])
            else:
                self.contain(box, stdio, fds[5:])
        finally:
            self.trace = syscalls.trace.copy()
            syscalls.trace.clear()

    def contain(self, box: SimpleNamespace, stdio: "list[int]", observer: "list[int]") -> None:
        """A container of its own; an observer sees it before each of its calls."""
        self.own_pids = bool(box.cloneflags & CLONE_NEWPID)
        calls = rehearse(lambda: child.contain(box))
        for fd in observer:
            calls = [Observed(call, fd) for call in calls]
        self.clone(calls, stdio, box.cloneflags)

    def enter(self, box: SimpleNamespace, stdio: "list[int]", target: int) -> None:
        """One more process in the namespaces of the process behind the pidfd `target`."""
        self.own_pids = False
        self.inodes = inodes(_pid(target))
        flags = differing(_home(), self.inodes)
        here = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        born = flags & CLONE_NEWPID
        try:
            # This moves no one but the children that we make from here on: one clone instead of
            # the two that the child would need. Not allowed from outside of a user namespace.
            born = born if born and _may(syscalls.setns, target, born) else Clone(0)
            calls = rehearse(lambda: child.join(box, target, flags, born))
            self.clone(calls, stdio, Clone(0))
        finally:
            if born:
                syscalls.setns(here, born)
            os.close(here)

    def clone(self, calls: "Sequence[Call]", stdio: "list[int]", flags: Clone) -> None:
        """Clone a child to make the `calls`; let it become the program once we have seen it."""
        self.report, write = os.pipe()
        gate, opener = os.pipe()
        try:
            self.pid = _clone(flags)
            if self.pid == 0:
                os.close(opener)  # so that the gate gives way if the engine dies
                child.play(calls, stdio, gate, Report(write))
            self.calls = [call.line for call in calls]
            self.pidfd = os.pidfd_open(self.pid)
            self.inodes = self.inodes or _inodes(self.pid)
            os.write(opener, b"!")
        finally:
            for fd in (write, gate, opener):
                os.close(fd)

    def hear(self) -> bool:
        """Take in what the child says; False at its end: it has become the program, or ended."""
        words = os.read(self.report, 65536)
        self.said += words
        return bool(words)

    def kill(self) -> None:
        """End the container: its first process, and with it all others."""
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def answer(self, more: "dict[str, object]", fds: "tuple[int, ...]" = ()) -> None:
        """Send the account of the start and `more`; a caller that is gone does not miss it."""
        told = {
            "pid": self.pid,
            "trace": self.trace,
            "calls": self.calls,
            "said": self.said.decode(),
            "inodes": self.inodes,
        } | more
        try:  # noqa: SIM105 - contextlib would be a sixth of what the engine imports
            rights.send(self.channel, json.dumps(told).encode(), fds, socket.MSG_DONTWAIT)
        except OSError:
            pass

    def close(self) -> None:
        """Close what is still open."""
        self.channel.close()
        for fd in (self.pidfd, self.report):
            if fd >= 0:
                os.close(fd)


def _clone(flags: Clone) -> int:
    try:
        return syscalls.clone3(flags)
    except OSError as error:
        # CLONE_NEWTIME has no place in the elder call: its bit is part of the exit signal there.
        if error.errno != errno.ENOSYS or flags & CLONE_NEWTIME:
            raise
        return syscalls.clone(flags)


def _may(call: "Callable[..., None]", *arguments: object) -> bool:
    try:
        call(*arguments)
    except PermissionError:
        return False
    return True


@functools.cache
def _home() -> dict[str, int]:
    """The engine's own namespaces, which it never leaves."""
    return inodes()


def _inodes(pid: int) -> dict[str, int]:
    try:
        return inodes(pid)
    except ProcessLookupError:  # somebody has killed it already
        return {}


def _pid(pidfd: int) -> int:
    """The PID behind a pidfd; -1 when the process has been reaped. pidfd_open(2)."""
    with open(f"/proc/self/fdinfo/{pidfd}") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("Pid:"))


class Engine:
    """The loop: one request, report or exit at a time."""

    def __init__(self, control: socket.socket, caller: int) -> None:
        self.control = control
        self.jobs: dict[int, Job] = {}
        self.poll = select.epoll()
        self.handlers: dict[int, Callable[[], None]] = {}
        self.watch(control.fileno(), self.accept)
        self.watch(os.pidfd_open(caller), self.end)

    def watch(self, fd: int, handler: "Callable[[], None]") -> None:
        """Call `handler` whenever `fd` is readable."""
        self.handlers[fd] = handler
        self.poll.register(fd, select.EPOLLIN)

    def forget(self, fd: int) -> None:
        """Watch `fd` no longer."""
        if self.handlers.pop(fd, None):
            self.poll.unregister(fd)

    def run(self) -> None:
        """Serve until the caller is gone."""
        while True:
            # One event at a time: a handler may close the descriptor that another event is about.
            for fd, _ in self.poll.poll(maxevents=1):
                self.handlers[fd]()

    def accept(self) -> None:
        """Start the container of the next request."""
        data, fds = rights.receive(self.control, 1, REQUEST_FDS)
        if not data:
            self.end()
        if len(fds) < REQUEST_FDS - 1:  # MSG_CTRUNC: we have no descriptors left to take them
            for fd in fds:
                os.close(fd)
            return
        job = Job(socket.socket(fileno=fds[0]))
        try:
            job.start(fds[1:])
        except OSError as error:
            call = str(error.strerror).removesuffix(f": {os.strerror(error.errno or 0)}")
            job.answer({"refused": [call, error.errno]})
            job.close()
        else:
            self.follow(job)
        finally:
            for fd in fds[1:]:
                os.close(fd)

    def follow(self, job: Job) -> None:
        """Watch a container, and its caller."""
        self.jobs[job.pid] = job
        if job.tell_start:
            self.watch(job.report, lambda: self.hear(job))
        self.watch(job.pidfd, lambda: self.reap(job))
        self.watch(job.channel.fileno(), lambda: self.hang_up(job))

    def hear(self, job: Job) -> None:
        """Hear a child out, and tell its caller how it started."""
        if not job.hear():
            self.forget(job.report)
            job.answer({}, (job.pidfd,))

    def hang_up(self, job: Job) -> None:
        """The caller wants no more of this container."""
        self.forget(job.channel.fileno())
        job.kill()

    def reap(self, job: Job) -> None:
        """Collect a container that has ended, and every process that it left."""
        while job.hear():
            pass
        ended = os.waitid(os.P_PIDFD, job.pidfd, os.WEXITED)
        assert ended  # noqa: S101 - None is for WNOHANG
        del self.jobs[job.pid]
        if not job.own_pids:
            self.sweep()
        signalled = ended.si_code != os.CLD_EXITED
        job.answer({"exited": -ended.si_status if signalled else ended.si_status})
        for fd in (job.report, job.pidfd, job.channel.fileno()):
            self.forget(fd)
        job.close()

    def sweep(self) -> None:
        """Kill what a container without a PID namespace of its own has left running.

        While its first process lives, that one adopts its orphans; then they become our children.
        So a child that is no container was left by one that has ended.
        """
        while [pid for pid in _children() if pid not in self.jobs and _killed(pid)]:
            pass  # those they leave in turn come to us only now

    def end(self) -> None:
        """The caller is gone: end every container, then ourselves."""
        for job in self.jobs.values():
            job.kill()
        for job in list(self.jobs.values()):
            self.reap(job)
        raise SystemExit


def _children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]


def _killed(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except PermissionError:  # set-user-ID: not ours to end
        return False
    os.waitpid(pid, 0)
    return True


def main(fd: int, caller: int) -> None:
    """Serve the caller on the socket `fd` until it ends."""
    # What a program inherits from us must be as the kernel makes it: Python ignores these two. And
    # what is sent to the whole job (Ctrl-C, the shell's kill %1) is for the caller and the
    # container; unlike a signal ignored, a handler ends with execve.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    for number in JOB_SIGNALS:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    syscalls.prctl(PR_SET_CHILD_SUBREAPER, 1)
    syscalls.trace.clear()
    if os.getppid() != caller:  # it died before we could watch it
        return
    control = socket.socket(fileno=fd)
    control.set_inheritable(False)
    gc.freeze()  # what is there now stays: clones need not copy it to collect it
    Engine(control, caller).run()
