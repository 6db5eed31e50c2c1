"""What make lab and make reset do to the lessons.

``python -m labkit.notebook.home`` makes and renews the copies, and prints the folder that the lab
is to show. ``python -m labkit.notebook.home reset v0.3`` brings a lesson back.
"""

import sys
from pathlib import Path

from labkit.notebook.home.copies import FOLDER, PROJECT, Copies, lab_root, link_beside
from labkit.text.words import Words, one_line

_NEWER = Words(
    "{lesson} 有了新的一版；你改过的那份没有动。想换成新的：make reset LESSON={lesson}",
    "there is a newer {lesson}; the one that you have changed was left alone. To take the newer "
    "one: make reset LESSON={lesson}",
)
_RESET = Words(
    "{lesson} 换回了原样；做对的练习都还记着",
    "{lesson} is as it was; what you have solved is remembered",
)
_KEPT = Words("你改过的那份存在 {path}", "the one that you had changed is kept as {path}")
_USAGE = Words("用法：make reset LESSON=v0.3", "usage: make reset LESSON=v0.3")


def main(words: list[str]) -> int:
    """Prepare the lessons and print the lab's folder, or bring one lesson back."""
    try:
        return _main(words)
    except (OSError, ValueError) as error:
        about = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        print(f"labkit: {about}{one_line(error)}", file=sys.stderr)
        return 1


def _main(words: list[str]) -> int:
    root = lab_root()
    copies = Copies(PROJECT / "notebooks", root / FOLDER)
    match words:
        case []:
            newer = copies.update()
            link_beside(root)
            print(root)
            for name in newer:
                print(_NEWER.filled(lesson=_lesson(name)), file=sys.stderr)
        case ["reset", lesson]:
            if not copies.folder.exists():  # root's, then: make lab was not run by this user
                copies = Copies(copies.originals, PROJECT / FOLDER)
            name = copies.file_of(lesson)
            kept = copies.reset(name)
            print(_RESET.filled(lesson=_lesson(name)))
            if kept:
                print(_KEPT.filled(path=Path(copies.folder, kept)))
        case _:
            raise ValueError(_USAGE)
    return 0


def _lesson(name: str) -> str:
    return name.partition("_")[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
