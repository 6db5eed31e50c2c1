"""ns_map(): what the page is told, and that nobody looks when nobody watches."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from conftest import PATIENCE, until
from test_show import Page

from labkit import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    Container,
    inodes,
    run,
    start,
)
from labkit.engine import connection
from labkit.linux.namespaces import KINDS
from labkit.linux.relations import Process, Snapshot, snapshot
from labkit.notebook.views.own import own_namespaces, roles
from labkit.notebook.widgets import namespace_map, watch
from labkit.notebook.widgets.namespace_map import NamespaceMap, comparison

HERE = os.getpid()
SLEEPER = Container(("sleep", "1000"), cloneflags=CLONE_NEWUTS | CLONE_NEWNET)


class Map(NamespaceMap):
    """A map without a page: what it tells is collected."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        super().__init__()

    def send(self, content: dict[str, Any], buffers: object = None) -> None:
        assert buffers is None
        self.told.append(content)

    def hear(self, **content: object) -> None:
        self._hear(self, content, [])

    @property
    def states(self) -> list[dict[str, Any]]:
        return [message for message in self.told if message["type"] == "state"]


def looking() -> bool:
    return "labkit-watch" in {thread.name for thread in threading.enumerate()}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[Map]:
    monkeypatch.setattr(watch, "PERIOD", 0.02)
    made = Map()
    yield made
    made.close()
    assert not looking()


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> Callable[[Snapshot], None]:
    """Make the map see the given snapshot from now on."""

    def see(shot: Snapshot) -> None:
        monkeypatch.setattr(namespace_map, "snapshot", lambda _: shot)

    return see


# --- What the page is told ----------------------------------------------------------------------


def test_a_new_view_is_told_everything(shown: Map) -> None:
    run(replace(SLEEPER, argv=("true",)))  # there is an engine
    with start(SLEEPER) as box:
        shown.hear(watch="a", whole=True)
        until(lambda: bool(shown.states))
        first = shown.states[0]
    (processes, gone), (spaces, lost) = first["told"]
    assert first["whole"]
    assert gone == lost == []
    assert processes[HERE][1:] == ["kernel", list(inodes().values())]
    assert processes[min(connection.engine_pids())][1] == "engine"
    assert processes[min(connection.keeper_pids())][1] == "keeper"
    assert processes[box.pid] == ["sleep", "container", list(box.inodes.values())]
    user = inodes()["user"]
    assert spaces[box.inodes["uts"]] == ["uts", user, None, None, user]
    assert spaces[user][0] == "user"
    assert first["kernel"] == HERE
    assert [kind[0] for kind in first["kinds"]] == [kind.name for kind in KINDS]


def test_afterwards_only_what_has_changed(shown: Map) -> None:
    shown.hear(watch="a", whole=True)
    until(lambda: bool(shown.states))
    with start(SLEEPER) as box:
        # The first of them: another may follow, once the child has become sleep.
        news, *_ = until(lambda: [s for s in shown.states[1:] if box.pid in s["told"][0][0]])
        assert not news["whole"]
        assert HERE not in news["told"][0][0]
        assert {box.inodes["uts"], box.inodes["net"]} <= set(news["told"][1][0])
        assert inodes()["uts"] not in news["told"][1][0]
    until(lambda: any(box.pid in state["told"][0][1] for state in shown.states))
    until(lambda: any(box.inodes["uts"] in state["told"][1][1] for state in shown.states))


def test_nothing_is_told_where_nothing_changes(
    shown: Map, still: Callable[[Snapshot], None]
) -> None:
    looks = []
    shot = snapshot()
    still(shot)
    shown._watch._look = lambda: (looks.append(1), shown._look())  # type: ignore[assignment,func-returns-value]
    shown.hear(watch="a", whole=True)
    until(lambda: len(looks) > 5)
    assert [state["whole"] for state in shown.states] == [True]
    shown.hear(watch="b", whole=True)
    until(lambda: len(shown.states) > 1)
    assert [state["whole"] for state in shown.states] == [True, True]
    changed = dict(shot.processes) | {HERE: replace(shot.processes[HERE], name="other")}
    still(Snapshot(changed, shot.namespaces))
    until(lambda: len(shown.states) > 2)
    (processes, gone), spaces = shown.states[2]["told"]
    assert list(processes) == [HERE]
    assert gone == []
    assert spaces == ({}, [])


def test_our_own_processes() -> None:
    words = ["sh", "-c", "sleep 1000 & echo $!; wait"]
    with (
        start(Container(("sh", "-c", "sleep 1000 & wait"))) as box,
        subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child,
    ):
        assert child.stdout
        grandchild = int(child.stdout.readline())
        until(lambda: len(inside(box.pid)) == 1)
        found = roles(snapshot())
        os.kill(grandchild, 9)
        child.wait()
    assert found[HERE] == "kernel"
    assert found[min(connection.engine_pids())] == "engine"
    assert found[box.pid] == "container"
    assert [found[pid] for pid in (child.pid, grandchild)] == ["child", "child"]
    assert list(found.values()).count("inside") == 1
    assert os.getppid() not in found


def inside(pid: int) -> list[Process]:
    return [one for one in snapshot().processes.values() if one.ppid == pid]


# --- Comparisons --------------------------------------------------------------------------------


def test_two_processes_compared(shown: Map) -> None:
    with start(SLEEPER) as box:
        shown.hear(compare=[HERE, box.pid], asked=7)
        shown.hear(compare=[box.pid, box.pid], asked=8)
        (answer, same) = shown.told
        assert answer["asked"] == 7
        assert answer["en"] == f"sleep, PID {box.pid}: new in 2: net, uts"
        assert answer["zh"] == f"sleep, PID {box.pid}：2 种是新的：net, uts"
        assert same["en"] == f"sleep, PID {box.pid}: all the same"
    words = Page(answer["html"]).text()
    assert f"sleep, PID {box.pid}" in words
    assert all(str(inode) in words for inode in box.inodes.values())
    assert words.count("new") == 2


