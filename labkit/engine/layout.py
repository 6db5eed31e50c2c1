"""Byte layout of the call list that caller, engine and child share: the score (`score.py`).

The list is a sheet of 64-bit numbers, counted from 0. Strings lie behind them.
"""

import struct

NUMBER_SIZE = 8  # bytes
REQUEST = struct.Struct("5q")
"""What a request says beside its descriptors: address and size of its score, what is to be done
with that memory, how many descriptors there are, and the address of what is kept no longer, or 0.
Paths of control groups follow."""
ONCE, KEEP, AGAIN = range(3)
"""The engine maps the memory of a score and takes it away at the end; maps it and keeps it; or has
it already, and is not sent its descriptor."""
KEPT_SIZE = 1 << 16  # bytes of memory that is kept
ADDRESSES = ((0x6_0000_0000, 0x20_0000_0000, 1 << 24), (0x20_0000_0000, 0x40_0000_0000, 1 << 32))
"""Where scores lie, far from programs, heaps and stacks: begin, end, bytes for each; then for large
ones."""

# struct clone_args: clone(2). Its other numbers stay 0. CGROUP (since Linux 5.7) is the descriptor
# of the group that the child is born in; without one the struct is that of Linux 5.3.
FLAGS, SIGNAL, CGROUP = 0, 4, 10
CLONE_ARGS, CLONE_ARGS_WITH_CGROUP = 64, 88  # bytes
CLONE_INTO_CGROUP = 0x200000000  # as in `linux/flags.py`, for which the engine has no room

# What the caller asks for:
# COUNT: how many calls the child is to make.
# ENGINE_CALLS: how many calls follow the child's. The engine makes them while the child waits.
# BORN_IN: a flag: the target's namespace that the engine enters for the clone, or 0.
# REPORT: what the engine says, and when. ENDED: when the child has ended. STARTED: also when the
# program runs. EARLY: when the child has ended, before the kernel has taken its mounts apart.
# MACHINE: whether the player in machine code may make the child's calls; 0 if it was not there.
COUNT, ENGINE_CALLS, BORN_IN, REPORT, MACHINE = range(11, 16)
ENDED, STARTED, EARLY = range(3)

# What the engine fills in before the clone, registers for the calls: the program's three streams;
# the two ends of the gate; the target's pidfd, or the socket of an observer or of who connects it.
STDIN, STDOUT, STDERR, GATE, OPENER, OTHER = range(16, 22)

# What the engine answers: results of setns, clone3 and clone (0: not made); the descriptor of its
# own PID namespace, to come back to; what its /proc calls the child, and the descriptor of that
# directory (or minus an errno), for its calls; an inode for each new namespace, in KINDS' order.
SETNS_RESULT, CLONE3_RESULT, CLONE_RESULT, ENGINE_PIDNS_FD = range(22, 26)
CHILD_NUMBER, CHILD_DIRECTORY = 26, 27
# What the child answers besides the results of its calls: the errno of a call of Python's own.
CHILD_ERRNO = 28
# The engine fills this in too: the pidfd of the process in whose PID namespace the child is born.
TARGET = 29
INODES = 30
# The flags are those of `linux/flags.py`. The engine has no room for that module.
KINDS = (
    ("cgroup", 0x02000000),
    ("ipc", 0x08000000),
    ("mnt", 0x00020000),
    ("net", 0x40000000),
    ("pid", 0x20000000),
    ("time", 0x00000080),
    ("user", 0x10000000),
    ("uts", 0x04000000),
)

# From here on the calls: number, six arguments, result, mask. An argument whose bit stands in the
# mask is a register: it is the place of the number that is meant, such as an earlier call's result.
HEAD = INODES + len(KINDS)
RESULT, MASK, CALL = 7, 8, 9
REGISTERS = (1 << 6) - 1
PASSED_OVER = 1 << 6
"""In a mask: if the call finds no file (ENOENT, ENOTDIR), or finds the one that it was to make
(EEXIST), the child goes on to the next."""
NEEDS_INPUT = 1 << 7
"""In a mask: if the call gives 0, the end of what can be read, the child ends."""
NOT_MADE = -1 << 63
"""The result of a call that has not been made, or that has become another program."""
