"""Why this machine refused a call, and what would change that: hints that know the machine."""

import errno
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from labkit.linux.confinement import Capabilities, Confinement
from labkit.linux.refusal import hints, too_revealing
from labkit.text.words import Words

_FORBIDDEN = (errno.EPERM, errno.EACCES)

# What a call asks for, where it is not CAP_SYS_ADMIN: capabilities(7).
_ASKED = (
    ("NETLINK", "CAP_NET_ADMIN"),
    ("PR_CAPBSET_DROP", "CAP_SETPCAP"),
    ("write(", "CAP_SETUID"),  # of a map
    ("setresuid(", "CAP_SETUID"),
    ("setresgid(", "CAP_SETGID"),
    ("chroot(", "CAP_SYS_CHROOT"),
)


@dataclass(frozen=True)
class Refusal:
    """A refused call, its errno, whether root of a new user namespace made it; its caller."""

    call: str
    number: int
    rootless: bool
    held: Capabilities
    confined: Confinement

    @property
    def capability(self) -> str:
        """The capability that the call asks for, if its caller lacks it; else ""."""
        if self.rootless or "CLONE_NEWUSER" in self.call:
            return ""  # a new user namespace asks for none, and its root has them all
        name = next((name for words, name in _ASKED if words in self.call), "CAP_SYS_ADMIN")
        return "" if name in self.held.effective else name

    @property
    def subject(self) -> str:
        """What the kernel may lack: the last name in quotes, a file system or a kind of device."""
        names: list[str] = re.findall(r'"(\w+)"', self.call)
        return names[-1] if names else ""

    @property
    def cover(self) -> tuple[tuple[str, str], tuple[str, str]] | None:
        """Why a user namespace may mount no /proc here, and what to do."""
        return too_revealing()

    @property
    def forbidden(self) -> bool:
        """Whether the kernel said no rather than "there is no such thing"."""
        return self.number in _FORBIDDEN

    def sysctl(self, name: str) -> int | None:
        """The value of one of privileges.SYSCTLS, or None where the kernel has no such thing."""
        return self.confined.sysctls.get(name)


