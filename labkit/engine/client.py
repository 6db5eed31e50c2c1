"""The caller's side: run a container, start one, enter one.

The first call starts this process's engine. Every call has a channel of its own to it, so any
number of threads may call at once. A time-out, Ctrl-C and the caller's death all end a container in
the same way: its channel is closed, and the engine kills it.
"""

import os
from collections.abc import Mapping, Sequence
from functools import partial

from labkit.cgroups.membership import groups_of
from labkit.container.container import Container, Finished, as_container
from labkit.engine.execution import Execution, executed
from labkit.engine.inner_pty import pty_for
from labkit.engine.request import Target
from labkit.engine.running import Running
from labkit.engine.streams import LIMIT, Streams, as_bytes, captured, check_limit
from labkit.linux import proc
from labkit.linux.processes import pidfd_open
from labkit.linux.pty import Pty
from labkit.linux.refusal import Asked


def run(
    box: Container,
    *,
    input: str | bytes | None = None,
    timeout: float | None = None,
    limit: int = LIMIT,
) -> Finished:
    """Run a container to its end and return the result.

    input: its standard input (else /dev/null); with tty it is typed, and Ctrl-D after it. timeout:
    seconds, after which it is killed and TimeoutError raised, with what it had printed as
    ``stdout`` and ``stderr``. limit: how many bytes are kept of standard output, and of standard
    error: the first ones. The rest is read and counted: ``left_out`` of the result. A system call
    that the kernel refused while the container was built raises the OSError of its errno; the calls
    up to then are its ``trace``.
    """
    box = as_container(box)
    make_pty = partial(pty_for, box) if box.tty else None
    return executed(
        lambda: Execution(box, captured(input, limit, make_pty)),
        lambda each: each.finish(timeout),
    )


def start(
    box: Container,
    *,
    input: str | bytes | None = None,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    limit: int = LIMIT,
) -> Running:
    """Start a container and return while it runs; use it as ``with start(box) as running:``.

    stdin, stdout, stderr: descriptors to give it; without them input comes from `input` (or
    /dev/null), and output is collected up to `limit`, as for :func:`run`. With tty and without
    stdin there is a pseudo-terminal: `input` is typed there, more with :meth:`Running.write`, and
    all output is its stdout.
    """
    data, limit, box = as_bytes(input), check_limit(limit), as_container(box)

    def begun() -> Execution:
        make_pty = Pty if {stdout, stderr} != {None} else partial(pty_for, box)
        pty = make_pty() if box.tty and stdin is None else None
        streams = Streams((stdin, stdout, stderr), data, pty=pty, limit=limit)
        return Execution(box, streams, report_start=True)

    return executed(begun, Running)


def enter(
    pid: int,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    input: str | bytes | None = None,
    timeout: float | None = None,
    limit: int = LIMIT,
) -> Finished:
    """Run a program in every namespace of process `pid` that is not the caller's: nsenter(1).

    Raises ProcessLookupError when there is no such process. The program never runs outside.
    input, timeout, limit: as for :func:`run`.
    """
    box = Container(argv, env=env)
    pidfd = pidfd_open(pid)
    try:
        with Asked(f'read("/proc/{pid}/cgroup")'):
            target = Target(pid, (number := proc.number(pid)), pidfd, groups_of(number))
        return executed(
            lambda: Execution(box, captured(input, limit), target),
            lambda each: each.finish(timeout),
        )
    finally:
        os.close(pidfd)
