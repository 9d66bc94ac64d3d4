"""What `docker save` writes: a tar file with `manifest.json`, configs and uncompressed layers.

There are no digests but the diffIDs in the configs. A layer that is plain has its diffID as digest, so reading verifies
it; one that somebody compressed gets a digest of its own here, and is held against its diffID when it is unpacked.
Layers may be links to others (skopeo), or lie in an OCI layout beside manifest.json (docker 25 and later).
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from tempfile import TemporaryFile
from typing import Any

from runjail import jsonio
from runjail.errors import Corrupt, ImageError, ImageNotFound, RunjailError, reason
from runjail.files import write_all
from runjail.image import digest as digests
from runjail.image import media_types, model, reference
from runjail.image.content.oci_archive import TarFile, checked
from runjail.image.content.tar_index import TarIndex
from runjail.image.file_range import FileRange
from runjail.image.layers import compression
from runjail.image.layers.limits import Limits
from runjail.image.model import Descriptor, ImageConfig, Index, Manifest
from runjail.image.transport import Progress


class DockerArchiveSource:
    """One image of a docker archive, as an OCI image. Implements transport.Source.

    tag: `NAME:TAG`, `@N` for the one at a position from 0, as skopeo has it, "" for the only one. Raises ImageError,
    ImageNotFound, Corrupt.
    """

    def __init__(self, path: str, tag: str = "") -> None:
        self.members = TarIndex(path)
        self.documents: dict[str, bytes] = {}
        self.files: dict[str, str] = {}  # member names by digest
        try:
            self._top = self._manifest(self._entry(tag))
        except BaseException:
            self.members.close()
            raise

    def _entry(self, tag: str) -> dict[str, Any]:
        """Return the image's entry in manifest.json."""
        what = f"{self.members.path}: manifest.json"
        try:
            entries = jsonio.loads(self._member("manifest.json"))
        except ValueError as error:
            raise Corrupt(f"{what}: not JSON: {error}") from None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise Corrupt(f"{what}: not an array of objects")
        if not tag and len(entries) == 1:
            return dict(entries[0])
        if not tag or (tag.startswith("@") and int(tag[1:]) >= len(entries)):
            names = ", ".join(_names(entries)[:10])
            raise ImageError(f"{self.members.path} holds {len(entries)} images; name one{names and f': {names}'}")
        if tag.startswith("@"):
            return dict(entries[int(tag[1:])])
        wanted = _canonical(tag)
        for entry in entries:
            tags = model.get(entry, "RepoTags") or []
            if isinstance(tags, list) and wanted in [_canonical(text) for text in tags if isinstance(text, str)]:
                return dict(entry)
        raise ImageNotFound(f"{self.members.path}: {tag}")

    def _manifest(self, entry: dict[str, Any]) -> Descriptor:
        """Make an OCI manifest of an entry. Return its descriptor."""
        path, layers = model.get(entry, "Config"), model.get(entry, "Layers") or []
        if not isinstance(path, str) or not isinstance(layers, list) or not all(isinstance(n, str) for n in layers):
            raise Corrupt(f"{self.members.path}: manifest.json: Config must be a path, Layers an array of paths")
        content = self._member(path)
        config = model.parse_config(content, len(layers), f"{self.members.path}: {path}")
        described = self._document(media_types.OCI_CONFIG, content)
        blobs = tuple(self._layer(name, diff_id) for name, diff_id in zip(layers, config.diff_ids, strict=True))
        return self._document(media_types.OCI_MANIFEST, model.encode(Manifest(described, blobs).document()))

    def _document(self, media_type: str, content: bytes) -> Descriptor:
        digest = digests.of(content)
        self.documents[digest] = content
        return Descriptor(media_type, digest, len(content))

    def _layer(self, name: str, diff_id: str) -> Descriptor:
        part = self._part(name)
        try:
            kind = compression.detect(FileRange(part.fd, part.start, min(6, part.size)).join())
            digest = diff_id
            if kind:
                found = hashlib.sha256()
                for block in part.blocks():
                    found.update(block)
                digest = f"sha256:{found.hexdigest()}"
        except OSError as error:
            raise ImageError(f"{self.members.path}: cannot read {name}: {reason(error)}") from error
        finally:
            part.close()
        self.files[digest] = name
        named = kind if kind in media_types.COMPRESSIONS else ""  # xz and bzip2 have no type: the content says it
        return Descriptor(media_types.oci_layer(named), digest, part.size)

    def _part(self, name: str) -> FileRange:
        try:
            return self.members.part(os.path.normpath(name))
        except FileNotFoundError:
            raise ImageError(f"{self.members.path}: not a docker archive: there is no {name[:100]}") from None

    def _member(self, name: str) -> bytes:
        content = self._part(name).all(model.LARGEST + 1)
        if len(content) > model.LARGEST:
            raise Corrupt(f"{self.members.path}: {name[:100]} is longer than {model.LARGEST >> 20} MiB")
        return content

    def top(self) -> Descriptor:
        """Return the descriptor of the manifest that we made."""
        return self._top

    def document(self, descriptor: Descriptor) -> bytes:
        """Return the manifest or the config."""
        if descriptor.digest not in self.documents:
            raise ImageNotFound(f"{self.members.path}: {descriptor.digest}", part=True)
        return self.documents[descriptor.digest]

    def blob(self, descriptor: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """Yield a layer's content, or the config's, not verified."""
        if descriptor.digest in self.documents:
            yield self.documents[descriptor.digest][offset:]
            return
        part = self._part(self.files[descriptor.digest])
        yield from part.read_out(offset, f"{self.members.path}: cannot be read")

    def again(self, _descriptor: Descriptor) -> bool:
        """It is the same however often it is asked for."""
        return False

    def close(self) -> None:
        """Close the archive."""
        self.members.close()


def _names(entries: list[dict[str, Any]]) -> list[str]:
    """Return what each image of an archive can be called by: its first name, or its position."""
    tags = [model.get(entry, "RepoTags") for entry in entries]
    return [
        str(found[0]) if isinstance(found, list) and found else f"@{position}" for position, found in enumerate(tags)
    ]


def _canonical(text: str) -> str:
    """Return a name in full, `busybox` as `docker.io/library/busybox:latest`; what is no name stays as it is."""
    try:
        return reference.parse(text).name
    except RunjailError:
        return text


class DockerArchiveSink:
    """A new docker archive with one image. Implements transport.Sink; threads may store blobs at once.

    tag: what it is called for `docker load`. Layers are decompressed. Encrypted layers are refused: the archive has no
    place for their keys, so that nobody could ever read them.
    """

    def __init__(self, path: str, tag: str = "") -> None:
        self.tags = [_familiar(tag)] if tag else None
        self.file = TarFile(path)
        self.lock = threading.Lock()
        self.there: dict[str, str] = {}  # digest of a blob: digest of what was written for it
        self.configs: dict[str, bytes] = {}
        self.manifest: Manifest | None = None

    def has(self, descriptor: Descriptor) -> bool:
        """Whether this blob is in the archive already."""
        return descriptor.digest in self.there

    def put_blob(self, descriptor: Descriptor, content: int, progress: Progress, *, known: bool = False) -> None:
        """Append a layer or a config from an open file's start. Raises Corrupt, ImageError."""
        if descriptor.encrypted:
            raise ImageError(f"{self.file.path}: a docker archive cannot hold encrypted layers")
        blocks = checked(FileRange(content, 0, descriptor.size), descriptor, progress)
        with self.lock:
            if self.has(descriptor):
                return
            if media_types.is_layer(descriptor.media_type):
                self.there[descriptor.digest] = self._put_layer(blocks, os.path.dirname(self.file.path) or ".")
            elif descriptor.size <= model.LARGEST:
                self.configs[descriptor.digest] = b"".join(blocks)
                self.there[descriptor.digest] = descriptor.digest
            else:
                raise ImageError(f"{self.file.path}: a docker archive cannot hold {descriptor.media_type}")

    def _put_layer(self, blocks: Iterable[bytes], beside: str) -> str:
        """Append a layer, plain. Return its diffID."""
        found, size = hashlib.sha256(), 0
        try:
            with TemporaryFile(dir=beside) as file:  # its length stands before it in the archive
                for data in compression.decompress(blocks, **Limits().bounds()):
                    found.update(data)
                    write_all(file.fileno(), data)
                    size += len(data)
                digest = f"sha256:{found.hexdigest()}"
                self.file.add(_layer_name(digest), size, FileRange(file.fileno(), 0, size).blocks())
        except OSError as error:
            raise ImageError(f"cannot write {self.file.path}: {reason(error)}") from error
        return digest

    def put_document(self, descriptor: Descriptor, content: bytes, *, top: bool) -> None:
        """Take the manifest. Raises ImageError for an index."""
        found = model.parse_manifest(content, descriptor.media_type, f"manifest {descriptor.digest}")
        if isinstance(found, Index):
            raise ImageError(f"{self.file.path}: a docker archive holds one platform; choose one")
        self.manifest = found

    def close(self) -> None:
        """Write config and manifest.json, and give the file its name. Raises Corrupt when diffIDs are wrong."""
        if not self.manifest:
            raise ImageError(f"{self.file.path}: nothing was written")
        content = self.configs[self.manifest.config.digest]
        config = model.parse_config(content, len(self.manifest.layers))
        self._check(config, self.manifest)
        name = f"{digests.of(content).partition(':')[2]}.json"
        layers = [_layer_name(diff_id) for diff_id in config.diff_ids]
        entry = {"Config": name, "RepoTags": self.tags, "Layers": layers}
        listing = jsonio.dumps([entry]).encode()
        self.file.add(name, len(content), [content])
        self.file.add("manifest.json", len(listing), [listing])
        self.file.finish()

    def _check(self, config: ImageConfig, manifest: Manifest) -> None:
        for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
            if self.there.get(layer.digest) != diff_id:
                raise Corrupt(f"layer {layer.digest}: its content is not the config's {diff_id}")

    def abort(self) -> None:
        """Remove what was written."""
        self.file.abandon()


def _layer_name(diff_id: str) -> str:
    return f"{diff_id.partition(':')[2]}.tar"


def _familiar(tag: str) -> str:
    """Return a name for RepoTags: with a tag, and short where docker's own names are."""
    return _canonical(tag).removeprefix("docker.io/library/").removeprefix("docker.io/")
