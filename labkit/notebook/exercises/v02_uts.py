"""Exercises of V0.2: which namespaces are new, a step of one's own, PID 1, one capability."""

import contextlib
import errno
import os
from collections.abc import Iterable

from labkit.container.container import Container
from labkit.engine.client import run, start
from labkit.linux.capabilities import CAPABILITIES
from labkit.linux.flags import CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS, Clone
from labkit.linux.namespaces import KINDS, differing, inodes
from labkit.notebook.exercises import mishaps, solutions
from labkit.notebook.exercises.answers import SECONDS, FailedError, WrongError
from labkit.notebook.exercises.broken import Broken, Suspect
from labkit.notebook.exercises.exercise import Exercise, Found, Lesson
from labkit.notebook.exercises.machine import asked, told
from labkit.notebook.exercises.step import Seen, Step
from labkit.text.words import Words


class Kinds(Exercise):
    """compare() by hand."""

    title = Words("哪几种不同", "Which kinds differ")
    task = Words(
        "不用 labkit，写一个函数 `kinds(pid)`：返回一个集合，里面是进程 `pid` 与笔记本不同的那几种"
        '命名空间，例如 `{"uts"}`。名字用 `/proc/PID/ns` 里的。检查会拿三个容器来问。',
        "Without labkit, write a function `kinds(pid)` that returns the set of the kinds of "
        'namespace in which process `pid` differs from the notebook, such as `{"uts"}`. Take the '
        "names of `/proc/PID/ns`. The check asks it about three containers.",
    )
    hints = (
        Words(
            "两个进程的 `/proc/PID/ns`，逐项比较。自己的那份叫 `/proc/self/ns`。",
            "Compare the `/proc/PID/ns` of two processes, entry by entry. Ours is `/proc/self/ns`.",
        ),
        lambda: Words(
            f'`os.listdir("/proc/self/ns")` 列出 {len(os.listdir("/proc/self/ns"))} 个链接，'
            f"种类只有 {len(inodes())} 种；用 `os.readlink` 读出每个链接，留下两边不同的。",
            f'`os.listdir("/proc/self/ns")` lists {len(os.listdir("/proc/self/ns"))} links, and '
            f"there are {len(inodes())} kinds; read each link with `os.readlink` and keep those "
            "that differ.",
        ),
    )
    model = staticmethod(solutions.kinds)
    why = Words(
        "`pid_for_children` 和 `time_for_children` 说的是将来的孩子，不是进程自己，所以不算。"
        "labkit 的 `compare()` 做的就是这件事，只是画成了表。",
        "`pid_for_children` and `time_for_children` describe later children, not the process, "
        "so they do not count. labkit's `compare()` does the same, and draws a table.",
    )
    wants_function = True

    NOT_A_SET = (
        Words(
            "你的函数返回了 {kind}。要的是名字的集合。",
            "Your function returned {kind}. The check wants a set of names.",
        ),
        Words(
            '比如 `{{"uts", "pid"}}`；没有不同就是 `set()`。',
            'Such as `{{"uts", "pid"}}`; if nothing differs, `set()`.',
        ),
    )
    FOR_CHILDREN = (
        Words(
            "多了 {extra}：它们说的是将来的孩子住哪里，不是进程自己。",
            "{extra} should not be there: they say where children to come will live, not the "
            "process.",
        ),
        Words(
            "名字以 `_for_children` 结尾的链接，跳过去。",
            "Skip the links whose names end in `_for_children`.",
        ),
    )
    INVERTED = (
        Words(
            "正好反了：你给的是相同的那几种。",
            "It is the other way round: these are the kinds that are the same.",
        ),
        Words("把 `==` 换成 `!=`。", "Put `!=` for `==`."),
    )
    OTHER = (
        Words(
            "打开 `{flags}` 的容器，答案应是 {real}，你的函数返回 {given}。",
            "For a container with `{flags}` the answer is {real}; your function returned {given}.",
        ),
        Words(
            "函数用到参数 `pid` 了吗？在别处也能用吗？",
            "Does the function use its argument `pid`, each time it is called?",
        ),
    )

    TRIED = (Clone(0), CLONE_NEWUTS | CLONE_NEWIPC, CLONE_NEWNS | CLONE_NEWPID)

    def judge(self, answer: object) -> Found:
        """Ask about containers with different flags."""
        with contextlib.ExitStack() as stack:
            asleep = [Container(argv=("sleep", "1000"), cloneflags=flags) for flags in self.TRIED]
            boxes = [stack.enter_context(start(box)) for box in asleep]
            answers = asked(answer, *((box.pid,) for box in boxes))
            news = [differing(inodes(), box.inodes) for box in boxes]
        lines = []
        for flags, given, new in zip(self.TRIED, answers, news, strict=True):
            self._compare(given, new, flags)
            lines.append(f"{flags!s:<26}  {_braces(_names(new))}")
        return Found(
            Words("三个容器都答对了。", "Right for all three containers."), "\n".join(lines)
        )

    def _compare(self, given: object, new: Clone, flags: Clone) -> None:
        if not isinstance(given, set | frozenset | list | tuple) or not all(
            isinstance(name, str) for name in given
        ):
            raise WrongError(self.NOT_A_SET, kind=type(given).__name__)
        names, real = set(given), _names(new)
        if names == real:
            return
        extra = {name for name in names if name.endswith("_for_children")}
        if extra:
            raise WrongError(self.FOR_CHILDREN, extra=_braces(extra))
        if names == set(inodes()) - real:
            raise WrongError(self.INVERTED)
        raise WrongError(self.OTHER, flags=flags, real=_braces(real), given=_braces(names))


