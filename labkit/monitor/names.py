"""Names of containers: Docker's rules, one container a name, and names that nobody has chosen.

A name is a link in the folder `names`, which leads to the container's folder. To make one is
atomic, so two containers never have the same.
"""

import os
from _collections_abc import Iterator

from labkit.python import contextlib
from labkit.state import folder
from labkit.state.lock import Lock, hold
from labkit.text.letters import is_name
from labkit.text.words import Words

_SHORTEST = 2  # characters
_PATIENCE = 60  # seconds for another process that gives or takes a name
_FIRST = "able agile bold brisk bright calm clever curious daring eager fair fond gentle glad keen "
_FIRST += "kind lively lucid merry mild neat nimble patient plain proud quick quiet rapid ready "
_FIRST += "serene sharp silent smart steady swift tidy vivid warm wise witty"
_LAST = "archimedes bernoulli bose brahe cantor cauchy chandra chen chern copernicus dirac emmy "
_LAST += "euclid euler fermi fibonacci galois gauss guo hilbert huygens hypatia jemison kepler "
_LAST += "lagrange laplace leibniz liuhui lovelace mach mendel noether pascal planck qian raman "
_LAST += "riemann shannon shenkuo tao turing wuchien yang yau zhang zuchongzhi"


class NameTaken(ValueError):  # noqa: N818 - it says what happened
    """Another container has that name."""

    def __init__(self, name: str, identity: str) -> None:
        super().__init__(
            Words(
                f'容器 "{identity}" 已经用着名字 "/{name}"：先删掉它，或者给它改名',
                f'Conflict. The container name "/{name}" is already in use by container '
                f'"{identity}". You have to remove (or rename) that container to be able to reuse '
                "that name.",
            )
        )


def check(name: str) -> str:
    """A name as Docker allows it, without a slash before it. ValueError: it is none."""
    bare = name.removeprefix("/")
    if len(bare) < _SHORTEST or not is_name(bare, len(bare)):
        raise ValueError(
            Words(
                f"容器名 {name!r} 不合格：只能有 [a-zA-Z0-9][a-zA-Z0-9_.-] 里的字符，至少两个",
                f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
            )
        )
    return bare


def index() -> dict[str, str]:
    """The name of each container, by its ID. Of two, which a death may leave, the first."""
    found: dict[str, str] = {}
    place = _folder()
    for name in sorted(os.listdir(place)):
        with contextlib.suppress(OSError):
            found.setdefault(os.path.basename(os.readlink(os.path.join(place, name))), name)
    return found


def lookup(name: str) -> str:
    """The ID of the container with that name; "" if there is none."""
    try:
        return os.path.basename(os.readlink(_path(check(name))))
    except (OSError, ValueError):
        return ""


def take(name: str, path: str) -> str:
    """Give the container in the folder `path` a name, any that is free if it is "". The name."""
    with _alone():
        return _taken(name, path)


def rename(old: str, new: str) -> None:
    """Give a container another name. FileNotFoundError: none has the old name."""
    with _alone():
        _taken(new, os.readlink(_path(old)))
        os.unlink(_path(old))


def drop(identity: str) -> None:
    """Take the names of a container away."""
    with _alone():
        for name in os.listdir(_folder()):
            if os.path.basename(os.readlink(_path(name))) == identity:
                os.unlink(_path(name))


def _taken(name: str, path: str) -> str:
    for candidate in [check(name)] if name else _candidates():
        try:
            os.symlink(path, _path(candidate))
        except FileExistsError:
            there = os.readlink(_path(candidate))
            if os.path.isdir(there) and not name:
                continue
            if os.path.isdir(there):
                raise NameTaken(candidate, os.path.basename(there)) from None
            os.unlink(_path(candidate))  # of a container that is gone
            os.symlink(path, _path(candidate))
        return candidate
    raise AssertionError("there is always another name")


def _candidates() -> Iterator[str]:
    while True:
        chances = int.from_bytes(os.urandom(8), "big")
        firsts, lasts = _FIRST.split(), _LAST.split()
        first, last = firsts[chances % len(firsts)], lasts[(chances >> 16) % len(lasts)]
        yield f"{first}_{last}"
        yield f"{first}_{last}{(chances >> 32) % 10**6}"


def _folder() -> str:
    return folder.make(os.path.join(folder.lasting(), "names"))


def _path(name: str) -> str:
    return os.path.join(_folder(), name)


def _alone() -> Lock:
    what = Words("容器的名册", "the names of containers")
    return hold(os.path.join(folder.lasting(), "names.lock"), what, timeout=_PATIENCE)
