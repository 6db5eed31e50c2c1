"""The calls that say who a process is and what it may do: credentials(7), capabilities(7).

Written as those of `labkit.syscalls`, one function for each use and one line of trace.
"""

import struct
from collections.abc import Collection

from labkit.kernel import Filter
from labkit.privileges import CAPABILITIES
from labkit.syscalls import _call

_VERSION_3 = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: sets of 64 bits, linux/capability.h
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2
_SECCOMP_SET_MODE_FILTER = 1


def setresuid(ruid: int, euid: int, suid: int) -> None:
    """Become another user, real, effective and saved. setresuid(2)."""
    _call("setresuid", f"{ruid}, {euid}, {suid}", ruid, euid, suid)


def setresgid(rgid: int, egid: int, sgid: int) -> None:
    """Be of another group, real, effective and saved. setresuid(2)."""
    _call("setresgid", f"{rgid}, {egid}, {sgid}", rgid, egid, sgid)


def capset(
    effective: Collection[str], permitted: Collection[str], inheritable: Collection[str]
) -> None:
    """Set three of this process's five sets; permitted can only shrink. capset(2)."""
    sets = [_bits(each) for each in (effective, permitted, inheritable)]
    low, high = ([bits >> shift & 0xFFFFFFFF for bits in sets] for shift in (0, 32))
    shown = ", ".join(
        f"{name}={_shown(bits)}"
        for name, bits in zip(("effective", "permitted", "inheritable"), sets, strict=True)
    )
    _call(
        "capset",
        f"{{version=_LINUX_CAPABILITY_VERSION_3, pid=0}}, {{{shown}}}",
        struct.pack("2I", _VERSION_3, 0),
        struct.pack("6I", *low, *high),
    )


def capbset_drop(name: str) -> None:
    """Take a capability out of the bounding set: no execve brings it back. prctl(2)."""
    _call("prctl", f"PR_CAPBSET_DROP, {name}", _PR_CAPBSET_DROP, CAPABILITIES.index(name))


def cap_ambient_raise(name: str) -> None:
    """Let a capability outlive execve although no file grants it. prctl(2)."""
    _call(
        "prctl",
        f"PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, {name}, 0, 0",
        *(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, CAPABILITIES.index(name), 0, 0),
    )


def seccomp(program: Filter) -> None:
    """Judge every call from now on, ours and our children's, by a filter. seccomp(2)."""
    shown = f"SECCOMP_SET_MODE_FILTER, 0, {{len={program.size}, filter=...}}"
    _call("seccomp", shown, _SECCOMP_SET_MODE_FILTER, 0, program)


def _bits(names: Collection[str]) -> int:
    return sum(1 << CAPABILITIES.index(name) for name in set(names))


def _shown(bits: int) -> str:
    """A set as strace prints it."""
    held = [name for number, name in enumerate(CAPABILITIES) if bits >> number & 1]
    return "|".join(f"1<<{name}" for name in held) or "0"
