"""``labkit unshare --help`` and ``--version``."""

from labkit.text.tables import columns
from labkit.text.words import Words

_USAGE = "labkit unshare [options] [<program> [<argument>...]]"
_ABOUT = Words(
    "与 unshare(1) 的选项、退出状态都相同，只是系统调用由 labkit 自己来做。",
    "The options and exit statuses of unshare(1); the system calls are labkit's own.",
)
_OPTIONS = (
    ("-m, --mount[=FILE]", Words("自己的挂载点", "mount points of its own")),
    ("-u, --uts[=FILE]", Words("自己的主机名", "a host name of its own")),
    ("-i, --ipc[=FILE]", Words("自己的 System V IPC 与消息队列", "System V IPC and message queues of its own")),
    ("-n, --net[=FILE]", Words("自己的网络", "a network of its own")),
    ("-p, --pid[=FILE]", Words("自己的进程号，从子进程起（见 -f）", "process IDs of its own, from a child on (see -f)")),
    ("-U, --user[=FILE]", Words("自己的用户号、组号、权能", "user IDs, group IDs and capabilities of its own")),
    ("-C, --cgroup[=FILE]", Words("自己的控制组根目录", "a cgroup root of its own")),
    ("-T, --time[=FILE]", Words("自己的开机时钟与单调时钟", "boot and monotonic clocks of its own")),
    ("", Words("FILE：把命名空间绑定挂载在这里，人走屋在", "FILE: bind the namespace there, so that it outlives the program")),
    ("-f, --fork", Words("先 fork，程序在子进程里", "fork first: the program is a child")),
    ("--kill-child[=SIGNAL]", Words("我一结束，就给子进程发信号（默认 KILL；含 -f）", "when we end, send the child a signal (KILL; implies -f)")),
    ("--mount-proc[=DIR]", Words("挂上新的 proc（默认 /proc；含 -m）", "mount a new proc (on /proc; implies -m)")),
    ("--propagation HOW", Words("private、shared、slave 或 unchanged", "private, shared, slave or unchanged")),
    ("-r, --map-root-user", Words("我在里面是 root（含 -U）", "be root inside (implies -U)")),
    ("-c, --map-current-user", Words("我在里面仍是我（含 -U）", "be the same user inside (implies -U)")),
    ("--map-user ID|NAME", Words("我在里面的用户号（含 -U）", "the user ID to be inside (implies -U)")),
    ("--map-group ID|NAME", Words("我在里面的组号（含 -U）", "the group ID to be inside (implies -U)")),
    ("--map-users RANGE", Words("里:外:个数，或 auto、subids、all（含 -U）", "INNER:OUTER:COUNT, or auto, subids, all (implies -U)")),
    ("--map-groups RANGE", Words("同上，说的是组", "the same for groups")),
    ("--map-auto", Words("两样都用 auto：/etc/subuid 与 /etc/subgid", "auto for both: /etc/subuid and /etc/subgid")),
    ("--setgroups allow|deny", Words("里面许不许调用 setgroups(2)", "whether setgroups(2) is allowed inside")),
    ("--keep-caps", Words("程序也保有在新用户命名空间里的权能", "the program keeps the capabilities in the user namespace")),
    ("-R, --root DIR", Words("换根目录", "change the root directory")),
    ("-w, --wd DIR", Words("换工作目录", "change the working directory")),
    ("-S, --setuid UID", Words("换用户号", "change the user ID")),
    ("-G, --setgid GID", Words("换组号，并丢掉附加组", "change the group ID and drop supplementary groups")),
    ("--monotonic SECONDS", Words("单调时钟拨快多少（要 -T）", "offset of the monotonic clock (needs -T)")),
    ("--boottime SECONDS", Words("开机时钟拨快多少（要 -T）", "offset of the boot-time clock (needs -T)")),
    ("--explain", Words("边做边说：每个系统调用各做什么（写到标准错误）", "say what each system call does, on standard error")),
    ("-h, --help", Words("显示这些", "show this")),
    ("-V, --version", Words("显示版本", "show the version")),
)  # fmt: skip


def text() -> str:
    """What --help prints."""
    rows = [[f" {option}", str(words)] for option, words in _OPTIONS]
    usage = f"{Words('用法', 'Usage')}: {_USAGE}"
    return "\n".join([usage, "", *_ABOUT.texts(), "", columns(rows).rstrip()])


def version() -> str:
    """What --version prints."""
    from importlib import metadata

    try:
        return f"labkit unshare {metadata.version('labkit-containers')}"
    except metadata.PackageNotFoundError:  # run from a source tree
        return f"labkit unshare ({Words('未安装', 'not installed')})"
