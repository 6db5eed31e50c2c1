"""A root directory as a value: what it is made of and what is mounted in it, checked."""

import posixpath
from _collections_abc import Collection, Mapping

from labkit.container.checks import as_field, is_number
from labkit.linux.fields import KW_ONLY, dataclass, fields
from labkit.linux.flags import (
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    Mount,
)
from labkit.python.typing import Any, Self, cast
from labkit.text.words import Words

# What runc and Docker cover in each container: it would tell about the host, or harm it.
MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
DIRECTORIES = frozenset(
    (
        "/proc/acpi",
        "/proc/asound",
        "/proc/scsi",
        "/sys/devices/virtual/powercap",
        "/sys/firmware",
    )
)
"""Those of MASKED that are directories, in every kernel that has them; the others are files."""
# What they make read-only: it belongs to no namespace, and whoever writes it changes the host.
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


_TEXTS = ("layers", "tmpfs")
_PLACES = ("masked", "readonly_paths", "directories")


@dataclass(frozen=True)
class Volume:
    """A file or directory of the host that is to be seen at `target` in the root."""

    source: str
    target: str
    readonly: bool


@dataclass(frozen=True)
class Memory:
    """A file system in memory at `target`: flags of its mount, options of its own."""

    target: str
    flags: Mount
    options: str


@dataclass(frozen=True, repr=False)
class Root:
    """The root directory of a container, and what is mounted in it.

    path: a directory of the host, which is used as it is. Or layers: directories that an overlay
    file system merges, the uppermost first. What the program changes then goes to the directory
    `upper`, with `work` beside it on the same file system. Without these it goes to memory that is
    gone with the container.

    readonly: nothing in the root can be changed; what is mounted in it can (docker run
    --read-only). volumes: "/source:/target" or "/source:/target:ro" (docker run -v), or the parts
    of it, ("/source", "/target", True): a colon in a path ends nothing then. tmpfs: file systems in
    memory, as "/run" or "/run:size=64m,mode=755" (docker run --tmpfs).

    devices: devices of this machine that /dev has besides the usual ones, as "/dev/fuse" or
    "/dev/fuse:/dev/other" (docker run --device), or ("/dev/fuse", "/dev/other"). shm_size: bytes of
    /dev/shm (None: 64 MiB).
    directories: those that are made where they are missing. cgroups: the container's control
    groups at /sys/fs/cgroup, to be read; its cgroup namespace and its limits are its own then.

    masked: paths that are covered. readonly_paths: those that can only be read. bare: leave out
    all that a container has besides: /sys, /dev, the files in /etc, and what is masked or
    read-only. A /proc is there with `proc=True` of the container.

    Directories that are missing and that something is to be mounted on are made in the root.
    Raises TypeError or ValueError for what cannot be a root.
    """

    path: str = ""
    _: KW_ONLY
    layers: Collection[str] = ()
    upper: str | None = None
    work: str | None = None
    readonly: bool = False
    volumes: Collection[str | tuple[str, str, bool]] = ()
    tmpfs: Collection[str] = ()
    masked: Collection[str] = MASKED
    readonly_paths: Collection[str] = READONLY_PATHS
    bare: bool = False
    devices: Collection[str | tuple[str, str]] = ()
    shm_size: int | None = None
    directories: Collection[str] = ()
    cgroups: bool = False

    def __post_init__(self) -> None:
        set_ = object.__setattr__  # the dataclass is frozen; these are its final values
        set_(self, "path", as_field("Root.path", self.path))
        for name in ("upper", "work"):
            if getattr(self, name) is not None:
                set_(self, name, _path(name, getattr(self, name)))
        for name in ("readonly", "bare", "cgroups"):
            _check_flag(name, getattr(self, name))
        for name in (*_TEXTS, *_PLACES):
            set_(self, name, _texts(name, getattr(self, name)))
        for name in _PLACES:
            set_(self, name, tuple(_target(name, path) for path in getattr(self, name)))
        set_(self, "volumes", _each("volumes", self.volumes, _VOLUME))
        set_(self, "devices", _each("devices", self.devices, _DEVICE))
        if self.shm_size is not None and (not is_number(self.shm_size) or self.shm_size < 1):
            raise ValueError(
                Words(
                    f"Root.shm_size 是字节数，而不是 {self.shm_size!r}",
                    f"Root.shm_size is a number of bytes, not {self.shm_size!r}",
                )
            )
        set_(self, "layers", tuple(_path("layers", layer) for layer in self.layers))
        _check_origin(self)
        _check_targets([*self.mounts()])
        self.nodes()  # it refuses what is none

    def mounts(self) -> list[Volume | Memory]:
        """The volumes and tmpfs, those that others may lie in first."""
        every: list[Volume | Memory] = [*map(_volume, self.volumes), *map(_memory, self.tmpfs)]
        return sorted(every, key=lambda mount: mount.target.count("/"))

    def nodes(self) -> list[tuple[str, str]]:
        """The devices: their paths on this machine, and in the container."""
        return [*map(_node, self.devices)]

    def fields_on(self) -> dict[str, Any]:
        """The fields that are not as they are by default."""
        values = {f.name: (getattr(self, f.name), f.default) for f in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}

    def __repr__(self) -> str:
        on = self.fields_on()
        first = [repr(on.pop("path"))] if self.path else []
        return f"Root({', '.join(first + [f'{name}={value!r}' for name, value in on.items()])})"

    @classmethod
    def of(cls, value: object) -> Self:
        """`value`, which is a root, or its fields, as JSON has them."""
        if isinstance(value, cls):
            return value
        if isinstance(value, Mapping):
            return cls(**cast("Mapping[str, Any]", value))
        raise TypeError(
            Words(
                f'root 应是一个 Root，如 Root("/srv/busybox")，而不是 {value!r}',
                f'root is a Root, as in Root("/srv/busybox"), not {value!r}',
            )
        )


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(
            Words(
                f"Root.{name} 应是 True 或 False，而不是 {value!r}",
                f"Root.{name} is True or False, not {value!r}",
            )
        )


