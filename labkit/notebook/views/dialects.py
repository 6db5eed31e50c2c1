"""The same container in five languages: Python, a shell's line, Go, docker run, a number.

Each says what it cannot say. The first three do the same as :func:`labkit.run`, which a test finds
out by running them; Docker has no words for some of it, and words of its own for what is not here.
"""

import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from labkit.container.container import Container
from labkit.linux.flags import (
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    Clone,
)
from labkit.linux.namespaces import KINDS
from labkit.notebook.views.docker_line import docker_line, docker_notes
from labkit.notebook.views.go_program import go_notes, go_program
from labkit.text.words import Words
from labkit.unshare import options as unshare_options

_OPTIONS = {flag: f"--{name}" for name, flag in sorted(unshare_options.KINDS.items())}
# The fields for which each language has words.
_FIELDS = {"argv", "cloneflags", "hostname", "proc", "env", "cwd"}
_POWERS = {"capabilities", "ambient_caps", "no_new_privs"}
_SPOKEN = {
    "shell": _FIELDS | _POWERS | {"rootless", "time_offsets"},
    "Go": _FIELDS | {"rootless", "uid_map", "gid_map", "setgroups"},
    "docker run": _FIELDS
    | {"root", "limits", "network", "tty", "user", "capabilities", "no_new_privs"}
    | {"rlimits", "sysctls", "init", "oom_score_adj"},
    "clone3 flags": {"argv", "cloneflags", "hostname", "proc", "env", "cwd", "rootless"},
}
# A host name that hostname(1) takes; it looks more closely than the kernel.
_PLAIN_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


@dataclass(frozen=True)
class Translation:
    """A container said in one language. code: to be copied; notes: what it does not say."""

    language: str
    code: str
    notes: tuple[Words, ...]


def translations(box: Container) -> tuple[Translation, ...]:
    """`box` in all five."""
    said = {
        "shell": (shell(box), _shell_notes(box)),
        "Go": (go_program(box), go_notes(box)),
        "docker run": (docker_line(box), docker_notes(box)),
        "clone3 flags": (number(box.cloneflags), _number_notes(box.cloneflags)),
    }
    return (
        Translation("Python", python(box), ()),
        *(
            Translation(language, code, (*notes, *_untranslated(box, language)))
            for language, (code, notes) in said.items()
        ),
    )


def _untranslated(box: Container, language: str) -> Iterator[Words]:
    """A field for which a language has no words here is named, not left out in silence."""
    unsaid = box.fields_on().keys() - _SPOKEN[language]
    if language == "docker run" and box.seccomp == "default":
        unsaid -= {"seccomp"}
    for name in sorted(unsaid):
        yield Words(f"没有译出：`{name}`。", f"Not translated: `{name}`.")


def python(box: Container) -> str:
    """A program that runs `box` with labkit."""
    flags = [flag.name or "" for flag in Clone if box.cloneflags & flag]
    values = {name: _value(value) for name, value in box.fields_on().items()}
    if flags:
        values["cloneflags"] = " | ".join(flags)
    lines = (f"    {name}={value},\n" for name, value in values.items())
    names = [*sorted(flags), "Container"]
    names += ["Limits"] * (box.limits is not None) + ["Root"] * bool(box.root)
    names += ["Network"] * (box.network is not None) + ["run"]
    return (
        f"from labkit import {', '.join(names)}\n\n"
        f"box = Container(\n{''.join(lines)})\n"
        'print(run(box).stdout, end="")\n'
    )


def _value(value: object) -> str:
    """`value` as Python code."""
    match value:
        case str():
            return _string(value)
        case tuple():
            return f"({', '.join(map(_value, value))}{',' * (len(value) == 1)})"
        case Mapping():
            return f"{{{', '.join(f'{_value(k)}: {_value(v)}' for k, v in value.items())}}}"
    return repr(value)


def _string(text: str) -> str:
    shown = repr(text)
    plain = shown.startswith("'") and '"' not in shown and "\\" not in shown
    return f'"{shown[1:-1]}"' if plain else shown


def shell(box: Container) -> str:
    """A line for a shell of root's, with unshare(1) of util-linux."""
    words = [*_unshare(box), *_then(box)]
    if words and words[-1] != "--" and box.argv[0].startswith("-"):
        words.append("--")
    return shlex.join([*words, *box.argv]) + "\n"


