"""Finding a layer's descriptor in containerd's content store, for callers that send none along.

Only CRI pulls and clients that know imgcrypt send a payload to stream processors; `ctr image pull` of containerd does
not. The manifest is there, though: containerd stores it, under its digest, before it unpacks a layer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from runjail.errors import ImageError, RunjailError
from runjail.image import model
from runjail.image.model import Descriptor, Manifest


def encrypted_layers(store: str, digest: str) -> Iterator[Descriptor]:
    """Yield the encrypted layers with this digest of all manifests in a content store, the newest manifest first.

    store: containerd's ROOT/io.containerd.content.v1.content. There may be several: recipients are added by writing
    another manifest for the same blob. Raises OSError when the store cannot be read, ImageError when it has no such
    layer.
    """
    found = False
    for path in _newest_first(f"{store}/blobs/sha256"):
        manifest = _manifest(path, digest.encode("ascii"))
        for layer in manifest.layers if manifest else ():
            if layer.digest == digest and layer.encrypted:
                found = True
                yield layer
    if not found:
        raise ImageError(f"no manifest in {store} has an encrypted layer {digest}")


def _newest_first(directory: str) -> list[str]:
    """Return the blobs that may be manifests: not larger than any is."""
    with os.scandir(directory) as entries:
        seen = [(entry.stat(follow_symlinks=False), entry.path) for entry in entries]
    return [path for status, path in sorted(seen, key=lambda one: -one[0].st_mtime) if status.st_size <= model.LARGEST]


def _manifest(path: str, digest: bytes) -> Manifest | None:
    """Return a manifest that speaks of a digest, None for all other content and for what is gone meanwhile."""
    try:
        with open(path, "rb") as file:
            content = file.read(1)
            if content == b"{":
                content += file.read(model.LARGEST)
    except OSError:
        return None
    if digest not in content:
        return None
    try:
        parsed = model.parse_manifest(content)
    except RunjailError:
        return None
    return parsed if isinstance(parsed, Manifest) else None
