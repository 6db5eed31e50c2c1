"""我的 Docker，V0.2：有自己的主机名 · My Docker, V0.2: it has a host name of its own.

python mydocker.py run PROGRAM [ARGUMENT...]
"""

import os
import sys

from labkit.syscalls import CLONE_NEWUTS, sethostname, unshare


def run(argv: list[str]) -> None:
    """先有命名空间，再改名 · First the namespace, then the name."""
    unshare(CLONE_NEWUTS)
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
