"""What came of a case: the same as Docker, different, or not there; and why it differs."""

import functools
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exam.sitting import Answer, from_json

ANSWERS = Path(__file__).parent / "answers"
DOCKER, LABKIT = ANSWERS / "docker.json", ANSWERS / "labkit.json"
REASONS = Path(__file__).parent / "reasons.toml"
SAME, DIFFERENT, MISSING = "same", "different", "missing"
# How a command line says that it has no such verb or option.
_NOT_THERE = re.compile(
    r"invalid choice|unknown (?:shorthand )?flag|unknown command|is not a docker command"
    r"|There is no .* yet|comes with V|no such option"
)


@dataclass(frozen=True)
class Reason:
    """Why some cases differ on purpose."""

    cases: tuple[str, ...]
    zh: str
    en: str


@functools.cache
def reasons() -> dict[str, Reason]:
    """The reason of each case that differs on purpose."""
    with REASONS.open("rb") as file:
        written = tomllib.load(file).get("reason", [])
    found = [Reason(tuple(each.pop("cases")), **each) for each in written]
    keys = [key for reason in found for key in reason.cases]
    assert len(set(keys)) == len(keys), "a case has two reasons"
    return {key: reason for reason in found for key in reason.cases}


_NO_VERB = re.compile(r"^usage: docker \[-h\] COMMAND")


def judge(docker: Answer, ours: Answer) -> str:
    """SAME, DIFFERENT or MISSING."""
    if docker == ours:
        return SAME
    if _says(ours, _NO_VERB) or (_says(ours, _NOT_THERE) and not _says(docker, _NOT_THERE)):
        return MISSING
    return DIFFERENT


def _says(answer: Answer, pattern: re.Pattern[str]) -> bool:
    """Whether a line was answered so."""
    said = (answer.line, *answer.effects, *answer.failed)
    return any(pattern.search(each.err) or pattern.search(each.out) for each in said)


@functools.cache
def docker_answers() -> dict[str, Answer]:
    """What real Docker has answered, by case."""
    found: dict[str, Any] = json.loads(DOCKER.read_text())["answers"]
    return {key: from_json(value) for key, value in found.items()}


def docker_version() -> dict[str, str]:
    """The versions of the Docker that has answered."""
    found: dict[str, str] = json.loads(DOCKER.read_text())["version"]
    return found


def labkit_answers() -> dict[str, Answer]:
    """What labkit has answered where that is not the same."""
    found: dict[str, Any] = json.loads(LABKIT.read_text())
    return {key: from_json(value["answer"]) for key, value in found.items() if "answer" in value}


def verdicts() -> dict[str, str]:
    """What came of each case when labkit was last examined."""
    found: dict[str, Any] = json.loads(LABKIT.read_text())
    return {key: value["verdict"] for key, value in found.items()}


def keep_docker(version: Mapping[str, str], answers: Mapping[str, Answer]) -> None:
    """Keep what Docker has answered; the answers of other cases stay."""
    kept = json.loads(DOCKER.read_text())["answers"] if DOCKER.exists() else {}
    kept |= {key: answer.as_json() for key, answer in answers.items()}
    _write(DOCKER, {"version": dict(version), "answers": dict(sorted(kept.items()))})
    docker_answers.cache_clear()


def keep_labkit(answers: Mapping[str, Answer]) -> None:
    """Keep what came of the cases; and what labkit answers where that is not the same."""
    kept = json.loads(LABKIT.read_text()) if LABKIT.exists() else {}
    for key, answer in answers.items():
        verdict = judge(docker_answers()[key], answer)
        said = {} if verdict == SAME else {"answer": answer.as_json()}
        kept[key] = {"verdict": verdict, **said}
    _write(LABKIT, dict(sorted(kept.items())))


def forget(known: Mapping[str, object]) -> None:
    """Drop the answers to cases that are no more."""
    for path in (DOCKER, LABKIT):
        content = json.loads(path.read_text())
        answers = content.get("answers", content)
        for key in set(answers) - set(known):
            del answers[key]
        _write(path, content)


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
