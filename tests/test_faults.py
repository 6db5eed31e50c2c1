"""One system call fails, or one process is killed: a fixed sample of `make faults`."""

import errno
import zlib
from collections.abc import Iterator

import pytest
from faults.injection import Caller, Injection, Outcome, plan
from faults.kinds import KINDS, places
from faults.report import table
from faults.tracer import KILL, Fault

PAIRS = [(kind, who) for kind in KINDS for who in places(kind)]
SAMPLE = 40
FOUND = [
    ("enter", "caller", Fault("openat", 1, errno.EMFILE)),  # the error named no call
    ("group, frozen", "engine", Fault("write", 2, errno.EPERM)),  # it was not thawed: a hang
    ("run -d", "engine", Fault("epoll_ctl", 4, errno.ENOMEM)),  # what it printed was lost
    ("run -d", "engine", Fault("write", 3, errno.EIO)),  # and here
    ("exec, monitor", "engine", Fault("epoll_ctl", 1, errno.ENOMEM)),  # a hang
    ("exec, monitor", "child", Fault("execve", 1, errno.EACCES)),  # each exec left a descriptor
    ("run --rm -it", "caller", Fault("poll", 1, KILL)),  # rm -f did not see that it had started
    ("oci", "engine", Fault("sendto", 1, KILL)),  # a hang
    ("oci", "caller", Fault("rename", 4, errno.EACCES)),  # the first process and its groups stayed
]
"""What was not clean once."""


@pytest.fixture(scope="module")
def callers() -> Iterator[list[Caller]]:
    """One caller at a time; after what ended it, another."""
    kept: list[Caller] = []
    yield kept
    for caller in kept:
        caller.close()


def caller_of(callers: list[Caller]) -> Caller:
    if callers and callers[0].ended:
        callers.pop().close()
    if not callers:
        callers.append(Caller(shares=True))
    return callers[0]


@pytest.mark.parametrize("number", range(SAMPLE))
def test_who_loses_a_call_says_so_and_the_others_go_on(number: int, callers: list[Caller]) -> None:
    kind, who = PAIRS[number * len(PAIRS) // SAMPLE]
    planned = [*plan(kind, who, caller_of(callers).listing(kind, who))]
    injection = planned[zlib.crc32(b"%d" % number) % len(planned)]
    assert not injected(injection, callers).wrong, injection


def injected(injection: Injection, callers: list[Caller]) -> Outcome:
    """Let a call fail; after what was not clean comes another caller."""
    outcome = caller_of(callers).inject(injection)
    if outcome.wrong:
        callers.pop().close()
    return outcome


@pytest.mark.parametrize(("kind", "who", "fault"), FOUND)
def test_what_was_found_once(kind: str, who: str, fault: Fault, callers: list[Caller]) -> None:
    assert injected(Injection(kind, who, fault), callers) == Outcome(True, "")


@pytest.mark.parametrize(
    ("kind", "who", "fault", "call"),
    [
        ("v0.4", "child", Fault("dup3", 2, errno.EBUSY), "dup3("),
        ("v0.4", "child", Fault("read", 1, errno.EIO), "read("),
        ("v0.4", "engine", Fault("pidfd_open", 1, errno.EMFILE), "pidfd_open("),
        ("v0.4", "engine", Fault("epoll_ctl", 1, errno.ENOSPC), "epoll_ctl(EPOLL_CTL_ADD, "),
        ("v0.4", "engine", Fault("fchdir", 1, errno.EACCES), "fchdir("),
        ("new memory", "caller", Fault("memfd_create", 1, errno.ENFILE), "memfd_create("),
        ("v0.4", "caller", Fault("recvmsg", 1, errno.ENOMEM), "recvmsg("),
    ],
)
def test_the_error_names_the_call(
    kind: str, who: str, fault: Fault, call: str, callers: list[Caller]
) -> None:
    caller = caller_of(callers)
    outcome = caller.inject(Injection(kind, who, fault))
    assert outcome == Outcome(True, "")
    assert isinstance(caller.came, dict)
    assert (caller.came["errno"], caller.came["call"][: len(call)]) == (fault.number, call)


def test_what_is_not_clean_is_seen() -> None:
    """The other tests can fail."""
    caller = Caller(shares=True)
    try:
        caller.warm("v0.1")
        assert caller._wrong("v0.1", "hangs", "") == "hangs"
        assert caller._wrong("v0.1", {"result": [1, "", ""]}, "").startswith("another result")
        told = {"error": "OSError", "os": True, "errno": 5, "call": "", "text": "?"}
        assert caller._wrong("v0.1", told, "").startswith("no call")
        caller.said.write(b"Traceback")
        caller.said.flush()
        caller.before = caller._settled()
        assert caller._wrong("v0.1", caller.ask("v0.1"), "") == "Traceback"
        assert caller.ask("nothing of the kind") == "ended"
    finally:
        caller.close()


def test_the_table_counts_what_was_reached_and_shows_what_was_not_clean() -> None:
    clean = Injection("v0.1", "engine", Fault("read", 1, errno.EIO))
    wrong = Injection("v0.1", "child", Fault("read", 2, KILL))
    never = Injection("v0.2", "child", Fault("read", 3, KILL))
    shown = table(
        [(clean, Outcome(True, "")), (wrong, Outcome(True, "hangs")), (never, Outcome(False, ""))]
    )
    assert "2 injections: 1 errnos, 1 SIGKILLs; 1 more were not reached" in shown
    assert "| v0.1 | 0 | 1 | 1 | 1 |\n| v0.2 | 0 | 0 | 0 | 0 |\n" in shown
    assert "- `v0.1 / child / read 2 SIGKILL`: hangs\n" in shown
