"""compare_with_docker(): the same run under labkit and under real Docker, and what differs.

One shell script runs inside both and prints what the kernel says of a process there: who it is,
what it may do, what is mounted, which namespaces, groups, devices, settings and limits it has.
Where they differ, a table says so, and why as far as we know.
"""

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch

from labkit.container.container import Container
from labkit.docker.order import parse
from labkit.docker.roots import finished, rooted, volumes_for
from labkit.engine.client import run
from labkit.images.store import Store
from labkit.images.writable import writable
from labkit.linux.namespaces import inodes
from labkit.notebook.views.docker_line import IMAGE, docker_line
from labkit.text.tables import columns
from labkit.text.words import Words

_SETTINGS = (
    *("kernel/domainname", "kernel/shmmax", "kernel/shmall", "kernel/msgmax", "kernel/sem"),
    *("fs/mqueue/msg_max", "net/ipv4/ip_forward", "net/ipv4/ip_unprivileged_port_start"),
    *("net/ipv4/ping_group_range", "net/ipv4/ip_default_ttl", "net/core/somaxconn"),
)
# It needs a shell, and cat, ls, env and readlink: busybox will do.
PROBE = f"""
exec 2>/dev/null
for name in status limits cgroup mountinfo; do echo "== $name"; cat /proc/self/$name; done
echo "== namespaces"; for n in /proc/self/ns/*; do echo "${{n##*/}} $(readlink $n)"; done
echo "== environment"; env
echo "== devices"; ls -l /dev /dev/net
echo "== settings"
for name in {" ".join(_SETTINGS)}; do echo "$name $(cat /proc/sys/$name)"; done
echo "== links"; ls /sys/class/net
echo "== root"; ls -A /
"""
_STATUS = (
    *("Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "Seccomp_filters"),
    *("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"),
)
_NOTHING, _THERE = "-", "there"
_NEW, _SHARED, _OWN = "new", "the host's", "a group below"
Facts = dict[str, dict[str, str]]
"""What is known of a process: by subject, then by name."""

SUBJECTS = {
    "status": Words("身份与权能", "who it is, what it may do"),
    "namespaces": Words("命名空间", "namespaces"),
    "mountinfo": Words("挂载", "mounts"),
    "devices": Words("设备", "devices"),
    "cgroup": Words("控制组", "control groups"),
    "environment": Words("环境变量", "environment"),
    "settings": Words("内核参数", "settings of the kernel"),
    "limits": Words("资源限制", "resource limits"),
    "links": Words("网络接口", "network interfaces"),
    "root": Words("根目录", "root directory"),
}
# Why they differ: the subject, a pattern of names, and the reason.
_WHY = (
    (
        "mountinfo",
        "/",
        Words(
            "主机的 / 是共享的时，Docker 的根目录跟着主机的挂载变（slave）；labkit 的不跟",
            "where the host's / is shared, Docker's root follows what is mounted there (slave); "
            "labkit's does not",
        ),
    ),
    *(
        (
            "mountinfo",
            masked,
            Words(
                "Docker 为每个目录挂一个 tmpfs；labkit 都用同一个删掉了的空目录，里面建不了东西",
                "Docker mounts a tmpfs for each; labkit mounts one empty directory over all, which "
                "has been removed, so that nothing can be made in it",
            ),
        )
        for masked in ("/proc/acpi", "/proc/scsi", "/sys/firmware")
    ),
    (
        "devices",
        "/dev/core",
        Words(
            "/proc/kcore 被遮住了，不必有通向它的链接", "no link to /proc/kcore, which is masked"
        ),
    ),
    (
        "limits",
        "Max *",
        Words(
            "labkit 把启动它的人的限制传下去；Docker 用的是守护进程自己的",
            "labkit hands on the limits of who starts it; Docker has those of its daemon",
        ),
    ),
    (
        "mountinfo",
        "/etc/*",
        Words(
            "Docker 把自己目录里的文件挂上去；labkit 写在 /dev 的 tmpfs 里，随容器一起消失",
            "Docker mounts files of its own directory; labkit writes them to the tmpfs of /dev, "
            "which ends with the container",
        ),
    ),
    (
        "mountinfo",
        "/proc/interrupts",
        Words("较新的 Docker 也把它遮住", "newer Dockers mask it too"),
    ),
    (
        "mountinfo",
        "/sys/fs/cgroup",
        Words("里面只有挂载点，所以不必可写", "it holds mount points only, so nobody writes there"),
    ),
    (
        "mountinfo",
        "/sys/fs/cgroup/*",
        Words(
            "labkit 只在用得着的层级里建组",
            "labkit makes a group only in the hierarchies that it needs",
        ),
    ),
    (
        "namespaces",
        "cgroup",
        Words(
            "在版本 1 上，Docker 默认与主机共用，labkit 不共用",
            "in version 1 Docker shares the host's by default, labkit does not",
        ),
    ),
    (
        "cgroup",
        "*",
        Words(
            "在自己的控制组命名空间里，自己的组就是根",
            "in a control group namespace of its own, its group is the root",
        ),
    ),
    (
        "environment",
        "LANG",
        Words(
            "这样程序就按 UTF-8 输出汉字",
            "so that programs write Chinese in UTF-8",
        ),
    ),
    ("root", ".dockerenv", Words("Docker 自己的记号", "Docker's own mark")),
)


@dataclass(frozen=True)
class Difference:
    """Something that is otherwise under labkit than under Docker; "-" is not there."""

    subject: str
    name: str
    labkit: str
    docker: str

    @property
    def why(self) -> Words | None:
        """The reason, where it is known."""
        for subject, pattern, reason in _WHY:
            if subject == self.subject and fnmatch(self.name, pattern):
                return reason
        return None


@dataclass(frozen=True)
class Beside:
    """Two runs, side by side. same: how many facts agree, by subject."""

    same: Mapping[str, int]
    differences: Sequence[Difference]

    def __repr__(self) -> str:
        """A table for each subject."""
        told = []
        for subject, words in SUBJECTS.items():
            rows = [each for each in self.differences if each.subject == subject]
            agree = Words(f"相同 {self.same[subject]} 项", f"{self.same[subject]} the same")
            told.append(f"{words.joined(' ')}: {agree.joined(' · ')}\n{_table(rows)}")
        return "".join(told)


def _table(rows: Sequence[Difference]) -> str:
    heads = [("", "labkit", "docker", Words("原因", "why").joined(" "))] * bool(rows)
    cells = [(d.name, d.labkit, d.docker, str(d.why or "")) for d in rows]
    return "".join(f"  {line}\n" for line in columns([*heads, *cells]).splitlines()) if rows else ""


def compare_with_docker(
    box: Container | Sequence[str], image: str = IMAGE, docker: Sequence[str] = ("docker",)
) -> Beside:
    """What differs between a run under labkit and the same run under Docker.

    box: a container, whose line of docker run Docker gets; or the words after ``docker run``,
    without the program, for both commands. docker: the words by which Docker is called.
    """
    if isinstance(box, Container):
        words, ours = _words(box, image), _in_image(box, image)
    else:
        words = ("run", "--rm", *box, "sh", "-c", PROBE)
        ours = _ordered(words)
    return beside(facts(ours), facts(_docker(docker, words)))


def _words(box: Container, image: str) -> tuple[str, ...]:
    """The line of docker run for `box`, with another image and program."""
    import shlex

    words = shlex.split(docker_line(replace(box, argv=("true",))))[1:-2]
    return (*words, image, "sh", "-c", PROBE)


def _in_image(box: Container, image: str) -> str:
    """What the script prints in `box`, in a root of the image if it has none of its own."""
    argv = ("sh", "-c", PROBE)
    if box.root:
        return run(replace(box, argv=argv)).stdout
    with rooted(Store(), image, box, argv) as (made, _):
        return run(made).stdout


def _ordered(words: Sequence[str]) -> str:
    """What the script prints in the container that the words ask for."""
    asked, store = parse(words), Store()
    image = store.find(asked.image)
    with writable(store, image) as made:
        kept = volumes_for(asked, image.settings, made)
        return run(finished(asked, image.settings, made, kept)).stdout


def _docker(docker: Sequence[str], words: Sequence[str]) -> str:
    done = subprocess.run([*docker, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        why = done.stderr.strip()
        raise ValueError(Words(f"docker 没有运行：{why}", f"docker did not run: {why}"))
    return done.stdout


def beside(ours: Facts, docker: Facts) -> Beside:
    """Compare what is known of two processes."""
    same, found = {}, []
    for subject in SUBJECTS:
        a, b = ours.get(subject, {}), docker.get(subject, {})
        pairs = [(n, a.get(n, _NOTHING), b.get(n, _NOTHING)) for n in sorted({*a, *b})]
        found += [Difference(subject, *pair) for pair in pairs if pair[1] != pair[2]]
        same[subject] = sum(pair[1] == pair[2] for pair in pairs)
    return Beside(same, found)


# --- What the script says -----------------------------------------------------------------------


def facts(printed: str) -> Facts:
    """What the script has printed, without what differs from run to run."""
    parts = re.split(r"^== (\w+)\n", printed, flags=re.MULTILINE)[1:]
    told = dict(zip(parts[::2], parts[1::2], strict=True))
    return {subject: dict(_READERS[subject](text)) for subject, text in told.items()}


_Pairs = Iterator[tuple[str, str]]


def _status(text: str) -> _Pairs:
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name in _STATUS:
            yield name, " ".join(value.split())


def _limits(text: str) -> _Pairs:
    for line in text.splitlines()[1:]:
        cells = re.split(r" {2,}", line.strip())
        yield cells[0], " / ".join(cells[1:3])


def _groups(text: str) -> _Pairs:
    """In which group of each hierarchy it sees itself. Where another is seen, its name varies."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        yield controllers or "v2", path if path == "/" else _OWN


def _mounts(text: str) -> _Pairs:
    """What is mounted where, and how. Sizes and the layers of overlay differ from run to run."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        kind, _, options = after.split(" ", 2)
        propagation = [field.partition(":")[0] for field in fields[6:]]
        more = sorted(o for o in options.split(",") if re.match(r"(ro|rw|size|mode|gid|newins)", o))
        yield fields[4], " ".join([kind, fields[5], *propagation, ",".join(more)])


def _namespaces(text: str) -> _Pairs:
    """Whether each is a new one, compared with ours."""
    here = {f"{name}:[{inode}]" for name, inode in inodes().items()}
    for line in text.splitlines():
        name, _, link = line.partition(" ")
        yield name, _SHARED if link in here else _NEW


def _variables(text: str) -> _Pairs:
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name not in ("HOSTNAME", "SHLVL", "PWD"):
            yield name, value


def _devices(text: str) -> _Pairs:
    """Kind, mode, owner and number of each, or what a link leads to."""
    folder = ""
    for line in text.splitlines():
        if line.endswith(":"):
            folder = line[:-1]
        elif folder and (cells := line.split()) and len(cells) > 5:
            link = line.partition(" -> ")[2]
            name = line.partition(" -> ")[0].split()[-1]
            numbers = "".join(cells[4:6]) if cells[0][0] in "bc" else ""
            yield f"{folder}/{name}", link or " ".join([cells[0], *cells[2:4], numbers]).strip()


def _settings(text: str) -> _Pairs:
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        yield name.replace("/", "."), " ".join(value.split()) or _NOTHING


def _names(text: str) -> _Pairs:
    for name in text.split():
        yield name, _THERE


_READERS: dict[str, Callable[[str], _Pairs]] = {
    "status": _status,
    "limits": _limits,
    "cgroup": _groups,
    "mountinfo": _mounts,
    "namespaces": _namespaces,
    "environment": _variables,
    "devices": _devices,
    "settings": _settings,
    "links": _names,
    "root": _names,
}
