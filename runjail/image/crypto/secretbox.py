"""Keys of sigstore, sealed by a password: scrypt, then NaCl's secretbox (XSalsa20 and Poly1305).

See go-securesystemslib encrypted/encrypted.go, which cosign and containers use, https://nacl.cr.yp.to/secretbox.html
and Bernstein, Extending the Salsa20 nonce. Neither cryptography nor libcrypto has Salsa20; a key is three blocks of
that, for which a library more would be much.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from typing import Any

from runjail import jsonio
from runjail.image.crypto.options import SchemeError

BLOCKS = (b"ENCRYPTED COSIGN PRIVATE KEY", b"ENCRYPTED SIGSTORE PRIVATE KEY")  # labels of PEM
MOST_MEMORY = 1 << 30  # bytes that scrypt may take: 64 MiB are usual
TAG = 16
_SIGMA = struct.unpack("<4I", b"expand 32-byte k")
_QUARTERS = ((0, 4, 8, 12), (5, 9, 13, 1), (10, 14, 2, 6), (15, 3, 7, 11))
_ROWS = ((0, 1, 2, 3), (5, 6, 7, 4), (10, 11, 8, 9), (15, 12, 13, 14))


def open_key(content: bytes, password: bytes | None) -> bytes:
    """Return the PKCS #8 key in what a PEM block of BLOCKS holds. Raises SchemeError."""
    if password is None:
        raise SchemeError("Missing password for encrypted private key")
    try:
        document = jsonio.loads(content)
        key = _derive(password, document["kdf"])
        if document["cipher"]["name"] != "nacl/secretbox":
            raise ValueError
        nonce = base64.b64decode(document["cipher"]["nonce"], validate=True)
        sealed = base64.b64decode(document["ciphertext"], validate=True)
        if len(nonce) != 24 or len(sealed) < TAG:
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SchemeError("Could not parse private key: not as sigstore seals them") from None
    plain = unseal(key, nonce, sealed)
    if plain is None:
        raise SchemeError("Wrong password: could not decrypt private key")
    return plain


def _derive(password: bytes, how: Any) -> bytes:
    """Return the key of a password. Raises ValueError, KeyError, TypeError."""
    n, r, p = (how["params"][name] for name in ("N", "r", "p"))
    if how["name"] != "scrypt" or not all(isinstance(each, int) and each > 0 for each in (n, r, p)):
        raise ValueError
    if 128 * n * r * p > MOST_MEMORY:
        raise ValueError
    salt = base64.b64decode(how["salt"], validate=True)
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=2 * MOST_MEMORY - 1, dklen=32)


def unseal(key: bytes, nonce: bytes, sealed: bytes) -> bytes | None:
    """Return what a secretbox of a key (32 bytes) and a nonce (24) holds, None for one that is not genuine."""
    stream = _stream(key, nonce, 32 + len(sealed) - TAG)
    if not hmac.compare_digest(_poly1305(stream[:32], sealed[TAG:]), sealed[:TAG]):
        return None
    return bytes(one ^ other for one, other in zip(sealed[TAG:], stream[32:], strict=True))


def seal(key: bytes, nonce: bytes, plain: bytes) -> bytes:
    """Return a secretbox."""
    stream = _stream(key, nonce, 32 + len(plain))
    hidden = bytes(one ^ other for one, other in zip(plain, stream[32:], strict=True))
    return _poly1305(stream[:32], hidden) + hidden


def _poly1305(key: bytes, data: bytes) -> bytes:
    """Return the tag of data under a key for this one message (RFC 8439 section 2.5)."""
    factor = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for at in range(0, len(data), 16):
        total = (total + int.from_bytes(data[at : at + 16] + b"\x01", "little")) * factor % ((1 << 130) - 5)
    return ((total + int.from_bytes(key[16:], "little")) & ((1 << 128) - 1)).to_bytes(16, "little")


def _stream(key: bytes, nonce: bytes, length: int) -> bytes:
    """Return the beginning of XSalsa20's stream."""
    first = _rounds(_state(key, nonce[:16]))
    inner = struct.pack("<8I", *(first[at] for at in (0, 5, 10, 15, 6, 7, 8, 9)))
    found = b""
    for number in range(-(-length // 64)):
        state = _state(inner, nonce[16:] + number.to_bytes(8, "little"))
        mixed = zip(state, _rounds(state), strict=True)
        found += struct.pack("<16I", *((one + other) & 0xFFFFFFFF for one, other in mixed))
    return found[:length]


def _state(key: bytes, middle: bytes) -> list[int]:
    words, four = struct.unpack("<8I", key), struct.unpack("<4I", middle)
    return [_SIGMA[0], *words[:4], _SIGMA[1], *four, _SIGMA[2], *words[4:], _SIGMA[3]]


def _rounds(state: list[int]) -> list[int]:
    """Return a state after twenty rounds, each a column round or a row round."""
    found = list(state)
    for _ in range(10):
        for group in (*_QUARTERS, *_ROWS):
            _quarter(found, group)
    return found


def _quarter(state: list[int], places: tuple[int, ...]) -> None:
    a, b, c, d = places
    for target, one, other, turn in ((b, a, d, 7), (c, b, a, 9), (d, c, b, 13), (a, d, c, 18)):
        total = (state[one] + state[other]) & 0xFFFFFFFF
        state[target] ^= (total << turn | total >> 32 - turn) & 0xFFFFFFFF
