"""Two players of one score: in Python, to be read, and in machine code. They leave the same."""

import itertools
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import capstone
import pytest

from labkit import CLONE_NEWTIME, CLONE_NEWUSER, Clone, Container, Root, run
from labkit.engine import machine
from labkit.linux import door

DISASSEMBLERS = {
    "x86_64": (capstone.CS_ARCH_X86, capstone.CS_MODE_64),
    "aarch64": (capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN),
}


@pytest.mark.parametrize("name", machine.LISTINGS)
def test_the_listing_is_what_the_processor_reads(name: str) -> None:
    read = [
        f"{each.address:02x}  {each.bytes.hex(' '):15} {each.mnemonic} {each.op_str}".rstrip()
        for each in capstone.Cs(*DISASSEMBLERS[name]).disasm(machine.code(name), 0)
    ]
    written = [re.sub(r"(?<=\S) {2,}(?=\S).*", "", line[20:]) for line in lines(name)]
    assert [f"{line[:20]}{text}" for line, text in zip(lines(name), written, strict=True)] == read


def lines(name: str) -> list[str]:
    return machine.LISTINGS[name].strip().splitlines()


def test_each_call_and_each_end_of_the_listing_is_explained() -> None:
    for name in machine.LISTINGS:
        calls = [line for line in lines(name) if re.search(r"syscall|svc", line)]
        assert len(calls) == 3, "clone3, the call of the score, exit_group"


PLAY = """
import json, sys
from labkit import *
from labkit.engine import score
if sys.argv[1] == "python":
    score._for_python = lambda call: True
told = []
for text in json.load(sys.stdin):
    box = Container.from_json(text)
    try:
        done = run(box, input=None if box.tty else "typed", timeout=60)
    except OSError as error:
        told.append([error.errno, error.call, error.trace])
    else:
        told.append([done.returncode, done.stdout, done.stderr, done.trace])
print(json.dumps(told))
"""


def scores(base: str) -> list[Container]:
    """A hundred containers of every kind that there is, drawn with a seed. base: a root."""
    rng = random.Random("a hundred scores")  # noqa: S311 - the same each time
    flags = ("CLONE_NEWNS", "CLONE_NEWUTS", "CLONE_NEWIPC", "CLONE_NEWPID", "CLONE_NEWNET")
    programs = [
        ("cat",),
        ("sh", "-c", "echo $$; exit 7"),
        ("sh", "-c", "kill -TERM $$"),
        ("no-such-program",),
        ("/etc/passwd",),
        ("readlink", "/proc/self/fd/3"),
    ]
    found = []
    for _ in range(100):
        chosen = [name for name in flags if rng.random() < 0.5]
        fields: dict[str, object] = {"argv": rng.choice(programs)}
        fields["hostname"] = "box" if "CLONE_NEWUTS" in chosen and rng.random() < 0.7 else None
        fields["proc"] = {"CLONE_NEWNS", "CLONE_NEWPID"} <= {*chosen} and rng.random() < 0.7
        fields["cwd"] = rng.choice([None, "/", "/tmp", "/nowhere"])
        fields["tty"] = rng.random() < 0.2
        if rng.random() < 0.3:
            fields |= {"capabilities": ("KILL",), "no_new_privs": True}
        if rng.random() < 0.2:
            fields["seccomp"] = "default"
        if rng.random() < 0.2:
            fields["rootless"] = True
        if "CLONE_NEWNS" in chosen and rng.random() < 0.4:
            fields["root"] = Root(layers=(base,), tmpfs=("/tmp",), volumes=("/etc:/etc2:ro",))
        names = Clone.parse("|".join(chosen) or "0")
        found.append(Container(cloneflags=names, **fields))  # type: ignore[arg-type]
    return found


