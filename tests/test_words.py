"""What a learner is told is in both languages, or in the one that was chosen."""

import os
from collections.abc import Iterator

import pytest

from labkit.words import Words, speak, spoken


@pytest.fixture(autouse=True)
def both_again() -> Iterator[None]:
    yield
    os.environ.pop("LABKIT_LANG", None)


@pytest.mark.parametrize(
    ("language", "said"),
    [("zh", "挂载"), ("en", "mount"), ("both", "挂载 / mount"), ("", "挂载 / mount")],
)
def test_one_language_is_spoken_or_both(language: str, said: str) -> None:
    speak(language)
    assert spoken("挂载", "mount") == said
    assert str(Words("挂载", "mount")) == said


@pytest.mark.parametrize("name", ["zh_CN.UTF-8", "zh", "ZH", "zh-Hans"])
def test_a_locale_names_its_language(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_LANG", name)
    assert spoken("挂载", "mount") == "挂载"


def test_a_page_gets_both_and_code_between_backticks() -> None:
    said = Words("调用 `a<b`", "call `a<b`")
    speak("zh")
    assert said.html() == (
        '<span lang="zh-Hans">调用 <code>a&lt;b</code></span> '
        '<span lang="en">call <code>a&lt;b</code></span>'
    )