# When it applies; the reason; the fix. The first that applies is used.
_RULES: tuple[tuple[Callable[[Refusal], object], Words, Words], ...] = (
    (
        lambda r: r.capability and r.forbidden and r.confined.no_new_privs,
        Words(
            "进程没有 {0.capability}，no_new_privs 又不许 sudo 把它拿回来",
            "the process lacks {0.capability}, and no_new_privs keeps sudo from getting it",
        ),
        Words(
            "以 root 启动，不加 no-new-privileges；在 Docker 里加 --privileged",
            "start as root without no-new-privileges; in Docker, with --privileged",
        ),
    ),
    (
        lambda r: r.capability and r.forbidden and r.capability in r.held.bounding,
        Words("进程没有 {0.capability}", "the process lacks {0.capability}"),
        Words("用 root 运行（sudo）", "run it as root (sudo)"),
    ),
    (
        lambda r: r.capability and r.forbidden,
        Words(
            "进程没有 {0.capability}，权能上限集里也没有，root 也拿不到它",
            "the process lacks {0.capability}, and so does the bounding set: root would not help",
        ),
        Words(
            "若在 Docker 里，用 docker run --privileged 启动容器",
            "inside Docker, start the container with docker run --privileged",
        ),
    ),
    (
        lambda r: r.forbidden and r.sysctl("kernel.unprivileged_userns_clone") == 0,
        Words(
            "sysctl kernel.unprivileged_userns_clone 是 0：普通用户不得新建用户命名空间",
            "sysctl kernel.unprivileged_userns_clone is 0: no user namespaces for ordinary users",
        ),
        Words(
            "在宿主机上以 root 执行 sysctl -w kernel.unprivileged_userns_clone=1",
            "as root on the host: sysctl -w kernel.unprivileged_userns_clone=1",
        ),
    ),
    (
        lambda r: r.forbidden and r.sysctl("kernel.apparmor_restrict_unprivileged_userns"),
        Words(
            "AppArmor 不许普通用户的用户命名空间拥有权能（Ubuntu 24.04 起的默认设置）",
            "AppArmor leaves ordinary users' user namespaces no capabilities (Ubuntu from 24.04)",
        ),
        Words(
            "在宿主机上以 root 执行 sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
            "as root on the host: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ),
    (
        lambda r: r.number == errno.ENOSPC and r.sysctl("user.max_user_namespaces") == 0,
        Words(
            "sysctl user.max_user_namespaces 是 0：一个用户命名空间也不许建",
            "sysctl user.max_user_namespaces is 0: not one user namespace is allowed",
        ),
        Words(
            "在宿主机上以 root 执行 sysctl -w user.max_user_namespaces=15000",
            "as root on the host: sysctl -w user.max_user_namespaces=15000",
        ),
    ),
    (
        lambda r: r.forbidden and r.rootless and "uid_map" in r.call,
        Words(
            "root 没有 CAP_SETFCAP，不得把自己映射成里面的 root（Linux 5.12 起）",
            "a root without CAP_SETFCAP may not map itself to root inside (since Linux 5.12)",
        ),
        Words(
            "用普通用户运行，或用有权能的 root", "run it as another user, or as a root that has it"
        ),
    ),
    (
        lambda r: r.forbidden and r.rootless and r.call.startswith("write("),  # of a longer map
        Words(
            "普通用户只能映射自己的那一个号；更多的号要 newuidmap 和 /etc/subuid",
            "without privileges one maps one's own ID alone; more take newuidmap and /etc/subuid",
        ),
        Words("用 root 运行（sudo）", "run it as root (sudo)"),
    ),
    (
        lambda r: r.number == errno.EACCES and r.call.startswith(("mount", "umount", "pivot_root")),
        Words(
            "安全模块 {0.confined.profile} 不许挂载",
            "the security module's profile {0.confined.profile} forbids mounts",
        ),
        Words(
            "若在 Docker 里，加 --privileged 或 --security-opt apparmor=unconfined",
            "inside Docker, add --privileged or --security-opt apparmor=unconfined",
        ),
    ),
    (
        lambda r: r.number == errno.ENOSYS and r.call.startswith("clone3"),
        Words(
            "没有 clone3，只好用 clone，它放不下 CLONE_NEWTIME；Docker 的 seccomp 配置就这样答",
            "no clone3, so clone must do, without CLONE_NEWTIME; Docker's seccomp profile says so",
        ),
        Words(
            "若在 Docker 里，加 --security-opt seccomp=unconfined；否则换 5.3 以上的内核",
            "inside Docker, add --security-opt seccomp=unconfined; else use Linux 5.3 or later",
        ),
    ),
    (
        lambda r: r.number == errno.EPERM and r.call.startswith('mount("proc"') and r.cover,
        Words("{0.cover[0][0]}", "{0.cover[0][1]}"),
        Words("{0.cover[1][0]}", "{0.cover[1][1]}"),
    ),
    (
        lambda r: r.number == errno.EPERM and r.confined.seccomp == "filter",
        Words("很可能是 seccomp 过滤器挡住了它", "a seccomp filter most likely blocks it"),
        Words(
            "若在 Docker 里，加 --privileged 或 --security-opt seccomp=unconfined",
            "inside Docker, add --privileged or --security-opt seccomp=unconfined",
        ),
    ),
    (
        lambda r: r.number == errno.EOPNOTSUPP,
        Words("内核没有 {0.subject} 这种设备", "this kernel has no devices of kind {0.subject}"),
        Words(
            "在宿主机上以 root 执行 modprobe {0.subject}，没有这个模块就要换内核",
            "as root on the host: modprobe {0.subject} (no such module: another kernel)",
        ),
    ),
    (
        lambda r: r.number == errno.ENODEV,
        Words("内核没有这种文件系统", "this kernel has no such file system"),
        Words(
            "在宿主机上以 root 装入它的模块，例如 modprobe overlay",
            "as root on the host, load its module, as in modprobe overlay",
        ),
    ),
    (
        lambda r: r.number == errno.EAGAIN,
        Words(
            "进程太多：到了 RLIMIT_NPROC（ulimit -u）或控制组 pids.max 的上限",
            "too many processes: RLIMIT_NPROC (ulimit -u) or a cgroup's pids.max is reached",
        ),
        Words(
            "结束一些进程，或把这个上限调高；若在 Docker 里，看 --pids-limit",
            "end some, or raise that limit; inside Docker, see --pids-limit",
        ),
    ),
    (
        lambda r: r.number == errno.EINVAL and "CLONE_NEW" in r.call,
        Words("内核不认识这种命名空间", "this kernel does not know that kind of namespace"),
        Words("要换较新的内核", "it takes a newer kernel"),
    ),
)


def diagnose(refusal: Refusal) -> tuple[Words, Words]:
    """Why the call was refused, and what to do about it."""
    for applies, why, fix in _RULES:
        if applies(refusal):
            return why.filled(refusal), fix.filled(refusal)
    name = errno.errorcode.get(refusal.number, str(refusal.number))
    said = f"{name} ({os.strerror(refusal.number)})"
    known = hints(refusal.call, refusal.number)
    why = Words(f"内核答 {said}", f"the kernel answered {said}")
    return why, Words(*known) if known else Words(
        "见手册页的 ERRORS 一节", "see ERRORS in its man page"
    )
