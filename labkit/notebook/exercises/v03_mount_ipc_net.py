"""Exercises of V0.3: flags, a step of contain(), breaking it on purpose, mending it, lo."""

from labkit.engine.client import start
from labkit.linux.namespaces import KINDS, Kind, inodes
from labkit.notebook.exercises import mishaps, solutions
from labkit.notebook.exercises.answers import WrongError, box_of
from labkit.notebook.exercises.broken import Broken, Suspect
from labkit.notebook.exercises.exercise import Exercise, Found, Lesson
from labkit.notebook.exercises.machine import told
from labkit.notebook.exercises.step import Seen, Step
from labkit.text.words import Words

_INSIDE, _OUTSIDE = Words("里面", "inside", " "), Words("外面", "outside", " ")
_LOST, _FINE = Words("没有了", "lost", " "), Words("完好", "fine", " ")
_OWN = Words("自己的", "its own", " ")


class Flags(Exercise):
    """Several kinds at once."""

    title = Words("几位合在一起", "Several bits at once")
    task = Words(
        "写一个 Container，它的挂载、IPC、网络三种命名空间是新的，其余几种照旧。"
        "检查把它启动起来，逐种比较 inode 号。",
        "Write a Container with new mount, IPC and network namespaces, and no other new ones. The "
        "check starts it and compares the inode numbers of each kind.",
    )
    hints = (
        Words(
            "每个标志占一位。要几位都是 1，用哪个运算符？",
            "Each flag is one bit. Which operator sets several bits to 1?",
        ),
        Words(
            "挂载命名空间的标志没有 MOUNT 字样：它是头一种，叫 `CLONE_NEWNS`。三个标志之间写 `|`。",
            "The flag of the mount namespace does not say MOUNT. It was the first kind, so its flag "
            "is called `CLONE_NEWNS`. Put `|` between the three flags.",
        ),
    )
    model = staticmethod(solutions.flags)
    why = Words(
        "`|` 把各位合在一起，`&` 只留下共有的位：两个不同的标志没有共有的位，结果是 0，什么也没有要。",
        "`|` joins the bits. `&` keeps only the bits that both have, and two different flags have "
        "none in common. The result is 0, which asks for nothing.",
    )

    NONE = (
        Words(
            "没有一种是新的：`cloneflags` 是 {flags}。",
            "No namespace is new: `cloneflags` is {flags}.",
        ),
        Words(
            "是不是写了 `&`？把几个标志合起来用 `|`。",
            "Did you write `&`? Join flags with `|`.",
        ),
    )
    MISSING = (
        Words("还缺 {missing}。", "These are missing: {missing}."),
        Words("再添上 {hint}。", "Add {hint}."),
    )
    EXTRA = (
        Words(
            "三种都新了，可是多了 {extra}。",
            "The three are new, but so is {extra}.",
        ),
        Words("去掉 {hint}。", "Remove {hint}."),
    )

    def judge(self, answer: object) -> Found:
        """Start it and compare its namespaces with ours."""
        ours = inodes()
        with start(box_of(answer)) as box:
            theirs = box.inodes
        new = [kind for kind in KINDS if ours.get(kind.name) != theirs.get(kind.name)]
        evidence = "\n".join(f"{kind.flag!s:<15} {kind.flag.value:#010x}" for kind in new)
        if not new:
            raise WrongError(self.NONE, flags=box.box.cloneflags)
        self._compare(new, evidence)
        return Found(
            Words(
                "`mnt`、`ipc`、`net` 是新的，其余都与我们相同。",
                "`mnt`, `ipc` and `net` are new. The container shares the others with us.",
            ),
            f"{evidence}\n{'|':<15} {box.box.cloneflags.value:#010x}",
        )

    def _compare(self, new: list[Kind], evidence: str) -> None:
        wanted = [kind for kind in KINDS if kind.name in {"mnt", "ipc", "net"}]
        for diagnosis, name, kinds in (
            (self.MISSING, "missing", [kind for kind in wanted if kind not in new]),
            (self.EXTRA, "extra", [kind for kind in new if kind not in wanted]),
        ):
            if kinds:
                values = {name: ", ".join(k.name for k in kinds)}
                hint = ", ".join(f"`{kind.flag}`" for kind in kinds)
                raise WrongError(diagnosis, evidence, hint=hint, **values)


