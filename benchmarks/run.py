"""How quick labkit is beside its peers: every row of docs/performance.md, measured in one run.

    make bench                             measure, print the table, write it to docs/performance.md
    make bench BENCH_ARGS=--quick          fewer rounds, print only
    make bench BENCH_ARGS="--rounds 1000"  more of them

Method: a caller like a notebook's process (eight threads, 100 MB of heap) calls every peer once in
each round, in an order shuffled anew from a fixed seed, and takes the time from the request to the
result. The garbage collector is off meanwhile. A row compares medians; as a busy machine slows all
peers of a round alike, the median of the ratios within the rounds stands beside them.

It needs root, and changes nothing that lasts: it works in a mount namespace of its own.
"""

import argparse
import compileall
import contextlib
import functools
import gc
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import docker
import layers
import networks
import peers
import report
import rooted
import stages
from peers import Call, Missing

import labkit
from labkit import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    Container,
    Limits,
    run,
    start,
)
from labkit.engine import connection
from labkit.linux.flags import MS_PRIVATE, MS_REC
from labkit.linux.mounts import mount
from labkit.linux.processes import unshare

WALLS = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
CROWD = 100  # containers at once
TRIES = 9
THREADS, HEAP = 8, 100 << 20  # of the caller
PYTHON = (sys.executable, "-I", "-S", "-c")
# With what a caller uses: the names come at their first use.
LABKIT = (
    f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r}); "
    "from labkit import Container, run"
)


