"""labkit: write Docker from scratch, in Jupyter (从零写 Docker)."""

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
    "enter",
    "inodes",
    "run",
    "start",
]
