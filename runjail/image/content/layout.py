"""Reading an OCI layout: `oci-layout`, `index.json` and `blobs/ALGORITHM/ENCODED`.

See image-spec, image-layout.md. The directory may come from anybody: names of files are made from checked digests only,
links are not followed, and what is read as a document is verified.
"""

from __future__ import annotations

import os
import stat

from runjail.errors import Corrupt, ImageError, ImageNotFound, reason
from runjail.image import digest as digests
from runjail.image import model
from runjail.image.file_range import FileRange, open_file
from runjail.image.model import Descriptor, Index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = "1.0.0"  # imageLayoutVersion


class LayoutReader:
    """A layout to read, in a directory (LayoutDirectory) or elsewhere. where: what to call it in errors."""

    def __init__(self, where: str) -> None:
        self.where = where

    def part(self, name: str) -> FileRange:
        """Return where a file of the layout can be read. Raises OSError, FileNotFoundError."""
        raise NotImplementedError

    def _blob(self, digest: str) -> FileRange:
        name = blob_name(digest)
        try:
            return self.part(name)
        except FileNotFoundError:
            raise ImageNotFound(f"{self.where}: blob {digest}", part=True) from None
        except OSError as error:
            raise ImageError(f"{self.where}: cannot read blob {digest}: {reason(error)}") from error

    def read(self, descriptor: Descriptor) -> bytes:
        """Return a manifest, index or config, size and digest verified. Raises Corrupt, ImageNotFound."""
        if descriptor.size > model.LARGEST:
            raise Corrupt(f"{descriptor.digest}: a document of {descriptor.size} bytes is too long")
        content = self._blob(descriptor.digest).all(descriptor.size + 1)
        if len(content) != descriptor.size:
            raise Corrupt(f"{self.where}: blob {descriptor.digest} is not {descriptor.size} bytes long")
        digests.verify(content, descriptor.digest, f"{self.where}: blob")
        return content

    def blob(self, descriptor: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """Yield a blob's content from an offset on, not verified. Raises ImageError."""
        part = self._blob(descriptor.digest)
        yield from part.read_out(offset, f"{self.where}: cannot read blob {descriptor.digest}")

    def index(self) -> Index:
        """Return index.json. Raises ImageError for a directory that is no layout, Corrupt for an unreadable one."""
        header = model.parse_document(self._file("oci-layout"), f"{self.where}/oci-layout")
        if model.get(header, "imageLayoutVersion") != VERSION:
            raise ImageError(f"{self.where}: not an OCI layout of version {VERSION}")
        what = f"{self.where}/index.json"
        found = model.parse_manifest(self._file("index.json"), what=what)
        if isinstance(found, model.Manifest):
            raise Corrupt(f"{what}: not an index")
        return found

    def _file(self, name: str) -> bytes:
        try:
            return self.part(name).all(model.LARGEST + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise ImageError(f"{self.where}: not an OCI layout: there is no {name}") from None
        except OSError as error:
            raise ImageError(f"{self.where}: cannot read {name}: {reason(error)}") from error

    def names(self) -> dict[str, Descriptor]:
        """Return what has a name, in the order of index.json. Of two with one name the first counts."""
        found: dict[str, Descriptor] = {}
        for entry in self.index().manifests:
            if name := entry.annotations.get(model.REF_NAME):
                found.setdefault(name, unnamed(entry))
        return found

    def find(self, name: str) -> Descriptor:
        """Return what has this name; for "" what is alone in the layout. Raises ImageNotFound."""
        if name:
            names = self.names()
            if name not in names:
                raise ImageNotFound(f"{self.where}: {name}")
            return names[name]
        entries = self.index().manifests
        if len({entry.digest for entry in entries}) == 1:
            return unnamed(entries[0])
        shown = ", ".join(sorted(self.names())[:10])
        raise ImageError(f"{self.where} holds {len(entries)} images; name one{': ' if shown else ''}{shown}")


def unnamed(entry: Descriptor) -> Descriptor:
    """Return an entry of index.json as it is outside: the name belongs to the layout."""
    return entry.replace(annotations={k: v for k, v in entry.annotations.items() if k != model.REF_NAME})


class LayoutDirectory(LayoutReader):
    """An OCI layout in a directory that is there."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self.directory = directory

    def part(self, name: str) -> FileRange:
        """Return a file of the layout."""
        file = open_file(f"{self.directory}/{name}")
        return FileRange(file, 0, os.fstat(file).st_size)

    def path(self, digest: str) -> str:
        """Return where a blob is, or would be. Raises ImageError for what is no digest."""
        return f"{self.directory}/{blob_name(digest)}"

    def has(self, digest: str) -> bool:
        """Whether a blob is there, as a file."""
        try:
            return stat.S_ISREG(os.lstat(self.path(digest)).st_mode)
        except OSError:
            return False

    def open(self, digest: str) -> int:
        """Return a descriptor of a blob's file, to read and close. Raises ImageNotFound, ImageError."""
        return self._blob(digest).fd

    def size(self, digest: str) -> int:
        """Return a blob's length in bytes. Raises ImageNotFound."""
        try:
            return os.lstat(self.path(digest)).st_size
        except OSError:
            raise ImageNotFound(f"{self.directory}: blob {digest}", part=True) from None


def blob_name(digest: str) -> str:
    """Return a blob's path in a layout. Raises ImageError for what is no digest."""
    return "/".join(("blobs", *digests.parse(digest)))
