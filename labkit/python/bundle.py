"""The modules that commands import, compiled, in one file. Those of importlib are a file each.

Python looks for each module anew: in which folder it is, how old it is, whether what was compiled
is as old. `labkit run` imports more than a hundred. So a command leaves what it had to look for in
one file, beside what Python has compiled, and the next one takes it from there. As with Python's
own files, what was compiled holds as long as its source has the same time and size. Where nothing
may be written, or PYTHONDONTWRITEBYTECODE is set, all is as ever.
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

_HEADER = 16  # bytes of a .pyc before its code: PEP 552
_FIRST = 8  # bytes of the file, which say where its index is: after the codes
_FOLDER = os.path.dirname(__spec__.cached or __file__)
_PATH = f"{_FOLDER}/commands.{sys.implementation.cache_tag}"
# Where it holds: for this Python and what is installed with it, and for this copy of ours.
_HOLDS_FOR = (MAGIC_NUMBER, sys.version, os.__file__, os.path.dirname(sys.executable), __file__)

_index: "dict[str, tuple[str, str, int, int, int, int]]" = {}
"""Of each module its source and .pyc, the source's time and size; where its code is, how long."""
_inode = -1  # of the file that _index is about, for another process may replace it


def use() -> None:
    """From now on import from the file what is there."""
    global _inode  # noqa: PLW0603 - a module is what it is about
    try:
        with open(_PATH, "rb") as file:
            file.seek(int.from_bytes(file.read(_FIRST), "little"))
            holds_for, found = marshal.loads(file.read())  # noqa: S302 - as Python its own
            _inode = os.fstat(file.fileno()).st_ino
    except (OSError, EOFError, ValueError, TypeError):
        return
    if holds_for == _HOLDS_FOR:
        _index.update(found)
        sys.meta_path.insert(0, _Finder)


class _Finder:
    """importlib.abc.MetaPathFinder."""

    @staticmethod
    def find_spec(name: str, _path: object, _target: object = None) -> ModuleSpec | None:
        """How to load a module. None: it is not there, or its source has changed."""
        if name not in _index:
            return None
        source, compiled, *about = _index[name]
        if about[:2] != _about(source):
            del _index[name]
            return None
        spec = ModuleSpec(name, _Loader(name, source), origin=source)
        spec.has_location, spec.cached = True, compiled
        if source.endswith("/__init__.py"):
            spec.submodule_search_locations = [os.path.dirname(source)]
        return spec


class _Loader(SourceFileLoader):
    """As for any other module, but for where its code comes from."""

    def get_code(self, fullname: str) -> "CodeType | None":
        """The code of a module."""
        code = _code(fullname)
        return marshal.loads(code) if code else super().get_code(fullname)  # noqa: S302


def _about(source: str) -> list[int]:
    """The time and size of a source, as in a .pyc; nothing where there is none."""
    try:
        now = os.stat(source)
    except OSError:
        return []
    return [int(now.st_mtime) & 0xFFFFFFFF, now.st_size & 0xFFFFFFFF]


def _code(name: str) -> bytes:
    """The code of a module; nothing where the file is another one now."""
    *_, place, size = _index[name]
    try:
        fd = os.open(_PATH, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(fd, size, place) if os.fstat(fd).st_ino == _inode else b""
    finally:
        os.close(fd)


def keep() -> None:
    """Leave for the next command what this one had to look for."""
    if sys.dont_write_bytecode or not os.access(_FOLDER, os.W_OK):
        return
    if new := dict(_compiled()):
        known = {name: ((*each[:4],), _code(name)) for name, each in _index.items()}
        _write({name: each for name, each in (known | new).items() if each[1]})


def _compiled() -> "Iterator[tuple[str, tuple[tuple[str, str, int, int], bytes]]]":
    """What is imported and not in the file: about each module, and its code."""
    for name, module in sys.modules.copy().items():
        spec = getattr(module, "__spec__", None)
        if not spec or name != spec.name or name in _index or not spec.cached:
            continue
        try:
            with open(spec.cached, "rb") as file:
                header, code = file.read(_HEADER), file.read()
        except OSError:  # nobody may write there
            continue
        about = _about(spec.origin)
        if header == MAGIC_NUMBER + b"".join(each.to_bytes(4, "little") for each in (0, *about)):
            yield name, ((spec.origin, spec.cached, about[0], about[1]), code)


def _write(modules: "dict[str, tuple[tuple[str, str, int, int], bytes]]") -> None:
    """Replace the file by one that has these modules. rename(2)."""
    index, at = {}, _FIRST
    for name, (about, code) in modules.items():
        index[name] = (*about, at, len(code))
        at += len(code)
    beside = f"{_PATH}.{os.getpid()}"
    try:
        with open(beside, "wb") as file:
            file.write(at.to_bytes(_FIRST, "little"))
            file.writelines(code for _, code in modules.values())
            file.write(marshal.dumps((_HOLDS_FOR, index)))
        os.rename(beside, _PATH)
    except OSError:  # the disk is full, or there is a limit: as if it had not been tried
        _remove(beside)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return
