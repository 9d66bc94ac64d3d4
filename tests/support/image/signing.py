"""Images in a fake registry with signatures as sigstore puts them beside, right and wrong ones."""

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from runjail.image import media_types
from runjail.image.content.copy import copy_in
from runjail.image.content.store import ContentStore
from runjail.image.crypto import secretbox
from runjail.image.model import Descriptor, Platform
from runjail.image.reference import parse
from runjail.image.resolve import Image, load
from runjail.image.trust import policy as policies
from runjail.image.trust.gate import Gate
from runjail.image.trust.records import SIGSTORE
from runjail.image.trust.sigstore import SIGNATURE
from tests.support.image.registry_client import Client
from tests.support.image.registry_server import Fake, described, digest_of

HERE = [Platform("freebsd", "amd64")]  # what the fake's images are for
NAME = "r.test/library/web:v1"


def payload(digest: str, name: str = NAME, **more: Any) -> bytes:
    """Return what is signed. more: members of the document instead of the usual ones."""
    critical = {
        "identity": {"docker-reference": name},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    return json.dumps({"critical": critical, "optional": None} | more).encode()


def sign(key: Any, content: bytes) -> bytes:
    """Return the signature of a P-256 key."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    return bytes(key.sign(content, ec.ECDSA(hashes.SHA256())))


class Signer:
    """A key with its public half in a file, and a fake registry for the signatures that it makes."""

    def __init__(self, fake: Fake, directory: Path, key: Any = None) -> None:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        self.fake, self.key, self.path = fake, key or ec.generate_private_key(ec.SECP256R1()), directory / "key.pub"
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        self.pem = self.key.public_key().public_bytes(encoding, form)
        self.path.write_bytes(self.pem)

    def add(self, digest: str, content: bytes | None = None, proof: bytes | None = None, tag: str = "") -> Descriptor:
        """Hold a signature of a manifest. content: what is signed; proof: the signature, both by default right."""
        content = payload(digest) if content is None else content
        layer = described(content, SIGSTORE).document()
        layer["annotations"] = {SIGNATURE: base64.b64encode(proof or sign(self.key, content)).decode()}
        config = b"{}"
        self.fake.blobs |= {digest_of(content): content, digest_of(config): config}
        manifest = {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": described(config, media_types.OCI_CONFIG).document(),
            "layers": [layer],
        }
        text = json.dumps(manifest).encode()
        for name in (tag or digest.replace(":", "-") + ".sig", digest_of(text)):
            self.fake.manifests[name] = (media_types.OCI_MANIFEST, text)
        return described(text, media_types.OCI_MANIFEST)

    def requirement(self, **more: Any) -> dict[str, Any]:
        """Return the requirement that this key has signed. more: further members."""
        return {"type": "sigstoreSigned", "keyPath": str(self.path), **more}


def gate(content: ContentStore, *asked: dict[str, Any], **scopes: Any) -> Gate:
    """Return a gate whose policy asks this of everything. scopes: of the transport docker."""
    document = {"default": list(asked) or [{"type": "reject"}], "transports": {"docker": scopes}}
    return Gate(policies.parse(json.dumps(document).encode(), "/p.json"), content)


def pull(client: Client, content: ContentStore, by: Gate, name: str = NAME, reference: str = "v1") -> Image:
    """Bring an image in by the client, as if the registry were r.test."""
    source = client.source(reference)
    top = copy_in(source, content, name, platforms=HERE, admit=lambda found: by.admit(parse(name), found, source))
    return load(content.read, name, top, HERE)


def sealed_key(key: Any, password: bytes, label: str = "ENCRYPTED SIGSTORE PRIVATE KEY", cost: int = 1024) -> bytes:
    """Return a private key as skopeo and cosign store it. cost: scrypt's N, of which they take no other than 32768."""
    from cryptography.hazmat.primitives import serialization

    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    content = key.private_bytes(serialization.Encoding.DER, form, plain)
    salt, nonce = os.urandom(32), os.urandom(24)
    sealed = secretbox.seal(
        hashlib.scrypt(password, salt=salt, n=cost, r=8, p=1, maxmem=1 << 27, dklen=32), nonce, content
    )
    document = {
        "kdf": {
            "name": "scrypt",
            "params": {"N": cost, "r": 8, "p": 1},
            "salt": base64.b64encode(salt).decode(),
        },
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
        "ciphertext": base64.b64encode(sealed).decode(),
    }
    body = base64.encodebytes(json.dumps(document).encode()).decode()
    return f"-----BEGIN {label}-----\n{body}-----END {label}-----\n".encode()
