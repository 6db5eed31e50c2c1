"""The stages of a docker of one's own, one for each lesson that adds something to it."""

from dataclasses import dataclass
from pathlib import Path

from labkit.notebook.mydocker import claims
from labkit.notebook.mydocker.claims import Claim
from labkit.text.words import Words


@dataclass(frozen=True)
class Stage:
    """What a lesson adds. name: its version. does: what a file of this stage does, in a line.

    task: what the learner writes. hints: vague first, plain last. claims: what is looked at.
    """

    name: str
    does: Words
    task: Words
    hints: tuple[Words, ...]
    claims: tuple[Claim, ...]

    def __str__(self) -> str:
        return self.name

    @property
    def model(self) -> str:
        """The smallest file that reaches this stage, and so all those before it."""
        return model_of(self.name)

    @property
    def file(self) -> str:
        """Where the model stands, as the project's reader would name it."""
        return f"labkit/notebook/mydocker/models/{_file_of(self.name)}"


def model_of(name: str) -> str:
    """The text of a model, by its version; of "v0.0" the beginning."""
    return (Path(__file__).parent / "models" / _file_of(name)).read_text(encoding="utf-8")


def _file_of(name: str) -> str:
    return f"{name.replace('.', '')}.py"


def stage_of(name: str) -> Stage:
    """The stage of this name, which may be written V0.3 or 0.3 too. Raises ValueError for none."""
    wanted = f"v{str(name).lower().removeprefix('v')}"
    for stage in STAGES:
        if stage.name == wanted:
            return stage
    names = ", ".join(map(str, STAGES))
    raise ValueError(
        Words(f"没有 {name!r} 这一步；有的是 {names}", f"there is no step {name!r}, only {names}")
    )


