"""System calls in words: what a line of a trace asks for, argument by argument.

The names of the arguments are those of the man pages. A call, an argument or a flag that is not
here is shown without words rather than with wrong ones.
"""

import re
from collections.abc import Iterator

from labkit.linux.call import parted
from labkit.linux.capabilities import MEANINGS
from labkit.linux.fields import dataclass
from labkit.linux.namespaces import KINDS
from labkit.text.words import Words

_MAN = "https://man7.org/linux/man-pages/man2/{}.2.html"
_PAGES = {"clone3": "clone", "umount2": "umount"}  # one page for both


@dataclass(frozen=True)
class Argument:
    """One argument of a call: its name in the man page, its text in the trace, what it is for.

    parts: the names in its text, such as flags, each with what it stands for.
    """

    name: str
    text: str
    meaning: Words
    parts: tuple[tuple[str, Words], ...]


@dataclass(frozen=True)
class Explained:
    """A line of a trace. call: without the answer; answer: what the kernel said."""

    name: str
    call: str
    answer: str
    purpose: Words
    arguments: tuple[Argument, ...]
    answered: Words

    @property
    def page(self) -> str:
        """The address of its man page."""
        return _MAN.format(_PAGES.get(self.name, self.name))


def explain(line: str) -> Explained:
    """A line such as ``sethostname("box", 3) = 0`` in words."""
    call, answer = parted(line)
    name, _, rest = call.partition("(")
    texts = split(rest.removesuffix(")"))
    arguments = tuple(_arguments(name, texts))
    return Explained(name, call, answer, _purpose(name, texts), arguments, _answered(name, answer))


def split(text: str) -> list[str]:
    """The arguments of a call, as strace prints them, apart."""
    parts, depth, start = [], 0, 0
    for token in re.finditer(r'"(?:\\.|[^"\\])*"|/\*.*?\*/|[\[{]|[\]}]|, ', text):
        if token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
        elif token[0] == ", " and not depth:
            parts.append(text[start : token.start()])
            start = token.end()
    return [*parts, text[start:]] if text else []


