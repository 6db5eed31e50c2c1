"""What the cells of V0.3 have at hand: make, IPC objects counted, a connection tried."""

import difflib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from pyroute2 import IPRoute

from labkit.engine.running import Running
from labkit.notebook.cells.within import within
from labkit.notebook.lessons import common
from labkit.notebook.lessons.common import *  # noqa: F403 - a lesson's cells have them at hand too
from labkit.notebook.lessons.common import CLONE_NEWNS, Container, run, start
from labkit.notebook.magics.docker import without_images
from labkit.notebook.views.show import lesson_file
from labkit.notebook.widgets.chooser import choose
from labkit.notebook.widgets.stepper import steps

without_images()

__all__ = [
    "IPRoute",
    "TemporaryDirectory",
    "choose",
    "connect",
    "go_changes",
    "lesson_file",
    "make",
    "stage",
    "steps",
    "system_v",
    "within",
]
__all__ += common.__all__


def go_changes(old: str, new: str) -> list[str]:
    """The lines of code that differ between two lessons' main.go, with + and -."""
    before, after = (lesson_file("go", v, "main.go").read_text().splitlines() for v in (old, new))
    changed = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
    return [line for line in changed if "//" not in line and line[0] in "+-"]


def make(folder: str, rules: str, *words: str) -> str:
    """Run make in a folder with these rules; what it prints."""
    # A fresh environment: make lab, which starts the lab, leaves variables of its own in ours.
    clean = {"PATH": os.environ["PATH"]}
    box = Container(argv=("make", "-f", "-", *words), cwd=folder, env=clean)
    return run(box, input=rules).stdout


@contextmanager
def stage() -> Iterator[Running]:
    """A host to try things on: its mount namespace is its own, and on /mnt is a shared tmpfs."""
    with start(Container(argv=("sleep", "1000"), cloneflags=CLONE_NEWNS)) as host:
        host.exec(("mount", "-t", "tmpfs", "stage", "/mnt"))
        host.exec(("mkdir", "/mnt/in", "/mnt/out"))
        host.exec(("mount", "--make-shared", "/mnt"))
        yield host


def system_v(box: Running | None = None) -> int:
    """How many objects of System V IPC a program sees: in a container, or outside."""
    argv = ("ipcs", "--queues", "--shmems", "--semaphores")
    return (box.exec(argv) if box else run(Container(argv))).stdout.count("0x")


def connect(box: Running, address: str) -> str:
    """What a program in the container is told when it connects to port 80 of an address."""
    told = box.exec(("bash", "-c", f": </dev/tcp/{address}/80")).stderr
    return told.partition("\n")[0].removeprefix("bash: connect: ")
