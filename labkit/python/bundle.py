"""Our modules that a command imports, compiled, in one file. Those of importlib are a file each.

Python looks for each module by itself: in which folder it is, how old it is, whether what was
compiled is as old. `labkit run` imports more than a hundred of ours. So a command that is to start
at once leaves the modules that it had to look for in one file, beside what Python has compiled, and
takes them from there the next time. And a name that many modules use is in that file once.

As with Python's own files, what was compiled holds as long as its source has the same time and
size. Where nothing may be written, or PYTHONDONTWRITEBYTECODE is set, all is as ever.
"""

import marshal
import os
import sys

# What importlib.machinery and importlib.util give out; to import those imports more.
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER, SourceFileLoader

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from _collections_abc import Iterator
    from types import CodeType

_FOLDER = os.path.dirname(__spec__.cached or __file__)
_HOLDS_FOR = (MAGIC_NUMBER, __file__)  # this Python, and this copy of the package
_FEW = 8  # modules more are not worth another file

_path = ""  # of the file
_modules: "dict[str, tuple[str, str, tuple[int, int], CodeType]]" = {}
"""Of each module its source, its .pyc, the time and size of the source, and its code."""


def use(command: str) -> None:
    """Import from the file of this command what is there, from now on."""
    global _path  # noqa: PLW0603 - a process is one command
    _path = f"{_FOLDER}/{command}.{sys.implementation.cache_tag}"
    try:
        with open(_path, "rb") as file:
            holds_for, found = marshal.loads(file.read())  # noqa: S302 - as Python its own
    except (OSError, EOFError, ValueError, TypeError):
        return
    if holds_for == _HOLDS_FOR:
        _modules.update(found)
        sys.meta_path.insert(0, _Finder)


class _Finder:
    """importlib.abc.MetaPathFinder."""

    @staticmethod
    def find_spec(name: str, _path: object, _target: object = None) -> ModuleSpec | None:
        """How to load a module. None: it is not there, or its source has changed."""
        if name not in _modules:
            return None
        source, compiled, about, _ = _modules[name]
        if about != _about(source):
            del _modules[name]
            return None
        spec = ModuleSpec(name, _Loader(name, source), origin=source)
        spec.has_location, spec.cached = True, compiled
        if source.endswith("/__init__.py"):
            spec.submodule_search_locations = [os.path.dirname(source)]
        return spec


class _Loader(SourceFileLoader):
    """As for any other module, but for where its code comes from."""

    def get_code(self, fullname: str) -> "CodeType":
        """The code of a module."""
        return _modules[fullname][-1]


def _about(source: str) -> tuple[int, int] | None:
    """The time and size of a source, as in a .pyc. None: there is none."""
    try:
        now = os.stat(source)
    except OSError:
        return None
    return int(now.st_mtime), now.st_size


def keep() -> None:
    """Leave for the next such command what this one had to look for until now."""
    if not _path or sys.dont_write_bytecode or not os.access(_FOLDER, os.W_OK):
        return
    try:
        new = dict(_looked_for())
    except (OSError, ImportError):  # a source has gone meanwhile
        return
    if len(new) > _FEW:
        _write(marshal.dumps((_HOLDS_FOR, _modules | new)))


def _looked_for() -> "Iterator[tuple[str, tuple[str, str, tuple[int, int], CodeType]]]":
    """What of ours is imported and not in the file."""
    for name, module in sys.modules.copy().items():
        spec = module.__spec__ if name.startswith("labkit") and name not in _modules else None
        if spec and spec.origin and spec.cached and isinstance(spec.loader, SourceFileLoader):
            about, code = _about(spec.origin), spec.loader.get_code(name)
            if about and code:
                yield name, (spec.origin, spec.cached, about, code)


def _write(content: bytes) -> None:
    """Replace the file. rename(2)."""
    beside = f"{_path}.{os.urandom(6).hex()}"  # in two PID namespaces a number may be the same
    try:
        with open(beside, "xb") as file:
            file.write(content)
        os.rename(beside, _path)
    except OSError:  # the disk is full, or there is a limit: as if it had not been tried
        _remove(beside)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return
