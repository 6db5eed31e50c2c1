"""The language switch: one language on the whole page, remembered, with or without a kernel."""

import subprocess
import sys
from pathlib import Path

import nbformat
from conftest import ROOT, until
from playwright.sync_api import Locator, expect

from ui.conftest import MakeNotebook
from ui.notebook import Notebook, Watched

TRANSLATION = "@jupyterlab/translation-extension/plugin"
SWITCH = "from labkit.notebook import language\nlanguage()"
PROSE = nbformat.v4.new_markdown_cell(
    '# 标题 · Title\n\n<div lang="zh-Hans">\n\n只有中文\n\n</div>\n\n'
    '<div lang="en">\n\nonly English\n\n</div>'
)
LATER = (
    "from IPython.display import HTML\n"
    'HTML(\'<span lang="zh-Hans">后来</span> <span lang="en">later</span>\')'
)
SPOKEN = "from labkit.text.words import Words\nprint(Words('中文', 'English'))"


def choice(book: Notebook, name: str) -> Locator:
    return book.panel.get_by_role("radio", name=name)


# Of each language, whether its parts on the page are visible: one answer if all are alike.
VISIBLE = """panel => Object.fromEntries([["zh", "zh-Hans"], ["en", "en"]].map(([name, lang]) => [
  name, [...new Set([...panel.querySelectorAll(
    `[lang='${lang}']:not(.labkit-language *, .labkit-static *)`)].map(e => e.checkVisibility()))]
]))"""


def speaks(book: Notebook, *languages: str) -> None:
    """Wait until the page speaks these languages: one look at all of it, as it changes."""
    wanted = {name: [name in languages] for name in ("zh", "en")}
    until(lambda: book.panel.evaluate(VISIBLE) == wanted)


def python_says(book: Notebook, index: int, text: str) -> None:
    """Run a cell until it says this. A choice goes to Python by itself: the cell may be earlier."""
    until(lambda: book.run(index).locator("pre").inner_text() == f"{text}\n")


def test_it_hides_the_other_language_also_in_what_comes_later(notebook: MakeNotebook) -> None:
    book = notebook(PROSE, SWITCH, LATER)
    book.run(1)
    expect(choice(book, "English")).to_be_checked()  # as the page around it
    choice(book, "中文").check()
    speaks(book, "zh")
    book.run(2)
    expect(book.output(2)).to_contain_text("后来")
    speaks(book, "zh")
    expect(book.panel.get_by_role("heading")).to_contain_text("标题 · Title")
    choice(book, "双语").check()
    speaks(book, "zh", "en")
    choice(book, "English").check()
    speaks(book, "en")


def test_it_works_by_keyboard_alone(notebook: MakeNotebook) -> None:
    book = notebook(SWITCH, PROSE)
    book.run(0)
    choice(book, "English").focus()
    book.page.keyboard.press("ArrowDown")  # to the next choice, not to the next cell
    expect(choice(book, "双语")).to_be_focused()
    speaks(book, "zh", "en")
    book.page.keyboard.press("ArrowUp")
    book.page.keyboard.press("ArrowUp")
    speaks(book, "zh")
    assert book.violations() == []


def test_python_speaks_what_is_chosen(notebook: MakeNotebook) -> None:
    book = notebook(SWITCH, SPOKEN)
    book.run(0)
    for name, said in (("中文", "中文"), ("双语", "中文 / English"), ("English", "English")):
        choice(book, name).check()
        python_says(book, 1, said)


def test_a_first_run_of_all_cells_speaks_what_the_page_shows(
    notebook: MakeNotebook, watched: Watched
) -> None:
    """The cells are all asked for at once, before the page has drawn the switch."""
    for language in "zh", "en":
        watched.page.evaluate("said => localStorage.setItem('labkit-language', said)", language)
        book = notebook(SWITCH, SPOKEN)
        book.run_all()
        said = {"zh": "中文", "en": "English"}[language]
        expect(book.output(1).locator("pre")).to_have_text(f"{said}\n")


def test_it_is_one_for_all_notebooks_and_outlives_their_kernels(notebook: MakeNotebook) -> None:
    one = notebook(SWITCH, PROSE, SPOKEN)
    one.run(0)
    two = notebook(SWITCH, PROSE)
    two.run(0)
    choice(two, "中文").check()
    two.restart()
    speaks(two, "zh")
    choice(two, "双语").check()  # its kernel knows nothing of it any more
    speaks(two, "zh", "en")
    choice(two, "中文").check()
    one.activate()
    expect(choice(one, "中文")).to_be_checked()
    speaks(one, "zh")
    python_says(one, 2, "中文")


def test_it_is_remembered(notebook: MakeNotebook, watched: Watched) -> None:
    book = notebook(SWITCH, PROSE)
    book.run(0)
    choice(book, "双语").check()
    book.close()
    watched.load()
    book = notebook(PROSE, SWITCH)
    speaks(book, "zh", "en")
    book.run(1)
    expect(choice(book, "双语")).to_be_checked()


def test_it_follows_a_chinese_jupyterlab(notebook: MakeNotebook, watched: Watched) -> None:
    watched.lab.set(TRANSLATION, locale="zh_CN")
    watched.load()
    expect(watched.page.locator(".lm-MenuBar")).to_contain_text("文件")
    book = notebook(SWITCH, PROSE)
    book.run(0)
    expect(choice(book, "中文")).to_be_checked()
    speaks(book, "zh")
    watched.lab.set(TRANSLATION, locale="en")
    watched.load()


def test_labkit_lang_comes_before_the_page(notebook: MakeNotebook) -> None:
    book = notebook("import os\nos.environ['LABKIT_LANG'] = 'zh'", SWITCH, PROSE)
    book.run_all()
    expect(choice(book, "中文")).to_be_checked()
    choice(book, "English").check()
    book.run(1)
    expect(choice(book, "English")).to_be_checked()  # what is chosen by hand comes first


def test_without_a_kernel_a_line_says_what_to_do(notebook: MakeNotebook) -> None:
    """As a notebook is that was just cloned: JupyterLab does not trust its outputs."""
    file = ROOT / "notebooks" / "v0.1_run.ipynb"
    saved = nbformat.read(file, as_version=4)
    cell = next(cell for cell in saved.cells if cell.id == "language")
    book = notebook(cell)
    expect(book.output(0).get_by_text("运行这个单元格")).to_be_visible()
    expect(book.output(0).get_by_role("radio")).to_have_count(0)
    book.run(0)
    expect(book.output(0).get_by_role("radio")).to_have_count(3)
    expect(book.output(0).get_by_text("运行这个单元格")).to_be_hidden()


def test_an_html_export_has_a_switch_of_its_own(watched: Watched, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--output-dir", str(tmp_path)]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    book = ROOT / "notebooks" / "v0.1_run.ipynb"
    subprocess.run([*command, str(book)], env=env, check=True, capture_output=True)
    browser = watched.page.context.browser
    assert browser
    page = browser.new_page(offline=True)  # the export asks for MathJax
    page.set_content((tmp_path / "v0.1_run.html").read_text(), wait_until="domcontentloaded")
    chinese = page.locator(".jp-MarkdownOutput [lang='zh-Hans']").first
    english = page.locator(".jp-MarkdownOutput [lang='en']").first
    expect(chinese).to_be_visible()
    expect(english).to_be_visible()
    page.get_by_role("radio", name="中文").check()
    expect(chinese).to_be_visible()
    expect(english).to_be_hidden()
    page.get_by_role("radio", name="English").check()
    expect(chinese).to_be_hidden()
    page.close()
