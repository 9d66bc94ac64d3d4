"""OCI layouts as places that images come from and go to (image-spec, image-layout.md)."""

from __future__ import annotations

import os
from collections.abc import Iterator

from runjail.errors import ImageError
from runjail.image.content.layout import LayoutDirectory, LayoutReader
from runjail.image.content.store import ContentStore
from runjail.image.file_range import FileRange
from runjail.image.model import Descriptor
from runjail.image.transport import Progress


class BlobsSource:
    """One image of a layout. Implements transport.Source. tag: "" for the only one there is."""

    def __init__(self, blobs: LayoutReader, tag: str) -> None:
        self.blobs, self.tag = blobs, tag

    def top(self) -> Descriptor:
        """Return the descriptor of the named index or manifest. Raises ImageNotFound, Corrupt."""
        return self.blobs.find(self.tag)

    def document(self, descriptor: Descriptor) -> bytes:
        """Return a manifest, index or config, verified."""
        return self.blobs.read(descriptor)

    def blob(self, descriptor: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """Yield a blob's content, not verified."""
        return self.blobs.blob(descriptor, offset)

    def again(self, _descriptor: Descriptor) -> bool:
        """It is the same however often it is asked for."""
        return False

    def close(self) -> None:
        """Nothing is held open."""


class LayoutSource(BlobsSource):
    """An image in an OCI layout directory."""

    def __init__(self, directory: str, tag: str = "") -> None:
        super().__init__(LayoutDirectory(directory), tag)


class LayoutSink:
    """An OCI layout directory to write an image to, beside those that it holds. Implements transport.Sink.

    It is made when it does not exist. tag: "" writes an entry without a name, as skopeo does.
    """

    def __init__(self, directory: str, tag: str = "") -> None:
        self.tag = tag
        self.made = not os.path.lexists(directory)
        self.content = ContentStore(directory, 0o755)
        self.added: list[str] = []
        self.named: Descriptor | None = None
        self.lease = self.content.lease()
        self.lease.__enter__()

    def has(self, descriptor: Descriptor) -> bool:
        """Whether this blob is there already, whole."""
        return self.content.touch_if_present(descriptor)

    def put_blob(self, descriptor: Descriptor, content: int, progress: Progress, *, known: bool = False) -> None:
        """Store a blob from an open file's start. Raises Corrupt, ImageError."""
        with self.content.ingest(descriptor) as blob:
            if blob.complete:
                return
            try:
                for block in FileRange(content, 0, descriptor.size).blocks(blob.offset):
                    blob.write(block)
                    progress(descriptor, len(block))
            except BaseException:
                blob.drop()  # a copy from file to file is not worth resuming
                raise
        self.added.append(descriptor.digest)

    def put_document(self, descriptor: Descriptor, content: bytes, *, top: bool) -> None:
        """Store an index or manifest."""
        if not self.has(descriptor):
            with self.content.ingest(descriptor) as blob:
                blob.write(content[blob.offset :])
            self.added.append(descriptor.digest)
        if top:
            self.named = descriptor

    def close(self) -> None:
        """Write the name, last."""
        if not self.named:
            raise ImageError(f"{self.content.directory}: nothing was written")
        self.content.tag(self.tag, self.named)
        self._leave()

    def abort(self) -> None:
        """Take back what was added, unless something else needs it by now; also the layout when it is new."""
        self._leave()
        self.content.garbage_collect(among=self.added)
        if self.made:
            self._remove_empty()

    def _leave(self) -> None:
        self.lease.__exit__()
        try:
            os.rmdir(f"{self.content.directory}/ingest")
        except OSError:  # partial files are kept there, for the next try
            pass

    def _remove_empty(self) -> None:
        """Remove a layout in which there is nothing; a directory that holds anything stops it."""
        directory = self.content.directory
        try:
            for algorithm in os.listdir(f"{directory}/blobs"):
                os.rmdir(f"{directory}/blobs/{algorithm}")
            os.rmdir(f"{directory}/blobs")
            os.unlink(f"{directory}/index.json")
            os.unlink(f"{directory}/oci-layout")
            os.rmdir(directory)
        except OSError:
            pass
