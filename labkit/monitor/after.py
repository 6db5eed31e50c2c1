"""What is done after a container's end by more than its monitor: another start, or tidying up.

The monitor starts this as a process. Who has run a container in the foreground does it itself.
"""

import sys

from labkit.monitor import record as records
from labkit.monitor import status
from labkit.monitor.address import connect
from labkit.monitor.record import Record
from labkit.python import contextlib
from labkit.state.held import Held
from labkit.state.lock import Lock


def main() -> None:
    """Do what the monitor says, of the container in a folder whose lock is given."""
    what, path, lock = sys.argv[1:]
    record = records.load(path)
    if what == "again":
        from labkit.monitor.launch import launch

        launch(record, connect(record, int(record.run()["monitor"])))
    else:
        tidy(record, Held(path, Lock(int(lock))))


def tidy(record: Record, owner: Held) -> None:
    """Give back the ports of a container that has ended; remove it if that was asked for."""
    network = record.box.on_network
    if network and network.publish:
        from labkit.network import endpoint  # only who has a network pays for it

        endpoint.tidy(network)
    if record.settings.get("remove"):
        records.remove(record, owner, volumes=True)


def sweep() -> None:
    """Remove the containers that were to go at their end, and whose monitors were killed."""
    for record in records.every():
        if record.settings.get("remove") and status.of(record).word == "exited":
            with contextlib.suppress(records.NoSuchContainer), record.holding() as owner:
                if status.of_held(record).word == "exited":
                    records.remove(record, owner, volumes=True)
