"""What a learner is told is in both languages, or in the one that was chosen."""

import errno
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from labkit import CLONE_NEWUTS, Clone, Container, compare, run, source, syscalls
from labkit.linux.refusal import refusal
from labkit.notebook.magics.child import ChildFailed
from labkit.notebook.magics.child_program import Guard
from labkit.text.words import Words, speak


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
    assert str(Words("挂载", "mount")) == said
    assert f"{Words('挂载', 'mount'):12}|" == f"{said:12}|"


@pytest.mark.parametrize("name", ["zh_CN.UTF-8", "zh", "ZH", "zh-Hans"])
def test_a_locale_names_its_language(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_LANG", name)
    assert str(Words("挂载", "mount")) == "挂载"


def test_a_page_gets_both_and_code_between_backticks() -> None:
    said = Words("调用 `a<b`", "call `a<b`")
    speak("zh")
    assert said.html() == (
        '<span lang="zh-Hans">调用 <code>a&lt;b</code></span> '
        '<span lang="en">call <code>a&lt;b</code></span>'
    )


def test_a_mark_between_them_goes_with_either() -> None:
    assert Words("对了", "Correct").html(" · ") == (
        '<span lang="zh-Hans">对了<span lang="en"> · </span></span><span lang="en">Correct</span>'
    )


def refuse() -> None:
    raise refusal("unshare(CLONE_NEWUTS)", errno.EPERM)


def move_the_kernel() -> None:
    stop = threading.Event()
    another = threading.Thread(target=stop.wait)
    another.start()
    try:
        syscalls.unshare(CLONE_NEWUTS)
    finally:
        stop.set()
        another.join()


MISTAKES: list[Callable[[], object]] = [
    lambda: Container("echo hi"),
    lambda: Container(()),
    lambda: Container(("a\0b",)),
    lambda: Container((b"hi",)),  # type: ignore[arg-type]
    lambda: Container(("true",), cloneflags=Clone(1)),
    lambda: Container(("true",), hostname="box"),
    lambda: Container(("true",), cloneflags=CLONE_NEWUTS, hostname="x" * 65),
    lambda: Container(("true",), proc=True),
    lambda: Container(("true",), env={"a=b": "c"}),
    lambda: run(Container(("sleep", "9")), timeout=0.01),
    refuse,
    move_the_kernel,
    lambda: Guard().check("mount", "mnt", 0),
    lambda: Guard().check("sethostname", "uts", 0),
    lambda: child(-9),
    lambda: child(3),
    lambda: compare(3.5),  # type: ignore[arg-type]
    lambda: source(len),
]


def child(returncode: int) -> None:
    raise ChildFailed(returncode)


def told(mistake: Callable[[], object]) -> str:
    """What a learner reads."""
    with pytest.raises((OSError, TypeError, ValueError, RuntimeError, ChildFailed)) as caught:
        mistake()
    return "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


def in_chinese(text: str) -> bool:
    return bool(re.search(r"[\u4e00-\u9fff]", text))


def in_english(text: str) -> bool:
    """Whether it is in sentences, not only a call and the kernel's own words."""
    ours = text.replace(os.strerror(errno.EPERM), "")
    return bool(re.search(r" (a|by|has|is|needs|not|the|with) ", ours))


@pytest.mark.parametrize("number", range(len(MISTAKES)))
def test_a_mistake_is_explained_in_the_language_chosen(number: int) -> None:
    said = {}
    for language in ("zh", "en", "both"):
        speak(language)
        said[language] = told(MISTAKES[number])
    assert [in_chinese(text) for text in said.values()] == [True, False, True], said
    assert [in_english(text) for text in said.values()] == [False, True, True], said


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["v0.2", "--help"],
        ["ns"],
        ["ns", "self", "self"],
        ["ns", "--help"],
        ["ns", "--tree"],
        ["ns", "--tree", "1"],
        ["unshare", "--help"],
        ["unshare", "--no-such"],
        ["doctor"],
        ["v0.1"],
        ["v0.1", "run"],
    ],
    ids=" ".join,
)
def test_the_command_speaks_the_language_chosen(words: list[str]) -> None:
    def output(language: str) -> str:
        env = os.environ | {"LABKIT_LANG": language}
        # Alone in a PID namespace: the tree is of all processes, and others come and go meanwhile.
        alone = ["unshare", "--fork", "--pid", "--mount-proc"]
        command = [*alone, sys.executable, "-m", "labkit", *words]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        return done.stdout + done.stderr

    assert not in_chinese(output("en"))
    both, chinese = output(""), output("zh")
    assert in_chinese(both)
    assert in_chinese(chinese)
    assert len(chinese) < len(both)


def test_the_tree_and_its_complaint_are_in_chinese_alone() -> None:
    def said(*more: str) -> str:
        command = [sys.executable, "-m", "labkit", "ns", "--tree", *more]
        env = os.environ | {"LABKIT_LANG": "zh"}
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        return (done.stderr or done.stdout).splitlines()[0]

    assert said().split() == ["命名空间", "进程数", "PID", "名字"]
    assert said("1") == "labkit: --tree 说的是所有进程，不要写 PID"


def test_words_in_a_sentence_are_in_its_language() -> None:
    sentence = Words("没有{0}，也没有{more}", "neither {0} nor {more}")
    filled = sentence.filled(Words("路", "a road"), more=Words("桥", "a bridge"))
    assert filled == Words("没有路，也没有桥", "neither a road nor a bridge")
    assert sentence.filled("X", more=1) == Words("没有X，也没有1", "neither X nor 1")
