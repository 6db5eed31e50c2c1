"""Who the program is and what it may do: maps of IDs, root inside, capabilities, the filter."""

import os
from collections.abc import Collection, Sequence
from contextvars import ContextVar

from labkit.container.container import Container
from labkit.linux import seccomp_filter
from labkit.linux.call import Later
from labkit.linux.capabilities import CAPABILITIES, bits_of
from labkit.linux.credentials import (
    cap_ambient_raise,
    capbset_drop,
    capset,
    seccomp,
    setresgid,
    setresuid,
)
from labkit.linux.files import close, openat, write
from labkit.linux.flags import AT_FDCWD, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS
from labkit.linux.id_maps import IdRange, map_files
from labkit.linux.processes import prctl

Ranges = Sequence[tuple[int, int, int]]
"""Lines of a map: values of IdRange, or tuples that are equal to such."""

maker: ContextVar[tuple[int, int] | None] = ContextVar("maker", default=None)
"""User and group of the process that clones the container, where it is not as this one is."""


def maker_ids() -> tuple[int, int]:
    """User and group of the process that clones the container, in its own user namespace."""
    return maker.get() or (os.geteuid(), os.getegid())


def map_ids(box: Container, pid: Later) -> None:
    """Say from outside who is who in the new user namespace of process `pid`, which waits for it.

    Go does the same. From inside, or without privileges, only one's own ID may be mapped.
    """
    users, groups = maps(box)
    for name, text in map_files(users, groups, "allow" if box.setgroups else "deny"):
        write_file(f"/proc/{pid}/{name}", text)


def maps(box: Container) -> tuple[Ranges, Ranges]:
    """The maps of user and group IDs that `box` asks for."""
    if box.rootless:
        user, group = maker_ids()
        return (IdRange((0, user, 1)),), (IdRange((0, group, 1)),)
    return box.uid_map, box.gid_map


def write_file(path: str, text: str) -> None:
    """Write `text` to a file of /proc: in one call, as the kernel wants it."""
    fd = openat(AT_FDCWD, path, os.O_WRONLY | os.O_CLOEXEC)
    write(fd, text)
    close(fd)


def strange(lines: Ranges, own: int) -> bool:
    """Whether a map has an ID 0 inside but no number for who we are outside."""
    has_root = any(inside == 0 for inside, _, _ in lines)
    return has_root and not any(first <= own < first + size for _, first, size in lines)


def take_root(box: Container) -> bool:
    """Be user and group 0 of this user namespace where we are nobody there; whether we were.

    Who changes an ID can no longer be inspected: /proc/self would be the host's root's. And
    PR_SET_PDEATHSIG is forgotten: that comes afterwards.
    """
    own_user, own_group = maker_ids()
    group, user = strange(box.gid_map, own_group), strange(box.uid_map, own_user)
    if group:
        setresgid(0, 0, 0)
    if user:
        setresuid(0, 0, 0)
    if group or user:
        prctl(PR_SET_DUMPABLE, 1)
    return group or user


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
    profile = seccomp_filter.default() if isinstance(box.seccomp, str) else box.seccomp or {}
    kept = CAPABILITIES if box.capabilities is None else box.capabilities
    seccomp(seccomp_filter.assemble(profile, kept))
