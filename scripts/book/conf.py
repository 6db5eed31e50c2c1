"""Sphinx's settings for the book."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

project = "labkit · 从零写 Docker"
html_title = "labkit"
author = "labkit contributors"
project_copyright = "labkit contributors, CC BY 4.0"
language = "zh_CN"  # of the page's frame; locale/ has both languages in each of its words

extensions = ["myst_nb", "frame"]
root_doc = "index"
nb_execution_mode = "off"  # what the lessons have saved is shown
nb_merge_streams = True
nb_render_error_lexer = "text"  # an error as a cell shows it is not always a Python traceback
nb_render_markdown_format = "myst"  # tables, in what a cell shows as Markdown
myst_enable_extensions = ["attrs_inline"]
myst_heading_anchors = 5  # lessons lead to each part of the notes, whose headings go deep
suppress_warnings = ["myst.header"]  # the notes jump from one heading to one two levels below
highlight_options = {"ipython3": {"stripnl": False}}

html_theme = "furo"
html_theme_options = {"navigation_with_keys": True}
html_static_path = [str(HERE / "static"), str(HERE.parents[1] / "docs" / "diagrams")]
html_favicon = str(HERE / "static" / "icon.svg")
html_css_files = ["book.css"]
html_js_files = ["book.js"]
templates_path = [str(HERE / "templates")]
html_copy_source = False
html_show_sourcelink = False
html_use_index = False
html_permalinks = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
