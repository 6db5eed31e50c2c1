"""The host is the same after the tests as before; and where each test runs."""

import contextlib
import fcntl
import gc
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import results

import labkit
from labkit.engine import connection
from labkit.linux import proc
from labkit.notebook.cells import within
from labkit.state.folder import passing

ROOT = Path(labkit.__file__).parents[1]
# Every process that the tests start inherits this, so that one left behind is known by it. Where
# several processes run tests, each has its own mark, which begins with that of who started it.
MARK = "LABKIT_TESTS"
OUTERMOST = MARK not in os.environ  # no process that another one runs tests in
os.environ[MARK] = f"{os.environ.get(MARK, '')}/{uuid.uuid4().hex[:12]}"
# Nor read or change what the developer has solved or written, nor speak one language only.
os.environ["LABKIT_PROGRESS"] = os.environ["LABKIT_MYDOCKER"] = os.environ["LABKIT_LANG"] = ""
# Some machines, images above all, have Python keep nothing that it has compiled. The tests start it
# two thousand times, and would compile the package, or themselves, at each start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# A shell without job control starts what runs in the background with Ctrl-C ignored, nohup(1) with
# a hang-up ignored, perf(1) with SIGWINCH blocked; and so would every program here be started.
# Python itself ignores two.
signal.pthread_sigmask(signal.SIG_SETMASK, ())
for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

# --- Which tests run together -------------------------------------------------------------------

# With -n 3 three processes share the tests: a third of the time of one is waiting, for a browser, a
# kernel, a container. The tests of a file stay together, since they share what is started once.
# These do not: they are long and share nothing.
APART = ("test_exercises.py", "test_docs.py", "test_mydocker.py")
# Every other process takes its groups from the beginning, where all that have the browser are, and
# the rest from the end. At both ends are the long ones, the longest outermost: so they meet among
# short ones, and nobody is idle at the end. And no browser and lab is started for each process.
FIRST = (
    *("ui/test_lab.py", "ui/test_book.py", "ui/test_terminal.py", "ui/test_namespace_map.py"),
    *("ui/test_home.py", "ui/test_language.py", "ui/test_waiting.py", "ui/test_chooser.py"),
)
LAST = (
    *("test_levels.py", "test_notebooks.py", "test_exam.py", "test_monitor.py", "test_answers.py"),
    *("test_unsharing.py", "test_network.py", "test_lint.py", "test_book.py", "test_faults.py"),
    *("test_store.py", "test_cli.py"),
)
# They run notebooks, or exercises with all their wrong answers, or take long: make quick leaves
# them out.
SLOW = (
    *("test_answers.py", "test_book.py", "test_dialects.py", "test_exam.py", "test_exchange.py"),
    *("test_exercises.py", "test_faults.py", "test_levels.py", "test_mydocker.py"),
    *("test_notebooks.py", "test_results.py", "test_unsharing.py"),
)


def group(nodeid: str) -> str:
    """The group of a test; a test that has the group to itself is in one of its own name."""
    file = nodeid.partition("::")[0].removeprefix("tests/")
    return nodeid if file in APART else file


