"""An answer without what differs from run to run: identifiers, times, sizes, addresses."""

import json
import re
from collections.abc import Callable, Iterator

_SHAPES = [
    (r"\b[0-9a-f]{64}\b", "<id>"),
    (r"\b(?=[a-f]*\d)[0-9a-f]{12}\b", "<short id>"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?(Z|[+-]\d\d:?\d\d)( UTC)?)?", "<time>"),
    (r"(?:About an?|\d+|Less than a) (?:second|minute|hour|day|week|month|year)s?", "<span>"),
    (r"\b\d+(?:\.\d+)?(?:[kMGT]i?)?B\b", "<size>"),
    (r"\b(?:172\.[12]\d|10\.(?:8[89]|9\d|1[012]\d))(?:\.\d{1,3}){2}\b", "<address>"),
    (r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", "<mac>"),
    (r"\b(0\.0\.0\.0|\[::\]):\d{5}->", r"\1:<port>->"),
    (r"/tmp[a-z0-9_]{8}\b", "/<temporary>"),  # as Python calls a file
    (r" {2,}", "  "),
    (r"[ \t]+(?=\n|$)", ""),
]
# Docker says who speaks: its command line, the daemon, or what the daemon has called.
_SPEAKERS = re.compile(
    r"^(?:docker: )?(?:Error response from daemon: )?(?:Error: )?"
    r"(?:failed to create task for container: )?(?:failed to create shim task: )?"
    r"(?:OCI runtime (?:create|exec) failed: )?(?:runc (?:create|exec) failed: )?"
    r"(?:unable to start container process: )?"
)


def shaped(text: str, folder: str) -> str:
    """Text with names in place of what differs each time. folder: the case's own."""
    text = text.replace(folder, "{tmp}").replace("\r\n", "\n")
    for pattern, name in _SHAPES:
        text = re.sub(pattern, name, text)
    return text


def complaint(text: str, folder: str, mark: str = "") -> str:
    """The first line of standard error, without who says it."""
    line = re.sub(r"\blabkit\b", "docker", shaped(text, folder)).strip().partition("\n")[0]
    line = re.sub(r": unknown(: permission denied)?\.?$", "", _SPEAKERS.sub("", line))
    return (_BY_MARK["numbers"](line) if mark == "numbers" else line).removesuffix(".").strip()


def _keys(text: str) -> str:
    """Which keys JSON has, each with those above it."""
    try:
        found = sorted(set(_paths(json.loads(text))))
    except ValueError:
        return text
    return "".join(f"{path}\n" for path in found)


def _paths(value: object, above: str = "") -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _paths(each, above)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield f"{above}.{key}"
            yield from _paths(each, f"{above}.{key}")


_BY_MARK: dict[str, Callable[[str], str]] = {
    "lines": lambda text: "".join(sorted(text.splitlines(keepends=True))),
    "head": lambda text: text.partition("\n")[0],
    # A list of processors is one: 0, or 0-3,8.
    "numbers": lambda text: re.sub(r"\d+(?:\.\d+)?(?:[-,]\d+)*", "<number>", text),
    "quiet": lambda _: "",
}


def output(text: str, folder: str, mark: str) -> str:
    """Standard output, as far as it counts."""
    if mark == "keys":
        return _keys(text)
    return _BY_MARK.get(mark, str)(shaped(text, folder))
