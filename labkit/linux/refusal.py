"""Why the kernel refused a call and what would change that: the one table of reasons.

The kernel answers a refused call with a number. :func:`refusal` turns it into the ``OSError`` that
Python gives for that number (``PermissionError`` for EPERM, ...). Its text is the call itself. Its
attribute ``call`` is the call as strace(1) writes it, without the result, and ``words`` the reason,
which a traceback shows as notes. :func:`call_of` and :func:`words_of` read the two.

An error is explained from the call and its errno alone. :func:`diagnose` knows the machine too,
and then the reasons that need to know it come into play.
"""

import errno
import os

from labkit.linux import proc
from labkit.text.words import Words, add_words

TYPE_CHECKING = False  # labkit unshare imports this, and is to start at once
if TYPE_CHECKING:
    from _collections_abc import Callable
    from threading import Thread

    from labkit.linux.confinement import Capabilities, Confinement


class Reason:
    """Why something is refused, and what to do about it where that can be said. A value."""

    def __init__(self, why: Words, fix: Words | None = None) -> None:
        self.why, self.fix = why, fix

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reason) and (self.why, self.fix) == (other.why, other.fix)

    def __hash__(self) -> int:
        return hash((self.why, self.fix))

    @property
    def words(self) -> Words:
        """Both in a sentence."""
        parts = [each for each in (self.why, self.fix) if each]
        chinese = "：".join(each.zh.removesuffix("。") for each in parts)
        english = ": ".join(each.en.removesuffix(".") for each in parts)
        if english.split(" ", 1)[0].isalpha():  # not new_root, which has its own spelling
            english = english[0].upper() + english[1:]
        return Words(chinese + "。", english + ".")


class Refusal:
    """A refused call and its errno, and what is known of its caller.

    rootless: whether root of a new user namespace made it. held, confined: the capabilities of the
    caller, and what confines it besides; None: nobody has looked.
    """

    def __init__(
        self,
        call: str,
        number: int,
        rootless: bool = False,
        held: "Capabilities | None" = None,
        confined: "Confinement | None" = None,
    ) -> None:
        self.call, self.number, self.rootless = call, number, rootless
        self.held, self.confined = held, confined

    @property
    def capability(self) -> str:
        """The capability that the call asks for, if it is known that its caller lacks it."""
        if self.held is None or self.rootless or "CLONE_NEWUSER" in self.call:
            return ""  # a new user namespace asks for none, and its root has them all
        name = next((name for text, name in _ASKED if text in self.call), "CAP_SYS_ADMIN")
        return "" if name in self.held.effective else name

    @property
    def out_of_reach(self) -> bool:
        """Whether not even root would get that capability."""
        return self.held is not None and self.capability not in self.held.bounding

    @property
    def no_new_privs(self) -> bool:
        """Whether it is known that no program gives the caller more than it has."""
        return self.confined is not None and self.confined.no_new_privs

    @property
    def filtered(self) -> bool:
        """Whether it is known that a seccomp filter judges the caller's calls."""
        return self.confined is not None and self.confined.seccomp == "filter"

    @property
    def profile(self) -> str:
        """The security module's profile, or which modules there may be."""
        return (self.confined and self.confined.profile) or "AppArmor/SELinux"

    @property
    def subject(self) -> str:
        """What the kernel may lack: the last word in quotes, a file system or a kind of device."""
        quoted = [text for text in self.call.split('"')[1::2] if text.isidentifier()]
        return quoted[-1] if quoted else ""

    @property
    def forbidden(self) -> bool:
        """Whether the kernel said no rather than "there is no such thing"."""
        return self.number in (errno.EPERM, errno.EACCES)

    @property
    def cover(self) -> "Cover":
        """What keeps /proc from being wholly visible here."""
        return Cover()

    def sysctl(self, name: str) -> int | None:
        """The value of one of confinement.SYSCTLS, or None where that is not known."""
        return self.confined.sysctls.get(name) if self.confined else None


class Cover:
    """What keeps /proc from being wholly visible: only then may a user namespace mount another."""

    # What Docker and Podman make read-only in every container that is not privileged.
    _MASKED = frozenset(("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"))

    def __init__(self) -> None:
        try:
            places = proc.covers()
        except OSError:  # no /proc, so nothing is known of the mounts
            places = None
        self.none, self.places = places == [], places or []
        self.masked = set(self.places) >= self._MASKED
        self.read_only = self.places[-1:] == ["/proc"]

    @property
    def names(self) -> str:
        """The first of the mounts that cover it."""
        return " ".join(self.places[:3])

    def __str__(self) -> str:
        return self.names + " ..." * (len(self.places) > 3)


# What a call asks for, where it is not CAP_SYS_ADMIN: capabilities(7).
_ASKED = (
    ("NETLINK", "CAP_NET_ADMIN"),
    ("PR_CAPBSET_DROP", "CAP_SETPCAP"),
    ("prlimit64(", "CAP_SYS_RESOURCE"),
    ("write(", "CAP_SETUID"),  # of a map
    ("setresuid(", "CAP_SETUID"),
    ("setresgid(", "CAP_SETGID"),
    ("chroot(", "CAP_SYS_CHROOT"),
    ("mknodat(", "CAP_MKNOD"),
)


_OF_PROC = ('"/proc/', '"uid_map"', '"gid_map"', '"setgroups"')
"""Files of /proc: by their whole names, or in the directory of a process."""


