"""A run that fails says last what failed and where its log is, whatever the test's end was."""

import os
import re
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

SAMPLE = """
import os, time
import pytest

def test_right():
    pass

@pytest.mark.parametrize("word", ["a/b"])
def test_wrong(word):
    print("said before it failed")
    wanted = {"answer": 42}
    assert {"answer": len(word)} == wanted

@pytest.mark.timeout(2)
def test_hangs():
    time.sleep(1000)

@pytest.fixture
def place():
    yield
    raise LookupError("at the end")

def test_whose_end_fails(place):
    pass
"""
DIES = """
import os

def test_dies():
    os._exit(3)

def test_after_it():
    pass
"""


def run_sample(folder: Path, *options: str) -> tuple[list[str], Path]:
    """The lines that a run of the tests in `folder` prints, and where it keeps its logs."""
    kept = folder / "kept"
    kept.mkdir()
    (kept / "of-the-last-run.log").touch()
    env = {name: word for name, word in os.environ.items() if not name.startswith("PYTEST_")}
    env |= {"LABKIT_TEST_RESULTS": str(kept), "PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "-m", "pytest", "-p", "results", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-c", os.devnull, "--rootdir", str(folder), *options, str(folder)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=env,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout.splitlines(), kept


def told(lines: list[str], folder: Path) -> dict[str, str]:
    """What the last lines say: the name of each test that failed, and the text of its log."""
    (at,) = [at for at, line in enumerate(lines) if "where its log is" in line]
    said = "\n".join(lines[at + 1 :])
    found = re.findall(r"^(\S+)\n    (\S+\.log)$", said, re.MULTILINE)
    return {name.rpartition("::")[2]: (folder / log).read_text() for name, log in found}


def check_sample(logs: dict[str, str]) -> None:
    """The logs of what fails in SAMPLE."""
    assert "said before it failed" in logs["test_wrong[a/b]"]
    assert 'wanted = {"answer": 42}' in logs["test_wrong[a/b]"]  # of the function, each line
    assert "pytest/python.py" not in logs["test_wrong[a/b]"]
    assert "Timeout" in logs["test_hangs"]
    assert "time.sleep(1000)" in logs["test_hangs"]
    assert "LookupError: at the end" in logs["test_whose_end_fails"]


def test_each_failure_has_its_log(tmp_path: Path) -> None:
    (tmp_path / "test_sample.py").write_text(SAMPLE)
    (tmp_path / "test_broken.py").write_text("import nothing_of_this_name")
    lines, kept = run_sample(tmp_path, "--continue-on-collection-errors")
    logs = told(lines, tmp_path)
    check_sample(logs)
    assert "nothing_of_this_name" in logs.pop("test_broken.py")
    assert len(logs) == len(list(kept.iterdir())) - 1 == 3


def test_so_it_has_in_two_processes_also_when_one_dies(tmp_path: Path) -> None:
    (tmp_path / "test_sample.py").write_text(SAMPLE)
    (tmp_path / "test_dies.py").write_text(DIES)
    lines, kept = run_sample(tmp_path, "-n", "2")
    logs = told(lines, tmp_path)
    check_sample(logs)
    assert "crashed while running" in logs["test_dies"]
    assert len(logs) == len(list(kept.glob("*.log"))) == 4
    (running,) = kept.glob("running-*")
    assert "test_dies" in running.read_text()


def test_make_clean_and_git_know_of_them() -> None:
    assert "/.test-results/" in (ROOT / ".gitignore").read_text().splitlines()
    assert " .test-results " in (ROOT / "Makefile").read_text()
