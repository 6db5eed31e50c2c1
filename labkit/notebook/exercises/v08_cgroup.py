"""Exercises of V0.8: limits that fit, a quarter of a processor, the way in, and who came too late."""

from labkit.cgroups import stats
from labkit.cgroups.limits import Limits
from labkit.container.container import Container
from labkit.engine.client import run, start
from labkit.notebook.exercises import mishaps, solutions
from labkit.notebook.exercises.answers import SECONDS, WrongError
from labkit.notebook.exercises.broken import Broken, Suspect
from labkit.notebook.exercises.exercise import Exercise, Found, Lesson
from labkit.notebook.exercises.machine import told
from labkit.notebook.exercises.step import Seen, Step
from labkit.text.words import Words

SMALL, LARGE = 32, 200  # MiB that the two programs hold
_HOLD = "import sys; held = bytearray(int(sys.argv[1]) << 20); print('held')"
_NOT_LIMITS = (
    Words("要的是一个 Limits，收到的是 {kind}。", "The check wants Limits, not {kind}."),
    Words('例如 `Limits(memory="64m")`。', 'For example `Limits(memory="64m")`.'),
)


def _limits(answer: object) -> Limits:
    if not isinstance(answer, Limits):
        raise WrongError(_NOT_LIMITS, kind=type(answer).__name__)
    return answer


class Fits(Exercise):
    """A limit of memory between two programs."""

    title = Words("够用，又关得住", "Enough, and no more")
    task = Words(
        f"写一个 Limits：占 {SMALL} MiB 内存的程序在里面好好的，占 {LARGE} MiB 的会被杀死。检查把两个都运行一遍。",
        f"Write Limits in which a program that holds {SMALL} MiB of memory lives, and one that holds "
        f"{LARGE} MiB is killed. The check runs both.",
    )
    hints = (
        Words(
            "解释器自己也要几 MiB。上限取在两者之间。",
            "The interpreter needs some MiB of its own. Take a limit between the two.",
        ),
        Words(
            '`Limits(memory="96m", memory_swap="96m")`：不许借交换区。',
            '`Limits(memory="96m", memory_swap="96m")`: no swap is borrowed.',
        ),
    )
    model = staticmethod(solutions.fits)
    why = Words(
        "到了上限，内核先回收缓存，再把页换出去；都不行，就从组里挑一个进程杀掉。申请内存的那次调用不会失败。",
        "At the limit the kernel first gives up caches, then moves pages to swap. When neither helps, "
        "it chooses a process of the group and kills it. The call that asked for memory does not fail.",
    )

    NOT_LIMITS = _NOT_LIMITS
    KILLED = (
        Words(f"占 {SMALL} MiB 的也被杀死了。", f"The one that holds {SMALL} MiB was killed too."),
        Words(
            "上限太低：解释器自己也要内存。", "The limit is too low: the interpreter needs memory."
        ),
    )
    LIVES = (
        Words(f"占 {LARGE} MiB 的也活得好好的。", f"The one that holds {LARGE} MiB lives too."),
        Words(
            "上限太高，或者还有交换区可用：`memory_swap` 是两者之和。",
            "The limit is too high, or there is swap to use: `memory_swap` is both together.",
        ),
    )

    def judge(self, answer: object) -> Found:
        """Run both."""
        limits = _limits(answer)
        small, large = (
            run(Container(("python3", "-c", _HOLD, str(size)), limits=limits), timeout=SECONDS)
            for size in (SMALL, LARGE)
        )
        evidence = f"{SMALL} MiB  ⇒  {small.returncode}\n{LARGE} MiB  ⇒  {large.returncode}"
        if small.returncode:
            raise WrongError(self.KILLED, evidence)
        if not large.oom_killed:
            raise WrongError(self.LIVES, evidence)
        said = Words("一个活着，一个在上限处被杀。", "One lives, and one was killed at the limit.")
        return Found(said, evidence)


