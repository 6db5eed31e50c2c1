"""我的 Docker，V1.0：那一行 · My Docker, V1.0: that line.

python mydocker.py run --rm -it busybox sh
python mydocker.py run [--rm] [-it] [--pids N] [--ip ADDRESS] IMAGE [PROGRAM [ARGUMENT...]]
python mydocker.py run [...] [--root LAYER[:LAYER...]] PROGRAM [ARGUMENT...]
"""

import array
import fcntl
import json
import os
import select
import socket
import subprocess
import sys
import tarfile
import termios
import tty
import warnings  # noqa: F401 - os.execvp 要它，换了根就找不到了 · os.execvp needs it, and it is not in there
from typing import IO, NamedTuple

from labkit.syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MNT_DETACH,
    MS_BIND,
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


IMAGES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "images")
TIOCSPTLCK, TIOCGPTN = 0x40045431, 0x80045430


class Asked(NamedTuple):
    """命令行要的 · What a command line asks for."""

    image: str
    flags: str
    layers: str
    pids: str
    address: str
    argv: list[str]


def run(asked: Asked) -> None:
    """生一个孩子，等它结束，像它那样结束 · Make a child, wait for it, end as it ended."""
    ours, theirs = socket.socketpair()  # 终端从这里送过来 · the terminal is sent over it
    # 搬走之前做：之后就不是外面的 root 了 · before the move: after it we are not root outside
    cgroup = make_group(asked.pids) if asked.pids else ""
    above = os.open(os.path.dirname(cgroup), os.O_PATH) if cgroup else -1
    move(asked.address)
    child = os.fork()  # CLONE_NEWPID 搬的是孩子：它是 1 号 · moves the child: it is PID 1
    if child == 0:
        contain(asked, theirs if "t" in asked.flags else None, cgroup)
    theirs.close()
    if "t" in asked.flags:
        relay(ours, "i" in asked.flags)
    _, status = os.waitpid(child, 0)
    if cgroup:
        # 换根换的是这个命名空间里所有人的根：路径不通了
        # pivot_root exchanged the root of all in this namespace: no path leads there now
        # 空了才删得掉 · it can be removed when it is empty
        os.rmdir(os.path.basename(cgroup), dir_fd=above)
    code = os.waitstatus_to_exitcode(status)
    sys.exit(code if code >= 0 else 128 - code)  # 被信号 N 杀死的：128+N · killed by signal N


def move(address: str) -> None:
    """搬进新的命名空间 · Move to new namespaces."""
    helper, go = stay_outside(address) if address else (0, 0)
    # 先问清我是谁，搬走就是 65534 了 · ask who we are before we move: after it we are 65534
    user, group = os.getuid(), os.getgid()
    # 用户命名空间由内核最先建，其余的归它管 · the kernel makes user first, and it owns the others
    unshare(NEW)
    become_root(user, group)
    if helper:
        os.write(go, b".")
        if os.waitpid(helper, 0)[1]:
            sys.exit("mydocker: 网线没有接成 · no cable was laid")


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


def stay_outside(address: str) -> tuple[int, int]:
    """留一个帮手在外面，等我们搬好 · Leave a helper outside, who waits until we have moved."""
    container = os.getpid()
    wait, go = os.pipe()
    helper = os.fork()
    if helper:
        return helper, go
    os.close(go)
    if os.read(wait, 1):
        name = f"my{container}"
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(container))
        ip("addr", "add", f"{gateway(address)}/24", "dev", name)
        ip("link", "set", name, "up")
    sys.exit()


def connect(address: str) -> None:
    """在里面：打开 lo，给这一头地址和默认路由 · Inside: lo up; an address and a default route."""
    ip("link", "set", "lo", "up")
    if address:
        ip("addr", "add", f"{address}/24", "dev", "eth0")
        ip("link", "set", "eth0", "up")
        ip("route", "add", "default", "via", gateway(address))


def gateway(address: str) -> str:
    """外面那一头：同一个网络的 1 号 · The end outside: number 1 of the same network."""
    return address.rpartition(".")[0] + ".1"


def ip(*words: str) -> None:
    """ip(8) 替我们跟内核谈 · It talks with the kernel for us, by netlink."""
    subprocess.run(["ip", *words], check=True)


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


