"""make faults: all injections, in two processes; what has been done already is not done again."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from faults.injection import Caller, Injection, Outcome, plan
from faults.kinds import KINDS, places
from faults.report import Row, write
from faults.tracer import Fault

ROOT = Path(__file__).parents[2]
DONE = ROOT / ".faults" / "done.jsonl"


def injected(injections: Iterable[Injection]) -> Iterator[Row]:
    """Make them one after another; after what was not clean, with another caller."""
    caller: Caller | None = None
    try:
        for injection in injections:
            try:
                caller = caller or Caller()
                outcome = caller.inject(injection)
            except Exception as error:  # noqa: BLE001 - the others go on
                outcome = Outcome(True, f"{type(error).__name__}: {error}")
            if caller and (outcome.wrong or caller.ended):
                caller.close()
                caller = None
            yield injection, outcome
    finally:
        if caller:
            caller.close()


def planned(kind: str, who: str) -> list[Injection]:
    """All that is to fail in a kind of start."""
    caller = Caller()
    try:
        return list(plan(kind, who, caller.listing(kind, who)))
    finally:
        caller.close()


def part(kind: str, who: str, known: set[str], only: str) -> list[str]:
    """Make the injections of one kind; a line of JSON for each."""
    found = [each for each in planned(kind, who) if str(each) not in known and only in str(each)]
    rows = []
    DONE.parent.mkdir(exist_ok=True)
    with DONE.open("a") as file:
        for injection, outcome in injected(found):
            rows.append(as_line(injection, outcome))
            file.write(f"{rows[-1]}\n")
            file.flush()
    return rows


def as_line(injection: Injection, outcome: Outcome) -> str:
    fault = injection.fault
    row = [injection.kind, injection.who, fault.name, fault.nth, fault.number]
    return json.dumps([*row, outcome.reached, outcome.wrong])


def as_row(line: str) -> Row:
    kind, who, name, nth, number, reached, wrong = json.loads(line)
    return Injection(kind, who, Fault(name, nth, number)), Outcome(reached, wrong)


def main() -> None:
    """Make what has not been made yet, and write the table."""
    parser = argparse.ArgumentParser(prog="make faults", description=main.__doc__)
    parser.add_argument("kinds", nargs="*", default=[], help=", ".join(KINDS))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--anew", action="store_true", help="forget what has been done")
    parser.add_argument("--only", default="", help="part of an injection's name")
    asked = parser.parse_args()
    if asked.anew:
        DONE.unlink(missing_ok=True)
    rows = [as_row(line) for line in DONE.read_text().splitlines()] if DONE.exists() else []
    rows = [*{str(injection): (injection, outcome) for injection, outcome in rows}.values()]
    rows = [row for row in rows if not row[1].wrong]  # the others are made again
    known = {str(injection) for injection, _ in rows}
    began = time.monotonic()
    with ProcessPoolExecutor(asked.jobs) as pool:
        parts = [
            pool.submit(part, kind, who, known, asked.only)
            for kind in asked.kinds or KINDS
            for who in places(kind)
        ]
        for each in as_completed(parts):
            new = [as_row(line) for line in each.result()]
            rows += new
            for injection, outcome in new:
                if outcome.wrong:
                    print(f"{injection}: {outcome.wrong}", flush=True)
    print(f"{len(rows)} injections, {time.monotonic() - began:.0f} s")
    if not asked.kinds and not asked.only:
        write(rows)
    sys.exit(any(outcome.wrong for _, outcome in rows))


if __name__ == "__main__":
    main()