def _names(flags: Clone) -> set[str]:
    return {kind.name for kind in KINDS if kind.flag & flags}


def _braces(names: Iterable[str]) -> str:
    return "{" + ", ".join(sorted(names)) + "}"


_OUTSIDE = Words(
    "外面的机器也改名了，现在叫 `{outer}`：真正的宿主机会就此换掉名字。",
    "The machine outside was renamed too, it is called `{outer}` now: a real host would have lost "
    "its name.",
)


class Rename(Step):
    """A contain() step: a name of one's own."""

    title = Words("自己的名字", "A name of its own")
    task = Words(
        "亲手写一步 `contain()`：函数 `rename()` 搬进一个新的 UTS 命名空间，再把主机名改成 `box`。"
        "检查在一台用完即弃、名叫 `outer` 的机器里，让一个子进程运行你的函数，"
        "然后问里外两边各叫什么。",
        "Write a step of `contain()` yourself: a function `rename()` that moves into a new UTS "
        "namespace and then sets the host name to `box`. A child runs it in a machine called "
        "`outer`, which is thrown away. The check asks for the name inside and outside.",
    )
    hints = (
        Words(
            "两个系统调用，次序要紧：改名改的是当时所在的那个命名空间。",
            "Two system calls, and their order matters: a name is set in the namespace in which "
            "the process is at that moment.",
        ),
        Words(
            '先 `unshare(CLONE_NEWUTS)`，后 `sethostname("box")`；不必导入，这些名字像在 `%%child` '
            "里一样现成。",
            '`unshare(CLONE_NEWUTS)` first, then `sethostname("box")`; you need no import, as '
            "in `%%child`.",
        ),
    )
    model = staticmethod(solutions.rename)
    scene = "rename"
    why = Words(
        "新的 UTS 命名空间是旧的一份副本；副本造好以后再改名，改的才是自己那份。"
        "labkit 的 `contain()` 只需后一步：`clone3` 已经让它生在新命名空间里了。",
        "A new UTS namespace is a copy of the old one; so you must set the name after the copy "
        "was made. labkit's `contain()` needs only the second step, because `clone3` makes it "
        "in the new namespace.",
    )

    TOO_LATE = (
        _OUTSIDE,
        Words(
            "改名的时候你还在外面。把 `unshare` 放到前面去。",
            "You were still outside when you set the name. Put `unshare` first.",
        ),
    )
    NO_NAMESPACE = (
        _OUTSIDE,
        Words(
            "你的进程没有搬家：`uts` 的 inode 与外面相同。先 `unshare(CLONE_NEWUTS)`。",
            "Your process has not moved: its `uts` inode is the one outside. "
            "`unshare(CLONE_NEWUTS)` first.",
        ),
    )
    NOT_MOVED = (
        Words(
            "里外都没有变：你的进程还在原来的 UTS 命名空间里，仍叫 `{name}`。",
            "Nothing has changed, outside or inside: your process is still in the UTS namespace it "
            "was in, and called `{name}`.",
        ),
        Words(
            "要搬家的是函数所在的进程自己；若另起一个程序去搬、去改名，变的是那个程序的，随它一起没了。",
            "The process itself must move. When another program changes something in its own "
            "namespace, the change is gone when that program ends.",
        ),
    )
    OTHER_NAME = (
        Words(
            "搬了家，也改了名，可里面叫 `{name}`，不叫 `box`。",
            "It has moved and was renamed; but inside the name is `{name}`, not `box`.",
        ),
        Words(
            "名字要一字不差，大小写和空格都算。",
            "Every character of the name counts, also case and spaces.",
        ),
    )
    NO_NAME = (
        Words(
            "外面没有变，可里面叫 `{name}`，不叫 `box`。",
            "Nothing changed outside; but inside the name is `{name}`, not `box`.",
        ),
        Words(
            "新的命名空间是一份副本，名字也照抄；还要 `sethostname`。",
            "A new namespace is a copy, with the same name. `sethostname` is still missing.",
        ),
    )

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """Compare the names inside and outside; of all that came back none may be misnamed."""
        inner = next((each for each in seen["came"] if each["name"] != "box"), inner)
        names = (
            f"{Words('里面', 'inside', ' ')}  {inner['name']}",
            f"{Words('外面', 'outside', ' ')}  {seen['outer']}",
        )
        if seen["outer"] != "outer":
            diagnosis = self.TOO_LATE if inner["own"] else self.NO_NAMESPACE
            raise WrongError(diagnosis, told(seen, *names), outer=seen["outer"])
        if inner["name"] != "box":
            unnamed = self.NO_NAME if inner["own"] else self.NOT_MOVED
            diagnosis = unnamed if inner["name"] == "outer" else self.OTHER_NAME
            raise WrongError(diagnosis, told(seen, *names), name=inner["name"])
        return Found(
            Words(
                "里面叫 `box`，外面仍叫 `outer`。",
                "Inside it is `box`, outside it is still `outer`.",
            ),
            told(seen, *names),
        )


