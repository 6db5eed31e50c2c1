"""A seccomp profile, as Docker writes one in JSON, assembled into what the kernel runs: seccomp(2).

The filter is a program of classic BPF that sees struct seccomp_data: the call's number, the machine
that the number is for, and the six arguments. It searches for the number by halves, looks at the
arguments where a rule asks about them, and returns an action. A call that no rule is about gets the
profile's default action, and so does every call made for another machine (32-bit programs).
"""

import errno
import functools
import os
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence

from labkit.linux.capabilities import CAPABILITIES
from labkit.linux.door import Filter
from labkit.linux.fields import dataclass
from labkit.linux.refusal import Asked
from labkit.linux.seccomp_profile import ACTIONS, Profile, check, kernel_of, names_of, wrong
from labkit.python import json
from labkit.python.typing import Any
from labkit.text.words import Words

_FOLDER = os.path.join(os.path.dirname(__file__), "profiles")
# The kernel's name; in a profile's "arches"; AUDIT_ARCH_* of linux/audit.h.
_MACHINES = {"x86_64": ("amd64", 0xC000003E), "aarch64": ("arm64", 0xC00000B7)}
MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS, linux/bpf_common.h

# linux/bpf_common.h and linux/seccomp.h.
_LOAD, _AND, _RETURN, _JUMP, _JEQ, _JGT, _JGE = 0x20, 0x54, 0x06, 0x05, 0x15, 0x25, 0x35
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # bytes into struct seccomp_data
_WITH_DATA = {"SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"}  # the lower 16 bits are the errno, or a message


@dataclass(frozen=True)
class _Jump:
    """An instruction that compares.

    if_true, if_false: where it goes on: "yes", the argument passes; "no", it does not; "", next.
    """

    code: int
    value: int
    if_true: str = ""
    if_false: str = ""


Instruction = tuple[int, int, int, int]
"""struct sock_filter: code, how many to skip if true, if false, and a number."""


@dataclass(frozen=True)
class Rule:
    """What to do with a call whose arguments pass all of `tests`: a mapping each, as in JSON."""

    action: int
    tests: tuple[Mapping[str, Any], ...]


def default() -> Profile:
    """Docker's default profile."""
    return load(os.path.join(_FOLDER, "docker.json"))


def load(path: str) -> Profile:
    """The profile in a file of JSON, as for docker run --security-opt seccomp=FILE.

    OSError: it cannot be read. ValueError: it is not JSON.
    """
    with open(path, encoding="utf-8") as file, Asked(f'read("{path}")'):
        try:
            profile: Profile = json.loads(file.read())
        except ValueError as error:  # not UTF-8, or not JSON
            raise wrong(
                Words(f"{path} 不是 JSON：{error}", f"{path} is not JSON: {error}")
            ) from None
    return profile


@functools.cache
def numbers(machine: str) -> Mapping[str, int]:
    """The system calls of `machine` by name."""
    column = [*_MACHINES].index(machine) + 1
    with open(os.path.join(_FOLDER, "syscalls.txt"), encoding="ascii") as lines:
        rows = [line.split() for line in lines if not line.startswith("#")]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


@functools.cache
def known() -> frozenset[str]:
    """Every name of a system call, also of those that only other machines have."""
    named = {name for rule in default()["syscalls"] for name in rule["names"]}
    return frozenset(named.union(*map(numbers, _MACHINES)))


def assemble(
    profile: Profile, capabilities: Collection[str] = CAPABILITIES, machine: str | None = None
) -> Filter:
    """The filter for `profile` in a container that keeps `capabilities`, on `machine` (this one).

    Raises ValueError for what is no such profile, or too long for the kernel.
    """
    machine = machine or os.uname().machine
    if machine not in _MACHINES:
        known = " ".join(_MACHINES)
        raise wrong(Words(f"只会 {known}，不会 {machine}", f"for {known} only, not for {machine}"))
    check(profile)
    code = _code(profile, frozenset(capabilities), machine)
    if len(code) > MAX_INSTRUCTIONS:
        raise wrong(
            Words(
                f"过滤器有 {len(code)} 条指令，内核最多收 {MAX_INSTRUCTIONS} 条",
                f"the filter has {len(code)} instructions; the kernel takes {MAX_INSTRUCTIONS}",
            ),
        )
    return Filter(b"".join(struct.pack("HBBI", *each) for each in code))


def _code(profile: Profile, held: frozenset[str], machine: str) -> list[Instruction]:
    """The whole program: what is made for another machine gets the default action at once."""
    native, audit = _MACHINES[machine]
    otherwise = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    rules = _rules(profile, native, held, numbers(machine))
    return [
        (_LOAD, 0, 0, _ARCH),
        (_JEQ, 1, 0, audit),
        (_RETURN, 0, 0, otherwise),
        (_LOAD, 0, 0, _NUMBER),
        *_search(_intervals(rules, otherwise), otherwise),
    ]


def _action(name: str, data: int | None) -> int:
    if name not in _WITH_DATA:
        return ACTIONS[name]
    return ACTIONS[name] | (errno.EPERM if data is None else data)


def _rules(
    profile: Profile, native: str, held: frozenset[str], table: Mapping[str, int]
) -> dict[int, list[Rule]]:
    """For each number the rules about it, in their order."""
    found: dict[int, list[Rule]] = {}
    for entry in profile.get("syscalls") or ():
        names = names_of(entry)
        for name in names:
            if name not in known():
                raise wrong(
                    Words(f"没有 {name!r} 这个系统调用", f"there is no system call {name!r}")
                )
        rule = Rule(_action(entry["action"], entry.get("errnoRet")), (*(entry.get("args") or ()),))
        if not _applies(entry, native, held):
            continue
        for name in names:
            if name in table:
                found.setdefault(table[name], []).append(rule)
    return found


