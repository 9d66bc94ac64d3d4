"""Digests of content: `sha256:HEX` (image-spec, descriptor.md, Digests)."""

from __future__ import annotations

import hashlib

from runjail.errors import Corrupt, ImageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Hash(Protocol):
        """What hashlib returns."""

        def update(self, data: bytes | bytearray | memoryview, /) -> None:
            """Take more content."""

        def hexdigest(self) -> str:
            """Return the verdict."""


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
    return hashlib.new(parse(digest)[0])


def of(content: bytes, algorithm: str = "sha256") -> str:
    """Return the digest of content."""
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


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
