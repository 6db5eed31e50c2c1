"""What a process may do: its capabilities, and what confines it besides. capabilities(7)."""

from dataclasses import dataclass

# In the order of their numbers, linux/capability.h; the last came with Linux 5.9.
_NAMES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT
SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
PERFMON BPF CHECKPOINT_RESTORE
"""
CAPABILITIES = tuple(f"CAP_{name}" for name in _NAMES.split())
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


def names(bits: int) -> tuple[str, ...]:
    """The capabilities in a set, by name.

    >>> names(0b100001)
    ('CAP_CHOWN', 'CAP_KILL')
    """
    known = dict(enumerate(CAPABILITIES))
    return tuple(known.get(n, f"CAP_{n}") for n in range(bits.bit_length()) if bits >> n & 1)


def _status(pid: int | str) -> dict[str, str]:
    with open(f"/proc/{pid}/status") as lines:
        return dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)


def capabilities(pid: int | str = "self") -> Capabilities:
    """The capability sets of process `pid`. OSError when there is none, or no /proc."""
    status = _status(pid)
    # After a change of user namespace or an exec these, not the uid, decide what root may do.
    sets = (names(int(status[f"Cap{word}"], 16)) for word in ("Eff", "Prm", "Inh", "Bnd", "Amb"))
    return Capabilities(*sets)


def confinement() -> Confinement:
    """What confines this process besides its capabilities."""
    status = _status("self")
    # A kernel built without seccomp leaves its line out.
    return Confinement(
        seccomp=_SECCOMP[int(status.get("Seccomp", "0"))],
        no_new_privs=status.get("NoNewPrivs") == "1",
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