def place_of(name: str) -> tuple[int, int]:
    """Where a group is among all: the browser's, those of one test, the others."""
    if name.startswith("ui/"):
        return 0, FIRST.index(name) if name in FIRST else len(FIRST)
    if name in LAST:
        return 3, -LAST.index(name)
    return 1 if "::" in name else 2, 0


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The browser's first, the long ones last; and which are slow."""
    for item in items:
        if item.path.name in SLOW:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: place_of(group(item.nodeid)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:  # noqa: ANN401
    """Give out whole groups, to every other process from the beginning, to the rest from the end.

    The groups of pytest-xdist 3.8 itself (--dist=loadgroup) are lost on pytest 9.2: it writes them
    into a test's `_nodeid`, which is no more.
    """
    from xdist.scheduler import LoadScopeScheduling

    config.option.loadscopereorder = False
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = group
    share_from_both_ends(scheduler)
    return scheduler


def share_from_both_ends(scheduler: Any) -> None:  # noqa: ANN401 - pytest-xdist has no types
    """Have every other process take its groups from the end of the queue."""
    give = scheduler._assign_work_unit

    def from_an_end(node: object) -> None:
        if scheduler.nodes.index(node) % 2:
            queue = scheduler.workqueue
            queue.move_to_end(next(reversed(queue)), last=False)
        give(node)

    scheduler._assign_work_unit = from_an_end


def pytest_configure(config: pytest.Config) -> None:
    """The tests have a home of their own.

    A shell in a terminal reads ~/.bashrc, and what that was doing when it is killed stays undone.
    """
    inside = os.environ["HOME"] if results.is_worker(config) else None
    os.environ["HOME"] = home = tempfile.mkdtemp(prefix="labkit-home-", dir=inside)
    config.add_cleanup(lambda: shutil.rmtree(home))
    # Kernels have their sockets there, whose names are short. unix(7)
    os.environ["JUPYTER_RUNTIME_DIR"] = sockets = tempfile.mkdtemp(prefix="labkit-run-")
    config.add_cleanup(lambda: shutil.rmtree(sockets))
    if not inside:  # Go's own library is compiled once for all tests
        os.environ["GOCACHE"] = f"{home}/go-cache"
    config.pluginmanager.register(results)
    if OUTERMOST:
        config.pluginmanager.register(Machine())


# --- What must be as it was ---------------------------------------------------------------------


def _output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def marked() -> set[int]:
    """Processes, but this one and its ancestors, that carry the mark of these tests."""
    mark = f"\0{MARK}={os.environ[MARK]}".encode()
    found = set()
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            if mark in b"\0" + Path(f"/proc/{pid}/environ").read_bytes():
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
    # Unlike rglob, it passes over a group that a neighbour removes meanwhile.
    found = [Path(top, name) for top, names, _ in os.walk("/sys/fs/cgroup") for name in names]
    return sorted(str(p) for p in found if any(f"{own}/" in f"{p}" for own in ours - {"/"})) + [
        str(p) for p in found if p.name.startswith("labkit-box-")
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


# What the kernel and other programs of the machine change by themselves while the tests run.
MOVES = re.compile(r"\b(expires|valid_lft|preferred_lft|cache|users|age) \S+")


def network() -> dict[str, object]:
    """What only a test outside its throw-away network namespace could have changed."""
    shown = {
        "addresses": ("ip", "-o", "address"),
        "routes": ("ip", "route", "show", "table", "all"),
        "routes of IPv6": ("ip", "-6", "route", "show", "table", "all"),
        "rules for routes": ("ip", "rule"),
    }
    said = {name: MOVES.sub("", _output(*argv)) for name, argv in shown.items()}
    return said | {"sysctls": sysctls(), "networks of labkit": made_networks()}


def sysctls() -> list[str]:
    """The settings in /proc/sys/net, without those of single links."""
    found = []
    for folder, folders, names in os.walk("/proc/sys/net"):
        if os.path.basename(folder) in ("conf", "neigh"):
            folders[:] = ["all", "default"]
        for name in names:
            with contextlib.suppress(OSError):  # some can only be written
                found.append(f"{folder}/{name} {Path(folder, name).read_text().rstrip()}")
    return sorted(line for line in found if "conntrack_count" not in line)


def made_networks() -> int | None:
    """When a network of ours was last made or removed in the machine's own network namespace."""
    own = os.stat("/proc/self/ns/net").st_ino
    with contextlib.suppress(OSError):
        return os.stat(f"{passing()}/network/{own}").st_mtime_ns
    return None


def changed(before: dict[str, object]) -> dict[str, object]:
    """What is in the host now that was not before: a neighbour's groups come and go meanwhile."""
    now = host()
    return {name: now[name] for name in now if added(before[name], now[name])}


def added(before: object, now: object) -> bool:
    """Whether `now` is another value or, of a list, holds something more."""
    if isinstance(before, list) and isinstance(now, list):
        return not set(now) <= set(before)
    return before != now


def command_line(pid: int | str) -> bytes:
    """The words of a process, each with a NUL at its end; none once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture(scope="session", autouse=True)
def nothing_left() -> Iterator[None]:
    """A process that has run tests is as it was, and none that they started is left."""
    before = descriptors(), labkit.inodes()
    yield
    within.close()
    connection.close()
    gc.collect()
    assert (descriptors(), labkit.inodes()) == before
    until(lambda: not marked())


@pytest.fixture(autouse=True)
def engine_is_there(nothing_left: None) -> None:  # noqa: ARG001 - it is to look before
    """Whichever test comes first: a test that counts processes counts the engine from the start."""
    connection._current.get()


class Machine:
    """The machine before all tests and after them, when no test runs: no two of them at once."""

    def __init__(self) -> None:
        self._changed: dict[str, object] = {}

    def pytest_sessionstart(self) -> None:
        self._before = host() | network()

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        """Look again once the others have ended; what is not as it was fails the whole run."""
        yield
        try:
            until(lambda: not self._added(host() | network()) and not marked())
        except AssertionError:
            now = host() | network() | {"processes": sorted(map(command_line, marked()))}
            self._changed = self._added(now)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _added(self, now: dict[str, object]) -> dict[str, object]:
        """What was not there before. A group that has gone was somebody else's: it ran on."""
        return {n: v for n, v in now.items() if added(self._before.get(n, []), v)}

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for name, now in self._changed.items():
            terminalreporter.write_line(f"the tests have changed the machine: {name}", red=True)
            before = self._before.get(name)
            if isinstance(before, list) and isinstance(now, list):  # the whole may be pages
                before, now = sorted({*before} - {*now}), sorted({*now} - {*before})  # noqa: PLW2901
            terminalreporter.write_line(f"before: {before}\nafter: {now}")


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
        # What labkit keeps until the next boot would be left in /tmp.
        Path(folder, "run").mkdir()
        Path(folder, "run").chmod(0o1777)
        drop += [f"XDG_RUNTIME_DIR={folder}/run"]
        for python in (sys.executable, "/usr/bin/python3"):
            argv = [*drop, python, "-c", "pass"]
            if subprocess.run(argv, stderr=subprocess.DEVNULL).returncode == 0:
                break
        else:
            raise AssertionError("no Python that uid 65534 may execute")
        yield [*drop, python]


# Where there is no udev, ordinary users may not open the device that slirp4netns needs.
TUNNELS = {
    "open to all": "mknod -m 666 /dev/net/tun c 10 200",
    "missing": "true",
    "not allowed": "mknod -m 600 /dev/net/tun c 10 200",
    "not in the kernel": "mknod -m 666 /dev/net/tun c 10 254",
}


def with_tunnels(how: str = "open to all") -> list[str]:
    """The words that run a command where /dev/net/tun is so, whatever it is on this machine."""
    place = f'mount -t tmpfs -o mode=755 none /dev/net && {TUNNELS[how]} && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", place, "sh"]


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """The reading edition, built where there is no network at all, once for all processes."""
    own = tmp_path_factory.getbasetemp()
    place = own.parent if results.is_worker(pytestconfig) else own
    site, new = place / "book", own / "book-new"
    with (place / "book.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not site.exists():
            make = str(ROOT / "scripts" / "book" / "make.py")
            command = ["unshare", "--net", sys.executable, make, str(new)]
            done = subprocess.run(command, capture_output=True, text=True)
            assert (done.returncode, done.stderr) == (0, "")  # a warning is an error
            new.rename(site)
    return site


# Whether an overlay takes its layers one by one: since Linux 6.5.
TAKES_LAYERS = tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) >= (6, 5)

# --- What moves: look once, wait for a state ----------------------------------------------------

PATIENCE = 60  # seconds for what comes at once: a busy machine is slow, and waiting is no failure
T = TypeVar("T")


def until(condition: Callable[[], T | None], seconds: float = PATIENCE) -> T:
    """Wait until `condition` says something true, at most so many seconds; what it said.

    Who looks a second time sees something else. So a condition that finds something returns it:
    ``found = until(lambda: re.search(pattern, terminal.text()))``.
    """
    began = time.monotonic()
    while not (found := condition()):
        assert time.monotonic() < began + seconds, f"{found!r} after {seconds} seconds"
        time.sleep(min(0.1, 0.01 + (time.monotonic() - began) / 20))
    return found


def stop(pid: int) -> None:
    """Stop a process, and wait until it is: what it waits for may still come to it before that."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: proc.stat(pid).state == "T")


def given_time(attempt: Callable[[float], T], enough: Callable[[T], object]) -> T:
    """What comes of `attempt`, which ends after the seconds that it is given.

    A short time is enough on a quiet machine. On a busy one the program may not even have begun,
    so where `enough` says no, it is tried again with more.
    """
    for seconds in (0.3, 1, 4, 16):
        came = attempt(seconds)
        if enough(came):
            break
    return came


def read_until(fd: int, end: bytes) -> bytes:
    """Read a terminal or a pipe until `end`: one read(2) gives what is there, which may be half."""
    data = b""
    while not data.endswith(end):
        more = os.read(fd, 4096)
        assert more, f"it ended with {data!r}"
        data += more
    return data


# --- A root directory ---------------------------------------------------------------------------


def small_root(folder: Path) -> Path:
    """A root directory of one static busybox, which is every program; all users may read it."""
    busybox = shutil.which("busybox")
    assert busybox, "no busybox: scripts/setup test installs it"
    (folder / "bin").mkdir(parents=True)
    shutil.copy(busybox, folder / "bin")
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    for name in {*listed.stdout.split()} - {"busybox"}:
        (folder / "bin" / name).symlink_to("busybox")
    for part in (folder, folder / "bin"):
        part.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def base() -> Iterator[Path]:
    """A root directory to build on, not to be changed: a layer."""
    with tempfile.TemporaryDirectory(prefix="labkit-root-") as folder:
        os.chmod(folder, 0o755)  # noqa: S103 - for other users too
        yield small_root(Path(folder, "base"))


@pytest.fixture
def directory(base: Path) -> Iterator[Path]:
    """A root directory of the test's own."""
    with tempfile.TemporaryDirectory(prefix="labkit-root-") as folder:
        os.chmod(folder, 0o755)  # noqa: S103 - for other users too
        shutil.copytree(base, Path(folder, "root"), symlinks=True)
        yield Path(folder, "root")