def _texts(name: str, values: object) -> tuple[str, ...]:
    return tuple(as_field(f"Root.{name}", value) for value in _group(name, values))


def _group(name: str, values: object) -> Collection[object]:
    if isinstance(values, str | bytes) or not isinstance(values, Collection):
        raise TypeError(
            Words(
                f'Root.{name} 是一组文字，只有一个也要写成 ("...",)，而不是 {values!r}',
                f'Root.{name} is a set of texts, ("...",) even if there is one, not {values!r}',
            )
        )
    return values


_VOLUME, _DEVICE = (str, str, bool), (str, str)  # the parts of one, if it is not a text


def _each(name: str, values: object, parts: tuple[type, ...]) -> tuple[Any, ...]:
    """The volumes or the devices: each a text, or its parts, which JSON keeps as a list."""
    return tuple(
        tuple(each)
        if isinstance(each, list | tuple) and tuple(map(type, each)) == parts
        else as_field(f"Root.{name}", each)
        for each in _group(name, values)
    )


def _path(name: str, value: object) -> str:
    """A directory of the host. An overlay has to find it, so it is a whole path."""
    path = as_field(f"Root.{name}", value)
    if not path.startswith("/"):
        raise ValueError(
            Words(
                f"Root.{name} 要写完整的路径，以 / 开头，而不是 {path!r}",
                f"Root.{name} takes a whole path, which begins with /, not {path!r}",
            )
        )
    return path


def _check_origin(root: Root) -> None:
    """Refuse a root that has no origin or two, or that lacks half of what an overlay takes."""
    if bool(root.path) == bool(root.layers):
        raise ValueError(
            Words(
                "Root 要么给 path，要么给 layers：给一个，而且只给一个",
                "a Root has either a path or layers: one of them, and not both",
            )
        )
    if (root.upper is None) != (root.work is None) or (root.upper and root.path):
        raise ValueError(
            Words(
                "upper 和 work 要一起给，而且只和 layers 一起给：它们属于 overlay",
                "upper and work go together, and with layers alone: they belong to an overlay",
            )
        )
    if root.path and posixpath.normpath(root.path) in ("/", "//"):
        raise ValueError(
            Words(
                '根目录不能就是宿主机的 /：那样什么也没有换。要以它为底，写 Root(layers=("/",))',
                "the root cannot be the host's own /, which would change nothing; to have it as "
                'the lowest layer, write Root(layers=("/",))',
            )
        )


