"""``make book``: the lessons, the documents and the glossary as a site in book/.

It runs no cell and needs no network: it shows what the notebooks have saved. A warning of Sphinx,
or a diagram that has not been drawn, makes it fail; the site is there all the same.

    python scripts/book/make.py [FOLDER]

Why Sphinx, MyST-NB and Furo: contents, neighbours, dark, phone and paper come with them, from the
Python index alone. mystmd fetches its theme when it builds; nbconvert would need a theme of ours.
Both languages stand on one page, one of them hidden, as in the lab: the switch keeps the place, and
a page without scripts shows both. The search looks through the text itself, because Sphinx's index
needs a Chinese dictionary. Diagrams are files that JupyterLab has drawn, because the script that
draws them in a page has 3 MB. Terms are marked when a notebook is built, so sources hold prose
alone. JupyterLab's sanitizer drops `tabindex` from all but links, so a mark is a link that leads
nowhere; in the book it leads to the glossary.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import pages
import search
from sphinx.cmd.build import build_main

HERE = Path(__file__).resolve().parent
DEFAULT = HERE.parents[1] / "book"


def build(target: Path) -> int:
    """Build the site in `target`, in the place of what is there; 0 when all is well."""
    with tempfile.TemporaryDirectory(prefix="labkit-book-") as folder:
        sources, site = Path(folder, "sources"), Path(folder, "built", "site")
        missing = pages.lay_out(sources)
        options = ["-q", "-b", "html", "-W", "--keep-going", "-d", f"{folder}/doctrees"]
        status = build_main([*options, "-c", str(HERE), str(sources), str(site)])
        search.write_index(site)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(site, target, ignore=shutil.ignore_patterns(".buildinfo", "_sources"))
    for each in missing:
        print(each, file=sys.stderr)
    return int(bool(status or missing))


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1]) if sys.argv[1:] else DEFAULT))
