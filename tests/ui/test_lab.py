"""The notebooks in a real browser: every cell runs, nothing fails, everybody can use the page."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT, until
from playwright.sync_api import expect

from ui.axe import violations
from ui.conftest import MakeNotebook
from ui.notebook import Notebook, Watched

NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_cell_runs_and_everybody_can_use_it(
    name: str, open_notebook: Callable[[str], Notebook]
) -> None:
    """A learner's copy, as the home page leads to it; who has only looked has nothing to save."""
    book = open_notebook(name)
    assert not book.is_unsaved()
    book.run_all()
    assert book.errors() == []
    code = [cell for cell in book.cells() if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert book.violations_in_both_themes() == []


def test_a_failure_is_seen(notebook: MakeNotebook) -> None:
    expected = nbformat.v4.new_code_cell("1 / 0", metadata={"tags": ["raises-exception"]})
    book = notebook("1 + 1", expected, "int('x')", "2 + 2")
    book.run_all()
    assert book.errors() == ["ValueError: invalid literal for int() with base 10: 'x'"]
    # At an error the kernel drops what has reached it. Whether the last had is no matter of ours.
    assert [cell["execution_count"] for cell in book.cells()[:3]] == [1, 2, 3]


def test_problems_in_the_page_are_seen(notebook: MakeNotebook, watched: Watched) -> None:
    book = notebook(
        "from IPython.display import Javascript as JS\n"
        'JS(\'console.error("told"); setTimeout(() => {throw new Error("thrown")}, 0);'
        'fetch("http://192.0.2.1/").catch(() => null)\')'
    )
    book.run(0)
    wanted = {"console: told", "uncaught: thrown", "off the loopback: http://192.0.2.1/"}
    wanted |= {"console: Failed to load resource"}  # which comes later than the request

    def seen() -> bool:
        watched.page.wait_for_timeout(10)  # what the page says is heard meanwhile
        found = {w for w in wanted for problem in watched.problems if problem.startswith(w)}
        return found == wanted

    until(seen)
    watched.problems.clear()


def test_axe_sees_what_cannot_be_read(notebook: MakeNotebook) -> None:
    """Below the window's edge, where the browser does not paint, and in each theme."""
    style = "color:#999;background-color:#aaa"
    book = notebook(
        "print('line\\n' * 100)",
        f"from IPython.display import HTML\nHTML('<p style=\"{style}\">hard to read</p>')",
    )
    book.run_all()
    expect(book.output(1)).to_contain_text("hard to read")
    found = book.violations_in_both_themes()
    assert [("dark" in each[:4], "color-contrast" in each) for each in found] == [
        (True, True),
        (False, True),
    ]


GROUNDS = """
<p style="color:#555;background:#fff">good</p>
<div style="background:#777"><p style="color:#555;margin:0">bad by what it is in</p></div>
<div style="position:relative;background:#fff;height:3em;color:#555">
  <div style="position:absolute;background:#777;width:100%;height:3em"></div>
  <p style="position:absolute">bad by what is below it</p>
</div>
<p style="color:#555;background:#fff">good</p>
"""


def test_the_same_words_are_judged_again_on_other_grounds(notebook: MakeNotebook) -> None:
    """And what is bad is bad the second time too."""
    book = notebook(f"from IPython.display import HTML\nHTML({GROUNDS!r})")
    book.run(0)
    for _ in range(2):
        found = book.violations()
        assert ["good" in each or "color-contrast" not in each for each in found] == [False] * 2
        assert ["what it is in" in found[0], "what is below it" in found[1]] == [True, True]


def test_axe_sees_what_only_a_whole_page_can_lack(watched: Watched) -> None:
    page = watched.page
    language = page.evaluate("() => document.documentElement.lang")
    page.evaluate("() => document.documentElement.removeAttribute('lang')")
    try:
        found = violations(page, runOnly=["html-has-lang"])
    finally:
        page.evaluate("lang => document.documentElement.lang = lang", language)
    assert [each.partition(":")[0] for each in found] == ["html-has-lang"]


def test_what_the_page_never_does_ends_with_the_log_of_the_lab(watched: Watched) -> None:
    with pytest.raises(AssertionError, match=r"(?s)nothing after 0.1 seconds.*ServerApp"):
        watched.promised("() => new Promise(() => {})", seconds=0.1)


FAILS = """
def test_it(notebook):
    book = notebook("print('on', 'the page')")
    book.run(0)
    book.page.evaluate("console.log('said' + ' there')")
    assert False
"""


def test_a_failure_leaves_what_the_page_shows(tmp_path: Path) -> None:
    (tmp_path / "test_sample.py").write_text(FAILS)
    kept = tmp_path / "kept"
    env = os.environ | {"LABKIT_TEST_RESULTS": str(kept), "PYTHONPATH": str(ROOT / "tests")}
    plugins = ["-p", "results", "-p", "ui.conftest", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *plugins, "-c", os.devnull, "--rootdir"]
    done = subprocess.run(
        [*command, str(tmp_path), str(tmp_path)], cwd=tmp_path, env=env, stdout=subprocess.PIPE
    )
    name = "test_sample.py-test_it"
    files = [f"{name}{suffix}" for suffix in (".log", ".page.txt", ".png")]
    assert sorted(file.name for file in kept.iterdir()) == files
    assert all(f"    kept/{file}\n".encode() in done.stdout for file in files)
    assert (kept / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    text = (kept / f"{name}.page.txt").read_text()
    assert "on the page" in text
    assert "log: said there" in text


def test_without_a_browser_the_tests_fail_unless_somebody_says_so(tmp_path: Path) -> None:
    def outcome(**more: str) -> str:
        test = [__file__, "-k", "a_failure_is_seen", "-q", "-p", "no:cacheprovider"]
        env = {k: v for k, v in os.environ.items() if k not in {"CI", "LABKIT_NO_BROWSER"}}
        env |= {"LABKIT_BROWSER": "/nowhere/chrome", "LABKIT_TEST_RESULTS": str(tmp_path)} | more
        command = [sys.executable, "-m", "pytest", *test]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
        return done.stdout

    assert "no browser / 没有浏览器: make test installs" in outcome()
    assert "1 skipped" in outcome(LABKIT_NO_BROWSER="1")
    assert "1 error" in outcome(LABKIT_NO_BROWSER="1", CI="true")
