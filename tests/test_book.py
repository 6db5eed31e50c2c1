"""The reading edition: all is in it, in both languages, and it needs nothing from elsewhere."""

import json
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import nbformat
import pages
import pytest
import terms
from bs4 import BeautifulSoup, Tag
from conftest import ROOT
from test_notebooks import build

LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
DOCS = sorted((ROOT / "docs").glob("*.md"))
MAKE = ROOT / "scripts" / "book" / "make.py"

each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)


Soups = dict[Path, BeautifulSoup]


def attribute(tag: Tag, name: str) -> str:
    return str(tag.get(name) or "")


def page_of(book: Path, source: Path) -> Path:
    return book / source.parent.name / f"{source.stem}.html"


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


@pytest.fixture(scope="module")
def soups(book: Path) -> Soups:
    """Every page of the site."""
    return {
        file: BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")
        for file in sorted(book.rglob("*.html"))
    }


# --- What is in it ------------------------------------------------------------------------------


def test_every_lesson_and_document_is_there_and_in_the_contents(book: Path, soups: Soups) -> None:
    wanted = {page_of(book, source) for source in (*LESSONS, *DOCS)}
    assert wanted <= set(book.rglob("*.html"))
    links = soups[book / "index.html"].select(".sidebar-tree a")
    listed = [book / attribute(link, "href") for link in links]
    assert set(listed) == wanted
    assert listed[: len(LESSONS)] == [page_of(book, source) for source in LESSONS]


def test_each_page_leads_to_its_neighbours(book: Path, soups: Soups) -> None:
    order = [book / "index.html", *(page_of(book, source) for source in LESSONS)]
    for before, after in pairwise(order):
        (following,) = soups[before].select("a.next-page")
        assert (before.parent / attribute(following, "href")).resolve() == after
        (back,) = soups[after].select("a.prev-page")
        assert (after.parent / attribute(back, "href")).resolve() == before


@each_lesson
def test_a_lesson_shows_its_cells_and_what_they_have_saved(
    book: Path, lesson: Path, soups: Soups
) -> None:
    """What a cell shows as HTML is a widget's static form, or a table, or an exercise's card."""
    text = squeezed(soups[page_of(book, lesson)].get_text())
    for cell in build.code_cells(nbformat.read(lesson, as_version=4)):
        if pages.first(cell):
            continue
        assert squeezed(cell.source) in text
        for output in cell.outputs:
            if markup := pages.html_of(output):
                assert squeezed(BeautifulSoup(markup, "html.parser").get_text()) in text
            elif output.output_type == "stream":
                assert squeezed(output.text) in text


def test_a_cell_shows_no_link_into_a_lab() -> None:
    """A card leads to a file of the learner's: here is none. The lesson's switch goes too."""
    markup = 'See <a href="mine.py" class="x">mine.py</a>, <a href="https://man7.org">man</a>'
    switch = '<div class="labkit-choose">中文</div>'
    shown = [{"output_type": "display_data", "data": {"text/html": m}} for m in (markup, switch)]
    cell: dict[str, Any] = {"metadata": {}, "outputs": shown}
    pages.prepare_code(cell)
    assert cell["metadata"] == {}
    (output,) = cell["outputs"]
    assert pages.html_of(output) == 'See mine.py, <a href="https://man7.org">man</a>'


def test_a_folded_cell_says_what_is_in_it(book: Path, soups: Soups) -> None:
    lesson = next(source for source in LESSONS if source.stem == "v0.1_run")
    cells = build.code_cells(nbformat.read(lesson, as_version=4))
    folded = [cell.source.partition("\n")[0] for cell in cells if "jupyter" in cell.metadata]
    shown = [each.get_text() for each in soups[page_of(book, lesson)].select("p.collapsed")]
    assert [f"# {label}" for label in shown] == folded != []


@each_lesson
def test_a_lesson_has_both_languages(book: Path, lesson: Path, soups: Soups) -> None:
    soup = soups[page_of(book, lesson)]
    notebook = nbformat.read(lesson, as_version=4)
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    blocks = [block for text in prose for block in build.BLOCK.findall(text)]
    for language in ("zh-Hans", "en"):
        shown = soup.select(f"article div[lang={language}]")
        assert len(shown) >= sum(language == each for each, _ in blocks) > 0
        headings = soup.select(f"article :is(h1, h2, h3) > span[lang={language}]")
        assert len(headings) == len(soup.select("article :is(h1, h2, h3)"))


@pytest.mark.parametrize("source", DOCS, ids=lambda path: path.stem)
def test_a_document_loses_nothing(book: Path, source: Path, soups: Soups) -> None:
    """Every word of its prose is on its page, whatever was done to it on the way."""
    text = squeezed(soups[page_of(book, source)].get_text())
    words = pages.FENCE.sub("", pages.COMMENT.sub("", source.read_text()))
    words = re.sub(r"\]\((?:\.\./|https?:)?[\w/#.-]+\)", "]", words)
    missing = {word for word in re.findall(r"[A-Za-z\u4e00-\u9fff]{2,}", words) if word not in text}
    assert missing <= {"Meaning", "意思", "中文", "English"}  # the head of a table of the glossary


