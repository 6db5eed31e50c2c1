"""What a cell shows: compare(), source(), diff()."""

import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from conftest import ROOT
from nbval.plugin import get_sanitize_patterns

import labkit
from labkit import (
    CLONE_NEWIPC,
    CLONE_NEWUTS,
    Clone,
    Container,
    Running,
    compare,
    diff,
    inodes,
    run,
    source,
    start,
    syscalls,
)
from labkit.container import contain

V01 = Container(("hostname",))
V02 = replace(V01, cloneflags=CLONE_NEWUTS, hostname="box")


class Page(HTMLParser):
    """The texts of an HTML fragment, each with the elements around it and their attributes."""

    def __init__(self, fragment: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.found: list[SimpleNamespace] = []
        self.feed(fragment)
        self.close()
        assert self.open == [], "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        attributes: dict[str, str | None] = {}
        for _, added in self.open:
            attributes |= added
        tags = [tag for tag, _ in self.open]
        self.found.append(SimpleNamespace(text=data, tags=tags, **{"style": "", **attributes}))

    def text(self) -> str:
        return "".join(each.text for each in self.found)


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()[3:]]


def sanitized(text: str) -> str:
    for regex, replacement in get_sanitize_patterns((ROOT / "tests/sanitize.cfg").read_text()):
        text = re.sub(regex, replacement, text)
    return text


@pytest.mark.parametrize(
    "mount",
    [
        "/ ext4 /dev/vda[/tmp/labkit-lesson-a1] rw,relatime private",
        "/ tmpfs tmpfs[/labkit-lesson-a1] rw,nosuid,nodev private",  # /tmp as Debian 13 has it
    ],
)
def test_a_lesson_may_lie_on_any_file_system(mount: str) -> None:
    assert sanitized(mount) == "/ <FS>[<TMP>] rw private"


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_compare_says_of_each_kind_whether_it_is_new() -> None:
    with start(Container(("sleep", "1000"), cloneflags=CLONE_NEWUTS | CLONE_NEWIPC)) as box:
        shown = compare("self", box)
        links = {kind: os.readlink(f"/proc/{box.pid}/ns/{kind}") for kind in inodes()}
    table = rows(str(shown))  # it keeps what was true when it was made
    assert [row[0] for row in table] == sorted(links)
    assert [row[1] for row in table if row[5] == "new"] == ["CLONE_NEWIPC", "CLONE_NEWUTS"]
    assert {tuple(row[4:]) for row in table} == {("相同", "same"), ("新的", "new")}
    for kind, _, ours, theirs, *_ in table:
        assert os.readlink(f"/proc/self/ns/{kind}") == f"{kind}:[{ours}]"
        assert links[kind] == f"{kind}:[{theirs}]"
    assert shown.new == CLONE_NEWUTS | CLONE_NEWIPC
    assert repr(shown) == str(shown)


def test_compare_takes_pids_containers_results_and_dicts() -> None:
    done = run(V02)
    with start(Container(("sleep", "1000"))) as box:
        assert isinstance(box, Running)
        assert compare(box).names == ("self", f"sleep, PID {box.pid}")
        assert compare(os.getpid(), box.pid).names == (f"PID {os.getpid()}", f"PID {box.pid}")
        assert compare(os.getpid(), box.pid).new == Clone(0)
    assert compare(done).new == compare(b=done).new == CLONE_NEWUTS
    assert compare(inodes(), done).new == CLONE_NEWUTS
    assert len(set(compare(done, replace(done)).names)) == 2
    assert compare({"uts": 1}, {"uts": 2}).new == CLONE_NEWUTS
    assert "没有 absent" in str(compare({"uts": 1}, {"uts": 2}))
    with pytest.raises(TypeError, match="a PID, a container or a dict"):
        compare(1.5)  # type: ignore[arg-type]
    with pytest.raises(ProcessLookupError):
        compare(2**22 + 1)


def test_the_html_says_the_same_in_words_and_in_colour() -> None:
    shown = compare("self", run(V02))
    page = Page(shown._repr_html_())
    assert [each.text for each in page.found if "caption" in each.tags] != []
    heads = [each for each in page.found if "thead" in each.tags]
    assert {head.scope for head in heads} == {"col"}
    for english in ("same", "new", "kind", "flag"):
        assert {each.lang for each in page.found if each.text == english} == {"en"}
    for chinese in ("相同", "新的"):
        assert {each.lang for each in page.found if each.text == chinese} == {"zh-Hans"}
    (new,) = (each for each in page.found if each.text == "new")
    assert "background-color" in new.style
    assert "strong" in new.tags
    assert all("color" not in each.style for each in page.found if each.text == "same")
    words = re.sub(r"<[^>]+>", " ", re.sub(r".*<tbody>", "", shown._repr_html_())).split()
    assert words == [word for row in rows(str(shown)) for word in row]


