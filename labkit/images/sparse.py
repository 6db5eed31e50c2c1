"""Files with holes, as GNU tar writes them: in its own header, and as PAX 0.0, 0.1 and 1.0.

Only what is not a hole is stored in the archive, one region after the other.
"""

from collections.abc import Callable, Sequence

from labkit.images.tar_fields import Records, bad, decimal, number
from labkit.text.words import Words

Region = tuple[int, int]
"""Where a part of a file begins, and how long it is."""

_BLOCK = 512
_PAIR = 24  # bytes of an offset and a length in GNU's own header
_OWN, _OWN_MORE, _OWN_SIZE = slice(386, 482), 482, slice(483, 495)  # where they stand in it
_NEXT, _NEXT_MORE = slice(0, 504), 504  # and in the blocks that follow
_LONGEST = 1 << 20  # bytes of a map
_LARGEST = 1 << 63  # off_t


def own_map(header: bytes, take: Callable[[int], bytes]) -> tuple[list[Region], int]:
    """The regions and the size of a file, by GNU's own header and the blocks that follow it."""
    fields, more = header[_OWN], header[_OWN_MORE]
    read = 0
    while more:
        block = take(_BLOCK)
        fields += block[_NEXT]
        more = block[_NEXT_MORE]
        read += _BLOCK
        if read > _LONGEST:
            raise bad(Words("稀疏文件的表太长", "the map of a sparse file is too long"))
    pairs = [fields[at : at + _PAIR] for at in range(0, len(fields), _PAIR)]
    regions = [(number(pair[:12]), number(pair[12:])) for pair in pairs if pair[0]]
    return regions, number(header[_OWN_SIZE])


def pax_map(records: Records, take: Callable[[int], bytes]) -> tuple[list[Region], int] | None:
    """The same by PAX records and, in version 1.0, the first blocks of data; None: no holes."""
    known = dict(records)
    version = known.get(b"GNU.sparse.major"), known.get(b"GNU.sparse.minor")
    if version == (b"1", b"0"):
        numbers = _leading(take)
    elif b"GNU.sparse.map" in known:
        numbers = [decimal(each) for each in known[b"GNU.sparse.map"].split(b",") if each]
    elif b"GNU.sparse.numblocks" in known:
        keys = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
        numbers = [decimal(value) for key, value in records if key in keys]
    elif version == (None, None):
        return None
    else:
        raise bad(Words("不认识的稀疏文件格式", "an unknown form of sparse file"))
    size = known.get(b"GNU.sparse.realsize") or known.get(b"GNU.sparse.size") or b""
    if len(numbers) % 2:
        raise bad(
            Words("稀疏文件的表缺了一半", "half of a pair is missing in the map of a sparse file")
        )
    return list(zip(numbers[::2], numbers[1::2], strict=True)), decimal(size)


def _leading(take: Callable[[int], bytes]) -> list[int]:
    """The numbers that stand before the data, one in a line, the first says how many pairs."""
    data = take(_BLOCK)
    lines = data.split(b"\n")
    wanted = 2 * decimal(lines[0]) + 1
    while len(lines) <= wanted:
        if len(data) > _LONGEST:
            raise bad(Words("稀疏文件的表太长", "the map of a sparse file is too long"))
        data += take(_BLOCK)
        lines = data.split(b"\n")
    return [decimal(line) for line in lines[1:wanted]]


def checked(regions: Sequence[Region], size: int, stored: int) -> None:
    """Refuse regions that overlap, lie outside the file, or are not what is stored."""
    ends = [start + length for start, length in regions]
    ordered = all(end <= start for end, (start, _) in zip(ends, regions[1:], strict=False))
    negative = any(start < 0 or length < 0 for start, length in regions)
    whole = sum(length for _, length in regions)
    if negative or not ordered or whole != stored or max(ends, default=0) > size:
        raise bad(Words("稀疏文件的表自相矛盾", "the map of a sparse file contradicts itself"))
    if size >= _LARGEST:
        raise bad(Words("大小超出了文件系统的范围", "the size is beyond what a file can have"))