def contain(asked: Asked, parent: socket.socket | None, cgroup: str) -> None:
    """在孩子里：砌好墙，变成那个程序 · In the child: build the walls, become the program."""
    layers, argv = asked.layers, asked.argv
    # 新的根里没有 ip；进组以后，它也要算一个 · a new root has no ip, and in a group it would count
    connect(asked.address)
    enter(cgroup)
    # 抄来的挂载点与宿主机的仍是一组，不断开，里面一挂载，外面也跟着变
    # The copied mounts are still peers of the host's: else a mount inside appears outside
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    if asked.image or layers:
        mount("tmpfs", "/mnt", "tmpfs")
    if asked.image:
        layers, argv = unpack(asked.image, argv)
    if layers:
        stack(layers)
    # 谁挂的 /proc，就显示谁的 PID 命名空间 · /proc shows the PID namespace of who mounts it
    mount("proc", "proc" if layers else "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    if layers and (asked.image or parent):
        devices()
    if layers:
        exchange_roots()
    sethostname("mydocker")
    if parent:
        log_in(parent)
    execute(argv)


def enter(cgroup: str) -> None:
    """自己走进组里 · Walk into the group."""
    if cgroup:
        with open(f"{cgroup}/cgroup.procs", "w") as file:
            file.write("0")  # 写的这个进程 · the process that writes


def stack(layers: str) -> None:
    """几层叠成一个根，改动写在内存里，走进去 · Stack them, changes go to memory; go there."""
    for name in ("upper", "work", "root"):
        os.mkdir(f"/mnt/{name}")
    # 这里的 root 不许写 trusted.*，记号写成 user.overlay.* · root in here may not write trusted.*
    options = f"lowerdir={layers},upperdir=/mnt/upper,workdir=/mnt/work,userxattr"
    mount("overlay", "/mnt/root", "overlay", 0, options)
    os.chdir("/mnt/root")
    os.makedirs("proc", exist_ok=True)


def unpack(image: str, argv: list[str]) -> tuple[str, list[str]]:
    """镜像的各层解到内存里；它默认运行什么 · Unpack its layers to memory; what it runs."""
    layers: list[str] = []
    with tarfile.open(image) as archive:
        (about,) = json.loads(inside(archive, "manifest.json").read())
        for name in about["Layers"]:  # 最下面的在前 · the lowest first
            layers.insert(0, f"/mnt/layer{len(layers)}")
            os.mkdir(layers[0])
            with tarfile.open(fileobj=inside(archive, name)) as layer:
                layer.extractall(layers[0], filter="tar")
                hide(layers[0], layer.getnames())
        config = json.loads(inside(archive, about["Config"]).read())["config"]
    # 写了程序，它就代替 Cmd · a program takes the place of Cmd
    return ":".join(layers), [*(config.get("Entrypoint") or []), *(argv or config.get("Cmd") or [])]


def hide(layer: str, names: list[str]) -> None:
    """归档里的 .wh.NAME 是遮盖，overlay 要 0/0 设备 · It hides NAME; overlay wants a device 0/0."""
    for path in names:
        folder, name = os.path.split(os.path.join(layer, path))
        if name.startswith(".wh."):
            os.unlink(os.path.join(folder, name))
            os.mknod(os.path.join(folder, name.removeprefix(".wh.")), 0o020000)


def inside(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    """归档里的一个文件 · A file of an archive."""
    file = archive.extractfile(name)
    if file is None:
        sys.exit(f"mydocker: {name}: 不是文件 · no file")
    return file


def devices() -> None:
    """几样设备从外面借来，终端是自己的 · Some devices are borrowed; the terminals are its own."""
    os.makedirs("dev/pts", exist_ok=True)
    for name in ("null", "zero", "random", "urandom", "tty"):
        with open(f"dev/{name}", "a"):
            mount(f"/dev/{name}", f"dev/{name}", None, MS_BIND)
    mount(
        "devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"
    )


def log_in(parent: socket.socket) -> None:
    """开一个终端，一头送给父进程 · Open a terminal: one end for the parent, one for us."""
    master = os.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
    fcntl.ioctl(master, TIOCSPTLCK, array.array("i", [0]))  # 开锁 · unlock it
    number = array.array("i", [0])
    fcntl.ioctl(master, TIOCGPTN, number)
    socket.send_fds(parent, [b"."], [master])
    os.close(master)
    # 新的会话，它的控制终端，三个流 · a new session, its controlling terminal, the three streams
    os.login_tty(os.open(f"/dev/pts/{number[0]}", os.O_RDWR))


def relay(child: socket.socket, typed: bool) -> None:
    """在你的终端和它的终端之间传话 · Pass on what is typed and printed."""
    _, descriptors, *_ = socket.recv_fds(child, 1, 1)
    if not descriptors:  # 孩子没有走到那一步 · the child did not come that far
        return
    (master,) = descriptors
    before = termios.tcgetattr(0) if typed else None
    if before:
        size = fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))
        fcntl.ioctl(master, termios.TIOCSWINSZ, size)
        tty.setraw(0)  # 按键原样过去，Ctrl-C 也归里面 · keys go as they are, Ctrl-C too
    try:
        copy([0, master] if before else [master], master)
    finally:
        if before:
            termios.tcsetattr(0, termios.TCSADRAIN, before)


def copy(waiting: list[int], master: int) -> None:
    """直到里面没有人拿着终端 · Until nobody inside has the terminal any more."""
    while True:
        for fd in select.select(waiting, [], [])[0]:
            try:
                data = os.read(fd, 1 << 16)
            except OSError:  # EIO：都关了 · all have closed it
                return
            if not data:  # 你的终端挂断了 · your terminal hung up
                return
            write_all(1 if fd == master else master, data)


def write_all(fd: int, data: bytes) -> None:
    """全部写出去 · All of it."""
    while data:
        data = data[os.write(fd, data) :]


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
    given, flags = {"--root": "", "--pids": "", "--ip": ""}, ""
    while words and words[0].startswith("-"):
        name, *words = words
        if name in given and words:
            given[name], *words = words
        elif name == "--rm" or (name[1:] and set(name[1:]) <= set("it")):
            flags += name.strip("-").replace("rm", "")  # --rm 早就做到了 · has been done since V0.7
        else:
            sys.exit(f"mydocker: 不认得 · unknown: {name}")
    if {"i", "t"} <= set(flags) and not os.isatty(0):
        sys.exit("mydocker: 标准输入不是终端 · the input device is not a TTY")
    image = f"{IMAGES}/{words[0]}.tar" if words else ""
    if not os.path.isfile(image):
        image = ""  # 不是镜像，就是程序 · if it is no image it is a program
    argv = words[1:] if image else words
    if words:
        run(Asked(image, flags, given["--root"], given["--pids"], given["--ip"], argv))


match sys.argv[1:]:
    case ["run", *words] if words:
        options(words)
    case _:
        sys.exit(__doc__)
