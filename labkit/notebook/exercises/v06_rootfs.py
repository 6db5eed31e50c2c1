"""Exercises of V0.6: a root that nobody gets out of, a device, a volume that can only be read."""

import errno

from labkit.notebook.exercises import mishaps, solutions
from labkit.notebook.exercises.answers import FailedError, WrongError
from labkit.notebook.exercises.broken import Broken, Suspect
from labkit.notebook.exercises.exercise import Found, Lesson
from labkit.notebook.exercises.machine import told
from labkit.notebook.exercises.step import Seen, Step
from labkit.text.words import Words

_NOT_THERE = (
    Words(
        "`/` 还是原来的那个：里面有 {listed}。",
        "`/` is still the old one, with {listed}.",
    ),
    Words(
        "最后 `/` 要是交给你的那个目录：`pivot_root`。",
        "In the end `/` must be the directory that you were given: `pivot_root`.",
    ),
)
_GETS_OUT = (
    Words(
        "`/` 换了，可是检查走了出去：再 `chroot` 一次，工作目录就留在新的根外面，一路 `..` 便回到了宿主机的 `/`。",
        "`/` has changed, but the check got out: after one more `chroot` the working directory is "
        "outside of the new root, and `..` leads on to the host's `/`.",
    ),
    Words(
        "`chroot` 只改一个进程眼里的 `/`，旧的根还挂在那里。用 `pivot_root` 换，再用 `umount2` 摘下旧的。",
        "`chroot` changes only what `/` means to a process. The old root is still mounted. Use "
        "`pivot_root`, and take the old one off with `umount2`.",
    ),
)
_OLD_ROOT = (
    Words(
        "`/` 换了，可是旧的根还在：从 {old} 就能看到宿主机的全部文件。",
        "`/` has changed, but the old root is still there: {old} shows all of the host's files.",
    ),
    Words(
        "`umount2(那里, MNT_DETACH)`：它还在用，所以要“先摘下”。",
        "`umount2(there, MNT_DETACH)`. It is in use, so it takes MNT_DETACH.",
    ),
)


