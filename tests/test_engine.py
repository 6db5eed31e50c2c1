"""Three processes, and what happens when one of them dies."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import PATIENCE, marked, stop, until

from labkit import CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS, Container, EngineLost, Root
from labkit.engine import connection, execution, layout, request
from labkit.engine.boot import bare_python
from labkit.engine.job import _HELD
from labkit.engine.streams import Streams

from labkit import run, start  # isort: skip


def engine() -> int:
    """This process's engine, started if need be."""
    return connection._current.get().pid


@contextlib.contextmanager
def caller(script: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses labkit; it prints `ready` when its container runs."""
    imports = "import contextlib, os, signal, sys, time\nfrom labkit import *\n"
    command = [sys.executable, "-c", imports + textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_one_thread_started_once_and_reused() -> None:
    first = engine()
    run(Container(("true",)))
    assert engine() == first
    assert len(os.listdir(f"/proc/{first}/task")) == 1
    parent = run(Container(("sh", "-c", "echo $PPID"))).stdout
    assert int(parent) == first


def test_a_killed_engine_is_replaced() -> None:
    killed = engine()
    os.kill(killed, signal.SIGKILL)
    with contextlib.suppress(EngineLost):  # a call that reached it while it died says so
        run(Container(("true",)))
    assert engine() != killed
    assert run(Container(("echo", "hi"))).stdout == "hi\n"


def test_a_killed_engine_takes_its_containers_along() -> None:
    before = marked()
    box = Container(("sh", "-c", "sleep 1000 & echo ready; sleep 1001"))
    with start(box) as running:
        until(lambda: "ready" in running.stdout)
        os.kill(engine(), signal.SIGKILL)
        with pytest.raises(EngineLost, match="ended"):
            running.wait()
        with pytest.raises(EngineLost):
            running.wait()
    until(lambda: marked() <= before)
    assert run(Container(("echo", "hi"))).stdout == "hi\n"


def test_a_stopped_engine_does_not_outlive_a_time_out_of_its_container() -> None:
    """A time-out must not wait for an engine that does not answer."""
    pid = engine()
    stop(pid)
    try:
        with pytest.raises(TimeoutError):
            run(Container(("true",)), timeout=0.2)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_what_lived_in_a_pid_namespace_of_its_own_is_reaped_in_any_order() -> None:
    """`unshare --pid` without --fork: PID 1 and 2 come to us, and 1 waits until 2 is reaped."""
    before = marked()
    nested = Container(("unshare", "--pid", "sh", "-c", "sleep 1000 & sleep 1001 &"))
    with start(Container(("sleep", "1003"))) as other:
        assert run(nested, timeout=PATIENCE).returncode == 0
        assert run(Container(("echo", "hi")), timeout=PATIENCE).stdout == "hi\n"
        assert other.exec(("echo", "still")).stdout == "still\n"
    assert marked() <= before


@pytest.mark.slow
def test_what_is_left_is_found_among_a_great_many_containers() -> None:
    """The kernel lists a page of children at a time, and the newest come last."""
    before = marked()
    script = """
        import resource
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        null = os.open("/dev/null", os.O_RDWR)
        streams = {"stdin": null, "stdout": null, "stderr": null}
        with contextlib.ExitStack() as running:
            for _ in range(900):  # with three descriptors each
                running.enter_context(start(Container(("sleep", "1000")), **streams))
            pid = int(run(Container(("sh", "-c", "setsid sleep 1001 & echo $!"))).stdout)
            assert not os.path.exists(f"/proc/{pid}"), "it was left running"
        print("ready", flush=True)
    """
    with caller(script) as process:
        process.wait()
    until(lambda: marked() <= before)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("flags", ["Clone(0)", "CLONE_NEWPID|CLONE_NEWNS"])
def test_the_engine_and_its_containers_end_with_the_caller(number: int, flags: str) -> None:
    before = marked()
    script = f"""
    box = Container(("sh", "-c", "setsid sleep 1000 & sleep 1001"), cloneflags={flags})
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(start(box))
        print("ready", flush=True)
        while True:  # a signal just before a sleep begins does not end that sleep
            time.sleep(0.1)
    """
    with caller(script) as process:
        process.send_signal(number)
        process.wait()
        until(lambda: marked() <= before)


def test_a_caller_that_just_ends_leaves_nothing() -> None:
    before = marked()
    with caller('running = start(Container(("sleep", "1000"))); print("ready", flush=True)') as it:
        assert it.wait() == 0
    until(lambda: marked() <= before)


def test_ctrl_c_ends_the_container_and_leaves_the_caller_usable() -> None:
    """The container itself presses it: so it is running when the key comes."""
    script = """
    print("ready", flush=True)
    press = f"setsid sleep 1{os.getpid()} & kill -INT {os.getpid()}; sleep 1{os.getpid()}"
    try:
        run(Container(("sh", "-c", press)))
    except KeyboardInterrupt:
        pattern = f"^sleep 1{os.getpid()}"
        print(run(Container(("pgrep", "-f", pattern))).stdout.split(), flush=True)
    """
    with caller(script) as process:
        assert process.stdout
        theirs = process.stdout.readline()
        assert theirs == "[]\n"
        assert process.wait() == 0


def test_a_fork_of_the_caller_does_not_keep_the_engine() -> None:
    """multiprocessing's workers hold copies of the caller's descriptors."""
    before = marked()
    script = """
    run(Container(("true",)))
    if os.fork() == 0:
        time.sleep(1000)
    print("ready", flush=True)
    """
    with caller(script) as process:
        process.wait()
        # The fork, without an engine.
        (fork,) = until(lambda: left if len(left := marked() - before) == 1 else None)
        os.kill(fork, signal.SIGKILL)


def test_a_caller_that_does_not_wait_does_not_end_the_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the engine answers then is for nobody."""
    monkeypatch.setattr(execution, "_GRACE", 0)
    pid = engine()
    with start(Container(("sleep", "1000"))) as other:
        for _ in range(5):
            with pytest.raises(TimeoutError):
                run(Container(("sleep", "1000")), timeout=0.05)
        assert other.exec(("echo", "still")).stdout == "still\n"
    assert engine() == pid


def test_a_failed_start_leaves_nothing() -> None:
    engine()
    before, fds = marked(), len(os.listdir(f"/proc/{engine()}/fd"))
    for box in (
        Container(("true",), cwd="/nowhere"),
        Container(("x" * 10, "y" * (1 << 18))),
        Container(("nosuch",), cloneflags=CLONE_NEWNS | CLONE_NEWUTS, hostname="box"),
    ):
        try:
            run(box)
        except OSError:
            continue
    run(Container(("true",)))
    until(lambda: marked() <= before)
    until(lambda: len(os.listdir(f"/proc/{engine()}/fd")) <= fds)  # the test before may still end


def test_out_of_descriptors_it_says_so_and_goes_on() -> None:
    script = """
    import resource
    run(Container(("true",)))
    print("ready", flush=True)
    from labkit.engine import connection
    resource.prlimit(connection._current.get().pid, resource.RLIMIT_NOFILE, (12, 4096))
    try:
        print(run(Container(("true",)), timeout=60))
    except Exception as error:
        print(type(error).__name__, flush=True)
    resource.prlimit(connection._current.get().pid, resource.RLIMIT_NOFILE, (1024, 4096))
    print(run(Container(("echo", "again"))).stdout, flush=True)
    """
    with caller(script) as process:
        assert process.stdout
        assert process.stdout.readline() in {"OSError\n", "EngineLost\n"}
        assert process.stdout.readline() == "again\n"


def keeper() -> int:
    """The parent of this process's engine."""
    return connection._current.get().keeper


LEAVER = Container(("sh", "-c", "setsid sleep 1000 & echo $!; exec sleep 1001"))


@pytest.mark.parametrize("_", range(5))
def test_what_has_a_session_of_its_own_does_not_outlive_a_killed_engine(_: int) -> None:
    """It is in no PID namespace: the engine's keeper adopts it and kills it."""
    with start(LEAVER) as running:
        left = int(until(lambda: running.stdout))
        until(lambda: os.getsid(left) == left)
        os.kill(engine(), signal.SIGKILL)
        with pytest.raises(EngineLost):
            running.wait()
        assert not Path(f"/proc/{left}").exists()


def test_a_killed_keeper_ends_its_engine_and_the_next_call_starts_another() -> None:
    with start(LEAVER) as running:
        left = int(until(lambda: running.stdout))
        os.kill(keeper(), signal.SIGKILL)
        assert running.wait().returncode == -signal.SIGKILL
    assert not Path(f"/proc/{left}").exists()
    assert run(Container(("echo", "hi"))).stdout == "hi\n"


@pytest.mark.parametrize("how", ["run", "start"])
def test_what_a_killed_engine_never_took_goes_to_another(how: str) -> None:
    """The request is in the socket of an engine that does not get to read it any more."""
    run(Container(("true",)))
    killed = connection._current.get()
    stop(killed.pid)
    threading.Timer(0.3, os.kill, (killed.pid, signal.SIGKILL)).start()
    if how == "run":
        assert run(Container(("cat",)), input="sent twice").stdout == "sent twice"
    else:
        with start(Container(("cat",), tty=True)) as running:
            running.write("typed\r\4")
            assert running.wait(PATIENCE).stdout.endswith("typed\r\n")
    assert connection._current.get() is not killed


def test_an_engine_without_room_for_a_channel_keeps_its_containers() -> None:
    script = """
    from labkit.engine import connection
    import resource
    running = [start(Container(("sleep", "1000"), cloneflags=flags))
               for flags in (CLONE_NEWPID, CLONE_NEWPID, Clone(0), Clone(0))]
    short = start(Container(("sleep", "0.5")))
    pid = connection._current.get().pid
    print("ready", flush=True)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 4096))
    try:
        run(Container(("true",)))
    except OSError as error:
        print(error.errno, error.call, flush=True)
    print(short.wait().returncode, flush=True)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (1024, 4096))
    print(run(Container(("echo", "again"))).stdout, end="")
    print([each._execution.ended for each in running], connection._current.get().pid == pid)
    """
    with caller(script) as process:
        assert process.stdout
        assert process.stdout.read().splitlines() == [
            f"{errno.EMFILE} recvmsg(SCM_RIGHTS)",
            "0",
            "again",
            "[False, False, False, False] True",
        ]


def test_what_was_begun_for_a_request_without_descriptors_is_reaped() -> None:
    """An exec of which only the child was made would keep the PID namespace for ever."""
    script = """
    from labkit.engine import connection
    import resource
    pid = connection._current.get().pid
    flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
    print("ready", flush=True)
    for spare in range(4, 16):
        with start(Container(("sleep", "1000"), cloneflags=flags, proc=True)) as running:
            used = max(map(int, os.listdir(f"/proc/{pid}/fd"))) + 1
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + spare, 4096))
            with contextlib.suppress(OSError):
                running.exec(("true",))
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (1024, 4096))
    with start(Container(("sleep", "1000"))):
        children = open(f"/proc/{pid}/task/{pid}/children").read().split()
    print(len(children), flush=True)
    """
    with caller(script) as process:
        assert process.stdout
        assert process.stdout.read() == "1\n"


def test_a_caller_without_descriptors_loses_none() -> None:
    script = """
    import resource
    run(Container(("true",)))
    with start(Container(("true",))) as running:
        running.wait()
    before = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))
    print("ready", flush=True)
    kept, calls = [], set()
    for box in [Container(("sleep", "1000"))] * 30 + [Container(("cat",), tty=True)] * 30:
        try:
            kept.append(start(box))
        except OSError as error:
            calls.add(bool(error.call))
    for _ in range(30):
        with contextlib.suppress(OSError):
            run(Container(("true",)), input="x")
    for running in kept:
        running.__exit__()
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096))
    print(len(os.listdir("/proc/self/fd")) - before, calls, flush=True)
    """
    with caller(script) as process:
        assert process.stdout
        assert process.stdout.read() == "0 {True}\n"


UNPRIVILEGED = """
from labkit import *
from labkit.engine import connection
import os, sys
def used(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))
"""


def unprivileged(nobody: list[str], script: str) -> str:
    """What a script of uid 65534 prints."""
    command = [*nobody, "-c", UNPRIVILEGED + textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd="/")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_refused_map_leaves_no_descriptor_in_the_engine(nobody: list[str]) -> None:
    script = """
    pid, before = None, None
    for _ in range(40):
        try:
            run(Container(("true",), cloneflags=CLONE_NEWUSER, uid_map=((0, 0, 1),)))
        except PermissionError as error:
            call = error.call
            pid = pid or connection._current.get().pid
            before = before or used(pid)
    print(used(pid) < before + 20, connection._current.get().pid == pid, call)
    """
    assert unprivileged(nobody, script).startswith("True True write(")


@pytest.fixture
def for_all() -> Iterator[Path]:
    """A directory that every user may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_what_may_not_be_killed_does_not_end_the_engine(nobody: list[str], for_all: Path) -> None:
    """A set-user-ID program is another user's: it ends by itself."""
    sleeper = for_all / "sleeper"
    sleeper.write_bytes(Path("/bin/sleep").read_bytes())
    sleeper.chmod(0o4755)
    script = f"""
    pid = connection._current.get().pid
    with start(Container(("sleep", "1000"))) as other:
        try:
            run(Container(({str(sleeper)!r}, "1")), timeout=0.2)
        except TimeoutError:
            print("late")
        print(run(Container(("echo", "again"))).stdout, end="")
        print(other._execution.ended, connection._current.get().pid == pid)
    """
    assert unprivileged(nobody, script) == "late\nagain\nFalse True\n"


def test_the_engine_is_out_of_reach_of_others() -> None:
    """No address: an inherited socket pair, which no other process has."""
    pid = engine()
    sockets = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    inodes = {name[8:-1] for name in sockets if name.startswith("socket:")}
    assert inodes
    lines = Path("/proc/net/unix").read_text().splitlines()[1:]
    for line in lines:
        fields = line.split()
        if fields[6] in inodes:
            assert len(fields) == 7, f"it has an address: {line}"


def held(pid: int) -> set[str]:
    """The mount namespaces of which a process has descriptors."""
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):  # it has just been closed
            found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return {each for each in found if each.startswith("mnt:")}


