"""The engine: a small single-threaded process that starts, watches and ends containers.

A notebook's process has many threads. In a process of many threads the kernel makes no user
namespace, and moves only one thread to a new namespace of another kind. So each caller starts one
engine, which keeps to one thread. `connection.py` starts it and sends requests over an inherited
socket pair:

    hello     "0 PID" of the engine; as root of a user namespace that it could not make: "N CALL"
    request   the descriptors [channel, score, working directory, stdin, stdout, stderr]. The score
              is not among them if its memory is that of an earlier one. To enter a
              process, its pidfd follows. To see each call, the container's end of an observer's
              socket follows. Then comes the pidfd of the process in whose PID namespace the
              container is to be born. At the end stand its control groups, whose paths are in the
              packet too. All else stands in the score (`score.py`, `layout.py`).
    answers   on the request's own channel: "started" with a pidfd, if the caller wants a report of
              the start; "exited N" when the container has ended; "refused" when there was no child
              at all; "failed N CALL" when the engine itself was refused a call; "exited N oom"
              when processes of it were killed for want of memory
    the end   closing the channel kills its container; closing the socket pair ends the engine

The engine loses nobody. What is refused to it for one request ends that request. What is refused
when it waits, reaps or answers is tried again.

The engine is cloned for each container. After a clone each page that the engine writes has to be
copied. So it imports little, starts with ``-I -S`` and writes to little memory. `_signal` and
`_socket` are the C halves of two modules; they come without enum and the rest.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import errno
import gc
import os
import select
import sys

from labkit.engine import descriptors
from labkit.engine.job import Job, asked, failed, insisted, pidfd_open, prepare, refused, removal
from labkit.engine.layout import KEPT_SIZE, KINDS, REQUEST
from labkit.engine.orphans import HAS_KILLED, MOMENT, Orphans, keep, rest
from labkit.linux import door, proc
from labkit.linux.door import NUMBERS, syscall
from labkit.linux.signals import JOB_SIGNALS

TYPE_CHECKING = False  # importing typing would be a third of the engine's start
if TYPE_CHECKING:
    from collections.abc import Callable

_REQUEST_FDS = 16  # at most: a group for each controller of version 1 among them
_REQUEST = 8192  # bytes: three numbers, and paths of groups
_PR_SET_CHILD_SUBREAPER = 36


class Engine:
    """The loop: one request, report or exit at a time."""

    def __init__(self, control: _socket.socket, caller: int, keeper: int) -> None:
        """keeper: the PID of the process that cleans up if this one is killed, or the caller's."""
        self.orphans = Orphans(proc.depth())
        Job.foreign_proc = self.orphans.depth > 0
        self.control = control
        self.spare = -1
        self.jobs: dict[int, Job] = {}
        self.waiting: list[Job] = []  # they have ended, which is reported when no orphan is left
        self.untold: list[Job] = []  # they have answers that could not be sent
        self.emptied: list[Job] = []  # they have ended, but somebody is still in their groups
        self.poll = asked("epoll_create1(EPOLL_CLOEXEC)", select.epoll)
        self.handlers: dict[int, Callable[[], None]] = {}
        self.others: set[int] = set()  # children that are no containers, and are to live
        self.watch(control.fileno(), self.accept)
        self.lifelines = [pidfd_open(pid) for pid in {caller, keeper}]
        for pidfd in self.lifelines:
            self.watch(pidfd, self.end)
        self.keep_spare()

    def watch(self, fd: int, handler: "Callable[[], None]", events: int = select.EPOLLIN) -> None:
        """Call `handler` whenever `fd` is readable."""
        asked(f"epoll_ctl(EPOLL_CTL_ADD, {fd})", self.poll.register, fd, events)
        self.handlers[fd] = handler

    def unwatch(self, fd: int) -> None:
        """Stop watching `fd`."""
        if self.handlers.pop(fd, None):
            insisted(self.poll.unregister, fd)

    def run(self) -> None:
        """Serve until the caller is gone."""
        while True:
            self.step()

    def step(self) -> None:
        """Handle one event. While something is still to be done, wait for it only a moment.

        What is refused here is no single request's: what there is to receive or to reap is still
        there, and is tried again.
        """
        restless = self.waiting or self.orphans.killed or self.untold or self.emptied
        try:
            # One event at a time: a handler may close the descriptor that another event is about.
            for fd, _ in self.poll.poll(MOMENT if restless else self.patience(), maxevents=1):
                self.handlers[fd]()
            if restless:
                self.catch_up()
        except (OSError, MemoryError) as error:
            if getattr(error, "errno", 0) == errno.ENOSYS:  # not for a moment: we cannot go on
                self.tell_all(error)
            rest()

    def patience(self) -> float | None:
        """How many seconds to wait for the next event. None: nothing else is to be done."""
        return None

    def tell_all(self, error: OSError | MemoryError) -> None:
        """End: a call that we cannot do without is not there. Every caller hears which."""
        for job in (*self.jobs.values(), *self.waiting):
            job.answer(failed(error))
        raise SystemExit

    def catch_up(self) -> None:
        """Do what could not be done at once: reap the orphans, send the answers."""
        if self.orphans.reap() or not self.orphans.killed:
            self.clear()  # their own orphans become our children only now
        for job in [*self.emptied]:
            if job.left_groups():
                self.emptied.remove(job)
                self.dismiss(job)
        for job in [*self.untold]:
            if job.send():
                self.untold.remove(job)
                if job.over:
                    job.close()

    def accept(self) -> None:
        """Start the container of the next request."""
        data, fds = self.receive()
        if not data:
            self.end()
        self.forget_memory(REQUEST.unpack_from(data)[-1])
        if fds:  # else there was no room even for the channel: it is closed, which its caller sees
            self.take(data, fds)

    def forget_memory(self, address: int) -> None:
        """Unmap memory of a score that was kept, if there is any at `address`.

        Its caller has gone before the end. Where the container is still there, its end is waited
        for.
        """
        for job in (*self.jobs.values(), *self.waiting) if address else ():
            if job.score[0] == address:
                job.score = (address, KEPT_SIZE)
                return
        if address:
            door.unmap(address, KEPT_SIZE)

    def take(self, data: bytes, fds: list[int]) -> Job:
        """Start what a request asks for."""
        job = Job(fds[0])
        try:
            self.start(job, data, fds)
        except (OSError, MemoryError) as error:
            self.give_up(job, error)
        finally:
            for fd in fds[1:]:
                os.close(fd)
            self.keep_spare()
            prepare()
        return job

    def start(self, job: Job, data: bytes, fds: list[int]) -> None:
        """Start a container from what its request says; its groups' descriptors stay with it."""
        address, size, kind, count, _ = REQUEST.unpack_from(data)
        if len(fds) != count:  # MSG_CTRUNC: no room for the others
            raise refused("recvmsg(SCM_RIGHTS)", errno.EMFILE)
        if paths := data[REQUEST.size :]:
            job.groups = os.fsdecode(paths).split("\0")
            job.locks = fds[-len(job.groups) :]
            del fds[-len(job.groups) :]
            removal()  # if that cannot be had, there is no start; the groups are ours to remove
        job.start(fds[1:], address, size, kind)
        if job.pid < 0:
            job.ended = b"refused"
            self.dismiss(job)
        else:
            self.follow(job)

    def receive(self) -> tuple[bytes, list[int]]:
        """The next request. Without the spare descriptor there is room for its channel at least."""
        if self.spare >= 0:
            os.close(self.spare)
            self.spare = -1
        return descriptors.receive(self.control, _REQUEST, _REQUEST_FDS)

    def keep_spare(self) -> None:
        """Have a descriptor to spare, if there is room for one."""
        insisted(self._keep_spare)

    def _keep_spare(self) -> None:
        if self.spare < 0:
            self.spare = os.dup(self.lifelines[0])

    def follow(self, job: Job) -> None:
        """Watch a container, and its caller."""
        self.jobs[job.pid] = job
        if job.report >= 0:
            self.watch(job.report, lambda: self.report_started(job))
        self.watch(job.pidfd, lambda: self.reap(job))
        self.watch(job.channel.fileno(), lambda: self.hang_up(job))

    def unfollow(self, job: Job) -> None:
        """Watch it no longer."""
        self.jobs.pop(job.pid, None)
        for fd in (job.report, job.pidfd, job.channel.fileno()):
            self.unwatch(fd)

    def give_up(self, job: Job, error: OSError | MemoryError) -> None:
        """End a request for which we were refused a call: what has been begun, then its caller."""
        self.unfollow(job)
        job.ended = failed(error)
        if job.pid < 0:
            self.dismiss(job)
            return
        job.kill()
        job.release()
        self.orphans.killed.add(job.pid)
        self.waiting.append(job)

    def tell(self, job: Job, text: bytes, fds: tuple[int, ...] = ()) -> None:
        """Answer a caller, later if it cannot be done now."""
        if not job.answer(text, fds) and job not in self.untold:
            self.untold.append(job)

    def dismiss(self, job: Job) -> None:
        """Tell a caller how its container ended, when its groups are gone, and forget it."""
        if not job.left_groups():
            self.emptied.append(job)
            return
        self.tell(job, job.ended)
        self.forget(job)

    def forget(self, job: Job) -> None:
        """Forget a container as soon as its caller has heard all of it."""
        job.over = True
        if not job.unsent:
            job.close()

    def report_started(self, job: Job) -> None:
        """Tell the caller that the program runs, or that the child has ended."""
        self.unwatch(job.report)
        job.forget_score()  # it is no longer our child that has it, but a program
        self.tell(job, b"started", (job.pidfd,))

    def hang_up(self, job: Job) -> None:
        """Kill a container whose caller has closed the channel."""
        self.unwatch(job.channel.fileno())
        job.kill()

    def reap(self, job: Job) -> None:
        """Reap a container that has ended. Report it when all that it left running is gone too."""
        if job.report in self.handlers:
            self.report_started(job)
        ended = asked("waitid(P_PIDFD)", os.waitid, os.P_PIDFD, job.pidfd, os.WEXITED)
        assert ended  # noqa: S101 - None is for WNOHANG
        signalled = ended.si_code != os.CLD_EXITED
        job.ended = b"exited %d" % (-ended.si_status if signalled else ended.si_status)
        told = job.leaves_none and job.left_groups()
        if told:  # its caller need not wait for the rest
            self.tell(job, job.ended)
        self.unfollow(job)
        if not job.unsent:
            job.release()  # what comes now may need a descriptor
        if told:
            self.forget(job)
        elif job.leaves_none:
            self.dismiss(job)
        else:
            self.waiting.append(job)
            self.clear()

    def clear(self) -> None:
        """Kill what containers without a PID namespace of their own have left running.

        A child that is no container was left by one that has ended. When no such child is left,
        the callers hear how their containers ended.
        """
        if self.waiting:
            self.orphans.kill({*self.jobs, *self.others})
            while self.waiting and not self.orphans.killed:
                job = self.waiting.pop()
                self.dismiss(job)

    def end(self) -> None:
        """Kill every container, then end: the caller is gone."""
        for fd in (self.control.fileno(), *self.lifelines):
            self.unwatch(fd)
        self.control.close()  # if the keeper has died, the caller is to start another engine
        status = HAS_KILLED if self.jobs else 0
        for job in self.jobs.values():
            job.kill()
        while self.jobs or self.waiting or self.orphans.killed or self.emptied:
            self.step()
        raise SystemExit(status)