class Walls(Step):
    """pivot_root by hand."""

    title = Words("换根", "Another root")
    task = Words(
        "写一个函数 `walls(root)`：`root` 是一个目录，函数返回时，`/` 就是它，而且走不回去。"
        "运行它的进程已经在新的挂载命名空间里；那台机器的挂载是 shared，和 systemd 留下的一样。"
        "检查先看 `/` 里有什么，再试着走出去。",
        "Write a function `walls(root)`. `root` is a directory. When the function returns, it is "
        "`/`, and no way leads back. The process that runs it is in a new mount namespace already; "
        "mounts of that machine are shared, as systemd leaves them. The check looks into `/`, and "
        "then tries to get out.",
    )
    hints = (
        Words(
            "`pivot_root` 对新的根有两个要求。它要是什么？它所在的挂载不能是什么？",
            "`pivot_root` asks two things of the new root. What must it be, and what must the "
            "mount not be?",
        ),
        Words(
            '五步：`mount(None, "/", None, MS_REC | MS_PRIVATE, None)`；把 `root` 绑定到自己身上；'
            '`os.chdir(root)`；`pivot_root(".", ".")`；`umount2(".", MNT_DETACH)`。',
            'Five steps: `mount(None, "/", None, MS_REC | MS_PRIVATE, None)`; bind `root` onto '
            'itself; `os.chdir(root)`; `pivot_root(".", ".")`; `umount2(".", MNT_DETACH)`.',
        ),
    )
    model = staticmethod(solutions.walls)
    scene = "walls"
    why = Words(
        '`pivot_root(".", ".")` 把旧的根叠在新的根上面，同一个位置；`.` 找到的是最上面那个，'
        "所以紧接着的 `umount2` 摘下的就是旧的根。摘下之后，这个挂载命名空间里再没有一条路通向宿主机的文件："
        "走出 chroot 的办法，靠的正是旧的根还挂着。",
        '`pivot_root(".", ".")` puts the old root on top of the new one, in the same place. `.` '
        "finds the topmost, so the `umount2` that follows takes off the old root. After that, no "
        "path of this mount namespace leads to the host's files. The way out of a chroot needs "
        "the old root to be still mounted.",
    )

    NOT_THERE, GETS_OUT, OLD_ROOT = _NOT_THERE, _GETS_OUT, _OLD_ROOT
    NO_MOUNT = (
        Words(
            "`pivot_root` 答 EINVAL：`root` 只是一个目录，不是挂载点。",
            "`pivot_root` answered EINVAL: `root` is only a directory, not a mount point.",
        ),
        Words(
            "把它绑定到自己身上，就成了挂载点：`mount(root, root, None, MS_BIND, None)`；"
            "然后再 `chdir` 进去。",
            "Bound onto itself it is a mount point: `mount(root, root, None, MS_BIND, None)`. "
            "Then `chdir` into it.",
        ),
    )
    SHARED = (
        Words(
            "`pivot_root` 答 EINVAL：挂载还是 shared，换根会传到别的命名空间去。",
            "`pivot_root` answered EINVAL: the mounts are still shared, and the exchange would "
            "spread to other namespaces.",
        ),
        Words(
            '先断开传播，而且要在绑定之前：`mount(None, "/", None, MS_REC | MS_PRIVATE, None)`。',
            "First cut propagation, before the bind: "
            '`mount(None, "/", None, MS_REC | MS_PRIVATE, None)`.',
        ),
    )

    def explain(self, failed: FailedError) -> WrongError:
        """Which of the two demands of pivot_root was not met."""
        if failed.failure.number != errno.EINVAL or "pivot_root" not in failed.failure.text:
            return super().explain(failed)
        return WrongError(self.SHARED if failed.seen.get("shared") else self.NO_MOUNT)

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """See what `/` is, and whether there is a way out."""
        evidence = told(seen, *_facts(inner))
        _judge(inner, evidence)
        return Found(
            Words(
                "`/` 就是那个目录，旧的根不在了，检查怎么走也出不去。",
                "`/` is that directory, the old root is gone, and the check found no way out.",
            ),
            evidence,
        )


def _facts(inner: Seen) -> tuple[str, ...]:
    """What is in the root, where the old one is, and whether one gets out."""
    some = inner["listed"][:6]
    more = " ..." * (len(inner["listed"]) > len(some))
    lines = [f"ls /      {' '.join(some)}{more}"]
    old = " ".join(inner["old"]) or "-"
    return *lines, f"{_OLD}  {old}", f"chroot, cd ../../..  ⇒  {_OUT if inner['out'] else _IN}"


_OLD = Words("旧的根", "old root", " ")
_OUT, _IN = Words("宿主机的 /", "the host's /"), Words("还在里面", "still inside")


def _judge(inner: Seen, evidence: str) -> None:
    """Raise WrongError if the root is not the new one, or the old one can be reached."""
    if not inner["here"]:
        listed = ", ".join(f"`{name}`" for name in inner["listed"][:4])
        raise WrongError(_NOT_THERE, evidence, listed=listed)
    if inner["old"]:
        raise WrongError(_OLD_ROOT, evidence, old=f"`{inner['old'][0]}`")
    if inner["out"]:
        raise WrongError(_GETS_OUT, evidence)