class Contain(Step):
    """A contain() step: private first, then mount."""

    title = Words("先断开，再挂载", "Private first, then mount")
    task = Words(
        "亲手写一步 `contain()`：函数 `contain(place)` 在目录 `place` 挂上一个 tmpfs，只有自己看得见。"
        "它开始时，就像刚由 `clone3(CLONE_NEWNS)` 生出来：挂载命名空间是新的，"
        "可每个挂载点都与外面同组（shared）。检查在一台用完即弃的机器里运行它，再到里外两边去看。",
        "Write a step of `contain()` yourself. The function `contain(place)` mounts a tmpfs on the "
        "directory `place`, and nobody outside may see it. It starts in a new mount namespace, as "
        "after `clone3(CLONE_NEWNS)`, and every mount point there is still shared with its "
        "original outside. The check runs the function in a machine that is thrown away, and looks "
        "inside and outside.",
    )
    hints = (
        Words(
            "命名空间是新的，挂载却还会传出去。挂载之前，先把什么断开？",
            "The namespace is new, but mounts still spread. What must you cut before the mount?",
        ),
        Words(
            '先 `mount(None, "/", None, MS_REC | MS_PRIVATE, None)`，'
            '再 `mount("tmpfs", place, "tmpfs", 0, None)`。',
            'First `mount(None, "/", None, MS_REC | MS_PRIVATE, None)`, then '
            '`mount("tmpfs", place, "tmpfs", 0, None)`.',
        ),
    )
    model = staticmethod(solutions.contain)
    scene = "contain"
    why = Words(
        "新的挂载命名空间是一份副本，副本里的挂载点与原件仍在一个组里，在这边挂的，那边也会出现。"
        "`MS_PRIVATE` 退出这个组；`MS_REC` 让下面的每个挂载点都退出，因为组是一个一个挂载点分别算的。",
        "A new mount namespace is a copy, and each mount point in it is in one group with its "
        "original. So a mount here appears there too. `MS_PRIVATE` takes a mount point out of its "
        "group. `MS_REC` does so for every mount point below, because each one has a group of its "
        "own.",
    )

    LEAKED = (
        Words(
            "里面挂上了，可是外面也冒出了一个：`{place}` 的挂载传播了出去。",
            "The mount is there inside, but it has also appeared outside: the mount on `{place}` has "
            "spread.",
        ),
        Words(
            "断开要用 `MS_REC | MS_PRIVATE`，而且要在挂载之前：只断开 `/` 一处，别处照样相通。",
            "Use `MS_REC | MS_PRIVATE`, and do it before the mount. If only `/` is private, the "
            "other mount points still spread.",
        ),
    )
    NOTHING = (
        Words("里面的 `{place}` 没有新的文件系统。", "There is no new file system on `{place}`."),
        Words(
            '文件系统的类型写 `"tmpfs"`，挂载点写参数 `place`；要由函数自己的进程来挂。',
            'The type of the file system is `"tmpfs"`, and the mount point is the argument `place`. '
            "The function's own process must mount it.",
        ),
    )
    OTHER_TYPE = (
        Words(
            "只有里面有，可挂在 `{place}` 上的是 {type}，不是 tmpfs。",
            "Only the inside sees it, but the file system on `{place}` is {type}, not a tmpfs.",
        ),
        Words(
            '不用 `MS_BIND`；文件系统的类型写 `"tmpfs"`。',
            'Do not use `MS_BIND`. The type of the file system is `"tmpfs"`.',
        ),
    )
    STILL_SHARED = (
        Words(
            "`{place}` 只有里面有，可是 {shared} 仍与外面同组：下一次挂载还会传出去。",
            "`{place}` is mounted only inside, but {shared} is still shared with those outside. "
            "The next mount there will spread.",
        ),
        Words("从 `/` 断开，并加上 `MS_REC`。", "Cut propagation at `/`, with `MS_REC`."),
    )

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """Look for the mount inside and outside."""
        evidence = told(
            seen,
            f"{_INSIDE}: {' '.join(inner['types']) or '-'}",
            f"{_OUTSIDE}: {' '.join(seen['outside']) or '-'}",
        )
        if seen["outside"]:
            raise WrongError(self.LEAKED, evidence, place=seen["place"])
        if not inner["new"]:
            raise WrongError(self.NOTHING, evidence, place=seen["place"])
        if inner["shared"]:
            shared = f"`{inner['shared'][0]}`"
            raise WrongError(self.STILL_SHARED, evidence, place=seen["place"], shared=shared)
        if inner["types"][-1:] != ["tmpfs"]:
            kind = " ".join(inner["types"])
            raise WrongError(self.OTHER_TYPE, evidence, place=seen["place"], type=kind)
        return Found(
            Words(
                "里面有，外面没有；里面再没有一个挂载点与外面同组。",
                "The mount is there inside and not outside, and no mount point inside is shared.",
            ),
            evidence,
        )


