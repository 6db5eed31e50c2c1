"""The pages of the book, as Sphinx reads them: lessons, documents and glossary, prepared.

What is done to a text is done here, to Markdown: each language gets an element of its own, the
first use of a term its meaning, a diagram its picture, the glossary its entries.
"""

import hashlib
import html
import json
import re
import shutil
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from terms import MARK, Marker, Term, terms

ROOT = Path(__file__).resolve().parents[2]
DIAGRAMS = ROOT / "docs" / "diagrams"
LANGUAGES = {"zh": "zh-Hans", "en": "en"}

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#+) (.*?[\u4e00-\u9fff].*?) [·/] (.*)$", re.MULTILINE)
CHINESE = re.compile(r"[\u4e00-\u9fff]")
LATIN = re.compile(r"[A-Za-z]+")
COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
REMOTE = re.compile(r"!\[([^\]]*)\]\((https?://[^)]+)\)")
LINK = re.compile(r"\]\(([^)\s#]+)[^)\s]*\)")
TABLE = re.compile(r"(?:^\|[^\n]*\n?)+", re.MULTILINE)
FENCE_OR_HEADING = re.compile(r"^```.*?^```$|^#+ ", re.MULTILINE | re.DOTALL)
NOTES = "# 笔记原文 · The notes as they are\n\n"
# Of a lesson's first cell: how to choose a language, what the machine allows. A page has neither.
FIRST = re.compile(r"\s*(?:from labkit\.notebook import [\w, ]+|display\([\w(), ]+\)|\s)*")
LOCAL = re.compile(r'<a [^>]*href="(?!https?:|#)[^"]*"[^>]*>(.*?)</a>', re.DOTALL)
SWITCH = "labkit-choose"  # of a lesson's own switch: the book has one on every page
QUIET = ("terms.md", "source-notes.md")  # the glossary itself; what is not ours stays as it is