class Null(Step):
    """A device by hand."""

    title = Words("亲手造 /dev/null", "A /dev/null of one's own")
    task = Words(
        "写一个函数 `null(dev)`：在空目录 `dev` 里造出 `null`，和真的一样：字符设备，主号 1，次号 3，人人可读可写。"
        "umask 是 022，和平常一样。",
        "Write a function `null(dev)`. In the empty directory `dev` it makes `null`, like the real "
        "one: a character device with the numbers 1 and 3, which everybody can read and write. The "
        "umask is 022, as usual.",
    )
    hints = (
        Words(
            "设备不是靠名字，是靠两个号码认的。`os.mknod` 的第二个参数里，种类和权限写在一起。",
            "A device is known by two numbers, not by its name. The second argument of `os.mknod` "
            "holds its kind and its permissions.",
        ),
        Words(
            '`os.mknod(f"{dev}/null", 0o020666, os.makedev(1, 3))`，`0o020000` 是字符设备；'
            "umask 会从 `666` 里拿走 `022`，所以先 `os.umask(0)`。",
            '`os.mknod(f"{dev}/null", 0o020666, os.makedev(1, 3))`, where `0o020000` is a '
            "character device. The umask takes `022` from `666`, so first `os.umask(0)`.",
        ),
    )
    model = staticmethod(solutions.null)
    scene = "device"
    why = Words(
        "写进 `/dev/null` 的东西去了哪里？不去任何地方：内核按主号 1 找到驱动，按次号 3 找到“扔掉”这个动作。"
        "文件系统里只存着这两个号码，所以谁能造设备，谁就能摸到整台机器的硬件，这要 CAP_MKNOD，"
        "用户命名空间里的 root 没有资格。",
        "Where does it go that is written to `/dev/null`? Nowhere: by the number 1 the kernel finds "
        "a driver, by the number 3 the action that drops everything. The file system keeps only "
        "these two numbers. So who can make devices can reach all hardware of the machine. It takes "
        "CAP_MKNOD, and root of a user namespace does not qualify.",
    )

    MISSING = (
        Words("`dev` 里没有 `null`。", "There is no `null` in `dev`."),
        Words("名字是 `dev` 加上 `/null`。", "The name is `dev` with `/null` after it."),
    )
    REGULAR = (
        Words(
            "`null` 是一个普通文件：写进去的东西不会消失，只会越积越大。",
            "`null` is a regular file: what is written to it stays, and it grows.",
        ),
        Words(
            "少了种类：`0o020000`，即 `S_IFCHR`，再加两个号码。",
            "The kind is missing: `0o020000`, which is `S_IFCHR`, and the two numbers.",
        ),
    )
    NUMBERS = (
        Words(
            "是字符设备，号码却是 {major}, {minor}：那是另一个设备。",
            "It is a character device, but its numbers are {major}, {minor}: that is another one.",
        ),
        Words("`os.makedev(1, 3)`。", "`os.makedev(1, 3)`."),
    )
    MODE = (
        Words(
            "设备对了，权限却是 {mode}：不是 root 的程序写不进去。",
            "The device is right, but its mode is {mode}: programs that are not root cannot write.",
        ),
        Words(
            "umask 拿走了几位。先 `os.umask(0)`，或者造好以后用 `os.chmod` 补上。",
            "The umask took some bits. First `os.umask(0)`, or give them back with `os.chmod`.",
        ),
    )

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """See which device it is, and for whom."""
        if not inner["kind"]:
            raise WrongError(self.MISSING, told(seen))
        major, minor = inner["numbers"]
        evidence = told(seen, f"null  {inner['kind']}  {major}, {minor}  {inner['mode']}")
        if inner["kind"] != "c":
            raise WrongError(self.REGULAR, evidence)
        if (major, minor) != (1, 3):
            raise WrongError(self.NUMBERS, evidence, major=major, minor=minor)
        if inner["mode"] != "666":
            raise WrongError(self.MODE, evidence, mode=inner["mode"])
        return Found(
            Words("和真的 `/dev/null` 一模一样。", "It is exactly like the real `/dev/null`."),
            evidence,
        )


