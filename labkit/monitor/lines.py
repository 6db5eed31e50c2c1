"""What a container prints as lines of Docker's json-file log: {"log", "stream", "time"}.

The monitor imports this, so it takes the half of the module json that is written in C.
"""

import os
import time
from _json import encode_basestring

_TRIES = 3  # of what the kernel refuses for a moment at most

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


class LogFile:
    """The file of a log. One that has its size is put aside as PATH.1, and that as PATH.2."""

    def __init__(self, path: str) -> None:
        self._path, self._most, self._files = path, 0, 1
        self._fd = self._opened()

    def _opened(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(self._path, flags, 0o600)

    def bound(self, most: int, files: int) -> None:
        """Have at most so many files of so many bytes: 0 bytes for any number, 0 files for none."""
        self._most, self._files = most, files

    def write(self, entries: bytes) -> None:
        """Append whole entries. On a full disk they are lost, and the container goes on."""
        tries = _TRIES
        while entries and self._files and tries:
            try:
                entries = entries[os.write(self._fd, entries) :]
            except OSError:
                tries -= 1
        try:
            if self._most and os.fstat(self._fd).st_size >= self._most:
                self._put_aside()
        except OSError:
            return

    def _put_aside(self) -> None:
        """Begin a new file. What has no number left is dropped: with one file, all that is old."""
        for number in range(self._files - 1, 0, -1):
            older = f"{self._path}.{number - 1}" if number > 1 else self._path
            if os.path.exists(older):
                os.rename(older, f"{self._path}.{number}")
        if self._files == 1:
            os.unlink(self._path)
        fd, self._fd = self._fd, self._opened()
        os.close(fd)


def moment(now: int = 0) -> str:
    """A time as Docker writes it, RFC 3339: `now` in nanoseconds, or this moment."""
    now = now or time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)) + f".{now % 10**9:09d}Z"
