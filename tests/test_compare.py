"""scripts/runtimes/compare.py: what it says where no engine runs a container."""

import subprocess
import sys

from conftest import ROOT


def test_an_engine_that_runs_nothing_is_no_agreement() -> None:
    """Both runtimes then give the same answer to each case."""
    program = str(ROOT / "scripts/runtimes/compare.py")
    words = [sys.executable, program, "docker", "false", "--only", "user"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("no container runs here with runc: 1 ''")
