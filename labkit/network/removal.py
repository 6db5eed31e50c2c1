"""Links removed, and what is left of a container that has ended.

The kernel removes a link with its network namespace. That lives on while one of its TCP sockets
does, and a socket whose neighbour has gone sends its last segment again for two minutes. So we
remove the link ourselves, and its address is nobody else's before. That takes the kernel some
20 ms, for which no start and no end of a container waits: it is the helper's work.
"""

import errno
import os
from _collections_abc import Sequence

from labkit.network import encode, netlink
from labkit.python import contextlib
from labkit.python.typing import Any
from labkit.state import document, folder, held
from labkit.state.held import Held
from labkit.state.journal import undo

ENDPOINTS = "endpoints"
"""The folder of a network's containers, each with a folder of its own."""
_FILE, _ENDED = "endpoint.json", "ended"
_AT_ONCE = 100  # answers have room in a socket's buffer


def link_of(name: str) -> str:
    """The link of a container's folder: our end of its pair."""
    return f"lk{name}"


def make(network: str) -> None:
    """Make room for what is left of containers."""
    os.mkdir(os.path.join(network, _ENDED), 0o700)


def write(owner: Held, about: dict[str, Any]) -> None:
    """Write down what is known of a container."""
    document.write(owner.inside(_FILE), about, durable=False)


def read(network: str, name: str) -> dict[str, Any]:
    """What is written of one container."""
    return document.read(os.path.join(network, ENDPOINTS, name, _FILE)) or {}


def rename(network: str, name: str, old: str, new: str) -> None:
    """Write down another name of a container, in place of the one that it had."""
    about = read(network, name)
    if about and old in about["names"]:
        about["names"] = [new if each == old else each for each in about["names"]]
        document.write(os.path.join(network, ENDPOINTS, name, _FILE), about, durable=False)


def drop(network: str, name: str) -> None:
    """Remove the folder of a container that leaves the network, though somebody holds it."""
    remove_link(link_of(name))
    folder.remove(os.path.join(network, ENDPOINTS, name))


def leave(network: str, owner: Held) -> bool:
    """Remove the folder of a container that has ended; what is known of it waits for `sweep`.

    Whether ports were published for it.
    """
    published = bool(read(network, owner.name).get("ports"))
    with contextlib.suppress(FileNotFoundError):  # it was killed before it had written anything
        os.rename(owner.inside(_FILE), os.path.join(network, _ENDED, owner.name))
    owner.remove()
    return published


def known(network: str) -> list[dict[str, Any]]:
    """What is written of each container on a network."""
    place = os.path.join(network, ENDPOINTS)
    files = [os.path.join(place, name, _FILE) for name in held.names(place)]
    return [about for file in files if (about := document.read(file))]


def addresses(network: str) -> set[str]:
    """The addresses of those that have ended, until they are swept."""
    files = [document.read(os.path.join(network, _ENDED, name)) for name in _ended(network)]
    return {address for about in files if about for address in about["addresses"]}


def sweep(network: str) -> None:
    """Remove the links of those that have ended, and then what was known of them."""
    if names := _ended(network):
        remove_links([*map(link_of, names)])
    for name in names:
        with contextlib.suppress(FileNotFoundError):  # somebody else sweeps too
            os.unlink(os.path.join(network, _ENDED, name))


def _ended(network: str) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return os.listdir(os.path.join(network, _ENDED))
    return []


@undo("endpoints")
def remove_all(network: str) -> None:
    """Remove the links of all containers of a network."""
    names = held.names(os.path.join(network, ENDPOINTS)) + _ended(network)
    remove_links([*map(link_of, names)])


@undo("link")
def remove_link(name: str) -> None:
    """Remove a link, if it is there."""
    remove_links([name])


def remove_links(names: Sequence[str]) -> None:
    """Remove links, those of them that are there.

    They are made a group first, because the kernel waits once for a whole group.
    """
    for at in range(0, len(names), _AT_ONCE):
        some = [encode.into_group(name) for name in names[at : at + _AT_ONCE]]
        netlink.send([*some, encode.del_group()], passing=errno.ENODEV)
