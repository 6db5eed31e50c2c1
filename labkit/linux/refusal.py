"""What a refusal means and what to do about it, in Chinese and English or in one of them.

The kernel answers a refused call with a number. :func:`refusal` turns it into the ``OSError`` that
Python gives for that number (``PermissionError`` for EPERM, ...), whose text is the call itself,
and adds the reason as notes, which tracebacks and notebooks show below the error.
"""

import errno
import os

from labkit.linux import proc
from labkit.text.words import chosen

# Names of calls, part of their arguments, errno; 中文; English. The first entry that fits is used.
# fmt: off
_HINTS: tuple[tuple[str, str, int, str, str], ...] = (
    ("clone(CLONE_THREAD", "", errno.EAGAIN,
     "起不了新线程：到了 RLIMIT_NPROC（ulimit -u）、RLIMIT_AS（ulimit -v）、RLIMIT_DATA（ulimit -d）或控制组的上限。",
     "No more threads: RLIMIT_NPROC (ulimit -u), RLIMIT_AS (ulimit -v), RLIMIT_DATA (ulimit -d) or a cgroup's limit is reached."),
    ("clone|unshare", "CLONE_NEWUSER", errno.EPERM,
     "这台机器不许普通用户建用户命名空间（sysctl、AppArmor 或 seccomp 禁止）；请用 root，或运行 labkit doctor。",
     "This machine forbids user namespaces to you (a sysctl, AppArmor or seccomp): use root, or run labkit doctor."),
    ("clone|unshare", "CLONE_NEW", errno.EPERM,
     "新建命名空间要有 CAP_SYS_ADMIN：请用 root，或一并新建用户命名空间（rootless=True）；若在 Docker 里，请加 --privileged 启动。",
     "A new namespace needs CAP_SYS_ADMIN: be root, or make a user namespace too (rootless=True); inside Docker, start it with --privileged."),
    ("clone|unshare", "", errno.ENOSPC,
     "命名空间太多或嵌套太深：看 /proc/sys/user/max_*_namespaces（PID 与用户命名空间最多嵌套 32 层）。",
     "Too many namespaces, or nested too deep: see /proc/sys/user/max_*_namespaces (PID and user namespaces nest at most 32 deep)."),
    ("clone", "", errno.EAGAIN,
     "进程太多：到了 RLIMIT_NPROC（ulimit -u）或控制组 pids.max 的上限。",
     "Too many processes: RLIMIT_NPROC (ulimit -u) or a cgroup's pids.max is reached."),
    ("clone", "", errno.ENOMEM,
     "内存不足，或者这个 PID 命名空间的 1 号进程已经退出：它一死，里面再也生不出新进程。",
     "Out of memory, or PID 1 of this PID namespace is gone: once it is dead, nothing can be born in there."),
    ("clone", "", errno.ENOSYS,
     "内核没有这个调用，或者 Docker 的 seccomp 配置把它挡住了（它对 clone3 总答 ENOSYS）。",
     "The kernel lacks this call, or Docker's seccomp profile blocks it (it answers ENOSYS to clone3)."),
    ("unshare", "CLONE_NEWUSER", errno.EINVAL,
     "多线程的进程不能搬进新的用户命名空间：请在 %%child 里做。",
     "A process with several threads cannot move to a new user namespace: do it in %%child."),
    ("setns", "", errno.EPERM,
     "进入别人的命名空间要有 CAP_SYS_ADMIN（在那个命名空间的属主用户命名空间里也要有）。",
     "Entering a namespace needs CAP_SYS_ADMIN, in the user namespace that owns it too."),
    ("setns", "", errno.EINVAL,
     "这个描述符不是该种命名空间，或者你已在其中（用户命名空间），或者进程有多个线程。",
     "The descriptor is not such a namespace, or you are in it already (user namespaces), or the process has several threads."),
    ("setns", "", errno.ESRCH,
     "那个进程已经结束，它的命名空间没有了：宁可报错，也不在宿主机上执行。",
     "That process has ended and its namespaces with it: better an error than to run on the host."),
    ("pidfd_open", "", errno.ESRCH,
     "没有这个进程：它已经结束，或者 PID 写错了。",
     "No such process: it has ended, or the PID is wrong."),
    ("sethostname", "", errno.EPERM,
     "改主机名要有 CAP_SYS_ADMIN，而且是在拥有这个 UTS 命名空间的用户命名空间里。",
     "Setting the host name needs CAP_SYS_ADMIN in the user namespace that owns this UTS namespace."),
    ("mount", "", errno.EPERM,
     "挂载要有 CAP_SYS_ADMIN，而且是在拥有这个挂载命名空间的用户命名空间里。",
     "Mounting needs CAP_SYS_ADMIN in the user namespace that owns this mount namespace."),
    ("mount", "", errno.EACCES,
     "AppArmor 或 SELinux 不许挂载（Docker 的默认配置就是这样）：用 --privileged 或 --security-opt apparmor=unconfined。",
     "AppArmor or SELinux forbids the mount (Docker's default profile does): use --privileged or --security-opt apparmor=unconfined."),
    ("mount", "", errno.ENODEV,
     "内核不认识这种文件系统：看 /proc/filesystems。",
     "The kernel does not know this file system: see /proc/filesystems."),
    ("mount", "", errno.EINVAL,
     "参数不合：没有这个选项，或者要改传播方式的目录不是挂载点。",
     "An argument does not fit: an unknown option, or propagation changed on what is no mount point."),
    ("umount2", "", errno.EINVAL,
     "那里不是挂载点，或者它从更高的命名空间继承而来，被锁住了。",
     "That is no mount point, or it is locked: inherited from a more privileged namespace."),
    ("umount2", "", errno.EBUSY,
     "还有进程在用它；MNT_DETACH 可以先摘下，等没人用了再消失。",
     "Somebody still uses it; MNT_DETACH takes it off now and lets it vanish when unused."),
    ("pivot_root", "", errno.EINVAL,
     "new_root 必须是挂载点（先把它绑定挂载到自己身上），而且所在的挂载不能是 shared。",
     "new_root must be a mount point (bind it onto itself first) and must not be a shared mount."),
    ("pivot_root", "", errno.EBUSY,
     "new_root 或 put_old 就在当前的根挂载上。",
     "new_root or put_old is on the current root mount."),
    ("ioctl", "TIOCSCTTY", errno.EPERM,
     "这个终端已经是别的会话的控制终端：tty=True 要一个没人用的，不给描述符就会新建一个。",
     "This terminal controls another session already: tty=True needs one that is free; without a descriptor a new one is made."),
    ("ioctl", "TIOCSCTTY", errno.ENOTTY,
     "标准输入不是终端：tty=True 时，给的描述符要是终端；不给就会新建一个。",
     "Standard input is no terminal: with tty=True a descriptor given must be one; without, one is made."),
    ("", "", errno.E2BIG,
     "参数和环境变量太长：一个最多 128 KiB，合起来最多是栈上限的四分之一；请改用文件或标准输入。",
     "Arguments and environment are too long: 128 KiB for one, a quarter of the stack limit for all; use a file or standard input."),
    ("ioctl", "NS_GET_", errno.EPERM,
     "它在我们看得见的范围之外；或者这已是最初的那一个，再往上没有了。",
     "It is outside of what we may see; or this is the first one, with nothing above it."),
    ("ioctl", "NS_GET_", errno.EINVAL,
     "只有 user 和 pid 两种有父命名空间，只有 user 有主人的用户号。",
     "Only user and pid namespaces have a parent, and only user ones an owner's user ID."),
    ("write", "", errno.EPERM,
     "映射不许这样写：没有特权的人只能映射自己的那一个号，写 gid_map 之前还要先在 setgroups 里写 deny；而且只能写一次。",
     "The map may not be written so: without privileges only one's own ID, and gid_map only after \"deny\" in setgroups; and only once."),
    ("write", "", errno.EINVAL,
     "内核看不懂：映射的行不合规矩（重叠、为零，或外面的号在这里没有），或者值超出范围。",
     "The kernel cannot read it: lines of a map overlap, are of length 0 or name IDs that do not exist here, or a value is out of range."),
    ("write", "", errno.ERANGE,
     "时钟的偏移太大：不能让它倒退到零以前，也不能超出范围。",
     "The offset is too large: a clock may not go back before zero, nor beyond its range."),
    ("openat", '_map"', errno.EACCES,
     "这个进程的 /proc 归 root：换过用户号、又没有 execve 的进程是这样（PR_SET_DUMPABLE）。",
     "The process's /proc is root's, as after a change of user ID without an execve (PR_SET_DUMPABLE)."),
    ("setresuid|setresgid", "", errno.EINVAL,
     "这个用户命名空间的映射里没有这个号。",
     "The maps of this user namespace do not have that ID."),
    ("capset", "", errno.EPERM,
     "留不住本来就没有的权能：看 labkit doctor 里这台机器缺哪一项。",
     "What one does not have one cannot keep: labkit doctor tells which capabilities are missing here."),
    ("prctl(PR_CAPBSET_DROP", "", errno.EPERM,
     "缩小权能上限集要有 CAP_SETPCAP：请用 root，或者加上 rootless=True。",
     "Dropping from the bounding set needs CAP_SETPCAP: be root, or add rootless=True."),
    ("seccomp", "", errno.EACCES,
     "装过滤器要么有 CAP_SYS_ADMIN，要么先保证不再得到特权：加上 no_new_privs=True。",
     "A filter takes CAP_SYS_ADMIN, or the promise of no new privileges: add no_new_privs=True."),
    ("chdir", "", errno.ENOENT,
     "容器里没有这个工作目录：先建好它，或者改 cwd。",
     "The container has no such working directory: make it first, or change cwd."),
    ("chdir", "", errno.EACCES,
     "容器里的用户进不了这个工作目录：它在外面是谁，就按谁的权限算；请改 cwd。",
     "The container's user may not enter this working directory: who it is outside decides; change cwd."),
    ("readlink", '"/proc/self"', errno.ENOENT,
     "这里没有本进程的 /proc：没有挂载，或者它属于别的 PID 命名空间；请执行 mount -t proc proc /proc，或用 unshare --mount-proc 开始。",
     "This /proc does not show this process: it is not mounted, or belongs to another PID namespace. Run mount -t proc proc /proc, or begin with unshare --mount-proc."),
    ("open", '"/proc/', errno.ENOENT,
     "这里没有这个 /proc 文件：/proc 没有挂载、属于别的 PID 命名空间，或者内核没有这项功能；请执行 mount -t proc proc /proc。",
     "This file of /proc is not here: /proc is not mounted, belongs to another PID namespace, or the kernel lacks the feature. Try mount -t proc proc /proc."),
    ("open", '"/dev/null"', errno.ENOENT,
     "/dev/null 不见了：以 root 执行 mknod -m 666 /dev/null c 1 3。",
     "/dev/null is gone: as root, mknod -m 666 /dev/null c 1 3."),
    ("", "", errno.ENOSYS,
     "内核没有这个调用，或者 seccomp 把它挡住了；若在 Docker 里，用 --privileged 或 --security-opt seccomp=unconfined。",
     "The kernel lacks this call, or seccomp blocks it; inside Docker, use --privileged or --security-opt seccomp=unconfined."),
    ("", "", errno.EMFILE,
     "打开的文件太多：到了 RLIMIT_NOFILE 的上限，请调高（ulimit -n 1024），或结束一些容器。",
     "Too many files are open: RLIMIT_NOFILE is reached. Raise it (ulimit -n 1024), or end some containers."),
    ("", "", errno.ENFILE,
     "整台机器打开的文件太多：看 /proc/sys/fs/file-max。",
     "Too many files are open on the whole machine: see /proc/sys/fs/file-max."),
    ("", "", errno.EAGAIN,
     "进程或线程太多：到了 RLIMIT_NPROC（ulimit -u）或控制组 pids.max 的上限。",
     "Too many processes or threads: RLIMIT_NPROC (ulimit -u) or a cgroup's pids.max is reached."),
    ("", "", errno.ENOMEM,
     "内存不足：到了 RLIMIT_AS（ulimit -v）、RLIMIT_MEMLOCK（ulimit -l）或控制组 memory.max 的上限，或者机器的内存用完了。",
     "Out of memory: RLIMIT_AS (ulimit -v), RLIMIT_MEMLOCK (ulimit -l) or a cgroup's memory.max is reached, or the machine has no more."),
    ("", "", errno.EFBIG,
     "文件超过了 RLIMIT_FSIZE 的上限：请调高（ulimit -f unlimited）。",
     "A file would be larger than RLIMIT_FSIZE allows: raise it (ulimit -f unlimited)."),
    ("", "", errno.ENOSPC,
     "没有空间了：磁盘满了，或者到了配额。",
     "No space is left: the disk is full, or a quota is reached."),
    ("openat", '"/proc/', errno.EROFS,
     "/proc 是只读挂载的：以 root 执行 mount -o remount,bind,rw /proc；若在 Docker 里，加 --privileged。",
     "/proc is mounted read-only: as root, mount -o remount,bind,rw /proc; inside Docker, add --privileged."),
    ("", "", errno.EROFS,
     "这个文件系统是只读的。",
     "This file system is read-only."),
)
# fmt: on


