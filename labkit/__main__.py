"""``python -m labkit`` is ``labkit``.

`unshare` goes its own way: it needs none of what other commands import, and is to start at once.
"""

import sys


def main() -> int:
    """Run the command line; the exit status."""
    if sys.argv[1:2] == ["unshare"]:
        import gc

        gc.disable()  # it is another program soon, and nothing here is worth collecting
        from labkit.unshare import steps

        return steps.main(sys.argv[2:])
    from labkit.cli import main

    return main.main()


if __name__ == "__main__":
    sys.exit(main())
