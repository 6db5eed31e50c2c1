"""The fields of a tar header, and the records of a PAX header. tar(5), pax(1)."""

from labkit.text.words import Words

_DIGITS = 32  # more than any number of a header has
_SHOWN = 200  # bytes of a name in an error
_NANO = 10**9

Records = list[tuple[bytes, bytes]]
"""Keywords and values. GNU's sparse maps name a keyword more than once."""


def bad(said: Words) -> ValueError:
    """An error about the entry that is being read; whoever knows its name adds it."""
    return ValueError(said)


def shown(name: bytes) -> str:
    """A name for a person: one that would confuse a terminal, or is endless, is not shown so."""
    head = name[:_SHOWN].decode(errors="backslashreplace")
    safe = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in head)
    return safe + ("…" if len(name) > _SHOWN else "")


def text(field: bytes) -> bytes:
    """What stands before the first NUL."""
    return field.partition(b"\0")[0]


def number(field: bytes) -> int:
    """Octal digits; or, as GNU writes large and negative ones, a binary number after a mark bit."""
    if field[0] & 0x80:
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        return value - (1 << bits) if value >> (bits - 1) else value
    digits = field.rstrip(b" \0")
    if not digits.isdigit():  # nearly always they are all that there is
        digits = text(digits.strip(b" \0"))
    if not digits:
        return 0
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise bad(Words(f"{digits!r} 不是八进制数", f"{digits!r} is no octal number"))
    return int(digits, 8)


def decimal(value: bytes) -> int:
    """A number of a PAX header that may not be negative."""
    if not value.isdigit() or len(value) > _DIGITS:
        raise bad(
            Words(f"{value[:_DIGITS]!r} 不是十进制数", f"{value[:_DIGITS]!r} is no decimal number")
        )
    return int(value)


def nanoseconds(value: bytes) -> int:
    """A time of a PAX header: seconds, perhaps negative, perhaps with a fraction."""
    whole, _, fraction = value.removeprefix(b"-").partition(b".")
    found = decimal(whole) * _NANO + decimal(fraction[:9].ljust(9, b"0"))
    return -found if value.startswith(b"-") else found


def records(data: bytes) -> Records:
    """What the data of a PAX header says: a length, a space, KEYWORD=VALUE and a line end each."""
    found, at = [], 0
    while at < len(data):
        space = data.find(b" ", at, at + _DIGITS)
        length = decimal(data[at:space]) if space > 0 else 0
        end = at + length
        keyword, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end > len(data) or end <= space or data[end - 1 : end] != b"\n" or not equals:
            raise bad(Words("PAX 记录损坏", "a PAX record is damaged"))
        if not keyword or (
            b"\0" in value and keyword in (b"path", b"linkpath", b"GNU.sparse.name")
        ):
            raise bad(Words("PAX 记录里的名字不合法", "a PAX record holds an impossible name"))
        found.append((keyword, value))
        at = end
    return found
