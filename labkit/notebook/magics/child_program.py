"""What ``%%child`` starts: a Python of its own, which runs a cell's body.

    python -I -u -X utf8 child_program.py FOLDER     FOLDER: where the package labkit lies

Standard input holds a mark, a newline and the body. Each system call that the body makes through
labkit.syscalls is written to standard output where it happened, as a record that ``child.py``
tells from what the body prints by the mark: MARK, PID, ``.`` or (when more follows) ``+``, text,
newline. An error that nobody catches is such a record too, with ``!``: class, errno, refused call.
"""

import ast  # noqa: F401 - see below
import encodings.ascii
import encodings.latin_1  # noqa: F401
import fcntl
import functools
import linecache
import os
import select
import signal
import sys
import time
import traceback
import types
import unicodedata  # noqa: F401
import warnings  # noqa: F401
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.text.words import Words

# What nothing here names is imported for later: a traceback asks for ast and unicodedata, execvp
# for warnings, and after pivot_root or chroot there is no library to take them from.

NAME = "<child>"
PROGRAM = os.path.abspath(__file__)
_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(PROGRAM)))
_CAP_SYS_ADMIN = 21


class Recorder:
    """Writes the trace's lines among the output, on a descriptor that programs do not inherit."""

    def __init__(self, mark: bytes, trace: list[str]) -> None:
        # Not 3: a body that opens a file should find the number that it would find in a script.
        self.fd = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 100)
        self.mark, self.trace = mark, trace

    def record(self, line: str) -> None:
        """Take one line of the trace."""
        self.trace.append(line)
        self._write(line, b".")

    def failed(self, error: BaseException) -> None:
        """Take what the program ends with: the error's class, its errno and the refused call."""
        from labkit.linux.refusal import call_of  # syscalls has it: there at any time

        number = (isinstance(error, OSError) and error.errno) or 0
        self._write(f"{type(error).__name__} {number} {call_of(error)}", b"!")

    def _write(self, said: str, kind: bytes) -> None:
        text = said.encode()
        head = self.mark + str(os.getpid()).encode()
        # A write of at most PIPE_BUF bytes is one piece, whoever else is writing: pipe(7).
        size = select.PIPE_BUF - len(head) - 2
        for start in range(0, len(text), size):
            more = b"+" if start + size < len(text) else kind
            try:
                os.write(self.fd, head + more + text[start : start + size] + b"\n")
            except OSError:  # the body has closed every descriptor, as a daemon does
                return


class Guard:
    """Refuses what would change the machine itself, and would stay so when the cell has ended.

    A body of root's that forgets unshare would mount on the machine; so would one that forgets
    MS_PRIVATE where the machine's mounts are shared: the classic accident of this subject.
    """

    def __init__(self) -> None:
        self.outside = {kind: _inode(kind) for kind in ("mnt", "uts")}
        self.peers = _peers()

    def wrap(self, function: Callable[..., None], kind: str) -> Callable[..., None]:
        """`function`, refused while this process is in the machine's own namespace `kind`."""

        @functools.wraps(function)
        def guarded(*args: object, **kwargs: object) -> None:
            self.check(function.__name__, kind, kwargs.get("mountflags", (*args, 0, 0, 0, 0)[3]))
            function(*args, **kwargs)

        return guarded

    def check(self, name: str, kind: str, flags: object) -> None:
        """Raise RuntimeError if the call would change the machine."""
        if not _capable():  # let the kernel say so
            return
        if self.outside[kind] and _inode(kind) == self.outside[kind]:
            raise RuntimeError(_would_change(name, kind))
        separating = isinstance(flags, int) and flags & (1 << 18 | 1 << 19)  # MS_PRIVATE, MS_SLAVE
        if kind == "mnt" and not separating and self.peers & _peers():
            raise RuntimeError(_would_spread(name))


def _would_change(name: str, kind: str) -> "Words":
    from labkit.text.words import Words  # syscalls has it: there at any time

    flag = "CLONE_NEWNS" if kind == "mnt" else "CLONE_NEWUTS"
    return Words(
        f"{name}() 会改动这台机器本身，单元格结束后也不复原：请先 unshare({flag})。",
        f"{name}() would change this machine itself, and it would stay so after the "
        f"cell: unshare({flag}) first.",
        "\n",
    )


