"""What a learner is told: in Chinese and in English, or in the one that LABKIT_LANG names."""

import html
import os
import re
from dataclasses import dataclass


def languages() -> tuple[str, ...]:
    """The languages to speak: ``("zh", "en")``, or one when LABKIT_LANG begins with its name."""
    named = os.environ.get("LABKIT_LANG", "").lower()[:2]
    return (named,) if named in {"zh", "en"} else ("zh", "en")


def speak(language: str) -> None:
    """From now on speak "zh" or "en", or both for anything else; programs started here do too."""
    os.environ["LABKIT_LANG"] = language
    if language not in {"zh", "en"}:
        del os.environ["LABKIT_LANG"]


def spoken(zh: str, en: str, between: str = " / ") -> str:
    """A message in the languages of this process."""
    return between.join({"zh": zh, "en": en}[language] for language in languages())


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
        """Both languages, each in an element that says which it is: a page may hide one."""
        return between.join(
            f'<{tag} lang="{lang}">{_coded(text)}</{tag}>'
            for lang, text in (("zh-Hans", self.zh), ("en", self.en))
        )


def _coded(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
