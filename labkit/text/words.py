"""What a person is told: one thing said in Chinese and in English.

LABKIT_LANG names one of the two; without it both are spoken. The engine imports this, and so does
a program that can import nothing more after pivot_root(2): so it imports next to nothing itself.
"""

import codecs
import os
import sys

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from typing import Any


def languages() -> tuple[str, ...]:
    """The languages to speak: ``("zh", "en")``, or one when LABKIT_LANG begins with its name.

    Where standard error cannot write Chinese (PYTHONIOENCODING=ascii), English alone.
    """
    named = os.environ.get("LABKIT_LANG", "").lower()[:2]
    if named in {"zh", "en"}:
        return (named,)
    try:
        chr(0x4E2D).encode(getattr(sys.stderr, "encoding", None) or "utf-8")
    except (LookupError, UnicodeEncodeError):
        return ("en",)
    return ("zh", "en")


def speak(language: str) -> None:
    """From now on speak "zh" or "en", or both for anything else; programs started here do too."""
    os.environ["LABKIT_LANG"] = language
    if language not in {"zh", "en"}:
        del os.environ["LABKIT_LANG"]


# Python decodes arguments, environment and file names with surrogateescape (PEP 383), and no stream
# of its own writes them back. Nor has every terminal's encoding Chinese.
AS_TYPED = "labkit.as_typed"
"""For encode(errors=...): bytes as they came, and what the encoding lacks as an escape."""


def _as_typed(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    error.end = error.start + 1  # one at a time: the next may be of the other sort
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


codecs.register_error(AS_TYPED, _as_typed)


def as_bytes(text: str) -> bytes:
    """`text` as standard error would write it, for what is written past Python's streams."""
    return text.encode(getattr(sys.stderr, "encoding", None) or "utf-8", AS_TYPED)


class Words:
    """One thing said in Chinese and in English; what stands between backticks is code.

    As text it is in the languages of this process, with `between` between them if those are two. A
    value: two are equal when they say the same. Not a dataclass, whose import takes longer than a
    container's start.

    Whatever is told to a person is one of these. An error takes it in place of a text
    (``ValueError(Words(...))``), and :func:`words_of` gives it back to a page, which shows both.
    """

    def __init__(self, zh: str, en: str, between: str = " / ") -> None:
        self.zh, self.en, self.between = zh, en, between

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Words) and (self.zh, self.en) == (other.zh, other.en)

    def __hash__(self) -> int:
        return hash((self.zh, self.en))

    def __repr__(self) -> str:
        return f"Words({self.zh!r}, {self.en!r})"

    def __str__(self) -> str:
        return self.joined(self.between)

    def __format__(self, form: str) -> str:
        return format(str(self), form)

    def texts(self) -> list[str]:
        """Those of the two texts that are in a language to speak."""
        return [{"zh": self.zh, "en": self.en}[language] for language in languages()]

    def joined(self, between: str) -> str:
        """The text in the languages of this process, said once where both are the same."""
        return between.join(dict.fromkeys(self.texts()))

    def filled(self, *args: object, **values: object) -> "Words":
        """With the fields in braces replaced, as by str.format; Words give each text its own."""
        zh, en = (
            text.format(
                *(_side(value, side) for value in args),
                **{name: _side(value, side) for name, value in values.items()},
            )
            for side, text in (("zh", self.zh), ("en", self.en))
        )
        return Words(zh, en, self.between)

    def html(self, between: str = " ", tag: str = "span") -> str:
        """Both languages, each in an element that says which it is: a page may hide one.

        A mark `between` them is English inside Chinese: it goes when either is hidden.
        """
        mark = f'<span lang="en">{between}</span>' if between.strip() else ""
        zh = f'<{tag} lang="zh-Hans">{_coded(self.zh)}{mark}</{tag}>'
        en = f'<{tag} lang="en">{_coded(self.en)}</{tag}>'
        return f"{zh}{'' if mark else between}{en}"


def _side(value: object, language: str) -> object:
    return getattr(value, language) if isinstance(value, Words) else value


class Advice(UserWarning):
    """A warning that tells a person Words. Its argument is text, as pytest.warns wants it."""

    def __init__(self, told: Words) -> None:
        super().__init__(str(told))
        self.told = told


def words_of(error: BaseException) -> tuple[Words, ...]:
    """What an error tells a person: its message, and what was added to it.

    The message of a refused call is the call, which a page shows as such: it is not among them.
    """
    added: tuple[Words, ...] = vars(error).get("words", ())
    if isinstance(error, OSError) and error.errno:
        return added
    message = getattr(error, "told", error.args[0] if error.args else "")
    told = message if isinstance(message, Words) else Words(str(error), str(error))
    return (told, *added)


def one_line(error: BaseException) -> str:
    """What an error says with all of its notes, in one line as programs say it."""
    text = (isinstance(error, OSError) and error.strerror) or str(error)
    return "  ".join([str(text), *getattr(error, "__notes__", [])])


def add_words(error: BaseException, *more: Words) -> None:
    """Have `error` tell `more`: a program finds it in ``error.words``, a traceback as notes."""
    vars(error)["words"] = (*vars(error).get("words", ()), *more)
    for words in more:
        for text in words.texts():
            error.add_note(text)


def _coded(text: str) -> str:
    import html
    import re

    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))


def as_data(value: "Any") -> "Any":  # noqa: ANN401 - whatever JSON can hold
    """`value`, made of dataclasses and Words, as what JSON can hold: dataclasses.asdict."""
    if isinstance(value, Words):
        return {"zh": value.zh, "en": value.en}
    if names := getattr(value, "__dataclass_fields__", None):
        return {name: as_data(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {key: as_data(each) for key, each in value.items()}
    return type(value)(map(as_data, value)) if isinstance(value, list | tuple) else value
