"""What stands around a page, in two languages: a small extension of Sphinx."""

import re
from typing import Any

from sphinx.application import Sphinx

# What the theme says, as an element for each language; what is not here, it does not show.
WORDS = {
    "Back to top": ("回到顶部", "Back to top"),
    "Home": ("封面", "Cover"),
    "Next": ("下一页", "Next"),
    "On this page": ("本页目录", "On this page"),
    "Previous": ("上一页", "Previous"),
    "Skip to content": ("跳到正文", "Skip to content"),
    "Made with": ("制作：", "Made with "),
    '<a href="https://www.sphinx-doc.org/">Sphinx</a> and': (
        '<a href="https://www.sphinx-doc.org/">Sphinx</a>、',
        '<a href="https://www.sphinx-doc.org/">Sphinx</a> and ',
    ),
}
CAPTION = re.compile(r'(role="heading")(><span class="caption-text">)([^<]*) · ([^<]*)(?=</span>)')


def both(chinese: str, english: str) -> str:
    """An element for each language."""
    return f'<span lang="zh-Hans">{chinese}</span><span lang="en">{english}</span>'


def say(text: str) -> str:
    """What a template says, in both languages."""
    words = WORDS.get(text.strip())
    return both(*words) if words else text


def prepare(app: Sphinx) -> None:
    """Our words for the templates; and no index of Sphinx's own, which splits no Chinese."""
    environment: Any = app.builder.templates.environment
    environment.install_gettext_callables(say, lambda one, many, n: one if n == 1 else many)
    app.builder.search = False  # type: ignore[attr-defined]


def split_captions(
    app: Sphinx,  # noqa: ARG001
    pagename: str,  # noqa: ARG001
    templatename: str,  # noqa: ARG001
    context: dict[str, Any],
    doctree: object,  # noqa: ARG001
) -> None:
    """The captions of the contents: to Sphinx, plain text, and headings of no level."""
    for part in ("furo_navigation_tree", "body"):
        context[part] = CAPTION.sub(
            lambda found: f'{found[1]} aria-level="2"{found[2]}{both(found[3], found[4])}',
            context.get(part, ""),
        )


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls it."""
    app.connect("builder-inited", prepare)
    app.connect("html-page-context", split_captions, priority=900)  # after the theme's own
    return {"parallel_read_safe": True, "parallel_write_safe": True}
