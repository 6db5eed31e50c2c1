"""One more program in a container that runs: docker exec.

Its monitor is the engine that makes it, so it belongs to the container. Whoever types the options
right does not pay for click, which takes longer to import than the program takes to start.
"""

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from labkit.cli.passing import Detached, Relay
from labkit.container.container import Container
from labkit.docker.absent import Refused
from labkit.docker.grammar import HelpAsked, options, truth
from labkit.engine.connection import engine_namespaces
from labkit.engine.execution import Execution
from labkit.engine.inner_pty import pty_for
from labkit.engine.request import Target, draft_to_enter
from labkit.engine.streams import Streams
from labkit.engine.verdict import EngineLost
from labkit.linux.fields import replace
from labkit.linux.flags import CLONE_NEWUSER
from labkit.linux.namespaces import differing
from labkit.monitor import entering, kept, record
from labkit.monitor.record import Record, tell
from labkit.monitor.status import KILLED
from labkit.state import document

_SWITCHES = ("detach", "interactive", "tty", "privileged")
_VALUED = {"user": "", "workdir": "", "detach-keys": ""}
_LISTS = {"env": "variables", "env-file": "files"}


class How(NamedTuple):
    """How exec is to run a program: with our input, in the background; which keys detach."""

    interactive: bool
    detach: bool
    keys: str


def main(arguments: Sequence[str]) -> int | None:
    """Run ``labkit exec ...``; the exit status. None: it is not typed right, or asks for help."""
    rest = [*arguments[1:]]
    try:
        said = _read(rest)
    except (Refused, HelpAsked):
        rest = []
    if len(rest) < 2 or lacks_terminal(**said):
        return None
    return asked(rest, **said)


def _read(rest: list[str]) -> dict[str, Any]:
    """The options of exec, taken from the front of `rest`."""
    said: dict[str, Any] = dict.fromkeys(_SWITCHES, False) | _VALUED
    said |= {name: [] for name in _LISTS.values()}
    for name, value in options(rest, _SWITCHES, {*_VALUED, *_LISTS}):
        if name in _SWITCHES:
            said[name] = truth(name, value)
        elif name in _LISTS:
            said[_LISTS[name]].append(value)
        else:
            said[name] = value
    return said | {"keys": said.pop("detach-keys")}


def lacks_terminal(*, tty: bool, interactive: bool, detach: bool, **_: object) -> bool:
    """Whether a terminal is to be passed on that is not there."""
    return tty and interactive and not detach and not os.isatty(0)


def asked(words: Sequence[str], *, keys: str, detach: bool, interactive: bool, **more: Any) -> int:  # noqa: ANN401
    """Run a program in the container that the first word names; the exit status."""
    found = record.find(words[0])
    how = How(interactive=interactive, detach=detach, keys=keys)
    return execute(found, words[1:], how, {"tty": more["tty"], **_changes(found, **more)})


def _changes(
    found: Record,
    *,
    tty: bool,
    privileged: bool,
    variables: Sequence[str],
    files: Sequence[str],
    **where: str,
) -> dict[str, Any]:
    """The fields in which a program of exec is not as the container's first."""
    env = ({"TERM": "xterm"} if tty else {}) | dict(found.box.env or {})
    if variables or files:
        from labkit.docker import values

        env |= values.environment(variables, files)
    changes: dict[str, Any] = {"env": env}
    if where["user"]:
        changes["user"] = user_in(found, where["user"])
    if where["workdir"]:
        changes["cwd"] = where["workdir"]
    return changes | ({"capabilities": None, "seccomp": None} if privileged else {})


def execute(found: Record, argv: Sequence[str], how: How, changes: Mapping[str, Any]) -> int:
    """Run one more program in a container; its exit status.

    changes: fields of the Container that are not as those of the first program.
    """
    target = entering.target(found)
    box = replace(found.box, hostname=None, proc=False, argv=tuple(argv), **changes)
    identity, command = os.urandom(32).hex(), " ".join(argv)
    for action in ("exec_create", "exec_start"):
        tell(found, f"{action}: {command}", execID=identity)
    try:
        if how.detach:
            return _in_background(box, target)
        code = _followed(box, target, how)
    except EngineLost:
        return KILLED
    finally:
        os.close(target.pidfd)
    tell(found, "exec_die", execID=identity, exitCode=f"{code}")
    if changes.keys() <= {"env", "tty"} and not box.tty:
        keep(found, box, target)
    return code


def keep(found: Record, box: Container, target: Target) -> None:
    """Leave what comes before the program to the next one: `short.py`."""
    with contextlib.suppress(OSError, KeyError, EngineLost):
        run, inodes = found.run(), target.inodes()
        if differing(engine_namespaces(), inodes) & CLONE_NEWUSER:
            return  # a child of that process is the program, and it notes no result
        draft = draft_to_enter(box, inodes, target.groups, report_start=True)
        path, holds = found.at(kept.FILE), kept.holds(run, target.in_proc)
        document.clear(path)  # another who writes now loses the file beside, and keeps nothing
        document.replace(path, draft.before_execve().packed(holds), durable=False)


def _in_background(box: Container, target: Target) -> int:
    """Start it, and do not wait for its end."""
    pty = pty_for(box) if box.tty else None
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    streams = Streams([pty.slave if pty else null] * 3, b"", coming=pty)
    execution = Execution(box, streams, target, report_start=True)
    execution.follow_to_start()
    return execution.returncode or 0


def _followed(box: Container, target: Target, how: How) -> int:
    """Run it on pipes, or on a terminal of its own, and pass on what it prints."""
    if box.tty:
        execution, relay = _on_terminal(box, target, how.keys)
    else:
        theirs, relay = _pipes(interactive=how.interactive)
        try:
            execution = Execution(box, Streams(theirs, b""), target, report_start=True)
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


def _on_terminal(box: Container, target: Target, keys: str) -> tuple[Execution, Relay]:
    """Start it on a terminal of its own, which is there when this returns, if it could be made."""
    from labkit.cli.raw import size_of

    pty = pty_for(box)
    if size := size_of(1) or size_of(0):
        pty.resize(*size)
    execution = Execution(box, Streams([pty.slave] * 3, b"", coming=pty), target)
    pty.give_away()
    while pty.master < 0 and not execution.ended:
        execution.streams.step(None)
    ours = {letter: os.dup(pty.master) for letter in "io"} if pty.master >= 0 else {}
    return execution, Relay(ours, pty.resize, keys)


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
