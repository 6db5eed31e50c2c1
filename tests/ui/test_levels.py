"""A lesson in JupyterLab whose kernel may do little: labels, and what they stand beside."""

import nbformat
from playwright.sync_api import expect
from test_levels import LITTLE

from ui.lab import Lab
from ui.notebook import Watched


def test_a_lesson_says_how_each_cell_was_done(lab: Lab, watched: Watched) -> None:
    """V0.2 by a kernel of root's that has no capability but the one that maps itself."""
    watched.offer("little", *LITTLE)
    cells = nbformat.read(lab.root / "v0.2_uts.ipynb", as_version=4).cells
    lesson = watched.make("little", cells, "little")
    lesson.run_all()
    assert lesson.errors() == []
    names = [cell["id"] for cell in lesson.cells()]
    for name, level in {
        "same-name": "real",
        "kinds": "rootless",
        "diff": "rootless",
        "eperm": "recorded",
    }.items():
        badge = lesson.output(names.index(name)).locator("strong").filter(has_text=level)
        expect(badge).to_have_count(1)
    # What the first way had shown is gone: the table of the eight kinds stands there once.
    table = lesson.output(names.index("kinds")).locator("pre").filter(has_text="since")
    expect(table).to_have_count(1)
    expect(lesson.output(names.index("eperm"))).to_contain_text("Operation not permitted")
    assert lesson.violations_in_both_themes() == []
    lesson.close()
