"""What is kept on disk: where, who may change it, and how it is put right after a death.

Everything here is safe for two processes at once, and against SIGKILL at any moment.

The four means
    A *folder* says where things are: under /var/lib and /run, or in XDG's directories without root.
    A *lock* is flock(2) on a file: the kernel drops it whenever and however its holder dies.
    A *document* is JSON that a person can read. It is replaced whole, so a reader sees the old one
    or the new one.
    A *journal* has the undo of each thing done to the host, written before the thing is done.

Held folders
    A folder with a lock in it belongs to whoever holds that lock (`held.py`). A folder that nobody
    holds is an orphan: its maker has died, and whoever comes next removes it. What is being made
    (an unpacked layer, a download) stands in such a folder, and is renamed to its place when it is
    whole. So a killed process leaves nothing half made where somebody would take it for whole.

Decisions
    Lock files, not locked directories: a network file system locks only what is open for writing.
    JSON, not a database: a learner reads it with cat. Writing one takes under a millisecond.
    An undo is a name and words, never code: `journal.py` has the table of names.
"""