class Accident(Step):
    """The classic accident, on purpose."""

    title = Words("故意弄坏", "Break it on purpose")
    task = Words(
        "故意出一次那个有名的事故：函数 `accident()` 是新挂载和 PID 命名空间里的 1 号进程，"
        "挂载点都还与外面同组。让它挂上自己的 `/proc`，使外面的机器在它结束以后失去 `/proc`。"
        "别担心：外面也是一台用完即弃的机器，检查还会把它修好。",
        "Cause the famous accident on purpose. The function `accident()` is PID 1 of new mount "
        "and PID namespaces, and all mount points there are shared with those outside. Let it "
        "mount its own `/proc`, so that the machine outside loses its `/proc` when the "
        "function's process ends. There is no danger: that machine is thrown away too, and the "
        "check repairs it.",
    )
    hints = (
        Words(
            "上一题里救了你的是哪一步？这次别做。",
            "Which step saved you in the last exercise? This time, leave it out.",
        ),
        Words(
            '只要一行：`mount("proc", "/proc", "proc", 0, None)`。',
            'One line will do: `mount("proc", "/proc", "proc", 0, None)`.',
        ),
    )
    model = staticmethod(solutions.accident)
    scene = "accident"
    why = Words(
        "这一行传播到了外面，盖住外面的 `/proc`。它显示的是容器的 PID 命名空间；1 号一死，"
        "那里就一个进程也没有了。里面一切正常，损害只有外面看得见，所以许多教程都犯过这个错。",
        "The mount spread and covered the `/proc` outside. The new one shows the container's PID "
        "namespace, and after the death of PID 1 there is no process in it. Inside, everything "
        "looked right. Only the outside sees the damage, so many tutorials have made this mistake.",
    )

    SAFE = (
        Words(
            "里面挂上了，外面的 `/proc` 却安然无恙：你先断开了传播。写得对，只是没有出事故。",
            "The mount is there inside, and the `/proc` outside is not damaged: you cut propagation "
            "first. That is right, but there was no accident.",
        ),
        Words(
            "去掉 `MS_PRIVATE`（或 `MS_SLAVE`）那一步。",
            "Remove the step with `MS_PRIVATE` (or `MS_SLAVE`).",
        ),
    )
    NOTHING = (
        Words(
            "什么也没有发生：里面的 `/proc` 上没有多出新的挂载。",
            "Nothing has happened: there is no new mount on the `/proc` inside.",
        ),
    )
    TWICE = (
        Words(
            "事故是出了，可你挂了 {more} 层：揭掉一层，外面的 `/proc` 还是死的。",
            "The accident happened, but you mounted {more} of them. After one unmount, the `/proc` "
            "outside is still dead.",
        ),
        Words("挂一次就够。", "Mount only once."),
    )
    ANOTHER = (
        Words(
            "外面的 `/proc` 是没了，可那不是因为 proc：你把它卸掉了，或者盖上了别的东西。",
            "The `/proc` outside is lost, but not because of a proc: you unmounted it, or covered it "
            "with something else.",
        ),
        Words(
            "挂在 `/proc` 上的，类型应是 `proc`：每个容器都需要这一步，所以事故才这样常见。",
            "Mount a file system of the type `proc` on `/proc`. Every container needs this step, so "
            "this accident is common.",
        ),
    )

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """See whether /proc outside is dead, and whether it was a proc that killed it."""
        more = len(inner["mounted"]) - len(seen["before"])
        lines = (
            f"/proc {_INSIDE}: {' + '.join(inner['mounted'][-more:]) if more > 0 else '-'}",
            f"/proc {_OUTSIDE}: {_LOST if seen['lost'] else _FINE}",
        )
        if seen["lost"] and not (more == 1 and inner["mounted"][-1] == "proc" and seen["back"]):
            twice = more > 1 and inner["mounted"][-1] == "proc"
            diagnosis = self.TWICE if twice else self.ANOTHER
            raise WrongError(diagnosis, told(seen, *lines), more=more)
        if not seen["lost"]:
            raise WrongError(self.SAFE if more > 0 else self.NOTHING, told(seen, *lines))
        return Found(
            Words(
                "里面一切正常，外面的 `/proc` 却一个进程也没有了。检查用 `umount /proc` 修好了它。",
                "Inside, everything is right. But the `/proc` outside no longer shows any process. "
                "The check has repaired it with `umount /proc`.",
            ),
            told(seen, *lines),
        )


