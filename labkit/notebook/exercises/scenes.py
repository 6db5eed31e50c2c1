"""What is set up, and looked at, around a learner's function in a machine that is thrown away.

This runs there (``machine.py``), in a program with one thread. A scene has a child run the function
and returns what it saw, as JSON can hold it. Nothing here judges: that is the exercises' affair.
"""

import base64
import contextlib
import errno
import json
import os
import pathlib  # noqa: F401 - for a function whose user may not read where Python lies
import pickle
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from labkit.linux.flags import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    MS_NODEV,
    MS_NOSUID,
    MS_REC,
    MS_SHARED,
    PR_SET_DUMPABLE,
)
from labkit.linux.mounts import mount, umount2
from labkit.linux.processes import prctl, sethostname
from labkit.linux.refusal import call_of
from labkit.linux.trace import lines
from labkit.notebook.exercises import shipping
from labkit.notebook.exercises.answers import FailedError, Failure, Unsendable
from labkit.notebook.exercises.stage import Facts, Function, inside, mounted, namespace, shared
from labkit.notebook.magics.child_program import names, protect


def each(function: Callable[..., object], questions: Sequence[tuple[object, ...]]) -> list[object]:
    """What `function` returns to each of `questions`, its arguments."""
    return [_sendable(function(*question)) for question in questions]


def _sendable(value: object) -> object:
    """`value`, or a set for the view of a dictionary, or the name of a type that cannot be sent."""
    if isinstance(value, AbstractSet):
        return set(value)
    try:
        shipping.ship(value)
    except (pickle.PicklingError, TypeError, AttributeError):
        return Unsendable(type(value).__name__)
    return value


def asked(ask: Callable[[], list[object]]) -> Facts:
    """`ask` calls a learner's function that answers questions about the notebook's machine."""
    given: list[object] = []

    def look() -> Facts:
        return {"given": base64.b64encode(shipping.ship(given)).decode()}

    return inside(lambda: given.extend(ask()), look)


def _disk() -> str:
    """A fresh tmpfs over a directory that every machine has, and nothing of ours lies under."""
    ours = (sys.prefix, sys.base_prefix, __file__)
    places = [p for p in ("/mnt", "/media", "/srv", "/opt") if os.path.isdir(p)]
    place = next(p for p in places if not any(path.startswith(p + os.sep) for path in ours))
    mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    return place


