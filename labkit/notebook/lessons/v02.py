"""What the cells of V0.2 have at hand: shells and their children, capabilities tried one by one."""

import time
from contextlib import ExitStack
from pathlib import Path

from labkit.linux.capabilities import names
from labkit.linux.namespaces import KINDS
from labkit.notebook.lessons import common
from labkit.notebook.lessons.common import *  # noqa: F403 - a lesson's cells have them at hand too
from labkit.notebook.lessons.common import Container, run
from labkit.notebook.magics.docker import without_images
from labkit.notebook.widgets.chooser import choose
from labkit.notebook.widgets.namespace_map import ns_map

without_images()

__all__ = [
    "KINDS",
    "child_of",
    "choose",
    "kept",
    "limited_to",
    "may_make_uts",
    "names",
    "ns_map",
]
__all__ += common.__all__


kept = ExitStack()
"""Containers that go on running while a reader looks at them; ``kept.close()`` ends them."""


def child_of(pid: int) -> int:
    """The only child of a process; it is waited for."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    while not children.read_text():
        time.sleep(0.01)
    return int(children.read_text())


def limited_to(capabilities: list[str]) -> str:
    """Setpriv's option for a bounding set that holds these alone: what execve can give to root."""
    kept = (name.lower().replace("cap_", "+") for name in capabilities)
    return f"--bounding-set={','.join(['-all', *kept])}"


def may_make_uts(who: str, *options: str) -> bool:
    """Try `unshare --uts` under setpriv with these options, and print a line about it."""
    script = "grep CapEff /proc/self/status; unshare --uts true"
    done = run(Container(argv=("setpriv", *options, "sh", "-c", script)))
    mask = done.stdout.split()[1]
    word = "CAP_SYS_ADMIN" if "CAP_SYS_ADMIN" in names(int(mask, 16)) else "-"
    answer = "EPERM" if "Operation not permitted" in done.stderr else "OK"
    print(f"{who:34} {mask}  {word:13}  {answer}")
    return done.returncode == 0