class Repair(Step):
    """Mending what the accident broke."""

    title = Words("再修好它", "Repair it")
    task = Words(
        "事故已经发生：这台机器的 `/proc` 里一个进程也没有。写一个函数 `repair()` 把它修好，"
        "并且不留下多余的挂载。检查看 `/proc` 认不认得自己，再数一数上面叠了几层。",
        "The accident has happened: this machine's `/proc` shows no process at all. Write a "
        "function `repair()` that repairs it and leaves no extra mount. The check asks whether "
        "`/proc` knows the process that reads it, and counts the mounts on it.",
    )
    hints = (
        Words(
            "原来的 `/proc` 没有丢，它在死的那个下面。",
            "The old `/proc` is not lost: it is below the dead one.",
        ),
        Words(
            '揭掉最上面一层：`umount2("/proc")`，一次就够。',
            'Remove the top one: `umount2("/proc")`, once.',
        ),
    )
    model = staticmethod(solutions.repair)
    scene = "repair"
    why = Words(
        "挂载点像一摞纸，看得见的是最上面那张；卸载揭掉一张，下面的就露出来。"
        "在真的宿主机上出了这个事故，也是 `umount /proc` 救得回来，不必重启。",
        "Mounts lie on a mount point like sheets of paper, and you see only the top one. An "
        "unmount removes the top one. `umount /proc` repairs this accident on a real host too, and "
        "no reboot is needed.",
    )

    DEAD = (
        Words(
            "`/proc` 还是不认得我们。",
            "`/proc` still does not know us.",
        ),
        Words(
            "要揭掉的，是盖在这台机器的 `/proc` 上的那一层；不要搬进新的挂载命名空间。",
            "Unmount the top one of the mounts on this machine's own `/proc`. Do not move to a new "
            "mount namespace.",
        ),
    )
    TOO_MUCH = (
        Words(
            "卸得太多：死的那层揭掉了，原来的也揭掉了 {less} 层。",
            "You unmounted too much: the dead one, and {less} of the others.",
        ),
        Words("只卸一次。", "Unmount only once."),
    )
    COVERED = (
        Words(
            "`/proc` 能用了，可是比事故之前多叠了 {more} 层，原来的还压在下面。",
            "`/proc` works, but it has {more} more than before the accident: the old one is still "
            "covered.",
        ),
        Words(
            "不要再挂新的，把死的卸掉就够。",
            "Mount nothing new. It is enough to unmount the dead one.",
        ),
    )

    def consider(self, seen: Seen, inner: Seen) -> Found:  # noqa: ARG002 - the outside counts here
        """See whether /proc works, and how many mounts are on it."""
        if not seen["works"]:
            if seen["seen"] and seen["more"] < 0:
                raise WrongError(self.TOO_MUCH, told(seen), less=-seen["more"])
            raise WrongError(self.DEAD, told(seen))
        if seen["more"]:
            raise WrongError(self.COVERED, told(seen), more=seen["more"])
        return Found(
            Words(
                "`/proc` 又认得我们了，一层不多，一层不少。",
                "`/proc` knows us again, with exactly as many mounts on it as before.",
            ),
            told(seen),
        )