def _unshare(box: Container) -> Iterator[str]:
    """What unshare(1) itself does for `box`; nothing at all when there is nothing to do."""
    if not box.cloneflags and box.cwd is None:
        return
    yield "unshare"
    yield from (option for flag, option in _OPTIONS.items() if box.cloneflags & flag)
    if box.rootless:
        yield "--map-root-user"
    for clock, seconds in (box.time_offsets or {}).items():
        yield f"--{clock}={seconds}"
    if box.cloneflags & (CLONE_NEWPID | CLONE_NEWTIME):
        yield "--fork"  # these two move only the children that unshare makes from then on
    if box.proc:
        yield "--mount-proc"
    if _renamed_by_nobody(box):
        yield "--keep-caps"
    if box.cwd is not None:
        yield f"--wd={box.cwd}"


def _then(box: Container) -> Iterator[str]:
    """The words between unshare and the program: environment and host name."""
    if box.env is not None:
        yield from ("env", "--ignore-environment", *(f"{k}={v}" for k, v in box.env.items()))
    if box.hostname is not None:
        yield from ("sh", "-c", f'{_rename(box.hostname)} && exec "$@"', "sh")
    elif box.env is not None and "=" in box.argv[0]:
        yield from ("sh", "-c", 'exec "$@"', "sh")  # env would take it for one more variable
    if _renamed_by_nobody(box):
        yield from ("setpriv", "--ambient-caps=-all", "--inh-caps=-all", "--")
    if powers := [*_setpriv(box)]:
        yield from ("setpriv", *powers, "--")


def _setpriv(box: Container) -> Iterator[str]:
    """What setpriv(1) takes away, as an execve of root's makes it count."""
    if box.capabilities is not None:
        yield f"--bounding-set={_only(box.capabilities)}"
        yield f"--inh-caps={_only(box.ambient_caps)}"
        yield f"--ambient-caps={_only(box.ambient_caps)}"
    if box.no_new_privs:
        yield "--no-new-privs"


def _only(names: Collection[str]) -> str:
    return ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in names)])


def _renamed_by_nobody(box: Container) -> bool:
    """Whether the name is set by a user whom the new user namespace does not know.

    Such a user's capabilities end at the first execve; here that is of the program that renames.
    """
    mapped = box.rootless or box.uid_map
    return box.hostname is not None and bool(box.cloneflags & CLONE_NEWUSER) and not mapped


def _rename(name: str) -> str:
    if set(name) <= _PLAIN_NAME and name:
        return f"hostname {name}"
    return rf"printf '%s\n' {shlex.quote(name)} >/proc/sys/kernel/hostname"


def _shell_notes(box: Container) -> Iterator[Words]:
    if box.cloneflags and not box.rootless:
        yield Words(
            "要有 root 的权能：前面加 `sudo`。", "Takes root's capabilities: put `sudo` before it."
        )
    if box.cloneflags & CLONE_NEWPID:
        yield Words(
            "`--fork`：unshare 自己搬不进新的 PID 命名空间，它的孩子才行。",
            "`--fork`: unshare itself cannot move to a new PID namespace; its child is born in it.",
        )
    if box.cloneflags & CLONE_NEWUSER and not (box.rootless or box.uid_map):
        yield Words(
            "没有 uid 映射，里面的用户是 65534（nobody）；加上 `--map-root-user` 才是 root。",
            "Without a uid map the user inside is 65534 (nobody); `--map-root-user` makes it root.",
        )
    if box.hostname is not None and box.hostname != box.hostname.partition("\n")[0]:
        yield Words("shell 写不进换行之后的部分。", "A shell cannot set what follows the newline.")


def number(flags: Clone) -> str:
    """The flags as the kernel gets them: one number, and the bits it is made of."""
    bits = [f"  {kind.flag.value:#010x}  {kind.flag.name}" for kind in KINDS if flags & kind.flag]
    return "\n".join([f"{int(flags):#010x}", *bits]) + "\n"


def _number_notes(flags: Clone) -> Iterator[Words]:
    if flags & CLONE_NEWTIME:
        yield Words(
            "老的 clone 没有 `CLONE_NEWTIME` 的位置：那一位属于退出信号。",
            "The older clone has no `CLONE_NEWTIME`: that bit is part of the exit signal.",
        )
    elif flags:
        yield Words(
            f"在老的 clone 里，退出信号 SIGCHLD（17）也挤在同一个数里：`{int(flags) | 17:#010x}`。",
            "In the older clone the exit signal, SIGCHLD (17), shares the number: "
            f"`{int(flags) | 17:#010x}`.",
        )
    else:
        yield Words(
            "一位也没有：什么都不新建，就是 fork。",
            "No bit is set, so nothing is new: this is fork.",
        )
