"""How a command starts: without the work of `site`, and with all its modules from one file."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

SCRIPT = Path(sys.executable).with_name("labkit")

# --- All modules in one file --------------------------------------------------------------------

# A command, and then which modules of ours came from elsewhere.
PROGRAM = """
import sys
from labkit.__main__ import main
sys.argv = ["labkit", "unshare", "-V"]
assert main() == 0
from labkit.python import bundle
ours = {name for name in sys.modules if name.startswith("labkit")}
print(len(ours), *(n for n in ours if type(sys.modules[n].__spec__.loader) is not bundle._Loader))
"""
# Some are imported before the file can be asked, and some only by who asks for the version.
BEFORE = {f"labkit{of}" for of in ("", ".__main__", ".python", ".python.bundle", ".python.site")}
BEFORE |= {"labkit.unshare.usage", "labkit.text.tables"}


class Copy:
    """A copy of the package, with nothing compiled in it yet."""

    def __init__(self, place: Path) -> None:
        left_out = shutil.ignore_patterns("__pycache__", "notebook")
        self.package = Path(shutil.copytree(ROOT / "labkit", place / "labkit", ignore=left_out))

    def run(self, program: str = PROGRAM, **more: str) -> list[str]:
        """The lines that a program prints which imports this copy."""
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=self.package.parent,
            env={**os.environ, **more},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    def elsewhere(self, **more: str) -> set[str]:
        """Run the command; the modules that did not come from the file."""
        number, *names = self.run(**more)[-1].split()
        assert int(number) > 12
        return set(names)

    def files(self) -> list[Path]:
        """The file with all modules of the command, and whatever is called like it."""
        return [*(self.package / "python" / "__pycache__").glob("unshare.*")]


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_a_command_leaves_its_modules_for_the_next(copy: Copy) -> None:
    assert copy.elsewhere() > BEFORE
    (file,) = copy.files()
    written = file.stat()
    assert copy.elsewhere() == BEFORE
    assert (file.stat().st_ino, copy.files()) == (written.st_ino, [file])  # there was nothing new


def test_a_source_that_changes_is_compiled_again(copy: Copy) -> None:
    for _ in range(2):
        copy.run()
    words = copy.package / "text" / "words.py"
    words.write_text(words.read_text() + "\nprint('another one')\n")
    for _ in range(2):
        assert "another one" in copy.run()
        assert copy.elsewhere() == BEFORE | {"labkit.text.words"}
    words.unlink()  # and one that is gone is nowhere
    asked = "print(bundle._Finder.find_spec('labkit.text.words', None))"
    assert copy.run(f"from labkit.python import bundle; bundle.use('unshare'); {asked}") == ["None"]


def test_who_looks_for_many_again_leaves_them_too(copy: Copy) -> None:
    copy.run()
    for path in (copy.package / "linux").glob("*.py"):
        os.utime(path, (1, 1))
    assert len(copy.elsewhere()) > len(BEFORE) + 9
    assert copy.elsewhere() == BEFORE


@pytest.mark.parametrize("content", [b"", b"\xff" * 99, b"N"], ids=["none", "noise", "nothing"])
def test_a_file_that_makes_no_sense_is_written_again(copy: Copy, content: bytes) -> None:
    copy.run()
    (file,) = copy.files()
    file.write_bytes(content)
    assert copy.elsewhere() > BEFORE
    assert copy.elsewhere() == BEFORE


def test_half_a_file_is_none(copy: Copy) -> None:
    copy.run()
    (file,) = copy.files()
    os.truncate(file, file.stat().st_size // 2)
    assert copy.elsewhere() > BEFORE
    assert copy.elsewhere() == BEFORE


def test_a_copy_does_not_take_the_modules_of_the_first(copy: Copy, tmp_path: Path) -> None:
    copy.run()
    other = Copy(tmp_path / "other")
    shutil.copytree(copy.package, other.package, dirs_exist_ok=True)
    assert other.elsewhere() > BEFORE
    assert other.elsewhere() == BEFORE


def test_who_wants_nothing_compiled_is_left_nothing(copy: Copy) -> None:
    assert copy.elsewhere(PYTHONDONTWRITEBYTECODE="1") > BEFORE
    assert copy.files() == []
    copy.run()
    assert copy.elsewhere(PYTHONDONTWRITEBYTECODE="1") == BEFORE


def test_where_there_is_no_room_nothing_stays(copy: Copy) -> None:
    """Half a file would be left by a limit for the size of files: setrlimit(2)."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (99_999, 99_999))\n"
    assert copy.run(limit + PROGRAM)[-1]
    assert copy.files() == []


# --- Without the work of site -------------------------------------------------------------------


def starts(*words: str | Path, **more: str) -> str:
    """What a command prints that starts at once."""
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **more})
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


WHO = ("unshare", "--fork", "sh", "-c", "tr '\\0' ' ' </proc/$PPID/cmdline")


def test_the_command_is_the_python_beside_it(tmp_path: Path) -> None:
    beside = f"{SCRIPT.parent}/python3 -S "
    assert starts(SCRIPT, *WHO).startswith(f"{beside}{SCRIPT} unshare")
    link = tmp_path / "labkit"
    link.symlink_to(SCRIPT)
    assert starts(link, *WHO).startswith(f"{beside}{link} unshare")
    path = f"{SCRIPT.parent}:{os.environ['PATH']}"
    assert starts("sh", "-c", "exec labkit unshare -V", PATH=path).startswith("labkit unshare")


def test_where_there_is_none_it_is_the_first_python3(tmp_path: Path) -> None:
    alone = shutil.copy(SCRIPT, tmp_path / "labkit")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tmp_path / "bin" / "python3").chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    assert f" -S {alone} unshare" in starts(alone, *WHO, PATH=path)


def test_site_is_left_alone_until_a_module_is_nowhere() -> None:
    begin = (
        f"import sys; sys.path.append({str(ROOT)!r}); from labkit.python import site; site.later()"
    )
    begin += "; site.later()"
    asked = "print('site' in sys.modules); import click; print('site' in sys.modules)"
    said = starts(sys.executable, "-S", "-c", f"{begin}; import subprocess; {asked}")
    assert said.split() == ["False", "True"]
    for name in "nowhere", "labkit.nowhere":
        done = subprocess.run(
            [sys.executable, "-S", "-c", f"{begin}; import {name}"], capture_output=True, text=True
        )
        assert done.stderr.splitlines()[-1] == f"ModuleNotFoundError: No module named {name!r}"


def test_a_package_that_is_installed_elsewhere_is_found(tmp_path: Path) -> None:
    """As where Debian's Python keeps its own, whose folder is called dist-packages."""
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (home / "bin" / "python3").chmod(0o755)
    assert starts(shutil.copy(SCRIPT, home / "bin"), "unshare", "-V").startswith("labkit unshare")
