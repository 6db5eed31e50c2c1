"""docker run --help: what an option does here, and which lesson brings the others."""

import textwrap
from collections.abc import Iterator

from labkit.docker.lessons import LATER
from labkit.docker.options import spelt
from labkit.text.tables import columns
from labkit.text.words import Words

_USAGE = Words(
    "用法：docker run [选项] 镜像 程序 [参数...]",
    "Usage: docker run [OPTIONS] IMAGE PROGRAM [ARG...]",
)
_HERE = Words("可以用的选项：", "Options that you can use:")
_SOON = Words(
    "要等以后的课，最晚是 V1.0：",
    "Options that come with a later lesson, at the latest with V1.0:",
)
_NO_LESSON = Words("还没有哪一课讲：", "Options that no lesson is planned for:")

# What each of options.py does, in docker's order; its value, if it takes one.
OPTIONS: dict[str, tuple[str, Words]] = {
    "cap-add": ("CAP", Words("多给一项权能", "add a capability")),
    "cap-drop": ("CAP", Words("去掉一项权能", "take a capability away")),
    "cgroupns": ("host|private", Words("控制组命名空间", "the cgroup namespace")),
    "cpu-shares": (
        "N",
        Words("处理器的份额，通常 1024", "a share of the processors, usually 1024"),
    ),
    "cpus": ("N", Words("几个处理器，如 0.5", "how many processors, as 0.5")),
    "cpuset-cpus": ("LIST", Words("用哪些处理器，如 0-1", "on which processors, as 0-1")),
    "device": ("FILE[:rwm]", Words("许用一个设备", "allow a device")),
    "device-cgroup-rule": ("RULE", Words("许用一种设备", "allow devices by number")),
    "device-read-bps": ("DISK:N", Words("每秒读多少字节", "bytes read in a second")),
    "device-read-iops": ("DISK:N", Words("每秒读多少次", "reads in a second")),
    "device-write-bps": ("DISK:N", Words("每秒写多少字节", "bytes written in a second")),
    "device-write-iops": ("DISK:N", Words("每秒写多少次", "writes in a second")),
    "env": ("NAME[=VALUE]", Words("设一个环境变量", "set an environment variable")),
    "group-add": ("GROUP", Words("再加一个组", "add a group")),
    "hostname": ("NAME", Words("容器的主机名", "the container's host name")),
    "interactive": ("", Words("接上标准输入", "connect standard input")),
    "ipc": ("host|private", Words("IPC 命名空间", "the IPC namespace")),
    "memory": ("SIZE", Words("内存的上限，如 64m", "the limit of memory, as 64m")),
    "memory-swap": ("SIZE", Words("内存加交换区的上限", "the limit of memory and swap")),
    "network": ("host|none", Words("网络命名空间", "the network namespace")),
    "pid": ("host", Words("PID 命名空间", "the PID namespace")),
    "pids-limit": ("N", Words("进程数的上限", "the limit of processes")),
    "privileged": ("", Words("全部权能，不过滤系统调用", "all capabilities, no seccomp filter")),
    "read-only": ("", Words("根目录只读", "a root directory that can only be read")),
    "rm": ("", Words("结束即删除；这里总是如此", "remove it at its end, as always here")),
    "security-opt": (
        "OPTION",
        Words("no-new-privileges、seccomp=文件", "no-new-privileges, seccomp=FILE"),
    ),
    "tmpfs": ("DIR[:OPTION,...]", Words("内存里的目录", "a directory in memory")),
    "tty": ("", Words("给它一个终端", "give it a terminal")),
    "user": ("USER[:GROUP]", Words("程序以谁的身份运行", "who runs the program")),
    "userns": ("host", Words("用户命名空间", "the user namespace")),
    "uts": ("host", Words("UTS 命名空间", "the UTS namespace")),
    "volume": ("/SRC:/DST[:ro]", Words("宿主机的目录", "a directory of the host")),
    "workdir": ("DIR", Words("工作目录", "the working directory")),
}


def text() -> str:
    """What --help prints."""
    rows = [[f"  {spelt(name)} {value}", str(told)] for name, (value, told) in OPTIONS.items()]
    parts = [_lines(_USAGE), _lines(_HERE) + columns(rows), _lines(_SOON) + "".join(_lessons())]
    return "\n".join([*parts, _lines(_NO_LESSON) + _listed(None)])


def _lines(words: Words) -> str:
    return "".join(f"{line}\n" for line in words.texts())


def _lessons() -> Iterator[str]:
    for lesson in dict.fromkeys(LATER.values()):
        if lesson:
            yield f"  {lesson}\n{_listed(lesson)}"


def _listed(lesson: Words | None) -> str:
    """The options that `lesson` brings, on lines of a terminal's width."""
    names = " ".join(f"--{name}" for name, its in LATER.items() if its == lesson)
    lines = textwrap.wrap(names, 92, break_on_hyphens=False)
    return "".join(f"    {line}\n" for line in lines)
