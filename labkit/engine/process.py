"""The engine: a small single-threaded process that starts, watches and ends containers.

A notebook's kernel has many threads, and from a process of many threads the kernel makes no user
namespace and moves one thread only. So each caller starts one engine, which keeps to one thread.
`labkit.engine.client` sends it requests over an inherited socket pair:

    request   the descriptors [channel, score, working directory, stdin, stdout, stderr] and, to
              enter a process, its pidfd, or else, to see each call, the container's end of an
              observer's socket; all else stands in the score (`score.py`, `layout.py`)
    answers   on the request's own channel: "started" with a pidfd, to who wants to hear of it;
              "exited N" when it has ended; "refused" when there was no child at all; "failed N
              CALL" when the engine itself was refused something
    the end   closing the channel kills its container; closing the socket pair ends the engine

The engine is cloned for each container, so it imports little, starts with ``-I -S`` and touches
little memory: after a clone each page that it writes is a page to be copied. That is why it has
`_signal` and `_socket`, which are the modules' halves in C, without enum and what else the others
bring along.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import errno
import gc
import os
import select
import sys

from labkit.engine import descriptors, layout
from labkit.engine.layout import AHEAD, CALL, CLONE_ARGS, COUNT, FLAGS, HEAD, INODES, KINDS, PLACE
from labkit.engine.player import make, play
from labkit.linux import door, proc
from labkit.linux.door import NUMBERS, syscall

TYPE_CHECKING = False  # importing typing would be a third of the engine's start
if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.linux.door import Words

_REQUEST_FDS = 7
_SETNS, _CLONE3, _CLONE = NUMBERS["setns"], NUMBERS["clone3"], NUMBERS["clone"]
_OPENAT = NUMBERS["openat"]
_KIND = dict(KINDS)
_PR_SET_CHILD_SUBREAPER = 36
_MOMENT = 0.001  # seconds, the least that epoll_wait(2) can wait
# Those that are sent to all of a terminal's job, and would end a program that does not expect them.
_JOB_SIGNALS = (
    _signal.SIGHUP,
    _signal.SIGINT,
    _signal.SIGQUIT,
    _signal.SIGTERM,
    _signal.SIGUSR1,
    _signal.SIGUSR2,
)


class Job:
    """One container, from its request to its end."""

    def __init__(self, channel: _socket.socket) -> None:
        self.channel = channel
        self.pid = self.pidfd = -1
        self.report = -1  # our end of a pipe that its execve closes, for who wants to hear of it
        self.own_pids = False
        self.ended = b""  # how, for the caller

    def start(self, fds: "list[int]") -> None:
        """Clone the child that becomes the container; `pid` stays -1 when the kernel refuses.

        Raises OSError when it is the engine that gets no further.
        """
        score, cwd = fds[:2]
        size = os.fstat(score).st_size
        words = door.share(score, size, PLACE)
        try:
            # Before the clone: a new mount namespace takes the working directory over to its own
            # copy of the mounts. The caller's descriptor, used after it, would lead back there.
            os.fchdir(cwd)
            target = fds[5] if len(fds) > 5 else -1
            if words[layout.TARGET]:
                words[words[layout.TARGET]] = target
                self.enter(words, fds, target)
            else:
                self.own_pids = bool(words[FLAGS] & _KIND["pid"])
                self.clone(words, fds, target if words[layout.OBSERVED] else -1)
        finally:
            door.forget(PLACE, size)

    def enter(self, words: "Words", fds: "list[int]", target: int) -> None:
        """One more process in the namespaces of the process behind the pidfd `target`.

        To be born in its PID namespace, it is we who enter that for the clone: it moves no one but
        the children that we make from there on, and takes one clone instead of two.
        """
        born = words[layout.BORN]
        if not born:
            self.clone(words, fds, -1)
            return
        here = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        try:
            words[layout.ENTERED] = syscall(_SETNS, target, born)
            if words[layout.ENTERED] == 0:
                self.clone(words, fds, -1)
                words[layout.HERE] = here
        finally:
            if syscall(_SETNS, here, born):
                os._exit(125)  # a container's PID namespace is no place for an engine
            os.close(here)

    def clone(self, words: "Words", fds: "list[int]", observer: int) -> None:
        """Clone a child to play the score; let it become the program once we have seen it."""
        gate, opener = os.pipe()
        write = -1
        if words[layout.TELL]:
            self.report, write = os.pipe()
        try:
            pid = _clone(words)
            if pid == 0:
                os.close(opener)  # so that the gate gives way if the engine dies
                play(words, fds[2:5], gate, write, observer, fds[0])
            if pid > 0:
                self.pid, self.pidfd = pid, _pidfd_open(pid)
                folder = proc.number_of(self.pidfd)
                _see(folder, words)
                if not words[AHEAD] or _prepare(folder, words, fds[0]):
                    os.write(opener, b"!")
        finally:
            os.close(gate)
            os.close(opener)
            if write >= 0:
                os.close(write)

    def kill(self) -> None:
        """End the container: its first process, and with it all others."""
        _signal.pidfd_send_signal(self.pidfd, _signal.SIGKILL)

    def answer(self, words: bytes, fds: "tuple[int, ...]" = ()) -> None:
        """Say something to the caller; one that is gone does not miss it."""
        try:  # noqa: SIM105 - contextlib would be a sixth of what the engine imports
            descriptors.send(self.channel, words, fds, _socket.MSG_DONTWAIT)
        except OSError:
            pass

    def close(self) -> None:
        """Close what is still open."""
        self.channel.close()
        self.release()

    def release(self) -> None:
        """Close what leads to the process."""
        for fd in (self.pidfd, self.report):
            if fd >= 0:
                os.close(fd)
        self.pidfd = self.report = -1


def _clone(words: "Words") -> int:
    """Clone; note what clone3 and, where seccomp answers ENOSYS to it, clone gave. The PID or 0."""
    result = syscall(_CLONE3, PLACE, CLONE_ARGS)
    if result == 0:
        return 0
    words[layout.CLONE3] = result
    # CLONE_NEWTIME has no place in the elder call: its bit is part of the exit signal there.
    if result == -errno.ENOSYS and not words[FLAGS] & _KIND["time"]:
        result = syscall(_CLONE, words[FLAGS] | _signal.SIGCHLD)
        if result:
            words[layout.CLONE] = result
    return result


def _prepare(number: int, words: "Words", score: int) -> bool:
    """Make the calls that come ahead of those of the child, which waits; whether none was refused.

    They write to files of its directory in /proc, such as uid_map. The score has the files' names,
    with room before each for that directory, whose name only we know.
    """
    folder = b"/proc/%d/" % number
    begin = HEAD + CALL * words[COUNT]
    for at in range(begin, begin + CALL * words[AHEAD], CALL):
        if words[at] == _OPENAT:
            words[at + 2] -= len(folder)
            os.pwrite(score, folder, words[at + 2] - PLACE)
        if make(words, at) < 0:
            return False
    return True


def _see(number: int, words: "Words") -> None:
    """Note the inodes of the new namespaces of the child: those it shares with us are ours."""
    flags = words[FLAGS]
    for place, (name, flag) in enumerate(KINDS, INODES):
        if flags & flag:
            try:
                words[place] = os.stat(f"/proc/{number}/ns/{name}").st_ino
            except OSError:  # somebody has killed it already
                return


class Engine:
    """The loop: one request, report or exit at a time."""

    def __init__(self, control: _socket.socket, caller: int) -> None:
        self.control = control
        self.caller = _pidfd_open(caller)
        self.spare = os.dup(self.caller)
        self.jobs: dict[int, Job] = {}
        self.over: list[Job] = []  # whose end is told when no stray is left
        self.strays: set[int] = set()  # killed, but not gone yet
        self.poll = select.epoll()
        self.handlers: dict[int, Callable[[], None]] = {}
        self.watch(control.fileno(), self.accept)
        self.watch(self.caller, self.end)

    def watch(self, fd: int, handler: "Callable[[], None]") -> None:
        """Call `handler` whenever `fd` is readable."""
        self.handlers[fd] = handler
        self.poll.register(fd, select.EPOLLIN)

    def forget(self, fd: int) -> None:
        """Watch `fd` no longer."""
        if self.handlers.pop(fd, None):
            self.poll.unregister(fd)

    def run(self) -> None:
        """Serve until the caller is gone, or until we can go on no more: all hear why."""
        try:
            while True:
                self.step()
        except OSError as error:
            for job in self.jobs.values():
                job.answer(_failed(error))
            raise SystemExit from None

    def step(self) -> None:
        """Wait for one event, or a moment when strays are about to be gone."""
        # One event at a time: a handler may close the descriptor that another event is about.
        for fd, _ in self.poll.poll(_MOMENT if self.strays else None, maxevents=1):
            self.handlers[fd]()
        if self.strays:
            self.collect()

    def accept(self) -> None:
        """Start the container of the next request."""
        os.close(self.spare)  # so that there is room for the channel at least
        data, fds = descriptors.receive(self.control, 1, _REQUEST_FDS)
        if not data:
            self.end()
        job = Job(_socket.socket(fileno=fds[0]))
        try:
            if len(fds) < _REQUEST_FDS - 1:  # MSG_CTRUNC: no room for the others
                raise OSError(errno.EMFILE, "recvmsg(SCM_RIGHTS)")
            job.start(fds[1:])
        except OSError as error:
            job.answer(_failed(error))
        else:
            if job.pid < 0:
                job.answer(b"refused")
        finally:
            if job.pid < 0:
                job.close()
            else:
                self.follow(job)
            for fd in fds[1:]:
                os.close(fd)
            self.spare = os.dup(self.caller)

    def follow(self, job: Job) -> None:
        """Watch a container, and its caller."""
        self.jobs[job.pid] = job
        if job.report >= 0:
            self.watch(job.report, lambda: self.hear(job))
        self.watch(job.pidfd, lambda: self.reap(job))
        self.watch(job.channel.fileno(), lambda: self.hang_up(job))

    def hear(self, job: Job) -> None:
        """The program runs, or the child has ended: tell the caller."""
        self.forget(job.report)
        job.answer(b"started", (job.pidfd,))

    def hang_up(self, job: Job) -> None:
        """The caller wants no more of this container."""
        self.forget(job.channel.fileno())
        job.kill()

    def reap(self, job: Job) -> None:
        """Collect a container that has ended; tell of it when all that it left is gone too."""
        if job.report in self.handlers:
            self.hear(job)
        ended = os.waitid(os.P_PIDFD, job.pidfd, os.WEXITED)
        assert ended  # noqa: S101 - None is for WNOHANG
        del self.jobs[job.pid]
        for fd in (job.report, job.pidfd, job.channel.fileno()):
            self.forget(fd)
        job.release()  # what comes now may need a descriptor
        signalled = ended.si_code != os.CLD_EXITED
        job.ended = b"exited %d" % (-ended.si_status if signalled else ended.si_status)
        if job.own_pids:
            self.tell(job)
        else:
            self.over.append(job)
            self.sweep()

    def tell(self, job: Job) -> None:
        """Tell the caller how it ended."""
        job.answer(job.ended)
        job.close()

    def sweep(self) -> None:
        """Kill what a container without a PID namespace of its own has left running.

        While its first process lives, that one adopts its orphans; then they become our children.
        So a child that is no container was left by one that has ended.
        """
        known = self.jobs.keys() | self.strays
        self.strays.update(pid for pid in _children() if pid not in known and _killed(pid))
        if not self.strays:
            while self.over:
                self.tell(self.over.pop())

    def collect(self) -> None:
        """Reap the strays that have ended, in whatever order they do.

        We wait for none of them: the first process of a PID namespace does not end before all
        others in it have been reaped, and they may be ours to reap: `unshare --pid`'s are.
        """
        gone = {pid for pid in self.strays if os.waitpid(pid, os.WNOHANG)[0]}
        if gone:
            self.strays -= gone
            self.sweep()  # those they leave in turn come to us only now

    def end(self) -> None:
        """The caller is gone: end every container, then ourselves."""
        for fd in (self.control.fileno(), self.caller):
            self.forget(fd)
        for job in self.jobs.values():
            job.kill()
        while self.jobs or self.strays:
            self.step()
        raise SystemExit


def _children() -> list[int]:
    try:
        return proc.children()
    except OSError:  # somebody has unmounted /proc; what is said at our start does not help now
        return []


def _pidfd_open(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError as error:  # no engine without pidfds: before Linux 5.3, or by a filter
        raise OSError(error.errno, f"pidfd_open({pid}, 0)") from None


def _failed(error: OSError) -> bytes:
    """What a caller hears when it is we who were refused something."""
    said = error.strerror if error.strerror != os.strerror(error.errno or 0) else "engine"
    call = f'open("{error.filename}")' if error.filename else said
    return os.fsencode(f"failed {error.errno} {call}")


def _killed(pid: int) -> bool:
    try:
        os.kill(pid, _signal.SIGKILL)
    except PermissionError:  # set-user-ID: not ours to end
        return False
    return True


def _moved() -> bytes:
    """Become root of a user namespace of our own: "0", or the errno and the call refused.

    It is made here, where there is one thread: the caller has many. user_namespaces(7)
    """
    uid, gid = os.geteuid(), os.getegid()
    refused = syscall(NUMBERS["unshare"], _KIND["user"])
    if refused:
        return b"%d unshare(CLONE_NEWUSER)" % -refused
    for name, text in (
        ("uid_map", b"0 %d 1" % uid),
        ("setgroups", b"deny"),
        ("gid_map", b"0 %d 1" % gid),
    ):
        path = f"/proc/self/{name}"
        try:
            file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            os.write(file, text)
            os.close(file)
        except OSError as error:
            return f'{error.errno} write("{path}", "{text.decode()}")'.encode()
    return b"0"


def _serve(control: _socket.socket, caller: int) -> None:
    try:
        engine = Engine(control, caller)
    except OSError as error:
        _unable(control, error)
    else:
        engine.run()


def _unable(control: _socket.socket, error: OSError) -> None:
    """Tell each caller why there can be no engine."""
    os.close(0)  # so that there is room for the channel at least
    while fds := descriptors.receive(control, 1, 1)[1]:
        job = Job(_socket.socket(fileno=fds[0]))
        job.answer(_failed(error))
        job.close()


def main() -> None:
    """Serve a caller until it ends.

    Arguments: the socket that leads to it, its PID, and 1 to do so as root of a user namespace.
    """
    fd, caller, rootless = map(int, sys.argv[1:])
    # What a program inherits from us must be as the kernel makes it: Python ignores these two. And
    # what is sent to the whole job (Ctrl-C, the shell's kill %1) is for the caller and the
    # container; unlike a signal ignored, a handler ends with execve.
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_DFL)
    for number in _JOB_SIGNALS:
        _signal.signal(number, lambda *_: None)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # ignored, it would leave nothing to wait for
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    syscall(NUMBERS["prctl"], _PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != caller:  # it died before we could watch it
        return
    os.set_inheritable(fd, False)
    control = _socket.socket(fileno=fd)
    if rootless:
        control.send(_moved())
    gc.freeze()  # what is there now stays: clones need not copy it to collect it
    _serve(control, caller)
