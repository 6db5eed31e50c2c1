"""What a child says to its caller before execve: its trace, its namespaces, what was refused.

The child writes it as plain lines, since every page that it touches has to be copied for it; the
engine passes the text on unread, and the caller, who has time, reads it.
"""

import os

TYPE_CHECKING = False  # the engine reads this too, and importing typing is a third of its start
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Report:
    """The writer: one line a system call, sent in one go before execve, which does not return."""

    def __init__(self, fd: int, inodes: "Mapping[str, int]") -> None:
        self.fd, self.stage = fd, 0
        self.lines = ["ns " + " ".join([f"{kind}={inode}" for kind, inode in inodes.items()])]

    def record(self, line: str) -> None:
        """Take a line of the trace: `labkit.syscalls.record`."""
        self.lines.append(f"{self.stage} {line}")
        if line.endswith(" = ?"):
            self.send()

    def refused(self, number: int, text: str) -> None:
        """Say which call was refused with errno `number`; 0 for a defect of ours."""
        self.lines.append(f"refused {number} {text}")
        self.send()

    def send(self) -> None:
        """Send what has gathered."""
        os.write(self.fd, ("\n".join(self.lines) + "\n").encode())
        self.lines = []

    def inside(self) -> None:
        """Go on as the child of the one that has just cloned, who reports what was before."""
        self.stage, self.lines = 1, []


class Account:
    """The reader. refused: None, or the errno and text of the call that was."""

    def __init__(self, before: "Iterable[str]", said: str) -> None:
        """Read what a child `said`; `before` it, the engine made the calls that led to it."""
        parts = [line.partition(" ") for line in said.splitlines()]
        stages = [[text for word, _, text in parts if word == stage] for stage in "01"]
        self.trace = _settled([*before, *stages[0], *stages[1]])
        self.inodes: dict[str, int] = {}
        self.refused: tuple[int, str] | None = None
        for word, _, text in parts:
            if word == "ns":
                pairs = (pair.partition("=") for pair in text.split())
                self.inodes = {kind: int(inode) for kind, _, inode in pairs}
            elif word == "refused":
                number, _, reason = text.partition(" ")
                self.refused = int(number), reason


def _settled(trace: list[str]) -> tuple[str, ...]:
    """The trace with its execve settled: where nothing comes after " = ?", it has succeeded."""
    return (
        *(line for line in trace[:-1] if not line.endswith(" = ?")),
        *(line.removesuffix("?") + "0" if line.endswith(" = ?") else line for line in trace[-1:]),
    )
