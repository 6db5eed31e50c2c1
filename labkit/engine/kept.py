"""What a process that enters a container does before its program, kept for the next one.

To make these calls ready takes the modules that know them, and to import those is most of what
`labkit exec` would take. But they are the same for each program as long as the container runs. So
the first `exec` leaves them in the container's folder, and the next ones only add their execve. The
file is numbers of 64 bits, as they stand in a score (`layout.py`), behind a line that says for what
they hold.
"""

import struct
from errno import EEXIST, ENOENT, ENOTDIR

from labkit.engine.layout import (
    CALL,
    CHILD_ERRNO,
    COUNT,
    HEAD,
    MASK,
    NEEDS_INPUT,
    NOT_MADE,
    NUMBER_SIZE,
    PASSED_OVER,
    RESULT,
)

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from _collections_abc import Sequence

_GOES_ON = (-ENOENT, -ENOTDIR, -EEXIST)  # results of a call that may be passed over


class Kept:
    """The calls before an execve, as they are written.

    execve: its number. sheet: what a score begins with. data: the strings and structures of these
    calls. addresses: the places, in both one behind the other, of numbers that are addresses; they
    count from where `data` begins.
    """

    def __init__(
        self, execve: int, sheet: "Sequence[int]", data: bytes, addresses: "Sequence[int]"
    ) -> None:
        self.execve, self.sheet, self.data, self.addresses = execve, sheet, data, addresses

    def packed(self, holds: str) -> bytes:
        """As the file has it. holds: a line, for what it holds."""
        sizes = self.execve, len(self.sheet), len(self.addresses)
        return f"{holds}\n".encode() + _packed([*sizes, *self.sheet, *self.addresses]) + self.data

    def score(
        self, address: int, paths: "Sequence[bytes]", argv: list[bytes], env: list[bytes]
    ) -> bytes:
        """A score at an `address`: these calls, then a program, which is at one of `paths`."""
        begin = address + NUMBER_SIZE * (len(self.sheet) + CALL * len(paths))
        numbers = [*self.sheet, *_numbers(self.data)]
        for place in self.addresses:
            numbers[place] += begin
        sheet, data = numbers[: len(self.sheet)], bytearray(_packed(numbers[len(self.sheet) :]))

        def put(value: bytes) -> int:
            """Put something behind the sheet, and fill up the last number. Its address."""
            at = begin + len(data)
            data.extend(value + bytes(-len(value) % NUMBER_SIZE))
            return at

        words = put(_packed([*(put(text + b"\0") for text in argv), 0]))
        variables = put(_packed([*(put(text + b"\0") for text in env), 0]))
        for left, path in zip(range(len(paths) - 1, -1, -1), paths, strict=True):
            mask = PASSED_OVER * bool(left)  # but for the last, which says why there is none
            sheet += [self.execve, put(path + b"\0"), words, variables, 0, 0, 0, NOT_MADE, mask]
        sheet[COUNT] += len(paths)
        return _packed(sheet) + data

    def ran(self, written: bytes) -> bool:
        """Whether a score has come to its program: an execve that gives no result has worked."""
        sheet = memoryview(written[: len(written) // NUMBER_SIZE * NUMBER_SIZE]).cast("q")
        for at in range(HEAD, HEAD + CALL * sheet[COUNT], CALL):
            result, mask = sheet[at + RESULT], sheet[at + MASK]
            if result == NOT_MADE:
                return sheet[at] == self.execve and not sheet[CHILD_ERRNO]
            if result < 0 and not (mask & PASSED_OVER and result in _GOES_ON):
                return False
            if result == 0 and mask & NEEDS_INPUT:
                return False
        return False


def load(path: str, holds: str) -> Kept | None:
    """What a file has, if it is there and holds for this."""
    try:
        with open(path, "rb") as file:
            line, _, rest = file.read().partition(b"\n")
    except OSError:
        return None
    if line != holds.encode():
        return None
    execve, numbers, addresses = struct.unpack_from("3q", rest)
    middle, end = 3 + numbers, 3 + numbers + addresses
    head = _numbers(rest[: NUMBER_SIZE * end])
    return Kept(execve, head[3:middle], rest[NUMBER_SIZE * end :], head[middle:])


def _numbers(data: bytes) -> list[int]:
    return memoryview(data).cast("q").tolist()


def _packed(numbers: "Sequence[int]") -> bytes:
    return struct.pack(f"{len(numbers)}q", *numbers)
