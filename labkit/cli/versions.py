"""``labkit v0.1 run CMD``: the programs of the notes, a container each, in this process's place."""

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence

from labkit.cgroups.limits import Limits
from labkit.cli import terminal
from labkit.cli.complaint import complain, fail, reason
from labkit.container.container import Container
from labkit.container.root import Root
from labkit.engine import connection
from labkit.engine.client import start
from labkit.engine.running import Running
from labkit.engine.verdict import EngineLost
from labkit.linux.fields import replace
from labkit.linux.flags import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    PR_SET_CHILD_SUBREAPER,
)
from labkit.linux.proc import children
from labkit.linux.processes import prctl
from labkit.linux.refusal import refusal
from labkit.linux.signals import JOB_SIGNALS
from labkit.text.words import Words

# The notes' programs, by the container that each makes; the command line brings its argv.
_V01 = Container(("/bin/sh",))
_V02 = replace(_V01, cloneflags=CLONE_NEWUTS)
_V03 = replace(_V02, cloneflags=CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET)
_V04 = replace(_V03, cloneflags=_V03.cloneflags | CLONE_NEWPID, proc=True)
_V05 = replace(_V04, rootless=True)
_V06 = replace(_V05, root=Root("/rootfs"))  # which one, the command line says
_V09 = replace(_V04, network="bridge")
_V08 = replace(_V04, limits=Limits(memory="64m", cpus=0.5, pids=64))
VERSIONS: dict[str, Container] = {
    "v0.1": _V01,
    "v0.2": _V02,
    "v0.3": _V03,
    "v0.4": _V04,
    "v0.5": _V05,
    "v0.6": _V06,
    "v0.7": replace(_V04, root=_V06.root),  # an image has files of several users
    "v0.8": _V08,
    "v0.9": _V09,
}
OF_IMAGE = {"v0.7"}  # these get their root from an image
# In place of this process they reach the container.
FORWARDED = {*map(signal.Signals, JOB_SIGNALS)}
MISUSED, REFUSED = 2, 125  # exit statuses; 125, 126, 127 and 128+n as docker run has them


def main(version: str, arguments: Sequence[str]) -> int:
    """Do what the notes' program does at `version` when os.Args is itself and `arguments`."""
    # fmt.Println prints a slice between brackets, with nothing around its strings, byte for byte.
    sys.stdout.buffer.write(os.fsencode(f"[{' '.join(['labkit', version, *arguments])}]\n"))
    sys.stdout.flush()
    how = usage(version)
    if version in OF_IMAGE and arguments[:1] == ["run"]:
        return _of_image(version, arguments[1:])
    if arguments[:1] != ["run"]:
        word = arguments[0] if arguments else ""
        said = Words("没有定义，只有 run", "have not define, only run")
        return fail(MISUSED, f"'{word}': {said}: {how}")
    root, argv = _rooted(arguments[1:]) if VERSIONS[version].root else (None, arguments[1:])
    if VERSIONS[version].root and not root:
        said = Words("要有 --root 和一个目录", "--root and a directory are needed")
        return fail(MISUSED, f"{said}: {how}")
    if not argv:
        return fail(MISUSED, f"{Words('缺少要运行的程序', 'no program to run')}: {how}")
    return _run_version(version, root, argv)


def _of_image(version: str, words: Sequence[str]) -> int:
    if not words:
        return fail(MISUSED, f"{Words('缺少镜像', 'no image')}: {usage(version)}")
    return _run_image(version, words[0], words[1:])


def _rooted(words: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """The value of --root, which stands before CMD, and the words after it."""
    name, equals, value = words[0].partition("=") if words else ("", "", "")
    if name != "--root":
        return None, words
    return (value, words[1:]) if equals else ("".join(words[1:2]) or None, words[2:])


def _run_version(version: str, root: str | None, argv: Sequence[str]) -> int:
    """Run the container of `version`; the exit status."""

    def run() -> int:
        box = replace(VERSIONS[version], argv=tuple(argv), root=Root(root) if root else None)
        # Of two processes one goes on here, on a terminal of its own; the other has its status.
        status = terminal.give_own()
        return _in_our_place(box) if status is None else status

    return _guarded(run, MISUSED)


def _run_image(version: str, image: str, argv: Sequence[str]) -> int:
    """Run the container of `version` in a fresh root of an image; the exit status."""

    def run() -> int:
        from labkit.docker.roots import rooted
        from labkit.images.store import Store

        status = terminal.give_own()
        if status is not None:
            return status
        with rooted(Store(), image, _as_docker(VERSIONS[version]), argv) as (box, made):
            if made.note:
                complain(f"labkit: {made.note}\n")
            return _in_our_place(box)

    return _guarded(run, REFUSED)


def _as_docker(box: Container) -> Container:
    """Root of the host gives away as little as Docker does; who is not has a user namespace."""
    from labkit.docker.rights import kept
    from labkit.linux.confinement import capabilities

    if "CAP_SYS_ADMIN" not in capabilities().effective:
        return replace(box, rootless=True)
    return replace(box, capabilities=kept((), ()), seccomp="default")


def _guarded(run: Callable[[], int], misused: int) -> int:
    """What `run` returns; or what refused it is said, and the exit status is that of a refusal."""
    try:
        return run()
    except ValueError as error:
        return fail(misused, str(error))
    except EngineLost as error:
        _end_children()
        return fail(REFUSED, str(error))
    except (OSError, RuntimeError) as error:
        return fail(REFUSED, reason(error))


def _in_our_place(box: Container) -> int:
    """Run `box` as if this process were it: terminal, signals, exit status."""
    # The engine inherits the mask and clears it when it can handle what is sent to the whole job.
    # So the container starts with nothing blocked.
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    # The engine stays in this session and process group. In another the container would not be the
    # terminal's foreground job: it would have no input, no Ctrl-C, no job control.
    connection.use(connection.EngineProcess(session=False))
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # if the engine is killed, its children become ours
    with start(box, stdin=0, stdout=1, stderr=2) as running:
        while early := signal.sigtimedwait(FORWARDED, 0):  # before there was a container to take it
            _pass_on(running, early.si_signo)
        try:
            threading.Thread(target=_forward, args=(running,), daemon=True).start()
        except RuntimeError:  # how Python says that the kernel gave it no thread
            raise refusal("clone(CLONE_THREAD)", errno.EAGAIN) from None
        done = running.wait()
    complain(os.fsdecode(running.complaint))
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def _end_children() -> None:
    """Kill all children, and those that become our children when one of them dies."""
    while True:
        found = children()
        if not found:
            return
        for pid in found:
            with contextlib.suppress(PermissionError):  # set-user-ID: we can only wait for it
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _forward(running: Running) -> None:
    """Pass on to the container what is sent to this process."""
    while True:
        sent = signal.sigwaitinfo(FORWARDED)
        # A positive code: the kernel sent it, for a key at the terminal, to everyone in the job. So
        # does the keeper of the terminal, our parent, for a key at the caller's.
        if sent.si_signo != signal.SIGHUP and (sent.si_code > 0 or sent.si_pid in terminal.keeper):
            continue
        _pass_on(running, sent.si_signo)


def _pass_on(running: Running, number: int) -> None:
    with contextlib.suppress(OSError):  # it has just ended, or is another user's by set-user-ID
        running.kill(number)


def usage(version: str) -> str:
    """How it is written."""
    if version in OF_IMAGE:
        return f"labkit {version} run IMAGE [CMD] [ARG...]"
    return f"labkit {version} run {'--root DIR ' * bool(VERSIONS[version].root)}CMD [ARG...]"
