"""Which IDs of a user namespace are which outside: user_namespaces(7), subuid(5).

A range: the first ID outside, the first inside (None: 0, the rest as it fits), and how many.
"""

import itertools
import os
import pwd

from labkit.text.words import Words

TYPE_CHECKING = False  # labkit unshare is to start at once
if TYPE_CHECKING:
    from collections.abc import Iterator

    Range = tuple[int, int | None, int]

IDS = 1 << 32
"""How many there are: uid_t has 32 bits."""

_SUBORDINATE = {True: "/etc/subuid", False: "/etc/subgid"}
_OURS = {True: "/proc/self/uid_map", False: "/proc/self/gid_map"}


def ranges(text: str, users: bool) -> "list[Range]":
    """What ``--map-users`` or ``--map-groups`` says. LookupError: why not, in both languages.

    INNER:OUTER:COUNT, or OUTER,INNER,COUNT as it was up to util-linux 2.38; auto: the subordinate
    IDs of this user, from 0 on; subids: the same, with the same IDs inside; all: every ID we have.
    """
    if text in ("auto", "subids"):
        first, count = subordinate(_SUBORDINATE[users])
        return [(first, None if text == "auto" else first, count)]
    if text == "all":
        with open(_OURS[users]) as file:
            rows = [line.split() for line in file]
        return [(int(inner), int(inner), int(count)) for inner, _, count in rows]
    for separator, order in ((":", (1, 0, 2)), (",", (0, 1, 2))):
        words = [word.lstrip().removeprefix("+") for word in text.split(separator)]
        if len(words) == 3 and all(word.isascii() and word.isdigit() for word in words):
            outer, inner, count = (int(words[at]) for at in order)
            if not count or max(outer, inner, count) >= IDS:
                raise LookupError(
                    Words(
                        f"{text!r}：个数至少是 1，每个数都小于 {IDS}",
                        f"{text!r}: at least one ID, and every number below {IDS}",
                    ),
                )
            return [(outer, inner, count)]
    raise LookupError(
        Words(
            f"{text!r} 不是 里:外:个数，也不是 auto、subids、all",
            f"{text!r} is not INNER:OUTER:COUNT, nor auto, subids or all",
        ),
    )


def subordinate(path: str) -> tuple[int, int]:
    """The first range of subordinate IDs that `path` gives this user: the first ID, how many."""
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


def with_single(blocks: "list[Range]", outer: int, inner: int | None) -> list[tuple[int, int, int]]:
    """`blocks`, and besides the one ID `outer` as `inner` (None: no such): no ID stands twice."""
    if inner is None:
        return [(first, start or 0, count) for first, start, count in blocks]
    single = [(outer, inner, 1)]
    return single + [piece for block in blocks for piece in _around(block, outer, inner)]


def _around(block: "Range", outer: int, inner: int) -> "Iterator[tuple[int, int, int]]":
    """`block` without the two IDs: what follows moves up by one, so that the last is left out."""
    first, start, count = block[0], block[1] or 0, block[2]
    if first <= outer <= first + count or start <= inner <= start + count:
        count -= 1
    gaps = {min(max(outer - first, 0), count), min(max(inner - start, 0), count)}
    edges = sorted({0, count} | gaps)
    for at, end in itertools.pairwise(edges):
        yield (
            first + at + (first <= outer <= first + at),
            start + at + (start <= inner <= start + at),
            end - at,
        )