def played(by: str, boxes: list[Container]) -> list[list[object]]:
    done = subprocess.run(
        [sys.executable, "-c", PLAY, by],
        input=json.dumps([box.to_json() for box in boxes]),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told: list[list[object]] = json.loads(done.stdout)
    return told


def plain(told: object) -> str:
    """Without numbers that the kernel chooses, and without the one flag that tells the players."""
    text = json.dumps(told, ensure_ascii=False)
    text = re.sub(r"CLONE_VM\|?", "", text).replace("flags=,", "flags=0,")
    text = re.sub(r"(/proc/|\) = |\()\d{2,}", r"\1N", text)
    text = re.sub(r"/dev/pts/\d+", "/dev/pts/N", text)
    # Descriptors: what a call gives, and what it begins with.
    text = re.sub(r"\) = [1-9]\d*", ") = N", text)
    text = re.sub(r"\b(close|write|mkdirat|mknodat|move_mount|mount_setattr)\(\d+", r"\1(N", text)
    text = re.sub(r'(move_mount\(N, \\"\\", )\d+', r"\1N", text)
    return re.sub(r'(?<=")\d+(?=\\[rn])', "N", text)


def test_a_hundred_scores_leave_the_same_by_either(base: Path) -> None:
    boxes = scores(str(base))
    assert sum(box.root is not None for box in boxes) > 10
    by_machine, by_python = played("machine", boxes), played("python", boxes)
    shared = ["CLONE_VM" in json.dumps(told) for told in by_machine]
    assert sum(shared) > 60
    assert not any("CLONE_VM" in json.dumps(told) for told in by_python)
    for box, one, other in zip(boxes, by_machine, by_python, strict=True):
        assert plain(one) == plain(other), box


@pytest.mark.parametrize("name", ["seccomp", "clocks", "user", "root"])
def test_what_the_machine_cannot_do_goes_to_python(name: str) -> None:
    box = {
        "seccomp": Container(("true",), seccomp="default", no_new_privs=True),
        "clocks": Container(("true",), cloneflags=CLONE_NEWTIME, time_offsets={"monotonic": 1}),
        "user": Container(("true",), user=(5, 6, ())),
        "root": Container(("true",), cloneflags=CLONE_NEWUSER, uid_map=[(0, 100000, 1)]),
    }[name]
    assert ("CLONE_VM" in run(box).trace[0]) == (name == "seccomp")


def test_without_memory_to_execute_there_is_no_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise PermissionError

    assert machine.load() is not None
    monkeypatch.setattr(door, "map_code", refuse)
    assert machine.load() is None


def test_no_memory_is_writable_and_executable() -> None:
    script = """
from labkit import *
from labkit.engine.connection import engine_pids
run(Container(("true",)))
print(*(open(f"/proc/{pid}/maps").read() for pid in engine_pids()))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    maps = done.stdout.splitlines()
    (player,) = (line for line in maps if "labkit-player" in line)
    assert player.split()[1] == "r-xp"
    assert not [line for line in maps if re.match(r"\S+ .?wx", line)]
    (kept,) = (line for line in maps if "labkit-score" in line)  # for the next start
    assert kept.split()[1] == "rw-s"


def test_a_score_that_runs_long_is_not_in_the_way_of_others() -> None:
    script = """
from labkit import *
with start(Container(("sleep", "1000"), cloneflags=CLONE_NEWPID)) as first:
    for _ in range(40):
        assert run(Container(("echo", "x" * 100_000))).stdout == "x" * 100_000 + "\\n"
    assert first.exec(("echo", "still here")).stdout == "still here\\n"
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_arguments_beyond_all_measure_are_refused_by_the_kernel() -> None:
    many = ("true", *itertools.repeat("x" * 100_000, 400))
    with pytest.raises(OSError, match="Argument list too long"):
        run(Container(many))


def test_the_engine_can_still_be_looked_at_after_a_change_of_user() -> None:
    """The child of another user must not have shared the engine's memory."""
    script = """
import os
from labkit import *
from labkit.engine.connection import engine_pids
run(Container(("true",), user=(5, 6, ())))
run(Container(("true",), cloneflags=CLONE_NEWUSER, uid_map=[(0, 100000, 1)]))
print(*{os.stat(f"/proc/{pid}/maps").st_uid for pid in engine_pids()})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "0\n", done.stderr
