"""Control groups: what a container may use, in version 1 and 2 of the kernel's groups.

`limits.py` has the value, `v1.py` and `v2.py` say which files hold it, and `group.py` makes the
group of a container, watches it and removes it. The two versions have the same functions:
settings(), controllers(), measure(), freeze(). Where controllers are in version 1, as on a hybrid
machine, version 1 is used for all.

Who does what
    The caller makes the group, because it alone knows the limits, and opens its directories.
    The engine is handed the descriptors and the paths. It clones the child into the group and
    removes it when the container has ended, before it says so. It opens nothing before that.
    The child enters what it was not born in: it writes "0" to a file of each group, as steps of its
    score, so a trace shows them. It has one thread, so in version 1 that file is tasks: at
    cgroup.procs it would wait for all others.

Born inside
    Version 2: clone3 with CLONE_INTO_CGROUP. Version 1 has no such thing, nor has a kernel before
    5.7 or a machine where seccomp answers clone3 with ENOSYS. There the child goes in by itself
    before its other steps. The engine could write its PID instead, but then no trace would show it,
    and the engine would wait for the move of every container. A cgroup namespace is made after
    that, by unshare: its root is the group in which its maker is at that moment.

Removed whatever happens
    A group is locked by flock(2) on its directory. The kernel drops the lock when the last of those
    who see to it has died. So there is no journal on disk: a group of our name without a lock is an
    orphan, in whatever PID namespace its maker was. Its engine removes it; if that was killed, the
    keeper and the caller do; if all were killed, whoever makes the next group.
    cgroup.kill empties it (Linux 5.14). Without that it is frozen, each process is killed, and it
    is thawed: a frozen process of version 1 does not die.

Where a group is made
    Version 1: below the group in which the caller is, in each hierarchy that a limit needs; freezer
    besides, unless nobody gets a handle and the PID namespace's end ends all. Limits() alone has
    those that count. A group for every controller would cost 0.4 ms.
    Version 2: below the nearest group upwards that hands on the controllers. If none does, our own
    is made to. The kernel forbids that to a group with processes (EBUSY), as a container's root
    has; they are moved to a group below it, and a warning says so. An ordinary user may make no
    group below that of a login. Under systemd the user manager gives one, a scope with Delegate=yes
    (`scope.py`): the caller is moved there with all that it has started, the engine among them,
    since the kernel lets nobody move a process out of a group that is not his own.

Version 2 has no file for devices. A program of BPF is attached to the group, assembled here.
"""
