"""What a stage's file has to do, claim by claim; how a claim can be untrue, and what helps then.

A claim looks at runs of the file (``trials.py``), that is at what the kernel shows inside and
outside of the container. Only what a file is made of is read: its imports.
"""

import ast
import errno
import os
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from labkit.notebook.exercises.answers import Diagnosis, WrongError
from labkit.notebook.mydocker.bench import COLUMNS, NAME, ROWS
from labkit.notebook.mydocker.probe import STATUS
from labkit.notebook.mydocker.trials import (
    ADDRESS,
    CABLED,
    FEWEST,
    FORKED,
    IMAGE,
    IMAGED,
    INPUT,
    LAYERED,
    LAYERED_ORDINARY,
    MARK,
    ORDINARY,
    ORPHAN,
    OTHERS,
    PROBE,
    ROOTED,
    ROOTED_ORDINARY,
    SECONDS,
    TYPED,
    TYPED_ORDINARY,
    WORDS,
    Bench,
    Run,
    Trial,
)
from labkit.text.words import Words

_FLAGS = {
    "uts": "CLONE_NEWUTS",
    "mnt": "CLONE_NEWNS",
    "ipc": "CLONE_NEWIPC",
    "net": "CLONE_NEWNET",
    "pid": "CLONE_NEWPID",
    "user": "CLONE_NEWUSER",
}
_MOST = 12  # lines of evidence
_WIDEST = 300  # characters of such a line
_ERROR = re.compile(r"^[\w.]*(Error|Exception|Interrupt)\b", re.MULTILINE)


@dataclass(frozen=True)
class Claim:
    """Something that a file does. words: it, for people. judge: raises WrongError if it does not."""

    words: Words
    judge: Callable[[Bench], None]


# --- What a file is made of --------------------------------------------------------------------

SYNTAX = (
    Words(
        "第 {line} 行 Python 读不懂：{error}。",
        "Python does not understand line {line}: {error}.",
    ),
    Words(
        "看看那一行和上一行：括号、引号、冒号、缩进。",
        "Look at that line and the one above it: brackets, quotes, colons, indentation.",
    ),
)
IMPORTS = (
    Words(
        "第 {line} 行导入了 `{name}`。你自己的 Docker 只用 `labkit.syscalls` 和 Python 标准库。",
        "Line {line} imports `{name}`. A docker of your own uses `labkit.syscalls` and Python's "
        "standard library only.",
    ),
    Words(
        "系统调用和标志都在 `labkit.syscalls` 里，其余的自己写。",
        "The system calls and flags are in `labkit.syscalls`. Write the rest yourself.",
    ),
)


def read(text: str) -> ast.Module:
    """The file as Python reads it. Raises WrongError for what cannot be, or imports too much."""
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(text)
    except SyntaxError as error:
        evidence = (error.text or "").rstrip()
        raise WrongError(SYNTAX, evidence, line=error.lineno, error=error.msg) from None
    except ValueError as error:  # a NUL
        raise WrongError(SYNTAX, line=1, error=str(error)) from None
    for node in ast.walk(tree):
        for name in _imported(node):
            if not _allowed(name):
                line = getattr(node, "lineno", 0)
                raise WrongError(IMPORTS, text.splitlines()[line - 1], line=line, name=name)
    return tree


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    if node.module == "labkit":
        return [f"labkit.{alias.name}" for alias in node.names]
    return ["." * node.level + (node.module or "")]


def _allowed(name: str) -> bool:
    return name == "labkit.syscalls" or name.split(".", maxsplit=1)[0] in sys.stdlib_module_names


# --- How any run can fail ----------------------------------------------------------------------

TOO_LONG = (
    Words(
        "{seconds} 秒过去，它还没有结束；检查把它和它启动的一切都结束掉了。",
        "It had not ended after {seconds} seconds. The check ended it and everything that it had "
        "started.",
    ),
    Words(
        "它在等谁？父进程等的是不是自己的孩子；管道两头都开着，读的人就永远等不到结尾。",
        "What does it wait for? Only the parent may wait, and only for its own child. And the "
        "reader of a pipe sees no end while the pipe is still open for writing.",
    ),
)
TOO_MUCH = (
    Words(
        "它打印个没完；检查把它结束掉了。",
        "It printed without end. The check ended it.",
    ),
    Words("哪个循环没有出口？", "Which loop has no way out?"),
)
RAISED = (
    Words(
        "程序没有运行起来：`mydocker.py` 自己先出了错。",
        "The program did not come to run: `mydocker.py` itself failed before.",
    ),
    Words(
        "错误的最后一行说被拒绝的是哪个调用；往上找你写的那一行。",
        "The last line of the error says which call was refused. Above it is the line that you "
        "wrote.",
    ),
)
NOTHING = (
    Words(
        "程序没有运行起来，什么也没有打印；`mydocker.py` 以 {status} 结束。",
        "The program did not come to run, and nothing was printed. `mydocker.py` ended with "
        "status {status}.",
    ),
    Words(
        "V0.1 的那一步还在吗：最后要变成那个程序，`os.execvp(argv[0], argv)`。",
        "Is the step of V0.1 still there? In the end it must become the program: "
        "`os.execvp(argv[0], argv)`.",
    ),
)
SWALLOWED = (
    Words(
        "程序运行了，可是它打印的东西没有出来。",
        "The program ran, but what it printed did not come out.",
    ),
    Words(
        "不要接走它的输出（`capture_output`、`PIPE`、`DEVNULL`）：让它直接用你的三个流。",
        "Do not take its output (`capture_output`, `PIPE`, `DEVNULL`). Let it use your own three "
        "streams.",
    ),
)


def _tail(text: str) -> str:
    return "\n".join(line[:_WIDEST] for line in text.splitlines()[-_MOST:])


def _done(run: Run) -> None:
    """Raises WrongError where it had to be ended."""
    if run.cut:
        raise WrongError(TOO_LONG if run.cut == "time" else TOO_MUCH, seconds=SECONDS)


def _probe(bench: Bench) -> Run:
    """A run whose program has said what it sees. Raises WrongError where it has not."""
    (run,) = bench.runs(PROBE)
    _done(run)
    if not run.probe:
        raise _not_run(run)
    return run


def _not_run(run: Run) -> WrongError:
    """Why the program did not come to say anything."""
    if _ERROR.search(run.stderr):
        return WrongError(_cause(run.stderr), _tail(run.stderr))
    if run.status == STATUS:
        return WrongError(SWALLOWED)
    return WrongError(NOTHING, _tail(run.stderr), status=run.status)


