"""What stands where in a score (`score.py`): words of 64 bits, counted from 0."""

WORD = 8  # bytes
PLACE = 0x6_0000_0000
"""The address of a score in engine and child: far from where programs, heaps and stacks are put."""

# struct clone_args as first published (Linux 5.3): clone(2). Its other words stay 0.
FLAGS, SIGNAL = 0, 4
CLONE_ARGS = 64  # bytes

# What the caller asks: how many calls; the namespace of the target (a flag) that the engine is to
# be in for the clone, or 0; the word that wants the target's descriptor, or 0; whether to tell of
# the start; whether an observer is to see each call; how many calls, after the child's, the engine
# is to make ahead of them, while the child waits.
COUNT, BORN, TARGET, TELL, OBSERVED, AHEAD = range(8, 14)

# What the engine answers: results of setns, clone3 and clone (0: not made); the descriptor of its
# own namespace to come back to; and an inode for each of the new namespaces, in the order of KINDS.
ENTERED, CLONE3, CLONE, HERE = range(14, 18)
INODES = 18
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

# What the child notes: the word of the call that comes next; whether execve was reached.
NEXT, READY = INODES + len(KINDS), INODES + len(KINDS) + 1

# From here on the calls: number, six arguments, result.
HEAD = READY + 1
RESULT, CALL = 7, 8