def hints(call: str, number: int) -> tuple[str, str] | None:
    """The reason for errno `number` of `call` in Chinese and English, or None: we know none."""
    if number == errno.EPERM and call.startswith('mount("proc"') and (found := too_revealing()):
        (why, reason), (fix, remedy) = found
        return f"{why}：{fix}。", f"{reason[0].upper()}{reason[1:]}: {remedy}."
    for names, argument, expected, chinese, english in _HINTS:
        if number == expected and call.startswith((*names.split("|"),)) and argument in call:
            return chinese, english
    if number == errno.EPERM:
        return (
            "权限不够：请用 root；若在 Docker 里，请加 --privileged 启动。",
            "Not permitted: be root; inside Docker, start it with --privileged.",
        )
    return None


# What Docker and Podman make read-only in every container that is not privileged.
_MASKED = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys")
# Why no whole /proc is to be seen: 中文; English; what to do: 中文; English.
# fmt: off
_NO_PROC = (
    "这里看不到完整的 /proc，内核便不许再挂一个",
    "no whole /proc is to be seen here, so the kernel lets no other be mounted",
    "以 root 执行 mount -t proc proc /proc", "as root, mount -t proc proc /proc")
_OUTER = (
    "外层容器遮住了 /proc 的一部分（{shown}），内核不许再挂完整的",
    "an outer container masks parts of /proc ({shown}), so the kernel refuses a whole new one",
    "若在 Docker 里，加 --privileged 或 --security-opt systempaths=unconfined",
    "inside Docker, add --privileged or --security-opt systempaths=unconfined")
