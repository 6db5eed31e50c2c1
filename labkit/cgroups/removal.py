"""Groups emptied and removed: by the engine, and by whoever comes after a death.

The engine imports this, so it needs little. A group is a directory; its processes are killed first.
"""

import _signal  # type: ignore[import-not-found]
import errno
import os

from labkit.cgroups.membership import LEAF

_GONE = (errno.ENOENT, errno.ENODEV)  # of a group, before and while it is removed
_TRIES = 3  # of what the kernel refuses for a moment at most
_OOM = ("memory.events", "memory.oom_control")  # of version 2 and 1


def oom_kills(groups: "list[str]") -> int:
    """How many processes of the groups were killed because their memory was used up.

    The first group is the memory's, where memory is counted at all (`Group.paths`): to look for the
    files in all of them would take as long as to remove them.
    """
    for name in _OOM:
        try:
            fd = os.open(f"{groups[0]}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in _GONE:
                continue
            raise  # such as EMFILE: the engine tries again when it has closed what it can
        try:
            _, _, count = os.read(fd, 4096).partition(b"oom_kill ")
            return int(count.split()[0]) if count else 0  # before Linux 4.13 it is not counted
        finally:
            os.close(fd)
    return 0


def removed(groups: "list[str]") -> bool:
    """Remove groups with all that is below them. False: somebody was there, and has been killed.

    A process that has been killed does not end at once, so the caller tries again.
    """
    full = []
    for path in groups:
        try:
            os.rmdir(path)
        except OSError as error:
            # What is read-only says so of a group that has never been there, too.
            if error.errno not in _GONE and (error.errno != errno.EROFS or os.path.exists(path)):
                full.append(path)
    if full:
        kill(full)
    return not full


def kill(groups: "list[str]") -> None:
    """Kill every process in the groups and below.

    Where there is no cgroup.kill (before Linux 5.14, and in version 1) they are frozen first. So
    none forks meanwhile, and none ends: a number that was read still means the same process.
    Whoever does this leaves the group before, if somebody has put it there.
    """
    _leave(groups)
    for path in groups:
        for below, _, _ in os.walk(path, topdown=False):
            if below != path:
                _remove(below)
        if not _put(f"{path}/cgroup.kill", "1"):
            _freeze(groups, frozen=True)
            for below, _, _ in os.walk(path):
                for pid in _lines(f"{below}/cgroup.procs"):
                    _kill(int(pid))
            thaw(groups)


def _leave(groups: "list[str]") -> None:
    for path in groups:
        for below, _, _ in os.walk(path):
            if str(os.getpid()) in _lines(f"{below}/cgroup.procs"):
                above = os.path.dirname(path)
                # A group that hands controllers on takes no process (EBUSY), but the one for them.
                if not _put(f"{above}/cgroup.procs", "0"):
                    _put(f"{above}/{LEAF}/cgroup.procs", "0")


def thaw(groups: "list[str]") -> None:
    """Let the processes of the groups go on. In version 1 even SIGKILL waits for that."""
    _freeze(groups, frozen=False)


def _freeze(groups: "list[str]", *, frozen: bool) -> None:
    for path in groups:
        _put(f"{path}/freezer.state", "FROZEN" if frozen else "THAWED")
        _put(f"{path}/cgroup.freeze", str(int(frozen)))


def _kill(pid: int) -> None:
    if pid > 0:  # 0: one whom we do not see from our PID namespace
        try:
            os.kill(pid, _signal.SIGKILL)
        except OSError:  # it has ended, or is not ours to end
            return


def _remove(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError:
        return


def _put(path: str, value: str) -> bool:
    """Write a value. False: there is no such file, or the kernel refuses it again and again."""
    for _ in range(_TRIES):
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, value.encode())
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno in _GONE:
                return False
            continue
        return True
    return False


def _lines(path: str) -> "list[str]":
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    found = b""
    try:
        while data := os.read(fd, 65536):
            found += data
    except OSError:  # it is being removed
        pass
    finally:
        os.close(fd)
    return found.decode().splitlines()
