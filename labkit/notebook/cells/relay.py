"""What a program prints, shown in its cell as it comes."""

import codecs
import sys


class Relay:
    """Passes on standard output and error, in the order in which they come."""

    def __init__(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {number: decoder("backslashreplace") for number in (1, 2)}
        self._last = 1

    def arrived(self, number: int, data: bytes) -> None:
        """Take a chunk of stream `number`."""
        self.show(number, self._decoders[number].decode(data))

    def finish(self) -> None:
        """Show what was held back: the beginning of a character that never came to its end."""
        for number in (1, 2):
            self.show(number, self._decoders[number].decode(b"", final=True))

    def show(self, number: int, text: str) -> None:
        """Show text as if it came from stream `number`."""
        if not text:
            return
        if number != self._last:  # each has a buffer of its own: this keeps their order
            (sys.stdout if self._last == 1 else sys.stderr).flush()
            self._last = number
        (sys.stdout if number == 1 else sys.stderr).write(text)
