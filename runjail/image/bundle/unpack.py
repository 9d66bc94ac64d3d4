"""From an image to layers in the store: who may use it, then what is missing.

See image-spec, layer.md.
"""

from __future__ import annotations

from runjail.errors import Corrupt, ImageError
from runjail.image import digest as digests
from runjail.image import media_types, resolve
from runjail.image.bundle.verified import VerifiedLayers, authenticate
from runjail.image.content.store import ContentStore
from runjail.image.resolve import Image
from runjail.record import Record
from runjail.storage.base import LayerKey, LayerWriter, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runjail.image.crypto.keyprovider_config import Provider
    from runjail.image.crypto.options import Parameters, PrivateLayerOptions
    from runjail.image.transport import Progress

    Opened = Sequence[PrivateLayerOptions | None]
    Report = Callable[[str], None]
    Arrived = Callable[[str], None]


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
    if not image.manifest.encrypted:
        return [None] * len(image.manifest.layers)
    from runjail.image.crypto import ocicrypt  # only encrypted images pay for it

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
    warn: Report = lambda _text: None,
    arrived: Arrived = lambda _digest: None,
) -> Unpacked:
    """Have every layer of an image in the store.

    opened: what `authorise` returned. encrypt: keep an encrypted image's layers encrypted at rest. arrived: waits for a
    blob that is on its way. Layers that are there are used, once this image has shown that it holds them: see
    `verified`. Raises Corrupt, ImageError, StorageError; a layer that fails leaves no trace, nor do those that were to
    share its tree.
    """
    if not image.manifest.layers:
        raise ImageError(f"{image.name}: an image without layers cannot be run")
    seal = _seal(opened) if encrypt else None
    verified, chains = VerifiedLayers(content), digests.chain_ids(image.config.diff_ids)
    done = _there(store, chains, seal)
    _require(verified, image, opened, 0, done, arrived)
    for end in _ends(store, image, content, done):
        arrived(image.manifest.layers[done].digest)  # before a draft keeps others waiting
        draft = store.draft(chains[end - 1], chains[done - 1] if done else None, seal)
        if draft:
            with draft:
                for number in range(done, end):
                    arrived(image.manifest.layers[number].digest)
                    _fill(draft, image, opened, number, content, progress, warn)
                draft.commit()
            for number in range(done, end):
                verified.note(image.manifest.layers[number], image.config.diff_ids[number], opened[number])
        else:
            _require(verified, image, opened, done, end, arrived)
        done = end
    return Unpacked(chains[-1], seal)


def _there(store: Store, chains: Sequence[str], seal: LayerKey | None) -> int:
    """Return how many of the layers are in the highest tree that the store has of them.

    The highest is asked for by itself, as each run of an image does; of the others all are listed at once.
    """
    count = len(chains)
    if store.has_layer(chains[-1], seal):
        return count
    at = seal.name if seal else ""
    there = {layer.chain for layer in store.layers() if layer.seal == at} if count > 1 else set()
    return next((below for below in range(count - 1, 0, -1) if chains[below - 1] in there), 0)


def _require(verified: VerifiedLayers, image: Image, opened: Opened, start: int, end: int, arrived: Arrived) -> None:
    for number in range(start, end):
        arrived(image.manifest.layers[number].digest)
        verified.require(image.manifest.layers[number], image.config.diff_ids[number], opened[number])


def _ends(store: Store, image: Image, content: ContentStore, done: int) -> list[int]:
    """Return which layers become trees of their own, each by how many layers are in it.

    Each one where the store keeps layers apart. Elsewhere a tree costs all the files in it, so there is one for the
    whole image, and one for what it has in common with every other image that is here.
    """
    count = len(image.manifest.layers)
    if store.apart:
        return list(range(done + 1, count + 1))
    shared = {
        _common(image.config.diff_ids, other.config.diff_ids)
        for name, top in content.names().items()
        for other in resolve.readable(content, name, top)
    }
    return sorted({end for end in shared if done < end < count} | ({count} if done < count else set()))


def _common(these: Sequence[str], those: Sequence[str]) -> int:
    """Return with how many equal entries two lists begin."""
    pairs = enumerate(zip(these, those, strict=False))
    return next((number for number, (one, other) in pairs if one != other), min(len(these), len(those)))


def _fill(
    draft: LayerWriter,
    image: Image,
    opened: Opened,
    number: int,
    content: ContentStore,
    progress: Progress | None,
    warn: Report,
) -> None:
    """Authenticate a layer's blob, then apply it."""
    from runjail.image.crypto import cipher  # what is in the store already pays nothing for it
    from runjail.image.layers import layer as layers

    layer, diff_id, private = image.manifest.layers[number], image.config.diff_ids[number], opened[number]
    try:
        with content.reading(layer.digest) as file:
            authenticate(file, layer, private, content)
            decryptor = cipher.decryptor(private) if private else None
            report = (lambda count: progress(layer, count)) if progress else None
            found = layers.unpack(file, draft.path, diff_id, decryptor=decryptor, progress=report)
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
    import hashlib  # only images that are kept encrypted pay for it
    import hmac

    key = hmac.digest(first.symkey, b"runjail native encryption of datasets, version 1", hashlib.sha256)
    return LayerKey(hashlib.sha256(b"name of " + key).hexdigest()[:16], key)
