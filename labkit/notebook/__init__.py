"""What a notebook's cell uses; nothing outside this folder imports it."""

import importlib
from typing import TYPE_CHECKING

from labkit.notebook.show import compare, diff, source

if TYPE_CHECKING:
    from labkit.notebook.namespace_map import ns_map

__all__ = ["compare", "diff", "ns_map", "source"]

_WIDGETS = {"ns_map": "namespace_map"}


def __getattr__(name: str) -> object:
    """Import a widget at its first use: %%child needs none of what they are made of."""
    if name not in _WIDGETS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WIDGETS[name]}"), name)