# Call: what it does; its arguments in order.
# fmt: off
_CALLS: dict[str, tuple[Words, tuple[str, ...]]] = {
    "clone3": (
        Words("生一个子进程，让它一落地就在新的命名空间里", "make a child in new namespaces"),
        ("cl_args", "size"),
    ),
    "setsid": (Words("另起一个会话，由自己领头", "start a new session and lead it"), ()),
    "ioctl": (
        Words("对描述符背后的东西提一个要求", "ask something of what is behind a descriptor"),
        ("fd", "op", "argument"),
    ),
    "dup3": (
        Words("让一个描述符再有一个号码", "have a descriptor under another number too"),
        ("oldfd", "newfd", "flags"),
    ),
    "fchown": (
        Words("给打开的文件换主人", "give an open file another owner"),
        ("fd", "owner", "group"),
    ),
    "sendmsg": (
        Words("把一个描述符送给套接字另一头的进程", "send a descriptor to the process at the other end of a socket"),
        ("sockfd", "msg", "flags"),
    ),
    "socket": (Words("开一个套接字", "open a socket"), ("domain", "type", "protocol")),
    "clone": (
        Words("生一个子进程，让它一落地就在新的命名空间里", "make a child in new namespaces"),
        ("stack", "flags"),
    ),
    "unshare": (
        Words("自己搬进新的命名空间", "move this process to new namespaces"),
        ("flags",),
    ),
    "setns": (
        Words("走进已有的命名空间", "enter namespaces that exist already"),
        ("fd", "nstype"),
    ),
    "pidfd_open": (
        Words("取得一个进程的描述符", "get a descriptor of a process"),
        ("pid", "flags"),
    ),
    "sethostname": (
        Words("设置主机名", "set the host name"),
        ("name", "len"),
    ),
    "mount": (
        Words("挂载一个文件系统", "mount a file system"),
        ("source", "target", "filesystemtype", "mountflags", "data"),
    ),
    "umount2": (
        Words("卸载一个挂载点", "unmount a file system"),
        ("target", "flags"),
    ),
    "open_tree": (
        Words("打开一个挂载，或它的一份副本", "open a mount, or a copy of one"),
        ("dirfd", "path", "flags"),
    ),
    "move_mount": (
        Words("把一个挂载放到某处", "put a mount in a place"),
        ("from_dirfd", "from_path", "to_dirfd", "to_path", "flags"),
    ),
    "fsopen": (Words("着手造一个文件系统", "begin to make a file system"), ("fsname", "flags")),
    "fsconfig": (
        Words("给这个文件系统一个选项", "give the file system an option"),
        ("fd", "cmd", "key", "value", "aux"),
    ),
    "fsmount": (
        Words("为它做一个挂载，还不在任何地方", "make a mount of it, which is nowhere yet"),
        ("fd", "flags", "attr_flags"),
    ),
    "mount_setattr": (
        Words("改一个挂载的属性", "change attributes of a mount"),
        ("dirfd", "path", "flags", "attr", "size"),
    ),
    "fchdir": (Words("换到一个已打开的目录", "change to a directory that is open"), ("fd",)),
    "mkdirat": (Words("建一个目录", "make a directory"), ("dirfd", "path", "mode")),
    "mknodat": (
        Words("建一个设备文件", "make a device file"),
        ("dirfd", "path", "mode", "dev"),
    ),
    "symlinkat": (Words("建一个符号链接", "make a symbolic link"), ("target", "newdirfd", "linkpath")),
    "unlinkat": (Words("删掉一个名字", "remove a name"), ("dirfd", "path", "flags")),
    "umask": (
        Words("定下新文件不给哪些权限", "set which permissions new files do not get"),
        ("mask",),
    ),
    "pivot_root": (
        Words("换一个根目录，把旧的挪到别处", "change the root and put the old one elsewhere"),
        ("new_root", "put_old"),
    ),
    "chroot": (
        Words("只改变 `/` 指的是哪里", "change only what `/` means"),
        ("path",),
    ),
    "chdir": (
        Words("换工作目录", "change the working directory"),
        ("path",),
    ),
    "openat": (Words("打开一个文件", "open a file"), ("dirfd", "path", "flags")),
    "openat2": (
        Words("打开一个文件，路径只许按规定走", "open a file, its path walked only as allowed"),
        ("dirfd", "path", "how", "size"),
    ),
    "write": (Words("把内容写进去", "write to it"), ("fd", "buf", "count")),
    "close": (Words("关上它", "close it"), ("fd",)),
    "setuid": (Words("换用户号", "change the user ID"), ("uid",)),
    "setgid": (Words("换组号", "change the group ID"), ("gid",)),
    "setgroups": (Words("换附加组", "change the supplementary groups"), ("size", "list")),
    "capget": (Words("查自己有哪些权能", "look up the process's own capabilities"), ("hdrp", "datap")),
    "capset": (
        Words("定下哪些权能生效、获准、可遗传", "set which capabilities are effective, permitted, inheritable"),
        ("hdrp", "datap"),
    ),
    "prctl": (
        Words("改变进程自己的一项属性", "change a property of the process itself"),
        ("op", "arg2", "arg3", "arg4", "arg5"),
    ),
    "prlimit64": (
        Words(
            "限制一个进程能用多少某种资源：软限管用，硬限是软限能提到多高",
            "limit what a process may use of a resource: the soft limit counts, the hard one is how "
            "far the process may raise it",
        ),
        ("pid", "resource", "new_limit", "old_limit"),
    ),
    "setresuid": (
        Words(
            "换一个用户号：实际的、有效的和保存的",
            "become another user: real, effective and saved ID",
        ),
        ("ruid", "euid", "suid"),
    ),
    "setresgid": (
        Words(
            "换一个组号：实际的、有效的和保存的",
            "become another group: real, effective and saved ID",
        ),
        ("rgid", "egid", "sgid"),
    ),
    "seccomp": (
        Words(
            "装上过滤器：此后每个系统调用先过它这一关",
            "load a filter, which judges every call from now on",
        ),
        ("operation", "flags", "args"),
    ),
    "execve": (
        Words(
            "换成要运行的程序：进程还是这个进程，命名空间也不变",
            "become the program: it is still the same process, in the same namespaces",
        ),
        ("pathname", "argv", "envp"),
    ),
}

