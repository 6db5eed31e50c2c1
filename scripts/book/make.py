"""``make book``: the lessons, the documents and the glossary as a site in book/.

It runs no cell and needs no network: it shows what the notebooks have saved. A warning of Sphinx,
or a diagram that has not been drawn, makes it fail; the site is there all the same.

    python scripts/book/make.py [FOLDER]
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
