"""labkit: write Docker from scratch, in Jupyter (从零写 Docker)."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from labkit.cgroups.limits import Limits
    from labkit.container.container import Container, Finished
    from labkit.container.root import Root
    from labkit.engine.client import enter, run, start
    from labkit.engine.running import Running
    from labkit.engine.verdict import EngineLost
    from labkit.linux.flags import (
        CLONE_NEWCGROUP,
        CLONE_NEWIPC,
        CLONE_NEWNET,
        CLONE_NEWNS,
        CLONE_NEWPID,
        CLONE_NEWTIME,
        CLONE_NEWUSER,
        CLONE_NEWUTS,
        Clone,
    )
    from labkit.linux.namespaces import inodes
    from labkit.network.network import Network
    from labkit.notebook.views.show import compare, diff, source

# Where each name is: fetched at its first use, so that labkit unshare does not wait for the rest.
_HOMES = {
    "cgroups.limits": "Limits",
    "container.container": "Container Finished",
    "container.root": "Root",
    "engine.client": "enter run start",
    "engine.running": "Running",
    "engine.verdict": "EngineLost",
    "linux.namespaces": "inodes",
    "network.network": "Network",
    "notebook.views.show": "compare diff source",
}
__all__ = [
    "CLONE_NEWCGROUP",
    "CLONE_NEWIPC",
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWTIME",
    "CLONE_NEWUSER",
    "CLONE_NEWUTS",
    "Clone",
    "Container",
    "EngineLost",
    "Finished",
    "Limits",
    "Network",
    "Root",
    "Running",
    "compare",
    "diff",
    "enter",
    "inodes",
    "load_ipython_extension",
    "run",
    "source",
    "start",
]


def __getattr__(name: str) -> object:
    """Import what is asked for at its first use: ``import labkit`` stays quick."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = next((home for home, names in _HOMES.items() if name in names.split()), "linux.flags")
    globals()[name] = found = getattr(import_module(f"labkit.{home}"), name)
    return found


def load_ipython_extension(shell: "InteractiveShell") -> None:
    """Add ``%%child`` and ``%docker`` to `shell`, and see to the lessons' cells and their errors.

    IPython calls this at ``%load_ext labkit``. From there the lab's home page leads on.
    """
    import os

    from labkit.notebook.cells.current import may_be_loaded_again
    from labkit.notebook.cells.mistake import fold_errors
    from labkit.notebook.home.copies import note_last
    from labkit.notebook.levels.levels import watch
    from labkit.notebook.magics.child import LabMagics
    from labkit.notebook.magics.docker import DockerMagics

    shell.register_magics(LabMagics, DockerMagics)
    fold_errors(shell)
    may_be_loaded_again(shell)
    watch()
    note_last(os.environ.get("JPY_SESSION_NAME", ""))
