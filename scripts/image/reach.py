"""docs/reach.md: what was found on which host, a section each.

python scripts/image/reach.py HOST REPORT.json    write a report that was made elsewhere
"""

import io
import json
import re
import sys
import tarfile
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reach.md"
HEADER = (
    "| notebook | cells | 真实 real | rootless | 录制 recorded | 不同 different | 出错 error |\n"
    "|:--|--:|--:|--:|--:|--:|--:|\n"
)
OUTCOMES = ("real", "rootless", "recorded", "different", "error")


def untar(data: bytes) -> str:
    """The text of the only file in an archive, as ``docker cp FILE -`` gives it."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        file = archive.extractfile(archive.getmembers()[0])
        assert file
        return file.read().decode()


def counts(run: dict[str, Any]) -> str:
    """A line for each notebook."""
    lines = []
    for book, found in sorted(run["notebooks"].items()):
        outcomes = [cell["outcome"] for cell in found]
        numbers = [str(len(found)), *(str(outcomes.count(name)) for name in OUTCOMES)]
        lines.append(f"| {book} | {' | '.join(numbers)} |\n")
    return "".join(lines)


def others(run: dict[str, Any]) -> str:
    """The cells that were not real, by name; those that differed or failed, with the error."""
    ways = ("rootless", "recorded")
    names = {
        book: [", ".join(c["id"] for c in found if c["outcome"] == way) or "–" for way in ways]
        for book, found in sorted(run["notebooks"].items())
    }
    lines = [f"| {book} | {' | '.join(found)} |\n" for book, found in names.items()]
    if set(map(tuple, names.values())) == {("–", "–")}:
        lines = []
    wrong = [
        f"| {book} | {cell['id']} | {cell['outcome']} | {quoted(cell['reason'])} |\n"
        for book, found in sorted(run["notebooks"].items())
        for cell in found
        if cell["outcome"] in ("different", "error")
    ]
    return _rows("| notebook | rootless | 录制 recorded |\n|:--|:--|:--|\n", lines) + _rows(
        "| notebook | cell | | |\n|:--|:--|:--|:--|\n", wrong
    )


def _rows(head: str, lines: list[str]) -> str:
    return f"\n{head}{''.join(lines)}" if lines else ""


def table(run: dict[str, Any]) -> str:
    """What one way to start the container made of the notebooks."""
    command = f"docker run {run['flags']}".rstrip()
    return f"`{command}`:\n\n{HEADER}{counts(run)}{others(run)}"


def quoted(text: str) -> str:
    """An error's line in a cell of a table."""
    short = text if len(text) <= 110 else f"{text[:109]}…"
    return f"`{short}`".replace("|", "\\|") if short else ""


def section(host: str, report: dict[str, Any]) -> str:
    """A host: what it is, what the lab did there, and the cells."""
    about, lab = report["host"], report["lab"]
    machine = f"{about['OperatingSystem']}, Linux {about['KernelVersion']}"
    docker = (
        f"Docker {about['ServerVersion']} ({about['Driver']}, cgroup v{about['CgroupVersion']})"
    )
    text = (
        f"### {host}\n\n{machine}, {docker}, {about['Day']}. "
        f"Image {about['Size']}; healthy after {lab['healthy']} s; {lab['page']} run in a browser "
        f"from outside; stopped within {lab['stopped']} s.\n\n"
    )
    return text + "\n".join(map(table, report["runs"]))


def record(host: str, report: dict[str, Any], page: Path = PAGE) -> None:
    """Write the section of `host`, in place of the one that is there."""
    text = page.read_text(encoding="utf-8")
    old = re.compile(rf"^### {re.escape(host)}\n.*?(?=^#|\Z)", re.MULTILINE | re.DOTALL)
    new = f"{section(host, report).rstrip()}\n\n"
    text = old.sub(lambda _: new, text) if old.search(text) else f"{text.rstrip()}\n\n{new}"
    page.write_text(f"{text.rstrip()}\n", encoding="utf-8")


if __name__ == "__main__":
    record(sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