def test_mounts_are_taken_apart_after_the_answer() -> None:
    """The engine holds the mount namespaces of a few containers, and lets go of them at the end."""
    pid, box = engine(), Container(("cat",), cloneflags=CLONE_NEWNS | CLONE_NEWPID)
    with contextlib.ExitStack() as stack:
        begun = [stack.enter_context(begun_alone(box)) for _ in range(_HELD + 3)]
        until(lambda: len(held(pid)) == _HELD)
        theirs = {os.readlink(f"/proc/{each}/ns/mnt") for each in begun}
        assert held(pid) < theirs
    until(lambda: not held(pid))


@contextlib.contextmanager
def begun_alone(box: Container) -> Iterator[int]:
    """A container of run(), which reads its input to the end; its PID."""
    read, write = os.pipe()
    told, tell = os.pipe()
    fds: list[int | None] = [read, tell, None]
    one = execution.Execution(box, Streams(fds, b""))
    os.write(write, b"!")
    os.close(read)
    os.close(tell)
    assert os.read(told, 1) == b"!"  # it runs
    try:
        yield one._exchange.account().pid
    finally:
        os.close(write)
        one.finish(PATIENCE)
        os.close(told)


def test_an_upper_directory_is_free_again_at_the_answer(tmp_path: Path) -> None:
    """Overlay warns if it is mounted twice at once. So who has one is not held."""
    root = Root(layers=("/usr",), upper=str(tmp_path / "upper"), work=str(tmp_path / "work"))
    box = Container(("true",), cloneflags=CLONE_NEWNS)
    assert request._report(box, start=False) == layout.EARLY
    assert request._report(replace(box, root=Root(layers=("/usr",))), start=False) == layout.EARLY
    for other in (replace(box, root=root), Container(("true",), cloneflags=CLONE_NEWPID)):
        assert request._report(other, start=False) == layout.ENDED
    assert request._report(box, start=True) == layout.STARTED


def test_close_ends_it() -> None:
    pid = engine()
    connection.close()
    assert not Path(f"/proc/{pid}").exists()
    assert run(Container(("true",), cloneflags=CLONE_NEWPID)).returncode == 0


def test_the_engine_imports_little() -> None:
    """Its memory is copied for each container, and a caller waits for its start."""
    command = bare_python("engine.loop")
    at = command.index("-c") + 1
    command[at] = command[at].replace("main()", "print(*sys.modules)")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {*done.stdout.split()}
    room, linux = (
        {name.rpartition(".")[2] for name in imported if name.startswith(f"labkit.{room}.")}
        for room in ("engine", "linux")
    )
    assert room == {"descriptors", "job", "layout", "loop", "machine", "orphans", "player"}
    assert linux == {"door", "proc", "signals"}
    heavy = {"dataclasses", "enum", "re", "signal", "socket", "threading", "typing"}
    assert not imported & heavy
