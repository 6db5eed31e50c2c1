"""A term in a lesson says what it means: to the pointer, and to the keyboard."""

import nbformat
import terms
from playwright.sync_api import expect

from ui.conftest import MakeNotebook

SWITCH = "from labkit.notebook import language\nlanguage()"


def test_a_term_says_what_it_means_on_hover_and_focus(notebook: MakeNotebook) -> None:
    text = terms.Marker().mark("A new namespace is not empty.", "en")
    meaning = "one instance of a global kernel resource; the processes in it see only this one"
    book = notebook(nbformat.v4.new_markdown_cell(text), SWITCH)
    term = book.panel.locator("a.labkit-term")
    expect(term).to_have_text("namespace")
    expect(term).to_have_attribute("title", meaning)  # what a browser shows on hover
    shown = "e => getComputedStyle(e, '::after').content"
    book.run(1)
    assert term.evaluate(shown) == "none"
    assert term.evaluate("e => e.tabIndex") == 0
    term.focus()
    expect(term).to_be_focused()
    assert term.evaluate(shown) == f'"{meaning}"'
    assert book.violations(".jp-MarkdownOutput") == []
