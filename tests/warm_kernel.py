"""A process that has imported what kernels import, and becomes a kernel as often as it is asked.

Half of a kernel's start is the import of ipykernel, ipywidgets and labkit. Here it is done once: a
kernel is a fork of this process. What a launcher gives to a kernel, it is given: its words, its
directory, its environment, and a session of its own.

A request is a message on standard input, a JSON of these three; the answer is the kernel's PID.
This process ends with the one that asks, and the kernels with this one.
"""

import importlib
import json
import os
import signal
import socket
import sys

IMPORTED = (
    *("debugpy", "ipykernel.debugger", "ipykernel.ipkernel", "ipykernel.kernelapp", "ipywidgets"),
    *("anywidget", "labkit.notebook.lessons.v10", "labkit.notebook.exercises"),
)


def become(words: list[str], cwd: str, env: dict[str, str]) -> None:
    """Be the kernel that these words would have started."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.environ.update(env)  # over what the imports have set
    os.chdir(cwd)
    # Whom it does not outlive. The default was read from the environment at the import.
    sys.argv = [*words, f"--IPKernelApp.parent_handle={os.getppid()}"]
    sys.modules["ipykernel.kernelapp"].launch_new_instance()


def main() -> None:
    """Fork at each request, until there is nobody who could ask."""
    del sys.path[0]  # the folder of this file
    for name in IMPORTED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the kernels
    asked = socket.socket(fileno=os.dup(0))
    while request := asked.recv(1 << 20):
        if not (pid := os.fork()):
            asked.close()
            become(**json.loads(request))
            return
        asked.send(str(pid).encode())


if __name__ == "__main__":
    main()
