"""A piece of work, killed with SIGKILL before each of its calls in turn; what it leaves is judged.

A scenario has three functions of a folder: `prepare`, `work` and `look`, which asserts that all is
well although `work` was killed somewhere. Each runs in a process of its own, forked from one that
has imported everything, so a thousand deaths take seconds. labkit's state is in that folder.
"""

import importlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

_MEMORY = "/dev/shm"  # where fsync(2) takes no time: a death, not a power cut, is what is tried
_EFFECTS = {"posix", "fcntl", "_io", "socket", "select", "mmap"}  # whose calls reach the kernel


def at_each_call(scenario: str, step: int = 1) -> int:
    """Kill the work of `scenario`, as "module:Name", at every step-th call. How many there are."""
    command = [sys.executable, __file__, scenario, str(step)]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout.splitlines()[-1])


def _reaches_the_kernel(function: Any) -> bool:  # noqa: ANN401 - a C function
    owner = getattr(function, "__self__", None)
    return {getattr(function, "__module__", ""), type(owner).__module__} & _EFFECTS != set()


def _die_at(point: int) -> None:
    """From now on count the calls that reach the kernel, and die before number `point`."""
    numbers = itertools.count(1)

    def before(_frame: FrameType, event: str, called: Any) -> None:  # noqa: ANN401
        if event == "c_call" and _reaches_the_kernel(called) and next(numbers) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(before)


def _forked(function: Callable[[], object]) -> int:
    """Do it in a process of its own: its exit status, or minus the signal that killed it."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 1
    try:
        function()
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it is, the parent is told
        traceback.print_exc()
    finally:
        sys.setprofile(None)
        sys.stderr.flush()
        os._exit(status)


def _one(scenario: Any, folder: Path, point: int) -> bool:  # noqa: ANN401
    """Whether the work was killed at `point`; else it came to its end before."""
    os.environ["LABKIT_STATE"] = str(folder / "state")

    def work() -> None:
        _die_at(point)
        scenario.work(folder)

    status = _forked(work)
    assert status in (0, -signal.SIGKILL), f"point {point}: the work itself fails"
    assert _forked(lambda: scenario.look(folder)) == 0, f"killed at point {point}"
    return status != 0


def _main(named: str, step: int) -> None:
    module, _, name = named.partition(":")
    scenario = getattr(importlib.import_module(module), name)
    with tempfile.TemporaryDirectory(prefix="labkit-killed-", dir=_MEMORY) as temporary:
        fresh = Path(temporary, "fresh")
        fresh.mkdir()
        os.environ["LABKIT_STATE"] = str(fresh / "state")
        assert _forked(lambda: scenario.prepare(fresh)) == 0, "not even prepared"
        for point in itertools.count(1, step):
            folder = Path(temporary, str(point))
            shutil.copytree(fresh, folder, symlinks=True)
            if not _one(scenario, folder, point):
                print(point)
                return
            shutil.rmtree(folder)


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