def _cause(stderr: str) -> Diagnosis:
    """What an error of the file's own is about: a refused call of ours is named in its text."""
    refused = [line for line in stderr.splitlines() if "[Errno 1] " in line]
    if not refused:
        return RAISED
    _, _, call = refused[-1].partition("[Errno 1] ")
    if call.startswith("unshare(") and "CLONE_NEWUSER" not in call:
        return NO_USER
    return MAP_REFUSED if call.startswith(("write(", os.strerror(errno.EPERM))) else RAISED


# --- V0.1 --------------------------------------------------------------------------------------

DROPPED = (
    Words(
        "只有程序名传到了，后面的参数都丢了，和笔记的 `os.Args[2]` 一样。",
        "Only the program's name arrived. The arguments after it were lost, as with the notes' "
        "`os.Args[2]`.",
    ),
    Words(
        "`argv` 是整串词：从程序名起，到最后一个参数。",
        "`argv` is all the words: from the program's name to the last argument.",
    ),
)
QUOTING = (
    Words(
        "程序收到的词和敲的不一样：`one word` 应当是一个词。",
        "The program did not get the words that were typed: `one word` is one word.",
    ),
    Words(
        "不要拼成一句话交给 shell（`' '.join`、`shell=True`、`os.system`）：一串词原样交出去。",
        "Do not make a sentence of them for a shell (`' '.join`, `shell=True`, `os.system`). Pass "
        "the words on as they are.",
    ),
)
NO_INPUT = (
    Words(
        "程序没有读到标准输入里的那一行。",
        "The program did not get the line in the standard input.",
    ),
    Words(
        "不要替它读，也不要换掉 0 号描述符。",
        "Do not read it yourself, and do not replace descriptor 0.",
    ),
)
NO_STDERR = (
    Words(
        "程序写到标准错误的 `oops` 没有出来。",
        "What the program wrote to standard error, `oops`, did not come out there.",
    ),
    Words(
        "标准错误（2 号描述符）也要直接交给它，不要并进标准输出。",
        "Give it standard error (descriptor 2) as well, and do not merge it into standard output.",
    ),
)
STATUS_LOST = (
    Words(
        "程序以 7 结束，`mydocker.py` 却以 {status} 结束：退出状态丢了。",
        "The program ended with status 7, but `mydocker.py` with {status}: the exit status is "
        "lost.",
    ),
    Words(
        "execve 不回来，退出状态就是程序的。生了孩子才要自己传：父进程 `os.waitpid`，"
        "再 `sys.exit(os.waitstatus_to_exitcode(status))`。",
        "execve does not return, so the status is the program's. With a child, pass it on "
        "yourself: the parent calls `os.waitpid`, then "
        "`sys.exit(os.waitstatus_to_exitcode(status))`.",
    ),
)
NOT_127 = (
    Words(
        "程序找不到时，应当以 127 结束；它以 {status} 结束了。",
        "When the program is not found, it should end with 127. It ended with {status}.",
    ),
    Words(
        "`os.execvp` 会抛出 `FileNotFoundError`：接住它，在标准错误说一句，再 `sys.exit(127)`。",
        "`os.execvp` raises `FileNotFoundError`. Catch it, say so on standard error, and "
        "`sys.exit(127)`.",
    ),
)
ANY_VERB = (
    Words(
        "`python mydocker.py stop ...` 也成功了；它应当只认得 `run`。",
        "`python mydocker.py stop ...` succeeded too. It should know no verb but `run`.",
    ),
    Words(
        '看 `sys.argv[1]`：不是 `run`，就用 `sys.exit("...")` 说明用法。',
        'Look at `sys.argv[1]`: unless it is `run`, say how to use it with `sys.exit("...")`.',
    ),
)


def _argv(bench: Bench) -> None:
    (run,) = bench.runs(WORDS)
    _done(run)
    if "<one word><two>" in run.stdout:
        return
    if _ERROR.search(run.stderr):
        raise _not_run(run)
    if INPUT.split()[0] in run.stderr:  # a bare sh took its input for a command
        raise WrongError(DROPPED, _tail(run.stderr))
    if INPUT in run.stdout or "oops" in run.stderr:
        raise WrongError(QUOTING, _tail(run.stdout + run.stderr))
    raise _not_run(run)


def _streams(bench: Bench) -> None:
    (run,) = bench.runs(WORDS)
    if INPUT not in run.stdout:
        raise WrongError(NO_INPUT, _tail(run.stdout))
    if "oops" not in run.stderr.splitlines():
        raise WrongError(NO_STDERR, _tail(run.stdout))


def _status(bench: Bench) -> None:
    (run,) = bench.runs(WORDS)
    if run.status != STATUS:
        raise WrongError(STATUS_LOST, status=run.status)


def _missing(bench: Bench) -> None:
    run = bench.runs(OTHERS)[0]
    _done(run)
    if run.status != 127:
        raise WrongError(NOT_127, _tail(run.stderr), status=run.status)


def _verb(bench: Bench) -> None:
    run = bench.runs(OTHERS)[-1]
    _done(run)
    if run.status == 0 or "ran" in run.stdout.splitlines():
        raise WrongError(ANY_VERB, _tail(run.stdout))


V01 = (
    Claim(
        Words("运行一个程序，参数一个不少", "it runs a program, with all of its arguments"), _argv
    ),
    Claim(Words("接通三个流", "the program has your three streams"), _streams),
    Claim(Words("退出状态传回来", "the program's exit status comes back"), _status),
    Claim(Words("程序找不到，就以 127 结束", "a program that is not found gives 127"), _missing),
    Claim(Words("除了 run，什么动词都不认", "it knows no verb but run"), _verb),
)

# --- V0.2 --------------------------------------------------------------------------------------

HOST_RENAMED = (
    Words(
        "外面的主机名也变了：从 `outer` 变成了 `{name}`。（那是一台用完即弃的机器，你的没有动。）",
        "The host name outside changed as well, from `outer` to `{name}`. (That was a throw-away "
        "machine; yours has not changed.)",
    ),
    Words(
        "先 `unshare(CLONE_NEWUTS)`，再 `sethostname`：次序反了，或者没有新的命名空间，"
        "改的就是宿主机。",
        "First `unshare(CLONE_NEWUTS)`, then `sethostname`. In the other order, or without a new "
        "namespace, it is the host that gets the name.",
    ),
)
NOT_OWN = (
    Words(
        "里面和外面是同一个命名空间：{kinds}（inode 号相同）。",
        "Inside and outside are in the same namespace: {kinds} (the inodes are equal).",
    ),
    Words(
        "缺的标志：{flags}。交给 `unshare`（几个就用 `|` 连起来），放在变成程序之前。",
        "Missing: {flags}. Give it to `unshare` before you become the program; `|` joins several flags.",
    ),
)
NO_NAME = (
    Words(
        "UTS 命名空间是新的，可主机名还和外面一样，叫 `{name}`。",
        "The UTS namespace is new, but the host name is the same as outside: `{name}`.",
    ),
    Words(
        '新的命名空间是抄来的，名字要自己改：`sethostname("mydocker")`。',
        'A new namespace begins as a copy. Set a name: `sethostname("mydocker")`.',
    ),
)


