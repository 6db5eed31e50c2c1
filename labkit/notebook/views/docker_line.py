"""The nearest that docker run has to a container, and what differs.

`%docker` runs every line that is printed here: what it reads is the container again, but for what
the notes say. A test holds that.
"""

import os.path
import shlex
from collections.abc import Callable, Iterator, Sequence

from labkit.container.container import Container
from labkit.container.root import Root, Volume
from labkit.docker import limits, networks
from labkit.docker.rights import DEFAULT, MAX_ID
from labkit.linux.flags import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
)
from labkit.text.words import Words

IMAGE = "ubuntu"  # the notes' own

# What docker run makes new unless it is told to share the host's; its words for both.
_DOCKER = {
    CLONE_NEWUTS: ("", "--uts=host"),
    CLONE_NEWIPC: ("--ipc=private", "--ipc=host"),
    CLONE_NEWPID: ("", "--pid=host"),
    CLONE_NEWNET: ("--network=none", "--network=host"),
    CLONE_NEWCGROUP: ("--cgroupns=private", "--cgroupns=host"),
}


def docker_line(box: Container) -> str:
    """The nearest that docker run has."""
    words = ["docker", "run", "--rm", "--tty" * box.tty]
    named = CLONE_NEWNET if box.on_network else 0
    words += [
        new if box.cloneflags & flag else old
        for flag, (new, old) in _DOCKER.items()
        if flag != named
    ]
    words += networks.words(box.on_network) if box.on_network else ()
    if box.hostname:
        words.append(f"--hostname={box.hostname}")
    if box.cwd is not None and os.path.isabs(box.cwd):
        words.append(f"--workdir={box.cwd}")
    if box.user is not None and _has(box.user):
        uid, gid, groups = box.user
        words += [f"--user={uid}:{gid}", *(f"--group-add={g}" for g in groups if g != gid)]
    words += limits.words(box.limits) if box.limits else ()
    words += _settings(box)
    words += _powers(box) if _limited(box) else ()
    words += _mounted(box.root) if box.root else ()
    words += [f"--env={name}={value}" for name, value in (box.env or {}).items()]
    return shlex.join([*filter(None, words), IMAGE, *box.argv]) + "\n"


def _settings(box: Container) -> Iterator[str]:
    for name, (soft, hard) in (box.rlimits or {}).items():
        yield f"--ulimit={name}={soft}:{hard}"
    yield from (f"--sysctl={name}={value}" for name, value in (box.sysctls or {}).items())
    yield from ["--init"] * box.init
    yield from [f"--oom-score-adj={box.oom_score_adj}"] * (box.oom_score_adj is not None)


def _mounted(root: Root) -> Iterator[str]:
    """What is mounted in the root. The root itself is the image."""
    yield from ["--read-only"] * root.readonly
    yield from (_volume(each) for each in root.mounts() if isinstance(each, Volume))
    yield from (f"--tmpfs={memory}" for memory in root.tmpfs)
    for path, inside in _devices(root):
        yield f"--device={path}" + f":{inside}" * (inside != path)
    yield from [f"--shm-size={root.shm_size}"] * bool(root.shm_size)
    if not (root.masked or root.readonly_paths):
        yield "--security-opt=systempaths=unconfined"


def _volume(volume: Volume) -> str:
    """A directory of the host; -v would take a colon in its path for the end of it."""
    source, target = volume.source, volume.target
    if ":" in source + target:
        words = f"--mount=type=bind,source={source},target={target}"
        return words + ",readonly" * volume.readonly
    return f"--volume={source}:{target}" + ":ro" * volume.readonly


def _devices(root: Root) -> list[tuple[str, str]]:
    """Those that --device can name."""
    return [pair for pair in root.nodes() if ":" not in "".join(pair)]


def _limited(box: Container) -> bool:
    """Whether `box` says what the program may do. If not, the line leaves it to Docker."""
    return box.no_new_privs or (box.capabilities, box.seccomp) != (None, None)


def _powers(box: Container) -> Iterator[str]:
    """Docker's words for the capabilities, no_new_privs and seccomp, where it has another default.

    A profile of one's own is a file for Docker, and here we have its content only.
    """
    if box.capabilities is None:
        yield "--cap-add=ALL"
    elif {*box.capabilities} != {*DEFAULT}:
        yield "--cap-drop=ALL"
        yield from (f"--cap-add={name.removeprefix('CAP_')}" for name in box.capabilities)
    if box.no_new_privs:
        yield "--security-opt=no-new-privileges"
    if box.seccomp is None:
        yield "--security-opt=seccomp=unconfined"


