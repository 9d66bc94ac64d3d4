"""Maps of sparse files: which parts of a file an archive holds.

The formats are GNU's: old, and pax 0.0, 0.1 and 1.0. A map is a list of (offset, length), in bytes, rising and without
overlap; the holes between are not in the archive. GNU tar manual, "Storing Sparse Files".
"""

from __future__ import annotations

from collections.abc import Callable

from runjail.errors import Corrupt
from runjail.image.layers.pax import HIGHEST, Records, decimal, number, within

Map = list[tuple[int, int]]

BLOCK = 512
MOST_BLOCKS = 2048  # of a map: 1 MiB


def old_gnu(header: bytes, read: Callable[[int], bytes]) -> tuple[Map, int]:
    """Read the map in a header of type S and in the blocks after it. Returns it and the file's real size."""
    numbers = _pairs(header[386:482])
    more, blocks = header[482], 0
    while more:
        block = read(BLOCK)
        numbers += _pairs(block[:504])
        more, blocks = block[504], blocks + 1
        if blocks > MOST_BLOCKS:
            raise Corrupt("the map of a sparse file is too long")
    return _map(numbers), within(number(header[483:495], "real size"), HIGHEST, "real size")


def _pairs(fields: bytes) -> list[int]:
    """Return offset, length, offset, length ... of twelve bytes each, up to the first empty pair."""
    found = []
    for at in range(0, len(fields), 24):
        if not fields[at + 12]:
            break
        found += [number(fields[at : at + 12], "offset"), number(fields[at + 12 : at + 24], "length")]
    return found


def pax(records: Records, read: Callable[[int], bytes]) -> tuple[Map, int, int]:
    """Read the map that GNU.sparse.* records tell, or in version 1.0 the file's body begins with.

    Returns it, the file's real size and how many bytes of the body the map took.
    """
    found = dict(records)
    if found.get(b"GNU.sparse.major", b"0") == b"1":
        numbers, taken = _in_body(read)
        return _map(numbers), decimal(found.get(b"GNU.sparse.realsize", b""), "GNU.sparse.realsize"), taken
    if b"GNU.sparse.map" in found:
        texts = found[b"GNU.sparse.map"].split(b",") if found[b"GNU.sparse.map"] else []
    else:
        texts = [value for key, value in records if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes")]
    numbers = [decimal(text, "GNU.sparse.map") for text in texts]
    return _map(numbers), decimal(found.get(b"GNU.sparse.size", b""), "GNU.sparse.size"), 0


def _in_body(read: Callable[[int], bytes]) -> tuple[list[int], int]:
    """Read a count, then that many pairs, a decimal number on each line, filled up to a whole block."""
    lines = [b""]
    for taken in range(1, MOST_BLOCKS + 1):
        data = lines.pop() + read(BLOCK)
        lines += data.split(b"\n")
        if len(lines) > 1 and len(lines) - 2 >= 2 * decimal(lines[0], "the length of a sparse map"):
            count = int(lines[0])
            return [decimal(line, "a sparse map") for line in lines[1 : 1 + 2 * count]], taken * BLOCK
        decimal(lines[-1] or b"0", "a sparse map")  # the start of the next one: endless lines end here
    raise Corrupt("the map of a sparse file is too long")


def _map(numbers: list[int]) -> Map:
    if len(numbers) % 2:
        raise Corrupt("the map of a sparse file is damaged")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def check(pieces: Map, size: int, stored: int) -> None:
    """Raise Corrupt unless a map fits into a file of this size and describes this many stored bytes."""
    end = 0
    for offset, length in pieces:
        if length < 0 or offset < end or offset + length > size:
            raise Corrupt("the map of a sparse file contradicts itself")
        end = offset + length
    if sum(length for _, length in pieces) != stored:
        raise Corrupt("the map of a sparse file does not match its data")