def _on(calls: str, number: int, argument: str = "") -> "Callable[[Refusal], bool]":
    """A condition: errno `number` of one of `calls`, with `argument` somewhere in its text."""
    names = (*calls.split("|"),)
    return lambda r: r.number == number and r.call.startswith(names) and argument in r.call


def _in_docker(security_opt: str) -> Words:
    return Words(
        f"若在 Docker 里，加 --privileged 或 --security-opt {security_opt}",
        f"inside Docker, add --privileged or --security-opt {security_opt}",
    )


def _sysctl(setting: str) -> Words:
    return Words(
        f"在宿主机上以 root 执行 sysctl -w {setting}", f"as root on the host: sysctl -w {setting}"
    )


def _of_group(r: Refusal) -> bool:
    """Whether a call was about a file or directory of a control group."""
    return r.call.startswith(("mkdir", "write", "open")) and (
        "/labkit-box-" in r.call or "cgroup" in r.call
    )


_PRIVATE_GROUPS = Words(
    "若在 Docker 里，加 --privileged --cgroupns=private",
    "inside Docker, add --privileged --cgroupns=private",
)
AS_ROOT = Words("用 root 运行（sudo）", "run it as root (sudo)")
PRIVILEGED = Words(
    "若在 Docker 里，用 docker run --privileged 启动容器",
    "inside Docker, start the container with docker run --privileged",
)
_MANUAL = Words("见手册页的 ERRORS 一节", "see ERRORS in its man page")

_MOVED = _on("unshare", errno.EINVAL, "CLONE_NEWUSER")
_PROC = _on('mount("proc"', errno.EPERM)

