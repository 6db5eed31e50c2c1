"""Which tests run together, and in what order: the long ones at both ends, nothing forgotten."""

from collections import OrderedDict
from pathlib import Path

from conftest import APART, FIRST, LAST, SLOW, group, place_of, share_from_both_ends

TESTS = Path(__file__).parent


def test_each_file_that_is_named_is_there() -> None:
    assert [name for name in (*APART, *FIRST, *LAST, *SLOW) if not (TESTS / name).exists()] == []


def test_the_browsers_come_first_and_the_longest_are_outermost() -> None:
    files = sorted(str(path.relative_to(TESTS)) for path in TESTS.rglob("test_*.py"))
    groups = [f"{name}::one" if name in APART else name for name in files]
    ordered = sorted(groups, key=place_of)
    assert tuple(ordered[: len(FIRST)]) == FIRST
    assert tuple(reversed(ordered[-len(LAST) :])) == LAST
    browsers = [name.startswith("ui/") for name in ordered]
    assert browsers == sorted(browsers, reverse=True)


def test_tests_of_a_file_stay_together_but_for_those_that_share_nothing() -> None:
    assert group("tests/ui/test_lab.py::test_it[a]") == "ui/test_lab.py"
    apart = f"tests/{APART[0]}::test_it[a::b]"
    assert group(apart) == apart


class Scheduler:
    """As much of pytest-xdist's as `share_from_both_ends` asks for."""

    def __init__(self, nodes: str, groups: list[str]) -> None:
        self.nodes = list(nodes)
        self.workqueue = OrderedDict.fromkeys(groups)
        self.given: list[str] = []

    def _assign_work_unit(self, node: str) -> None:
        self.given.append(node + self.workqueue.popitem(last=False)[0])


def test_every_other_process_takes_its_groups_from_the_end() -> None:
    scheduler = Scheduler("abcd", list("123456"))
    share_from_both_ends(scheduler)
    for node in "abcdba":
        scheduler._assign_work_unit(node)
    assert scheduler.given == ["a1", "b6", "c2", "d5", "b4", "a3"]
