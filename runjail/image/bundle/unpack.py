"""From an image to layers in the store: who may use it, then what is missing (image-spec, layer.md; design: Images)."""

from __future__ import annotations

import hashlib
import hmac

from runjail.errors import Corrupt, ImageError
from runjail.image import digest as digests
from runjail.image import media_types
from runjail.image.bundle.verified import VerifiedLayers, authenticate
from runjail.image.crypto import cipher, ocicrypt
from runjail.image.layers import layer as layers
from runjail.record import Record
from runjail.storage.base import LayerKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runjail.image.content.store import ContentStore
    from runjail.image.crypto.keyprovider import Provider
    from runjail.image.crypto.options import Parameters, PrivateLayerOptions
    from runjail.image.model import Descriptor
    from runjail.image.resolve import Image
    from runjail.image.transport import Progress
    from runjail.storage.base import LayerWriter, Store

    Opened = Sequence[PrivateLayerOptions | None]
    Say = Callable[[str], None]


class Unpacked(Record):
    """Where an image is in the store. chain: chainID of its highest layer. seal: its encryption at rest, if any."""

    chain: str
    seal: LayerKey | None = None


def authorise(image: Image, parameters: Parameters, providers: Mapping[str, Provider]) -> Opened:
    """Return the key of each layer, None for a plain one.

    Every encrypted layer of the manifest is asked for, at every run, whether its datasets exist or not. Raises
    Unauthorized, and ImageError for what is no layer or encrypted in a way that we do not know.
    """
    for layer in image.manifest.layers:
        if not media_types.is_layer(layer.media_type):
            raise ImageError(f"{image.name}: {layer.media_type or 'a blob without media type'} is no layer of files")
    return [
        ocicrypt.unwrap(layer, parameters, providers) if layer.encrypted else None for layer in image.manifest.layers
    ]


def unpack(
    image: Image,
    opened: Opened,
    content: ContentStore,
    store: Store,
    *,
    encrypt: bool = False,
    progress: Progress | None = None,
    warn: Say = lambda _text: None,
) -> Unpacked:
    """Have every layer of an image in the store.

    opened: what `authorise` returned. encrypt: keep an encrypted image's layers encrypted at rest. Layers that are
    there are used, once this image has shown that it holds them: see `proof`. Raises Corrupt, ImageError, StorageError;
    a layer that fails leaves no trace, the lower ones stay.
    """
    if not image.manifest.layers:
        raise ImageError(f"{image.name}: an image without layers cannot be run")
    seal = _seal(opened) if encrypt else None
    proofs, chains = VerifiedLayers(content), digests.chain_ids(image.config.diff_ids)
    parent: str | None = None
    for number, layer in enumerate(image.manifest.layers):
        chain, diff_id, private = chains[number], image.config.diff_ids[number], opened[number]
        draft = None if store.has_layer(chain, seal) else store.draft(chain, parent, seal)
        if draft:
            with draft:
                _fill(draft, layer, diff_id, private, content, progress, warn)
                draft.commit()
            proofs.note(layer, diff_id, private)
        else:
            proofs.require(layer, diff_id, private)
        parent = chain
    return Unpacked(chains[-1], seal)


def _fill(
    draft: LayerWriter,
    layer: Descriptor,
    diff_id: str,
    private: PrivateLayerOptions | None,
    content: ContentStore,
    progress: Progress | None,
    warn: Say,
) -> None:
    """Authenticate a blob, then apply it."""
    try:
        with content.reading(layer.digest) as file:
            authenticate(file, layer, private)
            decryptor = cipher.decryptor(private) if private else None
            told = (lambda count: progress(layer, count)) if progress else None
            found = layers.unpack(file, draft.path, diff_id, decryptor=decryptor, progress=told)
    except Corrupt as error:
        text = str(error).removeprefix(f"layer {layer.digest}: ")
        raise Corrupt(f"layer {layer.digest}: {text}", error.hint) from error
    for text in found.warnings:
        warn(f"layer {layer.digest}: {text}")


def _seal(opened: Opened) -> LayerKey | None:
    """Derive the key at rest from the lowest encrypted layer's: so it is had at each run, and kept nowhere."""
    first = next((private for private in opened if private), None)
    if first is None:
        return None
    key = hmac.digest(first.symkey, b"runjail native encryption of datasets, version 1", hashlib.sha256)
    return LayerKey(hashlib.sha256(b"name of " + key).hexdigest()[:16], key)
