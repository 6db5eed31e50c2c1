"""A function of the notebook, sent to another program: its code and what that refers to.

pickle sends a function of a module by its name. A notebook's cells are no module, so what they
define goes as code, together with the notebook's names that it uses.
"""

import builtins
import dis
import importlib
import io
import marshal
import pickle
from collections.abc import Iterator
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

from labkit.container.container import Container

names: dict[str, object] = {"__builtins__": builtins, "__name__": "__main__"}
"""The globals of every function that was received: what is put here, they find at hand."""


def ship(value: object, home: dict[str, Any] | None = None) -> bytes:
    """`value` as bytes for :func:`receive` in a program with the same Python and labkit.

    home: the globals of the functions in it that are to go as code. Raises pickle.PicklingError,
    TypeError or AttributeError for what cannot be sent.
    """
    file = io.BytesIO()
    _Shipper(file, {} if home is None else home).dump(value)
    return file.getvalue()


def receive(data: bytes) -> Any:  # noqa: ANN401 - as pickle.loads
    """What :func:`ship` sent."""
    return pickle.loads(data)  # noqa: S301 - from our own caller, or a program that we started


class _Shipper(pickle.Pickler):
    def __init__(self, file: io.BytesIO, home: dict[str, Any]) -> None:
        super().__init__(file)
        self._home = home

    def reducer_override(self, obj: Any) -> Any:  # noqa: ANN401 - pickle's own signature
        """How containers, modules and the functions of `home` are sent."""
        if isinstance(obj, Container):
            return Container.from_json, (obj.to_json(),)
        if isinstance(obj, ModuleType):
            return importlib.import_module, (obj.__name__,)
        if not isinstance(obj, FunctionType) or obj.__globals__ is not self._home:
            return NotImplemented
        cells = obj.__closure__ or ()
        known = (n for n in _globals(obj.__code__) if n in self._home)
        used = {n: self._home[n] for n in known if not _stands_for_builtin(n, self._home[n])}
        state = used, obj.__defaults__, obj.__kwdefaults__, [c.cell_contents for c in cells]
        # The function first and its state afterwards: it may refer to itself.
        return _made, (marshal.dumps(obj.__code__), len(cells)), state, None, None, _fill


def _stands_for_builtin(name: str, value: object) -> bool:
    """Whether a name is IPython's own, around a function that every program has: open()."""
    wrapped = getattr(value, "__wrapped__", None)
    return wrapped is not None and wrapped is getattr(builtins, name, None)


def _globals(code: CodeType) -> Iterator[str]:
    """The global names that `code` uses."""
    for step in dis.get_instructions(code):
        if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"}:
            yield step.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals(constant)


def _made(code: bytes, cells: int) -> FunctionType:
    loaded = marshal.loads(code)  # noqa: S302 - from our own caller
    return FunctionType(loaded, names, None, None, tuple(CellType() for _ in range(cells)))


def _fill(function: FunctionType, state: tuple[Any, Any, Any, list[object]]) -> None:
    used, function.__defaults__, function.__kwdefaults__, contents = state
    names.update(used)
    for cell, value in zip(function.__closure__ or (), contents, strict=True):
        cell.cell_contents = value
