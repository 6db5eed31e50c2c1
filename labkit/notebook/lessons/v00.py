"""What the cells of V0.0 have at hand: a box for a program, machines to send it to, measures."""

import contextlib
import io
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

from IPython.display import Markdown

from labkit.cgroups.hierarchy import parent_for
from labkit.linux.proc import stat
from labkit.notebook.lessons import common
from labkit.notebook.lessons.common import *  # noqa: F403 - a lesson's cells have them at hand too
from labkit.notebook.lessons.common import CLONE_NEWNS, Container, replace, run, start
from labkit.notebook.magics.docker import without_images

without_images()

__all__ = [
    "another_cpu",
    "control_group",
    "memory",
    "pack",
    "parent_of",
    "start_time",
    "table",
    "visit",
]
__all__ += common.__all__


def table(head: list[str], *rows: list[str]) -> Markdown:
    """A table for the page."""
    lines = [head, [":--"] * len(head), *rows]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


def pack(*paths: str) -> bytes:
    """These files in one tar, each under its own path."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", dereference=True) as box:
        for path in paths:
            box.add(path)
    return packed.getvalue()


def visit(image: bytes, has: Iterable[str] = (), broken: Iterable[str] = ()) -> list[str]:
    """Send bash to another machine to print 42: what it says there, alone and in its box.

    The machine has the files in `has`, and those in `broken` are empty files. It is a tmpfs in a
    mount namespace that is thrown away.
    """
    copied = " ".join(["/bin/bash", *has])
    script = f"""
        set -e; mount -t tmpfs machine /mnt; cd /mnt; cp --parents {copied} .
        for file in {" ".join(broken)}; do : > .$file; done
        mkdir box; tar -xC box
        for root in . box; do chroot $root /bin/bash -c "echo 42" 2>&1 || :; done
    """
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C"}  # that machine has no other locale
    done = run(Container(("sh", "-c", script), cloneflags=CLONE_NEWNS, env=env), input=image)
    return [line.split(": ")[-1] for line in done.stdout.splitlines()]


def another_cpu(program: str) -> str:
    """What the kernel says of `program` when its header names another machine type, number 1."""
    file = Path(program).read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        foreign = Path(folder, "program")
        foreign.write_bytes(file[:18] + (1).to_bytes(2, sys.byteorder) + file[20:])
        foreign.chmod(0o755)
        return run(Container(argv=(str(foreign),))).stderr.strip().split(": ")[-1]


def parent_of(pid: int) -> int:
    """The parent of a process, as /proc has it."""
    return stat(pid).ppid


def start_time(box: Container) -> float:
    """How long a container takes from the request to its end, in milliseconds: median of 20."""
    return 1000 * median(run(replace(box, argv=("true",))).seconds for _ in range(20))


class Memory(NamedTuple):
    """Megabytes (MiB). pss: with a share of what is used together; rss: with all of it."""

    pss: float
    rss: float


def memory(*boxes: Container, argv: tuple[str, ...] = ("sleep", "1000")) -> Memory:
    """The memory of these containers together, while each of them runs `argv` and sleeps."""
    pss = rss = 0
    with ExitStack() as running:
        sleepers = [replace(box, argv=argv) for box in boxes]
        pids = [running.enter_context(start(box)).pid for box in sleepers]
        for pid in pids:
            while "(sleeping)" not in Path(f"/proc/{pid}/status").read_text():
                time.sleep(0.01)  # it is still starting
        for pid in pids:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().split()
            pss += int(rollup[rollup.index("Pss:") + 1])
            rss += int(rollup[rollup.index("Rss:") + 1])
    return Memory(pss / 1024, rss / 1024)


@contextlib.contextmanager
def control_group(controller: str) -> Iterator[str]:
    """The folder of a new control group, removed afterwards; "" where none can be made."""
    place = parent_for(controller)
    if not place:
        yield ""
        return
    group = tempfile.mkdtemp(prefix="labkit-", dir=place)
    try:
        yield group
    finally:
        os.rmdir(group)
