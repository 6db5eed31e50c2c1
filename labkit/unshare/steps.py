"""``labkit unshare``: what unshare(1) of util-linux does, step by step, by our own system calls.

It needs no engine: this process moves itself, then becomes the program. What only some options need
is imported when they are given. Nothing is imported after chroot(2): the files are not ours then.
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
from labkit.linux.path import places
from labkit.linux.processes import clone, execve, pidfd_open, prctl, unshare
from labkit.linux.refusal import refusal
from labkit.linux.signals import exit_like
from labkit.text.words import Words, as_bytes, one_line
from labkit.unshare.options import KINDS, Asked, Misuse, parse

TYPE_CHECKING = False  # it is to start at once
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from labkit.linux.id_maps import IdRange

FAILED, NOT_EXECUTABLE, NOT_FOUND = 1, 126, 127  # exit statuses of unshare(1)
_CLOCK_MONOTONIC, _CLOCK_BOOTTIME = 1, 7  # linux/time.h
# In /proc/PID/ns; of two kinds only our children are in the new one.
_FILES = {"pid": "pid_for_children", "time": "time_for_children", "mount": "mnt"}


def main(words: "Sequence[str]") -> int:
    """Do what the command line says. Returns an exit status only if no program was started."""
    try:
        asked = parse(words)
        as_before_python()
        if asked.only:
            return _say(asked.only)
        if asked.explain:
            _explain()
        if asked.keep_caps:
            import labkit.linux.capabilities  # noqa: F401 - later there may be nothing to import from
        enter_namespaces(asked)
        set_up(asked)
        return exec_program(asked.argv)
    except Misuse as why:
        return _fail(str(why))
    except OSError as error:
        return _fail(one_line(error))


def enter_namespaces(asked: Asked) -> None:
    """Move to the new namespaces; with --fork it is a child that returns from here."""
    us, uid, gid = _number(), os.geteuid(), os.getegid()
    users, groups = ranges(asked, uid, gid)
    own = own_maps(asked, uid, gid)
    # Some things can be done only from where we come from: children stay behind for them.
    outside = bool(asked.files) and bool(asked.flags & (CLONE_NEWNS | CLONE_NEWUSER))
    binder = HelperOutside(lambda: bind(asked.files, us)) if outside else None
    mapped = bool(users or groups)
    mapper = HelperOutside(lambda: map_from_outside(us, users, groups)) if mapped else None
    unshare(asked.flags)
    if mapper:
        mapper.go()
    set_clocks(asked)
    child = fork(asked.kill_child) if asked.fork else 0
    if child or not asked.fork:
        # Only now: a PID namespace has no file before its first process is born.
        binder.go() if binder else bind(asked.files, us)
    if child:
        exit_like(child)
    write_maps(own, asked.setgroups)


def set_up(asked: Asked) -> None:
    """Set up what the program will find: mounts, root, working directory, IDs."""
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


def exec_program(argv: "Sequence[str]") -> int:
    """Become the program, or the user's shell. Returns the exit status if that fails."""
    shell = os.environ.get("SHELL", "/bin/sh")
    # A shell is a path, even without a slash in it: PATH is not searched for it.
    program = argv[0] if argv else shell and os.path.join(".", shell)
    arguments = list(argv) or [f"-{os.path.basename(shell)}"]  # as login(1) starts it
    number = execute(program, arguments)
    # As a shell says it: the program, not the call. Only of E2BIG does the name say too little.
    known = refusal("execve", number).__notes__ if number == errno.E2BIG else []
    if not _complain("  ".join([f"{program}: {os.strerror(number)}", *known])):
        return FAILED
    return NOT_FOUND if number == errno.ENOENT else NOT_EXECUTABLE


# What the steps are made of


def _number() -> int:
    """What this /proc calls us: after --fork --pid without --mount-proc it counts as outside."""
    try:
        return int(os.readlink("/proc/self"))
    except OSError:  # there is none of ours; whoever needs it will be refused its files
        return os.getpid()


class HelperOutside:
    """A child that stays in the namespaces that we leave. It does `steps` there when told."""

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
        """Let it do its steps, and wait for it. If it failed, end with its status."""
        os.write(self._gate, b"\0")
        os.close(self._gate)
        _, status = os.waitpid(self._pid, 0)
        if code := os.waitstatus_to_exitcode(status):
            os._exit(code if code > 0 else FAILED)


def _tried(steps: "Callable[[], None]") -> int:
    try:
        steps()
    except OSError as error:
        return _fail(one_line(error))
    return 0


def bind(files: dict[str, str], pid: int) -> None:
    """Keep namespaces of process `pid` by files: they last until these are unmounted."""
    for kind in KINDS:
        if kind in files:
            source = f"/proc/{pid}/ns/{_FILES.get(kind, kind)}"
            mount(source, files[kind], None, MS_BIND, None)


