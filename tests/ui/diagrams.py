"""``make diagrams``: docs/diagrams/*.svg, each diagram of a page in both themes.

JupyterLab draws them, as it does in a lesson. The book shows what it has drawn: no script, and
nothing to fetch. A picture is named after the diagram's text.
"""

import base64
import re
import sys
import tempfile
import urllib.parse
from pathlib import Path

import nbformat
from conftest import ROOT
from playwright.sync_api import expect, sync_playwright

from ui.lab import Lab, launch
from ui.notebook import SIZE, THEMES, Watched

sys.path.insert(0, str(ROOT / "scripts" / "book"))
import pages


def sources() -> dict[str, str]:
    """The text of every diagram in a lesson or a document, by the name of its picture."""
    files = [*(ROOT / "notebooks" / "source").glob("*.md"), *(ROOT / "docs").glob("*.md")]
    texts = [text for file in sorted(files) for text in pages.MERMAID.findall(file.read_text())]
    return {pages.diagram_name(text): text for text in texts}


def draw(watched: Watched, theme: str) -> list[str]:
    """Every diagram as JupyterLab draws it in a theme."""
    watched.theme(theme)
    fences = [f"```mermaid\n{text}```" for text in sources().values()]
    cells = [nbformat.v4.new_markdown_cell(fence) for fence in fences]
    book = watched.make(f"diagrams-{theme}", cells)
    images = book.panel.locator(".jp-RenderedMermaid img")
    expect(images).to_have_count(len(cells))
    found = [image.get_attribute("src") or "" for image in images.all()]
    book.close()
    return [decoded(address) for address in found]


def decoded(address: str) -> str:
    """The SVG in a data address."""
    head, _, data = address.partition(",")
    assert head.startswith("data:image/svg+xml"), address
    if head.endswith(";base64"):
        return base64.b64decode(data).decode()
    return urllib.parse.unquote(data)


def tidy(svg: str) -> str:
    """The element alone, without the name that it has until the next time."""
    svg = svg[svg.index("<svg") :].rstrip() + "\n"
    name = re.search(r'^<svg[^>]*? id="([^"]+)"', svg)
    return svg.replace(name[1], "diagram") if name else svg


def main() -> None:
    """Draw them all, and remove those that no page has any more."""
    pages.DIAGRAMS.mkdir(exist_ok=True)
    for file in pages.DIAGRAMS.glob("*.svg"):
        file.unlink()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        place = Path(folder)
        for each in ("home", "browser", "root"):
            (place / each).mkdir()
        with Lab(place / "home", place / "root") as lab:
            browser = launch(playwright, place / "browser")
            page = browser.new_page(viewport={"width": SIZE["width"], "height": 6000})
            watched = Watched(lab, page)
            for theme in THEMES:
                for name, svg in zip(sources(), draw(watched, theme), strict=True):
                    (pages.DIAGRAMS / f"{name}-{theme}.svg").write_text(tidy(svg))
            watched.end_kernels()
            browser.close()


if __name__ == "__main__":
    main()