def lay_out(place: Path) -> list[str]:
    """Write every page into `place`, in folders as in the project. What is missing for them."""
    missing: list[str] = []
    for source in sorted((ROOT / "notebooks").glob("*.ipynb")):
        save(place / "notebooks" / source.name, lesson(source, missing))
    for source in sorted((ROOT / "docs").glob("*.md")):
        save(place / "docs" / source.name, document(source, missing))
    for page in sorted(Path(__file__).parent.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        save(place / page.name, titles(text))
    add_linked_files(place)
    return missing


def save(file: Path, text: str) -> None:
    """Write a page and make its folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def lesson(source: Path, missing: list[str]) -> str:
    """A notebook with its saved outputs, for the book."""
    notebook = json.loads(source.read_text(encoding="utf-8"))
    notebook["cells"] = [cell for cell in notebook["cells"] if not first(cell)]
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = glossary_links("".join(cell["source"]))
            cell["source"] = titles(pictures(text, source, missing))
        else:
            prepare_code(cell)
    return json.dumps(notebook, ensure_ascii=False)


def first(cell: dict[str, Any]) -> bool:
    """Whether a cell does nothing but what a lesson's first cell does."""
    return cell["cell_type"] == "code" and bool(FIRST.fullmatch("".join(cell["source"])))


def prepare_code(cell: dict[str, Any]) -> None:
    """Leave out the lesson's own switch, and links to a learner's files; fold what it folds."""
    cell["outputs"] = [o for o in cell["outputs"] if SWITCH not in html_of(o)]
    for output in cell["outputs"]:
        if markup := html_of(output):
            output["data"]["text/html"] = LOCAL.sub(r"\1", markup)
    folded = cell["metadata"].get("jupyter", {}).get("source_hidden")
    if folded:
        cell["metadata"].setdefault("tags", []).append("hide-input")
        label = "".join(cell["source"]).partition("\n")[0].lstrip("# ")
        cell["metadata"]["mystnb"] = {"code_prompt_show": label, "code_prompt_hide": label}


def html_of(output: dict[str, Any]) -> str:
    """What a page shows of an output, if that is HTML."""
    return "".join(output.get("data", {}).get("text/html", ""))


def document(source: Path, missing: list[str]) -> str:
    """A page of docs/, for the book."""
    text = COMMENT.sub("", source.read_text(encoding="utf-8"))
    text = REMOTE.sub(r"[\1](\2)", text)  # a picture elsewhere is a link: nothing is fetched
    if source.name == "terms.md":
        text = entries(text)
    if source.name == "source-notes.md":
        text = NOTES + FENCE_OR_HEADING.sub(deeper, text)
    if source.name in QUIET:
        return titles(text)
    return titles(pictures(glossary_links(apart(text, Marker())), source, missing))


def deeper(found: re.Match[str]) -> str:
    """A heading one level below: a page has one title. A fence stays as it is."""
    return found[0] if found[0].startswith("```") else f"#{found[0]}"


# --- Two languages --------------------------------------------------------------------------------


def titles(text: str) -> str:
    """Headings in two languages, each in an element of its own: a switch shows one of them."""
    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [HEADING.sub(title, text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, HEADING.sub(title, text[end:])])


def title(heading: re.Match[str]) -> str:
    """One heading. What stands before its Chinese belongs to both, if the English lacks it."""
    marks, chinese, english = heading.groups()
    version = re.match(r"V\d\S* ", chinese)
    shared = version[0] if version else ""
    rest = chinese.removeprefix(shared)
    lead = re.match(r"(`[^`]+`|[A-Za-z]\w*)[^\u4e00-\u9fff：]*", rest)
    if lead and lead[1].lower() not in english.lower():
        shared, rest = shared + lead[0], rest.removeprefix(lead[0])
    return f"{marks} {shared}[{rest}]{{.language-zh-Hans}} [{english}]{{.language-en}}"


def apart(text: str, marker: Marker) -> str:
    """A document with its languages apart: Chinese paragraphs are followed by the same in English.

    Each language gets an element of its own. What has no counterpart is shown in any language.
    """
    groups = [(kind, list(blocks)) for kind, blocks in groupby(blocks_of(text), language_of)]
    shown: list[str] = []
    said = 0  # blocks of Chinese just before, which the English says again
    for (kind, blocks), (following, _) in pairwise([*groups, ("", [])]):
        if kind == "zh":
            paired = following == "en"
            said = len(blocks) if paired else 0
            shown += element("zh", blocks, marker, paired=paired)
        elif kind == "en":
            shown += element("en", blocks[:said], marker, paired=True)
            shown += element("en", blocks[said:], marker, paired=False)
            said = 0
        else:
            shown += blocks
    return "\n\n".join(shown) + "\n"


def element(language: str, blocks: list[str], marker: Marker, *, paired: bool) -> list[str]:
    """Blocks of one language in an element, their terms marked; nothing for no blocks."""
    if not blocks:
        return []
    body = marker.mark("\n\n".join(blocks), language)
    alone = "" if paired else ' class="labkit-only"'
    return [f'<div lang="{LANGUAGES[language]}"{alone}>\n\n{body}\n\n</div>']


def blocks_of(text: str) -> list[str]:
    """The paragraphs, lists, tables and fences of a document."""
    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [*re.split(r"\n{2,}", text[end : fence.start()]), fence[0]]
        end = fence.end()
    parts += re.split(r"\n{2,}", text[end:])
    return [stripped for part in parts if (stripped := part.strip("\n"))]


def language_of(block: str) -> str:
    """The language of a block of prose, "zh" or "en"; of anything else nothing."""
    if block.startswith(("```", "#", "|", "<", "[")):
        return ""
    prose = re.sub(r"`[^`\n]+`|\]\([^)]*\)", "", block)
    chinese, words = len(CHINESE.findall(prose)), len(LATIN.findall(prose))
    return "zh" if chinese > words else "en"


# --- Terms ----------------------------------------------------------------------------------------


def glossary_links(text: str) -> str:
    """Marks of terms, leading to the glossary: a reader without a lab has it on a page."""
    known = {
        html.escape(meaning.replace("`", "")): term.anchor
        for term in terms()
        for meaning in term.meanings.values()
    }

    def link(mark: re.Match[str]) -> str:
        anchor = known.get(mark[1])
        return mark[0].replace(" tabindex", f' href="../docs/terms.html#{anchor}" tabindex')

    return MARK.sub(link, text)


def entries(text: str) -> str:
    """The glossary with an entry in the place of each row: five columns are too wide for a page."""
    text = TABLE.sub(lambda rows: f"<dl>\n{''.join(map(entry, terms(rows[0])))}</dl>\n", text)
    return apart(text, Marker(known=[]))


def entry(term: Term) -> str:
    """A term: its names in both languages, what it means, and which words are not used for it."""
    chinese, english = term.names["zh"][0], ", ".join(term.names["en"])
    return (
        f'<div id="{term.anchor}">\n'
        f'<dt><span lang="zh-Hans" class="labkit-only">{chinese}</span>'
        f' <span lang="en" class="labkit-only">{english}</span></dt>\n'
        f'<dd lang="zh-Hans">{inline(term.meanings["zh"])}</dd>\n'
        f'<dd lang="en">{inline(term.meanings["en"])}</dd>\n'
        f'<dd lang="zh-Hans" class="labkit-only labkit-avoided">不写作：{term.avoided}</dd>\n'
        "</div>\n"
    )


def inline(text: str) -> str:
    """A line of Markdown as HTML: code is all that a meaning has."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))


# --- Pictures and files ---------------------------------------------------------------------------


def diagram_name(source: str) -> str:
    """What the pictures of a diagram are called."""
    return hashlib.sha256(source.strip().encode()).hexdigest()[:12]


def pictures(text: str, page: Path, missing: list[str]) -> str:
    """Diagrams as `make diagrams` has drawn them, in both themes; one that it has not, as text."""

    def drawn(fence: re.Match[str]) -> str:
        name = diagram_name(fence[1])
        if not (DIAGRAMS / f"{name}-light.svg").is_file():
            missing.append(f"{page.name}: no docs/diagrams/{name}-light.svg: make diagrams")
            return f"```text\n{fence[1]}```"
        said = html.escape("; ".join(labels(fence[1])))
        images = (
            f'<img class="only-{theme}" alt="{said}" src="../_static/{name}-{theme}.svg">'
            for theme in ("light", "dark")
        )
        wide = f"--width: {width(DIAGRAMS / f'{name}-light.svg')}px"
        return f'<div class="labkit-diagram" style="{wide}" tabindex="0">{"".join(images)}</div>'

    return MERMAID.sub(drawn, text)


def width(picture: Path) -> int:
    """How wide an SVG was drawn."""
    box = re.search(r'viewBox="\S+ \S+ (\d+)', picture.read_text(encoding="utf-8"))
    return int(box[1]) if box else 800


def labels(source: str) -> list[str]:
    """What a diagram says, box by box and arrow by arrow."""
    return [text.replace("<br/>", " ") for text in re.findall(r'"([^"]+)"', source)]


def add_linked_files(place: Path) -> None:
    """Copy what the pages link to besides pages: Sphinx puts it into the book."""
    for page in [*place.glob("*/*.md"), *place.glob("*/*.ipynb")]:
        folder = page.relative_to(place).parent
        for link in LINK.findall(page.read_text(encoding="utf-8")):
            target = (ROOT / folder / link).resolve()
            if "://" in link or not target.is_file() or not target.is_relative_to(ROOT):
                continue
            copy = place / target.relative_to(ROOT)
            if not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(target, copy)