class Quarter(Exercise):
    """A quota, not a weight."""

    title = Words("四分之一个处理器", "A quarter of a processor")
    task = Words(
        "写一个 Limits，让容器无论机器多闲，最多只用四分之一个处理器。检查到容器的控制组里读内核收到的配额。",
        "Write Limits that give a container a quarter of a processor at most, however idle the "
        "machine is. The check reads in the container's control group which quota the kernel has.",
    )
    hints = (
        Words(
            "份额只在别人也要的时候才起作用。要的是配额。",
            "A share counts only while others want the processor too. This takes a quota.",
        ),
        Words("`cpus` 可以是小数。", "`cpus` may be a fraction."),
    )
    model = staticmethod(solutions.quarter)
    why = Words(
        "配额是每个周期里能用的时间：100 毫秒里的 25 毫秒，用完就停到下个周期。份额（weight、shares）只是争抢时的比例。",
        "A quota is the time that a group may use in each period: 25 of 100 ms, and then it stands "
        "still until the next. A share (weight, shares) is only a ratio while others compete.",
    )

    NOT_LIMITS = _NOT_LIMITS
    NO_QUOTA = (
        Words(
            "内核没有收到配额：机器一闲，它全都能用。",
            "There is no quota: on an idle machine it may use everything.",
        ),
        Words(
            "`cpu_weight` 和 `cpuset` 都不是配额。", "Neither `cpu_weight` nor `cpuset` is a quota."
        ),
    )
    OTHER = (
        Words("配额是 {part} 个处理器，不是 0.25。", "The quota is {part} processors, not 0.25."),
        Words("数的是处理器的个数。", "It counts processors."),
    )

    def judge(self, answer: object) -> Found:
        """Read the quota."""
        with start(Container(("sleep", "1000"), limits=_limits(answer))) as running:
            group = running.group
            assert group  # noqa: S101 - it has limits
            directory = group.directories.get("cpu") or group.directories.get("v2", "")
            quota, period = _quota(directory)
        if quota is None:
            raise WrongError(self.NO_QUOTA)
        evidence = f"{quota} µs / {period} µs"
        if quota * 4 != period:
            raise WrongError(self.OTHER, evidence, part=f"{quota / period:g}")
        return Found(Words("内核收到的是四分之一。", "The kernel has a quarter."), evidence)


def _quota(directory: str) -> tuple[int | None, int]:
    """The quota and the period of a group, in microseconds, in either version."""
    words = stats.text(f"{directory}/cpu.max").split() or [
        stats.text(f"{directory}/cpu.cfs_{name}_us").strip() for name in ("quota", "period")
    ]
    return (int(words[0]) if words[0].isdigit() else None), int(words[1] or "100000")


class Enter(Step):
    """The way in, by hand."""

    title = Words("自己走进去", "Walking in")
    task = Words(
        "写一个函数 `enter(groups)`：`groups` 是一串控制组的目录（v2 只有一个），让运行它的进程自己进到每一个里面。",
        "Write a function `enter(groups)`: `groups` is a list of control groups' directories (one in "
        "version 2). The process that runs it is to go into each.",
    )
    hints = (
        Words(
            "组是目录，成员写在它的一个文件里。",
            "A group is a directory, and its members stand in a file there.",
        ),
        Words(
            "`cgroup.procs` 收一个 PID；0 就是写的那个进程自己。",
            "`cgroup.procs` takes a PID; 0 is the process that writes it.",
        ),
    )
    model = staticmethod(solutions.enter)
    scene = "enter"
    why = Words(
        "容器里的进程也可以写 0：内核知道是谁在写，不必知道自己在外面的号码。runc 在 v1 上就是这样进组的。",
        "A process of a container may write 0 too: the kernel knows who writes, so the process need "
        "not know its number outside.",
    )

    OUTSIDE = (
        Words("进程还在外面。", "The process is still outside."),
        Words("往每个组的 `cgroup.procs` 里写 0。", "Write 0 to `cgroup.procs` of each group."),
    )
    SOMEBODY = (
        Words(
            "组里有进程，可不是你的：它自己还在外面。",
            "There is a process in it, but yours is still outside.",
        ),
        Words("写的是谁的号？`os.getpid()` 或者 0。", "Whose number is it? `os.getpid()`, or 0."),
    )

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """Look where the process is."""
        evidence = told(seen, f"/proc/self/cgroup  ⇒  {inner['groups']}/{inner['wanted']}")
        if inner["groups"] < inner["wanted"]:
            raise WrongError(self.SOMEBODY if inner["others"] else self.OUTSIDE, evidence)
        return Found(Words("进程在每个组里。", "The process is in each group."), evidence)