class Volume(Step):
    """A volume that can only be read."""

    title = Words("只读的卷", "A volume to be read only")
    task = Words(
        "写一个函数 `volume(source, target)`：让目录 `source` 在 `target` 也看得到，但从 `target` 那边只能读；"
        "`source` 那边照样可以写。这就是 `docker run -v source:target:ro`。",
        "Write a function `volume(source, target)`. The directory `source` is to be seen at "
        "`target` too, but at `target` it can only be read. At `source` one can still write. This is "
        "`docker run -v source:target:ro`.",
    )
    hints = (
        Words(
            "绑定挂载时写上 `MS_RDONLY`，内核收下了，可它管用吗？试着写一个文件。",
            "With `MS_RDONLY` the kernel accepts a bind. But does the flag count? Try to write a "
            "file.",
        ),
        Words(
            "绑定时只看 `MS_BIND` 和 `MS_REC`。再来一次：`MS_BIND | MS_REMOUNT | MS_RDONLY`，"
            "少了 `MS_BIND`，改的就是整个文件系统。",
            "A bind looks at `MS_BIND` and `MS_REC` only. Make a second call with "
            "`MS_BIND | MS_REMOUNT | MS_RDONLY`. Without `MS_BIND` it would change the whole file "
            "system.",
        ),
    )
    model = staticmethod(solutions.volume)
    scene = "volume"
    why = Words(
        "只读可以是文件系统的，也可以只是一个挂载的。卷要的是后一种：同一个文件系统，从这个门进来能写，从那个门进来不能。"
        "Linux 5.12 起有 `mount_setattr`，能连下面的挂载一起改；`Root` 用的就是它。",
        "Read-only can be a property of a file system, or of one mount. A volume wants the latter: "
        "through one door one can write, through the other one cannot, and it is the same file "
        "system. Since Linux 5.12 `mount_setattr` does it for the mounts below as well; `Root` "
        "uses it.",
    )

    NOT_SHOWN = (
        Words(
            "`target` 里看不到 `source` 的文件。", "`target` does not show the files of `source`."
        ),
        Words(
            "`mount(source, target, None, MS_BIND, None)`。",
            "`mount(source, target, None, MS_BIND, None)`.",
        ),
    )
    WRITABLE = (
        Words(
            "看得到，可是从 `target` 还能写进去。",
            "It is to be seen, but one can still write at `target`.",
        ),
        Words(
            "绑定的那一次不理会 `MS_RDONLY`：要再来一次，带 `MS_REMOUNT`。",
            "The bind ignores `MS_RDONLY`. It takes a second call, with `MS_REMOUNT`.",
        ),
    )
    BOTH = (
        Words(
            "`target` 只读了，`source` 也跟着不能写了（{number}）：改的是整个文件系统。",
            "`target` is read-only, but so is `source` ({number}): this changed the whole file "
            "system.",
        ),
        Words(
            "第二次也要带 `MS_BIND`，意思是“只改这一个挂载”。",
            "The second call needs `MS_BIND` too, which means: this mount alone.",
        ),
    )

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """Write on both sides."""
        lines = (f"write {name}  ⇒  {inner[name]}" for name in ("target", "source"))
        evidence = told(seen, *lines)
        if not inner["shown"]:
            raise WrongError(self.NOT_SHOWN, evidence)
        if inner["target"] == "OK":
            raise WrongError(self.WRITABLE, evidence)
        if inner["source"] != "OK":
            raise WrongError(self.BOTH, evidence, number=inner["source"])
        return Found(
            Words(
                "从 `target` 写，内核答 EROFS；`source` 照写不误。",
                "A write at `target` is refused with EROFS, and at `source` it succeeds.",
            ),
            evidence,
        )


