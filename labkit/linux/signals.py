"""A process and its children: the signals of a job, and a parent that ends as its child ends.

The engine and ``labkit unshare`` start with this. So it imports only os, and no enum of signals.
"""

import _signal  # type: ignore[import-not-found]
import os

TYPE_CHECKING = False  # importing typing would be a third of the engine's start
if TYPE_CHECKING:
    from typing import NoReturn

JOB_SIGNALS = (
    _signal.SIGHUP,
    _signal.SIGINT,
    _signal.SIGQUIT,
    _signal.SIGTERM,
    _signal.SIGUSR1,
    _signal.SIGUSR2,
)
"""A terminal or a shell sends them to a whole job. Each ends a program without a handler for it."""


def exit_like(child: int) -> "NoReturn":
    """Wait for the child, then end as it did: with its exit status, or by its signal."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        if -code != _signal.SIGKILL:
            _signal.signal(-code, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
        code = 1  # the signal did not end us: we are PID 1 of a PID namespace
    os._exit(code)


def look_after(child: int) -> "NoReturn":
    """Be the init of a PID namespace: reap whoever ends, pass signals on to the child, end as it.

    All signals are blocked, so the kernel keeps them until they are asked for. PID 1 cannot end by
    a signal: the exit status says which one ended the child, as shells have it.
    """
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # they are the engine's
    every = _signal.valid_signals()
    while True:
        number = _signal.sigwait(every)
        if number != _signal.SIGCHLD:
            try:
                os.kill(child, number)
            except ProcessLookupError:  # it has just ended
                continue
        while number == _signal.SIGCHLD:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                os._exit(code if code >= 0 else 128 - code)
            if not pid:
                break