def test_the_glossary_has_an_entry_for_each_term(book: Path, soups: Soups) -> None:
    soup = soups[book / "docs" / "terms.html"]
    known = terms.terms()
    assert len(known) >= 50
    assert len({term.anchor for term in known}) == len(known)
    for term in known:
        (entry,) = soup.select(f"#{term.anchor}")
        said = squeezed(entry.get_text())
        for part in (*term.names["zh"], *term.names["en"], *term.meanings.values(), term.avoided):
            assert squeezed(part.replace("`", "")) in said


# --- What it needs ------------------------------------------------------------------------------

LOADED = "link[rel=stylesheet], link[rel~=icon], script[src], img[src], iframe, object, embed"


def test_nothing_comes_from_elsewhere(book: Path, soups: Soups) -> None:
    for file, soup in soups.items():
        for tag in soup.select(LOADED):
            address = attribute(tag, "src") or attribute(tag, "href")
            if tag.name == "img" and address.startswith("data:image/"):
                continue  # a drawing that is in the page itself
            assert not urlsplit(address).scheme, address
            assert (file.parent / urlsplit(unquote(address)).path).is_file(), (file, address)
    for style in book.rglob("*.css"):
        text = re.sub(r"/\*.*?\*/", "", style.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.findall(r"@import|url\((?!['\"]?(?:data:|#))", text), style
    for file in (ROOT / "scripts" / "book" / "static").glob("*.js"):
        assert "://" not in file.read_text(encoding="utf-8")


def test_no_link_is_broken(book: Path, soups: Soups) -> None:
    ids = {
        file: {attribute(tag, "id") for tag in soup.select("[id]")} for file, soup in soups.items()
    }
    broken = []
    for file, soup in soups.items():
        for tag in soup.select("a[href], link[rel=next], link[rel=prev]"):
            address = urlsplit(unquote(attribute(tag, "href")))
            if address.scheme in {"http", "https"}:
                continue
            target = (file.parent / address.path).resolve() if address.path else file
            if not target.is_file() or (address.fragment and address.fragment not in ids[target]):
                broken.append((file.relative_to(book), address.geturl()))
    assert broken == []


def test_what_is_wrong_is_said_and_the_site_is_there(tmp_path: Path) -> None:
    """A link that leads nowhere, a diagram that nobody has drawn."""
    for folder in ("notebooks", "docs"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    documents = {*(tmp_path / "docs").glob("*.md")} - {tmp_path / "docs" / "reach.md"}
    for other in [*sorted((tmp_path / "notebooks").glob("*.ipynb"))[1:], *documents]:
        other.unlink()  # one of each will do
    with (tmp_path / "docs" / "reach.md").open("a") as page:
        page.write("\n[nowhere](nowhere.md)\n\n```mermaid\nflowchart LR\n  a --> b\n```\n")
    script = (
        "import sys, pathlib; here, site, book = sys.argv[1:]; sys.path.insert(0, book)\n"
        "import make, pages; pages.ROOT = pathlib.Path(here)\n"
        "sys.exit(make.build(pathlib.Path(site)))"
    )
    words = [sys.executable, "-c", script, str(tmp_path), str(tmp_path / "site"), str(MAKE.parent)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    assert "nowhere.md" in done.stderr
    assert "make diagrams" in done.stderr
    assert "flowchart LR" in (tmp_path / "site" / "docs" / "reach.html").read_text()


def test_each_diagram_is_drawn_in_both_themes_and_no_other() -> None:
    """make diagrams."""
    texts = [file.read_text() for file in (*build.SOURCES.glob("*.md"), *DOCS)]
    names = {pages.diagram_name(d) for text in texts for d in pages.MERMAID.findall(text)}
    wanted = {f"{name}-{theme}.svg" for name in names for theme in ("light", "dark")}
    assert {file.name for file in pages.DIAGRAMS.iterdir()} == wanted


def test_the_lab_does_without_the_builder() -> None:
    locks = [ROOT / name for name in ("requirements.lock", "requirements-book.lock")]
    lab, book = (
        dict(re.findall(r"^([\w.-]+)(?:\[.*\])?==([\w.+!]+)", file.read_text(), re.MULTILINE))
        for file in locks
    )
    assert not {"sphinx", "myst-nb", "furo"} & set(lab)
    assert {"sphinx", "myst-nb", "furo"} <= set(book)
    assert {name for name in lab.keys() & book.keys() if lab[name] != book[name]} == set()


# --- Search -------------------------------------------------------------------------------------


def test_the_search_knows_every_section_in_both_languages(book: Path) -> None:
    text = (book / "_static" / "search-data.js").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text.removeprefix("labkitFound(").rstrip(");\n"))
    assert {s["url"].partition("#")[0] for s in found} >= {
        f"{source.parent.name}/{source.stem}.html" for source in (*LESSONS, *DOCS)
    }
    assert all(s["title"] and s["page"] for s in found)
    (section,) = (s for s in found if s["url"] == "notebooks/v0.2_uts.html#the-question")
    assert section["title"] == {"zh": "问题", "en": "The question"}
    assert section["page"] == {"": "V0.2", "zh": "第一个命名空间", "en": "The first namespace"}
    assert "主机名" in section["text"]["zh"]
    assert "主机名" not in section["text"]["en"]
    assert "v01 = Container" in section["text"][""]


# --- Terms and titles ---------------------------------------------------------------------------


def marked(text: str, language: str, marker: terms.Marker | None = None) -> list[str]:
    """The words that are marked in a text."""
    shown = (marker or terms.Marker()).mark(text, language)
    assert terms.unmarked(shown) == text
    return [word for _, word in terms.MARK.findall(shown)]


@pytest.mark.parametrize(
    ("text", "language", "wanted"),
    [
        ("容器住在命名空间里，命名空间有八种。", "zh", ["容器", "命名空间"]),
        ("新的挂载命名空间里挂载", "zh", ["挂载命名空间", "挂载"]),
        ("换镜像源只要一个变量", "zh", []),
        ("A container has namespaces.", "en", ["container", "namespaces"]),
        (
            "A mount namespace. Mounts. PID 1 has a PID.",
            "en",
            ["mount namespace", "Mounts", "PID 1", "PID"],
        ),
        ("the namespace map; remapped, rehost", "en", []),
        ("# 容器\n\n`容器` [容器](x) **容器**\n\n| 容器 |\n\n```\n容器\n```", "zh", []),
    ],
)
def test_terms_are_marked_where_they_are_words(text: str, language: str, wanted: list[str]) -> None:
    assert marked(text, language) == wanted


def test_a_page_marks_a_term_once_in_each_language() -> None:
    marker = terms.Marker()
    assert marked("容器", "zh", marker) == ["容器"]
    assert marked("容器", "zh", marker) == []
    assert marked("container", "en", marker) == ["container"]


def test_a_mark_says_what_the_term_means() -> None:
    shown = terms.Marker().mark("<b>x</b> 容器", "zh")
    (meaning,) = (meaning for meaning, _ in terms.MARK.findall(shown))
    assert meaning == next(t for t in terms.terms() if "容器" in t.names["zh"]).meanings["zh"]


@each_lesson
def test_a_lesson_marks_terms_for_the_lab_too(lesson: Path) -> None:
    cells = [
        c.source for c in nbformat.read(lesson, as_version=4).cells if c.cell_type == "markdown"
    ]
    words = [word for source in cells for _, word in terms.MARK.findall(source)]
    assert len(words) > 10
    assert len(words) == len({word.lower() for word in words})


@pytest.mark.parametrize(
    ("heading", "chinese", "english"),
    [
        ("V0.2 第一个 · The first", "V0.2 第一个", "V0.2 The first"),
        ("Docker 的架构 · Docker Architecture", "Docker 的架构", "Docker Architecture"),
        ("`a b`：一步一步 · step by step", "`a b`：一步一步", "`a b` step by step"),
        ("`ps` 为什么慢 · Why `ps` is slow", "`ps` 为什么慢", "Why `ps` is slow"),
        ("在哪里能跑 / Where it runs", "在哪里能跑", "Where it runs"),
        ("Debian 12, 真的 / a real one", "Debian 12, 真的", "Debian 12, a real one"),
    ],
)
def test_a_heading_is_whole_in_each_language(heading: str, chinese: str, english: str) -> None:
    shown = pages.titles(f"## {heading}").removeprefix("## ")
    for language, wanted in (("zh-Hans", chinese), ("en", english)):
        other = "en" if language == "zh-Hans" else "zh-Hans"
        text = re.sub(rf"\[([^\]]*)\]{{.language-{other}}}", "", shown)
        text = re.sub(rf"\[([^\]]*)\]{{.language-{language}}}", r"\1", text)
        assert re.sub(" +", " ", text).strip() == wanted  # spaces as a page shows them


def test_what_is_said_in_one_language_only_is_always_shown() -> None:
    text = "中文一段\n\nThe same.\n\nMore of it.\n\n| a |\n\n只有中文\n\n```\n1\n```\n"
    shown = pages.apart(text, terms.Marker(known=[]))
    assert re.findall(
        r'<div lang="([\w-]+)"( class="labkit-only")?>\n\n(.*?)\n\n</div>', shown
    ) == [
        ("zh-Hans", "", "中文一段"),
        ("en", "", "The same."),
        ("en", ' class="labkit-only"', "More of it."),
        ("zh-Hans", ' class="labkit-only"', "只有中文"),
    ]
