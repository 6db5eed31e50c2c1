"""The caller in which calls fail: starts containers in every way, as it is told on standard input.

A word a line: a kind of start; `begin`, to have two neighbours; `next`, whether these live and one
more container runs. The answer is a line of JSON.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from faults import clients
from faults.clients import Came, facts
from faults.tracer import IGNORED, MARK, ask_for
from labkit import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    Container,
    Finished,
    Limits,
    Root,
    enter,
    run,
    start,
)
from labkit.engine import connection
from labkit.engine.execution import Execution
from labkit.engine.running import Running
from labkit.engine.streams import LIMIT, captured

ALL = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
HI = ("echo", "hi")
BASE: list[str] = []  # a root directory, made at the beginning
ROOT = ((0, os.getuid(), 1),)
neighbours: list[Running] = []
observers: list[socket.socket] = []


def _v02() -> Finished:
    return run(Container(HI, cloneflags=CLONE_NEWUTS, hostname="box"))


def _v03() -> Finished:
    return run(Container(HI, cloneflags=CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET))


def _new_memory() -> Finished:
    """A start for which no memory of an earlier one is left."""
    kept = connection._current.get().scores
    for memory in filter(None, [*kept.places]):
        kept.places.remove(memory)
        memory.give_back(over=False)
    return run(Container(HI))


def _v04() -> Finished:
    return run(Container(HI, cloneflags=ALL | CLONE_NEWCGROUP, proc=True, cwd="/"))


def _v05() -> Finished:
    return run(Container(HI, cloneflags=ALL | CLONE_NEWUSER, uid_map=ROOT, gid_map=ROOT, proc=True))


def _rooted(root: Root, **fields: bool) -> Finished:
    box = Container(HI, cloneflags=ALL, proc=True, env={"PATH": "/bin"}, root=root, hostname="box")
    return run(replace(box, **fields))  # type: ignore[arg-type]


def _layers() -> Finished:
    volumes = (f"{BASE[0]}:/volume:ro", f"{BASE[0]}/bin/echo:/file")
    root = Root(layers=(*BASE,), volumes=volumes, tmpfs=("/run",), readonly=True)
    return _rooted(root)


def _limited() -> Finished:
    limits = Container(
        HI,
        cloneflags=CLONE_NEWPID,
        user=(65534, 65534, ()),
        capabilities=("CAP_KILL",),
        ambient_caps=("CAP_KILL",),
        no_new_privs=True,
        seccomp="default",
    )
    return run(limits)


def _frozen() -> Finished:
    """Counted, frozen, and ended as it is."""
    with start(Container(("sleep", "1000"), limits=Limits())) as running:
        running.freeze()
    return running.wait()


def _clocks() -> Finished:
    return run(Container(HI, cloneflags=CLONE_NEWTIME, time_offsets={"boottime": 1000}))


def _tty() -> Finished:
    with start(Container(("cat",), tty=True)) as running:
        running.resize(10, 40)
        running.write("hi\r\4")
        return running.wait()


def _started() -> Finished:
    with start(Container(HI, cloneflags=CLONE_NEWPID)) as running:
        return running.wait()


def _left() -> Finished:
    """Without a PID namespace, and it leaves two behind, one in a session of its own."""
    return run(Container(("sh", "-c", "setsid sleep 1000 >/dev/null & sleep 1001 & echo hi")))


def _timeout() -> Finished:
    return run(Container(("sh", "-c", "setsid sleep 1000 & exec sleep 1001")), timeout=0.1)


def _ended() -> Finished:
    with start(Container(("sleep", "1000"))) as running:
        pass
    return running.wait()


def _rootless_engine() -> Finished:
    with connection.rootless():
        return run(Container(HI, cloneflags=ALL, proc=True))


def _let_go(ours: socket.socket) -> None:
    """Observe a container: let each of its calls pass."""
    ask_for(IGNORED)
    with ours, contextlib.suppress(ConnectionError):  # it has ended without asking again
        while ours.recv(1):
            ours.send(b"!")


def _observed() -> Finished:
    with observers.pop() as theirs:
        box = Container(HI, cloneflags=ALL, proc=True)
        execution = Execution(box, captured(None, LIMIT), observer=theirs.fileno())
    return execution.finish(None)


KINDS: dict[str, Callable[[], Finished | Came]] = {
    "v0.1": lambda: run(Container(HI)),
    "v0.2": _v02,
    "v0.3": _v03,
    "v0.4": _v04,
    "v0.5": _v05,
    "new memory": _new_memory,
    "rootless": lambda: run(Container(HI, cloneflags=ALL, rootless=True, proc=True)),
    "root": lambda: _rooted(Root(*BASE)),
    "layers": _layers,
    "layers, rootless": lambda: _rooted(Root(layers=(*BASE,)), rootless=True),
    "limited": _limited,
    "group": lambda: run(Container(HI, limits=Limits(memory="64m", pids=50))),
    "group, frozen": _frozen,
    "network": lambda: run(Container(HI, network="bridge")),
    "network, none": lambda: run(Container(HI, network="none", rootless=True)),
    "clocks": _clocks,
    "input": lambda: run(Container(("cat",)), input="hi\n"),
    "tty": _tty,
    "start": _started,
    "exec": lambda: neighbours[0].exec(HI),
    "exec in user": lambda: neighbours[2].exec(HI),
    "enter": lambda: enter(neighbours[0].pid, HI),
    "observed": _observed,
    "orphans": _left,
    "time-out": _timeout,
    "ended": _ended,
    "rootless engine": _rootless_engine,
    "create": clients.created,
    "run -d": clients.detached,
    "run -d, network": clients.detached_network,
    "run --rm -it": clients.attached,
    "exec, monitor": clients.executed,
    "exec, short": clients.executed_shortly,
    "load": clients.loaded,
    "commit": clients.committed,
    "rmi": clients.removed,
    "oci": clients.runtime,
}
KEPT_KINDS = {"exec, monitor", "exec, short", "commit"}
"""Those about the container that runs all the time."""
FOR_THE_NEXT = {"network"}
"""What cannot be given back here is given back by the next who comes."""


class Place(NamedTuple):
    """Where the process is that is watched: so many generations below one that is known."""

    root: str
    generation: int


_OF_CLIENT = {"caller": Place("caller", 1)}
_DETACHED = _OF_CLIENT | {"engine": Place("caller", 3), "child": Place("caller", 4)}
_ENTERED = _OF_CLIENT | {"engine": Place("monitor", 0), "child": Place("monitor", 1)}
PLACES: dict[str, dict[str, Place]] = {
    "run -d": _DETACHED,
    "run -d, network": _OF_CLIENT | {"engine": Place("caller", 3)},
    "run --rm -it": {"caller": Place("caller", 2), "engine": Place("caller", 4)},
    **dict.fromkeys(("exec, monitor", "exec, short"), _ENTERED),
    **dict.fromkeys(("create", "load", "commit", "rmi"), _OF_CLIENT),
    "oci": _OF_CLIENT | {"engine": Place("caller", 2), "child": Place("caller", 3)},
}
"""Of the kinds whose caller is a client (`clients.py`)."""
_ELSE = {
    "caller": Place("caller", 0),
    "engine": Place("engine", 0),
    "child": Place("engine", 1),
}


def places(kind: str) -> dict[str, Place]:
    """Where the processes of a kind are that are watched."""
    return PLACES.get(kind, _ELSE)


def begin() -> str:
    """Have neighbours, and an engine that has served each kind once."""
    for running in neighbours:
        running.__exit__()
    del neighbours[:]
    box = Container(("sleep", "1000"), cloneflags=ALL, proc=True)
    inside = Container(("sleep", "1000"), cloneflags=ALL, rootless=True, proc=True)
    neighbours.extend(map(start, (box, Container(("sleep", "1000")), inside)))
    return f"{connection._current.get().pid}"


def rootless_engine() -> str:
    with connection.rootless():
        for _ in range(2):  # it may have been killed, and nobody has heard of it
            with contextlib.suppress(OSError):
                run(Container(HI))
        return f"{connection._current.get().pid}"


def follow() -> str:
    """Whether the neighbours live, and one more container runs."""
    dead = [each.box.argv for each in neighbours if each._execution.ended]
    heard = run(Container(HI, cloneflags=CLONE_NEWPID)).stdout
    return f"neighbours dead: {len(dead)}" * bool(dead) or heard


def done(act: Callable[[], Finished | Came]) -> dict[str, object]:
    """What came of it, as a value."""
    try:
        came = act()
        return {"result": [came.returncode, came.stdout, came.stderr]}
    except clients.Failed as failed:
        return dict(failed.args[0])
    except BaseException as error:  # noqa: BLE001 - whatever it is, somebody is to hear of it
        return facts(error)


def main() -> None:
    """Do as told until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    make_base()
    told = {
        "begin": begin,
        "next": follow,
        "engine": rootless_engine,
        "monitor": clients.monitor,
    }
    for line in sys.stdin:
        word = line.rstrip("\n")
        if word in told:
            answer: dict[str, object] = {"result": told[word]()}
        else:
            answer = watched(word)
        print(json.dumps(answer), flush=True)
    for running in neighbours:
        running.__exit__()
    clients.end()


def make_base() -> None:
    """Make a root directory with one program."""
    BASE.append(tempfile.mkdtemp())
    os.mkdir(f"{BASE[0]}/bin")
    shutil.copy(shutil.which("busybox") or "", f"{BASE[0]}/bin/echo")


def watched(kind: str) -> dict[str, object]:
    """What came of a start, which the tracer watches. An observer's thread is none of ours."""
    thread = None
    if kind == "observed":
        ours, theirs = socket.socketpair()
        observers.append(theirs)
        thread = threading.Thread(target=_let_go, args=(ours,))
        thread.start()
    ask_for(MARK)
    answer = done(KINDS[kind])
    ask_for(MARK)
    while observers:
        observers.pop().close()
    if thread:
        thread.join()
    return answer


if __name__ == "__main__":
    main()
