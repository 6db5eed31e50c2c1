"""Exercises of V0.4: a process's numbers, the orphans of PID 1, an end in good time."""

import os
import signal
import time
from pathlib import Path

from labkit.container.container import Container
from labkit.engine.client import start
from labkit.engine.running import Running
from labkit.linux.flags import CLONE_NEWPID
from labkit.linux.proc import status
from labkit.notebook.exercises import mishaps, solutions
from labkit.notebook.exercises.answers import WrongError, box_of
from labkit.notebook.exercises.broken import Broken, Suspect
from labkit.notebook.exercises.exercise import Exercise, Found, Lesson
from labkit.notebook.exercises.machine import asked, told
from labkit.notebook.exercises.step import Seen, Step
from labkit.text.words import Words

_READY = 3.0  # seconds for a program to get ready
_GRACE = 2.0  # seconds to end after SIGTERM; docker stop gives ten


class Numbers(Exercise):
    """One process, several PIDs."""

    title = Words("一个进程，几个号码", "One process, several numbers")
    task = Words(
        "写一个函数 `numbers(pid)`，返回进程 `pid` 的全部进程号：一个列表，最外层的在前。"
        "检查拿笔记本进程、一个容器和一层套一层的容器来问。",
        "Write a function `numbers(pid)` that returns all the PIDs of process `pid`: a list, the "
        "outermost first. The check asks about the notebook's process, a container, and a "
        "container in a container.",
    )
    hints = (
        Words(
            "内核把它们写在 `/proc/PID/status` 的同一行里。",
            "The kernel writes them on one line of `/proc/PID/status`.",
        ),
        Words(
            "那一行以 `NSpid:` 开头；`line.split()[1:]` 是号码，还要变成整数。",
            "The line begins with `NSpid:`. `line.split()[1:]` gives the numbers as text; turn them "
            "into integers.",
        ),
    )
    model = staticmethod(solutions.numbers)
    wants_function = True
    why = Words(
        "进程在自己的 PID 命名空间里有一个号码，在每一层外面的 PID 命名空间里也各有一个，"
        "所以外面总看得见里面。反过来不行：外面的进程，在里面那一层没有号码。",
        "A process has a number in its own PID namespace and one in each namespace around it. "
        "So the outside sees the inside. The reverse is not true: a process outside has no "
        "number in the namespace inside.",
    )

    NOT_NUMBERS = (
        Words(
            "要的是整数的列表，收到的是 {kind}。", "The check wants a list of integers, not {kind}."
        ),
        Words(
            "一个进程也写成 `[pid]`；`int()` 把文字变成数。",
            "Write even a single number as `[pid]`; `int()` turns text into a number.",
        ),
    )
    ONE = (
        Words(
            "只有外面的号码 {given}，里面的呢？应为 {right}。",
            "{given} is only the number outside. With the numbers inside, it should be {right}.",
        ),
        Words("要的是整行 `NSpid:`，不是 `Pid:`。", "Use the whole line `NSpid:`, not `Pid:`."),
    )
    ORDER = (
        Words(
            "号码都对，次序反了：{given}，应为 {right}。",
            "The numbers are right, but in reverse order: {given}. It should be {right}.",
        ),
    )
    OTHER = (
        Words("返回的是 {given}，应为 {right}。", "It returned {given}. It should be {right}."),
    )

    def judge(self, answer: object) -> Found:
        """Ask for three processes, one, two and three PID namespaces deep."""
        nested = Container(("unshare", "--pid", "--fork", "sleep", "1000"), cloneflags=CLONE_NEWPID)
        with start(nested) as box:
            pids = (os.getpid(), box.pid, _child(box.pid))
            rights = [solutions.numbers(pid) for pid in pids]
            givens = asked(answer, *((pid,) for pid in pids))
        for given, right in zip(givens, rights, strict=True):
            self._compare(given, right)
        return Found(
            Words("一层、两层、三层，都对。", "One, two and three levels deep: all are right."),
            "\n".join(" → ".join(map(str, right)) for right in rights),
        )

    def _compare(self, given: object, right: list[int]) -> None:
        listed = isinstance(given, list | tuple)
        if not listed or not all(type(each) is int for each in given):  # type: ignore[attr-defined]
            raise WrongError(self.NOT_NUMBERS, kind=repr(given)[:60])
        found = list(given)  # type: ignore[call-overload]
        if found != right:
            values = {"given": found, "right": right}
            if found == right[:1]:
                raise WrongError(self.ONE, **values)
            raise WrongError(self.ORDER if found == right[::-1] else self.OTHER, **values)


