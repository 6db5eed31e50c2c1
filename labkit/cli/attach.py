"""A container started or found running, and this process's streams connected with its own.

The monitor has ends of pipes; between them and the caller's streams this process passes on what
comes (`passing.py`).
"""

import os
import sys

from labkit.cli.passing import Detached, Relay
from labkit.monitor import acts
from labkit.monitor.address import Monitor
from labkit.monitor.record import Record, tell
from labkit.monitor.status import KILLED
from labkit.python import contextlib


def attached(monitor: Monitor, letters: str, *, terminal: bool, detach: str = "") -> Relay:
    """A relay to the streams that a monitor has. letters: which of them, as "ioe"."""
    ours, theirs = {}, []
    for letter in letters:
        reading, writing = os.pipe()
        ours[letter], end = (writing, reading) if letter == "i" else (reading, writing)
        theirs.append(end)
    monitor.send(f"attach {letters}", theirs)
    for end in theirs:
        os.close(end)

    def resize(rows: int, columns: int) -> None:
        monitor.send(f"resize {rows} {columns}")

    return Relay(ours, resize if terminal else None, detach)


def _end_of_attach() -> None:
    """What docker says of somebody who has detached."""
    sys.stderr.write("read escape sequence\n")


def follow(found: Record, monitor: Monitor, relay: Relay, *, proxy: bool = True) -> int:
    """Be attached until the container ends, or somebody detaches. The exit status.

    proxy: send the container what is sent to this process.
    """

    def tell(number: int) -> None:
        with contextlib.suppress(ConnectionError):
            monitor.send(f"signal {number}")

    try:
        relay.follow(tell if proxy else None)
    except Detached:
        _end_of_attach()
        return 0
    code = acts.finish(found, monitor)
    return KILLED if code is None else code


def start(found: Record) -> None:
    """Start a container in the background."""
    if monitor := acts.start(found):
        monitor.close()


def start_attached(found: Record, letters: str, *, detach: str = "", proxy: bool = True) -> int:
    """Start a container and be attached from its first byte on. The exit status.

    letters: which of its streams, as "ioe". proxy: send it what is sent to this process.
    """
    relays: list[Relay] = []

    def attach(monitor: Monitor) -> None:
        tell(found, "attach")
        monitor.send("tidy")
        relays.append(attached(monitor, letters, terminal=found.box.tty, detach=detach))

    monitor = acts.start(found, attach, _size() if found.box.tty else None)
    if monitor is None:
        return attach_to(found, letters, detach=detach, proxy=proxy)
    return follow(found, monitor, relays[0], proxy=proxy)


def _size() -> tuple[int, int] | None:
    """Rows and columns of our terminal, if we have one."""
    from labkit.cli.raw import size_of

    return size_of(0)


def attach_to(found: Record, letters: str, *, detach: str, proxy: bool) -> int:
    """Be attached to a container that runs. The exit status."""
    monitor = acts.monitor_of(found)
    if monitor is None:  # it has just ended
        return acts.wait(found)
    tell(found, "attach")
    monitor.send("wait")
    relay = attached(monitor, letters, terminal=found.box.tty, detach=detach)
    return follow(found, monitor, relay, proxy=proxy)
