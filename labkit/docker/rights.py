"""Who the program is and what it may do: --user, --cap-add, --security-opt, as Docker reads them.

Sources: moby's oci/caps and daemon/oci_linux.go, moby/sys/user, and opts of docker/cli. What is
refused is refused in Docker's own words. Docker drops what it does not say: a container has 14
capabilities and Docker's seccomp profile, unless an option says otherwise.
"""

from _collections_abc import Collection, Iterator, Mapping, Sequence

from labkit.container.rights import last_capability
from labkit.docker.absent import Refused, absent
from labkit.engine.connection import is_rootless
from labkit.linux.capabilities import CAPABILITIES
from labkit.linux.confinement import capabilities
from labkit.linux.seccomp_profile import Profile
from labkit.python import json
from labkit.text.letters import is_whole
from labkit.text.words import Words

ALL = "ALL"
DEFAULT = tuple(
    f"CAP_{name}"
    for name in (
        *("CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID"),
        *("SETFCAP", "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"),
    )
)
"""What a container of Docker's has: DefaultCapabilities() of moby."""

MAX_ID = (1 << 31) - 1  # Docker's, not the kernel's
TRUE = {"1", "t", "T", "true", "TRUE", "True"}  # as Go's strconv.ParseBool has them
FALSE = {"0", "f", "F", "false", "FALSE", "False"}


# --- Capabilities -------------------------------------------------------------------------------


def available() -> tuple[str, ...]:
    """The capabilities that a container can have here: those of who makes it.

    Without CAP_SYS_ADMIN that is root of a new user namespace, who has all that the kernel knows.
    """
    known, held = CAPABILITIES[: last_capability() + 1], capabilities()
    if is_rootless() or "CAP_SYS_ADMIN" not in held.effective:
        return known
    return tuple(name for name in known if name in held.permitted)


def kept(added: Sequence[str], dropped: Sequence[str]) -> Collection[str] | None:
    """The capabilities after --cap-add and --cap-drop. None: all.

    A name that is added is not dropped. ALL makes the other names of its list superfluous. Added:
    all but the dropped. Dropped: the added alone.
    """
    here = available()
    add = _known("CapAdd", added, here)
    drop = [name for name in _known("CapDrop", dropped, here) if name not in add]
    if add == [ALL]:
        return [name for name in here if name not in drop] if drop else None
    if drop == [ALL]:
        return add
    return [name for name in here if name in add or (name in DEFAULT and name not in drop)]


def _known(field: str, names: Sequence[str], here: Collection[str]) -> list[str]:
    full = [full_name(name) for name in names]
    for name in full:
        if name != ALL and name not in CAPABILITIES:
            why = Words("没有这个权能", "unknown capability")
        elif name != ALL and name not in here:
            why = Words(
                "内核不支持这个权能，或这里没有",
                "capability not supported by your kernel or not available in the current "
                "environment",
            )
        else:
            continue
        raise Refused(
            Words(f'{field} 不对：{why.zh}："{name}"', f'invalid {field}: {why.en}: "{name}"')
        )
    return [ALL] if ALL in full else full


def full_name(name: str) -> str:
    """A capability as the kernel calls it."""
    name = name.strip().upper()
    return name if name == ALL or name.startswith("CAP_") else f"CAP_{name}"


# --- Users --------------------------------------------------------------------------------------


HERE = {name: f"/etc/{name}" for name in ("passwd", "group")}
"""Where this machine's own users and groups are written."""


def user(
    spec: str, added: Sequence[str], files: Mapping[str, str] = HERE
) -> tuple[int, int, tuple[int, ...]]:
    """The user, group and supplementary groups of ``--user SPEC`` and ``--group-add``.

    Names are looked up in `files`, the container's passwd and group, a number is taken as it is.
    Groups in which the user is listed count only if SPEC has no group. As Docker, but in a fixed
    order: the first line that matches counts; the supplementary groups begin with the group.
    """
    name, _, group = spec.partition(":")
    users, groups = _lines(files, "passwd"), _lines(files, "group")
    # Docker looks up a number as well: for the group and the home, and 0 where there is no name.
    entry = _match(users, name or "0")
    if entry is None and name and _number(name) is None:
        raise _unknown(Words("用户", "user"), name, "passwd")
    uid = int(entry[2]) if entry else _number(name) or 0
    if group:
        gid, more = _group(groups, group), []
    else:
        gid = int(entry[3]) if entry else 0
        more = [int(g[2]) for g in groups if entry and entry[0] in g[3].split(",")]
    more += [_group(groups, each) for each in added]
    return uid, gid, tuple(dict.fromkeys([gid, *more]))


def home(uid: int, files: Mapping[str, str] = HERE) -> str:
    """The home of a user in the container's `files`, ``/`` for one without."""
    entry = _match(_lines(files, "passwd"), str(uid))
    return (entry[5] if entry else "") or "/"


