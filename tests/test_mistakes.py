"""An error in a cell: what is wrong comes first, and code that is not the learner's is folded."""

import json
import os
import re
from collections.abc import Callable

import pytest
from test_child_magic import Kernel, kernel

from labkit import Container, enter, run, start
from labkit.notebook import choose, steps, terminal
from labkit.text.words import Words, words_of

__all__ = ["kernel"]  # a fixture

FOLDED = "%tb shows all"


def shown(kernel: Kernel, code: str) -> list[str]:
    """The lines of a cell's error, as they are read."""
    text = "\n".join(kernel.run(code).error["traceback"])
    return re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()


def test_what_is_wrong_comes_first_and_frames_of_ours_are_folded(kernel: Kernel) -> None:
    said, cell, code, *rest = shown(kernel, "from labkit import *\nContainer('ls')")
    assert said.startswith("TypeError: argv 应是一串词")
    assert cell.startswith("Cell In[")
    assert "1 from labkit" in code
    assert "Container('ls')" in rest[0]
    assert FOLDED in rest[-1]
    assert "labkit/container" not in "".join(rest)
    assert len(rest) < 6


def test_the_reason_of_a_refusal_stands_beside_it(kernel: Kernel) -> None:
    lines = shown(kernel, "from labkit import *\nrun(Container(('true',), cwd='/no/such'))")
    assert lines[0] == 'FileNotFoundError: [Errno 2] chdir("/no/such"): No such file or directory'
    assert lines[2].startswith("The container has no such working directory")


def test_the_learners_own_functions_stay(kernel: Kernel) -> None:
    code = "def outer():\n    return inner()\n\n\ndef inner():\n    return 1 / 0\n\n\nouter()"
    lines = shown(kernel, code)
    assert lines[0] == "ZeroDivisionError: division by zero"
    assert sum("---->" in line for line in lines) == 3
    assert FOLDED not in lines[-1]


def test_a_function_that_ours_calls_is_the_learners(kernel: Kernel) -> None:
    code = "import json\njson.loads('[1]', parse_int=lambda digits: nobody)"
    lines = shown(kernel, code)
    assert lines[0] == "NameError: name 'nobody' is not defined"
    assert sum("---->" in line for line in lines) == 2
    assert FOLDED in lines[-1]
    assert not any("decoder.py" in line for line in lines)


def test_percent_tb_shows_all_of_it(kernel: Kernel) -> None:
    assert FOLDED in shown(kernel, "from labkit import *\nContainer('ls')")[-1]
    whole = shown(kernel, "%tb")
    assert any("labkit/container/container.py" in line for line in whole)
    assert whole[-1].startswith("TypeError: argv")


def test_an_error_raised_while_another_is_handled_says_so(kernel: Kernel) -> None:
    lines = shown(kernel, "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    error.no")
    assert lines[0].startswith("AttributeError: ")
    assert "while another error was handled" in lines[-1]
    assert any("ZeroDivisionError: division by zero" in line for line in shown(kernel, "%tb"))
    lines = shown(
        kernel, "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise KeyError from None"
    )
    assert FOLDED not in lines[-1]


def test_whoever_asks_ipython_for_more_gets_it(kernel: Kernel) -> None:
    assert kernel.run("%xmode Plain").error == {}
    assert shown(kernel, "1 / 0")[-1] == "ZeroDivisionError: division by zero"
    assert kernel.run("%xmode Context").error == {}
    assert shown(kernel, "1 / 0")[0] == "ZeroDivisionError: division by zero"


def test_name_and_text_of_the_error_are_as_they_were(kernel: Kernel) -> None:
    """nbval compares them."""
    error = kernel.run("import json\njson.loads('{')").error
    with pytest.raises(json.JSONDecodeError) as raised:
        json.loads("{")
    assert (error["ename"], error["evalue"]) == ("JSONDecodeError", str(raised.value))


@pytest.mark.parametrize("use", [run, start, steps, choose, terminal])
def test_words_in_place_of_a_container(use: Callable[..., object]) -> None:
    with pytest.raises(TypeError) as meant:
        Container("ls")
    with pytest.raises(TypeError) as raised:
        use("ls")
    assert words_of(raised.value) == words_of(meant.value)
    with pytest.raises(TypeError) as raised:
        use(("ls",))
    assert words_of(raised.value) == (
        Words(
            '应是一个容器，如 Container(("echo", "hi"))，而不是 (\'ls\',)',
            'a container is wanted, as in Container(("echo", "hi")), not (\'ls\',)',
        ),
    )


def test_words_in_place_of_a_program_to_enter_with() -> None:
    with pytest.raises(TypeError, match="argv is a sequence of words"):
        enter(os.getpid(), "true")


def test_a_widget_that_was_refused_leaves_nothing_for_later(kernel: Kernel) -> None:
    """Python deletes what was half made some cells later, and says there what goes wrong."""
    kernel.run("from labkit import *\nfrom labkit.notebook import *")
    for code in ("terminal('ls')", "terminal(Container(('no-such',), cwd='/no/such'))"):
        assert kernel.run(code).error
        later = kernel.run("import gc\nimport sys\nsys.last_value = None\ngc.collect();")
        assert (later.stderr, later.error) == ("", {})


def test_a_first_cell_runs_again_in_silence(kernel: Kernel) -> None:
    for _ in range(3):
        cell = kernel.run("%load_ext labkit\n2 + 2;")
        assert (cell.stdout, cell.stderr, cell.error) == ("", "", {})
    assert FOLDED in shown(kernel, "from labkit import *\nContainer('ls')")[-1]
    assert kernel.run("%%child\nprint('once')").stdout.count("once") == 1
