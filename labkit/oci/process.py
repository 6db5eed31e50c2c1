"""What the program of a configuration is and may do: the last steps of the child."""

import contextlib
import errno
import os
import resource
import stat

from labkit.container.contain import DEFAULT_PATH
from labkit.linux import door, seccomp_filter, trace
from labkit.linux.capabilities import CAPABILITIES, bits_of
from labkit.linux.credentials import (
    cap_ambient_raise,
    capbset_drop,
    capget,
    capset,
    seccomp,
    setgroups,
    setresgid,
    setresuid,
)
from labkit.linux.flags import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_SET_KEEPCAPS,
    PR_SET_NO_NEW_PRIVS,
)
from labkit.linux.path import places
from labkit.linux.processes import execve, prctl
from labkit.oci.config import Config
from labkit.oci.translate import capabilities, environment, filter_flags, profile
from labkit.text.words import Words

_JOIN_SESSION_KEYRING = 1  # keyctl(2)
_PERSONALITIES = {"LINUX": 0, "LINUX32": 8}
_POLICIES = ("OTHER", "FIFO", "RR", "BATCH", "ISO", "IDLE", "DEADLINE")
_IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}


def set_rlimits(process: Config, pid: int) -> None:
    """Set the limits of a process from outside: it may not be allowed to raise its own."""
    seen = set()
    for each in process.get("rlimits", ()):
        name = each.get("type", "")
        if name in seen or not hasattr(resource, name) or not name.startswith("RLIMIT_"):
            raise ValueError(
                Words(
                    f"rlimits：没有 {name!r}，或者写了两次",
                    f"rlimits: there is no {name!r}, or it is given twice",
                )
            )
        seen.add(name)
        pair = each["soft"], each["hard"]
        values = tuple(-1 if value >= 1 << 63 else value for value in pair)
        try:
            resource.prlimit(pid, getattr(resource, name), (values[0], values[1]))
        except (OSError, ValueError) as error:
            reason = os.strerror(getattr(error, "errno", None) or errno.EINVAL).lower()
            said = f"prlimit64({pid}, {name}, {{{values[0]}, {values[1]}}}): {reason}"
            raise ValueError(Words(said, said)) from None


def own_keyring(name: str) -> None:
    """Leave the session keyring of whoever runs us for a new one: keyctl(2)."""
    key = os.fsencode(f"_ses.{name}")
    with contextlib.suppress(OSError):  # a kernel without keys, or a filter that forbids them
        trace.make("keyctl", f"KEYCTL_JOIN_SESSION_KEYRING, {key!r}", _JOIN_SESSION_KEYRING, key)


def schedule(process: Config, linux: Config) -> None:
    """Set personality, scheduler and priority of input and output, where they are asked for."""
    if domain := linux.get("personality", {}).get("domain"):
        trace.make("personality", domain, _one_of(_PERSONALITIES, domain))
    if given := process.get("scheduler"):
        policy = _POLICIES.index(given["policy"].removeprefix("SCHED_"))
        os.sched_setscheduler(0, policy, os.sched_param(given.get("priority", 0)))
        if given.get("nice"):
            os.setpriority(os.PRIO_PROCESS, 0, given["nice"])
    if given := process.get("ioPriority"):
        priority = _one_of(_IO_CLASSES, given["class"]) << 13 | given.get("priority", 0)
        trace.make("ioprio_set", f"IOPRIO_WHO_PROCESS, 0, {priority:#x}", 1, 0, priority)


def _one_of(known: dict[str, int], word: str) -> int:
    if word not in known:
        raise ValueError(Words(f"不认得 {word!r}", f"unknown {word!r}"))
    return known[word]


def found_program(process: Config) -> str:
    """The program's path. Engines know by the words of the error that the program is missing."""
    name, env = process["args"][0], environment(process)
    why = Words("PATH 里没有这个程序", "executable file not found in $PATH")
    for path in places(name, env.get("PATH", DEFAULT_PATH)):
        try:
            if stat.S_ISREG(os.stat(path).st_mode) and os.access(path, os.X_OK):
                return path
            why = Words("不能执行", "permission denied")
        except OSError as error:
            if "/" in name:
                reason = os.strerror(error.errno or 0).lower()
                why = Words("没有这个程序", f"stat {path}: {reason}")
    raise ValueError(Words(f"{name!r}：{why.zh}", f'exec: "{name}": {why.en}'))


Filtering = tuple[door.Filter, int] | None
"""A filter and its flags, if there is one."""