def _own(run: Run, *kinds: str) -> None:
    """Raises WrongError unless the namespaces of these kinds are the container's own."""
    inside, outside = run.probe["inodes"], run.before["inodes"]
    same = [kind for kind in kinds if inside[kind] == outside[kind]]
    if same:
        flags = ", ".join(f"`{_FLAGS[kind]}`" for kind in same)
        lines = [f"{kind}:[{outside[kind]}]" for kind in same]
        raise WrongError(NOT_OWN, "\n".join(lines), kinds=", ".join(same), flags=flags)


def _uts(bench: Bench) -> None:
    run = _probe(bench)
    if run.probe["inodes"]["uts"] == run.before["inodes"]["uts"]:
        _same_host(bench)  # the worse of the two
    _own(run, "uts")


def _named(bench: Bench) -> None:
    run = _probe(bench)
    if run.probe["name"] == NAME:
        raise WrongError(NO_NAME, name=NAME)


def _same_host(bench: Bench) -> None:
    name = _probe(bench).host["name"]
    if name != NAME:
        raise WrongError(HOST_RENAMED, name=name)


V02 = (
    Claim(Words("有自己的 UTS 命名空间", "it has a UTS namespace of its own"), _uts),
    Claim(Words("里面有自己的主机名", "inside, the host has a name of its own"), _named),
    Claim(Words("外面的主机名不变", "outside, the host name stays"), _same_host),
)

# --- V0.3 --------------------------------------------------------------------------------------

SHARED = (
    Words(
        "挂载命名空间是新的，可挂载点与外面的还是一组（`shared:{group}`）："
        "里面一挂载，外面也跟着变。",
        "The mount namespace is new, but its mounts are still peers of those outside "
        "(`shared:{group}`): a mount inside appears outside too.",
    ),
    Words(
        '`unshare` 之后、挂载任何东西之前：`mount(None, "/", None, MS_REC | MS_PRIVATE)`；'
        "少了 `MS_REC`，就只有 `/` 一个断开。",
        'After `unshare` and before any other mount: `mount(None, "/", None, MS_REC | '
        "MS_PRIVATE)`. Without `MS_REC` it changes `/` alone.",
    ),
)
MOUNTED_OUTSIDE = (
    Words(
        "外面的挂载点变了。（那是一台用完即弃的机器，你的没有动。）",
        "The mounts outside have changed. (That was a throw-away machine; yours has not changed.)",
    ),
    Words(
        "先 `unshare(CLONE_NEWNS)`，再断开传播，再挂载：次序反了，动的就是宿主机。",
        "First `unshare(CLONE_NEWNS)`, then make the mounts private, then mount. In another order "
        "it is the host that changes.",
    ),
)


def _three(bench: Bench) -> None:
    _own(_probe(bench), "mnt", "ipc", "net")


def _groups(mounts: list[str]) -> dict[str, str]:
    """The peer groups of these lines of mountinfo, each with a line that names it."""
    found = {}
    for line in mounts:
        for group in re.findall(r" shared:(\d+)", line.partition(" - ")[0]):
            found[group] = line
    return found


def _private(bench: Bench) -> None:
    run = _probe(bench)
    inside, outside = _groups(run.probe["mounts"]), _groups(run.before["mounts"])
    common = [group for group in inside if group in outside]
    if common:
        lines = [inside[common[0]], *run.host["gained"]]
        raise WrongError(SHARED, "\n".join(lines[:_MOST]), group=common[0])


def _same_mounts(bench: Bench) -> None:
    host = _probe(bench).host
    lines = [f"+ {line}" for line in host["gained"]] + [f"- {line}" for line in host["lost"]]
    if lines:
        raise WrongError(MOUNTED_OUTSIDE, "\n".join(lines[:_MOST]))


V03 = (
    Claim(
        Words(
            "有自己的挂载、IPC、网络命名空间",
            "it has mount, IPC and network namespaces of its own",
        ),
        _three,
    ),
    Claim(Words("里面的挂载传不到外面", "mounts inside do not appear outside"), _private),
    Claim(Words("外面的挂载点不变", "outside, the mounts stay"), _same_mounts),
)

# --- V0.4 --------------------------------------------------------------------------------------

UNSHARE_ONLY = (
    Words(
        "程序还是 {pid} 号，没有搬家；`CLONE_NEWPID` 搬的只是将来的孩子。",
        "The program is still PID {pid} and has not moved. `CLONE_NEWPID` moves only later "
        "children.",
    ),
    Words(
        "`unshare` 之后 `os.fork()`，让孩子变成那个程序；这就是 `unshare --fork`。",
        "`os.fork()` after `unshare`, and let the child become the program. That is "
        "`unshare --fork`.",
    ),
)
NOT_FIRST = (
    Words(
        "PID 命名空间是新的，可程序是 {pid} 号：1 号是另一个。",
        "The PID namespace is new, but the program is PID {pid}: another is PID 1.",
    ),
    Words(
        "`unshare` 之后只 `os.fork()` 一次，孩子自己变成那个程序，不再生孩子。",
        "`os.fork()` once only after `unshare`. The child itself becomes the program and makes no "
        "child.",
    ),
)
OLD_PROC = (
    Words(
        "里面的 `/proc` 还是外面那个：看得见 {count} 个进程。",
        "The `/proc` inside is still the one outside: {count} processes are in it.",
    ),
    Words(
        '在孩子里挂一个新的：`mount("proc", "/proc", "proc")`。',
        'Mount a new one, in the child: `mount("proc", "/proc", "proc")`.',
    ),
)
EARLY_PROC = (
    Words(
        "新的 `/proc` 挂上了，可它显示的不是容器里的进程：看得见 {count} 个。",
        "A new `/proc` is mounted, but it does not show the processes of the container: there "
        "are {count} in it.",
    ),
    Words(
        "谁挂的 `/proc`，就显示谁的 PID 命名空间：放到 `os.fork()` 之后，由孩子来挂。",
        "`/proc` shows the PID namespace of the process that mounts it. Move the mount behind "
        "`os.fork()`, into the child.",
    ),
)
LEFT = (
    Words(
        "程序结束了，它留在后台的进程还在：{names}。",
        "The program has ended, but the process that it left in the background is still there: "
        "{names}.",
    ),
    Words(
        "程序自己是 1 号，内核才会在它结束时收拾掉所有别的进程。",
        "Only if the program itself is PID 1, the kernel ends all the others with it.",
    ),
)


