"""Exercises of V0.2, unshare(1): choosing options, a dead PID 1, a namespace that is kept."""

from labkit.container.container import Container
from labkit.engine.client import run
from labkit.linux.flags import CLONE_NEWNS
from labkit.notebook.exercises import solutions
from labkit.notebook.exercises.answers import SECONDS, Diagnosis, WrongError, ran
from labkit.notebook.exercises.exercise import Exercise, Found, Lesson
from labkit.notebook.exercises.machine import told
from labkit.notebook.exercises.step import Seen, Step
from labkit.text.words import Words

_STAT = "stat -Lc '%n %i' /proc/self/ns/*"
_TIMES = 4  # programs that Fork's shell starts


class Options(Exercise):
    """From kinds to options."""

    title = Words("挑选项", "Choosing options")
    task = Words(
        "挑选 `unshare` 的选项，使 `unshare 选项 sh` 启动的 shell 自己恰好有三种新的命名空间："
        'UTS、IPC、PID，别的都照旧。交一个元组，每个选项一个词，如 `("--net",)`。'
        "检查启动这个 shell，读它的 `/proc/self/ns`。",
        "Choose options of `unshare` for the command `unshare OPTIONS sh`. The shell itself must be "
        "in three new namespaces, UTS, IPC and PID, and in no other new one. Hand in a tuple with "
        'one word for each option, such as `("--net",)`. The check starts the shell and reads '
        "its `/proc/self/ns`.",
    )
    hints = (
        Words(
            "三种里有一种，进程要了它，自己并不搬进去，只有此后生的孩子住在那里。",
            "One of the three kinds does not move the process that asks for it. Only the children "
            "of this process are in the new namespace.",
        ),
        Words(
            "`--uts --ipc --pid`，再加一个让 `unshare` 先生孩子的选项：`--fork`。",
            "`--uts --ipc --pid`, and the option that makes `unshare` start a child: `--fork`.",
        ),
    )
    model = staticmethod(solutions.options)
    why = Words(
        "`--uts` 和 `--ipc` 立刻生效；`--pid` 只对将来的孩子生效，没有 `--fork`，"
        "shell 自己的 `pid` 不变，变的是 `pid_for_children`。"
        "常与它作伴的 `--mount-proc` 会捎带一个新的挂载命名空间。",
        "`--uts` and `--ipc` take effect at once. `--pid` takes effect only for children that are "
        "made later: without `--fork` the shell's own `pid` stays, and only `pid_for_children` "
        "changes. `--mount-proc` is often used together with these, but it makes a new mount "
        "namespace too.",
    )

    WANTED = frozenset({"uts", "ipc", "pid"})
    NOT_WORDS = (
        Words(
            "要的是一个元组，每个词一个字符串；收到的是 {kind}。",
            "The check wants a tuple of words, each of them text, not {kind}.",
        ),
        Words(
            '写成 `("--uts", "--net")` 这样；只有一个词时，后面的逗号不能少。',
            'Write it as in `("--uts", "--net")`; a single word needs a comma after it.',
        ),
    )
    FAILED = (
        Words(
            "shell 没有启动起来（退出状态 {status}）。",
            "The shell did not start (exit status {status}).",
        ),
        Words(
            "只写选项，一词一个，不写程序名；`unshare --help` 列出了全部选项。",
            "Hand in options only, each as a word of its own, and no program. `unshare --help` lists "
            "all options.",
        ),
    )
    NO_FORK = (
        Words(
            "shell 自己还在原来的 PID 命名空间里；新的那个，只等着它的孩子。",
            "The shell itself is still in the old PID namespace. Only its children will be in the "
            "new one.",
        ),
        Words("还差 `--fork`。", "`--fork` is missing."),
    )
    OTHER = (
        Words("shell 的新命名空间是 {new}。", "The shell's new namespaces are {new}."),
        Words(
            "对照一下：要的是 {wanted}。缺了的添上，多了的拿掉；有的选项会捎带别的种类。",
            "The check wants {wanted}. Add the missing ones and remove the others. Some options "
            "also make namespaces of other kinds.",
        ),
    )

    def judge(self, answer: object) -> Found:
        """Start the shell and compare its namespaces with those outside."""
        if not isinstance(answer, tuple | list) or not all(isinstance(w, str) for w in answer):
            raise WrongError(self.NOT_WORDS, kind=type(answer).__name__)
        # In a mount namespace of its own: an option such as --uts=FILE mounts.
        script = f'{_STAT}; exec unshare "$@" sh -c "exec {_STAT}"'
        done = ran(Container(("sh", "-c", script, "unshare", *answer), cloneflags=CLONE_NEWNS))
        before, after = _numbers(done.stdout)
        if not after:
            raise WrongError(self.FAILED, done.stderr, status=done.returncode)
        # A new PID namespace in which nobody has been born yet cannot be looked at: none for stat.
        new = {kind for kind in before if before[kind] != after.get(kind)}
        own = {kind for kind in new if not kind.endswith("_for_children")}
        if own == self.WANTED - {"pid"} and "pid_for_children" in new:
            raise WrongError(self.NO_FORK, _braces(new))
        if own != self.WANTED:
            raise WrongError(self.OTHER, new=_braces(own), wanted=_braces(self.WANTED))
        return Found(
            Words(
                "shell 恰好有这三种新的命名空间，别的都照旧。",
                "The shell has these three new namespaces, and no others.",
            ),
            _braces(own),
        )