def layers(change: Function) -> Facts:
    """An image and a writable layer, stacked; `change` gets the directory where they are one."""
    disk = _disk()
    image, upper, work, root = (f"{disk}/{n}" for n in ("image", "upper", "work", "container"))
    for folder in image, upper, work, root:
        os.mkdir(folder)
    for name, text in {"hello.txt": "hello\n", "secret.txt": "42\n"}.items():
        with open(f"{image}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
    mount("overlay", root, "overlay", 0, f"lowerdir={image},upperdir={upper},workdir={work}")
    child = inside(lambda: change(root), lambda: {"files": _files(root)})
    return child | {"image": _files(image), "upper": _files(upper), "container": _files(root)}


def _files(folder: str) -> dict[str, str]:
    """What is in a directory: name -> text, or a word for what has none."""
    found = {}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        info = entry.stat(follow_symlinks=False)
        if stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
            found[entry.name] = "whiteout"
        elif stat.S_ISREG(info.st_mode):
            with open(entry.path, encoding="utf-8", errors="replace") as file:
                found[entry.name] = file.read(200)
        else:
            found[entry.name] = "?"
    return found


def rename(step: Function) -> Facts:
    """A machine called outer; `step` is to be called box, alone."""
    sethostname("outer")
    ours = namespace("uts")
    child = inside(step, lambda: {"name": os.uname().nodename, "own": namespace("uts") != ours})
    return child | {"outer": os.uname().nodename}


def first(step: Function) -> Facts:
    """What `step` returns in is to be PID 1 of a new PID namespace."""
    ours = namespace("pid")

    def look() -> Facts:
        try:
            sent = namespace("pid_for_children") != ours
        except FileNotFoundError:  # a new one, in which nobody has been born yet
            sent = True
        return {"pid": os.getpid(), "own": namespace("pid") != ours, "sent": sent}

    return inside(step, look)


def contain(step: Function) -> Facts:
    """`step` begins in a new mount namespace, as clone3 leaves it; it gets a place to mount at."""
    place = f"{_disk()}/box"
    os.mkdir(place)
    # As systemd leaves every host, and the kernel copies it: whoever mounts, all peers see it.
    mount(None, "/", None, MS_REC | MS_SHARED, None)
    disk = os.stat(place).st_dev

    def look() -> Facts:
        new = os.stat(place).st_dev != disk
        return {"new": new, "types": mounted(place), "shared": shared()}

    child = inside(lambda: step(place), look, CLONE_NEWNS)
    return child | {"place": place, "outside": mounted(place)}


def _accident() -> None:
    mount("proc", "/proc", "proc", 0, None)


def accident(step: Function) -> Facts:
    """`step` begins in new mount and PID namespaces, as clone3 leaves them: /proc is at stake."""
    mount(None, "/", None, MS_REC | MS_SHARED, None)
    before = mounted("/proc")
    child = inside(
        step, lambda: {"mounted": mounted("/proc"), "pid": os.getpid()}, CLONE_NEWNS | CLONE_NEWPID
    )
    lost = not _proc_works()
    with contextlib.suppress(OSError):
        umount2("/proc", 0)
    return child | {"lost": lost, "back": _proc_works(), "before": before}


def _proc_works() -> bool:
    """Whether /proc shows us, by the number that we know ourselves by."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def repair(step: Function) -> Facts:
    """The accident has happened; `step` runs in the machine that has lost its /proc."""
    before = mounted("/proc")
    mount(None, "/", None, MS_REC | MS_SHARED, None)
    inside(_accident, dict, CLONE_NEWNS | CLONE_NEWPID)
    child = inside(step, dict)
    after = mounted("/proc")  # none to be seen while it is dead
    return child | {"works": _proc_works(), "seen": after, "more": len(after) - len(before)}


def loopback(step: Function) -> Facts:
    """A network namespace whose only device is lo, down; `step` is to make it of use."""
    ours = namespace("net")
    before = _reached()
    child = inside(step, lambda: {"reached": _reached(), "own": namespace("net") != ours})
    return child | {"before": before, "after": _reached(), "devices": _devices()}


def _reached() -> bool:
    """Whether one can talk to oneself at 127.0.0.1."""
    with socket.socket() as listener, socket.socket() as caller:
        caller.settimeout(1)
        try:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            caller.connect(listener.getsockname())
        except OSError:
            return False
    return True


def _devices() -> list[str]:
    done = subprocess.run(["ip", "-brief", "link"], check=True, capture_output=True, text=True)
    words = [line.split() for line in done.stdout.splitlines()]
    return [f"{line[0]}  {line[-1]}" for line in words]  # lo  <LOOPBACK,UP,LOWER_UP>


def keep(step: Function) -> Facts:
    """`step` gets a file where it is to leave a UTS namespace that outlives it."""
    file = f"{_disk()}/uts"
    with open(file, "w", encoding="utf-8"):
        ours = namespace("uts")
    child = inside(lambda: step(file), dict)
    kept = os.stat(file).st_ino
    command = ["nsenter", f"--uts={file}", "uname", "-n"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    facts = {"mounted": mounted(file), "outer": kept == ours, "name": asked.stdout.strip()}
    return child | facts


_ORPHANS = 3
_LATER = 0.3  # seconds until the last of them ends


def reap(step: Function) -> Facts:
    """`step` is PID 1 of a PID namespace with orphans: the dead of them are zombies."""

    def orphaned() -> None:
        _leave_orphans()
        step()

    def look() -> Facts:
        return {"left": _children(), "pid": os.getpid()}

    return inside(orphaned, look, CLONE_NEWPID | CLONE_NEWNS) | {"orphans": _ORPHANS}


def _leave_orphans() -> None:
    """Orphans for PID 1: their parent has ended, and so have all of them but the last."""
    parent = os.fork()
    if parent == 0:
        for number in range(_ORPHANS):
            if os.fork() == 0:
                time.sleep(_LATER if number == _ORPHANS - 1 else 0)
                os._exit(0)
        os._exit(0)
    os.waitpid(parent, 0)
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)  # one is a zombie now, at least


def _children() -> int:
    """How many children we have, dead or alive: each is waited for."""
    count = 0
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
            count += 1
    return count


USER, GROUP = 1000, 100  # of whoever has no privilege in `root`
_MAPS = ("uid_map", "gid_map", "setgroups")


def root(step: Function) -> Facts:
    """`step` is run by a user without a capability, who is to become root of a user namespace."""
    ours = namespace("user")
    opened: list[str] = []  # of _MAPS: the last one says which write was refused

    def listen(event: str, arguments: tuple[object, ...]) -> None:
        name = str(arguments[0]).rpartition("/")[2] if event == "open" else ""
        opened.extend({name}.intersection(_MAPS))

    def ordinary() -> None:
        os.setgroups([])
        os.setresgid(GROUP, GROUP, GROUP)
        os.setresuid(USER, USER, USER)
        prctl(PR_SET_DUMPABLE, 1)  # else /proc/self is the machine's root's
        lines.clear()
        sys.addaudithook(listen)
        step()

    def look() -> Facts:
        last = opened[-1] if opened else ""
        own, ids = namespace("user") != ours, [os.getuid(), os.getgid()]
        return {"own": own, "ids": ids, "last": last} | {name: _map(name) for name in _MAPS}

    return inside(ordinary, look)


def _map(name: str) -> str:
    """What a file of _MAPS holds, its columns one space apart."""
    with open(f"/proc/self/{name}", encoding="ascii") as file:
        return "; ".join(" ".join(line.split()) for line in file)


SCENES: dict[str, Callable[..., Facts]] = {
    scene.__name__: scene
    for scene in (
        asked,
        layers,
        rename,
        first,
        contain,
        accident,
        repair,
        loopback,
        keep,
        reap,
        root,
    )
}


def main(scene: str) -> None:
    """Play `scene` with the function on standard input; what it saw goes to standard output."""
    data = sys.stdin.buffer.read()
    report = os.dup(1)
    os.dup2(2, 1)  # what the function prints must not be taken for the report
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if scene == "asked":  # it runs without walls
        protect()
    shipping.names.update(names())
    facts: Facts
    try:
        facts = SCENES[scene](shipping.receive(data))
    except FailedError as failed:
        facts = {"failure": vars(failed.failure), "seen": failed.seen}
    except (pickle.UnpicklingError, AttributeError, ImportError) as error:
        facts = {"failure": vars(Failure.of(error))}
    except OSError as error:
        facts = {"refused": [call_of(error), error.errno or errno.EIO]}
    os.write(report, json.dumps(facts).encode())
