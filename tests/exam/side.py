"""The parts of docs/docker.md that show a run under labkit and under real Docker, side by side.

There is one for each version of control groups: what a container sees of them differs most.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping

from exam.page import DOCUMENT
from labkit import CLONE_NEWNET
from labkit.cgroups import group
from labkit.engine import connection
from labkit.linux.processes import unshare
from labkit.network import bridge
from labkit.notebook.views.beside_docker import SUBJECTS, Beside, Difference, compare_with_docker

BEGIN, END = (
    "<!-- side by side, version {} begins -->\n",
    "<!-- side by side, version {} ends -->\n",
)


def write(docker: tuple[str, ...], env: Mapping[str, str]) -> None:
    """Compare, and keep it in the document. This process gets a network of its own."""
    version = group.version_of(group.trees())
    unshare(CLONE_NEWNET)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with _environment(env):
        found = compare_with_docker(["busybox"], docker=docker)
        connection.close()
        bridge.close()  # before the folder of its state goes
    begin, end = BEGIN.format(version), END.format(version)
    before, _, rest = DOCUMENT.read_text().partition(begin)
    DOCUMENT.write_text(f"{before}{begin}{_table(found)}{end}{rest.partition(end)[2]}")


@contextlib.contextmanager
def _environment(env: Mapping[str, str]) -> Iterator[None]:
    ours = dict(os.environ)
    os.environ.clear()
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(ours)


def _table(found: Beside) -> str:
    counts = [
        f"| {words.joined(' ')} | {found.same[subject]} | "
        f"{sum(each.subject == subject for each in found.differences)} |\n"
        for subject, words in SUBJECTS.items()
    ]
    alike: dict[tuple[str, str, str], list[Difference]] = {}
    for each in found.differences:
        key = (each.labkit, each.docker, str(each.why))
        alike.setdefault(key, []).append(each)
    rows = "".join(map(_row, alike.values()))
    return (
        f"| | 相同 same | 不同 different |\n|:--|--:|--:|\n{''.join(counts)}\n"
        "| 不同的 what differs | labkit | docker | 原因 why |\n|:--|:--|:--|:--|\n" + rows
    )


def _row(alike: list[Difference]) -> str:
    """A line for what differs in the same way."""
    why = alike[0].why
    names = " ".join(f"`{each.name}`" for each in alike)
    told = [f"`{value}`" if value else " " for value in (alike[0].labkit, alike[0].docker)]
    return f"| {names} | {' | '.join(told)} | {why.joined(' / ') if why else ''} |\n"
