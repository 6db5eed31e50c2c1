"""A container as a value, its checks, and the ordered steps that build it: `contain.py`.

A Container is frozen, and every field is off until a lesson turns it on. A field that would change
the host without the namespace it needs is refused before anything starts (`checks.py`).

`contain()` is one flat function, though its steps belong to several subjects: a learner reads the
order on one page. The caller rehearses it (`labkit/linux/call.py`), and the child makes the calls.
No step can look at the result of another, but any argument may be one.

Decisions
    The engine writes the ID maps, as runc and Go do. A map of more than one's own ID takes a
    privilege outside of the new user namespace, which nobody inside has. The child waits at the
    gate before its first call instead of before execve, so there is no second gate. A container
    without maps pays nothing.
    The child becomes root inside before PR_SET_PDEATHSIG is set, because a change of IDs clears it.
    Clocks can be set only while nobody is in the time namespace, and clone3 would put its child
    there at once. So with `time_offsets` the child makes the namespace by unshare, sets the clocks,
    and enters it by setns. Execve alone would take it in, but only since Linux 6.2.
    A filter is loaded after the capabilities are dropped if no_new_privs allows it, and before
    otherwise: without no_new_privs it takes CAP_SYS_ADMIN.
    A pseudo-terminal is made in the /dev/pts of the root, as runc does, and sent to the caller
    (`devices.py:make_terminal`). Without such a root the caller makes it and passes it as the three
    streams. The engine knows nothing of either; the child makes two calls to have it control the
    session. One that was made outside is bound onto /dev/console.
    Nothing looks at a root before the kernel does. A directory that is missing, a file in place of
    one, an overlay on an overlay: the call is refused, and the table of reasons says why. So there
    is no moment between a look and a use.
    A root of its own: `new_root.py` has the steps, and what is done on which side of pivot_root.
"""