def _applies(entry: Profile, native: str, held: frozenset[str]) -> bool:
    """Whether an entry counts here: Docker's "includes" must all hold, "excludes" none."""
    wanted, unwanted = (entry.get(word) or {} for word in ("includes", "excludes"))
    if native in (unwanted.get("arches") or ()) or held & {*(unwanted.get("caps") or ())}:
        return False
    if unwanted.get("minKernel") and _at_least(unwanted["minKernel"]):
        return False
    if wanted.get("arches") and native not in wanted["arches"]:
        return False
    if wanted.get("minKernel") and not _at_least(wanted["minKernel"]):
        return False
    return held >= {*(wanted.get("caps") or ())}


def _at_least(version: str) -> bool:
    return kernel_of(os.uname().release) >= kernel_of(version)


Verdict = int | tuple[Rule, ...]
"""An action, or rules to be tried in their order."""


def _intervals(rules: Mapping[int, Sequence[Rule]], otherwise: int) -> list[tuple[int, Verdict]]:
    """Where from, in rising numbers, which verdict holds: neighbours with the same are one."""
    found: list[tuple[int, Verdict]] = [(0, otherwise)]
    for number in sorted({n + step for n in rules for step in (0, 1)}):
        verdict = _verdict(rules.get(number, ()), otherwise)
        if number == found[-1][0]:
            found[-1] = (number, verdict)
        elif verdict != found[-1][1]:
            found.append((number, verdict))
    return found


def _verdict(rules: Sequence[Rule], otherwise: int) -> Verdict:
    for rule in rules:
        if not rule.tests:  # without a test it is about every use of the call
            return rule.action
    return (*rules,) or otherwise


def _search(intervals: Sequence[tuple[int, Verdict]], otherwise: int) -> list[Instruction]:
    """The search by halves. Only an unconditional jump reaches over a half: others go 255 far."""
    if len(intervals) == 1:
        return [*_leaf(intervals[0][1], otherwise)]
    middle = len(intervals) // 2
    left, right = (_search(part, otherwise) for part in (intervals[:middle], intervals[middle:]))
    return [
        (_JGE, 0, 1, intervals[middle][0]),
        (_JUMP, 0, 0, len(left)),
        *left,
        *right,
    ]


def _leaf(verdict: Verdict, otherwise: int) -> Iterator[Instruction]:
    """What to do with a call once its number is known."""
    if isinstance(verdict, int):
        yield _RETURN, 0, 0, verdict
        return
    for rule in verdict:
        tests = [_comparison(test) for test in rule.tests]
        left = sum(map(len, tests))  # instructions of this rule before its return
        for test in tests:
            yield from _placed(test, left + 1)
            left -= len(test)
        yield _RETURN, 0, 0, rule.action
    yield _RETURN, 0, 0, otherwise


def _placed(test: Sequence[_Jump | Instruction], no: int) -> Iterator[Instruction]:
    """A comparison with its jumps in numbers. no: how far away "no" is; "yes" is right behind."""
    for at, each in enumerate(test):
        if isinstance(each, _Jump):
            ends = {"": 0, "yes": len(test) - at - 1, "no": no - at - 1}
            yield each.code, ends[each.if_true], ends[each.if_false], each.value
        else:
            yield each


def _comparison(test: Mapping[str, Any]) -> list[_Jump | Instruction]:
    """One test of an argument. It has 64 bits and a register 32, so the upper half comes first."""
    value, second = (test.get(name) or 0 for name in ("value", "valueTwo"))
    low, high = _ARGUMENTS + 8 * test["index"], _ARGUMENTS + 8 * test["index"] + 4
    masked = test["op"] == "SCMP_CMP_MASKED_EQ"  # value is the mask, valueTwo what must be left
    mask, wanted = (value, second) if masked else (~0, value)
    upper, lower = _COMPARISONS[test["op"]]
    code: list[_Jump | Instruction] = []
    for place, shift, steps in ((high, 32, upper), (low, 0, lower)):
        code.append((_LOAD, 0, 0, place))
        if masked:
            code.append((_AND, 0, 0, mask >> shift & 0xFFFFFFFF))
        code += [_Jump(op, wanted >> shift & 0xFFFFFFFF, yes, no) for op, yes, no in steps]
    return code


# For each comparison what is asked of the upper half, then of the lower: unsigned, as libseccomp.
_EQUAL_SO_FAR = (_JEQ, "", "no")
_Steps = Sequence[tuple[int, str, str]]
_COMPARISONS: Mapping[str, tuple[_Steps, _Steps]] = {
    "SCMP_CMP_EQ": ([_EQUAL_SO_FAR], [(_JEQ, "yes", "no")]),
    "SCMP_CMP_MASKED_EQ": ([_EQUAL_SO_FAR], [(_JEQ, "yes", "no")]),
    "SCMP_CMP_NE": ([(_JEQ, "", "yes")], [(_JEQ, "no", "yes")]),
    "SCMP_CMP_GT": ([(_JGT, "yes", ""), _EQUAL_SO_FAR], [(_JGT, "yes", "no")]),
    "SCMP_CMP_GE": ([(_JGT, "yes", ""), _EQUAL_SO_FAR], [(_JGE, "yes", "no")]),
    "SCMP_CMP_LT": ([(_JGT, "no", ""), (_JEQ, "", "yes")], [(_JGE, "no", "yes")]),
    "SCMP_CMP_LE": ([(_JGT, "no", ""), (_JEQ, "", "yes")], [(_JGT, "no", "yes")]),
}
