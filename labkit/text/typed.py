"""Text that came from bytes, written as those bytes: a name that is not UTF-8 is shown as typed.

Python decodes arguments, environment and file names with surrogateescape (PEP 383), and no stream
of its own writes them back. Nor does every terminal's encoding have Chinese.
"""

import codecs
import sys

AS_TYPED = "labkit.as_typed"
"""For encode(errors=...): bytes as they came, and what the encoding lacks as an escape."""


def _as_typed(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    error.end = error.start + 1  # one at a time: the next may be of the other sort
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


codecs.register_error(AS_TYPED, _as_typed)


def as_bytes(text: str) -> bytes:
    """`text` as standard error would write it, for who writes past Python's streams."""
    return text.encode(getattr(sys.stderr, "encoding", None) or "utf-8", AS_TYPED)
