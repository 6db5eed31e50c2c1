"""The command line beside real Docker's: run, exec, ps; monitors; packets and bytes.

A dockerd is started for this, with a network of its own; it leaves the machine as it was
(tests/exam/dockerd.py). labkit has another network: Docker's firewall drops what passes between
containers of others. What is timed are whole processes, and nsenter(1) begins the lines of both.
"""

import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import networks
from networks import BYTES, PINGS
from peers import Call, Missing, command

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from exam.dockerd import Docker, dockerd, is_here

MANY = 100  # containers at once
LOAD = "load --quiet --input"
RUN, EXEC = "run --rm busybox true", "exec box true"
LIMITS = ("-m", "64m", "--cpus", "1", "--pids-limit", "100")
ROWS = (
    *(f"labkit {RUN}", f"labkit {EXEC}", f"labkit ps, {MANY} containers", "labkit load"),
    *(f"{PINGS} × 1 byte, labkit's bridge", f"{BYTES >> 20} MB, labkit's bridge"),
)


class Pair:
    """labkit and docker, each as the words that begin a command line."""

    def __init__(self, docker: Docker, network: int, folder: Path) -> None:
        enter = ("nsenter", f"--target={network}", "--net")
        self.ours = (*enter, str(Path(sys.executable).with_name("labkit")))
        self.docker = docker.command
        os.environ["LABKIT_STATE"] = str(folder / "state")

    def ready(self, folder: Path) -> None:
        """Give both the image busybox, and a container to enter."""
        archive = folder / "busybox.tar"
        said([*self.ours, "base"])
        said([*self.ours, "save", "--output", str(archive), "busybox"])
        said([*self.docker, "load", "--input", str(archive)])
        for words in (self.ours, self.docker):
            said([*words, "run", "--detach", "--name", "box", "busybox", "sleep", "1000000"])

    def end(self) -> None:
        """Remove all containers of ours; those of Docker end with its daemon."""
        if names := said([*self.ours, "ps", "--all", "--quiet"]).split():
            said([*self.ours, "rm", "--force", *names])


def said(words: list[str]) -> str:
    """What a command prints."""
    return subprocess.run(words, text=True, capture_output=True, check=True).stdout.strip()


def calls(pair: Pair) -> dict[str, Call]:
    """Run with limits, and exec, of both."""
    found: dict[str, Call] = {}
    for name, words in (("labkit", pair.ours), ("docker", pair.docker)):
        found[f"{name} {RUN}"] = command((*words, "run", "--rm", *LIMITS, "busybox", "true"))
        found[f"{name} {EXEC}"] = command((*words, *EXEC.split()))
    return found


def loading(pair: Pair, layer: Path, folder: Path) -> tuple[dict[str, Call], dict[str, Call]]:
    """One image loaded by both; and what is done before each, untimed: the image is removed.

    layer: its only layer, as an archive. Docker's storage driver is the one that it chooses itself.
    """
    archive = folder / "loaded.tar"
    said([*pair.ours, "import", str(layer), "loaded:1"])
    said([*pair.ours, "save", "--output", str(archive), "loaded:1"])
    said([*pair.ours, "rmi", "loaded:1"])
    found: dict[str, Call] = {}
    before: dict[str, Call] = {}
    for name, words in (("labkit", pair.ours), ("docker", pair.docker)):
        found[f"{name} load"] = command((*words, *LOAD.split(), str(archive)))
        before[f"{name} load"] = functools.partial(said, [*words, "rmi", "loaded:1"])
    return found, before


def crowd(pair: Pair, rounds: int) -> tuple[dict[str, list[float]], float]:
    """`ps` with none and with many containers; the memory of a monitor in MB, on average."""
    listing = command((*pair.ours, "ps"))
    pair.end()
    times = networks.interleaved(rounds, {"labkit ps, none": listing}, lambda: None)
    for _ in range(MANY):
        said([*pair.ours, "run", "--detach", "--network", "none", "busybox", "sleep", "1000000"])
    name = f"labkit ps, {MANY} containers"
    times |= networks.interleaved(rounds, {name: listing}, lambda: None)
    monitors = Path(os.environ["LABKIT_STATE"]).rglob("run.json")
    sizes = [pss(json.loads(each.read_text())["monitor"]) for each in monitors]
    return times, sum(sizes) / len(sizes)


def pss(pid: int) -> float:
    """The memory of a process in MB; what several share is divided among them."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.partition("\nPss:")[2].split()[0]) / 1024


def traffic(pair: Pair, rounds: int) -> dict[str, list[float]]:
    """The same two programs on labkit's bridge and on Docker's."""
    with contextlib.ExitStack() as stack:
        asking = {}
        for name, words in (("labkit's bridge", pair.ours), ("Docker's bridge", pair.docker)):
            server, client = (_member(words) for _ in range(2))
            stack.enter_context(networks.serving(server[0]))
            for what, sign in ((f"{PINGS} × 1 byte", "p"), (f"{BYTES >> 20} MB", "b")):
                asking[f"{what}, {name}"] = networks.asking(client[0], server[1], sign)
        return networks.answers(rounds, asking)


def _member(words: tuple[str, ...]) -> tuple[int, str]:
    """A container on the usual network: a process of it, as we see it, and its address."""
    name = said([*words, "run", "--detach", "busybox", "sleep", "1000000"])
    address = said([*words, "inspect", "--format", "{{.NetworkSettings.IPAddress}}", name])
    return _process_at(address), address


def _process_at(address: str) -> int:
    """A process in the network namespace that has this address: the kernel's fib_trie says so."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_asleep = (entry / "comm").read_text() == "sleep\n"
            if is_asleep and f" {address}\n" in (entry / "net/fib_trie").read_text():
                return int(entry.name)
    raise Missing(f"no process has the address {address}")


@contextlib.contextmanager
def _network() -> Iterator[int]:
    """A network namespace for labkit: the process that holds it."""
    script = "ip link set lo up; echo; exec sleep 1000000"
    words = ["unshare", "--net", "sh", "-c", script]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        process.stdout.read(1)  # type: ignore[union-attr]
        try:
            yield process.pid
        finally:
            process.kill()


@contextlib.contextmanager
def both(tree: str) -> Iterator[Pair]:
    """Labkit and a dockerd that has been started for it."""
    if not is_here(tree):
        raise Missing("there is no dockerd here")
    with (
        dockerd(tree) as docker,
        _network() as network,
        tempfile.TemporaryDirectory(prefix="labkit-bench-") as folder,
    ):
        pair = Pair(docker, network, Path(folder))
        pair.ready(Path(folder))
        try:
            yield pair
        finally:
            pair.end()
