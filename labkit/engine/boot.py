"""How a bare Python of ours is started: with this package and as little else as possible.

``-I -S`` leaves out site-packages and ``.pth`` files, which may start anything. So the package and
its rooms are shown their folders. Their ``__init__`` are left out: they are for callers, readers.
"""

import os
import sys

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""The folder of the package labkit."""
PROJECT = os.path.dirname(PACKAGE)
"""Where Python finds the package; in a clone, the project."""

_BOOT = """\
import sys
folder = sys.argv.pop(1)
for name in ("labkit", "labkit.engine", "labkit.linux"):
    module = sys.modules[name] = type(sys)(name)
    module.__path__ = [folder + name[6:].replace(".", "/")]
from labkit.{} import main
main()
"""


def bare_python(module: str, *arguments: str) -> list[str]:
    """The command that runs main() of a module of ours, such as "engine.process"."""
    return [sys.executable, "-I", "-S", "-c", _BOOT.format(module), PACKAGE, *arguments]
