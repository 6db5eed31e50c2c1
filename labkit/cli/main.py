"""The command line: ``labkit v0.1 run CMD``, ``labkit ns``, ``labkit doctor``.

What only one of them needs is imported there: a container is to start at once.
"""

import os
import sys

from labkit.cli.complaint import fail, reason
from labkit.python import bundle
from labkit.text.words import AS_TYPED

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from _collections_abc import Callable, Sequence

_SIGINT, _SIGPIPE = 2, 13
_STARTING = ("run", "create", "exec")
"""The verbs of Docker that start a program, as a rule."""


def main(arguments: "Sequence[str] | None" = None) -> int:
    """Run the command line; the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        _open_streams()
        status = _main(given)
        sys.stdout.flush()
    except OSError as error:  # standard output takes no more
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 1)
        if isinstance(error, BrokenPipeError):  # its reader, such as head(1), has read enough
            return 128 + _SIGPIPE
        return fail(1, reason(error))
    except KeyboardInterrupt:
        return 128 + _SIGINT
    return status


def _open_streams() -> None:
    """Where one of the three standard streams is closed, /dev/null: else a socket would be one."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number is free
    if sys.stdout is None or sys.stderr is None:  # Python found them closed
        sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors=AS_TYPED)  # type: ignore[union-attr]


def _main(arguments: "Sequence[str]") -> int:
    verb = arguments[0] if arguments else ""
    if verb in _STARTING:
        return _verb(arguments)
    if verb == "unshare":
        from labkit.unshare import steps

        return steps.main(arguments[1:])
    if verb == "oci":
        from labkit.cli import oci

        return oci.main(arguments[1:])
    if verb.startswith("v0") and arguments[1:2] not in (["-h"], ["--help"]):
        from labkit.cli import versions

        # The arguments after a version are not ours: all that follows CMD, options too, is CMD's.
        if verb in versions.VERSIONS:
            return versions.main(verb, arguments[1:])
    from labkit.cli.verbs import VERBS

    if verb in VERBS:
        return _verb(arguments)
    from labkit.cli import other

    return other.main(arguments)


def _verb(arguments: "Sequence[str]") -> int:
    """One of Docker's verbs; the exit status."""
    try:
        if os.geteuid():
            from labkit.cli import user_namespace  # root pays nothing for it

            user_namespace.enter()
        status = _main_of(arguments[0])(arguments)
        if arguments[0] == "run":
            bundle.keep()
        return status
    except ValueError as error:
        return fail(1, error)
    except BrokenPipeError:
        raise
    except OSError as error:
        return fail(1, reason(error))
    finally:
        if arguments[0] == "run":
            from labkit.monitor import ahead

            ahead.drop()


def _main_of(verb: str) -> "Callable[[Sequence[str]], int]":
    """What carries a verb out. Who starts a program does without click, which is slow to import."""
    if verb == "exec":
        return _exec
    if verb in _STARTING:
        if verb == "run":
            from labkit.monitor import ahead

            ahead.start()
        from labkit.cli import run

        return run.main
    from labkit.cli.verbs import CONTAINERS, IMAGES

    if verb in IMAGES:
        from labkit.cli import images

        return images.main
    if verb in CONTAINERS:
        from labkit.cli import containers

        return containers.main
    from labkit.cli import groups, networks

    return networks.main if verb == "network" else groups.main


def _exec(arguments: "Sequence[str]") -> int:
    """Docker exec. Help, and what is wrong with the words, are left to click."""
    from labkit.cli import short

    status = short.main(arguments)
    bundle.keep()  # the long way has modules that the short one is to do without
    if status is None:
        from labkit.cli import execute

        status = execute.main(arguments)
    if status is None:
        from labkit.cli import containers

        status = containers.main(arguments)
    return status
