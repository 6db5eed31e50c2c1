"""The exercises of the notebooks, a lesson each: ``from labkit.notebook.exercises import ex01``.

``ex01`` shows which exercises are solved. ``ex01.argv`` shows what one asks. The methods
``ex01.argv.check(answer)``, ``.hint()`` and ``.solution()`` do what their names say.
``ex01.restart()`` begins again.

They are called ``ex02``, because ``v02`` is the lesson's container.

A check judges what the kernel shows, never the learner's text
    A learner's function runs in a program of its own (`machine.py`), because it may end its
    process, never return, or unmount `/proc`. It is sent there as code, because a cell has no
    module that could be imported (`notebook/cells/shipping.py`).
    A step of `contain()` runs in a machine that is thrown away: five new namespaces, in which a
    scene (`scenes.py`) plays the host.
    When a call is refused, the check tries the model solution as well. If that is refused too, the
    machine cannot judge, and the learner is not blamed. If not, the exercise explains the refusal
    from what the function had done by then (`exercise.py`).

A broken container is diagnosed by experiment
    Its exercise takes a cause and a mended function (`broken.py`). Each suspect has a program of
    its own (`mishaps.py`), mended in that point alone: the symptom must be gone without the cause.

A card is alive on the page
    Its buttons give hints and a solution, begin again, and check again, which is to run the cell
    again (`buttons.py`). Beside it stands the card as text and HTML, which a notebook saves.

An unanswered card says nothing of progress or machine, because a notebook saves it as an output.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.notebook.exercises.v00_why import Ex00
    from labkit.notebook.exercises.v01_run import Ex01
    from labkit.notebook.exercises.v02_uts import Ex02
    from labkit.notebook.exercises.v02b_unshare import Ex02b
    from labkit.notebook.exercises.v03_mount_ipc_net import Ex03
    from labkit.notebook.exercises.v04_pid_proc import Ex04
    from labkit.notebook.exercises.v05_user import Ex05
    from labkit.notebook.exercises.v06_rootfs import Ex06
    from labkit.notebook.exercises.v07_union import Ex07
    from labkit.notebook.exercises.v08_cgroup import Ex08
    from labkit.notebook.exercises.v09_network import Ex09
    from labkit.notebook.exercises.v10_docker import Ex10

    ex00, ex01, ex02, ex02b = Ex00(), Ex01(), Ex02(), Ex02b()
    ex03, ex04, ex05, ex06 = Ex03(), Ex04(), Ex05(), Ex06()
    ex07, ex08, ex09, ex10 = Ex07(), Ex08(), Ex09(), Ex10()

__all__ = [
    "ex00",
    "ex01",
    "ex02",
    "ex02b",
    "ex03",
    "ex04",
    "ex05",
    "ex06",
    "ex07",
    "ex08",
    "ex09",
    "ex10",
]

_MODULES = {
    "ex00": "v00_why",
    "ex01": "v01_run",
    "ex02": "v02_uts",
    "ex02b": "v02b_unshare",
    "ex03": "v03_mount_ipc_net",
    "ex04": "v04_pid_proc",
    "ex05": "v05_user",
    "ex06": "v06_rootfs",
    "ex07": "v07_union",
    "ex08": "v08_cgroup",
    "ex09": "v09_network",
    "ex10": "v10_docker",
}


def __getattr__(name: str) -> object:
    """Make a lesson's exercises at their first use: the machine of a check needs none of them."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    globals()[name] = made = getattr(module, name.capitalize())()
    return made
