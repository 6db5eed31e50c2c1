"""Which IDs of a user namespace are which outside: user_namespaces(7), subuid(5).

A map of IDs is a list of ranges. Each is an :class:`IdRange`, as a line of /proc/PID/uid_map is.
"""

import itertools
import os

from labkit.text.words import Words

TYPE_CHECKING = False  # labkit unshare is to start at once
if TYPE_CHECKING:
    from _collections_abc import Iterator, Sequence

    Ranges = Sequence[tuple[int, int, int]]
    """Values of IdRange, or tuples that are equal to such."""

IDS = 1 << 32
"""How many there are: uid_t has 32 bits."""

_SUBORDINATE = {True: "/etc/subuid", False: "/etc/subgid"}
_OURS = {True: "/proc/self/uid_map", False: "/proc/self/gid_map"}


class IdRange(tuple[int, int, int]):
    """A line of uid_map or gid_map: the first ID inside, the first outside, and how many.

    Go's SysProcIDMap has the same order and the word size. It is a tuple, made from one and equal
    to one. It is no NamedTuple: importing typing takes longer than ``labkit unshare`` may.
    """

    __slots__ = ()

    @property
    def inside(self) -> int:
        """The first ID inside."""
        return self[0]

    @property
    def outside(self) -> int:
        """The first ID outside, that is in the parent user namespace."""
        return self[1]

    @property
    def size(self) -> int:
        """How many IDs."""
        return self[2]


def as_text(ranges: "Ranges") -> str:
    """A map as the kernel takes it: a line for each range."""
    return "".join(f"{inside} {outside} {size}\n" for inside, outside, size in ranges)


def map_files(users: "Ranges", groups: "Ranges", setgroups: str = "deny") -> list[tuple[str, str]]:
    """What to write to which files of /proc/PID, in this order. An empty map is not written.

    A group can be there to keep people out (mode 0705). So a process without privileges must give
    up setgroups(2), with which one leaves groups, before it maps a group. user_namespaces(7)
    """
    found = [("uid_map", as_text(users))] if users else []
    if groups:
        found += [("setgroups", setgroups), ("gid_map", as_text(groups))]
    return found


def parse(text: str, users: bool) -> list[IdRange]:
    """What ``--map-users`` or ``--map-groups`` says. LookupError: why not, in both languages.

    INNER:OUTER:COUNT, or OUTER,INNER,COUNT as it was up to util-linux 2.38; auto: the subordinate
    IDs of this user, from 0 on; subids: the same, with the same IDs inside; all: every ID we have.
    """
    if text in ("auto", "subids"):
        first, count = subordinate(_SUBORDINATE[users])
        return [IdRange((0 if text == "auto" else first, first, count))]
    if text == "all":
        return [IdRange((inner, inner, count)) for inner, _, count in read(_OURS[users])]
    found = _numbers(text)
    if not found.size or max(found) >= IDS:
        raise LookupError(
            Words(
                f"{text!r}：个数至少是 1，每个数都小于 {IDS}",
                f"{text!r}: at least one ID, and every number below {IDS}",
            )
        )
    return [found]


def read(path: str) -> list[IdRange]:
    """A map as /proc shows it, /proc/PID/uid_map or gid_map. OSError: there is none."""
    with open(path) as file:
        return [IdRange(map(int, line.split())) for line in file]


def outside() -> int:
    """Our user ID outside of our user namespace, in the one that it was made in.

    Of the host's root, and of an ordinary user who is in no user namespace, it is the same ID.
    """
    ours = os.geteuid()
    for inside, first, count in read(_OURS[True]):
        if inside <= ours < inside + count:
            return first + ours - inside
    return ours


def _numbers(text: str) -> IdRange:
    """The range of three numbers. Their order depends on what stands between them."""
    for separator, (inside, outside) in ((":", (0, 1)), (",", (1, 0))):
        words = [word.lstrip().removeprefix("+") for word in text.split(separator)]
        if len(words) == 3 and all(word.isascii() and word.isdigit() for word in words):
            return IdRange((int(words[inside]), int(words[outside]), int(words[2])))
    raise LookupError(
        Words(
            f"{text!r} 不是 里:外:个数，也不是 auto、subids、all",
            f"{text!r} is not INNER:OUTER:COUNT, nor auto, subids or all",
        ),
    )


def subordinate(path: str) -> tuple[int, int]:
    """The first range of subordinate IDs that `path` gives this user: the first ID, how many."""
    import pwd

    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        raise LookupError(Words(f"没有用户 {uid}", f"there is no user {uid}")) from None
    try:
        with open(path) as file:
            rows = [line.strip().split(":") for line in file]
    except OSError as error:
        raise LookupError(Words(*[f"{path}: {error.strerror}"] * 2)) from None
    for owner, *numbers in rows:
        if owner in (name, str(uid)) and len(numbers) == 2 and all(map(str.isdigit, numbers)):
            return int(numbers[0]), int(numbers[1])
    raise LookupError(Words(f"{path} 里没有给 {name} 的号码", f"{path} gives {name} no IDs"))


def with_single(ranges: "Ranges", inside: int | None, outside: int) -> list[IdRange]:
    """`ranges`, and the one ID `inside` (None: no such ID) for `outside`. No ID stands twice."""
    if inside is None:
        return [*map(IdRange, ranges)]
    pieces = [piece for each in ranges for piece in _around(each, inside, outside)]
    return [IdRange((inside, outside, 1)), *pieces]


def _around(whole: tuple[int, int, int], inside: int, outside: int) -> "Iterator[IdRange]":
    """`whole` without the two IDs. What follows them moves up by one, and the last is left out."""
    start, first, count = whole
    if first <= outside <= first + count or start <= inside <= start + count:
        count -= 1
    gaps = {min(max(outside - first, 0), count), min(max(inside - start, 0), count)}
    edges = sorted({0, count} | gaps)
    for at, end in itertools.pairwise(edges):
        yield IdRange(
            (
                start + at + (start <= inside <= start + at),
                first + at + (first <= outside <= first + at),
                end - at,
            )
        )
