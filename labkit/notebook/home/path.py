"""The path from V0.0 to V1.0: what each lesson adds, what one should know, how long it takes."""

import functools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.notebook import exercises
from labkit.notebook.exercises.exercise import Lesson
from labkit.text.words import Words

# An estimate: how quickly a page like these is read by somebody who thinks about it, and what the
# rest takes. A cell is run, its output read, and something in it changed.
CHINESE_A_MINUTE, ENGLISH_A_MINUTE = 250, 130  # characters, words
MINUTES_A_CELL, MINUTES_AN_EXERCISE, MINUTES_A_STEP = 1.0, 5.0, 15.0
_ROUNDED_TO = 5

_BLOCK = re.compile(r'<div lang="(zh-Hans|en)">(.*?)</div>', re.DOTALL)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_WORD = re.compile(r"[A-Za-z][\w'-]*")
# 时间：约 N 分钟, as the head of a lesson says it
_TOLD = re.compile(r"\*\*\u65f6\u95f4\*\*：\u7ea6 (\d+) \u5206\u949f")
_TAG = re.compile(r"<[^>]*>")  # the meaning of a term stands in one
_GUESS = re.compile(r'\bguess\(\s*"([^"]+)"')  # the name of a question, in the cell that asks it
# The names of cells that ask something of the learner: an answer, or a step of mydocker.py.
_TASK, _STEP = "exercise-", "exercise-mydocker"


@dataclass(frozen=True)
class Step:
    """A lesson of the path. adds: what it adds, in a line. know: what one should know before it.

    aside: why it stands beside the path and not on it, if it does.
    """

    version: str
    adds: Words
    know: Words
    aside: Words | None = None

    @property
    def name(self) -> str:
        """As a file and a command call it: "v0.2b"."""
        return self.version.lower()

    @property
    def exercises(self) -> Lesson:
        """Those of the lesson."""
        lessons: list[Lesson] = [getattr(exercises, name) for name in exercises.__all__]
        return next(each for each in lessons if each.title == self.name)


PATH = (
    Step(
        "V0.0",
        Words(
            "先问为什么：三个理由，三样技术，请内核作证",
            "First the why: three reasons, three technologies, with the kernel as witness",
        ),
        Words("会一点 Python 和 shell", "a little Python and shell"),
        Words("现在读，或者 V0.3 之后再读", "Read it now, or after V0.3"),
    ),
    Step(
        "V0.1",
        Words(
            "Docker 最小的一步：参数表、三个流、退出状态",
            "Docker's smallest step: an argument list, three streams, an exit status",
        ),
        Words("会一点 Python 和 shell", "a little Python and shell"),
    ),
    Step(
        "V0.2",
        Words("容器有自己的主机名", "The container has a host name of its own"),
        Words("V0.1；知道进程是什么", "V0.1; what a process is"),
    ),
    Step(
        "V0.2b",
        Words(
            "十九个选项，加上后来的，逐个试一遍",
            "The nineteen options and the later ones, each tried",
        ),
        Words("V0.2", "V0.2"),
        Words(
            "备查：可以跳过，用到时再回来", "A reference: skip it, and come back when you need it"
        ),
    ),
    Step(
        "V0.3",
        Words(
            "三堵墙：里面的挂载、消息和端口，不再惊动外面",
            "Three walls: mounts, messages and ports inside no longer reach the outside",
        ),
        Words("V0.2；用过 mount 或 ip 更好", "V0.2; better if you have used mount or ip"),
    ),
    Step(
        "V0.4",
        Words(
            "里面的程序是 1 号，`ps` 只看得见自己人",
            "The program inside is PID 1, and `ps` sees only its own",
        ),
        Words("V0.3；知道信号是什么", "V0.3; what a signal is"),
    ),
    Step(
        "V0.5",
        Words(
            "普通用户也能造容器，里面的 root 只有该有的权力",
            "An ordinary user can make one, and root inside has no more power than it needs",
        ),
        Words("V0.4；知道文件的主人和权限位", "V0.4; owners and permissions of files"),
    ),
    Step(
        "V0.6",
        Words(
            "容器有自己的根目录，走不回宿主机；卷",
            "The container has a root directory of its own, and no way back; volumes",
        ),
        Words("V0.5；V0.3 的挂载", "V0.5; the mounts of V0.3"),
    ),
    Step(
        "V0.7",
        Words(
            "根由几层叠成，一个镜像供许多容器用，改动各写各的",
            "The root is made of layers: containers share an image, and each has its own changes",
        ),
        Words("V0.6；V0.0 里的 overlay", "V0.6; the overlay of V0.0"),
    ),
    Step(
        "V0.8",
        Words(
            "限制能用多少内存、处理器和进程",
            "Limits for memory, the processor and processes",
        ),
        Words("V0.4", "V0.4"),
    ),
    Step(
        "V0.9",
        Words(
            "从空的网络到别处也打得开的网页：网线、网桥、NAT、名字",
            "From an empty network to a page that opens from elsewhere: cables, NAT, names",
        ),
        Words("V0.3；知道 IP 地址和端口", "V0.3; IP addresses and ports"),
    ),
    Step(
        "V1.0",
        Words(
            "docker run --rm -it ubuntu /bin/bash：每个词变成了什么，没有守护进程谁来照管",
            "docker run --rm -it ubuntu /bin/bash: what each word became, and who looks after it",
        ),
        Words("V0.4、V0.7；别的各课最好也读过", "V0.4, V0.7; better if you have read the others"),
    ),
)


