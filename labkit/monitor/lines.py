"""What a container prints as lines of Docker's json-file log: {"log", "stream", "time"}.

The monitor imports this, so it takes the half of the module json that is written in C.
"""

import time
from _json import encode_basestring

PARTIAL = 16384  # bytes: a longer line is written in parts, as Docker does


class Lines:
    """Cuts the output of one stream into lines, whatever pieces it comes in."""

    def __init__(self, stream: str) -> None:
        self._end, self._rest = f'","stream":"{stream}","time":"', b""

    def add(self, data: bytes) -> bytes:
        """Take more output. The entries of the lines that are whole now."""
        data = self._rest + data
        at = data.rfind(b"\n") + 1
        self._rest = data[at:]
        texts = [f"{line}\n" for line in data[: at - 1].decode(errors="replace").split("\n")]
        return self._entries(texts * bool(at) + self._parts())

    def finish(self) -> bytes:
        """The output is at its end: the entry of a last line that no newline ended."""
        rest, self._rest = self._rest, b""
        return self._entries([rest.decode(errors="replace")] * bool(rest))

    def _parts(self) -> list[str]:
        """Parts of a line that is too long to wait for its end. No character is cut in two."""
        found = []
        while len(self._rest) > PARTIAL:
            end = PARTIAL
            while end > PARTIAL - 3 and self._rest[end] & 0xC0 == 0x80:
                end -= 1
            found.append(self._rest[:end].decode(errors="replace"))
            self._rest = self._rest[end:]
        return found

    def _entries(self, texts: list[str]) -> bytes:
        end = f'{self._end}{moment()}"}}\n'
        return "".join(['{"log":' + encode_basestring(t)[:-1] + end for t in texts]).encode()


def moment(now: int = 0) -> str:
    """A time as Docker writes it, RFC 3339: `now` in nanoseconds, or this moment."""
    now = now or time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)) + f".{now % 10**9:09d}Z"
