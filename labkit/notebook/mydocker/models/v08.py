"""我的 Docker，V0.8：进程数有上限 · My Docker, V0.8: no more processes than allowed.

python mydocker.py run [--root LAYER[:LAYER...]] [--pids N] PROGRAM [ARGUMENT...]
"""

import os
import sys
import warnings  # noqa: F401 - os.execvp 要它，换了根就找不到了 · os.execvp needs it, and it is not in there

from labkit.syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MNT_DETACH,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    mount,
    pivot_root,
    sethostname,
    umount2,
    unshare,
)

NEW = CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWUSER


def run(layers: str, pids: str, argv: list[str]) -> None:
    """生一个孩子，等它结束，像它那样结束 · Make a child, wait for it, end as it ended."""
    # 搬走之前建组：之后就不是外面的 root 了 · before the move: after it we are not root outside
    cgroup = make_group(pids) if pids else ""
    above = os.open(os.path.dirname(cgroup), os.O_PATH) if cgroup else -1
    # 先问清我是谁，搬走就是 65534 了 · ask who we are before we move: after it we are 65534
    user, group = os.getuid(), os.getgid()
    # 用户命名空间由内核最先建，其余的归它管 · the kernel makes user first, and it owns the others
    unshare(NEW)
    become_root(user, group)
    child = os.fork()  # CLONE_NEWPID 搬的是孩子：它是 1 号 · moves the child: it is PID 1
    if child == 0:
        contain(layers, cgroup, argv)
    _, status = os.waitpid(child, 0)
    if cgroup:
        # 换根也换了我们的根，路径不通了；空了才删得掉
        # pivot_root exchanged our root too: no path leads there. It is removed when it is empty
        os.rmdir(os.path.basename(cgroup), dir_fd=above)
    code = os.waitstatus_to_exitcode(status)
    sys.exit(code if code >= 0 else 128 - code)  # 被信号 N 杀死的：128+N · killed by signal N


def make_group(pids: str) -> str:
    """在自己的组下面建一个，写上上限 · Make one below our own, and write the limit."""
    lines = [line.split(":", 2) for line in read("/proc/self/cgroup").splitlines()]
    ours = {name: path for _, names, path in lines for name in names.split(",")}
    # v1 有 pids 自己的树，v2 的那一行没有名字 · v1 has a tree for pids; the line of v2 has no name
    parent = f"/sys/fs/cgroup/pids{ours['pids']}" if "pids" in ours else f"/sys/fs/cgroup{ours['']}"
    # v2 的组要上一级把控制器交下来 · in v2 the group above must hand the controller on
    while "pids" not in ours and "pids" not in read(f"{parent}/cgroup.subtree_control"):
        parent = os.path.dirname(parent)
    group = (
        f"{parent}/mydocker-{os.urandom(4).hex()}"  # 没有别人叫这个名字 · nobody else has this name
    )
    os.mkdir(group)
    with open(f"{group}/pids.max", "w") as file:
        file.write(pids)
    return group


def read(path: str) -> str:
    """一个文件里的字 · What a file holds."""
    with open(path) as file:
        return file.read()


def become_root(user: int, group: int) -> None:
    """里面的 0 号就是外面的我 · Number 0 inside is me outside."""
    write("uid_map", f"0 {user} 1")
    # 没有特权的人要先放弃 setgroups(2)，才写得了 gid_map
    # Without privileges, one must give up setgroups(2) before one may write gid_map
    write("setgroups", "deny")
    write("gid_map", f"0 {group} 1")


def write(name: str, text: str) -> None:
    """写 /proc/self 里的一个文件，一次写完 · Write a file of /proc/self, all at once."""
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)


def contain(layers: str, cgroup: str, argv: list[str]) -> None:
    """在孩子里：砌好墙，变成那个程序 · In the child: build the walls, become the program."""
    if cgroup:
        with open(f"{cgroup}/cgroup.procs", "w") as file:
            file.write("0")  # 写的这个进程 · the process that writes
    # 抄来的挂载点与宿主机的仍是一组，不断开，里面一挂载，外面也跟着变
    # The copied mounts are still peers of the host's: else a mount inside appears outside
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    if layers:
        stack(layers)
    # 谁挂的 /proc，就显示谁的 PID 命名空间 · /proc shows the PID namespace of who mounts it
    mount("proc", "proc" if layers else "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    if layers:
        exchange_roots()
    sethostname("mydocker")
    execute(argv)


def stack(layers: str) -> None:
    """几层叠成一个根，改动写在内存里，走进去 · Stack them, changes go to memory; go there."""
    mount("tmpfs", "/mnt", "tmpfs")
    for name in ("upper", "work", "root"):
        os.mkdir(f"/mnt/{name}")
    # 这里的 root 不许写 trusted.*，记号写成 user.overlay.* · root in here may not write trusted.*
    options = f"lowerdir={layers},upperdir=/mnt/upper,workdir=/mnt/work,userxattr"
    mount("overlay", "/mnt/root", "overlay", 0, options)
    os.chdir("/mnt/root")
    os.makedirs("proc", exist_ok=True)


def exchange_roots() -> None:
    """旧的根叠到新的上面，摘下来 · Put the old root on top of the new one, and take it off."""
    pivot_root(".", ".")
    umount2(".", MNT_DETACH)
    os.chdir("/")


def execute(argv: list[str]) -> None:
    """变成那个程序 · Become the program."""
    try:
        os.execvp(argv[0], argv)  # 成功就不再回来 · it does not return when it succeeds
    except OSError as error:
        print(f"mydocker: {argv[0]}: {error.strerror}", file=sys.stderr)
        # 像 shell 那样：找不到是 127，不能执行是 126
        # As a shell has it: 127 for not found, 126 for not executable
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


def options(words: list[str]) -> None:
    """选项在程序前面 · Options stand before the program."""
    given = {"--root": "", "--pids": ""}
    while len(words) > 1 and words[0] in given:
        name, value, *words = words
        given[name] = value
    if words:
        run(given["--root"], given["--pids"], words)


match sys.argv[1:]:
    case ["run", *words] if words:
        options(words)
    case _:
        sys.exit(
            "用法 · usage: python mydocker.py run [--root LAYERS] [--pids N] PROGRAM [ARGUMENT...]"
        )
