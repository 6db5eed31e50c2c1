"""One line of trace for each system call, written as strace(1) writes it; a refusal raises OSError.

Every call of this package to the kernel's container interfaces passes here, so the trace is whole.
"""

import _signal  # type: ignore[import-not-found]
import os
from _collections_abc import Callable

from labkit.linux.call import Call, rehearsed
from labkit.linux.refusal import errno_name, refusal

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from labkit.linux.door import Value

lines: list[str] = []
"""What this process asked of the kernel, one line a call, oldest first."""

record: Callable[[str], object] = lines.append
"""Where a line goes. A program that wants each line at once (``%%child``) puts its own here."""


def answered(line: str, result: int) -> str:
    """The line of a call with its result, or with what minus an errno stands for."""
    if result >= 0:
        return f"{line} = {octal(result) if line.startswith('umask(') else result}"
    return f"{line} = -1 {errno_name(-result)} ({os.strerror(-result)})"


def make(name: str, arguments: str, *values: "Value") -> int:
    """Make one call; leave its line in the trace; return its result or raise its refusal."""
    call = Call(f"{name}({arguments})", name, values)
    later = rehearsed(call)
    if later is not None:
        return later
    result = call()
    if result < 0:
        raise refused(call.line, -result)
    record(answered(call.line, result))
    return result


def refused(line: str, number: int) -> OSError:
    """Leave the line of a refused call in the trace; return the error to raise for it."""
    record(answered(line, -number))
    return refusal(line, number)


def octal(mode: int) -> str:
    """Permissions as strace prints them, such as 022.

    >>> octal(0o22), octal(0)
    ('022', '000')
    """
    return f"0{mode:02o}"


def quoted(text: str | bytes | None, limit: int | None = None) -> str:
    """`text` as strace prints a string: C escapes, ``...`` after `limit` bytes, NULL for None."""
    if text is None:
        return "NULL"
    data = os.fsencode(text)
    shown = data if limit is None else data[:limit]
    if not shown.translate(None, _PLAIN):
        return f'"{shown.decode()}"' + "..." * (len(shown) < len(data))
    body = "".join(_escaped(byte, shown[at + 1 : at + 2]) for at, byte in enumerate(shown))
    return f'"{body}"' + "..." * (len(shown) < len(data))


def _escaped(byte: int, following: bytes) -> str:
    if chr(byte) in _ESCAPES:
        return _ESCAPES[chr(byte)]
    if 32 <= byte < 127:
        return chr(byte)
    return f"\\{byte:03o}" if following.isdigit() else f"\\{byte:o}"


_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\n": "\\n",
    "\t": "\\t",
    "\r": "\\r",
    "\v": "\\v",
    "\f": "\\f",
}
_PLAIN = bytes({*range(32, 127)} - set(b'"\\'))
STRING, ARRAY = 32, 32
"""strace shows this many bytes of a string, elements of an array."""


def signal_name(number: int) -> str:
    """The name of a signal, or its number where it has none."""
    return _SIGNALS.get(number, str(number))


# Of two names for one number the first, as signal.Signals has it, which takes 1 ms to import.
_SIGNALS: dict[int, str] = {
    number: name
    for name, number in sorted(vars(_signal).items(), reverse=True)
    if name.startswith("SIG") and name[3] != "_"
}
