"""The exam: command lines put to labkit, and its answers beside those of real Docker."""

from collections.abc import Iterator

import pytest
from exam import page, shape, verdict
from exam.cases import MARCH_2013, Case, cases
from exam.sitting import Answer, Said, Sitting, Warm, environment, room

FAMILIES = sorted({case.family for case in cases().values()})


@pytest.fixture(scope="module")
def sitting() -> Iterator[Sitting]:
    """labkit, with the images of the exam and a state of its own."""
    with room() as folder:
        command = Warm(environment(folder))
        try:
            yield Sitting(command, folder)
        finally:
            command.close()


# --- The answers --------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_labkit_answers_as_it_is_written(sitting: Sitting, family: str) -> None:
    """What is the same as Docker stays the same; what differs is known, and why."""
    asked = [case for case in cases().values() if case.family == family]
    answers = {case.key: sitting.answer(case) for case in asked}
    known = {case.key: verdict.verdicts().get(case.key) for case in asked}
    found = {k: verdict.judge(verdict.docker_answers()[k], a) for k, a in answers.items()}
    differing = {k: (found[k], known[k], answers[k]) for k in found if found[k] != known[k]}
    assert differing == {}, "make exam, then read what differs"


def test_there_are_enough_lines_and_docker_has_answered_each() -> None:
    assert len(cases()) >= 200
    assert set(verdict.docker_answers()) == set(cases())
    failed = [s for answer in verdict.docker_answers().values() for s in answer.failed]
    assert [said for said in failed if said.err] == []  # a status alone is a program's own


def test_docker_1_has_thirteen_subjects() -> None:
    assert sum(case.family == MARCH_2013 for case in cases().values()) == 13


def test_each_reason_has_a_difference() -> None:
    different = {key for key, found in verdict.verdicts().items() if found != verdict.SAME}
    assert set(verdict.reasons()) - different == set()


def test_the_page_is_what_the_answers_give() -> None:
    written = page.DOCUMENT.read_text().partition(page.BEGIN)[2].partition(page.END)[0]
    assert written == page.generated(), "make exam"


# --- The examiner -------------------------------------------------------------------------------


def test_shapes() -> None:
    long = "0123456789abcdef" * 4
    told = {
        f"sha256:{long}": "sha256:<id>",
        "0123456789ab  one": "<short id>  one",
        "Exited (0) Less than a second ago": "Exited (0) <span> ago",
        "Up 2 minutes (Paused)": "Up <span> (Paused)",
        "2026-11-28T19:19:41.780256902Z hi": "<time> hi",
        "4.2MB (virtual 6kB)": "<size> (virtual <size>)",
        "172.17.0.2 but 127.0.0.1": "<address> but 127.0.0.1",
        "A=1 B=2": "A=1 B=2",
        "/tmp/x/file    one  \n": "{tmp}/file  one\n",
    }
    assert {text: shape.shaped(text, "/tmp/x") for text in told} == told


def test_a_complaint_is_one_whoever_speaks() -> None:
    said = 'exec: "no": executable file not found in $PATH'
    assert shape.complaint(f"labkit: {said}\nmore", "/tmp/x") == said
    docker = "docker: Error response from daemon: failed to create task for container: "
    docker += "failed to create shim task: OCI runtime create failed: runc create failed: "
    docker += "unable to start container process: "
    assert shape.complaint(f"\n{docker}{said}: unknown.\n", "/tmp/x") == said


def test_keys_of_json() -> None:
    assert (
        shape.output('[{"b": {"c": 1}}, {"a": [{"d": 2}]}]', "", "keys") == ".a\n.a.d\n.b\n.b.c\n"
    )
    assert shape.output("none", "", "keys") == "none"


def test_what_is_not_there_is_missing_and_not_different() -> None:
    docker = Answer(Said(0, "one\n"))
    assert verdict.judge(docker, docker) == verdict.SAME
    assert verdict.judge(docker, Answer(Said(0, "two\n"))) == verdict.DIFFERENT
    absent = Answer(Said(125, "", "unknown flag: --sometimes"))
    assert verdict.judge(docker, absent) == verdict.MISSING
    assert verdict.judge(Answer(Said(125, "", "unknown flag: --x")), absent) == verdict.DIFFERENT


def test_a_case_is_read() -> None:
    case: Case = cases()["life/start-with-stdin"]
    assert (case.family, case.verb) == ("life", "start")
    assert case.setup[0].words == ("create", "-i", "--name", "one", "busybox", "cat")
    assert (case.examined.words, case.examined.typed) == (("start", "-ai", "one"), "through\n")
    assert cases()["house/volume-rm"].verb == "volume rm"
