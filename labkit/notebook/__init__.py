"""What a notebook's cell uses; nothing outside this folder imports it."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.notebook.exercises.guess import guess
    from labkit.notebook.levels.levels import doctor
    from labkit.notebook.views.show import compare, diff, lesson_file, source
    from labkit.notebook.widgets.chooser import choose
    from labkit.notebook.widgets.layers_explorer import layers
    from labkit.notebook.widgets.namespace_map import ns_map
    from labkit.notebook.widgets.stepper import steps
    from labkit.notebook.widgets.switch import language
    from labkit.notebook.widgets.terminals import terminal
    from labkit.notebook.widgets.topology import topology

__all__ = [
    "choose",
    "compare",
    "diff",
    "doctor",
    "guess",
    "language",
    "layers",
    "lesson_file",
    "ns_map",
    "source",
    "steps",
    "terminal",
    "topology",
]

# The module of each. Not one of its own name: its import would put the module in its place.
_MODULES = {
    "choose": "widgets.chooser",
    "compare": "views.show",
    "diff": "views.show",
    "doctor": "levels.levels",
    "guess": "exercises.guess",
    "language": "widgets.switch",
    "layers": "widgets.layers_explorer",
    "lesson_file": "views.show",
    "ns_map": "widgets.namespace_map",
    "source": "views.show",
    "steps": "widgets.stepper",
    "terminal": "widgets.terminals",
    "topology": "widgets.topology",
}


def __getattr__(name: str) -> object:
    """Import what is asked for at its first use: a check's machine needs none of it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
