"""Encrypting and decrypting images: new layers, and new documents from the manifest up.

See containers/ocicrypt, imgcrypt. A manifest that changes becomes an OCI one, docker's types are mapped to OCI's.
Everything else in it stays, unknown members included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from runjail import log
from runjail.errors import ImageError, ImageNotFound
from runjail.image import media_types, model, platform
from runjail.image.content.recompress import as_oci
from runjail.image.content.store import ContentStore
from runjail.image.crypto import layer_stream, ocicrypt
from runjail.image.crypto.keyprovider_config import Provider
from runjail.image.crypto.options import Parameters
from runjail.image.model import Descriptor, Index, Manifest

Edit = Callable[[Descriptor, str], Descriptor]  # a layer and its diffID
Chosen = Callable[[Descriptor], bool]
Progress = Callable[[Descriptor, int, str], None]


class CryptoConfig:
    """What layers are opened with and wrapped for.

    progress: told about the bytes of each layer, and what was done to them. added: gets the digests of new blobs, also
    on failure.
    """

    def __init__(
        self,
        decrypting: Parameters,
        encrypting: Parameters,
        providers: Mapping[str, Provider],
        progress: Progress | None = None,
        added: set[str] | None = None,
    ) -> None:
        self.decrypting, self.encrypting, self.providers, self.progress = decrypting, encrypting, providers, progress
        self.added = set() if added is None else added


@dataclass(frozen=True)
class Selection:
    """Which layers of an image are changed.

    layers: numbers from 0, the lowest, or from -1, the highest; () for all. chosen: which manifests of an index, None
    for all.
    """

    layers: Sequence[int] = ()
    chosen: Chosen | None = None


EVERYTHING = Selection()


def encrypt(content: ContentStore, top: Descriptor, keys: CryptoConfig, which: Selection = EVERYTHING) -> Descriptor:
    """Encrypt layers, and add recipients to those that are encrypted already. Returns what replaces `top`.

    The caller holds the content's lease. Raises ImageError, Unauthorized.
    """
    return _Change(content, keys.added, lambda layer, _diff_id: _encrypted(content, layer, keys), which)(top)


def decrypt(content: ContentStore, top: Descriptor, keys: CryptoConfig, which: Selection = EVERYTHING) -> Descriptor:
    """Decrypt layers. As `encrypt`; an image without encrypted layers is returned as it is."""

    def edit(layer: Descriptor, diff_id: str) -> Descriptor:
        return _decrypted(content, layer, diff_id, keys)

    return _Change(content, keys.added, edit, which)(top)


class _Change:
    """A change of layers, and what follows from it in documents. Call it with what is to be changed."""

    def __init__(self, content: ContentStore, added: set[str], edit: Edit, which: Selection) -> None:
        self.content, self.added, self.edit, self.layers, self.chosen = content, added, edit, which.layers, which.chosen

    def __call__(self, top: Descriptor) -> Descriptor:
        document = model.parse_manifest(self.content.read(top), top.media_type, f"manifest {top.digest}")
        if isinstance(document, Manifest):
            config = model.parse_config(self.content.read(document.config), len(document.layers))
            changed: Manifest | Index = self._manifest(document, config.diff_ids)
        else:
            entries = tuple(self(entry) if self._is_image(entry) else entry for entry in document.manifests)
            changed = document.replace(manifests=entries, media_type=media_types.OCI_INDEX)
            if entries == document.manifests:
                return top
        if changed is document:
            return top
        made = self.content.add(model.encode(changed.document()))
        self.added.add(made.digest)
        return top.replace(media_type=changed.media_type, digest=made.digest, size=made.size)

    def _is_image(self, entry: Descriptor) -> bool:
        """Whether an entry of an index is to be changed; what is no image or was not pulled is left as it is."""
        if not platform.may_be_image(entry):
            return False
        if entry.media_type in media_types.INDEXES:
            return self.content.has(entry.digest)
        if self.chosen and not self.chosen(entry):
            return False
        if not self.content.has(entry.digest):
            if self.chosen:
                raise ImageNotFound(f"manifest {entry.digest} of another platform: pull it with --all-platforms first")
            return False
        return platform.of_manifest(entry, self.content.read) is not None

    def _manifest(self, manifest: Manifest, diff_ids: Sequence[str]) -> Manifest:
        count = len(manifest.layers)
        for number in self.layers:
            if not -count <= number < count:
                raise ImageError(f"there is no layer {number}: the image has {count}")
        wanted = {number % count for number in self.layers} if self.layers else set(range(count))
        changed = [
            self.edit(layer, diff_ids[number]) if number in wanted else layer
            for number, layer in enumerate(manifest.layers)
        ]
        return manifest if tuple(changed) == manifest.layers else as_oci(manifest, changed)


def _encrypted(content: ContentStore, layer: Descriptor, keys: CryptoConfig) -> Descriptor:
    if not media_types.is_layer(layer.media_type):
        log.warning(f"layer {layer.digest} stays as it is: {layer.media_type[:100]!r} is no layer of files")
        return layer
    if layer.encrypted:
        more = ocicrypt.add_recipients(layer, keys.decrypting, keys.encrypting, keys.providers)
        return layer.replace(annotations=more)
    with content.reading(layer.digest) as source, content.temporary() as file:
        private, public, made = layer_stream.encrypt_blob(
            source, file.fd, layer, known=content.is_verified(source, layer), report=_report(keys, layer)
        )
        wrapped = ocicrypt.wrap(private, public, keys.encrypting, keys.providers)
        content.commit_file(file, made.digest)
        keys.added.add(made.digest)
    return made.replace(annotations=dict(layer.annotations) | wrapped)


def _decrypted(content: ContentStore, layer: Descriptor, diff_id: str, keys: CryptoConfig) -> Descriptor:
    if not layer.encrypted:
        return layer
    private = ocicrypt.unwrap(layer, keys.decrypting, keys.providers)
    with content.reading(layer.digest) as source, content.temporary() as file:
        public, report = ocicrypt.public(layer), _report(keys, layer)
        made = layer_stream.decrypt_blob(source, file.fd, private, public, layer, diff_id, report)
        content.commit_file(file, made.digest)
        keys.added.add(made.digest)
    return made


def _report(keys: CryptoConfig, layer: Descriptor) -> Callable[[int, str], None]:
    progress = keys.progress
    return (lambda count, doing: progress(layer, count, doing)) if progress else (lambda _count, _doing: None)