def ranges(asked: Asked, uid: int, gid: int) -> "tuple[list[IdRange], list[IdRange]]":
    """The ranges of users and of groups that are mapped from outside, our own IDs among them."""
    if not asked.map_users and not asked.map_groups:
        return [], []
    from labkit.linux.id_maps import with_single

    users = with_single(asked.map_users, asked.map_user, uid) if asked.map_users else []
    groups = with_single(asked.map_groups, asked.map_group, gid) if asked.map_groups else []
    return users, groups


def map_from_outside(pid: int, users: "list[IdRange]", groups: "list[IdRange]") -> None:
    """Map more than one's own ID: only root may, or newuidmap(1), which is set-user-ID root."""
    from labkit.linux.id_maps import as_text

    for name, program, mapped in (
        ("uid_map", "newuidmap", users),
        ("gid_map", "newgidmap", groups),
    ):
        if mapped and os.geteuid() == 0:
            write_proc_file(f"/proc/{pid}/{name}", as_text(mapped))
        elif mapped:
            words = [program, str(pid), *(str(number) for each in mapped for number in each)]
            child = clone(0)
            if not child:
                os._exit(exec_program(words))
            _, status = os.waitpid(child, 0)
            if code := os.waitstatus_to_exitcode(status):
                os._exit(code if code > 0 else FAILED)


def own_maps(asked: Asked, uid: int, gid: int) -> list[tuple[str, str]]:
    """The files and texts that give us an ID inside for the one that we have outside.

    Any user may write that much. An ID that is mapped from outside is not among them.
    """
    user = None if asked.map_users else asked.map_user
    group = None if asked.map_groups else asked.map_group
    if user is None and group is None:
        return []
    from labkit.linux.id_maps import map_files

    return map_files(
        [] if user is None else [(user, uid, 1)], [] if group is None else [(group, gid, 1)]
    )


def write_maps(files: list[tuple[str, str]], setgroups: str | None) -> None:
    """Write the maps of our own IDs, and then what --setgroups says."""
    for name, text in files:
        # Since Linux 3.19 a user who may leave no group outside must not do so inside either.
        if name == "setgroups" and setgroups == "allow":
            said = Words(
                "--setgroups=allow 与 --map-group、-r、-c 不能同用",
                "--setgroups=allow does not go with --map-group, -r or -c",
            )
            raise Misuse(said)
        write_proc_file(f"/proc/self/{name}", text.rstrip("\n"))  # unshare(1) ends no single line
    if setgroups:
        write_proc_file("/proc/self/setgroups", setgroups)


def set_clocks(asked: Asked) -> None:
    """Set the clocks of the new time namespace forward or back, before anybody is in it."""
    for clock, seconds in ((_CLOCK_BOOTTIME, asked.boottime), (_CLOCK_MONOTONIC, asked.monotonic)):
        if seconds is not None:
            write_proc_file("/proc/self/timens_offsets", f"{clock} {seconds} 0")


def write_proc_file(path: str, text: str) -> None:
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
    """Make a child that goes on in our place. Returns 0 in it, and its PID in us, who wait."""
    # Ctrl-C at the terminal reaches the child too. We end as the child ends, not of the key.
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
        """End if the parent ended before we called prctl(2): then no signal will come."""
        if self._ready([self._pidfd], [], [], 0)[0]:
            os._exit(FAILED)
        os.close(self._pidfd)


def keep_private(proc: str) -> None:
    """Keep the new proc in here, where other mounts are to spread."""
    try:
        mount("none", proc, None, MS_REC | MS_PRIVATE, None)
    except OSError as error:
        if error.errno != errno.EINVAL or proc == "/proc":  # else it is no mount point yet
            raise


def keep_capabilities() -> None:
    """Pass our capabilities in the new user namespace to the program, whatever user it runs as."""
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
    """Become `program`, searched for as execvp(3) does. Returns the errno if that fails."""
    path = os.environ.get("PATH", "/bin:/usr/bin")
    failed = [errno.ENOENT]
    for place in places(program, path) if program else ():
        try:
            os.stat(place)  # or the trace would have a call for each place where it is not
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
    """Say it on standard error. Returns whether that was possible."""
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
        explained = explain(line)
        purpose = explained.purpose.texts()
        if explained.name == "execve" and explained.answer != "?":  # its purpose has been said
            purpose = []
        lines = [line, *(f"    {text}" for text in purpose if text)]
        for argument in explained.arguments:
            lines += [f"      {name}: {words}" for name, words in argument.parts]
        os.write(2, as_bytes("\n".join(lines) + "\n"))

    trace.record = say


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