# fmt: on
# For a call whose arguments match this pattern the purpose is a more exact one. The first that
# matches counts.
_PURPOSES = (
    (
        "ioctl",
        "TIOCSCTTY",
        Words("让这个终端成为会话的控制终端", "make this the session's controlling terminal"),
    ),
    (
        "ioctl",
        "TIOCSPTLCK",
        Words("给新的伪终端开锁", "unlock a new pseudo-terminal"),
    ),
    (
        "ioctl",
        "TIOCGPTPEER",
        Words("打开它的另一头，程序用的那一头", "open its other end, which is the program's"),
    ),
    (
        "ioctl",
        "SIOCSIFFLAGS",
        Words("打开这个网络设备", "bring this network device up"),
    ),
    (
        "ioctl",
        "NS_GET_USERNS",
        Words(
            "问这个命名空间归哪个用户命名空间所有", "ask which user namespace owns this namespace"
        ),
    ),
    (
        "ioctl",
        "NS_GET_PARENT",
        Words("问这个命名空间的父命名空间", "ask for the parent of this namespace"),
    ),
    (
        "ioctl",
        "NS_GET_NSTYPE",
        Words("问这个命名空间是哪一种", "ask of which kind this namespace is"),
    ),
    (
        "ioctl",
        "NS_GET_OWNER_UID",
        Words("问这个用户命名空间是谁造的", "ask who made this user namespace"),
    ),
    (
        "mount",
        "/ns/.*MS_BIND",
        Words(
            "把命名空间绑定挂载到文件上：里面没有进程了，它也还在",
            "bind the namespace to a file: it lasts without a process in it",
        ),
    ),
    (
        "mount",
        "MS_PRIVATE",
        Words(
            "什么也不挂，只切断传播：此后这里挂载，外面看不见",
            "mounts nothing: it cuts propagation, so that no mount here appears outside",
        ),
    ),
    (
        "mount",
        "MS_SLAVE",
        Words(
            "什么也不挂：外面的挂载仍会进来，里面的不再出去",
            "mounts nothing: what is mounted outside still appears here, but not the reverse",
        ),
    ),
    (
        "mount",
        "MS_SHARED",
        Words("什么也不挂：让挂载互相传播", "mounts nothing: lets mounts spread both ways"),
    ),
    ("mount", "MS_REMOUNT", Words("不重新挂，只改选项", "changes the options of what is mounted")),
    ("mount", "MS_MOVE", Words("把已有的挂载挪到别处", "moves what is mounted to another place")),
    (
        "mount",
        '^"/dev/null",.*MS_BIND',
        Words("用 /dev/null 遮住这个文件", "mask this file with /dev/null"),
    ),
    (
        "mount",
        '^"/dev/.empty",.*MS_BIND',
        Words("用一个空目录遮住它", "mask it with an empty directory"),
    ),
    (
        "mount",
        "MS_BIND",
        Words(
            "绑定挂载：让已有的目录在另一处也能看到",
            "bind mount: show a directory in another place",
        ),
    ),
    (
        "mount",
        ', "proc", ',
        Words(
            "挂上自己的 `/proc`：显示的是挂载者所在 PID 命名空间的进程",
            "mount its own `/proc`: it shows the PID namespace of the process that mounts it",
        ),
    ),
    *(
        (name, sign, Words("生一个子进程，与自己同住", "make a child, in the same namespaces"))
        for name, sign in (("clone", "flags=SIGCHLD"), ("clone3", r"{flags=(0|CLONE_VM),"))
    ),
    (
        "mknodat",
        "S_IFREG",
        Words("建一个空文件，好把别的文件绑定上去", "make an empty file, to bind another onto it"),
    ),
    (
        "mount",
        ', "sysfs", ',
        Words("挂上 `/sys`：内核的设备和总线", "mount `/sys`: the kernel's devices and buses"),
    ),
    (
        "mount",
        ', "devpts", ',
        Words("挂上自己的 `/dev/pts`：伪终端", "mount its own `/dev/pts`: pseudo-terminals"),
    ),
    (
        "mount",
        ', "mqueue", ',
        Words("挂上 `/dev/mqueue`：POSIX 消息队列", "mount `/dev/mqueue`: POSIX message queues"),
    ),
    (
        "mount",
        ', "tmpfs", MS_RDONLY,',
        Words("用一个空目录遮住它", "mask it with an empty directory"),
    ),
    (
        "mount",
        ', "overlay", ',
        Words(
            "把几层目录叠成一个：下面的只读，改动都写进最上面一层",
            "merge directories into one: the lower ones are read-only, changes go to the upper one",
        ),
    ),
    (
        "openat",
        "uid_map",
        Words(
            "用户号映射：里面的几号是外面的几号",
            "the map of user IDs: which ID inside is which ID outside",
        ),
    ),
    (
        "openat",
        "O_PATH",
        Words("打开一个目录，好从它说起", "open a directory, to begin other paths there"),
    ),
    (
        "fsconfig",
        "FSCONFIG_CMD_CREATE",
        Words("选项给完了，把它造出来", "all options are given: create it"),
    ),
    ("openat", "gid_map", Words("组号映射", "the map of group IDs")),
    (
        "openat",
        "setgroups",
        Words(
            "里面许不许调用 setgroups：没有特权，就得先禁止，才能写组号映射",
            "whether setgroups is allowed inside: an unprivileged process must deny it before "
            "it maps groups",
        ),
    ),
    (
        "openat",
        "/timens_offsets",
        Words(
            "新时间命名空间的时钟拨快多少，要赶在第一个进程进去之前",
            "how far the clocks of the new time namespace are set forward, before the first process is in it",
        ),
    ),
    ("setgroups", "^0, NULL", Words("丢掉所有附加组", "drop all supplementary groups")),
    (
        "prctl",
        "PR_CAP_AMBIENT_RAISE",
        Words("让这一项权能经过 execve 也留得住", "keep this capability over execve"),
    ),
    (
        "prctl",
        "PR_SET_PDEATHSIG",
        Words(
            "与生它的进程同生死：那个进程一结束，内核就发来信号",
            "live no longer than the process that made it: the kernel will send a signal",
        ),
    ),
    (
        "prctl",
        "PR_SET_CHILD_SUBREAPER",
        Words(
            "收养子孙里的孤儿，好让一个也不走失",
            "adopt the orphans among its descendants, so that none is lost",
        ),
    ),
    (
        "openat",
        "time_for_children",
        Words(
            "打开刚造好的时间命名空间，好自己进去",
            "open the new time namespace, to enter it",
        ),
    ),
    (
        "unshare",
        "^CLONE_NEWPID$",
        Words(
            "造一个 PID 命名空间，给此后生的孩子；自己不进去",
            "make a PID namespace for later children; this process stays outside",
        ),
    ),
    (
        "unshare",
        "^CLONE_NEWTIME$",
        Words(
            "造一个时间命名空间，给此后生的孩子；自己要到 execve 之后才进去（Linux 6.2 起）",
            "make a time namespace for later children; this process is in it after execve "
            "(since Linux 6.2)",
        ),
    ),
    (
        "prctl",
        "PR_CAPBSET_DROP",
        Words(
            "从权能上限集里去掉一项：execve 也不会再给",
            "remove one from the bounding set: even execve does not give it back",
        ),
    ),
    (
        "prctl",
        "PR_CAP_AMBIENT_LOWER",
        Words("这一项权能不再经过 execve 留下", "no longer keep this capability over execve"),
    ),
    (
        "prctl",
        "PR_CAP_AMBIENT_CLEAR_ALL",
        Words(
            "清空环境权能：没有哪一项再靠它经过 execve",
            "empty the ambient set: it keeps no capability over execve any more",
        ),
    ),
    (
        "prctl",
        "PR_CAP_AMBIENT_IS_SET",
        Words(
            "问这一项权能是否会经过 execve 留下",
            "ask whether this capability will be kept over execve",
        ),
    ),
    (
        "prctl",
        "PR_SET_KEEPCAPS",
        Words(
            "换成 root 以外的用户号时，获准的权能不清空",
            "keep the permitted capabilities when the user ID is no longer root's",
        ),
    ),
    (
        "prctl",
        "PR_SET_NO_NEW_PRIVS",
        Words("此后任何 execve 都不再给予更多权力", "no execve gives more power from now on"),
    ),
    (
        "prctl",
        "SUID_DUMP_DISABLE",
        Words("不让别的进程察看自己", "let no other process inspect this one"),
    ),
    (
        "prctl",
        "SUID_DUMP_USER",
        Words(
            "换了用户号，/proc/self 归了 root：要回来",
            "after a change of the user ID, /proc/self belongs to root: take it back",
        ),
    ),
)  # fmt: skip

