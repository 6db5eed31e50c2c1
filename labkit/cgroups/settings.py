"""What both versions share: one setting of a group, and how CPU shares and weights correspond."""

from _collections_abc import Iterator

from labkit.cgroups.limits import SHARES, WEIGHTS, Limits
from labkit.python.typing import NamedTuple

PERIOD = 100_000  # microseconds: Docker's, and the kernel's own at first


class Setting(NamedTuple):
    """What is written to one file of a group. controller: the one that the file belongs to."""

    controller: str
    file: str
    value: str


def quota(cpus: float) -> int:
    """Microseconds of processor time in each period."""
    return round(cpus * PERIOD)


def weight_of(shares: int) -> int:
    """cpu.weight for cpu.shares: 2 is 1, 1024 is 100, 262144 is 10000.

    As runc has it since 1.3.2 and crun since 1.23. Those before gave 1024 shares, which everybody
    has, the weight 39, so that whoever said so got less than who said nothing.
    """
    import math  # few containers have shares

    power = math.log2(shares)
    weight = math.ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34) - 1e-9)
    return min(max(weight, WEIGHTS[0]), WEIGHTS[1])


def shares_of(weight: int) -> int:
    """cpu.shares for cpu.weight: the other way round."""
    import math

    power = (math.sqrt(125**2 + 4 * 612 * (math.log10(weight) + 7 / 34)) - 125) / 2
    return min(max(round(2**power), SHARES[0]), SHARES[1])


def swap_of(limits: Limits) -> int | None:
    """Memory and swap together, -1 for no limit: twice the memory if nothing is said, as Docker."""
    if limits.memory_swap is not None:
        return int(limits.memory_swap)
    return None if limits.memory is None else 2 * int(limits.memory)


def io_rates(limits: Limits) -> Iterator[tuple[str, str, int]]:
    """Disk, key and rate of each limit of io."""
    for disk, rates in (limits.io or {}).items():
        for key, rate in rates.items():
            yield disk, key, int(rate)
