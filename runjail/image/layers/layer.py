"""From a layer's blob to files, in two passes over the same open file.

The first hashes all of it, and authenticates all of an encrypted one; nothing comes out of it. The second decrypts,
decompresses, hashes again and applies. A blob that changes between the two cannot get through: the diffID of what was
applied is checked at the end, over the whole stream, and the caller throws the directory away on any error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Protocol

from runjail.errors import Corrupt, StorageError, reason
from runjail.image import digest as digests
from runjail.image.layers import compression
from runjail.image.layers.apply import Applier
from runjail.image.layers.limits import Limits, Policy, Unpacked
from runjail.image.layers.pipeline import Tee
from runjail.image.layers.tar import Reader
from runjail.image.model import Descriptor
from runjail.rootfs import open_root

Progress = Callable[[int], None]  # told how many more bytes of the blob are done, from any thread


class Decryptor(Protocol):
    """A cipher at the start of its stream."""

    def update(self, data: bytes) -> bytes:
        """Return the plaintext of the next piece."""


__all__ = ["Limits", "Policy", "Unpacked", "unpack", "verify"]
CHUNK = 256 << 10  # bytes read at once: what a core's cache holds between two stages


def blocks(blob: int, progress: Progress | None = None) -> Iterator[bytes]:
    """Yield the content of an open file from its start; its offset is neither used nor moved. Raises StorageError."""
    offset = 0
    while data := _read(blob, offset):
        offset += len(data)
        yield data
        if progress:
            progress(len(data))


def _read(blob: int, offset: int) -> bytes:
    try:
        return os.pread(blob, CHUNK, offset)
    except OSError as error:
        raise StorageError(f"reading a layer's blob: {reason(error)}") from error


def verify(blob: int, descriptor: Descriptor) -> None:
    """Check a blob's size and digest. Raises Corrupt. crypto.layer_stream does it for encrypted ones, HMAC included."""
    what = f"layer {descriptor.digest}"
    size = os.fstat(blob).st_size
    if size != descriptor.size:
        raise Corrupt(f"{what}: {size} bytes instead of {descriptor.size}")
    hashed = digests.new(descriptor.digest)
    for data in blocks(blob):
        hashed.update(data)
    algorithm, expected = digests.parse(descriptor.digest)
    if hashed.hexdigest() != expected:
        raise Corrupt(f"{what}: its content has the digest {algorithm}:{hashed.hexdigest()}")


def _keep_blocks() -> None:
    """Have glibc keep freed blocks of this size for the next ones.

    Until one was freed it maps each anew, and the kernel clears its pages: 100,000 page faults, a tenth of the
    processor time of a layer of 265 MB.
    """
    bytes(4 * compression.OUTPUT)


def unpack(
    blob: int,
    root: str,
    diff_id: str,
    *,
    decryptor: Decryptor | None = None,
    limits: Limits = Limits(),  # noqa: B008 - immutable
    policy: Policy = Policy(),  # noqa: B008
    progress: Progress | None = None,
) -> Unpacked:
    """Apply a verified blob below a directory that holds the layers below it, or nothing.

    blob: an open file. diff_id: the digest of the uncompressed archive, from the image's config. Raises Corrupt for a
    layer that is not what it should be, ImageError beyond the limits, StorageError when the system refuses; whatever
    it raises, the directory is then of no use any more.
    """
    _keep_blocks()
    hashed, size = digests.new(diff_id), 0

    def account(data: bytes) -> None:
        nonlocal size
        size += len(data)
        hashed.update(data)

    data = blocks(blob, progress)
    plain = map(decryptor.update, data) if decryptor else data
    archive = compression.decompress(plain, **limits.bounds())
    directory = open_root(root)
    try:
        with Tee(archive, [account]) as chunks:
            applier = Applier(directory, Reader(chunks, limits.header), limits, policy)
            applier.run()
    finally:
        os.close(directory)
    algorithm, expected = digests.parse(diff_id)
    if hashed.hexdigest() != expected:
        if decryptor:  # the digest of a plaintext is not for everybody
            raise Corrupt(f"a layer of another diffID than {diff_id}")
        raise Corrupt(f"a layer of diffID {algorithm}:{hashed.hexdigest()} instead of {diff_id}")
    return Unpacked(size, applier.entries, applier.warnings())
