"""Hooks: programs that the configuration wants run at certain moments, with the state on stdin."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from labkit.oci.config import Config
from labkit.text.words import Words

State = Mapping[str, Any]


def run(config: Config, moment: str, state: State) -> None:
    """Run the hooks of a moment in their order. ValueError at the first that fails."""
    for hook in config.get("hooks", {}).get(moment, ()):
        _run(hook, moment, state)


def run_all(config: Config, moment: str, state: State) -> None:
    """Run all of them, where it is too late for one that fails to change anything: it is told."""
    for hook in config.get("hooks", {}).get(moment, ()):
        try:
            _run(hook, moment, state)
        except ValueError as error:
            sys.stderr.write(" ".join(f"labkit: {error}".splitlines()) + "\n")


def _run(hook: Mapping[str, Any], moment: str, state: State) -> None:
    path, said = hook.get("path", ""), f"hook {moment} {hook.get('path', '')}"
    if not path.startswith("/"):
        raise _failed(said, Words("path 要写完整的路径", "path must be a whole path"))
    seconds = hook.get("timeout")
    try:
        done = subprocess.run(
            hook.get("args") or [path],
            executable=path,
            env=dict(line.split("=", 1) for line in hook.get("env", ()) if "=" in line),
            input=json.dumps(state).encode(),
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except OSError as error:
        raise _failed(said, Words(*[os.strerror(error.errno or 0)] * 2)) from None
    except subprocess.TimeoutExpired:
        late = Words(f"{seconds} 秒之内没有结束", f"it did not end within {seconds} s")
        raise _failed(said, late) from None
    if done.returncode:
        printed = (done.stderr or done.stdout).decode(errors="replace").strip()
        status = f"{done.returncode} {printed}"
        raise _failed(said, Words(f"退出状态 {status}", f"exit status {status}"))


def _failed(hook: str, why: Words) -> ValueError:
    return ValueError(Words(f"{hook}：{why.zh}", f"{hook}: {why.en}"))
