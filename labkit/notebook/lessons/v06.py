"""What the cells of V0.6 have at hand: a small root directory, and what a program needs in one."""

import atexit
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from labkit import Root
from labkit.container.new_root import change_root
from labkit.notebook.cells.attempt import attempt
from labkit.notebook.exercises.machine import observe
from labkit.notebook.lessons import common
from labkit.notebook.lessons.common import *  # noqa: F403 - a lesson's cells have them at hand too
from labkit.notebook.lessons.common import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
)
from labkit.notebook.widgets.stepper import steps

__all__ = [
    "WALLS",
    "Root",
    "a_folder",
    "bring",
    "change_root",
    "gets_out",
    "shutil",
    "small_root",
    "steps",
]
__all__ += common.__all__

WALLS = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
"""The five namespaces of V0.4."""
_PREFIX = "labkit-lesson-"
_YOUNG = 60  # seconds
_locks: list[int] = []
PROGRAMS = ("sh", "ls", "cat", "touch", "stat", "nsenter", "true")


def small_root() -> str:
    """A root directory of one static program, busybox, under several names. It goes at the end."""
    folder = Path(a_folder({}))
    (folder / "bin").mkdir()
    busybox = shutil.which("busybox")
    assert busybox, "scripts/setup installs it"  # noqa: S101 - the lab has it
    shutil.copy(busybox, folder / "bin")
    for name in PROGRAMS:
        (folder / "bin" / name).symlink_to("busybox")
    return str(folder)


def a_folder(files: Mapping[str, str]) -> str:
    """A new folder with these files, by name. It goes when the notebook's process ends.

    A process that is killed cannot see to that, so the next one does.
    """
    _sweep()
    folder = tempfile.mkdtemp(prefix=_PREFIX)
    _locks.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
    fcntl.flock(_locks[-1], fcntl.LOCK_EX)  # as long as this process lives
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    Path(folder).chmod(0o755)
    for name, text in files.items():
        Path(folder, name).write_text(text, encoding="utf-8")
    return folder


def _sweep() -> None:
    """Remove the folders of processes that are gone: nobody locks them any more."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # it is somebody else's, or just goes
            if time.time() - path.stat().st_mtime < _YOUNG:
                continue  # perhaps not locked yet
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(fd)


def bring(program: str, root: str) -> None:
    """Copy what ldd(1) says that `program` loads to the same places in `root`."""
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for path in re.findall(r"(/\S+) \(0x", said):
        place = Path(f"{root}{path}")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)


def gets_out(enter: Callable[[str], object]) -> bool:
    """Whether root gets out again after `enter(root)`: tried in a machine that is thrown away."""
    seen, _ = attempt(lambda: observe("walls", enter))
    return bool(seen["came"][0]["out"])
