"""choose() without a page: what a change on it comes to, whatever was chosen."""

import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import command_line, given_time, marked, until
from test_engine import engine

from labkit import CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS, Clone, Container, run
from labkit.linux.namespaces import KINDS
from labkit.notebook import choose
from labkit.notebook.views.outcome import Outcome, outcome
from labkit.notebook.views.trial import MOST, Trial
from labkit.notebook.widgets.chooser import Choice, Chooser

BOX = Container(("hostname",), cloneflags=CLONE_NEWUTS, hostname="box")


@pytest.fixture
def chooser() -> Iterator[Chooser]:
    made = choose(BOX)
    yield made
    made.close()


def change(chooser: Chooser, **values: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Choose as the page does; what it is told, when it is."""
    before = chooser.answer
    chooser.choice = {**chooser.choice, **values}
    return dict(another_answer(chooser, before))


def another_answer(chooser: Chooser, before: dict[str, Any]) -> dict[str, Any]:
    """The next answer; it always has something in it."""
    return until(lambda: now if (now := chooser.answer) is not before else None)


def new(told: dict[str, Any]) -> set[str]:
    return {kind for kind, (_, _, verdict) in told["rows"].items() if verdict == "new"}


def test_it_begins_with_a_container_and_has_one_at_any_time(chooser: Chooser) -> None:
    assert chooser.box == BOX
    assert new(chooser.answer) == {"uts"}
    assert chooser.answer["stdout"] == "box\n"
    told = change(chooser, kinds=["uts", "pid", "mnt"], proc=True, program="sh -c 'echo $$'")
    assert (told["stdout"], told["said"], new(told)) == ("1\n", [], {"uts", "pid", "mnt"})
    assert chooser.box == Container(
        ("sh", "-c", "echo $$"),
        cloneflags=CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWNS,
        hostname="box",
        proc=True,
    )
    assert run(chooser.box).stdout == "1\n"


def test_without_a_container_it_begins_with_the_host_name() -> None:
    made = choose()
    assert made.box == Container(("hostname",))
    assert made.answer["stdout"].strip() == os.uname().nodename
    made.close()


def test_what_the_form_does_not_ask_for_stays() -> None:
    box = Container(("env",), env={"A": "1"}, cwd="/tmp")
    made = choose(box)
    change(made, kinds=["uts"])
    assert made.box == Container(("env",), env={"A": "1"}, cwd="/tmp", cloneflags=CLONE_NEWUTS)
    made.close()


def test_a_mistake_is_named_in_both_languages(
    chooser: Chooser, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = change(chooser, hostname="x" * 65)
    assert [sorted(each) for each in told["said"]] == [["en", "zh"]]
    assert all("65" in text for text in told["said"][0].values())
    monkeypatch.setattr(Choice, "box", lambda *_: Container(("true",), capabilities=("NOPE",)))
    (said,) = change(chooser, hostname="box")["said"]
    assert "CAP_NOPE" in said["zh"]
    assert "CAP_NOPE" in said["en"]
    assert "no such capability" not in said["zh"]


@pytest.mark.parametrize("flags", [Clone(0), *Clone, Clone(sum(Clone))])
def test_each_kind(flags: Clone) -> None:
    choice = Choice(flags, "", "true", proc=False)
    assert Choice.from_page(choice.to_page()) == choice
    told = outcome(Trial(choice.box(BOX))).data()
    assert new(told) == {kind.name for kind in KINDS if kind.flag & flags}
    assert told["trace"] and told["ended"]["en"] == "ended with exit status 0"  # noqa: PT018
    assert len(told["translations"]) == 5


@pytest.mark.parametrize(
    ("values", "chinese", "english"),
    [
        ({"kinds": []}, "CLONE_NEWUTS", "hostname needs CLONE_NEWUTS"),
        ({"hostname": "盒" * 22}, "hostname 有 66 字节", "is 66 bytes long"),
        ({"program": ""}, "argv 是空的", "argv is empty"),
        ({"program": "echo 'a"}, "引号没有成对", "quotation mark"),
        ({"proc": True}, "CLONE_NEWNS", "proc=True needs CLONE_NEWNS"),
    ],
)
def test_what_is_no_container(
    chooser: Chooser, values: dict[str, Any], chinese: str, english: str
) -> None:
    told = change(chooser, **values)
    (said,) = told["said"]
    assert chinese in said["zh"]
    assert english in said["en"]
    assert "needs" not in said["zh"]
    assert told["rows"] == {}
    with pytest.raises(ValueError, match=english):
        chooser.box  # noqa: B018
    assert change(chooser, **Choice.of(BOX).to_page())["stdout"] == "box\n"


def test_a_warning_is_told_too(chooser: Chooser) -> None:
    told = change(chooser, kinds=["uts", "mnt"], proc=True)
    assert told["ended"]
    (said,) = told["said"]
    assert "仍是宿主机的进程" in said["zh"]
    assert "without CLONE_NEWPID" in said["en"]


def test_a_program_that_is_not_there(chooser: Chooser) -> None:
    told = change(chooser, program="no-such-program")
    assert "No such file or directory" in told["stderr"]
    assert told["ended"] == {"zh": "以退出状态 127 结束", "en": "ended with exit status 127"}
    assert "ENOENT" in told["trace"][-1]


def test_refused_by_the_kernel(nobody: list[str]) -> None:
    script = (
        "import json\nfrom labkit import *\nfrom labkit.notebook.views.outcome import outcome\n"
        "from labkit.notebook.views.trial import Trial\n"
        "print(json.dumps(outcome(Trial(Container(('true',), cloneflags=CLONE_NEWUTS))).data()))"
    )
    kept = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
    box = Container((*nobody, "-c", script), cwd="/", seccomp="default", capabilities=kept)
    done = run(box)  # where not even a user namespace can be made
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["call"].startswith("clone(child_stack=NULL, flags=CLONE_NEWUTS|")
    (said,) = told["said"]
    assert "root" in said["zh"]
    assert "CAP_SYS_ADMIN" in said["en"]
    assert "EPERM" in told["trace"][-1]
    assert len(told["translations"]) == 5  # it can be read all the same


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("sleep 1000", "seconds"),
        ("sh -c 'echo started; exec >&- 2>&-; sleep 1000'", "seconds"),
        ("sh -c 'sleep 1000 & echo started; sleep 1000'", "seconds"),
        ("yes", "KiB"),
    ],
)
@pytest.mark.parametrize("flags", [Clone(0), CLONE_NEWPID])
def test_a_program_without_end_is_cut_off(program: str, why: str, flags: Clone) -> None:
    before = marked()
    box = Choice(flags, "", program, proc=False).box(BOX)

    def enough(came: Outcome) -> bool:
        printed = bool(came.finished and came.finished.stdout)
        return why in came.said[0].en and (printed or program == "sleep 1000")

    came = given_time(lambda seconds: outcome(Trial(box, seconds)), enough)
    (said,) = came.said
    (number,) = re.findall(rf"([\d.]+) {why}", said.en)
    assert f"{number} " in said.zh
    assert why == "seconds" or int(number) == MOST // 1024
    assert came.finished
    assert len(came.finished.stdout) < 3 * MOST
    assert ("started" in program) == (came.finished.stdout == "started\n")
    until(lambda: marked() <= before)


def test_a_choice_returns_at_once_and_the_last_one_counts(
    chooser: Chooser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever chooses is not kept waiting by a program that was chosen before."""
    before, threads = marked(), threading.active_count()
    shown: list[str] = []
    chooser.observe(lambda event: shown.append(event["new"]["stdout"]), "answer")
    monkeypatch.setattr(Trial.__init__, "__defaults__", (1000, None))  # who waits, waits too long
    for text in ("one", "two"):
        chooser.choice = {**chooser.choice, "program": f"sh -c 'echo {text}; exec sleep 1000'"}
    assert change(chooser, program="echo three")["stdout"] == "three\n"
    until(lambda: marked() <= before)
    until(lambda: threading.active_count() <= threads)
    assert shown == ["three\n"]


def test_closing_ends_what_is_running() -> None:
    before = marked()
    made = choose(BOX)
    made.choice = {**made.choice, "program": "sleep 1000"}
    until(lambda: not marked() <= before)
    made.close()
    until(lambda: marked() <= before)


def test_on_a_page_without_a_kernel() -> None:
    made = choose(Container(("echo", "<b>"), cloneflags=CLONE_NEWUTS | CLONE_NEWUSER))
    still = made.static()
    text, page = str(still), still._repr_html_()
    for part in ("新的 new", "<b>", "exit status 0", "unshare --user --uts", "docker run --rm"):
        assert part in text
    assert "<b>" not in page
    assert page.count('lang="zh-Hans"') == page.count('lang="en"')
    assert "unshare --user --uts echo" in page
    assert repr(made) == "<chooser>"
    made.close()


def test_an_answer_that_is_none_is_shown() -> None:
    empty = Outcome(None)
    assert str(empty) == ""
    assert empty.data()["rows"] == {}


def test_the_engine_is_lost_while_it_runs(chooser: Chooser) -> None:
    """It says so; the next choice starts another."""
    before = chooser.answer
    chooser.choice = {**chooser.choice, "program": "sleep 1000"}
    pid = engine()
    children = Path(f"/proc/{pid}/task/{pid}/children")
    until(lambda: b"sleep\0" in b"".join(command_line(p) for p in children.read_text().split()))
    os.kill(pid, signal.SIGKILL)
    (said,) = another_answer(chooser, before)["said"]
    assert "引擎被终止了" in said["zh"]
    assert "the engine was ended" in said["en"]
    assert change(chooser, program="hostname")["stdout"] == "box\n"
