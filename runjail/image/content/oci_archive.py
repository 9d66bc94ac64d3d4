"""OCI layouts in a tar file: `oci-archive`.

Reading takes any compression, also FreeBSD's `.txz`; writing is plain.
"""

from __future__ import annotations

import os
import posixpath
import threading
from collections.abc import Iterable

from runjail.errors import Corrupt, ImageError, reason
from runjail.files import write_all
from runjail.image import digest as digests
from runjail.image import model
from runjail.image.content.layout import LayoutReader, blob_name
from runjail.image.content.oci_layout import BlobsSource
from runjail.image.content.tar_index import TarIndex
from runjail.image.file_range import FileRange
from runjail.image.layers import tar_writer
from runjail.image.model import Descriptor, Index
from runjail.image.transport import Progress


class ArchiveBlobs(LayoutReader):
    """The layout in an archive."""

    def __init__(self, members: TarIndex) -> None:
        super().__init__(members.path)
        self.members = members

    def part(self, name: str) -> FileRange:
        """Return a file of the layout."""
        return self.members.part(name)


class ArchiveSource(BlobsSource):
    """An image in an OCI archive. Raises ImageError, Corrupt."""

    def __init__(self, path: str, tag: str = "") -> None:
        self.members = TarIndex(path)
        super().__init__(ArchiveBlobs(self.members), tag)

    def close(self) -> None:
        """Close the archive."""
        self.members.close()


class TarFile:
    """A tar file that appears under its name when it is whole. Raises ImageError, also when the name is taken."""

    def __init__(self, path: str) -> None:
        self.path, self.beside = path, f"{path}.{os.urandom(4).hex()}.partial"
        self.directories = {""}
        if os.path.lexists(path):
            raise ImageError(f"{path} exists", "an archive is written anew; remove it or choose another name")
        try:
            self.fd = os.open(self.beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ImageError(f"cannot write {path}: {reason(error)}") from error

    def add(self, name: str, size: int, content: Iterable[bytes]) -> None:
        """Append a file, after the directories that it is in. Raises ImageError."""
        try:
            self._add_directory(posixpath.dirname(name))
            write_all(self.fd, tar_writer.header(name.encode(), size=size))
            for block in content:
                write_all(self.fd, block)
            write_all(self.fd, tar_writer.padding(size))
        except OSError as error:
            raise ImageError(f"cannot write {self.path}: {reason(error)}") from error

    def _add_directory(self, name: str) -> None:
        """Append a directory: skopeo gives those that are missing to root, which only root may do."""
        if name not in self.directories:
            self.directories.add(name)
            self._add_directory(posixpath.dirname(name))
            write_all(self.fd, tar_writer.header(f"{name}/".encode(), tar_writer.DIRECTORY, mode=0o755))

    def finish(self) -> None:
        """Write the end and give the file its name. Raises ImageError."""
        try:
            write_all(self.fd, tar_writer.END)
            os.fsync(self.fd)
            os.rename(self.beside, self.path)
        except OSError as error:
            raise ImageError(f"cannot write {self.path}: {reason(error)}") from error
        os.close(self.fd)
        self.fd = -1

    def abandon(self) -> None:
        """Remove what was written."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            os.unlink(self.beside)


class ArchiveSink:
    """A new OCI archive with one image. Implements transport.Sink; threads may store blobs at once, one waits."""

    def __init__(self, path: str, tag: str = "") -> None:
        self.tag, self.file = tag, TarFile(path)
        self.lock = threading.Lock()
        self.there: set[str] = set()
        self.named: Descriptor | None = None

    def has(self, descriptor: Descriptor) -> bool:
        """Whether this blob is in the archive already."""
        return descriptor.digest in self.there

    def put_blob(self, descriptor: Descriptor, content: int, progress: Progress, *, known: bool = False) -> None:
        """Append a blob from an open file's start. Raises Corrupt, ImageError."""
        with self.lock:
            if not self.has(descriptor):
                blocks = checked(FileRange(content, 0, descriptor.size), descriptor, progress)
                self.file.add(blob_name(descriptor.digest), descriptor.size, blocks)
                self.there.add(descriptor.digest)

    def put_document(self, descriptor: Descriptor, content: bytes, *, top: bool) -> None:
        """Append an index or manifest."""
        digests.verify(content, descriptor.digest, "document")
        if not self.has(descriptor):
            self.file.add(blob_name(descriptor.digest), len(content), [content])
            self.there.add(descriptor.digest)
        if top:
            self.named = descriptor

    def close(self) -> None:
        """Write the layout's own documents, and give the file its name."""
        if not self.named:
            raise ImageError(f"{self.file.path}: nothing was written")
        name = {model.REF_NAME: self.tag} if self.tag else {}
        entry = self.named.replace(annotations=dict(self.named.annotations) | name)
        for path, document in (
            ("oci-layout", {"imageLayoutVersion": "1.0.0"}),
            ("index.json", Index((entry,)).document()),
        ):
            content = model.encode(document)
            self.file.add(path, len(content), [content])
        self.file.finish()

    def abort(self) -> None:
        """Remove what was written."""
        self.file.abandon()


def checked(part: FileRange, descriptor: Descriptor, progress: Progress) -> Iterable[bytes]:
    """Yield a blob's content, telling progress; at its end it has been verified. Raises Corrupt, OSError."""
    found, length = digests.new(descriptor.digest), 0
    for block in part.blocks():
        found.update(block)
        length += len(block)
        yield block
        progress(descriptor, len(block))
    if length != descriptor.size or found.hexdigest() != digests.parse(descriptor.digest)[1]:
        raise Corrupt(f"blob {descriptor.digest}: content is another")
