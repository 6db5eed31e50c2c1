"""The table that make faults keeps in docs/reliability.md."""

import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from faults.injection import WHO, Injection, Outcome
from faults.kinds import KINDS

DOCUMENT = Path(__file__).parents[2] / "docs/reliability.md"
BEGIN, END = "<!-- make faults begins -->\n", "<!-- make faults ends -->\n"
HEAD = """\
| 启动 start | 调用者 caller | 引擎 engine | 子进程 child | 不干净 not clean |
|:--|--:|--:|--:|--:|
"""
Row = tuple[Injection, Outcome]


def write(rows: Sequence[Row]) -> None:
    """Keep the table of these injections in the document."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{BEGIN}{table(rows)}{END}{after}")


def table(rows: Sequence[Row]) -> str:
    """A line for each kind of start, a sum, and then each injection that was not clean."""
    machine = f"Linux {platform.release()}, {platform.machine()}, Python {sys.version.split()[0]}"
    made = [row for row in rows if row[1].reached]
    killed = sum(injection.fault.number == 0 for injection, _ in made)
    lines = [_line(kind, [row for row in made if row[0].kind == kind]) for kind in KINDS]
    wrong = [f"- `{injection}`: {outcome.wrong}\n" for injection, outcome in made if outcome.wrong]
    return (
        f"{machine}. {len(made)} injections: {len(made) - killed} errnos, {killed} SIGKILLs; "
        f"{len(rows) - len(made)} more were not reached.\n\n"
        f"{HEAD}{''.join(lines)}{_line('**∑**', made)}" + "\n" * bool(wrong) + "".join(wrong)
    )


def _line(name: str, rows: Sequence[Row]) -> str:
    counts = [sum(injection.who == who for injection, _ in rows) for who in WHO]
    wrong = sum(bool(outcome.wrong) for _, outcome in rows)
    return f"| {name} | {' | '.join(map(str, counts))} | {wrong} |\n"
