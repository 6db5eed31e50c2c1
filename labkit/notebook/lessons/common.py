"""What the cells of every lesson have at hand."""

import os
import sys
from dataclasses import replace
from pathlib import Path

from labkit import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    Container,
    inodes,
    run,
    start,
)
from labkit.notebook.exercises.guess import guess
from labkit.notebook.views.evidence import expect
from labkit.notebook.views.show import compare, diff, source

__all__ = [
    "CLONE_NEWCGROUP",
    "CLONE_NEWIPC",
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWTIME",
    "CLONE_NEWUSER",
    "CLONE_NEWUTS",
    "Container",
    "Path",
    "compare",
    "diff",
    "expect",
    "guess",
    "inodes",
    "os",
    "replace",
    "run",
    "source",
    "start",
    "sys",
]

os.environ["LC_ALL"] = "C.UTF-8"  # or a program's errors are in the language of the machine
