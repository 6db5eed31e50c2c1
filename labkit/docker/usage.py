"""docker run --help: what an option does here, and why others are not here."""

import textwrap
from collections.abc import Iterator

from labkit.docker.absent import ABSENT
from labkit.docker.grammar import spelt
from labkit.text.tables import columns
from labkit.text.words import Words

_USAGE = Words(
    "用法：docker run [选项] 镜像 [程序] [参数...]",
    "Usage: docker run [OPTIONS] IMAGE [PROGRAM] [ARG...]",
)
_HERE = Words("可以用的选项：", "Options that you can use:")
_NOT_HERE = Words("还没有的：", "Options that are not here:")

# What each of options.py does, in docker's order; its value, if it takes one.
OPTIONS: dict[str, tuple[str, Words]] = {
    "add-host": ("NAME:IP", Words("/etc/hosts 里再加一行", "one more line in /etc/hosts")),
    "annotation": ("NAME=VALUE", Words("给 OCI 运行时的注记", "a note for the OCI runtime")),
    "attach": (
        "STREAM",
        Words("接上 stdin、stdout 或 stderr", "attach to stdin, stdout or stderr"),
    ),
    "cap-add": ("CAP", Words("多给一项权能", "add a capability")),
    "cap-drop": ("CAP", Words("去掉一项权能", "take a capability away")),
    "cgroupns": ("host|private", Words("控制组命名空间", "the cgroup namespace")),
    "cidfile": ("FILE", Words("把容器 ID 写进文件", "write the container's ID to a file")),
    "cpu-period": ("N", Words("配额的周期，微秒", "the period of the quota, in microseconds")),
    "cpu-quota": ("N", Words("每个周期用多少微秒", "microseconds of processor in each period")),
    "cpu-shares": (
        "N",
        Words("处理器的份额，通常 1024", "a share of the processors, usually 1024"),
    ),
    "cpus": ("N", Words("几个处理器，如 0.5", "how many processors, as 0.5")),
    "cpuset-cpus": ("LIST", Words("用哪些处理器，如 0-1", "on which processors, as 0-1")),
    "detach": ("", Words("放到后台", "leave it in the background")),
    "detach-keys": ("KEYS", Words("脱离终端的按键", "the keys that leave its terminal")),
    "device": ("FILE[:FILE][:rwm]", Words("给它一个设备", "give it a device")),
    "device-cgroup-rule": ("RULE", Words("许用一种设备", "allow devices by number")),
    "device-read-bps": ("DISK:N", Words("每秒读多少字节", "bytes read in a second")),
    "device-read-iops": ("DISK:N", Words("每秒读多少次", "reads in a second")),
    "device-write-bps": ("DISK:N", Words("每秒写多少字节", "bytes written in a second")),
    "device-write-iops": ("DISK:N", Words("每秒写多少次", "writes in a second")),
    "disable-content-trust": ("", Words("没有作用，Docker 也如此", "does nothing, as with Docker")),
    "dns": ("IP", Words("别的名字去问谁", "who is asked for other names")),
    "dns-option": ("OPTION", Words("resolv.conf 的选项", "an option of resolv.conf")),
    "dns-search": ("DOMAIN", Words("在哪些域里找短名字", "where short names are looked for")),
    "domainname": ("NAME", Words("NIS 域名", "the NIS domain name")),
    "entrypoint": ("PROGRAM", Words("换掉镜像的入口程序", "a program in place of the image's")),
    "env": ("NAME[=VALUE]", Words("设一个环境变量", "set an environment variable")),
    "env-file": ("FILE", Words("从文件读环境变量", "environment variables from a file")),
    "expose": ("PORT", Words("说明用到的端口", "a port that it listens on")),
    "group-add": ("GROUP", Words("再加一个组", "add a group")),
    "health-cmd": ("COMMAND", Words("健康检查的命令", "the command of the health check")),
    "health-interval": ("TIME", Words("两次检查的间隔", "the time between two checks")),
    "health-retries": ("N", Words("失败几次算不健康", "how many failures make it unhealthy")),
    "health-start-interval": ("TIME", Words("启动期间的间隔", "the same while it is starting")),
    "health-start-period": ("TIME", Words("启动要多久", "how long it takes to start")),
    "health-timeout": ("TIME", Words("一次检查的时限", "how long one check may take")),
    "hostname": ("NAME", Words("容器的主机名", "the container's host name")),
    "init": ("", Words("加一个收尸的 1 号进程", "a PID 1 that passes on signals and reaps")),
    "interactive": ("", Words("接上标准输入", "connect standard input")),
    "ip": ("IP", Words("它的地址", "its address")),
    "ip6": ("IP", Words("它的 IPv6 地址", "its address of IPv6")),
    "ipc": ("host|private", Words("IPC 命名空间", "the IPC namespace")),
    "label": ("NAME=VALUE", Words("一个标签", "a label")),
    "label-file": ("FILE", Words("从文件读标签", "labels from a file")),
    "log-driver": ("DRIVER", Words("json-file、local 或 none", "json-file, local or none")),
    "log-opt": ("NAME=VALUE", Words("日志的选项", "an option of the log")),
    "mac-address": ("MAC", Words("它的硬件地址", "its hardware address")),
    "memory": ("SIZE", Words("内存的上限，如 64m", "the limit of memory, as 64m")),
    "memory-swap": ("SIZE", Words("内存加交换区的上限", "the limit of memory and swap")),
    "mount": ("KEY=VALUE,...", Words("挂载目录、卷或内存", "a directory, a volume or memory")),
    "name": ("NAME", Words("容器的名字", "the container's name")),
    "network": ("bridge|none|host|NAME", Words("在哪个网络上", "the network that it is on")),
    "network-alias": ("NAME", Words("在网络里再有一个名字", "one more name on its network")),
    "no-healthcheck": ("", Words("不做健康检查", "no health check")),
    "pid": ("host", Words("PID 命名空间", "the PID namespace")),
    "pids-limit": ("N", Words("进程数的上限", "the limit of processes")),
    "isolation": ("default", Words("只有 default", "only default")),
    "oom-score-adj": ("N", Words("内存不足时先杀它的程度", "how soon it is killed for memory")),
    "platform": ("OS/ARCH", Words("要哪个平台的镜像", "the platform of the image")),
    "privileged": ("", Words("全部权能，不过滤系统调用", "all capabilities, no seccomp filter")),
    "publish": ("[IP:]PORT:PORT", Words("把端口发布到宿主机上", "publish a port on this machine")),
    "publish-all": ("", Words("发布镜像说的端口", "publish all ports that are exposed")),
    "pull": ("always|missing|never", Words("何时拉取镜像", "when the image is pulled")),
    "quiet": ("", Words("拉取时不显示进度", "no progress of the pull")),
    "read-only": ("", Words("根目录只读", "a root directory that can only be read")),
    "restart": ("POLICY", Words("结束后要不要再启动", "whether it starts again when it ends")),
    "rm": ("", Words("结束即删除", "remove it at its end")),
    "runtime": ("", Words("没有别的运行时", "there is no other runtime")),
    "security-opt": (
        "OPTION",
        Words("no-new-privileges、seccomp=文件", "no-new-privileges, seccomp=FILE"),
    ),
    "shm-size": ("SIZE", Words("共享内存（/dev/shm）的大小", "the size of /dev/shm")),
    "sig-proxy": ("", Words("把信号转给容器", "pass signals on to the container")),
    "stop-signal": ("SIGNAL", Words("docker stop 的信号", "the signal of docker stop")),
    "stop-timeout": ("SECONDS", Words("多久以后才用 SIGKILL", "how long until SIGKILL")),
    "sysctl": ("NAME=VALUE", Words("内核的一项设置", "a setting of the kernel")),
    "tmpfs": ("DIR[:OPTION,...]", Words("内存里的目录", "a directory in memory")),
    "tty": ("", Words("给它一个终端", "give it a terminal")),
    "ulimit": ("NAME=SOFT[:HARD]", Words("一种资源的上限", "the limit of a resource")),
    "user": ("USER[:GROUP]", Words("程序以谁的身份运行", "who runs the program")),
    "userns": ("host", Words("用户命名空间", "the user namespace")),
    "uts": ("host", Words("UTS 命名空间", "the UTS namespace")),
    "volume": (
        "[SRC:]DST[:ro]",
        Words("宿主机的目录，或一个卷", "a directory of the host, or a volume"),
    ),
    "volumes-from": ("CONTAINER[:ro]", Words("另一个容器的卷", "the volumes of another container")),
    "workdir": ("DIR", Words("工作目录", "the working directory")),
}


def text() -> str:
    """What --help prints."""
    rows = [[f"  {spelt(name)} {value}", str(told)] for name, (value, told) in OPTIONS.items()]
    parts = [_lines(_USAGE), _lines(_HERE) + columns(rows), _lines(_NOT_HERE) + "".join(_absent())]
    return "\n".join(parts)


def _lines(words: Words) -> str:
    return "".join(f"{line}\n" for line in words.texts())


def _absent() -> Iterator[str]:
    """Each reason, and the options that it keeps away, on lines of a terminal's width."""
    for why in dict.fromkeys(ABSENT.values()):
        yield "".join(f"  {line}\n" for line in why.texts())
        names = " ".join(f"--{name}" for name, its in ABSENT.items() if its == why)
        lines = textwrap.wrap(names, 92, break_on_hyphens=False)
        yield "".join(f"    {line}\n" for line in lines)
