"""labkit oci: the command line of an OCI runtime, with the flags that engines give to runc."""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from labkit.cli import relay
from labkit.oci import executing, lifecycle, state, terminal
from labkit.oci.config import PROCESS, RESOURCES, VERSION, check_process, load, read
from labkit.oci.features import features
from labkit.text.words import AS_TYPED, Words, words_of

FAILED, MISUSED = 1, 2
_BOOLEAN: Any = {"action": "store_true"}


def main(arguments: Sequence[str]) -> int:
    """Run one verb; the exit status."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors=AS_TYPED)  # type: ignore[union-attr]
    try:
        asked = _parser().parse_args(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        status: int = _VERBS[asked.verb](asked)
        sys.stdout.flush()
    except (ValueError, OSError, LookupError) as error:
        _complain(asked, error)
        return FAILED
    return status


def _complain(asked: argparse.Namespace, error: Exception) -> None:
    """Say what was wrong, where an engine looks for it too: in the file of --log."""
    call = vars(error).get("call")
    parts = [str(error), *map(str, words_of(error))] if call else [str(error)]
    text = " ".join(" ".join(dict.fromkeys(parts)).splitlines())
    sys.stderr.write(f"labkit: {text}\n")
    if asked.log:
        entry = {"level": "error", "msg": text, "time": state.now()}
        line = json.dumps(entry)
        if asked.log_format == "text":
            line = " ".join(f"{key}={json.dumps(value)}" for key, value in entry.items())
        with contextlib.suppress(OSError), open(asked.log, "a") as log:
            log.write(line + "\n")


def _root(asked: argparse.Namespace) -> str:
    return str(asked.root or state.default_root())


def _create(asked: argparse.Namespace) -> int:
    config = load(asked.bundle)
    given = config.get("process", {})
    terminal.check(given, asked.console_socket, detached=True)
    lifecycle.create(_root(asked), asked.id, _wishes(asked, None))
    return 0


def _wishes(asked: argparse.Namespace, ends: "Ends | None") -> lifecycle.Asked:
    """What was asked of create, run or exec. ends: of a terminal that we are in front of."""
    console = ends[1] if ends else None
    if asked.console_socket:
        console = terminal.connect(asked.console_socket)
    return lifecycle.Asked(
        bundle=os.path.abspath(getattr(asked, "bundle", ".")),
        pid_file=asked.pid_file,
        console=console,
        preserve=asked.preserve_fds,
        systemd=asked.systemd_cgroup,
        pivot=not getattr(asked, "no_pivot", False),
        keyring=not getattr(asked, "no_new_keyring", False),
    )


def _start(asked: argparse.Namespace) -> int:
    lifecycle.start(_root(asked), asked.id)
    return 0


def _run(asked: argparse.Namespace) -> int:
    """Create and start; without --detach wait for the end, and leave nothing."""
    given = load(asked.bundle).get("process", {})
    terminal.check(given, asked.console_socket, detached=asked.detach)
    root, ends = _root(asked), _console(given, asked)
    kept = lifecycle.create(root, asked.id, _wishes(asked, ends))
    try:
        master = _front(ends)
        lifecycle.start(root, asked.id)
    except BaseException:
        with contextlib.suppress(LookupError, ValueError, OSError):
            lifecycle.delete(root, asked.id, force=True)
        raise
    if asked.detach:
        return 0
    status = _followed(kept.values["pid"], master)
    if not asked.keep:
        lifecycle.delete(root, asked.id, force=True)
    return status


Ends = tuple[socket.socket, socket.socket]


def _console(given: Any, asked: argparse.Namespace) -> Ends | None:  # noqa: ANN401 - JSON
    """Two ends of a socket for a terminal of which we are the keyboard and the screen."""
    if given.get("terminal") and not asked.console_socket and not asked.detach:
        return socket.socketpair()
    return None


def _front(ends: Ends | None) -> int:
    """Our end of a terminal, which is as large as ours from the start; -1: there is none."""
    if ends is None:
        return -1
    ends[1].close()
    master = terminal.received(ends[0])
    relay.resize(master)
    return master


def _followed(pid: int, master: int) -> int:
    """Pass signals on to a child of ours, and be its terminal; its exit status."""
    if master >= 0:
        relay.relay(pid, master)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
        signal.signal(number, lambda number, _: os.kill(pid, number))
    relay.wait(pid)
    _, status = os.waitpid(pid, 0)
    return exit_status(status)


def exit_status(status: int) -> int:
    """128+N for signal N, as shells have it."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _exec(asked: argparse.Namespace) -> int:
    given = _process(asked)
    terminal.check(given, asked.console_socket, detached=asked.detach)
    ends = _console(given, asked)
    if ends and not given.get("consoleSize") and (size := relay.size()):
        given = {**given, "consoleSize": size}  # the program may ask at once
    pid = executing.execute(_root(asked), asked.id, given, _wishes(asked, ends))
    return 0 if asked.detach else _followed(pid, _front(ends))


