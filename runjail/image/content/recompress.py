"""The same image with its layers compressed otherwise: a new manifest, the same config."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from runjail.errors import Corrupt, ImageError, reason
from runjail.files import write_all
from runjail.image import digest as digests
from runjail.image import media_types, model, parallel
from runjail.image.content.store import ContentStore
from runjail.image.file_range import FileRange
from runjail.image.layers import compression as codec
from runjail.image.layers.limits import Limits
from runjail.image.model import Descriptor, Index, Manifest

# Annotations that point into the compressed blob (estargz, zstd:chunked), and so do not hold for another.
POINTERS = ("containerd.io/snapshot/stargz/", "io.containers.estargz.", "io.github.containers.zstd-chunked.")
SHA256 = digests.of(b"")  # the algorithm of what we make


def recompress(content: ContentStore, top: Descriptor, kind: str, level: int | None, added: set[str]) -> Descriptor:
    """Return the index or manifest with layers in another compression; the new blobs are in the content, nameless.

    kind: "gzip", "zstd" or "none". Layers that are encrypted, not distributable, no tar files or in that compression
    already (when no level is asked for) stay as they are. added: gets the digests of new blobs, also on failure.
    Raises Corrupt for a layer that is not what its config says, UsageError for a wrong kind or level.
    """
    kind = "" if kind == "none" else kind
    if kind:
        codec.compressor(kind, level)  # a mistake is an error even where there is nothing to do
    return _Recompression(content, kind, level, added).document(top)


class _Recompression:
    def __init__(self, content: ContentStore, kind: str, level: int | None, added: set[str]) -> None:
        self.content, self.kind, self.level, self.added = content, kind, level, added

    def document(self, descriptor: Descriptor) -> Descriptor:
        """Return the descriptor of the rewritten document, the given one when nothing changes."""
        if descriptor.media_type not in media_types.INDEXES + media_types.MANIFESTS:
            return descriptor
        found = model.parse_manifest(self.content.read(descriptor), descriptor.media_type, descriptor.digest)
        if isinstance(found, Index):
            entries = tuple(self.document(entry) for entry in found.manifests)
            changed = [entry.digest for entry in entries] != [entry.digest for entry in found.manifests]
            return self._add(found.replace(manifests=entries), descriptor) if changed else descriptor
        layers = self._layers(found)
        return self._add(as_oci(found, layers), descriptor) if layers != list(found.layers) else descriptor

    def _add(self, document: Index | Manifest, old: Descriptor) -> Descriptor:
        added = self.content.add(model.encode(document.document()), document.media_type)
        self.added.add(added.digest)
        return added.replace(annotations=old.annotations, platform=old.platform)

    def _layers(self, manifest: Manifest) -> list[Descriptor]:
        """Return the new layers, made in threads."""
        layers = list(manifest.layers)
        if not all(media_types.is_layer(layer.media_type) for layer in layers):
            return layers  # layers that are no tar archives, such as an SBOM's
        config = model.parse_config(self.content.read(manifest.config), len(layers))

        def making(number: int) -> Callable[[parallel.Check], None]:
            def make(check: parallel.Check) -> None:
                layers[number] = self._layer(manifest.layers[number], config.diff_ids[number], check)

            return make

        parallel.run([making(number) for number in range(len(layers))], os.cpu_count() or 1)
        return layers

    def _layer(self, layer: Descriptor, diff_id: str, check: parallel.Check) -> Descriptor:
        if layer.encrypted or layer.media_type.startswith((media_types.OCI_FOREIGN, media_types.DOCKER_FOREIGN)):
            return layer
        try:
            with self.content.reading(layer.digest) as file:
                is_now = codec.detect(FileRange(file, 0, min(6, layer.size)).join())
                if is_now == self.kind and self.level is None:
                    return layer
                blob = FileRange(file, 0, layer.size).blocks()
                made, _ = pack(self.content, _checked(blob, check), self.kind, self.level, diff_id)
        except OSError as error:
            raise ImageError(f"layer {layer.digest}: cannot be read: {reason(error)}") from error
        except Corrupt as error:
            raise Corrupt(f"layer {layer.digest}: {error}", error.hint) from None
        self.added.add(made.digest)
        kept = {key: text for key, text in layer.annotations.items() if not key.startswith(POINTERS)}
        return made.replace(annotations=kept)


def as_oci(manifest: Manifest, layers: list[Descriptor]) -> Manifest:
    """Return the manifest with these layers, in OCI's media types throughout: docker's have no zstd."""
    typed = [layer.replace(media_type=_oci_type(layer.media_type)) for layer in layers]
    config = manifest.config
    if config.media_type == media_types.DOCKER_CONFIG:
        config = config.replace(media_type=media_types.OCI_CONFIG)
    return manifest.replace(config=config, layers=tuple(typed), media_type=media_types.OCI_MANIFEST)


def _oci_type(media_type: str) -> str:
    """Return what docker's type of a layer is called by OCI, any other type as it is."""
    kind = media_types.layer_compression(media_type) if media_type.startswith(media_types.DOCKER) else None
    return media_type if kind is None else media_types.oci_layer(kind, encrypted=media_types.is_encrypted(media_type))


def _checked(chunks: Iterator[bytes], check: parallel.Check) -> Iterator[bytes]:
    for chunk in chunks:
        check()
        yield chunk


def counted(chunks: Iterable[bytes], report: Callable[[int], object]) -> Iterator[bytes]:
    """Yield what `pack` is to read, telling how many bytes more there were."""
    for chunk in chunks:
        yield chunk
        report(len(chunk))


def pack(
    content: ContentStore, blob: Iterable[bytes], kind: str, level: int | None = None, diff_id: str = ""
) -> tuple[Descriptor, str]:
    """Add a tar stream, compressed in any way, as a layer. Return its descriptor and its diffID.

    kind: "gzip", "zstd", or "" for plain. diff_id: what the plain tar must be; "" when the caller does not know.
    Raises Corrupt, ImageError.
    """
    plain, packed = digests.new(diff_id or SHA256), digests.new(SHA256)
    compressor = codec.compressor(kind, level) if kind else None
    size = 0
    with content.temporary() as file:

        def put(data: bytes) -> None:
            nonlocal size
            size += len(data)
            packed.update(data)
            write_all(file.fd, data)

        try:
            for chunk in codec.decompress(blob, **Limits().bounds()):
                plain.update(chunk)
                put(compressor.update(chunk) if compressor else chunk)
            if compressor:
                put(compressor.finish())
        except OSError as error:
            raise ImageError(f"cannot store a layer: {reason(error)}") from error
        found = f"{digests.parse(diff_id or SHA256)[0]}:{plain.hexdigest()}"
        if diff_id and found != diff_id:
            raise Corrupt(f"its content has digest {found}, not the config's {diff_id}")
        made = Descriptor(media_types.oci_layer(kind), f"sha256:{packed.hexdigest()}", size)
        if not content.touch_if_present(made):
            content.commit_file(file, made.digest)
    return made, found
