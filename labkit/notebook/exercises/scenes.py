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
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet

from labkit.linux.flags import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MS_NODEV,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    MS_SHARED,
    PR_SET_DUMPABLE,
)
from labkit.linux.mounts import mount, umount2
from labkit.linux.processes import prctl, sethostname, setns, unshare
from labkit.linux.refusal import call_of, errno_name
from labkit.linux.trace import lines
from labkit.notebook.cells import shipping
from labkit.notebook.exercises.answers import FailedError, Failure, Unsendable
from labkit.notebook.exercises.endings import gone, login
from labkit.notebook.exercises.stage import (
    Facts,
    Function,
    born,
    inside,
    mounted,
    namespace,
    shared,
)
from labkit.notebook.exercises.wires import connected, published, routed, silent
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


def stray(step: Function) -> Facts:
    """`step` is to enter a container, so that a program runs there: one that lives, one that ended.

    The program gives whatever machine it is in the name "patched"; this machine is called outer.
    """
    sethostname("outer")
    living, ended = _box(), _ended()

    def execute(pid: int) -> None:
        step(pid)
        sethostname("patched")

    child = inside(lambda: execute(living), dict)
    named = os.uname().nodename
    sethostname("outer")
    try:
        ran = bool(inside(lambda: execute(ended), dict)["came"])
    except FailedError:  # as it should: there is nothing to enter
        ran = False
    names = {"box": _name_in(living), "named": named, "outer": os.uname().nodename}
    return child | names | {"ran": ran}


def _box() -> int:
    """A container of nothing but a UTS namespace, called box; it lives as long as the machine."""
    reader, writer = os.pipe()
    pid = born(CLONE_NEWUTS)
    if pid == 0:
        try:
            sethostname("box")
            os.close(writer)
            signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    os.read(reader, 1)  # nothing comes: it has its name
    os.close(reader)
    return pid


