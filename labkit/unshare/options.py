"""What a command line asks of ``labkit unshare``: the options of unshare(1), read as it reads them.

The rules are those of getopt_long(3) with "+". The first word that is no option is the program. A
long option may be shortened as long as it is clear which one is meant. A value that may be left
out is given as ``--option=VALUE`` only.
"""

import _signal  # type: ignore[import-not-found]
import os

from labkit.linux.flags import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MS_PRIVATE,
    MS_REC,
    MS_SHARED,
    MS_SLAVE,
)
from labkit.text.words import Words, words_of

TYPE_CHECKING = False  # labkit unshare is to start at once
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from labkit.linux.id_maps import IdRange

KINDS = {
    "user": CLONE_NEWUSER,
    "cgroup": CLONE_NEWCGROUP,
    "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS,
    "net": CLONE_NEWNET,
    "pid": CLONE_NEWPID,
    "mount": CLONE_NEWNS,
    "time": CLONE_NEWTIME,
}
"""The options that name a kind of namespace, in the order in which unshare(1) binds their files."""

PROPAGATION = {
    "private": MS_REC | MS_PRIVATE,
    "shared": MS_REC | MS_SHARED,
    "slave": MS_REC | MS_SLAVE,
    "unchanged": 0,
}
_SHORT = dict(
    zip(
        "muinpUCTfrcRwSGhV",
        [
            "mount",
            "uts",
            "ipc",
            "net",
            "pid",
            "user",
            "cgroup",
            "time",
            "fork",
            "map-root-user",
            "map-current-user",
            "root",
            "wd",
            "setuid",
            "setgid",
            "help",
            "version",
        ],
        strict=True,
    )
)
_BARE = [
    "fork",
    "map-root-user",
    "map-current-user",
    "map-auto",
    "keep-caps",
    "explain",
    "help",
    "version",
]
_PERHAPS = [*KINDS, "kill-child", "mount-proc"]
_VALUED = [
    "propagation",
    "setgroups",
    "root",
    "wd",
    "setuid",
    "setgid",
    "map-user",
    "map-group",
    "map-users",
    "map-groups",
    "monotonic",
    "boottime",
]
_LONG = (*_BARE, *_PERHAPS, *_VALUED)


class Misuse(Exception):  # noqa: N818 - said to a user, not to a caller
    """The command line makes no sense; the text says why. help: whether --help would help."""

    def __init__(self, words: Words, *, help: bool = False) -> None:
        super().__init__(_with_help(words) if help else words)


def _with_help(words: Words) -> Words:
    return Words(
        f"{words.zh}；用法见 labkit unshare --help", f"{words.en}; try labkit unshare --help"
    )


class Asked:
    """What is asked for; each attribute is off until an option turns it on."""

    def __init__(self) -> None:
        self.flags = 0
        self.files: dict[str, str] = {}  # kind: where to bind the namespace
        self.fork = self.keep_caps = self.explain = False
        self.kill_child = 0  # a signal
        self.mount_proc: str | None = None
        self.propagation: int = MS_REC | MS_PRIVATE
        self.setgroups: str | None = None
        self.root: str | None = None
        self.wd: str | None = None
        self.setuid: int | None = None
        self.setgid: int | None = None
        self.map_user: int | None = None
        self.map_group: int | None = None
        self.map_users: list[IdRange] = []
        self.map_groups: list[IdRange] = []
        self.monotonic: int | None = None
        self.boottime: int | None = None
        self.only = ""  # "help" or "version"
        self.argv: list[str] = []


def parse(words: "Sequence[str]") -> Asked:
    """What `words` ask for. Raises Misuse."""
    asked, left = Asked(), list(words)
    while left and left[0].startswith("-") and left[0] != "-" and not asked.only:
        word = left.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            _long(asked, word[2:], left)
        else:
            _shorts(asked, word[1:], left)
    asked.argv = left
    if asked.only:
        return asked
    if not asked.flags & CLONE_NEWTIME and (asked.monotonic, asked.boottime) != (None, None):
        raise Misuse(
            Words(
                "--monotonic 和 --boottime 要有新的时间命名空间（-T）",
                "--monotonic and --boottime need a new time namespace (-T)",
            ),
        )
    return asked


def _long(asked: Asked, text: str, left: list[str]) -> None:
    given, equals, value = text.partition("=")
    names = [given] if given in _LONG else [name for name in _LONG if name.startswith(given)]
    if not names:
        raise Misuse(Words(f"没有选项 --{given}", f"no such option: --{given}"), help=True)
    if len(names) > 1:
        which = " ".join(f"--{name}" for name in names)
        raise Misuse(
            Words(f"--{given} 不明确：{which}", f"--{given} is ambiguous: {which}"), help=True
        )
    name = names[0]
    if equals and name in _BARE:
        raise Misuse(Words(f"--{name} 不带值", f"--{name} takes no value"), help=True)
    _apply(asked, name, value if equals else _next(name, left))


def _shorts(asked: Asked, letters: str, left: list[str]) -> None:
    """Several letters in one word; the first that has a value takes what follows it."""
    while letters and not asked.only:
        letter, letters = letters[0], letters[1:]
        if letter not in _SHORT:
            raise Misuse(Words(f"没有选项 -{letter}", f"no such option: -{letter}"), help=True)
        name = _SHORT[letter]
        if name in _VALUED and letters:
            _apply(asked, name, letters)
            return
        _apply(asked, name, _next(name, left))


def _next(name: str, left: list[str]) -> str | None:
    """The next word, if the option must have a value."""
    if name not in _VALUED:
        return None
    if not left:
        raise Misuse(Words(f"--{name} 后面缺一个值", f"--{name} needs a value"), help=True)
    return left.pop(0)


