"""A directory tree as a tar stream: sorted, numeric owners, links, extended attributes.

Times are in nanoseconds. Equal trees give equal bytes. It stays on one file system, so the devfs of a running jail is
not in it; devices and sockets are left out. Nothing is followed, and everything is opened below the directory above it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from typing import Any

from runjail import attributes
from runjail.errors import ImageError, reason
from runjail.image.file_range import READING, FileRange
from runjail.image.layers import owners, tar_writer
from runjail.rootfs import DIRECTORY

WHITEOUT = b".wh."  # what a name that starts so means in a layer is another file's removal
FIRST, DEEPEST = b"./", 400  # the root's name; levels of directories, a descriptor each


def stream(path: str) -> Iterator[bytes]:
    """Yield the archive. Raises ImageError for what cannot be read, changes meanwhile, or cannot be said in a layer."""
    try:
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ImageError(f"cannot read {path}: {reason(error)}") from error
    try:
        yield from _Tree(path, root).archive()
    except OSError as error:
        raise ImageError(f"cannot read {error.filename or path}: {reason(error)}") from error
    finally:
        os.close(root)


def part(parent: int, name: bytes, as_name: bytes, where: str, skip: Sequence[bytes] = ()) -> Iterator[bytes]:
    """Yield an archive of one entry of an open directory, of a tree that others may change. Raises OSError, ImageError.

    as_name: what it is called there; b"" for what the directory contains, without itself. where: for errors. skip:
    names of the first level.
    """
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    tree = _Tree(where, parent, found.st_dev, whole=False)
    tree.skip = {b"/".join(filter(None, (as_name, each))) for each in skip}
    if as_name or not stat.S_ISDIR(found.st_mode):
        yield from tree.entry(parent, name, as_name, found, 0)
    else:
        directory = os.open(name, DIRECTORY, dir_fd=parent)
        try:
            yield from tree.inside(directory, b"", 0)
        finally:
            os.close(directory)
    yield tar_writer.END


class _Tree:
    """whole: for a layer, which stays on one file system, and whose files nobody may change meanwhile."""

    def __init__(self, path: str, root: int, device: int = 0, *, whole: bool = True) -> None:
        self.path, self.root, self.whole = path, root, whole
        self.device = device or os.fstat(root).st_dev
        self.skip: set[bytes] = set()
        self.names: dict[int, bytes] = {}  # of files with several links, by inode

    def archive(self) -> Iterator[bytes]:
        yield self._header(FIRST, os.fstat(self.root), tar_writer.DIRECTORY, xattrs=attributes.read(self.root))
        yield from self.inside(self.root, b"", 0)
        yield tar_writer.END

    def _header(self, name: bytes, found: os.stat_result, kind: bytes, **more: Any) -> bytes:
        more |= {"mode": stat.S_IMODE(found.st_mode), "mtime": found.st_mtime_ns}
        uid, gid, more["xattrs"] = owners.shown(found, more.get("xattrs", {}))
        return tar_writer.header(name, kind, uid=uid, gid=gid, **more)

    def inside(self, directory: int, above: bytes, depth: int) -> Iterator[bytes]:
        """Yield what is in an open directory."""
        if depth > DEEPEST:
            raise ImageError(f"{self.path}: more than {DEEPEST} levels of directories")
        for name in sorted(os.fsencode(name) for name in os.listdir(directory)):
            if above + name in self.skip:
                continue
            if name.startswith(WHITEOUT) and self.whole:
                raise ImageError(f"{self.path}: a layer cannot hold a file called {os.fsdecode(above + name)}")
            try:
                found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                if self.whole:
                    raise
                continue
            yield from self.entry(directory, name, above + name, found, depth)

    def entry(self, directory: int, name: bytes, path: bytes, found: os.stat_result, depth: int) -> Iterator[bytes]:
        """Yield one entry of an open directory; what stat(2) found is compared with what is opened."""
        if stat.S_ISDIR(found.st_mode):
            yield from self._directory(directory, name, path, found, depth)
        elif found.st_dev != self.device and self.whole:
            return
        elif stat.S_ISLNK(found.st_mode):
            link = os.readlink(name, dir_fd=directory)
            yield self._header(path, found, tar_writer.SYMLINK, link=link)
        elif stat.S_ISREG(found.st_mode):
            yield from self._file(directory, name, path, found)
        elif stat.S_ISFIFO(found.st_mode):
            yield self._header(path, found, tar_writer.FIFO)

    def _directory(
        self, directory: int, name: bytes, path: bytes, found: os.stat_result, depth: int
    ) -> Iterator[bytes]:
        inner = os.open(name, DIRECTORY, dir_fd=directory)
        try:
            yield self._header(path + b"/", found, tar_writer.DIRECTORY, xattrs=attributes.read(inner))
            if found.st_dev == self.device or not self.whole:
                yield from self.inside(inner, path + b"/", depth + 1)
        finally:
            os.close(inner)

    def _file(self, directory: int, name: bytes, path: bytes, found: os.stat_result) -> Iterator[bytes]:
        if found.st_nlink > 1 and found.st_dev == self.device:
            first = self.names.setdefault(found.st_ino, path)
            if first != path:
                yield self._header(path, found, tar_writer.LINK, link=first)
                return
        file = FileRange(os.open(name, READING, dir_fd=directory), 0, found.st_size)
        try:
            if not stat.S_ISREG(os.fstat(file.fd).st_mode):
                raise ImageError(f"{self.path}: {os.fsdecode(path)} changed while it was read")
            yield self._header(path, found, tar_writer.REGULAR, size=file.size, xattrs=attributes.read(file.fd))
            left = file.size
            for block in file.blocks():
                left -= len(block)
                yield block
            if left or (self.whole and os.fstat(file.fd).st_size != file.size):
                raise ImageError(f"{self.path}: {os.fsdecode(path)} changed while it was read")
            yield tar_writer.padding(file.size)
        finally:
            file.close()


class Entries(_Tree):
    """Entries of a tree one by one: of a directory itself, not of what is in it."""

    def __init__(self, path: str, root: int) -> None:
        super().__init__(path, root, whole=False)

    def one(self, directory: int, name: bytes, path: bytes) -> Iterator[bytes]:
        """Yield an entry of an open directory; path: its name in the archive. Raises OSError, ImageError."""
        yield from self.entry(directory, name, path, os.stat(name, dir_fd=directory, follow_symlinks=False), 0)

    def inside(self, _directory: int, _above: bytes, _depth: int) -> Iterator[bytes]:
        """Yield nothing."""
        return iter(())
