"""Reading an OCI layout: `oci-layout`, `index.json` and `blobs/ALGORITHM/ENCODED` (image-spec, image-layout.md).

The directory may come from anybody: names of files are made from checked digests only, links are not followed, and
what is read as a document is verified.
"""

import os
import stat

from runjail.errors import Corrupt, ImageError, ImageNotFound, reason
from runjail.image import digest as digests
from runjail.image import model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.image.model import Descriptor, Index

VERSION = "1.0.0"  # imageLayoutVersion
READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Blobs:
    """An OCI layout that is there. directory: its path."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def path(self, digest: str) -> str:
        """Return where a blob is, or would be. Raises ImageError for what is no digest."""
        return "/".join((self.directory, "blobs", *digests.parse(digest)))

    def has(self, digest: str) -> bool:
        """Whether a blob is there, as a file."""
        try:
            return stat.S_ISREG(os.lstat(self.path(digest)).st_mode)
        except OSError:
            return False

    def open(self, digest: str) -> int:
        """Return a descriptor of a blob's file, to read and close. Raises ImageNotFound, ImageError."""
        try:
            return open_file(self.path(digest))
        except FileNotFoundError:
            raise ImageNotFound(f"{self.directory}: blob {digest}") from None
        except OSError as error:
            raise ImageError(f"{self.directory}: cannot read blob {digest}: {reason(error)}") from error

    def size(self, digest: str) -> int:
        """Return a blob's length in bytes. Raises ImageNotFound."""
        try:
            return os.lstat(self.path(digest)).st_size
        except OSError:
            raise ImageNotFound(f"{self.directory}: blob {digest}") from None

    def read(self, descriptor: "Descriptor") -> bytes:
        """Return a manifest, index or config, size and digest verified. Raises Corrupt, ImageNotFound."""
        if descriptor.size > model.LARGEST:
            raise Corrupt(f"{descriptor.digest}: a document of {descriptor.size} bytes is too long")
        file = self.open(descriptor.digest)
        try:
            content = read_all(file, descriptor.size + 1)
        finally:
            os.close(file)
        if len(content) != descriptor.size:
            raise Corrupt(f"{self.directory}: blob {descriptor.digest} is not {descriptor.size} bytes long")
        digests.verify(content, descriptor.digest, f"{self.directory}: blob")
        return content

    def index(self) -> "Index":
        """Return index.json. Raises ImageError for a directory that is no layout, Corrupt for an unreadable one."""
        header = model.parse_document(self._file("oci-layout"), f"{self.directory}/oci-layout")
        if model.get(header, "imageLayoutVersion") != VERSION:
            raise ImageError(f"{self.directory}: not an OCI layout of version {VERSION}")
        what = f"{self.directory}/index.json"
        found = model.parse_manifest(self._file("index.json"), what=what)
        if isinstance(found, model.Manifest):
            raise Corrupt(f"{what}: not an index")
        return found

    def _file(self, name: str) -> bytes:
        path = f"{self.directory}/{name}"
        try:
            file = open_file(path)
        except (FileNotFoundError, NotADirectoryError):
            raise ImageError(f"{self.directory}: not an OCI layout: there is no {name}") from None
        except OSError as error:
            raise ImageError(f"cannot read {path}: {reason(error)}") from error
        try:
            return read_all(file, model.LARGEST + 1)
        finally:
            os.close(file)

    def names(self) -> "dict[str, Descriptor]":
        """Return what has a name, in the order of index.json. Of two with one name the first counts."""
        found: dict[str, Descriptor] = {}
        for entry in self.index().manifests:
            if name := entry.annotations.get(model.REF_NAME):
                found.setdefault(name, unnamed(entry))
        return found

    def find(self, name: str) -> "Descriptor":
        """Return what has this name; for "" what is alone in the layout. Raises ImageNotFound."""
        if name:
            names = self.names()
            if name not in names:
                raise ImageNotFound(f"{self.directory}: {name}")
            return names[name]
        entries = self.index().manifests
        if len({entry.digest for entry in entries}) == 1:
            return unnamed(entries[0])
        shown = ", ".join(sorted(self.names())[:10])
        raise ImageError(f"{self.directory} holds {len(entries)} images; name one{': ' if shown else ''}{shown}")


def unnamed(entry: "Descriptor") -> "Descriptor":
    """Return an entry of index.json as it is outside: the name belongs to the layout."""
    return entry.replace(annotations={k: v for k, v in entry.annotations.items() if k != model.REF_NAME})


def open_file(path: str) -> int:
    """Open a regular file for reading, never a link. Raises OSError."""
    file = os.open(path, READING)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(22, "not a regular file", path)
    return file


def read_all(file: int, most: int) -> bytes:
    """Read up to `most` bytes from where an open file is."""
    content = bytearray()
    while len(content) < most and (block := os.read(file, min(1 << 20, most - len(content)))):
        content += block
    return bytes(content)
