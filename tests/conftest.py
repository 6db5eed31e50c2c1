"""The host is the same after the tests as before."""

import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import labkit
from labkit import connection

ROOT = Path(labkit.__file__).parents[1]
# Every process that the tests start inherits this, so that one left behind is known by it.
MARK = "LABKIT_TESTS"
os.environ[MARK] = uuid.uuid4().hex
# Nor read or change what the developer has solved, nor speak one language only.
os.environ["LABKIT_PROGRESS"] = os.environ["LABKIT_LANG"] = ""
# A shell without job control starts what runs in the background with Ctrl-C ignored, and so would
# every program here be started that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def pytest_configure(config: pytest.Config) -> None:
    """The tests have a home of their own.

    A shell in a terminal reads ~/.bashrc, and what that was doing when it is killed stays undone.
    """
    os.environ["HOME"] = home = tempfile.mkdtemp(prefix="labkit-home-")
    config.add_cleanup(lambda: shutil.rmtree(home))


def _output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def marked() -> set[int]:
    """Processes, but this one and its ancestors, that carry the tests' mark."""
    mark = f"{MARK}={os.environ[MARK]}".encode()
    found = set()
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.add(pid)
        except OSError:  # it has just ended, or is a kernel thread
            continue
    return found - {os.getpid()}


def descriptors() -> dict[str, str]:
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:  # the directory's own
            continue
    return found


def cgroups() -> list[str]:
    """Groups below our own; others of the machine come and go with its own services."""
    ours = {line.rpartition(":")[2] for line in Path("/proc/self/cgroup").read_text().splitlines()}
    found = [p for p in Path("/sys/fs/cgroup").rglob("*") if p.is_dir()]
    return sorted(str(p) for p in found if any(f"{own}/" in f"{p}" for own in ours - {"/"})) + [
        str(p) for p in found if "labkit" in p.name
    ]


def host() -> dict[str, object]:
    """What a container must not change."""
    return {
        "mounts": Path("/proc/self/mountinfo").read_text(),
        "host name": os.uname().nodename,
        "links": _output("ip", "-o", "link"),
        "nftables": _output("nft", "list", "ruleset"),
        "cgroups": cgroups(),
        "namespaces": labkit.inodes(),
    }


@pytest.fixture(scope="session", autouse=True)
def unchanged_host() -> Iterator[None]:
    before, fds = host(), descriptors()
    yield
    connection.close()
    gc.collect()
    assert host() == before
    assert descriptors() == fds
    until(lambda: marked() == set())


@pytest.fixture(scope="session")
def nobody() -> Iterator[list[str]]:
    """The words that run a Python, ours if it may, as uid 65534 without any capability.

    It imports a copy of the package: a home is closed to other users, and a clone may be in one.
    """
    with tempfile.TemporaryDirectory(prefix="labkit-nobody-") as folder:
        shutil.copytree(ROOT / "labkit", Path(folder, "labkit"))
        subprocess.run(["chmod", "--recursive", "a+rX", folder], check=True)
        drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
        drop += ["--bounding-set=-all", "env", f"PYTHONPATH={folder}", "PYTHONDONTWRITEBYTECODE=1"]
        for python in (sys.executable, "/usr/bin/python3"):
            argv = [*drop, python, "-c", "pass"]
            if subprocess.run(argv, stderr=subprocess.DEVNULL).returncode == 0:
                break
        else:
            raise AssertionError("no Python that uid 65534 may execute")
        yield [*drop, python]


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for `condition`, at most so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not come true within {seconds} seconds"
        time.sleep(0.01)
