"""What a program prints, shown in its cell as it comes."""

import codecs
import sys

from labkit.engine.streams import Kept
from labkit.text.words import Words

MOST = 1 << 20  # bytes: a page that shows much more stands still, and a notebook keeps it all
_LEFT_OUT = Words(
    f"labkit：这里只显示开头的 {MOST >> 20} MiB，后面的 {{0}} 字节没有显示；"
    "结果 {1} 里留下的更多。",
    f"labkit: this shows the first {MOST >> 20} MiB and leaves out {{0}} bytes; "
    "the result {1} has kept more.",
)


class Relay:
    """Passes on standard output and error, in the order in which they come: up to MOST bytes.

    result: the name that what came of the program will have in the notebook.
    """

    def __init__(self, result: str) -> None:
        self._result = result
        self._shown = Kept(MOST)
        self._unended = False
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {number: decoder("backslashreplace") for number in (1, 2)}
        self._last = 1

    def arrived(self, number: int, data: bytes) -> None:
        """Take a chunk of stream `number`."""
        self._show(number, self._decoders[number].decode(self._shown.add(data)))

    def finish(self) -> None:
        """Show what was held back, and how much was left out.

        What was held back is the beginning of a character that never came to its end.
        """
        for number in (1, 2):
            self._show(number, self._decoders[number].decode(b"", final=True))
        if self._shown.left_out:
            told = _LEFT_OUT.filled(self._shown.left_out, self._result)
            self._show(2, "\n" * self._unended + f"{told}\n")

    def show(self, number: int, text: str) -> None:
        """Show text as if it came from stream `number`, if there is room for it."""
        self._show(number, self._shown.add(text.encode()).decode())

    def _show(self, number: int, text: str) -> None:
        if not text:
            return
        self._unended = not text.endswith("\n")
        if number != self._last:  # each has a buffer of its own: this keeps their order
            (sys.stdout if self._last == 1 else sys.stderr).flush()
            self._last = number
        (sys.stdout if number == 1 else sys.stderr).write(text)
