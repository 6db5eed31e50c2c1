"""A learner's file run as a black box: ``python mydocker.py run ...`` in a throw-away machine.

The machine is a container of ours (``bench.py`` plays the host in it), so a file that forgets to
make its mounts private, or renames the host, does so there. When the machine's first process ends,
so do all of its processes.
"""

import io
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from typing import Any

from labkit.cgroups.hierarchy import parent_for
from labkit.cgroups.limits import Limits
from labkit.container.contain import DEFAULT_PATH
from labkit.container.container import Container
from labkit.engine.boot import PACKAGE, PROJECT
from labkit.engine.client import run
from labkit.linux.flags import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
)
from labkit.notebook.cells.attempt import attempt
from labkit.notebook.exercises.answers import WrongError
from labkit.notebook.mydocker import probe
from labkit.text.words import Words

SECONDS = 10
"""How long one run of a learner's file may take."""
SETTLE = 2
"""Seconds that what it has left may take to be gone."""
FILE = "mydocker.py"
PROGRAMS = ("sh", "ls", "cat", "rm", "nsenter", "tty", "stty", "sleep")
ROOT, TOP = "{root}", "{top}"
MARK = "@"
"""It stands before each thing that the program in a root of its own has seen."""
_MOST = 4096  # processes
INPUT = "从外面来 from outside\n"

_WALLS = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWPID
# It is started for each trial, so the packages' own __init__ are left out: they are for a cell, and
# import ten times as much.
_PROGRAM = """
import sys
for name in ("labkit", "labkit.linux", "labkit.notebook", "labkit.notebook.mydocker"):
    module = sys.modules[name] = type(sys)(name)
    module.__path__ = [f"{sys.argv[1]}/{name.replace('.', '/')}"]
from labkit.notebook.mydocker.bench import main
main()
"""
_OUR_FRAME = re.compile(rf'^ *File "{re.escape(PACKAGE)}.*\n(?: {{4}}.*\n)*', re.MULTILINE)
_PROBE = [sys.executable, "-I", "-S", "-X", "utf8", probe.__file__]
# Nothing here makes a child: where PID 1 has ended already, none can be made any more.
_WORDS = 'printf "<%s>" "$@"; echo; read -r line; echo "$line"; echo oops >&2; exit 7'
_ORPHAN = "sleep 1000 </dev/null >/dev/null 2>&1 & exit 0"


# setns(2) to one's own mount namespace leads to its root: out of a chroot, or to what covers it.
_LOOK = (
    f"echo {MARK}; ls -1 /; echo {MARK}; cat /proc/1/comm; echo {MARK}; "
    f"nsenter -t 1 -m /bin/ls -1 /; echo {MARK}; cat /proc/self/mountinfo; exit {probe.STATUS}"
)

_CHANGE = (
    f"echo {MARK}; cat /etc/greeting; echo {MARK}; ls -1 /etc; echo {MARK}; "
    "rm /etc/gone && echo changed > /etc/greeting && echo new > /new && echo written; "
    f"echo {MARK}; ls -1 /etc; exit {probe.STATUS}"
)
_AFTERWARDS = f"cat {TOP}/etc/greeting {ROOT}/etc/greeting; ls -1 {TOP} {TOP}/etc {ROOT} {ROOT}/etc"

# A shell whose fork is refused ends there. The group's name comes first, and how far it came.
_FORKS = (
    "cat /proc/self/cgroup; for i in 1 2 3 4 5 6 7 8 9; do "
    "sleep 1000 </dev/null >/dev/null 2>&1 & echo child $i; done"
)

IMAGE = "box"
_IN_IMAGE = f"cat /etc/greeting; echo {MARK}; ls -1 /etc; exit {probe.STATUS}"
COMMAND = "echo by-default"  # what the image runs
# It waits for a line, and then for Ctrl-C.
_TYPED = (
    f"cat /proc/self/cgroup; echo {MARK}; tty; stty size; echo ready; read -r line; "
    f'echo "<$line>"; trap "echo interrupted; exit {probe.STATUS}" INT; '
    "echo again; while :; do sleep 1; done"
)

