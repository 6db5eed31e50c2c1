"""A terminal of its own for a container that is started from a terminal.

Who has a terminal open as that of its session can type there: ioctl(TIOCSTI) puts a character into
its input, and the shell outside reads it as a command once the container has ended (CVE-2017-5226).
So the container gets a pseudo-terminal, as Docker gives it one, in a session without the caller's.

Three processes take part::

    the caller's session                 the session of the new terminal
    relay: labkit itself -- master --    slave: the keeper, which leads it
                                         the worker, its engine and the container: its job

The relay passes on bytes, the terminal's size and signals. In front of a terminal, which is input
and output, it does so from the start. Elsewhere, as before a pipe to less(1), the job begins in the
background of its terminal: the neighbours get their keys. When the job wants to read there or to
change the terminal, the kernel stops it (SIGTTIN, SIGTTOU). The keeper sees that and tells the
relay, which takes the caller's terminal; the kernel stops the relay too while the shell has not put
it into the foreground. Ctrl-Z goes the same way: the kernel stops the job, the relay gives the
terminal back and stops with its own job.

A filter of ioctl would do too, as bubblewrap's page advises. But each start would have a call more
than the lessons compare with strace, and 32-bit calls would go past it.

The relay does not see a program that makes itself the foreground job without asking, as shells do,
before that prints something.
"""

import contextlib
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import termios
import threading
import tty
from collections.abc import Callable
from typing import Any

from labkit.linux.flags import PR_SET_PDEATHSIG
from labkit.linux.processes import prctl
from labkit.linux.pty import Pty
from labkit.linux.signals import JOB_SIGNALS

_CHUNK = 65536  # bytes
_TIOCGDEV = 0x80045432  # asm-generic/ioctls.h: which terminal a descriptor is of
_WAKING = (signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)
_OF_KEYS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)  # a terminal sends them to a whole job

keeper: list[int] = []
"""In a process that went on: its parent, which sends it what a key sends to a whole job."""


def give_own() -> int | None:
    """Put a terminal between the caller's and this process, if the caller has one.

    As fork(2) returns twice, this does: None where the work goes on; and in the process that the
    caller waits for, when the work is done, its exit status.
    """
    outer = _terminal()
    if outer is None:
        return None
    in_front = _in_foreground(outer)
    pty = _made_like(outer, settings_too=in_front)
    at_once = os.isatty(0) and os.isatty(1) and in_front
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    signal.pthread_sigmask(signal.SIG_BLOCK, {*JOB_SIGNALS, *_WAKING})
    relay = os.getpid()
    child = os.fork()
    if child == 0:
        ours.close()
        _Keeper(pty, theirs, relay, outer).work_or_keep(at_once=at_once)
        return None
    theirs.close()
    pty.give_away()
    return _Relay(pty, ours, child, outer, alike=in_front).run(at_once=at_once)


def _made_like(outer: int, *, settings_too: bool) -> Pty:
    pty = Pty()
    with contextlib.suppress(termios.error):  # the caller's has hung up
        pty.resize(*termios.tcgetwinsize(outer))
        if settings_too:
            termios.tcsetattr(pty.slave, termios.TCSANOW, termios.tcgetattr(outer))
    return pty


def _terminal() -> int | None:
    """A descriptor of the caller's terminal: of this session, or else of a standard stream."""
    try:
        return os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # this session has none
        given = [fd for fd in range(3) if os.isatty(fd)]
        return fcntl.fcntl(given[0], fcntl.F_DUPFD_CLOEXEC, 3) if given else None


def _device(fd: int) -> int:
    """The number of a terminal, which /dev/tty itself does not show to fstat(2)."""
    return int(struct.unpack("I", fcntl.ioctl(fd, _TIOCGDEV, bytes(4)))[0])


def _in_foreground(terminal: int) -> bool:
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:  # not of this session: nobody else's job has it
        return True


def _end_with(parent: int) -> None:
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it had ended before
        os.kill(os.getpid(), signal.SIGKILL)


def _uninterrupted(change: Callable[[], object]) -> None:
    """Change a terminal. The kernel may stop us there, and to be continued interrupts the call."""
    while True:
        try:
            change()
        except termios.error as error:
            if error.args[0] != errno.EINTR:
                raise
        else:
            return


