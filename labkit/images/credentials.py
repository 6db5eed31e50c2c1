"""Who we are to a registry: what `docker login` has left in Docker's config.json."""

import base64
import binascii
import json
import os
from dataclasses import dataclass

HUB = "https://index.docker.io/v1/"
"""What Docker Hub is called in config.json."""


@dataclass(frozen=True)
class Credentials:
    """A user and a password; or, from some registries, a token that stands for both."""

    user: str = ""
    password: str = ""
    token: str = ""

    @property
    def basic(self) -> str:
        """The value of the header Authorization."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def credentials(domain: str) -> Credentials | None:
    """Those of a registry, None if nobody has logged in there."""
    folder = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    try:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            known = json.load(file).get("auths", {})
    except (OSError, ValueError, AttributeError):
        return None
    for name in _names(domain):
        if isinstance(known, dict) and isinstance(known.get(name), dict):
            return _read(known[name])
    return None


def _names(domain: str) -> tuple[str, ...]:
    """How config.json may call a registry: docker has written addresses, too."""
    if domain == "docker.io":
        return (HUB, "index.docker.io", "docker.io")
    schemes = ("https://", "http://")
    return (domain, *(f"{s}{domain}{end}" for s in schemes for end in ("", "/", "/v1/", "/v2/")))


def _read(entry: dict[str, object]) -> Credentials | None:
    if token := entry.get("identitytoken"):
        return Credentials(token=str(token))
    if user := entry.get("username"):
        return Credentials(str(user), str(entry.get("password", "")))
    try:
        both = base64.b64decode(str(entry.get("auth", ""))).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    user, colon, password = both.partition(":")
    return Credentials(user, password.rstrip("\0")) if colon else None