def _lines(files: Mapping[str, str], name: str) -> list[list[str]]:
    """The entries of /etc/passwd or /etc/group. Docker takes a file that is not there for empty."""
    try:
        with open(files[name], errors="surrogateescape") as file:
            entries = [line.strip().split(":") for line in file if line.strip()]
    except (OSError, KeyError):
        return []
    return [e for e in entries if len(e) >= 4 and e[2].isdecimal() and not e[0].startswith("#")]


def _match(entries: list[list[str]], wanted: str) -> list[str] | None:
    """The first entry of that name, or of that number if it is one."""
    number = _number(wanted)
    for entry in entries:
        if entry[0] == wanted if number is None else int(entry[2]) == number:
            return entry
    return None


def _group(groups: list[list[str]], wanted: str) -> int:
    entry, number = _match(groups, wanted), _number(wanted)
    if entry:
        return int(entry[2])
    if number is None:
        raise _unknown(Words("组", "group"), wanted, "group")
    return number


def _unknown(what: Words, name: str, file: str) -> Refused:
    return Refused(
        Words(
            f"找不到{what.zh} {name}：{file} 文件里没有",
            f"unable to find {what.en} {name}: no matching entries in {file} file",
        )
    )


def _number(text: str) -> int | None:
    """An ID, or None if it is a name. Refused when it is out of Docker's range."""
    if not is_whole(text):
        return None
    if not 0 <= int(text) <= MAX_ID:
        raise Refused(
            Words(f"用户号和组号要在 0-{MAX_ID} 之内", f"uids and gids must be in range 0-{MAX_ID}")
        )
    return int(text)


# --- Security options ---------------------------------------------------------------------------


class Security:
    """What the --security-opt options of one command ask for.

    seccomp: a profile, "default", None for no filter, or "" when nothing was said. said: what was
    asked for and is so in any case, because labkit does not have it. options: all, as they came.
    """

    def __init__(self) -> None:
        self.no_new_privs = False
        self.seccomp: str | Profile | None = ""
        self.said: list[Words] = []
        self.options: list[str] = []

    def take(self, option: str) -> None:
        """Take one option: KEY=VALUE, or KEY:VALUE as it was in the beginning."""
        self.options.append(option)
        mark = "=" if "=" in option else ":"
        key, _, value = option.partition(mark)
        if not value and option not in ("no-new-privileges", "no-new-privileges="):
            raise Refused(
                Words(f'--security-opt 不对："{option}"', f'Invalid --security-opt: "{option}"')
            )
        if option == "no-new-privileges":
            self.no_new_privs = True
        elif key == "no-new-privileges" and value in TRUE | FALSE:
            self.no_new_privs = value in TRUE
        elif key == "seccomp":
            self.seccomp = {"unconfined": None, "builtin": "default"}.get(value, "")
            if self.seccomp == "":
                self.seccomp = _profile(value)
        elif (key, value) in _SO_ANYWAY:
            self.said.append(_SO_ANYWAY[key, value])
        else:
            raise Refused(next(_why_not(option, key)))


_APPARMOR = Words(
    "容器没有 AppArmor 配置：labkit 不设", "containers have no AppArmor profile: labkit sets none"
)
_LABELS = Words(
    "容器没有 SELinux 标签：labkit 不设", "containers have no SELinux label: labkit sets none"
)
PATHS = Words(
    "/proc 和 /sys 里没有遮住或只读的路径",
    "no path of /proc and /sys is masked or read-only",
)
_SO_ANYWAY = {
    ("apparmor", "unconfined"): _APPARMOR,
    ("label", "disable"): _LABELS,
    ("systempaths", "unconfined"): PATHS,
}


_GROUPS_READ_ONLY = Words(
    "容器里没有自己的 /sys/fs/cgroup", "containers have no /sys/fs/cgroup of their own"
)


def _why_not(option: str, key: str) -> Iterator[Words]:
    """Why an option is refused: the first of these."""
    if key in ("apparmor", "label"):
        why = _APPARMOR if key == "apparmor" else _LABELS
        yield Words(*(f"--security-opt {option}: {text}" for text in (why.zh, why.en)))
    if key == "writable-cgroups":
        yield absent(f"--security-opt {option}", _GROUPS_READ_ONLY)
    yield Words(f'--security-opt 不对："{option}"', f'invalid --security-opt 2: "{option}"')


def _profile(path: str) -> Profile:
    """A seccomp profile, read here: Docker's client sends the file's content to the daemon."""
    try:
        with open(path, encoding="utf-8") as file:
            held = json.loads(file.read())
    except OSError as error:
        why = f"open {path}: {str(error.strerror).lower()}"
        en = f"opening seccomp profile ({path}) failed: {why}"
        raise Refused(Words(f"打不开 seccomp 配置（{path}）：{why}", en)) from None
    except ValueError as error:
        en = f"compacting json for seccomp profile ({path}) failed: {error}"
        raise Refused(Words(f"seccomp 配置（{path}）不是 JSON：{error}", en)) from None
    if not isinstance(held, dict):
        en = f"Decoding seccomp profile failed: {path} is no JSON object"
        raise Refused(Words(f"seccomp 配置（{path}）应是一个 JSON 对象", en))
    return held
