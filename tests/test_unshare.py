"""The lesson on unshare(1) says what it does: strace of the real one shows the same."""

import re
import shlex
import subprocess
from collections.abc import Iterable
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from test_cli import ENV
from test_trace import plain, strace

LESSON = nbformat.read(ROOT / "notebooks" / "v0.2b_unshare.ipynb", as_version=4)


def test_unshare_by_hand_does_what_unshare_does(tmp_path: Path) -> None:
    """The cell of v0.2b that writes unshare(1) once more, beside the real one."""
    (cell,) = [cell for cell in LESSON.cells if cell.id == "by-hand"]
    by_hand = [line[2:] for line in cell.outputs[0].text.splitlines() if line.startswith("⇒ ")]
    command = re.search(r"^# (unshare .*)$", cell.source, re.MULTILINE)
    assert command
    printed, calls = strace(tmp_path, shlex.split(command[1]))
    assert printed == cell.outputs[0].text.splitlines()[-1] + "\n" == "PID 1\n"
    made = [line for process in calls.values() for line in process[:6]]
    # Newer ones ask besides whether the parent has died before prctl(2) could tell of it.
    made = [line for line in made if not line.startswith("pidfd_open(")]
    assert [comparable(line) for line in by_hand] == [comparable(line) for line in made[1:]]


# What the lesson says that each option of unshare(1) asks of the kernel, as strace shows it.
OPTIONS = {
    "--mount": ("", r"unshare\(CLONE_NEWNS\)"),
    "--uts": ("", r"unshare\(CLONE_NEWUTS\)"),
    "--ipc": ("", r"unshare\(CLONE_NEWIPC\)"),
    "--net": ("", r"unshare\(CLONE_NEWNET\)"),
    "--pid": ("", r"unshare\(CLONE_NEWPID\)"),
    "--user": ("", r"unshare\(CLONE_NEWUSER\)"),
    "--cgroup": ("", r"unshare\(CLONE_NEWCGROUP\)"),
    "--fork": ("", r"clone3?\(.*SIGCHLD"),
    "--kill-child": ("", r"prctl\(PR_SET_PDEATHSIG, SIGKILL\)"),
    "--mount-proc": ("", r'mount\("proc", "/proc", "proc"'),
    "--propagation": (" slave --mount", r'mount\("none", "/", NULL, MS_REC\|MS_SLAVE'),
    "--map-root-user": ("", r'openat\(.*"/proc/self/uid_map"(.|\n)*write\(\d+, "0 \d+ 1"'),
    "--setgroups": (" deny --user", r'openat\(.*"/proc/self/setgroups"(.|\n)*write\(\d+, "deny"'),
    "--setuid": (" 65534", r"setuid\(65534\)"),
    "--setgid": (" 65534", r"setgroups\(0, NULL\)(.|\n)*setgid\(65534\)"),
    "--root": ("=/", r'chroot\("/"\)(.|\n)*chdir\("/"\)'),
    "--wd": ("=/usr", r'chdir\("/usr"\)'),
    "--help": ("", r'write\(1, "\\nUsage:'),
    "--version": ("", r'write\(1, "unshare from util-linux'),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_asks_the_kernel_for_what_the_lesson_says(option: str, tmp_path: Path) -> None:
    value, expected = OPTIONS[option]
    log = tmp_path / "strace"
    words = f"strace -f -qq -s 256 -o {log} unshare {option}{value} true".split()
    subprocess.run(words, check=True, stdout=subprocess.PIPE, env=ENV)
    assert re.search(expected, log.read_text())


def test_an_option_with_a_file_binds_the_namespace_to_it(tmp_path: Path) -> None:
    log, file = tmp_path / "strace", tmp_path / "uts"
    file.touch()
    words = f"unshare --mount strace -f -qq -o {log} unshare --uts={file} true".split()
    subprocess.run(words, check=True)
    assert re.search(
        rf'mount\("/proc/\d+/ns/uts", "{file}", NULL, MS_BIND, NULL\)', log.read_text()
    )


def test_the_lesson_has_these_options() -> None:
    """Its tables of four groups; the fifth has those that came later, as its cell has them."""
    prose = [cell.source for cell in LESSON.cells if cell.cell_type == "markdown"]
    (heading,) = [at for at, text in enumerate(prose) if text.startswith("### 后来添的")]
    rows = re.compile(r"^\| (?:\d\.\d+ \| )?(`-.*?) \|", re.MULTILINE)
    named = [re.findall(r"--[a-z-]+", " ".join(rows.findall(text))) for text in prose]
    assert sorted(word for words in named[:heading] for word in words) == sorted(twice(OPTIONS))
    (later,) = [cell.source for cell in LESSON.cells if cell.id == "later"]
    words = re.findall(r'"([a-z-]+)"', later.partition("}\n\n")[0])
    assert sorted(named[heading]) == sorted(twice(f"--{word}" for word in words))


def twice(words: Iterable[str]) -> list[str]:
    """In Chinese and in English."""
    return [word for word in words for _ in range(2)]


def comparable(line: str) -> str:
    """A line without whether clone or clone3 made the child, and without the environment."""
    line = re.sub(r"^clone3?\(.*", "clone", plain(line))
    return re.sub(r", /\* \d+ vars \*/\)", ")", line)
