"""What docker run mounts in a container: -v, --mount and --tmpfs, read as Docker reads them.

Sources: docker/cli's opts/mount.go and volume/parser, moby's volume/mounts. What is refused is
refused in Docker's words.
"""

import os
import posixpath
from _collections_abc import Iterator, Mapping, Sequence

from labkit.container.root import Root, Volume
from labkit.docker import values
from labkit.docker.absent import Refused
from labkit.python import re
from labkit.python.typing import Any, NamedTuple
from labkit.text.words import Words

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_HOW = {"ro", "rw", "z", "Z", "nocopy", "private", "rprivate", "consistent", "cached", "delegated"}
_SHARED = {"shared", "rshared", "slave", "rslave"}
_ALONE = {"readonly", "ro", "volume-nocopy", "bind-nonrecursive"}  # keys that need no value
_KEYS = {
    **dict.fromkeys(("source", "src"), "source"),
    **dict.fromkeys(("target", "dst", "destination"), "target"),
    **dict.fromkeys(("readonly", "ro"), "readonly"),
    **{key: key for key in ("type", "consistency", "bind-propagation", "bind-recursive")},
    **{key: key for key in ("volume-nocopy", "tmpfs-size", "tmpfs-mode", "volume-driver")},
}
_NOT_HERE = ("bind-nonrecursive", "volume-label", "volume-opt", "volume-subpath", "image-subpath")
_KINDS = ("bind", "volume", "tmpfs")


class Mounted(NamedTuple):
    """One thing that is mounted in a container.

    kind: "bind", "volume" or "tmpfs". source: a path of this machine, or the name of a volume, ""
    for one without a name. options: of a tmpfs. copies: whether a volume that is empty begins with
    what the image has there. makes: whether a source that is missing is made, as with -v.
    """

    kind: str
    source: str
    target: str
    readonly: bool = False
    options: str = ""
    copies: bool = True
    makes: bool = False


