"""A JSON file that is replaced whole: whoever reads it sees the old one or the new one."""

import os

from labkit.python import json
from labkit.python.typing import Any
from labkit.state import folder
from labkit.text.words import Words


def write(path: str, value: object, *, durable: bool = True) -> None:
    """Write `value` to a file beside, put it on disk, and rename it to `path`.

    durable: put it on disk; what ends with this boot anyway need not wait for that.

    A process that is killed here leaves the old document, and perhaps the file beside: it begins
    with a dot and is nobody's (see `clear`). Two writers do not mix; who changes a document that
    others change holds a lock from the reading to the writing.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    replace(path, text.encode(errors="surrogateescape"), durable=durable)


def replace(path: str, content: bytes, *, durable: bool = True) -> None:
    """Replace the file `path` whole. fsync(2), rename(2)."""
    parent, name = os.path.split(path)
    beside = os.path.join(parent, f".{name}.{os.urandom(6).hex()}")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(fd)
        os.rename(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
    if durable:
        folder.sync(parent)


def clear(path: str) -> None:
    """Remove what killed writers of a document have left. Who calls this holds its lock."""
    parent, name = os.path.split(path)
    for beside in os.listdir(parent):
        if beside.startswith(f".{name}."):
            os.unlink(os.path.join(parent, beside))


def read(path: str, otherwise: object = None) -> Any:  # noqa: ANN401 - what JSON can hold
    """The value of a document; `otherwise` where there is none.

    An empty file is none: a power cut leaves that of a document that was not durable.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except FileNotFoundError:
        return otherwise
    except OSError as error:
        error.filename = path  # Python knows it only when open(2) was refused
        raise
    if not text:
        return otherwise
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(
            Words(f"{path} 不是完整的 JSON：{error}", f"{path} is not whole JSON: {error}")
        ) from None