def _first(bench: Bench) -> None:
    run = _probe(bench)
    probe = run.probe
    if probe["inodes"]["pid"] == run.before["inodes"]["pid"]:
        if probe["children"] != probe["inodes"]["pid"]:
            raise WrongError(UNSHARE_ONLY, pid=probe["pid"])
        _own(run, "pid")
    if probe["pid"] != 1:
        raise WrongError(NOT_FIRST, pid=probe["pid"])


def _fresh_proc(bench: Bench) -> None:
    run = _probe(bench)
    if run.probe["processes"] == [1]:
        return
    inside, outside = (_procs(lines) for lines in (run.probe["mounts"], run.before["mounts"]))
    wrong = EARLY_PROC if len(inside) != len(outside) or not inside else OLD_PROC
    numbers = " ".join(map(str, run.probe["processes"]))
    raise WrongError(wrong, f"/proc: {numbers}", count=len(run.probe["processes"]))


def _procs(mounts: list[str]) -> list[str]:
    return [line for line in mounts if line.split()[4] == "/proc"]


def _none_left(bench: Bench) -> None:
    (run,) = bench.runs(ORPHAN)
    _done(run)
    if run.left:
        raise WrongError(LEFT, "\n".join(run.left), names=", ".join(f"`{n}`" for n in run.left))


V04 = (
    Claim(
        Words("程序是自己那个 PID 命名空间里的 1 号", "the program is PID 1 of a PID namespace"),
        _first,
    ),
    Claim(Words("/proc 里只有容器的进程", "/proc has only the container's processes"), _fresh_proc),
    Claim(Words("程序一结束，什么也不留下", "when the program ends, nothing is left"), _none_left),
)

# --- V0.5 --------------------------------------------------------------------------------------

NO_USER = (
    Words(
        "没有特权就用不了：新的命名空间被拒绝了。",
        "It cannot be used without privileges: the new namespaces are refused.",
    ),
    Words(
        "加上 `CLONE_NEWUSER`，和其余的放在同一个 `unshare` 里：内核先建用户命名空间，"
        "其余的就归它管。",
        "Add `CLONE_NEWUSER`, in the same `unshare` as the others. The kernel makes the user "
        "namespace first, and the others belong to it.",
    ),
)
MAP_REFUSED = (
    Words(
        "内核不让写号码的映射：EPERM。",
        "The kernel refused to have an ID map written: EPERM.",
    ),
    Words(
        "两处常错：`gid_map` 之前要先往 `setgroups` 写 `deny`；"
        "`os.getuid()`、`os.getgid()` 要在 `unshare` 之前问，之后就是 65534 了。",
        "Two common mistakes: `deny` must be written to `setgroups` before `gid_map`. And "
        "`os.getuid()` and `os.getgid()` must be asked before `unshare`; after it they are 65534.",
    ),
)
NOT_ROOT = (
    Words(
        "里面不是 root：用户号 {uid}，组号 {gid}。",
        "It is not root inside: user {uid}, group {gid}.",
    ),
    Words(
        "65534 的意思是“表里没有”：`uid_map` 和 `gid_map` 各写一行 `0 外面的号 1`。",
        "65534 means that the ID is not in the map. Write a line `0 OUTSIDE 1` to each of "
        "`uid_map` and `gid_map`.",
    ),
)
INCOMPLETE = (
    Words(
        "普通用户来用，前几步就不全了：程序是 {pid} 号，主机名 `{name}`，`/proc` 里有 {count} 个进程。",
        "For an ordinary user the earlier steps are not complete: the program is PID {pid}, the "
        "host name is `{name}`, and `/proc` has {count} processes.",
    ),
    Words(
        "同一段程序，root 和普通用户都走一遍，不要分成两路。",
        "Let root and an ordinary user take the same way through the program, not two.",
    ),
)


def _ordinary(bench: Bench) -> Run:
    """A run by an ordinary user, whose program has said what it sees."""
    (run,) = bench.runs(ORDINARY)
    _done(run)
    if run.probe:
        return run
    raise _not_run(run)


def _unprivileged(bench: Bench) -> None:
    _own(_ordinary(bench), "user")


def _root(bench: Bench) -> None:
    probe = _ordinary(bench).probe
    maps = {name: " ".join(probe[name]) for name in ("uid_map", "gid_map")}
    lines = [f"{name}: {text}" for name, text in (maps | {"setgroups": probe["setgroups"]}).items()]
    if probe["ids"] != [0, 0]:
        uid, gid = probe["ids"]
        raise WrongError(NOT_ROOT, "\n".join(lines), uid=uid, gid=gid)


def _whole(bench: Bench) -> None:
    run = _ordinary(bench)
    probe = run.probe
    _own(run, *_FLAGS)
    if (probe["pid"], probe["processes"]) != (1, [1]) or probe["name"] == NAME:
        count = len(probe["processes"])
        raise WrongError(INCOMPLETE, pid=probe["pid"], name=probe["name"], count=count)
    if run.status != STATUS:
        raise WrongError(STATUS_LOST, status=run.status)


V05 = (
    Claim(
        Words("普通用户不必有特权也能用", "an ordinary user needs no privilege to use it"),
        _unprivileged,
    ),
    Claim(Words("里面是 root，外面还是自己", "root inside is oneself outside"), _root),
    Claim(
        Words("前几步的墙，普通用户也有", "an ordinary user has the walls of the earlier steps"),
        _whole,
    ),
)

# --- V0.6 --------------------------------------------------------------------------------------

NO_OPTION = (
    Words(
        "`run --root 目录 /bin/sh ...` 没有运行起来：`mydocker.py` 以 {status} 结束。",
        "`run --root DIRECTORY /bin/sh ...` did not come to run: `mydocker.py` ended with status "
        "{status}.",
    ),
    Words(
        '先认出 `--root` 和它后面的目录，余下的才是程序：`case ["run", "--root", root, *argv]`。',
        "First take `--root` and the directory after it; the rest is the program: "
        '`case ["run", "--root", root, *argv]`.',
    ),
)
PIVOT_REFUSED = (
    Words(
        "内核不肯换根：`pivot_root` 答 EINVAL 或 EBUSY。",
        "The kernel refused to exchange the roots: `pivot_root` answered EINVAL or EBUSY.",
    ),
    Words(
        "新的根要是挂载点：先把目录绑定到自己身上，再 `os.chdir` 进去；绑定之前先断开传播。",
        "The new root must be a mount point: bind the directory onto itself, and only then "
        "`os.chdir` into it. Make the mounts private before the bind.",
    ),
)
NO_IMPORT = (
    Words(
        "换过根之后，Python 自己的文件找不到了：它临时要导入一个模块。",
        "After the exchange Python did not find its own files: it wanted to import a module.",
    ),
    Words(
        "要用的先导入。`os.execvp` 会用到 `warnings`：在文件开头写上 `import warnings`。",
        "Import it before. `os.execvp` uses `warnings`: write `import warnings` at the top of the "
        "file.",
    ),
)
OTHER_ROOT = (
    Words(
        "程序看到的 `/` 不是那个目录：里面有 {names}。",
        "The program's `/` is not that directory: it has {names}.",
    ),
    Words(
        '进了那个目录以后：`pivot_root(".", ".")`。',
        'In that directory: `pivot_root(".", ".")`.',
    ),
)
NO_PROC_INSIDE = (
    Words(
        "新的根里没有容器自己的 `/proc`：`/proc/1/comm` 里是 {comm}。",
        "The new root has no `/proc` of the container's own: `/proc/1/comm` says {comm}.",
    ),
    Words(
        "目录里可能没有 `proc`，先建；再挂到那里，要在旧的 `/proc` 还看得见的时候。",
        "Perhaps the directory has no `proc`: make it. Then mount it there, while the old `/proc` "
        "can still be seen.",
    ),
)
WAY_BACK = (
    Words(
        "旧的根还在：程序用 `nsenter -t 1 -m` 走进自己的挂载命名空间，看到的 `/` 里有 {names}。",
        "The old root is still there: by `nsenter -t 1 -m` the program entered its own mount "
        "namespace, and its `/` has {names}.",
    ),
    Words(
        '`chroot` 只改一个进程眼里的 `/`，要用 `pivot_root`；换过以后还要 `umount2(".", MNT_DETACH)`。',
        "`chroot` changes only what `/` means to a process. Use `pivot_root`, and after it "
        '`umount2(".", MNT_DETACH)`.',
    ),
)


