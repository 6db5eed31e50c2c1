"""我的 Docker，V0.1：运行一个程序 · My Docker, V0.1: it runs a program.

python mydocker.py run PROGRAM [ARGUMENT...]
"""

import os
import sys


def run(argv: list[str]) -> None:
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
