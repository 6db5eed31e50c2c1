"""The engine: a small single-threaded process that starts, watches and ends containers.

A notebook's kernel has many threads. In a process of many threads the kernel makes no user
namespace, and moves only one thread to a new namespace of another kind. So each caller starts one
engine, which keeps to one thread. `connection.py` starts it and sends requests over an inherited
socket pair:

    request   the descriptors [channel, score, working directory, stdin, stdout, stderr]. To enter a
              process, its pidfd follows. To see each call, the container's end of an observer's
              socket follows. All else stands in the score (`score.py`, `layout.py`).
    answers   on the request's own channel: "started" with a pidfd, if the caller wants a report of
              the start; "exited N" when the container has ended; "refused" when there was no child
              at all; "failed N CALL" when the engine itself was refused a call
    the end   closing the channel kills its container; closing the socket pair ends the engine

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

from labkit.engine import descriptors, layout
from labkit.engine.layout import (
    ADDRESS,
    CALL,
    CLONE_ARGS,
    COUNT,
    ENGINE_CALLS,
    FLAGS,
    HEAD,
    INODES,
    KINDS,
)
from labkit.engine.player import make, play
from labkit.linux import door, proc
from labkit.linux.door import NUMBERS, syscall
from labkit.linux.signals import JOB_SIGNALS

TYPE_CHECKING = False  # importing typing would be a third of the engine's start
if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.linux.door import Longs

_REQUEST_FDS = 7
_SETNS, _CLONE3, _CLONE = NUMBERS["setns"], NUMBERS["clone3"], NUMBERS["clone"]
_WRITE = NUMBERS["write"]
_KIND = dict(KINDS)
_PR_SET_CHILD_SUBREAPER = 36
_MOMENT = 0.001  # seconds, the least that epoll_wait(2) can wait


class Job:
    """One container, from its request to its end."""

    foreign_proc = False  # whether this /proc counts processes as another PID namespace does

    def __init__(self, channel: _socket.socket) -> None:
        self.channel = channel
        self.pid = self.pidfd = -1
        self.report = -1  # our end of a pipe that its execve closes, if the caller wants a report
        self.has_pid_namespace = False
        self.ended = b""  # how it ended, for the caller

    def start(self, fds: "list[int]") -> None:
        """Clone the child that becomes the container. `pid` stays -1 when the kernel refuses.

        Raises OSError when a call of the engine's own is refused.
        """
        score, cwd = fds[:2]
        size = os.fstat(score).st_size
        sheet = door.map_shared(score, size, ADDRESS)
        try:
            # Before the clone: a new mount namespace moves the working directory to its own copy of
            # the mounts. A descriptor of the caller's, used after the clone, would lead back out.
            os.fchdir(cwd)
            target = fds[5] if len(fds) > 5 else -1
            if sheet[layout.TARGET_PIDFD]:
                sheet[layout.TARGET_PIDFD] = target
                self.enter(sheet, fds, target)
            else:
                self.has_pid_namespace = bool(sheet[FLAGS] & _KIND["pid"])
                self.clone(sheet, fds, target if sheet[layout.OBSERVED] else -1)
        finally:
            door.unmap(ADDRESS, size)

    def enter(self, sheet: "Longs", fds: "list[int]", target: int) -> None:
        """Clone one more process for the namespaces of the process behind the pidfd `target`.

        setns(2) moves no process to another PID namespace, only the children that it makes later.
        So we enter that namespace for the clone and come back. This takes one clone, not two.
        """
        born_in = sheet[layout.BORN_IN]
        if not born_in:
            self.clone(sheet, fds, -1)
            return
        here = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        try:
            sheet[layout.SETNS_RESULT] = syscall(_SETNS, target, born_in)
            if sheet[layout.SETNS_RESULT] == 0:
                self.clone(sheet, fds, -1)
                sheet[layout.ENGINE_PIDNS_FD] = here
        finally:
            if syscall(_SETNS, here, born_in):
                os._exit(125)  # a container's PID namespace is no place for an engine
            os.close(here)

    def clone(self, sheet: "Longs", fds: "list[int]", observer: int) -> None:
        """Clone a child that plays the score. Open its gate when its namespaces are noted."""
        gate, opener = os.pipe()
        write = -1
        if sheet[layout.REPORT_START]:
            self.report, write = os.pipe()
        try:
            pid = _clone(sheet)
            if pid == 0:
                os.close(opener)  # so that reading from the gate ends if the engine dies
                play(sheet, fds[2:5], gate, write, observer, fds[0])
            if pid > 0:
                self.pid, self.pidfd = pid, _pidfd_open(pid)
                number = proc.number_of(self.pidfd) if self.foreign_proc else pid
                _note_namespaces(number, sheet)
                if not sheet[ENGINE_CALLS] or _make_engine_calls(number, sheet):
                    os.write(opener, b"!")
        finally:
            os.close(gate)
            os.close(opener)
            if write >= 0:
                os.close(write)

    def kill(self) -> None:
        """Kill the container's first process. All others end with it."""
        _signal.pidfd_send_signal(self.pidfd, _signal.SIGKILL)

    def answer(self, text: bytes, fds: "tuple[int, ...]" = ()) -> None:
        """Send the caller an answer. Errors are ignored: the caller may be gone."""
        try:  # noqa: SIM105 - contextlib would be a sixth of what the engine imports
            descriptors.send(self.channel, text, fds, _socket.MSG_DONTWAIT)
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