def _process(asked: argparse.Namespace) -> Any:  # noqa: ANN401 - what JSON holds
    """The process of an exec: from a file, or the container's own with what was asked for."""
    if asked.process:
        given = read(asked.process, PROCESS)
        check_process(given, asked.process)
        return given
    own = state.load(_root(asked), asked.id).values["config"].get("process", {})
    changes = {
        "args": asked.command,
        "user": _user(own, asked),
        "terminal": asked.tty,
        "cwd": asked.cwd,
        "env": [*own.get("env", ()), *asked.env],
        "noNewPrivileges": asked.no_new_privs or None,
    }
    if asked.cap:
        caps = own.get("capabilities", {})
        changes["capabilities"] = {name: [*caps.get(name, ()), *asked.cap] for name in _GIVEN}
    found = executing.changed(own, changes)
    check_process(found, "exec")
    return found


def _user(own: Any, asked: argparse.Namespace) -> dict[str, object]:  # noqa: ANN401 - JSON
    user = dict(own.get("user", {}))
    if asked.user:
        uid, _, gid = asked.user.partition(":")
        user = {"uid": int(uid), "gid": int(gid or 0)}
    if asked.additional_gids:
        user["additionalGids"] = asked.additional_gids
    return user


_GIVEN = ("bounding", "effective", "permitted")


def _kill(asked: argparse.Namespace) -> int:
    number = state.signal_of(asked.signal)
    lifecycle.kill(_root(asked), asked.id, number, every=asked.all)
    return 0


def _delete(asked: argparse.Namespace) -> int:
    try:
        lifecycle.delete(_root(asked), asked.id, force=asked.force)
    except state.Missing:
        if not asked.force:
            raise
    return 0


def _state(asked: argparse.Namespace) -> int:
    print(json.dumps(state.load(_root(asked), asked.id).shown(), indent=2))
    return 0


def _pause(asked: argparse.Namespace) -> int:
    lifecycle.pause(_root(asked), asked.id, frozen=asked.verb == "pause")
    return 0


def _update(asked: argparse.Namespace) -> int:
    path = "/dev/stdin" if asked.resources == "-" else asked.resources
    lifecycle.update(_root(asked), asked.id, read(path, RESOURCES))
    return 0


def _list(asked: argparse.Namespace) -> int:
    every = [kept.shown() for kept in state.every(_root(asked))]
    if asked.quiet:
        print("".join(f"{each['id']}\n" for each in every), end="")
    elif asked.format == "json":
        print(json.dumps(every))
    else:
        heads = ("id", "pid", "status", "bundle", "created", "owner")
        rows = [[str(each[head]) for head in heads] for each in every]
        _table([[head.upper() for head in heads], *rows])
    return 0


