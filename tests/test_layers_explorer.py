"""layers(): which layer has what, and who provides it, as a real overlay shows it."""

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import until

from labkit import CLONE_NEWNS, Container, run
from labkit.container.root import Root
from labkit.notebook.widgets import layers_explorer, watch
from labkit.notebook.widgets.layers_explorer import LayersExplorer, layers, rows
from labkit.text.words import Words


class Explorer(LayersExplorer):
    """One without a page: what it tells is collected."""

    def __init__(self, *places: str) -> None:
        self.told: list[dict[str, Any]] = []
        super().__init__(places, [Words(f"第 {n}", f"layer {n}") for n in range(len(places))])

    def send(self, content: dict[str, Any], buffers: object = None) -> None:
        assert buffers is None
        self.told.append(content)

    def hear(self, **content: object) -> None:
        self._hear(self, content, [])

    def rows(self) -> dict[str, list[Any]]:
        return {row[0]: row[1:] for row in self.told[-1]["rows"]} if self.told else {}


@pytest.fixture
def union(tmp_path: Path) -> tuple[Container, list[str]]:
    """A container over two layers, and its directories, the upper one first."""
    files = {
        "base/etc/motd": "b",
        "base/etc/issue": "b",
        "base/srv/old/a": "a",
        "top/etc/motd": "t",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in ("upper", "work", "base/bin"):
        (tmp_path / name).mkdir()
    shutil.copy(shutil.which("busybox") or "", tmp_path / "base/bin")
    for name in ("sh", "rm", "mkdir"):
        (tmp_path / "base/bin" / name).symlink_to("busybox")
    upper, work, top, base = (str(tmp_path / name) for name in ("upper", "work", "top", "base"))
    root = Root(layers=(top, base), upper=upper, work=work, bare=True)
    return Container(("true",), cloneflags=CLONE_NEWNS, root=root), [upper, top, base]


def do(box: Container, script: str) -> str:
    argv = ("/bin/sh", "-c", script)
    return run(Container(argv, cloneflags=box.cloneflags, root=box.root)).stdout


CHANGES = """
rm /etc/issue
rm -r /srv/old && mkdir /srv/old && echo c > /srv/old/c
echo new > /etc/new
"""


def test_each_layer_has_what_it_has_and_one_provides(union: tuple[Container, list[str]]) -> None:
    box, places = union
    do(box, CHANGES)
    found = {row.path: (row.marks, row.provider) for row in rows(places)}
    assert found["etc/motd"] == (("", "file", "file"), 1)
    assert found["etc/issue"] == (("whiteout", "", "file"), -1)
    assert found["srv/old"] == (("opaque", "", "directory"), 0)
    assert found["srv/old/a"] == (("", "", "file"), -1)
    assert found["srv/old/c"] == (("file", "", ""), 0)
    assert found["etc/new"] == (("file", "", ""), 0)
    assert found["bin/busybox"] == (("", "", "file"), 2)
    assert found["etc"] == (("directory", "directory", "directory"), 0)


def test_the_union_is_what_the_kernel_shows(union: tuple[Container, list[str]]) -> None:
    box, places = union
    do(box, CHANGES)
    seen = do(box, "cd /; for f in etc/* srv/* srv/old/*; do echo $f; done").split()
    mine = [r.path for r in rows(places) if r.provider >= 0 and r.path.startswith(("etc/", "srv/"))]
    assert sorted(seen) == sorted(mine)


def test_a_large_layer_is_looked_at_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers_explorer, "MOST", 3)
    for number in range(9):
        (tmp_path / str(number)).touch()
    assert [row.path for row in rows([str(tmp_path)])] == ["0", "1", "2"]


def test_the_static_form_says_the_same_twice(union: tuple[Container, list[str]]) -> None:
    box, _ = union
    do(box, CHANGES)
    shown = layers(box, "top", "base").static()
    text = str(shown)
    assert "遮盖 / whiteout" in text
    assert "下层 base / lower: base" in text
    page = shown._repr_html_()
    assert page.count("<tr>") == len(text.splitlines())
    assert "<code>/etc/issue</code>" in page
    assert '<b><span lang="zh-Hans">' in page


def test_layers_without_a_name_are_numbered(union: tuple[Container, list[str]]) -> None:
    box, _ = union
    assert box.root
    head = str(layers(box.root).static()).splitlines()[0]
    assert "lower 1" in head
    assert "lower 2" in head


def test_layers_can_be_left_out(union: tuple[Container, list[str]]) -> None:
    box, _ = union
    text = str(layers(box, "top").static())
    assert "lower: top" in text
    assert "busybox" not in text


@pytest.mark.parametrize("root", [None, Root("/usr"), Root(layers=("/usr",))])
def test_without_layers_it_says_what_is_missing(root: Root | None) -> None:
    box = Container(("true",), cloneflags=CLONE_NEWNS, root=root)
    with pytest.raises(ValueError, match=r"takes a Root with layers and upper"):
        layers(box)


def test_it_tells_what_changes_and_rests_when_nobody_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PERIOD", 0.02)
    upper, base = tmp_path / "upper", tmp_path / "base"
    for place in (upper, base):
        place.mkdir()
    (base / "file").touch()
    shown = Explorer(str(upper), str(base))
    shown.hear(watch="a", whole=True)
    until(lambda: "file" in shown.rows())
    (upper / "file").touch()
    until(lambda: shown.rows()["file"] == [("file", "file"), 0])
    assert len(shown.told) == 2  # once for each state, however often it looked
    shown.hear(leave="a")
    until(lambda: "labkit-watch" not in {each.name for each in threading.enumerate()})
    shown.close()


def test_a_directory_that_goes_is_no_error(tmp_path: Path) -> None:
    shown = Explorer(str(tmp_path / "gone"))
    shown._look()
    assert shown.told == []
    shown.close()