def _would_spread(name: str) -> "Words":
    from labkit.text.words import Words

    return Words(
        f"{name}() 会传播到这台机器：这里的挂载点还与外面的同属一组（shared）。"
        '请先 mount(None, "/", None, MS_REC | MS_PRIVATE)。',
        f"{name}() would reach this machine: the mounts here are still shared with "
        'those outside. mount(None, "/", None, MS_REC | MS_PRIVATE) first.',
        "\n",
    )


def _inode(kind: str) -> int:
    """Of our own namespace; 0 when there is no /proc to ask, as in a root built by hand."""
    try:
        return os.stat(f"/proc/self/ns/{kind}").st_ino
    except OSError:
        return 0


def _peers() -> set[str]:
    """The peer groups of our mounts: mount_namespaces(7)."""
    from labkit.linux.proc import mounts  # there at any time, as `prepare` sees to

    try:
        words = [word for mount in mounts() for word in mount.propagation]
    except OSError:
        return set()
    return {word for word in words if word.startswith("shared:")}


def _capable() -> bool:
    from labkit.linux.proc import status

    try:
        return bool(int(status()["CapEff"], 16) >> _CAP_SYS_ADMIN & 1)
    except OSError:
        return False


def show(error: BaseException, recorder: Recorder) -> None:
    """Print a traceback that begins and ends at the body's own lines, and record the error."""
    recorder.failed(error)
    told = traceback.TracebackException.from_exception(error)
    for each in _chain(told):
        each.stack[:] = [frame for frame in each.stack if not _ours(frame.filename)]
    print("".join(told.format()), end="", file=sys.stderr)


def _chain(told: traceback.TracebackException | None) -> Iterator[traceback.TracebackException]:
    if told:
        yield told
        for other in (told.__cause__, told.__context__, *(getattr(told, "exceptions", None) or ())):
            yield from _chain(other)


def _ours(filename: str) -> bool:
    return filename.startswith(_PACKAGE + os.sep)


def names() -> dict[str, object]:
    """What the body finds at hand: the public names of labkit.syscalls, os, sys, signal, time."""
    from labkit import syscalls

    public = {name: getattr(syscalls, name) for name in syscalls.__all__}
    return public | {"os": os, "sys": sys, "signal": signal, "time": time}


def in_order(clone: Callable[..., int]) -> Callable[..., int]:
    """`clone`, whose child goes on when its parent's line is written: every run reads the same."""

    @functools.wraps(clone)
    def ordered(*args: object, **kwargs: object) -> int:
        ours, theirs = os.pipe()
        with open(ours, "rb") as told, open(theirs, "wb") as tell:
            child = clone(*args, **kwargs)
            tell.close()
            if child == 0:
                told.read()  # its end: the parent has closed its copy too
        return child

    return ordered


def protect() -> None:
    """Have the calls guarded that could harm the machine."""
    from labkit import syscalls

    guard = Guard()
    for name, kind in {
        "mount": "mnt", "umount2": "mnt", "pivot_root": "mnt", "sethostname": "uts",
    }.items():  # fmt: skip
        _replace(name, guard.wrap(getattr(syscalls, name), kind))


def _replace(name: str, function: Callable[..., object]) -> None:
    """Have `function` in place of a call, where it is defined and where it is at hand."""
    from labkit import syscalls

    home = sys.modules[getattr(syscalls, name).__module__]
    setattr(home, name, function)
    setattr(syscalls, name, function)


def prepare(mark: bytes) -> Recorder:
    """Have the calls recorded, and those guarded that could harm the machine."""
    from labkit import syscalls
    from labkit.linux import trace

    recorder = Recorder(mark, trace.lines)
    trace.record = recorder.record
    for name in ("clone3", "clone"):
        _replace(name, in_order(getattr(syscalls, name)))
    protect()
    return recorder


def main() -> None:
    """Run the body that comes on standard input, as the program's __main__."""
    mark, _, body = sys.stdin.buffer.read().partition(b"\n")
    sys.path.insert(0, sys.argv[1])  # the notebook's own labkit, should there be another
    recorder = prepare(mark)
    del sys.path[0]
    sys.argv = [NAME]
    text = body.decode()
    linecache.cache[NAME] = (len(text), None, text.splitlines(keepends=True), NAME)
    sys.excepthook = lambda _, error, __: show(error, recorder)
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    vars(module).update(names())
    exec(compile(text, NAME, "exec", dont_inherit=True), vars(module))  # noqa: S102 - the learner's


if __name__ == "__main__":
    main()