STAGES = (
    Stage(
        "v0.1",
        Words("运行一个程序", "it runs a program"),
        Words(
            "让 `python mydocker.py run 程序 参数...` 运行那个程序：参数一个不少，三个流接通，退出状态传回来；"
            "程序找不到，就以 127 结束。只用标准库就够了。",
            "Let `python mydocker.py run PROGRAM ARGUMENT...` run the program: with all of its arguments, on your three streams, and its exit status comes back. "
            "If there is no such program, end with 127. The standard library is enough.",
        ),
        (
            Words(
                "笔记用 `exec.Command` 生一个孩子；最省事的是不生，自己变成那个程序。哪个系统调用做这件事？",
                "The notes make a child with `exec.Command`. It is simpler to make none and become the program. Which system call does that?",
            ),
            Words(
                "`os.execvp(argv[0], argv)`：按 PATH 去找，找到就不再回来；找不到，抛出 `FileNotFoundError`。",
                "`os.execvp(argv[0], argv)` looks the program up in PATH. If it is found, the call does not return; if not, it raises `FileNotFoundError`.",
            ),
        ),
        claims.V01,
    ),
    Stage(
        "v0.2",
        Words("有自己的主机名", "it has a host name of its own"),
        Words(
            "在变成那个程序之前，给它一个新的 UTS 命名空间，再起一个名字（叫什么随你）；外面的主机名不变。"
            "要用的在 `labkit.syscalls` 里：`unshare`、`CLONE_NEWUTS`、`sethostname`。",
            "Before you become the program, give it a new UTS namespace and then a name of your choice. The host name outside stays. "
            "What you need is in `labkit.syscalls`: `unshare`, `CLONE_NEWUTS`, `sethostname`.",
        ),
        (
            Words(
                "execve 换掉程序，换不掉命名空间：先搬家，再变身。",
                "execve replaces the program, not the namespaces. So move first, then become the program.",
            ),
            Words(
                '在 `os.execvp` 之前加两行：`unshare(CLONE_NEWUTS)`，`sethostname("mydocker")`。',
                'Two lines before `os.execvp`: `unshare(CLONE_NEWUTS)` and `sethostname("mydocker")`.',
            ),
        ),
        claims.V02,
    ),
    Stage(
        "v0.3",
        Words("有自己的挂载、IPC 和网络", "it has mounts, IPC and a network of its own"),
        Words(
            "再加三种命名空间：挂载、IPC、网络。挂载要多做一步：断开传播（`mount --make-rprivate /`），"
            "免得里面一挂载，外面也跟着变。要用的：`CLONE_NEWNS`、`CLONE_NEWIPC`、`CLONE_NEWNET`、`mount`、`MS_REC`、`MS_PRIVATE`。",
            "Add three namespaces: mount, IPC and network. Mounts take one more step: make them private (`mount --make-rprivate /`), "
            "or a mount inside appears outside too. You need `CLONE_NEWNS`, `CLONE_NEWIPC`, `CLONE_NEWNET`, `mount`, `MS_REC` and `MS_PRIVATE`.",
        ),
        (
            Words(
                "新的挂载命名空间是抄来的，连“和谁是一组”也抄了过来。这一课的 `contain()` 头一次挂载做的是什么？",
                "A new mount namespace is a copy, and each mount in it is still in its old peer group. What does the first `mount` of this lesson's `contain()` do?",
            ),
            Words(
                '标志用 `|` 连起来给同一个 `unshare`；紧接着 `mount(None, "/", None, MS_REC | MS_PRIVATE)`。',
                'Join the flags with `|` for the same `unshare`. Right after it: `mount(None, "/", None, MS_REC | MS_PRIVATE)`.',
            ),
        ),
        claims.V03,
    ),
    Stage(
        "v0.4",
        Words("里面从 1 号进程算起", "inside, processes count from 1"),
        Words(
            "再加 PID 命名空间，让程序成为 1 号，并给它一个新的 `/proc`。这一回得生孩子：`unshare(CLONE_NEWPID)` 搬的不是自己，是孩子；"
            "父进程等它结束，把退出状态传出去。要用的：`CLONE_NEWPID`、`os.fork`、`os.waitpid`、`os.waitstatus_to_exitcode`。",
            "Add a PID namespace, make the program PID 1, and give it a new `/proc`. This time you need a child: `unshare(CLONE_NEWPID)` moves not you but your child. "
            "The parent waits for it and passes the exit status on. You need `CLONE_NEWPID`, `os.fork`, `os.waitpid` and `os.waitstatus_to_exitcode`.",
        ),
        (
            Words(
                "先后次序：unshare，fork；在孩子里断开传播、挂 `/proc`、改名、变成程序。`/proc` 为什么要等到 fork 之后？",
                "The order is: unshare, fork; and in the child: private mounts, `/proc`, the name, the program. Why must `/proc` wait until after fork?",
            ),
            Words(
                '孩子（`os.fork()` 返回 0 的那个）里：`mount("proc", "/proc", "proc")`，再 `os.execvp`。父进程：`_, status = os.waitpid(child, 0)`，'
                "再 `sys.exit(os.waitstatus_to_exitcode(status))`。",
                'In the child (where `os.fork()` returns 0): `mount("proc", "/proc", "proc")`, then `os.execvp`. In the parent: `_, status = os.waitpid(child, 0)`, '
                "then `sys.exit(os.waitstatus_to_exitcode(status))`.",
            ),
        ),
        claims.V04,
    ),
    Stage(
        "v0.5",
        Words("普通用户也能用，里面是 root", "an ordinary user may use it, and is root inside"),
        Words(
            "再加用户命名空间，写好号码的映射：里面的 0 号就是外面的你。检查时由一个没有任何权能的普通用户来运行它。"
            "要用的：`CLONE_NEWUSER`，以及 `/proc/self` 里的 `uid_map`、`setgroups`、`gid_map`。",
            "Add a user namespace and write the ID maps: number 0 inside is you outside. The check has an ordinary user without any capability run it. "
            "You need `CLONE_NEWUSER`, and in `/proc/self` the files `uid_map`, `setgroups` and `gid_map`.",
        ),
        (
            Words(
                "三个文件有先后，也有前提：外面的号要在搬家之前问。",
                "The three files have an order. And the IDs outside must be asked before you move.",
            ),
            Words(
                "`unshare` 之后、`os.fork` 之前，依次写：`uid_map` 写 `0 用户号 1`，`setgroups` 写 `deny`，`gid_map` 写 `0 组号 1`。",
                "After `unshare` and before `os.fork`, write in this order: `0 UID 1` to `uid_map`, `deny` to `setgroups`, `0 GID 1` to `gid_map`.",
            ),
        ),
        claims.V05,
    ),
    Stage(
        "v0.6",
        Words("有自己的根目录", "it has a root directory of its own"),
        Words(
            "再认一个选项：`run --root 目录 程序 参数...`。程序的 `/` 就是那个目录，`/proc` 挂在里面，旧的根摘下来，谁也走不回去；"
            "不写 `--root`，一切照旧。要用的：`MS_BIND`、`pivot_root`、`umount2`、`MNT_DETACH`。",
            "Know one more option: `run --root DIRECTORY PROGRAM ARGUMENT...`. The directory is the program's `/`, `/proc` is mounted in it, and the old root is taken off, so that no way leads back. "
            "Without `--root` all is as before. You need `MS_BIND`, `pivot_root`, `umount2` and `MNT_DETACH`.",
        ),
        (
            Words(
                "新的根要是挂载点；换过之后，旧的根还叠在上面。普通用户挂 `/proc`，要在旧的 `/proc` 还看得见的时候。",
                "The new root must be a mount point. After the exchange the old root still lies on top. An ordinary user can mount `/proc` only while the old one can be seen.",
            ),
            Words(
                '断开传播之后：`mount(root, root, None, MS_BIND | MS_REC)`，`os.chdir(root)`，`mount("proc", "proc", "proc")`，'
                '`pivot_root(".", ".")`，`umount2(".", MNT_DETACH)`。`os.execvp` 会临时导入 `warnings`，所以文件开头先导入它。',
                'After the mounts are private: `mount(root, root, None, MS_BIND | MS_REC)`, `os.chdir(root)`, `mount("proc", "proc", "proc")`, '
                '`pivot_root(".", ".")`, `umount2(".", MNT_DETACH)`. `os.execvp` imports `warnings` at the last moment, so import it at the top of the file.',
            ),
        ),
        claims.V06,
    ),
    Stage(
        "v0.7",
        Words("根是叠起来的，改不坏", "its root is made of layers and cannot be spoiled"),
        Words(
            "`--root` 后面写几层，用冒号分开，最上面的在前：`run --root 上层:底层 程序 参数...`。程序的 `/` 是它们叠成的 overlay，"
            "改动写在内存里，随容器一起消失；给它的目录一点不变。要用的：`mount` 的 `tmpfs` 和 `overlay`。",
            "`--root` takes layers, with colons between them and the uppermost first: `run --root UPPER:BASE PROGRAM ARGUMENT...`. The program's `/` is an overlay of them. "
            "Changes go to memory and vanish with the container, and the directories stay as they are. You need `mount` with `tmpfs` and `overlay`.",
        ),
        (
            Words(
                "先要有一块可写的地方，放 `upper` 和 `work`：在容器自己的挂载命名空间里挂一个 tmpfs，谁也不妨碍。",
                "First you need a place to write to, for `upper` and `work`. A tmpfs that is mounted in the container's own mount namespace is in nobody's way.",
            ),
            Words(
                '`mount("tmpfs", "/mnt", "tmpfs")`，里面建 `upper`、`work`、`root`；再 '
                '`mount("overlay", "/mnt/root", "overlay", 0, f"lowerdir={layers},upperdir=/mnt/upper,workdir=/mnt/work,userxattr")`，'
                '然后 `os.chdir("/mnt/root")`：它已经是挂载点，不用再绑定。',
                '`mount("tmpfs", "/mnt", "tmpfs")`, and in it make `upper`, `work` and `root`. Then '
                '`mount("overlay", "/mnt/root", "overlay", 0, f"lowerdir={layers},upperdir=/mnt/upper,workdir=/mnt/work,userxattr")` '
                'and `os.chdir("/mnt/root")`: it is a mount point already, so there is nothing to bind.',
            ),
        ),
        claims.V07,
    ),
    Stage(
        "v0.8",
        Words("进程数有上限", "no more processes than allowed"),
        Words(
            "再认一个选项：`run --pids 数 程序 参数...`。在自己的控制组下面建一个组，写上 `pids.max`；孩子变成程序之前自己进去；"
            "它结束以后，把组删掉。v1 和 v2 都要行。不写 `--pids`，一切照旧。",
            "Know one more option: `run --pids NUMBER PROGRAM ARGUMENT...`. Make a group below your own and write `pids.max`. The child goes in before it becomes the program. "
            "When it has ended, remove the group. It must work in version 1 and 2. Without `--pids` all is as before.",
        ),
        (
            Words(
                "`/proc/self/cgroup` 说自己在哪个组里：v1 有一行写着 `pids`，v2 的那一行没有名字。建组要在 `unshare` 之前。",
                "`/proc/self/cgroup` says in which group you are: version 1 has a line with `pids`, and that of version 2 has no name. Make the group before `unshare`.",
            ),
            Words(
                "v1 的目录是 `/sys/fs/cgroup/pids` 加上那个路径，v2 是 `/sys/fs/cgroup` 加上它，再往上找到 `cgroup.subtree_control` 里有 `pids` 的一级。"
                "`os.mkdir`，写 `pids.max`；孩子往 `cgroup.procs` 写 `0`；`os.waitpid` 之后 `os.rmdir`。",
                "In version 1 the directory is `/sys/fs/cgroup/pids` and that path. In version 2 it is `/sys/fs/cgroup` and the path, or the nearest above it whose `cgroup.subtree_control` has `pids`. "
                "`os.mkdir`, write `pids.max`; the child writes `0` to `cgroup.procs`; after `os.waitpid`, `os.rmdir`.",
            ),
        ),
        claims.V08,
    ),
    Stage(
        "v0.9",
        Words("有自己的网线", "a cable of its own"),
        Words(
            "里面的 lo 总要打开。再认一个选项：`run --ip 地址 程序 参数...`，例如 `--ip 10.7.0.2`：接一根 veth，里面那头叫 `eth0`，有这个地址（/24）；"
            "外面那头是同一个网络的 1 号，也是里面的默认路由。结束以后，外面的网卡一块不多。`ip` 命令可以用。",
            "Inside, lo is always up. Know one more option: `run --ip ADDRESS PROGRAM ARGUMENT...`, such as `--ip 10.7.0.2`. Lay a veth: the end inside is called `eth0` and has this address (/24). "
            "The end outside is number 1 of the same network, and the default route inside leads there. Afterwards no link is left outside. You may use the command `ip`.",
        ),
        (
            Words(
                "搬进新的网络以后，就够不着外面的网络了：搬之前 fork 一个帮手留在外面，用管道告诉它“我搬好了”。里面的事由 1 号来做：父进程搬过 PID 命名空间，它再生的第一个孩子就是 1 号。",
                "After the move to a new network you cannot reach the one outside. Before it, fork a helper that stays, and tell it by a pipe when you have moved. What is to be done inside, PID 1 does: the parent has unshared the PID namespace, and the next child that it makes is PID 1.",
            ),
            Words(
                "帮手：`ip link add 名字 type veth peer name eth0 netns PID`，`ip addr add 10.7.0.1/24 dev 名字`，`ip link set 名字 up`，然后结束；父进程等它结束，再 fork 容器。"
                "容器里，换根之前：`ip link set lo up`，`ip addr add 10.7.0.2/24 dev eth0`，`ip link set eth0 up`，`ip route add default via 10.7.0.1`。",
                "The helper: `ip link add NAME type veth peer name eth0 netns PID`, `ip addr add 10.7.0.1/24 dev NAME`, `ip link set NAME up`, and it ends. The parent waits for that, then forks the container. "
                "In there, before the new root: `ip link set lo up`, `ip addr add 10.7.0.2/24 dev eth0`, `ip link set eth0 up`, `ip route add default via 10.7.0.1`.",
            ),
        ),
        claims.V09,
    ),
    Stage(
        "v1.0",
        Words("run --rm -it busybox sh", "run --rm -it busybox sh"),
        Words(
            "认得 `--rm`、`-i`、`-t`、`-it`，和镜像的名字：旁边有 `images/名字.tar`（`docker save` 的格式）的才是镜像。各层解开，叠成根；不写程序就运行它的 `Cmd`。"
            "`-t`：孩子在自己的 devpts 里开一个终端，一头送给父进程，父进程在你的终端和它之间转送，最后把你的终端恢复原样。",
            "Know `--rm`, `-i`, `-t`, `-it`, and the name of an image: a name is one if `images/NAME.tar` is beside the file, as `docker save` writes it. Unpack its layers and make the root of them. Without a program run its `Cmd`. "
            "For `-t` the child opens a terminal in a devpts of its own and sends one end to the parent, which passes on what is typed and printed, and restores your terminal in the end.",
        ),
        (
            Words(
                "两头怎样分开：终端要在容器里开，可是转送的是外面的父进程。描述符可以从套接字上送过去。镜像解到孩子自己的 tmpfs 里，就不用收拾。",
                "The terminal is to be opened inside, but it is the parent outside that passes things on. A descriptor can be sent over a socket. If the image is unpacked to the child's own tmpfs, there is nothing to tidy up.",
            ),
            Words(
                "镜像：`tarfile` 读 `manifest.json`，其中有 `Layers`（最下面的在前）和 `Config`。终端：`/dev/pts/ptmx`、`TIOCSPTLCK`、`TIOCGPTN`、`socket.send_fds`、`os.login_tty`；"
                "父进程：`socket.recv_fds`、`TIOCSWINSZ`、`tty.setraw`、`select`，读到 EIO 就是结束。`--rm` 什么都不用做。",
                "The image: read `manifest.json` with `tarfile`; it has `Layers`, the lowest first, and `Config`. The terminal: `/dev/pts/ptmx`, `TIOCSPTLCK`, `TIOCGPTN`, `socket.send_fds`, `os.login_tty`. "
                "The parent: `socket.recv_fds`, `TIOCSWINSZ`, `tty.setraw`, `select`; EIO is the end. There is nothing to do for `--rm`.",
            ),
        ),
        claims.V10,
    ),
)
"""In the lessons' order. V0.0 is before the first line of code; V0.2b, about a command, adds none."""
