"""docker network create: what is asked for, checked as Docker's Engine 26 does, in its words."""

import contextlib
import ipaddress
import os
from collections.abc import Mapping, Sequence

from labkit.linux.fields import dataclass
from labkit.monitor.lines import moment
from labkit.monitor.networks import HOUSE
from labkit.network import defined, subnets
from labkit.network.defined import Defined
from labkit.network.network import Network
from labkit.python import re
from labkit.python.typing import Any
from labkit.text.words import Words

_BRIDGE = "com.docker.network.bridge.name"
_MTU = ("com.docker.network.driver.mtu", "mtu")
_LINK = re.compile(r"[a-zA-Z0-9_.-]{1,15}")


@dataclass(frozen=True)
class Wanted:
    """What docker network create asks for; each field is as the option of that name."""

    name: str
    driver: str = "bridge"
    subnets: Sequence[str] = ()
    gateways: Sequence[str] = ()
    ranges: Sequence[str] = ()
    reserved: Sequence[str] = ()
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    labels: Sequence[str] = ()
    options: Sequence[str] = ()


def create(wanted: Wanted) -> str:
    """Create a network; its ID. Its bridge comes with its first container."""
    _check_driver(wanted.driver)
    if wanted.name in HOUSE:
        en = f"operation is not permitted on predefined {wanted.name} network"
        raise ValueError(Words(f"网络 {wanted.name} 本来就有", en))
    Network(wanted.name)  # which checks the name
    pools = {4: _pool(wanted, 4), 6: _pool(wanted, 6)}
    _check_pools(wanted)
    options = _pairs(wanted.options)
    with defined.alone():
        made = _defined(wanted, pools, options)
        _check_taken(made)
        defined.put(made)
    return made.id


def _check_driver(driver: str) -> None:
    if driver in ("host", "null"):
        en = f'only one instance of "{driver}" network is allowed'
        raise ValueError(Words(f"{driver} 网络只有一个", en))
    if driver in ("overlay", "macvlan", "ipvlan"):
        raise ValueError(
            Words(
                f"没有 {driver}：labkit 的网络都是这台机器上的一座网桥",
                f"driver {driver} is not here: a network of labkit is a bridge on this machine",
            )
        )
    if driver not in ("", "bridge", "default"):
        raise ValueError(Words(f"没有网络驱动 {driver}", f'plugin "{driver}" not found'))


@dataclass(frozen=True)
class _Pool:
    """Addresses of one family; "" for what was not asked for."""

    subnet: str = ""
    gateway: str = ""
    within: str = ""


def _pool(wanted: Wanted, version: int) -> _Pool:
    """What is asked for of a family of addresses."""
    found = [each for each in wanted.subnets if _subnet(each).version == version]
    if len(found) > 1:
        raise ValueError(
            Words(
                f"一座网桥每一族只有一个子网，而不是 {', '.join(found)}",
                f"a bridge has one subnet of a family, not {', '.join(found)}",
            )
        )
    if not found:
        return _Pool()
    gateway = next((g for g in wanted.gateways if is_in(g, found[0])), "")
    return _Pool(found[0], gateway, next((r for r in wanted.ranges if is_in(r, found[0])), ""))


def _subnet(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    told = ""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        told = "invalid CIDR block notation"
    with contextlib.suppress(ValueError):  # it is not a subnet at all
        told = f"it should be {ipaddress.ip_network(text, strict=False)}" if "/" in text else told
    en = f"invalid network config:\ninvalid subnet {text}: {told}"
    raise ValueError(Words(f"{text} 不是子网，应如 10.88.0.0/24，前缀之后的位都是 0", en))


def is_in(text: str, subnet: str) -> bool:
    """Whether an address or a range is in a subnet."""
    try:
        part, whole = ipaddress.ip_network(text, strict=False), ipaddress.ip_network(subnet)
    except ValueError:
        en = f"invalid network config:\ninvalid address {text}"
        raise ValueError(Words(f"{text} 不是地址", en)) from None
    return part.version == whole.version and part.subnet_of(whole)  # type: ignore[arg-type]


def _check_pools(wanted: Wanted) -> None:
    """Refuse a gateway or a range without its subnet."""
    parts = {"gateway": wanted.gateways, "range": wanted.ranges, "aux-address": _addresses(wanted)}
    for what, texts in parts.items():
        for text in texts:
            if not wanted.subnets:
                raise ValueError(
                    Words(
                        "写了 --gateway 或 --ip-range，就要写 --subnet",
                        "every ip-range or gateway must have a corresponding subnet",
                    )
                )
            if not any(is_in(text, subnet) for subnet in wanted.subnets):
                en = f"no matching subnet for {what} {text}"
                raise ValueError(Words(f"{text} 不在哪一个子网里", en))
    if not wanted.ipv6 and any(":" in each for each in wanted.subnets):
        raise ValueError(Words("IPv6 的子网要有 --ipv6", "a subnet of IPv6 takes --ipv6"))


def _addresses(wanted: Wanted) -> list[str]:
    return [each.partition("=")[2] for each in wanted.reserved]


def _defined(wanted: Wanted, pools: Mapping[int, _Pool], options: Mapping[str, str]) -> Defined:
    number, four, six = os.urandom(32).hex(), pools[4], pools[6]
    own6 = f"fd{number[:2]}:{number[2:6]}:{number[6:10]}::/64" * wanted.ipv6  # RFC 4193
    subnet, ipv6 = four.subnet or subnets.free(""), six.subnet or own6
    return Defined(
        name=wanted.name,
        id=number,
        created=moment(),
        subnet=subnet,
        gateway=four.gateway or ("" if four.subnet else subnets.first(subnet)),
        chosen=bool(four.subnet),
        ip_range=four.within,
        ipv6=ipv6,
        gateway6=six.gateway or ("" if six.subnet else subnets.first(ipv6)),
        ip_range6=six.within,
        internal=wanted.internal,
        attachable=wanted.attachable,
        reserved=_pairs(wanted.reserved),
        labels=_pairs(wanted.labels),
        options=dict(options),
        **_of_driver(options),
    )


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    return dict(each.partition("=")[::2] for each in texts)


def _of_driver(options: Mapping[str, str]) -> dict[str, Any]:
    """What the options of the driver mean: the bridge's name, the MTU of all links."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if name == _BRIDGE and _LINK.fullmatch(value):
            found["link"] = value
        elif name in _MTU and value.isdecimal():
            found["mtu"] = Network("x", mtu=int(value)).mtu
        elif name in (_BRIDGE, *_MTU):
            raise ValueError(
                Words(f"{name} 不能是 {value!r}", f"invalid value for {name}: {value!r}")
            )
        else:
            known = f"{_BRIDGE}, {_MTU[0]}"
            raise ValueError(
                Words(f"没有选项 {name}：只有 {known}", f"there is no option {name}: only {known}")
            )
    return found


def _check_taken(made: Defined) -> None:
    """Refuse what another network has."""
    for each in defined.every():
        if each.name == made.name:
            en = f"network with name {made.name} already exists"
            raise ValueError(Words(f"已经有一个叫 {made.name} 的网络", en))
        if each.bridge == made.bridge:
            en = f"networks have same bridge name: {made.bridge}"
            raise ValueError(Words(f"网络 {each.name} 的网桥也叫 {made.bridge}", en))
    taken = [subnet for subnet, _ in subnets.of_created()]
    if any(ipaddress.IPv4Network(made.subnet).overlaps(one) for one in taken):
        en = "Pool overlaps with other one on this address space"
        raise ValueError(Words(f"子网 {made.subnet} 和别的网络重叠", en))
    subnets.free(made.subnet, made.name)
