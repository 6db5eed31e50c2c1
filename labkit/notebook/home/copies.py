"""The learner's own copies of the lessons: made, brought up to date, brought back."""

import hashlib
import itertools
import json
import os
import platform
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.text.words import Words

PROJECT = Path(__file__).resolve().parents[3]
FOLDER = "lessons"
# What lessons and home lead to beside that folder, where the lab stands outside of the project.
BESIDE = ("docs", "go", "labkit", "notebooks", "Makefile", "README.md")
_OURS = ".labkit"  # in that folder; hidden, so JupyterLab does not list it
_INDENT = 1  # as nbformat writes a notebook

_NO_LESSON = Words(
    "没有 {name!r} 这一课；有的是 {names}", "there is no lesson {name!r}, only {names}"
)

Notebook = dict[str, Any]  # as the file holds it


def lab_root() -> Path:
    """The folder that the lab shows: LABKIT_LAB, or the project, or one in the user's data."""
    if named := os.environ.get("LABKIT_LAB"):
        return Path(named).absolute()
    own = PROJECT / FOLDER
    if os.access(own if own.exists() else PROJECT, os.W_OK):
        return PROJECT
    data = os.environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(data):  # as the XDG base directory specification has it
        data = os.path.expanduser("~/.local/share")
    return Path(data, "labkit", "lab")


def link_beside(root: Path) -> None:
    """Have in `root` what the lessons' links lead to: ``../docs/terms.md`` is to be there."""
    if root.resolve() == PROJECT:
        return
    for name in BESIDE:
        link, target = root / name, PROJECT / name
        if link.is_symlink() and link.resolve() != target:  # of a clone that was elsewhere
            link.unlink()
        if target.exists() and not link.exists():
            link.symlink_to(target)


@dataclass(frozen=True)
class Copies:
    """originals: the project's notebooks. folder: the learner's."""

    originals: Path
    folder: Path

    def names(self) -> list[str]:
        """The lessons' files."""
        return sorted(path.name for path in self.originals.glob("v*.ipynb"))

    def file_of(self, lesson: str) -> str:
        """The file of a lesson, such as "v0.3" or "V0.2b". Raises ValueError for none."""
        wanted = f"v{lesson.lower().removeprefix('v')}"
        files = {name.partition("_")[0]: name for name in self.names()}
        if wanted not in files:
            raise ValueError(_NO_LESSON.filled(name=lesson, names=", ".join(files)))
        return files[wanted]

    def update(self) -> list[str]:
        """Copy what is missing, renew what nobody has changed; which ones are old all the same."""
        (self.folder / _OURS).mkdir(parents=True, exist_ok=True)
        for name in self.names():
            if not (self.folder / name).exists() or (self.is_old(name) and not self.changed(name)):
                self._bring(name)
            else:
                self._refresh(name)
        return [name for name in self.names() if self.is_old(name)]

    def is_old(self, name: str) -> bool:
        """Whether the project has another lesson by now than the one that was copied."""
        return self._noted().get(name) != _fingerprint(self.originals / name)

    def changed(self, name: str) -> bool:
        """Whether the learner has changed a cell. To have run it is no change."""
        return _fingerprint(self.folder / name) not in (
            self._noted().get(name),
            _fingerprint(self.originals / name),
        )

    def reset(self, name: str) -> str:
        """Put the project's lesson there; where a changed one is kept, below the folder, or ""."""
        (self.folder / _OURS).mkdir(parents=True, exist_ok=True)
        kept = ""
        if (self.folder / name).exists() and self.changed(name):
            kept = self._keep(name)
        self._bring(name)
        return kept

    def _keep(self, name: str) -> str:
        stem, end = os.path.splitext(name)
        numbered = (f"old/{stem}-{number}{end}" for number in itertools.count(1))
        kept = next(each for each in numbered if not (self.folder / each).exists())
        (self.folder / kept).parent.mkdir(exist_ok=True)
        (self.folder / name).rename(self.folder / kept)
        return kept

    def _bring(self, name: str) -> None:
        notebook = _read(self.originals / name)
        notebook["metadata"]["language_info"] = language()
        _write(self.folder / name, notebook)
        noted = self._noted() | {name: _fingerprint(self.originals / name)}
        _write(self.folder / _OURS / "copies.json", noted)

    def _refresh(self, name: str) -> None:
        """After another Python has come, a notebook is to open unchanged again."""
        try:
            notebook = _read(self.folder / name)
            version = notebook["metadata"]["language_info"].get("version")
            if version != platform.python_version():
                notebook["metadata"]["language_info"] = language()
                _write(self.folder / name, notebook)
        except (OSError, ValueError, LookupError, AttributeError, TypeError):
            return  # the learner's file, whatever it is

    def _noted(self) -> dict[str, str]:
        try:
            noted: dict[str, str] = _read(self.folder / _OURS / "copies.json")
        except (OSError, ValueError):
            return {}
        return noted


def language() -> dict[str, Any]:
    """What JupyterLab would write into a notebook that it opens with our kernel."""
    from ipykernel.ipkernel import IPythonKernel

    return dict(IPythonKernel.language_info)


def note_last(path: str) -> None:
    """Remember the lesson at `path` as the last one; nothing where it is no learner's copy."""
    folder, name = os.path.split(path)
    try:
        _write(Path(folder, _OURS, "last.json"), name)
    except OSError:
        return  # none of our folders, or one that cannot be written to


def last(folder: Path) -> str:
    """The file of the lesson that was opened or begun last, or ""."""
    try:
        return str(_read(folder / _OURS / "last.json"))
    except (OSError, ValueError):
        return ""


def _fingerprint(path: Path) -> str:
    """What a notebook's cells say, as a hash; "" for what is no notebook."""
    try:
        cells = _read(path)["cells"]
        said = [[cell["cell_type"], "".join(cell["source"])] for cell in cells]
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _read(path: Path) -> Any:  # noqa: ANN401 - JSON
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, value: object) -> None:
    """Write JSON so that a reader finds the old text or the new one, never half of it."""
    fd, new = tempfile.mkstemp(prefix=".labkit-", dir=path.parent)
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(json.dumps(value, ensure_ascii=False, indent=_INDENT) + "\n")
        os.chmod(new, 0o644)  # mkstemp's is for its owner alone
        os.replace(new, path)
    except BaseException:
        os.unlink(new)
        raise
