"""A refusal is a value to the end: call, errno and words, which nothing reads out of a text."""

import ast
import errno
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT

from labkit import CLONE_NEWNS, CLONE_NEWPID, Clone, Container, run, syscalls
from labkit.docker.order import parse
from labkit.linux.confinement import Capabilities, Confinement
from labkit.linux.refusal import (
    _REASONS,
    Reason,
    Refusal,
    call_of,
    diagnose,
    errno_name,
    reason,
    refusal,
)
from labkit.notebook.views.outcome import outcome
from labkit.notebook.views.trial import Trial
from labkit.text.words import Words, add_words, one_line, speak, words_of
from labkit.unshare import options

CHINESE = re.compile("[\u3400-\u9fff]")
FREE = Confinement("disabled", no_new_privs=False, profile="", sysctls={})
ALL = Capabilities(("CAP_SYS_ADMIN",), (), (), ("CAP_SYS_ADMIN",), ())


@pytest.fixture(autouse=True)
def both_again() -> Iterator[None]:
    yield
    os.environ.pop("LABKIT_LANG", None)


# --- The error of a refused call ------------------------------------------------------------------


def test_an_error_carries_its_call_its_errno_and_its_words() -> None:
    error = refusal("unshare(CLONE_NEWUTS)", errno.EPERM)
    assert type(error) is PermissionError
    assert str(error) == "[Errno 1] unshare(CLONE_NEWUTS): Operation not permitted"
    assert (call_of(error), error.errno) == ("unshare(CLONE_NEWUTS)", errno.EPERM)
    (told,) = words_of(error)
    assert told.zh.startswith("新建命名空间要有 CAP_SYS_ADMIN：请用 root")
    assert told.en.startswith("A new namespace needs CAP_SYS_ADMIN: be root")
    assert error.__notes__ == [told.zh, told.en]


def test_the_words_do_not_depend_on_the_language_that_is_spoken() -> None:
    speak("en")
    error = refusal("unshare(CLONE_NEWUTS)", errno.EPERM)
    assert not any(map(CHINESE.search, error.__notes__))
    assert CHINESE.search(words_of(error)[0].zh)


def test_a_call_of_the_kernels_own_refusal_is_the_traces_line() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        syscalls.chdir("/nowhere: a name with: colons")
    call = 'chdir("/nowhere: a name with: colons")'
    assert call_of(caught.value) == call
    assert str(caught.value) == f"[Errno 2] {call}: No such file or directory"


def test_a_containers_refusal_is_the_same_value() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        run(Container(("true",), cwd="/nowhere"))
    assert call_of(caught.value) == 'chdir("/nowhere")'
    assert "没有这个工作目录" in words_of(caught.value)[0].zh


def test_a_python_error_has_no_call_but_may_have_a_reason() -> None:
    assert call_of(OSError(errno.EPERM, "no")) == ""
    error = refusal("", errno.EAGAIN)
    assert str(error) == "[Errno 11] Resource temporarily unavailable"
    assert "ulimit -u" in words_of(error)[0].en


def test_words_can_be_added_and_said_in_a_line() -> None:
    error = refusal("fsync(3)", errno.EIO)
    assert words_of(error) == ()
    add_words(error, Words("磁盘坏了。", "The disk is broken."))
    assert words_of(error) == (Words("磁盘坏了。", "The disk is broken."),)
    assert one_line(error) == "fsync(3): Input/output error  磁盘坏了。  The disk is broken."


@pytest.mark.parametrize(
    ("number", "name"), [(95, "EOPNOTSUPP"), (1, "EPERM"), (11, "EAGAIN"), (4000, "4000")]
)
def test_an_errno_has_the_kernels_name(number: int, name: str) -> None:
    assert errno_name(number) == name


def test_the_kernels_name_is_said_everywhere() -> None:
    sources = [p for p in (ROOT / "labkit").rglob("*.py") if p.name != "refusal.py"]
    assert [p for p in sources if re.search(r"ENOTSUP\b|errorcode", p.read_text())] == []


# --- One table ------------------------------------------------------------------------------------


def test_nothing_is_said_twice() -> None:
    whys = [why for _, why, _ in _REASONS]
    assert len(set(whys)) == len(whys)


@pytest.mark.parametrize(
    ("call", "number", "said"),
    [
        ("clone3({...}, 64)", errno.EAGAIN, "ulimit -u"),
        ("clone3({...}, 64)", errno.ENOSYS, "seccomp=unconfined"),
        ('mount("a", "/b", NULL, MS_BIND, NULL)', errno.EACCES, "apparmor=unconfined"),
        ('mount("none", "/b", "nofs", 0, NULL)', errno.ENODEV, "/proc/filesystems"),
    ],
)
def test_an_error_and_the_doctor_give_the_same_reason(call: str, number: int, said: str) -> None:
    known, diagnosed = (
        reason(Refusal(call, number)),
        diagnose(Refusal(call, number, False, ALL, FREE)),
    )
    assert known == diagnosed
    assert said in diagnosed.words.en


def test_what_is_not_known_of_the_machine_is_not_claimed() -> None:
    calls = ("unshare(CLONE_NEWUTS)", 'mount("a", "/b", NULL, 0, NULL)', "write(3, 1)")
    for call in calls:
        known = reason(Refusal(call, errno.EPERM))
        assert known
        assert "the process lacks" not in known.why.en
        assert "seccomp filter" not in known.why.en


