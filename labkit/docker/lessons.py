"""Why an option of docker run is refused: which lesson brings it if labkit does not have it yet."""

from collections.abc import Mapping

from labkit.text.words import Words

_SOON = Words(
    "{option} 还没有：要等讲{lesson}的那一课，最晚是 V1.0",
    "{option} is not here yet: it comes with the lesson on {lesson}, at the latest with V1.0",
)
_NO_LESSON = Words(
    "{option} 还没有：还没有哪一课讲它",
    "{option} is not here yet: no lesson is planned for it",
)
# What the lesson of an option is about.
_ROOT = Words("镜像", "images")
_COPY = Words("写时复制", "copy-on-write")
NETWORK = Words("网络", "the network")
_PULLING = Words("拉取镜像", "pulling images")

# Each option of docker run but those of options.py, with its lesson or None. NETWORK is named by
# values, too.
LATER: Mapping[str, Words | None] = {
    option: lesson
    for lesson, options in (
        (
            _ROOT,
            "volumes-from volume-driver mount entrypoint shm-size gpus",
        ),
        (_COPY, "storage-opt"),
        (
            NETWORK,
            "publish publish-all expose link link-local-ip dns dns-opt dns-option dns-search "
            "add-host ip ip6 mac-address network-alias net-alias",
        ),
        (_PULLING, "pull platform quiet disable-content-trust"),
        (
            None,
            "detach name restart cidfile label label-file attach detach-keys sig-proxy init "
            "stop-signal stop-timeout health-cmd health-interval health-retries health-timeout "
            "health-start-period health-start-interval no-healthcheck log-driver log-opt env-file "
            "runtime isolation annotation sysctl domainname use-api-socket memory-reservation "
            "memory-swappiness cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-count "
            "cpu-percent cpuset-mems blkio-weight blkio-weight-device io-maxbandwidth io-maxiops "
            "kernel-memory oom-kill-disable oom-score-adj cgroup-parent ulimit",
        ),
    )
    for option in options.split()
}


class Refused(ValueError):  # noqa: N818 - it says what happened
    """A command that cannot be carried out, and why: its message is Words."""


def later(option: str, lesson: Words | None) -> Words:
    """That `option` is not here yet, and which lesson brings it, if one does."""
    if lesson is None:
        return _NO_LESSON.filled(option=option)
    return _SOON.filled(option=option, lesson=lesson)
