"""Signatures beside an image in its registry, read and written.

As sigstore and containers put them there, they are layers of a manifest whose tag is made of the signed manifest's
digest, `sha256-….sig`, or of one that refers to it (distribution-spec, Listing Referrers). No answer but "there is
none" means that there is none.
"""

from __future__ import annotations

import base64
from tempfile import TemporaryFile

from runjail.errors import Corrupt, ImageNotFound
from runjail.image import digest as digests
from runjail.image import media_types, model
from runjail.image.model import Descriptor, Index, Manifest
from runjail.image.registry.sink import RegistrySink
from runjail.image.registry.source import RegistrySource
from runjail.image.transport import Source
from runjail.image.trust.records import SIGSTORE, Signature

LARGEST = 1 << 20  # bytes of all payloads of one manifest: each is some hundred
MOST = 100  # signatures of one manifest: each costs a request
COSIGN = "application/vnd.dev.cosign.artifact.sig.v1+json"  # artifactType of cosign's manifests that refer to others


def tag(digest: str) -> str:
    """Return the tag of the signatures of a manifest."""
    return f"{'-'.join(digests.parse(digest))}.sig"


def fetch(source: Source, digest: str) -> tuple[Signature, ...]:
    """Return the signatures of a manifest, none from elsewhere than a registry. Raises ImageError's family."""
    if not isinstance(source, RegistrySource):
        return ()
    beside = source.sibling(tag(digest))
    try:
        tops: list[Descriptor] = [beside.top()]
    except ImageNotFound:
        beside, tops = source, _referring(source, digest)
    layers: list[Descriptor] = []
    for top in tops:
        document = parse(beside.document(top), top)
        layers += [layer for layer in document.layers if layer.media_type == SIGSTORE]  # attestations are there as well
        if len(layers) > MOST or sum(layer.size for layer in layers) > LARGEST:
            raise Corrupt(f"signatures of {digest}: more than {MOST}, or longer than {LARGEST >> 20} MiB together")
    return tuple(_signature(layer, source.document(layer)) for layer in layers)


def _referring(source: RegistrySource, digest: str) -> list[Descriptor]:
    """Return the manifests of signatures that refer to a manifest, as many as are looked at."""
    entries = [each for each in source.referrers(digest) if each.media_type == media_types.OCI_MANIFEST]
    return [entry for entry in entries if model.get(entry.data, "artifactType") == COSIGN][:MOST]


def parse(content: bytes, top: Descriptor) -> Manifest:
    """Parse a manifest of signatures. Raises Corrupt for what is none."""
    document = model.parse_manifest(content, top.media_type, f"signatures {top.digest}")
    if isinstance(document, Index) or document.media_type != media_types.OCI_MANIFEST:
        raise Corrupt(f"signatures {top.digest}: not in an OCI manifest")
    return document


def _signature(layer: Descriptor, payload: bytes) -> Signature:
    return Signature(layer.media_type, base64.b64encode(payload).decode(), dict(layer.annotations))


def add(sink: RegistrySink, digest: str, signature: Signature) -> None:
    """Put a signature of a manifest beside it, after those that are there. Raises ImageError's family.

    The config names the payloads as containers' does, so that tools which want an image there find one.
    """
    name = tag(digest)
    beside = sink.source(name)
    try:
        top = beside.top()
        layers = list(parse(beside.document(top), top).layers)
    except ImageNotFound:
        layers = []
    payload = base64.b64decode(signature.payload)
    layers.append(Descriptor(SIGSTORE, digests.of(payload), len(payload), signature.annotations))
    rootfs = {"type": "layers", "diff_ids": [layer.digest for layer in layers]}
    config = model.encode({"architecture": "", "os": "", "config": {}, "rootfs": rootfs})
    described = Descriptor(media_types.OCI_CONFIG, digests.of(config), len(config))
    _put(sink, layers[-1], payload)
    _put(sink, described, config)
    manifest = model.encode(Manifest(described, tuple(layers)).document())
    written = Descriptor(media_types.OCI_MANIFEST, digests.of(manifest), len(manifest))
    sink.sibling(name).put_document(written, manifest, top=True)


def _put(sink: RegistrySink, blob: Descriptor, content: bytes) -> None:
    if sink.has(blob):
        return
    with TemporaryFile() as file:
        file.write(content)
        file.flush()
        sink.put_blob(blob, file.fileno(), lambda _descriptor, _count: None)
