"""The peers of run.py: other ways to do what labkit does, each as a function to call and time.

A peer that this machine cannot run raises Missing, with the reason, when it is set up.
"""

import array
import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

Call = Callable[[], object]

NAMESPACES = ("mount", "uts", "ipc", "pid", "network")
"""The walls that all are measured with, as an OCI runtime names them."""


class Missing(Exception):  # noqa: N818 - a state, not a failure
    """The peer is not installed, or does not run here: in short, then its own words."""


def command(argv: Sequence[str]) -> Call:
    """subprocess.run with its output captured, as run() has it; tried once before it counts."""

    def call() -> None:
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True)

    try:
        call()
    except FileNotFoundError:
        raise Missing(f"{argv[0]} is not installed") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip() or f"exit status {error.returncode}"
        raise Missing(f"{argv[0]} does not run here", said) from None
    return call


def static_busybox() -> str:
    """Where busybox is; it must be static to run in a root directory without libraries."""
    path = shutil.which("busybox")
    if not path or b"ld-linux" in Path(path).read_bytes()[:4096]:
        raise SystemExit("busybox-static is not installed: make bench says how")
    return path


def unshare(program: Sequence[str]) -> Call:
    """unshare(1) of util-linux."""
    return command(("unshare", "-muinpf", "--mount-proc", *program))


def bwrap(program: Sequence[str]) -> Call:
    """Every namespace of bubblewrap, the machine's file system and a fresh /proc."""
    walls = ("--unshare-all", "--dev-bind", "/", "/", "--proc", "/proc")
    return command(("bwrap", *walls, *program))


def crun(folder: Path, program: Sequence[str]) -> Call:
    """A bundle of the same walls for crun, without cgroups: as little as it can do."""
    _bundle(folder, program)
    state = ("--root", str(folder / "crun"), "--cgroup-manager=disabled")
    return command(("crun", *state, "run", "--bundle", str(folder), "labkit-bench"))


def runc(folder: Path, program: Sequence[str]) -> Call:
    """The same bundle for runc; it makes and removes cgroups, and cannot do without."""
    _bundle(folder, program)
    return command(
        ("runc", "--root", str(folder / "runc"), "run", "--bundle", str(folder), "labkit-bench")
    )


def _bundle(folder: Path, program: Sequence[str]) -> None:
    """An OCI bundle: a root directory that holds the program, and config.json.

    Without rlimits and capabilities, which not every root may grant.
    """
    root = folder / "rootfs"
    for name in ("proc", "dev"):
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(program[0], root / "busybox")
    options = ["nosuid", "nodev", "noexec"]
    proc = {"destination": "/proc", "type": "proc", "source": "proc", "options": options}
    user = {"uid": 0, "gid": 0}
    config = {
        "ociVersion": "1.0.2",
        "process": {"user": user, "args": ["/busybox", *program[1:]], "cwd": "/"},
        "root": {"path": root.name},
        "mounts": [proc],
        "linux": {"namespaces": [{"type": name} for name in NAMESPACES]},
    }
    (folder / "config.json").write_text(json.dumps(config))


@contextlib.contextmanager
def ideal(folder: Path, program: Sequence[str]) -> Iterator[Call]:
    """ideal.c: the same system calls from a C process as an engine, asked as directly as can be."""
    source, binary = Path(__file__).with_name("ideal.c"), folder / "ideal"
    if not shutil.which("gcc"):
        raise Missing("gcc is not installed")
    subprocess.run(["gcc", "-O2", "-o", binary, source], check=True)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, subprocess.Popen([str(binary), *program], stdin=theirs.fileno()) as process:
        theirs.close()
        try:
            call = _asking(ours)
            call()
            yield call
        finally:
            ours.close()  # it ends when nobody can ask it any more
            process.wait()


def _asking(control: socket.socket) -> Call:
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def call() -> None:
        (out, to_out), (err, to_err) = os.pipe(), os.pipe()
        fds = array.array("i", (null, to_out, to_err))
        control.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        os.close(to_out)
        os.close(to_err)
        (status,) = struct.unpack("i", control.recv(4))
        while os.read(out, 65536) + os.read(err, 65536):
            pass
        os.close(out)
        os.close(err)
        if status:
            raise Missing(f"ideal.c: exit status {os.waitstatus_to_exitcode(status)}")

    return call
