"""What of docker run is not here, and why not."""

from _collections_abc import Mapping

from labkit.text.words import Words

_NOT_HERE = Words("{option} 还没有：{why}", "{option} is not here: {why}")

_GROUPS = Words("labkit 的控制组不设这一项", "the control groups of labkit have no such setting")
_PARENT = Words(
    "容器的控制组建在 labkit 自己那一组下面：要换地方，就在那一组里运行 labkit",
    "a container's group is made below the one that labkit is in: run labkit in the one you want",
)
_HANGS = Words(
    "内存用尽时容器会停在那里，谁也救不了；控制组版本 2 里也没有这一项",
    "a container without memory would hang for good, and cgroup version 2 has no such setting",
)
_NETWORK = Words("labkit 的网络没有这一项", "the network of labkit has no such setting")
_LINK = Words(
    "Docker 自己也不再推荐它：把两个容器放进同一个 --network，就能按名字找到对方",
    "Docker advises against it too; in one --network containers find each other by name",
)
_WINDOWS = Words("它只对 Windows 上的容器有意义", "it is for containers on Windows")
_VOLUMES = Words(
    "卷都在本机，用 -v 和 --mount 写出来",
    "volumes are on this machine, and -v and --mount name them",
)
_DAEMON = Words(
    "没有守护进程，也就没有它的套接字", "there is no daemon, so there is no socket of one"
)
_QUOTA = Words(
    "overlay 自己不限大小，要靠下面的文件系统配额",
    "an overlay has no size of its own; that takes a quota of the file system below",
)
_GPU = Words(
    "它要靠显卡厂商自己的程序；设备文件可以用 --device",
    "it takes a program of the maker of the card; --device gives single devices",
)

ABSENT: Mapping[str, Words] = {
    option: why
    for why, options in (
        (
            _GROUPS,
            "memory-reservation memory-swappiness cpu-rt-period cpu-rt-runtime cpuset-mems "
            "blkio-weight blkio-weight-device kernel-memory",
        ),
        (_PARENT, "cgroup-parent"),
        (_HANGS, "oom-kill-disable"),
        (_NETWORK, "link-local-ip"),
        (_LINK, "link"),
        (_WINDOWS, "cpu-count cpu-percent io-maxbandwidth io-maxiops"),
        (_VOLUMES, "volume-driver"),
        (_DAEMON, "use-api-socket"),
        (_QUOTA, "storage-opt"),
        (_GPU, "gpus"),
    )
    for option in options.split()
}
"""Each option of docker run that options.py has not, and why."""


class Refused(ValueError):  # noqa: N818 - it says what happened
    """A command that cannot be carried out, and why: its message is Words."""


class TooFew(Refused):
    """A command with too few arguments, for which docker has an exit status of its own: 1."""


def absent(option: str, why: Words) -> Words:
    """That `option` is not here, and why."""
    return _NOT_HERE.filled(option=option, why=why)