def _looked(bench: Bench, trial: Trial) -> tuple[list[str], str, list[str], list[str]]:
    """What a program in a root of its own has seen: names in /, PID 1, and what nsenter shows."""
    (run,) = bench.runs(trial)
    _done(run)
    parts = run.stdout.split(f"{MARK}\n")
    if len(parts) == 5:
        _, names, comm, back, mounts = parts
        return names.split(), comm.strip(), back.split(), mounts.splitlines()
    if "ModuleNotFoundError" in run.stderr or "ImportError" in run.stderr:
        raise WrongError(NO_IMPORT, _tail(run.stderr))
    if "pivot_root(" in run.stderr:
        raise WrongError(PIVOT_REFUSED, _tail(run.stderr))
    if _ERROR.search(run.stderr):
        raise WrongError(_cause(run.stderr), _tail(run.stderr))
    raise WrongError(NO_OPTION, _tail(run.stderr), status=run.status)


_EXPECTED = {"bin", "etc", "proc"}


def _some(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:4]) + ", ..." * (len(names) > 4)


def _new_root(bench: Bench) -> None:
    names, *_ = _looked(bench, ROOTED)
    if {*names} - _EXPECTED or "bin" not in names:
        raise WrongError(OTHER_ROOT, " ".join(names[:_MOST]), names=_some(names))


def _proc_inside(bench: Bench) -> None:
    _, comm, _, _ = _looked(bench, ROOTED)
    if comm != "sh":
        raise WrongError(NO_PROC_INSIDE, comm=f"`{comm}`" if comm else "-")


def _no_way_back(bench: Bench) -> None:
    _, _, back, mounts = _looked(bench, ROOTED)
    if {*back} - _EXPECTED or not back:
        raise WrongError(WAY_BACK, "\n".join(mounts[:_MOST]), names=_some(back))


def _rooted_ordinary(bench: Bench) -> None:
    names, comm, back, _ = _looked(bench, ROOTED_ORDINARY)
    if {*names} - _EXPECTED:
        raise WrongError(OTHER_ROOT, " ".join(names[:_MOST]), names=_some(names))
    if comm != "sh":
        raise WrongError(NO_PROC_INSIDE, comm=f"`{comm}`" if comm else "-")
    if {*back} - _EXPECTED:
        raise WrongError(WAY_BACK, names=_some(back))


V06 = (
    Claim(Words("`--root` 的目录就是程序的 `/`", "the directory is the program's `/`"), _new_root),
    Claim(Words("里面有容器自己的 /proc", "it has the container's own /proc"), _proc_inside),
    Claim(Words("旧的根摘下来了，走不回去", "the old root is gone: no way back"), _no_way_back),
    Claim(Words("普通用户也能换根", "an ordinary user can do it too"), _rooted_ordinary),
)

# --- V0.7 --------------------------------------------------------------------------------------

NO_LAYERS = (
    Words(
        "`run --root 上层:底层 /bin/sh ...` 没有运行起来：`mydocker.py` 以 {status} 结束。",
        "`run --root UPPER:BASE /bin/sh ...` did not come to run: `mydocker.py` ended with status "
        "{status}.",
    ),
    Words(
        "`--root` 后面不再是一个目录，而是几层，用冒号分开：整串交给 overlay 的 `lowerdir=`。",
        "After `--root` there is no longer one directory, but layers with colons between them: the "
        "whole string goes to overlay's `lowerdir=`.",
    ),
)
OVERLAY_REFUSED = (
    Words("内核不肯叠：挂载 overlay 被拒绝。", "The kernel refused to mount the overlay."),
    Words(
        "`upperdir` 和 `workdir` 要先建好，在同一个文件系统上：先挂一个 tmpfs，在里面建 `upper`、`work` 和一个挂载点。",
        "`upperdir` and `workdir` must exist, on one file system: first mount a tmpfs, and make "
        "`upper`, `work` and a place to mount at in it.",
    ),
)
WRONG_LAYER = (
    Words(
        "两层都有 `/etc/greeting`，程序看到的却是底层的。",
        "Both layers have `/etc/greeting`, and the program sees the one of the base.",
    ),
    Words(
        "`lowerdir` 也是自上而下，和命令行一样：不用倒过来。",
        "`lowerdir` goes from the top down, like the command line: do not reverse it.",
    ),
)
NOT_MERGED = (
    Words(
        "底层的 `/etc/gone` 看不到：目录没有合并，`/etc` 里只有 {names}。",
        "`/etc/gone` of the base is not seen: the directories are not merged, `/etc` has {names}.",
    ),
    Words(
        "几层要在同一个 overlay 的 `lowerdir` 里，不是一个绑定到另一个上面。",
        "All layers belong into the `lowerdir` of one overlay; one bound onto the other covers it.",
    ),
)
NO_CHANGES = (
    Words(
        "程序改不了根里的文件，`/etc` 里最后是 {names}。",
        "The program could not change the files of its root; in the end `/etc` had {names}.",
    ),
    Words(
        "少了 `upperdir` 和 `workdir`：没有上层的 overlay 是只读的。",
        "`upperdir` and `workdir` are missing: an overlay without an upper layer is read-only.",
    ),
)
SPOILED = (
    Words(
        "程序结束以后，给它的目录变了样。",
        "After the program had ended, the directories that were given were no longer the same.",
    ),
    Words(
        "改动要写到内存里：`upperdir` 放在新挂的 tmpfs 里，给你的目录只放进 `lowerdir`。",
        "Changes go to memory: `upperdir` lies in a new tmpfs, and the directories that you are "
        "given stand in `lowerdir` only.",
    ),
)

