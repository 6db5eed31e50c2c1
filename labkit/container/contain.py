"""The child's side: the steps between clone and execve, in order.

The caller rehearses them: `contain` and `join` prepare the calls (`call.py:rehearse`). A fresh
clone of the engine makes them. The result of a step may be an argument of later ones, but nothing
here can look at it.
"""

import _signal  # type: ignore[import-not-found]
import os
from _collections_abc import Mapping, Sequence

from labkit.container.container import Container
from labkit.container.devices import INSIDE, make_terminal
from labkit.container.new_root import change_root, set_sysctls
from labkit.container.rights import limit, setgroups_denied
from labkit.container.user_namespace import become_root_inside, maker, maker_ids
from labkit.linux.call import may_be_missing
from labkit.linux.files import IFF_UP, chdir, close, inet_socket, ioctl, openat, write_file
from labkit.linux.flags import (
    AT_FDCWD,
    CLONE_NEWCGROUP,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    PR_SET_CHILD_SUBREAPER,
    PR_SET_PDEATHSIG,
    SIOCSIFFLAGS,
    TIOCSCTTY,
    Clone,
)
from labkit.linux.mounts import mount
from labkit.linux.path import candidates, places
from labkit.linux.processes import clone3, execve, prctl, sethostname, setns, setsid, unshare

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def contain(box: Container, terminal: str = "") -> None:
    """Build the walls of `box`, then become its program. terminal: as for `change_root`."""
    move_clocks(box.time_offsets)
    become_root_inside(box)
    tie_lifetimes(box.cloneflags)
    bring_up_loopback(box)
    if box.cloneflags & CLONE_NEWNS:
        # The copied mounts are still peers of the host's: without this a mount here appears there.
        mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    if box.hostname is not None:
        sethostname(box.hostname)
    if box.root is not None:
        change_root(box, box.root, terminal)
    elif box.proc:
        mount_proc()
    if box.sysctls and box.root is None:
        set_sysctls(box.sysctls)
    if box.init:
        clone3(0)  # this process stays, as PID 1 (`player.py:play`); its child goes on
    if box.tty:
        take_terminal()
    if box.cwd is not None:
        chdir(box.cwd)
    limit(box)
    execute(box)


def mount_proc() -> None:
    """Mount a /proc from inside: it shows the PID namespace of the process that mounts it."""
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None)


def take_terminal() -> None:
    """Make standard input the controlling terminal.

    Only the leader of a session without a terminal can take one.
    """
    setsid()
    ioctl(0, TIOCSCTTY, 0)


def enter_groups(groups: Sequence[str], *, as_root: bool = False) -> None:
    """Move this process to other control groups, before anything else: cgroups(7).

    groups: their files (`cgroups/membership.py:way_in`). "0" is whoever writes it. Nothing where it
    is born in its group (`request.py:to_build`). as_root: in a new cgroup namespace its own groups
    are the root.
    """
    for path in groups:
        write_file(path, "0")
    if as_root:
        # Only now: a cgroup namespace takes for its root the groups of who makes it.
        unshare(CLONE_NEWCGROUP)


