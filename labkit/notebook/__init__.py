"""What a notebook's cell uses; nothing outside this folder imports it."""

import importlib
from typing import TYPE_CHECKING

from labkit.notebook.show import compare, diff, source

if TYPE_CHECKING:
    from labkit.notebook.switch import language

__all__ = ["compare", "diff", "language", "source"]

# The module of each. Not one of its own name: its import would put the module in its place.
_WIDGETS = {"language": "switch"}


def __getattr__(name: str) -> object:
    """Import a widget at its first use."""
    if name not in _WIDGETS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WIDGETS[name]}"), name)
