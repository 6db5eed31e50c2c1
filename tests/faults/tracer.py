"""One process watched with ptrace(2): its system calls are listed, and one of them fails.

A tracer is a process of its own. Its end lets everything that it has watched go on.
"""

import contextlib
import ctypes
import errno
import os
import platform
import signal
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from labkit.linux import seccomp_filter

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

_CONT, _POKEUSER, _DETACH, _SYSCALL = 7, 6, 17, 24
_GETEVENTMSG, _GETREGSET, _SETREGSET, _SEIZE, _INTERRUPT, _INFO = (
    0x4201, 0x4204, 0x4205, 0x4206, 0x4207, 0x420E,
)  # fmt: skip
_SYSGOOD, _CHILDREN, _EXEC = 1, 2 | 4 | 8, 16  # fork, vfork and clone
_EVENTS_BIRTH, _EVENT_EXEC = (1, 2, 3), 4
_ENTRY, _EXIT = 1, 2
_X86 = platform.machine() == "x86_64"
_ORIG_RAX, _RAX = 15 * 8, 10 * 8
_NT_PRSTATUS, _NT_ARM_SYSTEM_CALL = 1, 0x404
MARK = 31337
"""Who asks for the session of this process, which there is not, begins or ends what is watched."""
IGNORED = MARK + 1
"""The thread that asks for this one is not watched."""
KILL = 0
"""In place of an errno: the process is killed as it makes the call."""


@dataclass(frozen=True)
class Fault:
    """The call `name`, when it is made for the nth time, fails with `number`."""

    name: str
    nth: int
    number: int


def _ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> int:
    """ptrace(2). A process that has just been killed is gone, which is no error."""
    result: int = _libc.ptrace(request, pid, address, data)
    if result < 0 and ctypes.get_errno() != errno.ESRCH:
        raise OSError(ctypes.get_errno(), f"ptrace({request:#x})")
    return result


def names() -> dict[int, str]:
    """The system calls of this machine by number."""
    return {number: name for name, number in seccomp_filter.numbers(platform.machine()).items()}