_ARGUMENTS = {
    "flags": Words("标志", "flags"),
    "exit_signal": Words("子进程结束时发给父进程的信号", "the signal to the parent when the child ends"),
    "stack": Words("另给的栈；不给，就像 fork 一样用副本", "a separate stack; NULL: a copy, as in fork"),
    "stack_size": Words("栈的大小", "the size of the stack"),
    "setgroups.size": Words("有几个组", "how many groups"),
    "size": Words("前面那个结构的字节数，内核由此知道是哪一版", "bytes in that structure: which version it is"),
    "dirfd": Words("相对路径从哪里算起", "where a relative path begins"),
    "buf": Words("要写的内容", "what to write"),
    "count": Words("字节数", "how many bytes"),
    "ruid": Words("实际用户号", "real user ID"),
    "euid": Words("有效用户号：内核查的是它", "effective user ID: the one that the kernel asks about"),
    "suid": Words("保存的用户号", "saved user ID"),
    "rgid": Words("实际组号", "real group ID"),
    "egid": Words("有效组号", "effective group ID"),
    "sgid": Words("保存的组号", "saved group ID"),
    "resource": Words("哪一种资源", "which resource"),
    "new_limit": Words("新的两道限度", "the two new limits"),
    "old_limit": Words("不问原来的", "the former ones are not asked for"),
    "rlim_cur": Words("软限：管用的就是它", "the soft limit, which counts"),
    "rlim_max": Words("硬限：软限最多提到这里", "the hard limit, up to which the soft one may be raised"),
    "version": Words("这个结构的版本", "which version of the structure"),
    "effective": Words("现在就算数的权能", "the capabilities that count now"),
    "permitted": Words("可以启用的权能", "the capabilities that may be made effective"),
    "inheritable": Words("可以传过 execve 的权能", "the capabilities that may be passed through execve"),
    "operation": Words("做哪一项", "which operation"),
    "filter": Words("BPF 指令", "instructions of BPF"),
    "arg3": Words("它的第二个值", "its second value"),
    "arg4": Words("没有用到", "not used"),
    "arg5": Words("没有用到", "not used"),
    "fd": Words("描述符：文件、命名空间、进程或终端", "a descriptor: of a file, a namespace, a process, a terminal"),
    "oldfd": Words("已有的号码", "the number that it has"),
    "newfd": Words("再要的号码；原来占着它的先关上", "the other number; what had it is closed"),
    "owner": Words("新主人的用户号", "the user ID of the new owner"),
    "group": Words("新的组号；-1：不变", "the new group ID; -1: unchanged"),
    "sockfd": Words("套接字", "the socket"),
    "msg_name": Words("收信的地址；已经接好的套接字不用", "the receiver's address; not for a connected socket"),
    "msg_namelen": Words("那个地址的字节数", "bytes of that address"),
    "msg_iov": Words("要送的字节", "the bytes to send"),
    "msg_iovlen": Words("分几段", "in how many parts"),
    "msg_control": Words("随它们去的描述符", "the descriptors that go with them"),
    "msg_controllen": Words("那个结构的字节数", "bytes in that structure"),
    "msg_flags": Words("没有用到", "not used"),
    "argument": Words("这个要求的值", "the value of what is asked"),
    "nstype": Words("要进入哪几种", "which kinds to enter"),
    "domain": Words("哪一族地址", "of which addresses"),
    "type": Words("一个个数据报，还是一条字节流", "datagrams or a stream of bytes"),
    "protocol": Words("哪个协议", "which protocol"),
    "pid": Words("进程号", "the process ID"),
    "hdrp.pid": Words("进程号；0 是自己", "process ID; 0 is oneself"),
    "name": Words("新的名字，不以 NUL 结尾", "the new name, without a NUL at its end"),
    "len": Words("名字的字节数", "bytes in the name"),
    "args.len": Words("过滤器的指令数", "how many instructions the filter has"),
    "from_dirfd": Words("来处从哪里算起", "where the first path begins"),
    "from_path": Words("来处；空的：描述符指的挂载", "the mount; empty: that of the descriptor"),
    "to_dirfd": Words("去处从哪里算起", "where the second path begins"),
    "to_path": Words("去处；空的：描述符指的目录", "the place; empty: that of the descriptor"),
    "fsname": Words("文件系统的种类", "the type of file system"),
    "cmd": Words("做哪一项", "which operation"),
    "key": Words("选项", "the option"),
    "value": Words("它的值", "its value"),
    "aux": Words("描述符，或没有用到", "a descriptor, or not used"),
    "attr_flags": Words("挂载的属性", "attributes of the mount"),
    "how.flags": Words("标志", "flags"),
    "resolve": Words("路径怎样走", "how the path is walked"),
    "source": Words("来源：设备，或随便一个名字", "the source: a device, or any name"),
    "target": Words("挂载点", "the mount point"),
    "filesystemtype": Words("文件系统的种类", "the type of file system"),
    "mountflags": Words("标志", "flags"),
    "data": Words("这种文件系统自己的选项", "options of this type of file system"),
    "attr_set": Words("添上哪些属性", "attributes to set"),
    "attr_clr": Words("去掉哪些属性", "attributes to clear"),
    "propagation": Words("传播方式；0：不改", "propagation; 0: unchanged"),
    "userns_fd": Words("没有用到", "not used"),
    "mode": Words("种类和权限", "kind and permissions"),
    "dev": Words("设备号：主号定驱动，次号定是哪一个", "the device: its driver's number, and which one"),
    "symlinkat.target": Words("链接里写的路径", "the path that the link holds"),
    "newdirfd": Words("链接的路径从哪里算起", "where the link's path begins"),
    "linkpath": Words("链接本身", "the link itself"),
    "unlinkat.path": Words("要删的名字", "the name to remove"),
    "mknodat.path": Words("它的名字", "its name"),
    "mount_setattr.path": Words("挂载点；空的：描述符指的挂载", "the mount point; empty: the descriptor's mount"),
    "mask": Words("不给的权限，八进制", "permissions that are not given, in octal"),
    "new_root": Words("新的根目录，须是挂载点", "the new root, a mount point"),
    "put_old": Words("旧的根目录挪到哪里", "where the old root goes"),
    "openat.path": Words("文件", "the file"),
    "openat2.path": Words("文件", "the file"),
    "open_tree.path": Words("挂载点", "the mount point"),
    "path": Words("目录", "the directory"),
    "op": Words("做哪一项", "which operation"),
    "uid": Words("用户号", "the user ID"),
    "gid": Words("组号", "the group ID"),
    "list": Words("组号表；没有就是空的", "the group IDs; none: an empty list"),
    "arg2": Words("它的值", "its value"),
    "pathname": Words("程序文件", "the program's file"),
    "argv": Words("参数，第一个是程序自己的名字", "its arguments; the first is its own name"),
    "envp": Words("环境变量；这里只写个数", "the environment; the trace has the number only"),
}  # fmt: skip

