"""What is refused to us, tried again by root of a user namespace of its own."""

import errno
import threading
from collections.abc import Callable
from typing import TypeVar

from labkit.engine.connection import is_rootless, rootless
from labkit.linux.confinement import capabilities

T = TypeVar("T")
_FORBIDDEN = (errno.EPERM, errno.EACCES)

helped: list[OSError] = []
"""The refusals after which root of a user namespace got further, since the list was cleared."""

refused: list[OSError] = []
"""Those that were shown, as by choose(), not raised, since the list was cleared."""


def attempt(action: Callable[[], T]) -> tuple[T, OSError | None]:
    """What `action` gives; if we may not do it, what it gives within rootless(), and the refusal.

    Raises what was refused to us when root of a user namespace gets no further.
    """
    try:
        return action(), None
    except OSError as error:
        if error.errno not in _FORBIDDEN or not unprivileged():
            raise
        first = error
    try:
        with rootless():
            came = action()
    except OSError:
        raise first from None
    note(helped, first)
    return came, first


def note(where: list[OSError], error: OSError) -> None:
    """Add `error` to one of the lists above, if it is the present cell's: not a click's."""
    if threading.current_thread() is threading.main_thread():
        where.append(error)


def unprivileged() -> bool:
    """Whether root of a new user namespace may be allowed more than we are."""
    return not is_rootless() and "CAP_SYS_ADMIN" not in capabilities().effective
