"""A stretch of an open file, and opening files that may only be regular ones."""

from __future__ import annotations

import os
import stat

from runjail.errors import ImageError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 1 << 20  # bytes read at a time
READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FileRange:
    """A stretch of an open file. Others may share the file, so nothing relies on its position; fd is ours to close."""

    def __init__(self, fd: int, start: int, size: int) -> None:
        self.fd, self.start, self.size = fd, start, size

    def blocks(self, offset: int = 0) -> Iterator[bytes]:
        """Yield the content from an offset on. Raises OSError."""
        while offset < self.size:
            block = os.pread(self.fd, min(BLOCK, self.size - offset), self.start + offset)
            if not block:
                return
            yield block
            offset += len(block)

    def read_out(self, offset: int, what: str) -> Iterator[bytes]:
        """Yield the content from an offset on, and close the file. Raises ImageError: `what`, and the reason."""
        try:
            yield from self.blocks(offset)
        except OSError as error:
            raise ImageError(f"{what}: {reason(error)}") from error
        finally:
            self.close()

    def all(self, most: int) -> bytes:
        """Return up to `most` bytes, and close the file. Raises OSError."""
        try:
            return FileRange(self.fd, self.start, min(self.size, most)).join()
        finally:
            self.close()

    def join(self) -> bytes:
        """Return the content. Raises OSError."""
        return b"".join(self.blocks())

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)


def open_file(path: str) -> int:
    """Open a regular file for reading, never a link. Raises OSError."""
    file = os.open(path, READING)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(22, "not a regular file", path)
    return file
