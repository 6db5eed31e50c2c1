"""The networks of a container: those that it was made with, and what was connected since.

A list in its folder says which there are, so a container that comes again finds them.
"""

from _collections_abc import Sequence

from labkit.monitor.record import Record
from labkit.network.network import Network
from labkit.state import document
from labkit.text.words import Words

_FILE = "networks.json"
HOUSE = ("bridge", "host", "none")
"""The networks that are there without being created."""


def of(record: Record) -> list[Network]:
    """The networks of a container, those with a bridge, in order."""
    listed = document.read(record.at(_FILE))
    if listed is None:
        made_with = Network.of(record.raw.get("network") or "none")
        listed = [made_with] * made_with.is_bridge + [*record.options.get("networks", ())]
    return [Network.of(each) for each in listed]


def mode(record: Record) -> str:
    """Whose network a container is on, in Docker's words: NetworkMode."""
    asked = record.asked.get("HostConfig", {}).get("NetworkMode")
    return str(asked or (record.raw.get("network") or {}).get("name", "none"))


def check(name: str) -> None:
    """Refuse a network that nobody has created."""
    from labkit.network import defined  # ps needs none of this

    if name not in HOUSE and defined.get(name) is None:
        raise ValueError(Words(f"没有网络 {name}", f"network {name} not found"))


def write(record: Record, networks: Sequence[Network]) -> None:
    """Write down which there are from now on."""
    document.write(record.at(_FILE), [each.fields_on() for each in networks])