def _table(rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("   ".join(map(str.ljust, row, widths)).rstrip())


def _ps(asked: argparse.Namespace) -> int:
    """The processes of a container: their numbers, or the lines of ps(1) about them."""
    pids = state.load(_root(asked), asked.id).groups.pids()
    if asked.format == "json":
        print(json.dumps(pids))
        return 0
    command = ["ps", *(asked.options or ["-ef"])]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    at = lines[0].split().index("PID")
    wanted = {*map(str, pids)}
    print("\n".join([lines[0], *(each for each in lines[1:] if each.split()[at] in wanted)]))
    return 0


def _features(_: argparse.Namespace) -> int:
    print(json.dumps(features(), indent=4))
    return 0


_VERBS = {
    "create": _create,
    "start": _start,
    "run": _run,
    "exec": _exec,
    "kill": _kill,
    "delete": _delete,
    "state": _state,
    "pause": _pause,
    "resume": _pause,
    "update": _update,
    "list": _list,
    "ps": _ps,
    "features": _features,
}
_DOES = {
    "create": Words(
        "造一个容器，它的第一个进程等着", "make a container, whose first process waits"
    ),
    "start": Words("让它成为自己的程序", "let it become its program"),
    "run": Words("create 加 start", "create and start"),
    "exec": Words("在容器里再起一个进程", "one more process in a container"),
    "kill": Words("发信号", "send a signal"),
    "delete": Words("删除停了的容器", "remove a container that has stopped"),
    "state": Words("容器的状态，JSON", "the state of a container, as JSON"),
    "pause": Words("让它的进程停住", "stop its processes"),
    "resume": Words("让它们继续", "let them go on"),
    "update": Words("改动限制", "change its limits"),
    "list": Words("所有的容器", "all containers"),
    "ps": Words("容器里的进程", "the processes of a container"),
    "features": Words("这个运行时会什么，JSON", "what this runtime knows, as JSON"),
}


def _add_create(verb: argparse.ArgumentParser) -> None:
    bundle = str(Words("容器的目录，默认是当前目录", "the bundle; default: the current folder"))
    verb.add_argument("--bundle", "-b", default=".", help=bundle)
    _add_streams(verb)
    for flag in ("--no-pivot", "--no-new-keyring"):
        verb.add_argument(flag, **_BOOLEAN)


def _add_streams(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--console-socket", default="")
    verb.add_argument("--pid-file", default="")
    verb.add_argument("--preserve-fds", type=int, default=int(os.environ.get("LISTEN_FDS", "0")))


def _add_run(verb: argparse.ArgumentParser) -> None:
    _add_create(verb)
    for flags in (("--detach", "-d"), ("--keep",), ("--no-subreaper",)):
        verb.add_argument(*flags, **_BOOLEAN)


def _add_exec(verb: argparse.ArgumentParser) -> None:
    _add_streams(verb)
    verb.add_argument("--process", "-p", default="")
    verb.add_argument("--user", "-u", default="", metavar="UID[:GID]")
    verb.add_argument("--additional-gids", "-g", type=int, action="append", default=[])
    verb.add_argument("--env", "-e", action="append", default=[])
    verb.add_argument("--cap", "-c", action="append", default=[])
    verb.add_argument("--cwd")
    for flags in (("--tty", "-t"), ("--detach", "-d"), ("--no-new-privs",), ("--ignore-paused",)):
        verb.add_argument(*flags, **_BOOLEAN)


def _add_list(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--format", "-f", choices=("table", "json"), default="table")
    verb.add_argument("--quiet", "-q", **_BOOLEAN)


_ADDED: dict[str, Callable[[argparse.ArgumentParser], object]] = {
    "create": _add_create,
    "run": _add_run,
    "exec": _add_exec,
    "list": _add_list,
    "kill": lambda verb: verb.add_argument("--all", "-a", **_BOOLEAN),
    "delete": lambda verb: verb.add_argument("--force", "-f", **_BOOLEAN),
    "update": lambda verb: verb.add_argument("--resources", "-r", required=True),
    "ps": lambda verb: verb.add_argument(
        "--format", "-f", choices=("table", "json"), default="table"
    ),
}
_BEHIND: dict[str, Callable[[argparse.ArgumentParser], object]] = {
    "exec": lambda verb: verb.add_argument("command", metavar="CMD", nargs=argparse.REMAINDER),
    "kill": lambda verb: verb.add_argument("signal", nargs="?", default="TERM"),
    "ps": lambda verb: verb.add_argument("options", nargs=argparse.REMAINDER),
}


def _nothing(_: argparse.ArgumentParser) -> None:
    """Many verbs have no options of their own."""


def _parser() -> argparse.ArgumentParser:
    about = Words(
        "OCI 运行时：Docker、Podman、containerd 可以用它来代替 runc",
        "An OCI runtime: Docker, Podman and containerd can use it in place of runc.",
    )
    parser = argparse.ArgumentParser(prog="labkit oci", description=str(about), allow_abbrev=False)
    said = f"labkit oci\nspec: {VERSION}"
    parser.add_argument("--version", "-v", action="version", version=said)
    parser.add_argument("--root", help=str(Words("状态放在哪里", "where states are kept")))
    parser.add_argument(
        "--log", help=str(Words("错误另外写到哪里", "where errors are written too"))
    )
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--debug", **_BOOLEAN)
    parser.add_argument("--systemd-cgroup", **_BOOLEAN)
    parser.add_argument("--rootless", default="auto")
    parser.add_argument("--criu", default="")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, does in _DOES.items():
        verb = verbs.add_parser(name, help=str(does), description=str(does), allow_abbrev=False)
        _ADDED.get(name, _nothing)(verb)
        if name not in ("list", "features"):
            verb.add_argument("id", metavar="ID")
        _BEHIND.get(name, _nothing)(verb)
    return parser