@dataclass
class Results:
    """Seconds by name, one for each round; for a name without any, why."""

    times: dict[str, list[float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def interleave(
        self, rounds: int, calls: Mapping[str, Call], before: Mapping[str, Call] | None = None
    ) -> None:
        """Time every call once a round, without what is to be done `before` it."""
        order, shuffle = list(calls), random.Random(1).shuffle  # noqa: S311 - the same every time
        times: dict[str, list[float]] = {name: [] for name in calls}
        gc.collect()
        gc.disable()
        for _ in range(rounds):
            shuffle(order)
            for name in order:
                if before and name in before:
                    before[name]()
                times[name].append(seconds(calls[name]))
        gc.enable()
        self.times |= times

    def ready(self, makers: Mapping[str, Callable[[], Call]]) -> Iterator[tuple[str, Call]]:
        """Set the peers up; note why those that this machine lacks are missing."""
        for name, make in makers.items():
            try:
                yield name, make()
            except Missing as why:
                self.missing[name] = why.args[0]
                print(*why.args, sep=": ", file=sys.stderr)


def seconds(call: Call) -> float:
    """What a call takes. A peer that somebody has killed on a busy machine is called again."""
    for _ in range(TRIES):
        began = time.perf_counter()
        try:
            call()
        except subprocess.CalledProcessError as error:
            print(error, error.stderr.decode(errors="replace"), file=sys.stderr)
        else:
            return time.perf_counter() - began
    raise SystemExit("a peer does not run any more")


def become_a_notebook() -> list[bytes]:
    """Make this process as big as a notebook's process; what to hold on to while it matters."""
    for _ in range(THREADS - 1):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    return [b"x" * 1000 for _ in range(HEAP // 1000)]  # small objects: every page is touched


def hide_mounts() -> None:
    """Move to mounts of our own; among them hide cgroup v2 where v1 is mounted too.

    crun refuses to run where both are. Nobody else sees the empty directory that covers it.
    """
    unshare(CLONE_NEWNS)
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    if any(kind == "cgroup" for _, kind in mounts):
        for place in [place for place, kind in mounts if kind == "cgroup2"]:
            mount("tmpfs", place, "tmpfs")


def one_container(results: Results, program: tuple[str, str], rounds: int) -> None:
    """run() and .exec() beside the programs that do the same."""
    box = Container(program, cloneflags=WALLS, proc=True)
    asleep = Container((program[0], "sleep", "1000000"), cloneflags=WALLS, proc=True)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="labkit-bench-")))
        running = stack.enter_context(start(asleep))
        kinds = ("-m", "-u", "-i", "-p", "-n")
        there = ("nsenter", *kinds, "-t", str(running.pid))
        theirs = {
            "unshare -muinpf --mount-proc": lambda: peers.unshare(program),
            "bwrap --unshare-all": lambda: peers.bwrap(program),
            "crun run": lambda: peers.crun(folder, program),
            rooted.DEFAULT: lambda: rooted.crun_of_spec(folder, program[0]),
            "runc run": lambda: peers.runc(folder, program),
            "ideal.c": lambda: stack.enter_context(peers.ideal(folder, program)),
            "nsenter -muipn": lambda: peers.command((*there, *program)),
        }
        inside = replace(
            box, argv=("/bin/busybox", "true"), root=rooted.root_of(folder, program[0])
        )
        ours = {"run()": lambda: run(box), "run(root=)": lambda: run(inside)}
        grouped = replace(box, limits=Limits(pids=64))
        ours |= {"run(limits=)": lambda: run(grouped), ".exec()": lambda: running.exec(program)}
        results.interleave(rounds, ours | dict(results.ready(theirs)))


def many_containers(results: Results, program: tuple[str, str], rounds: int) -> None:
    """A hundred containers, each asked for by a thread of its own."""
    box = Container(program, cloneflags=WALLS, proc=True)
    one = peers.unshare(program)

    def at_once(call: Call) -> None:
        with ThreadPoolExecutor(CROWD) as threads:
            for done in [threads.submit(call) for _ in range(CROWD)]:
                done.result()

    calls = {
        "100 × run()": lambda: at_once(lambda: run(box)),
        "100 × unshare": lambda: at_once(one),
    }
    results.interleave(rounds, calls)


def beginnings(results: Results, program: tuple[str, str], rounds: int) -> None:
    """The engine from nothing to its first answer; whole interpreters, with what they import."""
    three = "import subprocess, json, dataclasses"
    calls = {
        "engine start": lambda: run(Container(program)),
        "python -I -S -c pass": peers.command((*PYTHON, "pass")),
        "import labkit": peers.command((*PYTHON, LABKIT)),
        three: peers.command((*PYTHON, three)),
    }
    results.interleave(rounds, calls, before={"engine start": connection.close})


def commands(results: Results, rounds: int) -> None:
    """Whole processes, labkit unshare and unshare(1), each as a shell would start it."""
    compileall.compile_dir(Path(labkit.__file__).parent, quiet=2)
    ours = str(Path(sys.executable).with_name("labkit"))
    words = ("-muinpf", "--mount-proc", "true")
    calls = {
        "labkit unshare": peers.command((ours, "unshare", *words)),
        "unshare -muinpf --mount-proc true": peers.command(("unshare", *words)),
    }
    results.interleave(rounds, calls)


def layers_of_images(results: Results, layer: Path, rounds: int) -> None:
    """A layer unpacked, an image fetched."""
    folder = functools.partial(tempfile.TemporaryDirectory, prefix="labkit-bench-")
    with folder() as disk, folder(dir="/dev/shm") as memory:  # noqa: S108 - it is tmpfs, anywhere
        unpacking = layers.Unpacking(Path(disk), Path(memory), layer)
        results.interleave(rounds, unpacking.calls(), unpacking.before())
        with layers.fetching(Path(disk), layer) as makers:
            results.interleave(rounds, dict(results.ready(makers)))


def beside_docker(results: Results, tree: str, layer: Path, rounds: int) -> float:
    """The command line beside real Docker's, where there is a dockerd; a monitor's memory in MB."""
    try:
        with docker.both(tree) as pair:
            results.interleave(rounds, docker.calls(pair))
            results.interleave(max(5, rounds // 4), *docker.loading(pair, layer, layer.parent))
            results.times |= docker.traffic(pair, rounds)
            times, memory = docker.crowd(pair, rounds)
            results.times |= times
            return memory
    except Missing as why:
        results.missing |= dict.fromkeys(docker.ROWS, why.args[0])
        return 0


def engine_memory(busybox: str) -> float:
    """The most memory that the engine has had so far, in MB: proc_pid_status(5)."""
    parent = run(Container((busybox, "sh", "-c", "echo $PPID"))).stdout.strip()
    status = Path(f"/proc/{parent}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="30 rounds; print the table only")
    parser.add_argument("--tree", default="", help="the root directory that has a dockerd")
    parser.add_argument("--rounds", type=int, help="how often every peer is called (200)")
    return parser.parse_args()


def main() -> None:
    """Measure, print and keep."""
    chosen = arguments()
    rounds = chosen.rounds or (30 if chosen.quick else 200)
    program = peers.static_busybox(), "true"
    hide_mounts()
    heap = become_a_notebook()
    results = Results()
    one_container(results, program, rounds)
    many_containers(results, program, max(5, rounds // 10))
    memory = engine_memory(program[0])
    results.interleave(rounds, stages.calls(program))
    beginnings(results, program, max(10, rounds // 4))
    commands(results, max(10, rounds // 2))
    connection.close()
    del heap
    with tempfile.TemporaryDirectory(prefix="labkit-bench-") as folder:
        layer = layers.archive(Path(folder))
        layers_of_images(results, layer, max(5, rounds // 20))
        results.times |= networks.measured(rounds)
        monitor = beside_docker(results, chosen.tree, layer, max(9, rounds // 10))
    memories = {"engine, RSS": (memory, 10), "monitor, PSS": (monitor, 6)}
    text = report.table(results.times, results.missing, memories, rounds)
    text += "\n" + stages.table(results.times)
    print(text)
    if not chosen.quick:
        report.keep(text)


if __name__ == "__main__":
    main()