_READ_ONLY = (
    "/proc 是只读挂载的，内核不许再挂可写的",
    "/proc is mounted read-only, so the kernel refuses a writable one",
    "以 root 执行 mount -o remount,bind,rw /proc", "as root, mount -o remount,bind,rw /proc")
_COVERED = (
    "/proc 的一部分被别的挂载盖住了（{shown}），内核不许再挂完整的",
    "other mounts cover parts of /proc ({shown}), so the kernel refuses a whole new one",
    "以 root 执行 umount {names}", "as root, umount {names}")
# fmt: on


def too_revealing() -> tuple[tuple[str, str], tuple[str, str]] | None:
    """Why a user namespace may mount no /proc, and what to do, in both languages; None: it may."""
    try:
        over = proc.covers()
    except OSError:  # no /proc, so nothing is known of the mounts
        return None
    if over is None:
        return None
    texts = _READ_ONLY if over[-1:] == ["/proc"] else _COVERED if over else _NO_PROC
    names = " ".join(over[:3])
    shown = names + " ..." * (len(over) > 3)
    filled = [
        text.format(shown=shown, names=names)
        for text in (_OUTER if {*_MASKED} <= {*over} else texts)
    ]
    why = f"{filled[0]}（VFS: Mount too revealing）", f"{filled[1]} (VFS: Mount too revealing)"
    return why, (filled[2], filled[3])


def refusal(call: str, number: int) -> OSError:
    """The error for a refused `call`: its class by errno, its text the call, its notes the reason.

    >>> refusal("unshare(CLONE_NEWUTS)", errno.EPERM)
    PermissionError(1, 'unshare(CLONE_NEWUTS): Operation not permitted')
    """
    error = OSError(number, f"{call}: {os.strerror(number)}")
    known = hints(call, number)
    for note in chosen(*known) if known else ():
        error.add_note(note)
    return error


class Asked:
    """``with Asked("socketpair")``: what Python refuses within is the refusal of that call."""

    def __init__(self, call: str) -> None:
        self.call = call

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        if isinstance(error, OSError) and not error.filename:
            raise refusal(self.call, error.errno or 0) from None


def explain(error: OSError) -> None:
    """Add what we know about an error that Python itself raised, unless it says already."""
    if not getattr(error, "__notes__", None):
        call = f'open("{error.filename}")' if error.filename else ""
        known = hints(call, error.errno or 0)
        for note in chosen(*known) if known else ():
            error.add_note(note)
