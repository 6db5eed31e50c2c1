"""Exercises of V0.0: one kernel, ordinary processes, layers."""

import os

from labkit.container.container import Container
from labkit.engine.client import start
from labkit.linux.proc import stat
from labkit.notebook.exercises import solutions
from labkit.notebook.exercises.answers import WrongError, ran
from labkit.notebook.exercises.exercise import Exercise, Found, Lesson
from labkit.notebook.exercises.machine import asked, told
from labkit.notebook.exercises.step import Seen, Step
from labkit.text.words import Words

_ABOVE = (
    Words("引擎", "engine", " "),
    Words("看守", "keeper", " "),
    Words("笔记本进程", "notebook's process", " "),
)
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Kernels(Exercise):
    """How many kernels are at work under three containers."""

    title = Words("几个内核", "How many kernels")
    task = Words(
        "三个容器正在运行。连同它们，这台机器上一共有几个内核在工作？交一个数。"
        f"检查会启动三个容器，各读一次 `{_BOOT_ID}`：内核每启动一次，就换一个新的。",
        "Three containers are running. How many kernels are at work on this machine, theirs "
        "included? Hand in a number. The check starts three containers, and each reads "
        f"`{_BOOT_ID}`, which is new every time a kernel boots.",
    )
    hints = (
        Words(
            "一台虚拟机里是一整套系统，一个容器里是一个进程。进程自己带着内核吗？",
            "A virtual machine contains a whole system. A container contains a process. Does a "
            "process bring its own kernel?",
        ),
        Words(
            f'运行 `run(Container(argv=("cat", "{_BOOT_ID}"))).stdout` 几次，'
            f'再读一读外面的 `open("{_BOOT_ID}").read()`，数一数有几个不同的。',
            f'Run `run(Container(argv=("cat", "{_BOOT_ID}"))).stdout` a few times, then read '
            f'`open("{_BOOT_ID}").read()` out here, and count how many differ.',
        ),
    )
    model = staticmethod(solutions.kernels)
    why = Words(
        "虚拟技术是系统颗粒度，容器技术是进程颗粒度：三台虚拟机各启动一个内核，三个容器却只是三个进程，"
        "用的都是宿主机的那一个。所以容器启动得快、占得少，也所以内核若有漏洞，人人有份。",
        "Virtual machines are whole systems, and containers are processes. Three virtual "
        "machines boot a kernel each. Three containers are three processes and use the host's "
        "kernel. That makes them quick and small. But a security hole in this kernel is a hole "
        "for all of them.",
    )

    TOO_MANY = (
        Words(
            "你答的是 {answer}。宿主机和三个容器读到的 `boot_id` 只有 {real} 种。"
            "各有各的内核，那是虚拟机。",
            "You say {answer}. The host and the three containers read {real} different "
            "`boot_id`. Virtual machines have a kernel each.",
        ),
        Words(
            "看结果里的那几行：四处读到的是不是同一个？",
            "Look at the lines it shows: was it the same in all four places?",
        ),
    )
    TOO_FEW = (
        Words(
            "你答的是 {answer}。总得有一个内核：容器里的程序也要有人替它读出 `boot_id`。",
            "You say {answer}. There must be a kernel: something read `boot_id` for the "
            "programs in the containers.",
        ),
        Words(
            "宿主机的内核算不算？容器里的程序，系统调用是向谁提的？",
            "Does the host's own kernel count? Which kernel answers the system calls of the "
            "programs in the containers?",
        ),
    )
    NO_NUMBER = (
        Words("要的是一个整数，收到的是 {kind}。", "The check wants a whole number, not {kind}."),
    )

    def judge(self, answer: object) -> Found:
        """Compare with what host and containers read."""
        if isinstance(answer, bool) or not isinstance(answer, int):
            raise WrongError(self.NO_NUMBER, kind=type(answer).__name__)
        with open(_BOOT_ID) as file:
            read = [file.read()]
        read += [ran(Container(argv=("cat", _BOOT_ID))).stdout for _ in range(3)]
        same, another = Words("相同", "the same", " "), Words("不同", "another", " ")
        words = [same if each == read[0] else another for each in read[1:]]
        name = Words("容器", "container", " ")
        lines = "\n".join(f"{name} {n}: {word}" for n, word in enumerate(words, 1))
        real = len(set(read))
        if answer != real:
            diagnosis = self.TOO_MANY if answer > real else self.TOO_FEW
            raise WrongError(diagnosis, lines, answer=answer, real=real)
        return Found(
            Words(
                "三个容器读到的 `boot_id` 都与宿主机的相同：只有一个内核，大家共用。",
                "All three containers read the host's `boot_id`: one kernel, shared by all.",
            ),
            lines,
        )


