"""What the command line says on standard error when something cannot be done."""

import os
import sys

from labkit.text.words import one_line


def fail(status: int, text: object) -> int:
    """One line on standard error; the exit status."""
    complain(" ".join(f"labkit: {text}".splitlines()) + "\n")
    return status


def reason(error: OSError | RuntimeError) -> str:
    """What was refused, and what to do about it."""
    if isinstance(error, RuntimeError):
        return str(error)
    from labkit.linux.refusal import explain, file_of  # the table of reasons: only who needs it

    explain(error)
    about = f"{file}: " if (file := file_of(error)) else ""
    return about + one_line(error)


def complain(text: str) -> None:
    """Say it."""
    try:
        sys.stderr.write(text)
    except OSError:  # its reader is gone, or its terminal has hung up: Python would try at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 2)
