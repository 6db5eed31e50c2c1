"""A run that fails says last what failed and where its log is, whatever the test's end was."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
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
    return {name.partition("::")[2]: (folder / log).read_text() for name, log in found}


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["one", "two"])
def test_each_failure_has_its_log(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "test_sample.py").write_text(SAMPLE)
    lines, kept = run_sample(tmp_path, *options)
    logs = told(lines, tmp_path)
    assert set(logs) == {"test_wrong[a/b]", "test_hangs", "test_whose_end_fails"}
    assert "said before it failed" in logs["test_wrong[a/b]"]
    assert 'wanted = {"answer": 42}' in logs["test_wrong[a/b]"]  # of the function, each line
    assert "Timeout" in logs["test_hangs"]
    assert "time.sleep(1000)" in logs["test_hangs"]
    assert "LookupError: at the end" in logs["test_whose_end_fails"]
    assert len(list(kept.iterdir())) == 3


def test_a_test_that_takes_its_process_along(tmp_path: Path) -> None:
    (tmp_path / "test_dies.py").write_text(DIES)
    lines, kept = run_sample(tmp_path, "-n", "1")
    assert "crashed while running" in told(lines, tmp_path)["test_dies"]
    assert "1 failed, 1 passed" in lines[-1]
    assert "test_dies" in (kept / "running-gw0").read_text()


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "test_broken.py").write_text("import nothing_of_this_name")
    kept = tmp_path / "kept"
    env = os.environ | {"LABKIT_TEST_RESULTS": str(kept), "PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "-m", "pytest", "-p", "results", "-c", os.devnull, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path)
    assert "kept/test_broken.py.log" in done.stdout
    assert "nothing_of_this_name" in (kept / "test_broken.py.log").read_text()


def test_the_next_run_removes_them(tmp_path: Path) -> None:
    (tmp_path / "test_sample.py").write_text("def test_wrong(): assert 0")
    _, kept = run_sample(tmp_path)
    assert [file.name for file in kept.iterdir()] == ["test_sample.py-test_wrong.log"]
    (tmp_path / "test_sample.py").write_text("def test_another(): assert 0")
    run_sample(tmp_path)
    assert [file.name for file in kept.iterdir()] == ["test_sample.py-test_another.log"]


def test_make_clean_and_git_know_of_them() -> None:
    assert "/.test-results/" in (ROOT / ".gitignore").read_text().splitlines()
    assert " .test-results " in (ROOT / "Makefile").read_text()