class Parent(Exercise):
    """Who made a container's process."""

    title = Words("谁生了它", "Who made it")
    task = Words(
        "写一个函数 `parent(pid)`，从 `/proc` 里读出进程 `pid` 的父进程号并返回。"
        "检查会启动一个容器，用你的函数问：是谁生了它？",
        "Write a function `parent(pid)` that reads the PID of the parent of process `pid` from "
        "`/proc` and returns it. The check starts a container and asks your function who made it.",
    )
    hints = (
        Words(
            "容器是一个普通的进程，它的一切都写在 `/proc/PID` 这个目录里。",
            "A container is an ordinary process. The directory `/proc/PID` describes it.",
        ),
        Words(
            "`/proc/PID/status` 里有一行以 `PPid:` 开头；把后面的数变成 `int` 返回。",
            "`/proc/PID/status` has a line that begins with `PPid:`; return the number that "
            "follows, as an `int`.",
        ),
    )
    model = staticmethod(solutions.parent)
    why = Words(
        "笔记本进程只提出请求，真正生出容器的是引擎，所以容器的父进程是引擎。"
        "Docker 也是如此：容器的父进程是 containerd-shim，不是你敲的 `docker`。",
        "The notebook's process only asks. The engine makes the container, so the engine is its "
        "parent. Docker does the same: a container's parent is containerd-shim, not your "
        "`docker`.",
    )
    wants_function = True

    NOT_AN_INT = (
        Words(
            "你的函数返回了 {kind}，而进程号是一个整数。",
            "Your function returned {kind}; a PID is a whole number.",
        ),
        Words(
            "用 `int(...)` 把读到的文字变成数。",
            "`int(...)` makes a number from the text that you read.",
        ),
    )
    ITSELF = (
        Words(
            "那是 `pid` 自己，不是它的父进程。",
            "That is `pid` itself, not its parent.",
        ),
        Words(
            "`status` 里，`Pid:` 是自己，`PPid:` 才是父进程。",
            "In `status`, `Pid:` is the process and `PPid:` its parent.",
        ),
    )
    THE_KERNEL = (
        Words(
            "那是笔记本进程。它只提出请求；容器的父进程另有其人。",
            "That is the notebook's process. It only asked. The container's parent is another "
            "process.",
        ),
        Words(
            "到 `/proc` 里去问 `pid` 这个进程。",
            "Ask in `/proc` about the process `pid`.",
        ),
    )
    OTHER = (
        Words(
            "检查问了两个进程，`/proc` 里写的与你的函数答的不全一样。",
            "The check asked about two processes. For at least one of them, your function and "
            "`/proc` do not agree.",
        ),
        Words(
            "函数里有没有用到参数 `pid`？`os.getppid()` 说的是运行这个函数的进程自己。",
            "Does the function use its argument `pid`? `os.getppid()` is about the process that "
            "runs the function.",
        ),
    )

    def judge(self, answer: object) -> Found:
        """Ask about a container and about this process; compare with /proc/PID/stat."""
        with start(Container(argv=("sleep", "1000"))) as box:
            given, ours = asked(answer, (box.pid,), (os.getpid(),))
            real = stat(box.pid).ppid
            client = stat(stat(real).ppid).ppid  # between the two is the engine's keeper
        if not isinstance(given, int):
            raise WrongError(self.NOT_AN_INT, kind=type(given).__name__)
        if given == box.pid:
            raise WrongError(self.ITSELF)
        if given == os.getpid():
            raise WrongError(self.THE_KERNEL)
        if (given, ours) != (real, os.getppid()):
            raise WrongError(self.OTHER)
        return Found(
            Words(
                "容器的父进程是引擎；你的函数对别的进程也答对了。",
                "The container's parent is the engine. Your function is also right about other "
                "processes.",
            ),
            "  ←  ".join(["sleep", *map(str, _ABOVE[: 3 if client == os.getpid() else 1])]),
        )


