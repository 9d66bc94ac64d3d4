"""A key that signs images as they are stored in a registry."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import runjail
from runjail.errors import ImageError
from runjail.image.crypto.keys import read_signing_key
from runjail.image.model import Descriptor
from runjail.image.reference import Reference
from runjail.image.registry.sink import RegistrySink
from runjail.image.transport import Sink
from runjail.image.trust import attachments, sigstore
from runjail.image.trust.origin import origin_of
from runjail.image.trust.records import SIGSTORE, Signature

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

OPTION = "--sign-by-sigstore"


class Signer:
    """A private key, and what an image is called that it signs."""

    def __init__(self, key: PrivateKeyTypes, target: Reference) -> None:
        self.key, self.origin = key, origin_of(target)

    def __call__(self, sink: Sink, manifests: Sequence[Descriptor]) -> None:
        """Sign what is about to be stored: each manifest, and each index, as containers does.

        What this key has signed before under this name is not signed again. Raises ImageError's family.
        """
        if not isinstance(sink, RegistrySink):
            raise ImageError(f"{self.origin}: only images in registries are signed")
        for manifest in manifests:
            there = attachments.fetch(sink.source(manifest.digest), manifest.digest)
            if not sigstore.has_signed(self.key.public_key(), manifest.digest, self.origin, there):
                attachments.add(sink, manifest.digest, self._signed(manifest.digest))

    def _signed(self, digest: str) -> Signature:
        creator = f"runjail {runjail.__version__}"
        payload = sigstore.payload(digest, self.origin.identity, creator, int(time.time()))
        proof = sigstore.sign(self.key, payload)
        return Signature(SIGSTORE, base64.b64encode(payload).decode(), {sigstore.SIGNATURE: proof})


def read(specification: str, target: Reference) -> Signer:
    """Read the key of OPTION. Raises ImageError: not readable, none that can sign, a password missing or wrong."""
    key = read_signing_key(specification, OPTION)
    sigstore.sign(key, b"")  # what cannot sign says so before anything is sent
    return Signer(key, target)