def test_names_cannot_bring_html_in() -> None:
    with start(Container(("/bin/../bin/sleep", "1000"))) as box:
        box.box = Container(("<img src=x>",))
        assert "<img" not in compare(box)._repr_html_()
    assert "<b>" not in diff(V01, replace(V01, argv=("<b>",)))._repr_html_()


def test_colours_are_legible_on_any_background() -> None:
    """A colour stands on a background that is set with it: at least 7 to 1, as WCAG's AAA asks."""
    shown = compare(run(V02))._repr_html_() + diff(V01, V02)._repr_html_()
    shown += diff(V02, V01)._repr_html_()
    pairs = re.findall(r'"color:(#\w{6});background-color:(#\w{6})', shown)
    assert len(set(pairs)) == 2
    assert len(re.findall(r"[^-]color:", shown)) == len(pairs)
    for text, ground in pairs:
        assert (luminance(ground) + 0.05) / (luminance(text) + 0.05) >= 7
    live = source(contain.contain)._repr_html_()
    assert set(re.findall(r"color:([^(\"]+)", live)) == {"var"}  # the theme's own


def test_saved_outputs_are_the_same_for_other_pids_and_inodes() -> None:
    """Also the spaces that line up the columns."""

    def saved(shown: object) -> str:
        return sanitized(str(shown)) + sanitized(shown._repr_html_())  # type: ignore[attr-defined]

    outputs = set()
    for _ in range(2):
        with start(Container(("sleep", "1000"), cloneflags=CLONE_NEWUTS)) as box:
            outputs.add(saved(compare(box)) + saved(compare("self", box.pid)))
            shown = compare("self", box)
    assert len(outputs) == 1
    short = replace(shown, names=("self", "sleep, PID 12"))
    assert saved(short) == saved(replace(shown, names=("self", "sleep, PID 4194304")))
    assert sanitized(str(source(contain.contain))).startswith("labkit/container/contain.py:LINE\n")


def test_source_shows_live_code_headed_by_its_place() -> None:
    shown = str(source(contain.contain))
    place, code = shown.split("\n", 1)
    path, line = place.split(":")
    assert path == "labkit/container/contain.py"
    lines = (ROOT / path).read_text().splitlines()[int(line) - 1 :]
    assert code.splitlines() == lines[: len(code.splitlines())]
    assert code.startswith("def contain(")
    assert code.endswith("execute(box)")
    assert Page(source(contain.contain)._repr_html_()).text() == shown


@pytest.mark.parametrize(
    ("thing", "head"),
    [
        (Container, "labkit/container/container.py:"),
        (V01, "labkit/container/container.py:"),
        (syscalls, "labkit/syscalls.py:1\n"),
        (Container.to_json, "labkit/container/container.py:"),
        (subprocess.run, "subprocess.py:"),
        (HTMLParser, "html/parser.py:"),
    ],
)
def test_source_of(thing: object, head: str) -> None:
    assert str(source(thing)).startswith(head)


def test_source_of_a_method_starts_at_the_margin() -> None:
    assert str(source(Container.to_json)).split("\n")[1].startswith("def to_json")


def test_source_is_of_what_a_decorator_holds() -> None:
    """The decorators' own files are others."""

    def held() -> Iterator[int]:
        yield 1

    for decorated in (contextmanager(held), functools.cache(held)):
        shown = str(source(decorated))
        assert shown.startswith("test_show.py:")
        assert "yield 1" in shown


def test_source_that_is_not_there_is_a_clear_error() -> None:
    for thing in (len, 3):
        with pytest.raises(TypeError, match="no Python source"):
            source(thing)


def test_diff_shows_what_a_version_adds() -> None:
    assert str(diff(V01, V02)) == "+ cloneflags=CLONE_NEWUTS\n+ hostname='box'"
    assert str(diff(V02, V01)) == "- cloneflags=CLONE_NEWUTS\n- hostname='box'"
    changed = replace(V02, argv=("true",), env={"A": "1"})
    assert str(diff(V02, changed)) == "- argv=('hostname',)\n+ argv=('true',)\n+ env={'A': '1'}"
    assert str(diff(V01, V01)) == "没有不同 no difference"
    assert Page(diff(V02, changed)._repr_html_()).text() == str(diff(V02, changed))
    tags = {each.text[0]: each.tags[-1] for each in Page(diff(V02, changed)._repr_html_()).found}
    assert tags["+"] == "ins"
    assert tags["-"] == "del"


def test_importing_labkit_does_not_import_what_notebooks_need() -> None:
    heavy = {"IPython", "ipykernel", "ipywidgets", "pyroute2", "pygments"}
    script = "import sys, labkit; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert not heavy & set(done.stdout.split())
    assert "labkit.notebook" not in done.stdout.split()
    with pytest.raises(AttributeError, match="nothing"):
        labkit.nothing  # noqa: B018
    assert {"compare", "source", "diff"} <= set(labkit.__all__)
