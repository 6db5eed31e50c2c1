"""Exercises of V1.0: an exit status, a terminal to log in at, and a container that was gone."""

from labkit.notebook.exercises import mishaps, solutions
from labkit.notebook.exercises.answers import WrongError
from labkit.notebook.exercises.broken import Broken, Suspect
from labkit.notebook.exercises.exercise import Exercise, Found, Lesson
from labkit.notebook.exercises.machine import asked, told
from labkit.notebook.exercises.step import Seen, Step
from labkit.text.words import Words

_RAW = {0: 0, 7 << 8: 7, 127 << 8: 127, 9: 137, 15: 143, 0x80 | 11: 139}
"""What waitpid(2) says, and what docker run ends with. 0x80: the kernel has dumped its memory."""


class Status(Exercise):
    """From what the kernel tells a parent to what docker run ends with."""

    title = Words("退出状态", "The exit status")
    task = Words(
        "写一个函数 `status(raw)`：`raw` 是 `os.waitpid` 给出的那个整数，返回 `docker run` 会以几结束。"
        "自己结束的程序，是它的退出状态；被信号 N 杀死的，是 128+N。",
        "Write a function `status(raw)`: `raw` is the integer that `os.waitpid` gives, and it returns "
        "what `docker run` ends with. If the program ended by itself, that is its exit status. If "
        "signal N killed it, it is 128+N.",
    )
    hints = (
        Words(
            "一个整数里有两个数：高 8 位是退出状态，低 7 位是信号，中间一位说内存有没有存下来（core dump）。",
            "There are two numbers in one: the high 8 bits are the exit status, the low 7 the signal. "
            "The bit between says whether memory was saved (core dump).",
        ),
        Words(
            "`os.waitstatus_to_exitcode(raw)` 把信号写成负数；再把负数变成 128+N。",
            "`os.waitstatus_to_exitcode(raw)` writes a signal as a negative number. Make 128+N of it.",
        ),
    )
    model = staticmethod(solutions.status)
    wants_function = True
    why = Words(
        "内核分得清“自己结束”和“被杀”，可是父进程只能把一个 0 到 255 的数传给上一级，所以 shell 约定用 128+N，Docker 照用。"
        "137 多半是内存用尽或者 `docker kill`，143 是 `docker stop`，139 是段错误。",
        "The kernel tells an end from a kill, but a parent can only pass on one number from 0 to 255. So "
        "shells agreed on 128+N, and Docker does the same. 137 is mostly memory that was used up, or "
        "`docker kill`; 143 is `docker stop`; 139 is a segmentation fault.",
    )

    NEGATIVE = (
        Words(
            "被信号杀死的程序，得到的是负数：{given}。",
            "For a program that a signal killed, the answer is negative: {given}.",
        ),
        Words("退出状态没有负数：128+N。", "No exit status is negative. It is 128+N."),
    )
    KILLED_IS_ZERO = (
        Words(
            "被杀死的程序成了“成功”：{raw} 得到 0。",
            "A program that was killed looks like a success: {raw} gives 0.",
        ),
        Words(
            "只看高 8 位，就漏掉了信号；它在低 7 位。",
            "The high 8 bits do not hold the signal. It is in the low 7.",
        ),
    )
    OTHER = (
        Words(
            "{raw} 应当得到 {wanted}，得到的是 {given}。",
            "{raw} should give {wanted}, not {given}.",
        ),
        Words(
            "信号只有低 7 位；第 8 位是 core dump 的标记。",
            "The signal has the low 7 bits only. The eighth marks a core dump.",
        ),
    )

    def judge(self, answer: object) -> Found:
        """Ask about ends of each kind."""
        given = asked(answer, *((raw,) for raw in _RAW))
        lines = [f"{raw:#06x}  ⇒  {said}" for raw, said in zip(_RAW, given, strict=True)]
        evidence = "\n".join(lines)
        for (raw, wanted), said in zip(_RAW.items(), given, strict=True):
            if said == wanted:
                continue
            if isinstance(said, int) and said < 0:
                raise WrongError(self.NEGATIVE, evidence, given=said)
            shown = {"raw": f"{raw:#06x}", "wanted": wanted, "given": said}
            raise WrongError(self.OTHER if said else self.KILLED_IS_ZERO, evidence, **shown)
        return Found(Words("每一种结束都说对了。", "Each kind of end is right."), evidence)