class Layers(Step):
    """Copy-on-write, seen from above, from below and from between."""

    title = Words("两层文件", "Two layers")
    task = Words(
        "容器的文件由两层叠成：下层是镜像，只读；上层归容器，可写。"
        "写一个函数 `change(root)`，`root` 是叠好之后的目录：删掉其中的 `secret.txt`，"
        "再在 `hello.txt` 末尾添一行 `mine`。检查在一台用完即弃的机器里叠好两层，运行你的函数，"
        "再到两层里分头去看：镜像变了没有？上层多了什么？",
        "A container sees two layers as one directory: below is the image, which is read-only, "
        "and above it is a layer that the container may write to. Write a function "
        "`change(root)`, where `root` is this directory. Delete its `secret.txt` and append a "
        "line `mine` to its `hello.txt`. The check stacks the layers in a machine that is "
        "thrown away, runs your function and looks into each layer. Has the image changed? What "
        "is new above it?",
    )
    hints = (
        Words(
            "在容器里，它们就是普通的文件：平时怎么删、怎么写，现在就怎么做。",
            "Inside the container they are ordinary files. Delete and write them as usual.",
        ),
        Words(
            '`os.remove(f"{root}/secret.txt")`；再用 `open(f"{root}/hello.txt", "a")` 写一行。',
            '`os.remove(f"{root}/secret.txt")`; then write a line with '
            '`open(f"{root}/hello.txt", "a")`.',
        ),
    )
    model = staticmethod(solutions.change)
    scene = "layers"
    why = Words(
        "写时复制：`hello.txt` 一经改动，就有了一份副本放在上层，把下面的盖住。删除则是在上层放一个"
        "同名的 whiteout（一个 0:0 的字符设备）：镜像里的文件还在，只是被遮住了。"
        "所以一个镜像能同时给许多容器用。",
        "Copy-on-write: when `hello.txt` changes, the upper layer gets a copy of it, which "
        "covers the one below. When a file is deleted, the upper layer gets a whiteout of the "
        "same name (a character device 0:0). The image's file is still there, but it is hidden. "
        "So one image can serve many containers at once.",
    )

    IMAGE = (
        Words(
            "你的函数改动了镜像本身：用这个镜像的所有容器都会受影响。",
            "Your function changed the image itself: every container that uses it is affected.",
        ),
        Words("只在 `root` 下面操作。", "Work under `root` only."),
    )
    STILL_THERE = (
        Words(
            "`secret.txt` 在容器里还看得见。",
            "`secret.txt` can still be seen in the container.",
        ),
        Words("Python 里删除一个文件用 `os.remove`。", "Python deletes a file with `os.remove`."),
    )
    NO_LINE = (
        Words(
            "`secret.txt` 删掉了；可是容器里的 `hello.txt` 不是原来那行加上 `mine`。",
            "`secret.txt` is deleted. But the container's `hello.txt` is not the old line "
            "followed by `mine`.",
        ),
        Words(
            '打开方式 `"w"` 会先清空文件，`"a"` 才是在末尾添；别忘了换行符。',
            'Mode `"w"` empties the file first, `"a"` appends. Do not forget the newline.',
        ),
    )

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """Look into the image, the upper layer and the two as one."""
        evidence = told(seen, *(f"{n:<11}{seen[n]}" for n in ("image", "upper", "container")))
        if seen["image"] != {"hello.txt": "hello\n", "secret.txt": "42\n"}:
            raise WrongError(self.IMAGE, evidence)
        if "secret.txt" in inner["files"]:
            raise WrongError(self.STILL_THERE, evidence)
        if inner["files"].get("hello.txt") != "hello\nmine\n":
            raise WrongError(self.NO_LINE, evidence)
        return Found(
            Words(
                "容器里变了，镜像一个字节也没有变。上层里有一份改过的 `hello.txt`，"
                "和一个遮住 `secret.txt` 的 whiteout。",
                "The container has changed, and no byte of the image has. The upper layer has a "
                "changed copy of `hello.txt`, and a whiteout that covers `secret.txt`.",
            ),
            evidence,
        )


class Ex00(Lesson):
    """V0.0: why."""

    title = "v0.0"
    kernels = Kernels()
    parent = Parent()
    layers = Layers()
