"""Exercises of V0.7: an overlay by hand, who provides a file, a whiteout that hides nothing."""

import errno

from labkit.notebook.exercises import mishaps, solutions
from labkit.notebook.exercises.answers import FailedError, WrongError
from labkit.notebook.exercises.broken import Broken, Suspect
from labkit.notebook.exercises.exercise import Found, Lesson
from labkit.notebook.exercises.machine import told
from labkit.notebook.exercises.step import Seen, Step
from labkit.text.words import Words


class Union(Step):
    """An overlay by hand."""

    title = Words("亲手叠起来", "A union by hand")
    task = Words(
        "写一个函数 `union(layers, upper, work, place)`：`layers` 是几个目录，最上面的在前，都不许改；"
        "在 `place` 叠出一个 overlay，改动写到 `upper`，`work` 归 overlay 自己用。",
        "Write a function `union(layers, upper, work, place)`. `layers` are directories, the "
        "uppermost first, and none of them may change. At `place` it mounts an overlay of them. "
        "Changes go to `upper`, and `work` is for overlay's own use.",
    )
    hints = (
        Words(
            "文件系统的名字是 `overlay`；几个目录都写在 `mount` 的最后一个参数里，用逗号分开。",
            "The file system is called `overlay`. All directories stand in the last argument of "
            "`mount`, with commas between the options.",
        ),
        Words(
            '`mount("overlay", place, "overlay", 0, f"lowerdir={lower},upperdir={upper},workdir={work}")`，'
            '`lower` 是 `":".join(layers)`：最上面的在前。',
            '`mount("overlay", place, "overlay", 0, f"lowerdir={lower},upperdir={upper},'
            'workdir={work}")`, where `lower` is `":".join(layers)`: the uppermost first.',
        ),
    )
    model = staticmethod(solutions.union)
    scene = "union"
    why = Words(
        "一次 `mount(2)`，没有复制一个字节。AUFS 的 `br:/rw=rw:/ro=ro` 把可写的和只读的写在同一串里；"
        "overlay 分成三个选项，只许最上面一层可写，所以简单得多：查找时遇到的第一个就是答案。",
        "It is one `mount(2)`, and not a byte was copied. In the `br:/rw=rw:/ro=ro` of AUFS the "
        "writable and the read-only stand in one string. overlay has three options and lets only "
        "the uppermost layer be written. This makes it much simpler: the first that is found is "
        "the answer.",
    )

    NOT_THERE = (
        Words("`place` 里看不到那几层的文件。", "`place` does not show the files of the layers."),
        Words(
            "挂载点是第二个参数：`place`；两层都要写进 `lowerdir`。",
            "The second argument of `mount` is `place`, and both layers stand in `lowerdir`.",
        ),
    )
    ORDER = (
        Words(
            "两层都有 `both`，看到的却是下面那层的。",
            "Both layers have a file `both`, and the one of the lower layer is seen.",
        ),
        Words(
            "`lowerdir` 从上往下写，和 `layers` 的次序一样：不用倒过来。",
            "`lowerdir` goes from the top down, in the order of `layers`: do not reverse it.",
        ),
    )
    READ_ONLY = (
        Words(
            "叠好了，可是写不进去（{number}）。",
            "The union is there, but nothing can be written ({number}).",
        ),
        Words(
            "少了 `upperdir` 和 `workdir`：没有上层的 overlay 是只读的。",
            "`upperdir` and `workdir` are missing: an overlay without an upper layer is read-only.",
        ),
    )
    ELSEWHERE = (
        Words(
            "写进去的文件到了 {where}，不在 `upper` 里。",
            "What was written is in {where}, not in `upper`.",
        ),
        Words(
            "`upperdir` 就是 `upper`，`layers` 只能出现在 `lowerdir` 里。",
            "`upperdir` is `upper`, and `layers` may stand in `lowerdir` only.",
        ),
    )
    OPTIONS = (
        Words("overlay 不收这串选项：EINVAL。", "overlay refuses these options: EINVAL."),
        Words(
            "`upperdir` 和 `workdir` 要一起给，是同一个文件系统上两个不同的目录；层之间用冒号，选项之间用逗号。",
            "`upperdir` and `workdir` go together: two directories on one file system. There are "
            "colons between layers and commas between options.",
        ),
    )

    def explain(self, failed: FailedError) -> WrongError:
        """Which options overlay has not taken."""
        refused = failed.failure.number in (errno.EINVAL, errno.ENOENT)
        if refused and '"overlay"' in failed.failure.text:
            return WrongError(self.OPTIONS)
        return super().explain(failed)

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """See which files there are, and where a new one goes."""
        where = ", ".join(f"`{name}`" for name in inner["where"]) or "-"
        lines = f"ls place    {' '.join(inner['listed'])}", f"cat both    {inner['both'] or '-'}"
        evidence = told(seen, *lines, f"write new  ⇒  {inner['written']}")
        if not {"base", "both", "top"} <= {*inner["listed"]}:
            raise WrongError(self.NOT_THERE, evidence)
        if inner["both"] != "top":
            raise WrongError(self.ORDER, evidence)
        if inner["written"] != "OK":
            raise WrongError(self.READ_ONLY, evidence, number=inner["written"])
        if inner["where"] != ["upper"]:
            raise WrongError(self.ELSEWHERE, evidence, where=where)
        return Found(
            Words(
                "两层的文件都在，上面的盖住下面的，新文件落在 `upper` 里。",
                "The files of both layers are there, the upper one covers the lower one, and a new "
                "file goes to `upper`.",
            ),
            evidence,
        )