class Loopback(Step):
    """A network namespace begins with lo, down."""

    title = Words("和自己说话", "Talking to itself")
    task = Words(
        "一个新的网络命名空间里，连 127.0.0.1 都不通。写一个函数 `loopback()`，让它通。"
        "检查在那里打开一个端口，再去连它，你的函数运行之前一次，之后一次。",
        "In a new network namespace, even 127.0.0.1 cannot be reached. Write a function "
        "`loopback()` that makes it reachable. The check opens a port there and connects to it, "
        "once before your function runs and once after.",
    )
    hints = (
        Words(
            "里面只有一块网络设备。它此刻是开着，还是关着？",
            "There is one network device in it. Is it up or down?",
        ),
        Words(
            '`subprocess.run(["ip", "link", "set", "lo", "up"], check=True)`；地址由内核自己配上。',
            '`subprocess.run(["ip", "link", "set", "lo", "up"], check=True)`; the kernel gives it '
            "its address.",
        ),
    )
    model = staticmethod(solutions.loopback)
    scene = "loopback"
    why = Words(
        "网络命名空间不是副本，而是空的：一块 lo，关着。设备打开，内核才给它 127.0.0.1，并添上路由。"
        "Docker 启动容器时替你做了这一步。",
        "A new network namespace is not a copy. It has only lo, which is down. When somebody brings "
        "lo up, the kernel gives it 127.0.0.1 and a route. Docker does this when it starts a "
        "container.",
    )

    DOWN = (
        Words("127.0.0.1 还是不通。", "127.0.0.1 still cannot be reached."),
        Words(
            "看设备那一行：尖括号里有 UP 吗？光有地址还不够，设备要打开。",
            "Look at the line of the device. Is there UP between the angle brackets? An address is "
            "not enough: the device must be up.",
        ),
    )
    ELSEWHERE = (
        Words(
            "你的函数里通了，这里却还不通：它搬进了另一个网络命名空间。",
            "Your function reached it, but the check cannot: your function moved to another network "
            "namespace.",
        ),
        Words(
            "不要 `unshare`，就在原地把 lo 打开。",
            "Do not use `unshare`. Bring lo up in the namespace where you are.",
        ),
    )

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """Compare before and after."""
        evidence = told(seen, *seen["devices"])
        if not seen["after"]:
            diagnosis = self.ELSEWHERE if inner["own"] and inner["reached"] else self.DOWN
            raise WrongError(diagnosis, evidence)
        return Found(
            Words("之前不通，之后通了。", "127.0.0.1 could not be reached before, and now it can."),
            evidence,
        )