class First(Step):
    """unshare --pid --fork by hand."""

    title = Words("头一个孩子", "The first child")
    task = Words(
        "亲手做一遍 `unshare --pid --fork`：写一个函数 `first()`，"
        "从它返回的只有一个进程，而且那个进程是新 PID 命名空间里的 1 号。",
        "Do `unshare --pid --fork` by hand: write a function `first()` from which exactly one "
        "process returns. This process must be PID 1 of a new PID namespace.",
    )
    hints = (
        Words(
            "进程号一生不变。要当 1 号，只有重新投胎：谁生，谁等，谁接着往下走？",
            "A process keeps its PID for life. So PID 1 must be a new process. Who makes it, "
            "who waits, and who goes on?",
        ),
        Words(
            "`unshare(CLONE_NEWPID)`，然后 `child = os.fork()`。子进程里 `child` 是 0，让它返回；"
            "父进程 `os.waitpid(child, 0)`，再 `os._exit(0)`。",
            "`unshare(CLONE_NEWPID)`, then `child = os.fork()`. In the child `child` is 0: let it "
            "return. The parent does `os.waitpid(child, 0)` and then `os._exit(0)`.",
        ),
    )
    model = staticmethod(solutions.first)
    scene = "first"
    why = Words(
        "`unshare(CLONE_NEWPID)` 只决定此后的孩子生在哪里。头一个孩子是 1 号；1 号一死，"
        "内核就不许再在里面生进程。所以父进程留在外面等它，`--fork` 做的正是这件事。",
        "`unshare(CLONE_NEWPID)` only decides where later children are made. The first child is "
        "PID 1. When it dies, the kernel makes no more processes in there. So the parent stays "
        "outside and waits. `--fork` does exactly this.",
    )

    UNSHARE_ONLY = (
        Words(
            "回来的进程还是 {pid} 号，没有搬家；搬过去的只会是它将来的孩子。",
            "The process that came back is still PID {pid} and has not moved. Only its later "
            "children will be in the new namespace.",
        ),
        Words(
            "在 `unshare` 之后 `os.fork()`，让孩子回来。",
            "`os.fork()` after `unshare`, and let the child return.",
        ),
    )
    NO_NAMESPACE = (
        Words(
            "回来的进程是 {pid} 号，住的仍是原来的 PID 命名空间。",
            "The process that came back is PID {pid}, in the PID namespace it was in before.",
        ),
        Words(
            "先 `unshare(CLONE_NEWPID)`，再生孩子。",
            "`unshare(CLONE_NEWPID)` first, then make a child.",
        ),
    )
    NOT_FIRST = (
        Words(
            "回来的进程住在新的 PID 命名空间里，可它是 {pid} 号：1 号是另一个。",
            "The process that came back is in a new PID namespace, but it is PID {pid}: another is "
            "PID 1.",
        ),
        Words(
            "`unshare` 之后只 `os.fork()` 一次，让头一个孩子回来。",
            "`os.fork()` once only after `unshare`, and let the first child come back.",
        ),
    )
    NO_CHILD = (
        Words(
            "孩子也去等孩子了，可它没有孩子。`os.fork()` 之后，父子两个进程都从那里往下走。",
            "The child also waited for a child, but it has none. After `os.fork()` both go on, "
            "parent and child.",
        ),
        Words(
            "`os.fork()` 在孩子那里返回 0：`if child:` 下面的，才只有父进程做。",
            "In the child `os.fork()` returns 0: only the code under `if child:` is for the "
            "parent alone.",
        ),
    )
    BOTH = (
        Words(
            "回来了 {count} 个进程：{pids} 号。父进程也回来了。",
            "{count} processes came back: PID {pids}. The parent returned as well.",
        ),
        Words(
            "父进程等孩子结束，然后 `os._exit(0)`，不要返回。",
            "The parent waits for its child and then `os._exit(0)`; it does not return.",
        ),
    )

    def explain(self, failed: FailedError) -> WrongError:
        """A child that does as its parent has nobody to wait for."""
        if failed.failure.kind == ChildProcessError.__name__:
            return WrongError(self.NO_CHILD, str(failed.failure))
        return super().explain(failed)

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """See who came back."""
        evidence = told(seen, *(f"PID {each['pid']}" for each in seen["came"]))
        pids = ", ".join(str(each["pid"]) for each in seen["came"])
        if len(seen["came"]) > 1:
            raise WrongError(self.BOTH, evidence, count=len(seen["came"]), pids=pids)
        if not inner["own"]:
            diagnosis = self.UNSHARE_ONLY if inner["sent"] else self.NO_NAMESPACE
            raise WrongError(diagnosis, evidence, pid=inner["pid"])
        if inner["pid"] != 1:
            raise WrongError(self.NOT_FIRST, evidence, pid=inner["pid"])
        return Found(
            Words(
                "回来的只有一个进程，它是新 PID 命名空间里的 1 号。",
                "One process came back, PID 1 of a new PID namespace.",
            ),
            evidence,
        )


