"""The languages that labkit speaks: both, or the one that LABKIT_LANG names.

A module of its own, which imports next to nothing: the engine has it, and so has a program after
pivot_root(2), which can import no more.
"""

import os


def languages() -> tuple[str, ...]:
    """The languages to speak: ``("zh", "en")``, or one when LABKIT_LANG begins with its name."""
    named = os.environ.get("LABKIT_LANG", "").lower()[:2]
    return (named,) if named in {"zh", "en"} else ("zh", "en")


def speak(language: str) -> None:
    """From now on speak "zh" or "en", or both for anything else; programs started here do too."""
    os.environ["LABKIT_LANG"] = language
    if language not in {"zh", "en"}:
        del os.environ["LABKIT_LANG"]


def chosen(zh: str, en: str) -> list[str]:
    """Those of the two texts that are in a language to speak."""
    return [{"zh": zh, "en": en}[language] for language in languages()]


def spoken(zh: str, en: str, between: str = " / ") -> str:
    """A message in the languages of this process."""
    return between.join(chosen(zh, en))
