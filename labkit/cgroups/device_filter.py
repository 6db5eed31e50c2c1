"""Version 2 has no file for devices: a program of BPF answers each use of one. bpf(2).

The kernel gives it struct bpf_cgroup_dev_ctx: kind and access in one word, then major and minor.
"""

import os
import struct
from _collections_abc import Iterable

from labkit.cgroups.devices import ANY, Rule
from labkit.linux import door
from labkit.linux.refusal import refusal

_KIND = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}
_PROG_LOAD, _PROG_ATTACH = 5, 8
_TYPE_CGROUP_DEVICE, _CGROUP_DEVICE, _ALLOW_MULTI = 15, 6, 2
# Operations of include/uapi/linux/bpf.h, by what they do with registers and a constant.
_LOAD, _MOVE, _SET, _SHIFT, _AND = 0x61, 0xBC, 0xB7, 0x74, 0x54
_UNEQUAL, _UNEQUAL_REGISTERS, _EQUAL, _EXIT = 0x56, 0x5E, 0x16, 0x95
_KIND_IN, _ACCESS_IN, _MAJOR_IN, _MINOR_IN, _SCRATCH = 2, 3, 4, 5, 1


def assemble(rules: Iterable[Rule], *, otherwise: bool = False) -> bytes:
    """The program: 1 for what the first rule that is about it allows, 0 for what it forbids.

    otherwise: the answer where no rule is about it.
    """
    program = [
        _op(_LOAD, _KIND_IN, 1, 0),
        _op(_MOVE, _ACCESS_IN, _KIND_IN),
        _op(_SHIFT, _ACCESS_IN, constant=16),
        _op(_AND, _KIND_IN, constant=0xFFFF),
        _op(_LOAD, _MAJOR_IN, 1, 4),
        _op(_LOAD, _MINOR_IN, 1, 8),
    ]
    for rule in rules:
        program += _rule(rule)
    return b"".join((*program, _op(_SET, 0, constant=int(otherwise)), _op(_EXIT)))


def _rule(rule: Rule) -> list[bytes]:
    """Each test that fails leads past the rule; at its end stands its answer."""
    access = sum(_ACCESS[letter] for letter in rule.access)
    tests = [(_UNEQUAL, _KIND_IN, 0, _KIND[rule.kind])] if rule.kind in _KIND else []
    # All that is asked for must be in what is allowed; one of it is enough to be forbidden.
    before = [_op(_MOVE, _SCRATCH, _ACCESS_IN), _op(_AND, _SCRATCH, constant=access)]
    asked = (
        (_UNEQUAL_REGISTERS, _SCRATCH, _ACCESS_IN, 0) if rule.allowed else (_EQUAL, _SCRATCH, 0, 0)
    )
    tests.append(asked)
    for register, number in ((_MAJOR_IN, rule.major), (_MINOR_IN, rule.minor)):
        if number != ANY:
            tests.append((_UNEQUAL, register, 0, number))
    left = len(tests) + len(before) + 2  # with the two at the end
    found = []
    for code, register, other, constant in tests:
        if register == _SCRATCH:
            found += before
            left -= len(before)
        left -= 1
        found.append(_op(code, register, other, left, constant))
    return [*found, _op(_SET, 0, constant=int(rule.allowed)), _op(_EXIT)]


def _op(code: int, to: int = 0, source: int = 0, offset: int = 0, constant: int = 0) -> bytes:
    """One instruction: struct bpf_insn."""
    return struct.pack("=BBhi", code, source << 4 | to, offset, constant)


def attach(directory: int, rules: Iterable[Rule], *, otherwise: bool = False) -> None:
    """Have the program judge the group behind a descriptor, as long as the group is there."""
    program = bytearray(assemble(rules, otherwise=otherwise))
    license_ = bytearray(b"Apache-2.0\0")
    head = (_TYPE_CGROUP_DEVICE, len(program) // 8, door.place(program), door.place(license_))
    asked = struct.pack("=IIQQIIQII16sII", *head, 0, 0, 0, 0, 0, b"labkit", 0, _CGROUP_DEVICE)
    fd = _bpf(_PROG_LOAD, "BPF_PROG_LOAD", asked)
    try:
        asked = struct.pack("=IIII", directory, fd, _CGROUP_DEVICE, _ALLOW_MULTI)
        _bpf(_PROG_ATTACH, "BPF_PROG_ATTACH", asked)
    finally:
        os.close(fd)


def _bpf(command: int, name: str, asked: bytes) -> int:
    result = door.call("bpf", (command, bytearray(asked), len(asked)))
    if result < 0:
        raise refusal(f"bpf({name}, BPF_PROG_TYPE_CGROUP_DEVICE)", -result)
    return result
