"""Exercises of V0.1: words, ends, inodes, and nothing isolated."""

import contextlib
import os
import signal
import time
from dataclasses import replace

from labkit.container.container import Container
from labkit.engine.client import run, start
from labkit.engine.running import Running
from labkit.linux.flags import CLONE_NEWPID, CLONE_NEWUTS
from labkit.linux.namespaces import inodes
from labkit.notebook.exercises import solutions
from labkit.notebook.exercises.answers import (
    SECONDS,
    WrongError,
    box_of,
    ran,
    too_long,
)
from labkit.notebook.exercises.exercise import Exercise, Found, Lesson
from labkit.notebook.exercises.machine import asked
from labkit.text.words import Words

_LINE = """sh -c 'sleep 1000; true' "my container\""""


class Argv(Exercise):
    """From a line of shell to the words that execve takes."""

    title = Words("一行话，几个词", "A line and its words")
    task = Words(
        f"在 shell 里敲 `{_LINE}`，会启动一个进程。写一个 Container，启动一模一样的进程；"
        "词由你自己切，不另请一个 shell。检查把它启动起来，到 `/proc/PID/cmdline` 里读内核收到了哪几个词，"
        "再与真正的 shell 切出来的比较。",
        f"In a shell, `{_LINE}` starts a process. Write a Container that starts the very same one; "
        "cut the words yourself, without another shell. The check starts it, reads in "
        "`/proc/PID/cmdline` which words the kernel was given, and compares them with those that a "
        "real shell makes of the line.",
    )
    hints = (
        Words(
            "内核收到的是一串词，不是一句话。shell 认得的符号，哪些会传给内核，哪些不会？",
            "The kernel gets a row of words, not a sentence. Which of its special characters "
            "does a shell pass on, and which not?",
        ),
        Words(
            f"一共四个词；`shlex.split` 像 shell 那样切词：试试 `shlex.split({_LINE!r})`。",
            "There are four words; `shlex.split` cuts as a shell does: try "
            f"`shlex.split({_LINE!r})`.",
        ),
    )
    model = staticmethod(solutions.argv)
    why = Words(
        "引号是写给 shell 看的：它据此知道 `sleep 1000; true` 是一个词。切完词，引号就没有用了。"
        "第四个词成了里面那个 shell 的 `$0`。",
        "Quotes are for the shell: they say that `sleep 1000; true` is one word. After the "
        "words are cut, the quotes are not needed. The fourth word becomes the inner shell's "
        "`$0`.",
    )

    QUOTES = (
        Words(
            "引号也进了词里：内核收到的词带着引号。",
            "The quotes are still there: the kernel was given words with quotes in them.",
        ),
        Words(
            "shell 用完引号就丢掉；Python 的引号只负责写出字符串。一个词只套一层。",
            "A shell removes its quotes after it has used them. Python's quotes only mark the "
            "string. Use one pair for each word.",
        ),
    )
    NO_PROGRAM = (
        Words(
            "没有叫 `{program}` 的程序：内核把第 0 个词整个当作它的名字。",
            "There is no program called `{program}`: to the kernel, all of word 0 is its name.",
        ),
        Words(
            "第 0 个词是程序的名字，它后面的每个参数各是一个词。",
            "Word 0 is the program's name, and each argument after it is a separate word.",
        ),
    )
    SHELL = (
        Words(
            "你的 Container 另请了一个 shell 来切词：内核先收到的是整句话。",
            "Your Container uses another shell to cut the words: first the kernel was given the "
            "whole sentence.",
        ),
        Words(
            "让 argv 直接就是 shell 切出来的那几个词。",
            "Let argv be exactly the words that the shell makes.",
        ),
    )
    WORD = (
        Words(
            "词数对了，第 {number} 个词（从 0 数起）不一样：shell 切出的是 `{theirs}`，你的是 `{yours}`。",
            "The count is right. Word {number} (counted from 0) differs: the shell makes "
            "`{theirs}`, you have `{yours}`.",
        ),
        Words(
            "一字不差：空格、标点都算；第 0 个词是敲下的名字，不是程序的路径。",
            "Every character counts, spaces and punctuation too. Word 0 is the name as it was "
            "typed, not the program's path.",
        ),
    )
    OTHER = (
        Words(
            "词不一样：shell 切出 {wanted} 个，你的有 {count} 个。",
            "The words differ: the shell makes {wanted}, you have {count}.",
        ),
        Words(
            "单引号、双引号里的空格都不切词，分号在引号里也只是一个字符。",
            "A space inside quotes, single or double, does not cut. A semicolon there is an "
            "ordinary character.",
        ),
    )

    def judge(self, answer: object) -> Found:
        """Compare /proc/PID/cmdline of the learner's process and of the shell's."""
        with start(Container(argv=("sh", "-c", f"exec {_LINE}"))) as shell:
            wanted = _words_after_exec(shell)
        with start(box_of(answer)) as box:
            # It may have ended already: then what execve was given.
            words = _words(box.pid) or list(box.box.argv)
            if words == wanted:  # a shell may have become it meanwhile
                words = list(box.box.argv)
            if "ENOENT" in box.trace[-1]:
                raise WrongError(self.NO_PROGRAM, box.trace[-1], program=words[0])
        evidence = "\n".join([f"shell    {wanted}", f"{Words('你', 'you', ' '):<8} {words}"])
        if words == wanted:
            return Found(
                Words(
                    "内核收到的词与 shell 切出来的一个不差。",
                    "The kernel was given exactly the words that the shell makes.",
                ),
                evidence,
            )
        raise self._different(words, wanted, evidence)

    def _different(self, words: list[str], wanted: list[str], evidence: str) -> WrongError:
        if any(word[:1] in ("'", '"') for word in words):
            return WrongError(self.QUOTES, evidence)
        if words[1:2] == ["-c"] and words[2:3] and wanted[2] in words[2] and "'" in words[2]:
            return WrongError(self.SHELL, evidence)
        if len(words) != len(wanted):
            return WrongError(self.OTHER, evidence, wanted=len(wanted), count=len(words))
        number = next(n for n, word in enumerate(words) if word != wanted[n])
        values = {"theirs": wanted[number], "yours": words[number]}
        return WrongError(self.WORD, evidence, number=number, **values)


