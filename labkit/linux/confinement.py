"""What a process may do, and what may refuse it a call although it has the capability."""

import os

from labkit.linux.capabilities import bits_of, names
from labkit.linux.fields import dataclass
from labkit.linux.proc import status

_SECCOMP = ("disabled", "strict", "filter")
SYSCTLS = (
    "kernel.apparmor_restrict_unprivileged_userns",  # Ubuntu since 24.04
    "kernel.unprivileged_userns_clone",  # Debian's kernels
    "user.max_user_namespaces",
)


@dataclass(frozen=True)
class Capabilities:
    """The five sets of a process, by name. A bit newer than this table is named by its number."""

    effective: tuple[str, ...]
    permitted: tuple[str, ...]
    inheritable: tuple[str, ...]
    bounding: tuple[str, ...]
    ambient: tuple[str, ...]


@dataclass(frozen=True)
class Confinement:
    """What may refuse a call although the capability is there.

    seccomp: disabled, strict or filter. profile: of the security module (AppArmor, SELinux), ""
    without one. sysctls: those of SYSCTLS that this kernel has.
    """

    seccomp: str
    no_new_privs: bool
    profile: str
    sysctls: dict[str, int]


def capabilities(pid: int | str = "self") -> Capabilities:
    """The capability sets of process `pid`. OSError when there is none, or no /proc."""
    lines = status(pid)
    # After a change of user namespace or an exec these, not the uid, decide what root may do.
    sets = (names(int(lines[f"Cap{word}"], 16)) for word in ("Eff", "Prm", "Inh", "Bnd", "Amb"))
    return Capabilities(*sets)


def may(name: str) -> bool:
    """Whether one capability of this process is in effect."""
    return bool(int(status()["CapEff"], 16) & bits_of((name,)))


def confinement() -> Confinement:
    """What confines this process besides its capabilities."""
    lines = status()
    # A kernel built without seccomp leaves its line out.
    return Confinement(
        seccomp=_SECCOMP[int(lines.get("Seccomp", "0"))],
        no_new_privs=lines.get("NoNewPrivs") == "1",
        profile=(_read("/proc/self/attr/current") or "").rstrip("\0"),
        sysctls={name: int(value) for name in SYSCTLS if (value := _sysctl(name)) is not None},
    )


def _sysctl(name: str) -> str | None:
    return _read(f"/proc/sys/{name.replace('.', '/')}")


def _read(path: str) -> str | None:
    """A small file's text, or None where the kernel has no such file or does not show it."""
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return None


def is_hosts_root() -> bool:
    """Whether this process is root of the whole host. No other may give its files to others."""
    with open("/proc/self/uid_map") as file:
        return os.geteuid() == 0 and file.read().split() == ["0", "0", str((1 << 32) - 1)]
