"""labkit, imported once: each command line gets a fork of this process.

Importing labkit and click takes longer than most command lines. A request is a line of JSON on
standard input: words, and the paths to read from and write to; the answer is an exit status.
"""

import atexit
import importlib
import json
import os
import pkgutil
import select
import signal
import sys
import traceback
from typing import NoReturn

import labkit.cli
from labkit.cli.main import main

PATIENCE = 20  # seconds for one line; then it is killed
TIMED_OUT = -1


def serve() -> None:
    """Answer until there is no more request."""
    for module in pkgutil.iter_modules(labkit.cli.__path__, "labkit.cli."):
        importlib.import_module(module.name)
    for text in sys.stdin:
        request = json.loads(text)
        pid = os.fork()
        if not pid:
            _answer(request)
        print(_status(pid), flush=True)


def _status(pid: int) -> int:
    fd = os.pidfd_open(pid)
    ended, _, _ = select.select([fd], [], [], PATIENCE)
    os.close(fd)
    if not ended:
        os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) if ended else TIMED_OUT


def _answer(request: dict[str, str]) -> NoReturn:
    """Be `labkit WORDS`."""
    os.setsid()
    streams = ((0, "stdin", os.O_RDWR * ("tty" in request)), (1, "stdout", os.O_RDWR))
    for fd, name, flags in (*streams, (2, "stderr", os.O_RDWR)):
        opened = os.open(request[name], flags)  # the first terminal becomes ours to control
        os.dup2(opened, fd)
        os.close(opened)
    os.closerange(3, 64)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(fd, m) for fd, m in enumerate("rww"))
    status = 1
    try:
        status = main(request["words"])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


if __name__ == "__main__":
    serve()
