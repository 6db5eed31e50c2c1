"""Linux itself: one door to the kernel, the calls by subject, a reader for each file of /proc.

The way of a call
    A function of `processes.py`, `mounts.py`, `files.py` or `credentials.py` has the name and the
    arguments of the man page. It makes a value of them (`call.py`) that goes through one door
    (`door.py`) to syscall(2), by number. The call leaves one line (`trace.py`), written as strace
    writes it. A refusal is the OSError of its errno, with a reason in two languages
    (`refusal.py`). In a rehearsal the value is kept and the call is not made.

Who imports what
    The engine's process imports `door.py` and nothing else of this room. `labkit unshare` starts at
    once, so the calls, the trace and the refusals import no `dataclasses`, `typing`, `signal`, `re`
    or `enum`. `labkit/syscalls.py` is the face of this room for a learner: one import for a
    ``%%child`` cell, which stays as it is when modules move.

Decisions
    ctypes, not a C extension: nothing is compiled, and a learner reads the call itself.
    ctypes.PyDLL keeps the interpreter's lock during a call. So no other thread of Python runs
    between a clone and its return in the child.
    Numbers stand in `door.py`, although `profiles/syscalls.txt` has them too: the engine must not
    read a file of all the calls to know a few.
    A raw call is refused in a process of several threads if it would move the process: a notebook's
    kernel could never be moved back. It belongs in a ``%%child`` cell.
    Our own assembler makes the seccomp filter: libseccomp is a C library, and its bindings for
    Python are old or bound to one Python. Here a learner reads sixty lines of BPF. What the profile
    calls other architectures gets the default action: no 32-bit program runs under it.
    A program that has been replaced cannot say that it was. So execve leaves its line before the
    call in a ``%%child`` cell, ending in ``= ?``; in a container the child notes that it is ready.
"""
