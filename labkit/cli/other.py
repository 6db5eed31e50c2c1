"""What argparse reads: ``labkit ns``, ``labkit doctor``, --help; and what is no command at all."""

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from labkit.cli.complaint import complain, fail
from labkit.cli.verbs import VERBS
from labkit.cli.versions import MISUSED, OF_IMAGE, VERSIONS, usage
from labkit.linux.namespaces import KINDS, inodes
from labkit.text.words import Words

if TYPE_CHECKING:
    import argparse

    from labkit.container.container import Container

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - no other name

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


def main(arguments: Sequence[str]) -> int:
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
    status = fail(1, Words(f"没有 labkit {word} 这个命令", what))
    complain(f"{Words('labkit --help 列出所有命令', 'labkit --help lists all commands')}\n")
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


def _add_version(commands: "Commands", name: str, box: "Container") -> None:
    new = str(box.cloneflags) if box.cloneflags else ""
    version = commands.add_parser(
        name,
        help=str(
            Words(f"运行一个程序{new and f'，加 {new}'}", f"run a program{new and f' with {new}'}")
        ),
        usage=usage(name),
        description=_what_it_does(name),
    )
    version.add_argument("run", help=str(Words("唯一的动词", "the only verb")))
    if name in OF_IMAGE:
        version.add_argument("IMAGE", help=str(Words("镜像的名字", "the name of an image")))
    elif box.root:
        said = Words("容器的根目录", "the container's root directory")
        version.add_argument("--root", metavar="DIR", help=str(said))
    version.add_argument("CMD", help=str(Words("程序", "the program")))
    untouched = str(Words("它的参数，原样传递", "its arguments, untouched"))
    version.add_argument("ARG", nargs="*", help=untouched)


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
    if version in OF_IMAGE:
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


def _ns_tree(pids: Sequence[str], *, as_json: bool) -> int:
    if pids:
        said = Words("--tree 说的是所有进程，不要写 PID", "--tree is of all processes: give no PID")
        return fail(MISUSED, said)
    from labkit.cli import tree

    return tree.main(as_json=as_json)


def _ns(pids: Sequence[str], *, as_json: bool) -> int:
    found = {}
    for pid in pids:
        try:
            found[pid] = inodes(pid)
        except ProcessLookupError:
            gone = Words(f"没有进程 {pid}，它已结束，或号码写错", f"no process {pid}: it ended?")
            return fail(1, gone)
        except PermissionError:
            return fail(
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