class Who(Step):
    """Overlay's lookup, in Python."""

    title = Words("这个文件是谁的", "Who provides the file?")
    task = Words(
        "写一个函数 `who(layers, name)`：`layers` 是几个目录，最上面的在前；返回 overlay 会从哪个目录拿出文件 `name`，"
        "没有这个文件就返回 `None`。只问最外层的名字，不用管子目录。检查拿同样的几层真的叠一个 overlay 来对。",
        "Write a function `who(layers, name)`. `layers` are directories, the uppermost first. It "
        "returns the directory from which overlay takes the file `name`, or `None` if there is no "
        "such file. Names are of the top directory only, so leave out subdirectories. The check "
        "compares with a real overlay of the same layers.",
    )
    hints = (
        Words(
            "从上往下，第一个有话说的目录说了算。“没有”也是一句话：遮盖。",
            "Go from the top down: the first directory that says something decides. A whiteout "
            "says something too.",
        ),
        Words(
            "`os.lstat`：没有这个名字就看下一层；`st_mode` 的种类是 `0o020000`（字符设备）而且 `st_rdev` 是 0，就是遮盖，返回 `None`。",
            "`os.lstat`: where the name is missing, look at the next layer. If the kind in "
            "`st_mode` is `0o020000` (a character device) and `st_rdev` is 0, it is a whiteout: "
            "return `None`.",
        ),
    )
    model = staticmethod(solutions.who)
    scene = "who"
    why = Words(
        "这就是 overlay 查找一个文件的全部：层越多，找一个不存在的文件就越慢，因为每一层都要问到。"
        "目录多一步：遇到目录还要接着往下找，把它们合并，直到一个不透明的为止。",
        "This is all of overlay's lookup of a file. The more layers there are, the slower it is to "
        "look for a file that does not exist, because each layer is asked. A directory takes one "
        "step more: the search goes on and merges what it finds, down to an opaque one.",
    )

    ORDER = (
        Words(
            "`{name}` 在上面的层里也有，你的函数答的是下面的 `{given}`。",
            "An upper layer has `{name}` too, but your function gave the lower `{given}`.",
        ),
        Words("从 `layers` 的第一个开始，找到就停。", "Begin with the first of `layers` and stop."),
    )
    WHITEOUT = (
        Words(
            "`{name}` 被遮住了，overlay 说没有，你的函数答的是 `{given}`。",
            "`{name}` is hidden, and overlay has no such file; your function gave `{given}`.",
        ),
        Words(
            "找到的要是字符设备 0, 0，就到此为止：`None`。",
            "If what you find is the character device 0, 0, stop there: `None`.",
        ),
    )
    OTHER = (
        Words(
            "`{name}`：overlay 答 `{wanted}`，你的函数答 `{given}`。",
            "`{name}`: overlay says `{wanted}`, and your function `{given}`.",
        ),
        Words(
            "返回 `layers` 里的一个目录，或者 `None`。",
            "Return one of the directories in `layers`, or `None`.",
        ),
    )

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """Compare with the kernel, name by name."""
        given, kernel = inner["given"], inner["kernel"]
        lines = (f"{name}  {kernel[name]!s:<7} {given[name]}" for name in kernel)
        evidence = told(seen, f"{'':2} {'overlay':<7} who()", *lines)
        for name, wanted in kernel.items():
            if given[name] != wanted:
                diagnosis = self._diagnosis(given[name], wanted)
                raise WrongError(diagnosis, evidence, name=name, given=given[name], wanted=wanted)
        return Found(
            Words("每个名字都和 overlay 答得一样。", "For each name overlay says the same."),
            evidence,
        )

    def _diagnosis(self, given: str | None, wanted: str | None) -> tuple[Words, Words]:
        if given not in ("top", "middle", "base"):
            return self.OTHER
        return self.WHITEOUT if wanted is None else self.ORDER


_SHOWN = (
    Words(
        "`secret` 还在，照样读得出来；`ls` 里是 {listed}。",
        "`secret` is still there and can be read; `ls` shows {listed}.",
    ),
    Words(
        "overlay 不看名字，只看种类：上层要有一个叫 `secret` 的字符设备 0, 0。",
        "overlay looks at the kind, not at the name: the upper layer needs a character device 0, 0 "
        "that is called `secret`.",
    ),
)