_VALUES = {
    "NULL": Words("没有", "none"),
    "CLONE_INTO_CGROUP": Words("生在另一个控制组里", "born in another control group"),
    "CLONE_VM": Words("execve 之前先用着父进程的内存", "the parent's memory until execve"),
    "MS_RDONLY": Words("只读", "read-only"),
    "MS_NOSUID": Words("不理会 set-user-ID 位", "set-user-ID bits do not count"),
    "MS_NODEV": Words("设备文件打不开", "device files cannot be opened"),
    "MS_NOEXEC": Words("里面的文件不能执行", "nothing in it can be executed"),
    "MS_REMOUNT": Words("改已有挂载的选项", "change the options of a mount"),
    "MS_NOATIME": Words("不记访问时间", "no access times"),
    "MS_BIND": Words("绑定挂载", "bind mount"),
    "MS_MOVE": Words("把挂载挪到别处", "move a mount elsewhere"),
    "MS_REC": Words("连同下面所有的挂载点", "with every mount point below it"),
    "MS_PRIVATE": Words("不传播", "no propagation"),
    "MS_SLAVE": Words("只进不出", "propagation from outside only"),
    "MS_SHARED": Words("互相传播", "propagation both ways"),
    "MS_STRICTATIME": Words("每次读都记访问时间", "each read sets the access time"),
    "S_IFCHR": Words("字符设备", "a character device"),
    "S_IFBLK": Words("块设备", "a block device"),
    "S_IFREG": Words("普通文件", "a regular file"),
    "MNT_FORCE": Words("强行卸载", "even if busy"),
    "MNT_DETACH": Words("马上摘下，没人用了再消失", "detached at once, gone when unused"),
    "MNT_EXPIRE": Words("久未使用才卸载", "only if unused for long"),
    "UMOUNT_NOFOLLOW": Words("不跟随符号链接", "do not follow symbolic links"),
    "PR_SET_PDEATHSIG": Words("父进程结束时收到的信号", "the signal at the parent's end"),
    "PR_SET_DUMPABLE": Words("可否转储、被别的进程察看", "whether others may inspect it"),
    "PR_SET_CHILD_SUBREAPER": Words("子收割者", "subreaper"),
    "PR_CAP_AMBIENT": Words("环境权能：经过 execve 仍有", "ambient capabilities: kept over execve"),
    "PR_CAP_AMBIENT_RAISE": Words("添上一项", "add one"),
    "PR_CAP_AMBIENT_LOWER": Words("去掉一项", "take one out"),
    "PR_CAP_AMBIENT_CLEAR_ALL": Words("全部去掉", "take out all"),
    "PR_CAP_AMBIENT_IS_SET": Words("有没有这一项", "whether it holds this one"),
    "PR_SET_KEEPCAPS": Words("换用户号时留住获准的权能", "keep the permitted capabilities when the user ID changes"),
    "PR_SET_NO_NEW_PRIVS": Words("execve 不再给予权力", "execve gives no more power"),
    "PR_CAPBSET_DROP": Words("从上限集里去掉", "remove from the bounding set"),
    "SUID_DUMP_USER": Words("可以", "they may"),
    "SUID_DUMP_DISABLE": Words("不可以", "they may not"),
    "AT_FDCWD": Words("工作目录", "the working directory"),
    "O_RDONLY": Words("只读", "to be read"),
    "O_WRONLY": Words("只写", "to be written"),
    "O_RDWR": Words("可读可写", "to be read and written"),
    "O_CLOEXEC": Words("execve 时关闭", "closed by execve"),
    "SECCOMP_SET_MODE_FILTER": Words("装一个过滤器", "load a filter"),
    "_LINUX_CAPABILITY_VERSION_3": Words("第三版：每组 64 位", "the third: sets of 64 bits"),
    **MEANINGS,
    **{f"1<<{name}": words for name, words in MEANINGS.items()},
    "MOUNT_ATTR_RDONLY": Words("只读", "read-only"),
    "MOUNT_ATTR_NOSUID": Words("不理会 set-user-ID 位", "set-user-ID bits do not count"),
    "MOUNT_ATTR_NODEV": Words("设备文件打不开", "device files cannot be opened"),
    "MOUNT_ATTR_NOEXEC": Words("里面的文件不能执行", "nothing in it can be executed"),
    "OPEN_TREE_CLONE": Words("要一份副本", "a copy of it"),
    **{
        f"{name}_CLOEXEC": Words("execve 时关上", "closed by execve")
        for name in ("FSOPEN", "FSMOUNT", "OPEN_TREE")
    },
    "AT_EMPTY_PATH": Words("指描述符本身", "the descriptor itself is meant"),
    "MOVE_MOUNT_F_EMPTY_PATH": Words("来处就是那个描述符", "the mount of the first descriptor"),
    "MOVE_MOUNT_T_EMPTY_PATH": Words("去处就是那个描述符", "onto the second descriptor"),
    "FSCONFIG_SET_FLAG": Words("没有值的选项", "an option without a value"),
    "FSCONFIG_SET_STRING": Words("有值的选项", "an option with a value"),
    "FSCONFIG_SET_FD": Words("值是描述符的选项", "an option whose value is a descriptor"),
    "FSCONFIG_CMD_CREATE": Words("造出来", "create it"),
    "AT_RECURSIVE": Words("连同下面的挂载", "and the mounts below it"),
    "RESOLVE_IN_ROOT": Words("把那个目录当作根目录", "that directory is the root"),
    "RESOLVE_BENEATH": Words("不许走到外面", "never out of it"),
    "RESOLVE_NO_SYMLINKS": Words("不许走符号链接", "no symbolic link"),
    "RESOLVE_NO_MAGICLINKS": Words("不许走魔法链接", "no magic link"),
    "RESOLVE_NO_XDEV": Words("不许跨过挂载点", "no mount point is crossed"),
    "NS_GET_USERNS": Words("所属的用户命名空间", "the user namespace that owns it"),
    "NS_GET_PARENT": Words("父命名空间", "its parent"),
    "NS_GET_NSTYPE": Words("哪一种", "its kind"),
    "NS_GET_OWNER_UID": Words("造它的用户", "the user who made it"),
    "TIOCSCTTY": Words("成为会话的控制终端", "become the session's controlling terminal"),
    "TIOCSPTLCK": Words("上锁或开锁", "lock or unlock it"),
    "TIOCGPTPEER": Words("打开另一头", "open the other end"),
    "MSG_NOSIGNAL": Words("没人收也不要 SIGPIPE", "no SIGPIPE if nobody is there"),
    "O_NOCTTY": Words("不让它成为控制终端", "it does not become the controlling terminal"),
    "SIOCSIFFLAGS": Words("设置网络设备的标志", "set the flags of a network device"),
    "SIGCHLD": Words("子进程结束了", "a child has ended"),
    "SIGKILL": Words("立刻结束，不可阻挡", "end at once; a process cannot prevent it"),
    **{
        str(kind.flag): Words(f"新的 {kind.name} 命名空间：{kind.isolates.zh}", f"a new {kind.name} namespace: {kind.isolates.en}")
        for kind in KINDS
    },
    **{  # setns enters those that exist
        f"nstype.{kind.flag}": Words(f"{kind.name} 命名空间：{kind.isolates.zh}", f"the {kind.name} namespace: {kind.isolates.en}")
        for kind in KINDS
    },
    "argument.0": Words("别的会话已有的，不去抢", "not if another session has it"),
}  # fmt: skip


