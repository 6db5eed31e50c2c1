"""The values of docker's options, as Docker's own readers take them: sizes, times, signals, lists.

What is refused is refused in Docker's words. Sources: github.com/docker/go-units, Go's package
time, docker/cli's opts and cli/command/container/opts.go.
"""

import _signal  # type: ignore[import-not-found]
import os
from _collections_abc import Callable, Mapping, Sequence

from labkit.docker.absent import Refused
from labkit.python import re
from labkit.python.typing import NamedTuple
from labkit.text.letters import is_whole
from labkit.text.words import Words

_UNITS = {"": 1, "b": 1} | {
    f"{unit}{end}": 1 << 10 * power
    for power, unit in enumerate("kmgtp", 1)
    for end in ("", "b", "ib")
}
_DURATION = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_NANOSECONDS = {
    "ns": 1,
    "us": 1000,
    "µs": 1000,
    "μs": 1000,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_NAME = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_POLICIES = ("no", "always", "on-failure", "unless-stopped")
_SIGNALS = {
    name.removeprefix("SIG"): int(number)
    for name, number in vars(_signal).items()
    if name.startswith("SIG") and name[3] != "_"
}
RLIMITS = (
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
    *("rss", "rtprio", "rttime", "sigpending", "stack"),
)
"""The resources that setrlimit(2) limits, in Docker's words for --ulimit."""


class Restart(NamedTuple):
    """--restart: a policy, and how often at most with on-failure (0: no limit)."""

    policy: str = "no"
    times: int = 0


def size(text: str) -> int:
    """A number of bytes: RAMInBytes of go-units."""
    unit = text.lstrip("0123456789.")  # no pattern: to import re takes longer than all the options
    number, unit = text.removesuffix(unit), unit.removeprefix(" ").lower()
    if unit not in _UNITS or number.count(".") > 1 or not number.strip("."):
        raise Refused(Words(f"不是大小：'{text}'（写成 64m、1.5g）", f"invalid size: '{text}'"))
    return int(float(number) * _UNITS[unit])


def duration(text: str) -> int:
    """A length of time in nanoseconds: Go's time.ParseDuration."""
    rest, sign = text.lstrip("+-"), -1 if text.startswith("-") else 1
    if rest == "0":
        return 0
    parts = _DURATION.findall(rest)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        raise Refused(
            Words(f'不是时长："{text}"（写成 30s、1m30s）', f'time: invalid duration "{text}"')
        )
    return sign * int(sum(float(number) * _NANOSECONDS[unit] for number, unit in parts))


def whole(text: str) -> int:
    """A whole number: Go's strconv.ParseInt."""
    if not is_whole(text):
        en = f'strconv.ParseInt: parsing "{text}": invalid syntax'
        raise Refused(Words(f"要一个整数，而不是 {text!r}", en))
    return int(text)


def name(text: str) -> str:
    """The name of a container."""
    if not _NAME.fullmatch(text):
        raise Refused(
            Words(
                f"不能作容器的名字（{text}）：只能有 [a-zA-Z0-9][a-zA-Z0-9_.-]，至少两个字符",
                f"Invalid container name ({text}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
            )
        )
    return text.removeprefix("/")


def restart(text: str) -> Restart:
    """A restart policy: opts.ParseRestartPolicy of docker/cli, and moby's own check of it."""
    policy, colon, times = text.partition(":")
    if colon and not is_whole(times):
        raise _no_policy(text, "format: maximum retry count must be an integer")
    if policy not in ("", *_POLICIES):
        *known, last = (f"'{each}'" for each in _POLICIES)
        raise _no_policy(
            text, f": unknown policy '{policy}'; use one of {', '.join(known)}, or {last}"
        )
    if colon and policy != "on-failure":
        raise _no_policy(text, ": maximum retry count can only be used with 'on-failure'")
    if times.startswith("-"):
        raise _no_policy(text, ": maximum retry count cannot be negative")
    return Restart(policy or "no", int(times or 0))


def _no_policy(text: str, why: str) -> Refused:
    return Refused(
        Words(
            f"重启策略不对：{text!r}。可以是 no、always、unless-stopped、on-failure[:次数]",
            "invalid restart policy" + " " * why.startswith("f") + why,
        )
    )


def stop_signal(text: str) -> str:
    """A signal by name or number, as it was written. moby/sys/signal: ParseSignal."""
    number_of_signal(text)
    return text


def number_of_signal(text: str) -> int:
    """The number of a signal: TERM, SIGTERM, 15, RTMIN+3."""
    name = text.upper().removeprefix("SIG")
    number = _SIGNALS.get(name, 0)
    if name.isascii() and name.isdigit():
        number = int(name)
    elif found := re.fullmatch(r"(RTMIN|RTMAX)([+-][0-9]+)", name):
        number = _SIGNALS[found[1]] + int(found[2])
    if not 1 <= number <= _signal.SIGRTMAX:
        raise Refused(
            Words(f"没有这个信号：{text}（如 SIGTERM、TERM、15）", f"invalid signal: {text}")
        )
    return number


def rlimit(text: str) -> tuple[str, tuple[int, int]]:
    """NAME=SOFT[:HARD]: the resource, and its two limits; -1 is none. go-units: ParseUlimit."""
    name, equals, limits = text.partition("=")
    parts = limits.split(":")
    if not equals:
        raise _no_rlimit(text, f"invalid ulimit argument: {text}")
    if name not in RLIMITS:
        raise _no_rlimit(text, f"invalid ulimit type: {name}")
    if len(parts) > 2:
        raise _no_rlimit(
            text, f"too many limit values - {limits}, can only have up to two, `soft[:hard]`"
        )
    for part in parts:
        if not re.fullmatch(r"-?[0-9]+", part):
            raise _no_rlimit(text, f'strconv.ParseInt: parsing "{part}": invalid syntax')
    soft, hard = int(parts[0]), int(parts[-1])
    if hard != -1 and (soft == -1 or soft > hard):
        raise _no_rlimit(
            text, f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        )
    return name, (soft, hard)


def _no_rlimit(text: str, why: str) -> Refused:
    return Refused(
        Words(
            f"--ulimit 写成 名字=软限[:硬限]，如 nofile=1024:2048，而不是 {text}；"
            f"名字有 {' '.join(RLIMITS)}",
            why,
        )
    )


def pair(kind: str, text: str) -> tuple[str, str]:
    """NAME=VALUE of a label, a sysctl, an annotation; without a value it is empty."""
    name, _, value = text.partition("=")
    if not name.strip():
        raise Refused(Words(f"{kind} {text!r} 没有名字", f"invalid {kind} '{text}': empty name"))
    return name, value


def sysctl(text: str) -> tuple[str, str]:
    """NAME=VALUE of a setting that belongs to a namespace: opts.ValidateSysctl of docker/cli."""
    name, equals, value = text.partition("=")
    if not equals or not (name in _SYSCTLS or name.startswith(("net.", "fs.mqueue."))):
        raise Refused(
            Words(
                f"--sysctl 只能改属于命名空间的设置，如 net.ipv4.ip_forward=1，而不是 {text}",
                f"sysctl '{text}' is not allowed",
            )
        )
    return name, value


_SYSCTLS = {
    *("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall"),
    *("kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"),
}


def variable(text: str) -> str:
    """NAME=VALUE or NAME of --env."""
    if not text.partition("=")[0]:
        raise Refused(Words(f"环境变量没有名字：{text!r}", f"invalid environment variable: {text}"))
    return text


def environment(listed: Sequence[str], files: Sequence[str]) -> dict[str, str]:
    """The variables of --env-file and then of --env. Without a value: as the caller has it."""
    found: dict[str, str] = {}
    for line in [*(line for path in files for line in lines_of(path, "env file")), *listed]:
        name, equals, value = line.partition("=")
        if equals:
            found[name] = value
        elif name in os.environ:  # -e NAME: as the caller has it, if it has
            found[name] = os.environ[name]
    return found


def labels(listed: Sequence[str], files: Sequence[str]) -> dict[str, str]:
    """The labels of --label-file and then of --label."""
    lines = [line for path in files for line in lines_of(path, "label file")]
    return dict(pair("label", line) for line in [*lines, *listed])


def lines_of(path: str, what: str) -> list[str]:
    """The lines of a file of variables or labels, without comments: kvfile of docker/cli."""
    try:
        with open(path, "rb") as file:
            text = file.read().removeprefix(b"\xef\xbb\xbf").decode()
    except OSError as error:
        why = str(error.strerror).lower()
        raise Refused(Words(f"打不开 {path}：{why}", f"open {path}: {why}")) from None
    except UnicodeDecodeError:
        en = f"invalid {what} ({path}): the file contains invalid utf8 bytes"
        raise Refused(Words(f"{path} 不是 UTF-8", en)) from None
    lines = [line.lstrip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    for line in lines:
        _check_line(line, path, what)
    return lines


def _check_line(line: str, path: str, what: str) -> None:
    name = line.partition("=")[0]
    if not name:
        why = Words(f"这一行没有名字：'{line}'", f"no variable name on line '{line}'")
    elif re.search(r"\s", name):
        why = Words(f"名字里有空白：'{name}'", f"variable '{name}' contains whitespaces")
    else:
        return
    raise Refused(Words(f"{path}：{why.zh}", f"invalid {what} ({path}): {why.en}"))


def ports(text: str) -> list[str]:
    """The ports of --expose: PORT[-PORT][/PROTOCOL], each as "80/tcp"."""
    numbers, _, kind = text.partition("/")
    found = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", numbers)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if not found or not first <= last < 1 << 16 or kind not in ("", "tcp", "udp", "sctp"):
        en = f"invalid range format for --expose: {text}"
        raise Refused(Words(f"--expose 写成 80、80/udp、8000-8003，而不是 {text}", en))
    return [f"{port}/{kind or 'tcp'}" for port in range(first, last + 1)]


def one_of(option: str, text: str, known: Sequence[str]) -> str:
    """One of a few words."""
    if text not in known:
        listed = ", ".join(f'"{each}"' for each in known[:-1])
        raise Refused(
            Words(
                f"--{option} 只能是 {' '.join(known)}，而不是 {text!r}",
                f"invalid {option} option: '{text}': must be one of {listed} or \"{known[-1]}\"",
            )
        )
    return text


def log_bounds(driver: str, options: Mapping[str, str]) -> tuple[int, int] | None:
    """--log-opt max-size and max-file: bytes of a file, and how many files. None: no bound."""
    if driver == "none" and options:
        en = "invalid logging opts for driver none"
        raise Refused(Words("日志驱动 none 不写日志，也就没有 --log-opt", en))
    for name in options:
        if name not in _LOG_OPTIONS:
            en = f"unknown log opt '{name}' for {driver} log driver"
            raise Refused(Words(f"日志驱动 {driver} 没有 --log-opt {name}", en))
    if options.get("compress", "false") not in ("false", "0"):
        raise Refused(
            Words("旧的日志不压缩", "compress: older files of a log are not compressed here")
        )
    most, files = options.get("max-size", "-1"), whole(options.get("max-file", "1"))
    if files < 1:
        raise Refused(Words("max-file 至少是 1", "max-file cannot be less than 1"))
    if most == "-1" and files > 1:
        said = "max-file cannot be used without max-size"
        raise Refused(Words("写 max-file 也要写 max-size", said))
    return None if most == "-1" else (size(most), files)


_LOG_OPTIONS = {
    *("max-size", "max-file", "compress", "mode", "max-buffer-size"),
    *("labels", "labels-regex", "env", "env-regex", "tag"),
}


def health(asked: Mapping[str, str | bool]) -> dict[str, object] | None:
    """Docker's Healthcheck of the --health options and --no-healthcheck; None: none was given."""
    given = {name: str(value) for name, value in asked.items() if name != "no-healthcheck"}
    if asked.get("no-healthcheck"):
        if given:
            raise Refused(
                Words(
                    "--no-healthcheck 不能与 --health-* 一起用",
                    "--no-healthcheck conflicts with --health-* options",
                )
            )
        return {"Test": ["NONE"]}
    found: dict[str, object] = {}
    if command := given.get("health-cmd"):
        found["Test"] = ["CMD-SHELL", command]
    for option, (key, reader) in _HEALTH.items():
        if option in given:
            found[key] = _not_negative(option, reader(given[option]))
    return found or None


_HEALTH: Mapping[str, tuple[str, Callable[[str], int]]] = {
    "health-interval": ("Interval", duration),
    "health-timeout": ("Timeout", duration),
    "health-start-period": ("StartPeriod", duration),
    "health-start-interval": ("StartInterval", duration),
    "health-retries": ("Retries", whole),
}


def _not_negative(option: str, number: int) -> int:
    if number < 0:
        raise Refused(Words(f"--{option} 不能是负数", f"--{option} cannot be negative"))
    return number
