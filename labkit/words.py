"""What a learner is told: one thing said in Chinese and in English."""

import html
import re
from dataclasses import dataclass

from labkit.language import spoken


@dataclass(frozen=True)
class Words:
    """One thing said in Chinese and in English; what stands between backticks is code."""

    zh: str
    en: str

    def __str__(self) -> str:
        return spoken(self.zh, self.en)

    def filled(self, *args: object, **values: object) -> "Words":
        """With the fields in braces replaced, as by str.format, in both languages."""
        return Words(self.zh.format(*args, **values), self.en.format(*args, **values))

    def html(self, between: str = " ", tag: str = "span") -> str:
        """Both languages, each in an element that says which it is: a page may hide one.

        A mark `between` them is English inside Chinese: it goes when either is hidden.
        """
        mark = f'<span lang="en">{between}</span>' if between.strip() else ""
        zh = f'<{tag} lang="zh-Hans">{_coded(self.zh)}{mark}</{tag}>'
        en = f'<{tag} lang="en">{_coded(self.en)}</{tag}>'
        return f"{zh}{'' if mark else between}{en}"


def _coded(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
