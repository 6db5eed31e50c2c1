"""labkit: write Docker from scratch, in Jupyter (从零写 Docker)."""

from typing import TYPE_CHECKING

from labkit.client import EngineLost, Running, enter, run, start
from labkit.container import Container, Finished
from labkit.namespaces import inodes
from labkit.syscalls import (
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

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from labkit.notebook.show import compare, diff, source

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
    """Import what only a notebook needs at its first use: ``import labkit`` stays quick."""
    if name not in {"compare", "diff", "source"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from labkit.notebook import show

    return getattr(show, name)


def load_ipython_extension(shell: "InteractiveShell") -> None:
    """Add ``%%child`` and ``%docker`` to `shell`: IPython calls this at ``%load_ext labkit``."""
    from labkit.notebook.docker_magic import DockerMagics
    from labkit.notebook.magics import LabMagics

    shell.register_magics(LabMagics, DockerMagics)
