"""Encrypting and decrypting images: new layers, and new documents from the manifest up (containers/ocicrypt, imgcrypt).

A manifest that changes becomes an OCI one, docker's types are mapped to OCI's. Everything else in it stays, unknown
members included.
"""

import os

from runjail.errors import ImageError, ImageNotFound
from runjail.image import media, model
from runjail.image.crypto import blobs, ocicrypt
from runjail.image.model import Descriptor, Index, Manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runjail.image.content import Content
    from runjail.image.crypto.keyprovider import Provider
    from runjail.image.crypto.options import Parameters
    from runjail.image.transport import Progress

    Edit = Callable[[Descriptor, str], Descriptor]  # a layer and its diffID
    Chosen = Callable[[Descriptor], bool]


class Keys:
    """What layers are opened with and wrapped for. progress: told about the plain bytes of each layer."""

    def __init__(
        self,
        decrypting: "Parameters",
        encrypting: "Parameters",
        providers: "Mapping[str, Provider]",
        progress: "Progress | None" = None,
    ) -> None:
        self.decrypting, self.encrypting, self.providers, self.progress = decrypting, encrypting, providers, progress


def encrypt(
    content: "Content", top: Descriptor, keys: Keys, layers: "Sequence[int]" = (), chosen: "Chosen | None" = None
) -> Descriptor:
    """Encrypt layers, and add recipients to those that are encrypted already. Returns what replaces `top`.

    layers: numbers from 0, the lowest, or from -1, the highest; () for all. chosen: which manifests of an index, None
    for all. The caller holds the content's lease. Raises ImageError, Unauthorized.
    """
    return _change(content, top, lambda layer, _diff_id: _encrypted(content, layer, keys), layers, chosen)


def decrypt(
    content: "Content", top: Descriptor, keys: Keys, layers: "Sequence[int]" = (), chosen: "Chosen | None" = None
) -> Descriptor:
    """Decrypt layers. As `encrypt`; an image without encrypted layers is returned as it is."""
    return _change(content, top, lambda layer, diff_id: _decrypted(content, layer, diff_id, keys), layers, chosen)


def _change(
    content: "Content", top: Descriptor, edit: "Edit", layers: "Sequence[int]", chosen: "Chosen | None"
) -> Descriptor:
    document = model.parse_manifest(content.read(top), top.media_type, f"manifest {top.digest}")
    if isinstance(document, Manifest):
        config = model.parse_config(content.read(document.config), len(document.layers))
        changed: Manifest | Index = _changed(document, config.diff_ids, edit, layers)
    else:
        entries = tuple(
            _change(content, entry, edit, layers, chosen) if _is_image(content, entry, chosen) else entry
            for entry in document.manifests
        )
        changed = document.replace(manifests=entries, media_type=media.OCI_INDEX)
        if entries == document.manifests:
            return top
    if changed is document:
        return top
    added = content.add(model.encode(changed.document()))
    return top.replace(media_type=changed.media_type, digest=added.digest, size=added.size)


def _is_image(content: "Content", entry: Descriptor, chosen: "Chosen | None") -> bool:
    """Whether an entry of an index is to be changed; attestations and what was not pulled are left as they are."""
    if entry.media_type in media.INDEXES:
        return content.has(entry.digest)
    if entry.media_type not in media.MANIFESTS or (entry.platform and entry.platform.os == "unknown"):
        return False
    if chosen and not chosen(entry):
        return False
    if not content.has(entry.digest):
        if chosen:
            raise ImageNotFound(f"manifest {entry.digest} of another platform: pull it with --all-platforms first")
        return False
    return True


def _changed(manifest: Manifest, diff_ids: "Sequence[str]", edit: "Edit", layers: "Sequence[int]") -> Manifest:
    count = len(manifest.layers)
    for number in layers:
        if not -count <= number < count:
            raise ImageError(f"there is no layer {number}: the image has {count}")
    wanted = {number % count for number in layers} if layers else set(range(count))
    changed = tuple(
        edit(layer, diff_ids[number]) if number in wanted else layer for number, layer in enumerate(manifest.layers)
    )
    if changed == manifest.layers:
        return manifest
    config = manifest.config
    if config.media_type == media.DOCKER_CONFIG:
        config = config.replace(media_type=media.OCI_CONFIG)
    return manifest.replace(config=config, layers=tuple(map(_as_oci, changed)), media_type=media.OCI_MANIFEST)


def _as_oci(layer: Descriptor) -> Descriptor:
    """Map docker's types: an OCI manifest holds OCI layers."""
    if not layer.media_type.startswith("application/vnd.docker."):
        return layer
    kind = media.layer_compression(layer.media_type)
    return layer if kind is None else layer.replace(media_type=media.oci_layer(kind, encrypted=layer.encrypted))


def _encrypted(content: "Content", layer: Descriptor, keys: Keys) -> Descriptor:
    if not media.is_layer(layer.media_type):
        return layer
    if layer.encrypted:
        more = ocicrypt.add_recipients(layer, keys.decrypting, keys.encrypting, keys.providers)
        return layer.replace(annotations=more)
    source = content.open(layer.digest)
    try:
        with content.temporary() as file:
            private, public, made = blobs.encrypt_blob(source, file.fd, layer)
            wrapped = ocicrypt.wrap(private, public, keys.encrypting, keys.providers)
            content.adopt(file, made.digest)
    finally:
        os.close(source)
    _tell(keys, layer)
    return made.replace(annotations=dict(layer.annotations) | wrapped)


def _decrypted(content: "Content", layer: Descriptor, diff_id: str, keys: Keys) -> Descriptor:
    if not layer.encrypted:
        return layer
    private = ocicrypt.unwrap(layer, keys.decrypting, keys.providers)
    source = content.open(layer.digest)
    try:
        with content.temporary() as file:
            made = blobs.decrypt_blob(source, file.fd, private, ocicrypt.public(layer), layer, diff_id)
            content.adopt(file, made.digest)
    finally:
        os.close(source)
    _tell(keys, layer)
    return made


def _tell(keys: Keys, layer: Descriptor) -> None:
    if keys.progress:
        keys.progress(layer, layer.size)
