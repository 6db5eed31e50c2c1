"""我的 Docker，V0.3：自己的挂载、IPC、网络 · My Docker, V0.3: its own mounts, IPC and network.

python mydocker.py run PROGRAM [ARGUMENT...]
"""

import os
import sys

from labkit.syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUTS,
    MS_PRIVATE,
    MS_REC,
    mount,
    sethostname,
    unshare,
)


def run(argv: list[str]) -> None:
    """四个命名空间；头一件事是断开挂载的传播 · Four namespaces; first of all, private mounts."""
    unshare(CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET)
    # 抄来的挂载点与宿主机的仍是一组，不断开，里面一挂载，外面也跟着变
    # The copied mounts are still peers of the host's: else a mount inside appears outside
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    sethostname("mydocker")
    execute(argv)


def execute(argv: list[str]) -> None:
    """变成那个程序 · Become the program."""
    try:
        os.execvp(argv[0], argv)  # 成功就不再回来 · it does not return when it succeeds
    except OSError as error:
        print(f"mydocker: {argv[0]}: {error.strerror}", file=sys.stderr)
        # 像 shell 那样：找不到是 127，不能执行是 126
        # As a shell has it: 127 for not found, 126 for not executable
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


match sys.argv[1:]:
    case ["run", *argv] if argv:
        run(argv)
    case _:
        sys.exit("用法 · usage: python mydocker.py run PROGRAM [ARGUMENT...]")
