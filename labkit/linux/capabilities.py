"""The capabilities by name and number, what each is for, and sets of them. capabilities(7)."""

from _collections_abc import Collection, Iterable

from labkit.text.words import Words

# In the order of their numbers, linux/capability.h; the last came with Linux 5.9.
_NAMES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT
SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
PERFMON BPF CHECKPOINT_RESTORE
"""
CAPABILITIES = tuple(f"CAP_{name}" for name in _NAMES.split())
# What each is for: capabilities(7).
MEANINGS = {
    "CAP_CHOWN": Words("改文件的属主", "change the owner of files"),
    "CAP_DAC_OVERRIDE": Words("不受文件权限位约束", "pass over the permission bits of files"),
    "CAP_DAC_READ_SEARCH": Words("读文件、进目录不受权限位约束", "read any file, enter any directory"),
    "CAP_FOWNER": Words("像属主一样对待别人的文件", "treat others' files as their owner may"),
    "CAP_FSETID": Words("改文件时保留 set-user-ID 位", "keep set-user-ID bits when a file is changed"),
    "CAP_KILL": Words("给别人的进程发信号", "send signals to others' processes"),
    "CAP_SETGID": Words("换组号，写 gid_map", "change group IDs, write gid_map"),
    "CAP_SETUID": Words("换用户号，写 uid_map", "change user IDs, write uid_map"),
    "CAP_SETPCAP": Words("缩小权能上限集", "drop from the bounding set"),
    "CAP_LINUX_IMMUTABLE": Words("改“不可变”的文件标志", "set the flag that makes files immutable"),
    "CAP_NET_BIND_SERVICE": Words("占用 1024 以下的端口", "bind to ports below 1024"),
    "CAP_NET_BROADCAST": Words("网络广播", "broadcast on the network"),
    "CAP_NET_ADMIN": Words("配置网络", "configure the network"),
    "CAP_NET_RAW": Words("收发原始的包", "send and receive raw packets"),
    "CAP_IPC_LOCK": Words("把内存锁在内存里", "lock memory"),
    "CAP_IPC_OWNER": Words("用别人的 System V IPC 对象", "use others' System V IPC objects"),
    "CAP_SYS_MODULE": Words("装卸内核模块", "load and unload kernel modules"),
    "CAP_SYS_RAWIO": Words("直接读写硬件端口", "reach the hardware's ports"),
    "CAP_SYS_CHROOT": Words("换根目录", "change the root directory"),
    "CAP_SYS_PTRACE": Words("跟踪、察看别人的进程", "trace and inspect others' processes"),
    "CAP_SYS_PACCT": Words("进程记账", "process accounting"),
    "CAP_SYS_ADMIN": Words("挂载、改主机名、新建命名空间等", "mount, rename, make namespaces and more"),
    "CAP_SYS_BOOT": Words("重启", "reboot"),
    "CAP_SYS_NICE": Words("改优先级", "change priorities"),
    "CAP_SYS_RESOURCE": Words("越过资源上限", "exceed resource limits"),
    "CAP_SYS_TIME": Words("拨系统的时钟", "set the system's clock"),
    "CAP_SYS_TTY_CONFIG": Words("配置虚拟控制台", "configure virtual consoles"),
    "CAP_MKNOD": Words("造设备文件", "make device files"),
    "CAP_LEASE": Words("对任意文件立租约", "take leases on any file"),
    "CAP_AUDIT_WRITE": Words("写审计日志", "write to the audit log"),
    "CAP_AUDIT_CONTROL": Words("配置审计", "configure auditing"),
    "CAP_SETFCAP": Words("给文件加权能", "give capabilities to files"),
    "CAP_MAC_OVERRIDE": Words("不受强制访问控制约束", "pass over mandatory access control"),
    "CAP_MAC_ADMIN": Words("配置强制访问控制", "configure mandatory access control"),
    "CAP_SYSLOG": Words("读内核日志", "read the kernel's log"),
    "CAP_WAKE_ALARM": Words("定时唤醒机器", "set alarms that wake the machine"),
    "CAP_BLOCK_SUSPEND": Words("不让机器休眠", "keep the machine from sleeping"),
    "CAP_AUDIT_READ": Words("读审计日志", "read the audit log"),
    "CAP_PERFMON": Words("性能监测", "monitor performance"),
    "CAP_BPF": Words("装入 BPF 程序", "load BPF programs"),
    "CAP_CHECKPOINT_RESTORE": Words("为进程存档、复原", "save and restore processes"),
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
