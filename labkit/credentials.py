"""The calls that say who a process is and what it may do: credentials(7), capabilities(7).

Written as those of `labkit.syscalls`, one function for each use and one line of trace.
"""

from labkit.kernel import Filter
from labkit.privileges import CAPABILITIES
from labkit.syscalls import PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, _call, prctl

_PR_CAPBSET_DROP = 24
_SECCOMP_SET_MODE_FILTER = 1


def setresuid(ruid: int, euid: int, suid: int) -> None:
    """Become another user, real, effective and saved. setresuid(2)."""
    _call("setresuid", f"{ruid}, {euid}, {suid}", ruid, euid, suid)


def setresgid(rgid: int, egid: int, sgid: int) -> None:
    """Be of another group, real, effective and saved. setresuid(2)."""
    _call("setresgid", f"{rgid}, {egid}, {sgid}", rgid, egid, sgid)


def capbset_drop(name: str) -> None:
    """Take a capability out of the bounding set: no execve brings it back. prctl(2)."""
    _call("prctl", f"PR_CAPBSET_DROP, {name}", _PR_CAPBSET_DROP, CAPABILITIES.index(name))


def cap_ambient_raise(name: str) -> None:
    """Let a capability outlive execve although no file grants it. prctl(2)."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAPABILITIES.index(name))


def seccomp(program: Filter) -> None:
    """Judge every call from now on, ours and our children's, by a filter. seccomp(2)."""
    shown = f"SECCOMP_SET_MODE_FILTER, 0, {{len={program.size}, filter=...}}"
    _call("seccomp", shown, _SECCOMP_SET_MODE_FILTER, 0, program)