def _become_root_inside() -> bytes:
    """Become root of a user namespace of our own. Returns "0", or the errno and the refused call.

    The caller has many threads, so the kernel would refuse it to the caller: user_namespaces(7).
    """
    from labkit.linux import id_maps  # an engine that is not rootless starts without it

    files = id_maps.map_files([(0, os.geteuid(), 1)], [(0, os.getegid(), 1)])
    result = syscall(NUMBERS["unshare"], dict(KINDS)["user"])
    if result:
        return b"%d unshare(CLONE_NEWUSER)" % -result
    for name, text in files:
        path, line = f"/proc/self/{name}", text.rstrip("\n")
        try:
            file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            os.write(file, line.encode())
            os.close(file)
        except OSError as error:
            return f'{error.errno} write("{path}", "{line}")'.encode()
    return b"0"


def _serve(control: _socket.socket, caller: int, keeper: int) -> None:
    try:
        engine = Engine(control, caller, keeper)
    except OSError as error:
        _unable(control, error)
    else:
        engine.run()


def _unable(control: _socket.socket, error: OSError) -> None:
    """Tell each caller why there can be no engine."""
    os.close(0)  # so that there is room for the channel at least
    try:
        while fds := descriptors.receive(control, REQUEST.size, 1)[1]:
            job = Job(fds[0])
            job.answer(failed(error))
            job.close()
    except ConnectionError:  # the caller is gone, and has not read what we have sent
        pass


