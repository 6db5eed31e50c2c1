"""Which calls fail how, and whether all is as before afterwards."""

import contextlib
import errno
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.kinds import FOR_THE_NEXT, KEPT_KINDS, PLACES, places
from faults.tracer import KILL, Fault, Watch
from labkit.cgroups.group import sweep
from labkit.cgroups.membership import PREFIX

WHO = ("caller", "engine", "child")
PATIENCE = 10  # seconds until a result
MARK = "LABKIT_FAULTS"
# Calls that cannot fail, or whose failure cannot be told from another: a close that the kernel does
# not make leaves its descriptor open, whoever asked for it.
LEFT_OUT = {
    "brk", "clock_nanosleep", "close", "exit", "exit_group", "futex", "getegid", "geteuid",
    "getgid", "getpid", "getppid", "getrandom", "getsid", "gettid", "getuid", "lseek", "madvise",
    "restart_syscall", "rseq", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sched_yield",
    "set_robust_list", "sigaltstack", "umask", "uname",
}  # fmt: skip
CHANGE_NOTHING = LEFT_OUT - {"exit_group"} | {
    "access", "faccessat2", "fstat", "getcwd", "getdents64", "getsockname", "ioctl", "lgetxattr",
    "llistxattr", "mmap", "mprotect", "mremap", "munmap", "newfstatat", "pread64", "read",
    "readlink", "statfs",
}  # fmt: skip
ERRNOS: dict[str, tuple[int, ...]] = {
    "accept4": (errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    "bind": (errno.ENOMEM,),
    "capset": (errno.EPERM,),
    "chdir": (errno.ENOENT, errno.EACCES),
    "chmod": (errno.EPERM, errno.EROFS),
    "chown": (errno.EPERM, errno.EROFS),
    "clone": (errno.EAGAIN, errno.ENOMEM, errno.EPERM),
    "clone3": (errno.EAGAIN, errno.ENOMEM, errno.EPERM, errno.ENOSPC),
    "connect": (errno.EAGAIN, errno.EACCES),
    "dup": (errno.EMFILE,),
    "dup3": (errno.EBADF, errno.EBUSY),
    "epoll_ctl": (errno.ENOMEM, errno.ENOSPC),
    "epoll_wait": (errno.EINTR, errno.ENOMEM),
    "execve": (errno.ENOMEM, errno.EACCES, errno.ENOENT, errno.E2BIG),
    "faccessat2": (errno.EACCES, errno.ENOMEM),
    "fchdir": (errno.EACCES, errno.ENOTDIR),
    "fchmod": (errno.EPERM, errno.EROFS),
    "fcntl": (errno.ENOMEM,),
    "fdatasync": (errno.EIO, errno.ENOSPC),
    "flock": (errno.ENOLCK, errno.EINTR),
    "fsconfig": (errno.EINVAL, errno.ENOMEM),
    "fsmount": (errno.EPERM, errno.ENFILE),
    "fsopen": (errno.ENODEV, errno.EMFILE, errno.ENOMEM),
    "fstat": (errno.ENOMEM, errno.EIO),
    "fsync": (errno.EIO, errno.ENOSPC),
    "ftruncate": (errno.EIO, errno.EPERM),
    "getdents64": (errno.ENOENT, errno.ENOMEM),
    "ioctl": (errno.EIO, errno.ENOTTY, errno.ENOMEM),
    "kill": (errno.EPERM,),
    "lgetxattr": (errno.ENOMEM, errno.EACCES),
    "link": (errno.EACCES, errno.ENOSPC),
    "listen": (errno.EADDRINUSE,),
    "lseek": (errno.ESPIPE,),
    "memfd_create": (errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    "mkdir": (errno.EACCES, errno.ENOSPC, errno.EROFS),
    "mkdirat": (errno.EACCES, errno.ENOSPC, errno.EROFS),
    "mknodat": (errno.EPERM, errno.ENOSPC, errno.EROFS),
    "mmap": (errno.ENOMEM,),
    "mount": (errno.EPERM, errno.ENOMEM, errno.EINVAL),
    "mount_setattr": (errno.EPERM, errno.ENOSYS),
    "move_mount": (errno.EPERM, errno.EINVAL),
    "mprotect": (errno.ENOMEM,),
    "mremap": (errno.ENOMEM,),
    "munmap": (errno.ENOMEM,),
    "newfstatat": (errno.ENOMEM, errno.EIO),
    "open_tree": (errno.EPERM, errno.EMFILE, errno.ENOMEM),
    "openat": (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES),
    "openat2": (errno.EMFILE, errno.EXDEV, errno.EAGAIN),
    "pidfd_open": (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EPERM),
    "pidfd_send_signal": (errno.EPERM,),
    "pipe2": (errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    "pivot_root": (errno.EPERM, errno.EINVAL, errno.EBUSY),
    "poll": (errno.EINTR, errno.ENOMEM),
    "prctl": (errno.EPERM, errno.EINVAL),
    "pread64": (errno.EIO, errno.ENOMEM),
    "pselect6": (errno.EINTR, errno.ENOMEM),
    "pwrite64": (errno.EIO, errno.ENOSPC),
    "read": (errno.EINTR, errno.EIO, errno.ENOMEM),
    "readlink": (errno.EACCES, errno.ENOMEM),
    "recvfrom": (errno.EINTR, errno.ENOMEM),
    "recvmsg": (errno.EINTR, errno.ENOMEM, errno.ENOBUFS),
    "rename": (errno.EACCES, errno.ENOSPC),
    "renameat": (errno.EACCES, errno.ENOSPC),
    "rmdir": (errno.EBUSY, errno.EINTR),
    "seccomp": (errno.EACCES, errno.ENOMEM, errno.EINVAL),
    "sendfile": (errno.EIO, errno.ENOMEM),
    "sendmsg": (errno.EINTR, errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS),
    "sendto": (errno.EINTR, errno.ENOBUFS),
    "setgroups": (errno.EPERM, errno.ENOMEM),
    "sethostname": (errno.EPERM,),
    "setns": (errno.EPERM, errno.ENOMEM, errno.EINVAL),
    "setresgid": (errno.EPERM, errno.EINVAL),
    "setresuid": (errno.EPERM, errno.EAGAIN),
    "setsid": (errno.EPERM,),
    "shutdown": (errno.ENOTCONN,),
    "socket": (errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    "socketpair": (errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    "symlink": (errno.EACCES, errno.ENOSPC),
    "symlinkat": (errno.EACCES, errno.ENOSPC),
    "umount2": (errno.EPERM, errno.EBUSY),
    "unlink": (errno.EACCES, errno.EBUSY),
    "unlinkat": (errno.EACCES, errno.EBUSY),
    "unshare": (errno.EPERM, errno.ENOMEM, errno.ENOSPC),
    "utimensat": (errno.EPERM, errno.EROFS),
    "vfork": (errno.EAGAIN, errno.ENOMEM),
    "wait4": (errno.EINTR,),
    "waitid": (errno.EINTR,),
    "write": (errno.EINTR, errno.EIO, errno.EPERM, errno.ENOSPC),
}
"""Which errnos each call may have, by its man page; not those that say that an argument is wrong,
and not those that say something that would then be true: that a process or a reader is gone."""


@dataclass(frozen=True)
class Injection:
    """In a start of `kind` one call of `who` fails."""

    kind: str
    who: str
    fault: Fault

    def __str__(self) -> str:
        name = errno.errorcode.get(self.fault.number, "SIGKILL")
        return f"{self.kind} / {self.who} / {self.fault.name} {self.fault.nth} {name}"


@dataclass
class Outcome:
    """What came of an injection. reached: whether the call was made. wrong: what was not clean."""

    reached: bool
    wrong: str


GOOD: dict[str, object] = {}
"""What comes of a start of each kind when nothing fails."""


class Caller:
    """A process that starts containers, its engine, and what must be as it was."""

    def __init__(self, *, shares: bool = False) -> None:
        """shares: whether other tests run here: a group of the dead may be one of theirs."""
        self.shares = shares
        self._folder = tempfile.TemporaryDirectory(prefix="labkit-faults-")
        self._mark = f"{MARK}={self._folder.name}"
        self.said = open(f"{self._folder.name}.err", "w+b")  # noqa: SIM115 - closed in close()
        name, _, value = self._mark.partition("=")
        os.mkdir(f"{self._folder.name}/cwd")
        self._process = subprocess.Popen(
            # Links are none of the machine's, and no mount of somebody else's comes in between.
            ["unshare", "--net", "--mount", sys.executable, "-m", "faults.kinds"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            env=os.environ
            | {
                name: value,
                "PYTHONPATH": os.pathsep.join(map(str, Path(__file__).parents[1:3])),
                "TMPDIR": f"{self._folder.name}/cwd",
                "LABKIT_STATE": f"{self._folder.name}/state",
                "LABKIT_LANG": "en",
                "PYTHONSAFEPATH": "1",
            },
            cwd=f"{self._folder.name}/cwd",
        )
        self.pid = self._process.pid
        self._warm: set[str] = set()
        self.came: dict[str, Any] | str = {}
        self.before: dict[str, Any] = {}
        self.engine = self.monitor = 0
        self.engine = int(self.tell("begin"))
        self._others_before = self._others()

    def warm(self, kind: str) -> None:
        """Have what a first start of the kind has, and know what comes of it."""
        if kind not in self._warm:
            self._warm.add(kind)
            self.before = {}
            self.prepare(kind)
            came = self.ask(kind)
            assert came == GOOD.setdefault(kind, came), f"{kind}: {came}, not {GOOD[kind]}"

    def prepare(self, kind: str) -> None:
        """Have the container that runs all the time, if the kind is about it."""
        if kind in KEPT_KINDS:
            self.monitor = int(self.tell("monitor"))

    def tell(self, word: str) -> str:
        """Have it do something that succeeds; what it says."""
        answer = self.ask(word)
        assert isinstance(answer, dict), f"{word}: {answer}"
        return str(answer["result"])

    def ask(self, word: str, patience: float = 3 * PATIENCE) -> "dict[str, Any] | str":
        """Have it do something: its answer, or why there is none."""
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(f"{word}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            return "ended"
        ready, _, _ = select.select([self._process.stdout], [], [], patience)
        if not ready:
            return "hangs"
        line = self._process.stdout.readline()
        return json.loads(line) if line else "ended"

    def pid_of(self, root: str, kind: str) -> int:
        """A process that is known."""
        if root == "caller":
            return self.pid
        if root == "monitor":
            self.prepare(kind)
            return self.monitor
        return int(self.tell("engine")) if kind == "rootless engine" else self.engine

    def listing(self, kind: str, who: str) -> list[str]:
        """The names of the calls of a good run."""
        self.warm(kind)
        for _ in range(PATIENCE):
            watch = self._watch(kind, who, None)
            came = self.ask(kind)
            told = watch.end()
            assert came == GOOD[kind], f"{kind}: {came}, not {GOOD[kind]}"
            if told:  # else a busy machine had come to no call of it before a time-out
                return told
        raise AssertionError(f"{kind}: {who} makes no call")

    def _watch(self, kind: str, who: str, fault: Fault | None) -> Watch:
        """Watch one of them. A child is watched from its birth."""
        root, generation = places(kind)[who]
        return Watch(self.pid_of(root, kind), fault, generation, marked=who == "caller")

    def inject(self, injection: Injection) -> Outcome:
        """Let it fail, and look around."""
        kind, who = injection.kind, injection.who
        self.warm(kind)
        ends = (who, injection.fault.number) == ("caller", KILL) and kind not in PLACES
        if not self.before and not ends:
            self.before = self._settled()
        self._others_before = self._others()
        watch = self._watch(kind, who, injection.fault)
        self.came = came = self.ask(kind, PATIENCE)
        reached = "!" in watch.end()
        if not reached and came == GOOD[kind]:
            return Outcome(reached, "")
        killed = who if injection.fault.number == KILL and reached else ""
        return Outcome(reached, self._wrong(kind, came, killed))

    def _wrong(self, kind: str, came: object, killed: str) -> str:
        """What is not as it should be, "" if nothing."""
        is_client = kind in PLACES
        if killed == "caller" and not is_client:
            self._process.wait()
            until(lambda: not self._left())
            sweep()  # a group that its engine has not heard of: whoever makes the next one does so
            return self._until_none(self._left)
        wrong = "" if came == GOOD[kind] else judged(came, killed)
        once_more = is_client and (came != GOOD[kind] or self._more())
        once_more = once_more or kind in FOR_THE_NEXT
        again = self._again if once_more else self._next
        wrong = wrong or again(kind, "" if is_client else killed)
        if not wrong and killed == "engine" and not is_client:
            self.begin_again()
        wrong = wrong or self._until_none(self._more)
        self.said.seek(0)
        return wrong or self.said.read().decode(errors="replace")

    def _next(self, kind: str, killed: str) -> str:
        """What is wrong with the next start, and with the neighbours."""
        next_ = self.ask("next", PATIENCE)
        heard = next_["result"] if isinstance(next_, dict) else next_
        alone = killed == "engine" and kind != "rootless engine"
        fine = heard == "hi\n" or (alone and str(heard).startswith("neighbours"))
        return "" if fine else f"next: {heard}"

    def _again(self, kind: str, killed: str) -> str:
        """What is wrong with the next start of this kind, and with all others."""
        self.prepare(kind)
        came = self.ask(kind, PATIENCE)
        return self._next(kind, killed) if came == GOOD[kind] else f"again: {came}"

    def _until_none(self, found: Callable[[], object]) -> str:
        """Wait until there is nothing of what is looked for, nor a new control group; else what.

        Somebody else's come and go at the same time: one that stays is ours.
        """
        groups = self._groups() - self._others_before

        def is_none() -> bool:
            groups.intersection_update(self._groups())
            return not groups and not found()

        fine = until(is_none)
        if not fine and self.shares:
            sweep()
            fine = is_none()
        return "" if fine else f"more: {found()} {groups or ''} {self._left()}"

    def _more(self) -> dict[str, tuple[object, object]]:
        """What there is more of than before."""
        before, now = self.before, self._state()
        return {what: (before[what], now[what]) for what in now if now[what] > before[what]}

    def _settled(self) -> dict[str, Any]:
        """How all is when nothing moves any more."""
        looks = [self._state()]
        while looks[-4:] != looks[-1:] * 4:
            time.sleep(0.01)
            looks.append(self._state())
        return looks[-1]

    def begin_again(self) -> None:
        """After a killed engine another one has other neighbours; what is counted is the same."""
        self.engine = int(self.tell("begin"))
        for word in ("engine",) if "rootless engine" in self._warm else ():
            self.tell(word)

    @property
    def ended(self) -> bool:
        """Whether it has ended, as it has when it was killed."""
        return self._process.poll() is not None

    def _processes(self) -> set[int]:
        mark = f"\0{self._mark}\0".encode()
        found = set()
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            with contextlib.suppress(OSError):
                if mark in b"\0" + Path(f"/proc/{pid}/environ").read_bytes():
                    found.add(pid)
        return found

    def _left(self) -> list[str]:
        """A line for each of its processes."""
        pids = ",".join(map(str, self._processes()))
        if not pids:
            return []
        listing = [
            "ps",
            "--no-headers",
            "-o",
            "pid,ppid,sess,stat,start,args",
            "--pid",
            pids,
        ]
        done = subprocess.run(listing, capture_output=True, text=True)
        return [line[:90] for line in done.stdout.splitlines()]

    def _state(self) -> dict[str, Any]:
        """How many of everything there are."""
        state: dict[str, Any] = {"processes": len(self._processes())}
        for name, pid in (("caller", self.pid), ("engine", self.engine), ("monitor", self.monitor)):
            with contextlib.suppress(OSError):
                state[f"descriptors of {name}"] = len(os.listdir(f"/proc/{pid}/fd"))
                state[f"mounts of {name}"] = len(
                    Path(f"/proc/{pid}/mountinfo").read_text().split("\n")
                )
                state[f"children of {name}"] = len(
                    Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                )
        state["files"] = sorted(os.listdir(f"{self._folder.name}/cwd"))
        state["kept"] = sum(len(files) for _, _, files in os.walk(f"{self._folder.name}/state"))
        with contextlib.suppress(OSError):
            state["links"] = len(Path(f"/proc/{self.pid}/net/dev").read_text().split("\n"))
        return state

    def _places(self) -> list[str]:
        """The control groups of containers, whosever; what is in one of them goes with it."""
        runtime = f"faults{self.pid}"  # the name of a container of `labkit oci`
        every = [place for place, _, _ in os.walk("/sys/fs/cgroup")]
        named = [(place, os.path.basename(place)) for place in every]
        return [place for place, name in named if name.startswith(PREFIX) or name == runtime]

    def _others(self) -> set[str]:
        """Those without a process of ours: somebody else may leave one for a while."""
        ours = self._processes()
        return {place for place in self._places() if not ours & _inside(place)}

    def _groups(self) -> set[str]:
        """The control groups in which there is nobody, and which nobody else has locked."""
        places = self._places()
        ours = self._processes() | {self.pid, self.engine} if places else set()
        others = set()
        for line in Path("/proc/locks").read_text().splitlines() if places else ():
            words = line.split()
            if words[1] == "FLOCK" and os.path.exists(f"/proc/{words[4]}"):
                others |= {int(words[5].rpartition(":")[2])} if int(words[4]) not in ours else set()
        return {place for place in places if _is_left(place, others)}

    def close(self) -> None:
        """End it, with all that it has started."""
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.stdout.close()
        if not until(lambda: self._process.poll() is not None, 3):
            self._process.kill()
        self._process.wait()
        for pid in self._processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.said.close()
        os.unlink(f"{self._folder.name}.err")
        self._folder.cleanup()


def _inside(group: str) -> set[int]:
    """The processes in a control group and in those below it."""
    found: set[int] = set()
    for place, _, _ in os.walk(group):
        with contextlib.suppress(OSError):  # it has just gone
            found |= set(map(int, Path(place, "cgroup.procs").read_text().split()))
    return found


def _is_left(group: str, others: set[int]) -> bool:
    """Whether a control group has nobody in it, and is none of those that others have locked."""
    try:
        return not _inside(group) and os.stat(group).st_ino not in others
    except OSError:  # it has just gone
        return False


def judged(came: object, killed: str) -> str:
    """What is wrong with an answer that is not that of a good run."""
    if not isinstance(came, dict):
        return str(came)
    if "error" not in came:
        status, _, said = came["result"]
        not_run = status in (1, 125, 126, 127) and said.startswith("labkit: ")
        ends = {"child": (-9, 137), "engine": (137,), "caller": (-9,)}.get(killed, ())
        return (
            "" if (status in ends and not said) or not_run else f"another result: {came['result']}"
        )
    if came["error"] == "MemoryError":
        return ""
    if came["error"] == "EngineLost":
        return "" if killed == "engine" else "the engine was lost"
    if not came["os"] or not came["errno"]:
        return f"no OSError: {came['error']}: {came['text']}"
    return "" if came["call"] else f"no call: {came['error']}: {came['text']}"


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Whether it becomes true in time."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() > began + seconds:
            return False
        time.sleep(0.005)
    return True


def left_out(who: str, name: str) -> bool:
    """Whether a call only has its process killed.

    Python itself asks for memory, at any time. A new thread that gets none for its frames never
    says that it has begun, and Thread.start() waits for that: nothing of ours runs there yet.
    """
    return name in LEFT_OUT or (who == "caller" and name in ("mmap", "mprotect"))


def plan(kind: str, who: str, calls: list[str]) -> Iterator[Injection]:
    """All that is to fail in a run that makes these calls.

    Where a client is the caller, there are many calls. Of those of one name each fails with another
    errno, in turn; of those that only look, every fourth. Who makes them is killed at those that
    change something: whoever is killed before that leaves the same. A monitor has each errno, and
    is killed at each call, in two kinds.
    """
    count: dict[str, int] = {}
    for name in calls:
        count[name] = nth = count.get(name, 0) + 1
        if name in ("getsid", "rt_sigreturn", "restart_syscall"):
            continue
        numbers = () if left_out(who, name) else ERRNOS.get(name, (errno.ENOMEM,))
        kills: tuple[int, ...] = (KILL,)
        if kind in PLACES and not (who == "engine" and kind in ("run -d", "exec, monitor")):
            looks = name in CHANGE_NOTHING
            turn = numbers[nth % len(numbers) :][:1] if numbers else ()
            numbers, kills = ((turn if nth % 4 == 1 else ()), ()) if looks else (turn, kills)
        for number in (*numbers, *kills):
            # How a terminal says that its program has closed it: then there is nothing to read.
            if (kind, who, name, number) != ("tty", "caller", "read", errno.EIO):
                yield Injection(kind, who, Fault(name, nth, number))