class Leak(Broken):
    """The old root is still there."""

    title = Words("宿主机还看得见", "The host can be seen")
    task = Words(
        "有人照着手册页写了 `move_in(root)`，`/` 确实换成了新的，可是容器里的程序把宿主机的文件翻了个遍。"
        "找出原因，改好它。",
        "Somebody wrote `move_in(root)` by the man page, and `/` is indeed the new root. But a "
        "program in the container has read all of the host's files. Find the cause and mend it.",
    )
    symptom = Words(
        "`/` 换好了，宿主机的根却还在里面。",
        "`/` is the new root, but the host's is in it.",
    )
    hints = (
        Words(
            "`pivot_root` 的第二个参数说旧的根放到哪里。放好以后呢？",
            "The second argument of `pivot_root` says where the old root goes. And then?",
        ),
        Words(
            '在最后加上 `umount2("/old", MNT_DETACH)`，再把空目录删掉。',
            'At the end, `umount2("/old", MNT_DETACH)`, and remove the empty directory.',
        ),
    )
    model = staticmethod(solutions.move_in)
    broken = staticmethod(mishaps.move_in)
    scene = "walls"
    why = Words(
        "`pivot_root` 只是换位置：新的根上来，旧的根挪到 `put_old`，一个文件也没有少。"
        "手册页里也是下一步才卸下它。传播和绑定的范围管的是别的事。",
        "`pivot_root` only exchanges places: the new root comes up, the old one goes to `put_old`, "
        "and not one file is lost. In the man page, too, the next step takes it off. Propagation "
        "and the extent of the bind are about something else.",
    )

    OLD_ROOT, NOT_THERE = _OLD_ROOT, _NOT_THERE
    NO_SLAVE = (
        Words(
            "检查改用了 `MS_SLAVE`，宿主机还是看得见。",
            "The check used `MS_SLAVE`. The host can still be seen.",
        ),
        Words(
            "传播说的是以后的挂载，不是已经在那里的。",
            "Propagation is about later mounts, not about those that are there.",
        ),
    )
    NO_REC = (
        Words(
            "检查加上了 `MS_REC`，宿主机还是看得见。",
            "The check added `MS_REC`. The host can still be seen.",
        ),
        Words(
            "它说的是新的根下面的挂载，旧的根不归它管。",
            "That is about the mounts below the new root, not about the old one.",
        ),
    )
    NO_CHROOT = (
        Words(
            "检查加上了 `chroot`，宿主机还是看得见。",
            "The check added `chroot`. The host can still be seen.",
        ),
        Words(
            "`/` 已经是新的根了，`chroot` 没有什么可改。旧的根就在它里面。",
            "`/` is the new root already, so there is nothing to change. The old one is inside.",
        ),
    )

    suspects = (
        Suspect(
            Words("传播应该是 `MS_SLAVE`。", "Propagation should be `MS_SLAVE`."),
            mishaps.move_in_as_a_slave,
            NO_SLAVE,
        ),
        Suspect(
            Words(
                "绑定少了 `MS_REC`，下面的挂载没有跟来。",
                "The bind lacks `MS_REC`: the mounts below were left out.",
            ),
            mishaps.move_in_with_all_mounts,
            NO_REC,
        ),
        Suspect(
            Words("旧的根没有卸下来。", "The old root was not unmounted."),
            solutions.move_in,
        ),
        Suspect(
            Words("`pivot_root` 之后还要 `chroot`。", "After `pivot_root` a `chroot` is needed."),
            mishaps.move_in_and_chroot,
            NO_CHROOT,
        ),
    )

    def facts(self, _: Seen, inner: Seen) -> tuple[str, ...]:
        """What is in `/`, and where the old root is."""
        return _facts(inner)[:2]

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """The same demands as of `Walls`."""
        evidence = told(seen, *_facts(inner))
        _judge(inner, evidence)
        return Found(
            Words(
                "`/` 是新的根，旧的根哪里也找不到了。",
                "`/` is the new root, and the old one is nowhere to be found.",
            ),
            evidence,
        )


class Ex06(Lesson):
    """V0.6: a root of its own."""

    title = "v0.6"
    walls = Walls()
    null = Null()
    volume = Volume()
    leak = Leak()