def test_a_reason_is_a_sentence_in_either_language() -> None:
    told = Reason(Words("没有权限", "not permitted"), Words("用 root", "be root")).words
    assert (told.zh, told.en) == ("没有权限：用 root。", "Not permitted: be root.")
    for applies, why, fix in _REASONS:
        assert callable(applies)
        told = Reason(why, fix).words
        assert CHINESE.search(told.zh)
        assert not CHINESE.search(told.en)
        assert (told.zh[-1], told.en[-1]) == ("。", ".")


def test_the_table_is_cheap_to_import() -> None:
    """labkit unshare imports it, and so does each program of %%child."""
    script = "import sys; import labkit.linux.refusal; print(*sys.modules)"
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(ROOT)!r}); {script}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"re", "dataclasses", "typing", "enum"} & set(done.stdout.split())


# --- Errors of our own ----------------------------------------------------------------------------


def failed(mistake: Callable[[], object]) -> BaseException:
    with pytest.raises((ValueError, TypeError, options.Misuse)) as caught:
        mistake()
    return caught.value


NOPE = pytest.param(
    lambda: Container(("true",), capabilities=("NOPE",)), "CAP_NOPE", id="capabilities"
)


@pytest.mark.parametrize(
    ("mistake", "name"),
    [
        NOPE,
        pytest.param(lambda: Container(("a\0b",)), r"a\x00b", id="NUL"),
        pytest.param(lambda: Container(("true",), env={"a=b": ""}), "a=b", id="env"),
        pytest.param(lambda: Container(("true",), cloneflags=Clone(1)), "0x1", id="cloneflags"),
        pytest.param(lambda: Container(("true",), seccomp={"x": 1}), "'x'", id="seccomp"),
        pytest.param(lambda: parse(["run", "--colour", "u", "true"]), "--colour", id="docker"),
        pytest.param(lambda: options.parse(["--colour"]), "--colour", id="unshare"),
        pytest.param(lambda: options.parse(["--map-users=a:b"]), "a:b", id="maps"),
    ],
)
def test_a_mistake_is_told_in_words_that_name_it(mistake: Callable[[], object], name: str) -> None:
    (told,) = words_of(failed(mistake))
    assert CHINESE.search(told.zh)
    assert not CHINESE.search(told.en)
    assert name in told.zh
    assert name in told.en


def test_a_mistake_is_said_in_the_language_that_is_spoken_when_it_is_read() -> None:
    error = failed(lambda: Container(("true",), capabilities=("NOPE",)))
    speak("zh")
    assert str(error) == "capabilities：没有 CAP_NOPE 这个权能（见 capabilities(7)）"
    speak("en")
    assert str(error) == "capabilities: no such capability, see capabilities(7): CAP_NOPE"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own


def test_a_page_is_told_the_reason_in_both_languages_whatever_is_spoken() -> None:
    speak("en")
    refused = Trial(Container(("true",), cloneflags=CLONE_NEWNS | CLONE_NEWPID, cwd="/nowhere"))
    (told,) = outcome(refused).said
    assert "没有这个工作目录" in told.zh
    assert "no such working directory" in told.en


# --- A refusal crosses to another process ---------------------------------------------------------


def test_the_doctors_probe_says_call_and_errno(nobody: list[str]) -> None:
    script = "from labkit.doctor.probe import main; main()"
    done = subprocess.run([*nobody, "-c", script, "uts"], capture_output=True, text=True)
    assert json.loads(done.stdout) == {
        "name": "uts",
        "errno": errno.EPERM,
        "call": "unshare(CLONE_NEWUTS)",
    }


def test_no_refusal_is_taken_apart_again() -> None:
    """Its text is made once, and nothing looks for the call in it."""
    taken = re.compile(
        r"removesuffix\([^)]*strerror|\[Errno \\+d|rpartition\(\" = -1|partition\(\" / "
    )
    sources = (ROOT / "labkit").rglob("*.py")
    assert [str(path) for path in sources if taken.search(path.read_text())] == []


# --- Two languages --------------------------------------------------------------------------------

WITHOUT_WORDS = {
    # Comments in a program that is shown as code: both languages always stand in one line there.
    "labkit/notebook/views/go_program.py",
    # Programs that a learner might have written, and what is typed into one.
    *(f"labkit/notebook/mydocker/models/v{stage:02}.py" for stage in range(11)),
    "labkit/notebook/mydocker/trials.py",
    # It says that there is no room, perhaps not even to import Words.
    "labkit/__main__.py",
}


def untold(path: Path) -> Iterator[int]:
    """The lines with Chinese text outside of Words and of docstrings."""
    tree = ast.parse(path.read_text())
    fine: set[int] = set()
    for node in ast.walk(tree):
        words = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Words"
        if words or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            fine.update(id(each) for each in ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in fine:
            yield from [node.lineno] * bool(CHINESE.search(node.value))


def test_chinese_is_said_in_words_alone() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for path in (ROOT / "labkit").rglob("*.py")
        if str(path.relative_to(ROOT)) not in WITHOUT_WORDS
        for line in untold(path)
    }
    assert found == set()


def test_no_text_holds_both_languages() -> None:
    both = re.compile(r"[\u3400-\u9fff][^\"'`]* / [A-Za-z]")
    for path in (ROOT / "labkit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not both.search(node.value), f"{path}:{node.lineno}"