class Capability(Exercise):
    """The least that a new namespace takes."""

    title = Words("最少的权能", "The least capability")
    task = Words(
        "65534 号用户（nobody）要建一个 UTS 命名空间，最少需要哪些权能？交一个集合，"
        '如 `{"CAP_CHOWN"}`。检查让 nobody 只带着这些权能去运行 `unshare --uts true`，'
        "再把每一项单独拿掉试试。",
        "What is the smallest set of capabilities with which user 65534 (nobody) can make a UTS "
        'namespace? Hand in a set, such as `{"CAP_CHOWN"}`. The check has nobody run `unshare '
        "--uts true` with these and no others, and then removes each of them in turn.",
    )
    hints = (
        Words(
            "`--privileged` 给了四十来项；管命名空间、挂载、主机名的是同一项，名字也最宽泛。",
            "`--privileged` gives about forty. One of them controls namespaces, mounts and host "
            "names, and it has the most general name.",
        ),
        Words(
            "手册页 unshare(2) 的 EPERM 一条写着它；Docker 里用 `--cap-add SYS_ADMIN` 可以单独给。",
            "The man page unshare(2) names it under EPERM; Docker gives it alone with "
            "`--cap-add SYS_ADMIN`.",
        ),
    )
    model = staticmethod(solutions.capability)
    why = Words(
        "起作用的是权能，不是用户号。CAP_SYS_ADMIN 管的事太多，因此人称“新的 root”："
        "给了它，离给 root 也不远了。",
        "The capability counts, not the user ID. CAP_SYS_ADMIN allows so much that people call "
        "it the new root: it is almost the same as root.",
    )

    NOT_NAMES = (
        Words(
            "要的是权能名字的集合，收到的是 {kind}。",
            "The check wants a set of capability names, not {kind}.",
        ),
    )
    EMPTY = (
        Words(
            "一项权能也不带，内核的回答是 EPERM。", "With none at all, the kernel answers EPERM."
        ),
    )
    UNKNOWN = (
        Words("内核没有叫 {names} 的权能。", "The kernel has no capability called {names}."),
        Words(
            "`labkit.linux.capabilities.CAPABILITIES` 列出了全部名字。",
            "`labkit.linux.capabilities.CAPABILITIES` lists them all.",
        ),
    )
    REFUSED = (
        Words(
            "只带着 {names}，内核的回答是 EPERM。",
            "With {names} alone, the kernel answers EPERM.",
        ),
        Words(
            "这些权能管的是别的事。capabilities(7) 里搜一搜 `unshare`。",
            "These control other things. Search capabilities(7) for `unshare`.",
        ),
    )
    TOO_MANY = (
        Words(
            "够用了，可是多了：没有 {names} 也一样成功。",
            "This is more than enough: it also works without {names}.",
        ),
        Words(
            "一项一项拿掉，留下拿不掉的。",
            "Remove them one by one and keep those that are necessary.",
        ),
    )

    def judge(self, answer: object) -> Found:
        """Try them together, then without each."""
        given = {answer} if isinstance(answer, str) else answer
        if not isinstance(given, set | frozenset | list | tuple) or not all(
            isinstance(name, str) for name in given
        ):
            raise WrongError(self.NOT_NAMES, kind=type(given).__name__)
        names = {
            f"CAP_{name.upper().removeprefix('CAP_')}" for name in given
        }  # or as Docker has it
        unknown = names - set(CAPABILITIES)
        if unknown:
            raise WrongError(self.UNKNOWN, names=_braces(unknown))
        if not _enough(names):
            raise WrongError(self.REFUSED if names else self.EMPTY, names=_braces(names))
        spare = {name for name in names if _enough(names - {name})}
        if spare:
            raise WrongError(self.TOO_MANY, names=_braces(spare))
        return Found(
            Words(
                "nobody 只凭这一项就建成了；拿掉它，内核就答 EPERM。",
                "With this one alone, user nobody made a UTS namespace. Without it the kernel "
                "answers EPERM.",
            ),
        )


