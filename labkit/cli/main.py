"""The command line: ``labkit v0.1 run CMD``, ``labkit ns``, ``labkit doctor``.

What only one of them needs is imported there: a container is to start at once.
"""

import contextlib
import errno
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from labkit.cgroups.limits import Limits
from labkit.cli import terminal
from labkit.cli.verbs import CONTAINERS, IMAGES, NEW, VERBS
from labkit.container.container import Container
from labkit.container.root import Root
from labkit.engine import connection
from labkit.engine.client import start
from labkit.engine.running import Running
from labkit.engine.verdict import EngineLost
from labkit.linux.fields import replace
from labkit.linux.flags import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    PR_SET_CHILD_SUBREAPER,
)
from labkit.linux.namespaces import KINDS, inodes
from labkit.linux.proc import children
from labkit.linux.processes import prctl
from labkit.linux.refusal import explain, file_of, refusal
from labkit.linux.signals import JOB_SIGNALS
from labkit.text.words import AS_TYPED, Words, one_line

if TYPE_CHECKING:
    import argparse

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - no other name

# The notes' programs, by the container that each makes; the command line brings its argv.
_V01 = Container(("/bin/sh",))
_V02 = replace(_V01, cloneflags=CLONE_NEWUTS)
_V03 = replace(_V02, cloneflags=CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET)
_V04 = replace(_V03, cloneflags=_V03.cloneflags | CLONE_NEWPID, proc=True)
_V05 = replace(_V04, rootless=True)
_V06 = replace(_V05, root=Root("/rootfs"))  # which one, the command line says
_V09 = replace(_V04, network="bridge")
_V08 = replace(_V04, limits=Limits(memory="64m", cpus=0.5, pids=64))
VERSIONS: dict[str, Container] = {
    "v0.1": _V01,
    "v0.2": _V02,
    "v0.3": _V03,
    "v0.4": _V04,
    "v0.5": _V05,
    "v0.6": _V06,
    "v0.7": replace(_V04, root=_V06.root),  # an image has files of several users
    "v0.8": _V08,
    "v0.9": _V09,
}
_OF_IMAGE = {"v0.7"}  # these get their root from an image
# In place of this process they reach the container.
FORWARDED = {*map(signal.Signals, JOB_SIGNALS)}
_OWN = {
    "ns": Words("看进程在哪些命名空间里", "the namespaces that processes are in"),
    "unshare": Words(
        "与 unshare(1) 相同，系统调用自己来做；--explain 逐个解释",
        "as unshare(1), by system calls of our own; --explain says what each does",
    ),
    "oci": Words(
        "OCI 运行时：docker run --runtime 可以用它",
        "an OCI runtime: docker run --runtime can use it",
    ),
    "doctor": Words("这台机器允许什么，不允许的为什么", "what this machine allows, and why not"),
    "completion": Words(
        "bash、zsh、fish 的补全脚本", "the script that completes for bash, zsh or fish"
    ),
}
"""Our commands that are neither Docker's nor a version."""
MISUSED, REFUSED = 2, 125  # exit statuses; 125, 126, 127 and 128+n as docker run has them


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        _open_streams()
        status = _main(given)
        sys.stdout.flush()
    except OSError as error:  # standard output takes no more
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 1)
        if isinstance(error, BrokenPipeError):  # its reader, such as head(1), has read enough
            return 128 + signal.SIGPIPE
        return _fail(1, _reason(error))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return status


def _open_streams() -> None:
    """Where one of the three standard streams is closed, /dev/null: else a socket would be one."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number is free
    if sys.stdout is None or sys.stderr is None:  # Python found them closed
        sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors=AS_TYPED)  # type: ignore[union-attr]


def _main(arguments: Sequence[str]) -> int:
    # The arguments after a version are not ours: all that follows CMD, options too, is CMD's.
    if arguments and arguments[0] in VERSIONS and arguments[1:2] not in (["-h"], ["--help"]):
        return _version(arguments[0], arguments[1:])
    if arguments and arguments[0] == "unshare":
        from labkit.unshare import steps

        return steps.main(arguments[1:])
    if arguments and arguments[0] == "oci":
        from labkit.cli import oci

        return oci.main(arguments[1:])
    if arguments and arguments[0] in VERBS:
        return _verb(arguments)
    return _other(arguments)


def _other(arguments: Sequence[str]) -> int:
    """What argparse reads: the other commands, --help; and what is none of them."""
    if arguments[:1] == ["completion"] or (not arguments and "_LABKIT_COMPLETE" in os.environ):
        from labkit.cli import completion

        return completion.main(arguments[1:], {**dict.fromkeys(VERSIONS, ""), **_OWN})
    if arguments and not arguments[0].startswith("-") and arguments[0] not in {*VERSIONS, *_OWN}:
        return _unknown(arguments[0])
    parser = _parser()
    try:
        asked = parser.parse_args(arguments)
    except SystemExit as stop:  # --help, or an error that has been reported
        return int(stop.code or 0)
    if asked.command == "ns" and asked.tree:
        return _ns_tree(asked.pid, as_json=asked.json)
    if asked.command == "ns":
        return _ns(asked.pid or ["self"], as_json=asked.json)
    from labkit.doctor import report

    return report.main(as_json=asked.json, versions=VERSIONS)


def _unknown(word: str) -> int:
    """Say that there is no such command, and where all are listed; the exit status, Docker's."""
    what = f"unknown command: labkit {word}"
    status = _fail(1, Words(f"没有 labkit {word} 这个命令", what))
    _complain(f"{Words('labkit --help 列出所有命令', 'labkit --help lists all commands')}\n")
    return status


