"""The learner's own file: where it is, and how it is written without losing anything.

It lies beside the notebooks, in the directory where this kernel was started. git does not follow
it, so no update touches it. ``LABKIT_MYDOCKER`` names another file (empty: none at all). Where
nothing can be written, the text is remembered as long as this process lives.
"""

import itertools
import os
import shutil
import tempfile

NAME = "mydocker.py"

_HERE = os.getcwd()
_unsaved: str | None = None


def path() -> str:
    """The file, or an empty string for none."""
    named = os.environ.get("LABKIT_MYDOCKER")
    return os.path.join(_HERE, NAME) if named is None else named


def link() -> str:
    """The file as a page beside it would call it."""
    return os.path.relpath(path(), _HERE) if path() else NAME


def read() -> str | None:
    """The learner's text; None where there is no file yet."""
    try:
        with open(path(), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return _unsaved


def write(text: str) -> OSError | None:
    """Put `text` there: a reader finds the old text or the new one, never half of it.

    Where there is no file and none can be made, this process remembers the text, and the reason is
    returned. Raises OSError, and changes nothing, where a file is there and cannot be written.
    """
    global _unsaved  # noqa: PLW0603 - one file, one process
    refused = None
    if path():
        try:
            _replace(os.path.realpath(path()), text)
            return None
        except OSError as error:
            if os.path.lexists(path()):
                raise
            refused = error
    _unsaved = text
    return refused


def keep() -> str:
    """Copy the file to a new name beside it; that name, or "" where there is no file."""
    if not os.path.exists(path()):
        return ""
    stem, end = os.path.splitext(path())
    names = (f"{stem}.old{number}{end}" for number in itertools.count(1))
    name = next(name for name in names if not os.path.lexists(name))
    shutil.copy(path(), name)
    return os.path.basename(name)


def _replace(target: str, text: str) -> None:
    fd, new = tempfile.mkstemp(prefix=".mydocker-", dir=os.path.dirname(target))
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(new, 0o644)  # mkstemp's is for its owner alone
        os.replace(new, target)
    except BaseException:
        os.unlink(new)
        raise
