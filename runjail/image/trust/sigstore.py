"""Sigstore's signatures of images, verified and made.

What a key signs is a payload that names a manifest and what it was called. The payload is the one of containers' simple
signing, the signature is an annotation of it (containers-image signature/internal/sigstore_payload.go, cosign's
SIGNATURE_SPEC.md).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runjail import jsonio
from runjail.errors import ImageError, RunjailError
from runjail.image.crypto import keyfile, primitives
from runjail.image.crypto.options import SchemeError
from runjail.image.trust import identity
from runjail.image.trust import payload as payloads
from runjail.image.trust.origin import Origin
from runjail.image.trust.payload import Refused, all_of, key_contents
from runjail.image.trust.policy import Requirement
from runjail.image.trust.records import SIGSTORE, Signature

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

SIGNATURE = "dev.cosignproject.cosign/signature"
TYPE = "cosign container image signature"
LOGS = ("rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas")
CERTIFICATES = ("fulcio", "pki")


def problem(requirement: Requirement, digest: str, origin: Origin, signatures: Sequence[Signature]) -> str:
    """Return why none of an image's signatures meets a requirement, "" when one does.

    digest: of the manifest. What cannot be checked, a key for example, is a reason, too.
    """
    try:
        keys = _keys(requirement.data)
        reasons = []
        for signature in (each for each in signatures if each.kind == SIGSTORE):
            try:
                _check(keys, signature, digest, origin, requirement.data.get("signedIdentity", identity.DEFAULT))
            except Refused as error:
                reasons.append(str(error))
            else:
                return ""
    except Refused as error:
        return str(error)
    return all_of(reasons)


def has_signed(key: PublicKeyTypes, digest: str, origin: Origin, signatures: Sequence[Signature]) -> bool:
    """Whether a key's signature of a manifest under just this name is among these."""
    for signature in signatures:
        try:
            _check([key], signature, digest, origin, {"type": "matchExact"})
        except Refused:
            continue
        return True
    return False


def _check(
    keys: Sequence[PublicKeyTypes], signature: Signature, digest: str, origin: Origin, signed: Mapping[str, Any]
) -> None:
    """Raise Refused unless a signature is one of these keys', of this manifest, and of a name that it may have."""
    payload = payloads.decoded(signature.payload, "its payload")
    proof = payloads.decoded(signature.annotations.get(SIGNATURE, ""), f"its annotation {SIGNATURE}")
    if not any(_is_signed(key, payload, proof) for key in keys):
        raise Refused("a signature by another key")
    payloads.check(payload, TYPE, digest, origin, signed)


def _is_signed(key: PublicKeyTypes, payload: bytes, proof: bytes) -> bool:
    try:
        if isinstance(key, primitives.EllipticCurvePublicKey):
            key.verify(proof, payload, primitives.ECDSA(primitives.SHA256()))
        elif isinstance(key, primitives.RSAPublicKey):
            key.verify(proof, payload, primitives.PKCS1v15(), primitives.SHA256())
        elif isinstance(key, primitives.Ed25519PublicKey):
            key.verify(proof, payload)
        else:
            return False
    except (primitives.InvalidSignature, ValueError):
        return False
    return True


# Keys ----------------------------------------------------------------------------------------------------------------


def _keys(asked: Mapping[str, Any]) -> list[PublicKeyTypes]:
    """Return the public keys of a requirement, any of which will do. Raises Refused."""
    for name in (*CERTIFICATES, *LOGS):
        if name in asked:
            what = "certificates" if name in CERTIFICATES else "entries of a transparency log"
            raise Refused(f"{name}: {what} are not supported")
    found = [_public_key(content, place) for content, place in key_contents(asked)]
    if not found:
        raise Refused("it names no key")
    return found


def _public_key(content: bytes, place: str) -> PublicKeyTypes:
    try:
        return keyfile.public_key(content).key
    except SchemeError as error:
        raise Refused(f"its key cannot be read: {place}: {error}") from None
    except RunjailError:
        raise Refused(
            "checking signatures takes the Python package cryptography, which is not installed, or OpenSSL 3"
        ) from None


# Signing -------------------------------------------------------------------------------------------------------------


def payload(digest: str, reference: str, creator: str, seconds: int) -> bytes:
    """Return what is signed. reference: what the image is called; seconds: since the epoch."""
    critical = {
        "identity": {"docker-reference": reference},
        "image": {"docker-manifest-digest": digest},
        "type": TYPE,
    }
    optional = {"creator": creator, "timestamp": seconds}
    return jsonio.dumps({"critical": critical, "optional": optional}, tight=True).encode()


def sign(key: PrivateKeyTypes, content: bytes) -> str:
    """Return a private key's signature of a payload, as base64. Raises ImageError for a key that cannot sign."""
    if isinstance(key, primitives.EllipticCurvePrivateKey):
        proof = key.sign(content, primitives.ECDSA(primitives.SHA256()))
    elif isinstance(key, primitives.RSAPrivateKey):
        proof = key.sign(content, primitives.PKCS1v15(), primitives.SHA256())
    elif isinstance(key, primitives.Ed25519PrivateKey):
        proof = key.sign(content)
    else:
        raise ImageError("images are signed with EC, RSA and Ed25519 keys, and with no others")
    return base64.b64encode(proof).decode()
