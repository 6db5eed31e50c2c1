"""Why an option of docker run is refused: which lesson brings it if labkit does not have it yet."""

from collections.abc import Mapping

from labkit.text.words import Words

_SOON = Words(
    "要等讲{0}的那一课（V0.6 至 V1.0 之一，次序未定）",
    "comes with the lesson on {0}, one of V0.6 to V1.0, not yet in order",
)
_ROOT = Words(
    _SOON.zh.format("自己的根目录与镜像"), _SOON.en.format("a root directory and images of its own")
)
_COPY = Words(_SOON.zh.format("写时复制"), _SOON.en.format("copy-on-write"))
LIMITS = Words(_SOON.zh.format("控制组"), _SOON.en.format("cgroups"))
NETWORK = Words(_SOON.zh.format("网络"), _SOON.en.format("the network"))
_PULLING = Words(_SOON.zh.format("拉取镜像"), _SOON.en.format("pulling images"))
_UNPLANNED = Words("还没有哪一课讲它", "no lesson is planned for it yet")

# Each option of docker run but those of options.py. NETWORK and LIMITS are named by values, too.
LATER: Mapping[str, Words] = {
    option: lesson
    for lesson, options in (
        (
            _ROOT,
            "volume volumes-from volume-driver mount tmpfs read-only entrypoint device shm-size "
            "device-cgroup-rule gpus",
        ),
        (_COPY, "storage-opt"),
        (
            LIMITS,
            "memory memory-reservation memory-swap memory-swappiness cpus cpu-shares cpu-period "
            "cpu-quota cpu-rt-period cpu-rt-runtime cpu-count cpu-percent cpuset-cpus cpuset-mems "
            "pids-limit blkio-weight blkio-weight-device device-read-bps device-read-iops "
            "device-write-bps device-write-iops io-maxbandwidth io-maxiops kernel-memory "
            "oom-kill-disable oom-score-adj cgroup-parent ulimit",
        ),
        (
            NETWORK,
            "publish publish-all expose link link-local-ip dns dns-opt dns-option dns-search "
            "add-host ip ip6 mac-address network-alias net-alias",
        ),
        (_PULLING, "pull platform quiet disable-content-trust"),
        (
            _UNPLANNED,
            "detach name restart cidfile label label-file attach detach-keys sig-proxy init "
            "stop-signal stop-timeout health-cmd health-interval health-retries health-timeout "
            "health-start-period health-start-interval no-healthcheck log-driver log-opt env-file "
            "runtime isolation annotation sysctl domainname use-api-socket",
        ),
    )
    for option in options.split()
}


class Refused(ValueError):  # noqa: N818 - it says what happened
    """A command that cannot be carried out, and why: its message is Words."""


def later(option: str, lesson: Words) -> Words:
    """That `option` is not here yet, and when it will be."""
    return Words(f"{option} 还没有：{lesson.zh}", f"{option} is not here yet: it {lesson.en}")