def _purpose(name: str, texts: list[str]) -> Words:
    together = ", ".join(texts)
    for call, sign, words in _PURPOSES:
        if call == name and re.search(sign, together):
            return words
    return _CALLS[name][0] if name in _CALLS else Words("", "")


def _arguments(name: str, texts: list[str]) -> Iterator[Argument]:
    """Each argument in turn; the fields of a structure instead of the structure."""
    names = _CALLS[name][1] if name in _CALLS else ()
    for position, text in enumerate(texts):
        own = names[position] if position < len(names) else f"arg{position + 1}"
        if text.startswith("{"):
            for field in split(text[1:-1]):
                key, _, value = field.partition("=")
                yield _argument(own, key, value)
            continue
        key, given, value = text.partition("=")  # clone's, which strace names
        named = given and key in {"child_stack", "flags"}
        yield _argument(name, own, value if named else text)


def _argument(within: str, name: str, text: str) -> Argument:
    """An argument of the call, or a field of the structure, that is called `within`."""
    words = [] if text.startswith('"') else text.split("|")
    known = ((word, _VALUES.get(f"{name}.{word}") or _VALUES.get(word)) for word in words)
    parts = tuple((word, meaning) for word, meaning in known if meaning)
    meaning = _ARGUMENTS.get(f"{within}.{name}") or _ARGUMENTS.get(name, Words("", ""))
    return Argument(name, text, meaning, parts)


def _answered(name: str, answer: str) -> Words:
    if answer.startswith("-1 "):
        return Words("内核拒绝了", "the kernel refused")
    if name in {"clone3", "clone"} and answer.isdigit():
        return Words("子进程的进程号", "the child's process ID")
    if name == "execve":
        return Words(
            "成功；它不再返回，旧程序已不存在", "done; it never returns, the old program is gone"
        )
    return Words("成功", "done") if answer == "0" else Words("", "")