_UNTOUCHED = ["top", "rootfs"]  # what the two greetings say
_LAYERS_LIST = {"etc", "bin", "greeting", "gone", "proc", ""}


def _stacked(bench: Bench, trial: Trial) -> tuple[str, list[str], str, list[str]]:
    """What a program has seen in a root of two layers: greeting, /etc, its writes, /etc then."""
    run, *_ = bench.runs(trial)
    _done(run)
    parts = run.stdout.split(f"{MARK}\n")
    if len(parts) == 5:
        _, greeting, before, written, after = parts
        return greeting.strip(), before.split(), written.strip(), after.split()
    if '"overlay"' in run.stderr:
        raise WrongError(OVERLAY_REFUSED, _tail(run.stderr))
    raise WrongError(NO_LAYERS, _tail(run.stderr), status=run.status)


def _merged(bench: Bench, trial: Trial = LAYERED) -> None:
    greeting, before, _, _ = _stacked(bench, trial)
    if greeting != "top":
        raise WrongError(WRONG_LAYER, greeting)
    if before != ["gone", "greeting"]:
        raise WrongError(NOT_MERGED, names=_some(before))


def _writable(bench: Bench, trial: Trial = LAYERED) -> None:
    _, _, written, after = _stacked(bench, trial)
    if written != "written" or after != ["greeting"]:
        raise WrongError(NO_CHANGES, names=_some(after))


def _unspoiled(bench: Bench, trial: Trial = LAYERED) -> None:
    _stacked(bench, trial)
    _, afterwards = bench.runs(trial)
    lines = afterwards.stdout.splitlines()
    names = {line for line in lines[2:] if not line.endswith(":")}
    if lines[:2] != _UNTOUCHED or "gone" not in names or names - _LAYERS_LIST:
        raise WrongError(SPOILED, "\n".join(lines[:_MOST]))


def _layered_ordinary(bench: Bench) -> None:
    for claim in (_merged, _writable, _unspoiled):
        claim(bench, LAYERED_ORDINARY)


V07 = (
    Claim(Words("`--root` 的几层叠成一个根", "the layers of `--root` make one root"), _merged),
    Claim(Words("程序可以随意改动", "the program can change it"), _writable),
    Claim(Words("给它的目录一点没变", "the directories are as they were"), _unspoiled),
    Claim(Words("普通用户也能叠", "an ordinary user can do it too"), _layered_ordinary),
)

# --- V0.8 --------------------------------------------------------------------------------------

NO_PIDS_OPTION = (
    Words(
        "`run --pids 6 sh ...` 没有运行起来：`mydocker.py` 以 {status} 结束。",
        "`run --pids 6 sh ...` did not come to run: `mydocker.py` ended with status {status}.",
    ),
    Words(
        "先认出 `--pids` 和后面的数，余下的才是程序。",
        "First take `--pids` and the number after it; the rest is the program.",
    ),
)
NOT_IN_A_GROUP = (
    Words(
        "程序不在自己的控制组里：它的 `/proc/self/cgroup` 与 `mydocker.py` 的一样。",
        "The program is in no control group of its own: its `/proc/self/cgroup` is that of "
        "`mydocker.py`.",
    ),
    Words(
        "在孩子里、execve 之前，往组的 `cgroup.procs` 里写 `0`。",
        "In the child, before execve, write `0` to `cgroup.procs` of the group.",
    ),
)
NO_LIMIT = (
    Words(
        "上限是 6，程序却生出了 {count} 个孩子。",
        "The limit is 6, but the program made {count} children.",
    ),
    Words(
        "往组的 `pids.max` 里写上那个数，要在孩子进去之前。",
        "Write the number to `pids.max` of the group, before the child goes in.",
    ),
)
GROUP_LEFT = (
    Words(
        "容器结束了，它的控制组还在：`{name}`。",
        "The container has ended, and its group is still there: `{name}`.",
    ),
    Words(
        "`os.waitpid` 之后 `os.rmdir`：组里没有进程了才删得掉。",
        "After `os.waitpid`, `os.rmdir`: a group can be removed when nobody is in it.",
    ),
)

REMOVED = Words(
    "它建好的控制组 `{name}` 没人删，留了下来；检查已经替它删了。",
    "The control group `{name}` that it had made was left behind, and the check has removed it.",
)


def _forked(bench: Bench) -> tuple[Run, str]:
    """A run of the program that forks too much, and the name of its control group."""
    (run,) = bench.runs(FORKED)
    _done(run)
    group = _group_in(run.stdout)
    if not group:
        wrong = _cause(run.stderr) if _ERROR.search(run.stderr) else NO_PIDS_OPTION
        raise WrongError(_with(run.groups, wrong), _tail(run.stderr), status=run.status)
    return run, group


def _with(groups: list[str], wrong: Diagnosis) -> Diagnosis:
    """What is wrong, and that a file which failed half-way has left a control group."""
    if not groups:
        return wrong
    found, more = wrong[0], REMOVED.filled(name=groups[0])
    return (Words(f"{found.zh}{more.zh}", f"{found.en} {more.en}"), *wrong[1:])


def _group_in(text: str) -> str:
    """The group for processes in what a program has read of its /proc/self/cgroup."""
    lines = [line.split(":", 2) for line in text.splitlines() if line.count(":") > 1]
    of = {name: path for _, names, path in lines for name in names.split(",")}
    return of.get("pids", of.get("", "/" if lines else ""))


def _grouped(bench: Bench) -> None:
    run, group = _forked(bench)
    if group in ("/", _group_in(run.before["groups"])):
        raise WrongError(NOT_IN_A_GROUP, group)


def _few(bench: Bench) -> None:
    run, _ = _forked(bench)
    count = run.stdout.count("child ")
    if count >= FEWEST:
        raise WrongError(NO_LIMIT, count=count)


def _group_gone(bench: Bench) -> None:
    run, _ = _forked(bench)
    if run.groups:
        raise WrongError(GROUP_LEFT, name=run.groups[0])


V08 = (
    Claim(Words("`--pids` 让程序生在自己的组里", "the program is in a group of its own"), _grouped),
    Claim(Words("进程数到了上限就生不出来", "no more processes than allowed"), _few),
    Claim(Words("结束以后，组也没有了", "afterwards the group is gone"), _group_gone),
)

# --- V0.9 --------------------------------------------------------------------------------------

