"""A part of an open file as a request's body, read as it is sent.

It is read from its start as often as it has to be.
"""

from __future__ import annotations

import os

from runjail.errors import Corrupt
from runjail.image import digest as digests
from runjail.image.model import Descriptor
from runjail.image.transport import Progress


class UploadProgress:
    """How far a blob has been sent; what is sent again counts once."""

    def __init__(self, descriptor: Descriptor, progress: Progress) -> None:
        self._descriptor, self._progress, self._reported = descriptor, progress, 0

    def __call__(self, position: int) -> None:
        """Tell of what has been sent up to a byte."""
        if position > self._reported:
            self._progress(self._descriptor, position - self._reported)
            self._reported = position


class RequestBody:
    """length bytes of a file from start on. digest: what they must have, "" when they are only a piece of it."""

    def __init__(self, file: int, start: int, length: int, meter: UploadProgress, digest: str = "") -> None:
        self.file, self.start, self.length, self.meter, self.digest = file, start, length, meter, digest

    def open(self) -> Reader:
        """Start anew; the file's own position is not used."""
        return Reader(self)


class Reader:
    """One pass over a body. Its last block is held back when the content is not what it should be."""

    def __init__(self, body: RequestBody) -> None:
        self._body, self._position = body, body.start
        self._hash = digests.new(body.digest) if body.digest else None

    def read(self, size: int = -1) -> bytes:
        """Return up to size bytes. Raises Corrupt, before the end is sent, for content that has changed."""
        part = self._body
        left = part.start + part.length - self._position
        block = os.pread(part.file, left if size < 0 else min(size, left), self._position) if left else b""
        if left and not block:
            raise Corrupt(f"{part.digest or 'blob'}: the file became shorter while it was sent")
        self._position += len(block)
        if self._hash:
            self._hash.update(block)
            if block and len(block) == left and not part.digest.endswith(f":{self._hash.hexdigest()}"):
                raise Corrupt(f"{part.digest}: the file has other content")
        part.meter(self._position)
        return block