class _Keeper:
    """The process that leads the new session; from it the worker comes."""

    def __init__(self, pty: Pty, channel: socket.socket, relay: int, outer: int) -> None:
        _end_with(relay)
        self.terminal, self.channel = pty.slave, channel
        os.setsid()
        fcntl.ioctl(self.terminal, termios.TIOCSCTTY, 0)
        for fd in range(3):
            if os.isatty(fd) and _device(fd) == _device(outer):
                os.dup2(self.terminal, fd)
        os.close(pty.master)
        os.close(outer)

    def work_or_keep(self, *, at_once: bool) -> None:
        """Return in the worker, which has the terminal `at_once` or when it asks for it."""
        keeper.append(os.getpid())
        self.worker = os.fork()
        if self.worker:
            self._keep()
        _end_with(*keeper)
        os.setpgid(0, 0)
        if at_once:
            self._have_terminal(os.getpid())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAKING)
        self.channel.close()
        os.close(self.terminal)

    def _have_terminal(self, job: int) -> None:
        """Make `job` the one in the foreground of the new terminal."""
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # else we would be stopped for it
        with contextlib.suppress(OSError):  # it has hung up, or the job has ended
            os.tcsetpgrp(self.terminal, job)
        signal.signal(signal.SIGTTOU, before)

    def _keep(self) -> None:
        """Tell the relay each time that the worker stops, until it ends. Never returns.

        Signals are asked for, not handled: Python would run a handler for one that comes just
        before a call that waits only when that call ends.
        """
        asked = {*_OF_KEYS, signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_BLOCK, asked)
        with contextlib.suppress(PermissionError):  # it has done so itself
            os.setpgid(self.worker, self.worker)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it is for the job
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*JOB_SIGNALS, *_WAKING} - asked)
        self.channel.send(b"%d" % self.worker)
        while True:
            changed, status = os.waitpid(self.worker, os.WUNTRACED | os.WNOHANG)
            if changed:
                self._see(status)
            elif (number := signal.sigwait(asked)) != signal.SIGCHLD:
                self._pass_on(number)

    def _see(self, status: int) -> None:
        """The worker has ended: so does this process. Or it has stopped: the relay is told."""
        if not os.WIFSTOPPED(status):
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
        self.channel.send(b"%d" % os.WSTOPSIG(status))
        self._have_terminal(self.worker if self.channel.recv(1) == b"f" else os.getpid())
        self._pass_on(signal.SIGCONT)

    def _pass_on(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.worker, number)


