"""Blobs on their way into a ContentStore: written beside, hashed, renamed when whole."""

from __future__ import annotations

import os
import stat
import time

from runjail import locks
from runjail.errors import Corrupt, ImageError, reason
from runjail.files import write_all
from runjail.image import digest as digests
from runjail.image.model import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Receiver(Protocol):
        """What blobs come into: a ContentStore."""

        directory: str

        def touch_if_present(self, blob: Descriptor, /) -> bool:
            """Whether a blob is there, whole; if so it counts as new."""

        def place(self, fd: int, path: str, digest: str, /) -> None:
            """Turn a whole file, which was verified, into a blob."""


BLOCK = 1 << 20
PAUSE = 0.02  # seconds between two looks whether the other writer is done


class Ingest:
    """A blob on its way in; a context. What it holds at the end of a block without an error is verified and kept.

    complete: it is there already, or another process brought it while we waited; there is nothing to write.
    offset: how many bytes are here from an interrupted try; the source is asked for the rest.

    An error of the source leaves the partial file, which the next try resumes. Wrong content, a source that says it is
    done too early, and a full disk do not.
    """

    def __init__(self, content: Receiver, descriptor: Descriptor, check: Callable[[], None] | None) -> None:
        self.content, self.descriptor, self.check = content, descriptor, check
        self.partial = "/".join((content.directory, "ingest", "-".join(digests.parse(descriptor.digest))))
        self.hash = digests.new(descriptor.digest)
        self.offset, self.fd, self.complete = 0, -1, False

    def __enter__(self) -> Ingest:
        while not self.content.touch_if_present(self.descriptor):
            self.fd = self._open()
            try:
                if self._locked():
                    self._resume()
                    self._require_room()
                    return self
            except BaseException:
                os.close(self.fd)
                raise
            os.close(self.fd)
            self._pause()
        self.offset, self.complete = self.descriptor.size, True
        return self

    def _open(self) -> int:
        """Open what an interrupted try left, or a new file. What is not ours alone is replaced: others may write here.

        A hard link would be truncated, and a FIFO waited for.
        """
        try:
            while True:
                file = open_beside(self.partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK)
                found = os.fstat(file)
                if stat.S_ISREG(found.st_mode) and found.st_nlink < 2 and found.st_uid == os.geteuid():
                    return file
                os.close(file)
                os.unlink(self.partial)
        except OSError as error:
            raise ImageError(f"cannot write {self.partial}: {reason(error)}") from error

    def _locked(self) -> bool:
        """Whether the partial file is ours alone, and still of that name: another writer may have finished it."""
        try:
            return locks.try_lock(self.fd) and os.path.samestat(os.fstat(self.fd), os.lstat(self.partial))
        except FileNotFoundError:
            return False

    def _pause(self) -> None:
        if self.check:
            self.check()
        time.sleep(PAUSE)

    def _resume(self) -> None:
        """Hash what an interrupted try left."""
        while block := os.read(self.fd, BLOCK):
            self.hash.update(block)
            self.offset += len(block)
        if self.offset > self.descriptor.size:
            os.ftruncate(self.fd, 0)
            os.lseek(self.fd, 0, os.SEEK_SET)
            self.hash, self.offset = digests.new(self.descriptor.digest), 0

    def _require_room(self) -> None:
        """Raise ImageError when what is announced cannot fit: the disk is not filled up to find that out."""
        left, found = self.descriptor.size - self.offset, os.fstatvfs(self.fd)
        room = found.f_bfree * found.f_frsize
        if left > room:
            if not self.offset:
                self.drop()
            what = f"blob {self.descriptor.digest}: {left} bytes do not fit on the disk"
            raise ImageError(f"{what} of {self.content.directory}, which has {room} left")

    def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes. Raises Corrupt for more than the descriptor announced, ImageError for a full disk."""
        self.offset += len(data)
        if self.offset > self.descriptor.size:
            raise Corrupt(f"blob {self.descriptor.digest}: longer than {self.descriptor.size} bytes")
        self.hash.update(data)
        try:
            write_all(self.fd, data)
        except OSError as error:
            self.drop()
            raise ImageError(f"cannot store blob {self.descriptor.digest}: {reason(error)}") from error

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        if self.complete:
            return
        try:
            if kind is None:
                self._commit()
            elif issubclass(kind, Corrupt) or not self.offset:
                self.drop()
        finally:
            os.close(self.fd)

    def _commit(self) -> None:
        digest, size = self.descriptor.digest, self.descriptor.size
        if self.offset < size:
            self.drop()
            raise Corrupt(f"blob {digest}: ends after {self.offset} of {size} bytes")
        found = f"{digests.parse(digest)[0]}:{self.hash.hexdigest()}"
        if found != digest:
            self.drop()
            raise Corrupt(f"blob {digest}: content has digest {found}")
        self.content.place(self.fd, self.partial, digest)
        self.complete = True

    def drop(self) -> None:
        """Give the partial file up."""
        try:
            os.unlink(self.partial)
        except FileNotFoundError:
            pass


class Temporary:
    """An empty file in a store's file system; a context. fd: for reading and writing; path: "" once it is a blob."""

    def __init__(self, content: Receiver) -> None:
        self.path = f"{content.directory}/ingest/tmp-{os.getpid()}-{os.urandom(8).hex()}"
        self.fd = -1

    def __enter__(self) -> Temporary:
        try:
            self.fd = open_beside(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except OSError as error:
            raise ImageError(f"cannot write {self.path}: {reason(error)}") from error
        locks.lock(self.fd)  # garbage collection leaves it alone while it is locked
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            if self.path:
                os.unlink(self.path)
        finally:
            os.close(self.fd)


def open_beside(path: str, flags: int) -> int:
    """Open a file in `ingest`, which is made when it is needed: it is no part of a layout. Raises OSError."""
    while True:
        try:
            return os.open(path, flags | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:
            try:
                os.mkdir(os.path.dirname(path), 0o755)
            except FileExistsError:
                pass
