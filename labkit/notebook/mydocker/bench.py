"""In a machine that is thrown away: a learner's file is run, and what it did is looked at.

This is a program of its own (``trials.py`` starts it), PID 1 of new mount, UTS, IPC, network and
PID namespaces. It plays the host: the file may rename it and mount in it. It imports little,
because it is started for each trial. Nothing here judges.
"""

import contextlib
import fcntl
import json
import os
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from typing import Any

from labkit.cgroups.hierarchy import hierarchies
from labkit.linux.flags import CLONE_NEWUSER, MS_REC, MS_SHARED
from labkit.linux.mounts import mount
from labkit.linux.processes import sethostname, unshare
from labkit.notebook.mydocker import probe

NAME = "outer"  # what the host is called
USER = 1000  # who an ordinary user is
MOST = 1 << 16  # bytes of output
KERNELS = {  # links that the kernel makes by itself
    *("lo", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0"),
    "ip6gre0",
}
_KINDS = ("mnt", "uts", "ipc", "net", "pid", "user")

Facts = dict[str, Any]


class Host:
    """The machine as it was before. It is looked at through the old /proc, which may be covered."""

    def __init__(self) -> None:
        # As systemd leaves every host, and the kernel copies it: a mount is seen by all peers.
        mount(None, "/", None, MS_REC | MS_SHARED, None)
        sethostname(NAME)
        self._proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        self._answers = socket.create_server(("", probe.PORT))  # the kernel answers for us
        self.mounts = self._mounts()

    def look(self) -> Facts:
        """What it is like now."""
        now = self._mounts()
        return {
            "name": os.uname().nodename,
            "gained": [line for line in now if line not in self.mounts],
            "lost": [line for line in self.mounts if line not in now],
        }

    def before(self) -> Facts:
        """What a container may be compared with."""
        inodes = {kind: os.stat(f"1/ns/{kind}", dir_fd=self._proc).st_ino for kind in _KINDS}
        return {"inodes": inodes, "mounts": self.mounts}

    def left(self, until: float) -> list[str]:
        """The processes that are still there, when those that are ending have had time to."""
        while (found := self._others()) and time.monotonic() < until:
            _reap()
            time.sleep(0.01)
        return found

    def links(self, until: float) -> list[str]:
        """The links but lo, when those that are ending have had time to: the kernel takes some."""
        while (found := _links()) and time.monotonic() < until:
            time.sleep(0.01)
        return found

    def _mounts(self) -> list[str]:
        return self._read("1/mountinfo").splitlines()

    def _others(self) -> list[str]:
        found = []
        for pid in os.listdir(self._proc):
            if pid.isdigit() and pid != "1":
                with contextlib.suppress(OSError):
                    found.append(self._read(f"{pid}/cmdline").replace("\0", " ").strip() or pid)
        return found

    def _read(self, path: str) -> str:
        fd = os.open(path, os.O_RDONLY, dir_fd=self._proc)
        with open(fd, encoding="utf-8", errors="replace") as file:
            return file.read()


class Groups:
    """The control group that the machine was born in, and what is made below it."""

    def __init__(self, *, own: bool) -> None:
        """Own: whether there is one. In version 2 it hands on pids, so nobody stays in it."""
        trees = [tree for tree in hierarchies() if own and "pids" in tree.controllers]
        self._place = trees[0].path if trees else ""
        self._ours = {each.name for each in os.scandir(self._place)} if trees else set()
        if trees and trees[0].version == 2:
            os.mkdir(f"{self._place}/machine")
            self._ours.add("machine")
            for file, text in (("machine/cgroup.procs", "0"), ("cgroup.subtree_control", "+pids")):
                with open(f"{self._place}/{file}", "w", encoding="ascii") as opened:
                    opened.write(text)
        with open("/proc/self/cgroup", encoding="utf-8", errors="replace") as lines:
            self.told = lines.read()

    def left(self) -> list[str]:
        """The groups that a file has left behind, by name."""
        if not self._place:
            return []
        found = [each for each in os.scandir(self._place) if each.is_dir()]
        return sorted(each.name for each in found if each.name not in self._ours)

    def remove(self, names: list[str]) -> None:
        """Remove them. Who was in there has been killed; the engine removes what still has one."""
        for name in names:
            with contextlib.suppress(OSError):
                os.rmdir(f"{self._place}/{name}")


def _links() -> list[str]:
    return [name for _, name in socket.if_nameindex() if name not in KERNELS]


def _reap() -> None:
    """Bury the dead among our children: orphans become ours, for we are PID 1."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def ordinary() -> None:
    """Become a user without privileges: USER of a new user namespace, who owns what we own.

    Its setgroups(2) stays allowed, so that a file that makes the next one has to deny it.
    """
    pid = os.getpid()
    reader, writer = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.read(reader, 1)
        for name in "uid_map", "gid_map":
            with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as file:
                file.write(f"{USER} 0 1")
        os._exit(0)
    with contextlib.suppress(PermissionError):  # where it is denied already, for all below as well
        os.setgroups([])
    unshare(CLONE_NEWUSER)
    os.write(writer, b".")
    os.waitpid(helper, 0)


def run(argv: list[str], asked: Facts) -> tuple[Facts, float]:
    """Run a program, bounded in time and output; and until when what it has left may go on."""
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=ordinary if asked["user"] else None,  # noqa: PLW1509 - there is one thread
    )
    assert process.stdin  # noqa: S101 - a pipe
    with contextlib.suppress(BrokenPipeError), process.stdin as file:
        file.write(asked["input"].encode())
    texts, cut, until = _collect(process, asked["seconds"], asked["settle"])
    if cut:
        process.kill()
    facts = {"status": process.wait(), "cut": cut, "restored": True}
    return facts | {name: data.decode(errors="replace") for name, data in texts.items()}, until


def _collect(
    process: subprocess.Popen[bytes], seconds: float, settle: float
) -> tuple[dict[str, bytes], str, float]:
    """What it prints, and why it was cut off: "time", "output", or "" when it ended itself.

    Who holds the pipes when it has ended may say something more, for so long as is returned.
    """
    texts = {"stdout": b"", "stderr": b""}
    late, until, ended = time.monotonic() + seconds, 0.0, False
    with selectors.DefaultSelector() as selector:
        for name in texts:
            selector.register(getattr(process, name), selectors.EVENT_READ, name)
        while not ended or (selector.get_map() and time.monotonic() < until):
            if not ended and process.poll() is not None:
                ended, until = True, time.monotonic() + settle
            for key, _ in selector.select(0.02):
                data = os.read(key.fd, MOST)
                texts[key.data] += data
                if not data:
                    selector.unregister(key.fileobj)
            if max(map(len, texts.values())) > MOST:
                return {name: text[:MOST] for name, text in texts.items()}, "output", until
            if not ended and time.monotonic() > late:
                return texts, "time", until
    return texts, "", until


# --- On a terminal -------------------------------------------------------------------------------

ROWS, COLUMNS = 33, 101


def run_typed(argv: list[str], asked: Facts) -> tuple[Facts, float]:
    """The same on a terminal, where somebody types: each word when another one has been read.

    restored: whether the terminal is in the end as it was.
    """
    ours, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
    before = termios.tcgetattr(terminal)
    process = _begin(argv, terminal, ordinary if asked["user"] else lambda: None)
    text, cut = _type(process, ours, asked)
    if cut:
        process.kill()
    facts = {"status": process.wait(), "cut": cut, "stdout": text, "stderr": ""}
    facts["restored"] = termios.tcgetattr(terminal) == before
    os.close(terminal)
    return facts, time.monotonic() + asked["settle"]


def _begin(argv: list[str], terminal: int, become: Callable[[], None]) -> subprocess.Popen[bytes]:
    def prepare() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        become()

    # A program believes these two before it asks the terminal.
    elsewhere = {"COLUMNS", "LINES"}
    return subprocess.Popen(
        argv,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={name: value for name, value in os.environ.items() if name not in elsewhere},
        start_new_session=True,
        preexec_fn=prepare,  # noqa: PLW1509 - there is one thread
    )


def _type(process: subprocess.Popen[bytes], ours: int, asked: Facts) -> tuple[str, str]:
    """What appears on the terminal until the process has ended; why it was cut off, if it was."""
    text, keys, late = "", [*asked["keys"]], time.monotonic() + asked["seconds"]
    while True:
        ended = process.poll() is not None
        while select.select([ours], [], [], 0.02)[0]:
            text += os.read(ours, MOST).decode(errors="replace").replace("\r", "")
        if keys and f"{keys[0][0]}\n" in text:
            os.write(ours, keys.pop(0)[1].encode())
        if ended or len(text) > MOST or time.monotonic() > late:
            return text[:MOST], "" if ended else "output" if len(text) > MOST else "time"


def main() -> None:
    """Read what to run, run one after the other, and print what was seen."""
    asked = json.loads(sys.stdin.read())
    host, groups = Host(), Groups(own=asked["group"])
    seen = []
    for argv in asked["commands"]:
        facts, until = (run_typed if asked["keys"] else run)(argv, asked)
        facts |= {"left": host.left(until), "links": host.links(until), "host": host.look()}
        facts["groups"] = groups.left()
        seen.append(facts)
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)  # all but us
        groups.remove(facts["groups"])
        if facts["cut"]:
            break
    print(json.dumps({"before": host.before() | {"groups": groups.told}, "runs": seen}))
