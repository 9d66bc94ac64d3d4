"""Reading and writing DER, as far as PKCS #7 needs it (X.690).

What is read is hostile. Elements are looked at one level at a time, so nothing nests deeper than its reader goes; tags
are one byte, lengths definite.
"""

from __future__ import annotations

from dataclasses import dataclass

from runjail.errors import Corrupt

MOST = 1024  # elements on one level

INTEGER, OCTETS, NULL, OBJECT, SEQUENCE, SET = 0x02, 0x04, 0x05, 0x06, 0x30, 0x31


@dataclass(frozen=True)
class Element:
    """One element. whole: its bytes with tag and length, content: without."""

    tag: int
    content: bytes
    whole: bytes

    def expect(self, tag: int) -> bytes:
        """Return the content of an element with this tag. Raises Corrupt for another."""
        if self.tag != tag:
            raise Corrupt(f"DER: tag {self.tag:#04x} where {tag:#04x} belongs")
        return self.content

    def children(self, tag: int, least: int = 0) -> tuple[Element, ...]:
        """Return the elements inside one with this tag. Raises Corrupt when there are fewer than these."""
        found = read_all(self.expect(tag))
        if len(found) < least:
            raise Corrupt(f"DER: {len(found)} elements where {least} belong")
        return found

    def number(self) -> int:
        """Return the value of an INTEGER. Raises Corrupt."""
        return int.from_bytes(self.expect(INTEGER), "big", signed=True)


def read(data: bytes, at: int = 0) -> Element:
    """Return the element at an offset; what follows it is not looked at. Raises Corrupt when it is not whole."""
    if len(data) < at + 2 or data[at] & 0x1F == 0x1F:
        raise Corrupt("DER: cut short, or a long tag")
    length, start = data[at + 1], at + 2
    if length & 0x80:
        start += length & 0x7F
        if not 1 <= start - at - 2 <= 4:
            raise Corrupt("DER: indefinite or absurd length")
        length = int.from_bytes(data[at + 2 : start], "big")
    end = start + length
    if end > len(data):
        raise Corrupt("DER: cut short")
    return Element(data[at], data[start:end], data[at:end])


def read_all(data: bytes) -> tuple[Element, ...]:
    """Return the elements that follow one another up to the end. Raises Corrupt."""
    found: list[Element] = []
    at = 0
    while at < len(data):
        found.append(read(data, at))
        at += len(found[-1].whole)
        if len(found) > MOST:
            raise Corrupt(f"DER: more than {MOST} elements")
    return tuple(found)


def write(tag: int, *contents: bytes) -> bytes:
    """Return an element that holds these bytes one after another."""
    content = b"".join(contents)
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + content


def integer(value: int) -> bytes:
    """Return an INTEGER that is not negative."""
    return write(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def identifier(dotted: str) -> bytes:
    """Return the content of an OBJECT IDENTIFIER, e.g. of "1.2.840.113549.1.7.1"."""
    first, second, *others = (int(number) for number in dotted.split("."))
    encoded = b""
    for number in (first * 40 + second, *others):
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(0x80 | number & 0x7F)
        encoded += bytes(reversed(groups))
    return encoded