class Secret(Broken):
    """A whiteout as AUFS had it."""

    title = Words("删不掉的秘密", "A secret that does not go")
    task = Words(
        "有人想在挂载之前就把底层的 `secret` 遮住。他见过镜像的 tar 里有 `.wh.` 开头的文件，就照样在上层放了一个，可是没有用。找出原因，改好它。",
        "Somebody wants to hide the file `secret` of the base before the overlay is mounted. In "
        "the tar of an image there were files that began with `.wh.`, so the upper layer got one "
        "too, but that did not help. Find the cause and mend it.",
    )
    symptom = Words(
        "上层里放了 `.wh.secret`，叠好以后 `secret` 还在。",
        "The upper layer has `.wh.secret`, but in the union `secret` is still there.",
    )
    hints = (
        Words(
            "看看 overlay 自己删文件时，上层留下的是什么：课文里 `marks(upper)` 的那一行 `c`。",
            "What does overlay itself leave in the upper layer when a file is deleted? See the "
            "line `c` of `marks(upper)` in the lesson.",
        ),
        Words(
            '造一个这样的设备：`os.mknod(f"{upper}/secret", 0o020000, os.makedev(0, 0))`。',
            'Make such a device: `os.mknod(f"{upper}/secret", 0o020000, os.makedev(0, 0))`.',
        ),
    )
    model = staticmethod(solutions.hide)
    broken = staticmethod(mishaps.hide)
    scene = "secret"
    why = Words(
        "`.wh.` 是 AUFS 的记号，也是镜像的层在 tar 里的记号；overlay 认的是字符设备 0, 0。"
        "所以解包的程序要翻译：见到 `.wh.secret`，就造一个设备。原样解出来，什么也遮不住，还多出一个垃圾文件。",
        "`.wh.` is the mark of AUFS, and of layers in a tar. overlay's own is the character device "
        "0, 0. So who unpacks a layer has to translate: for `.wh.secret` it makes a device. "
        "Unpacked as it is, it hides nothing and is one more file.",
    )

    SHOWN = _SHOWN
    COVERED = (
        Words(
            "`secret` 还在，只是读出来是空的：你放的是一个普通文件。",
            "`secret` is still there, but empty: what you put there is a regular file.",
        ),
        Words(
            "遮盖是字符设备：`0o020000`，号码 0, 0。",
            "A whiteout is a character device: `0o020000`, with the numbers 0, 0.",
        ),
    )
    TOO_MUCH = (
        Words("`other` 也看不见了。", "`other` cannot be seen either."),
        Words("只遮 `secret` 一个。", "Hide `secret` alone."),
    )
    NO_MODE = (
        Words(
            "检查把它的权限改成了 000，`secret` 还在。",
            "The check gave it the mode 000. `secret` is still there.",
        ),
        Words(
            "权限说的是谁能打开，不是有没有。",
            "A mode says who may open a file, not whether it is there.",
        ),
    )
    NO_NAME = (
        Words(
            "检查换成了 `.wh..wh.secret`，`secret` 还在。",
            "The check called it `.wh..wh.secret`. `secret` is still there.",
        ),
        Words(
            "那是 AUFS 自己记事用的名字，overlay 一样不认识。",
            "That is how AUFS called its own records. overlay does not know it either.",
        ),
    )
    NO_CONTENT = (
        Words(
            "检查在里面写上了 `secret`，它还在。",
            "The check wrote `secret` into it. The file is still there.",
        ),
        Words(
            "overlay 从不读文件的内容来决定什么。",
            "overlay never decides anything by the content of a file.",
        ),
    )

    suspects = (
        Suspect(
            Words("权限应该是 000。", "Its mode should be 000."),
            mishaps.hide_without_permissions,
            NO_MODE,
        ),
        Suspect(
            Words("名字应该是 `.wh..wh.secret`。", "Its name should be `.wh..wh.secret`."),
            mishaps.hide_by_a_longer_name,
            NO_NAME,
        ),
        Suspect(
            Words("里面要写上被遮的名字。", "It should contain the name that it hides."),
            mishaps.hide_by_content,
            NO_CONTENT,
        ),
        Suspect(
            Words(
                "overlay 的遮盖不是这种文件。", "A whiteout of overlay's is another kind of file."
            ),
            solutions.hide,
        ),
    )

    def facts(self, _: Seen, inner: Seen) -> tuple[str, ...]:
        """What is in the union, and what the secret says."""
        read = {None: "ENOENT", "": "(0 bytes)"}.get(inner["read"], inner["read"])
        return f"ls          {' '.join(inner['listed'])}", f"cat secret  {read}"

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """See what the union shows."""
        evidence = told(seen, *self.facts(seen, inner))
        listed = ", ".join(f"`{name}`" for name in inner["listed"])
        if "secret" in inner["listed"]:
            raise WrongError(self.SHOWN if inner["read"] else self.COVERED, evidence, listed=listed)
        if "other" not in inner["listed"]:
            raise WrongError(self.TOO_MUCH, evidence)
        return Found(
            Words(
                "`secret` 看不见了，底层那个还在原处。",
                "`secret` is gone from the union, and still in its place in the base.",
            ),
            evidence,
        )


class Ex07(Lesson):
    """V0.7: layers."""

    title = "v0.7"
    union = Union()
    who = Who()
    secret = Secret()
