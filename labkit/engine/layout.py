"""Byte layout of the call list that caller, engine and child share: the score (`score.py`).

The list is a sheet of 64-bit numbers, counted from 0. Strings lie behind them.
"""

NUMBER_SIZE = 8  # bytes
ADDRESS = 0x6_0000_0000
"""The address of a score in engine and child: far from where programs, heaps and stacks are put."""

# struct clone_args as first published (Linux 5.3): clone(2). Its other numbers stay 0.
FLAGS, SIGNAL = 0, 4
CLONE_ARGS = 64  # bytes

# What the caller asks for:
# COUNT: how many calls the child is to make.
# BORN_IN: a flag: the target's namespace that the engine enters for the clone, or 0.
# TARGET: the place of the number that is to be the target's pidfd, or 0.
# REPORT_START: whether the engine says when the program runs.
# OBSERVED: whether an observer sees each call.
# ENGINE_CALLS: how many calls follow the child's. The engine makes them while the child waits.
COUNT, BORN_IN, TARGET, REPORT_START, OBSERVED, ENGINE_CALLS = range(8, 14)

# What the engine answers: results of setns, clone3 and clone (0: not made); the descriptor of its
# own PID namespace, to come back to; and an inode for each new namespace, in the order of KINDS.
SETNS_RESULT, CLONE3_RESULT, CLONE_RESULT, ENGINE_PIDNS_FD = range(14, 18)
INODES = 18
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

# What the child notes: the place of the call that comes next; whether it has come to execve. And,
# if it was refused a call of its own, which the score has not: which of OWN_CALLS; its descriptor;
# its errno, 0 while none was refused.
NEXT, READY, OWN_CALL, OWN_FD, OWN_ERRNO = range(INODES + len(KINDS), INODES + len(KINDS) + 5)
# The first three put the streams in their places. Two are for the gate and the engine's pipe, two
# for the observer, one for a child of the child. The last two name no descriptor.
OWN_CALLS = (
    "dup2({}, 0)",
    "dup2({}, 1)",
    "dup2({}, 2)",
    "read({}, 1)",
    "close({})",
    'write({}, "?", 1)',
    "read({}, 1)",
    "wait4({})",
    'stat("/proc/self/ns/time_for_children")',
    "mmap(NULL)",
)
OWN_GATE, OWN_PIPE, OWN_ASKING, OWN_ANSWER, OWN_WAIT, OWN_STAT, OWN_MEMORY = range(3, 10)

# From here on the calls: number, six arguments, result.
HEAD = OWN_ERRNO + 1
RESULT, CALL = 7, 8