BROKEN = (
    Words(
        "那台用完即弃的机器被弄坏了，看不到结果。",
        "The throw-away machine was broken, so nothing can be seen of it.",
    ),
)


@dataclass(frozen=True)
class Trial:
    """What is typed after ``python mydocker.py``, line by line. user: as an ordinary user.

    In a line ROOT stands for a directory with a busybox, and TOP for a layer to lie on it. An image
    called IMAGE is in the folder images. keys: it runs on a terminal, and what is typed there: each
    when a line with the word before it has appeared.
    """

    commands: tuple[tuple[str, ...], ...]
    user: bool = False
    keys: tuple[tuple[str, str], ...] = ()


WORDS = Trial((("run", "sh", "-c", _WORDS, "sh", "one word", "two"),))
OTHERS = Trial((("run", "no-such-program"), ("stop", "sh", "-c", "printf %s%s ra n")))
PROBE = Trial((("run", *_PROBE),))
ORPHAN = Trial((("run", "sh", "-c", _ORPHAN),))
ORDINARY = Trial((("run", *_PROBE),), user=True)
ROOTED = Trial((("run", "--root", ROOT, "/bin/sh", "-c", _LOOK),))
FEWEST = 6
FORKED = Trial((("run", "--pids", str(FEWEST), "sh", "-c", _FORKS),))
ADDRESS = "10.7.0.2"
CABLED = Trial((("run", "--ip", ADDRESS, *_PROBE),))
ROOTED_ORDINARY = Trial(ROOTED.commands, user=True)
LAYERED = Trial(
    (
        ("run", "--root", f"{TOP}:{ROOT}", "/bin/sh", "-c", _CHANGE),
        ("run", "/bin/sh", "-c", _AFTERWARDS),
    )
)
LAYERED_ORDINARY = Trial(LAYERED.commands, user=True)
IMAGED = Trial((("run", "--rm", IMAGE, "sh", "-c", _IN_IMAGE), ("run", "--rm", IMAGE)))
TYPED = Trial(
    (("run", "--rm", "-it", "--pids", "20", "--ip", ADDRESS, IMAGE, "sh", "-c", _TYPED),),
    keys=(("ready", "typed\r"), ("again", "\x03")),
)
TYPED_ORDINARY = Trial(
    (("run", "--rm", "-it", IMAGE, "sh", "-c", _TYPED),), user=True, keys=TYPED.keys
)


@dataclass(frozen=True)
class Run:
    """What one line came to. cut: "time" or "output" if it had to be ended.

    left, links, groups: the processes, links and control groups that it left behind. host: what the
    machine is like now. before: what it was like. restored: whether the terminal is as it was, if
    there is one.
    """

    status: int
    stdout: str
    stderr: str
    cut: str
    restored: bool
    left: list[str]
    links: list[str]
    groups: list[str]
    host: dict[str, Any]
    before: dict[str, Any]

    @property
    def probe(self) -> dict[str, Any]:
        """What the probe saw, or nothing where it did not run."""
        for line in reversed(self.stdout.splitlines()):
            if line.startswith('{"pid"'):
                found: dict[str, Any] = json.loads(line)
                return found
        return {}