def _words(pid: int) -> list[str]:
    """The words that process `pid` was given, empty when it has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", errors="replace") as file:
        return file.read().split("\0")[:-1]
    return []


def _words_after_exec(shell: Running) -> list[str]:
    """Those of the program that `shell` becomes."""
    deadline = time.monotonic() + SECONDS
    # Between the two programs, while execve(2) is at work, it has no words at all.
    while (words := _words(shell.pid)) in ([], list(shell.box.argv)):
        if time.monotonic() > deadline:
            raise too_long()
        time.sleep(0.005)
    return words


class Killed(Exercise):
    """An exit status and an end by signal are two things."""

    title = Words("两种结局", "Two ways to end")
    task = Words(
        "写一个 Container，它的程序被 SIGTERM（15 号信号）杀死，于是 `run(box).returncode` 是 -15。"
        "143 不算：那是 shell 的记法。",
        "Write a Container whose program is killed by SIGTERM (signal 15), so that "
        "`run(box).returncode` is -15. 143 does not count: that is how a shell writes it.",
    )
    hints = (
        Words(
            "退出状态是程序自己交的，信号是别人送的。谁来送这个信号？程序也可以送给自己。",
            "A program sets its exit status itself, but somebody sends it a signal. Who should "
            "send this one? A program can send a signal to itself.",
        ),
        Words(
            'shell 里 `kill -TERM 进程号` 送信号，`$$` 是 shell 自己的进程号：`("sh", "-c", ...)`。',
            "In a shell, `kill -TERM PID` sends the signal, and `$$` is the shell's own PID: "
            '`("sh", "-c", ...)`.',
        ),
    )
    model = staticmethod(solutions.killed)
    why = Words(
        "`wait` 告诉父进程的是两件不同的事之一：自己结束的，带着 0 到 255 的退出状态；"
        "被信号杀死的，带着信号的号码。shell 只有一个 `$?`，才把后一种写成 128 加号码。",
        "`wait` tells a parent one of two things. The child ended by itself, with an exit "
        "status from 0 to 255. Or a signal killed it, and the parent gets the signal's number. "
        "A shell has only `$?`, so it writes the second as 128 plus the number.",
    )

    STATUS_143 = (
        Words(
            "程序是自己结束的，退出状态 143。数目像，事情不同：没有信号送到它自己。",
            "The program ended by itself, with exit status 143. The number is the same, but the "
            "event is not: it got no signal.",
        ),
        Words(
            "不要 `exit`，要 `kill`，而且送给程序自己（`$$`），不是它的孩子。",
            "Use `kill`, not `exit`, and send the signal to the program itself (`$$`), not to a "
            "child.",
        ),
    )
    BY_ITSELF = (
        Words(
            "程序是自己结束的，退出状态 {status}。",
            "The program ended by itself, with exit status {status}.",
        ),
        Words(
            "让 shell 用 `kill` 给自己（`$$`）送信号。",
            "Let a shell send itself (`$$`) a signal with `kill`.",
        ),
    )
    OTHER_SIGNAL = (
        Words(
            "杀死它的是 {signal}，不是 SIGTERM。",
            "{signal} killed it, not SIGTERM.",
        ),
        Words(
            "`kill` 的选项可以是名字 `-TERM`，也可以是号码 `-15`。",
            "`kill` takes the name, `-TERM`, or the number, `-15`.",
        ),
    )

    def judge(self, answer: object) -> Found:
        """Run it and see how it ended."""
        status = ran(answer).returncode
        if status == 128 + signal.SIGTERM:
            raise WrongError(self.STATUS_143)
        if status >= 0:
            raise WrongError(self.BY_ITSELF, status=status)
        if status != -signal.SIGTERM:
            raise WrongError(self.OTHER_SIGNAL, signal=signal.Signals(-status).name)
        return Found(
            Words(
                "`returncode` 是 -15：杀死它的是 15 号信号，不是它自己。",
                "`returncode` is -15: signal 15 ended it, not the program itself.",
            ),
        )


class Inode(Exercise):
    """Where a process lives, read with one's own hands."""

    title = Words("住在哪里", "Where it lives")
    task = Words(
        "不用 labkit，写一个函数 `inode(pid, kind)`：返回进程 `pid` 的 `kind` 命名空间的 inode 号，"
        '例如 `inode(1, "uts")`。检查会拿它问两个进程，八种命名空间都问到。',
        "Without labkit, write a function `inode(pid, kind)` that returns the inode number of the "
        'namespace `kind` of process `pid`, as in `inode(1, "uts")`. The check asks it about two '
        "processes and all eight kinds.",
    )
    hints = (
        Words(
            "`/proc/PID/ns` 里的每一项是一个链接。要的是链接指向的东西，还是链接自己？",
            "Each entry of `/proc/PID/ns` is a link. Do you need the link itself, or the file "
            "that it leads to?",
        ),
        lambda: Words(
            "`os.stat(路径).st_ino` 跟着链接走到底，给出的就是那个号；或者从 `os.readlink` 的文字里取，"
            f"例如 `{os.readlink('/proc/self/ns/uts')}`。",
            "`os.stat(path).st_ino` follows the link to its end and gives the number; or take it "
            f"from the text of `os.readlink`, such as `{os.readlink('/proc/self/ns/uts')}`.",
        ),
    )
    model = staticmethod(solutions.inode)
    why = Words(
        "命名空间没有名字，只有 inode 号。号码相同，就住在同一个命名空间里："
        "判断隔离与否，归根到底就是比较这样的两个数。",
        "A namespace has no name, only an inode number. The same number means the same "
        "namespace: to see whether two processes are isolated, compare two such numbers.",
    )
    wants_function = True

    TEXT = (
        Words(
            "你的函数返回了 {kind}：{given}。要的是一个整数。",
            "Your function returned {kind}: {given}. The check wants a whole number.",
        ),
        Words(
            "从方括号里取出数字，再用 `int` 变成数；或者改用 `os.stat(...).st_ino`。",
            "Take the digits out of the brackets and make them an `int`; or use "
            "`os.stat(...).st_ino`.",
        ),
    )
    THE_LINK = (
        Words(
            "那是链接自己在 `/proc` 里的号，不是它指向的命名空间的号。",
            "That is the link's own number in `/proc`, not the number of the namespace that it "
            "leads to.",
        ),
        Words(
            "`os.lstat` 看链接本身，`os.stat` 跟着链接走。",
            "`os.lstat` looks at the link itself, `os.stat` follows it.",
        ),
    )
    OURS = (
        Words(
            "对笔记本自己答对了；对容器，你答的却还是笔记本的 `{name}` 号。",
            "This is right for the notebook itself. But for the container you still return the "
            "notebook's `{name}`.",
        ),
        Words(
            "`self` 永远指读它的那个进程；请用参数 `pid`。",
            "`self` always means the process that reads it; use the argument `pid`.",
        ),
    )
    OTHER = (
        Words(
            "`{name}` 不对：你答的是 {given}，`/proc` 里是 {real}。",
            "`{name}` is wrong: your function says {given}, but `/proc` says {real}.",
        ),
        Words(
            "两个参数都用上了吗？路径是 `/proc/PID/ns/KIND`。",
            "Do you use both arguments? The path is `/proc/PID/ns/KIND`.",
        ),
    )

    def judge(self, answer: object) -> Found:
        """Ask about this process and about a container with a namespace of its own."""
        with _elsewhere() as box:
            questions = [(pid, name) for pid in (os.getpid(), box.pid) for name in inodes()]
            for (pid, name), given in zip(questions, asked(answer, *questions), strict=True):
                self._compare(pid, name, given)
        return Found(
            Words(
                "两个进程、每一种命名空间都答对了。",
                "Right for both processes and every kind of namespace.",
            ),
        )

    def _compare(self, pid: int, name: str, given: object) -> None:
        path = f"/proc/{pid}/ns/{name}"
        real = os.stat(path).st_ino
        if given == real:
            return
        if not isinstance(given, int):
            raise WrongError(self.TEXT, kind=type(given).__name__, given=given)
        if given == os.lstat(path).st_ino:
            raise WrongError(self.THE_LINK)
        if given == os.stat(f"/proc/self/ns/{name}").st_ino:
            raise WrongError(self.OURS, name=name)
        raise WrongError(self.OTHER, name=name, given=given, real=real)


