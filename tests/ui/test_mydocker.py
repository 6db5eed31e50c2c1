"""A learner writes a docker of their own beside a lesson: the link, the editor, the cards."""

from playwright.sync_api import expect

from ui.conftest import MakeNotebook
from ui.notebook import Watched

# Where the lab's tests keep no file, as in the lessons' saved outputs, this one is named.
BEGIN = """
import os
os.environ["LABKIT_MYDOCKER"] = os.path.abspath("mydocker.py")
from labkit.notebook import mydocker
mydocker.begin()
"""
CHECK = 'mydocker.check("v0.2")'
RESET = 'mydocker.reset("v0.1")'


def test_from_the_link_to_the_file_and_back(notebook: MakeNotebook, watched: Watched) -> None:
    """A click opens the file in an editor. What is saved there is what is checked."""
    book = notebook(BEGIN, CHECK)
    book.run_all()
    expect(book.output(1)).to_contain_text("as it was begun")
    book.output(0).get_by_role("link", name="mydocker.py").first.click()  # one in each language
    page = watched.page
    editor = page.locator(".jp-FileEditor .cm-content")
    expect(editor).to_contain_text("begin here")
    page.evaluate(
        "() => { const editor = window.jupyterapp.shell.currentWidget;"
        " editor.context.model.sharedModel.setSource('import os, sys\\nos.execvp(sys.argv[2],"
        " sys.argv[2:])\\n'); return editor.context.save().then(() => { editor.close(); }); }"
    )
    book.activate()
    expect(book.run(1)).to_contain_text("FileNotFoundError")
    expect(book.output(1)).to_contain_text("Not yet")
    (watched.lab.root / "mydocker.py").unlink()


def test_everybody_can_read_the_cards(notebook: MakeNotebook, watched: Watched) -> None:
    book = notebook(BEGIN, CHECK, RESET, CHECK, "mydocker.hint()", "mydocker.diff()")
    book.run_all()
    assert book.errors() == []
    expect(book.output(3)).to_contain_text("Inside and outside are in the same namespace: uts")
    assert book.violations_in_both_themes() == []
    for path in watched.lab.root.glob("mydocker*.py"):
        path.unlink()
