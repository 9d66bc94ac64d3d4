"""One key file, and what is in it: private and public keys, certificates; PEM, DER or JWK.

A superset of what ocicrypt reads: it knows neither `BEGIN EC PRIVATE KEY` nor encrypted PKCS #8, and only the first
block of a PEM file. The files are the operator's own, so RSA keys are not validated: that takes 50 times as long as
using them.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from runjail.errors import Corrupt, ImageError, UnreadableFile
from runjail.files import open_named, read_open
from runjail.image.crypto import der, jwk, primitives, secretbox
from runjail.image.crypto.options import SchemeError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
    from cryptography.x509 import Certificate

LARGEST = 8 << 20  # bytes of a key file; keyrings can be large
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----\s.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True)
class PublicKey:
    """A recipient's key, and what its JWK says besides: "" for keys that are none."""

    key: PublicKeyTypes
    algorithm: str = ""
    key_id: str = ""


def read(path: str, descriptor: int | None = None) -> tuple[bytes, int]:
    """Return a file's content and mode. descriptor: it is open already, and closed here. Raises ImageError."""
    try:
        opened = open_named(path) if descriptor is None else descriptor
        try:
            return read_open(opened, path, LARGEST), os.fstat(opened).st_mode
        finally:
            os.close(opened)
    except UnreadableFile as error:
        raise ImageError(f"Unable to read file: {path}: {error.why}") from None


@lru_cache(maxsize=32)
def private_key(content: bytes, password: bytes | None = None) -> PrivateKeyTypes:
    """Return the private key in a file. Raises SchemeError: no key, or ocicrypt's words for its password.

    Remembered, because every layer asks again and a password may be made to take a second.
    """
    primitives.require()
    if block := _pem(content, b"PRIVATE KEY"):
        if any(label in block for label in secretbox.BLOCKS):
            return _load(secretbox.open_key(_inside(block), password), None, encrypted=False)
        return _load(block, password, b"BEGIN ENCRYPTED" in block or b"Proc-Type: 4,ENCRYPTED" in block)
    if content.lstrip()[:1] == b"{":
        return _jwk_private(content)
    return _load(content, password, _is_encrypted_pkcs8(content))


def public_key(content: bytes) -> PublicKey:
    """Return the public key in a file. Raises SchemeError."""
    primitives.require()
    try:
        if block := _pem(content, b"PUBLIC KEY"):
            return PublicKey(primitives.load_pem_public_key(block))
        if content.lstrip()[:1] != b"{":
            return PublicKey(primitives.load_der_public_key(content))
        document = jwk.parse(content)
        if jwk.is_private(document):
            raise SchemeError("JWK is not a public key")
        more = (document.get("alg") or "", document.get("kid") or "")
        return PublicKey(jwk.public_key(document), *(str(value) for value in more))
    except (ValueError, primitives.UnsupportedAlgorithm):
        raise SchemeError("Could not parse public key") from None


def certificate(content: bytes) -> Certificate:
    """Return the first certificate in a file, PEM or DER. Raises SchemeError."""
    primitives.require()
    try:
        if block := _pem(content, b"CERTIFICATE"):
            return primitives.load_pem_x509_certificate(block)
        return primitives.load_der_x509_certificate(content)
    except ValueError:
        raise SchemeError("Could not parse x509 certificate") from None


def is_private(content: bytes, password: bytes | None) -> bool:
    """Whether there is a private key in a file. Raises SchemeError when its password is missing or wrong."""
    try:
        private_key(content, password)
    except SchemeError as error:
        if "password" in str(error):
            raise
        return False
    return True


def is_public(content: bytes) -> bool:
    """Whether there is a public key in a file."""
    return _is_read_by(public_key, content)


def is_certificate(content: bytes) -> bool:
    """Whether there is a certificate in a file."""
    return _is_read_by(certificate, content)


def _is_read_by(read: Callable[[bytes], object], content: bytes) -> bool:
    try:
        read(content)
    except SchemeError:
        return False
    return True


def _pem(content: bytes, label: bytes) -> bytes | None:
    """Return the first PEM block whose label ends so, without its neighbours."""
    found = (match for match in _BLOCK.finditer(content) if match[1].endswith(label))
    return next((match[0] + b"\n" for match in found), None)


def _inside(block: bytes) -> bytes:
    """Return what a PEM block holds. Raises SchemeError."""
    try:
        return base64.b64decode(b"".join(block.split(b"-----")[2].split()), validate=True)
    except ValueError:
        raise SchemeError("Could not parse private key") from None


def _is_encrypted_pkcs8(content: bytes) -> bool:
    """Whether it is an EncryptedPrivateKeyInfo: an algorithm and octets (RFC 5208 section 6)."""
    try:
        parts = [part.tag for part in der.read(content).children(der.SEQUENCE)]
    except Corrupt:
        return False
    return parts == [der.SEQUENCE, der.OCTETS]


def _load(content: bytes, password: bytes | None, encrypted: bool) -> PrivateKeyTypes:
    load = primitives.load_pem_private_key if content[:5] == b"-----" else primitives.load_der_private_key
    if encrypted and password is None:
        raise SchemeError("Missing password for encrypted private key")
    why = "Wrong password: could not decrypt private key" if encrypted else "Could not parse private key"
    try:
        return load(content, password if encrypted else None, **primitives.unvalidated())
    except TypeError as error:  # so it tells of a password too many or too few; any other is a fault of ours
        if "assword" not in str(error):
            raise
        raise SchemeError(why) from None
    except (ValueError, primitives.UnsupportedAlgorithm):  # of whose texts many depend on the password
        raise SchemeError(why) from None


def _jwk_private(content: bytes) -> PrivateKeyTypes:
    document = jwk.parse(content)
    if not jwk.is_private(document):
        raise SchemeError("JWK is not a private key")
    try:
        return jwk.private_key(document)
    except (ValueError, ArithmeticError):
        raise SchemeError("Could not parse private key") from None
