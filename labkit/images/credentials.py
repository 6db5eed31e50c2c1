"""Who we are to a registry: what `docker login` has left in Docker's config.json."""

import base64
import binascii
import json
import os
import subprocess
from typing import Any

from labkit.linux.fields import dataclass

HUB = "https://index.docker.io/v1/"
"""What Docker Hub is called in config.json."""


_PATIENCE = 30  # seconds for a program that keeps passwords


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
            config = json.load(file)
    except (OSError, ValueError):
        return None
    known, helpers = _part(config, "auths"), _part(config, "credHelpers")
    names = _names(domain)
    helper = next((helpers[name] for name in names if name in helpers), "")
    if helper := helper or (config.get("credsStore") if isinstance(config, dict) else ""):
        found = (_ask(str(helper), name) for name in names if name in known or name in helpers)
        return next(filter(None, found), None)
    return next((_read(_part(known, name)) for name in names if name in known), None)


def _part(found: object, name: str) -> dict[str, Any]:
    """The object of this name in a JSON object; an empty one if it has none."""
    part = found.get(name) if isinstance(found, dict) else None
    return part if isinstance(part, dict) else {}


def _ask(helper: str, name: str) -> Credentials | None:
    """What the program says that docker login has given a password to: a keychain, mostly."""
    try:
        done = subprocess.run(
            [f"docker-credential-{os.path.basename(helper)}", "get"],
            input=name.encode(),
            capture_output=True,
            timeout=_PATIENCE,
            check=True,
        )
        said = json.loads(done.stdout)
        user, secret = str(said["Username"]), str(said["Secret"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
    return Credentials(token=secret) if user == "<token>" else Credentials(user, secret)


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