# When it applies; why the call is refused; what would change that. The first that applies is used.
# What needs to know the machine does not apply while nobody has looked at it.
# fmt: off
_REASONS: "tuple[tuple[Callable[[Refusal], object], Words, Words | None], ...]" = (
    # --- Control groups --------------------------------------------------------------------------
    (lambda r: _of_group(r) and r.number == errno.EROFS,
     Words("控制组是只读挂载的，不加 --privileged 的 Docker 容器里就是这样",
           "the cgroups are mounted read-only, as in Docker without --privileged"),
     _PRIVATE_GROUPS),
    (lambda r: _of_group(r) and r.forbidden and "devices." in r.call,
     Words("上一级的控制组不许用的设备，这里也不能放行",
           "what the group above forbids cannot be allowed here"),
     None),
    (lambda r: (_of_group(r) or (r.call.startswith("clone3") and "INTO_CGROUP" in r.call)) and r.forbidden,
     Words("要在这里建控制组、把进程放进去，得拥有上面那一级的组",
           "to make a group here and put a process into it takes the group above"),
     Words("用 root；普通用户要在 systemd 的 v2 机器上，那里有用户管理器给一个自己的组",
           "use root; an ordinary user needs version 2 under systemd, whose user manager gives a group "
           "of one's own")),
    (lambda r: _of_group(r) and r.number == errno.EBUSY,
     Words("这个组里还有进程，不能把控制器交给下级：有控制器的组旁边不许有进程",
           "this group has processes, so it cannot hand controllers on, because none may be beside "
           "groups that have controllers"),
     Words("先把它们移到下面的一个组里", "move them to a group below it first")),
    (lambda r: _of_group(r) and r.number in (errno.EINVAL, errno.ERANGE, errno.ENODEV),
     Words("内核在这里不收这个值，例如没有这个处理器、这块盘，或者上一级没有给",
           "the kernel does not take this value here, as of a processor or disk that is not there, or "
           "that the group above does not have"),
     None),
    (lambda r: _of_group(r) and r.number in (errno.ENOSPC, errno.EAGAIN),
     Words("控制组太多，或者 cpuset 还没有处理器", "too many groups, or a cpuset without processors"),
     Words("看 cgroup.max.descendants 和上一级的 cpuset.cpus",
           "see cgroup.max.descendants, and cpuset.cpus of the group above")),
    (_on("bpf", errno.EPERM),
     Words("v2 的设备规则是一段 BPF 程序，装它要有 CAP_BPF 或 CAP_SYS_ADMIN",
           "version 2's rules for devices are a BPF program, which takes CAP_BPF or CAP_SYS_ADMIN"),
     Words("请用 root，或者不写 devices", "be root, or leave devices out")),
    # --- The caller lacks a capability -----------------------------------------------------------
    (lambda r: r.capability and r.forbidden and r.no_new_privs,
     Words("进程没有 {0.capability}，no_new_privs 又不许 sudo 把它拿回来",
           "the process lacks {0.capability}, and no_new_privs keeps sudo from getting it"),
     Words("以 root 启动，不加 no-new-privileges；在 Docker 里加 --privileged",
           "start as root without no-new-privileges; in Docker, with --privileged")),
    (lambda r: r.capability and r.forbidden and not r.out_of_reach,
     Words("进程没有 {0.capability}", "the process lacks {0.capability}"),
     AS_ROOT),
    (lambda r: r.capability and r.forbidden,
     Words("进程没有 {0.capability}，权能上限集里也没有，root 也拿不到它",
           "the process lacks {0.capability}, and so does the bounding set: root would not help"),
     PRIVILEGED),
    # --- This machine's settings -----------------------------------------------------------------
    (lambda r: r.forbidden and r.sysctl("kernel.unprivileged_userns_clone") == 0,
     Words("sysctl kernel.unprivileged_userns_clone 是 0：普通用户不得新建用户命名空间",
           "sysctl kernel.unprivileged_userns_clone is 0: no user namespaces for ordinary users"),
     _sysctl("kernel.unprivileged_userns_clone=1")),
    (lambda r: r.forbidden and r.sysctl("kernel.apparmor_restrict_unprivileged_userns"),
     Words("AppArmor 不许普通用户的用户命名空间拥有权能（Ubuntu 24.04 起的默认设置）",
           "AppArmor leaves ordinary users' user namespaces no capabilities (Ubuntu from 24.04)"),
     _sysctl("kernel.apparmor_restrict_unprivileged_userns=0")),
    (lambda r: r.number == errno.ENOSPC and r.sysctl("user.max_user_namespaces") == 0,
     Words("sysctl user.max_user_namespaces 是 0：一个用户命名空间也不许建",
           "sysctl user.max_user_namespaces is 0: not one user namespace is allowed"),
     _sysctl("user.max_user_namespaces=15000")),
    # --- Maps of IDs, written by root of a new user namespace ------------------------------------
    (lambda r: r.forbidden and r.rootless and "uid_map" in r.call,
     Words("root 没有 CAP_SETFCAP，不得把自己映射成里面的 root（Linux 5.12 起）",
           "a root without CAP_SETFCAP may not map itself to root inside (since Linux 5.12)"),
     Words("用普通用户运行，或用有权能的 root",
           "run it as another user, or as a root that has it")),
    (lambda r: r.forbidden and r.rootless and r.call.startswith("write("),  # of a longer map
     Words("普通用户只能映射自己的那一个号；更多的号要 newuidmap 和 /etc/subuid",
           "without privileges one maps one's own ID alone; more take newuidmap and /etc/subuid"),
     AS_ROOT),
    # --- What the walls of an outer container refuse ---------------------------------------------
    (_on("mount|umount|pivot_root", errno.EACCES),
     Words("安全模块 {0.profile} 不许挂载",
           "the security module's profile {0.profile} forbids mounts"),
     _in_docker("apparmor=unconfined")),
    (lambda r: _PROC(r) and r.cover.masked,
     Words("外层容器遮住了 /proc 的一部分（{0.cover}），内核不许再挂完整的（VFS: Mount too revealing）",
           "an outer container masks parts of /proc ({0.cover}), so the kernel refuses a whole one "
           "(VFS: Mount too revealing)"),
     _in_docker("systempaths=unconfined")),
    (lambda r: _PROC(r) and r.cover.read_only,
     Words("/proc 是只读挂载的，内核不许再挂可写的（VFS: Mount too revealing）",
           "/proc is mounted read-only, so the kernel refuses a writable one (VFS: Mount too revealing)"),
     Words("以 root 执行 mount -o remount,bind,rw /proc", "as root, mount -o remount,bind,rw /proc")),
    (lambda r: _PROC(r) and r.cover.places,
     Words("/proc 的一部分被别的挂载盖住了（{0.cover}），内核不许再挂完整的（VFS: Mount too revealing）",
           "other mounts cover parts of /proc ({0.cover}), so the kernel refuses a whole one "
           "(VFS: Mount too revealing)"),
     Words("以 root 执行 umount {0.cover.names}", "as root, umount {0.cover.names}")),
    (lambda r: _PROC(r) and r.cover.none,
     Words("这里看不到完整的 /proc，内核便不许再挂一个（VFS: Mount too revealing）",
           "no whole /proc is visible here, so the kernel refuses another one (VFS: Mount too revealing)"),
     Words("以 root 执行 mount -t proc proc /proc", "as root, mount -t proc proc /proc")),
    (_on("clone", errno.ENOSYS),
     Words("内核没有 clone3，或者 Docker 的 seccomp 配置把它挡住了（它总答 ENOSYS）；"
           "clone 可以代替，但放不下 CLONE_NEWTIME",
           "the kernel lacks clone3, or Docker's seccomp profile blocks it (always with ENOSYS); "
           "clone can stand in, but has no room for CLONE_NEWTIME"),
     Words("若在 Docker 里，加 --security-opt seccomp=unconfined；否则换 5.3 以上的内核",
           "inside Docker, add --security-opt seccomp=unconfined; else use Linux 5.3 or later")),
    (lambda r: r.number == errno.EPERM and r.filtered,
     Words("很可能是 seccomp 过滤器挡住了它", "a seccomp filter most likely blocks it"),
     _in_docker("seccomp=unconfined")),
    # --- New processes and namespaces ------------------------------------------------------------
    (_on("clone|unshare", errno.EPERM, "CLONE_NEWUSER"),
     Words("这台机器不许普通用户建用户命名空间（sysctl、AppArmor 或 seccomp 禁止）",
           "this machine forbids user namespaces to you (a sysctl, AppArmor or seccomp)"),
     Words("请用 root，或运行 labkit doctor", "use root, or run labkit doctor")),
    (_on("clone|unshare", errno.EPERM, "CLONE_NEW"),
     Words("新建命名空间要有 CAP_SYS_ADMIN", "a new namespace needs CAP_SYS_ADMIN"),
     Words("请用 root，或一并新建用户命名空间（rootless=True）；若在 Docker 里，请加 --privileged 启动",
           "be root, or make a user namespace too (rootless=True); inside Docker, start it with --privileged")),
    (_on("clone|unshare", errno.ENOSPC),
     Words("命名空间太多或嵌套太深", "too many namespaces, or nested too deep"),
     Words("看 /proc/sys/user/max_*_namespaces（PID 与用户命名空间最多嵌套 32 层）",
           "see /proc/sys/user/max_*_namespaces (PID and user namespaces nest at most 32 deep)")),
    (_on("clone(CLONE_THREAD", errno.EAGAIN),
     Words("起不了新线程，到了 RLIMIT_NPROC（ulimit -u）、RLIMIT_AS（ulimit -v）、RLIMIT_DATA（ulimit -d）或控制组的上限",
           "no more threads, RLIMIT_NPROC (ulimit -u), RLIMIT_AS (ulimit -v), RLIMIT_DATA (ulimit -d) or a cgroup's limit is reached"),
     Words("把这个上限调高", "raise that limit")),
    # Python's own fork and start of a thread do not say what they called.
    (lambda r: r.number == errno.EAGAIN and (not r.call or r.call.startswith(("clone", "pthread"))),
     Words("进程太多，到了 RLIMIT_NPROC（ulimit -u）或控制组 pids.max 的上限",
           "too many processes, RLIMIT_NPROC (ulimit -u) or a cgroup's pids.max is reached"),
     Words("结束一些进程，或把这个上限调高；若在 Docker 里，看 --pids-limit",
           "end some, or raise that limit; inside Docker, see --pids-limit")),
    (_on("clone", errno.ENOMEM),
     Words("内存不足，或者这个 PID 命名空间的 1 号进程已经退出：它一死，里面再也生不出新进程",
           "out of memory, or PID 1 of this PID namespace is gone: once it is dead, nothing can be born in there"),
     None),
    (lambda r: _MOVED(r) and not r.confined,  # the trials of the doctor have one thread
     Words("多线程的进程不能搬进新的用户命名空间",
           "a process with several threads cannot move to a new user namespace"),
     Words("请在 %%child 里做", "do it in %%child")),
    (_on("clone|unshare", errno.EINVAL, "CLONE_NEW"),
     Words("内核不认识这种命名空间，或者这些标志不能一起用",
           "this kernel does not know that kind of namespace, or the flags do not go together"),
     Words("前者要换较新的内核", "the former takes a newer kernel")),
    (_on("setns", errno.EPERM),
     Words("进入别人的命名空间要有 CAP_SYS_ADMIN（在那个命名空间的属主用户命名空间里也要有）",
           "entering a namespace needs CAP_SYS_ADMIN, in the user namespace that owns it too"),
     None),
    (_on("setns", errno.EINVAL),
     Words("这个描述符不是该种命名空间，或者你已在其中（用户命名空间），或者进程有多个线程",
           "the descriptor is not such a namespace, or you are in it already (user namespaces), or the process has several threads"),
     None),
    (_on("setns", errno.ESRCH),
     Words("那个进程已经结束，它的命名空间没有了：宁可报错，也不在宿主机上执行",
           "that process has ended and its namespaces with it: better an error than to run on the host"),
     None),
    (_on("pidfd_open", errno.ESRCH),
     Words("没有这个进程：它已经结束，或者 PID 写错了",
           "no such process: it has ended, or the PID is wrong"),
     None),
    (_on("sethostname", errno.EPERM),
     Words("改主机名要有 CAP_SYS_ADMIN，而且是在拥有这个 UTS 命名空间的用户命名空间里",
           "setting the host name needs CAP_SYS_ADMIN in the user namespace that owns this UTS namespace"),
     None),
    # --- A root of its own -----------------------------------------------------------------------
    (_on('mount("overlay"', errno.EPERM),
     Words("这里的内核不许用户命名空间挂 overlay（要 Linux 5.11，或者安全模块不许）",
           "this kernel forbids overlay in a user namespace (it takes Linux 5.11, or a security module forbids it)"),
     Words("请用 root，或者把文件抄进一个目录，写 Root(path)", "be root, or copy the files to a directory and use Root(path)")),
    (_on('mount("overlay"', errno.EINVAL),
     Words("overlay 不收这些路径，有一个不是目录，或者 upper 本身就在 overlay 上（实验室在容器里时就是这样），"
           "或者 upper 和 work 不在同一个文件系统，或者在用户命名空间里，有一层下面还有别的挂载（/ 就是）",
           "overlay refuses these paths, one is not a directory, or upper is on an overlay itself (as "
           "where the lab runs in a container), or upper and work are on two file systems, or in a "
           "user namespace there are mounts below a layer (as below /)"),
     Words("layers 都要是目录；不写 upper 和 work，改动就放在内存里",
           "all layers are directories; without upper and work, changes are kept in memory")),
    (_on('mount("overlay"|fsconfig', errno.ENOENT),
     Words("layers、upper、work 里有一个目录不存在", "a directory of layers, upper or work does not exist"),
     Words("看调用里的路径", "look at the paths in the call")),
    (_on('mount("overlay"|fsconfig', errno.ENOTDIR),
     Words("layers、upper、work 都要是目录，其中有一个不是",
           "layers, upper and work are directories, and one of these is not"),
     Words("看调用里的路径", "look at the paths in the call")),
    (_on('mount("overlay"', errno.EBUSY),
     Words("upper 或 work 正被另一个 overlay 使用", "upper or work is in use by another overlay"),
     Words("每个容器各用一对", "give each container a pair of its own")),
    (_on('mount("/', errno.ENOENT, "MS_BIND"),
     Words("要绑定的目录或文件不存在", "the directory or file to bind does not exist"),
     Words("Root(path) 要是一个现成的目录", "Root(path) is a directory that is there")),
    (_on("open_tree", errno.ENOENT),
     Words("宿主机上没有这个文件或目录，卷的来源要先在那里",
           "the host has no such file or directory, and the source of a volume must be there first"),
     Words("先建好它", "make it first")),
    (_on('mount("overlay"', errno.ELOOP),
     Words("一层在另一层里面，overlay 不收", "one layer lies in another, and overlay refuses that"),
     Words("各层要是互不包含的目录", "no layer may contain another")),
    (lambda r: (r.call.startswith("move_mount(") and r.number == errno.EINVAL)
     or (r.call.startswith("mount(") and r.number == errno.ENOTDIR),
     Words("目录只能挂在目录上，文件只能挂在文件上",
           "a directory can be mounted on a directory only, a file on a file"),
     Words("换一个位置", "choose another place")),
    (_on("mkdirat|mknodat", errno.EROFS),
     Words("根目录里缺少挂载点，而它在只读的文件系统上，建不出来",
           "the root lacks a mount point, and it is on a read-only file system, so none can be made"),
     Words("先在里面建好，或写 Root(layers=(目录,))", "make it there first, or use Root(layers=(directory,))")),
    (_on("mkdirat|mknodat", errno.EACCES),
     Words("根目录里缺少挂载点，而这个用户不能在里面建",
           "the root lacks a mount point, and this user may not make one there"),
     Words("先在里面建好，或写 Root(layers=(目录,))", "make it there first, or use Root(layers=(directory,))")),
    (_on("mknodat(", errno.EPERM, "S_IFCHR, makedev(0, 0)"),
     Words("遮住下层文件的记号建不了，在 Docker 的容器里，根目录自己就是 overlay，不收这种记号",
           "what hides a file of the layers below cannot be made here; inside a container of Docker the root is an overlay itself, and takes none"),
     Words("把镜像放到卷上，如 docker run -v labkit:/var/lib/labkit，或 LABKIT_STATE=/dev/shm/labkit",
           "keep the images on a volume, as with docker run -v labkit:/var/lib/labkit, or LABKIT_STATE=/dev/shm/labkit")),
    (_on("mknodat", errno.EPERM),
     Words("建设备要有 CAP_MKNOD，用户命名空间里的 root 也不行：设备是整台机器的",
           "a device takes CAP_MKNOD, and root of a user namespace does not count: devices are the whole machine's"),
     Words("绑定宿主机的设备", "bind the host's")),
    (lambda r: r.number in (errno.ELOOP, errno.EXDEV) and r.call.startswith("openat2"),
     Words("路径上有符号链接绕圈，或者有 /proc 的魔法链接：它会走到根目录外面，这里不走",
           "a symbolic link goes in circles, or is a magic link of /proc, which would lead out of the root"),
     Words("换一个位置", "choose another place")),
    (_on("openat2", errno.ENOENT, "RESOLVE_IN_ROOT"),
     Words("路径上有符号链接指向根目录里没有的地方",
           "a symbolic link on the way points to what is not in the root"),
     Words("换一个位置，或先在根目录里建好它指的地方", "choose another place, or first make what it points to")),
    (_on("openat2|mkdirat|mknodat", errno.ENOTDIR),
     Words("去那里的路上有一个文件，而它应是目录", "a file stands where the way leads through a directory"),
     Words("换一个位置", "choose another place")),
    (_on("chdir", errno.ENOTDIR),
     Words("这不是目录", "that is no directory"),
     Words("根目录和工作目录都要是目录", "a root and a working directory are directories")),
    # --- Mounts ----------------------------------------------------------------------------------
    (_on("mount", errno.EPERM),
     Words("挂载要有 CAP_SYS_ADMIN，而且是在拥有这个挂载命名空间的用户命名空间里",
           "mounting needs CAP_SYS_ADMIN in the user namespace that owns this mount namespace"),
     None),
    (_on("mount", errno.ENODEV),
     Words("内核没有这种文件系统（见 /proc/filesystems）",
           "this kernel has no such file system (see /proc/filesystems)"),
     Words("在宿主机上以 root 装入它的模块，例如 modprobe overlay",
           "as root on the host, load its module, as in modprobe overlay")),
    (_on("mount", errno.EINVAL),
     Words("参数不合：没有这个选项，或者要改传播方式的目录不是挂载点",
           "an argument does not fit: an unknown option, or propagation changed on what is no mount point"),
     None),
    (_on("umount2", errno.EINVAL),
     Words("那里不是挂载点，或者它从更高的命名空间继承而来，被锁住了",
           "that is no mount point, or it is locked: inherited from a more privileged namespace"),
     None),
    (_on("umount2", errno.EBUSY),
     Words("还有进程在用它；MNT_DETACH 可以先摘下，等没人用了再消失",
           "somebody still uses it; MNT_DETACH takes it off now and lets it vanish when unused"),
     None),
    (_on("pivot_root", errno.EINVAL),
     Words("new_root 必须是挂载点（先把它绑定挂载到自己身上），而且所在的挂载不能是 shared",
           "new_root must be a mount point (bind it onto itself first) and must not be a shared mount"),
     None),
    (_on("pivot_root", errno.EBUSY),
     Words("new_root 或 put_old 就在当前的根挂载上", "new_root or put_old is on the current root mount"),
     None),
    # --- Devices, terminals, programs, directories -----------------------------------------------
    (_on("sendto", errno.EOPNOTSUPP),
     Words("内核没有 {0.subject} 这种设备", "this kernel has no devices of kind {0.subject}"),
     Words("在宿主机上以 root 执行 modprobe {0.subject}，没有这个模块就要换内核",
           "as root on the host: modprobe {0.subject} (no such module: another kernel)")),
    (_on("ioctl", errno.EPERM, "TIOCSCTTY"),
     Words("这个终端已经是别的会话的控制终端",
           "this terminal controls another session already"),
     Words("tty=True 要一个没人用的，不给描述符就会新建一个",
           "tty=True needs one that is free; without a descriptor a new one is made")),
    (_on("ioctl", errno.ENOTTY, "TIOCSCTTY"),
     Words("标准输入不是终端", "standard input is no terminal"),
     Words("tty=True 时，给的描述符要是终端；不给就会新建一个",
           "with tty=True a descriptor given must be one; without, one is made")),
    (_on("", errno.E2BIG),
     Words("参数和环境变量太长，一个最多 128 KiB，合起来最多是栈上限的四分之一",
           "arguments and environment are too long, 128 KiB for one, a quarter of the stack limit for all"),
     Words("请改用文件或标准输入", "use a file or standard input")),
    (_on("chdir", errno.ENOENT),
     Words("容器里没有这个工作目录", "the container has no such working directory"),
     Words("先建好它，或者改 cwd", "make it first, or change cwd")),
    (_on("chdir", errno.EACCES),
     Words("容器里的用户进不了这个工作目录，它在外面是谁，就按谁的权限算",
           "the container's user may not enter this working directory, and who it is outside decides"),
     Words("请改 cwd", "change cwd")),
    # --- Who one is: maps, IDs, capabilities, filters --------------------------------------------
    (_on("ioctl", errno.EPERM, "NS_GET_"),
     Words("它在我们看得见的范围之外；或者这已是最初的那一个，再往上没有了",
           "it is outside of what we may see; or this is the first one, with nothing above it"),
     None),
    (_on("ioctl", errno.EINVAL, "NS_GET_"),
     Words("只有 user 和 pid 两种有父命名空间，只有 user 有主人的用户号",
           "only user and pid namespaces have a parent, and only user ones an owner's user ID"),
     None),
    (_on("write", errno.EPERM),
     Words("映射不许这样写：没有特权的人只能映射自己的那一个号，写 gid_map 之前还要先在 setgroups 里写 deny；而且只能写一次",
           'the kernel does not accept this map: without privileges a process may map only its own ID, must write "deny" to setgroups before gid_map, and may write each map only once'),
     None),
    (_on("write", errno.EINVAL),
     Words("内核看不懂：映射的行不合规矩（重叠、为零，或外面的号在这里没有），或者值超出范围",
           "the kernel cannot read it: lines of a map overlap, are of length 0 or name IDs that do not exist here, or a value is out of range"),
     None),
    (_on("write", errno.ERANGE),
     Words("时钟的偏移太大：不能让它倒退到零以前，也不能超出范围",
           "the offset is too large: a clock may not go back before zero, nor beyond its range"),
     None),
    (_on("openat", errno.EACCES, '_map"'),
     Words("这个进程的 /proc 归 root：换过用户号、又没有 execve 的进程是这样（PR_SET_DUMPABLE）",
           "the process's /proc is root's, as after a change of user ID without an execve (PR_SET_DUMPABLE)"),
     None),
    (_on("setresuid|setresgid", errno.EINVAL),
     Words("这个用户命名空间的映射里没有这个号", "the maps of this user namespace do not have that ID"),
     None),
    (_on("capset", errno.EPERM),
     Words("留不住本来就没有的权能", "what one does not have one cannot keep"),
     Words("看 labkit doctor 里这台机器缺哪一项", "labkit doctor tells which capabilities are missing here")),
    (_on("prctl(PR_CAPBSET_DROP", errno.EPERM),
     Words("缩小权能上限集要有 CAP_SETPCAP", "dropping from the bounding set needs CAP_SETPCAP"),
     Words("请用 root，或者加上 rootless=True", "be root, or add rootless=True")),
    (_on("prlimit64", errno.EPERM),
     Words("硬限只有带着 CAP_SYS_RESOURCE 才能提高，nofile 也不能高过 fs.nr_open",
           "only CAP_SYS_RESOURCE may raise a hard limit, and nofile not beyond fs.nr_open"),
     Words("把限度写低一些", "ask for a lower limit")),
    (_on("write", errno.EACCES, "/proc/sys"),
     Words("这里的 /proc/sys 不许写", "this /proc/sys cannot be written"),
     None),
    (_on("seccomp", errno.EACCES),
     Words("装过滤器要么有 CAP_SYS_ADMIN，要么先保证不再得到特权",
           "a filter takes CAP_SYS_ADMIN, or the promise of no new privileges"),
     Words("加上 no_new_privs=True", "add no_new_privs=True")),
    # --- What the environment lacks or limits ----------------------------------------------------
    (_on("readlink", errno.ENOENT, '"/proc/self"'),
     Words("这里没有本进程的 /proc，没有挂载，或者它属于别的 PID 命名空间",
           "this /proc does not show this process, it is not mounted, or belongs to another PID namespace"),
     Words("请执行 mount -t proc proc /proc，或用 unshare --mount-proc 开始",
           "run mount -t proc proc /proc, or begin with unshare --mount-proc")),
    (_on("open", errno.ENOENT, '"/proc/'),
     Words("这里没有这个 /proc 文件，/proc 没有挂载、属于别的 PID 命名空间，或者内核没有这项功能",
           "this file of /proc is not here, /proc is not mounted, belongs to another PID namespace, or the kernel lacks the feature"),
     Words("请执行 mount -t proc proc /proc", "try mount -t proc proc /proc")),
    (_on("open", errno.ENOENT, '"/dev/null"'),
     Words("/dev/null 不见了", "/dev/null is gone"),
     Words("以 root 执行 mknod -m 666 /dev/null c 1 3", "as root, mknod -m 666 /dev/null c 1 3")),
    (_on("", errno.ENOSYS),
     Words("内核没有这个调用，或者 seccomp 把它挡住了", "the kernel lacks this call, or seccomp blocks it"),
     _in_docker("seccomp=unconfined")),
    (_on("", errno.EMFILE),
     Words("打开的文件太多，到了 RLIMIT_NOFILE 的上限", "too many files are open, RLIMIT_NOFILE is reached"),
     Words("请调高（ulimit -n 1024），或结束一些容器", "raise it (ulimit -n 1024), or end some containers")),
    (_on("", errno.ENFILE),
     Words("整台机器打开的文件太多", "too many files are open on the whole machine"),
     Words("看 /proc/sys/fs/file-max", "see /proc/sys/fs/file-max")),
    (_on("", errno.EAGAIN),
     Words("进程或线程太多，到了 RLIMIT_NPROC（ulimit -u）或控制组 pids.max 的上限",
           "too many processes or threads, RLIMIT_NPROC (ulimit -u) or a cgroup's pids.max is reached"),
     Words("结束一些进程，或把这个上限调高", "end some, or raise that limit")),
    (_on("", errno.ENOMEM),
     Words("内存不足，到了 RLIMIT_AS（ulimit -v）、RLIMIT_MEMLOCK（ulimit -l）或控制组 memory.max 的上限，或者机器的内存用完了",
           "out of memory, RLIMIT_AS (ulimit -v), RLIMIT_MEMLOCK (ulimit -l) or a cgroup's memory.max is reached, or the machine has no more"),
     None),
    (_on("", errno.EFBIG),
     Words("文件超过了 RLIMIT_FSIZE 的上限", "a file would be larger than RLIMIT_FSIZE allows"),
     Words("请调高（ulimit -f unlimited）", "raise it (ulimit -f unlimited)")),
    (_on("", errno.ENOSPC),
     Words("没有空间了，磁盘满了，或者到了配额", "no space is left, the disk is full, or a quota is reached"),
     None),
    (lambda r: r.number == errno.EROFS and any(map(r.call.__contains__, _OF_PROC)),
     Words("/proc 是只读挂载的", "/proc is mounted read-only"),
     Words("以 root 执行 mount -o remount,bind,rw /proc；若在 Docker 里，加 --privileged",
           "as root, mount -o remount,bind,rw /proc; inside Docker, add --privileged")),
    (_on("", errno.EROFS), Words("这个文件系统是只读的", "this file system is read-only"), None),
    (_on("sendto(NETLINK_ROUTE", errno.EPERM),
     Words("造网络接口要有 CAP_NET_ADMIN", "to make links of a network takes CAP_NET_ADMIN"),
     Words('请用 root；没有它，network="none"（rootless 的容器也行）和 "host" 仍然可用；'
           '装了 slirp4netns，rootless 的容器也能上网',
           'be root; without it network="none" still works, rootless too, and so does "host"; with '
           'slirp4netns installed, a rootless container has a network')),
    (_on("setxattr(", errno.EOPNOTSUPP),
     Words("这个文件系统没有这种扩展属性（tmpfs 要 Linux 6.6），overlay 靠它遮住下面的层",
           "this file system has no such attribute (tmpfs since Linux 6.6), by which overlay hides the layers below"),
     Words("把镜像放到磁盘上，如 LABKIT_STATE=/var/tmp/labkit", "keep the images on a disk, as with LABKIT_STATE=/var/tmp/labkit")),
    (_on('open("/dev/net/tun")', errno.ENOENT),
     Words("没有 /dev/net/tun，slirp4netns 靠这个设备给容器造网络接口",
           "there is no /dev/net/tun, the device by which slirp4netns makes the container's link"),
     Words("若在 Docker 里，加 --device /dev/net/tun；否则以 root 执行 modprobe tun；没有它就写 --network none",
           "inside Docker, add --device /dev/net/tun; else, as root, modprobe tun; or use --network none")),
    (_on('open("/dev/net/tun")', errno.ENODEV),
     Words("内核没有 tun，slirp4netns 靠它给容器造网络接口",
           "this kernel has no tun, by which slirp4netns makes the container's link"),
     Words("以 root 执行 modprobe tun；没有它就写 --network none",
           "as root, modprobe tun; else use --network none")),
    (lambda r: r.forbidden and r.call == 'open("/dev/net/tun")',
     Words("不许用 /dev/net/tun，slirp4netns 靠这个设备给容器造网络接口",
           "/dev/net/tun may not be used, the device by which slirp4netns makes the container's link"),
     Words("若在 Docker 里，加 --device /dev/net/tun；否则以 root 执行 chmod 666 /dev/net/tun；不行就写 --network none",
           "inside Docker, add --device /dev/net/tun; else, as root, chmod 666 /dev/net/tun; or use --network none")),
    (_on('execve("nft")', errno.ENOENT),
     Words("没有 nft 程序，容器之间能通，但出不去，也不能发布端口",
           "there is no program nft: containers reach one another, but nothing beyond their bridge, "
           "and no port can be published"),
     Words("请装 nftables", "install nftables")),
    (_on("nft ", errno.EOPNOTSUPP),
     Words("内核没有 nftables，容器之间能通，但出不去，也不能发布端口",
           "this kernel has no nftables: containers reach one another, but nothing beyond their bridge, "
           "and no port can be published"),
     Words("在宿主机上以 root 执行 modprobe nf_tables", "as root on the host: modprobe nf_tables")),
    (_on("bind(", errno.EADDRINUSE),
     Words("本机的这个端口已经有程序在用", "another program has this port of this machine"),
     Words("换一个端口；ss -tulnp 会说是谁在用", "publish another; ss -tulnp says who has it")),
    (_on("bind(", errno.EADDRNOTAVAIL),
     Words("本机没有这个地址", "this machine does not have that address"),
     Words("见 ip addr；不写地址，就是本机所有的地址", "see ip addr; without an address it is all of them")),
    (_on("bind(", errno.EACCES),
     Words("1024 以下的端口只有 root 能占", "a port below 1024 is for root alone"),
     Words("换一个端口，或者用 root", "publish another, or be root")),
    # --- Any other "no" --------------------------------------------------------------------------
    (lambda r: r.number == errno.EPERM,
     Words("权限不够", "not permitted"),
     Words("请用 root；若在 Docker 里，请加 --privileged 启动",
           "be root; inside Docker, start it with --privileged")),
)
# fmt: on