class Login(Step):
    """The terminal of a program."""

    title = Words("登上终端", "Logging in at a terminal")
    task = Words(
        "写一个函数 `login(terminal)`：`terminal` 是伪终端里程序那一头的描述符。让它成为运行这个函数的进程的控制终端，"
        "也成为它的三个标准流。",
        "Write a function `login(terminal)`: `terminal` is the descriptor of the program's end of a "
        "pseudo-terminal. Make it the controlling terminal of the process that runs the function, and "
        "its three standard streams.",
    )
    hints = (
        Words(
            "控制终端属于一个会话（session）；先要有自己的会话，做它的头。",
            "A controlling terminal belongs to a session. First the process has to lead a session of "
            "its own.",
        ),
        Words(
            "`os.setsid()`，`fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)`，再 `os.dup2(terminal, 0)`、1、2。",
            "`os.setsid()`, `fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)`, then `os.dup2(terminal, 0)` "
            "and the same for 1 and 2.",
        ),
    )
    model = staticmethod(solutions.login)
    scene = "login"
    why = Words(
        "有了控制终端，Ctrl-C 才变成 SIGINT，`/dev/tty` 才打得开，终端挂断时才有 SIGHUP。只接上三个流，程序会说 "
        "`can't access tty; job control turned off`。",
        "With a controlling terminal Ctrl-C becomes SIGINT, `/dev/tty` opens, and there is a SIGHUP when "
        "the terminal hangs up. With the three streams alone a shell says `can't access tty; job control "
        "turned off`.",
    )

    NO_SESSION = (
        Words(
            "进程不是会话的头，做不了终端的主人。",
            "The process leads no session, so it can own no terminal.",
        ),
        Words("先 `os.setsid()`。", "First `os.setsid()`."),
    )
    NO_CONTROL = (
        Words(
            "有了自己的会话，可是没有控制终端：`/dev/tty` 打不开。",
            "It has a session, but no controlling terminal: `/dev/tty` does not open.",
        ),
        Words(
            "会话要向终端声明：`TIOCSCTTY`。", "The session has to claim the terminal: `TIOCSCTTY`."
        ),
    )
    NO_STREAMS = (
        Words(
            "终端是它的了，可是接在终端上的标准流只有 {streams}。",
            "The terminal is its own, but of the standard streams only {streams} are on it.",
        ),
        Words(
            "0、1、2 都要：`os.dup2(terminal, fd)`。",
            "It takes 0, 1 and 2: `os.dup2(terminal, fd)`.",
        ),
    )

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """Look at the session, the terminal and the streams."""
        evidence = told(seen, *(f"{name:9} {inner[name]}" for name in inner))
        if not inner["leads"]:
            raise WrongError(self.NO_SESSION, evidence)
        if not inner["controls"]:
            raise WrongError(self.NO_CONTROL, evidence)
        if len(inner["streams"]) < 3:
            streams = ", ".join(map(str, inner["streams"])) or "-"
            raise WrongError(self.NO_STREAMS, evidence, streams=streams)
        return Found(Words("它登上了自己的终端。", "It has logged in at its terminal."), evidence)