def _verb(arguments: Sequence[str]) -> int:
    """One of Docker's verbs; the exit status."""
    try:
        if os.geteuid():
            from labkit.cli import user_namespace  # root pays nothing for it

            user_namespace.enter()
        return _main_of(arguments[0])(arguments)
    except ValueError as error:
        return _fail(1, error)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _fail(1, _reason(error))


def _main_of(verb: str) -> Callable[[Sequence[str]], int]:
    """What carries a verb out. Who starts a program does without click, which is slow to import."""
    if verb in NEW:
        from labkit.cli import run

        return run.main
    if verb == "exec":
        return _exec
    if verb in IMAGES:
        from labkit.cli import images

        return images.main
    if verb in CONTAINERS:
        from labkit.cli import containers

        return containers.main
    from labkit.cli import groups, networks

    return networks.main if verb == "network" else groups.main


def _exec(arguments: Sequence[str]) -> int:
    """Docker exec. Help, and what is wrong with the words, are left to click."""
    from labkit.cli import execute

    status = execute.main(arguments)
    if status is None:
        from labkit.cli import containers

        return containers.main(arguments)
    return status


def _parser() -> "argparse.ArgumentParser":
    import argparse

    parser = argparse.ArgumentParser(
        prog="labkit",
        description=str(Words("从零写 Docker", "Write Docker from scratch, version by version.")),
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, box in VERSIONS.items():
        _add_version(commands, name, box)
    ns = _add_ns(commands)
    for name, what in {**_OWN, **VERBS}.items():
        if name not in ("ns", "doctor"):
            commands.add_parser(name, help=str(what))
    about = _OWN["doctor"]
    how = Words("逐项试一试，什么也不改", "Finds out by trying, and changes nothing.")
    report = commands.add_parser("doctor", help=str(about), description=str(how))
    for command in (ns, report):
        as_json = str(Words("输出 JSON", "print JSON"))
        command.add_argument("--json", action="store_true", help=as_json)
    return parser


def _add_version(commands: "Commands", name: str, box: Container) -> None:
    new = str(box.cloneflags) if box.cloneflags else ""
    version = commands.add_parser(
        name,
        help=str(
            Words(f"运行一个程序{new and f'，加 {new}'}", f"run a program{new and f' with {new}'}")
        ),
        usage=_usage(name),
        description=_what_it_does(name),
    )
    version.add_argument("run", help=str(Words("唯一的动词", "the only verb")))
    if name in _OF_IMAGE:
        version.add_argument("IMAGE", help=str(Words("镜像的名字", "the name of an image")))
    elif box.root:
        said = Words("容器的根目录", "the container's root directory")
        version.add_argument("--root", metavar="DIR", help=str(said))
    version.add_argument("CMD", help=str(Words("程序", "the program")))
    untouched = str(Words("它的参数，原样传递", "its arguments, untouched"))
    version.add_argument("ARG", nargs="*", help=untouched)


def _usage(version: str) -> str:
    if version in _OF_IMAGE:
        return f"labkit {version} run IMAGE [CMD] [ARG...]"
    return f"labkit {version} run {'--root DIR ' * bool(VERSIONS[version].root)}CMD [ARG...]"


def _add_ns(commands: "Commands") -> "argparse.ArgumentParser":
    ns = commands.add_parser(
        "ns",
        help=str(_OWN["ns"]),
        description=str(
            Words("并排比较命名空间的 inode", "Namespace inodes of processes, side by side.")
        ),
    )
    default = str(Words("默认是自己", "default: self"))
    ns.add_argument("pid", nargs="*", type=_pid, metavar="PID", help=default)
    tree = str(
        Words(
            "所有进程：用户命名空间的树，各自拥有什么",
            "of all processes: the tree of user namespaces, and what each owns",
        )
    )
    ns.add_argument("--tree", action="store_true", help=tree)
    return ns


def _what_it_does(version: str) -> str:
    said = Words(
        "先打印自己的参数表，然后是程序自己的输入输出。"
        "退出状态就是程序的；被信号 N 终止是 128+N，没有这个程序是 127，不能执行是 126，"
        "内核拒绝造容器是 125。",
        "Its argument list comes first, then the program's own input and output. "
        "Exit status: the program's, 128+N if signal N killed it, 127 if there is no such "
        "program, 126 if it cannot be executed, 125 if the kernel refused the container.",
    )
    does = Words(
        f"做笔记 {version} 的 main.go 所做的事：", f"What the notes' main.go does at {version}."
    )
    if version in _OF_IMAGE:
        does = Words("在镜像里运行一个程序：", "It runs a program in an image.")
    elif VERSIONS[version].root:
        does = Words(
            "在自己的根目录里运行一个程序：", "It runs a program in a root directory of its own."
        )
    elif limits := VERSIONS[version].limits:
        does = Words(f"在控制组里运行一个程序（{limits!r}）：", f"It runs a program in {limits!r}.")
    elif VERSIONS[version].network:
        does = Words("在网桥上运行一个程序：", "It runs a program on a bridge.")
    return Words(does.zh + said.zh, f"{does.en} {said.en}").joined(" ")


def _pid(word: str) -> str:
    if word == "self" or (word.isascii() and word.isdigit()):
        return word
    import argparse

    said = Words("不是进程号，也不是 self", "neither a process ID nor self")
    raise argparse.ArgumentTypeError(f"'{word}': {said}")


def _fail(status: int, text: object) -> int:
    """One line on standard error; the exit status."""
    _complain(" ".join(f"labkit: {text}".splitlines()) + "\n")
    return status


def _reason(error: OSError | RuntimeError) -> str:
    """What was refused, and what to do about it."""
    if isinstance(error, RuntimeError):
        return str(error)
    explain(error)
    about = f"{file}: " if (file := file_of(error)) else ""
    return about + one_line(error)


def _complain(text: str) -> None:
    try:
        sys.stderr.write(text)
    except OSError:  # its reader is gone, or its terminal has hung up: Python would try at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 2)


def _version(version: str, arguments: Sequence[str]) -> int:
    """Do what the notes' program does at `version` when os.Args is itself and `arguments`."""
    # fmt.Println prints a slice between brackets, with nothing around its strings, byte for byte.
    sys.stdout.buffer.write(os.fsencode(f"[{' '.join(['labkit', version, *arguments])}]\n"))
    sys.stdout.flush()
    usage = _usage(version)
    if version in _OF_IMAGE and arguments[:1] == ["run"]:
        return _of_image(version, arguments[1:])
    if arguments[:1] != ["run"]:
        word = arguments[0] if arguments else ""
        said = Words("没有定义，只有 run", "have not define, only run")
        return _fail(MISUSED, f"'{word}': {said}: {usage}")
    root, argv = _rooted(arguments[1:]) if VERSIONS[version].root else (None, arguments[1:])
    if VERSIONS[version].root and not root:
        said = Words("要有 --root 和一个目录", "--root and a directory are needed")
        return _fail(MISUSED, f"{said}: {usage}")
    if not argv:
        return _fail(MISUSED, f"{Words('缺少要运行的程序', 'no program to run')}: {usage}")
    return _run_version(version, root, argv)


def _of_image(version: str, words: Sequence[str]) -> int:
    if not words:
        return _fail(MISUSED, f"{Words('缺少镜像', 'no image')}: {_usage(version)}")
    return _run_image(version, words[0], words[1:])


def _rooted(words: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """The value of --root, which stands before CMD, and the words after it."""
    name, equals, value = words[0].partition("=") if words else ("", "", "")
    if name != "--root":
        return None, words
    return (value, words[1:]) if equals else ("".join(words[1:2]) or None, words[2:])


def _run_version(version: str, root: str | None, argv: Sequence[str]) -> int:
    """Run the container of `version`; the exit status."""

    def run() -> int:
        box = replace(VERSIONS[version], argv=tuple(argv), root=Root(root) if root else None)
        # Of two processes one goes on here, on a terminal of its own; the other has its status.
        status = terminal.give_own()
        return _in_our_place(box) if status is None else status

    return _guarded(run, MISUSED)


def _run_image(version: str, image: str, argv: Sequence[str]) -> int:
    """Run the container of `version` in a fresh root of an image; the exit status."""

    def run() -> int:
        from labkit.docker.roots import rooted
        from labkit.images.store import Store

        status = terminal.give_own()
        if status is not None:
            return status
        with rooted(Store(), image, _as_docker(VERSIONS[version]), argv) as (box, made):
            if made.note:
                _complain(f"labkit: {made.note}\n")
            return _in_our_place(box)

    return _guarded(run, REFUSED)


def _as_docker(box: Container) -> Container:
    """Root of the host gives away as little as Docker does; who is not has a user namespace."""
    from labkit.docker.rights import kept
    from labkit.linux.confinement import capabilities

    if "CAP_SYS_ADMIN" not in capabilities().effective:
        return replace(box, rootless=True)
    return replace(box, capabilities=kept((), ()), seccomp="default")


def _guarded(run: Callable[[], int], misused: int) -> int:
    """What `run` returns; or what refused it is said, and the exit status is that of a refusal."""
    try:
        return run()
    except ValueError as error:
        return _fail(misused, str(error))
    except EngineLost as error:
        _end_children()
        return _fail(REFUSED, str(error))
    except (OSError, RuntimeError) as error:
        return _fail(REFUSED, _reason(error))


def _in_our_place(box: Container) -> int:
    """Run `box` as if this process were it: terminal, signals, exit status."""
    # The engine inherits the mask and clears it when it can handle what is sent to the whole job.
    # So the container starts with nothing blocked.
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    # The engine stays in this session and process group. In another the container would not be the
    # terminal's foreground job: it would have no input, no Ctrl-C, no job control.
    connection.use(connection.EngineProcess(session=False))
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # if the engine is killed, its children become ours
    with start(box, stdin=0, stdout=1, stderr=2) as running:
        while early := signal.sigtimedwait(FORWARDED, 0):  # before there was a container to take it
            _pass_on(running, early.si_signo)
        try:
            threading.Thread(target=_forward, args=(running,), daemon=True).start()
        except RuntimeError:  # how Python says that the kernel gave it no thread
            raise refusal("clone(CLONE_THREAD)", errno.EAGAIN) from None
        done = running.wait()
    _complain(os.fsdecode(running.complaint))
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def _end_children() -> None:
    """Kill all children, and those that become our children when one of them dies."""
    while True:
        found = children()
        if not found:
            return
        for pid in found:
            with contextlib.suppress(PermissionError):  # set-user-ID: we can only wait for it
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _forward(running: Running) -> None:
    """Pass on to the container what is sent to this process."""
    while True:
        sent = signal.sigwaitinfo(FORWARDED)
        # A positive code: the kernel sent it, for a key at the terminal, to everyone in the job. So
        # does the keeper of the terminal, our parent, for a key at the caller's.
        if sent.si_signo != signal.SIGHUP and (sent.si_code > 0 or sent.si_pid in terminal.keeper):
            continue
        _pass_on(running, sent.si_signo)


def _pass_on(running: Running, number: int) -> None:
    with contextlib.suppress(OSError):  # it has just ended, or is another user's by set-user-ID
        running.kill(number)


def _ns_tree(pids: Sequence[str], *, as_json: bool) -> int:
    if pids:
        said = Words("--tree 说的是所有进程，不要写 PID", "--tree is of all processes: give no PID")
        return _fail(MISUSED, said)
    from labkit.cli import tree

    return tree.main(as_json=as_json)


def _ns(pids: Sequence[str], *, as_json: bool) -> int:
    found = {}
    for pid in pids:
        try:
            found[pid] = inodes(pid)
        except ProcessLookupError:
            gone = Words(f"没有进程 {pid}，它已结束，或号码写错", f"no process {pid}: it ended?")
            return _fail(1, gone)
        except PermissionError:
            return _fail(
                1,
                Words(
                    f"内核不让看进程 {pid}：它是别人的，或权能比你多，请用 root",
                    f"process {pid} is hidden: somebody else's, or more capable; try as root",
                ),
            )
    print(json.dumps(found, indent=2) if as_json else _side_by_side(found), end="\n" * as_json)
    return 0


def _side_by_side(found: dict[str, dict[str, int]]) -> str:
    """A row for each kind, a column for each process; what differs from the first is marked."""
    from labkit.text.tables import BOLD, GREEN, RED, columns, paint

    others = len(found) > 1
    about = Words("比较", "compared") if others else Words("隔离什么", "isolates")
    heads = (Words("种类", "kind").joined(" "), *found, about.joined(" "))
    same, different = Words("相同", "same").joined(" "), Words("不同", "different").joined(" ")
    rows = [[paint(head, BOLD) for head in heads]]
    for kind in KINDS:
        cells = [str(found[pid].get(kind.name, "-")) for pid in found]
        differing = [pid for pid, cell in zip(found, cells, strict=True) if cell != cells[0]]
        which = f": {' '.join(differing)}" if len(found) > 2 else ""
        if not others:
            verdict = str(kind.isolates)
        else:
            verdict = paint(different + which, RED) if differing else paint(same, GREEN)
        rows.append([kind.name, *cells, verdict])
    return columns(rows)