@dataclass(frozen=True)
class Measure:
    """A lesson's size. title: its heading. minutes: an estimate of the time that it takes.

    guesses: the names of its questions, as progress.py notes them.
    """

    title: Words
    minutes: int
    guesses: tuple[str, ...] = ()


def measured(file: Path) -> Measure:
    """The size of the lesson in `file`, as it is now."""
    return _measured(file, file.stat().st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _measured(file: Path, _: int) -> Measure:
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    prose = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
    names = [str(c.get("id", "")) for c in cells if c["cell_type"] == "code"]
    text = "\n".join(prose)
    told = _TOLD.search(text)  # a lesson whose head says it is believed
    spent = int(told[1]) if told else minutes(text, names)
    return Measure(_title(prose[0]), spent, tuple(_questions(cells)))


def _questions(cells: list[dict[str, Any]]) -> Iterator[str]:
    """The names of what a notebook has its reader guess."""
    for cell in cells:
        if "guess" in cell.get("metadata", {}).get("tags", []):
            yield from _GUESS.findall("".join(cell["source"]))


def minutes(prose: str, cells: list[str]) -> int:
    """How long the prose, read in one of its two languages, and code cells of these names take."""
    read = {"zh-Hans": 0.0, "en": 0.0}
    for language, text in _BLOCK.findall(_FENCE.sub("", prose)):
        chinese = language == "zh-Hans"
        found = (_CHINESE if chinese else _WORD).findall(_TAG.sub("", text))
        read[language] += len(found) / (CHINESE_A_MINUTE if chinese else ENGLISH_A_MINUTE)
    spent = max(read.values()) + sum(map(_minutes_of, cells))
    return math.ceil(spent / _ROUNDED_TO) * _ROUNDED_TO


def _minutes_of(cell: str) -> float:
    if cell == _STEP:
        return MINUTES_A_STEP
    return MINUTES_AN_EXERCISE if cell.startswith(_TASK) else MINUTES_A_CELL


def _title(prose: str) -> Words:
    """The two halves of ``# V0.2 第一个命名空间 · The first namespace``."""
    heading = prose.partition("\n")[0].lstrip("# ")
    chinese, _, english = heading.partition(" ")[2].partition(" · ")
    return Words(chinese, english or chinese)