def reason(refused: Refusal) -> Reason | None:
    """The reason for a refusal, as far as its circumstances are known; None: we know none."""
    for applies, why, fix in _REASONS:
        if applies(refused):
            return Reason(why.filled(refused), fix and fix.filled(refused))
    return None


def diagnose(refused: Refusal) -> Reason:
    """The reason for a refusal, with something to do about it in any case."""
    said = f"{errno_name(refused.number)} ({os.strerror(refused.number)})"
    answered = Reason(Words(f"内核答 {said}", f"the kernel answered {said}"))
    found = reason(refused) or answered
    return Reason(found.why, found.fix or _MANUAL)


def refusal(call: str, number: int) -> OSError:
    """The error for a refused `call`: its class by errno, its text the call, its notes the reason.

    >>> refusal("unshare(CLONE_NEWUTS)", errno.EPERM)
    PermissionError(1, 'unshare(CLONE_NEWUTS): Operation not permitted')
    """
    error = OSError(number, ": ".join(filter(None, (call, os.strerror(number)))))
    vars(error)["call"] = call
    known = reason(Refusal(call, number))
    add_words(error, *([known.words] if known else []))
    return error


def call_of(error: BaseException) -> str:
    """The call that was refused, as strace(1) writes it; "" where the error does not know it."""
    return str(vars(error).get("call", ""))


