"""The child's side: the steps between clone and execve, in order.

The caller rehearses them: `contain` and `join` make the calls ready (`calls.py:rehearse`), and a
fresh clone of the engine makes them. So no step may depend on the result of another.
"""

import os
import signal

from labkit.container import Container
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
    TIOCSCTTY,
    Clone,
    chdir,
    clone3,
    execve,
    ioctl,
    mount,
    prctl,
    sethostname,
    setns,
    setsid,
)

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def contain(box: Container) -> None:
    """Build the walls of `box` around this process, then become its program."""
    live_and_die(box.cloneflags)
    if box.cloneflags & CLONE_NEWNS:
        # The copied mounts are still peers of the host's: without this a mount here appears there.
        mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    if box.hostname is not None:
        sethostname(box.hostname)
    if box.proc:
        # From inside: a proc mount shows the PID namespace of whoever mounts it.
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None)
    if box.tty:
        # Only who leads a session without a terminal can take one, for itself and its children.
        setsid()
        ioctl(0, TIOCSCTTY, 0)
    if box.cwd is not None:
        chdir(box.cwd)
    execute(box)


def live_and_die(flags: Clone) -> None:
    """Tie this process's life to the engine's, and its descendants' to its own."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if not flags & CLONE_NEWPID:
        # Orphans come to us, as they come to PID 1 of a PID namespace: none is lost from sight.
        prctl(PR_SET_CHILD_SUBREAPER, 1)


def join(box: Container, pidfd: int, flags: Clone, born: Clone) -> None:
    """Enter the namespaces `flags` of the process behind `pidfd` and run `box` there: docker exec.

    This process was `born` in some of them. setns moves only our children to another PID namespace:
    if we were not born in it, a child goes on there, while we stay outside, wait for it and end as
    it ended.
    """
    live_and_die(flags)
    if flags & ~born:
        setns(pidfd, flags & ~born)
    if flags & ~born & CLONE_NEWPID:
        clone3(0)
        live_and_die(flags)
    execute(box)


def execute(box: Container) -> None:
    """Become the program of `box`, looked up in PATH as execvp(3) does."""
    env = os.environ if box.env is None else box.env
    for path in candidates(box.argv[0], env.get("PATH", DEFAULT_PATH), box.cwd or "."):
        execve(path, box.argv, env)


def candidates(program: str, path: str, cwd: str) -> list[str]:
    """Where `program` may be: itself with a slash in it, the file in PATH, else every place."""
    if "/" in program:
        return [program]
    places = [os.path.join(directory or ".", program) for directory in path.split(":")]
    for place in places:
        there = os.path.join(cwd, place)
        if os.access(there, os.X_OK) and os.path.isfile(there):
            return [place]
    return [place for place in places if os.path.isfile(os.path.join(cwd, place))][:1] or places
