"""The child's side: the steps between clone and execve, in order.

This runs in a copy of the engine: one thread, and nothing left to import, since after a step has
moved the root Python would look for its modules in vain.
"""

import os
import signal

from labkit import syscalls
from labkit.report import Report
from labkit.syscalls import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    PR_SET_CHILD_SUBREAPER,
    PR_SET_PDEATHSIG,
    Clone,
    chdir,
    clone3,
    execve,
    mount,
    prctl,
    sethostname,
    setns,
)

TYPE_CHECKING = False  # importing typing would be a third of the engine's start
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import NoReturn, Protocol

    class Spec(Protocol):
        """The fields of a Container, as the engine has them."""

        argv: Sequence[str]
        cloneflags: Clone
        hostname: str | None
        proc: bool
        env: Mapping[str, str]
        cwd: str | None


DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def contain(box: "Spec") -> None:
    """Build the walls of `box` around this process, then become its program; raises on refusal."""
    live_and_die(box.cloneflags)
    if box.cloneflags & CLONE_NEWNS:
        # The copied mounts are still peers of the host's: without this a mount here appears there.
        mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    if box.hostname is not None:
        sethostname(box.hostname)
    if box.proc:
        # From inside: a proc mount shows the PID namespace of whoever mounts it.
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None)
    if box.cwd is not None:
        chdir(box.cwd)
    execute(box.argv, box.env)


def live_and_die(flags: Clone) -> None:
    """Tie this process's life to the engine's, and its descendants' to its own."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if not flags & CLONE_NEWPID:
        # Orphans come to us, as they come to PID 1 of a PID namespace: none is lost from sight.
        prctl(PR_SET_CHILD_SUBREAPER, 1)


def join(box: "Spec", pidfd: int, flags: Clone, born: Clone, report: Report) -> None:
    """Enter the namespaces `flags` of the process behind `pidfd` and run `box` there: docker exec.

    This process was `born` in some of them. setns moves only our children to another PID namespace:
    if we were not born in it, a child goes on there, while we stay outside, wait for it and end as
    it ended.
    """
    live_and_die(flags)
    if flags & ~born:
        setns(pidfd, flags & ~born)
    if flags & ~born & CLONE_NEWPID:
        inside = clone3(0)
        if inside:
            report.send()
            os.close(report.fd)
            mirror(inside)
        report.inside()
        live_and_die(flags)
    execute(box.argv, box.env)


def mirror(pid: int) -> None:
    """Wait for child `pid`, then end as it did: with its exit status, or by its signal."""
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))


def execute(argv: "Sequence[str]", env: "Mapping[str, str]") -> None:
    """Become the program argv[0], looked up in PATH as execvp(3) does; raises the last refusal."""
    *others, last = candidates(argv[0], env.get("PATH", DEFAULT_PATH))
    for path in others:
        try:
            execve(path, argv, env)
        except (FileNotFoundError, NotADirectoryError):
            continue
    execve(last, argv, env)


def candidates(program: str, path: str) -> list[str]:
    """Where `program` may be: itself with a slash in it, the file in PATH, else every place."""
    if "/" in program:
        return [program]
    places = [os.path.join(directory or ".", program) for directory in path.split(":")]
    for place in places:
        if os.access(place, os.X_OK) and os.path.isfile(place):
            return [place]
    return [place for place in places if os.path.isfile(place)][:1] or places


def become(report: Report, stdio: "Sequence[int]", steps: "Callable[[], None]") -> "NoReturn":
    """In a fresh clone: wire the streams, take the steps to the program; report what is refused."""
    try:
        syscalls.record = report.record
        for fd, copy in enumerate(stdio):
            os.dup2(copy, fd)
        steps()
    except OSError as error:
        report.refused(error.errno or 0, str(error.strerror))
    except BaseException as error:  # noqa: BLE001 - a defect must not return to the engine's loop
        report.refused(0, repr(error))
    finally:
        os._exit(125)