class Gone(Broken):
    """A container that exits at once."""

    title = Words("诊断：一启动就没了", "Diagnose: gone as soon as it was started")
    symptom = Words(
        "镜像的入口程序是 `entrypoint`：照着老习惯，它让服务到后台去（fork、setsid），自己就返回了。容器一启动就是 "
        "`Exited (0)`，没有报错，日志是空的，服务不应答。",
        "The entry point of an image is `entrypoint`. By an old custom it sends the server to the "
        "background (fork, setsid) and returns. As soon as the container is started, it is "
        "`Exited (0)`. There is no error, the log is empty, and the server does not answer.",
    )
    task = Words(
        "找出原因，改好 `entrypoint(server)`：容器要一直运行，服务要应答，`docker stop` 一发 SIGTERM 就要自己结束。`server()` "
        "是那个服务，不返回，收到 SIGTERM 会自己收拾好。",
        "Find the cause and mend `entrypoint(server)`: the container is to go on, the server is to answer, "
        "and on the SIGTERM of `docker stop` it is to end by itself. `server()` is the server. It does not "
        "return, and on SIGTERM it tidies up and ends.",
    )
    hints = (
        Words(
            "退出状态是 0，可见没有谁出错。容器什么时候算结束？",
            "The exit status is 0, so nothing failed. When is a container at its end?",
        ),
        Words(
            "1 号进程结束，内核就把里面的全杀掉。让 1 号就是服务：`server()`，不要 fork。",
            "When PID 1 ends, the kernel kills all others. Let PID 1 be the server: `server()`, without "
            "a fork.",
        ),
    )
    model = staticmethod(solutions.entrypoint)
    broken = staticmethod(mishaps.entrypoint)
    scene = "gone"
    why = Words(
        "容器就是它的 1 号进程。所以镜像里的服务都在前台运行：`nginx -g 'daemon off;'`。写成 `CMD service nginx start`，"
        "命令一做完，容器就没了。让 shell 做 1 号等着也不好：它不转发 SIGTERM，`docker stop` 要等十秒再杀。"
        "所以入口脚本的最后一行写 `exec`。",
        "A container is its PID 1. So in an image a server runs in the foreground: `nginx -g 'daemon off;'`. "
        "With `CMD service nginx start`, the container is gone as soon as the command is done. A shell "
        "that waits as PID 1 is no good either: it does not pass SIGTERM on, and `docker stop` waits ten "
        "seconds and kills it. So the last line of an entry script says `exec`.",
    )

    GONE = (
        Words("容器还是一启动就结束。", "The container still ends as soon as it is started."),
        Words("`entrypoint` 返回，1 号就结束了。", "When `entrypoint` returns, PID 1 ends."),
    )
    SILENT = (
        Words("容器在运行，服务却不应答。", "The container runs, but the server does not answer."),
        Words("没有人调用 `server()`。", "Nobody calls `server()`."),
    )
    DEAF = (
        Words(
            "服务应答了，可是 SIGTERM 没有用：只好用 SIGKILL 杀掉。",
            "The server answers, but SIGTERM does nothing: it had to be killed by SIGKILL.",
        ),
        Words(
            "1 号没有装处理函数，内核就丢掉 SIGTERM。别等孩子，自己做服务。",
            "PID 1 has no handler, so the kernel drops SIGTERM. Do not wait for a child; be the server.",
        ),
    )
    NO_HANGUP = (
        Words(
            "检查让服务不理 SIGHUP，容器还是一启动就结束。",
            "The check had the server ignore SIGHUP. The container still ends at once.",
        ),
        Words("没有谁挂断它：杀它的是 SIGKILL。", "Nobody hung up. It was killed by SIGKILL."),
    )
    NO_FORK = (
        Words(
            "检查多 fork 了一次，容器还是一启动就结束。",
            "The check forked once more. The container still ends at once.",
        ),
        Words(
            "离得再远，也还在同一个 PID 命名空间里。",
            "However far away, it is in the same PID namespace.",
        ),
    )
    NO_INPUT = (
        Words(
            "检查给了服务一个读不完的标准输入，容器还是一启动就结束。",
            "The check gave the server a standard input without end. The container still ends at once.",
        ),
        Words("服务不读标准输入。", "The server does not read standard input."),
    )

    suspects = (
        Suspect(
            Words(
                "终端挂断，SIGHUP 杀了服务。", "The terminal hung up, and SIGHUP killed the server."
            ),
            mishaps.entrypoint_without_hangup,
            NO_HANGUP,
        ),
        Suspect(
            Words(
                "只 fork 一次，服务还不算真正的守护进程。",
                "After one fork the server is not a true daemon yet.",
            ),
            mishaps.entrypoint_forked_twice,
            NO_FORK,
        ),
        Suspect(
            Words(
                "没有 `-i`，服务读到输入的结尾就退出了。",
                "Without `-i` the server came to the end of its input, and ended.",
            ),
            mishaps.entrypoint_with_input,
            NO_INPUT,
        ),
        Suspect(
            Words(
                "1 号进程结束了，内核把其余的都杀掉。",
                "PID 1 has ended, and the kernel kills all others.",
            ),
            solutions.entrypoint,
        ),
    )

    def facts(self, seen: Seen, inner: Seen) -> tuple[str, ...]:  # noqa: ARG002 - one sees all
        """What one sees from outside."""
        words = (
            ("status", "Up" if inner["lives"] else "Exited (0)"),
            ("request", "answered" if inner["answered"] else "no answer"),
            ("stop", _STOPPED[inner["stopped"] if inner["lives"] else None]),
        )
        return tuple(f"{name:8} {said}" for name, said in words)

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """It is to run, to answer, and to end when it is asked to."""
        evidence = told(seen, *self.facts(seen, inner))
        if not inner["lives"]:
            raise WrongError(self.GONE, evidence)
        if not inner["answered"]:
            raise WrongError(self.SILENT, evidence)
        if not inner["stopped"]:
            raise WrongError(self.DEAF, evidence)
        return Found(
            Words("它在运行，会应答，也停得下来。", "It runs, answers, and stops."), evidence
        )


_STOPPED = {True: "SIGTERM", False: "SIGKILL", None: "-"}


class Ex10(Lesson):
    """V1.0: that line."""

    title = "v1.0"
    status = Status()
    login = Login()
    gone = Gone()
