"""Digests of content: `sha256:HEX` (image-spec, descriptor.md, Digests)."""

from __future__ import annotations

import sys

from runjail.errors import Corrupt, ImageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Hash(Protocol):
        """What hashlib returns."""

        def update(self, data: bytes | bytearray | memoryview, /) -> None:
            """Take more content."""

        def hexdigest(self) -> str:
            """Return the digest in hexadecimal digits."""


LENGTHS = {"sha256": 64, "sha512": 128}  # the registered algorithms, and the hexadecimal digits of each
HEXADECIMAL = frozenset("0123456789abcdef")


def parse(text: object) -> tuple[str, str]:
    """Return (algorithm, hexadecimal digits). Raises ImageError for what is no digest or of an unknown algorithm."""
    if isinstance(text, str):
        algorithm, _, encoded = text.partition(":")
        if len(encoded) == LENGTHS.get(algorithm) and HEXADECIMAL.issuperset(encoded):
            return algorithm, encoded
    raise ImageError(f"not a digest: {str(text)[:100]!r}")


def new(digest: str) -> Hash:
    """Return an empty hash of a digest's algorithm."""
    import hashlib

    return hashlib.new(parse(digest)[0])


def of(content: bytes, algorithm: str = "sha256") -> str:
    """Return the digest of content."""
    return f"{algorithm}:{_own(algorithm)(content).hexdigest()}"


def _own(algorithm: str) -> Callable[[bytes], Hash]:
    """Return Python's own hash function: loading OpenSSL takes longer than all documents of an image."""
    names = ("_sha2",) if sys.version_info >= (3, 12) else (f"_{algorithm}",)
    for name in (*names, "hashlib"):  # the last for a Python that was built without
        try:
            found: Callable[[bytes], Hash] = getattr(__import__(name), algorithm)
        except (ImportError, AttributeError):
            continue
        return found
    raise ImageError(f"this Python knows no {algorithm}")


def verify(content: bytes, digest: str, what: str) -> None:
    """Raise Corrupt unless content has this digest. what: the words for it, e.g. `manifest of web`."""
    found = of(content, parse(digest)[0])
    if found != digest:
        raise Corrupt(f"{what}: content has digest {found}, not {digest}")


def chain_ids(diff_ids: list[str] | tuple[str, ...]) -> list[str]:
    """Return the chainID of each layer, lowest first (image-spec, config.md, Layer ChainID)."""
    chain: list[str] = []
    for diff_id in diff_ids:
        parse(diff_id)
        chain.append(of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain
