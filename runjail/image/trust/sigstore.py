"""Sigstore's signatures of images, verified and made.

What a key signs is a payload that names a manifest and what it was called. The payload is the one of containers' simple
signing, the signature is an annotation of it (containers-image signature/internal/sigstore_payload.go, cosign's
SIGNATURE_SPEC.md).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runjail import jsonio
from runjail.errors import ImageError, RunjailError, UnreadableFile
from runjail.files import read as read_file
from runjail.image import digest as digests
from runjail.image.crypto import cipher, keyfile
from runjail.image.crypto.options import SchemeError
from runjail.image.trust import identity
from runjail.image.trust.origin import Origin
from runjail.image.trust.policy import Requirement
from runjail.image.trust.records import Signature
from runjail.record import Record

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

SIGNATURE = "dev.cosignproject.cosign/signature"
TYPE = "cosign container image signature"
LARGEST_KEY = 1 << 20  # bytes of a public key's file
LOGS = ("rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas")
CERTIFICATES = ("fulcio", "pki")
MOST_SHOWN = 3


class Refused(ImageError):
    """A signature does not count, or a requirement cannot be checked. Its text becomes part of a longer one."""


class Payload(Record):
    """What was signed: a manifest's digest, and what it was called."""

    digest: str
    reference: str


def problem(requirement: Requirement, digest: str, origin: Origin, signatures: Sequence[Signature]) -> str:
    """Return why none of an image's signatures meets a requirement, "" when one does.

    digest: of the manifest. What cannot be checked, a key for example, is a reason, too.
    """
    try:
        keys = _keys(requirement.data)
        reasons = []
        for signature in signatures:
            try:
                _check(keys, signature, digest, origin, requirement.data.get("signedIdentity", identity.DEFAULT))
            except Refused as error:
                reasons.append(str(error))
            else:
                return ""
    except Refused as error:
        return str(error)
    more = f"; and {len(reasons) - MOST_SHOWN} more" if len(reasons) > MOST_SHOWN else ""
    return f"{'; '.join(reasons[:MOST_SHOWN])}{more}" if reasons else "there is no signature"


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
    payload = _decoded(signature.payload, "its payload")
    proof = _decoded(signature.annotations.get(SIGNATURE, ""), f"its annotation {SIGNATURE}")
    if not any(_is_signed(key, payload, proof) for key in keys):
        raise Refused("a signature by another key")
    found = parse(payload)
    if found.digest != digest:
        raise Refused(f"a signature of another manifest, {found.digest}")
    if not identity.matches(signed, origin, found.reference):
        raise Refused(f"a signature for the name {found.reference[:300]!r}, which {signed['type']} does not take")


def _decoded(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise Refused(f"a signature that cannot be read: {what} is no base64") from None


def _is_signed(key: PublicKeyTypes, payload: bytes, proof: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(proof, payload, ec.ECDSA(SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(proof, payload, padding.PKCS1v15(), SHA256())
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(proof, payload)
        else:
            return False
    except (InvalidSignature, ValueError):
        return False
    return True


def parse(content: bytes) -> Payload:
    """Parse a payload, which a key has signed. Raises Refused for what could be read in two ways.

    `optional` may hold anything, and be null: cosign writes that.
    """
    try:
        text = content.decode()
        document = jsonio.loads(text)
    except (ValueError, RecursionError):
        raise Refused("a signed payload that is not JSON") from None
    if twice := jsonio.repeated(text):
        raise Refused(f"a signed payload with {twice!r} twice in one object")
    critical = _members(document, ("critical", "optional"), "").get("critical")
    _members(critical, ("type", "image", "identity"), "critical")
    if not isinstance(document["optional"], dict | None):
        raise Refused("a signed payload whose optional is no object")
    if critical["type"] != TYPE:
        raise Refused(f"a signed payload of type {str(critical['type'])[:80]!r}")
    signed = _members(critical["image"], ("docker-manifest-digest",), "critical.image")["docker-manifest-digest"]
    reference = _members(critical["identity"], ("docker-reference",), "critical.identity")["docker-reference"]
    try:
        digests.parse(signed)
    except ImageError as error:
        raise Refused(f"a signed payload whose docker-manifest-digest is {error}") from None
    if not isinstance(reference, str):
        raise Refused("a signed payload whose docker-reference is no text")
    return Payload(signed, reference)


def _members(value: Any, names: tuple[str, ...], place: str) -> Any:
    """Return an object that has exactly these members. Raises Refused."""
    if not isinstance(value, dict) or set(value) != set(names):
        raise Refused(f"a signed payload whose {place or 'document'} has not exactly {', '.join(names)}")
    return value


# Keys ----------------------------------------------------------------------------------------------------------------


def _keys(asked: Mapping[str, Any]) -> list[PublicKeyTypes]:
    """Return the public keys of a requirement, any of which will do. Raises Refused."""
    for name in (*CERTIFICATES, *LOGS):
        if name in asked:
            what = "certificates" if name in CERTIFICATES else "entries of a transparency log"
            raise Refused(f"{name}: {what} are not supported")
    found = [_public_key(content, place) for content, place in _contents(asked)]
    if not found:
        raise Refused("it names no key")
    return found


def _contents(asked: Mapping[str, Any]) -> Iterator[tuple[bytes, str]]:
    paths = [*([asked["keyPath"]] if "keyPath" in asked else []), *asked.get("keyPaths", [])]
    for path in paths:
        try:
            yield read_file(path, LARGEST_KEY), path
        except UnreadableFile as error:
            raise Refused(f"its key cannot be read: {error}") from None
    texts = [*([asked["keyData"]] if "keyData" in asked else []), *asked.get("keyDatas", [])]
    for text in texts:
        try:
            yield base64.b64decode(text, validate=True), "keyData"
        except ValueError:
            raise Refused("its key cannot be read: keyData is no base64") from None


def _public_key(content: bytes, place: str) -> PublicKeyTypes:
    try:
        return keyfile.public_key(content).key
    except SchemeError as error:
        raise Refused(f"its key cannot be read: {place}: {error}") from None
    except RunjailError:
        raise Refused("checking signatures takes the Python package cryptography, which is not installed") from None


# Signing -------------------------------------------------------------------------------------------------------------


def payload(digest: str, reference: str, creator: str, seconds: int) -> bytes:
    """Return what is signed. reference: what the image is called; seconds: since the epoch."""
    critical = {
        "identity": {"docker-reference": reference},
        "image": {"docker-manifest-digest": digest},
        "type": TYPE,
    }
    optional = {"creator": creator, "timestamp": seconds}
    return json.dumps({"critical": critical, "optional": optional}, separators=(",", ":"), sort_keys=True).encode()


def sign(key: PrivateKeyTypes, content: bytes) -> str:
    """Return a private key's signature of a payload, as base64. Raises ImageError for a key that cannot sign."""
    cipher.require()
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256

    if isinstance(key, ec.EllipticCurvePrivateKey):
        proof = key.sign(content, ec.ECDSA(SHA256()))
    elif isinstance(key, rsa.RSAPrivateKey):
        proof = key.sign(content, padding.PKCS1v15(), SHA256())
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        proof = key.sign(content)
    else:
        raise ImageError("images are signed with EC, RSA and Ed25519 keys, and with no others")
    return base64.b64encode(proof).decode()
