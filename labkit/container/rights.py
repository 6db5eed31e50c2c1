"""What the program may do: its user, capabilities, no new privileges, and when the filter comes."""

import _signal  # type: ignore[import-not-found]
from _collections_abc import Collection, Sequence

from labkit.container.container import Container
from labkit.container.seccomp import filter_calls
from labkit.container.user_namespace import maker
from labkit.linux.capabilities import CAPABILITIES, bits_of
from labkit.linux.credentials import (
    cap_ambient_raise,
    capbset_drop,
    capset,
    prlimit64,
    setgroups,
    setresgid,
    setresuid,
)
from labkit.linux.files import write_file
from labkit.linux.flags import PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG
from labkit.linux.processes import prctl
from labkit.linux.refusal import Asked
from labkit.python import contextlib


def limit(box: Container) -> None:
    """Limit the program to what `box` allows. This is the last step before execve."""
    if box.oom_score_adj is not None:
        write_file("/proc/self/oom_score_adj", f"{box.oom_score_adj}")
    for name, (soft, hard) in (box.rlimits or {}).items():
        prlimit64(0, f"RLIMIT_{name.upper()}", soft, hard)  # to raise one takes CAP_SYS_RESOURCE
    if box.seccomp is not None and not box.no_new_privs:
        filter_calls(box)  # needs CAP_SYS_ADMIN, which the next step may drop
    if box.capabilities is not None:
        bound(box.capabilities)  # needs CAP_SETPCAP, which another user does not have
    if box.user is not None:
        become_user(box, *box.user)
    if box.capabilities is not None:
        keep(box.capabilities, box.ambient_caps)
    if box.no_new_privs:
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        if box.seccomp is not None:
            filter_calls(box)


def bound(names: Collection[str]) -> None:
    """Drop every capability except `names` from the bounding set, for ever.

    For root this is the limit that counts: execve gives root all that is in the bounding set.
    """
    for name in CAPABILITIES[: last_capability() + 1]:
        if name not in names:
            capbset_drop(name)


def become_user(box: Container, uid: int, gid: int, groups: Sequence[int]) -> None:
    """Become another user. The groups come first: they need root's capabilities.

    When the user ID is no longer root's, the kernel empties the effective set, and the permitted
    set too unless PR_SET_KEEPCAPS is on: `keep` takes its set from there. The change also clears
    PR_SET_PDEATHSIG. runc leaves the supplementary groups alone where they may not be set.
    """
    if box.capabilities is not None:
        prctl(PR_SET_KEEPCAPS, 1)
    if not setgroups_denied(box):
        setgroups(groups)
    setresgid(gid, gid, gid)
    setresuid(uid, uid, uid)
    prctl(PR_SET_PDEATHSIG, _signal.SIGKILL)


def setgroups_denied(box: Container) -> bool:
    """Whether the user namespace of `box`, or one around it, forbids setgroups(2)."""
    if box.rootless or maker.get() or (box.gid_map and not box.setgroups):
        return True
    with contextlib.suppress(OSError), open("/proc/self/setgroups", encoding="utf-8") as file:
        return file.read() == "deny\n"
    return False  # no /proc: the kernel will say


def keep(names: Collection[str], ambient: Collection[str]) -> None:
    """Give up every capability except `names`. Those in `ambient` outlive execve."""
    held = bits_of(names)
    capset(held, held, bits_of(ambient))
    for name in ambient:
        cap_ambient_raise(name)


def last_capability() -> int:
    """The number of the last capability that this kernel knows: proc_sys_kernel(5)."""
    path = "/proc/sys/kernel/cap_last_cap"
    with open(path, encoding="utf-8") as file, Asked(f'read("{path}")'):
        return int(file.read())