def _apply(asked: Asked, name: str, value: str | None) -> None:
    """Do what option `name` says; value: None if it has none."""
    if name in KINDS:
        asked.flags |= KINDS[name]
        if value is not None:
            asked.files[name] = value
    elif name in ("help", "version"):
        asked.only = name
    elif name in _TURNS:
        _TURNS[name](asked)
    else:
        text = "" if value is None else value
        setattr(asked, name.replace("-", "_"), _READERS[name](asked, text, name, value is None))


def _map(asked: Asked, user: int, group: int) -> None:
    asked.flags |= CLONE_NEWUSER
    asked.map_user, asked.map_group = user, group


def _map_auto(asked: Asked) -> None:
    asked.map_users = _ranges(asked, "auto", "map-users", absent=False)
    asked.map_groups = _ranges(asked, "auto", "map-groups", absent=False)


_TURNS: "dict[str, Callable[[Asked], None]]" = {
    "fork": lambda asked: setattr(asked, "fork", True),
    "keep-caps": lambda asked: setattr(asked, "keep_caps", True),
    "explain": lambda asked: setattr(asked, "explain", True),
    "map-root-user": lambda asked: _map(asked, 0, 0),
    "map-current-user": lambda asked: _map(asked, os.geteuid(), os.getegid()),
    "map-auto": _map_auto,
}


def _text(_asked: Asked, value: str, _name: str, absent: bool) -> str:  # noqa: ARG001
    return value


def _signal_to_child(asked: Asked, value: str, _name: str, absent: bool) -> int:
    asked.fork = True
    number = _signal_number("KILL" if absent else value)
    if not number:
        raise Misuse(Words(f"没有信号 {value}", f"no such signal: {value}"))
    return number


def _signal_number(name: str) -> int:
    """The signal of a name such as KILL, sigkill, RTMIN+1, RT1 or RTMAX-1; 0: there is none."""
    base = name.upper().removeprefix("SIG")
    if base.startswith("RT"):
        return _real_time_signal(base[2:])
    return 0 if base.startswith("_") else getattr(_signal, f"SIG{base}", 0)


def _real_time_signal(text: str) -> int:
    """The signal that is so many after the first of them, or before the last."""
    first, last = int(_signal.SIGRTMIN), int(_signal.SIGRTMAX)
    for before, start, step in (("MIN+", first, 1), ("MAX-", last, -1), ("", first, 1)):
        digits = text.removeprefix(before)
        if text.startswith(before) and digits.isascii() and digits.isdigit():
            number = start + step * int(digits)
            return number if first <= number <= last else 0
    return 0


def _mount_proc(asked: Asked, value: str, _name: str, absent: bool) -> str:
    asked.flags |= CLONE_NEWNS
    return "/proc" if absent else value


def _propagation(_asked: Asked, value: str, _name: str, absent: bool) -> int:  # noqa: ARG001
    if value not in PROPAGATION:
        which = "|".join(PROPAGATION)
        raise Misuse(
            Words(
                f"没有传播方式 {value}，只有 {which}", f"no such propagation: {value}, only {which}"
            )
        )
    return PROPAGATION[value]


def _setgroups(_asked: Asked, value: str, _name: str, absent: bool) -> str:  # noqa: ARG001
    if value not in ("allow", "deny"):
        raise Misuse(Words("--setgroups 只有 allow 和 deny", "--setgroups is allow or deny"))
    return value


def _number(_asked: Asked, value: str, name: str, absent: bool) -> int:  # noqa: ARG001
    """An offset in seconds, or an ID."""
    digits = value.lstrip(" \t\n\v\f\r")  # as strtol(3)
    signed = digits[1:] if digits[:1] in ("+", "-") else digits
    if not (signed.isascii() and signed.isdigit()):
        raise Misuse(Words(f"--{name}：{value!r} 不是数", f"--{name}: {value!r} is no number"))
    number = int(digits)
    seconds = name in ("monotonic", "boottime")
    if not (-(2**63) if seconds else 0) <= number < 2 ** (63 if seconds else 32):
        raise Misuse(Words(f"--{name}：{value} 超出范围", f"--{name}: {value} is out of range"))
    return number


def _identity(asked: Asked, value: str, name: str, absent: bool) -> int:
    """An ID, or the name that has it."""
    import grp
    import pwd

    asked.flags |= CLONE_NEWUSER
    try:
        return pwd.getpwnam(value).pw_uid if name == "map-user" else grp.getgrnam(value).gr_gid
    except KeyError:
        return _number(asked, value, name, absent)


def _ranges(asked: Asked, value: str, name: str, absent: bool) -> "list[IdRange]":  # noqa: ARG001
    from labkit.linux import id_maps

    asked.flags |= CLONE_NEWUSER
    before = asked.map_users if name == "map-users" else asked.map_groups
    try:
        return [*before, *id_maps.parse(value, name == "map-users")]
    except LookupError as error:
        raise Misuse(*words_of(error)) from None


_READERS: "dict[str, Callable[[Asked, str, str, bool], object]]" = {
    "kill-child": _signal_to_child,
    "mount-proc": _mount_proc,
    "propagation": _propagation,
    "setgroups": _setgroups,
    "root": _text,
    "wd": _text,
    "setuid": _number,
    "setgid": _number,
    "map-user": _identity,
    "map-group": _identity,
    "map-users": _ranges,
    "map-groups": _ranges,
    "monotonic": _number,
    "boottime": _number,
}