def _elsewhere() -> Running:
    """A container in another UTS namespace; in ours, where this machine allows no other."""
    box = Container(argv=("sleep", "1000"))
    try:
        return start(replace(box, cloneflags=CLONE_NEWUTS))
    except PermissionError:
        return start(box)


class Reach(Exercise):
    """Without a PID namespace, a container can end the host's processes."""

    title = Words("够得着", "Within reach")
    task = Words(
        "V0.1 什么也没有隔离。证明给人看：写一个函数 `reach(pid)`，返回一个 Container，"
        "它一运行，外面的进程 `pid` 就被结束。检查会备好一个外面的进程，运行你的容器，看它是否还活着；"
        "再加上 `CLONE_NEWPID` 重来一遍。",
        "V0.1 isolates nothing. Prove it: write a function `reach(pid)` that returns a "
        "Container which, when it is run, ends process `pid` outside. The check starts a "
        "process outside, runs your container, and looks whether the process still lives. Then "
        "it does the same with `CLONE_NEWPID`.",
    )
    hints = (
        Words(
            "容器用的是外面那一套进程号，所以每个进程它都指得着。用什么程序给一个进程送信号？",
            "A container that sees the PIDs outside can name any process there. Which program "
            "sends a signal to a process?",
        ),
        Words(
            '`Container(argv=("kill", "-TERM", ...))`；argv 里的词都是字符串，进程号要写成 `str(pid)`。',
            '`Container(argv=("kill", "-TERM", ...))`; the words of argv are text, so the PID is '
            "`str(pid)`.",
        ),
    )
    model = staticmethod(solutions.reach)
    why = Words(
        "进程号只有一套时，知道号码就够得着（只要权限够）。有了 PID 命名空间，里面根本没有外面的号码："
        "不是不许，是叫不出。这就是隔离。",
        "With one set of PIDs, anybody who knows the number can reach the process (if "
        "permissions allow it). In a PID namespace, processes outside have no numbers. To reach "
        "them is not forbidden; they simply cannot be named. That is isolation.",
    )
    wants_function = True

    BY_HAND = (
        Words(
            "进程结束了，可动手的是你的函数，不是容器：容器还没有运行。",
            "The process ended, but your function did it, not a container: no container had "
            "been run yet.",
        ),
        Words(
            "函数只造一个 Container 并返回，别的什么也不做。",
            "In the function, only make a Container and return it.",
        ),
    )
    LIVES = (
        Words(
            "容器结束了（退出状态 {status}），外面的进程还活着。",
            "The container has ended (exit status {status}), but the process outside is alive.",
        ),
        Words(
            "看看 `run(reach(pid)).stderr` 说了什么。信号送对了进程吗？那个信号会不会结束它？",
            "See what `run(reach(pid)).stderr` says. Did the signal go to the right process? "
            "Does this signal end it?",
        ),
    )
    ISOLATED = (
        Words(
            "容器在新的 PID 命名空间里，外面的进程在那里没有号码，所以还活着。",
            "The container is in a new PID namespace, where the process outside has no number. "
            "So it is still alive.",
        ),
        Words(
            "这正是 V0.4 的隔离。V0.1 里不要打开 `cloneflags`。",
            "That is the isolation of V0.4. In V0.1, leave `cloneflags` off.",
        ),
    )

    def judge(self, answer: object) -> Found:
        """Run it against a process outside; then with a PID namespace against another."""
        with start(Container(argv=("sleep", "1000"))) as victim:
            box = box_of(*asked(answer, (victim.pid,)))
            if not _lives(victim, 0.05):
                raise WrongError(self.BY_HAND)
            done = ran(box)
            if _lives(victim, 1):
                isolated = box.cloneflags & CLONE_NEWPID
                diagnosis = self.ISOLATED if isolated else self.LIVES
                raise WrongError(diagnosis, done.stderr, status=done.returncode)
        again = _isolated(answer)
        return Found(
            Words(
                "外面的进程被容器结束了：V0.1 的容器与宿主机同用一套进程号。",
                "The container ended the process outside: a container of V0.1 shares the host's "
                "PIDs.",
            ),
            again,
        )


def _isolated(answer: object) -> str:
    """The same in a new PID namespace, as a line; empty where this machine allows none."""
    with start(Container(argv=("sleep", "1000"))) as victim:
        box = box_of(*asked(answer, (victim.pid,)))
        try:
            run(replace(box, cloneflags=box.cloneflags | CLONE_NEWPID), timeout=SECONDS)
        except OSError:
            return ""
        alive, ended = Words("还活着", "alive", " "), Words("也结束了", "ended", " ")
        return f"CLONE_NEWPID: {alive if _lives(victim, 0.1) else ended}"


def _lives(box: Running, seconds: float) -> bool:
    """Whether `box` is still running after so long."""
    try:
        box.wait(seconds)
    except TimeoutError:
        return True
    return False


class Ex01(Lesson):
    """V0.1: running a program."""

    title = "v0.1"
    argv = Argv()
    killed = Killed()
    inode = Inode()
    reach = Reach()