def _numbers(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """What the two stat printed, kind -> inode: outside, and in the shell."""
    both: tuple[dict[str, str], dict[str, str]] = {}, {}
    lines = [line for line in text.splitlines() if line.startswith("/proc/self/ns/")]
    for name, _, number in (line.rpartition(" ") for line in lines):
        kind = name.rpartition("/")[2]
        both[kind in both[0]][kind] = number
    return both


def _braces(names: set[str] | frozenset[str]) -> str:
    return "{" + ", ".join(sorted(names)) + "}"


class Fork(Exercise):
    """Why unshare --pid bash cannot fork."""

    title = Words("第二个就不行", "The second one fails")
    task = Words(
        "`unshare --pid sh` 里，头一个程序照常运行，第二个就启动不了：`Cannot fork`。"
        "找出原因，并且不用 `--fork` 绕过它：交一行 shell，作为一个字符串，放在最前面，"
        f"使后面的 {_TIMES} 个程序都能启动。检查运行的是 "
        f'`unshare --pid sh -c "你的一行 ↵ /bin/echo 1; ... /bin/echo {_TIMES}"`。',
        "In `unshare --pid sh`, the first program runs normally, but the second one cannot be "
        "started: `Cannot fork`. Find the reason, and solve the problem without `--fork`. Hand in "
        f"one line of shell, as text. It is placed in front of {_TIMES} programs, and all of them "
        'must start. The check runs `unshare --pid sh -c "YOUR LINE ↵ /bin/echo 1; ... /bin/echo '
        f'{_TIMES}"`.',
    )
    hints = (
        Words(
            "头一个程序在新的 PID 命名空间里是几号？它结束以后，那里还剩什么？",
            "Which PID does the first program have in the new namespace? What is left there after "
            "its end?",
        ),
        Words(
            "1 号一死，内核就不许再往里面生进程。那就让 1 号活着：先在后台放一个不会结束的程序，"
            "如 `sleep 1000 &`。",
            "After the death of PID 1, the kernel makes no more processes there. So PID 1 must stay "
            "alive. First start a program in the background that does not end, such as "
            "`sleep 1000 &`.",
        ),
    )
    model = staticmethod(solutions.fork)
    why = Words(
        "`unshare(CLONE_NEWPID)` 之后生的头一个孩子就是 1 号，也就是这个命名空间的 init；它一死，"
        "内核关上门，此后的 fork 一律得到 ENOMEM。没有 `--fork`，当上 1 号的碰巧是 shell 的头一条命令。"
        "有了 `--fork`，shell 自己就是 1 号，它在，门就开着。",
        "The first child after `unshare(CLONE_NEWPID)` is PID 1, the init of that namespace. When "
        "it dies, the kernel closes the namespace, and every later fork gets ENOMEM. Without "
        "`--fork`, the shell's first command happens to be PID 1. With `--fork`, the shell itself "
        "is PID 1, and the namespace stays open as long as the shell lives.",
    )

    NO_TEXT = (
        Words(
            "要的是一行 shell（一个字符串），收到的是 {kind}。",
            "The check wants a line of shell, as text, not {kind}.",
        ),
    )
    WAITED = (
        Words(
            "{seconds} 秒过去，后面的程序还没有轮到：shell 在等你的一行结束。",
            "After {seconds} seconds the programs had not started: the shell was waiting for your "
            "line to end.",
        ),
        Words(
            "程序后面加一个 `&`，shell 就不等它。",
            "With `&` after a program, the shell does not wait for it.",
        ),
    )
    UNREADABLE = (
        Words("shell 读不懂你的一行。", "The shell does not understand your line."),
        Words(
            "`&` 自己就能隔开前后，后面不要再写 `;`；引号要成对。",
            "`&` already ends a command, so no `;` may follow it. Quotes must come in pairs.",
        ),
    )
    REPLACED = (
        Words(
            "后面的程序一个也没有启动：你的一行没有让 shell 接着往下走。",
            "None of the programs started: the shell did not go on after your line.",
        ),
        Words(
            "要让 shell 留在原地：不用 `exec`、`exit`，也不另起一个 shell。",
            "This shell must go on: do not use `exec`, `exit` or another shell.",
        ),
    )
    DIED = (
        Words(
            f"{_TIMES} 个程序里启动了 {{count}} 个，然后 fork 失败：1 号已经死了。",
            f"{{count}} of the {_TIMES} programs started, and then fork failed: PID 1 is dead.",
        ),
        Words(
            "你的一行里，最先启动的那个程序是 1 号。它活到最后了吗？后面加 `&`，它就留在后台。",
            "The first program that your line starts is PID 1. Does it live long enough? `&` leaves "
            "it in the background.",
        ),
    )

    def judge(self, answer: object) -> Found:
        """Run it and count the programs that came to run."""
        if not isinstance(answer, str):
            raise WrongError(self.NO_TEXT, kind=type(answer).__name__)
        programs = "\n".join(f"/bin/echo LABKIT {n}" for n in range(1, _TIMES + 1))
        script = f"{answer}\n{programs}"
        box = Container(("unshare", "--pid", "sh", "-c", script), cloneflags=CLONE_NEWNS)
        try:
            done = run(box, timeout=SECONDS)
        except TimeoutError:
            raise WrongError(self.WAITED, seconds=SECONDS) from None
        count = done.stdout.count("LABKIT ")
        if count < _TIMES:
            raise WrongError(self._reason(done.stderr), done.stderr, count=count)
        return Found(
            Words(
                f"{_TIMES} 个程序都启动了：它们之前，新命名空间里有了一个活着的 1 号。",
                f"All {_TIMES} programs started: the new namespace already had a PID 1 that stays "
                "alive.",
            ),
            _alone(),
        )

    def _reason(self, said: str) -> Diagnosis:
        """Why not all programs were started, by what the shell said."""
        if "yntax error" in said:
            return self.UNREADABLE
        return self.DIED if "fork" in said else self.REPLACED


def _alone() -> str:
    """What becomes of the same programs with nothing in front, as lines."""
    script = "\n".join(f"/bin/echo {n}" for n in range(1, _TIMES + 1))
    done = run(Container(("unshare", "--pid", "sh", "-c", script)), timeout=SECONDS)
    return f"{Words('没有这一行', 'without your line')}:\n{done.stdout}{done.stderr}"


class Keep(Step):
    """A namespace that nobody lives in, kept by a mount."""

    title = Words("留住它", "Keeping it")
    task = Words(
        "亲手做一遍 `unshare --uts=FILE`：函数 `keep(file)` 建一个新的 UTS 命名空间，"
        "在里面把主机名改成 `kept`，再用绑定挂载把它固定在 `file` 上。你的函数所在的进程结束以后，"
        "检查用 `nsenter --uts=file` 走进去，问那里的主机名。"
        "一切都在一台用完即弃的机器里，挂载不会留到外面。",
        "Do what `unshare --uts=FILE` does. Write a function `keep(file)` that makes a new UTS "
        "namespace, sets the host name in it to `kept`, and fixes it to `file` with a bind mount. "
        "After the process of your function has ended, the check enters the namespace with "
        "`nsenter --uts=file` and asks for the host name. All this happens in a machine that is "
        "thrown away, so the mount never reaches the host.",
    )
    hints = (
        Words(
            "命名空间里没有进程了，它就消失，除非还有别的东西指着它。`/proc/self/ns/uts` 指的就是你的那一个。",
            "A namespace without processes disappears, unless something refers to it. "
            "`/proc/self/ns/uts` refers to yours.",
        ),
        Words(
            "`unshare`、`sethostname` 之后："
            '`mount("/proc/self/ns/uts", file, None, MS_BIND, None)`。',
            "After `unshare` and `sethostname`: "
            '`mount("/proc/self/ns/uts", file, None, MS_BIND, None)`.',
        ),
    )
    model = staticmethod(solutions.keep)
    scene = "keep"
    why = Words(
        "命名空间何时消失，看还有没有东西指着它：住在里面的进程、打开着的描述符，或一个绑定挂载。"
        "`ip netns add` 也是这样：它把网络命名空间固定在 `/run/netns` 下面。",
        "A namespace disappears when nothing refers to it any more: no process, no open descriptor "
        "and no bind mount. `ip netns add` works in the same way. It binds a network namespace to a "
        "file in `/run/netns`.",
    )

    NOTHING = (
        Words(
            "`file` 上什么也没有挂；进程一结束，命名空间就没有了。",
            "Nothing is mounted on `file`. The namespace disappeared with the process.",
        ),
        Words(
            "把 `/proc/self/ns/uts` 绑定挂载到 `file`：标志是 `MS_BIND`。"
            "不要搬进新的挂载命名空间，那样外面看不见。",
            "Bind-mount `/proc/self/ns/uts` on `file`: the flag is `MS_BIND`. Do not move to a new "
            "mount namespace, because nobody outside would see the mount.",
        ),
    )
    NO_UTS = (
        Words(
            "`file` 上挂着东西，却不是 UTS 命名空间。",
            "Something is mounted on `file`, but it is not a UTS namespace.",
        ),
        Words("源头是 `/proc/self/ns/uts`。", "The source is `/proc/self/ns/uts`."),
    )
    OUTER = (
        Words(
            "固定在 `file` 上的，是外面那个旧的 UTS 命名空间。",
            "The UTS namespace on `file` is the old one, outside.",
        ),
        Words(
            "先 `unshare(CLONE_NEWUTS)`，后挂载，源头是自己的 `/proc/self/ns/uts`。",
            "Call `unshare(CLONE_NEWUTS)` first, then mount your own `/proc/self/ns/uts`.",
        ),
    )
    NO_NAME = (
        Words(
            "新的命名空间留住了，可那里的主机名是 `{name}`，不是 `kept`。",
            "The new namespace is still there, but its host name is `{name}`, not `kept`.",
        ),
        Words(
            '搬进去以后，还要 `sethostname("kept")`。',
            'After the move, call `sethostname("kept")` too.',
        ),
    )

    def consider(self, seen: Seen, inner: Seen) -> Found:  # noqa: ARG002 - what is left counts
        """See what is left when the process has ended."""
        evidence = told(seen, f"file  {' + '.join(seen['mounted']) or '-'}")
        if not seen["mounted"]:
            raise WrongError(self.NOTHING, evidence)
        if not seen["name"]:
            raise WrongError(self.NO_UTS, evidence)
        if seen["outer"]:
            raise WrongError(self.OUTER, evidence)
        if seen["name"] != "kept":
            raise WrongError(self.NO_NAME, evidence, name=seen["name"])
        return Found(
            Words(
                "里面已经没有进程，命名空间还在；走进去问，它叫 `kept`。",
                "The namespace has no process, and it is still there. Its host name is `kept`.",
            ),
            evidence,
        )


class Ex02b(Lesson):
    """V0.2: every option of unshare(1)."""

    title = "v0.2b"
    options = Options()
    fork = Fork()
    keep = Keep()
