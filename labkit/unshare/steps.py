"""``labkit unshare``: what unshare(1) of util-linux does, step by step, by our own system calls.

It needs no engine: this process moves itself, then becomes the program. Nothing is imported that
could wait, and nothing at all after chroot(2), for what is there then is not ours.
"""

import _signal  # type: ignore[import-not-found]
import errno
import os
import sys

from labkit.linux import trace
from labkit.linux.credentials import capget, capset, setgid, setgroups, setuid
from labkit.linux.files import chdir, close, openat, write
from labkit.linux.flags import (
    AT_FDCWD,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_RAISE,
    PR_SET_PDEATHSIG,
)
from labkit.linux.mounts import chroot, mount
from labkit.linux.processes import clone, execve, pidfd_open, prctl, unshare
from labkit.linux.refusal import hints
from labkit.text.words import as_bytes, chosen, spoken
from labkit.unshare.options import KINDS, Asked, Misuse, parse

TYPE_CHECKING = False  # it is to start at once
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FAILED, NOT_EXECUTABLE, NOT_FOUND = 1, 126, 127  # exit statuses of unshare(1)
_CLOCK_MONOTONIC, _CLOCK_BOOTTIME = 1, 7  # linux/time.h
# In /proc/PID/ns; of two kinds only our children are in the new one.
_FILES = {"pid": "pid_for_children", "time": "time_for_children", "mount": "mnt"}


def main(words: "Sequence[str]") -> int:
    """Do what the command line says; the exit status, where there was a reason not to."""
    try:
        asked = parse(words)
        as_before_python()
        if asked.only:
            return _say(asked.only)
        if asked.explain:
            _explain()
        if asked.keep_caps:
            import labkit.linux.capabilities  # noqa: F401 - later there may be nothing to import from
        move(asked)
        settle(asked)
        return become(asked.argv)
    except Misuse as why:
        return _fail(str(why))
    except OSError as error:
        text = error.strerror or str(error)
        return _fail("  ".join([text, *getattr(error, "__notes__", [])]))


def move(asked: Asked) -> None:
    """Into the new namespaces; with --fork it is a child that returns from here."""
    us, uid, gid = _number(), os.geteuid(), os.getegid()
    users, groups = id_maps(asked, uid, gid)
    # Some things can be done only from where we come from: children stay there until it is time.
    left = bool(asked.files) and bool(asked.flags & (CLONE_NEWNS | CLONE_NEWUSER))
    binder = Behind(lambda: bind(asked.files, us)) if left else None
    mapper = Behind(lambda: map_from_outside(us, users, groups)) if users or groups else None
    unshare(asked.flags)
    if mapper:
        mapper.go()
    if asked.boottime is not None:
        tell("/proc/self/timens_offsets", f"{_CLOCK_BOOTTIME} {asked.boottime} 0")
    if asked.monotonic is not None:
        tell("/proc/self/timens_offsets", f"{_CLOCK_MONOTONIC} {asked.monotonic} 0")
    child = fork(asked.kill_child) if asked.fork else 0
    if child or not asked.fork:
        # Only now: a PID namespace has no file before its first process is born.
        binder.go() if binder else bind(asked.files, us)
    if child:
        end_as(child)
    # An ID of ours inside for the one that we have outside: that much any user may write.
    if asked.map_user is not None and not users:
        tell("/proc/self/uid_map", f"{asked.map_user} {uid} 1")
    if asked.map_group is not None and not groups:
        # Since Linux 3.19 who may drop no groups outside must not do so inside either.
        if asked.setgroups == "allow":
            raise Misuse(
                "--setgroups=allow 与 --map-group、-r、-c 不能同用",
                "--setgroups=allow does not go with --map-group, -r or -c",
            )
        tell("/proc/self/setgroups", "deny")
        tell("/proc/self/gid_map", f"{asked.map_group} {gid} 1")
    if asked.setgroups:
        tell("/proc/self/setgroups", asked.setgroups)


def settle(asked: Asked) -> None:
    """Mounts, root, working directory, IDs: what the program will find."""
    if asked.flags & CLONE_NEWNS and asked.propagation:
        # The copied mounts are still peers of the host's: without this a mount here appears there.
        mount("none", "/", None, asked.propagation, None)
    if asked.root is not None:
        chroot(asked.root)
    if asked.root is not None or asked.wd is not None:
        chdir("/" if asked.wd is None else asked.wd)
    if asked.mount_proc is not None:
        if asked.root is None and asked.propagation != MS_REC | MS_PRIVATE:
            keep_private(asked.mount_proc)
        mount("proc", asked.mount_proc, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None)
    if asked.setgid is not None:
        setgroups(())  # those of the user before us
        setgid(asked.setgid)
    if asked.setuid is not None:
        setuid(asked.setuid)  # last: after it we may do nothing of the above
    if asked.keep_caps and asked.flags & CLONE_NEWUSER:
        keep_capabilities()


