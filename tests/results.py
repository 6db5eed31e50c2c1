"""What a failing run leaves: a log for each test that failed, and where to find it, said last.

The log is written by the process in which the test fails, as soon as it does: whatever becomes of
the run afterwards, it is there. A file `running-...` names the test that a process is at, for a
run that was killed and for a test that takes its process along.
"""

import contextlib
import glob
import os
import re
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

# A run that a test starts has a place of its own, or it would remove what the run around it has.
RESULTS = Path(os.environ.get("LABKIT_TEST_RESULTS") or Path(__file__).parents[1] / ".test-results")


def is_worker(config: pytest.Config) -> bool:
    """Whether this process only runs tests for another one, which tells of them."""
    return hasattr(config, "workerinput")


def place(nodeid: str, suffix: str = ".log") -> Path:
    """The file in which something of a test is kept."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w.\[\]-]+", "-", nodeid.removeprefix("tests/"))
    return RESULTS / (name[:150] + suffix)


def pytest_configure(config: pytest.Config) -> None:
    """What the last run left goes, and what comes is kept."""
    if not is_worker(config):
        shutil.rmtree(RESULTS, ignore_errors=True)
        config.pluginmanager.register(Teller(), "labkit-teller")
    config.pluginmanager.register(Keeper(config), "labkit-keeper")


def write(report: pytest.TestReport | pytest.CollectReport, trace: str) -> None:
    """Add to the log of a test: what comes after it may fail as well as itself."""
    parts = [f"=== {report.nodeid}, {getattr(report, 'when', 'collect')}", trace]
    parts += [f"--- {name}\n{text}" for name, text in report.sections]
    with place(report.nodeid).open("a", encoding="utf-8", errors="backslashreplace") as log:
        log.write("\n\n".join(parts) + "\n\n")


class Keeper:
    """In each process that runs tests."""

    def __init__(self, config: pytest.Config) -> None:
        worker = getattr(config, "workerinput", {"workerid": "main"})["workerid"]
        self._running = RESULTS / f"running-{worker}"

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Say which test is running, while it is."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        self._running.write_text(f"{item.nodeid}\n")
        result = yield
        self._running.unlink(missing_ok=True)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Write the log: the whole traceback, and what was printed."""
        report = yield
        if report.failed and call.excinfo:
            write(report, whole(item, call.excinfo))
        return report


def whole(item: pytest.Item, error: pytest.ExceptionInfo[BaseException]) -> str:
    """The traceback in full, whatever style the terminal has."""
    style, item.config.option.tbstyle = item.config.option.tbstyle, "long"
    try:
        return str(item.repr_failure(error))
    finally:
        item.config.option.tbstyle = style


class Teller:
    """In the process that speaks to the user."""

    def __init__(self) -> None:
        self._failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what failed. A test whose process died has nobody else to write its log."""
        if report.failed:
            self._failed.add(report.nodeid)
            if not place(report.nodeid).exists():
                write(report, report.longreprtext)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be read has its log too."""
        if report.failed:
            self._failed.add(report.nodeid)
            write(report, report.longreprtext)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The last lines: which tests failed, and what there is of each."""
        if self._failed:
            terminalreporter.section("what failed, and where its log is / 没有通过的，和它的记录")
        for name in sorted(self._failed):
            terminalreporter.write_line(name, red=True)
            for file in sorted(RESULTS.glob(f"{glob.escape(place(name, '').name)}.*")):
                terminalreporter.write_line(f"    {os.path.relpath(file)}")

    def pytest_unconfigure(self) -> None:
        """A run without a failure leaves nothing."""
        with contextlib.suppress(OSError):
            RESULTS.rmdir()
