"""labkit unshare: unshare(1) by our own system calls. It stands on `linux`, to start at once.

It has no engine. It moves itself, as unshare(1) does, so the calls of the two can be compared one
by one. Two things can be done only from the namespaces that it leaves: to bind a mount namespace to
a file, and to map more than one's own ID. A child stays there and does them (`steps.py`).

Half of its time is Python's own start. So `labkit/__init__.py` fetches names when they are used,
`labkit/__main__.py` comes here before the other commands are loaded, and no module on the way
imports `dataclasses`, `typing`, `signal` or `re`. For the same reason `scripts/labkit` is a file
that pip copies: the script of an entry point would import `re`.

Flags have a small enum of their own (`linux/named.py`), for the same reason.

The differences from unshare(1) that we know
    Python ignores SIGPIPE and SIGXFSZ from its start. The program gets both at their default, even
    if our caller ignored them.
    A number must be a number. unshare(1) takes `-S 4294967296` for root (the lower 32 bits),
    `--map-user=-1` for no map (up to 2.38), and `RTMIN+1x` for RTMIN+1. We refuse all three.
"""
