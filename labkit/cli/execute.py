"""One more program in a container that runs: docker exec.

Its monitor is the engine that makes it, so it belongs to the container.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from labkit.cli.attach import Detached, Relay, size_of
from labkit.container.container import Container
from labkit.engine import connection
from labkit.engine.execution import Execution
from labkit.engine.request import Target
from labkit.engine.streams import Streams
from labkit.engine.verdict import EngineLost
from labkit.linux import proc
from labkit.linux.pty import Pty
from labkit.monitor import acts
from labkit.monitor.record import Record
from labkit.monitor.status import KILLED
from labkit.text.words import Words


class How(NamedTuple):
    """How exec is to run a program: with our input, in the background; which keys detach."""

    interactive: bool
    detach: bool
    keys: str


def execute(found: Record, argv: Sequence[str], how: How, changes: Mapping[str, Any]) -> int:
    """Run one more program in a container; its exit status.

    changes: fields of the Container that are not as those of the first program.
    """
    target = _target(found)
    box = replace(found.box, hostname=None, proc=False, argv=tuple(argv), **changes)
    try:
        if how.detach:
            return _in_background(box, target)
        return _followed(box, target, how)
    except EngineLost:
        return KILLED
    finally:
        os.close(target.pidfd)


def _target(found: Record) -> Target:
    """The process whose namespaces are entered. From now on its monitor is our engine."""
    now = acts.running(found)
    if now.word == "paused":
        raise ValueError(
            Words(
                f"容器 {found.name} 暂停着，先 unpause",
                f"Container {found.name} is paused, unpause the container before exec",
            )
        )
    monitor = acts.monitor_of(found)
    if monitor is None:
        raise ValueError(
            Words(f"容器 {found.name} 没有在运行", f"container {found.id} is not running")
        )
    pidfd = monitor.pidfd()
    connection.use(monitor)
    groups = [f"{path}/cgroup.procs" for path in dict.fromkeys(now.directories.values())]
    return Target(now.pid, proc.number(now.pid), pidfd, groups)


def _in_background(box: Container, target: Target) -> int:
    """Start it, and do not wait for its end."""
    pty = Pty() if box.tty else None
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    streams = Streams([pty.slave if pty else null] * 3, b"")
    execution = Execution(box, streams, target, report_start=True)
    execution.follow_to_start()
    return execution.returncode or 0


def _followed(box: Container, target: Target, how: How) -> int:
    """Run it on pipes, or on a terminal of its own, and pass on what it prints."""
    theirs, relay = _terminal(how.keys) if box.tty else _pipes(interactive=how.interactive)
    try:
        execution = Execution(box, Streams(theirs, b""), target)
    finally:
        for fd in {*theirs}:
            os.close(fd)
    relay.until(execution.fileno(), execution.advance)
    try:
        relay.follow()
    except Detached:
        sys.stderr.write("read escape sequence\n")
        return 0
    execution.follow_to_end()
    done = execution.finished()
    sys.stderr.buffer.write(execution.complaint)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def _terminal(keys: str) -> tuple[list[int], Relay]:
    pty = Pty()
    if size := size_of(1) or size_of(0):
        pty.resize(*size)
    ours = {"i": os.dup(pty.master), "o": os.dup(pty.master)}
    slave = os.dup(pty.slave)
    pty.give_away()
    return [slave] * 3, Relay(ours, pty.resize, keys)


def _pipes(*, interactive: bool) -> tuple[list[int], Relay]:
    (out, out_end), (error, error_end) = os.pipe(), os.pipe()
    ours = {"o": out, "e": error}
    if interactive:
        stdin, ours["i"] = os.pipe()
    else:
        stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    return [stdin, out_end, error_end], Relay(ours)


def user_in(found: Record, text: str) -> tuple[int, int, Sequence[int]]:
    """A user by name or number, as the files in the container's root have it."""
    from labkit.docker import rights  # only who asks for a user pays for their imports
    from labkit.docker.roots import users_in

    root = found.box.root
    layers = ([root.upper] if root.upper else []) + [*root.layers] if root else []
    return rights.user(text, (), users_in(layers))
