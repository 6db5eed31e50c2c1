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

from faults.tracer import KILL, Fault, Watch

WHO = ("caller", "engine", "child")
PATIENCE = 10  # seconds until a result
MARK = "LABKIT_FAULTS"
# Calls that cannot fail, or whose failure cannot be told from another: a close that the kernel does
# not make leaves its descriptor open, whoever asked for it.
LEFT_OUT = {
    "brk", "clock_nanosleep", "close", "exit", "exit_group", "futex", "getegid", "geteuid",
    "getgid", "getpid", "getppid", "getsid", "gettid", "getuid", "madvise", "restart_syscall",
    "rseq", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sched_yield", "set_robust_list",
    "sigaltstack", "umask", "uname",
}  # fmt: skip
ERRNOS: dict[str, tuple[int, ...]] = {
    "bind": (errno.ENOMEM,),
    "capset": (errno.EPERM,),
    "chdir": (errno.ENOENT, errno.EACCES),
    "clone": (errno.EAGAIN, errno.ENOMEM, errno.EPERM),
    "clone3": (errno.EAGAIN, errno.ENOMEM, errno.EPERM, errno.ENOSPC),
    "dup": (errno.EMFILE,),
    "dup3": (errno.EBADF, errno.EBUSY),
    "epoll_ctl": (errno.ENOMEM, errno.ENOSPC),
    "epoll_wait": (errno.EINTR, errno.ENOMEM),
    "execve": (errno.ENOMEM, errno.EACCES, errno.ENOENT, errno.E2BIG),
    "fchdir": (errno.EACCES, errno.ENOTDIR),
    "flock": (errno.ENOLCK, errno.EINTR),
    "fsconfig": (errno.EINVAL, errno.ENOMEM),
    "fsmount": (errno.EPERM, errno.ENFILE),
    "fsopen": (errno.ENODEV, errno.EMFILE, errno.ENOMEM),
    "fcntl": (errno.ENOMEM,),
    "fstat": (errno.ENOMEM, errno.EIO),
    "getdents64": (errno.ENOENT, errno.ENOMEM),
    "ioctl": (errno.EIO, errno.ENOTTY, errno.ENOMEM),
    "kill": (errno.EPERM,),
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
    "openat2": (errno.EMFILE, errno.EXDEV, errno.EAGAIN),
    "openat": (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES),
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
    "rmdir": (errno.EBUSY, errno.EINTR),
    "seccomp": (errno.EACCES, errno.ENOMEM, errno.EINVAL),
    "sendmsg": (errno.EINTR, errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS),
    "sendto": (errno.EINTR, errno.ENOBUFS),
    "setgroups": (errno.EPERM, errno.ENOMEM),
    "sethostname": (errno.EPERM,),
    "setns": (errno.EPERM, errno.ENOMEM, errno.EINVAL),
    "setresgid": (errno.EPERM, errno.EINVAL),
    "setresuid": (errno.EPERM, errno.EAGAIN),
    "setsid": (errno.EPERM,),
    "shutdown": (errno.ENOTCONN,),
    "socketpair": (errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    "symlinkat": (errno.EACCES, errno.ENOSPC),
    "umount2": (errno.EPERM, errno.EBUSY),
    "unlinkat": (errno.EACCES, errno.EBUSY),
    "unshare": (errno.EPERM, errno.ENOMEM, errno.ENOSPC),
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

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="labkit-faults-")
        self._mark = f"{MARK}={self._folder.name}"
        self.said = open(f"{self._folder.name}.err", "w+b")  # noqa: SIM115 - closed in close()
        name, _, value = self._mark.partition("=")
        os.mkdir(f"{self._folder.name}/cwd")
        self._process = subprocess.Popen(
            [
                "unshare",
                "--net",
                sys.executable,
                "-m",
                "faults.kinds",
            ],  # links are none of the machine's
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            env=os.environ
            | {
                name: value,
                "PYTHONPATH": str(Path(__file__).parents[1]),
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
        self.engine = int(self.tell("begin"))

    def warm(self, kind: str) -> None:
        """Have what a first start of the kind has, and know what comes of it."""
        if kind not in self._warm:
            self._warm.add(kind)
            self.before = {}
            came = self.ask(kind)
            assert came == GOOD.setdefault(kind, came), f"{kind}: {came}, not {GOOD[kind]}"

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

    def pid_of(self, who: str, kind: str) -> int:
        """The process to watch. A child is watched from its birth: it is the engine's."""
        if who == "caller":
            return self.pid
        return int(self.tell("engine")) if kind == "rootless engine" else self.engine

    def listing(self, kind: str, who: str) -> list[str]:
        """The names of the calls of a good run."""
        self.warm(kind)
        watch = self._watch(kind, who, None)
        came = self.ask(kind)
        told = watch.end()
        assert came == GOOD[kind], f"{kind}: {came}, not {GOOD[kind]}"
        return told

    def _watch(self, kind: str, who: str, fault: Fault | None) -> Watch:
        return Watch(self.pid_of(who, kind), fault, children=who == "child", marked=who == "caller")

    def inject(self, injection: Injection) -> Outcome:
        """Let it fail, and look around."""
        kind, who = injection.kind, injection.who
        self.warm(kind)
        if not self.before and (who, injection.fault.number) != ("caller", KILL):
            self.before = self._settled()
        watch = self._watch(kind, who, injection.fault)
        self.came = came = self.ask(kind, PATIENCE)
        reached = "!" in watch.end()
        if not reached and came == GOOD[kind]:
            return Outcome(reached, "")
        killed = who if injection.fault.number == KILL and reached else ""
        return Outcome(reached, self._wrong(kind, came, killed))

    def _wrong(self, kind: str, came: object, killed: str) -> str:
        """What is not as it should be, "" if nothing."""
        if killed == "caller":
            self._process.wait()
            return "" if until(lambda: not self._processes()) else f"left: {self._left()}"
        wrong = "" if came == GOOD[kind] else judged(came, killed)
        if not wrong:
            next_ = self.ask("next", PATIENCE)
            heard = next_["result"] if isinstance(next_, dict) else next_
            alone = killed == "engine" and kind != "rootless engine"
            if heard != "hi\n" and not (alone and str(heard).startswith("neighbours")):
                wrong = f"next: {heard}"
        if not wrong and killed == "engine":
            self.begin_again()
        if not wrong and not until(lambda: not self._more()):
            wrong = f"more: {self._more()} {self._left()}"
        self.said.seek(0)
        return wrong or self.said.read().decode(errors="replace")

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
        listing = [
            "ps",
            "--no-headers",
            "-o",
            "pid,ppid,sess,stat,start,args",
            "--pid",
            pids or "0",
        ]
        done = subprocess.run(listing, capture_output=True, text=True)
        return [line[:90] for line in done.stdout.splitlines()]

    def _state(self) -> dict[str, Any]:
        """How many of everything there are."""
        state: dict[str, Any] = {"processes": len(self._processes())}
        for name, pid in (("caller", self.pid), ("engine", self.engine)):
            with contextlib.suppress(OSError):
                state[f"descriptors of {name}"] = len(os.listdir(f"/proc/{pid}/fd"))
                state[f"mounts of {name}"] = len(
                    Path(f"/proc/{pid}/mountinfo").read_text().split("\n")
                )
                state[f"children of {name}"] = len(
                    Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                )
        state["groups"] = sum("labkit-box-" in place for place, _, _ in os.walk("/sys/fs/cgroup"))
        state["files"] = sorted(os.listdir(f"{self._folder.name}/cwd"))
        return state

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


def judged(came: object, killed: str) -> str:
    """What is wrong with an answer that is not that of a good run."""
    if not isinstance(came, dict):
        return str(came)
    if "error" not in came:
        status, _, said = came["result"]
        signalled = status == -signal.SIGKILL and killed == "child"
        not_run = status in (126, 127) and said.startswith("labkit: ")
        return "" if signalled or not_run else f"another result: {came['result']}"
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
    """All that is to fail in a run that makes these calls."""
    count: dict[str, int] = {}
    for name in calls:
        count[name] = nth = count.get(name, 0) + 1
        if name in ("getsid", "rt_sigreturn", "restart_syscall"):
            continue
        numbers = () if left_out(who, name) else ERRNOS.get(name, (errno.ENOMEM,))
        for number in (*numbers, KILL):
            # How a terminal says that its program has closed it: then there is nothing to read.
            if (kind, who, name, number) != ("tty", "caller", "read", errno.EIO):
                yield Injection(kind, who, Fault(name, nth, number))
