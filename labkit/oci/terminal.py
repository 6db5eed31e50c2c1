"""The terminal of a container: made in its own /dev/pts, its other end sent to who asked for it."""

import array
import fcntl
import os
import socket
import stat
import struct
import termios

from labkit.container.volumes import make
from labkit.linux.files import ioctl
from labkit.linux.flags import MS_BIND, TIOCSCTTY
from labkit.linux.mounts import mount
from labkit.oci.config import Config
from labkit.text.words import Words

_TIOCGPTN, _TIOCSPTLCK = 0x80045430, 0x40045431  # asm-generic/ioctls.h


def connect(path: str) -> socket.socket:
    """The console socket of an engine, connected."""
    console = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        console.connect(path)
    except OSError as error:
        console.close()
        reason = os.strerror(error.errno or 0)
        raise ValueError(
            Words(
                f"连不上 --console-socket {path}：{reason}",
                f"--console-socket {path} cannot be connected to: {reason}",
            )
        ) from None
    return console


def check(process: Config, console: str, *, detached: bool) -> None:
    """A terminal and a console socket belong together, unless we stand between ourselves."""
    wanted = process.get("terminal", False)
    if detached and wanted and not console:
        raise ValueError(
            Words(
                "process.terminal 为 true，又不在前台：要有 --console-socket，终端交给它",
                "process.terminal is true and nobody is in the foreground: --console-socket says "
                "who gets the terminal",
            )
        )
    if console and not wanted:
        raise ValueError(
            Words(
                "给了 --console-socket，但 process.terminal 不是 true",
                "--console-socket is given, but process.terminal is not true",
            )
        )


def take(process: Config, console: socket.socket, *, as_console: bool) -> None:
    """Make a terminal, make it ours, and send its other end. We lead a session without one.

    as_console: show it as /dev/console too.
    """
    master, slave, name = _made()
    size = process.get("consoleSize", {})
    if size.get("height") and size.get("width"):
        termios.tcsetwinsize(slave, (size["height"], size["width"]))
    if as_console:
        make("/dev/console", directory=False)
        mount(name, "/dev/console", None, MS_BIND, None)
    sent = array.array("i", [master])
    console.sendmsg([name.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, sent)])
    ioctl(slave, TIOCSCTTY, 0)
    for fd in range(3):
        os.dup2(slave, fd)
    uid = process.get("user", {}).get("uid", 0)
    os.fchown(slave, uid, -1)
    os.fchmod(slave, stat.S_IRUSR | stat.S_IWUSR | stat.S_IWGRP)
    for fd in (master, slave):
        os.close(fd)


def _made() -> tuple[int, int, str]:
    """The two ends of a new terminal, and the name of the inner one."""
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    (number,) = struct.unpack("i", fcntl.ioctl(master, _TIOCGPTN, bytes(4)))
    name = f"/dev/pts/{number}"
    return master, os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC), name


def received(console: socket.socket) -> int:
    """The other end of a terminal, from a socket: for who has asked for it."""
    _, fds, _, _ = socket.recv_fds(console, 4096, 1)
    return fds[0]
