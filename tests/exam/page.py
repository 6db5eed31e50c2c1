"""The part of docs/docker.md that the answers give."""

import re
from collections import Counter
from pathlib import Path
from textwrap import shorten

from exam.cases import MARCH_2013, Case, cases
from exam.sitting import Said
from exam.verdict import (
    MISSING,
    SAME,
    Reason,
    docker_answers,
    docker_version,
    labkit_answers,
    reasons,
    verdicts,
)

DOCUMENT = Path(__file__).parents[2] / "docs/docker.md"
BEGIN, END = "<!-- make exam begins -->\n", "<!-- make exam ends -->\n"
ON_PURPOSE = "on purpose"
_SUBJECTS = {
    "CommitRun": ("改动做成镜像，再从它运行", "changes become an image, which is run"),
    "Run": ("运行到结束", "run to the end"),
    "Output": ("输出一字不差", "output to the byte"),
    "Kill": ("杀死", "kill"),
    "ExitCode": ("退出状态", "exit status"),
    "Restart": ("再运行一次", "run once more"),
    "RestartStdin": ("再运行一次，又有输入", "run once more, with input again"),
    "User": ("以谁的身份", "as which user"),
    "MultipleContainers": ("同时两个", "two at a time"),
    "Stdin": ("标准输入", "standard input"),
    "Tty": ("终端", "a terminal"),
    "Env": ("环境变量", "environment"),
    "LXCConfig": ("内存和 CPU 的上限", "limits of memory and CPU"),
}


def write() -> None:
    """Keep in the document what the answers give."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}{generated()}{END}{rest.partition(END)[2]}")


def generated() -> str:
    """The generated part."""
    return "\n".join(part for part in (_card(), _table(), _differing(), _absent()) if part)


def outcome(case: Case) -> str:
    """SAME, ON_PURPOSE, or MISSING for all else."""
    if verdicts().get(case.key) == SAME:
        return SAME
    return ON_PURPOSE if case.key in reasons() else MISSING


def _card() -> str:
    """Docker 0.1.0's own subjects."""
    found = [case for case in cases().values() if case.family == MARCH_2013]
    passed = sum(outcome(case) == SAME for case in found)
    rows = "".join(
        f"| {'✓' if outcome(case) == SAME else '—'} | {case.name} | {zh} | {en} |\n"
        for case in found
        for zh, en in [_SUBJECTS[case.name]]
    )
    return (
        f"**2013 年 3 月的 {len(found)} 项，通过 {passed} 项 · "
        f"{passed} of {len(found)} of March 2013**\n\n"
        f"| | | 内容 | what it is about |\n|:-:|:--|:--|:--|\n{rows}"
    )


def _table() -> str:
    """A line for each verb."""
    version = {name: re.split("[+~]", text)[0] for name, text in docker_version().items()}
    parts = ", ".join(
        f"{name} {version[name]}" for name in ("docker", "Engine", "containerd", "runc")
    )
    by_verb: dict[str, Counter[str]] = {}
    for case in cases().values():
        by_verb.setdefault(case.verb, Counter())[outcome(case)] += 1
    total = sum(by_verb.values(), Counter())
    return (
        f"{len(cases())} 行命令，相比的是 / {len(cases())} command lines, compared with:\n"
        f"{parts}.\n\n"
        "| 动词 verb | 行 lines | 相同 same | 有意不同 on purpose | 没有 missing |\n"
        "|:--|--:|--:|--:|--:|\n"
        + "".join(_row(f"`{verb}`", by_verb[verb]) for verb in sorted(by_verb))
        + _row("**∑**", total)
    )


def _row(name: str, counts: Counter[str]) -> str:
    cells = [counts.total(), *(counts[each] for each in (SAME, ON_PURPOSE, MISSING))]
    return f"| {name} | {' | '.join(map(str, cells))} |\n"


def _differing() -> str:
    """What differs on purpose, by reason."""
    groups: dict[Reason, list[Case]] = {}
    for case in cases().values():
        if outcome(case) == ON_PURPOSE:
            groups.setdefault(reasons()[case.key], []).append(case)
    rows = [f"- {r.zh} / {r.en}\n{''.join(map(_line, found))}" for r, found in groups.items()]
    return f"### 有意不同 / Different on purpose\n\n{''.join(rows)}" if rows else ""


def _absent() -> str:
    """What is not there, or not yet as it should be."""
    found = [case for case in cases().values() if outcome(case) == MISSING]
    absent = [case for case in found if verdicts().get(case.key, MISSING) == MISSING]
    other = [case for case in found if case not in absent]
    parts = [
        f"- {zh} / {en}\n{''.join(map(show, some))}"
        for zh, en, show, some in (
            ("没有这个动词或选项", "There is no such verb or option.", _line, absent),
            ("还不一样", "They still differ.", _both, other),
        )
        if some
    ]
    return f"### 没有 / Missing\n\n{''.join(parts)}" if found else ""


def _line(case: Case) -> str:
    return f"  - {case.name}: {_code(case.text)}\n"


def _both(case: Case) -> str:
    """The line, and the first thing that Docker and labkit say otherwise."""
    docker, ours = docker_answers()[case.key], labkit_answers()[case.key]
    pairs = [(docker.line, ours.line), *zip(docker.effects, ours.effects, strict=False)]
    pairs += [(Said(0), said) for said in ours.failed]
    a, b = next(pair for pair in pairs if pair[0] != pair[1])
    return f"{_line(case)}    - Docker: {_said(a, b)}\n    - labkit: {_said(b, a)}\n"


def _said(said: Said, other: Said) -> str:
    """What is not the same in the other: exit status, output, complaint."""
    told = [f"{said.status}"] if said.status != other.status else []
    for text, same in ((said.out, other.out), (said.err, other.err)):
        if text != same:
            told.append(_code(shorten(" ".join(text.split()), 100, placeholder=" ...")))
    return ", ".join(told)


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}" if text else "—"