def _child(pid: int) -> int:
    """The first child of a process, once it has one."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    deadline = time.monotonic() + _READY
    while not (found := children.read_text().split()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return int(found[0])


class Reap(Step):
    """What PID 1 owes its orphans."""

    title = Words("收尸", "Reaping")
    task = Words(
        "你的函数 `reap()` 是新 PID 命名空间里的 1 号进程。那里有几个孤儿，有的已经成了僵尸，有的还没结束。"
        "等它们全都结束、一一收走，再返回。检查在它返回以后数一数还剩几个。",
        "Your function `reap()` is PID 1 of a new PID namespace. There are orphans in it: some "
        "are zombies already, and some have not ended yet. Wait until all have ended, reap each of "
        "them, and return. Then the check counts how many are left.",
    )
    hints = (
        Words(
            "它们不是你生的，你不知道号码。哪个调用等的是“随便哪个孩子”？",
            "You did not make them and do not know their numbers. Which call waits for any child?",
        ),
        Words(
            "一直 `os.wait()`，直到它抛出 `ChildProcessError`：一个孩子也没有了。",
            "Call `os.wait()` in a loop until it raises `ChildProcessError`: then no child is left.",
        ),
    )
    model = staticmethod(solutions.reap)
    scene = "reap"
    why = Words(
        "父进程一死，孤儿就归 1 号；它不来等，僵尸就一直占着进程号。"
        "`wait(2)` 一次收一个，谁先结束先收谁；还有活着的就睡下等，一个也不剩才说 ECHILD。",
        "When a parent dies, its children go to PID 1. If PID 1 never waits, the zombies keep "
        "their PIDs. `wait(2)` reaps one child at a time, the first one that ends. It sleeps "
        "while some are alive, and returns ECHILD only when none is left.",
    )

    ALL_LEFT = (Words("{left} 个孤儿一个也没有收。", "None of the {left} orphans was reaped."),)
    SOME_LEFT = (
        Words("还剩 {left} 个没有收。", "Not reaped yet: {left}."),
        Words(
            "别数数，也别用 `os.WNOHANG` 一问就走：有的孤儿这会儿还活着。循环到 `ChildProcessError`。",
            "Do not count them, and do not stop when `os.WNOHANG` finds nothing: some orphans are "
            "still alive then. Loop until `ChildProcessError`.",
        ),
    )

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """Count those who are left."""
        left = inner["left"]
        if left:
            diagnosis = self.ALL_LEFT if left == seen["orphans"] else self.SOME_LEFT
            raise WrongError(diagnosis, told(seen), left=left)
        return Found(
            Words("孤儿都收走了，一个僵尸也不剩。", "All orphans are reaped: no zombie is left."),
            told(seen, f"PID {inner['pid']}: wait() → ECHILD"),
        )


class Stop(Exercise):
    """A PID 1 that listens to SIGTERM."""

    title = Words("说停就停", "Stop when told")
    task = Words(
        "写一个 Container：PID 命名空间是新的，程序一直运行；收到 SIGTERM 就在 2 秒内自己结束，"
        "退出状态是 0。检查像 `docker stop` 那样从外面发信号，再等。",
        "Write a Container with a new PID namespace whose program keeps running. When it gets "
        "SIGTERM, it must end by itself within 2 seconds, with exit status 0. The check sends "
        "the signal from outside, as `docker stop` does, and waits.",
    )
    hints = (
        Words(
            "1 号进程没有处理函数，SIGTERM 就等于没发。bash 用哪个内建命令装上处理函数？",
            "If PID 1 has no handler, SIGTERM never reaches it. Which builtin command of bash installs "
            "a handler?",
        ),
        Words(
            '`trap "exit 0" TERM; sleep 1000 & wait`。前台的程序不结束，bash 不会去处理信号；'
            "`wait` 却可以被打断。",
            '`trap "exit 0" TERM; sleep 1000 & wait`. bash handles no signal while a program runs in '
            "the foreground, but a signal interrupts `wait`.",
        ),
    )
    model = staticmethod(solutions.stop)
    why = Words(
        "内核对 1 号进程的保护：没有处理函数的信号一概丢掉，从外面来的 SIGKILL 和 SIGSTOP 除外。"
        "一个听得见 SIGTERM 的 1 号，`docker stop` 才停得快。",
        "The kernel protects PID 1: it drops each signal for which PID 1 has no handler, except "
        "SIGKILL and SIGSTOP from outside. `docker stop` is fast only if PID 1 handles SIGTERM.",
    )

    NOT_FIRST = (
        Words(
            "它不是 1 号进程：PID 命名空间还是我们的。",
            "It is not PID 1: its PID namespace is ours.",
        ),
        Words("加上 `cloneflags=CLONE_NEWPID`。", "Add `cloneflags=CLONE_NEWPID`."),
    )
    OVER = (
        Words(
            "信号还没发，程序就已经结束了（退出状态 {status}）。",
            "The program had ended before the signal was sent (exit status {status}).",
        ),
    )
    DEAF = (
        Words(
            "SIGTERM 被丢掉了：1 号进程没有为它装处理函数。",
            "SIGTERM was dropped: PID 1 had no handler for it.",
        ),
    )
    LATE = (
        Words(
            "处理函数装上了，2 秒之后程序却还在运行。",
            "There is a handler, but after 2 seconds the program was still running.",
        ),
        Words(
            "bash 要等前台的程序结束才处理信号：把它放到后台，再 `wait`。处理函数最后还要 `exit`。",
            "bash handles the signal only after the program in the foreground has ended. Put that "
            "program in the background and use `wait`. The handler must end with `exit`.",
        ),
    )
    STATUS = (
        Words("它结束了，退出状态却是 {status}。", "It ended, but with exit status {status}."),
        Words("处理函数里写 `exit 0`。", "Write `exit 0` in the handler."),
    )

    def judge(self, answer: object) -> Found:
        """Send SIGTERM from outside once it is ready, and wait."""
        with start(box_of(answer)) as box:
            if not box.box.cloneflags & CLONE_NEWPID:
                raise WrongError(self.NOT_FIRST)
            listens = _listens(box)
            try:
                box.kill(signal.SIGTERM)
            except ProcessLookupError:
                raise WrongError(self.OVER, status=box.wait().returncode) from None
            try:
                status = box.wait(_GRACE).returncode
            except TimeoutError:
                raise WrongError(self.LATE if listens else self.DEAF) from None
        if not listens:  # it ended by itself meanwhile
            raise WrongError(self.OVER, status=status)
        if status:
            raise WrongError(self.STATUS, status=status)
        return Found(
            Words(
                "收到 SIGTERM，程序自己结束了，退出状态 0。",
                "At SIGTERM it ended by itself, with exit status 0.",
            ),
            "SIGTERM → 0",
        )


def _listens(box: Running) -> bool:
    """Whether it has a handler for SIGTERM, given time to install one: proc_pid_status(5)."""
    deadline = time.monotonic() + _READY
    while time.monotonic() < deadline:
        try:
            caught = int(status(box.pid)["SigCgt"], 16)
        except OSError:
            return False
        if caught >> (signal.SIGTERM - 1) & 1:
            return True
        time.sleep(0.01)
    return False


class View(Broken):
    """A /proc mounted too early, by a process outside."""

    title = Words("诊断：ps 还看得见外面", "Diagnose: ps still sees the outside")
    symptom = Words(
        "PID 命名空间是新的，`/proc` 也是新挂的。容器里的进程问自己是几号，内核答 1；"
        "可是 `ps` 照样列出外面的进程，`/proc` 里连自己的号码都不是 1。",
        "The PID namespace is new, and so is the mount of `/proc`. A process in the container asks for its "
        "PID, and the kernel answers 1. But `ps` still lists the processes outside, and in `/proc` the "
        "process itself has another number.",
    )
    task = Words(
        "找出原因，改好 `sandbox()`：从它返回的只有一个进程，是新 PID 命名空间里的 1 号，它的 `/proc` 里只有它自己；"
        "外面的 `/proc` 安然无恙。检查的机器里，挂载点起初是共享的。",
        "Find the cause and mend `sandbox()`. Exactly one process must return from it: PID 1 of a new PID "
        "namespace, whose `/proc` shows no other process. The `/proc` outside must stay as it is. In the "
        "machine of the check, mount points are shared at first.",
    )
    hints = (
        Words(
            "`/proc` 显示的是哪个 PID 命名空间，在挂载的那一刻就定了。由谁来定？",
            "The PID namespace that a `/proc` shows is fixed when it is mounted. What decides which one?",
        ),
        Words(
            "挂载的那一刻，执行 `mount` 的进程自己是几号？它搬进新的 PID 命名空间了吗？",
            "Which PID does the process have that calls `mount`? Has it moved into the new PID "
            "namespace?",
        ),
        Words(
            "原因是 `b`。把两行 `mount` 移到 `os.fork()` 之后，由孩子来做。",
            "The cause is `b`. Move the two `mount` lines below `os.fork()`, so that the child runs them.",
        ),
    )
    model = staticmethod(solutions.sandbox)
    broken = staticmethod(mishaps.sandbox)
    scene = "view"
    why = Words(
        "`unshare(CLONE_NEWPID)` 不搬进程自己，所以父进程仍在旧的 PID 命名空间里；"
        "它挂上的 `/proc`，显示的就是旧的那个。孩子生在新的里面，由它来挂才对。"
        "`unshare --pid --fork --mount-proc` 也是这样做的：先 fork，后挂载。",
        "`unshare(CLONE_NEWPID)` does not move its caller. The parent is still in the old PID namespace, so "
        "a `/proc` that it mounts shows the old one. The child is born in the new namespace, so the child "
        "must mount. `unshare --pid --fork --mount-proc` does the same: it forks first and then mounts.",
    )

    NO_UNMOUNT = (
        Words(
            "检查先卸掉了旧的 `/proc`，列出来的还是外面的进程。",
            "The check unmounted the old `/proc` first. The processes outside are still listed.",
        ),
        Words(
            "看得见的总是最上面的那个，旧的透不过来。",
            "You always see the top mount. The old one does not show through.",
        ),
    )
    NO_SHARE = (
        Words(
            "检查去掉了断开传播的那一行，列出来的还是外面的进程。",
            "The check removed the line that cuts propagation. The processes outside are still listed.",
        ),
        Words(
            "父子两个在同一个挂载命名空间里，用不着传播。",
            "Parent and child are in the same mount namespace, so no mount needs to spread.",
        ),
    )
    NO_ORDER = (
        Words(
            "检查先单独要了 PID 命名空间，列出来的还是外面的进程。",
            "The check asked for the PID namespace first, alone. The processes outside are still listed.",
        ),
        Words(
            "一次要还是两次要，都一样：搬不搬自己，由命名空间的种类决定。",
            "One call or two makes no difference: whether the caller moves depends on the kind of namespace.",
        ),
    )
    SEES = (
        Words(
            "回来的是 {pid} 号，它的 `/proc` 里列出的是 {listed}，那是外面的号码。",
            "PID {pid} came back, and its `/proc` lists {listed}. These are numbers outside.",
        ),
        Words(
            "`/proc` 要由孩子来挂，它才在新的 PID 命名空间里。",
            "The child must mount `/proc`: only the child is in the new PID namespace.",
        ),
    )
    NOBODY = (
        Words(
            "回来的是 {pid} 号，可是它的 `/proc` 里一个进程也没有。",
            "PID {pid} came back, but its `/proc` lists no process at all.",
        ),
        Words(
            "由孩子挂上一个类型为 `proc` 的文件系统。",
            "The child must mount a file system of the type `proc`.",
        ),
    )
    NOT_FIRST = (
        Words(
            "回来的是 {pid} 号，不是新 PID 命名空间里的 1 号。",
            "PID {pid} came back, not PID 1 of a new PID namespace.",
        ),
        Words(
            "先 `unshare`，后 `os.fork()` 一次，从函数返回的是孩子。",
            "`unshare` first, then `os.fork()` once; the child returns from the function.",
        ),
    )
    BOTH = (
        Words(
            "回来了 {count} 个进程，父进程也回来了。",
            "{count} processes came back: the parent too.",
        ),
        Words(
            "父进程等孩子结束，然后 `os._exit(0)`。",
            "The parent waits for its child and then calls `os._exit(0)`.",
        ),
    )
    LEAKED = (
        Words(
            "里面对了，外面的 `/proc` 却没有了：这次挂载传了出去。",
            "The inside is right, but the `/proc` outside is lost: the mount has spread.",
        ),
        Words(
            "断开传播的那一行也要留着，在挂载之前。",
            "Keep the line that cuts propagation, before the mount.",
        ),
    )

    suspects = (
        Suspect(
            Words(
                "旧的 `/proc` 没有卸掉，从下面透了上来。",
                "The old `/proc` was not unmounted and shows through from below.",
            ),
            mishaps.sandbox_without_the_old_proc,
            NO_UNMOUNT,
        ),
        Suspect(
            Words(
                "挂 `/proc` 的进程，自己不在新的 PID 命名空间里。",
                "The process that mounts `/proc` is not in the new PID namespace.",
            ),
            solutions.sandbox,
        ),
        Suspect(
            Words(
                "传播断开得太早，孩子看不到新挂的 `/proc`。",
                "Propagation was cut too early, so the child does not get the new `/proc`.",
            ),
            mishaps.sandbox_that_shares,
            NO_SHARE,
        ),
        Suspect(
            Words(
                "两种命名空间不能一次要，要先 PID，后挂载。",
                "The two namespaces need two calls: first PID, then mount.",
            ),
            mishaps.sandbox_in_two_moves,
            NO_ORDER,
        ),
    )

    def facts(self, seen: Seen, inner: Seen) -> tuple[str, ...]:
        """Its number, and those that /proc lists."""
        lines = [f"getpid()     {inner['pid']}", f"ls /proc     {_spaced(inner['listed'])}"]
        return *lines, f"/proc {_OUTSIDE}: {_LOST if seen['lost'] else _FINE}"

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """See who came back, what its /proc lists, and whether the outside still has one."""
        evidence = told(seen, *self.facts(seen, inner))
        if len(seen["came"]) > 1:
            raise WrongError(self.BOTH, evidence, count=len(seen["came"]))
        if inner["pid"] != 1:
            raise WrongError(self.NOT_FIRST, evidence, pid=inner["pid"])
        if inner["listed"] != [1]:
            listed = _spaced(inner["listed"])
            diagnosis = self.SEES if listed else self.NOBODY
            raise WrongError(diagnosis, evidence, pid=inner["pid"], listed=listed)
        if seen["lost"]:
            raise WrongError(self.LEAKED, evidence)
        return Found(
            Words(
                "回来的是 1 号，它的 `/proc` 里只有它自己，外面的安然无恙。",
                "PID 1 came back, its `/proc` shows no other process, and the one outside is as it was.",
            ),
            evidence,
        )


_OUTSIDE = Words("外面", "outside", " ")
_LOST, _FINE = Words("没有了", "lost", " "), Words("完好", "fine", " ")


def _spaced(numbers: list[int]) -> str:
    return " ".join(map(str, numbers))


class Ex04(Lesson):
    """V0.4: the PID namespace and /proc."""

    title = "v0.4"
    numbers = Numbers()
    reap = Reap()
    stop = Stop()
    view = View()
