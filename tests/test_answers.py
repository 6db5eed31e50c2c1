"""Whatever a learner hands in: the check comes back, blames the right party, leaves nothing."""

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from conftest import ROOT, command_line, marked, until

from labkit import CLONE_NEWUTS, Container, run
from labkit.linux.mounts import mount
from labkit.linux.processes import sethostname, unshare
from labkit.notebook.exercises import answers, ex00, ex01, ex02, ex03, ex04, ex05, machine
from labkit.notebook.exercises.exercise import Exercise, Outcome, Verdict

STEP: Exercise = ex02.rename  # runs in a machine that is thrown away
QUESTION: Exercise = ex00.parent  # runs beside the notebook


@pytest.fixture(autouse=True)
def afresh() -> None:
    for lesson in (ex00, ex01, ex02, ex03, ex04, ex05):
        lesson.restart()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (answers, machine):
        monkeypatch.setattr(module, "SECONDS", 1)


def returns_forever(*_: object) -> None:
    while True:
        time.sleep(1)


def ends_by_itself(*_: object) -> None:
    os._exit(3)


def exits(*_: object) -> None:
    sys.exit(4)


def is_killed(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def closes_everything(*_: object) -> None:
    os.closerange(0, 1 << 10)


def raises(*_: object) -> None:
    raise LookupError("not here")


def recurses(*_: object) -> None:
    recurses()


def interrupts(*_: object) -> None:
    raise KeyboardInterrupt


def leaves_children(*_: object) -> None:
    subprocess.Popen(["sleep", "1000"], start_new_session=True)


def quarrels(*_: object) -> None:
    class QuarrelsomeError(Exception):
        def __str__(self) -> str:
            raise ValueError

    raise QuarrelsomeError


def text(verdict: Verdict) -> str:
    return str(verdict)


each_kind = pytest.mark.parametrize("exercise", [STEP, QUESTION], ids=["step", "question"])


@each_kind
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ends_by_itself, "its own process (exit status 3)"),
        (exits, "its own process"),
        (is_killed, "exit status -9"),
        (closes_everything, "its own process"),
        (raises, "LookupError: not here"),
        (recurses, "RecursionError"),
        (interrupts, "KeyboardInterrupt"),
        (quarrels, "QuarrelsomeError: ?"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_it_comes_back_from_any_end(
    exercise: Exercise, answer: Callable[..., None], said: str
) -> None:
    verdict = exercise.check(answer)
    assert verdict.outcome is Outcome.INCORRECT
    assert said in text(verdict)


@each_kind
@pytest.mark.usefixtures("impatient")
def test_it_does_not_wait_for_ever(exercise: Exercise) -> None:
    verdict = exercise.check(returns_forever)
    assert verdict.outcome is Outcome.INCORRECT
    assert "It had not ended after 1 seconds" in text(verdict)
    until(lambda: _programs() == 0)


@each_kind
def test_what_it_started_is_ended(exercise: Exercise) -> None:
    assert exercise.check(leaves_children).outcome is Outcome.INCORRECT
    until(lambda: _programs() == 0)


def _programs() -> int:
    """How many of the programs that run an answer, or of what they started, are there."""
    found = 0
    for pid in marked():
        words = command_line(pid)
        found += b"exercises.scenes" in words or words.startswith(b"sleep\x001000")
    return found


def test_what_the_answer_prints_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    def rename() -> None:
        print("我来了 here I am")
        unshare(CLONE_NEWUTS)
        os.system("echo and a child; echo one more >&2")  # noqa: S605
        sethostname("box")

    assert STEP.check(rename).outcome is Outcome.CORRECT
    shown = capsys.readouterr().out
    assert sorted(shown.splitlines()) == ["and a child", "one more", "我来了 here I am"]


def test_an_error_names_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    def rename() -> None:
        unshare(CLONE_NEWUTS)
        sethostname(no_such_name)  # type: ignore[name-defined]  # noqa: F821

    verdict = STEP.check(rename)
    line = rename.__code__.co_firstlineno + 2
    assert f"{line}: sethostname(no_such_name)" in text(verdict)
    assert "NameError: name 'no_such_name' is not defined" in text(verdict)
    assert capsys.readouterr() == ("", "")


LIMIT = 64


def test_a_function_is_sent_with_all_that_it_uses() -> None:
    name = "b" + "ox"

    def countdown(number: int) -> int:
        return countdown(number - 1) if number else LIMIT

    def rename(first: str = name, *, flags: int = int(CLONE_NEWUTS)) -> None:
        assert countdown(3) == LIMIT
        assert signal.strsignal(15)
        unshare(CLONE_NEWUTS)
        assert flags == CLONE_NEWUTS
        assert helper(first) == f"{first}!"
        sethostname(name)

    assert STEP.check(rename).outcome is Outcome.CORRECT, text(STEP.check(rename))


def helper(word: str) -> str:
    return word + "!"


def test_names_of_the_calls_are_at_hand_in_a_step() -> None:
    code = 'def rename():\n    unshare(CLONE_NEWUTS)\n    sethostname("box")\n'
    cell: dict[str, object] = {"__name__": "__main__"}
    exec(code, cell)  # noqa: S102 - as a notebook does
    assert STEP.check(cell["rename"]).outcome is Outcome.CORRECT


def test_the_open_of_a_notebook_is_everybodys() -> None:
    """IPython puts a function of its own around open(), which has no module to be found in."""

    @functools.wraps(open)
    def modified(file: str) -> object:
        return open(file)

    code = 'def rename():\n    unshare(CLONE_NEWUTS)\n    open("/dev/null").close()\n'
    cell: dict[str, object] = {"__name__": "__main__", "open": modified}
    exec(code + '    sethostname("box")\n', cell)  # noqa: S102 - as a notebook does
    verdict = STEP.check(cell["rename"])
    assert verdict.outcome is Outcome.CORRECT, text(verdict)


LOCK = threading.Lock()


def test_what_cannot_be_sent_is_said() -> None:
    def rename() -> None:
        LOCK.acquire()

    verdict = STEP.check(rename)
    assert verdict.outcome is Outcome.INCORRECT
    assert "cannot pickle '_thread.lock' object" in text(verdict)


def renames() -> None:
    sethostname("lost")


def mounts() -> None:
    mount("tmpfs", "/mnt", "tmpfs")


@pytest.mark.parametrize("call", [renames, mounts])
def test_an_answer_to_a_question_cannot_change_the_machine(call: Callable[[], None]) -> None:
    def parent(_: int) -> int:
        call()
        return 1

    before = os.uname().nodename
    verdict = QUESTION.check(parent)
    assert verdict.outcome is Outcome.INCORRECT
    assert "would change this machine itself" in text(verdict)
    assert os.uname().nodename == before


def test_an_answer_that_returns_nothing_is_told_so() -> None:
    def parent(pid: int) -> None:
        str(pid)

    verdict = QUESTION.check(parent)
    assert "Your function returned nothing" in text(verdict)
    assert "`return`" in str([QUESTION.hint(), QUESTION.hint()])


def test_it_works_in_a_thread() -> None:
    found: list[Verdict] = []
    thread = threading.Thread(target=lambda: found.append(STEP.check(STEP.answer())))
    thread.start()
    thread.join()
    assert found[0].outcome is Outcome.CORRECT


SHORN = """
from labkit.notebook.exercises import ex00, ex01, ex02, ex02b, ex03, ex04, ex05
for lesson in (ex00, ex01, ex02, ex02b, ex03, ex04, ex05):
    for exercise in lesson.exercises():
        print(exercise.name, exercise.check(exercise.answer()).outcome.name)
print("wrong", ex01.killed.check(ex01.argv.answer()).outcome.name)
print("unanswered", ex03.contain.check(...).outcome.name)
def raises(): raise PermissionError(1, "no")
print("its own refusal", ex03.contain.check(raises).outcome.name)
"""


@pytest.mark.parametrize("outcome", ["CORRECT", "REFUSED"])
def test_without_privileges_nobody_is_blamed(nobody: list[str], outcome: str) -> None:
    """uid 65534 with no capability: root of a user namespace judges, or, without those, nobody."""
    environ = {**os.environ, "LABKIT_PROGRESS": "", "PATH": os.environ["PATH"]}
    box = Container((*nobody, "-c", SHORN), cwd="/", env=environ)
    if outcome == "REFUSED":  # by Docker's filter, as for who has no CAP_SYS_ADMIN
        kept = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
        box = replace(box, seccomp="default", capabilities=kept)
    done = run(box, timeout=120)
    assert done.returncode == 0, done.stderr
    outcomes = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    right = {name for name, found in outcomes.items() if found == "CORRECT"}
    assert right >= {"ex00.kernels", "ex00.parent", "ex01.argv", "ex01.killed", "ex01.inode"}
    assert outcomes["unanswered"] == "NOT_ATTEMPTED"
    assert outcomes["wrong"] == "INCORRECT"
    made = ("ex02.rename", "ex02b.fork", "ex03.contain", "ex05.forbid")
    for name in (*made, "ex02.stray", "ex03.lost", "ex04.view"):
        assert outcomes[name] == outcome, done.stdout
    # These need more than one ID of their own: user 1000, user 65534.
    for name in ("ex05.root", "ex05.caps", "ex05.groups"):
        assert outcomes[name] == "REFUSED"
    assert outcomes["its own refusal"] == {"CORRECT": "INCORRECT"}.get(outcome, outcome)


def test_the_same_outcome_from_the_projects_own_folder() -> None:
    """The program finds labkit wherever the notebook is."""
    code = (
        "from labkit.notebook.exercises import ex02; print(ex02.rename.check(ex02.rename.answer()))"
    )
    for folder in ("/", str(ROOT)):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder
        )
        assert "Correct" in done.stdout, done.stderr
