"""The calls that say who a process is and what it may do: credentials(7), capabilities(7)."""

import struct
from _collections_abc import Sequence

from labkit.linux import door, trace
from labkit.linux.capabilities import CAPABILITIES, as_flags
from labkit.linux.door import Filter
from labkit.linux.flags import PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE
from labkit.linux.processes import prctl
from labkit.linux.trace import answered

_PR_CAPBSET_DROP = 24
RLIMITS = (
    *("CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS"),
    *("LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"),
)
"""The resources that a process is limited in, in the order of the kernel's numbers. getrlimit(2)"""
_INFINITY = (1 << 64) - 1
_SECCOMP_SET_MODE_FILTER = 1


def setresuid(ruid: int, euid: int, suid: int) -> None:
    """Change the user ID: real, effective and saved. setresuid(2)."""
    trace.make("setresuid", f"{ruid}, {euid}, {suid}", ruid, euid, suid)


def setresgid(rgid: int, egid: int, sgid: int) -> None:
    """Change the group ID: real, effective and saved. setresuid(2)."""
    trace.make("setresgid", f"{rgid}, {egid}, {sgid}", rgid, egid, sgid)


def capbset_drop(name: str) -> None:
    """Remove a capability from the bounding set: no execve gives it back. prctl(2)."""
    trace.make("prctl", f"PR_CAPBSET_DROP, {name}", _PR_CAPBSET_DROP, CAPABILITIES.index(name))


def cap_ambient_raise(name: str) -> None:
    """Let a capability survive execve although no file grants it. prctl(2)."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAPABILITIES.index(name))


def prlimit64(pid: int, resource: str, soft: int, hard: int) -> None:
    """Limit a resource such as "RLIMIT_NOFILE" of process `pid`, 0 for this one. prlimit(2).

    soft: what counts. hard: up to where the process itself may raise that. -1: no limit.
    """
    number = RLIMITS.index(resource.removeprefix("RLIMIT_"))
    both = [limit & _INFINITY for limit in (soft, hard)]
    shown = f"{pid}, {resource}, {{rlim_cur={_limit(both[0])}, rlim_max={_limit(both[1])}}}, NULL"
    trace.make("prlimit64", shown, pid, number, struct.pack("2Q", *both), None)


def _limit(limit: int) -> str:
    """A limit as strace prints it."""
    if limit == _INFINITY:
        return "RLIM64_INFINITY"
    return f"{limit // 1024}*1024" if limit > 1024 and limit % 1024 == 0 else str(limit)


def seccomp(program: Filter, flags: int = 0) -> None:
    """Have a filter judge every call from now on, ours and our children's. seccomp(2)."""
    shown = f"SECCOMP_SET_MODE_FILTER, {flags}, {{len={program.size}, filter=...}}"
    trace.make("seccomp", shown, _SECCOMP_SET_MODE_FILTER, flags, program)


def setuid(uid: int) -> None:
    """Change the user ID: of a root real, effective and saved, and so for good. setuid(2)."""
    trace.make("setuid", str(uid), uid)


def setgid(gid: int) -> None:
    """Change the group ID, in the same way. setgid(2)."""
    trace.make("setgid", str(gid), gid)


def setgroups(groups: Sequence[int]) -> None:
    """Set the supplementary groups. setgroups(2)."""
    shown = f"[{', '.join(map(str, groups))}]" if groups else "NULL"
    listed = struct.pack(f"{len(groups)}I", *groups) if groups else None
    trace.make("setgroups", f"{len(groups)}, {shown}", len(groups), listed)


def capget() -> tuple[int, int, int]:
    """The effective, permitted and inheritable capabilities of this process. capget(2)."""
    header, sets = struct.pack("Ii", _CAPABILITY_VERSION, 0), bytearray(24)
    result = door.call("capget", (header, sets))
    # Three sets of 64 bits, sent as two halves: first the lower ones of all three.
    low, high = struct.unpack("3I", sets[:12]), struct.unpack("3I", sets[12:])
    effective, permitted, inheritable = (a | b << 32 for a, b in zip(low, high, strict=True))
    line = f"capget({_CAPABILITY_HEADER}, {_capability_sets(effective, permitted, inheritable)})"
    if result < 0:
        raise trace.refused(line, -result)
    trace.record(answered(line, result))
    return effective, permitted, inheritable


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set the three. Nothing new may be permitted, and only that be effective. capset(2)."""
    three = effective, permitted, inheritable
    halves = struct.pack("6I", *(n & 0xFFFFFFFF for n in three), *(n >> 32 for n in three))
    header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
    trace.make("capset", f"{_CAPABILITY_HEADER}, {_capability_sets(*three)}", header, halves)


_CAPABILITY_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3, since Linux 2.6.26
_CAPABILITY_HEADER = "{version=_LINUX_CAPABILITY_VERSION_3, pid=0}"


def _capability_sets(effective: int, permitted: int, inheritable: int) -> str:
    """The three sets as strace prints them."""
    named = {"effective": effective, "permitted": permitted, "inheritable": inheritable}
    return "{" + ", ".join(f"{key}={as_flags(bits)}" for key, bits in named.items()) + "}"