def _ended() -> int:
    """The PID of a process that has ended, as a container's file of state keeps it."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def _name_in(pid: int) -> str:
    """The host name in the UTS namespace of `pid`."""

    def move() -> None:
        with open(f"/proc/{pid}/ns/uts", encoding="ascii") as file:
            setns(file.fileno(), CLONE_NEWUTS)

    seen = inside(move, lambda: {"name": os.uname().nodename})
    return str(seen["came"][0]["name"])


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

    def look() -> Facts:
        facts = {"mounted": mounted("/proc"), "own": _proc_works(), "shared": shared()}
        return facts | {"pid": os.getpid()}

    child = inside(step, look, CLONE_NEWNS | CLONE_NEWPID)
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


def view(step: Function) -> Facts:
    """From `step` PID 1 of a container is to return, with a /proc that shows the container."""
    mount(None, "/", None, MS_REC | MS_SHARED, None)

    def look() -> Facts:
        listed = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
        return {"pid": os.getpid(), "listed": listed, "types": mounted("/proc")}

    return inside(step, look) | {"lost": not _proc_works()}


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
        _become([])
        lines.clear()
        sys.addaudithook(listen)
        step()

    def look() -> Facts:
        last = opened[-1] if opened else ""
        own, ids = namespace("user") != ours, _ids()
        return {"own": own, "ids": ids, "last": last} | {name: _map(name) for name in _MAPS}

    return inside(ordinary, look)


def _become(others: list[int]) -> None:
    """Be an ordinary user, a member of the groups `others` too."""
    os.setgroups(others)
    os.setresgid(GROUP, GROUP, GROUP)
    os.setresuid(USER, USER, USER)
    prctl(PR_SET_DUMPABLE, 1)  # else /proc/self is the machine's root's


def _map(name: str, pid: int | str = "self") -> str:
    """What a file of _MAPS holds, its columns one space apart."""
    with open(f"/proc/{pid}/{name}", encoding="ascii") as file:
        return "; ".join(" ".join(line.split()) for line in file)


TEAM = 200  # the group that may not read the file of `groups`


def groups(step: Function) -> Facts:
    """`step` maps a member of TEAM, who waits in a new user namespace and then leaves the group."""
    file = f"{_disk()}/file"
    with open(file, "w", encoding="ascii"):
        os.chown(file, 0, TEAM)
    os.chmod(file, 0o604)  # everybody may read it but the members
    pid, go, report = _member(file)

    def look() -> Facts:
        return {name: _map(name, pid) for name in _MAPS}

    child = inside(lambda: step(pid), look)
    os.close(go)
    return child | dict(json.loads(os.read(report, select.PIPE_BUF)))


def _member(file: str) -> tuple[int, int, int]:
    """The process, what to close so that it goes on, and where it says what it could do."""
    (said, speak), (wait, go), (ready, writer) = os.pipe(), os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(go)
            _become([TEAM])
            before = _readable(file)
            unshare(CLONE_NEWUSER)
            os.close(writer)
            os.read(wait, 1)  # nothing comes: the maps are written
            left = _leaves_groups()
            facts = {"before": before, "left": left, "after": _readable(file), "ids": _ids()}
            os.write(speak, json.dumps(facts).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.read(ready, 1)
    return pid, go, said


def _readable(file: str) -> bool:
    """Whether we may read it, asked by trying."""
    try:
        with open(file, encoding="ascii"):
            return True
    except PermissionError:
        return False


def _leaves_groups() -> bool:
    """Leave all groups but our own, if we may: setgroups(2)."""
    try:
        os.setgroups([])
    except PermissionError:
        return False
    return True


def _ids() -> list[int]:
    return [os.getuid(), os.getgid()]


def walls(step: Function) -> Facts:
    """`step` begins in a new mount namespace and gets a directory, which is to become the root.

    Whether one gets out again is tried: by the way that leads out of a chroot, and by looking for
    the old root in what is there.
    """
    place = f"{_disk()}/rootfs"
    for folder in ("", "/bin", "/empty"):
        os.mkdir(place + folder)
    mount(None, "/", None, MS_REC | MS_SHARED, None)  # as systemd leaves every host
    wanted, outside = _identity(place), _identity("/")

    def look() -> Facts:
        facts = {"here": _identity("/") == wanted, "listed": sorted(os.listdir("/"))}
        facts |= {"shared": "/" in shared(), "old": _where("/", outside)}
        return facts | {"out": facts["here"] and not facts["old"] and _gets_out(outside)}

    return inside(lambda: step(place), look, CLONE_NEWNS)


def _identity(path: str) -> list[int]:
    """What a directory is, whatever it is called: its file system and inode."""
    info = os.stat(path)
    return [info.st_dev, info.st_ino]


def _where(folder: str, wanted: list[int]) -> list[str]:
    """In which directories of `folder` that directory is to be seen."""
    places = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir())
    return [path for path in places if _identity(path) == wanted]


def _gets_out(outside: list[int]) -> bool:
    """Whether the way out of a chroot leads to the old root: our directory stays outside of it."""
    os.chdir("/")
    os.chroot("/empty")
    os.chdir("../" * 20)
    return _identity(".") == outside


def device(step: Function) -> Facts:
    """`step` gets an empty directory, where it is to make null, for everybody to use."""
    place = f"{_disk()}/dev"
    os.mkdir(place)
    mount("tmpfs", place, "tmpfs", MS_NOSUID, "mode=755")
    os.umask(0o022)

    def look() -> Facts:
        try:
            info = os.stat(f"{place}/null")
        except FileNotFoundError:
            return {"kind": ""}
        numbers = [os.major(info.st_rdev), os.minor(info.st_rdev)]
        kind = "c" if stat.S_ISCHR(info.st_mode) else "-"
        return {"kind": kind, "numbers": numbers, "mode": f"{stat.S_IMODE(info.st_mode):03o}"}

    return inside(lambda: step(place), look)


def volume(step: Function) -> Facts:
    """`step` is to show the directory `source` at `target`, to be read only."""
    disk = _disk()
    source, target = f"{disk}/source", f"{disk}/target"
    for folder in (source, target):
        os.mkdir(folder)
        mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    with open(f"{source}/file", "w", encoding="ascii"):
        pass

    def look() -> Facts:
        shown = os.path.exists(f"{target}/file")
        return {"shown": shown, "target": _written(target), "source": _written(source)}

    return inside(lambda: step(source, target), look, CLONE_NEWNS)


def _written(folder: str) -> str:
    """What comes of a write there: "OK", or the errno's name."""
    try:
        with open(f"{folder}/new", "w", encoding="ascii"):
            return "OK"
    except OSError as error:
        return errno_name(error.errno or 0)


def union(step: Function) -> Facts:
    """`step` is to mount an overlay of two layers at `place`."""
    disk = _disk()
    files = {"base": ("base", "both"), "top": ("both", "top")}
    layers = [_directory(f"{disk}/{name}", files[name]) for name in ("top", "base")]
    upper, work, place = (_directory(f"{disk}/{name}", ()) for name in ("upper", "work", "place"))

    def look() -> Facts:
        listed, both = sorted(os.listdir(place)), _content(f"{place}/both")
        written = _written(place)
        where = [name for name in ("top", "base", "upper") if os.path.exists(f"{disk}/{name}/new")]
        return {"listed": listed, "both": both, "written": written, "where": where}

    return inside(lambda: step(layers, upper, work, place), look, CLONE_NEWNS)