class Late(Broken):
    """Who was moved too late."""

    title = Words("诊断：限制不住的孩子", "Diagnose: a child without limits")
    symptom = Words(
        "`launch` 启动一个程序，等它就绪，再把它写进控制组。程序一启动就生了一个孩子。组里却只有程序，孩子在外面，什么限制也管不到它。",
        "`launch` starts a program, waits until it is ready, and writes it into its control groups. "
        "The program makes a child as soon as it starts. Only the program is in the groups. Its "
        "child is outside, and no limit holds for it.",
    )
    task = Words(
        "找出原因，改好 `launch(groups, program, ready)`：程序和它的孩子都要在组里。`program()` 是那个程序，`ready()` 等它就绪。",
        "Find the cause and mend `launch(groups, program, ready)`: the program and its child are to "
        "be in the groups. `program()` is the program, and `ready()` waits for it.",
    )
    hints = (
        Words(
            "孩子生在父亲当时所在的组里。孩子出生的时候，父亲在哪里？",
            "A child is born in the group in which its parent is. Where was the parent then?",
        ),
        Words(
            "移动一个进程，不会带上它已有的孩子。要在程序开始之前就进去。",
            "To move a process does not move the children that it has. It must go in before the "
            "program begins.",
        ),
    )
    model = staticmethod(solutions.launch)
    broken = staticmethod(mishaps.launch)
    scene = "launched"
    why = Words(
        "组是在 fork 时继承的，此后各走各的。先启动、后移动，中间生的孩子、用掉的内存都算在别处。"
        "所以容器要生在组里：v2 有 CLONE_INTO_CGROUP，v1 要在执行程序之前自己写 0。",
        "A group is inherited at fork, and after that each goes its own way. Between start and move, "
        "children and memory count elsewhere. So a container must be born in its group: version 2 has "
        "CLONE_INTO_CGROUP, and in version 1 it writes 0 before the program begins.",
    )

    OUTSIDE = (
        Words("程序自己也不在组里。", "The program itself is not in the groups."),
        Words("每个组的 `cgroup.procs` 都要写。", "Write to `cgroup.procs` of each group."),
    )
    CHILD_OUT = (
        Words(
            "程序在组里，它的孩子还在外面。", "The program is in the groups. Its child is outside."
        ),
        Words(
            "进组要在 `program()` 之前，由那个进程自己来。",
            "It must go in before `program()`, and do it itself.",
        ),
    )
    NO_WAIT = (
        Words(
            "检查多等了一会儿才写，孩子还在外面。",
            "The check waited longer. The child is still outside.",
        ),
        Words("越晚越糟：孩子早就生了。", "Later is worse: the child was born long before."),
    )
    NO_NEWLINE = (
        Words(
            "检查加上了换行，孩子还在外面。",
            "The check added a newline. The child is still outside.",
        ),
        Words("程序进去了，可见写法没有错。", "The program went in, so it was written correctly."),
    )
    NO_TWICE = (
        Words("检查写了两遍，孩子还在外面。", "The check wrote twice. The child is still outside."),
        Words(
            "写的是程序的号，移动的只有程序。",
            "It is the program's number, so it moves the program alone.",
        ),
    )

    suspects = (
        Suspect(
            Words(
                "写得太早，内核还没有准备好。",
                "It was written too early: the kernel was not ready.",
            ),
            mishaps.launch_later,
            NO_WAIT,
        ),
        Suspect(
            Words("PID 后面少了换行。", "The PID lacks a newline."),
            mishaps.launch_with_a_newline,
            NO_NEWLINE,
        ),
        Suspect(
            Words("写一遍只移动一个线程，要写两遍。", "One write moves one thread: it takes two."),
            mishaps.launch_twice,
            NO_TWICE,
        ),
        Suspect(
            Words(
                "移动得太晚：孩子已经生在外面了。",
                "It was moved too late: the child was born outside.",
            ),
            solutions.launch,
        ),
    )

    def facts(self, seen: Seen, inner: Seen) -> tuple[str, ...]:  # noqa: ARG002 - one sees all
        """Who is in the groups."""
        return tuple(f"{name:8} {_PLACES[inner[name]]}" for name in ("program", "child"))

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """Both are to be inside."""
        evidence = told(seen, *self.facts(seen, inner))
        if not inner["program"]:
            raise WrongError(self.OUTSIDE, evidence)
        if not inner["child"]:
            raise WrongError(self.CHILD_OUT, evidence)
        return Found(
            Words("程序和孩子都在组里。", "The program and its child are in the groups."), evidence
        )


_PLACES = {
    True: Words("在组里", "inside", " "),
    False: Words("在外面", "outside", " "),
}


class Ex08(Lesson):
    """V0.8: control groups."""

    title = "v0.8"
    fits = Fits()
    quarter = Quarter()
    enter = Enter()
    late = Late()
