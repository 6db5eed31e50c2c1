"""An ordinary user's containers have as many users as he has subordinate IDs: subuid(5).

By himself he may map his own ID alone, so all files of an image would be his. newuidmap(1) and
newgidmap(1), which are set-user-ID root, map those IDs too that /etc/subuid and /etc/subgid give
him. Where they are, the command goes on as root of a user namespace that has them all. There it
has every capability it needs, and none for what is outside: user_namespaces(7).
"""

import os
from collections.abc import Iterator, Sequence

from labkit.linux.flags import CLONE_NEWUSER
from labkit.linux.id_maps import IdRange, read, subordinate
from labkit.linux.path import found
from labkit.linux.processes import setns, unshare
from labkit.monitor import record
from labkit.state import document, held

_PROGRAMS = {"uid_map": "newuidmap", "gid_map": "newgidmap"}


def enter() -> None:
    """Go on as root of a user namespace with this user's subordinate IDs, if he has any.

    It is that of a container that runs, so that others can join its namespaces; else a new one.
    """
    maps = _maps()
    programs = [found(each, os.environ.get("PATH", "")) for each in _PROGRAMS.values()]
    if maps is None or None in programs:
        return
    fd = _of_a_container(maps)
    if fd is None:
        fd = _made(maps)
    if fd is not None:
        setns(fd, CLONE_NEWUSER)
        os.close(fd)


def _maps() -> dict[str, list[IdRange]] | None:
    """The maps of users and of groups: root inside is this user. None: he has no such IDs."""
    try:
        users, groups = subordinate("/etc/subuid"), subordinate("/etc/subgid")
    except LookupError:
        return None
    return {
        "uid_map": [IdRange((0, os.geteuid(), 1)), IdRange((1, *users))],
        "gid_map": [IdRange((0, os.getegid(), 1)), IdRange((1, *groups))],
    }


def _of_a_container(maps: dict[str, list[IdRange]]) -> int | None:
    """A descriptor of the user namespace of a monitor of ours, if one is as it should be."""
    for pid in _monitors():
        try:
            if all(read(f"/proc/{pid}/{name}") == maps[name] for name in maps):
                return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # it has ended, and its number may be somebody else's
            continue
    return None


def _monitors() -> Iterator[int]:
    containers = record.root_folder()
    for identity in held.names(containers):
        run = document.read(os.path.join(containers, identity, record.RUN)) or {}
        if pid := run.get("monitor"):
            yield int(pid)


def _made(maps: dict[str, list[IdRange]]) -> int | None:
    """A descriptor of a new user namespace. None: this machine or those programs refuse it.

    A child makes it and is given the maps, so a refusal changes nothing for us.
    """
    (ready, there), (waiting, done) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        _be_in_a_new_one(there, (ready, done), waiting)
    os.close(there)
    os.close(waiting)
    try:
        if os.read(ready, 1) and all(_map(name, child, maps[name]) for name in maps):
            return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        return None
    finally:
        os.close(ready)
        os.close(done)
        os.waitpid(child, 0)


def _be_in_a_new_one(there: int, others: Sequence[int], waiting: int) -> None:
    """Be a process in a new user namespace until the other one lets go of its pipe."""
    for fd in others:
        os.close(fd)
    try:
        unshare(CLONE_NEWUSER)
        os.write(there, b"\0")
        os.read(waiting, 1)
    except OSError:  # user.max_user_namespaces, a seccomp filter: as if he had no IDs
        os._exit(1)
    os._exit(0)


def _map(name: str, pid: int, ranges: Sequence[IdRange]) -> bool:
    """Have newuidmap(1) or newgidmap(1) write a map of a process; whether it did."""
    words = [_PROGRAMS[name], f"{pid}", *(f"{number}" for each in ranges for number in each)]
    null = (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)
    child = os.posix_spawnp(words[0], words, os.environ, file_actions=[null])
    return os.waitpid(child, 0)[1] == 0