class Bench:
    """One learner's file, tried at most once in each way.

    rootless: whether root of a new user namespace made the machine, because we may not.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._seen: dict[Trial, list[Run]] = {}
        self.rootless = False

    def runs(self, trial: Trial) -> list[Run]:
        """What came of each line of `trial`. Raises the OSError of what this machine refuses."""
        if trial not in self._seen:
            self._seen[trial] = self._try(trial)
        return self._seen[trial]

    def _try(self, trial: Trial) -> list[Run]:
        with tempfile.TemporaryDirectory(prefix="mydocker-") as folder:
            path = os.path.join(folder, FILE)
            with open(path, "w", encoding="utf-8") as file:
                file.write(self._text)
            start = [sys.executable, "-X", "utf8", path]
            if IMAGE in trial.commands[0]:
                _image(os.path.join(folder, "images"))
            places = _places(folder) if TOP in str(trial) or ROOT in str(trial) else {}
            lines = ([_filled(word, places) for word in line] for line in trial.commands)
            asked = {
                "commands": [[*start, *line] for line in lines],
                "input": INPUT,
                "seconds": SECONDS,
                "settle": SETTLE,
                "user": trial.user,
                "keys": trial.keys,
                "group": not os.geteuid() and parent_for("pids") is not None,
            }
            seen, refused = attempt(lambda: _performed(asked))
        self.rootless = refused is not None
        before = seen["before"]
        return [_run(facts, before, folder) for facts in seen["runs"]]


def _filled(word: str, places: dict[str, str]) -> str:
    for name, path in places.items():
        word = word.replace(name, path)
    return word


def _places(folder: str) -> dict[str, str]:
    """A root directory, and a layer to lie on it; both have a greeting."""
    places = {ROOT: _root(folder), TOP: os.path.join(folder, "top")}
    for path, files in ((places[ROOT], ("greeting", "gone")), (places[TOP], ("greeting",))):
        os.makedirs(os.path.join(path, "etc"))
        for name in files:
            with open(os.path.join(path, "etc", name), "w", encoding="ascii") as file:
                file.write(f"{os.path.basename(path)}\n")
    return places


def _image(folder: str) -> None:
    """An archive as docker save writes it: two layers, of which the upper one hides a file."""
    os.makedirs(folder)
    base = _tar([("etc/greeting", b"base\n"), ("etc/gone", b""), ("bin/busybox", _busybox())])
    upper = _tar([("etc/greeting", b"top\n"), ("etc/.wh.gone", b"")])
    config = {"config": {"Cmd": ["sh", "-c", COMMAND]}, "rootfs": {"type": "layers"}}
    about = {"Config": "config.json", "RepoTags": [f"{IMAGE}:latest"], "Layers": ["0.tar", "1.tar"]}
    files = [("0.tar", base), ("1.tar", upper), ("config.json", json.dumps(config).encode())]
    with open(os.path.join(folder, f"{IMAGE}.tar"), "wb") as file:
        file.write(_tar([*files, ("manifest.json", json.dumps([about]).encode())]))


def _tar(files: list[tuple[str, bytes]]) -> bytes:
    """An archive of files, with the names of a busybox beside it."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
            for link in PROGRAMS if name.endswith("/busybox") else ():
                member = tarfile.TarInfo(f"bin/{link}")
                member.type, member.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(member)
    return written.getvalue()


def _busybox() -> bytes:
    with open(shutil.which("busybox") or "", "rb") as file:
        return file.read()


def _root(folder: str) -> str:
    """A root directory of one program, which is several: busybox."""
    root = os.path.join(folder, "rootfs")
    os.makedirs(os.path.join(root, "bin"))
    shutil.copy(shutil.which("busybox") or "", os.path.join(root, "bin"))
    for name in PROGRAMS:
        os.symlink("busybox", os.path.join(root, "bin", name))
    return root


def _performed(asked: dict[str, Any]) -> dict[str, Any]:
    """What was seen in the machine. Groups that a file makes go with the machine's own."""
    argv = (sys.executable, "-I", "-S", "-X", "utf8", "-c", _PROGRAM, PROJECT)
    paths = filter(None, (PROJECT, os.environ.get("PYTHONPATH")))
    # Not our own PATH: where a directory of it is closed to us, no program is "not found".
    env = os.environ | {"PATH": DEFAULT_PATH, "PYTHONPATH": os.pathsep.join(paths)}
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    limits = Limits(pids=_MOST) if asked["group"] else None
    box = Container(argv, cloneflags=_WALLS, proc=True, env=env, limits=limits)
    try:
        done = run(box, input=json.dumps(asked), timeout=3 * (SECONDS + SETTLE))
    except TimeoutError:
        raise WrongError(BROKEN) from None
    if done.returncode:
        raise WrongError(BROKEN, done.stderr)
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def _run(facts: dict[str, Any], before: dict[str, Any], folder: str) -> Run:
    """`facts`, without the folder where the file lay for the moment, and labkit's own frames."""
    texts = {name: facts[name].replace(folder + os.sep, "") for name in ("stdout", "stderr")}
    texts["stderr"] = _OUR_FRAME.sub("", texts["stderr"])
    return Run(**(facts | texts), before=before)
