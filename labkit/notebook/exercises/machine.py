"""Where a learner's function runs: in a program of its own, never in the notebook's process.

So a function that ends its process, or never comes back, ends that program only. One that
calls the kernel (:func:`observe`) runs in a machine that is thrown away: new mount, UTS, IPC,
network and PID namespaces, where a scene of ``scenes.py`` sets things up, has a child run the
function, and looks at what came of it. Its mounts are private before it begins, and when its first
process ends, all its processes do. One that answers questions (:func:`asked`) must see what the
notebook sees, and so runs without walls, but with the guard of ``%%child``.
"""

import base64
import functools
import json
import sys
from collections.abc import Callable
from typing import Any

from labkit.container.container import Container, Finished
from labkit.engine.boot import PROJECT
from labkit.engine.client import run
from labkit.linux.flags import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    Clone,
)
from labkit.linux.refusal import refusal
from labkit.notebook.cells import shipping
from labkit.notebook.exercises import scenes
from labkit.notebook.exercises.answers import (
    SECONDS,
    FailedError,
    Failure,
    Unsendable,
    WrongError,
    function_of,
    too_long,
)
from labkit.text.words import Words

_WALLS = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWPID
_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from labkit.notebook.exercises.scenes import main
main(sys.argv[2])
"""
_ENDED = (
    Words(
        "你的函数没有返回：它把自己所在的进程结束掉了（退出状态 {status}）。",
        "Your function did not return: it ended its own process (exit status {status}).",
    ),
    Words(
        "做完就让函数返回，不要调用 `sys.exit`、`os._exit` 或 `execve`。",
        "Let the function return when it is done; do not call `sys.exit`, `os._exit` or `execve`.",
    ),
)
_NOTHING_RETURNED = (
    Words(
        "你的函数什么也没有返回（返回的是 None）。",
        "Your function returned nothing (None).",
    ),
    Words("最后一行是不是少了 `return`？", "Is a `return` missing in the last line?"),
)

_NO_VALUE = (
    Words(
        "你的函数返回了 {kind}：它离开自己的程序就没有意义。",
        "Your function returned a {kind}, which means nothing outside of its own program.",
    ),
    Words(
        "要的是值本身：用 `set(...)`、`list(...)` 或 `int(...)` 取出来。",
        "The check wants a value: `set(...)`, `list(...)` or `int(...)` can make one.",
    ),
)


def observe(scene: str, function: Callable[..., object]) -> dict[str, Any]:
    """What the scene `scene` saw of `function`; what the function printed is printed here.

    Raises FailedError when the function failed, WrongError when it did not return, and the OSError
    of the call that this machine refused to the scene itself.
    """
    return _seen(scene, shipping.ship(function, _globals(function)), _WALLS)


def asked(answer: object, *questions: tuple[object, ...]) -> list[Any]:
    """What the learner's function returns to each of `questions`, its arguments.

    Raises as :func:`observe` does, and WrongError if a question got no answer.
    """
    function = function_of(answer)
    ask = functools.partial(scenes.each, function, questions)
    seen = _seen("asked", shipping.ship(ask, _globals(function)), Clone(0))
    given: list[Any] = shipping.receive(base64.b64decode(seen["came"][0]["given"]))
    if any(each is None or each is Ellipsis for each in given):
        raise WrongError(_NOTHING_RETURNED)
    for each in given:
        if isinstance(each, Unsendable):
            raise WrongError(_NO_VALUE, kind=each.kind)
    return given


def _globals(function: object) -> dict[str, Any]:
    return getattr(function, "__globals__", {})


def _seen(scene: str, function: bytes, walls: Clone) -> dict[str, Any]:
    done = _performed(scene, function, walls)
    if done.stderr:
        sys.stdout.write(done.stderr)
    if done.returncode or not done.stdout:
        raise RuntimeError(f"scene {scene} ended with status {done.returncode}: {done.stderr}")
    seen: dict[str, Any] = json.loads(done.stdout)
    if "refused" in seen:
        raise refusal(*seen["refused"])
    if "failure" in seen:
        raise FailedError(Failure(**seen["failure"]), seen.get("seen"))
    if not seen["came"]:
        raise WrongError(_ENDED, told(seen), status=seen["status"])
    return seen


def _performed(scene: str, function: bytes, walls: Clone) -> Finished:
    argv = (sys.executable, "-I", "-u", "-X", "utf8", "-c", _PROGRAM, PROJECT, scene)
    box = Container(argv, cloneflags=walls, proc=bool(walls))
    try:
        return run(box, input=function, timeout=SECONDS)
    except TimeoutError:
        raise too_long() from None


def told(seen: dict[str, Any], *lines: str) -> str:
    """The function's system calls, and what was observed, as evidence."""
    return "\n".join([*(f"⇒ {line}" for line in seen.get("trace", ())), *lines])