class Lost(Broken):
    """Private, but not all the way down."""

    title = Words("诊断：断开了，还是丢了", "Diagnose: private, and lost all the same")
    symptom = Words(
        "写这个程序的人知道要先断开传播。容器里一切正常；容器结束以后，宿主机上 `ps` 却说："
        "`Error, do this: mount -t proc proc /proc`。程序是新挂载和 PID 命名空间里的 1 号，挂载点起初都与外面同组。",
        "The author of this program knew that propagation must be cut first. In the container, "
        "everything works. But after the container has ended, `ps` on the host says: `Error, do "
        "this: mount -t proc proc /proc`. The program is PID 1 of new mount and PID namespaces, and "
        "at first all mount points are shared with those outside.",
    )
    task = Words(
        "找出原因，改好 `own_proc()`：里面有自己的 `/proc`，外面的安然无恙，里面再没有一个挂载点与外面同组。",
        "Find the cause, and mend `own_proc()`. Afterwards there is a `/proc` of its own inside, "
        "the one outside is not damaged, and no mount point inside is shared.",
    )
    hints = (
        Words(
            "`/proc` 自己也是一个挂载点。断开 `/`，`/proc` 跟着断开了吗？",
            "`/proc` is a mount point itself. When `/` is made private, is `/proc` private too?",
        ),
        Words(
            "传播属性是每个挂载点各有一份的。`mount --make-rprivate` 比 `--make-private` 多出来的 r，是哪一个标志？",
            "Each mount point has its own setting. `mount --make-rprivate` has an r, and "
            "`--make-private` does not. Which flag is the r?",
        ),
        Words(
            "原因是 `c`。第一行的标志写 `MS_REC | MS_PRIVATE`。",
            "The cause is `c`. The flags of the first line must be `MS_REC | MS_PRIVATE`.",
        ),
    )
    model = staticmethod(solutions.own_proc)
    broken = staticmethod(mishaps.own_proc)
    scene = "accident"
    why = Words(
        "`MS_PRIVATE` 只改指定的那个挂载点。`/` 退出了它的组，`/proc` 是另一个挂载点，还在自己的组里，"
        "挂在它上面的就传了出去。加上 `MS_REC`，下面的挂载点才一个不漏。",
        "`MS_PRIVATE` changes only the mount point that the call names. `/` has left its group. But "
        "`/proc` is another mount point and is still in its own group, so a mount on it spreads. "
        "With `MS_REC`, every mount point below changes too.",
    )

    NO_FLAGS = (
        Words(
            "检查添上了这几个标志，外面的 `/proc` 还是没有了。",
            "The check added these flags, and the `/proc` outside is still lost.",
        ),
        Words(
            "这几个标志限制的是里面的文件，与传播无关。",
            "These flags restrict the files in it. They do not change propagation.",
        ),
    )
    NO_SLAVE = (
        Words(
            "检查换成了 `MS_SLAVE`，外面的 `/proc` 还是没有了。",
            "The check used `MS_SLAVE` instead, and the `/proc` outside is still lost.",
        ),
        Words(
            "两种都不往外传。问题是断开了哪些挂载点。",
            "With either of the two, nothing spreads to the outside. But which mount points does the "
            "call change?",
        ),
    )
    NO_FORK = (
        Words(
            "检查让 1 号的孩子去挂，外面的 `/proc` 还是没有了。",
            "The check let a child of PID 1 mount it, and the `/proc` outside is still lost.",
        ),
        Words(
            "谁来挂，决定它显示哪个 PID 命名空间；传不传出去，由挂载点决定。",
            "The process that mounts a proc decides which PID namespace it shows. The mount point "
            "decides whether the mount spreads.",
        ),
    )
    LOST = (
        Words(
            "外面的 `/proc` 还是没有了。",
            "The `/proc` outside is still lost.",
        ),
        Words(
            "在挂载之前，从 `/` 断开，并加上 `MS_REC`。",
            "Cut propagation before the mount, at `/`, with `MS_REC`.",
        ),
    )
    NO_PROC = (
        Words(
            "外面没事了，可是里面也没有自己的 `/proc`。",
            "The outside is safe, but there is no `/proc` of its own inside.",
        ),
        Words(
            "挂载的那一行要留着，函数返回时它还在。",
            "Keep the line with the mount, so that it is still there when the function returns.",
        ),
    )
    STILL_SHARED = (
        Words(
            "这一次没有传出去，可是 {shared} 仍与外面同组：下一次挂载还会。",
            "This mount has not spread. But {shared} is still shared with those outside, and the next "
            "mount there will.",
        ),
        Words(
            "不要只照顾 `/proc` 一处：`MS_REC` 从 `/` 起，一个不漏。",
            "`/proc` alone is not enough. From `/`, `MS_REC` changes all mount points.",
        ),
    )

    suspects = (
        Suspect(
            Words(
                "挂 `/proc` 少了 `MS_NOSUID`、`MS_NODEV`、`MS_NOEXEC`。",
                "The mount of `/proc` lacks `MS_NOSUID`, `MS_NODEV` and `MS_NOEXEC`.",
            ),
            mishaps.own_proc_with_flags,
            NO_FLAGS,
        ),
        Suspect(
            Words(
                "断开得不对：`MS_PRIVATE` 应该换成 `MS_SLAVE`。",
                "Propagation was cut in the wrong way: `MS_PRIVATE` must be `MS_SLAVE`.",
            ),
            mishaps.own_proc_as_a_slave,
            NO_SLAVE,
        ),
        Suspect(
            Words(
                "断开得不够：别的挂载点仍与外面同组。",
                "Not enough was cut: other mount points are still shared with those outside.",
            ),
            solutions.own_proc,
        ),
        Suspect(
            Words(
                "1 号不该自己挂，应该由它的孩子来挂。",
                "PID 1 must not mount it itself. A child of PID 1 must do it.",
            ),
            mishaps.own_proc_by_a_child,
            NO_FORK,
        ),
    )

    def facts(self, seen: Seen, inner: Seen) -> tuple[str, ...]:
        """The two of /proc."""
        return (
            f"/proc {_INSIDE}: {_OWN if inner['own'] else '-'}",
            f"/proc {_OUTSIDE}: {_LOST if seen['lost'] else _FINE}",
        )

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """See /proc outside, /proc inside, and what is still shared."""
        evidence = told(seen, *self.facts(seen, inner))
        if seen["lost"]:
            raise WrongError(self.LOST, evidence)
        if not inner["own"]:
            raise WrongError(self.NO_PROC, evidence)
        if inner["shared"]:
            raise WrongError(self.STILL_SHARED, evidence, shared=f"`{inner['shared'][0]}`")
        return Found(
            Words(
                "里面有自己的 `/proc`，外面的安然无恙，再没有一个挂载点与外面同组。",
                "There is a `/proc` of its own inside, the one outside is not damaged, and no mount "
                "point is shared.",
            ),
            evidence,
        )


class Ex03(Lesson):
    """V0.3: mounts, IPC, network."""

    title = "v0.3"
    flags = Flags()
    contain = Contain()
    accident = Accident()
    repair = Repair()
    loopback = Loopback()
    lost = Lost()