def enter_network(pid: int) -> None:
    """Enter the network namespace of a process: docker run --network container:ID."""
    fd = openat(AT_FDCWD, f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    setns(fd, Clone.CLONE_NEWNET)
    close(fd)


def enter_ipc(pid: int) -> None:
    """Enter the IPC namespace of a process: docker run --ipc container:ID."""
    fd = openat(AT_FDCWD, f"/proc/{pid}/ns/ipc", os.O_RDONLY | os.O_CLOEXEC)
    setns(fd, Clone.CLONE_NEWIPC)
    close(fd)


def bring_up_loopback(box: Container) -> None:
    """Bring lo up on the network "none": a new network namespace has it, but down."""
    if box.on_network and box.on_network.name == "none":
        fd = inet_socket()
        ioctl(fd, SIOCSIFFLAGS, ("lo", IFF_UP))
        close(fd)


def move_clocks(offsets: Mapping[str, int] | None) -> None:
    """Make a time namespace, set its clocks, and enter it; nothing if there are no `offsets`.

    The clocks can be set only before a process is in it. clone3 would put us there at once. unshare
    puts only our children there, and execve moves us in only since Linux 6.2: time_namespaces(7).
    """
    if offsets is None:
        return
    unshare(CLONE_NEWTIME)
    text = "".join(f"{clock} {seconds} 0\n" for clock, seconds in offsets.items())
    write_file("/proc/self/timens_offsets", text)
    fd = openat(AT_FDCWD, "/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
    setns(fd, CLONE_NEWTIME)
    close(fd)


def clone_flags(box: Container) -> Clone:
    """The namespaces that `box` is born in.

    All but one whose clocks are still to be set, and one for a group that is still to be entered.
    """
    later = Clone(0) if box.time_offsets is None else CLONE_NEWTIME
    return box.cloneflags & ~(later | (Clone(0) if box.limits is None else CLONE_NEWCGROUP))


def tie_lifetimes(flags: Clone) -> None:
    """Tie this process's lifetime to the engine's, and its descendants' to its own."""
    prctl(PR_SET_PDEATHSIG, _signal.SIGKILL)
    if not flags & CLONE_NEWPID:
        # Orphans become our children, as they become PID 1's in a PID namespace.
        prctl(PR_SET_CHILD_SUBREAPER, 1)


def join(
    box: Container,
    pidfd: int,
    flags: Clone,
    born_in: Clone,
    groups: Sequence[str] = (),
    terminal: str = "",
) -> None:
    """Enter the namespaces `flags` of the process behind `pidfd` and run `box` there: docker exec.

    This process was born in those of `born_in`. setns moves only our children to another PID
    namespace. So if we were not born in it, a child goes on there. We stay outside, wait for the
    child and end as it ends. groups: those that it enters too. terminal: INSIDE: one is made there.
    """
    enter_groups(groups)
    tie_lifetimes(flags)
    enter_namespaces(box, pidfd, flags, born_in)
    if terminal == INSIDE:
        make_terminal(box)
    if box.tty:
        take_terminal()
    if box.cwd is not None:
        chdir(box.cwd)
    limit(box)
    execute(box)


def enter_namespaces(box: Container, pidfd: int, flags: Clone, born_in: Clone) -> None:
    """Enter the namespaces `flags` but for those of `born_in`."""
    if flags & ~born_in:
        setns(pidfd, flags & ~born_in)
    changed = become_root_inside(box)
    if flags & ~born_in & CLONE_NEWPID:
        clone3(0)
    if changed or flags & ~born_in & CLONE_NEWPID:
        tie_lifetimes(flags)


def execute(box: Container) -> None:
    """Become the program of `box`, looked up in PATH as execvp(3) does."""
    env = os.environ if box.env is None else box.env
    *paths, last = program(box)
    for path in paths:
        with may_be_missing():
            execve(path, box.argv, env)
    execve(last, box.argv, env)


def program(box: Container) -> list[str]:
    """Where the program of `box` may be, in the order in which that is tried.

    What a root of its own holds is not known here: each place is tried there.
    """
    env = os.environ if box.env is None else box.env
    name, path = box.argv[0], env.get("PATH", DEFAULT_PATH)
    return places(name, path) if box.root else candidates(name, path, box.cwd or ".")


def surroundings(box: Container) -> tuple[object, ...]:
    """What the steps of any `box` look at besides it: others are made as long as it is the same.

    What only some steps look at, they ask for through `call.py:looked`.
    """
    # To read os.environ variable by variable decodes each, and takes ten times as long.
    variables = (*vars(os.environ)["_data"].items(),) if box.env is None else ()
    denied = box.user is not None and setgroups_denied(box)
    # Root of an engine's user namespace has the IDs of root of the machine.
    return *program(box), maker.get(), maker_ids(), denied, variables