def _target(name: str, path: str) -> str:
    """A place in the root: a whole path, without its "." and ".."."""
    clean = posixpath.normpath(path) if path.startswith("/") else ""
    if clean in ("", "/", "//"):
        raise ValueError(
            Words(
                f"Root.{name}：容器里的位置要以 / 开头，又不能就是 /，而不是 {path!r}",
                f"Root.{name}: a place in the container begins with / and is not / itself, "
                f"not {path!r}",
            )
        )
    return clean


def _volume(said: str | tuple[str, str, bool]) -> Volume:
    """A volume from its parts, or from what docker run -v says: SOURCE:TARGET[:ro]."""
    source, target, readonly = said if isinstance(said, tuple) else _parts(said)
    if not source.startswith("/"):
        raise ValueError(
            Words(
                f'卷写作 "/来源:/位置" 或 "/来源:/位置:ro"，两个都是完整的路径，而不是 {said!r}',
                f'a volume is "/source:/target" or "/source:/target:ro", whole paths, not {said!r}',
            )
        )
    return Volume(source, _target("volumes", target), readonly)


def _parts(text: str) -> tuple[str, str, bool]:
    """The parts of SOURCE:TARGET[:ro]; no source if it is not of that form."""
    source, target, mode = [*text.split(":"), "", "", "rw"][:3] if ":" in text else ("", "", "")
    if text.count(":") > 2 or mode not in ("", "ro", "rw"):
        source = ""
    return source, target, mode == "ro"


_FLAGS = {
    "ro": (MS_RDONLY, True),
    "rw": (MS_RDONLY, False),
    "nosuid": (MS_NOSUID, True),
    "suid": (MS_NOSUID, False),
    "nodev": (MS_NODEV, True),
    "dev": (MS_NODEV, False),
    "noexec": (MS_NOEXEC, True),
    "exec": (MS_NOEXEC, False),
}
_OPTIONS = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks")


def _memory(text: str) -> Memory:
    """What docker run --tmpfs says: TARGET[:OPTION,...], with Docker's own defaults."""
    target, _, options = text.partition(":")
    flags, others = MS_NOSUID | MS_NODEV | MS_NOEXEC, []
    for option in filter(None, options.split(",")):
        flag, wanted = _FLAGS.get(option, (Mount(0), False))
        flags = flags | flag if wanted else flags & ~flag
        if option.partition("=")[0] in _OPTIONS and option.partition("=")[2]:
            others.append(option)
        elif option not in _FLAGS:
            raise ValueError(
                Words(
                    f"tmpfs 没有这个选项：{option!r}（在 {text!r} 里）",
                    f"tmpfs has no such option: {option!r} (in {text!r})",
                )
            )
    return Memory(_target("tmpfs", target), flags, ",".join(others))


def _check_targets(mounts: list[Volume | Memory]) -> None:
    """No two may be in one place: Docker's "Duplicate mount point"."""
    places = [mount.target for mount in mounts]
    if twice := next((place for place in places if places.count(place) > 1), None):
        raise ValueError(
            Words(f"挂载点重复了：{twice}", f"duplicate mount point: {twice}"),
        )


def _node(said: str | tuple[str, str]) -> tuple[str, str]:
    """A device's path here and its path inside, from these or from PATH[:PATH-INSIDE]."""
    if isinstance(said, tuple):
        path, inside = said
    else:  # more than one colon, and it is no path
        path, inside = said.partition(":")[0] * (said.count(":") < 2), said.rpartition(":")[2]
    clean = posixpath.normpath(inside)
    if not path.startswith("/") or not clean.startswith("/dev/"):
        raise ValueError(
            Words(
                f'设备写作 "/dev/fuse" 或 "/dev/fuse:/dev/容器里的名字"，而不是 {said!r}',
                f'a device is "/dev/fuse" or "/dev/fuse:/dev/its-name-inside", not {said!r}',
            )
        )
    return path, inside
