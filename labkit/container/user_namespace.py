"""Who is who in a new user namespace: what is written to uid_map and gid_map, and root inside."""

import os
from _collections_abc import Sequence
from _contextvars import ContextVar

from labkit.container.container import Container
from labkit.linux.credentials import setresgid, setresuid
from labkit.linux.files import write_file
from labkit.linux.flags import CLONE_NEWUSER, PR_SET_DUMPABLE
from labkit.linux.id_maps import IDS, IdRange, map_files
from labkit.linux.processes import prctl
from labkit.python import functools

Ranges = Sequence[tuple[int, int, int]]
"""Lines of a map: values of IdRange, or tuples that are equal to such."""

maker: ContextVar[tuple[int, int] | None] = ContextVar("maker", default=None)
"""User and group of the process that clones the container, if they are not this process's."""


def maker_ids() -> tuple[int, int]:
    """User and group of the process that clones the container, in its own user namespace."""
    return maker.get() or (os.geteuid(), os.getegid())


def in_user_namespace(box: Container) -> bool:
    """Whether the steps of `box` are made by root of a user namespace that is not the first one."""
    return bool(box.cloneflags & CLONE_NEWUSER) or maker.get() is not None or _born_in_one()


@functools.cache
def _born_in_one() -> bool:
    """Whether this process is in a user namespace: in the first one every ID is itself."""
    try:
        with open("/proc/self/uid_map", encoding="utf-8") as file:
            return file.read().split() != ["0", "0", str(IDS - 1)]
    except FileNotFoundError:  # no /proc, or a kernel without user namespaces
        return False


def map_ids(box: Container, directory: int) -> None:
    """Write the maps of a new user namespace from outside, while the process in it waits.

    directory: that process's directory in /proc, opened.

    Go does the same. From inside, or without privileges, a process may map only its own ID.
    """
    users, groups = maps(box)
    for name, text in map_files(users, groups, "allow" if box.setgroups else "deny"):
        write_file(name, text, directory)


def maps(box: Container) -> tuple[Ranges, Ranges]:
    """The maps of user and group IDs that `box` asks for."""
    if box.rootless:
        user, group = maker_ids()
        return (IdRange((0, user, 1)),), (IdRange((0, group, 1)),)
    return box.uid_map, box.gid_map


def maps_root_but_not_us(lines: Ranges, own: int) -> bool:
    """Whether a map has an ID 0 inside, but none for `own`, our ID outside."""
    has_root = any(inside == 0 for inside, _, _ in lines)
    return has_root and not any(first <= own < first + size for _, first, size in lines)


def become_root_inside(box: Container) -> bool:
    """Become user and group 0 of this user namespace if we have no ID there. Whether it was so.

    After a change of IDs /proc/self belongs to the host's root; PR_SET_DUMPABLE gives it back.
    The change also clears PR_SET_PDEATHSIG, so that one is set afterwards: prctl(2).
    """
    own_user, own_group = maker_ids()
    group = maps_root_but_not_us(box.gid_map, own_group)
    user = maps_root_but_not_us(box.uid_map, own_user)
    if group:
        setresgid(0, 0, 0)
    if user:
        setresuid(0, 0, 0)
    if group or user:
        prctl(PR_SET_DUMPABLE, 1)
    return group or user
