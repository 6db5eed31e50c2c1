"""The capabilities by name and number, what each is for, and sets of them. capabilities(7)."""

from collections.abc import Collection, Iterable

# In the order of their numbers, linux/capability.h; the last came with Linux 5.9.
_NAMES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT
SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
PERFMON BPF CHECKPOINT_RESTORE
"""
CAPABILITIES = tuple(f"CAP_{name}" for name in _NAMES.split())
# What each is for, in Chinese and English: capabilities(7).
MEANINGS = {
    "CAP_CHOWN": ("改文件的属主", "change the owner of files"),
    "CAP_DAC_OVERRIDE": ("不受文件权限位约束", "pass over the permission bits of files"),
    "CAP_DAC_READ_SEARCH": ("读文件、进目录不受权限位约束", "read any file, enter any directory"),
    "CAP_FOWNER": ("像属主一样对待别人的文件", "treat others' files as their owner may"),
    "CAP_FSETID": ("改文件时保留 set-user-ID 位", "keep set-user-ID bits when a file is changed"),
    "CAP_KILL": ("给别人的进程发信号", "send signals to others' processes"),
    "CAP_SETGID": ("换组号，写 gid_map", "change group IDs, write gid_map"),
    "CAP_SETUID": ("换用户号，写 uid_map", "change user IDs, write uid_map"),
    "CAP_SETPCAP": ("缩小权能上限集", "drop from the bounding set"),
    "CAP_LINUX_IMMUTABLE": ("改“不可变”的文件标志", "set the flag that makes files immutable"),
    "CAP_NET_BIND_SERVICE": ("占用 1024 以下的端口", "bind to ports below 1024"),
    "CAP_NET_BROADCAST": ("网络广播", "broadcast on the network"),
    "CAP_NET_ADMIN": ("配置网络", "configure the network"),
    "CAP_NET_RAW": ("收发原始的包", "send and receive raw packets"),
    "CAP_IPC_LOCK": ("把内存锁在内存里", "lock memory"),
    "CAP_IPC_OWNER": ("用别人的 System V IPC 对象", "use others' System V IPC objects"),
    "CAP_SYS_MODULE": ("装卸内核模块", "load and unload kernel modules"),
    "CAP_SYS_RAWIO": ("直接读写硬件端口", "reach the hardware's ports"),
    "CAP_SYS_CHROOT": ("换根目录", "change the root directory"),
    "CAP_SYS_PTRACE": ("跟踪、察看别人的进程", "trace and inspect others' processes"),
    "CAP_SYS_PACCT": ("进程记账", "process accounting"),
    "CAP_SYS_ADMIN": ("挂载、改主机名、新建命名空间等", "mount, rename, make namespaces and more"),
    "CAP_SYS_BOOT": ("重启", "reboot"),
    "CAP_SYS_NICE": ("改优先级", "change priorities"),
    "CAP_SYS_RESOURCE": ("越过资源上限", "exceed resource limits"),
    "CAP_SYS_TIME": ("拨系统的时钟", "set the system's clock"),
    "CAP_SYS_TTY_CONFIG": ("配置虚拟控制台", "configure virtual consoles"),
    "CAP_MKNOD": ("造设备文件", "make device files"),
    "CAP_LEASE": ("对任意文件立租约", "take leases on any file"),
    "CAP_AUDIT_WRITE": ("写审计日志", "write to the audit log"),
    "CAP_AUDIT_CONTROL": ("配置审计", "configure auditing"),
    "CAP_SETFCAP": ("给文件加权能", "give capabilities to files"),
    "CAP_MAC_OVERRIDE": ("不受强制访问控制约束", "pass over mandatory access control"),
    "CAP_MAC_ADMIN": ("配置强制访问控制", "configure mandatory access control"),
    "CAP_SYSLOG": ("读内核日志", "read the kernel's log"),
    "CAP_WAKE_ALARM": ("定时唤醒机器", "set alarms that wake the machine"),
    "CAP_BLOCK_SUSPEND": ("不让机器休眠", "keep the machine from sleeping"),
    "CAP_AUDIT_READ": ("读审计日志", "read the audit log"),
    "CAP_PERFMON": ("性能监测", "monitor performance"),
    "CAP_BPF": ("装入 BPF 程序", "load BPF programs"),
    "CAP_CHECKPOINT_RESTORE": ("为进程存档、复原", "save and restore processes"),
}  # fmt: skip


def bits_of(held: Iterable[str]) -> int:
    """The set of these capabilities, as the kernel takes it."""
    return sum(1 << CAPABILITIES.index(name) for name in set(held))


def names(bits: int) -> tuple[str, ...]:
    """The capabilities in a set, by name.

    >>> names(0b100001)
    ('CAP_CHOWN', 'CAP_KILL')
    """
    known = dict(enumerate(CAPABILITIES))
    return tuple(known.get(n, f"CAP_{n}") for n in range(bits.bit_length()) if bits >> n & 1)


def fewer(held: Collection[str]) -> tuple[bool, tuple[str, ...]]:
    """The shorter description of a set: (True, what is missing) or (False, what is held)."""
    lacking = tuple(name for name in CAPABILITIES if name not in held)
    return (True, lacking) if len(lacking) < len(held) else (False, tuple(held))


def as_flags(bits: int, before: str = "1<<") -> str:
    """A set of capabilities as strace(1) prints it, with `before` in front of each name."""
    return "|".join(before + name for name in names(bits)) or "0"
