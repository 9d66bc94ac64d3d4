"""What a place that images come from, or go to, promises.

Registries, OCI layouts and archives answer alike. A source is read in one order: `top`, then manifests and configs with
`document`, then layers with `blob`. A sink is written in one order: blobs, then manifests from the inner to the outer,
the top one last: it is the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from runjail.image.model import Descriptor

# Told how many bytes of a blob have arrived since the last call; from any thread.
Progress = Callable[[Descriptor, int], None]


class Source(Protocol):
    """Where an image comes from. Methods raise ImageError's family; several threads may call `blob` at once."""

    def top(self) -> Descriptor:
        """Return the descriptor of the named index or manifest."""

    def document(self, descriptor: Descriptor) -> bytes:
        """Return a manifest, index or config, its size and digest verified."""

    def blob(self, descriptor: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """Yield a blob's content from an offset on, NOT verified: the receiver hashes it."""

    def again(self, descriptor: Descriptor) -> bool:
        """Whether it makes sense to ask once more for a blob that arrived corrupt."""

    def close(self) -> None:
        """Let go of connections and files."""


class Sink(Protocol):
    """Where an image goes."""

    def has(self, descriptor: Descriptor) -> bool:
        """Whether this blob is there already, whole."""

    def put_blob(self, descriptor: Descriptor, content: int, progress: Progress, *, known: bool = False) -> None:
        """Store a blob from an open file's start; the size and digest of what arrives are verified.

        known: this process has verified the file already, and nobody wrote to it since.
        """

    def put_document(self, descriptor: Descriptor, content: bytes, *, top: bool) -> None:
        """Store an index or manifest. top: the named one."""

    def close(self) -> None:
        """Finish, e.g. write an archive's end; without it nothing appears under the name."""

    def abort(self) -> None:
        """Leave nothing behind where that can be done."""
