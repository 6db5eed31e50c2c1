"""What a reader can search: the text of each section, in each language.

The page looks for a word in the text itself. The whole book is small enough for that, and Chinese
has no spaces that an index could take words from. A script, not JSON: a page opened from a file may
load scripts, but fetch nothing.
"""

import json
from pathlib import Path
from typing import TypedDict

from bs4 import BeautifulSoup, Tag
from bs4.element import NavigableString
from bs4.filter import SoupStrainer


class Section(TypedDict):
    """A section: its address, its heading and its page's, and its text, by language.

    A text of neither language (code, output) is under "".
    """

    url: str
    page: dict[str, str]
    title: dict[str, str]
    text: dict[str, str]


def write_index(site: Path) -> None:
    """Write the sections of every page beside the scripts of the site."""
    found: list[Section] = []
    article = SoupStrainer("article")  # around it stand the contents of the whole book
    for file in sorted(site.rglob("*.html")):
        soup = BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser", parse_only=article)
        found += sections(soup, str(file.relative_to(site)))
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    (site / "_static" / "search-data.js").write_text(f"labkitFound({text});\n", encoding="utf-8")


def sections(soup: BeautifulSoup, url: str) -> list[Section]:
    """The sections of one page, each without those inside it."""
    found: list[Section] = []
    for section in soup.select("article section"):
        heading = section.find(["h1", "h2", "h3", "h4"], recursive=False)
        if not isinstance(heading, Tag):
            continue
        title = texts(heading)
        for child in section.find_all("section", recursive=False):
            child.extract()  # a section is met before those inside it
            section.insert_after(child)
        heading.extract()
        page = found[0]["title"] if found else title
        address = f"{url}#{section['id']}" if found else url
        found.append(Section(url=address, page=page, title=title, text=texts(section)))
    return found


BLOCKS = ["p", "li", "td", "th", "dt", "dd", "div", "pre", "br"]


def texts(element: Tag) -> dict[str, str]:
    """What an element says, by language."""
    for block in element.find_all(BLOCKS):
        block.append(" ")  # else the last word of one is joined to the first of the next
    said: dict[str, list[str]] = {}
    for string in element.find_all(string=True):
        if type(string) is not NavigableString:  # a comment
            continue
        said.setdefault(language_of(string), []).append(str(string))
    joined = {language: " ".join("".join(parts).split()) for language, parts in said.items()}
    return {language: text for language, text in joined.items() if text}


def language_of(string: NavigableString) -> str:
    """The language of a piece of text, "zh" or "en", or neither."""
    # find_parent(lang=True) says the same; for fifty thousand pieces it takes half of make book.
    return next((str(tag.attrs["lang"])[:2] for tag in string.parents if "lang" in tag.attrs), "")