def become(argv: "Sequence[str]") -> int:
    """Run the program, or the user's shell, in our place; the exit status if that fails."""
    shell = os.environ.get("SHELL", "/bin/sh")
    # A shell is a path, even without a slash in it: PATH is not searched for it.
    program = argv[0] if argv else shell and os.path.join(".", shell)
    arguments = list(argv) or [f"-{os.path.basename(shell)}"]  # as login(1) starts it
    number = execute(program, arguments)
    known = hints("execve", number) if number == errno.E2BIG else None
    if not _complain(
        "  ".join([f"{program}: {os.strerror(number)}", *(chosen(*known) if known else ())])
    ):
        return FAILED
    return NOT_FOUND if number == errno.ENOENT else NOT_EXECUTABLE


# What the steps are made of


def _number() -> int:
    """What this /proc calls us: after --fork --pid without --mount-proc it counts as outside."""
    try:
        return int(os.readlink("/proc/self"))
    except OSError:  # there is none of ours; who needs it will be refused its files
        return os.getpid()


class Behind:
    """A child that stays in the namespaces that we leave, and does `steps` there when told."""

    def __init__(self, steps: "Callable[[], None]") -> None:
        gate, self._gate = os.pipe()
        self._pid = clone(0)
        if not self._pid:
            os.close(self._gate)
            if not os.read(gate, 1):  # we have failed, and it is not wanted
                os._exit(0)
            os._exit(_tried(steps))
        os.close(gate)

    def go(self) -> None:
        """Let it do them; end as it ended if it failed."""
        os.write(self._gate, b"\0")
        os.close(self._gate)
        _, status = os.waitpid(self._pid, 0)
        if code := os.waitstatus_to_exitcode(status):
            os._exit(code if code > 0 else FAILED)


def _tried(steps: "Callable[[], None]") -> int:
    try:
        steps()
    except OSError as error:
        text = error.strerror or str(error)
        return _fail("  ".join([text, *getattr(error, "__notes__", [])]))
    return 0


def bind(files: dict[str, str], pid: int) -> None:
    """Keep namespaces of process `pid` by files: they last until these are unmounted."""
    for kind in KINDS:
        if kind in files:
            source = f"/proc/{pid}/ns/{_FILES.get(kind, kind)}"
            mount(source, files[kind], None, MS_BIND, None)


def id_maps(asked: Asked, uid: int, gid: int) -> "tuple[list[tuple[int, int, int]], ...]":
    """The blocks of users and of groups to be mapped, our own IDs among them."""
    if not asked.map_users and not asked.map_groups:
        return [], []
    from labkit.linux.id_maps import with_single

    users = with_single(asked.map_users, uid, asked.map_user) if asked.map_users else []
    groups = with_single(asked.map_groups, gid, asked.map_group) if asked.map_groups else []
    return users, groups


def map_from_outside(
    pid: int, users: "list[tuple[int, int, int]]", groups: "list[tuple[int, int, int]]"
) -> None:
    """More than one's own ID only root may map, or newuidmap(1), which is set-user-ID root."""
    for name, program, blocks in (
        ("uid_map", "newuidmap", users),
        ("gid_map", "newgidmap", groups),
    ):
        numbers = [(inner, outer, count) for outer, inner, count in blocks]
        if blocks and os.geteuid() == 0:
            tell(f"/proc/{pid}/{name}", "".join("{} {} {}\n".format(*row) for row in numbers))
        elif blocks:
            words = [program, str(pid), *(str(number) for row in numbers for number in row)]
            child = clone(0)
            if not child:
                os._exit(become(words))
            _, status = os.waitpid(child, 0)
            if code := os.waitstatus_to_exitcode(status):
                os._exit(code if code > 0 else FAILED)


def tell(path: str, text: str) -> None:
    """Write `text` to a file of /proc, which takes it only whole and at once."""
    try:
        file = openat(AT_FDCWD, path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        if path.endswith("/setgroups"):  # a kernel before 3.19 has no such rule
            return
        raise
    write(file, text)
    close(file)


def fork(kill_child: int) -> int:
    """A child goes on in our place: 0 in it, its PID in us, who wait for it."""
    # What the terminal sends reaches the child too: its end is to be ours, not the key.
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, {_signal.SIGINT, _signal.SIGTERM})
    parent = _Parent() if kill_child else None
    child = clone(0)
    if not child:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)
        if parent:
            prctl(PR_SET_PDEATHSIG, kill_child)
            parent.must_live()
    return child


