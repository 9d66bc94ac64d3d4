"""Limits of a layer, the policy of what is applied, and the result."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True)
class Limits:
    """How large a layer may become. The defaults are far beyond real layers and end a bomb before a disk is full.

    size: bytes of the uncompressed archive. entries: members, and directories made on the way to them. ratio: bytes of
    archive for each byte of blob, beyond an allowance: a file of zeros shrinks a thousandfold and is no attack. path:
    bytes of a name or a link's target, and depth: directories on the way to a file; both are what systems can handle.
    header: bytes of a pax header, which holds a file's extended attributes.
    """

    size: int = 256 * GIB
    entries: int = 4_000_000
    ratio: int = 200
    allowance: int = GIB
    path: int = 4095
    depth: int = 255
    header: int = 1 << 20

    def bounds(self) -> dict[str, int]:
        """Return how much may come out of a blob, as `compression.decompress` takes it."""
        return {"limit": self.size, "ratio": self.ratio, "allowance": self.allowance}


@dataclass(frozen=True)
class Policy:
    """What of a layer is applied. devices: make device nodes. flags: set BSD file flags where there are any, e.g. schg.

    Otherwise both are left out: outside devfs a node is inert on FreeBSD, and a flag keeps a root from being removed.
    """

    devices: bool = False
    flags: bool = False


@dataclass(frozen=True)
class Unpacked:
    """What came of a layer. size: bytes of the uncompressed archive. warnings: one line for each kind of omission."""

    size: int
    entries: int
    warnings: tuple[str, ...] = ()