def main() -> None:
    """Serve a caller until it ends.

    Arguments: the socket that leads to it; its PID; 1 to be root of a user namespace; 1 to have a
    keeper, which the caller starts in our place and which starts us.
    """
    fd, caller, rootless, kept = map(int, sys.argv[1:])
    set_signals()
    os.set_inheritable(fd, False)
    control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fd)
    syscall(NUMBERS["prctl"], _PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != caller:  # it died before we could watch it
        return
    keeper = os.getpid() if kept else caller
    if kept and _forked(control):
        return
    if os.getppid() != keeper:  # the same of the keeper
        return
    hello = _become_root_inside() if rootless else b"0"
    insisted(control.send, hello + b" %d" % os.getpid() * (hello == b"0"))
    gc.freeze()  # the collector leaves what is there now alone, and clones need not copy it
    _serve(control, caller, keeper)


def set_signals() -> None:
    """Handle signals as a program's parent should; what a program would inherit is as usual."""
    # Python ignores these two, and a program would inherit that.
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_DFL)
    # What is sent to the whole job (Ctrl-C, the shell's kill %1) is meant for caller and container.
    # An ignored signal would stay ignored in the program. SIGCHLD would leave nothing to wait for.
    for number in (*JOB_SIGNALS, _signal.SIGCHLD):
        _signal.signal(number, _signal.SIG_DFL)
    # A handler must not run in a child that shares our memory. The child unblocks them at its end.
    _signal.pthread_sigmask(_signal.SIG_SETMASK, _signal.valid_signals())


def _forked(control: _socket.socket) -> bool:
    """Fork an engine, and be its keeper until nothing is left of it. False in the engine."""
    try:
        engine = os.fork()
    except OSError as error:
        vars(error)["call"] = "fork()"
        insisted(control.send, b"%d fork()" % (error.errno or 0))
        _unable(control, error)
        return True
    if engine:
        control.close()
        keep(engine)
    else:
        syscall(NUMBERS["prctl"], _PR_SET_CHILD_SUBREAPER, 1)  # a fork does not inherit it
    return bool(engine)
