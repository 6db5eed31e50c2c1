"""What a notebook's cell uses; nothing outside this folder imports it."""

from typing import TYPE_CHECKING

from labkit.notebook.show import compare, diff, source

if TYPE_CHECKING:
    from labkit.notebook.namespace_map import ns_map

__all__ = ["compare", "diff", "ns_map", "source"]


def __getattr__(name: str) -> object:
    """Import a widget's module, and with it ipywidgets, at its first use."""
    if name != "ns_map":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from labkit.notebook.namespace_map import ns_map

    return ns_map
