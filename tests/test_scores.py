"""The memory of a score serves the next start too, on both sides, and never two at a time."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import until

from labkit import CLONE_NEWPID, CLONE_NEWUTS, Container, Limits, run, start
from labkit.engine import connection, layout, scores
from labkit.engine.exchange import Exchange
from labkit.engine.request import to_build
from labkit.engine.streams import captured

BOX = Container(("echo", "hi"), cloneflags=CLONE_NEWPID)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    """An engine that has kept nothing yet."""
    connection.close()
    run(BOX)


def engine() -> int:
    return connection._current.get().pid


def mapped(pid: int) -> list[str]:
    """Where memory of scores is mapped in a process: beginnings, and inodes."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return [line for line in lines if "labkit-score" in line]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_the_next_start_uses_what_the_last_has_left() -> None:
    before, ours, fds = mapped(engine()), mapped(os.getpid()), descriptors()
    assert len(before) == len(ours) == 1
    for number in range(200):
        box = replace(BOX, argv=("echo", str(number), "x" * (number % 7 * 1000)))
        done = run(box)
        assert done.stdout.startswith(f"{number} ")
        assert f'"{number}"' in done.trace[-1]
    assert (mapped(engine()), mapped(os.getpid()), descriptors()) == (before, ours, fds)


def test_it_says_nothing_of_the_start_before() -> None:
    """A start that ends sooner leaves the results of the rest as the last has noted them."""
    box = replace(BOX, cloneflags=CLONE_NEWPID | CLONE_NEWUTS, hostname="box")
    whole = run(box)
    with pytest.raises(FileNotFoundError, match="chdir") as refused:
        run(replace(box, cwd="/no/such/place"))
    assert len(vars(refused.value)["trace"]) == len(whole.trace)
    assert run(Container(("no-such-program",))).returncode == 127
    assert run(box).trace[1:] == whole.trace[1:]


def test_only_a_few_are_kept_however_many_ask() -> None:
    fds = descriptors()
    with ThreadPoolExecutor(30) as threads:
        said = threads.map(lambda n: run(replace(BOX, argv=("echo", str(n)))).stdout, range(200))
        assert [*said] == [f"{n}\n" for n in range(200)]
    until(lambda: len(mapped(engine())) <= scores.KEPT)
    assert len(mapped(os.getpid())) <= scores.KEPT
    assert descriptors() == fds


def test_who_may_still_write_has_memory_of_its_own() -> None:
    before = mapped(engine())
    with start(Container(("sleep", "1000"))):
        pass
    assert run(replace(BOX, init=True)).stdout == "hi\n"  # its child makes the last calls
    assert run(Container(("echo", "x" * layout.KEPT_SIZE))).stdout == f"{'x' * layout.KEPT_SIZE}\n"
    assert (mapped(engine()), len(mapped(os.getpid()))) == (before, 1)


def asked(box: Container) -> Exchange:
    """A request as run() makes it, whose answers are not heard."""
    streams = captured(None, 1000)
    exchange = Exchange(
        to_build(box, None, report_start=False, observed=False, terminal=""), streams.theirs
    )
    streams.close()
    return exchange


def test_what_is_given_up_is_not_used_again() -> None:
    """Nor does the engine keep it, once it has heard of that."""
    for _ in range(20):
        exchange = asked(Container(("sleep", "1000"), cloneflags=CLONE_NEWPID))
        exchange.close()
        assert run(BOX).stdout == "hi\n"
    until(lambda: len(mapped(engine())) <= 2)
    run(BOX)
    until(lambda: len(mapped(engine())) == 1)
    assert len(mapped(os.getpid())) == 1


def test_a_time_out_gives_it_back() -> None:
    before = mapped(engine())
    for _ in range(3):
        with pytest.raises(TimeoutError):
            run(Container(("sleep", "1000"), cloneflags=CLONE_NEWPID), timeout=0.01)
    assert run(BOX).stdout == "hi\n"
    assert mapped(engine()) == before


def test_a_group_of_ones_own_each_time() -> None:
    """The name of the group is another one each time, in the same memory."""
    box = replace(BOX, argv=("cat", "/proc/self/cgroup"), limits=Limits())
    said = [run(box).stdout for _ in range(3)]
    assert len({*said}) == 3
    assert len(mapped(engine())) == 1


def test_another_engine_has_its_own() -> None:
    os.kill(killed := engine(), signal.SIGKILL)
    assert run(BOX).stdout == "hi\n"
    assert engine() != killed
    assert len(mapped(engine())) == len(mapped(os.getpid())) == 1


def test_a_fork_does_not_share_it() -> None:
    fds, ours = descriptors(), mapped(os.getpid())
    child = os.fork()
    if not child:
        try:
            mine = mapped(os.getpid())
            said = run(BOX).stdout
            connection.close()
            os._exit(0 if (mine, said) == ([], "hi\n") else 1)
        finally:
            os._exit(2)
    for _ in range(20):
        assert run(BOX).stdout == "hi\n"
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (descriptors(), mapped(os.getpid())) == (fds, ours)


def test_forks_begin_at_addresses_of_their_own() -> None:
    """They may ask one monitor, as many commands do."""
    found = set()
    for _ in range(4):
        read, write = os.pipe()
        if not os.fork():
            os.write(write, b"%d" % scores._REGIONS[0].take())
            os._exit(0)
        os.close(write)
        found.add(os.read(read, 100))
        os.close(read)
        os.wait()
    assert len(found) > 1  # of 6,656 places each
