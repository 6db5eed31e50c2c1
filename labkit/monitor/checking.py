"""One check of a container's health. Its monitor starts this as a process when it is time.

To make a program run in the container takes more than a monitor has. The monitor is told what was
found, because it notes the event.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

from labkit.engine.execution import Execution
from labkit.engine.streams import Streams
from labkit.engine.verdict import EngineLost
from labkit.linux.fields import replace
from labkit.monitor import acts, entering, health, status
from labkit.monitor import record as records
from labkit.monitor.lines import moment
from labkit.monitor.record import Record
from labkit.state import document
from labkit.text.words import one_line

_KEPT, _MOST = 5, 4096  # results that are kept; bytes of the output of each, as with Docker
_SOON = 0.01  # seconds until the next look
_FAILED = -1  # exit status of a check that could not be run, or took too long


def main() -> None:
    """Check the container in a folder."""
    check(records.load(sys.argv[2]))


def check(record: Record) -> None:
    """Run its check once, and note what came of it."""
    asked = health.settings(record)
    before = document.read(record.at(health.FILE), None)
    if asked is None or not before:
        return
    begin = moment()
    try:
        code, output = _run(record, asked)
    except ValueError:  # it is paused, or has ended
        return
    result = {"Start": begin, "End": moment(), "ExitCode": code, "Output": output}
    found = _after(before, result, asked, _is_beginning(record, asked))
    document.write(record.at(health.FILE), found)
    if monitor := acts.monitor_of(record):
        with contextlib.suppress(ConnectionError):
            monitor.send(f"checked {found['Status']}")
            monitor.send("pidfd")  # whose answer says that it has been heard
            monitor.answer()
        monitor.close()


def _is_beginning(record: Record, asked: Mapping[str, Any]) -> bool:
    """Whether it is in its start period, in which a failure does not count."""
    began = os.stat(record.at("run.json")).st_mtime  # replaced at its start
    is_up = status.of(record).is_up
    return is_up and time.time() - began < health.seconds(asked, "StartPeriod")


def _after(
    before: Mapping[str, Any], result: Mapping[str, Any], asked: Mapping[str, Any], early: bool
) -> dict[str, Any]:
    """The health after one more result. early: whether it is in its start period."""
    state, streak = before["Status"], before["FailingStreak"]
    if result["ExitCode"] == 0:
        state, streak = health.HEALTHY, 0
    elif not (early and state == health.STARTING):
        streak += 1
        state = (
            health.UNHEALTHY
            if streak >= (asked.get("Retries") or health.USUAL["Retries"])
            else state
        )
    log = [*before["Log"], dict(result)][-_KEPT:]
    return {"Status": state, "FailingStreak": streak, "Log": log}


def _run(record: Record, asked: Mapping[str, Any]) -> tuple[int, str]:
    """Run the program of the check: its exit status and output. ValueError: nobody runs it now."""
    target = entering.target(record)
    box = replace(record.box, hostname=None, proc=False, tty=False, argv=_program(asked))
    try:
        streams = Streams([None, None, None], b"", limit=_MOST)
        execution = Execution(box, streams, target, report_start=True)
        return _followed(execution, health.seconds(asked, "Timeout"))
    except EngineLost as error:
        raise ValueError(*error.args) from None
    except OSError as error:
        return _FAILED, one_line(error)
    finally:
        os.close(target.pidfd)


def _followed(execution: Execution, timeout: float) -> tuple[int, str]:
    """Follow it to its end; who takes too long is killed. Its exit status and output."""
    end, late = time.monotonic() + timeout, False
    while not execution.ended:
        left = end - time.monotonic()
        if left <= 0 and not late and execution.pidfd >= 0:
            late = True
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(execution.pidfd, signal.SIGKILL)
        execution.streams.step(None if late else max(left, _SOON))
    execution.follow_to_end()
    done = execution.finished()
    if late:
        return _FAILED, f"Health check exceeded timeout ({timeout:g}s)"
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode
    return code, (done.stdout + done.stderr)[:_MOST]


def _program(asked: Mapping[str, Any]) -> tuple[str, ...]:
    kind, *words = asked["Test"]
    return (*(("/bin/sh", "-c") if kind == "CMD-SHELL" else ()), *words)
