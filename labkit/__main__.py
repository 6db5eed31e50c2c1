"""``python -m labkit`` is ``labkit``.

`unshare` and `oci` go their own way: they need little of what other commands import, and are to
start at once.
"""

import sys

from labkit.python import bundle, site

_ROOM = 1 << 21  # bytes: two pieces of memory as Python asks the kernel for them; none is touched


def main() -> int:
    """Run the command line; the exit status."""
    room = b""
    try:
        room = bytes(_ROOM)  # to say that there is none
        if sys.flags.no_site:
            site.later()
        return _command("".join(sys.argv[1:2]))
    except (MemoryError, OSError, ImportError, SystemError) as error:
        # Not even its modules could be read. Python 3.13 may lose the error: a SystemError.
        if isinstance(error, ImportError) and "map" not in str(error):
            raise  # a module is missing; else its shared object could not be mapped
        del room  # it goes back to the kernel at once
        error.__traceback__ = None  # it has the memory of all that was running
        return _no_room(error)


def _command(word: str) -> int:
    """Run the command of this name, or all that main knows."""
    if word in ("unshare", "run", "exec"):
        import gc

        gc.disable()  # a program runs soon, and until then nothing here is worth collecting
        bundle.use(word)
    if word == "unshare":
        from labkit.unshare import steps

        bundle.keep()  # it becomes the program
        return steps.main(sys.argv[2:])
    if word == "oci":
        from labkit.cli.sealed import run_sealed

        run_sealed()
        from labkit.cli import oci

        return oci.main(sys.argv[2:])
    from labkit.cli import main

    return _left(main.main()) if word in ("run", "exec") else main.main()


def _left(status: int) -> int:
    """End at once: to take all modules apart takes as long as many of them took to import."""
    import atexit
    import os

    atexit._run_exitfuncs()  # noqa: SLF001 - there is no other way to have them called
    try:
        sys.stderr.flush()
    finally:
        os._exit(status)


def _no_room(error: BaseException) -> int:
    """Say which limit this Python was too large for; there may be no room to import anything."""
    import os

    what = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else "out of memory"
    zh = "Python 装不下：调高 ulimit -n（文件）、-v 和 -d（内存）"
    en = "no room for Python: raise ulimit -n (files), -v and -d (memory)"
    os.write(2, f"labkit: {what}  {zh}  {en}\n".encode(errors="backslashreplace"))
    return 125


if __name__ == "__main__":
    sys.exit(main())
