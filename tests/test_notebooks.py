"""The notebooks: built from their sources, in both languages, and true when they are run again."""

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbformat import NotebookNode
from test_host import READ_ONLY

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
SOURCES = sorted((NOTEBOOKS / "source").glob("*.md"))
PARTS = ["问题", "原文", "一个字段", "内核看到了什么", "自己动手", "小结"]
REBUILT = "v0.1_run", "v0.4_pid_proc", "v0.5_user"  # numbers of the machine are in each
MOST_CELLS = 27  # about 20, head and end, a broken one, one's own docker; exercises are apart
ENGLISH_BLOCK = '<div lang="en">\n\nOnly English.\n\n</div>\n'
REASON = re.compile(r"^# .*[\u4e00-\u9fff].* · .*[a-z]", re.MULTILINE)  # # 中文 · English

each_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)


def load_builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build", NOTEBOOKS / "build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = load_builder()


def make(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`make notebooks`, in a process of its own: a kernel's client leaves an event loop behind."""
    command = [sys.executable, NOTEBOOKS / "build.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def saved(source: Path) -> NotebookNode:
    notebook: NotebookNode = nbformat.read(build.notebook_of(source), as_version=4)
    return notebook


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as pip installs it, far from the project: what the wheel holds."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder)
    wheel.unlink()
    return folder


# As `python -m pytest`, but a kernel has files for sockets: another process, which chooses ports at
# random too, may have taken one before the kernel does.
NBVAL = """
import functools, os, sys
import nbval.kernel, pytest
files = {"transport": "ipc", "ip": f"{os.environ['JUPYTER_RUNTIME_DIR']}/{os.getpid()}"}
nbval.kernel.KernelManager = functools.partial(nbval.kernel.KernelManager, **files)
sys.exit(pytest.main(sys.argv[1:]))
"""


def nbval(*notebooks: Path, package: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run notebooks again and compare strictly, as `make test` promises."""
    options = ["--nbval", "--nbval-sanitize-with", str(build.SANITIZE), "--color=no", "-q"]
    alone = ["-p", "no:cacheprovider", "-W", "default", "--rootdir", str(notebooks[0].parent)]
    return subprocess.run(
        [sys.executable, "-c", NBVAL, *options, *alone, "-c", os.devnull, *notebooks],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | ({"PYTHONPATH": str(package)} if package else {}),
    )


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the notebooks, with what their cells read, to alter and rebuild."""
    kept = shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__")
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "go", tmp_path / "go")
    recorded = Path("labkit", "notebook", "levels", "recorded")
    shutil.copytree(ROOT / recorded, tmp_path / recorded)
    return Path(shutil.copytree(NOTEBOOKS, tmp_path / "notebooks", ignore=kept))


def small(tmp_path: Path, text: str) -> Path:
    """A source of a few lines, in a folder of its own."""
    source = tmp_path / "source" / "small.md"
    source.parent.mkdir()
    source.write_text(text, encoding="utf-8")
    return source


@each_notebook
def test_downloaded_alone_and_run_again_a_notebook_gives_its_saved_outputs(
    source: Path, tmp_path: Path, installed: Path
) -> None:
    """Neither the folder beside it nor a clone of the project is needed: the package is enough."""
    alone = shutil.copy(build.notebook_of(source), tmp_path)
    done = nbval(Path(alone), package=installed)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_changed_saved_output_fails(copied: Path) -> None:
    target = copied / "v0.1_run.ipynb"
    notebook = nbformat.read(target, as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    cells["streams"].outputs[0].text = cells["streams"].outputs[0].text.replace("127", "128")
    nbformat.write(notebook, target)
    done = nbval(target)
    assert done.returncode == 1
    assert "Cell outputs differ" in done.stdout
    assert re.search(r"^1 failed, \d+ passed", done.stdout.splitlines()[-1]), done.stdout


def test_who_reads_a_notebook_builds_no_parsers() -> None:
    """Nor does JupyterLab at its start: they would take two seconds (pyproject.toml)."""
    assert "jsonschema" in sys.modules
    assert "rfc3987_syntax" not in sys.modules


@each_notebook
def test_a_notebook_is_what_its_source_says(source: Path) -> None:
    assert build.check(source) == []


def test_a_rebuild_on_another_machine_changes_no_file(copied: Path) -> None:
    """Of three lessons: it runs the cells that nbval runs in each lesson, only to save them."""
    sources = [copied / "source" / f"{name}.md" for name in REBUILT]
    before, changed = [], []
    for target in map(build.notebook_of, sources):
        text = target.read_text(encoding="utf-8")
        before.append(re.sub(r"\b402653\d{4}\b", "4026539999", text))
        changed += [target] * (before[-1] != text)
        target.write_text(before[-1], encoding="utf-8")
    assert changed == [build.notebook_of(source) for source in sources]
    done = make(*sources)
    assert done.stdout == "".join(f"{source.stem}: unchanged\n" for source in sources), done.stderr
    assert [build.notebook_of(source).read_text(encoding="utf-8") for source in sources] == before


def test_check_sees_a_recording_of_another_run(copied: Path) -> None:
    source = copied / "source" / "v0.1_run.md"
    assert build.main(["--check", str(source)]) == 0
    recorded = build.recorded_of(source)
    recorded.write_text(recorded.read_text(encoding="utf-8").replace("127", "128"))
    assert build.main(["--check", str(source)]) == 1


@pytest.mark.parametrize("options", [[], ["--check"]])
def test_marks_of_a_conflict_are_refused_in_one_line(
    options: list[str], copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also those in another lesson's recording, which every cell's process reads."""
    source = copied / "source" / "v0.1_run.md"
    before = build.notebook_of(source).read_bytes()
    another = build.recorded_of(copied / "source" / "v0.3_mount_ipc_net.md")
    for file in another, build.notebook_of(source):
        text = file.read_text(encoding="utf-8")
        file.write_text(f"<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> other\n", encoding="utf-8")
        assert build.main([*options, str(source)]) == 1
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith(f"{file.name}: has git conflict markers")
        file.write_text(text, encoding="utf-8")
    assert build.notebook_of(source).read_bytes() == before


def test_check_sees_a_changed_source_and_a_changed_notebook(copied: Path) -> None:
    source = copied / "source" / "v0.1_run.md"
    text = source.read_text(encoding="utf-8")
    source.write_text(text.replace("exit 7", "exit 8"), encoding="utf-8")
    assert build.main(["--check", str(source)]) == 1
    source.write_text(text, encoding="utf-8")
    notebook = saved(source)
    notebook.metadata["widgets"] = {}
    nbformat.write(notebook, build.notebook_of(source))
    assert build.main(["--check", str(source)]) == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('<div lang="zh-Hans">\n\n只有中文。\n\n</div>\n', "followed by its English"),
        (ENGLISH_BLOCK, "followed by its English"),
        ("# Only English\n", "outside"),
        ("两种语言都不在块里。\n", "outside"),
        ('<div lang="zh-Hans">\n没有空行。\n</div>\n\n' + ENGLISH_BLOCK, "outside"),
        ('<div lang="zh-Hans">\n\nNo Chinese.\n\n</div>\n\n' + ENGLISH_BLOCK, "no zh-Hans"),
        ('<div lang="zh-Hans">\n\n断在\n句中。\n\n</div>\n\n' + ENGLISH_BLOCK, "broken after"),
        ('```python name="a"\n1\n```\n\n```python name="a"\n2\n```\n', "two cells are called"),
    ],
)
def test_a_source_is_refused(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(build.RefusedError, match=complaint):
        build.parse(small(tmp_path, text))


def test_of_a_widget_its_static_form_is_saved(tmp_path: Path) -> None:
    text = "```python\nfrom labkit.notebook import ns_map\n\nns_map()\n```\n"
    source = small(tmp_path, text)
    done = make(source)
    assert done.returncode == 0, done.stdout
    (output,) = build.code_cells(saved(source))[0].outputs
    assert set(output.data) == {"text/html", "text/plain"}
    again = nbval(build.notebook_of(source))
    assert again.returncode == 0, again.stdout


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```python\n1 / 0\n```\n", "ZeroDivisionError"),
        ('```python tags=["raises-exception"]\n1 + 0\n```\n', "should have failed and did not"),
    ],
)
def test_a_cell_that_ends_unexpectedly_is_refused(
    text: str, complaint: str, tmp_path: Path
) -> None:
    source = small(tmp_path, text)
    done = make(source)
    assert done.returncode == 1
    assert complaint in done.stdout
    assert not build.notebook_of(source).exists()


def test_a_chinese_paragraph_becomes_one_line() -> None:
    prose = "上一句，\n下一句。\n\n- 一项，\n  接着。\n- 又一项。"
    joined = build.joined(f'<div lang="zh-Hans">\n\n{prose}\n\n</div>\n\n{ENGLISH_BLOCK}')
    assert "\n\n上一句，下一句。\n\n- 一项，接着。\n- 又一项。\n\n</div>" in joined
    assert build.joined(ENGLISH_BLOCK.replace(" ", "\n")) == ENGLISH_BLOCK.replace(" ", "\n")


def test_a_saved_output_goes_when_more_than_the_machine_differs() -> None:
    def notebook(text: str, source: str = "print(it)") -> NotebookNode:
        outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
        cell = nbformat.v4.new_code_cell(source, id="it", outputs=outputs)
        made: NotebookNode = nbformat.v4.new_notebook(cells=[cell])
        return made

    def kept(before: NotebookNode) -> bool:
        new = notebook("uts:[4026531838] PID 123, the same")
        build.keep_outputs(new, before)
        return bool(new.cells[0].outputs == before.cells[0].outputs)

    assert kept(notebook("uts:[4026532999] PID 45678, the same"))
    assert not kept(notebook("uts:[4026532999] PID 45678, another"))
    assert not kept(notebook("ipc:[4026531838] PID 123, the same"))
    assert not kept(notebook("uts:[4026531838] PID 1, the same"))  # PID 1 is a lesson
    assert not kept(notebook("uts:[4026532999] PID 45678, the same", source="print(another)"))


def test_the_width_of_a_column_of_ps_is_the_machines() -> None:
    patterns = build.get_sanitize_patterns(build.SANITIZE.read_text(encoding="utf-8"))
    wide, narrow = "    PID COMMAND\n      1 ps\n", "  PID COMMAND\n    1 ps\n"
    assert build.sanitized(wide, patterns) == build.sanitized(narrow, patterns)
    assert build.sanitized(wide, patterns) != build.sanitized(wide.replace("1", "2"), patterns)


@each_notebook
def test_a_notebook_has_its_six_parts_and_is_short(source: Path) -> None:
    cells = saved(source).cells
    headings = re.findall(r"^## (\S+)", "\n".join(cell.source for cell in cells), re.MULTILINE)
    assert headings == PARTS
    seen = [cell for cell in cells if "jupyter" not in cell.metadata]  # the others are folded
    read = [cell for cell in seen if not cell.id.startswith("exercise-")]
    assert len(read) - 2 <= MOST_CELLS  # without the title and the language switch
    failures = [c for c in build.code_cells(saved(source)) if "raises-exception" in tags(c)]
    assert len(failures) == 1, "one deliberate failure each"


@each_notebook
def test_a_notebook_begins_with_the_language_switch(source: Path) -> None:
    first = build.code_cells(saved(source))[0]
    assert (first.id, first.source) == (
        "language",
        "from labkit.notebook import doctor, language\n\ndisplay(language(), doctor())",
    )


def tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


@each_notebook
def test_a_cell_that_is_not_compared_says_why(source: Path) -> None:
    for cell in build.code_cells(saved(source)):
        ignored = [tag for tag in tags(cell) if tag.startswith("nbval-")]
        assert "NBVAL_" not in cell.source, "a tag, where --check can see it"
        assert not ignored or re.search(
            r"^# .*[\u4e00-\u9fff].* · .*[a-z]", cell.source, re.MULTILINE
        )


@each_notebook
def test_a_saved_output_names_nothing_of_the_machine(source: Path) -> None:
    text = build.notebook_of(source).read_text(encoding="utf-8")
    home = pwd.getpwuid(os.getuid()).pw_dir + "/"
    for private in (str(ROOT), sys.prefix, home, "site-packages"):
        assert private not in text
    assert not re.search(r'"text/.*data:image|application/vnd.jupyter.widget', text)


@each_notebook
def test_no_cell_needs_the_network(source: Path) -> None:
    for cell in build.code_cells(saved(source)):
        assert not re.search(r"https?://|\bpip\b|\bcurl\b|\bwget\b", cell.source)


@each_notebook
def test_a_cell_asks_findmnt_for_raw_columns(source: Path) -> None:
    """Each version pads them otherwise: Debian 12's, Ubuntu 24.04's, Debian 13's."""
    for cell in build.code_cells(saved(source)):
        for options, columns in re.findall(r"\bfindmnt (-\w+) (\S+)", cell.source):
            assert "," not in columns or "r" in options, cell.source


def test_a_cell_makes_no_group_where_cgroups_are_read_only(tmp_path: Path) -> None:
    """In an ordinary Docker container the cell of V0.0 only looks, and says so."""
    cells = {cell.id: cell.source for cell in saved(NOTEBOOKS / "source" / "v0.0_why.md").cells}
    script = tmp_path / "cells.ipy"
    script.write_text(f"{cells['dependencies']}\n{cells['cgroup']}\n", encoding="utf-8")
    done = subprocess.run(
        [*READ_ONLY, sys.executable, "-m", "IPython", "--no-banner", "--quick", script],
        capture_output=True,
        text=True,
        env=os.environ | {"IPYTHONDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No limited group can be made" in done.stdout
    assert Path("/proc/self/cgroup").read_text() in done.stdout


@each_notebook
def test_a_man_page_is_linked_where_a_call_is_first_named(source: Path) -> None:
    """Every call(2) that the prose names is a link to its page, at the first mention at least."""
    prose = "\n".join(cell.source for cell in saved(source).cells if cell.cell_type == "markdown")
    for language in ("zh-Hans", "en"):
        blocks = "\n".join(t for kind, t in build.BLOCK.findall(prose) if kind == language)
        seen: set[str] = set()
        for name in re.finditer(r"(\[)?\b([a-z_]+[0-9]?)\(([1-8])\)(\]\([^\s)]+\))?", blocks):
            opened, page, section, link = name.groups()
            if page not in seen:
                seen.add(page)
                file = {"clone3": "clone"}.get(page, page)  # one page for the two
                wanted = f"](https://man7.org/linux/man-pages/man{section}/{file}.{section}.html)"
                assert opened == "[", name.group()
                assert link == wanted, name.group()
