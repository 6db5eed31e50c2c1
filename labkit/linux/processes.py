"""The calls that make processes and move them: clone(2), unshare(2), setns(2), execve(2).

Here and in the modules beside this one a system call is a short function under its man-page name,
with its arguments in the man page's order.
"""

import _signal  # type: ignore[import-not-found]
import os
import struct
from _collections_abc import Mapping, Sequence

from labkit.linux import trace
from labkit.linux.call import Call, only_thread, rehearsed
from labkit.linux.capabilities import as_flags
from labkit.linux.flags import (
    CLONE_INTO_CGROUP,
    CLONE_VM,
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    Ambient,
    Clone,
    Prctl,
)
from labkit.linux.trace import ARRAY, STRING, answered, quoted, signal_name

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from labkit.linux.door import Value


def clone3(flags: int, cgroup: int = 0, *, exit_signal: int = _signal.SIGCHLD) -> int:
    """Make a child in new namespaces. Returns 0 in the child, its PID in the parent. clone(2).

    cgroup: a descriptor of the group of version 2 that it is born in, with CLONE_INTO_CGROUP.

    Call it only in a process with one thread. The child's copy of memory has no other thread, but
    the locks that other threads held stay locked.
    """
    only_thread("clone3")
    # struct clone_args as first published (Linux 5.3): flags, pidfd, child_tid, parent_tid,
    # exit_signal, stack, stack_size, tls; then (Linux 5.7) set_tid, set_tid_size, cgroup
    into = flags & CLONE_INTO_CGROUP
    numbers = [flags, 0, 0, 0, exit_signal, 0, 0, 0, *[0, 0, cgroup] * bool(into)]
    arguments = struct.pack(f"{len(numbers)}Q", *numbers)
    rest = Clone(flags & ~CLONE_VM & ~CLONE_INTO_CGROUP)
    names = ["CLONE_VM"] * bool(flags & CLONE_VM) + [str(rest)] * bool(rest)
    names += ["CLONE_INTO_CGROUP"] * bool(into)
    described = f"flags={'|'.join(names) or '0'}, exit_signal={signal_name(exit_signal)}"
    described += ", stack=NULL, stack_size=0" + f", cgroup={cgroup}" * bool(into)
    return _clone("clone3", f"{{{described}}}, {len(arguments)}", arguments, len(arguments))


def clone(flags: int, *, exit_signal: int = _signal.SIGCHLD) -> int:
    """The older form of clone3. clone(2).

    It is for machines where seccomp answers clone3 with ENOSYS, as Docker's default profile does.
    It has no room for CLONE_NEWTIME: here that bit is part of the exit signal.
    """
    names = f"{Clone(flags)}|" * bool(flags) + signal_name(exit_signal)
    only_thread("clone")
    return _clone("clone", f"child_stack=NULL, flags={names}", flags | exit_signal)


def _clone(name: str, arguments: str, *values: "Value") -> int:
    """Make a child. Only the parent leaves the line in the trace."""
    call = Call(f"{name}({arguments})", name, values)
    if rehearsed(call) is not None:
        return 0  # the other calls are the child's
    child = call()
    if child < 0:
        raise trace.refused(call.line, -child)
    if child > 0:
        trace.record(answered(call.line, child))
    return child


def unshare(flags: int) -> None:
    """Move this process to new namespaces: unshare(2).

    CLONE_NEWPID and CLONE_NEWTIME move only its later children.
    """
    only_thread("unshare")
    trace.make("unshare", str(Clone(flags)), flags)


def setns(fd: int, flags: int = 0) -> None:
    """Enter a namespace by its file, or the kinds `flags` of a process by its pidfd. setns(2)."""
    only_thread("setns")
    trace.make("setns", f"{fd}, {Clone(flags)}", fd, flags)


def pidfd_open(pid: int) -> int:
    """A descriptor of process `pid`, which stays valid when the PID is reused. pidfd_open(2)."""
    return trace.make("pidfd_open", f"{pid}, 0", pid, 0)


def sethostname(name: str) -> None:
    """Set the host name of this UTS namespace: at most 64 bytes. sethostname(2)."""
    only_thread("sethostname")
    data = os.fsencode(name)
    trace.make("sethostname", f"{quoted(data, STRING)}, {len(data)}", data, len(data))


def setsid() -> int:
    """Become the leader of a new session, which has no terminal yet; return its ID. setsid(2)."""
    return trace.make("setsid", "")


def prctl(operation: Prctl, value: int, capability: int = 0) -> int:
    """Change a property of this process, such as PR_SET_PDEATHSIG to a signal. prctl(2).

    PR_CAP_AMBIENT does `value`, one of Ambient, with the capability of that number. Returns 0, but
    of PR_CAP_AMBIENT_IS_SET 1 if it is set.
    """
    shown = signal_name(value) if operation is PR_SET_PDEATHSIG else str(value)
    if operation is PR_CAP_AMBIENT:
        name = "0" if value == PR_CAP_AMBIENT_CLEAR_ALL else as_flags(1 << capability, "")
        shown = f"{Ambient(value).name}, {name}, 0, 0"
    if operation is PR_SET_NO_NEW_PRIVS:
        shown += ", 0, 0, 0"
    if operation is PR_SET_DUMPABLE:
        shown = ("SUID_DUMP_DISABLE", "SUID_DUMP_USER")[value]
    more = (capability,) if operation is PR_CAP_AMBIENT else ()
    return trace.make("prctl", f"{operation.name}, {shown}", operation, value, *more)


def execve(path: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
    """Become the program at `path`. It never returns; it raises OSError when refused. execve(2).

    Its line is left in the trace before the call and ends in ``= ?``: once the program has been
    replaced, it cannot write a line any more. A refusal leaves a second line, with the errno.
    """
    shown = ", ".join(quoted(text, STRING) for text in argv[:ARRAY])
    shown += ", ..." * (len(argv) > ARRAY)
    environment = f"/* {len(env)} var{'s' * (len(env) != 1)} */"
    line = f"execve({quoted(path)}, [{shown}], {environment})"
    values = os.fsencode(path), [*map(os.fsencode, argv)], _variables(env)
    call = Call(line, "execve", values)
    if rehearsed(call) is not None:
        return
    trace.record(f"{line} = ?")
    raise trace.refused(line, -call())


def _variables(env: Mapping[str, str]) -> list[bytes]:
    if env is os.environ:  # which keeps bytes, and would only decode them for us
        return [b"%b=%b" % pair for pair in os.environb.items()]
    return [os.fsencode(f"{name}={value}") for name, value in env.items()]
