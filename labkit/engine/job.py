"""One container as the engine has it: cloned, watched, killed; and what its caller hears of it.

A call of the engine's own that is refused raises OSError. It has the call as its attribute `call`,
as of refusal() in `linux/refusal.py`, which the engine does not import. `loop.py` ends what was
begun of the request and sends call and errno to its caller.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import errno
import os
import sys

from labkit.engine import descriptors, layout, machine
from labkit.engine.layout import (
    CALL,
    CLONE_ARGS,
    CLONE_ARGS_WITH_CGROUP,
    CLONE_INTO_CGROUP,
    COUNT,
    ENGINE_CALLS,
    FLAGS,
    HEAD,
    INODES,
    KINDS,
    NUMBER_SIZE,
)
from labkit.engine.player import make, play
from labkit.linux import door, proc
from labkit.linux.door import NUMBERS, syscall

TYPE_CHECKING = False  # importing typing would be a third of the engine's start
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from labkit.linux.door import Longs

_SETNS, _CLONE3, _CLONE = NUMBERS["setns"], NUMBERS["clone3"], NUMBERS["clone"]
_WRITE = NUMBERS["write"]
_CLONE_VM = 0x100
_KIND = dict(KINDS)
_PID = _KIND["pid"]
_GONE = (errno.ENOENT, errno.ESRCH, errno.EACCES)  # what /proc answers of a process that has ended
_TRIES = 3
_HELD = 8  # mount namespaces that are held at most
_REMOVALS = 2000  # how often the removal of a group is tried, about once a millisecond
_spawn = machine.load()
_ready: list[tuple[int, int]] = []  # a gate for the next container


def asked(call: str, function: "Callable[..., Any]", *arguments: object) -> "Any":  # noqa: ANN401
    """What `function` returns. The OSError that it raises has `call`, the call that was refused."""
    try:
        return function(*arguments)
    except OSError as error:
        vars(error)["call"] = call
        raise


def insisted(function: "Callable[..., Any]", *arguments: object) -> bool:
    """Make a call that cleans up. The kernel refuses it for a moment at most, so it is repeated."""
    for _ in range(_TRIES):
        try:
            function(*arguments)
        except OSError:
            continue
        return True
    return False


def refused(call: str, number: int) -> OSError:
    """As refusal() of linux/refusal.py, which the engine does not import."""
    error = OSError(number, f"{call}: {os.strerror(number)}")
    vars(error)["call"] = call
    return error


def failed(error: OSError | MemoryError) -> bytes:
    """What a caller hears when the engine itself was refused something: errno and call."""
    if isinstance(error, MemoryError):
        return b"failed %d mmap(NULL)" % errno.ENOMEM
    call = vars(error).get("call") or (f'open("{error.filename}")' if error.filename else "engine")
    return os.fsencode(f"failed {error.errno} {call}")


class Job:
    """One container, from its request to its end."""

    foreign_proc = False  # whether this /proc counts processes as another PID namespace does
    home = -1  # the engine's own PID namespace, while it is not back there
    held = 0  # how many mount namespaces we hold
    tries = 0  # how often we have tried to remove its groups

    def __init__(self, channel: int) -> None:
        # With its kind, or Python would ask the kernel, which might refuse that.
        self.channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, channel)
        self.pid = self.pidfd = -1
        self.report = -1  # our end of a pipe that its execve closes, if the caller wants a report
        self.leaves_none = False  # whether what it leaves is another's: PID 1's of its namespace
        # Address of its score, as long as its child may need it; the size of what we unmap then.
        self.score = (0, 0)
        self.mounts = -1  # its mount namespace, if we let go of that after its end
        self.groups: list[str] = []  # its control groups' directories, for us to remove
        self.locks: list[int] = []  # descriptors of them, whose locks say that we see to them
        self.ended = b""  # how it ended, for the caller
        self.unsent: list[tuple[bytes, tuple[int, ...]]] = []  # answers that were refused
        self.over = False  # whether nothing but these is left of it

    def start(self, fds: "list[int]", address: int, size: int, kind: int) -> None:
        """Clone the child that becomes the container. `pid` stays -1 when the kernel refuses.

        address, size: where the score is to be, and how many bytes of it. kind: of its memory.
        Raises OSError when a call of the engine's own is refused. There may be a child by then.
        """
        go_home()
        if kind == layout.AGAIN:
            sheet = door.mapped(address)
        else:
            sheet = door.map_shared(fds.pop(0), size, address)
        cwd = fds[0]
        self.score = (address, size if kind == layout.ONCE else 0)
        # Before the clone: a new mount namespace moves the working directory to its own copy of the
        # mounts. A descriptor of the caller's, used after the clone, would lead back out.
        asked(f"fchdir({cwd})", os.fchdir, cwd)
        sheet[layout.STDIN], sheet[layout.STDOUT], sheet[layout.STDERR] = fds[1:4]
        sheet[layout.OTHER] = fds[4] if len(fds) > 4 else -1
        sheet[layout.TARGET] = fds[-1]  # after an observer's socket, if there is one
        sheet[layout.CGROUP] = self.locks[0] if sheet[FLAGS] & CLONE_INTO_CGROUP else 0
        self.leaves_none = bool((sheet[FLAGS] | sheet[layout.BORN_IN]) & _PID)
        if sheet[layout.BORN_IN]:
            self.enter(sheet)
        else:
            self.clone(sheet)

    def enter(self, sheet: "Longs") -> None:
        """Clone one more process for the namespaces of the process behind a pidfd, its target.

        setns(2) moves no process to another PID namespace, only the children that it makes later.
        So we enter that namespace for the clone and come back. This takes one clone, not two.
        """
        path = "/proc/self/ns/pid"
        Job.home = asked(f'open("{path}")', os.open, path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            result = syscall(_SETNS, sheet[layout.TARGET], sheet[layout.BORN_IN])
            sheet[layout.SETNS_RESULT] = result
            if result == 0:
                self.clone(sheet)
                sheet[layout.ENGINE_PIDNS_FD] = Job.home
        finally:
            insisted(go_home)

    def clone(self, sheet: "Longs") -> None:
        """Clone a child that plays the score. Open its gate when its namespaces are noted.

        While the gate is closed, the child ends when we are refused something.
        """
        gate, opener = sheet[layout.GATE], sheet[layout.OPENER] = _gate()
        write = -1
        try:
            if sheet[layout.REPORT] == layout.STARTED:
                self.report, write = _pipe()
            pid = _clone(sheet, self.score[0])
            if pid == 0:
                play(sheet)
            if pid > 0:
                self.pid = pid
                self.pidfd = pidfd_open(pid)
                _note_namespaces(number := self.number(pid), sheet)
                self.hold_mounts(number, sheet)
                if not sheet[ENGINE_CALLS] or _make_engine_calls(number, sheet):
                    asked(f'write({opener}, "!", 1)', os.write, opener, b"!")
        finally:
            os.close(gate)
            os.close(opener)
            if write >= 0:
                os.close(write)

    def hold_mounts(self, number: int, sheet: "Longs") -> None:
        """Hold its mount namespace: the kernel takes it apart when we let go of it.

        Else it does so before we hear of the end, and waits for a grace period of RCU or two. So
        the caller would wait for that. number: what this /proc calls the child. sheet: it says
        whether its caller agrees.
        """
        if sheet[layout.REPORT] == layout.EARLY and Job.held < _HELD:
            try:
                path = f"/proc/{number}/ns/mnt"
                self.mounts = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                Job.held += 1
            except OSError:  # it has ended already, or we have no room: it is as without this
                return

    def number(self, pid: int) -> int:
        """What this /proc calls the child."""
        if not self.foreign_proc:
            return pid
        info = f'read("/proc/self/fdinfo/{self.pidfd}")'
        number: int = asked(info, proc.number_of, self.pidfd)
        return number

    def kill(self) -> None:
        """Kill the container's first process. All others end with it.

        A set-user-ID program may not be ours to end; then it ends by itself.
        """
        if self.pidfd >= 0:
            insisted(_signal.pidfd_send_signal, self.pidfd, _signal.SIGKILL)
        else:  # nobody has reaped it yet, so the number is still its own
            insisted(os.kill, self.pid, _signal.SIGKILL)
        if self.groups:
            removal().thaw(self.groups)  # if it is frozen, it dies only then

    def left_groups(self) -> bool:
        """Remove its control groups, now that it has ended. False: somebody is still in there.

        Before that, the caller is to hear whether the kernel killed for want of memory.
        """
        if not self.locks:
            return True
        try:
            if self.ended.startswith(b"exited") and self.ended.count(b" ") < 2:
                self.ended += b" oom" * bool(removal().oom_kills(self.groups))
            left = removal().removed(self.groups)
        except (OSError, MemoryError):
            left = False
        self.tries += 1
        if not left and self.tries < _REMOVALS:
            return False
        for fd in self.locks:  # if it could not be done, whoever comes next does it
            os.close(fd)
        self.locks = []
        return True

    def answer(self, text: bytes, fds: "tuple[int, ...]" = ()) -> bool:
        """Send the caller an answer, after those that were refused. Whether none is left."""
        self.unsent.append((text, fds))
        return self.send()

    def send(self) -> bool:
        """Send what has not been sent. Whether nothing is left; a caller may be gone."""
        while self.unsent:
            try:
                descriptors.send(self.channel, *self.unsent[0], _socket.MSG_DONTWAIT)
            except ConnectionError:
                self.unsent.clear()
            except OSError:
                return False
            else:
                del self.unsent[0]
        return True

    def close(self) -> None:
        """Close what is still open."""
        self.channel.close()
        self.release()

    def release(self) -> None:
        """Close what leads to the process."""
        Job.held -= self.mounts >= 0
        for fd in (self.pidfd, self.report, self.mounts):
            if fd >= 0:
                os.close(fd)
        self.pidfd = self.report = self.mounts = -1
        self.forget_score()

    def forget_score(self) -> None:
        """Unmap the score: no process of ours needs it any more."""
        address, size = self.score
        if size:
            door.unmap(address, size)
        self.score = (0, 0)


def go_home() -> None:
    """Go back to the engine's own PID namespace: a container's is no place for its next child.

    If even that is refused, no request is served before it has succeeded.
    """
    if Job.home < 0:
        return
    result = syscall(_SETNS, Job.home, _KIND["pid"])
    if result:
        raise refused(f"setns({Job.home}, CLONE_NEWPID)", -result)
    os.close(Job.home)
    Job.home = -1


def _clone(sheet: "Longs", score: int) -> int:
    """Clone a child. The PID, or 0 in a child that is to play the score itself.

    The player in machine code shares our memory, and its child never comes back here. Where it
    cannot be used, clone3 gives the child a copy, and clone does where seccomp answers ENOSYS to
    clone3. The results are noted in the sheet. score: its address.
    """
    size = CLONE_ARGS_WITH_CGROUP if sheet[FLAGS] & CLONE_INTO_CGROUP else CLONE_ARGS
    if sheet[layout.MACHINE] and _spawn:
        sheet[FLAGS] |= _CLONE_VM
        result = _spawn(score, size, score + NUMBER_SIZE * HEAD)
        sheet[FLAGS] &= ~_CLONE_VM
    else:
        sheet[layout.MACHINE] = 0
        result = syscall(_CLONE3, score, size)
    if result:
        sheet[layout.CLONE3_RESULT] = result
    # clone cannot make a time namespace: the bit of CLONE_NEWTIME is part of its exit signal. Nor
    # has it room for a group.
    if result == -errno.ENOSYS and not sheet[FLAGS] & (_KIND["time"] | CLONE_INTO_CGROUP):
        result = syscall(_CLONE, sheet[FLAGS] | _signal.SIGCHLD)
        if result:
            sheet[layout.CLONE_RESULT] = result
    return result


def removal() -> "Any":  # noqa: ANN401 - a module
    """How groups are removed. Only who has one pays for it, and hears if it cannot be had."""
    try:
        from labkit.cgroups import removal as module
    except ImportError as error:  # the kernel has refused something, which Python does not say
        sys.path_importer_cache.clear()  # or what was not found now would not be looked for again
        raise refused(f'open("{error.name}")', errno.ENOENT) from None
    return module


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
            path = f"/proc/{number}/ns/{name}"
            try:
                # "uts:[4026531838]". stat(2) tells it too, in twice the time.
                sheet[place] = int(os.readlink(path)[len(name) + 2 : -1])
            except OSError as error:
                if error.errno in _GONE:  # it has been killed already
                    return
                raise refused(f'readlink("{path}")', error.errno or errno.EIO) from None


def prepare() -> None:
    """Have a gate ready for the next container: there is time for that now."""
    if not _ready:
        insisted(lambda: _ready.append(os.pipe()))


def _gate() -> tuple[int, int]:
    return _ready.pop() if _ready else _pipe()


def _pipe() -> tuple[int, int]:
    ends: tuple[int, int] = asked("pipe2(O_CLOEXEC)", os.pipe)
    return ends


def pidfd_open(pid: int) -> int:
    """A pidfd. Before Linux 5.3, or under a filter, it is refused: no engine without pidfds."""
    pidfd: int = asked(f"pidfd_open({pid}, 0)", os.pidfd_open, pid)
    return pidfd