NO_LO = (
    Words(
        "里面的程序到不了 127.0.0.1：lo 还关着。",
        "The program inside does not reach 127.0.0.1: lo is still down.",
    ),
    Words(
        "新的网络命名空间里 lo 是关着的。在孩子里打开它：`ip link set lo up`，`subprocess.run` 就可以。",
        "In a new network namespace lo is down. Bring it up in the child: `ip link set lo up`, by "
        "`subprocess.run`.",
    ),
)
NO_IP_OPTION = (
    Words(
        "`run --ip {address} ...` 没有运行起来：`mydocker.py` 以 {status} 结束。",
        "`run --ip {address} ...` did not come to run: `mydocker.py` ended with status {status}.",
    ),
    Words(
        "先认出 `--ip` 和后面的地址，余下的才是程序。",
        "First take `--ip` and the address after it; the rest is the program.",
    ),
)
NO_CABLE = (
    Words(
        "里面没有 `eth0`，只有 {links}。",
        "There is no `eth0` inside, only {links}.",
    ),
    Words(
        "veth 要由还在外面的进程来造：`unshare` 之前 fork 一个帮手，等你搬好了，它再 "
        "`ip link add 名字 type veth peer name eth0 netns 你的PID`。",
        "A process that is still outside has to make the veth. Fork a helper before `unshare`. When "
        "you have moved, it runs `ip link add NAME type veth peer name eth0 netns YOUR_PID`.",
    ),
)
NO_ADDRESS = (
    Words(
        "`eth0` 的地址应当是 {wanted}，现在是：{found}。",
        "The address of `eth0` should be {wanted}. It is: {found}.",
    ),
    Words(
        "在里面：`ip addr add {wanted}/24 dev eth0`，再 `ip link set eth0 up`。",
        "Inside: `ip addr add {wanted}/24 dev eth0`, then `ip link set eth0 up`.",
    ),
)
HOST_UNREACHED = (
    Words(
        "里面的程序到不了宿主机：那一头应当是同一个网络的 1 号，{gateway}。",
        "The program inside does not reach the host. The end outside should be number 1 of the same "
        "network, {gateway}.",
    ),
    Words(
        "两头都要有地址（`/24`），两头都要打开。",
        "Both ends need an address (`/24`), and both have to be up.",
    ),
)
NO_DEFAULT = (
    Words(
        "到得了宿主机，可是没有默认路由。",
        "It reaches the host, but there is no default route.",
    ),
    Words(
        "在里面，有了地址以后：`ip route add default via {gateway}`。",
        "Inside, when it has its address: `ip route add default via {gateway}`.",
    ),
)
LINK_LEFT = (
    Words(
        "容器结束了，外面还留着网卡：{links}。",
        "The container has ended, and links are left outside: {links}.",
    ),
    Words(
        "veth 的一头没有了，另一头也跟着没有：让那一头留在容器的命名空间里；别的，谁造的谁拆。",
        "When one end of a veth is gone, the other goes too: leave one end in the container's "
        "namespace. All else that you make, you have to remove.",
    ),
)


def _gateway() -> str:
    return ADDRESS.rpartition(".")[0] + ".1"


def _itself(bench: Bench) -> None:
    for run in (_probe(bench), *bench.runs(ORDINARY)):
        if not run.probe["network"]["itself"]:
            raise WrongError(NO_LO)


def _cabled(bench: Bench) -> Run:
    """A run with a cable, whose program has said what it sees."""
    (run,) = bench.runs(CABLED)
    _done(run)
    if run.probe:
        return run
    if _ERROR.search(run.stderr):
        raise WrongError(_cause(run.stderr), _tail(run.stderr))
    raise WrongError(NO_IP_OPTION, _tail(run.stderr), status=run.status, address=ADDRESS)


def _plugged(bench: Bench) -> None:
    network = _cabled(bench).probe["network"]
    if "eth0" not in network["links"]:
        raise WrongError(NO_CABLE, links=", ".join(f"`{name}`" for name in network["links"]))
    if network["address"] != ADDRESS:
        raise WrongError(NO_ADDRESS, wanted=ADDRESS, found=network["address"] or "-")


def _outside(bench: Bench) -> None:
    network = _cabled(bench).probe["network"]
    if not network["host"]:
        raise WrongError(HOST_UNREACHED, gateway=_gateway())
    if not network["default"]:
        raise WrongError(NO_DEFAULT, gateway=_gateway())


def _unplugged(bench: Bench) -> None:
    links = _cabled(bench).links
    if links:
        raise WrongError(LINK_LEFT, links=", ".join(f"`{name}`" for name in links))


V09 = (
    Claim(Words("里面的 lo 是开着的", "lo is up inside"), _itself),
    Claim(
        Words("`--ip` 给它一块 eth0 和地址", "`--ip` gives it an eth0 with an address"), _plugged
    ),
    Claim(
        Words("到得了宿主机，再远的有默认路由", "it reaches the host, and has a default route"),
        _outside,
    ),
    Claim(Words("结束以后，外面的网卡一块不多", "afterwards no link is left outside"), _unplugged),
)

# --- V1.0 --------------------------------------------------------------------------------------

