"""How a layer hides what is below it: in an archive by names, in a directory as overlay has it."""

import os
import stat

WHITEOUT, OPAQUE, AUFS = b".wh.", b".wh..wh..opq", b".wh..wh."
"""How a name in an archive begins that hides another; the name that makes its directory opaque;
and how the names begin that AUFS used for records of its own."""

OVERLAY = (b"trusted.overlay.", b"user.overlay.")
"""How overlay's own attributes begin: a mount with userxattr has the second kind."""


def is_whiteout(found: os.stat_result) -> bool:
    """Whether overlay takes this as "nothing is here": a character device 0, 0."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def opaque(rootless: bool) -> tuple[bytes, ...]:
    """The attributes of a directory that shows nothing of the layers below.

    What root of the host unpacks may be mounted by root of a user namespace too: so it gets both.
    """
    return tuple(prefix + b"opaque" for prefix in OVERLAY[rootless:])
