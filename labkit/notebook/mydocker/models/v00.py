"""我的 Docker，刚开了个头 · My Docker, just begun.

python mydocker.py run PROGRAM [ARGUMENT...]
"""

import sys


def run(argv: list[str]) -> None:
    """变成 argv 那个程序 · Become the program argv."""
    # 从这里写起 · begin here


match sys.argv[1:]:
    case ["run", *argv] if argv:
        run(argv)
    case _:
        sys.exit("用法 · usage: python mydocker.py run PROGRAM [ARGUMENT...]")