def errno_name(number: int) -> str:
    """The name of an errno, or the number where it has none; of two names the kernel's own.

    >>> errno_name(95)
    'EOPNOTSUPP'
    """
    # To Python 95 is ENOTSUP, which is POSIX's name and not in Linux's errno.h.
    return {errno.EOPNOTSUPP: "EOPNOTSUPP"}.get(number) or errno.errorcode.get(number, str(number))


class Asked:
    """``with Asked("socketpair(...)")``: what Python is refused within is the refusal of that call.

    Python's own functions do not say which call the kernel refused; at best they name the file.
    Then the call was open(2) of that file, unless it is what was asked for.
    """

    def __init__(self, call: str) -> None:
        self.call = call

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        if not isinstance(error, OSError) or call_of(error):
            return
        file = file_of(error)
        if not file or self.call in (f'mkdir("{file}")', f'stat("{file}")'):
            raise refusal(self.call, error.errno or 0) from None
        _name(error)


def explain(error: OSError) -> None:
    """Add what we know about an error that Python itself raised, unless it says so already."""
    if file_of(error):
        _name(error)
    if not getattr(error, "__notes__", None):
        call = call_of(error)
        known = reason(Refusal(call, error.errno or 0))
        add_words(error, *([known.words] if known else []))


def _name(error: OSError) -> None:
    """Python has named the file and not the call, which is open(2) nearly always."""
    vars(error).setdefault("call", f'open("{file_of(error)}")')


def file_of(error: OSError) -> str:
    """The file that Python names in an error, which it may know by its descriptor; "" if none."""
    name: object = error.filename
    if isinstance(name, int):
        return f"/proc/self/fd/{name}"
    return os.fsdecode(name) if isinstance(name, str | bytes) else ""


def begin(thread: "Thread") -> None:
    """Start a thread. Python has an error of its own for one that the kernel refuses."""
    try:
        thread.start()
    except RuntimeError:
        raise refusal("clone(CLONE_THREAD)", errno.EAGAIN) from None