NO_IMAGE = (
    Words(
        "`run --rm {image} sh ...` 没有运行起来：`mydocker.py` 以 {status} 结束。",
        "`run --rm {image} sh ...` did not come to run: `mydocker.py` ended with status {status}.",
    ),
    Words(
        "先认出 `--rm`、`-i`、`-t`、`-it`；下一个词若是 `mydocker.py` 旁边 `images/` 里的一个归档，它就是镜像。",
        "First take `--rm`, `-i`, `-t` and `-it`. If the next word is the name of an archive in `images/` "
        "beside `mydocker.py`, it is an image.",
    ),
)
REVERSED = (
    Words(
        "两层都有 `/etc/greeting`，程序看到的却是底层的。",
        "Both layers have `/etc/greeting`, and the program sees the one of the lower layer.",
    ),
    Words(
        "`Layers` 里最下面的在前，`lowerdir` 里最上面的在前：要倒过来。",
        "In `Layers` the lowest comes first, and in `lowerdir` the uppermost: turn them round.",
    ),
)
STILL_THERE = (
    Words(
        "上层用 `etc/.wh.gone` 把 `/etc/gone` 删掉了，程序却看到 {names}。",
        "The upper layer removes `/etc/gone` by `etc/.wh.gone`, but the program sees {names}.",
    ),
    Words(
        "归档里的 `.wh.名字`，在 overlay 里是一个叫“名字”的 0/0 字符设备：`os.mknod(路径, stat.S_IFCHR)`。",
        "What is `.wh.NAME` in an archive is a character device 0/0 called NAME for overlay: "
        "`os.mknod(path, stat.S_IFCHR)`.",
    ),
)
NO_CMD = (
    Words(
        "没有写程序，镜像的 `Cmd` 就该运行；它没有运行。",
        "Without a program the `Cmd` of the image should run. It did not.",
    ),
    Words(
        "`manifest.json` 里的 `Config` 是配置的文件名；`Cmd` 在它的 `config` 里。",
        "`Config` in `manifest.json` names the file of the configuration. `Cmd` stands there under "
        "`config`.",
    ),
)
NO_LINE = (
    Words(
        "在终端上敲 `run --rm -it ... {image} sh`，没有运行起来：`mydocker.py` 以 {status} 结束。",
        "`run --rm -it ... {image} sh` was typed on a terminal and did not come to run: `mydocker.py` ended "
        "with status {status}.",
    ),
    Words(
        "看它在终端上说了什么；几个选项可以一起来。",
        "Look at what it said on the terminal. Several options may come together.",
    ),
)
NO_TTY = (
    Words(
        "程序的终端应当是容器自己的 `/dev/pts/0`，`tty` 说的是：{tty}。",
        "The program's terminal should be `/dev/pts/0` of the container's own. `tty` says: {tty}.",
    ),
    Words(
        "在自己的根里挂 devpts（`newinstance,ptmxmode=0666`），打开 `/dev/pts/ptmx`，解锁（`TIOCSPTLCK`），问号码（`TIOCGPTN`），"
        "再 `os.login_tty`。",
        "Mount a devpts in the new root (`newinstance,ptmxmode=0666`), open `/dev/pts/ptmx`, unlock it "
        "(`TIOCSPTLCK`), ask its number (`TIOCGPTN`), and then `os.login_tty`.",
    ),
)
NO_SIZE = (
    Words(
        "外面的终端是 {wanted}（行、列），里面的是 {found}。",
        "The terminal outside is {wanted} (rows, columns), and the one inside is {found}.",
    ),
    Words(
        "父进程拿到那一头以后：读 0 号的 `TIOCGWINSZ`，写进去用 `TIOCSWINSZ`。",
        "When the parent has its end: read `TIOCGWINSZ` of descriptor 0, and write it with `TIOCSWINSZ`.",
    ),
)
NO_CTRL_C = (
    Words(
        "按 Ctrl-C，里面的程序没有收到：`mydocker.py` 以 {status} 结束。",
        "Ctrl-C did not come to the program inside: `mydocker.py` ended with status {status}.",
    ),
    Words(
        "外面的终端要设成 raw（`tty.setraw(0)`），按键才会原样过去，由里面的终端变成 SIGINT。",
        "Make the terminal outside raw (`tty.setraw(0)`). Then keys pass as they are, and the terminal inside "
        "makes SIGINT of them.",
    ),
)
NOT_RESTORED = (
    Words(
        "程序结束以后，外面的终端没有恢复原样。",
        "After the end, the terminal outside is not as it was.",
    ),
    Words(
        "先 `termios.tcgetattr(0)` 记下，最后在 `finally` 里 `termios.tcsetattr` 放回去。",
        "First note `termios.tcgetattr(0)`, and in a `finally` put it back with `termios.tcsetattr`.",
    ),
)
UNFINISHED = (
    Words(
        "程序好好地以 7 结束了，`mydocker.py` 收尾时却出了错，以 {status} 结束。",
        "The program ended with 7, but then `mydocker.py` failed, and ended with {status}.",
    ),
    Words(
        "`pivot_root` 换的是这个挂载命名空间里所有进程的根，父进程也在里面：从前的路径走不到了。先打开目录，再 `os.rmdir(名字, dir_fd=...)`。",
        "`pivot_root` exchanges the root of all processes of the mount namespace, and the parent is one: no "
        "path leads to the old one. Open the directory before, then `os.rmdir(NAME, dir_fd=...)`.",
    ),
)


def _imaged(bench: Bench) -> None:
    run = bench.runs(IMAGED)[0]
    _done(run)
    greeting, mark, names = run.stdout.partition(f"{MARK}\n")
    if not mark:
        if _ERROR.search(run.stderr):
            raise WrongError(_cause(run.stderr), _tail(run.stderr))
        raise WrongError(NO_IMAGE, _tail(run.stderr), image=IMAGE, status=run.status)
    if greeting.strip() != "top":
        raise WrongError(REVERSED, greeting)
    if names.split() != ["greeting"]:
        raise WrongError(STILL_THERE, names=_some(names.split()))


def _commanded(bench: Bench) -> None:
    run = bench.runs(IMAGED)[-1]
    _done(run)
    if run.stdout.strip() != "by-default":
        raise WrongError(NO_CMD, _tail(run.stdout + run.stderr))


def _on_terminal(bench: Bench, trial: Trial = TYPED) -> Run:
    """A run on a terminal, in which the program has begun to say where it is."""
    (run,) = bench.runs(trial)
    _, mark, said = run.stdout.partition(f"{MARK}\n")
    if not mark:
        _done(run)
        raise WrongError(NO_LINE, _tail(run.stdout), image=IMAGE, status=run.status)
    tty, size = [*said.splitlines(), "-", "-"][:2]
    if tty != "/dev/pts/0":
        raise WrongError(NO_TTY, _tail(said), tty=f"`{tty}`")
    if size != f"{ROWS} {COLUMNS}":
        raise WrongError(NO_SIZE, wanted=f"{ROWS} {COLUMNS}", found=f"`{size}`")
    return run


def _terminal(bench: Bench) -> None:
    _on_terminal(bench)


def _typed(bench: Bench, trial: Trial = TYPED) -> None:
    run = _on_terminal(bench, trial)
    if "interrupted" not in run.stdout:
        raise WrongError(NO_CTRL_C, _tail(run.stdout), status=run.status)
    if not run.restored:
        raise WrongError(NOT_RESTORED)


def _typed_ordinary(bench: Bench) -> None:
    _typed(bench, TYPED_ORDINARY)


def _all_gone(bench: Bench) -> None:
    run = _on_terminal(bench)
    if run.status != STATUS:
        raise WrongError(UNFINISHED, _tail(run.stdout), status=run.status)
    if run.groups:
        raise WrongError(GROUP_LEFT, name=run.groups[0])
    if run.links:
        raise WrongError(LINK_LEFT, links=", ".join(f"`{name}`" for name in run.links))


V10 = (
    Claim(Words("一个名字就是一个镜像，由几层叠成", "a name is an image of layers"), _imaged),
    Claim(Words("不写程序，就运行镜像的 Cmd", "without a program its Cmd runs"), _commanded),
    Claim(Words("`-t` 给它自己的终端，一样大", "`-t` gives it a terminal, as large"), _terminal),
    Claim(Words("按键归里面管，终端恢复原样", "keys are for the inside; it is restored"), _typed),
    Claim(Words("那一行加上限制和网络，不留痕迹", "with limits and network, no traces"), _all_gone),
    Claim(Words("普通用户也能敲那一行", "an ordinary user can type it too"), _typed_ordinary),
)
