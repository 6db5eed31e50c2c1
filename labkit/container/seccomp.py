"""The seccomp filter of a container: the step that loads it."""

import os
from _collections_abc import Collection

from labkit.container.container import Container
from labkit.linux.capabilities import CAPABILITIES, bits_of
from labkit.linux.credentials import seccomp
from labkit.linux.door import Filter
from labkit.python import contextlib
from labkit.state import document, folder

_LINUX = os.path.join(os.path.dirname(os.path.dirname(__file__)), "linux")
_MADE_OF = ("seccomp_filter.py", "seccomp_profile.py", "profiles/docker.json")


def filter_calls(box: Container) -> None:
    """Filter every call from here on by the seccomp profile of `box`."""
    kept = CAPABILITIES if box.capabilities is None else box.capabilities
    if isinstance(box.seccomp, str):
        seccomp(_default(kept))
    else:
        from labkit.linux import seccomp_filter  # few have a profile of their own

        seccomp(seccomp_filter.assemble(box.seccomp or {}, kept))


def _default(capabilities: Collection[str]) -> Filter:
    """The filter of Docker's profile for a container that keeps `capabilities`.

    To assemble it takes some milliseconds. So what came of that is kept until this machine's next
    boot, which may bring another kernel, for as long as the assembler and the profile are the same.
    """
    try:
        path = os.path.join(folder.passing(), f"filter-{bits_of(capabilities):x}")
        times = [os.stat(os.path.join(_LINUX, name)).st_mtime_ns for name in _MADE_OF]
    except (OSError, ValueError):  # there is no such folder, or we are no files
        return _assembled(capabilities)
    with contextlib.suppress(OSError):
        with open(path, "rb") as file:
            written, _, content = file.read().partition(b"\n")
        if written == f"{times}".encode() and content:
            return Filter(content)
    made = _assembled(capabilities)
    with contextlib.suppress(OSError):
        document.replace(path, f"{times}\n".encode() + made, durable=False)
    return made


def _assembled(capabilities: Collection[str]) -> Filter:
    from labkit.linux import seccomp_filter

    return seccomp_filter.assemble(seccomp_filter.default(), capabilities)