def _enough(names: set[str]) -> bool:
    """Whether uid 65534 with these capabilities alone may make a UTS namespace."""
    wanted = "".join(f",+{name.removeprefix('CAP_').lower()}" for name in sorted(names))
    sets = [f"--{kind}=-all{wanted}" for kind in ("bounding-set", "inh-caps", "ambient-caps")]
    user = ("--reuid=65534", "--regid=65534", "--clear-groups")
    box = Container(argv=("setpriv", *user, *sets, "unshare", "--uts", "true"))
    done = run(box, timeout=SECONDS)
    if done.returncode and not done.stderr.startswith("unshare: "):
        raise OSError(errno.EPERM, done.stderr.strip())  # it came to no trial
    return done.returncode == 0


class Stray(Broken):
    """An exec that stays on the host."""

    title = Words("诊断：exec 没有进门", "Diagnose: an exec that never went in")
    symptom = Words(
        "两个容器，PID 记在状态文件里。对每一个都做一次 `exec`：先用 `join(pid)` 进入它的 UTS 命名空间，"
        "再在那里运行 `hostname patched`。两次都没有报错，第二次之后却是宿主机改了名。",
        "There are two containers, and their PIDs are kept in a file of state. `exec` is done in each: "
        "`join(pid)` enters its UTS namespace, and then `hostname patched` runs there. Neither "
        "reported an error. But after the second one, the host has the new name.",
    )
    task = Words(
        "找出原因，改好 `join(pid)`：能进就进去；进不去，就不许有程序跟着在宿主机上运行。"
        "进入一个已有的命名空间用 `setns`：交给它 `/proc/PID/ns` 里的文件，打开着的。",
        "Find the cause and mend `join(pid)`: if the container can be entered, enter it. If not, "
        "no program may run on the host in its place. `setns` enters a namespace that exists: it "
        "takes an open file of `/proc/PID/ns`.",
    )
    hints = (
        Words(
            "两次做的事一模一样，只有第二次出事：两个容器有什么不同？",
            "The same was done twice, and only the second one went wrong. What is different about "
            "the second container?",
        ),
        Words(
            "第二个容器已经结束，`/proc/PID` 没有了，`os.open` 失败。谁把这个错误拿走了？",
            "The second container has ended: its `/proc/PID` is gone, and `os.open` fails. Who took "
            "that error away?",
        ),
        Words(
            "原因是 `b`。去掉 `try` 和 `except`，让错误传给调用者。",
            "It is `b`. Remove `try` and `except`, and let the error reach the caller.",
        ),
    )
    model = staticmethod(solutions.join)
    broken = staticmethod(mishaps.join)
    scene = "stray"
    why = Words(
        "`setns` 没做成，进程就还在原处，也就是宿主机上；接着 execve 什么，就在宿主机上运行什么，权力一点不少。"
        "有几个教程的容器就是这样：对已经结束的容器执行 `exec`，悄悄得到宿主机的一个 shell。"
        "进门的每一步都可能失败，失败就必须停下；chroot 和 pivot_root 也一样。",
        "When `setns` fails, the process stays where it was: on the host. The program that follows "
        "runs on the host, with all the power there. The containers of several tutorials do this: "
        "`exec` in a container that has ended silently gives a shell on the host. Every step on the "
        "way in can fail, and then it must stop. This is also true of chroot and pivot_root.",
    )

    NO_CHILD = (
        Words(
            "检查让 `setns` 之后的一个孩子去运行程序，症状还在。",
            "The check let a child, made after `setns`, run the program. The symptom is still there.",
        ),
        Words(
            "只有 PID 和 time 两种是留给孩子的；UTS 这种，`setns` 搬的就是进程自己。",
            "Only the kinds PID and time are for children. For UTS, `setns` moves the process itself.",
        ),
    )
    NO_FLAG = (
        Words(
            "检查把标志换成 0，也就是哪一种都收，症状还在。",
            "The check used 0 for the flag, which accepts every kind. The symptom is still there.",
        ),
        Words(
            "标志只用来核对文件是哪一种命名空间；第一个容器已经证明它没有错。",
            "The flag only checks which kind the file is. The first container shows that it is right.",
        ),
    )
    NO_DELAY = (
        Words(
            "检查等了一会儿再试一次，症状还在。",
            "The check waited and tried a second time. The symptom is still there.",
        ),
        Words(
            "进不去，不是因为太早。第二个容器还在吗？",
            "It is not too early. Is the second container still there?",
        ),
    )
    HOST = (
        Words(
            "进不去的时候，程序还是运行了，宿主机改名叫 `{outer}`。",
            "When the container could not be entered, the program ran all the same, and the host is "
            "now called `{outer}`.",
        ),
        Words(
            "失败了就不能返回：让错误传出去，或者抛出一个。",
            "After a failure the function must not return: let the error out, or raise one.",
        ),
    )
    ELSEWHERE = (
        Words(
            "宿主机没有改名，可是容器已经结束，程序却还是在别处运行了：调用者以为一切正常。",
            "The host has kept its name. But the container has ended, and the program still ran "
            "somewhere else: the caller believes that all is well.",
        ),
        Words(
            "不要另建一个命名空间顶替；失败了就让调用者知道。",
            "Do not make another namespace instead. Let the caller know that it failed.",
        ),
    )
    NOT_ENTERED = (
        Words(
            "宿主机没事了，可是活着的那个容器也没有进去：它还叫 `{box}`。",
            "The host is safe, but the living container was not entered either: it is still called "
            "`{box}`.",
        ),
        Words(
            "打开 `/proc/PID/ns/uts`，交给 `setns`。",
            "Open `/proc/PID/ns/uts` and give it to `setns`.",
        ),
    )

    suspects = (
        Suspect(
            Words(
                "`setns` 只搬此后生的孩子，不搬进程自己。",
                "`setns` moves only later children, not the process itself.",
            ),
            mishaps.join_by_a_child,
            NO_CHILD,
        ),
        Suspect(
            Words(
                "有一步失败了，错误被吞掉，程序照样往下走。",
                "A step failed, its error was dropped, and the program went on.",
            ),
            solutions.join,
        ),
        Suspect(
            Words("给 `setns` 的标志不对。", "The flag of `setns` is wrong."),
            mishaps.join_any_kind,
            NO_FLAG,
        ),
        Suspect(
            Words(
                "太早了：容器还没有准备好，要再试一次。",
                "It was too early: the container was not ready, and needs a second try.",
            ),
            mishaps.join_later,
            NO_DELAY,
        ),
    )

    def facts(self, seen: Seen, inner: Seen) -> tuple[str, ...]:  # noqa: ARG002 - the names count
        """The names after each of the two."""
        first = f"exec 1  ⇒  {_CONTAINER}: {seen['box']}, {_HOST}: {seen['named']}"
        ran = _RAN if seen["ran"] else _STOPPED
        return first, f"exec 2  ⇒  {ran}, {_HOST}: {seen['outer']}"

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """Compare the names."""
        evidence = told(seen, *self.facts(seen, inner))
        hosts = {seen["named"], seen["outer"]}
        if hosts != {"outer"}:
            raise WrongError(self.HOST, evidence, outer="patched")
        if seen["ran"]:
            raise WrongError(self.ELSEWHERE, evidence)
        if seen["box"] != "patched":
            raise WrongError(self.NOT_ENTERED, evidence, box=seen["box"])
        return Found(
            Words(
                "活着的进得去；已经结束的进不去，程序也没有运行，宿主机还叫 `outer`。",
                "The living one was entered. The one that has ended was not: no program ran, and "
                "the host is still called `outer`.",
            ),
            evidence,
        )


_CONTAINER, _HOST = Words("容器", "container", " "), Words("宿主机", "host", " ")
_RAN = Words("程序运行了", "the program ran", " ")
_STOPPED = Words("程序没有运行", "the program did not run", " ")


class Ex02(Lesson):
    """V0.2: the first namespace."""

    title = "v0.2"
    kinds = Kinds()
    rename = Rename()
    first = First()
    capability = Capability()
    stray = Stray()
