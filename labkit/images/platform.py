"""For which system and processor an image is: linux/arm64/v8, and the choice from an index."""

import os
from _collections_abc import Iterable, Mapping

from labkit.linux.fields import dataclass
from labkit.python.typing import Any
from labkit.text.words import Words

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Platform:
    """What an image runs on. variant: of the processor; "" if any will do."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


def here() -> Platform:
    """This machine."""
    machine = os.uname().machine
    return Platform("linux", _ARCHITECTURES.get(machine, machine))


def parse(text: str) -> Platform:
    """Read OS/ARCH[/VARIANT], as docker's --platform has it."""
    parts = text.lower().split("/")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise ValueError(
            Words(
                f"{text!r} 不是平台；例如 linux/arm64", f"{text!r} is no platform; linux/arm64 is"
            )
        )
    return Platform(parts[0], _ARCHITECTURES.get(parts[1], parts[1]), "".join(parts[2:]))


def choose(entries: Iterable[Mapping[str, Any]], wanted: Platform) -> Mapping[str, Any]:
    """Of an index's entries the one for `wanted`: of its variant, of none, or else of any.

    Raises ValueError in Docker's words if there is none.
    """
    best, chosen = 3, None
    for entry in entries:
        about = entry.get("platform")
        if not isinstance(about, dict):
            continue
        if (about.get("os"), about.get("architecture")) == (wanted.os, wanted.architecture):
            variant = _variant(wanted.architecture, str(about.get("variant", "")))
            known = _variant(wanted.architecture, wanted.variant)
            rank = 0 if variant == known else 1 if not variant else 2 if not known else best
            if rank < best:
                best, chosen = rank, entry
    if chosen is None:
        raise ValueError(
            Words(
                f"这个镜像没有 {wanted} 的版本",
                f"no matching manifest for {wanted} in the manifest list entries",
            )
        )
    return chosen


def _variant(architecture: str, variant: str) -> str:
    """Every arm64 is v8: it need not be said."""
    return "" if (architecture, variant) == ("arm64", "v8") else variant