class _Parent:
    """This process, as its child will see it."""

    def __init__(self) -> None:
        import select

        self._ready = select.select
        self._pidfd = pidfd_open(os.getpid())

    def must_live(self) -> None:
        """End if it ended before prctl(2) could tell the kernel to tell us: no signal will come."""
        if self._ready([self._pidfd], [], [], 0)[0]:
            os._exit(FAILED)
        os.close(self._pidfd)


def end_as(child: int) -> None:
    """Wait for the child and end as it ends, of the same signal too. Does not return."""
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        if -code != _signal.SIGKILL:
            _signal.signal(-code, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
        code = FAILED
    os._exit(code)


def keep_private(proc: str) -> None:
    """Do not let the new proc out of here, where mounts still spread."""
    try:
        mount("none", proc, None, MS_REC | MS_PRIVATE, None)
    except OSError as error:
        if error.errno != errno.EINVAL or proc == "/proc":  # else it is no mount point yet
            raise


def keep_capabilities() -> None:
    """What we have in the new user namespace the program has too, whoever it runs as."""
    effective, permitted, _ = capget()
    capset(effective, permitted, permitted)
    for number in range(permitted.bit_length()):
        if permitted >> number & 1:
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number)


def as_before_python() -> None:
    """Undo what Python did at its start to signals and locale: a program would inherit it."""
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_DFL)
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # ignored, it would leave nothing to wait for
    if os.environ.get("LC_CTYPE") in ("C.UTF-8", "C.utf8", "UTF-8"):  # PEP 538: where no locale was
        try:
            with open("/proc/self/environ", "rb") as file:
                if b"\0LC_CTYPE=" not in b"\0" + file.read():
                    del os.environ["LC_CTYPE"]
        except OSError:  # no /proc: it stays
            return


# Where the search goes on, in execvp(3).
_ELSEWHERE = (
    errno.EACCES,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ESTALE,
    errno.ENODEV,
    errno.ETIMEDOUT,
)


def execute(program: str, argv: "list[str]") -> int:
    """Become `program` as execvp(3) finds it; the errno if it is not to be had."""
    path = os.environ.get("PATH", "/bin:/usr/bin")
    places = [program] if "/" in program else [f"{p or '.'}/{program}" for p in path.split(":")]
    failed = [errno.ENOENT]
    for place in places if program else ():
        try:
            os.stat(place)  # else the record would be of places where it is not
            try:
                execve(place, argv, os.environ)
            except OSError as error:
                if error.errno != errno.ENOEXEC:
                    raise
                execve("/bin/sh", ["/bin/sh", place, *argv[1:]], os.environ)  # a script without #!
        except OSError as error:
            failed.append(error.errno or 0)
            if error.errno not in _ELSEWHERE:
                return failed[-1]
    return errno.EACCES if errno.EACCES in failed else failed[-1]


# What is said


def _fail(text: str) -> int:
    _complain(text)
    return FAILED


def _complain(text: str) -> bool:
    """Say it on standard error; whether that could be done."""
    line = " ".join(f"labkit unshare: {text}".splitlines()) + "\n"
    try:
        os.write(2, as_bytes(line))
    except OSError:
        return False
    return True


def _say(what: str) -> int:
    from labkit.unshare import usage

    text = usage.text() if what == "help" else usage.version()
    left = as_bytes(f"{text}\n")
    try:
        while left:  # not print: what could not be written, Python would try again at its end
            left = left[os.write(1, left) :]
    except OSError as error:
        if error.errno != errno.EBADF:  # closed on purpose
            raise
    return 0


def _explain() -> None:
    """From now on say of each call, on standard error, what it asks for."""
    from labkit.linux.glossary import explain

    def say(line: str) -> None:
        told = explain(line)
        purpose = chosen(told.purpose.zh, told.purpose.en)
        if told.name == "execve" and told.answer != "?":  # it has been said what it is for
            purpose = []
        lines = [line, *(f"    {text}" for text in purpose if text)]
        for argument in told.arguments:
            lines += [
                f"      {name}: {spoken(words.zh, words.en)}" for name, words in argument.parts
            ]
        os.write(2, as_bytes("\n".join(lines) + "\n"))

    trace.record = say


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
