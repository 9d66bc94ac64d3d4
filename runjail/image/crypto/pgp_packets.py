"""The outside of OpenPGP data: which packets there are, and for which keys.

See RFC 4880, section 4. gpg does the rest.
"""

from __future__ import annotations

from collections.abc import Iterator

from runjail.image.crypto.options import SchemeError

ENCRYPTED_KEY, SECRET_KEY, INTEGRITY_PROTECTED, AEAD = 1, 5, 18, 20
# What stands in exported keyrings: signatures, keys and their subkeys, trust, user ids and their pictures
IN_KEYRINGS = {2, SECRET_KEY, 6, 7, 12, 13, 14, 17}
SECRET_ARMOR = b"-----BEGIN PGP PRIVATE KEY BLOCK-----"
MOST = 1024  # recipients of one packet
LARGEST = 1 << 20  # bytes of one packet of wrapped keys


def packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and the body of each packet. Raises SchemeError when the data is cut off or no OpenPGP at all."""
    view, at = memoryview(data), 0
    while at < len(view):
        head = view[at]
        if not head & 0x80:
            raise SchemeError("not OpenPGP data: a packet starts with a byte below 0x80")
        if head & 0x40:
            tag, (body, at) = head & 0x3F, _new_format(view, at + 1)
        else:
            tag, (body, at) = head >> 2 & 0x0F, _old_format(view, at + 1, head & 3)
        yield tag, body


def _number(view: memoryview, at: int, size: int) -> int:
    return int.from_bytes(_take(view, at, size), "big")


def _take(view: memoryview, at: int, size: int) -> bytes:
    if at + size > len(view):
        raise SchemeError("OpenPGP data is cut off")
    return bytes(view[at : at + size])


def _old_format(view: memoryview, at: int, kind: int) -> tuple[bytes, int]:
    """Return a body and where it ends; kind 3 means: up to the end of the data."""
    if kind == 3:
        return bytes(view[at:]), len(view)
    width = 1 << kind
    size = _number(view, at, width)
    return _take(view, at + width, size), at + width + size


def _new_format(view: memoryview, at: int) -> tuple[bytes, int]:
    """Return a body, put together when it came in parts, and where it ends."""
    parts = []
    while True:
        first = _number(view, at, 1)
        partial = 224 <= first < 255
        if first < 192:
            size, at = first, at + 1
        elif partial:
            size, at = 1 << (first & 0x1F), at + 1
        elif first == 255:
            size, at = _number(view, at + 1, 4), at + 5
        else:
            size, at = (first - 192 << 8) + _number(view, at + 1, 1) + 192, at + 2
        parts.append(_take(view, at, size))
        at += size
        if not partial:
            return b"".join(parts), at


def recipients(packet: bytes) -> list[str]:
    """Return the ids of the keys that open a message: `0x` and hexadecimal digits, `0x0` for a hidden recipient.

    Raises SchemeError unless the message is one or more encrypted session keys (version 3), then data encrypted with
    integrity protection, and nothing else: no password, no plaintext, nothing behind it.
    """
    if len(packet) > LARGEST:
        raise SchemeError(f"an OpenPGP message of {len(packet)} bytes is no wrapped key")
    ids: list[str] = []
    data: list[int] = []
    for tag, body in packets(packet):
        if tag == ENCRYPTED_KEY and not data and len(body) > 9 and body[0] == 3 and len(ids) < MOST:
            ids.append(f"0x{int.from_bytes(body[1:9], 'big'):x}")
        elif tag in (INTEGRITY_PROTECTED, AEAD) and ids and not data:
            data.append(tag)
        else:
            raise SchemeError(f"unexpected packet {tag} in an OpenPGP message")
    if not data:
        raise SchemeError("an OpenPGP message without encrypted data")
    return ids


def is_secret_keyring(data: bytes) -> bool:
    """Whether a file holds OpenPGP secret keys, armored or not."""
    if data.lstrip().startswith(SECRET_ARMOR):
        return True
    try:
        tags = [tag for tag, _body in packets(data)]
    except SchemeError:
        return False
    return tags[:1] == [SECRET_KEY] and IN_KEYRINGS.issuperset(tags)
