"""Which devices a container may use: rules by kind and number, as Docker gives them."""

import os
import stat

from labkit.python.typing import NamedTuple
from labkit.text.words import Words

ANY = -1


class Rule(NamedTuple):
    """One rule. kind: "c", "b", or "a" for both. major, minor: a device's number, or ANY.

    access: of "rwm". allowed: whether the rule allows that, or forbids it.
    """

    kind: str
    major: int
    minor: int
    access: str
    allowed: bool = True

    def __str__(self) -> str:
        """As version 1 takes it in devices.allow."""
        numbers = ("*" if number == ANY else str(number) for number in (self.major, self.minor))
        return f"{self.kind} {':'.join(numbers)} {self.access}"


USUAL = (
    Rule("c", ANY, ANY, "m"),
    Rule("b", ANY, ANY, "m"),
    *(Rule("c", 1, minor, "rwm") for minor in (3, 5, 7, 8, 9)),  # null zero full random urandom
    *(Rule("c", 5, minor, "rwm") for minor in (0, 1, 2)),  # tty console ptmx
    Rule("c", 136, ANY, "rwm"),  # /dev/pts
)
"""What every container of Docker's may use; to make a device's file (m) is not to use it."""


def in_parts(text: str) -> tuple[str, str]:
    """The path and the access of "/dev/fuse" or "/dev/fuse:rw"; no path in another text."""
    path, colon, access = text.partition(":")
    return (path, access if colon else "rwm") if text.startswith("/") else ("", "")


def as_rule(said: str | tuple[str, str], *, look: bool = True) -> Rule:
    """A rule from "/dev/fuse", "/dev/fuse:rw", ("/dev/fuse", "rw") or "c 10:229 rwm".

    In a pair the path may have colons. look: whether a path is looked up in this machine's /dev;
    else only its form is checked.
    """
    path, access = in_parts(said) if isinstance(said, str) else said
    if path.startswith("/"):
        _check_access(said, access)
        return _of_file(path, access) if look else Rule("c", ANY, ANY, access)
    if isinstance(said, tuple):
        raise _wrong(said)
    return _by_number(said)


def _by_number(text: str) -> Rule:
    """A rule from "c 10:229 rwm"; "*" is any number."""
    kind, _, rest = text.partition(" ")
    numbers, _, access = rest.partition(" ")
    pair = numbers.split(":")
    if kind not in ("c", "b") or len(pair) != 2 or not all(map(_is_number, pair)):
        raise _wrong(text)
    _check_access(text, access)
    major, minor = (ANY if number == "*" else int(number) for number in pair)
    return Rule(kind, major, minor, access)


def _is_number(text: str) -> bool:
    return text == "*" or (text.isascii() and text.isdigit())


def _check_access(text: object, access: str) -> None:
    if not access or {*access} - {*"rwm"} or len({*access}) < len(access):
        raise _wrong(text)


def _wrong(text: object) -> ValueError:
    return ValueError(
        Words(
            f'设备写成 "/dev/fuse"、"/dev/fuse:rw" 或 "c 10:229 rwm"（r 读、w 写、m 建），'
            f"而不是 {text!r}",
            f'a device is "/dev/fuse", "/dev/fuse:rw" or "c 10:229 rwm" (read, write, make), '
            f"not {text!r}",
        )
    )


def _of_file(path: str, access: str) -> Rule:
    found = os.stat(path)
    if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
        kind = "c" if stat.S_ISCHR(found.st_mode) else "b"
        return Rule(kind, os.major(found.st_rdev), os.minor(found.st_rdev), access)
    raise ValueError(Words(f"{path} 不是设备", f"{path} is no device"))


def disk_number(disk: str) -> str:
    """The number of a disk as io.max takes it: from "/dev/sda", or "8:0" itself."""
    if not disk.startswith("/"):
        return disk
    found = os.stat(disk)
    if not stat.S_ISBLK(found.st_mode):
        raise ValueError(Words(f"{disk} 不是块设备", f"{disk} is no block device"))
    return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
