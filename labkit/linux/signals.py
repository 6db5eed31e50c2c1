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