class _Relay:
    """The process that the caller waits for: between its terminal and the new one."""

    def __init__(
        self, pty: Pty, channel: socket.socket, keeper: int, outer: int, *, alike: bool
    ) -> None:
        self.pty, self.channel, self.keeper, self.outer = pty, channel, keeper, outer
        self.alike = alike  # the new terminal has the settings of the caller's
        self.saved: list[Any] | None = None  # how the caller's terminal was before it was taken
        self.typed = b""
        self.among_others = not os.isatty(1)  # who reads our output writes to that terminal too
        self.worker = int(channel.recv(32) or 0)
        self.woken, wake = os.pipe()
        for fd in (self.woken, wake):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake)
        for number in _WAKING:
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAKING)
        threading.Thread(target=self._pass_on_signals, daemon=True).start()

    def run(self, *, at_once: bool) -> int:
        """Relay until the worker has ended; its exit status."""
        try:
            if at_once:
                self._take()
            while self._step():
                pass
            self._show_rest()
        finally:
            self._give_back()
        return os.waitstatus_to_exitcode(os.waitpid(self.keeper, 0)[1])

    def _step(self) -> bool:
        """Do what is to be done; False when the keeper has ended."""
        poll = select.poll()
        poll.register(self.channel, select.POLLIN)
        poll.register(self.woken, select.POLLIN)
        if self.pty.master >= 0:
            poll.register(self.pty.master, select.POLLIN | select.POLLOUT * bool(self.typed))
        if self.saved and not self.typed:
            poll.register(self.outer, select.POLLIN)
        ready = dict(poll.poll())
        if self.woken in ready:
            self._woken(os.read(self.woken, 64))
        if ready.get(self.pty.master, 0) & select.POLLIN:
            self._show()
        if self.outer in ready:
            self._read()
        if self.typed:
            with contextlib.suppress(BrokenPipeError):
                self.typed = self.typed[self.pty.put(self.typed) :]
        return self.channel.fileno() not in ready or self._told(self.channel.recv(32))

    def _show(self) -> bytes:
        """Show what there is; what that was.

        A terminal that is not in raw mode makes an end of line of each newline itself.
        """
        data = self.pty.read(_CHUNK)
        left = data if self.saved and not self.among_others else data.replace(b"\r\n", b"\n")
        with contextlib.suppress(OSError):  # the caller's terminal has hung up
            while left:
                left = left[os.write(self.outer, left) :]
        if data and not self.saved and os.tcgetpgrp(self.pty.master) != self.keeper:
            self._take()  # a shell has put itself into the foreground
        return data

    def _show_rest(self) -> None:
        with contextlib.suppress(BlockingIOError):  # somebody still has it open
            while self.pty.master >= 0 and self._show():
                pass

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            self.typed = os.read(self.outer, _CHUNK)
        if not self.typed:
            self._hang_up()

    def _hang_up(self) -> None:
        """The caller's terminal is gone, or out of reach: so is that of the container."""
        self.saved, self.typed = None, b""
        self.pty.close()

    def _told(self, message: bytes) -> bool:
        """The keeper says which signal has stopped the worker; nothing, when it has ended."""
        if not message:
            return False
        if int(message) in (signal.SIGTTIN, signal.SIGTTOU):
            self._take()
        else:
            self._stop()
        self.channel.send(b"f" if self.saved else b"b")
        return True

    def _take(self) -> None:
        """Take the caller's terminal: each key is to arrive as it is pressed.

        Nobody takes it from the foreground job: until this is that job, it stops. While it was not,
        the settings were those of the shell's own editing.
        """
        if not _in_foreground(self.outer):
            os.killpg(0, signal.SIGTTOU)
        try:
            saved = termios.tcgetattr(self.outer)
            if not self.alike:
                termios.tcsetattr(self.pty.master, termios.TCSANOW, saved)
                self.alike = True
            self._make_raw(saved[1])
            self.saved = self.saved or saved
        except termios.error:  # it has hung up, or no shell is there to give it to us
            self._hang_up()

    def _make_raw(self, output: int) -> None:
        """Make it raw. output: what it did with output, which others may still rely on."""
        _uninterrupted(lambda: tty.setraw(self.outer, termios.TCSADRAIN))
        if self.among_others:
            raw = termios.tcgetattr(self.outer)
            raw[1] = output
            _uninterrupted(lambda: termios.tcsetattr(self.outer, termios.TCSADRAIN, raw))

    def _give_back(self) -> None:
        saved, self.saved = self.saved, None
        if saved:
            with contextlib.suppress(termios.error):  # it has hung up
                _uninterrupted(lambda: termios.tcsetattr(self.outer, termios.TCSADRAIN, saved))

    def _stop(self) -> None:
        """Stop with the whole job that the caller's shell has started, until that goes on."""
        had = self.saved
        self._give_back()
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.killpg(0, signal.SIGTSTP)  # without a shell that would wait for us, nothing happens
        signal.signal(signal.SIGTSTP, handler)
        if had and _in_foreground(self.outer):
            self._take()

    def _woken(self, signals: bytes) -> None:
        if signal.SIGTSTP in signals:
            os.kill(self.keeper, signal.SIGTSTP)
        with contextlib.suppress(termios.error):  # it has hung up
            self.pty.resize(*termios.tcgetwinsize(self.outer))

    def _pass_on_signals(self) -> None:
        """A key's go to the keeper, for the whole job; what somebody sends, to the worker."""
        while True:
            sent = signal.sigwaitinfo(JOB_SIGNALS)
            of_key = sent.si_code > 0 and sent.si_signo != signal.SIGHUP
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.keeper if of_key else self.worker, sent.si_signo)
