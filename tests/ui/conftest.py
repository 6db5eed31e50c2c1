"""The lab is started once; a test gets its page, or a notebook made of its own cells.

    def test_it(notebook: MakeNotebook) -> None:
        book = notebook("import labkit", "labkit.inodes()")
        book.run_all()
        expect(book.output(1)).to_contain_text("uts")

What went wrong in the page (console, exceptions, requests off the loopback) fails the test.
"""

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT
from nbformat import NotebookNode
from playwright.sync_api import Playwright, expect, sync_playwright
from results import place

from labkit.notebook.home.copies import Copies
from ui.lab import ABSENT, Lab, browser_path, launch
from ui.notebook import SIZE, Notebook, Watched

HERE = Path(__file__).parent
MakeNotebook = Callable[..., Notebook]


def left_out() -> bool:
    """Whether somebody has said, by hand, that there is no browser: never a build server."""
    return os.environ.get("LABKIT_NO_BROWSER") == "1" and os.environ.get("CI") != "true"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is here."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.ui)
            if left_out():
                item.add_marker(pytest.mark.skip(reason="LABKIT_NO_BROWSER=1"))


SHOWN = pytest.StashKey[Watched]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where a test has failed, leave what the page shows beside the test's log."""
    report = yield
    if report.failed and SHOWN in item.session.stash and "shared" in item.fixturenames:  # type: ignore[attr-defined]
        keep(item.session.stash[SHOWN], item.nodeid)
    return report


def keep(watched: Watched, nodeid: str) -> None:
    """A picture of the page, its text, and what it has said on its console."""
    said = "\n".join(watched.said)
    try:
        with soon(30):
            watched.page.screenshot(path=place(nodeid, ".png"))
            said = f"{watched.page.inner_text('body')}\n\n--- console\n{said}"
    except Exception as error:  # noqa: BLE001 - the page may be what has failed
        said = f"no picture: {error!r}\n\n--- console\n{said}"
    place(nodeid, ".page.txt").write_text(said, encoding="utf-8", errors="backslashreplace")


@contextlib.contextmanager
def soon(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in there after so long: a browser that hangs is not asked for ever."""

    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# Of the package, not of the session: Playwright keeps an event loop running, which would be in
# the way of other tests in the same process.
@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab server; its root holds a learner's copies, with what they read beside it."""
    if not browser_path():
        pytest.fail(ABSENT, pytrace=False)
    place = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "go", place / "go")
    shutil.copy(ROOT / "Makefile", place)
    root = place / "notebooks"
    Copies(ROOT / "notebooks", root).update()
    (place / "home").mkdir()
    with Lab(place / "home", root, warm=True) as running:
        yield running


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="package")
def shared(
    lab: Lab,
    playwright: Playwright,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Watched]:
    """The one page: JupyterLab loads in seconds, a notebook in it in less than one."""
    browser = launch(playwright, tmp_path_factory.mktemp("browser"))
    page = browser.new_page(viewport=SIZE)
    page.set_default_timeout(PATIENCE * 1000)
    expect.set_options(timeout=PATIENCE * 1000)  # of its own it waits for 5 seconds
    request.session.stash[SHOWN] = watched = Watched(lab, page)
    yield watched
    del request.session.stash[SHOWN]
    browser.close()


# As if nobody had ever chosen a language in this browser: who comes next sees both.
FORGET = """() => {
  localStorage.removeItem("labkit-language");
  delete document.documentElement.dataset.labkitLanguage;
}"""


@pytest.fixture
def watched(shared: Watched) -> Iterator[Watched]:
    """JupyterLab in the page; problems there fail the test."""
    shared.problems.clear()
    yield shared
    shared.end_kernels()
    shared.page.evaluate(FORGET)
    assert shared.problems == []


@pytest.fixture
def open_notebook(watched: Watched) -> Iterator[Callable[[str], Notebook]]:
    """Opens one of the notebooks by its file's name, and closes it after the test."""
    opened: list[Notebook] = []

    def open_it(path: str) -> Notebook:
        opened.append(watched.open(path))
        return opened[-1]

    yield open_it
    for book in reversed(opened):
        book.close()


@pytest.fixture
def notebook(request: pytest.FixtureRequest, watched: Watched) -> Iterator[MakeNotebook]:
    """Opens a notebook made of the cells it is given, and closes it after the test."""
    opened: list[Notebook] = []

    def make(*cells: str | NotebookNode) -> Notebook:
        name = f"{request.node.originalname}-{len(opened)}"
        opened.append(watched.make(name, cells))
        return opened[-1]

    yield make
    for book in reversed(opened):
        book.close()
