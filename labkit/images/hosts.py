"""Which hosts are asked for an image: mirrors in their order, then the registry itself.

Mirrors are those of LABKIT_MIRRORS and of Docker's daemon.json (`registry-mirrors`). As with
Docker they stand in for Docker Hub alone. None is built in: they come and go.
"""

import ipaddress
import json
import os
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from labkit.images.reference import DOMAIN
from labkit.linux.fields import dataclass
from labkit.text.words import Words

_HUB = "registry-1.docker.io"
_FILES = ("~/.config/docker/daemon.json", "/etc/docker/daemon.json")  # rootless Docker's first


@dataclass(frozen=True)
class Host:
    """A host that speaks the protocol of registries.

    domain: whose credentials it gets. address: host, port, and perhaps a path. schemes: what to
    try, in this order. verify: whether it must prove who it is.
    """

    domain: str
    address: str
    schemes: tuple[str, ...] = ("https",)
    verify: bool = True


def hosts(
    domain: str, *, mirrors: Sequence[str] | None = None, insecure: bool = False
) -> tuple[Host, ...]:
    """Where to ask for an image of the registry `domain`.

    mirrors: addresses to ask first; None: those of the settings. insecure: HTTP will do, and so
    will HTTPS with any certificate. On the loopback device that is always so, as with Docker.
    """
    settings = _settings()
    found = []
    if domain == DOMAIN:
        listed = _listed(settings) if mirrors is None else mirrors
        found = [_mirror(address, insecure) for address in listed]
    address = _HUB if domain == DOMAIN else domain
    loose = insecure or _is_loopback(address) or _is_listed(address, settings)
    return (*found, _host(domain, address, loose))


def _host(domain: str, address: str, loose: bool) -> Host:
    return Host(domain, address, ("https", "http") if loose else ("https",), not loose)


def _mirror(text: str, insecure: bool) -> Host:
    """A mirror as settings have it: an address with or without its scheme."""
    parts = urlsplit(text if "//" in text else f"https://{text}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(Words(f"镜像站的地址不对：{text}", f"not the address of a mirror: {text}"))
    address = parts.netloc.rpartition("@")[2] + parts.path.rstrip("/")
    loose = insecure or _is_loopback(parts.netloc)
    if parts.scheme == "http":  # asked for in so many letters
        return Host(parts.netloc, address, ("http",), verify=False)
    return Host(parts.netloc, address, verify=not loose)


def _listed(settings: dict[str, Any]) -> list[str]:
    own = re.split(r"[\s,]+", os.environ.get("LABKIT_MIRRORS", "").strip())
    return [*filter(None, own), *_strings(settings, "registry-mirrors")]


def _settings() -> dict[str, Any]:
    """What Docker's daemon.json says; nothing where there is none."""
    for path in _FILES:
        try:
            with open(os.path.expanduser(path), encoding="utf-8") as file:
                found = json.load(file)
        except (OSError, ValueError):
            continue
        if isinstance(found, dict):
            return found
    return {}


def _strings(settings: dict[str, Any], key: str) -> list[str]:
    found = settings.get(key)
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _name(address: str) -> str:
    """The host of an address, without its port."""
    return urlsplit(f"//{address}").hostname or ""


def _is_loopback(address: str) -> bool:
    name = _name(address)
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _is_listed(address: str, settings: dict[str, Any]) -> bool:
    """Whether daemon.json allows it (`insecure-registries`: hosts, or networks of them)."""
    for each in _strings(settings, "insecure-registries"):
        if each == address:
            return True
        try:
            if ipaddress.ip_address(_name(address)) in ipaddress.ip_network(each):
                return True
        except ValueError:
            continue
    return False