def _has(user: tuple[int, int, Sequence[int]]) -> bool:
    """Whether Docker has numbers as large as these."""
    uid, gid, groups = user
    return max(uid, gid, *groups) <= MAX_ID


def docker_notes(box: Container) -> Iterator[Words]:
    """What the line does not say, or Docker does in another way."""
    yield Words(
        "Docker 默认样样都新，共用的才写 `=host`。它与这里还有不同："
        f"根目录、工作目录和环境变量由镜像 `{IMAGE}` 定，`/proc` 总是自己的。",
        "Docker makes all of these new; `=host` shares one. More differs from here: the image "
        f"`{IMAGE}` gives root, working directory and environment; `/proc` is always its own.",
    )
    yield from (words for applies, words in _LACKS if applies(box))


# When it applies; what Docker cannot do, or does in another way.
_LACKS: tuple[tuple[Callable[[Container], object], Words], ...] = (
    (
        lambda box: box.root and len(_devices(box.root)) < len(box.root.nodes()),
        Words(
            "`--device` 在冒号处断开：名字里有冒号的设备，它说不出来，`--privileged` 才有。",
            "`--device` ends a path at a colon: a device with a colon in its name comes with "
            "`--privileged` only.",
        ),
    ),
    (
        lambda box: not box.cloneflags & CLONE_NEWNS,
        Words(
            "没有选项能去掉 `CLONE_NEWNS`。",
            "No option leaves out `CLONE_NEWNS`: it is always there.",
        ),
    ),
    (
        lambda box: box.cloneflags & CLONE_NEWUSER,
        Words(
            "`CLONE_NEWUSER` 没有对应的选项，要在守护进程里设置 `userns-remap`。",
            "`CLONE_NEWUSER` has no option: it is the daemon's setting `userns-remap`.",
        ),
    ),
    (
        lambda box: box.cloneflags & CLONE_NEWTIME,
        Words("`CLONE_NEWTIME` 没有对应的选项。", "`CLONE_NEWTIME` has no option."),
    ),
    (
        lambda box: box.cloneflags & CLONE_NEWUTS and not box.hostname,
        Words(
            "不写 `--hostname`，或者让它空着，主机名就取容器 ID 的前 12 位。",
            "Without `--hostname`, or if it is empty, the host name is the first 12 digits of the "
            "container's ID.",
        ),
    ),
    (
        lambda box: box.cloneflags & CLONE_NEWNET and not box.on_network,
        Words(
            "`--network=none` 里也只有 lo，不过 Docker 会打开它。",
            "`--network=none` has lo alone, as here, though Docker brings it up.",
        ),
    ),
    (
        lambda box: box.limits and not [*limits.words(box.limits)],
        Words(
            "`limits`：没有一项限制要写；Docker 总是记账，设备也总只许用常用的。",
            "`limits`: there is no limit to be written; Docker always counts, and always allows "
            "the usual devices only.",
        ),
    ),
    (
        lambda box: box.limits and box.limits.cpu_weight,
        Words(
            "Docker 没有 `cpu_weight`，只有 `--cpu-shares`，`limits` 因此写法不同。",
            "Docker has no `cpu_weight`, only `--cpu-shares`, so `limits` are written otherwise.",
        ),
    ),
    (
        lambda box: box.seccomp == "default",
        Words(
            "这就是 Docker 默认的 seccomp 配置，不必写选项。",
            "This is Docker's default seccomp profile: it takes no option.",
        ),
    ),
    (
        lambda box: not _limited(box),
        Words(
            "权能 Docker 只给 14 项，还过滤系统调用；要像这里一样不加限制，加上 `--privileged`。",
            "Docker gives 14 capabilities only, and filters system calls; `--privileged` lifts "
            "both limits, as here.",
        ),
    ),
    (
        lambda box: box.user is not None and box.user[1] not in box.user[2],
        Words(
            "Docker 把主组也列进附加组。",
            "Docker lists the group among the supplementary groups too.",
        ),
    ),
    (
        lambda box: box.user is not None and not _has(box.user),
        Words(
            f"Docker 的用户号和组号最大是 {MAX_ID}。",
            f"Docker's user and group IDs end at {MAX_ID}.",
        ),
    ),
    (
        lambda box: box.cwd is not None and not os.path.isabs(box.cwd),
        Words(
            "`--workdir` 只收绝对路径。",
            "`--workdir` takes an absolute path only.",
        ),
    ),
    (
        lambda box: box.env is not None,
        Words(
            "`--env` 是添上，镜像自己的环境变量还在。",
            "`--env` adds to the image's own environment, it does not replace it.",
        ),
    ),
)
