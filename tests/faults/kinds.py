"""The caller in which calls fail: starts containers in every way, as it is told on standard input.

A word a line: a kind of start; `begin`, to have two neighbours; `next`, whether these live and one
more container runs. The answer is a line of JSON.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable

from faults.tracer import MARK

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
    enter,
    run,
    start,
)
from labkit.engine import connection
from labkit.engine.execution import Execution
from labkit.engine.running import Running
from labkit.engine.streams import captured
from labkit.linux.refusal import call_of

ALL = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
HI = ("echo", "hi")
ROOT = ((0, os.getuid(), 1),)
neighbours: list[Running] = []


def _v02() -> Finished:
    return run(Container(HI, cloneflags=CLONE_NEWUTS, hostname="box"))


def _v03() -> Finished:
    return run(Container(HI, cloneflags=CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET))


def _v04() -> Finished:
    return run(Container(HI, cloneflags=ALL | CLONE_NEWCGROUP, proc=True, cwd="/"))


def _v05() -> Finished:
    return run(Container(HI, cloneflags=ALL | CLONE_NEWUSER, uid_map=ROOT, gid_map=ROOT, proc=True))


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


def _observed() -> Finished:
    ours, theirs = socket.socketpair()

    def let_go() -> None:
        with ours:
            while True:
                with contextlib.suppress(OSError):
                    if not ours.recv(1):
                        return
                    ours.send(b"!")

    execution = None
    thread = threading.Thread(target=let_go)
    thread.start()
    try:
        with theirs:
            box = Container(HI, cloneflags=ALL, proc=True)
            execution = Execution(box, captured(None), observer=theirs.fileno())
        return execution.finish(None)
    finally:
        thread.join()


KINDS: dict[str, Callable[[], Finished]] = {
    "v0.1": lambda: run(Container(HI)),
    "v0.2": _v02,
    "v0.3": _v03,
    "v0.4": _v04,
    "v0.5": _v05,
    "rootless": lambda: run(Container(HI, cloneflags=ALL, rootless=True, proc=True)),
    "limited": _limited,
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
}


def begin() -> str:
    """Have neighbours, and an engine that has served each kind once."""
    for running in neighbours:
        running.__exit__()
    del neighbours[:]
    box = Container(("sleep", "1000"), cloneflags=ALL, proc=True)
    inside = Container(("sleep", "1000"), cloneflags=ALL, rootless=True, proc=True)
    for each in (box, Container(("sleep", "1000")), inside):
        neighbours.append(start(each))
    return f"{connection._current.get().pid}"


def rootless_engine() -> str:
    with connection.rootless():
        return f"{connection._current.get().pid}"


def follow() -> str:
    """Whether the neighbours live, and one more container runs."""
    dead = [each.box.argv for each in neighbours if each._execution.ended]
    heard = run(Container(HI, cloneflags=CLONE_NEWPID)).stdout
    return f"neighbours dead: {len(dead)}" * bool(dead) or heard


def done(act: Callable[[], Finished]) -> dict[str, object]:
    """What came of it, as a value."""
    try:
        came = act()
        return {"result": [came.returncode, came.stdout, came.stderr]}
    except BaseException as error:  # noqa: BLE001 - whatever it is, somebody is to hear of it
        number = getattr(error, "errno", None)
        return {
            "error": type(error).__name__,
            "os": isinstance(error, OSError),
            "call": call_of(error),
            "errno": number,
            "text": str(error),
        }


def main() -> None:
    """Do as told until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    told = {"begin": begin, "next": follow, "rootless": rootless_engine}
    for line in sys.stdin:
        word = line.rstrip("\n")
        if word in told:
            answer: dict[str, object] = {"result": told[word]()}
        else:
            _mark()
            answer = done(KINDS[word])
            _mark()
        print(json.dumps(answer), flush=True)
    for running in neighbours:
        running.__exit__()


def _mark() -> None:
    with contextlib.suppress(OSError):
        os.getsid(MARK)


if __name__ == "__main__":
    main()