def _clone(sheet: "Longs") -> int:
    """Clone with clone3, or with clone where seccomp answers ENOSYS to clone3. The PID, or 0.

    The results are noted in the sheet.
    """
    result = syscall(_CLONE3, ADDRESS, CLONE_ARGS)
    if result == 0:
        return 0
    sheet[layout.CLONE3_RESULT] = result
    # clone cannot make a time namespace: the bit of CLONE_NEWTIME is part of its exit signal.
    if result == -errno.ENOSYS and not sheet[FLAGS] & _KIND["time"]:
        result = syscall(_CLONE, sheet[FLAGS] | _signal.SIGCHLD)
        if result:
            sheet[layout.CLONE_RESULT] = result
    return result


def _make_engine_calls(number: int, sheet: "Longs") -> bool:
    """Make the calls that are the engine's, while the child waits. Whether none was refused.

    They write to files of the child's directory in /proc, such as uid_map. number: what this /proc
    calls the child, which the caller could not know.
    """
    sheet[layout.CHILD_NUMBER] = number
    try:
        directory = os.open(f"/proc/{number}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        sheet[layout.CHILD_DIRECTORY] = -(error.errno or errno.EIO)
        return False
    sheet[layout.CHILD_DIRECTORY] = directory
    begin = HEAD + CALL * sheet[COUNT]
    try:
        for at in range(begin, begin + CALL * sheet[ENGINE_CALLS], CALL):
            if make(sheet, at) < 0:
                if sheet[at] == _WRITE:  # the close that follows will not be made
                    os.close(sheet[sheet[at + 1]])
                return False
        return True
    finally:
        os.close(directory)


def _note_namespaces(number: int, sheet: "Longs") -> None:
    """Note the inodes of the child's new namespaces. In all others it is where we are.

    number: what this /proc calls the child.
    """
    flags = sheet[FLAGS]
    for place, (name, flag) in enumerate(KINDS, INODES):
        if flags & flag:
            try:
                sheet[place] = os.stat(f"/proc/{number}/ns/{name}").st_ino
            except OSError:  # it has been killed already
                return


class Engine:
    """The loop: one request, report or exit at a time."""

    def __init__(self, control: _socket.socket, caller: int) -> None:
        self.depth = proc.depth()
        Job.foreign_proc = self.depth > 0
        self.control = control
        self.caller = _pidfd_open(caller)
        self.spare = os.dup(self.caller)
        self.jobs: dict[int, Job] = {}
        self.waiting_for_orphans: list[Job] = []  # their exit is reported when no orphan is left
        self.orphans: set[int] = set()  # killed, but not reaped yet
        self.poll = select.epoll()
        self.handlers: dict[int, Callable[[], None]] = {}
        self.watch(control.fileno(), self.accept)
        self.watch(self.caller, self.end)

    def watch(self, fd: int, handler: "Callable[[], None]") -> None:
        """Call `handler` whenever `fd` is readable."""
        self.handlers[fd] = handler
        self.poll.register(fd, select.EPOLLIN)

    def unwatch(self, fd: int) -> None:
        """Stop watching `fd`."""
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
        """Handle one event. While there are orphans, wait for it only a moment, then reap them."""
        # One event at a time: a handler may close the descriptor that another event is about.
        for fd, _ in self.poll.poll(_MOMENT if self.orphans else None, maxevents=1):
            self.handlers[fd]()
        if self.orphans:
            self.reap_orphans()

    def accept(self) -> None:
        """Start the container of the next request."""
        os.close(self.spare)  # so that there is room for the channel at least
        data, fds = descriptors.receive(self.control, 1, _REQUEST_FDS)
        if not data:
            self.end()
        job = Job(_socket.socket(fileno=fds[0]))
        try:
            if len(fds) < _REQUEST_FDS - 1:  # MSG_CTRUNC: no room for the others
                raise _refused("recvmsg(SCM_RIGHTS)", errno.EMFILE)
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
            self.watch(job.report, lambda: self.report_started(job))
        self.watch(job.pidfd, lambda: self.reap(job))
        self.watch(job.channel.fileno(), lambda: self.hang_up(job))

    def report_started(self, job: Job) -> None:
        """Tell the caller that the program runs, or that the child has ended."""
        self.unwatch(job.report)
        job.answer(b"started", (job.pidfd,))

    def hang_up(self, job: Job) -> None:
        """Kill a container whose caller has closed the channel."""
        self.unwatch(job.channel.fileno())
        job.kill()

    def reap(self, job: Job) -> None:
        """Reap a container that has ended. Report it when all that it left running is gone too."""
        if job.report in self.handlers:
            self.report_started(job)
        ended = os.waitid(os.P_PIDFD, job.pidfd, os.WEXITED)
        assert ended  # noqa: S101 - None is for WNOHANG
        del self.jobs[job.pid]
        for fd in (job.report, job.pidfd, job.channel.fileno()):
            self.unwatch(fd)
        job.release()  # what comes now may need a descriptor
        signalled = ended.si_code != os.CLD_EXITED
        job.ended = b"exited %d" % (-ended.si_status if signalled else ended.si_status)
        if job.has_pid_namespace:
            self.report_exit(job)
        else:
            self.waiting_for_orphans.append(job)
            self.kill_orphans()

    def report_exit(self, job: Job) -> None:
        """Tell the caller how a container ended, and forget it."""
        job.answer(job.ended)
        job.close()

    def kill_orphans(self) -> None:
        """Kill what a container without a PID namespace of its own has left running.

        Its first process is a subreaper: it adopts the container's orphans. When it has ended, they
        become our children. So a child that is no container was left by one that has ended.
        """
        known = self.jobs.keys() | self.orphans
        self.orphans.update(
            pid for pid in _children(self.depth) if pid not in known and _killed(pid)
        )
        if not self.orphans:
            while self.waiting_for_orphans:
                self.report_exit(self.waiting_for_orphans.pop())

    def reap_orphans(self) -> None:
        """Reap the orphans that have ended, in any order.

        We wait for no single one. The first process of a PID namespace does not end before all
        others in it have been reaped, and those may be our children too, as after `unshare --pid`.
        """
        gone = {pid for pid in self.orphans if os.waitpid(pid, os.WNOHANG)[0]}
        if gone:
            self.orphans -= gone
            self.kill_orphans()  # their own orphans become our children only now

    def end(self) -> None:
        """Kill every container, then end: the caller is gone."""
        for fd in (self.control.fileno(), self.caller):
            self.unwatch(fd)
        for job in self.jobs.values():
            job.kill()
        while self.jobs or self.orphans:
            self.step()
        raise SystemExit


def _children(depth: int) -> list[int]:
    try:
        return proc.children(depth)
    except OSError:  # somebody has unmounted /proc since our start
        return []


def _pidfd_open(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError as error:  # before Linux 5.3, or a filter: no engine without pidfds
        vars(error)["call"] = f"pidfd_open({pid}, 0)"
        raise


def _refused(call: str, number: int) -> OSError:
    """As refusal() of linux/refusal.py, which the engine does not import."""
    error = OSError(number, f"{call}: {os.strerror(number)}")
    vars(error)["call"] = call
    return error


def _failed(error: OSError) -> bytes:
    """What a caller hears when the engine itself was refused something: errno and call."""
    call = vars(error).get("call") or (f'open("{error.filename}")' if error.filename else "engine")
    return os.fsencode(f"failed {error.errno} {call}")


def _killed(pid: int) -> bool:
    try:
        os.kill(pid, _signal.SIGKILL)
    except PermissionError:  # set-user-ID: not ours to end
        return False
    return True


def _become_root_inside() -> bytes:
    """Become root of a user namespace of our own. Returns "0", or the errno and the refused call.

    The caller has many threads, so the kernel would refuse it to the caller: user_namespaces(7).
    """
    from labkit.linux import id_maps  # an engine that is not rootless starts without it

    files = id_maps.map_files([(0, os.geteuid(), 1)], [(0, os.getegid(), 1)])
    refused = syscall(NUMBERS["unshare"], _KIND["user"])
    if refused:
        return b"%d unshare(CLONE_NEWUSER)" % -refused
    for name, text in files:
        path, line = f"/proc/self/{name}", text.rstrip("\n")
        try:
            file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            os.write(file, line.encode())
            os.close(file)
        except OSError as error:
            return f'{error.errno} write("{path}", "{line}")'.encode()
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
    # Python ignores these two, and a program would inherit that.
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_DFL)
    # What is sent to the whole job (Ctrl-C, the shell's kill %1) is meant for caller and container.
    # A handler ends with execve; an ignored signal would stay ignored in the program.
    for number in JOB_SIGNALS:
        _signal.signal(number, lambda *_: None)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # ignored, it would leave nothing to wait for
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    syscall(NUMBERS["prctl"], _PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != caller:  # it died before we could watch it
        return
    os.set_inheritable(fd, False)
    control = _socket.socket(fileno=fd)
    if rootless:
        control.send(_become_root_inside())
    gc.freeze()  # the collector leaves what is there now alone, and clones need not copy it
    _serve(control, caller)
