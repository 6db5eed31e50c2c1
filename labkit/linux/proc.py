"""One reader for each file of /proc that more than one module reads: proc(5).

A /proc counts processes as the PID namespace does that it was mounted in. That need not be ours:
after ``unshare --fork --pid`` the old one is still there, in which our 5 is called 1800 and 5 is
somebody else. So a PID of ours is translated first (:func:`number`), and one of its is too.
"""

import errno
import os


def status(pid: int | str = "self") -> dict[str, str]:
    """The lines of /proc/PID/status, by their first word. OSError: no such process, no /proc."""
    with open(f"/proc/{pid}/status", errors="surrogateescape") as lines:
        return dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)


def depth() -> int:
    """How many PID namespaces below that of this /proc we are: 0 when it is of our own."""
    return len(status().get("NSpid", "").split()[1:])


def number(pid: int) -> int:
    """What this /proc calls our process `pid`. OSError when there is none, or no /proc."""
    if pid <= 0 or not depth():
        return pid
    pidfd = os.pidfd_open(pid)
    try:
        return number_of(pidfd)
    finally:
        os.close(pidfd)


def number_of(pidfd: int) -> int:
    """What this /proc calls the process behind `pidfd`: pidfd_open(2) has the kernel tell it."""
    found = _read(f"/proc/self/fdinfo/{pidfd}").partition(b"\nPid:\t")[2].split(None, 1)
    if not found or int(found[0]) <= 0:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    return int(found[0])


def children() -> list[int]:
    """The children of this thread, by the numbers that we know them by."""
    found = [int(word) for word in _read("/proc/thread-self/children").split()]
    below = depth() if found else 0
    return [int(status(pid)["NSpid"].split()[below]) for pid in found] if below else found


def _read(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = b""
        while part := os.read(file, 4096):  # of some files a page at most is given at a time
            text += part
        return text
    finally:
        os.close(file)


# Places that the kernel makes in /proc for mounts: they are empty, so that a mount hides nothing.
_PLACES = ("/sys/fs/binfmt_misc", "/fs/nfsd", "/openprom")


def covers() -> list[str] | None:
    """What keeps /proc from being wholly visible: mounts below it, or its own path if read-only.

    None where a whole one is to be seen: only then a user namespace may mount one more. As the
    kernel judges (mnt_already_visible() in fs/namespace.c); [] where no /proc is mounted at all.
    """
    mounts = [line.split(" ") for line in os.fsdecode(_read("/proc/self/mountinfo")).split("\n")]
    found: list[str] = []
    for number, _, _, root, place, options, *more in mounts[:-1]:
        if more[more.index("-") + 1] != "proc" or root != "/":
            continue
        below = [m[4] for m in mounts[:-1] if m[1] == number and m[0] != number]
        over = [path for path in below if path.removeprefix(place) not in _PLACES]
        over += [place] * ("ro" in options.split(","))
        if not over:
            return None
        found = over
    return found