def filtering(process: Config, linux: Config) -> Filtering:
    """The filter for a program, assembled while the files of our own can be read."""
    section = linux.get("seccomp")
    if section is None:
        return None
    held = capabilities(process)["bounding"]
    return seccomp_filter.assemble(profile(section), held), filter_flags(section)


def limit(process: Config, filtered: Filtering) -> None:
    """Limit the program to what the configuration allows."""
    new = process.get("noNewPrivileges", False)
    if filtered and not new:
        seccomp(*filtered)  # needs CAP_SYS_ADMIN, which goes below
    _label(process)
    _become(process)
    if new:
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        if filtered:
            seccomp(*filtered)


def _become(process: Config) -> None:
    """Become the user, with the five sets of capabilities.

    What is dropped from the bounding set goes first: it needs CAP_SETPCAP. A change of user would
    empty the permitted set, from which the others are taken.
    """
    held = _may_be_granted(process)
    for name in CAPABILITIES[: _last() + 1]:
        if name not in held["bounding"]:
            capbset_drop(name)
    user = process.get("user", {})
    prctl(PR_SET_KEEPCAPS, 1)
    if not _setgroups_denied():
        setgroups(user.get("additionalGids", ()))
    setresgid(*[user.get("gid", 0)] * 3)
    setresuid(*[user.get("uid", 0)] * 3)
    prctl(PR_SET_KEEPCAPS, 0)
    sets = [bits_of(held[name]) for name in ("effective", "permitted", "inheritable")]
    capset(*sets)
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    for name in held["ambient"]:
        cap_ambient_raise(name)
    os.umask(user.get("umask", 0o022))


def _may_be_granted(process: Config) -> dict[str, list[str]]:
    """The five sets, without what we do not have ourselves. The specification wants no error.

    A capability can be effective or ambient only if it is permitted, and ambient only if it is
    inheritable too.
    """
    _, ours, _ = capget()
    held = {
        name: [cap for cap in caps if ours >> CAPABILITIES.index(cap) & 1]
        for name, caps in capabilities(process).items()
    }
    permitted = {*held["permitted"]}
    held["effective"] = [cap for cap in held["effective"] if cap in permitted]
    both = permitted & {*held["inheritable"]}
    return held | {"ambient": [cap for cap in held["ambient"] if cap in both]}


def _last() -> int:
    """The last capability that this kernel knows: the bounding set is asked, without /proc."""
    known = len(CAPABILITIES)
    while door.call("prctl", (23, known - 1, 0, 0, 0)) < 0:  # PR_CAPBSET_READ
        known -= 1
    return known - 1


def _setgroups_denied() -> bool:
    try:
        with open("/proc/self/setgroups", "rb") as file:  # no codec can be imported here
            return file.read().startswith(b"deny")
    except OSError:  # no /proc in this container: the kernel will say
        return False


def _label(process: Config) -> None:
    """Have execve(2) change to a profile of AppArmor or a label of SELinux."""
    if name := process.get("apparmorProfile"):
        _write(("/proc/self/attr/apparmor/exec", "/proc/self/attr/exec"), f"exec {name}")
    if label := process.get("selinuxLabel"):
        _write(("/proc/self/attr/exec",), label)


def _write(paths: tuple[str, ...], text: str) -> None:
    path = next((path for path in paths if os.path.exists(path)), paths[-1])
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def give_streams(process: Config) -> None:
    """Give the three standard streams to the program's user, who may open them by /dev/stdout."""
    user = process.get("user", {})
    for fd in range(3):
        with contextlib.suppress(OSError):  # a file system without owners, an ID that is not mapped
            found = os.fstat(fd)
            if found.st_uid != user.get("uid", 0) and not _is_null(found):
                os.fchown(fd, user.get("uid", 0), -1)


def _is_null(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(1, 3)


def variables(process: Config) -> dict[str, str]:
    """The program's environment, with HOME as /etc/passwd of the container has it."""
    found = environment(process)
    if not found.get("HOME"):
        found["HOME"] = _home(process.get("user", {}).get("uid", 0))
    return found


def _home(uid: int) -> str:
    try:
        with open("/etc/passwd", errors="replace") as lines:
            for line in lines:
                fields = line.rstrip("\n").split(":")
                if len(fields) > 5 and fields[2] == str(uid):
                    return fields[5] or "/"
    except OSError:
        pass
    return "/"


def become(path: str, process: Config, env: dict[str, str]) -> None:
    """Become the program."""
    execve(path, process["args"], env)
