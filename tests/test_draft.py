"""The draft of a score is kept for the next request, but only as long as nothing has changed."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labkit import CLONE_NEWPID, Container, run
from labkit.container import contain
from labkit.container.id_maps import maker
from labkit.engine import request


@pytest.fixture
def rehearsed(monkeypatch: pytest.MonkeyPatch) -> list[Container]:
    """The containers whose steps have been rehearsed, in order."""
    found: list[Container] = []
    steps = contain.contain

    def noted(box: Container, terminal: str) -> None:
        found.append(box)
        steps(box, terminal)

    monkeypatch.setattr(contain, "contain", noted)
    return found


def test_the_same_container_is_rehearsed_once(rehearsed: list[Container]) -> None:
    boxes = [Container(("echo", "again"), cloneflags=CLONE_NEWPID) for _ in range(3)]
    first, *others = [run(box) for box in boxes]
    assert rehearsed == boxes[:1]
    assert [done.stdout for done in others] == ["again\n"] * 2
    assert {len(done.trace) for done in others} == {len(first.trace)}


def test_a_change_of_the_environment_is_seen(
    rehearsed: list[Container], monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Container(("sh", "-c", "echo $COLOUR"))
    said = []
    for colour in ("red", "green", "red"):
        monkeypatch.setenv("COLOUR", colour)
        said.append(run(box).stdout)
    assert said == ["red\n", "green\n", "red\n"]
    assert len(rehearsed) == 2
    monkeypatch.delenv("COLOUR")
    assert run(box).stdout == "\n"


def test_who_has_an_environment_of_its_own_does_not_look_at_ours(
    rehearsed: list[Container], monkeypatch: pytest.MonkeyPatch
) -> None:
    for colour in ("red", "green"):
        monkeypatch.setenv("COLOUR", colour)
        run(Container(("true",), env={"PATH": "/bin"}))
    assert len(rehearsed) == 1


def test_a_program_that_has_come_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def install(folder: str) -> None:
        program = tmp_path / folder / "which"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\necho {folder}\n")
        program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}/first:{tmp_path}/second")
    box = Container(("which",))
    assert run(box).returncode == 127
    install("second")
    assert run(box).stdout == "second\n"
    install("first")
    assert run(box).stdout == "first\n"


def test_a_program_is_looked_up_from_where_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", ".:/bin:/usr/bin")
    box = Container(("true",))
    assert "/true" in run(box).trace[-1]
    assert 'execve("./true"' not in run(box).trace[-1]
    (tmp_path / "true").symlink_to("/bin/true")
    monkeypatch.chdir(tmp_path)
    assert 'execve("./true"' in run(box).trace[-1]


def test_who_makes_the_container_is_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    box = Container(("true",), user=(5, 6, ()))
    before = contain.surroundings(box)
    token = maker.set((7, 8))
    assert contain.surroundings(box) != before
    maker.reset(token)
    monkeypatch.setattr(contain, "setgroups_denied", lambda _: True)
    assert contain.surroundings(box) != before


def test_drafts_do_not_pile_up() -> None:
    for number in range(request.KEPT + 10):
        run(Container(("true", str(number))))
        assert len(request.kept) <= request.KEPT
    before = len(request.kept)
    run(Container(("true", "x" * request.SMALL)))
    assert len(request.kept) == before


def test_one_draft_serves_many_at_once() -> None:
    box = Container(("sh", "-c", "cat; exit 3"))
    with ThreadPoolExecutor(8) as threads:
        done = [*threads.map(lambda number: run(box, input=str(number)), range(40))]
    assert [each.stdout for each in done] == [str(number) for number in range(40)]
    assert {each.returncode for each in done} == {3}
