"""The child's side: the steps between clone and execve, in order.

The caller rehearses them: `contain` and `join` make the calls ready (`calls.py:rehearse`), and a
fresh clone of the engine makes them. So no step may depend on the result of another.
"""

import os
import signal
from collections.abc import Collection, Mapping, Sequence

from labkit import seccomp
from labkit.calls import Later
from labkit.connection import ids
from labkit.container import Container
from labkit.credentials import (
    cap_ambient_raise,
    capbset_drop,
    setresgid,
    setresuid,
)
from labkit.credentials import (
    seccomp as seccomp_filter,
)
from labkit.limits import IdMap, table
from labkit.privileges import CAPABILITIES, bits_of
from labkit.syscalls import (
    AT_FDCWD,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    TIOCSCTTY,
    Clone,
    capset,
    chdir,
    clone3,
    close,
    execve,
    ioctl,
    mount,
    openat,
    prctl,
    sethostname,
    setns,
    setsid,
    unshare,
    write,
)

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def contain(box: Container) -> None:
    """Build the walls of `box` around this process, then become its program."""
    if box.time_offsets is not None:
        move_clocks(box.time_offsets)
    take_root(box)
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
    limit(box)
    execute(box)


def map_ids(box: Container, pid: Later) -> None:
    """Say from outside who is who in the new user namespace of process `pid`, which waits for it.

    As Go does it. Only one's own ID may be mapped from inside, or without privileges; and since a
    group can be there to forbid something (mode 0705), who may map one without privileges must give
    up leaving groups first: setgroups. user_namespaces(7)
    """
    uid_map, gid_map = maps(box)
    if uid_map:
        write_file(f"/proc/{pid}/uid_map", table(uid_map))
    if gid_map:
        write_file(f"/proc/{pid}/setgroups", "allow" if box.setgroups else "deny")
        write_file(f"/proc/{pid}/gid_map", table(gid_map))


def maps(box: Container) -> tuple[Sequence[IdMap], Sequence[IdMap]]:
    """The maps of user and group IDs that `box` asks for."""
    if box.rootless:
        user, group = ids()
        return ((0, user, 1),), ((0, group, 1),)
    return box.uid_map, box.gid_map


def write_file(path: str, text: str) -> None:
    """Write `text` to a file of /proc: in one call, as the kernel wants it."""
    fd = openat(AT_FDCWD, path, os.O_WRONLY | os.O_CLOEXEC)
    write(fd, text)
    close(fd)


def strange(lines: Sequence[IdMap], own: int) -> bool:
    """Whether a map has an ID 0 inside but no number for who we are outside."""
    has_root = any(inside == 0 for inside, _, _ in lines)
    return has_root and not any(first <= own < first + size for _, first, size in lines)


def take_root(box: Container) -> bool:
    """Be user and group 0 of this user namespace where we are nobody there; whether we were.

    Who changes an ID can no longer be inspected: /proc/self would be the host's root's. And
    PR_SET_PDEATHSIG is forgotten: that comes afterwards.
    """
    own_user, own_group = ids()
    group, user = strange(box.gid_map, own_group), strange(box.uid_map, own_user)
    if group:
        setresgid(0, 0, 0)
    if user:
        setresuid(0, 0, 0)
    if group or user:
        prctl(PR_SET_DUMPABLE, 1)
    return group or user


def move_clocks(offsets: Mapping[str, int]) -> None:
    """Make a time namespace, set its clocks, which can be done only before anybody is in it; go in.

    clone3 would put us there at once, and unshare puts only our children there; execve takes us in
    with it, but not before Linux 6.2. time_namespaces(7)
    """
    unshare(CLONE_NEWTIME)
    text = "".join(f"{clock} {seconds} 0\n" for clock, seconds in offsets.items())
    write_file("/proc/self/timens_offsets", text)
    fd = openat(AT_FDCWD, "/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
    setns(fd, CLONE_NEWTIME)
    close(fd)


def at_birth(box: Container) -> Clone:
    """The namespaces that `box` is born in: all, but one whose clocks are yet to be set."""
    return box.cloneflags & ~(Clone(0) if box.time_offsets is None else CLONE_NEWTIME)


def limit(box: Container) -> None:
    """Leave the program no more than `box` allows: the last thing before it begins."""
    if box.seccomp is not None and not box.no_new_privs:
        filter_calls(box)  # which takes CAP_SYS_ADMIN: it may be gone in a moment
    if box.capabilities is not None:
        keep(box.capabilities, box.ambient_caps)
    if box.no_new_privs:
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        if box.seccomp is not None:
            filter_calls(box)


def keep(names: Collection[str], ambient: Collection[str]) -> None:
    """Give up every capability but `names`, for ever; those of `ambient` outlive execve.

    The bounding set first, which takes CAP_SETPCAP: it is all that binds a root, to whom execve
    gives whatever is in it.
    """
    for name in CAPABILITIES[: last_capability() + 1]:
        if name not in names:
            capbset_drop(name)
    held = bits_of(names)
    capset(held, held, bits_of(ambient))
    for name in ambient:
        cap_ambient_raise(name)


def last_capability() -> int:
    """The highest number that this kernel knows: proc_sys_kernel(5)."""
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        return int(file.read())


def filter_calls(box: Container) -> None:
    """Have every call from here on judged by the profile of `box`."""
    profile = seccomp.default() if isinstance(box.seccomp, str) else box.seccomp or {}
    kept = CAPABILITIES if box.capabilities is None else box.capabilities
    seccomp_filter(seccomp.assemble(profile, kept))


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
    changed = take_root(box)
    if flags & ~born & CLONE_NEWPID:
        clone3(0)
    if changed or flags & ~born & CLONE_NEWPID:
        live_and_die(flags)
    limit(box)
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