def volume(text: str) -> Mounted:
    """What -v says: [SOURCE:]TARGET[:MODE,...]."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts) or (len(parts) == 2 and parts[1] in _HOW):
        raise Refused(
            Words(
                f"-v 写成 [来源:]位置[:ro]，而不是 {text!r}",
                f"invalid volume specification: '{text}'",
            )
        )
    source, target, mode = {1: ["", *parts, ""], 2: [*parts, ""], 3: parts}[len(parts)]
    how = set(filter(None, mode.split(",")))
    _check_mode(text, how)
    target = _target(target, f"invalid volume specification: '{text}': ")
    readonly, copies = "ro" in how, "nocopy" not in how
    if source.startswith(("/", ".")):  # Docker's command line makes the path a whole one
        source = os.path.abspath(source)
        return Mounted("bind", source, target, readonly, copies=False, makes=True)
    return Mounted("volume", volume_name(source), target, readonly, copies=copies)


def _check_mode(text: str, how: set[str]) -> None:
    if shared := sorted(how & _SHARED):
        raise Refused(_private(f"-v {text}", shared[0]))
    if how - _HOW or {"ro", "rw"} <= how:
        mode = ",".join(sorted(how))
        raise Refused(Words(f"-v {text}：没有这种方式：{mode}", f"invalid mode: {mode}"))


def _private(option: str, mode: str) -> Words:
    return Words(
        f"{option}：{mode} 还没有：labkit 的容器里，所有挂载都与宿主机断开（private）",
        f"{option}: {mode} is not here: in a container of labkit all mounts are private",
    )


def volume_name(name: str) -> str:
    """A name for a volume, checked; "" for one without."""
    if len(name) == 1:
        en = "volume name is too short, names should be at least two alphanumeric characters"
        raise Refused(Words(f"卷名 {name!r} 太短，至少两个字符", en))
    if name and not _NAME.fullmatch(name):
        raise Refused(
            Words(
                f"{name!r} 不能作卷的名字：只能有 [a-zA-Z0-9][a-zA-Z0-9_.-]；"
                "要用宿主机的目录，写完整的路径",
                f'create {name}: "{name}" includes invalid characters for a local volume name, '
                'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host '
                "directory, use absolute path",
            )
        )
    return name


def _target(path: str, within: str = "") -> str:
    """A place in the container. within: what Docker says before it says what is wrong."""
    clean = posixpath.normpath(path)
    within += 'invalid mount config for type "bind": ' if within else ""
    if not path.startswith("/"):
        en = f"{within}invalid mount path: '{path}' mount path must be absolute"
        raise Refused(Words(f"容器里的位置要以 / 开头，而不是 {path!r}", en))
    if clean in ("/", "//"):
        en = f"{within}invalid specification: destination can't be '/'"
        raise Refused(Words("不能挂载到容器的 / 上", en))
    return clean


def memory(text: str) -> Mounted:
    """What --tmpfs says: TARGET[:OPTION,...]."""
    target, _, options = text.partition(":")
    return Mounted("tmpfs", "", _target(target), options=options, copies=False)


def mount(text: str) -> Mounted:
    """What --mount says: type=bind,source=/a,target=/b,readonly, in any order, as CSV."""
    import csv

    said: dict[str, str] = {}
    for field in next(csv.reader([text]), []):
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        if not equals and key not in _ALONE:
            raise _wrong(f"invalid field '{field}' must be a key=value pair", text)
        if key in _NOT_HERE:
            raise Refused(_absent(key))
        if key not in _KEYS:
            raise _wrong(f"unexpected key '{key}' in '{field}'", text)
        said[_KEYS[key]] = value if equals else "true"
    return _mounted(text, said)


def _mounted(text: str, said: Mapping[str, str]) -> Mounted:
    kind = said.get("type", "volume").lower()
    if kind not in _KINDS:
        if kind in ("image", "npipe", "cluster"):
            raise Refused(_absent(f"type={kind}"))
        en = f'invalid mount config for type "{kind}": mount type unknown'
        raise Refused(Words(f"--mount 没有 {kind} 这一种：只有 bind、volume、tmpfs", en))
    if not said.get("target"):
        raise _wrong("target is required", text)
    for key in said:
        family = key.partition("-")[0]
        if "-" in key and family != kind:
            raise _wrong(f"cannot mix '{family}-*' options with mount type '{kind}'", text)
    readonly, target = _flag("readonly", said, text), _target(said["target"])
    if kind == "tmpfs":
        return _tmpfs(said, target, readonly, text)
    source = said.get("source", "")
    if kind == "volume":
        if said.get("volume-driver", "local") not in ("", "local"):
            raise Refused(_absent("volume-driver"))
        copies = not _flag("volume-nocopy", said, text)
        return Mounted("volume", volume_name(source), target, readonly, copies=copies)
    return _bind(said, source, target, readonly, text)


def _bind(said: Mapping[str, str], source: str, target: str, readonly: bool, text: str) -> Mounted:
    if said.get("bind-propagation", "rprivate") not in ("private", "rprivate"):
        raise Refused(_private("--mount", said["bind-propagation"]))
    if said.get("bind-recursive", "enabled") not in ("enabled", "readonly"):
        raise Refused(_absent("bind-recursive"))
    if not source:
        raise _wrong('invalid mount config for type "bind": field Source must not be empty', text)
    return Mounted("bind", os.path.abspath(source), target, readonly, copies=False)


def _tmpfs(said: Mapping[str, str], target: str, readonly: bool, text: str) -> Mounted:
    if said.get("source"):
        raise _wrong('invalid mount config for type "tmpfs": field Source must not be empty', text)
    options = ["ro"] * readonly
    if size := said.get("tmpfs-size"):
        options.append(f"size={values.size(size)}")
    if mode := said.get("tmpfs-mode"):
        if not re.fullmatch("[0-7]+", mode):
            raise _wrong(f"invalid value for tmpfs-mode: {mode}", text)
        options.append(f"mode={mode}")
    return Mounted("tmpfs", "", target, readonly, ",".join(options), copies=False)


def _flag(key: str, said: Mapping[str, str], text: str) -> bool:
    value = said.get(key, "false")
    if value.lower() not in ("1", "t", "true", "0", "f", "false"):
        raise _wrong(f"invalid value for {key}: {value}", text)
    return value.lower() in ("1", "t", "true")


def _absent(what: str) -> Words:
    return Words(
        f"--mount {what} 还没有：这里有 bind、volume 和 tmpfs，卷都在本机",
        f"--mount {what} is not here: there are bind and tmpfs, and volumes on this machine",
    )


def _wrong(said: str, text: str) -> Refused:
    return Refused(
        Words(
            f"--mount 写成 type=bind,source=/来源,target=/位置，而不是 {text!r}",
            f'invalid argument "{text}" for "--mount" flag: {said}',
        )
    )


def of(root: Root) -> list[Mounted]:
    """What is mounted in a container with this root, and is not in memory: for --volumes-from."""
    return [
        Mounted("bind", each.source, each.target, each.readonly, copies=False)
        for each in root.mounts()
        if isinstance(each, Volume)
    ]


def check(mounted: Sequence[Mounted]) -> None:
    """No two may be in one place."""
    places = [each.target for each in mounted]
    if twice := next((place for place in places if places.count(place) > 1), None):
        raise Refused(Words(f"挂载点重复了：{twice}", f"Duplicate mount point: {twice}"))


def with_image(
    mounted: Sequence[Mounted], declared: Mapping[str, Any], others: Sequence[str] = ()
) -> list[Mounted]:
    """`mounted`, and a volume without a name for each VOLUME of the image that nothing covers.

    declared: the image's Volumes. others: more places in which something is mounted.
    """
    taken = {each.target for each in mounted} | {*others}
    clean = [posixpath.normpath(path) for path in declared if path.startswith("/")]
    new = [path for path in dict.fromkeys(clean) if path not in taken and path.strip("/")]
    return [*mounted, *(Mounted("volume", "", path) for path in new)]


def binds(mounted: Sequence[Mounted], places: Mapping[str, str]) -> Iterator[tuple[str, str, bool]]:
    """The volumes of a Root, in parts. places: the directory of each volume, by its target."""
    for each in mounted:
        if each.kind != "tmpfs":
            source = places[each.target] if each.kind == "volume" else each.source
            yield source, each.target, each.readonly


def memories(mounted: Sequence[Mounted]) -> Iterator[str]:
    """The file systems in memory of a Root."""
    for each in mounted:
        if each.kind == "tmpfs":
            yield each.target + f":{each.options}" * bool(each.options)