def _directory(path: str, names: Sequence[str]) -> str:
    """A new directory with files, each of which holds the directory's name."""
    os.mkdir(path)
    for name in names:
        with open(f"{path}/{name}", "w", encoding="ascii") as file:
            file.write(os.path.basename(path))
    return path


def _content(path: str) -> str | None:
    """What a file holds; None: there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return None


_LAYERS = {  # the uppermost first; "-" before a name that is hidden
    "top": ("a", "d"),
    "middle": ("b", "-c", "-d"),
    "base": ("a", "b", "c", "d", "f"),
}


def who(step: Function) -> Facts:
    """`step` says which layer provides a name; an overlay of the same layers says it too."""
    disk = _disk()
    layers = [_layer(f"{disk}/{name}", names) for name, names in _LAYERS.items()]
    place, given = _directory(f"{disk}/place", ()), {}

    def ask() -> None:
        for name in "abcdef":
            said = step(list(layers), name)
            given[name] = os.path.basename(said) if isinstance(said, str) else said and repr(said)

    def look() -> Facts:
        mount("overlay", place, "overlay", MS_RDONLY, f"lowerdir={':'.join(layers)}")
        kernel = {name: _content(f"{place}/{name}") for name in "abcdef"}
        return {"given": given, "kernel": kernel}

    return inside(ask, look, CLONE_NEWNS)


def _layer(path: str, names: Sequence[str]) -> str:
    """A directory with files, and with whiteouts for the names that begin with "-"."""
    _directory(path, [name for name in names if not name.startswith("-")])
    for name in names:
        if name.startswith("-"):
            os.mknod(f"{path}/{name[1:]}", stat.S_IFCHR, os.makedev(0, 0))
    return path


def secret(step: Function) -> Facts:
    """`step` is to hide the file `secret` of the layer below, by what it leaves in `upper`."""
    disk = _disk()
    base = _directory(f"{disk}/base", ("other", "secret"))
    upper, work, place = (_directory(f"{disk}/{name}", ()) for name in ("upper", "work", "place"))

    def look() -> Facts:
        options = f"lowerdir={base},upperdir={upper},workdir={work}"
        mount("overlay", place, "overlay", 0, options)
        listed, read = sorted(os.listdir(place)), _content(f"{place}/secret")
        return {"listed": listed, "read": read, "base": sorted(os.listdir(base))}

    return inside(lambda: step(upper), look, CLONE_NEWNS)


# --- Control groups ------------------------------------------------------------------------------


@contextlib.contextmanager
def _groups() -> Iterator[list[str]]:
    """The directories of a control group of our own, in each hierarchy where it counts."""
    from labkit.cgroups import group  # one scene alone needs them
    from labkit.cgroups.limits import Limits

    made = group.make(Limits(pids=50))
    try:
        yield made.paths
    finally:
        made.remove()


def _within(pid: int | str, groups: list[str]) -> int:
    """How many of these groups a process is in."""
    name = os.path.basename(groups[0])
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        return sum(line.rstrip().endswith(f"/{name}") for line in file)


def enter(step: Function) -> Facts:
    """A control group; `step` is to take its own process into each of its directories."""
    with _groups() as made:

        def look() -> Facts:
            with open(f"{made[0]}/cgroup.procs", encoding="utf-8") as file:
                others = bool(file.read())
            return {"groups": _within("self", made), "wanted": len(made), "others": others}

        return inside(lambda: step(made), look)


def launched(step: Function) -> Facts:
    """A control group; `step` is to start a program in it, which makes a child at once."""
    reader, writer = os.pipe()
    told, tell = os.pipe()

    def program() -> None:
        child = os.fork()
        if child:
            os.write(tell, f"{os.getpid()} {child}\n".encode())
            os.write(writer, b".")
        while True:
            signal.pause()

    with _groups() as made:

        def look() -> Facts:
            pids = dict(zip(("program", "child"), os.read(told, 100).split(), strict=True))
            return {name: _within(pid.decode(), made) == len(made) for name, pid in pids.items()}

        return inside(lambda: step(made, program, lambda: os.read(reader, 1)), look)


SCENES: dict[str, Callable[..., Facts]] = {
    scene.__name__: scene
    for scene in (
        asked,
        layers,
        rename,
        stray,
        first,
        contain,
        accident,
        repair,
        view,
        loopback,
        keep,
        reap,
        root,
        groups,
        walls,
        device,
        volume,
        union,
        who,
        secret,
        enter,
        launched,
        connected,
        routed,
        published,
        silent,
        login,
        gone,
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
