"""Networks that somebody has created: what each of them is to be, on disk until it is removed.

Such a network is a document. Its bridge comes with the first container and goes with the last, as
that of any network. So nothing has to be made at boot, and a killed process leaves nothing.
"""

import os
from _collections_abc import Iterator, Mapping

from labkit.linux.fields import KW_ONLY, dataclass, field
from labkit.network.network import Network
from labkit.python import contextlib
from labkit.state import document, folder
from labkit.state.lock import hold
from labkit.text.words import Words

_PATIENCE = 60  # seconds for another process that creates or removes one


@dataclass(frozen=True)
class Defined:
    """A network that was created.

    subnet, gateway, ipv6, gateway6, mtu: of its bridge. chosen: whether somebody has asked for the
    subnet. ip_range, ip_range6: where its containers have their addresses ("": anywhere). reserved:
    addresses that no container gets, by name. internal: nothing gets in or out. link: the bridge's
    name ("": ours to choose). labels, options: as they were written.
    """

    _: KW_ONLY
    name: str
    id: str
    created: str
    subnet: str
    gateway: str
    chosen: bool = False
    ip_range: str = ""
    ipv6: str = ""
    gateway6: str = ""
    ip_range6: str = ""
    mtu: int | None = None
    internal: bool = False
    attachable: bool = False
    link: str = ""
    reserved: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def bridge(self) -> str:
        """The name of its bridge among the links of a machine."""
        return self.link or Network(self.name).link


def every() -> list[Defined]:
    """All of them, by name."""
    try:
        names = sorted(os.listdir(_folder()))
    except FileNotFoundError:
        return []
    found = [get(name.removesuffix(".json")) for name in names if name.endswith(".json")]
    return [each for each in found if each is not None]


def get(name: str) -> Defined | None:
    """The network of that name; None: nobody has created it."""
    about = document.read(_path(name))
    return None if about is None else Defined(**about)


def put(network: Defined) -> None:
    """Write one down. It is there from now on."""
    folder.make(_folder())
    document.write(_path(network.name), vars(network))


def drop(name: str) -> None:
    """Remove one; nothing if it is not there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_path(name))


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Within the block nobody else creates or removes a network."""
    what = Words("网络的名册", "the list of networks")
    with hold(os.path.join(folder.make(_folder()), ".lock"), what, timeout=_PATIENCE):
        yield


def _folder() -> str:
    return os.path.join(folder.where_lasting(), "networks")  # a look makes nothing


def _path(name: str) -> str:
    return os.path.join(_folder(), f".{name}" if name.startswith(".") else f"{name}.json")