class Tracer:
    """Watches the threads of a process or, of a later generation, what it clones, up to execve.

    told: a pipe's end, to which the name of each call is written, and "!" for the one that failed.
    """

    def __init__(self, told: int, fault: Fault | None, generation: int, *, marked: bool) -> None:
        self._told, self._fault, self._generation = told, fault, generation
        self._on = not marked
        self._generations: dict[int, int] = {}  # of each thread
        self._early: dict[int, int] = {}  # a child may stop before its parent says whose it is
        self._names = names()
        self._count: dict[str, int] = {}
        self._failing: dict[int, int] = {}
        self._ignored: set[int] = set()

    def watch(self, pid: int) -> NoReturn:
        """Watch process `pid` until there is nothing left to watch."""
        options = _SYSGOOD | _CHILDREN | _EXEC
        for tid in map(int, os.listdir(f"/proc/{pid}/task")):
            if _ptrace(_SEIZE, tid, 0, options) < 0:  # a thread that has just ended
                continue
            _ptrace(_INTERRUPT, tid)
            os.waitpid(tid, 0x40000000)  # __WALL
            self._generations[tid] = 0
            self._go_on(tid)
        os.write(self._told, b"ready\n")
        try:
            while True:
                self._stopped(*os.waitpid(-1, 0x40000000))
        except ChildProcessError:
            os._exit(0)

    def _stopped(self, pid: int, status: int) -> None:
        """Something happened to a process that we watch."""
        if not os.WIFSTOPPED(status):
            return
        event, number = status >> 16, os.WSTOPSIG(status)
        if pid not in self._generations:
            self._early[pid] = status
            return
        if number == signal.SIGTRAP | 0x80:
            self._at_call(pid)
        elif event in _EVENTS_BIRTH:
            self._born(pid)
        elif event == _EVENT_EXEC and 0 < self._generations[pid] >= self._generation:
            _ptrace(_DETACH, pid)
            return
        self._go_on(pid, 0 if event or number == signal.SIGTRAP | 0x80 else number)

    def _go_on(self, pid: int, passed: int = 0) -> None:
        watched = self._generations[pid] == self._generation
        _ptrace(_SYSCALL if watched else _CONT, pid, 0, passed)

    def _born(self, parent: int) -> None:
        """A process has a child, or a thread."""
        told = ctypes.c_ulong()
        if _ptrace(_GETEVENTMSG, parent, 0, ctypes.addressof(told)) < 0:
            return
        pid = int(told.value)
        is_thread = Path(f"/proc/{parent}/task/{pid}").exists()
        self._generations[pid] = self._generations[parent] + (not is_thread)
        if pid in self._early:
            self._stopped(pid, self._early.pop(pid))

    def _at_call(self, pid: int) -> None:
        """A process is about to make a call, or has made it."""
        info = ctypes.create_string_buffer(88)
        if _ptrace(_INFO, pid, len(info), ctypes.addressof(info)) < 0:
            return
        number, argument = struct.unpack_from("2Q", info, 24)
        if info.raw[0] == _ENTRY:
            self._entered(pid, self._names.get(number, str(number)), argument)
        elif info.raw[0] == _EXIT and pid in self._failing:
            _set_result(pid, -self._failing.pop(pid))

    def _entered(self, pid: int, name: str, argument: int) -> None:
        if name == "getsid" and argument == MARK:
            self._on = not self._on
            return
        if name == "getsid" and argument == IGNORED:
            self._ignored.add(pid)
        if not self._on or pid in self._ignored:
            return
        self._count[name] = nth = self._count.get(name, 0) + 1
        fault = self._fault
        if fault is None:
            os.write(self._told, f"{name}\n".encode())
        elif (name, nth) == (fault.name, fault.nth):
            os.write(self._told, b"!\n")
            if fault.number == KILL:
                os.kill(pid, signal.SIGKILL)
            else:
                self._failing[pid] = fault.number
                _skip(pid)
                _set_result(pid, -fault.number)  # now too: we may be ended before the call's end


def _skip(pid: int) -> None:
    """Have the kernel make no call."""
    if _X86:
        _ptrace(_POKEUSER, pid, _ORIG_RAX, -1)
    else:
        _registers(pid, _SETREGSET, _NT_ARM_SYSTEM_CALL, bytearray(struct.pack("i", -1)))


def _set_result(pid: int, result: int) -> None:
    """What the call seems to have answered."""
    if _X86:
        _ptrace(_POKEUSER, pid, _RAX, result)
    else:
        registers = bytearray(34 * 8)
        _registers(pid, _GETREGSET, _NT_PRSTATUS, registers)
        struct.pack_into("q", registers, 0, result)
        _registers(pid, _SETREGSET, _NT_PRSTATUS, registers)


def _registers(pid: int, request: int, kind: int, data: bytearray) -> None:
    place = ctypes.addressof((ctypes.c_char * len(data)).from_buffer(data))
    vector = ctypes.create_string_buffer(struct.pack("2Q", place, len(data)))
    _ptrace(request, pid, kind, ctypes.addressof(vector))


class Watch:
    """A tracer of process `pid`, which runs from the time that this is made until :meth:`end`."""

    def __init__(
        self, pid: int, fault: Fault | None = None, generation: int = 0, *, marked: bool = False
    ) -> None:
        """generation: 0 for the process itself, 1 for its children, 2 for theirs."""
        self._heard, told = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                Tracer(told, fault, generation, marked=marked).watch(pid)
            finally:
                os._exit(1)
        os.close(told)
        ready = os.read(self._heard, 6)
        assert ready == b"ready\n", "no ptrace here"

    def end(self) -> list[str]:
        """Let go of the process. What the tracer has told."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        told = b""
        while more := os.read(self._heard, 65536):
            told += more
        os.close(self._heard)
        return told.decode().split()


def ask_for(session: int) -> None:
    """Tell the tracer something: there is no such process."""
    with contextlib.suppress(OSError):
        os.getsid(session)