def test_a_process_that_has_ended_is_no_error() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert comparison(HERE, ended.pid)["en"] == "one of the two processes has ended"
    assert comparison(HERE, ended.pid)["html"] == ""


def test_a_name_cannot_bring_html_in() -> None:
    script = "open('/proc/self/comm', 'w').write('<b>bold'); input()"
    words = [sys.executable, "-c", script]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        until(lambda: snapshot().processes[process.pid].name == "<b>bold")
        shown = comparison(HERE, process.pid)
        process.kill()
    assert "&lt;b&gt;bold, PID" in shown["html"]
    assert "<b>" not in shown["html"]


# --- Nobody looks when nobody watches -----------------------------------------------------------


def test_it_looks_while_somebody_watches(shown: Map) -> None:
    assert not looking()
    for view in "ab":
        shown.hear(watch=view, whole=False)
    until(lambda: bool(shown.states))
    shown.hear(leave="a")
    assert looking()
    shown.hear(leave="b")
    until(lambda: not looking())
    assert [message["type"] for message in shown.told if message["type"] != "state"] == []
    number = len(shown.states)
    shown.hear(watch="c", whole=True)  # the page is seen again
    until(lambda: len(shown.states) > number)


def test_it_pauses_when_the_views_fall_silent(
    shown: Map, monkeypatch: pytest.MonkeyPatch, still: Callable[[Snapshot], None]
) -> None:
    still(snapshot())
    monkeypatch.setattr(watch, "LEASE", 0.1)
    shown.hear(watch="a", whole=True)
    until(lambda: {"type": "paused"} in shown.told)
    until(lambda: not looking())
    number = len(shown.told)
    shown.hear(watch="a", whole=False)  # its kernel was busy
    until(lambda: any(message.get("whole") for message in shown.told[number:]))


def test_closed_it_looks_no_more(shown: Map) -> None:
    shown.hear(watch="a", whole=True)
    until(lambda: bool(shown.states))
    shown.close()
    assert not looking()
    shown.hear(watch="a", whole=True)
    assert not looking()


def test_a_look_that_fails_does_not_end_it_for_good(
    shown: Map, monkeypatch: pytest.MonkeyPatch, still: Callable[[Snapshot], None]
) -> None:
    failed = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: failed.set())

    def fail(_: object) -> None:
        raise OSError

    monkeypatch.setattr(namespace_map, "snapshot", fail)
    shown.hear(watch="a", whole=True)
    assert failed.wait(PATIENCE)
    still(snapshot())
    until(lambda: not looking())
    shown.hear(watch="a", whole=True)
    until(lambda: bool(shown.states))


def test_the_kernel_ends_at_once() -> None:
    script = """
from labkit.notebook import ns_map
shown = ns_map()
shown._hear(shown, {"watch": "a", "whole": True}, [])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- The static form ----------------------------------------------------------------------------


@pytest.fixture
def one_engine() -> None:
    """The engines that other tests have had are gone: the next container starts one."""
    connection.close()


@pytest.mark.usefixtures("one_engine")
def test_the_static_form_tells_who_shares_what() -> None:
    box = Container(("sleep", "1000"), cloneflags=CLONE_NEWPID | CLONE_NEWNS)
    with start(box), start(SLEEPER), start(SLEEPER):
        shown = Map().static()
    head, *lines = str(shown).splitlines()
    assert head == "谁和谁同在一个命名空间里 / who shares a namespace with whom"
    ours = "笔记本进程 notebook's process, 引擎 engine"
    apart = {"mnt": " | sleep", "pid": " | sleep"} | dict.fromkeys(
        ("net", "uts"), " | sleep | sleep"
    )
    together = {"mnt": 2, "pid": 2, "net": 1, "uts": 1}
    for kind, line in zip(KINDS, lines, strict=True):
        sleepers = ", sleep" * together.get(kind.name, 3)
        assert line == f"{kind.name:<6}  {ours}{sleepers}{apart.get(kind.name, '')}"


@pytest.mark.usefixtures("one_engine")
def test_the_static_form_as_html_says_the_same() -> None:
    with start(replace(SLEEPER, argv=("sleep", "1000"))):
        shown = own_namespaces(snapshot())
    page = Page(shown._repr_html_())
    assert {each.lang for each in page.found if each.text == "engine"} == {"en"}
    rows = re.findall(r"<tr><th[^>]*><code>(\w+)</code></th>(.*?)</tr>", shown._repr_html_())
    assert [kind for kind, _ in rows] == [kind.name for kind in KINDS]
    for kind, cells in rows:
        here, elsewhere = (Page(cell).text() for cell in re.findall(r"<td[^>]*>(.*?)</td>", cells))
        assert here == "笔记本进程 notebook's process, 引擎 engine" + (
            "" if kind in {"net", "uts"} else ", sleep"
        )
        assert elsewhere == ("sleep" if kind in {"net", "uts"} else "—")


def test_the_static_form_has_no_number_and_nobody_elses_process() -> None:
    with subprocess.Popen(["sleep", "1000"]) as other:
        shown = own_namespaces(snapshot())
        other.kill()
    assert not re.search(r"\d", str(shown) + re.sub(r"<[^>]*>", "", shown._repr_html_()))
    assert "sleep" not in str(shown)


def test_a_cell_gets_it_without_the_others_paying() -> None:
    script = "import sys, labkit.notebook; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert not {"ipywidgets", "anywidget"} & set(done.stdout.split())
