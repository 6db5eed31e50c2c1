"""The work of Python's `site`, when something needs it: with ``python -S`` nobody has done it.

It looks through all places where something may be installed, which takes a quarter of the time in
which Python starts. `scripts/labkit` knows the usual one, and seldom is anything elsewhere needed.
"""

import sys

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec


def later() -> None:
    """Do it as soon as a module is nowhere to be found."""
    sys.meta_path.append(_Last)


class _Last:
    """importlib.abc.MetaPathFinder, asked when nobody else has a module."""

    @classmethod
    def find_spec(cls, name: str, path: object, _target: object = None) -> "ModuleSpec | None":
        """How to load a module, once `site` has said where to look. None: it is nowhere."""
        # A module of a package that has been found, or one that Python has on other systems.
        if path is not None or name in sys.stdlib_module_names:
            return None
        sys.meta_path.remove(cls)
        import site
        from importlib.util import find_spec

        site.main()
        return find_spec(name)
