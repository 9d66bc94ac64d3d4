"""The files of a tar archive, read where they are.

A compressed archive is unpacked once, into one file without a name. Nothing that the archive says becomes a path of
ours: names are looked up in a table, links too.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from tempfile import TemporaryFile

from runjail.errors import Corrupt, ImageError, reason
from runjail.files import write_all
from runjail.image.file_range import FileRange, open_file
from runjail.image.layers import compression, tar
from runjail.image.layers.limits import Limits

MOST = 100_000  # members of an archive of images
MOST_LINKS = 8  # that lead from one to the next


class TarIndex:
    """A tar file, compressed in any way, that is open. Of two members with one name the later counts, as in tar(1).

    Raises ImageError for a file that cannot be read, Corrupt for what is no tar file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.fd = open_file(path)
        except OSError as error:
            raise ImageError(f"cannot read {path}: {reason(error)}") from error
        try:
            if compression.detect(os.pread(self.fd, 6, 0)):
                self._unpack()
            self.files, self.links = self._list()
        except OSError as error:
            os.close(self.fd)
            raise ImageError(f"cannot unpack {path}: {reason(error)}") from error
        except Corrupt as error:
            os.close(self.fd)
            raise Corrupt(f"{path}: {error}") from None
        except BaseException:
            os.close(self.fd)
            raise

    def _unpack(self) -> None:
        """Go on with the plain archive, in a file that goes away with its descriptor."""
        packed = FileRange(self.fd, 0, os.fstat(self.fd).st_size)
        with TemporaryFile(dir=os.environ.get("TMPDIR") or "/var/tmp") as file:
            for data in compression.decompress(packed.blocks(), **Limits().bounds()):
                write_all(file.fileno(), data)
            plain = os.dup(file.fileno())
        os.close(self.fd)
        self.fd = plain

    def _list(self) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
        """Return where each file is, and where each link leads."""
        files: dict[str, tuple[int, int]] = {}
        links: dict[str, str] = {}
        for count, (entry, start) in enumerate(self._entries()):
            name = _name(entry.name)
            if count >= MOST:
                raise Corrupt(f"more than {MOST} members")
            if entry.kind == tar.REGULAR:
                links.pop(name, "")
                files[name] = (start, entry.size)
            elif entry.kind in (tar.SYMLINK, tar.LINK):
                above = posixpath.dirname(name) if entry.kind == tar.SYMLINK else ""
                links[name] = posixpath.normpath(posixpath.join(above, os.fsdecode(entry.link)))
        return files, links

    def _entries(self) -> Iterator[tuple[tar.Entry, int]]:
        """Yield each entry and where its content begins, without reading contents: a new reader starts after each."""
        size, at = os.fstat(self.fd).st_size, 0
        while at < size:
            headers = _Blocks(self.fd, at)
            entry = tar.Reader(headers).next()
            if entry is None:
                return
            if entry.sparse is not None:
                raise Corrupt("sparse files have no place in an archive of images")
            if headers.at + entry.size > size:
                raise Corrupt("the archive ends too early")
            yield entry, headers.at
            at = headers.at + entry.size + -entry.size % tar.BLOCK

    def part(self, name: str) -> FileRange:
        """Return a file by its name, links followed. Raises FileNotFoundError, OSError for links that lead nowhere."""
        for _ in range(MOST_LINKS):
            if name not in self.links:
                break
            name = self.links[name]
        if name not in self.files:
            raise FileNotFoundError(2, "no such member", name)
        return FileRange(os.dup(self.fd), *self.files[name])

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)


class _Blocks:
    """Blocks of a file from `at` on, one at a time: whoever iterates has read exactly as far as `at`."""

    def __init__(self, fd: int, at: int) -> None:
        self.fd, self.at = fd, at

    def __iter__(self) -> Iterator[bytes]:
        while block := os.pread(self.fd, tar.BLOCK, self.at):
            self.at += len(block)
            yield block


def _name(name: bytes) -> str:
    """Return a member's name as it is looked up; one that leads upwards stays as it is, and nobody asks for it."""
    text = os.fsdecode(name)
    return text if ".." in text.split("/") else posixpath.normpath(text)
